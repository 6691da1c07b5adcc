/* SPDX-License-Identifier: MIT */
/*
 * histogram.c - how often a duration occurred: three significant digits, from 1 ns to a minute.
 *
 *     value   0 1 2 ... 2047 | 2048-2049 2050-2051 ... 4094-4095 | 4096-4099 ...
 *     bucket  0 1 2 ... 2047 |   2048      2049    ...   3071    |   3072    ...
 *     shift         0        |               1                   |     2     ...
 */
#include "histogram.h"

#include "counter.h"

#include <math.h>
#include <stdlib.h>

static unsigned bucket_of(uint64_t value_ns)
{
    if (value_ns < UINT64_C(2) * HISTOGRAM_HALF)
        return (unsigned)value_ns;

    /* The shift leaves eleven bits, the highest of which is always set. */
    const unsigned shift = 53 - (unsigned)__builtin_clzll(value_ns);
    const uint64_t bucket = shift * (uint64_t)HISTOGRAM_HALF + (value_ns >> shift);
    return bucket < HISTOGRAM_BUCKETS ? (unsigned)bucket : HISTOGRAM_BUCKETS - 1;
}

/* The largest value that falls into a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < 2 * HISTOGRAM_HALF)
        return bucket;

    const unsigned shift = bucket / HISTOGRAM_HALF - 1;
    const uint64_t leading = bucket - (uint64_t)shift * HISTOGRAM_HALF;
    return ((leading + 1) << shift) - 1;
}

struct histogram *histogram_create(void)
{
    return calloc(1, sizeof(struct histogram));
}

void histogram_clear(struct histogram *histogram)
{
    counter_set(&histogram->count, 0);
    counter_set(&histogram->sum_ns, 0);
    counter_set(&histogram->max_ns, 0);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        counter_set(&histogram->buckets[i], 0);
}

void histogram_record(struct histogram *histogram, uint64_t value_ns)
{
    counter_add(&histogram->count, 1);
    counter_add(&histogram->sum_ns, value_ns);
    counter_add(&histogram->buckets[bucket_of(value_ns)], 1);
    if (value_ns > counter_get(&histogram->max_ns))
        counter_set(&histogram->max_ns, value_ns);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    counter_add(&into->count, counter_get(&from->count));
    counter_add(&into->sum_ns, counter_get(&from->sum_ns));
    if (counter_get(&from->max_ns) > counter_get(&into->max_ns))
        counter_set(&into->max_ns, counter_get(&from->max_ns));
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        counter_add(&into->buckets[i], counter_get(&from->buckets[i]));
}

void histogram_subtract(struct histogram *histogram, const struct histogram *earlier)
{
    counter_add(&histogram->count, -counter_get(&earlier->count));
    counter_add(&histogram->sum_ns, -counter_get(&earlier->sum_ns));
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        counter_add(&histogram->buckets[i], -counter_get(&earlier->buckets[i]));
}

uint64_t histogram_count(const struct histogram *histogram)
{
    return counter_get(&histogram->count);
}

uint64_t histogram_max(const struct histogram *histogram)
{
    return counter_get(&histogram->max_ns);
}

double histogram_mean(const struct histogram *histogram)
{
    const uint64_t count = counter_get(&histogram->count);

    return count == 0 ? 0 : (double)counter_get(&histogram->sum_ns) / (double)count;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    const uint64_t count = counter_get(&histogram->count);
    const uint64_t max_ns = counter_get(&histogram->max_ns);
    /* A product such as 99.9 / 100 * 1000 comes out a hair too large: that is no further rank. */
    const double rank = ceil(percent / 100 * (double)count * (1 - 1e-12));
    uint64_t seen = 0;

    if (count == 0)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        seen += counter_get(&histogram->buckets[i]);
        if (seen > 0 && (double)seen >= rank)
            return bucket_end(i) < max_ns ? bucket_end(i) : max_ns;
    }
    return max_ns;
}

/* SPDX-License-Identifier: MIT */
/*
 * histogram.h - how often a duration occurred: three significant digits, from 1 ns to a minute.
 *
 * The buckets grow with the value, as in Gil Tene's HDR histogram: values below 2,048 ns have one
 * each, and above, every power of two is cut into 1,024. So a value is known to one part in a
 * thousand wherever it lies, and recording is an index computation and an addition.
 *
 * One thread records. Any other may read at the same time: it sees numbers that are each exact and
 * together at most a few records apart.
 */
#ifndef TORC_TOOL_HISTOGRAM_H
#define TORC_TOOL_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    HISTOGRAM_HALF = 1024,     /* buckets per power of two */
    HISTOGRAM_MAGNITUDES = 26, /* powers of two from 2^10 on: up to 2^36 ns, which is 68 s */
    HISTOGRAM_BUCKETS = HISTOGRAM_HALF * (HISTOGRAM_MAGNITUDES + 1),
};

/* All zero is empty. Too large for a fiber's stack: allocate it. */
struct histogram {
    _Atomic uint64_t count;
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t max_ns;
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* An empty histogram, which the caller frees; NULL without memory. */
struct histogram *histogram_create(void);

/* Forget everything. */
void histogram_clear(struct histogram *histogram);

/* Count one duration. What lasted longer than the range counts as its end; the maximum is exact. */
void histogram_record(struct histogram *histogram, uint64_t value_ns);

/* Add all that `from` has counted to `into`. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/* Take away what `earlier`, an older state of the same histogram, had counted; not the maximum. */
void histogram_subtract(struct histogram *histogram, const struct histogram *earlier);

uint64_t histogram_count(const struct histogram *histogram);
uint64_t histogram_max(const struct histogram *histogram);

/* The exact mean; 0 if empty. */
double histogram_mean(const struct histogram *histogram);

/*
 * The smallest value that `percent` (0 to 100) of all do not exceed, rounded up to the end of its
 * bucket but never above the maximum; 0 if empty.
 */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

#endif

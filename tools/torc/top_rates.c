/* SPDX-License-Identifier: MIT */
/*
 * top_rates.c - torc top: what becomes of counters between two moments.
 */
#include "top.h"

#include <string.h>

/* In the buckets of powers of two, the end of that in which the `part` of all is reached. */
static uint64_t percentile(const uint64_t counts[TORC_RUN_DELAYS], double part)
{
    uint64_t total = 0;
    uint64_t sum = 0;

    for (unsigned i = 0; i < TORC_RUN_DELAYS; i++)
        total += counts[i];
    for (unsigned i = 0; i < TORC_RUN_DELAYS && total > 0; i++) {
        sum += counts[i];
        if ((double)sum >= part * (double)total)
            return UINT64_C(2) << i;
    }
    return 0;
}

static double part_of(uint64_t ns, double seconds)
{
    const double part = (double)ns / (seconds * 1e9);

    return part > 1 ? 1 : part;
}

/* What the kernel does for a shard it does in the calls that also wait, so that is CPU time. */
static double busy(const struct torc_stats *before, const struct torc_stats *now, double seconds)
{
    const double awake = 1 - part_of(now->idle_ns - before->idle_ns, seconds);
    const double used = part_of(now->cpu_ns - before->cpu_ns, seconds) -
                        part_of(now->polled_ns - before->polled_ns, seconds);

    return used > awake ? used : awake;
}

struct top_rates top_rates(const struct torc_stats *before, const struct torc_stats *now,
                           double seconds)
{
    const uint64_t waits = now->waits - before->waits;
    const uint64_t ops = now->ops - before->ops;
    uint64_t delays[TORC_RUN_DELAYS];

    for (unsigned i = 0; i < TORC_RUN_DELAYS; i++)
        delays[i] = now->run_delays[i] - before->run_delays[i];
    return (struct top_rates){
        .seconds = seconds,
        .busy = busy(before, now, seconds),
        .cpu = part_of(now->cpu_ns - before->cpu_ns, seconds),
        .ops = (double)ops / seconds,
        .completions = (double)(now->completions - before->completions) / seconds,
        .switches = (double)(now->switches - before->switches) / seconds,
        .wakeups = (double)(now->wakeups_received - before->wakeups_received) / seconds,
        .timers = (double)(now->timers_fired - before->timers_fired) / seconds,
        .ops_per_wait = waits > 0 ? (double)ops / (double)waits : 0,
        .delay_p50 = percentile(delays, 0.5),
        .delay_p99 = percentile(delays, 0.99),
        .delay_max = percentile(delays, 1),
    };
}

double top_name_cpu(const struct top *top, const struct torc_name_stats *name)
{
    const double seconds = (double)(top->now.time_ns - top->before.time_ns) / 1e9;
    uint64_t before_ns = 0;

    for (unsigned i = 0; i < top->before.name_count; i++) {
        if (strcmp(top->before.names[i].name, name->name) == 0)
            before_ns = top->before.names[i].cpu_ns;
    }
    /* Less than before if counting was begun anew. */
    return name->cpu_ns > before_ns ? (double)(name->cpu_ns - before_ns) / (seconds * 1e9) : 0;
}

struct torc_stats top_total(const struct torc_stats *shards, unsigned count)
{
    struct torc_stats total = {0};

    for (unsigned i = 0; i < count; i++) {
        const struct torc_stats *shard = &shards[i];

        total.switches += shard->switches;
        total.ops += shard->ops;
        total.completions += shard->completions;
        total.waits += shard->waits;
        total.overflows += shard->overflows;
        total.timers_fired += shard->timers_fired;
        total.wakeups_received += shard->wakeups_received;
        total.ops_in_flight += shard->ops_in_flight;
        total.ready += shard->ready;
        total.fibers += shard->fibers;
        total.receive_buffers += shard->receive_buffers;
        total.receive_buffers_free += shard->receive_buffers_free;
        total.receive_buffers_starved += shard->receive_buffers_starved;
        total.timers += shard->timers;
        total.idle_ns += shard->idle_ns / count;
        total.polled_ns += shard->polled_ns / count;
        total.cpu_ns += shard->cpu_ns / count;
        total.stalls += shard->stalls;
        for (unsigned k = 0; k < TORC_RUN_DELAYS; k++)
            total.run_delays[k] += shard->run_delays[k];
    }
    return total;
}

/* SPDX-License-Identifier: MIT */
/*
 * report.c - what a shard tells of itself.
 */
#include "shard/shard.h"
#include <errno.h>
#include <string.h>

/* The run queue is counted when somebody asks, so that no switch has to. */
static uint64_t ready_count(const struct torc__shard *shard)
{
    uint64_t count = 0;

    for (const struct torc_fiber *fiber = shard->ready_first; fiber != NULL; fiber = fiber->next)
        count++;
    return count;
}

void torc_stats(struct torc_stats *ret_stats)
{
    const struct torc__shard *shard = torc__shard;
    const struct torc__driver_stats *driver;
    struct torc__pool_stats pool;

    TORC_ASSERT(shard != NULL);
    driver = &shard->driver->stats;
    torc__pool_stats(shard->pool, &pool);
    *ret_stats = (struct torc_stats){
        .rounds = shard->rounds,
        .switches = shard->switches,
        .spawns = shard->spawns,
        .ops = driver->ops,
        .completions = driver->completions,
        .enters = driver->enters,
        .waits = driver->waits,
        .polls = shard->poll.polls,
        .polls_won = shard->poll.polls_won,
        .submits_retried = driver->submits_retried,
        .overflows = driver->overflows,
        .timers_fired = shard->timers.fired,
        .wakeups_sent = driver->wakeups_sent,
        .wakeups_received = driver->wakeups_received,
        .messages = shard->messages,
        .ops_in_flight = torc__driver_in_flight(shard->driver),
        .ready = ready_count(shard),
        .round_ns_max = shard->round_ns_max,
        .fibers = shard->fibers.alive,
        .fibers_peak = shard->fibers.peak,
        .stacks = shard->stacks.touched,
        .stacks_used = shard->stacks.used,
        .receive_buffers = shard->receive_buffers,
        .receive_buffers_starved = shard->receive_buffers_starved,
        .blocking_threads = pool.threads,
        .blocking_runs = pool.runs,
    };
}

static void report_guards(unsigned forbid, struct torc_feature_report *line)
{
    const bool forbidden = forbid & TORC_FEATURE_GUARD_REGIONS;

    line->available = torc__stacks_probe_regions();
    line->used = line->available && !forbidden;
    line->reason = line->used  ? ""
                   : forbidden ? "forbidden by option or TORC_FORBID"
                               : "this kernel does not have it, or all memory is locked";
}

int torc_driver_report(const struct torc_options *options, struct torc_driver_report *ret_report)
{
    static const struct torc_options defaults;
    struct torc__driver_options chosen;
    int result;

    if (options == NULL)
        options = &defaults;
    result = torc__driver_read_options(options, &chosen);
    if (result == 0)
        result = torc__driver_report(options, ret_report);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        if (strcmp(ret_report->features[i].name, "guard_regions") == 0)
            report_guards(chosen.forbid, &ret_report->features[i]);
    }
    return 0;
}

unsigned torc_shard_index(void)
{
    TORC_ASSERT(torc__shard != NULL);
    return torc__shard->index;
}

int torc_shard_cpu(void)
{
    return torc__runtime_cpu(torc__shard_here());
}

unsigned torc_shard_count(void)
{
    TORC_ASSERT(torc__shard != NULL);
    return torc__runtime_shard_count(torc__shard->runtime);
}

bool torc_on_shard(void)
{
    return torc__shard != NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * report.c - what a shard tells of itself.
 */
#include "base/clock.h"
#include "shard/observer.h"
#include "shard/runtime.h"
#include "shard/shard.h"
#include <errno.h>
#include <string.h>

/*
 * The run queue is counted when somebody asks, so that no switch has to. Seen from another thread
 * it changes meanwhile, and where it leads to is not sure; but blocks stay mapped, and it ends.
 */
static LOOKS_AT_OTHERS uint64_t count_queue(const struct torc_fiber *fiber, uint64_t most)
{
    uint64_t count = 0;

    for (; fiber != NULL && count < most; fiber = PEEK(fiber->next))
        count++;
    return count;
}

static LOOKS_AT_OTHERS uint64_t ready_count(const struct torc__shard *shard)
{
    const uint64_t most = PEEK(shard->fibers.alive);

    return count_queue(PEEK(shard->ready_first), most) + count_queue(PEEK(shard->hot_first), most);
}

uint64_t torc__shard_cpu_ns(const struct torc__shard *shard)
{
    struct timespec time;

    if (clock_gettime(shard->cpu_clock, &time) < 0)
        return 0;
    return (uint64_t)time.tv_sec * NS_PER_SECOND + (uint64_t)time.tv_nsec;
}

/* What a shard waits now is added to what it has waited. */
static LOOKS_AT_OTHERS uint64_t idle_time(const struct torc__shard *shard)
{
    const uint64_t since_ns = PEEK(shard->idle_since_ns);
    const uint64_t now_ns = since_ns != 0 ? shard->driver->ops->now(shard->driver) : 0;

    return PEEK(shard->idle_ns) + (now_ns > since_ns ? now_ns - since_ns : 0);
}

LOOKS_AT_OTHERS void torc__shard_read_stats(const struct torc__shard *shard,
                                            struct torc_stats *ret_stats)
{
    const struct torc__driver_stats *driver = &shard->driver->stats;
    const struct torc__observed *observed = shard->observed;
    struct torc__pool_stats pool;

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
        .ops_in_flight = driver->ops - driver->ops_ended,
        .ready = ready_count(shard),
        .round_ns_max = shard->round_ns_max,
        .fibers = shard->fibers.alive,
        .fibers_peak = shard->fibers.peak,
        .stacks = shard->stacks.touched,
        .stacks_used = shard->stacks.used,
        .receive_buffers = shard->receive_buffers,
        .receive_buffers_free = shard->receive_buffers_free,
        .receive_buffers_starved = shard->receive_buffers_starved,
        .timers = shard->timers.count,
        .idle_ns = idle_time(shard),
        .polled_ns = shard->polled_ns,
        .cpu_ns = torc__shard_cpu_ns(shard),
        .stalls = observed != NULL ? atomic_load(&observed->stalls) : 0,
        .stall_ns_max = observed != NULL ? atomic_load(&observed->stall_ns_max) : 0,
        .run_delay_ns = shard->run_delay_ns,
        .blocking_threads = pool.threads,
        .blocking_runs = pool.runs,
    };
    for (unsigned i = 0; i < TORC_RUN_DELAYS; i++)
        ret_stats->run_delays[i] = PEEK(shard->run_delays[i]);
}

void torc_stats(struct torc_stats *ret_stats)
{
    torc__shard_read_stats(torc__shard_here(), ret_stats);
}

static void report_guards(unsigned forbid, struct torc_feature_report *line)
{
    const bool forbidden = forbid & TORC_FEATURE_GUARD_REGIONS;

    line->unknown = false;
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

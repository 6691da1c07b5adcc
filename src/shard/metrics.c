/* SPDX-License-Identifier: MIT */
/*
 * metrics.c - the counters of all shards, as a struct and as text for Prometheus.
 */
#include "base/compiler.h"
#include "shard/runtime.h"
#include "shard/shard.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <torc/metrics.h>

/* Buckets of the histogram that are told: up to 2^30 ns, from where they tell something. */
#define BUCKET_FIRST 9u
#define BUCKET_LAST  29u

enum unit {
    UNIT_NUMBER,
    UNIT_SECONDS, /* counted in nanoseconds */
};

struct metric {
    const char *name; /* without "torc_"; counters end in "_total" */
    const char *help;
    const char *type;
    size_t offset; /* in struct torc_stats */
    enum unit unit;
};

#define COUNTER(field, help)                                                              \
    {                                                                                     \
#field "_total", help, "counter", offsetof(struct torc_stats, field), UNIT_NUMBER \
    }
#define GAUGE(field, help)                                                     \
    {                                                                          \
#field, help, "gauge", offsetof(struct torc_stats, field), UNIT_NUMBER \
    }

static const struct metric of_shard[] = {
    COUNTER(rounds, "Turns of the loop."),
    COUNTER(switches, "Switches from fiber to fiber or to the loop."),
    COUNTER(spawns, "Fibers started."),
    COUNTER(ops, "Operations prepared."),
    COUNTER(completions, "Completions taken."),
    COUNTER(enters, "System calls of the driver."),
    COUNTER(waits, "System calls of the driver that could sleep."),
    COUNTER(polls, "Times the shard has polled before it would sleep."),
    COUNTER(polls_won, "Polls that something ended."),
    COUNTER(submits_retried, "Submissions retried (EAGAIN, EBUSY, EINTR)."),
    COUNTER(overflows, "Overflows of the completion queue."),
    COUNTER(timers_fired, "Timers fired."),
    COUNTER(wakeups_sent, "Wake-ups sent to other shards."),
    COUNTER(wakeups_received, "Wake-ups received."),
    COUNTER(messages, "Messages taken out of the mailbox."),
    GAUGE(ops_in_flight, "Operations prepared and not completed."),
    GAUGE(ready, "Fibers in the run queue."),
    GAUGE(fibers, "Fibers alive."),
    GAUGE(fibers_peak, "The most fibers there were."),
    GAUGE(stacks, "Stacks in use or pooled."),
    GAUGE(stacks_used, "Stacks in use."),
    GAUGE(timers, "Timers running."),
    GAUGE(receive_buffers, "Buffers that streams receive in."),
    GAUGE(receive_buffers_free, "Receive buffers that wait to be filled."),
    COUNTER(receive_buffers_starved, "Times no receive buffer was free (ENOBUFS)."),
    COUNTER(stalls, "Times a fiber has kept the shard too long."),
    {"idle_seconds_total", "Time spent in waits, with the work of the kernel in the same calls.",
     "counter", offsetof(struct torc_stats, idle_ns), UNIT_SECONDS},
    {"polled_seconds_total", "Time spent polling before sleeps, about.", "counter",
     offsetof(struct torc_stats, polled_ns), UNIT_SECONDS},
    {"cpu_seconds_total", "CPU time of the shard's thread.", "counter",
     offsetof(struct torc_stats, cpu_ns), UNIT_SECONDS},
    {"round_seconds_max", "The longest that fibers have run between two turns.", "gauge",
     offsetof(struct torc_stats, round_ns_max), UNIT_SECONDS},
    {"stall_seconds_max", "The longest stall.", "gauge", offsetof(struct torc_stats, stall_ns_max),
     UNIT_SECONDS},
};

static const struct metric of_runtime[] = {
    GAUGE(blocking_threads, "Threads for what has to block."),
    COUNTER(blocking_runs, "What these have done."),
};

struct text {
    char *buffer;
    size_t size;
    size_t length; /* of all, also of what has no room */
};

static void put(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *text, const char *format, ...)
{
    const size_t room = text->length < text->size ? text->size - text->length : 0;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(room > 0 ? text->buffer + text->length : NULL, room, format, arguments);
    va_end(arguments);
    text->length += length > 0 ? (size_t)length : 0;
}

static void put_head(struct text *text, const char *name, const char *help, const char *type)
{
    put(text, "# HELP torc_%s %s\n# TYPE torc_%s %s\n", name, help, name, type);
}

static void put_value(struct text *text, const struct metric *metric,
                      const struct torc_stats *stats)
{
    const uint64_t value = *(const uint64_t *)(const void *)((const char *)stats + metric->offset);

    if (metric->unit == UNIT_SECONDS)
        put(text, " %" PRIu64 ".%09u\n", value / 1000000000, (unsigned)(value % 1000000000));
    else
        put(text, " %" PRIu64 "\n", value);
}

static void put_delays(struct text *text, unsigned shard, const struct torc_stats *stats)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < TORC_RUN_DELAYS; i++) {
        count += stats->run_delays[i];
        if (i >= BUCKET_FIRST && i <= BUCKET_LAST)
            put(text, "torc_run_delay_seconds_bucket{shard=\"%u\",le=\"%.9g\"} %" PRIu64 "\n",
                shard, (double)(UINT64_C(2) << i) / 1e9, count);
    }
    put(text, "torc_run_delay_seconds_bucket{shard=\"%u\",le=\"+Inf\"} %" PRIu64 "\n", shard,
        count);
    put(text, "torc_run_delay_seconds_sum{shard=\"%u\"} %" PRIu64 ".%09u\n", shard,
        stats->run_delay_ns / 1000000000, (unsigned)(stats->run_delay_ns % 1000000000));
    put(text, "torc_run_delay_seconds_count{shard=\"%u\"} %" PRIu64 "\n", shard, count);
}

int torc_shard_stats(unsigned index, struct torc_stats *ret_stats)
{
    const struct torc__shard *shard = torc__runtime_shard(torc__shard_here()->runtime, index);

    if (shard == NULL)
        return -EINVAL;
    torc__shard_read_stats(shard, ret_stats);
    return 0;
}

/* All of a shard at once: to count its run queue takes a walk through it. NULL without memory. */
static struct torc_stats *read_all(const struct torc__runtime *runtime, unsigned count)
{
    struct torc_stats *stats = malloc(count * sizeof(*stats));

    for (unsigned i = 0; stats != NULL && i < count; i++)
        torc__shard_read_stats(torc__runtime_shard(runtime, i), &stats[i]);
    return stats;
}

size_t torc_metrics_text(char *buffer, size_t size)
{
    const struct torc__shard *here = torc__shard_here();
    const unsigned count = torc__runtime_shard_count(here->runtime);
    struct torc_stats *stats = read_all(here->runtime, count);
    struct text text = {.buffer = buffer, .size = size};

    if (size > 0)
        buffer[0] = '\0';
    if (stats == NULL)
        return 0;
    put_head(&text, "info", "Version and driver.", "gauge");
    put(&text, "torc_info{version=\"%s\",driver=\"%s\"} 1\n", TORC_VERSION,
        here->driver->ops->name);
    for (size_t i = 0; i < ARRAY_LENGTH(of_shard); i++) {
        put_head(&text, of_shard[i].name, of_shard[i].help, of_shard[i].type);
        for (unsigned shard = 0; shard < count; shard++) {
            put(&text, "torc_%s{shard=\"%u\"}", of_shard[i].name, shard);
            put_value(&text, &of_shard[i], &stats[shard]);
        }
    }
    put_head(&text, "run_delay_seconds",
             "How long what a round found ready waited until all of it had begun to run.",
             "histogram");
    for (unsigned shard = 0; shard < count; shard++)
        put_delays(&text, shard, &stats[shard]);
    for (size_t i = 0; i < ARRAY_LENGTH(of_runtime); i++) {
        put_head(&text, of_runtime[i].name, of_runtime[i].help, of_runtime[i].type);
        put(&text, "torc_%s", of_runtime[i].name);
        put_value(&text, &of_runtime[i], &stats[here->index]);
    }
    free(stats);
    return text.length;
}

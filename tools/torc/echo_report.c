/* SPDX-License-Identifier: MIT */
/*
 * echo_report.c - what torc echo says: where it listens, how it goes, what it did.
 */
#include "cli.h"
#include "counter.h"
#include "echo.h"
#include "output.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* The counters of all shards together. */
struct totals {
    uint64_t connections;
    uint64_t open;
    uint64_t messages;
    uint64_t bytes;
    uint64_t resets;
    uint64_t errors;
    uint64_t accept_failures;
};

static struct totals add_up(const struct echo *echo)
{
    struct totals totals = {0};

    for (unsigned i = 0; i < echo->shard_count; i++) {
        const struct echo_shard *shard = &echo->shards[i];

        totals.connections += counter_get(&shard->connections);
        totals.open += counter_get(&shard->open);
        totals.messages += counter_get(&shard->messages);
        totals.bytes += counter_get(&shard->bytes);
        totals.resets += counter_get(&shard->resets);
        totals.errors += counter_get(&shard->errors);
        totals.accept_failures += counter_get(&shard->accept_failures);
    }
    return totals;
}

void echo_report_address(const struct echo *echo, const struct torc_address *address)
{
    char text[TORC_ADDRESS_TEXT_SIZE];

    torc_address_format(address, text, sizeof(text));
    if (echo->options->json) {
        (void)output_json(json_pack("{s:s, s:s, s:i, s:i}", "event", "listening", "address", text,
                                    "shards", (int)echo->shard_count, "pid", (int)getpid()));
        return;
    }
    printf("listening on %s\n", text);
    fflush(stdout);
}

int echo_live(void *arg)
{
    const struct echo *echo = arg;
    struct torc_interval second;
    struct totals before = {0};
    int reason =
        torc_interval_init(&second, torc_deadline(TORC_SECOND), TORC_SECOND, TORC_MISSED_SKIP);

    torc_fiber_set_name("live");
    while (reason >= 0) {
        reason = torc_interval_wait(&second);
        if (reason < 0)
            break;
        const struct totals now = add_up(echo);
        output_live("%s connections  %s messages/s  %s/s", output_count(now.open).text,
                    output_count(now.messages - before.messages).text,
                    output_bytes((double)(now.bytes - before.bytes)).text);
        before = now;
    }
    output_live_end();
    return reason;
}

/* What happened inside of a shard, in the order in which it is printed. */
static const struct {
    const char *name;
    size_t offset;
} stats_fields[] = {
    {"rounds", offsetof(struct torc_stats, rounds)},
    {"switches", offsetof(struct torc_stats, switches)},
    {"spawns", offsetof(struct torc_stats, spawns)},
    {"ops", offsetof(struct torc_stats, ops)},
    {"completions", offsetof(struct torc_stats, completions)},
    {"enters", offsetof(struct torc_stats, enters)},
    {"waits", offsetof(struct torc_stats, waits)},
    {"polls", offsetof(struct torc_stats, polls)},
    {"polls_won", offsetof(struct torc_stats, polls_won)},
    {"submits_retried", offsetof(struct torc_stats, submits_retried)},
    {"overflows", offsetof(struct torc_stats, overflows)},
    {"timers_fired", offsetof(struct torc_stats, timers_fired)},
    {"wakeups_sent", offsetof(struct torc_stats, wakeups_sent)},
    {"wakeups_received", offsetof(struct torc_stats, wakeups_received)},
    {"mailbox_messages", offsetof(struct torc_stats, messages)},
    {"fibers_peak", offsetof(struct torc_stats, fibers_peak)},
    {"stacks", offsetof(struct torc_stats, stacks)},
};

enum {
    STATS_FIELDS = sizeof(stats_fields) / sizeof(stats_fields[0]),
};

static uint64_t stats_value(const struct torc_stats *stats, size_t field)
{
    return *(const uint64_t *)((const char *)stats + stats_fields[field].offset);
}

static double enters_per_message(const struct echo_shard *shard)
{
    const uint64_t messages = counter_get(&shard->messages);

    return messages == 0 ? 0 : (double)shard->stats.enters / (double)messages;
}

static json_t *stats_json(const struct echo *echo)
{
    json_t *shards = json_array();

    for (unsigned i = 0; i < echo->shard_count; i++) {
        const struct echo_shard *shard = &echo->shards[i];
        json_t *object = json_pack("{s:i, s:I, s:f}", "shard", (int)i, "messages",
                                   (json_int_t)counter_get(&shard->messages), "enters_per_message",
                                   enters_per_message(shard));

        for (size_t field = 0; field < STATS_FIELDS; field++) {
            json_object_set_new(object, stats_fields[field].name,
                                json_integer((json_int_t)stats_value(&shard->stats, field)));
        }
        json_array_append_new(shards, object);
    }
    return shards;
}

static void report_json(const struct echo *echo, const struct totals *totals, double seconds)
{
    json_t *report = json_pack(
        "{s:s, s:s, s:i, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "event", "report", "command",
        "echo", "shards", (int)echo->shard_count, "duration_seconds", seconds, "connections",
        (json_int_t)totals->connections, "messages", (json_int_t)totals->messages, "bytes",
        (json_int_t)totals->bytes, "resets", (json_int_t)totals->resets, "errors",
        (json_int_t)totals->errors, "accept_failures", (json_int_t)totals->accept_failures,
        "cpu_seconds", cli_cpu_seconds());

    if (report != NULL && echo->options->stats)
        json_object_set_new(report, "stats", stats_json(echo));
    (void)output_json(report);
}

static void print_stats(const struct echo *echo)
{
    printf("\n%sshard%21s", output_style(stdout, OUTPUT_BOLD), "");
    for (unsigned i = 0; i < echo->shard_count; i++)
        printf(" %15u", i);
    printf("%s\n", output_style(stdout, OUTPUT_PLAIN));
    printf("  %-24s", "messages");
    for (unsigned i = 0; i < echo->shard_count; i++)
        printf(" %15s", output_count(counter_get(&echo->shards[i].messages)).text);
    for (size_t field = 0; field < STATS_FIELDS; field++) {
        printf("\n  %-24s", stats_fields[field].name);
        for (unsigned i = 0; i < echo->shard_count; i++)
            printf(" %15s", output_count(stats_value(&echo->shards[i].stats, field)).text);
    }
    printf("\n  %-24s", "system calls per message");
    for (unsigned i = 0; i < echo->shard_count; i++)
        printf(" %15.3f", enters_per_message(&echo->shards[i]));
    putchar('\n');
}

void echo_report(const struct echo *echo)
{
    const struct totals totals = add_up(echo);
    const double seconds = (double)(echo->shards[0].end_ns - echo->begin_ns) / 1e9;
    const double cpu = cli_cpu_seconds();

    if (echo->options->json) {
        report_json(echo, &totals, seconds);
        return;
    }
    printf("\nserved for %.1f s on %u shard%s\n", seconds, echo->shard_count,
           echo->shard_count == 1 ? "" : "s");
    printf("  connections  %15s\n", output_count(totals.connections).text);
    printf("  messages     %15s\n", output_count(totals.messages).text);
    printf("  bytes        %15s  (%s)\n", output_count(totals.bytes).text,
           output_bytes((double)totals.bytes).text);
    printf("  resets       %15s  connections broken off by the peer\n",
           output_count(totals.resets).text);
    printf("  errors       %15s\n", output_count(totals.errors).text);
    if (totals.accept_failures > 0)
        printf("  not accepted %15s  tries\n", output_count(totals.accept_failures).text);
    printf("  CPU          %15.2f s", cpu);
    if (totals.messages > 0)
        printf("  (%s per message)", output_time(cpu * 1e9 / (double)totals.messages).text);
    putchar('\n');
    if (echo->options->stats)
        print_stats(echo);
    fflush(stdout);
}

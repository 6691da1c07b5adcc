/* SPDX-License-Identifier: MIT */
/*
 * metrics_test.c - the counters of all shards, as a struct and as text.
 */
#include "harness/run.h"
#include "harness/stream.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>

static uint64_t sum_of_delays(const struct torc_stats *stats)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < TORC_RUN_DELAYS; i++)
        sum += stats->run_delays[i];
    return sum;
}

static int sleep_long(void *arg)
{
    (void)arg;
    return torc_sleep(TORC_FOREVER / 2);
}

FIBER_TEST(timers_that_run_are_counted)
{
    struct torc_scope scope;
    struct torc_stats before;
    struct torc_stats stats;

    torc_stats(&before);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < 3; i++)
        EXPECT_INT(torc_scope_spawn(&scope, sleep_long, NULL), ==, 0);
    harness_yield(2);
    torc_stats(&stats);
    EXPECT_UINT(stats.timers, ==, before.timers + 3);
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    torc_stats(&stats);
    EXPECT_UINT(stats.timers, ==, before.timers);
}

FIBER_TEST(time_is_spent_waiting_or_on_the_cpu)
{
    struct torc_stats before;
    struct torc_stats stats;

    torc_stats(&before);
    do { /* A sleep that is over before the shard comes to wait for it is no wait. */
        EXPECT_INT(torc_sleep(2 * TORC_MILLISECOND), ==, 0);
        torc_stats(&stats);
    } while (stats.idle_ns == before.idle_ns);
    EXPECT_UINT(stats.cpu_ns, >, before.cpu_ns);
    EXPECT_UINT(stats.polled_ns, <=, stats.idle_ns);
}

FIBER_TEST(each_round_in_which_all_have_run_has_a_delay)
{
    struct torc_stats before;
    struct torc_stats stats;

    torc_stats(&before);
    for (int i = 0; i < 5; i++)
        EXPECT_INT(torc_sleep(100 * TORC_MICROSECOND), ==, 0);
    torc_stats(&stats);
    EXPECT_UINT(sum_of_delays(&stats), >=, sum_of_delays(&before) + 5);
    EXPECT_UINT(stats.run_delay_ns, >, before.run_delay_ns);
}

static int yield_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++)
        EXPECT_INT(torc_yield(), ==, 0);
    return 0;
}

FIBER_TEST(a_queue_that_never_empties_has_delays_too)
{
    struct torc_scope scope;
    struct torc_stats before;
    struct torc_stats stats;

    torc_stats(&before);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < 20; i++)
        EXPECT_INT(torc_scope_spawn(&scope, yield_often, NULL), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_stats(&stats);
    EXPECT_UINT(sum_of_delays(&stats), >, sum_of_delays(&before));
}

FIBER_TEST(receive_buffers_are_free_until_they_are_filled)
{
    struct torc_stream stream;
    struct torc_stats stats;
    int peer;

    if (!harness_has_feeds())
        SKIP("streams have no common buffers here");
    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "hello");
    harness_await_input(&stream, 5);
    torc_stats(&stats);
    EXPECT_UINT(stats.receive_buffers, >, 0);
    EXPECT_UINT(stats.receive_buffers_free, >, 0);
    EXPECT_UINT(stats.receive_buffers_free, <=, stats.receive_buffers);
    harness_expect_input(&stream, "hello");
    harness_close_stream(&stream, peer);
}

/* ---- All shards ---- */

static int look_at_all(void *arg)
{
    struct torc_stats stats;

    (void)arg;
    for (unsigned i = 0; i < torc_shard_count(); i++) {
        EXPECT_INT(torc_shard_stats(i, &stats), ==, 0);
        EXPECT_UINT(stats.fibers, <=, stats.fibers_peak);
    }
    EXPECT_INT(torc_shard_stats(torc_shard_count(), &stats), ==, -EINVAL);
    EXPECT_INT(torc_shard_stats(torc_shard_index(), &stats), ==, 0);
    EXPECT_UINT(stats.fibers, >=, 1);
    EXPECT_UINT(stats.cpu_ns, >, 0);
    return 0;
}

TEST(every_shard_can_read_the_counters_of_all)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    harness_run_with(&options, look_at_all, NULL);
}

/* ---- The text ---- */

/* "torc_name{label="value"} 12.5" or a comment. */
static void check_line(const char *line)
{
    const char *at = line;
    char *end;

    if (strncmp(line, "# HELP torc_", 12) == 0 || strncmp(line, "# TYPE torc_", 12) == 0)
        return;
    EXPECT_MSG(strncmp(line, "torc_", 5) == 0, "%s", line);
    while (islower((unsigned char)*at) || *at == '_')
        at++;
    if (*at == '{') {
        at = strchr(at, '}');
        EXPECT_MSG(at != NULL, "%s", line);
        at++;
    }
    EXPECT_MSG(*at == ' ', "%s", line);
    (void)strtod(at + 1, &end);
    EXPECT_MSG(end != at + 1 && *end == '\0', "%s", line);
}

static int check_text(void *arg)
{
    char *text = malloc(65536);
    const size_t length = torc_metrics_text(text, 65536);
    char *rest = text;

    (void)arg;
    EXPECT_UINT(length, ==, strlen(text));
    EXPECT(strstr(text, "# TYPE torc_ops_total counter\ntorc_ops_total{shard=\"0\"} ") != NULL);
    EXPECT(strstr(text, "\ntorc_fibers{shard=\"0\"} ") != NULL);
    EXPECT(strstr(text, "\ntorc_run_delay_seconds_bucket{shard=\"0\",le=\"+Inf\"} ") != NULL);
    EXPECT((strstr(text, "\ntorc_fibers{shard=\"1\"} ") != NULL) == (torc_shard_count() == 2));
    EXPECT_INT(text[length - 1], ==, '\n');
    text[length - 1] = '\0';
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        check_line(line);
    free(text);
    return 0;
}

TEST(the_text_has_a_line_for_each_counter_of_each_shard)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    harness_run_with(NULL, check_text, NULL);
    NEEDS_THREADS();
    harness_run_with(&options, check_text, NULL);
}

FIBER_TEST(a_text_that_has_no_room_is_cut_off_and_measured)
{
    const size_t length = torc_metrics_text(NULL, 0);
    char text[100];

    memset(text, 'x', sizeof(text));
    EXPECT_UINT(torc_metrics_text(text, 50), >, length / 2);
    EXPECT_UINT(strlen(text), ==, 49);
    EXPECT_INT(text[50], ==, 'x');
}

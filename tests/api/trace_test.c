/* SPDX-License-Identifier: MIT */
/*
 * trace_test.c - what fibers and operations do is recorded, and written as a time line.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <torc/torc.h>
#include <unistd.h>

static char *text; /* of the trace that was written last */

/* Write the trace to a file and read it. */
static void read_trace(void)
{
    const int fd = memfd_create("trace", MFD_CLOEXEC);
    off_t size;

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_trace_write(fd), ==, 0);
    size = lseek(fd, 0, SEEK_END);
    text = malloc((size_t)size + 1);
    EXPECT_INT(pread(fd, text, (size_t)size, 0), ==, size);
    text[size] = '\0';
    close(fd);
    EXPECT(strncmp(text, "{\"displayTimeUnit\"", 18) == 0);
    EXPECT_STR(text + size - 4, "\n]}\n");
}

static void drop_trace(void)
{
    free(text);
    torc_trace_drop();
}

static unsigned count_of(const char *what)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

static void expect_part(const char *part)
{
    EXPECT_MSG(strstr(text, part) != NULL, "%s is not in: %s", part, text);
}

static int receive(void *arg)
{
    const int *fds = arg;
    char byte;

    torc_fiber_set_name("receiver");
    EXPECT_INT(torc_yield(), ==, 0); /* The first run was before it had a name. */
    EXPECT_INT(torc_recv(fds[0], &byte, 1, 0), ==, 1);
    return 0;
}

/* Until the shard has slept, too: where its fibers are slow, a timer may be due before it can. */
static void sleep_with_shard(void)
{
    struct torc_stats before;
    struct torc_stats now;

    torc_stats(&before);
    do {
        EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
        torc_stats(&now);
    } while (now.waits == before.waits);
}

FIBER_TEST_WITH_THREADS(fibers_and_operations_are_on_the_time_line)
{
    struct torc_scope scope;
    char operation[96];
    int fds[2];

    harness_unix_pair(fds);
    EXPECT_INT(torc_trace_start(0), ==, 0);
    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_scope_spawn(&scope, receive, fds), ==, 0);
    sleep_with_shard();
    EXPECT_INT(torc_send(fds[1], "x", 1, 0), ==, 1);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_trace_stop();
    read_trace();

    expect_part("\"name\":\"process_name\",\"args\":{\"name\":\"shard 0\"}");
    expect_part("\"name\":\"receiver\",\"ts\":"); /* on the shard */
    expect_part(" receiver\"}}");                 /* as a track */
    expect_part("\"name\":\"main\",\"ts\":");
    expect_part("\"name\":\"waiting\",\"ts\":");
    expect_part("\"name\":\"ready\",\"ts\":");
    expect_part("\"name\":\"sleep\",\"ts\":");
    expect_part("\"ph\":\"b\"");
    expect_part(",\"args\":{\"result\":1}}");
    snprintf(operation, sizeof(operation), "\"args\":{\"fd\":%d}", fds[0]);
    expect_part(operation);
    EXPECT_UINT(count_of("\"cat\":\"op\",\"id\""), >=, 4); /* recv and send, begin and end */
    EXPECT_UINT(count_of("\"name\":\"recv\""), ==, 2);
    EXPECT_UINT(count_of("\"name\":\"send\""), ==, 2);
    drop_trace();
    harness_close_pair(fds);
}

static int yield_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3000; i++)
        EXPECT_INT(torc_yield(), ==, 0);
    return 0;
}

FIBER_TEST_WITH_THREADS(only_the_newest_events_are_kept)
{
    struct torc_scope scope;

    EXPECT_INT(torc_trace_start(1), ==, 0); /* 1,024 */
    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_scope_spawn(&scope, yield_often, NULL), ==, 0);
    EXPECT_INT(torc_scope_spawn(&scope, yield_often, NULL), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_trace_stop();
    read_trace();
    EXPECT_UINT(count_of("\"name\":\"running\""), >=, 100);
    EXPECT_UINT(count_of("\"name\":\"running\""), <=, 1024);
    drop_trace();
}

FIBER_TEST_WITH_THREADS(one_trace_at_a_time_until_it_is_dropped)
{
    EXPECT_INT(torc_trace_write(1), ==, -ENODATA);
    EXPECT_INT(torc_trace_start(0), ==, 0);
    EXPECT_INT(torc_trace_start(0), ==, -EBUSY);
    torc_trace_stop();
    torc_trace_stop();
    EXPECT_INT(torc_trace_start(0), ==, 0); /* Drops the one before. */
    torc_trace_drop();
    EXPECT_INT(torc_trace_write(1), ==, -ENODATA);
    EXPECT_INT(torc_trace_start(0), ==, 0);
    torc_trace_drop();
}

FIBER_TEST_WITH_THREADS(a_trace_that_is_still_recorded_can_be_written)
{
    EXPECT_INT(torc_trace_start(0), ==, 0);
    EXPECT_INT(torc_sleep(100 * TORC_MICROSECOND), ==, 0);
    read_trace();
    expect_part("\"name\":\"waiting\"");
    drop_trace();
}

FIBER_TEST_WITH_THREADS(what_cannot_be_written_is_told)
{
    EXPECT_INT(torc_trace_start(0), ==, 0);
    EXPECT_INT(torc_trace_write(-1), ==, -EBADF);
    torc_trace_drop();
}

FIBER_TEST_WITH_THREADS(names_are_written_so_that_json_can_hold_them)
{
    EXPECT_INT(torc_trace_start(0), ==, 0);
    torc_fiber_set_name("a \"b\"\\\n\xff");
    EXPECT_INT(torc_sleep(100 * TORC_MICROSECOND), ==, 0);
    torc_fiber_set_name("main");
    torc_trace_stop();
    read_trace();
    expect_part("\"name\":\"a \\u0022b\\u0022\\u005c\\u000a\\ufffd\",\"ts\":");
    drop_trace();
}

/* ---- Shards ---- */

static int record_all(void *arg)
{
    (void)arg;
    if (torc_shard_index() == 0) {
        EXPECT_INT(torc_trace_start(0), ==, 0);
        /* Until the other shard has gone round with it. */
        for (text = NULL; text == NULL || strstr(text, "{\"ph\":\"X\",\"pid\":2,") == NULL;) {
            free(text);
            EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
            read_trace();
        }
        expect_part("{\"ph\":\"X\",\"pid\":1,");
        expect_part("\"args\":{\"name\":\"shard 1\"}");
        drop_trace();
        torc_stop();
        return 0;
    }
    while (torc_sleep(TORC_MILLISECOND) == 0)
        ;
    return 0;
}

TEST(all_shards_are_recorded)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    NEEDS_THREADS();
    harness_run_with(&options, record_all, NULL);
}

/* ---- Stalls ---- */

static int stall_and_record(void *arg)
{
    struct torc_stats stats;

    (void)arg;
    EXPECT_INT(torc_trace_start(0), ==, 0);
    do
        torc_stats(&stats);
    while (stats.stalls == 0);
    /* How long it was is known when it has been seen to be over. */
    for (text = NULL; text == NULL || strstr(text, "\"name\":\"stall\",\"ts\":") == NULL;) {
        free(text);
        EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
        read_trace();
    }
    expect_part(",\"args\":{\"us\":");
    drop_trace();
    return 0;
}

TEST(stalls_are_marked)
{
    const struct torc_options options = {.stall_ns = 2 * TORC_MILLISECOND};

    NEEDS_THREADS();
    harness_run_with(&options, stall_and_record, NULL);
}

/* ---- Ends ---- */

static int leave_it_on(void *arg)
{
    (void)arg;
    EXPECT_INT(torc_trace_start(0), ==, 0);
    return 0;
}

TEST(a_trace_that_nobody_ends_ends_with_the_run)
{
    const struct torc_options two = {.shards = 1};

    NEEDS_THREADS();
    harness_run_with(NULL, leave_it_on, NULL);
    harness_run_with(&two, leave_it_on, NULL);
}

static int try_to_record(void *arg)
{
    (void)arg;
    EXPECT_INT(torc_trace_start(0), ==, -EOPNOTSUPP);
    EXPECT_INT(torc_trace_write(1), ==, -ENODATA);
    torc_trace_stop();
    torc_trace_drop();
    return 0;
}

TEST(without_an_observer_there_are_no_traces)
{
    const struct torc_options options = {.no_observer = true};

    harness_run_with(&options, try_to_record, NULL);
}

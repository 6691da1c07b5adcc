/* SPDX-License-Identifier: MIT */
/*
 * stream_feed_test.c - streams that receive by themselves: their buffers, and who waits for whom.
 *
 * What these tests say of bytes holds on every driver; what they say of buffers holds where there
 * are any.
 */
#include "harness/deny.h"
#include "harness/stream.h"
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/syscall.h>
#include <torc/torc.h>
#include <unistd.h>

static uint64_t buffers_now(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.receive_buffers;
}

static uint64_t starved_so_far(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.receive_buffers_starved;
}

static void put_pattern(int peer, size_t size, uint64_t offset)
{
    char data[4096];

    EXPECT_UINT(size, <=, sizeof(data));
    harness_pattern_fill(data, size, offset);
    harness_put(peer, data, size);
}

static void expect_pattern(struct torc_stream *stream, size_t size, uint64_t offset)
{
    while (size > 0) {
        char data[4096];
        const size_t part = size < sizeof(data) ? size : sizeof(data);

        EXPECT_INT(torc_stream_read_all(stream, data, part, NULL), ==, 0);
        harness_pattern_check(data, part, offset);
        size -= part;
        offset += part;
    }
}

/* ---- Options ---- */

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

TEST(sizes_and_numbers_of_buffers_have_ranges)
{
    const struct torc_options wrong[] = {
        {.receive_buffer_size = 1},        {.receive_buffer_size = 2048},
        {.receive_buffer_size = 4097},     {.receive_buffer_size = 65535},
        {.receive_buffer_size = 2u << 20}, {.receive_buffer_size = UINT32_MAX},
        {.receive_buffers = 32769},        {.receive_buffers = UINT32_MAX},
        {.receive_buffers_max = 32769},    {.receive_buffers_max = UINT32_MAX},
    };

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT_INT(torc_run(do_nothing, NULL, &wrong[i]), ==, -EINVAL);
}

static int send_much(void *arg)
{
    static char data[400000];

    harness_pattern_fill(data, sizeof(data), 0);
    EXPECT_INT(torc_send_all(*(const int *)arg, data, sizeof(data), NULL), ==, 0);
    return torc_shutdown(*(const int *)arg, SHUT_WR);
}

static int read_much(void *arg)
{
    struct torc_stream stream;
    struct torc_scope scope;
    int peer;

    (void)arg;
    harness_unix_stream(&stream, &peer);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_much, &peer);
    expect_pattern(&stream, 400000, 0);
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_stream(&stream, peer);
    return 0;
}

TEST(buffers_of_all_sizes_and_numbers_carry_streams)
{
    for (uint32_t size = 4096; size <= 1u << 20; size *= 2) {
        const struct torc_options options = {
            .receive_buffer_size = size, .receive_buffers = 1, .receive_buffers_max = 1};

        harness_run_with(&options, read_much, NULL);
    }
    for (uint32_t count = 1; count <= 1000; count = count * 5 + 2) {
        const struct torc_options options = {
            .receive_buffer_size = 4096, .receive_buffers = count, .receive_buffers_max = 3};

        harness_run_with(&options, read_much, NULL);
    }
}

static int count_buffers(void *arg)
{
    struct torc_stream stream;
    int peer;

    EXPECT_UINT(buffers_now(), ==, 0); /* No stream has received yet. */
    harness_unix_stream(&stream, &peer);
    harness_put_text(peer, "x");
    harness_await_input(&stream, 1);
    EXPECT_UINT(buffers_now(), ==, harness_has_feeds() ? *(const unsigned *)arg : 0);
    harness_close_stream(&stream, peer);
    return 0;
}

TEST(so_many_buffers_are_made_as_were_asked_for)
{
    for (unsigned count = 1; count <= 100; count = count * 3 + 1) {
        const struct torc_options options = {.receive_buffers = count};

        harness_run_with(&options, count_buffers, &count);
    }
}

/* ---- Want of buffers ---- */

enum {
    KEEPERS = 10,
    KEPT = 4096
};

struct keepers {
    struct torc_stream streams[KEEPERS];
    int peers[KEEPERS];
};

/* Each stream receives as much as a buffer holds, looks at it, and keeps it. */
static void keep_buffers(struct keepers *keepers, unsigned most)
{
    for (unsigned i = 0; i < KEEPERS; i++) {
        const void *data;

        harness_unix_stream(&keepers->streams[i], &keepers->peers[i]);
        put_pattern(keepers->peers[i], KEPT, i);
        EXPECT_INT(torc_stream_peek(&keepers->streams[i], &data), ==, KEPT);
        harness_pattern_check(data, KEPT, i);
        EXPECT_INT(torc_sleep(3 * TORC_MILLISECOND), ==, 0); /* So long that it is too long. */
        EXPECT_UINT(buffers_now(), <=, most);
    }
}

static void release_buffers(struct keepers *keepers)
{
    for (unsigned i = 0; i < KEEPERS; i++) {
        expect_pattern(&keepers->streams[i], KEPT, i);
        put_pattern(keepers->peers[i], 100, 7);
        expect_pattern(&keepers->streams[i], 100, 7);
        harness_close_stream(&keepers->streams[i], keepers->peers[i]);
    }
}

static int starve(void *arg)
{
    struct keepers keepers;

    (void)arg;
    keep_buffers(&keepers, 1);
    if (harness_has_feeds())
        EXPECT_UINT(starved_so_far(), >, 0);
    release_buffers(&keepers);
    EXPECT_UINT(buffers_now(), <=, 1);
    return 0;
}

TEST(streams_that_find_no_buffer_go_on_without_one)
{
    const struct torc_options options = {
        .receive_buffer_size = KEPT, .receive_buffers = 1, .receive_buffers_max = 1};

    harness_run_with(&options, starve, NULL);
}

static int starve_and_grow(void *arg)
{
    struct keepers keepers;

    (void)arg;
    keep_buffers(&keepers, 4);
    if (harness_has_feeds())
        EXPECT_UINT(buffers_now(), ==, 4);
    release_buffers(&keepers);
    EXPECT_UINT(buffers_now(), ==, harness_has_feeds() ? 1 : 0);
    return 0;
}

static int idle_without_buffers(void *arg)
{
    struct torc_stats before;
    struct torc_stats after;
    struct keepers keepers;
    struct torc_stream stream;
    struct torc_scope scope;
    const void *data;
    int peer;

    (void)arg;
    keep_buffers(&keepers, 1);
    harness_unix_stream(&stream, &peer);
    torc_stats(&before);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 50 * TORC_MILLISECOND);
    EXPECT_INT(torc_stream_peek(&stream, &data), ==, -ETIME);
    (void)torc_scope_close(&scope);
    torc_stats(&after);
    EXPECT_UINT(after.rounds - before.rounds, <, 100);
    harness_close_stream(&stream, peer);
    release_buffers(&keepers);
    return 0;
}

TEST(a_stream_that_finds_no_buffer_waits_for_bytes_and_sleeps)
{
    const struct torc_options options = {
        .receive_buffer_size = KEPT, .receive_buffers = 1, .receive_buffers_max = 1};

    harness_run_with(&options, idle_without_buffers, NULL);
}

TEST(buffers_that_slow_readers_keep_are_replaced_up_to_the_limit)
{
    const struct torc_options options = {
        .receive_buffer_size = KEPT, .receive_buffers = 1, .receive_buffers_max = 4};

    harness_run_with(&options, starve_and_grow, NULL);
}

enum {
    SWARM = 40
};

static int echo(void *arg)
{
    struct torc_stream stream;
    const void *data;
    ssize_t count;

    torc_stream_open(&stream, *(const int *)arg);
    while ((count = torc_stream_peek(&stream, &data)) > 0) {
        const size_t part = 1 + harness_random_below((uint32_t)count);

        if (harness_random_below(3) == 0)
            harness_yield(harness_random_below(20)); /* Keeping what it sees. */
        EXPECT_INT(torc_stream_write(&stream, data, part, NULL), ==, 0);
        torc_stream_consume(&stream, part);
    }
    EXPECT_INT(count, ==, 0);
    return torc_stream_close(&stream);
}

static int swarm_talk(void *arg)
{
    const int fd = *(const int *)arg;
    const unsigned rounds = harness_scaled(50);

    for (unsigned i = 0; i < rounds; i++) {
        const size_t size = 1 + harness_random_below(3000);
        char data[3000];

        harness_pattern_fill(data, size, i);
        EXPECT_INT(torc_send_all(fd, data, size, NULL), ==, 0);
        memset(data, 0, size);
        EXPECT_INT(torc_recv_all(fd, data, size, NULL), ==, 0);
        harness_pattern_check(data, size, i);
    }
    return torc_shutdown(fd, SHUT_WR);
}

static int swarm(void *arg)
{
    struct torc_scope scope;
    int fds[SWARM][2];

    (void)arg;
    torc_scope_open(&scope, 0);
    for (int i = 0; i < SWARM; i++) {
        harness_unix_pair(fds[i]);
        harness_spawn(&scope, echo, &fds[i][0]);
        harness_spawn(&scope, swarm_talk, &fds[i][1]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (int i = 0; i < SWARM; i++)
        close(fds[i][1]);
    return 0;
}

TEST(many_streams_share_one_or_two_buffers)
{
    for (uint32_t count = 1; count <= 2; count++) {
        const struct torc_options options = {
            .receive_buffer_size = 4096, .receive_buffers = count, .receive_buffers_max = count};

        harness_run_with(&options, swarm, NULL);
    }
}

FIBER_TEST(many_streams_share_the_buffers_of_the_defaults)
{
    swarm(NULL);
}

/* ---- Too much, and nothing ---- */

#define FLOOD (3u << 20)

static int send_flood(void *arg)
{
    static char data[8192];
    const int *at = arg;

    for (uint64_t offset = 0; offset < FLOOD; offset += sizeof(data)) {
        harness_pattern_fill(data, sizeof(data), offset);
        EXPECT_INT(torc_send_all(at[0], data, sizeof(data), NULL), ==, 0);
    }
    return torc_shutdown(at[0], SHUT_WR);
}

FIBER_TEST(a_stream_that_nobody_reads_makes_its_sender_wait)
{
    struct torc_stream stream;
    struct torc_scope scope;
    int peer;

    harness_unix_stream(&stream, &peer);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_flood, &peer);
    harness_await_input(&stream, 1);
    for (int i = 0; i < 300; i++) {
        harness_pass_kernel();
        EXPECT_UINT(torc_stream_buffered(&stream), <, FLOOD / 3);
    }
    expect_pattern(&stream, FLOOD, 0);
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(a_flood_of_single_bytes_overflows_nothing)
{
    struct torc_stream stream;
    const unsigned total = harness_scaled(20000);
    int peer;

    harness_tcp_stream(&stream, &peer);
    put_pattern(peer, 1, 0);
    harness_await_input(&stream, 1);
    for (unsigned i = 1; i < total; i++) /* The shard does not come round meanwhile. */
        put_pattern(peer, 1, i);
    expect_pattern(&stream, total, 0);
    EXPECT_INT(shutdown(peer, SHUT_WR), ==, 0);
    harness_expect_end(&stream, 0);
    harness_close_stream(&stream, peer);
}

enum {
    FLOODED = 100
};

static int flood_many(void *arg)
{
    static struct torc_stream streams[FLOODED];
    const unsigned rounds = harness_scaled(200);
    int peers[FLOODED];

    (void)arg;
    for (unsigned i = 0; i < FLOODED; i++) {
        harness_tcp_stream(&streams[i], &peers[i]);
        put_pattern(peers[i], 1, i);
        harness_await_input(&streams[i], 1);
    }
    for (unsigned round = 1; round < rounds; round++) {
        for (unsigned i = 0; i < FLOODED; i++)
            put_pattern(peers[i], 1, i + round);
    }
    for (unsigned i = 0; i < FLOODED; i++) {
        expect_pattern(&streams[i], rounds, i);
        EXPECT_UINT(torc_stream_buffered(&streams[i]), ==, 0);
        put_pattern(peers[i], 10, 0); /* The feed has ended, or not: it goes on. */
        expect_pattern(&streams[i], 10, 0);
        harness_close_stream(&streams[i], peers[i]);
    }
    return 0;
}

/*
 * While the shard puts bytes into many connections its streams receive them: each byte is a
 * completion, where system calls are the occasion, and they are more than the queue holds.
 */
TEST(completions_that_overflow_the_queue_lose_nothing_of_any_stream)
{
    const struct torc_options options = {.forbid = TORC_FEATURE_DEFER_TASKRUN};

    harness_run_with(&options, flood_many, NULL);
}

/* ---- Idle streams ---- */

enum {
    IDLERS = 64
};

static int take_messages(void *arg)
{
    struct torc_stream *stream = arg;
    const void *data;
    ssize_t count;

    while ((count = torc_stream_peek(stream, &data)) > 0)
        torc_stream_consume(stream, (size_t)count);
    return (int)count;
}

/* Let all streams have a message, and wait until each has been taken. */
static void pass_messages(struct torc_stream *streams, const int *peers)
{
    for (int i = 0; i < IDLERS; i++) {
        put_pattern(peers[i], 1000, 0);
        for (int j = 0; harness_unread(torc_stream_fd(&streams[i])) > 0; j++) {
            EXPECT_INT(j, <, 1000000);
            harness_pass_kernel();
        }
        harness_pass_kernel();
        EXPECT_UINT(torc_stream_buffered(&streams[i]), ==, 0);
    }
}

/* Streams that have had a message and wait for the next. Returns the memory in use meanwhile. */
static size_t idle_about(void)
{
    static struct torc_stream streams[IDLERS];
    struct torc_scope scope;
    int peers[IDLERS];
    size_t memory;

    torc_scope_open(&scope, 0);
    for (int i = 0; i < IDLERS; i++) {
        harness_unix_stream(&streams[i], &peers[i]);
        harness_spawn(&scope, take_messages, &streams[i]);
    }
    pass_messages(streams, peers);
    memory = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int i = 0; i < IDLERS; i++)
        EXPECT_INT(shutdown(peers[i], SHUT_WR), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (int i = 0; i < IDLERS; i++)
        harness_close_stream(&streams[i], peers[i]);
    return memory;
}

FIBER_TEST(idle_streams_hold_no_memory)
{
    size_t before;
    uint64_t buffers;

    if (harness_is_slow())
        SKIP("sanitizers and valgrind have memory of their own");
    (void)idle_about(); /* Fibers, chunks and blocks are kept for the next time. */
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    buffers = buffers_now();
    EXPECT_UINT(idle_about(), <, before + (size_t)IDLERS * 512);
    EXPECT_UINT(buffers_now(), ==, buffers);
}

/* ---- Limits of the system ---- */

/* Errors that say nothing of the input end no stream. */
FIBER_TEST(that_no_more_descriptors_may_be_watched_is_told_and_ends_no_stream)
{
    struct torc_driver_report report;
    struct torc_stream stream;
    const void *data;
    int peer;

    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    if (strcmp(report.driver, "epoll") != 0)
        SKIP("only epoll has such a limit");
    harness_tcp_stream(&stream, &peer);
    if (!harness_deny(SYS_epoll_ctl, ENOSPC))
        SKIP("no filter may be set here");
    for (int i = 0; i < 2; i++)
        EXPECT_INT(torc_stream_peek(&stream, &data), ==, -ENOSPC);
    harness_put_text(peer, "kept");
    harness_expect_input(&stream, "kept");
    harness_close_stream(&stream, peer);
}

/* ---- Shards ---- */

TEST(every_shard_has_buffers_of_its_own)
{
    const struct torc_options options = {.shards = 3, .no_pin = true, .receive_buffers = 2};

    NEEDS_THREADS();
    harness_run_with(&options, swarm, NULL);
}

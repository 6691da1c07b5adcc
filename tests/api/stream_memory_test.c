/* SPDX-License-Identifier: MIT */
/*
 * stream_memory_test.c - what streams allocate, and what they do where that fails.
 *
 * This program has its own malloc(), which gives nothing when it is told to, and its own
 * aligned_alloc(), which counts.
 */
#include "harness/stream.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <torc/torc.h>
#include <unistd.h>

static atomic_bool out_of_memory;
static atomic_uint aligned_count;

#if UNDER_ASAN || UNDER_TSAN
#define CAN_REFUSE false
#else
#define CAN_REFUSE true

/* NOLINTBEGIN(bugprone-reserved-identifier, readability-*): this is libc's name, not ours. */
void *__libc_malloc(size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    return atomic_load(&out_of_memory) ? NULL : __libc_malloc(size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    atomic_fetch_add(&aligned_count, 1);
    return __libc_memalign(alignment, size);
}
/* NOLINTEND(bugprone-reserved-identifier, readability-*) */
#endif

/* Have the shard make what its streams share, and a feed for this one. */
static void wait_a_moment(struct torc_stream *stream)
{
    struct torc_scope scope;
    const void *data;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 100 * TORC_MICROSECOND);
    EXPECT_INT(torc_stream_peek(stream, &data), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
}

static ssize_t peek_without_memory(struct torc_stream *stream)
{
    const void *data;
    ssize_t count;

    atomic_store(&out_of_memory, true);
    count = torc_stream_peek(stream, &data);
    atomic_store(&out_of_memory, false);
    return count;
}

/* What a feed has received is there, and cannot be noted: unlike all that may be tried again. */
static void lose_bytes(void)
{
    struct torc_stream stream;
    int peer;

    if (!harness_has_feeds())
        return;
    harness_unix_stream(&stream, &peer);
    wait_a_moment(&stream);
    harness_put_text(peer, "lost");
    EXPECT_INT(close(peer), ==, 0);
    EXPECT_INT(peek_without_memory(&stream), ==, -EIO);
    harness_expect_end(&stream, -EIO);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

TEST(bytes_for_which_there_is_no_memory_are_an_error_and_no_end)
{
    if (!CAN_REFUSE || harness_is_valgrind())
        SKIP("sanitizers and valgrind have a malloc() of their own");
    harness_run(lose_bytes);
}

static void read_later(void)
{
    struct torc_stream stream;
    int fds[2];

    EXPECT_INT(torc_pipe(fds, 0), ==, 0);
    torc_stream_open(&stream, fds[0]);
    wait_a_moment(&stream);
    EXPECT_INT(torc_write_all(fds[1], "kept", 4, NULL), ==, 0);
    EXPECT_INT(torc_close(fds[1]), ==, 0);
    EXPECT_INT(peek_without_memory(&stream), ==, -ENOMEM);
    harness_expect_input(&stream, "kept");
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

TEST(what_is_not_received_for_want_of_memory_is_received_later)
{
    if (!CAN_REFUSE || harness_is_valgrind())
        SKIP("sanitizers and valgrind have a malloc() of their own");
    harness_run(read_later);
}

#define STREAMS 60

/* All write before the shard turns to the kernel, so all have a block at the same time. */
static void write_in_rounds(struct torc_stream *streams, const int *peers, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < STREAMS; k++)
            EXPECT_INT(torc_stream_write(&streams[k], "answer", 6, NULL), ==, 0);
        for (unsigned k = 0; k < STREAMS; k++) {
            EXPECT_INT(torc_stream_flush(&streams[k]), ==, 0);
            harness_expect_sent(peers[k], "answer");
        }
    }
}

static void write_through_many(void)
{
    static struct torc_stream streams[STREAMS];
    int peers[STREAMS];
    unsigned before;

    for (unsigned k = 0; k < STREAMS; k++)
        harness_unix_stream(&streams[k], &peers[k]);
    write_in_rounds(streams, peers, 2);
    before = atomic_load(&aligned_count);
    write_in_rounds(streams, peers, 150); /* Longer than what streams remember. */
    EXPECT_UINT(atomic_load(&aligned_count), ==, before);
    for (unsigned k = 0; k < STREAMS; k++)
        harness_close_stream(&streams[k], peers[k]);
}

TEST(many_streams_that_write_in_each_round_allocate_nothing_after_the_first)
{
    if (!CAN_REFUSE || harness_is_valgrind())
        SKIP("sanitizers and valgrind have a malloc() of their own");
    harness_run(write_through_many);
}

/* ---- What is given back ---- */

static void open_pairs(struct torc_stream streams[STREAMS][2])
{
    for (unsigned k = 0; k < STREAMS; k++) {
        int fds[2];

        EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
        torc_stream_open(&streams[k][0], fds[0]);
        torc_stream_open(&streams[k][1], fds[1]);
    }
}

/* All write before the shard turns to the kernel, and their peers read. */
static void write_at_once(struct torc_stream streams[STREAMS][2])
{
    for (unsigned k = 0; k < STREAMS; k++)
        EXPECT_INT(torc_stream_write(&streams[k][0], "answer", 6, NULL), ==, 0);
    for (unsigned k = 0; k < STREAMS; k++)
        EXPECT_INT(torc_stream_skip(&streams[k][1], 6, NULL), ==, 0);
}

static int pause_between_bursts(void *arg)
{
    static struct torc_stream streams[STREAMS][2];
    unsigned before;

    (void)arg;
    open_pairs(streams);
    write_at_once(streams);
    before = atomic_load(&aligned_count);
    write_at_once(streams);
    EXPECT_UINT(atomic_load(&aligned_count), ==, before);
    EXPECT_INT(torc_sleep(60 * TORC_SECOND), ==, 0);
    write_at_once(streams);
    EXPECT_UINT(atomic_load(&aligned_count), >, before + STREAMS / 2);
    for (unsigned k = 0; k < STREAMS; k++) {
        EXPECT_INT(torc_stream_close(&streams[k][0]), ==, 0);
        EXPECT_INT(torc_stream_close(&streams[k][1]), ==, 0);
    }
    return 0;
}

/* In a simulation, where a minute passes at once. */
static void run_calmly(torc_fiber_fn *main)
{
    struct torc_sim_chaos chaos;
    const struct torc_sim_options options = {.chaos = &chaos};

    torc_sim_chaos_init(&chaos, TORC_SIM_CALM);
    EXPECT_INT(torc_sim_run(1, &options, main, NULL), ==, 0);
}

TEST(what_streams_do_not_need_for_a_while_is_given_back)
{
    if (!CAN_REFUSE || harness_is_valgrind())
        SKIP("sanitizers and valgrind have a malloc() of their own");
    run_calmly(pause_between_bursts);
}

/* Write until the peer, who does not read, would have to: what is collected keeps its block. */
static void write_until_full(struct torc_stream *stream)
{
    char piece[1024] = {0};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    while (torc_stream_write(stream, piece, sizeof(piece), NULL) == 0)
        ;
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
}

static int hold_all_blocks(void *arg)
{
    static struct torc_stream streams[STREAMS][2];

    (void)arg;
    open_pairs(streams);
    write_at_once(streams);
    for (unsigned k = 0; k < STREAMS; k++)
        write_until_full(&streams[k][0]);
    EXPECT_INT(torc_sleep(60 * TORC_SECOND), ==, 0);
    for (unsigned k = 0; k < STREAMS; k++) {
        EXPECT_INT(torc_close(torc_stream_detach(&streams[k][1])), ==, 0);
        EXPECT_INT(torc_stream_close(&streams[k][0]), <, 0);
    }
    return 0;
}

TEST(blocks_that_are_all_in_use_when_it_is_looked_are_no_business_of_that)
{
    run_calmly(hold_all_blocks);
}

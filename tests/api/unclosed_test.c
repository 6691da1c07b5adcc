/* SPDX-License-Identifier: MIT */
/*
 * unclosed_test.c - a fiber that ends while something on its stack is still in use is told of.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <torc/torc.h>
#include <unistd.h>

#define NOTHING_IN_USE 77

/* What the thing on the forgetful fiber's stack is used for. */
static int pair[2];

/* Wait for something that does not come, for as long as it takes the kernel to know of it. */
static void open_scope(struct torc_scope *scope)
{
    torc_scope_open(scope, 0);
    torc_scope_set_timeout(scope, TORC_MILLISECOND);
}

static void forget_receiving_stream(void)
{
    struct torc_stream stream;
    struct torc_scope scope;
    const void *data;

    torc_stream_open(&stream, pair[0]);
    open_scope(&scope);
    EXPECT_INT(torc_stream_peek(&stream, &data), ==, -ETIME);
    (void)torc_scope_close(&scope);
}

/* Nothing has been given to the driver yet, but is about to be. */
static void forget_sending_stream(void)
{
    struct torc_stream stream;

    torc_stream_open(&stream, pair[0]);
    EXPECT_INT(torc_stream_write(&stream, "text", 4, NULL), ==, 0);
}

static void forget_listener(void)
{
    const struct torc_address address = harness_address("127.0.0.1:0");
    struct torc_listener listener;
    struct torc_scope scope;

    EXPECT_INT(torc_listener_open(&listener, &address, NULL), ==, 0);
    open_scope(&scope);
    EXPECT_INT(torc_listener_accept(&listener, NULL), ==, -ETIME);
    (void)torc_scope_close(&scope);
}

static void forget_datagram_feed(void)
{
    const struct torc_address address = harness_address("127.0.0.1:0");
    struct torc_datagram_feed feed;
    struct torc_datagram datagram;
    struct torc_scope scope;
    const int fd = torc_udp_open(&address, NULL);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_datagram_feed_open(&feed, fd, NULL), ==, 0);
    open_scope(&scope);
    EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, -ETIME);
    (void)torc_scope_close(&scope);
}

/* The peer has not read it, so the memory is not free yet. */
static void forget_zero_copy(void)
{
    static char data[64 * 1024];
    struct torc_zero_copy zero_copy;
    int fds[2];

    harness_tcp_pair(fds);
    EXPECT_INT(torc_zero_copy_start(&zero_copy, fds[0], data, sizeof(data), 0), >, 0);
}

static void ignore(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)op;
    (void)result;
    (void)flags;
    (void)more;
}

static void forget_op(void)
{
    struct torc_op op;

    io_uring_prep_poll_add(torc_op_prepare_feed(&op, ignore), pair[0], POLLIN);
    EXPECT_INT(torc_yield(), ==, 0);
}

static void (*forget)(void);

static int forgetful(void *arg)
{
    struct torc_stats stats;

    (void)arg;
    torc_fiber_set_name("forgetful");
    forget();
    torc_stats(&stats);
    if (stats.ops_in_flight == 0 && forget != forget_sending_stream)
        _exit(NOTHING_IN_USE); /* This driver does it without an op that could outlive a wait. */
    return 0;
}

static void run_in_fiber(torc_fiber_fn *body, void *arg)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, body, arg);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

static int start(void *arg)
{
    run_in_fiber(forgetful, arg);
    return 0;
}

static void run_forgetful(void)
{
    harness_unix_pair(pair);
    (void)torc_run(start, NULL, NULL);
}

static void expect_told(void (*body)(void), const char *what)
{
    struct harness_death death;

    forget = body;
    harness_watch_death(run_forgetful, &death);
    if (WIFEXITED(death.status) && WEXITSTATUS(death.status) == NOTHING_IN_USE)
        SKIP("nothing outlives the wait on this driver");
    EXPECT_MSG(WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGABRT, "status 0x%x: %s",
               (unsigned)death.status, death.text);
    EXPECT_MSG(strstr(death.text, "\"forgetful\" of shard 0 has ended") != NULL, "%s", death.text);
    EXPECT_MSG(strstr(death.text, what) != NULL, "\"%s\" is not in: %s", what, death.text);
}

TEST(a_stream_that_receives_when_its_fiber_ends_is_told)
{
    expect_told(forget_receiving_stream, "a stream");
}

TEST(a_stream_that_has_something_to_send_when_its_fiber_ends_is_told)
{
    expect_told(forget_sending_stream, "a stream");
}

TEST(a_listener_that_accepts_when_its_fiber_ends_is_told)
{
    expect_told(forget_listener, "a listener");
}

TEST(a_datagram_feed_that_receives_when_its_fiber_ends_is_told)
{
    expect_told(forget_datagram_feed, "a datagram feed");
}

TEST(a_zero_copy_send_that_has_the_memory_when_its_fiber_ends_is_told)
{
    expect_told(forget_zero_copy, "a zero-copy send");
}

TEST(an_op_of_a_feed_that_is_in_flight_when_its_fiber_ends_is_told)
{
    expect_told(forget_op, "a feed of torc_op_prepare_feed()");
}

/* ---- What may go on ---- */

static int peek_in_vain(void *arg)
{
    struct torc_scope scope;
    const void *data;

    open_scope(&scope);
    EXPECT_INT(torc_stream_peek(arg, &data), ==, -ETIME);
    (void)torc_scope_close(&scope);
    return 0;
}

FIBER_TEST(a_stream_may_outlive_the_fiber_that_used_it_where_it_stands_elsewhere)
{
    struct torc_stream *allocated = malloc(sizeof(*allocated));
    struct torc_stream on_my_stack;
    int other[2];

    EXPECT(allocated != NULL);
    harness_unix_pair(pair);
    harness_unix_pair(other);
    torc_stream_open(allocated, pair[0]);
    torc_stream_open(&on_my_stack, other[0]);
    for (int i = 0; i < 3; i++) {
        run_in_fiber(peek_in_vain, allocated);
        run_in_fiber(peek_in_vain, &on_my_stack);
    }
    EXPECT_INT(torc_stream_close(allocated), ==, 0);
    EXPECT_INT(torc_stream_close(&on_my_stack), ==, 0);
    free(allocated);
    EXPECT_INT(close(pair[1]), ==, 0);
    EXPECT_INT(close(other[1]), ==, 0);
}

static int use_and_close(void *arg)
{
    struct torc_stream stream;
    int fds[2];

    (void)arg;
    harness_unix_pair(fds);
    torc_stream_open(&stream, fds[0]);
    run_in_fiber(peek_in_vain, &stream);
    EXPECT_INT(torc_stream_write(&stream, "text", 4, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, 0);
    EXPECT_INT(torc_stream_write(&stream, "more", 4, NULL), ==, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
    EXPECT_INT(close(fds[1]), ==, 0);
    return 0;
}

/* Streams that were closed leave nothing behind: the stacks of the first are those of the last. */
FIBER_TEST(fibers_that_close_their_streams_follow_each_other)
{
    struct torc_scope scope;

    for (unsigned i = 0; i < harness_scaled(50) + 1; i++) {
        torc_scope_open(&scope, 0);
        for (int j = 0; j < 5; j++)
            harness_spawn(&scope, use_and_close, NULL);
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
    }
}

/* What was never used is nobody's business but the one's whose descriptor it is. */
static int open_and_go(void *arg)
{
    struct torc_listener listener;
    struct torc_stream stream;

    torc_stream_open(&stream, *(int *)arg);
    torc_listener_adopt(&listener, *(int *)arg);
    return 0;
}

FIBER_TEST(what_was_opened_and_never_used_does_not_matter)
{
    int fds[2];

    harness_unix_pair(fds);
    run_in_fiber(open_and_go, &fds[0]);
    harness_close_pair(fds);
}

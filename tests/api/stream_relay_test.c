/* SPDX-License-Identifier: MIT */
/*
 * stream_relay_test.c - bytes that flow from stream to stream.
 */
#include "harness/stream.h"
#include <errno.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

/* Two streams with a relay between them, and the peers that talk through it. */
struct link {
    struct torc_stream a;
    struct torc_stream b;
    int a_peer;
    int b_peer;
    uint64_t ab;
    uint64_t ba;
    int result;
    bool done;
};

static void open_link(struct link *link)
{
    *link = (struct link){0};
    harness_tcp_stream(&link->a, &link->a_peer);
    harness_tcp_stream(&link->b, &link->b_peer);
}

static void close_link(struct link *link)
{
    (void)torc_stream_close(&link->a);
    (void)torc_stream_close(&link->b);
    close(link->a_peer);
    close(link->b_peer);
}

static int relay(void *arg)
{
    struct link *link = arg;

    link->result = torc_stream_relay(&link->a, &link->b, &link->ab, &link->ba);
    link->done = true;
    return 0;
}

/* What one peer sends the other receives, through the kernel. */
static void pass_text(int from, int to, const char *text)
{
    char data[64];

    harness_put_text(from, text);
    EXPECT_INT(torc_recv_all(to, data, strlen(text), NULL), ==, 0);
    EXPECT_MEM(data, text, strlen(text));
}

static void expect_closed(int fd)
{
    char byte;

    EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, 0);
}

/* ---- Copy ---- */

FIBER_TEST(copy_ends_with_the_input_and_counts)
{
    struct torc_stream from;
    struct torc_stream to;
    uint64_t count;
    int source;
    int sink;

    harness_tcp_stream(&from, &source);
    harness_tcp_stream(&to, &sink);
    harness_put_text(source, "some text");
    EXPECT_INT(shutdown(source, SHUT_WR), ==, 0);
    EXPECT_INT(torc_stream_copy(&from, &to, &count), ==, 0);
    EXPECT_UINT(count, ==, 9);
    EXPECT_INT(harness_unread(sink), ==, 9);
    EXPECT_INT(torc_stream_write(&to, "!", 1, NULL), ==, 0); /* It was not shut down. */
    EXPECT_INT(torc_stream_copy(&from, &to, NULL), ==, 0);
    harness_expect_sent(sink, "some text!");
    harness_close_stream(&from, source);
    harness_close_stream(&to, sink);
}

FIBER_TEST(copy_to_a_dead_peer_keeps_what_was_not_written)
{
    static char large[20000];
    struct torc_stream from;
    struct torc_stream to;
    uint64_t count = 0;
    int source;
    int sink;
    int result;

    harness_unix_stream(&from, &source);
    harness_unix_stream(&to, &sink);
    close(sink);
    harness_put(source, large, sizeof(large));
    harness_await_input(&from, sizeof(large));
    result = torc_stream_copy(&from, &to, &count);
    EXPECT_INT(result, ==, -EPIPE);
    EXPECT_UINT(count, ==, 0);
    EXPECT_UINT(torc_stream_buffered(&from), ==, sizeof(large));
    EXPECT_INT(torc_stream_close(&to), ==, -EPIPE);
    harness_close_stream(&from, source);
}

FIBER_TEST(copy_hands_on_the_error_of_its_input)
{
    struct torc_stream from;
    struct torc_stream to;
    uint64_t count;
    int source;
    int sink;

    harness_tcp_stream(&from, &source);
    harness_tcp_stream(&to, &sink);
    harness_put_text(source, "abc");
    harness_reset(source);
    EXPECT_INT(torc_stream_copy(&from, &to, &count), ==, -ECONNRESET);
    EXPECT_UINT(count, ==, 3);
    EXPECT_INT(torc_stream_close(&from), ==, 0);
    EXPECT_INT(torc_stream_flush(&to), ==, 0);
    harness_expect_sent(sink, "abc");
    harness_close_stream(&to, sink);
}

FIBER_TEST(a_copy_that_is_cut_short_can_be_taken_up)
{
    static char data[300000];
    struct torc_stream from;
    struct torc_stream to;
    struct torc_scope scope;
    uint64_t first;
    uint64_t second = 0;
    int source;
    int sink;

    harness_unix_stream(&from, &source);
    harness_narrow_stream(&to, &sink);
    harness_pattern_fill(data, 100000, 0);
    harness_put(source, data, 100000);
    EXPECT_INT(shutdown(source, SHUT_WR), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 2 * TORC_MILLISECOND);
    EXPECT_INT(torc_stream_copy(&from, &to, &first), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_UINT(first, <, 100000);
    for (size_t got = 0; got < 100000;) {
        uint64_t count;

        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, TORC_MILLISECOND);
        (void)torc_stream_copy(&from, &to, &count);
        (void)torc_scope_close(&scope);
        second += count;
        for (ssize_t part; (part = recv(sink, data, sizeof(data), MSG_DONTWAIT)) > 0;) {
            harness_pattern_check(data, (size_t)part, got);
            got += (size_t)part;
        }
    }
    EXPECT_UINT(first + second, ==, 100000);
    harness_close_stream(&from, source);
    harness_close_stream(&to, sink);
}

/* ---- Relay ---- */

FIBER_TEST(a_relay_passes_on_both_ways_and_half_closes)
{
    struct torc_scope scope;
    struct link link;

    open_link(&link);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, relay, &link);
    for (int i = 0; i < 20; i++) {
        pass_text(link.a_peer, link.b_peer, "there");
        pass_text(link.b_peer, link.a_peer, "and back");
    }
    EXPECT_INT(shutdown(link.a_peer, SHUT_WR), ==, 0);
    expect_closed(link.b_peer);
    pass_text(link.b_peer, link.a_peer, "still open");
    EXPECT(!link.done);
    EXPECT_INT(shutdown(link.b_peer, SHUT_WR), ==, 0);
    expect_closed(link.a_peer);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(link.result, ==, 0);
    EXPECT_UINT(link.ab, ==, 100);
    EXPECT_UINT(link.ba, ==, 170);
    close_link(&link);
}

#define FLOOD 400000u

static int flood(void *arg)
{
    static char data[FLOOD];

    harness_pattern_fill(data, sizeof(data), 0);
    EXPECT_INT(torc_send_all(*(int *)arg, data, sizeof(data), NULL), ==, 0);
    return torc_shutdown(*(int *)arg, SHUT_WR);
}

static int drink(void *arg)
{
    char data[5000];
    uint64_t offset = 0;
    ssize_t count;

    while ((count = torc_recv(*(int *)arg, data, sizeof(data), 0)) > 0) {
        harness_pattern_check(data, (size_t)count, offset);
        offset += (uint64_t)count;
    }
    EXPECT_INT(count, ==, 0);
    EXPECT_UINT(offset, ==, FLOOD);
    return 0;
}

FIBER_TEST(floods_in_both_directions_pass_a_relay)
{
    struct torc_scope scope;
    struct link link = {0};
    int a[2];
    int b[2];

    harness_narrow_pair(a);
    harness_narrow_pair(b);
    torc_stream_open(&link.a, a[0]);
    torc_stream_open(&link.b, b[0]);
    link.a_peer = a[1];
    link.b_peer = b[1];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, relay, &link);
    harness_spawn(&scope, flood, &link.a_peer);
    harness_spawn(&scope, flood, &link.b_peer);
    harness_spawn(&scope, drink, &link.a_peer);
    harness_spawn(&scope, drink, &link.b_peer);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(link.result, ==, 0);
    EXPECT_UINT(link.ab, ==, FLOOD);
    EXPECT_UINT(link.ba, ==, FLOOD);
    close_link(&link);
}

FIBER_TEST(a_reset_on_one_side_cuts_the_other)
{
    struct torc_scope scope;
    struct link link;

    open_link(&link);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, relay, &link);
    pass_text(link.a_peer, link.b_peer, "hello");
    harness_reset(link.a_peer);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(link.result, ==, -ECONNRESET);
    EXPECT_UINT(link.ab, ==, 5);
    link.a_peer = dup(link.b_peer); /* Something to be closed. */
    close_link(&link);
}

FIBER_TEST(a_cancelled_relay_ends_and_leaves_both_streams_usable)
{
    struct torc_scope scope;
    struct link link;

    open_link(&link);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_stream_relay(&link.a, &link.b, NULL, NULL), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    harness_put_text(link.a_peer, "more");
    harness_expect_input(&link.a, "more");
    EXPECT_INT(torc_stream_write(&link.b, "less", 4, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&link.b), ==, 0);
    harness_expect_sent(link.b_peer, "less");
    close_link(&link);
}

FIBER_TEST(a_relay_in_a_cancelled_scope_moves_nothing)
{
    struct torc_scope scope;
    struct link link;

    open_link(&link);
    harness_put_text(link.a_peer, "wait");
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_stream_relay(&link.a, &link.b, &link.ab, &link.ba), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_UINT(link.ab + link.ba, ==, 0);
    harness_expect_input(&link.a, "wait");
    close_link(&link);
}

/* ---- Transports ---- */

struct filter {
    struct torc_stream outside;
    struct torc_stream_pair pair;
    int result;
};

static int relay_filter(void *arg)
{
    struct filter *filter = arg;

    filter->result = torc_stream_relay(&filter->outside, &filter->pair.ends[0], NULL, NULL);
    return 0;
}

FIBER_TEST(a_dialogue_passes_a_relay_to_a_transport)
{
    struct torc_scope scope;
    struct filter filter;
    int peer;

    harness_tcp_stream(&filter.outside, &peer);
    EXPECT_INT(torc_stream_pair_open(&filter.pair, 1000), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, relay_filter, &filter);
    for (int i = 0; i < 20; i++) {
        char data[8];

        harness_put_text(peer, "ask");
        harness_expect_input(&filter.pair.ends[1], "ask");
        EXPECT_INT(torc_stream_write(&filter.pair.ends[1], "answer", 6, NULL), ==, 0);
        EXPECT_INT(torc_stream_flush(&filter.pair.ends[1]), ==, 0);
        EXPECT_INT(torc_recv_all(peer, data, 6, NULL), ==, 0);
    }
    EXPECT_INT(shutdown(peer, SHUT_WR), ==, 0);
    harness_expect_end(&filter.pair.ends[1], 0);
    EXPECT_INT(torc_stream_close(&filter.pair.ends[1]), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(filter.result, ==, 0);
    EXPECT_INT(torc_stream_close(&filter.pair.ends[0]), ==, 0);
    torc_stream_pair_finish(&filter.pair);
    harness_close_stream(&filter.outside, peer);
}

FIBER_TEST(a_relay_to_what_cannot_be_written_fails)
{
    static const struct torc_transport nothing;
    struct torc_stream deaf;
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "lost?");
    EXPECT_INT(shutdown(peer, SHUT_WR), ==, 0);
    torc_stream_open_transport(&deaf, &nothing, NULL);
    EXPECT_INT(torc_stream_relay(&stream, &deaf, NULL, NULL), ==, -EOPNOTSUPP);
    EXPECT_INT(torc_stream_close(&deaf), <=, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(a_relay_from_a_pipe_to_a_socket_and_back_ends)
{
    struct torc_stream pipe_in;
    struct torc_stream stream;
    uint64_t ab;
    int fds[2];
    int peer;

    harness_pipe(fds);
    harness_tcp_stream(&stream, &peer);
    torc_stream_open(&pipe_in, fds[0]);
    harness_put_text(fds[1], "through the pipe");
    close(fds[1]);
    EXPECT_INT(shutdown(peer, SHUT_WR), ==, 0);
    EXPECT_INT(torc_stream_relay(&pipe_in, &stream, &ab, NULL), ==, 0);
    EXPECT_UINT(ab, ==, 16);
    harness_expect_sent(peer, "through the pipe");
    EXPECT_INT(torc_stream_close(&pipe_in), ==, 0);
    harness_close_stream(&stream, peer);
}

/* SPDX-License-Identifier: MIT */
/*
 * half_closed_test.c - streams to peers that have ended their direction, and read slowly.
 *
 * A ring that waits for room itself is told of that end, again and again, and then has a thread of
 * the kernel's wait, for each of them.
 */
#include "harness/stream.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <torc/torc.h>
#include <unistd.h>

#define TOTAL 1000000u
#define COUNT 20
/* Some more may begin and end for reasons of their own. */
#define FEW 2

static char pattern[TOTAL];

static unsigned threads(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    unsigned count = 0;
    char line[256];

    EXPECT(status != NULL);
    while (count == 0 && fgets(line, sizeof(line), status) != NULL)
        (void)sscanf(line, "Threads: %u", &count);
    (void)fclose(status);
    EXPECT_UINT(count, >, 0);
    return count;
}

/*
 * More often than a ring tries a send again before it has a thread wait (128 times, Linux 6.18),
 * and until there is that thread.
 */
static void pass_kernel_often(void)
{
    for (int i = 0; i < 2000; i++)
        harness_pass_kernel();
}

/*
 * Threads that have been told to end what they did last on for 5 s. There are such only where an
 * end came while sends waited already, and not always.
 */
static void expect_few_threads(unsigned most)
{
    const uint64_t deadline_ns = torc_deadline(9 * TORC_SECOND);

    while (threads() > most && torc_now() < deadline_ns)
        harness_pass_kernel();
    EXPECT_UINT(threads(), <=, most);
}

struct writer {
    struct torc_stream stream;
    struct torc_scope scope;
    size_t piece;
    size_t taken;
    size_t received;
    int peer;
    int result;
    bool has_ended;
};

/* Over Unix sockets, or over TCP, whose buffers the kernel does not enlarge from then on. */
static void open_writer(struct writer *writer, size_t piece, bool is_tcp)
{
    const int room = 65536;

    *writer = (struct writer){.piece = piece};
    if (is_tcp)
        harness_tcp_stream(&writer->stream, &writer->peer);
    else
        harness_unix_stream(&writer->stream, &writer->peer);
    EXPECT_INT(torc_setsockopt(torc_stream_fd(&writer->stream), SOL_SOCKET, SO_SNDBUF, &room,
                               sizeof(room)),
               ==, 0);
    EXPECT_INT(torc_setsockopt(writer->peer, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), ==, 0);
}

static void end_input(struct writer *writer)
{
    EXPECT_INT(torc_shutdown(writer->peer, SHUT_WR), ==, 0);
    harness_expect_end(&writer->stream, 0);
}

static void open_ended_writer(struct writer *writer, size_t piece, bool is_tcp)
{
    open_writer(writer, piece, is_tcp);
    end_input(writer);
}

/* Write what is left of the pattern, and the end. */
static int write_rest(void *arg)
{
    struct writer *writer = arg;

    writer->result = 0;
    while (writer->result == 0 && writer->taken < TOTAL) {
        const size_t rest = TOTAL - writer->taken;
        size_t done;

        writer->result = torc_stream_write(&writer->stream, pattern + writer->taken,
                                           writer->piece < rest ? writer->piece : rest, &done);
        writer->taken += done;
    }
    if (writer->result == 0)
        writer->result = torc_stream_shutdown(&writer->stream);
    writer->has_ended = true;
    return 0;
}

static int receive_all(void *arg)
{
    struct writer *writer = arg;

    writer->received = harness_receive_pattern(writer->peer, 30000, SIZE_MAX);
    return 0;
}

static void expect_all_received(struct writer *writer)
{
    EXPECT_INT(writer->result, ==, 0);
    EXPECT_UINT(writer->received, ==, TOTAL);
    harness_close_stream(&writer->stream, writer->peer);
}

/* Of every kind, small pieces that are collected, and larger ones that are not. */
static const size_t pieces[] = {1000, 10000, 100000, TOTAL};

static void write_to_many(bool ends_before)
{
    struct writer *writers = calloc(COUNT, sizeof(*writers));
    struct torc_scope scope;
    unsigned before;

    EXPECT(writers != NULL);
    harness_pattern_fill(pattern, sizeof(pattern), 0);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < COUNT; i++)
        open_writer(&writers[i], pieces[i % 4], i / 4 % 2);
    before = threads();
    for (unsigned i = 0; i < COUNT; i++) {
        if (ends_before)
            end_input(&writers[i]);
        harness_spawn(&scope, write_rest, &writers[i]);
    }
    pass_kernel_often();
    for (unsigned i = 0; i < COUNT && !ends_before; i++)
        end_input(&writers[i]);
    pass_kernel_often();
    expect_few_threads(before + FEW);
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT(!writers[i].has_ended);
        harness_spawn(&scope, receive_all, &writers[i]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (unsigned i = 0; i < COUNT; i++)
        expect_all_received(&writers[i]);
    free(writers);
}

FIBER_TEST(writers_to_many_peers_that_have_ended_need_no_threads)
{
    write_to_many(true);
}

FIBER_TEST(writers_to_many_peers_that_end_meanwhile_need_no_threads)
{
    write_to_many(false);
}

static int write_in_scope(void *arg)
{
    struct writer *writer = arg;

    torc_scope_open(&writer->scope, 0);
    (void)write_rest(writer);
    (void)torc_scope_close(&writer->scope);
    return 0;
}

static void cancel_and_go_on(size_t piece, bool is_tcp)
{
    struct writer writer;
    struct torc_scope scope;

    open_ended_writer(&writer, piece, is_tcp);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, write_in_scope, &writer);
    pass_kernel_often();
    EXPECT(!writer.has_ended);
    torc_scope_cancel(&writer.scope);
    harness_yield_until(&writer.has_ended);
    EXPECT_INT(writer.result, ==, -ECANCELED);
    EXPECT_UINT(writer.taken, <, TOTAL);
    harness_spawn(&scope, receive_all, &writer);
    harness_spawn(&scope, write_rest, &writer);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    expect_all_received(&writer);
}

FIBER_TEST(a_writer_to_a_peer_that_has_ended_is_cancelled_and_goes_on_where_it_was)
{
    harness_pattern_fill(pattern, sizeof(pattern), 0);
    for (unsigned i = 0; i < 8; i++)
        cancel_and_go_on(pieces[i % 4], i / 4);
}

FIBER_TEST(what_is_collected_for_a_peer_that_has_ended_leaves_though_nobody_waits)
{
    struct writer writer;
    size_t filled;

    harness_pattern_fill(pattern, sizeof(pattern), 0);
    open_ended_writer(&writer, TOTAL, false);
    harness_fill(torc_stream_fd(&writer.stream));
    EXPECT_INT(torc_stream_write(&writer.stream, pattern, 1000, NULL), ==, 0);
    harness_pass_kernel();
    filled = harness_drain(writer.peer);
    EXPECT_UINT(filled, >, 1000);
    EXPECT_UINT(harness_receive_pattern(writer.peer, 1000, 1000), ==, 1000);
    harness_close_stream(&writer.stream, writer.peer);
}

#define WAYS 5

/* In each of the ways, without waiting. */
static ssize_t send_by(unsigned way, int fd)
{
    struct iovec piece = {pattern, 1000};
    const struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    switch (way) {
    case 0:
        return torc_send(fd, pattern, 1000, MSG_DONTWAIT);
    case 1:
        return torc_send(fd, pattern, TOTAL, MSG_DONTWAIT);
    case 2:
        return torc_sendmsg(fd, &message, MSG_DONTWAIT);
    case 3:
        return torc_send_zc(fd, pattern, 1000, MSG_DONTWAIT);
    default:
        return torc_sendmsg_zc(fd, &message, MSG_DONTWAIT);
    }
}

/* What streams build on. The last of what fills the socket may be on its way still. */
FIBER_TEST(sends_that_must_not_wait_say_that_a_peer_that_has_ended_has_no_room)
{
    int fds[2];

    harness_tcp_pair(fds);
    EXPECT_INT(torc_shutdown(fds[1], SHUT_WR), ==, 0);
    harness_fill(fds[0]);
    for (unsigned way = 0; way < WAYS; way++) {
        ssize_t result;

        do
            result = send_by(way, fds[0]);
        while (result > 0);
        EXPECT_INT(result, ==, -EAGAIN);
    }
    harness_close_pair(fds);
}

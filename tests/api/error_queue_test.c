/* SPDX-License-Identifier: MIT */
/*
 * error_queue_test.c - errors that come between datagrams, and those that wait to be read for ever.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <liburing.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <torc/torc.h>
#include <unistd.h>

#define FIRST_CALL 16  /* So many datagrams are received by one system call. */
#define ROUNDS_MAX 200 /* Of a wait for which nothing happens. */

static int sent_in_vain = -1;

/* The library's calls, too, end here: a send that nobody receives follows the first. */
/* NOLINTBEGIN(readability-*): this is libc's name, not ours. */
int recvmmsg(int fd, struct mmsghdr *vmessages, unsigned vlen, int flags, struct timespec *tmo)
{
    const int result = (int)syscall(SYS_recvmmsg, fd, vmessages, vlen, flags, tmo);

    if (result > 0 && fd == sent_in_vain) {
        sent_in_vain = -1;
        EXPECT_INT(send(fd, "x", 1, 0), ==, 1);
    }
    return result;
}
/* NOLINTEND(readability-*) */

static void connect_to(int fd, int other)
{
    struct torc_address address;

    EXPECT_INT(torc_local_address(other, &address), ==, 0);
    EXPECT_INT(torc_connect(fd, &address), ==, 0);
}

/* Two UDP sockets that are connected to each other. */
static void open_udp_pair(int fds[2])
{
    const struct torc_address local = harness_address("127.0.0.1:0");

    for (int i = 0; i < 2; i++) {
        fds[i] = torc_udp_open(&local, NULL);
        EXPECT_INT(fds[i], >=, 0);
    }
    connect_to(fds[0], fds[1]);
    connect_to(fds[1], fds[0]);
}

FIBER_TEST(an_error_that_comes_between_the_datagrams_of_a_batch_is_told_by_the_next_call)
{
    enum {
        COUNT = FIRST_CALL + 4
    };
    struct torc_datagram datagrams[COUNT] = {0};
    char bytes[COUNT];
    int fds[2];

    open_udp_pair(fds);
    for (int i = 0; i < COUNT; i++) {
        datagrams[i] = (struct torc_datagram){.data = &bytes[i], .size = 1};
        EXPECT_INT(send(fds[1], "y", 1, 0), ==, 1);
    }
    EXPECT_INT(close(fds[1]), ==, 0);
    sent_in_vain = fds[0];
    EXPECT_INT(torc_datagram_recv_batch(fds[0], datagrams, COUNT), ==, FIRST_CALL);
    EXPECT_INT(torc_datagram_recv_batch(fds[0], datagrams, COUNT), ==, -ECONNREFUSED);
    EXPECT_INT(torc_datagram_recv_batch(fds[0], datagrams, COUNT), ==, COUNT - FIRST_CALL);
    EXPECT_INT(close(fds[0]), ==, 0);
}

/* ---- Error queues that nobody reads ---- */

static int await_nothing(int (*receive)(int fd, void *context), int fd, void *context)
{
    struct torc_stats before;
    struct torc_stats after;
    struct torc_scope scope;
    int result;

    torc_stats(&before);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 50 * TORC_MILLISECOND);
    result = receive(fd, context);
    (void)torc_scope_close(&scope);
    torc_stats(&after);
    EXPECT_UINT(after.rounds - before.rounds, <, ROUNDS_MAX);
    return result;
}

static int receive_batch(int fd, void *context)
{
    char byte;
    struct torc_datagram datagram = {.data = &byte, .size = 1};

    (void)context;
    return torc_datagram_recv_batch(fd, &datagram, 1);
}

FIBER_TEST(a_batch_waits_although_nobody_reads_the_error_queue)
{
    const int on = 1;
    char byte;
    int fds[2];

    open_udp_pair(fds);
    EXPECT_INT(setsockopt(fds[0], IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), ==, 0);
    EXPECT_INT(close(fds[1]), ==, 0);
    EXPECT_INT(send(fds[0], "x", 1, 0), ==, 1);
    EXPECT_INT(recv(fds[0], &byte, 1, MSG_DONTWAIT), <,
               0); /* The error is told; it stays queued. */
    EXPECT_INT(await_nothing(receive_batch, fds[0], NULL), ==, -ETIME);
    EXPECT_INT(close(fds[0]), ==, 0);
}

/* A TCP pair; the first has a notice in its error queue. False where there are none. */
static bool open_noticed_pair(int fds[2])
{
    const int on = 1;
    char bytes[1000] = "";

    harness_tcp_pair(fds);
    if (setsockopt(fds[0], SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)) < 0) {
        harness_close_pair(fds);
        return false;
    }
    EXPECT_INT(send(fds[0], bytes, sizeof(bytes), MSG_ZEROCOPY), ==, sizeof(bytes));
    harness_get(fds[1], bytes, sizeof(bytes));
    EXPECT_INT(poll(&(struct pollfd){.fd = fds[0]}, 1, 1000), ==, 1); /* POLLERR */
    return true;
}

static int peek_stream(int fd, void *stream)
{
    const void *data;

    (void)fd;
    return (int)torc_stream_peek(stream, &data);
}

FIBER_TEST(a_stream_waits_although_nobody_reads_the_error_queue)
{
    struct torc_stream stream;
    const void *data;
    char byte;
    int fds[2];

    if (!open_noticed_pair(fds))
        SKIP("no zero-copy sends, whose notices stand in the error queue");
    torc_stream_open(&stream, fds[0]);
    EXPECT_INT(await_nothing(peek_stream, -1, &stream), ==, -ETIME);
    harness_put(fds[1], "abc", 3);
    EXPECT_INT(torc_stream_peek(&stream, &data), ==, 3);
    EXPECT_MEM(data, "abc", 3);
    torc_stream_consume(&stream, 3);
    EXPECT_INT(await_nothing(peek_stream, -1, &stream), ==, -ETIME);
    harness_put(fds[1], "d", 1);
    EXPECT_INT(close(fds[1]), ==, 0);
    EXPECT_INT(torc_stream_read_all(&stream, &byte, 1, NULL), ==, 0);
    EXPECT_INT(torc_stream_peek(&stream, &data), ==, 0); /* The end has come with the byte. */
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

/* A full socket may take some more after a while. */
static int send_batches(int fd, void *context)
{
    const struct torc_datagram datagram = {.data = context, .length = 1000};
    int result;

    do
        result = torc_datagram_send_batch(fd, &datagram, 1);
    while (result == 1);
    return result;
}

/* Batches are for datagrams; but on TCP one can fill a socket. */
FIBER_TEST(a_batch_waits_for_room_although_nobody_reads_the_error_queue)
{
    const int size = 65536; /* Or both would grow, and take some more, and some more. */
    char bytes[1000] = "";
    int fds[2];

    if (!open_noticed_pair(fds))
        SKIP("no zero-copy sends, whose notices stand in the error queue");
    EXPECT_INT(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), ==, 0);
    EXPECT_INT(setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), ==, 0);
    harness_fill(fds[0]);
    EXPECT_INT(await_nothing(send_batches, fds[0], bytes), ==, -ETIME);
    harness_close_pair(fds);
}

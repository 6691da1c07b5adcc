/* SPDX-License-Identifier: MIT */
/*
 * zero_copy_test.c - memory that is lent until the peer has it.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <torc/torc.h>
#include <unistd.h>

#define SIZE        (256u * 1024u)
#define LONELY_USER (1963140388 + (uid_t)getpid()) /* who has no other processes */

struct receiver {
    int fd;
    size_t wanted;
    size_t got;
};

/* Receive so many bytes of the pattern, or to the end. */
static int receive(void *arg)
{
    struct receiver *receiver = arg;

    receiver->got = harness_receive_pattern(receiver->fd, SIZE, receiver->wanted);
    return 0;
}

static char *pattern(void)
{
    char *data = malloc(SIZE);

    EXPECT(data != NULL);
    harness_pattern_fill(data, SIZE, 0);
    return data;
}

static void send_and_check(int fds[2])
{
    struct receiver receiver = {.fd = fds[1], .wanted = SIZE};
    char *data = pattern();
    struct torc_scope scope;
    size_t done = 0;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive, &receiver);
    while (done < SIZE) {
        const ssize_t count = torc_send_zc(fds[0], data + done, SIZE - done, 0);

        EXPECT_INT(count, >, 0);
        memset(data + done, 0, (size_t)count); /* It is ours again: the peer does not see this. */
        done += (size_t)count;
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(receiver.got, ==, SIZE);
    free(data);
}

FIBER_TEST(a_send_without_copy_returns_when_its_memory_is_free)
{
    int fds[2];

    harness_tcp_pair(fds);
    send_and_check(fds);
    harness_close_pair(fds);
}

FIBER_TEST(where_it_cannot_work_it_sends_with_a_copy)
{
    int fds[2];

    harness_unix_pair(fds); /* The kernel has no zero copy for these. */
    send_and_check(fds);
    harness_close_pair(fds);
}

static int send_raw(int fd)
{
    struct torc_op op;

    io_uring_prep_send_zc(torc_op_prepare(&op), fd, "abc", 3, 0, 0);
    return torc_op_wait(&op);
}

static void send_without_locked_memory(void)
{
    const struct rlimit none = {0, 0};
    int fds[2];
    int result;

    harness_tcp_pair(fds);
    EXPECT_INT(setrlimit(RLIMIT_MEMLOCK, &none), ==, 0); /* The ring has had what it needs. */
    result = send_raw(fds[1]);
    send_and_check(fds);
    harness_close_pair(fds);
    if (result != -ENOMEM)
        SKIP("such a send locks no memory here, but gave %d", result);
}

/* What is sent from counts as locked while the kernel has it; but not a user's who may lock all. */
TEST(where_no_memory_may_be_locked_it_sends_with_a_copy)
{
    if (setuid(LONELY_USER) != 0)
        SKIP("only root can become a user without other processes");
    harness_run(send_without_locked_memory);
}

FIBER_TEST(a_message_of_several_pieces_is_sent_without_copy)
{
    char first[] = "abc";
    char second[] = "defgh";
    struct iovec pieces[2] = {{first, 3}, {second, 5}};
    const struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    char data[8];
    int fds[2];

    harness_tcp_pair(fds);
    EXPECT_INT(torc_sendmsg_zc(fds[0], &message, 0), ==, 8);
    EXPECT_INT(torc_recv_all(fds[1], data, 8, NULL), ==, 0);
    EXPECT_MEM(data, "abcdefgh", 8);
    harness_close_pair(fds);
}

FIBER_TEST(a_failed_send_without_copy_completes_and_gives_its_memory_back)
{
    struct torc_zero_copy zero_copy;
    char data[100] = {0};
    int fds[2];

    harness_tcp_pair(fds);
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    EXPECT_INT(torc_send_zc(fds[0], data, sizeof(data), 0), ==, -EPIPE);
    EXPECT_INT(torc_zero_copy_start(&zero_copy, fds[0], data, sizeof(data), 0), ==, -EPIPE);
    torc_zero_copy_finish(&zero_copy);
    EXPECT(torc_zero_copy_is_free(&zero_copy));
    EXPECT_INT(torc_send_zc(-1, data, sizeof(data), 0), ==, -EBADF);
    EXPECT_INT(torc_zero_copy_start(&zero_copy, -1, data, sizeof(data), 0), ==, -EBADF);
    torc_zero_copy_finish(&zero_copy);
    harness_close_pair(fds);
}

FIBER_TEST(in_two_steps_the_result_comes_before_the_memory)
{
    struct torc_zero_copy zero_copy;
    struct receiver receiver = {0};
    char *data = pattern();
    ssize_t count;
    int fds[2];

    harness_tcp_pair(fds);
    receiver.fd = fds[1];
    count = torc_zero_copy_start(&zero_copy, fds[0], data, 20000, 0);
    EXPECT_INT(count, ==, 20000);
    receiver.wanted = 20000;
    EXPECT_INT(receive(&receiver), ==, 0);
    torc_zero_copy_finish(&zero_copy);
    EXPECT(torc_zero_copy_is_free(&zero_copy));
    torc_zero_copy_finish(&zero_copy); /* Again makes no difference. */
    free(data);
    harness_close_pair(fds);
}

FIBER_TEST(a_reason_ends_the_sending_and_the_memory_is_waited_for)
{
    struct torc_zero_copy zero_copy;
    struct receiver receiver = {.wanted = SIZE_MAX};
    char *data = pattern();
    struct torc_scope scope;
    size_t sent = 0;
    ssize_t count;
    int fds[2];

    harness_tight_pair(fds);
    receiver.fd = fds[1];
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 20 * TORC_MILLISECOND);
    while ((count = torc_zero_copy_start(&zero_copy, fds[0], data + sent, SIZE - sent,
                                         MSG_WAITALL)) > 0) {
        sent += (size_t)count;
        if (!torc_zero_copy_is_free(&zero_copy))
            break;
    }
    (void)torc_scope_close(&scope);
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    EXPECT_INT(receive(&receiver), ==, 0); /* All that was sent, and nothing else. */
    EXPECT_UINT(receiver.got, ==, sent);
    torc_zero_copy_finish(&zero_copy);
    free(data);
    harness_close_pair(fds);
}

FIBER_TEST(a_stream_within_the_machine_never_sends_without_copy)
{
    struct receiver receiver = {.wanted = SIZE};
    struct torc_stream stream;
    char *data = pattern();
    struct torc_scope scope;
    int fds[2];

    harness_tcp_pair(fds);
    receiver.fd = fds[1];
    torc_stream_open(&stream, fds[0]);
    EXPECT_INT(torc_stream_set_zero_copy(&stream, 1000), ==, 0); /* It is told so. */
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive, &receiver);
    EXPECT_INT(torc_stream_write(&stream, data, SIZE, NULL), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
    close(fds[1]);
    free(data);
}

/* An IPv6 socket that has accepted a connection by IPv4, between two addresses of this machine. */
FIBER_TEST(a_stream_within_the_machine_is_recognised_by_mapped_addresses_too)
{
    const struct torc_address any = harness_address("*:0");
    struct torc_address address = harness_address("127.0.0.2:0");
    const struct torc_address origin = harness_address("127.0.0.3:0");
    const struct torc_connect_options options = {.local = &origin};
    struct torc_address bound;
    struct torc_stream stream;
    int listener = torc_tcp_listen(&any, NULL);
    int client;

    if (listener == -EAFNOSUPPORT || listener == -EADDRNOTAVAIL)
        return; /* No IPv6 here. */
    EXPECT_INT(listener, >=, 0);
    EXPECT_INT(torc_local_address(listener, &bound), ==, 0);
    address.v4.sin_port = bound.v6.sin6_port;
    client = torc_tcp_connect(&address, 1, &options);
    EXPECT_INT(client, >=, 0);
    torc_stream_open(&stream, torc_accept(listener, NULL));
    EXPECT_INT(torc_stream_set_zero_copy(&stream, 1000), ==, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
    close(client);
    close(listener);
}

FIBER_TEST(in_a_cancelled_scope_nothing_is_sent)
{
    struct torc_zero_copy zero_copy;
    struct torc_scope scope;
    char data[10] = {0};
    int fds[2];

    harness_tcp_pair(fds);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_send_zc(fds[0], data, sizeof(data), 0), ==, -ECANCELED);
    EXPECT_INT(torc_zero_copy_start(&zero_copy, fds[0], data, sizeof(data), 0), ==, -ECANCELED);
    torc_zero_copy_finish(&zero_copy);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_UINT(harness_unread(fds[1]), ==, 0);
    harness_close_pair(fds);
}

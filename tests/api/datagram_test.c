/* SPDX-License-Identifier: MIT */
/*
 * datagram_test.c - datagrams one by one: what arrives, from whom, and how a wait for them ends.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <poll.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define A_WHILE (5 * TORC_MILLISECOND)

/* A UDP socket at `text`, and where to reach it. */
static int open_at(const char *text, const struct torc_udp_options *options,
                   struct torc_address *ret_address)
{
    const struct torc_address local = harness_address(text);
    const int fd = torc_udp_open(&local, options);

    EXPECT_MSG(fd >= 0, "%s: %s", text, torc_strerror(fd));
    EXPECT_INT(torc_local_address(fd, ret_address), ==, 0);
    return fd;
}

static void expect_same(const struct torc_address *a, const struct torc_address *b)
{
    char a_text[TORC_ADDRESS_TEXT_SIZE];
    char b_text[TORC_ADDRESS_TEXT_SIZE];

    EXPECT_MSG(torc_address_equal(a, b), "%s is not %s",
               torc_address_format(a, a_text, sizeof(a_text)),
               torc_address_format(b, b_text, sizeof(b_text)));
}

FIBER_TEST(t_16_connected_sockets_send_and_receive)
{
    struct torc_address addresses[2];
    struct torc_address peer;
    char data[16];
    const int server = open_at("127.0.0.1:0", NULL, &addresses[0]);
    const int client = torc_udp_connect(&addresses[0], NULL);

    EXPECT_INT(client, >=, 0);
    EXPECT(harness_is_cloexec(server));
    EXPECT(harness_is_cloexec(client));
    EXPECT_INT(torc_peer_address(client, &peer), ==, 0);
    expect_same(&peer, &addresses[0]);
    EXPECT_INT(torc_local_address(client, &addresses[1]), ==, 0);
    EXPECT_INT(torc_connect(server, &addresses[1]), ==, 0);
    EXPECT_INT(torc_send(client, "ping", 4, 0), ==, 4);
    EXPECT_INT(torc_recv(server, data, sizeof(data), 0), ==, 4);
    EXPECT_MEM(data, "ping", 4);
    EXPECT_INT(torc_send(server, "pong!", 5, 0), ==, 5);
    EXPECT_INT(torc_recv(client, data, sizeof(data), 0), ==, 5);
    EXPECT_MEM(data, "pong!", 5);
    torc_close(client);
    torc_close(server);
}

FIBER_TEST(t_16_a_socket_sends_to_many_and_each_learns_from_whom)
{
    struct torc_address addresses[5];
    struct torc_address peer;
    char data[16];
    int fds[5];

    for (int i = 0; i < 5; i++)
        fds[i] = open_at("127.0.0.1:0", NULL, &addresses[i]);
    for (int i = 1; i < 5; i++)
        EXPECT_INT(torc_sendto(fds[0], "abcd", (size_t)i, 0, &addresses[i]), ==, i);
    for (int i = 1; i < 5; i++) {
        EXPECT_INT(torc_recvfrom(fds[i], data, sizeof(data), 0, &peer), ==, i);
        EXPECT_MEM(data, "abcd", (size_t)i);
        expect_same(&peer, &addresses[0]);
        EXPECT_INT(torc_sendto(fds[i], data, (size_t)i, 0, &peer), ==, i);
    }
    for (int i = 1; i < 5; i++) {
        EXPECT_INT(torc_recvfrom(fds[0], data, sizeof(data), 0, NULL), ==, i);
        torc_close(fds[i]);
    }
    torc_close(fds[0]);
}

FIBER_TEST(t_17_readiness_is_that_of_the_moment)
{
    struct torc_address address;
    struct torc_scope scope;
    char data[4];
    const int fd = open_at("127.0.0.1:0", NULL, &address);

    EXPECT_INT(torc_poll(fd, POLLOUT), ==, POLLOUT);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_poll(fd, POLLIN), ==, -ETIME);
    torc_scope_close(&scope);
    EXPECT_INT(torc_sendto(fd, "x", 1, 0, &address), ==, 1);
    EXPECT_INT(torc_poll(fd, POLLIN), ==, POLLIN);
    EXPECT_INT(torc_recv(fd, data, sizeof(data), 0), ==, 1);
    torc_close(fd);
}

struct receiver {
    int fd;
    ssize_t result;
    char data[16];
    struct torc_address peer;
};

static int receive_one(void *arg)
{
    struct receiver *receiver = arg;

    receiver->result =
        torc_recvfrom(receiver->fd, receiver->data, sizeof(receiver->data), 0, &receiver->peer);
    return 0;
}

FIBER_TEST(t_18_a_receive_that_is_cancelled_ends_and_loses_nothing)
{
    struct torc_address address;
    struct receiver receiver = {.fd = open_at("127.0.0.1:0", NULL, &address)};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_one, &receiver);
    harness_pass_kernel();
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(receiver.result, ==, -ECANCELED);
    EXPECT_INT(torc_sendto(receiver.fd, "late", 4, 0, &address), ==, 4);
    receive_one(&receiver);
    EXPECT_INT(receiver.result, ==, 4);
    expect_same(&receiver.peer, &address);
    torc_close(receiver.fd);
}

static int receive_described(void *arg)
{
    struct receiver *receiver = arg;
    struct torc_datagram datagram = {.data = receiver->data, .size = sizeof(receiver->data)};

    receiver->result = torc_datagram_recv(receiver->fd, &datagram, 0);
    return 0;
}

static int receive_batch(void *arg)
{
    struct receiver *receiver = arg;
    struct torc_datagram datagram = {.data = receiver->data, .size = sizeof(receiver->data)};

    receiver->result = torc_datagram_recv_batch(receiver->fd, &datagram, 1);
    return 0;
}

FIBER_TEST(every_way_to_receive_ends_when_cancelled_or_late)
{
    static torc_fiber_fn *const ways[] = {receive_one, receive_described, receive_batch};
    struct torc_address address;
    struct receiver receiver = {.fd = open_at("127.0.0.1:0", NULL, &address)};

    for (int i = 0; i < 3; i++) {
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        harness_spawn(&scope, ways[i], &receiver);
        harness_pass_kernel();
        torc_scope_cancel(&scope);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
        EXPECT_INT(receiver.result, ==, -ECANCELED);
        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, A_WHILE);
        ways[i](&receiver);
        EXPECT_INT(receiver.result, ==, -ETIME);
        EXPECT_INT(torc_sendto(receiver.fd, "x", 1, 0, &address), ==, -ETIME);
        EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
        EXPECT_INT(torc_sendto(receiver.fd, "x", 1, 0, &address), ==, 1);
        ways[i](&receiver);
        EXPECT_INT(receiver.result, ==, 1);
    }
    torc_close(receiver.fd);
}

FIBER_TEST(a_datagram_without_bytes_is_one_and_no_end)
{
    struct torc_address address;
    struct torc_address peer = {0};
    char data[4];
    struct torc_datagram datagram = {.data = data, .size = sizeof(data)};
    const int fd = open_at("127.0.0.1:0", NULL, &address);

    for (int i = 0; i < 3; i++)
        EXPECT_INT(torc_sendto(fd, "", 0, 0, &address), ==, 0);
    EXPECT_INT(torc_recvfrom(fd, data, sizeof(data), 0, &peer), ==, 0);
    expect_same(&peer, &address);
    EXPECT_INT(torc_datagram_recv(fd, &datagram, 0), ==, 0);
    EXPECT_UINT(datagram.whole_length, ==, 0);
    expect_same(&datagram.peer, &address);
    EXPECT_INT(torc_datagram_recv_batch(fd, &datagram, 1), ==, 1);
    EXPECT_UINT(datagram.length, ==, 0);
    expect_same(&datagram.peer, &address);
    EXPECT(!harness_is_readable(fd));
    torc_close(fd);
}

/* As by write(2); a connection has no such thing, and a file takes it for nothing. */
FIBER_TEST(an_empty_write_is_a_datagram_too)
{
    char data[4];
    int datagrams[2];
    int stream[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, datagrams), ==, 0);
    harness_unix_pair(stream);
    EXPECT_INT(torc_write(datagrams[0], NULL, 0), ==, 0);
    EXPECT_INT(torc_write(datagrams[0], "abc", 3), ==, 3);
    EXPECT_INT(torc_recv(datagrams[1], data, sizeof(data), 0), ==, 0);
    EXPECT_INT(torc_recv(datagrams[1], data, sizeof(data), 0), ==, 3);
    EXPECT_INT(torc_write(stream[0], NULL, 0), ==, 0);
    EXPECT_INT(torc_write(stream[0], "abc", 3), ==, 3);
    EXPECT_INT(torc_recv(stream[1], data, sizeof(data), 0), ==, 3);
    harness_close_pair(stream);
    harness_close_pair(datagrams);
}

FIBER_TEST(a_datagram_that_is_cut_is_reported_with_its_whole_length)
{
    struct torc_address address;
    char data[4];
    struct torc_datagram datagram = {.data = data, .size = sizeof(data)};
    const int fd = open_at("127.0.0.1:0", NULL, &address);

    for (int i = 0; i < 4; i++)
        EXPECT_INT(torc_sendto(fd, "0123456789", 10, 0, &address), ==, 10);
    EXPECT_INT(torc_datagram_recv(fd, &datagram, 0), ==, 4);
    EXPECT_UINT(datagram.length, ==, 4);
    EXPECT_UINT(datagram.whole_length, ==, 10);
    EXPECT_MEM(data, "0123", 4);
    EXPECT_INT(torc_datagram_recv_batch(fd, &datagram, 1), ==, 1);
    EXPECT_UINT(datagram.length, ==, 4);
    EXPECT_UINT(datagram.whole_length, ==, 10);
    EXPECT_INT(torc_recvfrom(fd, data, sizeof(data), 0, NULL), ==, 4);
    EXPECT_INT(torc_recvfrom(fd, data, sizeof(data), MSG_TRUNC, NULL), ==, 10);
    torc_close(fd);
}

FIBER_TEST(what_no_datagram_can_carry_is_emsgsize_and_is_not_sent)
{
    static char large[70000];
    struct torc_address address;
    struct torc_datagram datagram = {.data = large, .length = sizeof(large)};
    const int fd = open_at("127.0.0.1:0", NULL, &address);

    datagram.peer = address;
    EXPECT_INT(torc_sendto(fd, large, sizeof(large), 0, &address), ==, -EMSGSIZE);
    EXPECT_INT(torc_datagram_send(fd, &datagram, 0), ==, -EMSGSIZE);
    EXPECT_INT(torc_datagram_send_batch(fd, &datagram, 1), ==, -EMSGSIZE);
    EXPECT(!harness_is_readable(fd));
    EXPECT_INT(torc_sendto(fd, large, 65507, 0, &address), ==, 65507);
    EXPECT_INT(torc_recv(fd, large, sizeof(large), 0), ==, 65507);
    torc_close(fd);
}

FIBER_TEST(that_nobody_listens_is_told_to_a_connected_socket_once)
{
    struct torc_address dead;
    char data[4] = "abc";
    struct torc_datagram datagram = {.data = data, .size = sizeof(data), .length = 1};
    int fd = open_at("127.0.0.1:0", NULL, &dead);

    torc_close(fd);
    fd = torc_udp_connect(&dead, NULL);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_send(fd, "x", 1, 0), ==, 1);
    EXPECT_INT(torc_recv(fd, data, sizeof(data), 0), ==, -ECONNREFUSED);
    EXPECT_INT(torc_send(fd, "x", 1, 0), ==, 1);
    EXPECT_INT(torc_poll(fd, POLLIN) & POLLERR, ==, POLLERR); /* The answer is there. */
    EXPECT_INT(torc_send(fd, "x", 1, 0), ==, -ECONNREFUSED);
    EXPECT_INT(torc_datagram_send(fd, &datagram, 0), ==, 1);
    EXPECT_INT(torc_datagram_recv(fd, &datagram, 0), ==, -ECONNREFUSED);
    datagram.length = 1;
    EXPECT_INT(torc_datagram_send_batch(fd, &datagram, 1), ==, 1);
    EXPECT_INT(torc_datagram_recv_batch(fd, &datagram, 1), ==, -ECONNREFUSED);
    EXPECT_INT(torc_recv(fd, data, sizeof(data), MSG_DONTWAIT), ==, -EAGAIN);
    torc_close(fd);
}

static int receive_by_read(void *arg)
{
    struct receiver *receiver = arg;

    receiver->result = torc_read(receiver->fd, receiver->data, sizeof(receiver->data));
    return 0;
}

static int receive_by_readv(void *arg)
{
    struct receiver *receiver = arg;
    const struct iovec vector = {receiver->data, sizeof(receiver->data)};

    receiver->result = torc_readv(receiver->fd, &vector, 1);
    return 0;
}

FIBER_TEST(shutting_a_socket_down_ends_the_receive_of_another_fiber)
{
    static torc_fiber_fn *const ways[] = {receive_one, receive_described, receive_by_read,
                                          receive_by_readv, receive_batch};
    static const int results[] = {0, 0, 0, 0, -ESHUTDOWN};
    struct torc_address address;
    const int other = open_at("127.0.0.1:0", NULL, &address);

    for (int i = 0; i < 5; i++) {
        struct receiver receiver = {.fd = torc_udp_connect(&address, NULL)};
        struct torc_scope scope;

        EXPECT_INT(receiver.fd, >=, 0);
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, ways[i], &receiver);
        harness_pass_kernel();
        EXPECT_INT(torc_shutdown(receiver.fd, SHUT_RD), ==, 0);
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
        EXPECT_INT(receiver.result, ==, results[i]);
        EXPECT_UINT(receiver.peer.length, ==, 0); /* Nobody has sent that. */
        ways[i](&receiver);
        EXPECT_INT(receiver.result, ==, results[i]);
        torc_close(receiver.fd);
    }
    torc_close(other);
}

FIBER_TEST(a_connection_of_a_datagram_socket_can_be_dissolved)
{
    const struct torc_address nobody = {.length = sizeof(struct sockaddr),
                                        .any = {.sa_family = AF_UNSPEC}};
    struct torc_address address;
    struct torc_address peer;
    const int server = open_at("127.0.0.1:0", NULL, &address);
    const int client = torc_udp_connect(&address, NULL);

    EXPECT_INT(torc_connect(client, &nobody), ==, 0);
    EXPECT_INT(torc_peer_address(client, &peer), ==, -ENOTCONN);
    EXPECT_INT(torc_send(client, "x", 1, 0), ==, -EDESTADDRREQ);
    torc_close(client);
    torc_close(server);
}

FIBER_TEST(an_answer_goes_back_to_where_the_question_came_from)
{
    const struct torc_udp_options options = {.tell_local = true};
    struct torc_address addresses[2];
    char data[16];
    struct torc_datagram datagram = {.data = data, .size = sizeof(data)};
    const int server = open_at("0.0.0.0:0", &options, &addresses[0]);
    const int client = open_at("127.0.0.1:0", NULL, &addresses[1]);
    const struct torc_address target = harness_address("127.0.0.5:0");

    addresses[0].v4.sin_addr = target.v4.sin_addr;
    EXPECT_INT(torc_sendto(client, "question", 8, 0, &addresses[0]), ==, 8);
    EXPECT_INT(torc_datagram_recv(server, &datagram, 0), ==, 8);
    EXPECT_UINT(datagram.arrived_at, >, 0);
    expect_same(&datagram.local, &target);
    expect_same(&datagram.peer, &addresses[1]);
    EXPECT(!datagram.has_multicast_address);
    EXPECT_INT(torc_datagram_send(server, &datagram, 0), ==, 8);
    EXPECT_INT(torc_datagram_recv(client, &datagram, 0), ==, 8);
    EXPECT_MEM(data, "question", 8);
    expect_same(&datagram.peer, &addresses[0]); /* 127.0.0.5, not 127.0.0.1. */
    EXPECT_UINT(datagram.local.length, ==, 0);  /* Not asked for. */
    torc_close(client);
    torc_close(server);
}

/* Fill a socket whose datagrams nobody takes, so that the next one has to wait. */
static unsigned fill(int fd, char *data, size_t length)
{
    unsigned count = 0;

    while (torc_send(fd, data, length, MSG_DONTWAIT) == (ssize_t)length)
        count++;
    return count;
}

static int send_one(void *arg)
{
    struct receiver *sender = arg;
    const struct torc_datagram datagram = {.data = sender->data, .length = sizeof(sender->data)};

    sender->result = torc_datagram_send(sender->fd, &datagram, 0);
    return 0;
}

static int send_batch(void *arg)
{
    struct receiver *sender = arg;
    const struct torc_datagram datagram = {.data = sender->data, .length = sizeof(sender->data)};

    sender->result = torc_datagram_send_batch(sender->fd, &datagram, 1);
    return 0;
}

/* UDP over loopback drops what does not fit; a Unix datagram socket makes its sender wait. */
FIBER_TEST(a_sender_waits_for_room_and_can_be_cancelled_meanwhile)
{
    static torc_fiber_fn *const ways[] = {send_one, send_batch};
    char data[16] = "fifteen letters";

    for (int i = 0; i < 2; i++) {
        struct receiver sender;
        struct torc_scope scope;
        unsigned count;
        int fds[2];

        EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
        sender.fd = fds[0];
        memcpy(sender.data, data, sizeof(data));
        count = fill(fds[0], data, sizeof(data));
        EXPECT_UINT(count, >, 0);
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, ways[i], &sender);
        harness_pass_kernel();
        torc_scope_cancel(&scope);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
        EXPECT_INT(sender.result, ==, -ECANCELED);
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, ways[i], &sender);
        harness_pass_kernel();
        for (; count > 0; count--)
            EXPECT_INT(torc_recv(fds[1], data, sizeof(data), 0), ==, sizeof(data));
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
        EXPECT_INT(sender.result, ==, i == 0 ? (ssize_t)sizeof(data) : 1);
        EXPECT_INT(torc_recv(fds[1], data, sizeof(data), 0), ==, sizeof(data));
        EXPECT_INT(torc_recv(fds[1], data, sizeof(data), MSG_DONTWAIT), ==, -EAGAIN);
        harness_close_pair(fds);
    }
}

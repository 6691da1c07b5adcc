/* SPDX-License-Identifier: MIT */
/*
 * tcp_test.c - connections: listening, accepting, connecting, and both ways at once.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <poll.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define A_WHILE (5 * TORC_MILLISECOND)

struct accepter {
    int listener;
    int fd;
    struct torc_address peer;
    bool done;
};

static int accept_one(void *arg)
{
    struct accepter *accepter = arg;

    accepter->fd = torc_accept(accepter->listener, &accepter->peer);
    accepter->done = true;
    return 0;
}

/* A listener at `text`, and where to reach it. */
static int listen_at(const char *text, struct torc_address *ret_target)
{
    struct torc_address address = harness_address(text);
    const int fd = torc_tcp_listen(&address, NULL);
    uint16_t port;

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_local_address(fd, ret_target), ==, 0);
    port = torc_address_port(ret_target);
    EXPECT_INT(port, !=, 0);
    if (text[0] == '*' || text[0] == ':') { /* Any address: reach it by that of loopback. */
        EXPECT_INT(torc_resolve("127.0.0.1", port, ret_target, 1), ==, 1);
    }
    return fd;
}

static void expect_same_address(const struct torc_address *a, const struct torc_address *b)
{
    char a_text[TORC_ADDRESS_TEXT_SIZE];
    char b_text[TORC_ADDRESS_TEXT_SIZE];

    EXPECT_MSG(torc_address_equal(a, b), "%s is not %s",
               torc_address_format(a, a_text, sizeof(a_text)),
               torc_address_format(b, b_text, sizeof(b_text)));
}

static bool has_ipv6(void)
{
    const struct torc_address address = harness_address("[::1]:0");
    const int fd = torc_tcp_listen(&address, NULL);

    if (fd < 0)
        return false;
    torc_close(fd);
    return true;
}

static void connect_and_accept(const char *text)
{
    struct torc_scope scope;
    struct torc_address target;
    struct torc_address address;
    struct accepter accepter = {.listener = listen_at(text, &target)};
    int fd;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, accept_one, &accepter);
    fd = torc_tcp_connect(&target, 1, NULL);
    EXPECT_MSG(fd >= 0, "%s: %s", text, torc_strerror(fd));
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(accepter.fd, >=, 0);
    EXPECT(harness_is_cloexec(fd));
    EXPECT(harness_is_cloexec(accepter.fd));
    EXPECT(harness_is_cloexec(accepter.listener));

    EXPECT_INT(torc_peer_address(fd, &address), ==, 0);
    expect_same_address(&address, &target);
    EXPECT_INT(torc_local_address(fd, &address), ==, 0);
    if (accepter.peer.any.sa_family == address.any.sa_family) /* Not IPv4 on an IPv6 socket. */
        expect_same_address(&address, &accepter.peer);
    EXPECT_INT(torc_address_port(&address), ==, torc_address_port(&accepter.peer));
    EXPECT_INT(torc_peer_address(accepter.fd, &address), ==, 0);
    expect_same_address(&address, &accepter.peer);
    torc_close(fd);
    torc_close(accepter.fd);
    torc_close(accepter.listener);
}

FIBER_TEST(t_01_to_03_accept_and_connect_meet_at_every_form_of_address)
{
    connect_and_accept("127.0.0.1:0");
    connect_and_accept("localhost:0");
    connect_and_accept("127.0.0.2:0");
    if (has_ipv6()) {
        connect_and_accept("[::1]:0");
        connect_and_accept(":0");
        connect_and_accept("*:0");
    }
}

FIBER_TEST(t_05_connecting_to_a_closed_port_is_refused)
{
    const struct torc_address dead = harness_dead_address();
    int fd;

    EXPECT_INT(torc_tcp_connect(&dead, 1, NULL), ==, -ECONNREFUSED);
    fd = torc_socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_INT(torc_connect(fd, &dead), ==, -ECONNREFUSED);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_tcp_connect(&dead, 0, NULL), ==, -EINVAL);
}

FIBER_TEST(connecting_tries_the_addresses_in_order_until_one_answers)
{
    struct torc_address addresses[4];
    struct torc_address peer;
    int listeners[2];
    int fd;

    addresses[0] = harness_dead_address();
    addresses[1] = harness_dead_address();
    listeners[0] = harness_listener(&addresses[2]);
    listeners[1] = harness_listener(&addresses[3]);
    fd = torc_tcp_connect(addresses, 4, NULL);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_peer_address(fd, &peer), ==, 0);
    expect_same_address(&peer, &addresses[2]);
    torc_close(fd);
    EXPECT_INT(torc_tcp_connect(addresses, 2, NULL), ==, -ECONNREFUSED);
    harness_close_pair(listeners);
}

FIBER_TEST(connecting_may_choose_the_local_address)
{
    struct torc_address target;
    const int listener = harness_listener(&target);
    const struct torc_address local = harness_address("127.0.0.9:0");
    const struct torc_connect_options options = {.local = &local};
    struct torc_address found;
    char text[TORC_ADDRESS_TEXT_SIZE];
    const int fd = torc_tcp_connect(&target, 1, &options);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_local_address(fd, &found), ==, 0);
    torc_address_format(&found, text, sizeof(text));
    EXPECT_MSG(strncmp(text, "127.0.0.9:", 10) == 0, "%s", text);
    torc_close(fd);
    close(listener);
}

FIBER_TEST(t_06_a_cancelled_receive_ends_before_the_peers_data_come)
{
    struct torc_scope scope;
    char data[8];
    int fds[2];

    harness_tcp_pair(fds);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, -ETIME);
    torc_scope_close(&scope);
    harness_put(fds[1], "late", 4);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, 4);
    harness_close_pair(fds);
}

/* ---- Echo ---- */

static int echo_all(void *arg)
{
    const int fd = *(const int *)arg;
    char data[4096];
    ssize_t count;

    while ((count = torc_recv(fd, data, sizeof(data), 0)) > 0)
        EXPECT_INT(torc_send_all(fd, data, (size_t)count, NULL), ==, 0);
    EXPECT_INT(count, ==, 0);
    return torc_shutdown(fd, SHUT_WR);
}

FIBER_TEST(t_08_an_echo_server_returns_every_byte_plain_and_vectored)
{
    struct torc_scope scope;
    char back[16];
    int fds[2];

    harness_tcp_pair(fds);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, echo_all, &fds[1]);
    for (int i = 0; i < 1024; i++) {
        const struct iovec out[2] = {{(void *)"0123456", 7}, {(void *)"789abcdef", 9}};
        const struct iovec in[2] = {{back, 10}, {back + 10, 6}};
        size_t done = 0;

        EXPECT_INT(torc_send_all(fds[0], "hello world", 11, &done), ==, 0);
        EXPECT_UINT(done, ==, 11);
        EXPECT_INT(torc_recv_all(fds[0], back, 11, &done), ==, 0);
        EXPECT_UINT(done, ==, 11);
        EXPECT_MEM(back, "hello world", 11);
        EXPECT_INT(torc_writev_all(fds[0], out, 2, &done), ==, 0);
        EXPECT_UINT(done, ==, 16);
        EXPECT_INT(torc_readv_all(fds[0], in, 2, &done), ==, 0);
        EXPECT_UINT(done, ==, 16);
        EXPECT_MEM(back, "0123456789abcdef", 16);
    }
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    EXPECT_INT(torc_recv(fds[0], back, sizeof(back), 0), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
}

FIBER_TEST(t_10_a_connection_with_fast_open_carries_data_and_addresses)
{
    const struct torc_listen_options listen_options = {.fast_open = 16};
    const struct torc_connect_options connect_options = {.fast_open = true};
    struct torc_address any = harness_address("127.0.0.1:0");
    struct torc_address target;
    struct torc_address local;
    struct torc_address peer;
    char data[2];

    for (int i = 0; i < 3; i++) { /* The first one only fetches the cookie. */
        const int listener = torc_tcp_listen(&any, &listen_options);
        int client;
        int fd;

        EXPECT_INT(listener, >=, 0);
        EXPECT_INT(torc_local_address(listener, &target), ==, 0);
        client = torc_tcp_connect(&target, 1, &connect_options);
        EXPECT_INT(client, >=, 0);
        EXPECT_INT(torc_send_all(client, "ab", 2, NULL), ==, 0);
        fd = torc_accept(listener, &peer);
        EXPECT_INT(fd, >=, 0);
        EXPECT_INT(torc_recv_all(fd, data, 2, NULL), ==, 0);
        EXPECT_MEM(data, "ab", 2);
        EXPECT_INT(torc_local_address(client, &local), ==, 0);
        expect_same_address(&local, &peer);
        torc_close(client);
        torc_close(fd);
        torc_close(listener);
    }
}

/* ---- One descriptor, two fibers ---- */

#define SPLIT_BYTES (4u << 20)

struct flow {
    int fd;
    uint64_t bytes;
};

static int send_flow(void *arg)
{
    struct flow *flow = arg;
    char data[8000];

    for (uint64_t at = 0; at < flow->bytes; at += sizeof(data)) {
        harness_pattern_fill(data, sizeof(data), at);
        EXPECT_INT(torc_send_all(flow->fd, data, sizeof(data), NULL), ==, 0);
    }
    return torc_shutdown(flow->fd, SHUT_WR);
}

static int receive_flow(void *arg)
{
    struct flow *flow = arg;
    char data[5000];
    uint64_t at = 0;
    ssize_t count;

    while ((count = torc_recv(flow->fd, data, sizeof(data), 0)) > 0) {
        harness_pattern_check(data, (size_t)count, at);
        at += (uint64_t)count;
    }
    EXPECT_UINT(at, ==, flow->bytes);
    return (int)count;
}

FIBER_TEST(t_11_one_fiber_reads_a_descriptor_while_another_writes_it)
{
    struct torc_scope scope;
    const uint64_t bytes = (uint64_t)harness_scaled(SPLIT_BYTES / 8000) * 8000;
    struct flow flows[2];
    int fds[2];

    harness_tcp_pair(fds);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < 2; i++) {
        flows[i] = (struct flow){fds[i], bytes};
        harness_spawn(&scope, send_flow, &flows[i]);
        harness_spawn(&scope, receive_flow, &flows[i]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
}

static int receive_once(void *arg)
{
    int *fd_and_result = arg;
    char byte;

    fd_and_result[1] = (int)torc_recv(fd_and_result[0], &byte, 1, 0);
    return 0;
}

FIBER_TEST(t_13_shutting_down_the_sending_half_leaves_a_pending_receive_alone)
{
    struct torc_scope scope;
    int reader[2] = {-1, 1};
    char byte;
    int fds[2];

    harness_tcp_pair(fds);
    reader[0] = fds[0];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_once, reader);
    harness_pass_kernel();
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    EXPECT_INT(torc_recv(fds[1], &byte, 1, 0), ==, 0);
    EXPECT_INT(reader[1], ==, 1); /* Still waiting. */
    EXPECT_INT(torc_shutdown(fds[1], SHUT_WR), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(reader[1], ==, 0);
    harness_close_pair(fds);
}

FIBER_TEST(shutdown_ends_the_receive_of_another_fiber_and_close_can_follow)
{
    struct torc_scope scope;
    int reader[2] = {-1, 1};
    int fds[2];

    harness_tcp_pair(fds);
    reader[0] = fds[0];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_once, reader);
    harness_pass_kernel();
    EXPECT_INT(torc_shutdown(fds[0], SHUT_RDWR), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(reader[1], ==, 0);
    EXPECT_INT(torc_close(fds[0]), ==, 0);
    EXPECT_INT(torc_close(fds[1]), ==, 0);
}

FIBER_TEST(closing_a_descriptor_does_not_disturb_the_receive_of_another_fiber)
{
    struct torc_scope scope;
    int reader[2] = {-1, 1};
    int fds[2];

    harness_tcp_pair(fds);
    reader[0] = fds[0];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_once, reader);
    harness_pass_kernel();
    EXPECT_INT(torc_close(fds[0]), ==, 0);
    harness_pass_kernel();
    EXPECT_INT(reader[1], ==, 1);
    harness_put(fds[1], "x", 1); /* The kernel keeps the socket for the operation in flight. */
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(reader[1], ==, 1);
    EXPECT_INT(torc_close(fds[1]), ==, 0);
}

/* ---- Cancelled accepts ---- */

FIBER_TEST(t_14_a_connection_that_comes_just_before_the_cancel_is_not_lost)
{
    struct torc_address target;
    const int listener = harness_listener(&target);

    for (int i = 0; i < 50; i++) {
        struct accepter accepter = {.listener = listener};
        struct torc_scope scope;
        int client;

        torc_scope_open(&scope, 0);
        harness_spawn(&scope, accept_one, &accepter);
        harness_pass_kernel();
        client = harness_dial(&target);
        torc_scope_cancel(&scope);
        torc_scope_close(&scope);
        if (accepter.fd < 0) {
            EXPECT_INT(accepter.fd, ==, -ECANCELED);
            accepter.fd = torc_accept(listener, NULL);
        }
        EXPECT_INT(accepter.fd, >=, 0);
        torc_close(client);
        torc_close(accepter.fd);
    }
    EXPECT(!harness_is_readable(listener));
    close(listener);
}

FIBER_TEST(t_15_after_a_cancelled_accept_the_next_one_gets_the_connection_intact)
{
    struct torc_address target;
    const int listener = harness_listener(&target);
    struct torc_scope scope;
    char byte = 0;
    int client;
    int fd;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_accept(listener, NULL), ==, -ETIME);
    torc_scope_close(&scope);
    client = harness_dial(&target);
    harness_put(client, "x", 1);
    fd = torc_accept(listener, NULL);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, 1);
    EXPECT(byte == 'x');
    torc_close(fd);
    torc_close(client);
    close(listener);
}

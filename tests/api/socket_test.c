/* SPDX-License-Identifier: MIT */
/*
 * socket_test.c - readiness, errors, options and inheritance of sockets.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <torc/torc.h>
#include <unistd.h>

#define A_WHILE (5 * TORC_MILLISECOND)

/* ---- Readiness ---- */

static int poll_for(int fd, unsigned events, uint64_t timeout_ns)
{
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, timeout_ns);
    result = torc_poll(fd, events);
    torc_scope_close(&scope);
    return result;
}

FIBER_TEST(t_09_readiness_is_that_of_the_moment)
{
    struct torc_address target;
    const int listener = harness_listener(&target);
    char data[3];
    int client;
    int fd;

    EXPECT_INT(poll_for(listener, POLLIN, A_WHILE), ==, -ETIME);
    client = harness_dial(&target);
    EXPECT_INT(torc_poll(client, POLLOUT), ==, POLLOUT);
    EXPECT_INT(torc_poll(listener, POLLIN), ==, POLLIN);
    fd = torc_accept(listener, NULL);
    EXPECT_INT(poll_for(listener, POLLIN, A_WHILE), ==, -ETIME);
    EXPECT_INT(poll_for(client, POLLIN, A_WHILE), ==, -ETIME);
    EXPECT_INT(poll_for(fd, POLLIN, A_WHILE), ==, -ETIME);
    harness_put(client, "abc", 3);
    EXPECT_INT(torc_poll(fd, POLLIN), ==, POLLIN);
    EXPECT_INT(torc_poll(fd, POLLIN), ==, POLLIN); /* Level, not edge. */
    EXPECT_INT(torc_poll(fd, POLLIN | POLLOUT), ==, POLLIN | POLLOUT);
    EXPECT_INT(torc_recv(fd, data, 3, 0), ==, 3);
    EXPECT_INT(poll_for(fd, POLLIN, A_WHILE), ==, -ETIME);
    torc_close(fd);
    torc_close(client);
    close(listener);
}

FIBER_TEST(polling_reports_the_end_of_the_stream_and_errors_unasked)
{
    int fds[2];

    harness_tcp_pair(fds);
    EXPECT_INT(torc_shutdown(fds[1], SHUT_WR), ==, 0);
    EXPECT_INT(torc_poll(fds[0], POLLIN | POLLRDHUP), ==, POLLIN | POLLRDHUP);
    harness_reset(fds[1]);
    EXPECT_INT(torc_poll(fds[0], POLLPRI) & (POLLERR | POLLHUP), !=, 0);
    close(fds[0]);
    EXPECT_INT(torc_poll(fds[0], POLLIN), ==, -EBADF);
}

FIBER_TEST(polling_for_room_waits_for_it_though_the_peer_has_ended)
{
    int fds[2];

    harness_unix_pair(fds);
    EXPECT_INT(torc_shutdown(fds[1], SHUT_WR), ==, 0);
    EXPECT_INT(torc_poll(fds[0], POLLIN), ==, POLLIN);
    EXPECT_INT(torc_poll(fds[0], POLLOUT), ==, POLLOUT);
    EXPECT_INT(poll_for(fds[0], POLLPRI, A_WHILE), ==, -ETIME);
    harness_fill(fds[0]);
    EXPECT_INT(poll_for(fds[0], POLLOUT, A_WHILE), ==, -ETIME);
    EXPECT_INT(poll_for(fds[0], POLLOUT | POLLRDHUP, A_WHILE), ==, POLLRDHUP);
    EXPECT_INT(poll_for(fds[0], 0, A_WHILE), ==, -ETIME);
    EXPECT_UINT(harness_drain(fds[1]), >, 0);
    EXPECT_INT(torc_poll(fds[0], POLLOUT), ==, POLLOUT);
    harness_close_pair(fds);
}

FIBER_TEST(datagrams_wait_for_room_though_the_socket_was_shut_down_for_receiving)
{
    struct torc_datagram datagram = {.data = (char[]){'x'}, .length = 1};
    struct torc_scope scope;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    EXPECT_INT(torc_shutdown(fds[0], SHUT_RD), ==, 0);
    harness_fill(fds[0]);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, A_WHILE);
    EXPECT_INT(torc_datagram_send_batch(fds[0], &datagram, 1), ==, -ETIME);
    torc_scope_close(&scope);
    harness_close_pair(fds);
}

static int poll_in(void *arg)
{
    int *fd_and_result = arg;

    fd_and_result[1] = torc_poll(fd_and_result[0], POLLIN);
    return 0;
}

FIBER_TEST(several_fibers_may_poll_one_descriptor)
{
    struct torc_scope scope;
    int pollers[3][2];
    int fds[2];

    harness_unix_pair(fds);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < 3; i++) {
        pollers[i][0] = fds[0];
        harness_spawn(&scope, poll_in, pollers[i]);
    }
    harness_pass_kernel();
    harness_put(fds[1], "x", 1);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (int i = 0; i < 3; i++)
        EXPECT_INT(pollers[i][1], ==, POLLIN);
    harness_close_pair(fds);
}

/* ---- Errors ---- */

FIBER_TEST(a_connection_reset_by_the_peer_is_reported)
{
    char byte;
    int fds[2];

    harness_tcp_pair(fds);
    harness_reset(fds[1]);
    EXPECT_INT(torc_recv(fds[0], &byte, 1, 0), ==, -ECONNRESET);
    EXPECT_INT(torc_recv(fds[0], &byte, 1, 0), ==, 0);
    close(fds[0]);
}

static int receive_once(void *arg)
{
    int *fd_and_result = arg;
    char byte;

    fd_and_result[1] = (int)torc_recv(fd_and_result[0], &byte, 1, 0);
    return 0;
}

FIBER_TEST(a_reset_ends_a_receive_under_way)
{
    struct torc_scope scope;
    int reader[2];
    int fds[2];

    harness_tcp_pair(fds);
    reader[0] = fds[0];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_once, reader);
    harness_pass_kernel();
    harness_reset(fds[1]);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(reader[1], ==, -ECONNRESET);
    close(fds[0]);
}

/* The process would die of SIGPIPE, whose default action is in force. */
FIBER_TEST(writing_to_a_closed_connection_is_epipe_and_no_signal)
{
    char data[4] = "abc";
    const struct iovec vector = {data, sizeof(data)};
    const struct msghdr message = {.msg_iov = (struct iovec *)&vector, .msg_iovlen = 1};
    size_t done = 1;
    int fds[2];

    harness_unix_pair(fds);
    close(fds[1]);
    EXPECT_INT(torc_send(fds[0], data, sizeof(data), 0), ==, -EPIPE);
    EXPECT_INT(torc_write(fds[0], data, sizeof(data)), ==, -EPIPE);
    EXPECT_INT(torc_writev(fds[0], &vector, 1), ==, -EPIPE);
    EXPECT_INT(torc_sendmsg(fds[0], &message, 0), ==, -EPIPE);
    EXPECT_INT(torc_send_all(fds[0], data, sizeof(data), &done), ==, -EPIPE);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc_write_all(fds[0], data, sizeof(data), &done), ==, -EPIPE);
    EXPECT_INT(torc_writev_all(fds[0], &vector, 1, &done), ==, -EPIPE);
    close(fds[0]);

    harness_pipe(fds);
    close(fds[0]);
    EXPECT_INT(torc_write(fds[1], data, sizeof(data)), ==, -EPIPE);
    close(fds[1]);
}

FIBER_TEST(wrong_descriptors_give_the_errors_of_the_system_calls)
{
    struct torc_address address;
    char byte = 0;
    int file;
    const int fd = torc_socket(AF_INET, SOCK_STREAM, 0);

    EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, -ENOTCONN);
    EXPECT_INT(torc_send(fd, &byte, 1, 0), ==, -EPIPE);
    EXPECT_INT(torc_accept(fd, NULL), ==, -EINVAL);
    EXPECT_INT(torc_peer_address(fd, &address), ==, -ENOTCONN);
    EXPECT_INT(torc_shutdown(fd, SHUT_RDWR), ==, -ENOTCONN);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, -EBADF);
    EXPECT_INT(torc_send(-1, &byte, 1, 0), ==, -EBADF);
    EXPECT_INT(torc_read(-1, &byte, 1), ==, -EBADF);
    EXPECT_INT(torc_accept(-1, NULL), ==, -EBADF);
    EXPECT_INT(torc_poll(-1, POLLIN), ==, -EBADF);
    EXPECT_INT(torc_local_address(-1, &address), ==, -EBADF);
    file = open("/dev/null", O_RDWR | O_CLOEXEC);
    EXPECT_INT(torc_recv(file, &byte, 1, 0), ==, -ENOTSOCK);
    EXPECT_INT(torc_accept(file, NULL), ==, -ENOTSOCK);
    EXPECT_INT(torc_listen(file, 1), ==, -ENOTSOCK);
    EXPECT_INT(torc_write(file, &byte, 1), ==, 1);
    EXPECT_INT(torc_read(file, &byte, 1), ==, 0);
    EXPECT_INT(torc_close(file), ==, 0);
}

FIBER_TEST(what_may_not_wait_gives_eagain)
{
    char byte;
    int fds[2];

    harness_tcp_pair(fds);
    EXPECT_INT(torc_recv(fds[0], &byte, 1, MSG_DONTWAIT), ==, -EAGAIN);
    EXPECT_INT(fcntl(fds[0], F_SETFL, O_NONBLOCK), ==, 0);
    EXPECT_INT(torc_recv(fds[0], &byte, 1, MSG_DONTWAIT), ==, -EAGAIN);
    harness_close_pair(fds);
}

/* The connection stays in the queue until a descriptor is free. */
FIBER_TEST(accepting_without_a_free_descriptor_is_emfile_and_loses_nothing)
{
    struct torc_address target;
    const int listener = harness_listener(&target);
    const int client = harness_dial(&target);
    int filler[64];
    int count = 0;
    int fd;

    harness_put(client, "x", 1);
    harness_leave_fds(32);
    while (count < 64 && (filler[count] = dup(STDERR_FILENO)) >= 0)
        count++;
    EXPECT_INT(count, >, 0);
    if (!harness_is_valgrind()) { /* It only pretends that there is a limit. */
        EXPECT_INT(torc_accept(listener, NULL), ==, -EMFILE);
        EXPECT_INT(torc_socket(AF_INET, SOCK_STREAM, 0), ==, -EMFILE);
        EXPECT_INT(torc_tcp_connect(&target, 1, NULL), ==, -EMFILE);
    }
    while (count > 0)
        close(filler[--count]);
    fd = torc_accept(listener, NULL);
    EXPECT_INT(fd, >=, 0);
    EXPECT_UINT(harness_unread(fd), ==, 1);
    torc_close(fd);
    torc_close(client);
    close(listener);
    harness_raise_fd_limit();
}

TEST(errors_of_single_connections_are_told_from_those_of_the_listener)
{
    static const int transient[] = {-ECONNABORTED, -EPROTO,       -ENETDOWN,   -ENOPROTOOPT,
                                    -EHOSTDOWN,    -EHOSTUNREACH, -ENETUNREACH};
    static const int lasting[] = {-EMFILE, -ENFILE,    -ENOMEM, -ENOBUFS, -EBADF,
                                  -EINVAL, -ECANCELED, -ETIME,  -ENOTSOCK};

    for (size_t i = 0; i < sizeof(transient) / sizeof(transient[0]); i++)
        EXPECT_MSG(torc_accept_error_is_transient(transient[i]), "%s", torc_strerror(transient[i]));
    for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
        EXPECT_MSG(!torc_accept_error_is_transient(lasting[i]), "%s", torc_strerror(lasting[i]));
}

/* ---- Options ---- */

static int option_of(int fd, int level, int option)
{
    socklen_t length = sizeof(int);
    int value = -1;

    EXPECT_INT(torc_getsockopt(fd, level, option, &value, &length), ==, 0);
    EXPECT_INT(length, ==, sizeof(int));
    return value;
}

FIBER_TEST(options_of_listening_reach_the_socket)
{
    const struct torc_listen_options options = {
        .backlog = 7,
        .no_reuse_port = true,
        .send_buffer_size = 40000,
        .receive_buffer_size = 50000,
        .defer_accept_sec = 3,
        .fast_open = 5,
        .incoming_cpu = 1,
    };
    struct tcp_info info;
    socklen_t length = sizeof(info);
    const struct torc_address any = harness_address("127.0.0.1:0");
    int fd = torc_tcp_listen(&any, NULL);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_REUSEADDR), ==, 1);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_REUSEPORT), ==, 1);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_ACCEPTCONN), ==, 1);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);

    fd = torc_tcp_listen(&any, &options);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_REUSEADDR), ==, 1);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_REUSEPORT), ==, 0);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_SNDBUF), ==, 2 * 40000); /* As the kernel does. */
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_RCVBUF), ==, 2 * 50000);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), >=, 3);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_INCOMING_CPU), ==, 0);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_FASTOPEN), ==, 5);
    EXPECT_INT(torc_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), ==, 0);
    EXPECT_INT(info.tcpi_sacked, ==, 7); /* Where the kernel tells the backlog of a listener. */
    EXPECT_INT(torc_close(fd), ==, 0);
}

FIBER_TEST(an_ipv6_listener_takes_ipv4_too_unless_told_not_to)
{
    const struct torc_listen_options only = {.v6_only = true};
    const struct torc_address any = harness_address("[::]:0");
    int fd = torc_tcp_listen(&any, &only);

    if (fd == -EAFNOSUPPORT)
        return;
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), ==, 1);
    EXPECT_INT(torc_close(fd), ==, 0);
    fd = torc_tcp_listen(&any, NULL);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
}

FIBER_TEST(a_listener_that_cannot_be_made_leaves_no_descriptor)
{
    const struct torc_listen_options alone = {.no_reuse_port = true, .no_reuse_address = true};
    const struct torc_address foreign = harness_address("192.0.2.1:1");
    struct torc_address taken;
    const int listener = harness_listener(&taken);
    const unsigned fds = harness_open_fds();

    EXPECT_INT(torc_tcp_listen(&taken, &alone), ==, -EADDRINUSE);
    EXPECT_INT(torc_tcp_listen(&foreign, NULL), ==, -EADDRNOTAVAIL);
    EXPECT_UINT(harness_open_fds(), ==, fds);
    close(listener);
}

FIBER_TEST(options_of_connecting_reach_the_socket)
{
    const struct torc_connect_options options = {
        .delay = true,
        .send_buffer_size = 40000,
        .receive_buffer_size = 50000,
    };
    struct torc_address target;
    const int listener = harness_listener(&target);
    int fd = torc_tcp_connect(&target, 1, NULL);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_NODELAY), ==, 1);
    EXPECT_INT(torc_tcp_set_nodelay(fd, false), ==, 0);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_NODELAY), ==, 0);
    EXPECT_INT(torc_tcp_set_nodelay(fd, true), ==, 0);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_NODELAY), ==, 1);
    EXPECT_INT(torc_tcp_set_keepalive(fd, 11, 12, 13), ==, 0);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), ==, 1);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), ==, 11);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), ==, 12);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), ==, 13);
    EXPECT_INT(torc_tcp_set_keepalive(fd, 21, 0, 0), ==, 0);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), ==, 21);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), ==, 13);
    EXPECT_INT(torc_tcp_set_keepalive(fd, 0, 0, 0), ==, 0);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), ==, 0);
    torc_close(fd);

    fd = torc_tcp_connect(&target, 1, &options);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(option_of(fd, IPPROTO_TCP, TCP_NODELAY), ==, 0);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_SNDBUF), ==, 2 * 40000);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_RCVBUF), ==, 2 * 50000);
    torc_close(fd);
    close(listener);
}

/* ---- Inheritance ---- */

#define FD_MAX 1000

static bool open_before[FD_MAX];

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int look_at_descriptors(void *arg)
{
    const struct torc_address any = harness_address("127.0.0.1:0");
    const int plain = torc_socket(AF_INET, SOCK_STREAM, 0);
    const int listener = torc_tcp_listen(&any, NULL);
    struct torc_mailbox *mailbox = torc_mailbox_acquire();
    struct torc_address target;
    int client;
    int fd;

    (void)arg;
    EXPECT_INT(torc_local_address(listener, &target), ==, 0);
    client = torc_tcp_connect(&target, 1, NULL);
    fd = torc_accept(listener, NULL);
    EXPECT(is_open(plain) && is_open(listener) && is_open(client) && is_open(fd));
    for (int i = 0; i < FD_MAX; i++) {
        if (is_open(i) && !open_before[i])
            EXPECT_MSG(harness_is_cloexec(i), "descriptor %d", i);
    }
    torc_close(client);
    torc_close(fd);
    torc_close(listener);
    torc_close(plain);
    torc_mailbox_release(mailbox);
    return 0;
}

TEST(no_descriptor_of_torc_is_inherited_by_programs_that_are_started)
{
    for (int i = 0; i < FD_MAX; i++)
        open_before[i] = is_open(i);
    harness_run_with(NULL, look_at_descriptors, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * control_test.c - requests that never wait: the kernel's results, and errno left alone.
 */
#include "driver/driver.h"
#include "harness/net.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

static int control(struct torc__control *request)
{
    int result;

    errno = EXDEV;
    result = torc__control_kernel(NULL, request);
    EXPECT_INT(errno, ==, EXDEV);
    return result;
}

static int new_socket(void)
{
    int fd = control(&(struct torc__control){
        .kind = CONTROL_SOCKET, .a = AF_INET, .b = SOCK_STREAM, .c = IPPROTO_TCP});

    EXPECT_INT(fd, >=, 0);
    return fd;
}

TEST(a_socket_is_close_on_exec)
{
    int fd = new_socket();

    EXPECT(harness_is_cloexec(fd));
    close(fd);
}

TEST(a_socket_is_bound_listens_and_knows_its_address)
{
    int fd = new_socket();
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in local = {0};
    struct torc__control name = {
        .kind = CONTROL_LOCAL, .fd = fd, .data = &local, .length = sizeof(local)};

    EXPECT_INT(control(&(struct torc__control){
                   .kind = CONTROL_BIND, .fd = fd, .data = &address, .length = sizeof(address)}),
               ==, 0);
    EXPECT_INT(control(&(struct torc__control){.kind = CONTROL_LISTEN, .fd = fd, .a = 16}), ==, 0);
    EXPECT_INT(control(&name), ==, 0);
    EXPECT_UINT(name.length, ==, sizeof(local));
    EXPECT_UINT(local.sin_addr.s_addr, ==, htonl(INADDR_LOOPBACK));
    EXPECT_UINT(local.sin_port, !=, 0);
    name.kind = CONTROL_PEER;
    EXPECT_INT(control(&name), ==, -ENOTCONN);
    close(fd);
}

TEST(the_peer_of_a_connection_is_the_other_ends_own_address)
{
    int ends[2];
    struct sockaddr_in peer = {0};
    struct sockaddr_in local = {0};

    harness_tcp_pair(ends);
    EXPECT_INT(control(&(struct torc__control){
                   .kind = CONTROL_PEER, .fd = ends[0], .data = &peer, .length = sizeof(peer)}),
               ==, 0);
    EXPECT_INT(control(&(struct torc__control){
                   .kind = CONTROL_LOCAL, .fd = ends[1], .data = &local, .length = sizeof(local)}),
               ==, 0);
    EXPECT_MEM(&peer, &local, sizeof(peer));
    harness_close_pair(ends);
}

TEST(options_are_set_and_read_back)
{
    int fd = new_socket();
    int on = 1;
    int value = 0;
    struct torc__control request = {.kind = CONTROL_SET_OPTION,
                                    .fd = fd,
                                    .a = SOL_SOCKET,
                                    .b = SO_REUSEADDR,
                                    .data = &on,
                                    .length = sizeof(on)};

    EXPECT_INT(control(&request), ==, 0);
    request.kind = CONTROL_GET_OPTION;
    request.data = &value;
    EXPECT_INT(control(&request), ==, 0);
    EXPECT_INT(value, ==, 1);
    EXPECT_UINT(request.length, ==, sizeof(value));
    close(fd);
}

TEST(shutdown_ends_the_stream_for_the_peer)
{
    int ends[2];
    char byte;

    harness_unix_pair(ends);
    EXPECT_INT(
        control(&(struct torc__control){.kind = CONTROL_SHUTDOWN, .fd = ends[0], .a = SHUT_WR}), ==,
        0);
    EXPECT_INT(read(ends[1], &byte, 1), ==, 0);
    harness_close_pair(ends);
}

TEST(errors_are_those_of_the_system_calls)
{
    for (int kind = CONTROL_BIND; kind <= CONTROL_GET_OPTION; kind++)
        EXPECT_INT(control(&(struct torc__control){.kind = kind, .fd = -1}), ==, -EBADF);
    EXPECT_INT(control(&(struct torc__control){.kind = CONTROL_SOCKET, .a = -1}), ==,
               -EAFNOSUPPORT);
    EXPECT_INT(control(&(struct torc__control){.kind = (enum torc__control_kind)99}), ==, -ENOSYS);
}

TEST(pipes_and_pairs_are_close_on_exec)
{
    struct torc__control requests[] = {{.kind = CONTROL_PIPE},
                                       {.kind = CONTROL_PAIR, .a = SOCK_SEQPACKET}};

    for (int i = 0; i < 2; i++) {
        int fds[2];

        requests[i].data = fds;
        EXPECT_INT(control(&requests[i]), ==, 0);
        EXPECT(harness_is_cloexec(fds[0]));
        EXPECT(harness_is_cloexec(fds[1]));
        for (int j = 0; j < 2; j++)
            EXPECT_INT(control(&(struct torc__control){.kind = CONTROL_CLOSE, .fd = fds[j]}), ==,
                       0);
        EXPECT_INT(control(&(struct torc__control){.kind = CONTROL_CLOSE, .fd = fds[0]}), ==,
                   -EBADF);
    }
}

TEST(messages_are_sent_and_received_without_waiting)
{
    char data = 'x';
    struct iovec vector = {&data, 1};
    struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}},
                                  {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}}};
    struct torc__control request = {.kind = CONTROL_RECEIVE, .data = messages, .length = 2};
    int fds[2];

    EXPECT_INT(control(&(struct torc__control){.kind = CONTROL_PAIR, .a = SOCK_DGRAM, .data = fds}),
               ==, 0);
    request.fd = fds[0];
    EXPECT_INT(control(&request), ==, -EAGAIN);
    request.kind = CONTROL_SEND;
    EXPECT_INT(control(&request), ==, 2);
    request.fd = fds[1];
    request.kind = CONTROL_RECEIVE;
    EXPECT_INT(control(&request), ==, 2);
    EXPECT_UINT(messages[1].msg_len, ==, 1);
    harness_close_pair(fds);
}

TEST(connecting_to_a_full_queue_does_not_wait_and_leaves_the_files_flags_alone)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct torc__control name = {
        .kind = CONTROL_LOCAL, .data = &address, .length = sizeof(address)};
    struct torc__control request = {.kind = CONTROL_CONNECT, .data = &address};
    int fds[4];

    for (int i = 0; i < 4; i++)
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_INT(bind(fds[0], (struct sockaddr *)&address, sizeof(sa_family_t)), ==, 0);
    EXPECT_INT(listen(fds[0], 1), ==, 0);
    name.fd = fds[0];
    EXPECT_INT(control(&name), ==, 0);
    request.length = name.length;
    for (int i = 1; i < 4; i++) {
        const int flags = fcntl(fds[i], F_GETFL);

        request.fd = fds[i];
        EXPECT_INT(control(&request), ==, i < 3 ? 0 : -EAGAIN);
        EXPECT_INT(fcntl(fds[i], F_GETFL), ==, flags);
        close(fds[i]);
    }
    close(fds[0]);
}

TEST(a_watched_set_is_changed_and_asked_without_waiting)
{
    const int set = control(&(struct torc__control){.kind = CONTROL_WATCH_OPEN});
    uint64_t key = 9;
    struct epoll_event event;
    struct torc__control take = {
        .kind = CONTROL_WATCH_TAKE, .fd = set, .data = &event, .length = 1};
    struct torc__control change = {
        .kind = CONTROL_WATCH_SET, .fd = set, .b = EPOLLOUT, .data = &key};
    int fds[2];

    EXPECT_INT(set, >=, 0);
    EXPECT(harness_is_cloexec(set));
    harness_pipe(fds);
    change.a = fds[1];
    EXPECT_INT(control(&take), ==, 0);
    EXPECT_INT(control(&change), ==, 0);
    EXPECT_INT(control(&change), ==, 0); /* Added, then changed. */
    EXPECT_INT(control(&take), ==, 1);
    EXPECT_UINT(event.data.u64, ==, 9);
    change.b = 0;
    EXPECT_INT(control(&change), ==, 0);
    EXPECT_INT(control(&take), ==, 0);
    EXPECT_INT(control(&change), ==, -ENOENT);
    harness_close_pair(fds);
    close(set);
}

/* SPDX-License-Identifier: MIT */
/*
 * control_test.c - requests that never wait: the kernel's results, and errno left alone.
 */
#include "driver/driver.h"
#include "harness/net.h"
#include <errno.h>
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

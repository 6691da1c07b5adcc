/* SPDX-License-Identifier: MIT */
/*
 * net.c - sockets for tests, made by plain system calls, and bytes that can be told apart.
 */
#include "harness/net.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

int harness_listener(struct torc_address *ret_address)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *ret_address = harness_address("127.0.0.1:0");
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(bind(fd, &ret_address->any, ret_address->length), ==, 0);
    EXPECT_INT(listen(fd, 4096), ==, 0);
    EXPECT_INT(getsockname(fd, &ret_address->any, &ret_address->length), ==, 0);
    return fd;
}

int harness_full_listener(struct torc_address *ret_address, int ret_clients[2])
{
    const int listener = harness_listener(ret_address);

    EXPECT_INT(listen(listener, 0), ==, 0); /* One in the queue, one about to be. */
    for (int i = 0; i < 2; i++) {
        ret_clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(ret_clients[i], &ret_address->any, ret_address->length);
    }
    return listener;
}

struct torc_address harness_address(const char *text)
{
    struct torc_address address;

    EXPECT_INT(torc_address_parse(text, &address), ==, 0);
    return address;
}

struct torc_address harness_dead_address(void)
{
    struct torc_address address;

    close(harness_listener(&address));
    return address;
}

int harness_dial(const struct torc_address *address)
{
    const int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    EXPECT_INT(fd, >=, 0);
    EXPECT_MSG(connect(fd, &address->any, address->length) == 0, "errno %d", errno);
    return fd;
}

static void make_tcp_pair(int ret_fds[2], bool tight)
{
    const int smallest = 1; /* The kernel makes that its own minimum. */
    struct torc_address address;
    const int listener = harness_listener(&address);

    if (tight)
        EXPECT_INT(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &smallest, sizeof(int)), ==, 0);
    ret_fds[0] = harness_dial(&address);
    if (tight)
        EXPECT_INT(setsockopt(ret_fds[0], SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(int)), ==, 0);
    ret_fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    EXPECT_INT(ret_fds[1], >=, 0);
    close(listener);
}

void harness_tcp_pair(int ret_fds[2])
{
    make_tcp_pair(ret_fds, false);
}

void harness_tight_pair(int ret_fds[2])
{
    make_tcp_pair(ret_fds, true);
}

void harness_unix_pair(int ret_fds[2])
{
    EXPECT_MSG(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds) == 0, "errno %d", errno);
}

void harness_pipe(int ret_fds[2])
{
    EXPECT_MSG(pipe2(ret_fds, O_CLOEXEC) == 0, "errno %d", errno);
}

void harness_close_pair(const int fds[2])
{
    EXPECT_INT(close(fds[0]), ==, 0);
    EXPECT_INT(close(fds[1]), ==, 0);
}

void harness_reset(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    EXPECT_INT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), ==, 0);
    EXPECT_INT(close(fd), ==, 0);
}

void harness_put(int fd, const void *data, size_t size)
{
    const char *next = data;

    while (size > 0) {
        const ssize_t count = write(fd, next, size);

        EXPECT_INT(count, >, 0);
        next += count;
        size -= (size_t)count;
    }
}

void harness_get(int fd, void *data, size_t size)
{
    char *next = data;

    while (size > 0) {
        const ssize_t count = read(fd, next, size);

        EXPECT_INT(count, >, 0);
        next += count;
        size -= (size_t)count;
    }
}

void harness_fill(int fd)
{
    static const char zeros[4096];
    const int flags = fcntl(fd, F_GETFL);

    EXPECT_INT(fcntl(fd, F_SETFL, flags | O_NONBLOCK), ==, 0);
    for (size_t size = sizeof(zeros); size > 0; size /= 2) { /* To the last byte. */
        while (write(fd, zeros, size) > 0)
            continue;
    }
    EXPECT_INT(fcntl(fd, F_SETFL, flags), ==, 0);
}

bool harness_is_cloexec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

bool harness_is_readable(int fd)
{
    struct pollfd entry = {fd, POLLIN, 0};

    return poll(&entry, 1, 0) == 1;
}

size_t harness_unread(int fd)
{
    int count;

    EXPECT_INT(ioctl(fd, FIONREAD, &count), ==, 0);
    return (size_t)count;
}

size_t harness_drain(int fd)
{
    char data[16384];
    size_t total = 0;
    ssize_t count;

    while ((count = recv(fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
        total += (size_t)count;
    return total;
}

unsigned harness_limit_fds(unsigned count)
{
    struct rlimit limit;

    EXPECT_INT(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
    EXPECT_INT(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    return (unsigned)limit.rlim_cur;
}

unsigned harness_raise_fd_limit(void)
{
    return harness_limit_fds(UINT_MAX);
}

void harness_leave_fds(unsigned count)
{
    unsigned limit = 0;

    for (; count > 0; limit++)
        count -= fcntl((int)limit, F_GETFD) < 0;
    EXPECT_UINT(harness_limit_fds(limit), ==, limit);
}

/* 251 is prime, so the pattern does not repeat in step with any buffer's size. */
static unsigned char pattern_byte(uint64_t position)
{
    return (unsigned char)(position % 251 + position / 65521);
}

void harness_pattern_fill(void *data, size_t size, uint64_t offset)
{
    unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern_byte(offset + i);
}

void harness_pattern_check(const void *data, size_t size, uint64_t offset)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++) {
        EXPECT_MSG(bytes[i] == pattern_byte(offset + i), "byte %llu of the stream is wrong",
                   (unsigned long long)(offset + i));
    }
}

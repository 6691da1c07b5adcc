/* SPDX-License-Identifier: MIT */
/*
 * echo_raw_epoll.c - the echo server one would write by hand on level-triggered epoll.
 *
 * One buffer serves all connections: what was read is written at once. Only what the socket does
 * not take is copied aside; that connection then waits for EPOLLOUT and reads nothing until its
 * rest has gone, so a slow reader costs at most one buffer.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>

#include "listen.h"

enum {
    BUFFER_SIZE = 64 * 1024,
    EVENT_COUNT = 1024,
    ACCEPTS_PER_EVENT = 64
};

struct connection {
    int fd;
    char *rest; /* what the socket did not take, NULL most of the time */
    size_t rest_begin;
    size_t rest_end;
};

static int epoll_fd;
static int listener;
static uint64_t syscall_count;
static char shared_buffer[BUFFER_SIZE];

/* The addresses of these stand in epoll_event.data for what is no connection. */
static struct connection listener_mark;
static struct connection stop_mark;

static void watch(int operation, struct connection *connection, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = connection}};
    syscall_count++;
    if (epoll_ctl(epoll_fd, operation, fd, &event) != 0)
        die("epoll_ctl");
}

static void drop(struct connection *connection)
{
    syscall_count++;
    close(connection->fd);
    free(connection->rest);
    free(connection);
}

static void accept_some(void)
{
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        syscall_count++;
        const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
            return;
        if (fd < 0)
            die("accept4");

        struct connection *connection = calloc(1, sizeof(*connection));
        if (connection == NULL)
            die("calloc");
        connection->fd = fd;
        watch(EPOLL_CTL_ADD, connection, fd, EPOLLIN);
    }
}

/* Returns how much went out, 0 for none, -1 when the connection is broken. */
static ssize_t send_some(struct connection *connection, const char *data, size_t size)
{
    syscall_count++;
    const ssize_t sent = send(connection->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return sent;
}

static void keep_rest(struct connection *connection, const char *data, size_t size)
{
    connection->rest = malloc(size);
    if (connection->rest == NULL)
        die("malloc");
    memcpy(connection->rest, data, size);
    connection->rest_begin = 0;
    connection->rest_end = size;
    watch(EPOLL_CTL_MOD, connection, connection->fd, EPOLLOUT);
}

static void echo(struct connection *connection)
{
    syscall_count++;
    const ssize_t received = recv(connection->fd, shared_buffer, BUFFER_SIZE, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (received <= 0) {
        drop(connection);
        return;
    }

    const ssize_t sent = send_some(connection, shared_buffer, (size_t)received);
    if (sent < 0)
        drop(connection);
    else if (sent < received)
        keep_rest(connection, shared_buffer + sent, (size_t)(received - sent));
}

static void send_rest(struct connection *connection)
{
    const ssize_t sent = send_some(connection, connection->rest + connection->rest_begin,
                                   connection->rest_end - connection->rest_begin);
    if (sent < 0) {
        drop(connection);
        return;
    }
    connection->rest_begin += (size_t)sent;
    if (connection->rest_begin == connection->rest_end) {
        free(connection->rest);
        connection->rest = NULL;
        watch(EPOLL_CTL_MOD, connection, connection->fd, EPOLLIN);
    }
}

static void serve(void)
{
    static struct epoll_event events[EVENT_COUNT];
    bool running = true;
    while (running) {
        syscall_count++;
        const int count = epoll_wait(epoll_fd, events, EVENT_COUNT, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");

        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == &listener_mark)
                accept_some();
            else if (connection == &stop_mark)
                running = false;
            else if (connection->rest != NULL)
                send_rest(connection);
            else
                echo(connection);
        }
    }
}

int main(int argc, char **argv)
{
    raise_file_limit();
    const int stop_fd = open_stop_signals();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");

    listener = listen_on(parse_address(argc, argv), SOCK_NONBLOCK);
    watch(EPOLL_CTL_ADD, &listener_mark, listener, EPOLLIN);
    watch(EPOLL_CTL_ADD, &stop_mark, stop_fd, EPOLLIN);

    serve();

    /* Connections that are still open end with the process. */
    printf("syscalls %llu\n", (unsigned long long)syscall_count);
    return 0;
}

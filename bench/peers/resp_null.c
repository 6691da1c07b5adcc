/* SPDX-License-Identifier: MIT */
/*
 * resp_null.c - answers every request of a Redis client with +OK, on level-triggered epoll.
 *
 * It knows no command and keeps no key. What clients get from it, on one CPU against one CPU, is
 * about the most that the client and the kernel allow. A request is told by its '*', so neither
 * keys nor values may have one.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "listen.h"

#define ANSWER "+OK\r\n"

enum {
    ANSWER_SIZE = sizeof(ANSWER) - 1,
    BUFFER_SIZE = 64 * 1024,
    ANSWERS_MAX = 4096, /* in one send */
    EVENT_COUNT = 1024
};

static char answers[ANSWERS_MAX * ANSWER_SIZE];

static void watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static size_t requests_in(const char *bytes, size_t size)
{
    size_t count = 0;

    for (const char *end = bytes + size; (bytes = memchr(bytes, '*', (size_t)(end - bytes)));)
        count++, bytes++;
    return count;
}

/* A client that does not read its answers is dropped. */
static void answer(int fd)
{
    static char buffer[BUFFER_SIZE];
    const ssize_t received = recv(fd, buffer, sizeof(buffer), 0);
    size_t count;
    size_t size;

    if (received < 0 && errno == EAGAIN)
        return;
    count = received > 0 ? requests_in(buffer, (size_t)received) : 0;
    size = (count < ANSWERS_MAX ? count : ANSWERS_MAX) * ANSWER_SIZE;
    if (received <= 0 || send(fd, answers, size, MSG_NOSIGNAL) != (ssize_t)size)
        close(fd);
}

int main(int argc, char **argv)
{
    static struct epoll_event events[EVENT_COUNT];
    const int stop_fd = open_stop_signals();
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    const int listener = listen_on(parse_address(argc, argv), SOCK_NONBLOCK);

    if (epoll_fd < 0)
        die("epoll_create1");
    for (size_t i = 0; i < sizeof(answers); i++)
        answers[i] = ANSWER[i % ANSWER_SIZE];
    watch(epoll_fd, listener);
    watch(epoll_fd, stop_fd);
    for (;;) {
        const int count = epoll_wait(epoll_fd, events, EVENT_COUNT, -1);

        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            const int fd = events[i].data.fd;

            if (fd == stop_fd)
                return 0;
            if (fd != listener) {
                answer(fd);
                continue;
            }
            const int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (accepted >= 0)
                watch(epoll_fd, accepted);
        }
    }
}

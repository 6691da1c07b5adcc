/* SPDX-License-Identifier: MIT */
/*
 * descriptor_test.c - descriptors are plain numbers: shared by fibers, closed, and used again.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <torc/torc.h>
#include <unistd.h>

/* ---- Numbers ---- */

FIBER_TEST(a_number_that_close_has_freed_serves_the_next_file)
{
    char byte;
    int first = -1;
    int fds[2];

    for (unsigned i = 0; i < 200; i++) {
        if (i % 2 == 0)
            harness_unix_pair(fds);
        else
            harness_pipe(fds);
        EXPECT(first < 0 || fds[0] == first); /* So it is the same number each time. */
        first = fds[0];
        harness_put(fds[1], "x", 1);
        EXPECT_INT(torc_read(fds[0], &byte, 1), ==, 1);
        if (i % 3 == 0) /* Now torc knows, and now it does not. */
            EXPECT_INT(torc_close(fds[0]), ==, 0);
        else
            close(fds[0]);
        close(fds[1]);
    }
}

struct waiting {
    int fd;
    ssize_t result;
    char byte;
};

static int receive_one(void *arg)
{
    struct waiting *waiting = arg;

    waiting->result = torc_recv(waiting->fd, &waiting->byte, 1, 0);
    return 0;
}

FIBER_TEST(a_number_that_has_become_another_socket_is_waited_for)
{
    struct torc_scope scope;
    int old[2];
    int new[2];

    for (unsigned i = 0; i < 50; i++) {
        struct waiting waiting = {.fd = -1};

        harness_unix_pair(old);
        waiting.fd = old[0];
        for (unsigned j = 0; j < 2; j++) {
            torc_scope_open(&scope, 0);
            harness_spawn(&scope, receive_one, &waiting);
            harness_pass_kernel();
            harness_put(j == 0 ? old[1] : new[1], j == 0 ? "x" : "y", 1);
            EXPECT_INT(torc_scope_close(&scope), ==, 0);
            EXPECT_INT(waiting.result, ==, 1);
            EXPECT_INT(waiting.byte, ==, j == 0 ? 'x' : 'y');
            if (j == 0) {
                harness_unix_pair(new);
                EXPECT_INT(dup2(new[0], old[0]), ==, old[0]);
                close(new[0]);
            }
        }
        close(old[0]);
        close(old[1]);
        close(new[1]);
    }
}

FIBER_TEST(a_close_does_not_end_the_wait_of_another_fiber_nor_mislead_it)
{
    struct torc_scope scope;
    struct waiting waiting;
    int other;
    int fds[2];

    harness_unix_pair(fds);
    waiting.fd = fds[0];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_one, &waiting);
    harness_pass_kernel();
    EXPECT_INT(torc_close(fds[0]), ==, 0);
    other = eventfd(1, EFD_CLOEXEC);
    EXPECT_INT(other, ==, fds[0]);
    harness_pass_kernel();
    EXPECT_UINT(harness_fibers(), ==, 2);
    harness_put(fds[1], "z", 1);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(waiting.result, ==, 1);
    EXPECT_INT(waiting.byte, ==, 'z');
    close(other);
    close(fds[1]);
}

/* ---- Several fibers on one descriptor ---- */

FIBER_TEST(each_of_many_fibers_that_receive_from_one_socket_gets_its_part)
{
    enum {
        COUNT = 300
    };
    static struct waiting waiting[COUNT];
    struct torc_scope scope;
    unsigned seen[256] = {0};
    int fds[2];

    harness_unix_pair(fds);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        waiting[i] = (struct waiting){.fd = fds[0]};
        harness_spawn(&scope, receive_one, &waiting[i]);
    }
    harness_pass_kernel();
    for (unsigned i = 0; i < COUNT; i++) {
        const char byte = (char)(i % 100);

        harness_put(fds[1], &byte, 1);
        if (i % 7 == 0)
            harness_yield(3);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT_INT(waiting[i].result, ==, 1);
        seen[(unsigned char)waiting[i].byte]++;
    }
    for (unsigned i = 0; i < 100; i++)
        EXPECT_UINT(seen[i], ==, COUNT / 100);
    harness_close_pair(fds);
}

struct polling {
    int fd;
    unsigned events;
    int result;
};

static int poll_once(void *arg)
{
    struct polling *polling = arg;

    polling->result = torc_poll(polling->fd, polling->events);
    return 0;
}

FIBER_TEST(fibers_may_poll_one_descriptor_for_different_things)
{
    struct torc_scope scope;
    struct polling polling[3];
    int fds[2];

    harness_tcp_pair(fds);
    for (unsigned i = 0; i < 3; i++)
        polling[i] = (struct polling){fds[0], i == 0 ? POLLIN : i == 1 ? POLLPRI : POLLRDHUP, 0};
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 3; i++)
        harness_spawn(&scope, poll_once, &polling[i]);
    harness_pass_kernel();
    harness_put(fds[1], "x", 1);
    while (polling[0].result == 0)
        EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
    EXPECT_INT(polling[0].result & POLLIN, ==, POLLIN);
    EXPECT_INT(polling[1].result, ==, 0);
    EXPECT_INT(polling[2].result, ==, 0);
    EXPECT_INT(send(fds[1], "!", 1, MSG_OOB), ==, 1);
    EXPECT_INT(shutdown(fds[1], SHUT_WR), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(polling[1].result & POLLPRI, ==, POLLPRI);
    EXPECT_INT(polling[2].result & POLLRDHUP, ==, POLLRDHUP);
    harness_close_pair(fds);
}

/* ---- Nothing blocks the shard ---- */

static int write_much(void *arg)
{
    static char data[1 << 20];
    const int fd = *(const int *)arg;

    harness_pattern_fill(data, sizeof(data), 0);
    return torc_write_all(fd, data, sizeof(data), NULL);
}

FIBER_TEST(a_pipe_that_is_full_or_empty_keeps_one_fiber_waiting_and_no_other)
{
    static char data[1 << 20];
    struct torc_scope scope;
    int ends[2];

    harness_pipe(ends); /* Both ends block. */
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, write_much, &ends[1]);
    EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
    EXPECT_INT(torc_read_all(ends[0], data, sizeof(data), NULL), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_pattern_check(data, sizeof(data), 0);

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_read(ends[0], data, 1), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT(!(fcntl(ends[0], F_GETFL) & O_NONBLOCK));
    harness_close_pair(ends);
}

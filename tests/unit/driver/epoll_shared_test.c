/* SPDX-License-Identifier: MIT */
/*
 * epoll_shared_test.c - of two who use one descriptor, the second does not block its loop.
 *
 * The driver asks by poll(2) whether something is there. Here that ends in a function of the test's
 * which, once, plays the other one: it takes what is there between the question and the read.
 */
#include "unit/driver/epoll_rig.h"
#include "unit/driver/nowait.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

static int coveted = -1;
static unsigned taken;

/* NOLINTBEGIN(readability-*): this is libc's name, not ours. */
int poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
    const struct timespec time = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};
    const int result = (int)syscall(SYS_ppoll, fds, nfds, timeout < 0 ? NULL : &time, NULL, 0);
    char bytes[1000];

    if (result <= 0 || fds[0].fd != coveted)
        return result;
    coveted = -1;
    if (fds[0].events & POLLOUT) {
        harness_fill(fds[0].fd);
        taken++;
    } else {
        taken += read(fds[0].fd, bytes, sizeof(bytes)) > 0;
    }
    return result;
}
/* NOLINTEND(readability-*) */

/* `make_ready` brings something, of which the other one gets the first. */
static void read_as_the_second(int fd, void (*make_ready)(int fd), int size)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char bytes[1000];

    if (!deny_nowait())
        return harness_skip("seccomp filters are not to be had here");
    taken = 0;
    start(&epoll);
    make_ready(fd);
    coveted = fd;
    io_uring_prep_read(prepare(&epoll, &op), fd, bytes, sizeof(bytes), UINT64_MAX);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    make_ready(fd);
    EXPECT_INT(result_of(&epoll, &op), ==, size);
    EXPECT_UINT(taken, ==, 1);
    stop(&epoll);
}

static void fire(int fd)
{
    const struct itimerspec soon = {.it_value = {.tv_nsec = 1}};

    EXPECT_INT(timerfd_settime(fd, 0, &soon, NULL), ==, 0);
    while (!harness_is_readable(fd))
        continue;
}

TEST(a_timer_that_another_has_read_is_waited_for)
{
    const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

    EXPECT_INT(fd, >=, 0);
    read_as_the_second(fd, fire, sizeof(uint64_t));
    EXPECT_INT(close(fd), ==, 0);
}

static void send_signal(int fd)
{
    (void)fd;
    EXPECT_INT(raise(SIGUSR1), ==, 0);
}

TEST(a_signal_that_another_has_read_is_waited_for)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EXPECT_INT(sigprocmask(SIG_BLOCK, &set, NULL), ==, 0);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    EXPECT_INT(fd, >=, 0);
    read_as_the_second(fd, send_signal, sizeof(struct signalfd_siginfo));
    EXPECT_INT(close(fd), ==, 0);
}

static int keyboard;

static void type_line(int fd)
{
    harness_put(keyboard, "abc\n", 4);
    while (!harness_is_readable(fd))
        continue;
}

TEST(a_line_of_a_terminal_that_another_has_read_is_waited_for)
{
    int terminal;

    if (openpty(&keyboard, &terminal, NULL, NULL, NULL) < 0)
        SKIP("no terminals here");
    read_as_the_second(terminal, type_line, 4);
    EXPECT_INT(close(terminal), ==, 0);
    EXPECT_INT(close(keyboard), ==, 0);
}

static void put_in_pipe(int fd)
{
    (void)fd;
    harness_put(keyboard, "abc", 3);
}

TEST(what_another_has_read_of_a_pipe_is_waited_for)
{
    int ends[2];

    harness_pipe(ends);
    keyboard = ends[1];
    read_as_the_second(ends[0], put_in_pipe, 3);
    harness_close_pair(ends);
}

TEST(room_in_a_pipe_that_another_has_taken_is_waited_for)
{
    static char bytes[10000];
    struct torc__epoll epoll;
    struct noted_op op;
    int ends[2];

    if (!deny_nowait())
        SKIP("seccomp filters are not to be had here");
    start(&epoll);
    harness_pipe(ends);
    coveted = ends[1];
    io_uring_prep_write(prepare(&epoll, &op), ends[1], bytes, sizeof(bytes), UINT64_MAX);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    EXPECT_UINT(taken, ==, 1);
    harness_get(ends[0], bytes, 8192);
    EXPECT_INT(result_of(&epoll, &op), >, 0);
    harness_close_pair(ends);
    stop(&epoll);
}

/* SPDX-License-Identifier: MIT */
/*
 * watch_test.c - many descriptors watched at once, and readiness of those that are no sockets.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <torc/torc.h>
#include <unistd.h>

#define A_WHILE (5 * TORC_MILLISECOND)

static int wait_for(struct torc_watcher *watcher, struct torc_watch_event *events,
                    unsigned capacity, uint64_t timeout_ns)
{
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, timeout_ns);
    result = torc_watcher_wait(watcher, events, capacity);
    torc_scope_close(&scope);
    return result;
}

static void expect_one(struct torc_watcher *watcher, uint64_t key, unsigned events)
{
    struct torc_watch_event event[4];

    EXPECT_INT(torc_watcher_wait(watcher, event, 4), ==, 1);
    EXPECT_UINT(event[0].key, ==, key);
    EXPECT_UINT(event[0].events, ==, events);
}

FIBER_TEST(what_is_ready_is_reported_by_every_wait_until_it_is_not)
{
    struct torc_watcher watcher;
    struct torc_watch_event event;
    int fds[2];

    harness_unix_pair(fds);
    EXPECT_INT(torc_watcher_open(&watcher), ==, 0);
    EXPECT_INT(torc_watcher_set(&watcher, fds[0], POLLIN, 7), ==, 0);
    EXPECT_INT(wait_for(&watcher, &event, 1, A_WHILE), ==, -ETIME);
    harness_put(fds[1], "x", 1);
    expect_one(&watcher, 7, POLLIN);
    expect_one(&watcher, 7, POLLIN);
    EXPECT_UINT(harness_drain(fds[0]), ==, 1);
    EXPECT_INT(wait_for(&watcher, &event, 1, A_WHILE), ==, -ETIME);
    torc_watcher_close(&watcher);
    harness_close_pair(fds);
}

FIBER_TEST(what_is_watched_can_be_changed_and_removed_at_any_time)
{
    struct torc_watcher watcher;
    struct torc_watch_event event;
    int fds[2];

    harness_unix_pair(fds);
    EXPECT_INT(torc_watcher_open(&watcher), ==, 0);
    EXPECT_INT(torc_watcher_set(&watcher, fds[0], POLLIN, 1), ==, 0);
    EXPECT_INT(torc_watcher_set(&watcher, fds[0], POLLOUT, 2), ==, 0);
    expect_one(&watcher, 2, POLLOUT);
    harness_put(fds[1], "x", 1);
    EXPECT_INT(torc_watcher_set(&watcher, fds[0], POLLIN | POLLOUT | POLLRDHUP, 3), ==, 0);
    expect_one(&watcher, 3, POLLIN | POLLOUT);
    EXPECT_INT(torc_watcher_set(&watcher, fds[0], POLLIN | POLLRDHUP, UINT64_MAX), ==, 0);
    EXPECT_INT(torc_shutdown(fds[1], SHUT_WR), ==, 0);
    expect_one(&watcher, UINT64_MAX, POLLIN | POLLRDHUP);
    EXPECT_INT(torc_watcher_remove(&watcher, fds[0]), ==, 0);
    EXPECT_INT(torc_watcher_remove(&watcher, fds[0]), ==, -ENOENT);
    EXPECT_INT(wait_for(&watcher, &event, 1, A_WHILE), ==, -ETIME);
    EXPECT_INT(torc_watcher_set(&watcher, fds[0], POLLIN, 4), ==, 0);
    close(fds[1]);
    expect_one(&watcher, 4, POLLIN | POLLHUP); /* POLLHUP unasked. */
    torc_watcher_close(&watcher);
    close(fds[0]);
}

struct changer {
    struct torc_watcher watcher;
    int fd;
    int result;
    struct torc_watch_event event;
};

static int wait_once(void *arg)
{
    struct changer *changer = arg;

    changer->result = torc_watcher_wait(&changer->watcher, &changer->event, 1);
    return 0;
}

FIBER_TEST(a_wait_under_way_sees_what_is_added_and_does_not_see_what_is_removed)
{
    struct changer changer;
    struct torc_scope scope;
    int fds[2];

    harness_unix_pair(fds);
    EXPECT_INT(torc_watcher_open(&changer.watcher), ==, 0);
    EXPECT_INT(torc_watcher_set(&changer.watcher, fds[0], POLLIN, 1), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_once, &changer);
    harness_pass_kernel();
    EXPECT_INT(torc_watcher_remove(&changer.watcher, fds[0]), ==, 0);
    harness_put(fds[1], "x", 1);
    harness_pass_kernel();
    EXPECT_INT(torc_watcher_set(&changer.watcher, fds[1], POLLOUT, 2), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(changer.result, ==, 1);
    EXPECT_UINT(changer.event.key, ==, 2);
    torc_watcher_close(&changer.watcher);
    harness_close_pair(fds);
}

FIBER_TEST(a_wait_is_ended_by_cancelling)
{
    struct changer changer;
    struct torc_scope scope;

    EXPECT_INT(torc_watcher_open(&changer.watcher), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_once, &changer);
    harness_pass_kernel();
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(changer.result, ==, -ECANCELED);
    torc_watcher_close(&changer.watcher);
}

/* The kernel is left with no reference to it: closing really ends the connection. */
FIBER_TEST(a_descriptor_that_is_closed_is_watched_no_more_and_its_peer_is_told)
{
    struct changer changer;
    struct torc_scope scope;
    char byte;
    int fds[2];

    harness_tcp_pair(fds);
    EXPECT_INT(torc_watcher_open(&changer.watcher), ==, 0);
    EXPECT_INT(torc_watcher_set(&changer.watcher, fds[0], POLLIN, 1), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_once, &changer);
    harness_pass_kernel();
    EXPECT_INT(close(fds[0]), ==, 0); /* As a library does, while we wait. */
    EXPECT_INT(torc_recv(fds[1], &byte, 1, 0), ==, 0);
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    EXPECT_INT(changer.result, ==, -ECANCELED);
    EXPECT_INT(torc_watcher_remove(&changer.watcher, fds[0]), ==, -EBADF);
    torc_watcher_close(&changer.watcher);
    close(fds[1]);
}

#define MANY 100

FIBER_TEST(a_batch_reports_many_and_all_have_their_turn)
{
    struct torc_watch_event events[MANY];
    struct torc_watcher watcher;
    bool seen[MANY] = {false};
    int fds[MANY];

    EXPECT_INT(torc_watcher_open(&watcher), ==, 0);
    for (int i = 0; i < MANY; i++) {
        fds[i] = eventfd(1, EFD_CLOEXEC);
        EXPECT_INT(torc_watcher_set(&watcher, fds[i], POLLIN, (uint64_t)i), ==, 0);
    }
    EXPECT_INT(torc_watcher_wait(&watcher, events, MANY), ==, TORC_WATCH_EVENTS_MAX);
    for (int i = 0; i < MANY; i++) { /* What was not reported comes first next time. */
        EXPECT_INT(torc_watcher_wait(&watcher, events, 1), ==, 1);
        EXPECT_UINT(events[0].key, <, MANY);
        seen[events[0].key] = true;
    }
    for (int i = 0; i < MANY; i++) {
        EXPECT(seen[i]);
        close(fds[i]);
    }
    EXPECT_INT(torc_watcher_wait(&watcher, events, 0), ==, -EINVAL);
    torc_watcher_close(&watcher);
}

static bool other_ran;

static int run_once(void *arg)
{
    (void)arg;
    other_ran = true;
    return 0;
}

FIBER_TEST(a_fiber_that_always_finds_events_lets_others_run)
{
    struct torc_watch_event event;
    struct torc_watcher watcher;
    struct torc_scope scope;
    const int fd = eventfd(1, EFD_CLOEXEC);

    EXPECT_INT(torc_watcher_open(&watcher), ==, 0);
    EXPECT_INT(torc_watcher_set(&watcher, fd, POLLIN, 0), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, run_once, NULL);
    EXPECT_INT(torc_watcher_wait(&watcher, &event, 1), ==, 1);
    EXPECT(other_ran);
    (void)torc_scope_close(&scope);
    torc_watcher_close(&watcher);
    close(fd);
}

FIBER_TEST(what_cannot_be_watched_gives_errors)
{
    struct torc_watcher watcher;
    char path[] = "/tmp/torc-watch-XXXXXX";
    const int file = mkostemp(path, O_CLOEXEC);
    int fds[2];

    EXPECT_INT(unlink(path), ==, 0);
    harness_pipe(fds);
    EXPECT_INT(torc_watcher_open(&watcher), ==, 0);
    EXPECT_INT(torc_watcher_set(&watcher, file, POLLIN, 0), ==, -EPERM);
    EXPECT_INT(torc_watcher_set(&watcher, fds[0], 0, 0), ==, -EINVAL);
    EXPECT_INT(torc_watcher_set(&watcher, fds[0], POLLIN | 1U << 31, 0), ==, -EINVAL);
    EXPECT_INT(torc_watcher_set(&watcher, fds[0], POLLHUP, 0), ==, -EINVAL);
    EXPECT_INT(torc_watcher_remove(&watcher, fds[0]), ==, -ENOENT);
    EXPECT_INT(torc_watcher_set(&watcher, -1, POLLIN, 0), ==, -EBADF);
    torc_watcher_close(&watcher);
    harness_close_pair(fds);
    close(file);
}

/* ---- What is no socket ---- */

/* Nothing happens, then `happen` makes the descriptor ready, and a read takes it back. */
static void check_readiness(int fd, void (*happen)(int fd), void (*take)(int fd))
{
    struct torc_watcher watcher;
    struct torc_watch_event event;

    EXPECT_INT(torc_watcher_open(&watcher), ==, 0);
    EXPECT_INT(torc_watcher_set(&watcher, fd, POLLIN, 5), ==, 0);
    EXPECT_INT(wait_for(&watcher, &event, 1, A_WHILE), ==, -ETIME);
    happen(fd);
    expect_one(&watcher, 5, POLLIN);
    EXPECT_INT(torc_poll(fd, POLLIN), ==, POLLIN);
    take(fd);
    EXPECT_INT(wait_for(&watcher, &event, 1, A_WHILE), ==, -ETIME);
    torc_watcher_close(&watcher);
    close(fd);
}

static void add_three(int fd)
{
    const uint64_t three = 3;

    EXPECT_INT(torc_write(fd, &three, sizeof(three)), ==, sizeof(three));
}

static void take_three(int fd)
{
    uint64_t count = 0;

    EXPECT_INT(torc_read(fd, &count, sizeof(count)), ==, sizeof(count));
    EXPECT_UINT(count, ==, 3);
}

FIBER_TEST(an_eventfd_is_ready_when_it_has_a_count)
{
    check_readiness(eventfd(0, EFD_CLOEXEC), add_three, take_three);
    check_readiness(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), add_three, take_three);
}

static void start_timer(int fd)
{
    const struct itimerspec soon = {.it_value = {.tv_nsec = 1}};

    EXPECT_INT(timerfd_settime(fd, 0, &soon, NULL), ==, 0);
}

static void take_expiration(int fd)
{
    uint64_t count = 0;

    EXPECT_INT(torc_read(fd, &count, sizeof(count)), ==, sizeof(count));
    EXPECT_UINT(count, ==, 1);
}

FIBER_TEST(a_timerfd_is_ready_when_its_time_has_come)
{
    check_readiness(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), start_timer, take_expiration);
}

static char folder[32];

static void create_file(int fd)
{
    char path[64];

    (void)fd;
    (void)snprintf(path, sizeof(path), "%s/file", folder);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    EXPECT_INT(unlink(path), ==, 0);
}

static void take_creation(int fd)
{
    _Alignas(struct inotify_event) char data[sizeof(struct inotify_event) + NAME_MAX + 1];
    const struct inotify_event *event = (const struct inotify_event *)(void *)data;

    EXPECT_INT(torc_read(fd, data, sizeof(data)), >=, sizeof(*event));
    EXPECT_UINT(event->mask, ==, IN_CREATE);
    EXPECT_STR(event->name, "file");
}

FIBER_TEST(an_inotify_descriptor_is_ready_when_something_has_happened)
{
    const int fd = inotify_init1(IN_CLOEXEC);

    if (fd < 0) /* All that this user may have are in use. */
        return;
    (void)snprintf(folder, sizeof(folder), "/tmp/torc-watch-XXXXXX");
    EXPECT(mkdtemp(folder) != NULL);
    if (inotify_add_watch(fd, folder, IN_CREATE) >= 0)
        check_readiness(fd, create_file, take_creation);
    else
        close(fd);
    EXPECT_INT(rmdir(folder), ==, 0);
}

static void send_signal(int fd)
{
    (void)fd;
    EXPECT_INT(kill(getpid(), SIGUSR2), ==, 0);
}

static void take_signal(int fd)
{
    struct signalfd_siginfo info = {0};

    EXPECT_INT(torc_read(fd, &info, sizeof(info)), ==, sizeof(info));
    EXPECT_UINT(info.ssi_signo, ==, SIGUSR2);
}

static void watch_signal(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    check_readiness(signalfd(-1, &set, SFD_CLOEXEC), send_signal, take_signal);
}

/* Every thread has to block the signal: so before the shard's thread is started. */
TEST(a_signalfd_is_ready_when_a_signal_is_pending)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    EXPECT_INT(pthread_sigmask(SIG_BLOCK, &set, NULL), ==, 0);
    harness_run(watch_signal);
    EXPECT_INT(pthread_sigmask(SIG_UNBLOCK, &set, NULL), ==, 0);
}

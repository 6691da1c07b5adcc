/* SPDX-License-Identifier: MIT */
/*
 * signal_test.c - signals of the process, received by fibers.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <torc/torc.h>
#include <unistd.h>

static void open_watch(struct torc_signals *signals, int number)
{
    EXPECT_INT(torc_signals_open(signals, &number, 1), ==, 0);
}

static bool is_default(int number)
{
    struct sigaction action;

    EXPECT_INT(sigaction(number, NULL, &action), ==, 0);
    return !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL;
}

/* Nothing more comes: seen by a wait that has only until the kernel was asked. */
static void expect_none(struct torc_signals *signals)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_signals_wait(signals, NULL), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
}

/* ---- One watch ---- */

FIBER_TEST(a_signal_that_came_before_the_wait_is_not_lost)
{
    struct torc_signal_info info;
    struct torc_signals signals;

    open_watch(&signals, SIGUSR1);
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(torc_signals_wait(&signals, &info), ==, SIGUSR1);
    EXPECT_INT(info.number, ==, SIGUSR1);
    EXPECT_INT(info.pid, ==, getpid());
    EXPECT_UINT(info.uid, ==, getuid());
    EXPECT_UINT(info.count, ==, 1);
    expect_none(&signals);
    torc_signals_close(&signals);
    EXPECT(is_default(SIGUSR1));
}

static int raise_soon(void *arg)
{
    harness_yield(3);
    harness_pass_kernel();
    EXPECT_INT(raise(*(const int *)arg), ==, 0);
    return 0;
}

FIBER_TEST(a_signal_wakes_the_fiber_that_waits)
{
    const int number = SIGTERM;
    struct torc_signals signals;

    signal(SIGTERM, SIG_DFL); /* Check's main program had set a handler, which would be called. */
    open_watch(&signals, number);
    harness_spawn(NULL, raise_soon, (void *)&number);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGTERM);
    torc_signals_close(&signals);
    harness_yield_until_alone();
}

FIBER_TEST(signals_that_come_together_are_one_with_a_count)
{
    struct torc_signal_info info;
    struct torc_signals signals;
    const union sigval value = {.sival_int = 4711};

    open_watch(&signals, SIGUSR1);
    EXPECT_INT(pthread_sigqueue(pthread_self(), SIGUSR1, value), ==, 0);
    for (int i = 0; i < 9; i++)
        EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(torc_signals_wait(&signals, &info), ==, SIGUSR1);
    EXPECT_UINT(info.count, ==, 10);
    EXPECT_INT(info.code, ==, SI_QUEUE);
    EXPECT_INT((int)info.value, ==, 4711);
    expect_none(&signals);

    EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(torc_signals_wait(&signals, &info), ==, SIGUSR1);
    EXPECT_UINT(info.count, ==, 1);
    torc_signals_close(&signals);
}

FIBER_TEST(several_signals_are_told_apart_and_come_in_order)
{
    const int numbers[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGRTMIN + 3, SIGHUP};
    struct torc_signals signals;

    signal(SIGHUP, SIG_DFL); /* It may have been ignored since before this test. */
    EXPECT_INT(torc_signals_open(&signals, numbers, 5), ==, 0);
    EXPECT_INT(raise(SIGUSR2), ==, 0);
    EXPECT_INT(raise(SIGRTMIN + 3), ==, 0);
    EXPECT_INT(raise(SIGHUP), ==, 0);
    EXPECT_INT(raise(SIGUSR2), ==, 0);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGUSR2);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGRTMIN + 3);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGHUP);
    expect_none(&signals);
    torc_signals_close(&signals);
    EXPECT(is_default(SIGHUP));
    EXPECT(is_default(SIGRTMIN + 3));
}

static void try_to_watch(int number)
{
    const int numbers[] = {SIGUSR1, number};
    struct torc_signals signals;

    EXPECT_INT(torc_signals_open(&signals, numbers, 2), ==, -EINVAL);
    EXPECT(is_default(SIGUSR1)); /* The other one is not watched either. */
}

FIBER_TEST(what_cannot_be_watched_is_refused)
{
    struct torc_signals signals;

    try_to_watch(SIGKILL);
    try_to_watch(SIGSTOP);
    try_to_watch(SIGSEGV);
    try_to_watch(SIGABRT);
    try_to_watch(0);
    try_to_watch(-1);
    try_to_watch(65);
    try_to_watch(32); /* libc's own. */
    EXPECT_INT(torc_signals_open(&signals, NULL, 0), ==, -EINVAL);
}

static int wait_for_one(void *arg)
{
    return torc_signals_wait(arg, NULL);
}

FIBER_TEST(cancelling_ends_the_wait_and_loses_nothing)
{
    struct torc_signals signals;
    struct torc_scope scope;

    open_watch(&signals, SIGUSR1);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_for_one, &signals);
    harness_pass_kernel();
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGUSR1);
    torc_signals_close(&signals);
}

FIBER_TEST(of_several_fibers_at_one_watch_each_signal_goes_to_one)
{
    struct torc_signals signals;
    struct torc_scope scope;
    const int numbers[] = {SIGUSR1, SIGUSR2};

    EXPECT_INT(torc_signals_open(&signals, numbers, 2), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_for_one, &signals);
    harness_spawn(&scope, wait_for_one, &signals);
    harness_pass_kernel();
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(raise(SIGUSR2), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    expect_none(&signals);
    torc_signals_close(&signals);
}

FIBER_TEST(without_descriptors_nothing_is_watched)
{
    const int number = SIGUSR1;
    struct torc_signals signals;
    int fds[64];
    int count = 0;

    harness_leave_fds(32);
    while ((fds[count] = dup(STDERR_FILENO)) >= 0)
        count++;
    EXPECT_INT(count, >, 0);
    EXPECT_INT(close(fds[--count]), ==, 0); /* One is free, and two are needed. */
    EXPECT_INT(torc_signals_open(&signals, &number, 1), ==, -EMFILE);
    EXPECT(is_default(SIGUSR1));
    while (count > 0)
        EXPECT_INT(close(fds[--count]), ==, 0);
    (void)harness_raise_fd_limit();
}

/* ---- Several watches ---- */

FIBER_TEST(every_watch_receives_every_signal)
{
    struct torc_signals watches[3];

    for (int i = 0; i < 3; i++)
        open_watch(&watches[i], SIGUSR1);
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    for (int i = 0; i < 3; i++)
        EXPECT_INT(torc_signals_wait(&watches[i], NULL), ==, SIGUSR1);
    torc_signals_close(&watches[1]); /* Out of the middle of the list. */
    EXPECT(!is_default(SIGUSR1));
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(torc_signals_wait(&watches[0], NULL), ==, SIGUSR1);
    EXPECT_INT(torc_signals_wait(&watches[2], NULL), ==, SIGUSR1);
    torc_signals_close(&watches[0]);
    torc_signals_close(&watches[2]);
    EXPECT(is_default(SIGUSR1));
}

/* ---- Other handlers ---- */

static volatile sig_atomic_t simple_calls;
static volatile sig_atomic_t detailed_calls;

static void simple_handler(int number)
{
    simple_calls += number == SIGUSR1;
}

static void detailed_handler(int number, siginfo_t *info, void *context)
{
    detailed_calls += number == SIGUSR2 && info->si_pid == getpid() && context != NULL;
}

FIBER_TEST(the_handlers_from_before_are_called_and_come_back)
{
    const struct sigaction simple = {.sa_handler = simple_handler};
    const struct sigaction detailed = {.sa_sigaction = detailed_handler, .sa_flags = SA_SIGINFO};
    const int numbers[] = {SIGUSR1, SIGUSR2, SIGHUP};
    struct torc_signals signals;
    struct sigaction now;

    EXPECT_INT(sigaction(SIGUSR1, &simple, NULL), ==, 0);
    EXPECT_INT(sigaction(SIGUSR2, &detailed, NULL), ==, 0);
    EXPECT(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    EXPECT_INT(torc_signals_open(&signals, numbers, 3), ==, 0);
    for (int i = 0; i < 3; i++) {
        EXPECT_INT(raise(numbers[i]), ==, 0);
        EXPECT_INT(torc_signals_wait(&signals, NULL), ==, numbers[i]);
    }
    EXPECT_INT(simple_calls, ==, 1);
    EXPECT_INT(detailed_calls, ==, 1);
    torc_signals_close(&signals);

    EXPECT_INT(sigaction(SIGUSR1, NULL, &now), ==, 0);
    EXPECT(now.sa_handler == simple_handler);
    EXPECT_INT(sigaction(SIGUSR2, NULL, &now), ==, 0);
    EXPECT(now.sa_sigaction == detailed_handler);
    EXPECT(signal(SIGHUP, SIG_DFL) == SIG_IGN);
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(simple_calls, ==, 2);
}

static struct sigaction covered;

static void covering_handler(int number, siginfo_t *info, void *context)
{
    simple_calls++;
    covered.sa_sigaction(number, info, context);
}

FIBER_TEST(a_handler_set_later_stays_and_may_call_ours)
{
    const struct sigaction covering = {.sa_sigaction = covering_handler, .sa_flags = SA_SIGINFO};
    struct torc_signals signals;
    struct sigaction now;

    open_watch(&signals, SIGUSR1);
    EXPECT_INT(sigaction(SIGUSR1, &covering, &covered), ==, 0);
    for (int i = 1; i <= 2; i++) { /* Opened again, ours does not come to be called twice. */
        struct torc_signal_info info;

        EXPECT_INT(raise(SIGUSR1), ==, 0);
        EXPECT_INT(simple_calls, ==, i);
        EXPECT_INT(torc_signals_wait(&signals, &info), ==, SIGUSR1);
        EXPECT_UINT(info.count, ==, 1);
        torc_signals_close(&signals);
        open_watch(&signals, SIGUSR1);
    }
    torc_signals_close(&signals);
    EXPECT_INT(sigaction(SIGUSR1, NULL, &now), ==, 0);
    EXPECT(now.sa_sigaction == covering_handler);
    EXPECT_INT(raise(SIGUSR1), ==, 0); /* Ours is called without a watch. */
    EXPECT_INT(simple_calls, ==, 3);
}

FIBER_TEST(a_watch_opened_after_the_default_was_set_receives_again)
{
    struct torc_signals signals;

    open_watch(&signals, SIGUSR1);
    EXPECT(signal(SIGUSR1, SIG_DFL) != SIG_ERR);
    torc_signals_close(&signals);
    EXPECT(is_default(SIGUSR1));
    open_watch(&signals, SIGUSR1);
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGUSR1);
    torc_signals_close(&signals);
    EXPECT(is_default(SIGUSR1));
}

FIBER_TEST(what_a_forked_child_receives_is_not_ours)
{
    struct torc_signals signals;
    pid_t child;
    int status;

    open_watch(&signals, SIGUSR1);
    child = fork();
    EXPECT_INT(child, >=, 0);
    if (child == 0) {
        raise(SIGUSR1);
        _exit(0);
    }
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    EXPECT_INT(status, ==, 0);
    expect_none(&signals);
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGUSR1);
    torc_signals_close(&signals);
}

/* ---- Other threads and shards ---- */

static void *raise_on_thread(void *arg)
{
    EXPECT_INT(pthread_kill(pthread_self(), *(const int *)arg), ==, 0);
    return NULL;
}

FIBER_TEST_WITH_THREADS(t_27_a_signal_may_hit_any_thread)
{
    int number = SIGINT;
    struct torc_signals signals;

    signal(SIGINT, SIG_DFL);
    open_watch(&signals, SIGINT);
    harness_join(harness_thread(raise_on_thread, &number));
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGINT);
    torc_signals_close(&signals);
}

struct meeting {
    atomic_uint watching;
    atomic_uint received;
};

/* Every shard watches; when all do, one sends the signal, and all receive it, and stop. */
static int watch_on_shard(void *arg)
{
    struct meeting *meeting = arg;
    struct torc_signals signals;

    open_watch(&signals, SIGUSR2);
    if (atomic_fetch_add(&meeting->watching, 1) + 1 == torc_shard_count())
        EXPECT_INT(kill(getpid(), SIGUSR2), ==, 0);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGUSR2);
    atomic_fetch_add(&meeting->received, 1);
    torc_signals_close(&signals);
    return 0;
}

TEST(every_shard_may_watch_the_same_signal)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};
    struct meeting meeting = {0};

    NEEDS_THREADS();
    harness_run_with(&options, watch_on_shard, &meeting);
    EXPECT_UINT(atomic_load(&meeting.received), ==, 3);
    EXPECT(is_default(SIGUSR2));
}

static atomic_bool storm_ends;

static void *storm(void *arg)
{
    uint64_t *sent = arg;

    while (!atomic_load(&storm_ends)) {
        pthread_kill(pthread_self(), SIGUSR1);
        ++*sent;
    }
    return NULL;
}

FIBER_TEST_WITH_THREADS(in_a_storm_watches_come_and_go_and_every_signal_is_counted_once)
{
    struct torc_signals lasting;
    struct torc_signals passing;
    struct torc_signal_info info;
    uint64_t sent[2] = {0};
    uint64_t counted = 0;
    pthread_t threads[2];

    open_watch(&lasting, SIGUSR1);
    for (int i = 0; i < 2; i++)
        threads[i] = harness_thread(storm, &sent[i]);
    for (unsigned i = 0; i < harness_scaled(100); i++) {
        open_watch(&passing, SIGUSR1);
        EXPECT_INT(torc_signals_wait(&passing, NULL), ==, SIGUSR1);
        EXPECT_INT(torc_signals_wait(&lasting, &info), ==, SIGUSR1);
        counted += info.count;
        torc_signals_close(&passing);
    }
    atomic_store(&storm_ends, true);
    for (int i = 0; i < 2; i++)
        harness_join(threads[i]);
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    while (counted < sent[0] + sent[1] + 1) {
        EXPECT_INT(torc_signals_wait(&lasting, &info), ==, SIGUSR1);
        counted += info.count;
    }
    EXPECT_UINT(counted, ==, sent[0] + sent[1] + 1);
    expect_none(&lasting);
    torc_signals_close(&lasting);
}

static int watch_in_runtime(void *arg)
{
    pthread_barrier_t *barrier = arg;
    struct torc_signals signals;

    open_watch(&signals, SIGUSR1);
    pthread_barrier_wait(barrier);
    EXPECT_INT(torc_signals_wait(&signals, NULL), ==, SIGUSR1);
    torc_signals_close(&signals);
    return 0;
}

static void *run_runtime(void *arg)
{
    EXPECT_INT(torc_run(watch_in_runtime, arg, NULL), ==, 0);
    return NULL;
}

TEST(several_runtimes_watch_the_same_signal)
{
    pthread_barrier_t barrier;
    pthread_t threads[2];

    NEEDS_THREADS();
    EXPECT_INT(pthread_barrier_init(&barrier, NULL, 3), ==, 0);
    for (int i = 0; i < 2; i++)
        threads[i] = harness_thread(run_runtime, &barrier);
    pthread_barrier_wait(&barrier);
    EXPECT_INT(kill(getpid(), SIGUSR1), ==, 0);
    for (int i = 0; i < 2; i++)
        harness_join(threads[i]);
    EXPECT_INT(pthread_barrier_destroy(&barrier), ==, 0);
    EXPECT(is_default(SIGUSR1));
}

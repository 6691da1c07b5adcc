/* SPDX-License-Identifier: MIT */
/*
 * blocking_test.c - functions that block run beside the shard, and only there.
 */
#include "harness/run.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <torc/torc.h>

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0)
        EXPECT_INT(errno, ==, EINTR);
}

/* ---- Results ---- */

static int look_around(void *arg)
{
    EXPECT(!torc_on_shard());
    EXPECT(!pthread_equal(*(const pthread_t *)arg, pthread_self()));
    errno = EXDEV;
    return 42;
}

FIBER_TEST_WITH_THREADS(a_function_runs_on_another_thread_and_its_result_comes_back)
{
    pthread_t self = pthread_self();
    struct torc_stats stats;

    EXPECT_INT(torc_blocking(look_around, &self), ==, 42);
    torc_stats(&stats);
    EXPECT_UINT(stats.blocking_threads, ==, 1);
}

static int give(void *arg)
{
    return *(const int *)arg;
}

FIBER_TEST_WITH_THREADS(a_negative_result_is_the_functions)
{
    EXPECT_INT(torc_blocking(give, &(int){-ENOENT}), ==, -ENOENT);
    EXPECT_INT(torc_blocking(give, &(int){-ECANCELED}), ==, -ECANCELED);
    EXPECT_INT(torc_blocking(give, &(int){0}), ==, 0);
}

static int run_another(void *arg)
{
    return torc_run(give, arg, NULL);
}

FIBER_TEST_WITH_THREADS(a_function_may_run_torc_anew)
{
    EXPECT_INT(torc_blocking(run_another, &(int){-EXDEV}), ==, -EXDEV);
}

static int count_cpus(void *arg)
{
    cpu_set_t cpus;

    (void)arg;
    EXPECT_INT(sched_getaffinity(0, sizeof(cpus), &cpus), ==, 0);
    return CPU_COUNT(&cpus);
}

static int count_from_a_pinned_shard(void *arg)
{
    EXPECT_INT(count_cpus(NULL), ==, 1);
    EXPECT_INT(torc_blocking(count_cpus, NULL), ==, *(const int *)arg);
    return 0;
}

TEST(functions_run_on_all_cpus_though_the_shard_is_pinned)
{
    const int cpu = sched_getcpu();
    const struct torc_options options = {.cpus = &cpu, .cpu_count = 1};
    int cpus = count_cpus(NULL);

    NEEDS_THREADS();
    EXPECT_INT(torc_run(count_from_a_pinned_shard, &cpus, &options), ==, 0);
}

FIBER_TEST_WITH_THREADS(without_any_thread_the_call_is_refused)
{
    struct rlimit before;
    struct rlimit none;

    if (harness_is_slow())
        SKIP("sanitizers need address space themselves");
    EXPECT_INT(getrlimit(RLIMIT_AS, &before), ==, 0);
    none = (struct rlimit){1, before.rlim_max};
    EXPECT_INT(setrlimit(RLIMIT_AS, &none), ==, 0);
    EXPECT_INT(torc_blocking(give, &(int){1}), ==, -EAGAIN);
    EXPECT_INT(setrlimit(RLIMIT_AS, &before), ==, 0);
    EXPECT_INT(torc_blocking(give, &(int){1}), ==, 1);
}

/* ---- Others go on ---- */

static int wait_on_thread(void *arg)
{
    wait_for(arg);
    return 7;
}

static int call_and_wait(void *arg)
{
    EXPECT_INT(torc_blocking(wait_on_thread, arg), ==, 7);
    return 0;
}

FIBER_TEST_WITH_THREADS(the_shard_goes_on_while_functions_block)
{
    struct torc_scope scope;
    sem_t gate;

    sem_init(&gate, 0, 0);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 20; i++)
        harness_spawn(&scope, call_and_wait, &gate);
    harness_yield(10);
    harness_pass_kernel();
    for (unsigned i = 0; i < 20; i++)
        sem_post(&gate); /* Nobody else would. */
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

#define CALLS 500

static atomic_uint counted;

static int count(void *arg)
{
    (void)arg;
    atomic_fetch_add(&counted, 1);
    return 0;
}

static int call_count(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 4; i++)
        EXPECT_INT(torc_blocking(count, NULL), ==, 0);
    return 0;
}

static int count_on_each_shard(void *arg)
{
    struct torc_scope scope;

    (void)arg;
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < harness_scaled(CALLS); i++)
        harness_spawn(&scope, call_count, NULL);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    return 0;
}

TEST(the_calls_of_all_fibers_of_all_shards_share_one_pool)
{
    const struct torc_options options = {
        .shards = 2, .no_pin = true, .blocking_threads_max = 5, .blocking_idle_ns = 1};

    NEEDS_THREADS();
    atomic_store(&counted, 0);
    EXPECT_INT(torc_run(count_on_each_shard, NULL, &options), ==, 0);
    EXPECT_UINT(atomic_load(&counted), ==, 2 * 4 * harness_scaled(CALLS));
}

/* ---- Reasons ---- */

static int never(void *arg)
{
    (void)arg;
    FAIL("it was called");
}

FIBER_TEST_WITH_THREADS(in_a_cancelled_scope_nothing_is_called)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_blocking(never, NULL), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
}

struct held {
    sem_t begun;
    sem_t gate;
    bool returned;
};

static int hold_on_thread(void *arg)
{
    struct held *held = arg;

    sem_post(&held->begun);
    wait_for(&held->gate);
    return 5;
}

static int hold(void *arg)
{
    struct held *held = arg;

    EXPECT_INT(torc_blocking(hold_on_thread, held), ==, 5); /* It ran: that is the result. */
    held->returned = true;
    EXPECT_INT(torc_yield(), ==, -ECANCELED);
    return 0;
}

FIBER_TEST_WITH_THREADS(a_function_that_runs_is_waited_for_in_a_cancelled_scope)
{
    struct torc_scope scope;
    struct held held = {.returned = false};

    sem_init(&held.begun, 0, 0);
    sem_init(&held.gate, 0, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, hold, &held);
    harness_yield(2);
    wait_for(&held.begun);
    torc_scope_cancel(&scope);
    harness_pass_kernel();
    EXPECT(!held.returned);
    sem_post(&held.gate);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT(held.returned);
}

static int queue_until_cancelled(void *arg)
{
    EXPECT_INT(torc_blocking(never, NULL), ==, -ECANCELED);
    *(bool *)arg = true;
    return 0;
}

static int fill_the_only_thread(void *arg)
{
    struct torc_scope outer;
    struct torc_scope inner;
    struct held held = {.returned = false};
    bool ended = false;

    (void)arg;
    sem_init(&held.begun, 0, 0);
    sem_init(&held.gate, 0, 0);
    torc_scope_open(&outer, 0);
    harness_spawn(&outer, hold, &held);
    harness_yield(2);
    wait_for(&held.begun);
    torc_scope_open(&inner, 0);
    harness_spawn(&inner, queue_until_cancelled, &ended);
    harness_yield(2);
    torc_scope_cancel(&inner);
    EXPECT_INT(torc_scope_close(&inner), ==, -ECANCELED); /* At once: the thread is still held. */
    EXPECT(ended);

    torc_scope_open(&inner, 0);
    torc_scope_set_timeout(&inner, TORC_MILLISECOND);
    EXPECT_INT(torc_blocking(never, NULL), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&inner), ==, -ETIME);

    torc_scope_cancel(&outer);
    sem_post(&held.gate);
    EXPECT_INT(torc_scope_close(&outer), ==, -ECANCELED);
    return 0;
}

TEST(a_call_that_waits_for_a_thread_is_withdrawn_when_its_scope_ends)
{
    const struct torc_options options = {.blocking_threads_max = 3};

    NEEDS_THREADS();
    EXPECT_INT(torc_run(fill_the_only_thread, NULL, &options), ==, 0);
}

/* ---- The end ---- */

static int leave_a_call_behind(void *arg)
{
    struct held *held = arg;

    harness_spawn(NULL, hold, held);
    harness_yield(2);
    wait_for(&held->begun);
    sem_post(&held->gate);
    return 0;
}

TEST(a_shard_ends_after_the_functions_that_its_fibers_have_called)
{
    struct held held = {.returned = false};

    NEEDS_THREADS();
    sem_init(&held.begun, 0, 0);
    sem_init(&held.gate, 0, 0);
    EXPECT_INT(torc_run(leave_a_call_behind, &held, NULL), ==, 0);
    EXPECT(held.returned);
}

static int call_in_a_shield(void *arg)
{
    struct torc_scope shield;

    torc_scope_open(&shield, TORC_SHIELD);
    EXPECT_INT(torc_blocking(give, &(int){3}), ==, 3);
    EXPECT_INT(torc_scope_close(&shield), ==, 0);
    *(bool *)arg = true;
    return 0;
}

static bool late_call_returned;

static void start_late_call(struct torc_message *message)
{
    (void)message;
    EXPECT_INT(torc_spawn(call_in_a_shield, &late_call_returned), ==, 0);
}

static int post_and_leave(void *arg)
{
    static struct torc_message message = {.run = start_late_call};
    struct torc_mailbox *mailbox = torc_mailbox_acquire();

    (void)arg;
    EXPECT_INT(torc_mailbox_post(mailbox, &message), ==, 0);
    torc_mailbox_release(mailbox);
    return 0;
}

TEST(a_fiber_that_starts_while_the_shard_ends_may_call_too)
{
    NEEDS_THREADS();
    late_call_returned = false;
    EXPECT_INT(torc_run(post_and_leave, NULL, NULL), ==, 0);
    EXPECT(late_call_returned);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

TEST(options_of_the_pool_out_of_their_ranges_are_refused)
{
    const struct torc_options wrong[] = {
        {.blocking_threads_max = 1},
        {.blocking_threads_max = 5000},
        {.blocking_idle_ns = 3601 * TORC_SECOND},
    };
    struct torc_driver_report report;

    for (unsigned i = 0; i < 3; i++) {
        EXPECT_INT(torc_run(nothing, NULL, &wrong[i]), ==, -EINVAL);
        EXPECT_INT(torc_driver_report(&wrong[i], &report), ==, -EINVAL);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * call_stop_test.c - calls that run on a shard when that is stopped, alone or with all others.
 */
#include "harness/run.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <torc/torc.h>

/* ---- A shard that ends while the others go on ---- */

static struct torc_event called; /* on shard 1: the body of a call is waiting there */

static int wait_for_ever(void *arg)
{
    (void)arg;
    torc_event_set(&called);
    return torc_sleep(TORC_FOREVER);
}

static int wait_and_fail_otherwise(void *arg)
{
    return wait_for_ever(arg) == -ECANCELED ? -ENOENT : 0;
}

struct cut_off {
    torc_fiber_fn *body;
    int expected;
};

/* Shard 0 calls; shard 1 leaves when the call is there. */
static int leave_a_caller_behind(void *arg)
{
    const struct cut_off *one = arg;

    if (torc_shard_index() == 1)
        return torc_event_wait(&called);
    EXPECT_INT(torc_shard_call(1, one->body, NULL), ==, one->expected);
    EXPECT_INT(torc_cancelled(), ==, 0);
    return 0;
}

static void cut_off(torc_fiber_fn *body, int expected)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};
    struct cut_off one = {body, expected};

    called = (struct torc_event){0};
    EXPECT_INT(harness_run_result(&options, leave_a_caller_behind, &one), ==, 0);
}

TEST(a_call_that_is_cut_off_by_the_end_of_its_shard_says_so_and_not_that_it_was_cancelled)
{
    NEEDS_THREADS();
    cut_off(wait_for_ever, -ESHUTDOWN);
}

TEST(what_a_body_makes_of_the_end_of_its_shard_is_its_result)
{
    NEEDS_THREADS();
    cut_off(wait_and_fail_otherwise, -ENOENT);
}

static void *call_and_be_cut_off(void *arg)
{
    EXPECT_INT(torc_mailbox_call(arg, wait_for_ever, NULL), ==, -ESHUTDOWN);
    torc_mailbox_release(arg);
    return NULL;
}

static int leave_a_thread_behind(void *arg)
{
    *(pthread_t *)arg = harness_thread(call_and_be_cut_off, torc_mailbox_acquire());
    return torc_event_wait(&called);
}

TEST(a_thread_learns_that_its_call_was_cut_off)
{
    pthread_t thread;

    NEEDS_THREADS();
    called = (struct torc_event){0};
    EXPECT_INT(torc_run(leave_a_thread_behind, &thread, NULL), ==, 0);
    harness_join(thread);
}

/* ---- All are stopped ---- */

#define STOPPER 2u

static atomic_bool call_begun;

static int begin_and_wait(void *arg)
{
    (void)arg;
    atomic_store(&call_begun, true);
    return torc_sleep(TORC_FOREVER);
}

/*
 * Shard 1 calls shard 0, or the other way round, and shard 2 stops all. The messages that say so
 * reach one before the other: in either order the caller is stopped, and not left by its callee.
 */
static int call_and_be_stopped(void *arg)
{
    const unsigned caller = *(const unsigned *)arg;

    if (torc_shard_index() == caller)
        return torc_shard_call(1 - caller, begin_and_wait, NULL);
    if (torc_shard_index() != STOPPER)
        return torc_sleep(TORC_FOREVER);
    while (!atomic_load(&call_begun))
        EXPECT_INT(torc_yield(), ==, 0);
    torc_stop();
    return 0;
}

/* torc_run() takes no notice of a main that ends because it was stopped; of another failure it
 * does. */
TEST(a_caller_that_is_stopped_with_its_callee_is_told_its_own_reason)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    for (unsigned i = 0; i < harness_scaled(100); i++) {
        unsigned caller = i % 2;

        atomic_store(&call_begun, false);
        EXPECT_INT(harness_run_result(&options, call_and_be_stopped, &caller), ==, 0);
    }
}

static int yield_once(void *arg)
{
    (void)arg;
    return torc_yield();
}

/* Calls again and again, and so comes to shards that have ended as well. */
static int call_until_stopped(void *arg)
{
    int result = 0;

    (void)arg;
    if (torc_shard_index() == STOPPER) {
        result = torc_sleep(TORC_MILLISECOND);
        torc_stop();
        return result;
    }
    while (result >= 0)
        result = torc_shard_call(1 - torc_shard_index(), yield_once, NULL);
    return result;
}

TEST(calls_that_race_with_a_stop_of_all_end_with_the_callers_reason)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    for (unsigned i = 0; i < harness_scaled(100); i++)
        EXPECT_INT(harness_run_result(&options, call_until_stopped, NULL), ==, 0);
}

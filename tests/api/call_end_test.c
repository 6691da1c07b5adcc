/* SPDX-License-Identifier: MIT */
/*
 * call_end_test.c - calls to a shard that ends meanwhile, and that are cancelled at any time.
 */
#include "harness/run.h"
#include <errno.h>
#include <pthread.h>
#include <torc/torc.h>

/* Calls, each with a deadline, until the shard has ended. */
static int call_or_be_cut_off(void *arg)
{
    struct torc_mailbox *mailbox = arg;
    unsigned yields = harness_random_below(3);
    int result = 0;

    while (result != -ESHUTDOWN) {
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, harness_random_below(200) * TORC_MICROSECOND);
        result = torc_mailbox_call(mailbox, harness_yield_or_end, &yields);
        EXPECT(result == 1 || result == -ETIME || result == -ECANCELED || result == -ESHUTDOWN);
        (void)torc_scope_close(&scope);
        EXPECT_INT(torc_yield(), ==, 0);
    }
    return 0;
}

static int call_with_fibers(void *arg)
{
    struct torc_scope scope;
    int closed;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 4; i++)
        harness_spawn(&scope, call_or_be_cut_off, arg);
    closed = torc_scope_close(&scope);
    torc_mailbox_release(arg);
    return closed;
}

/* ---- Two runtimes ---- */

static void *call_from_runtime(void *arg)
{
    EXPECT_INT(torc_run(call_with_fibers, arg, NULL), ==, 0);
    return NULL;
}

static int end_under_calls_of_runtimes(void *arg)
{
    pthread_t *threads = arg;

    for (unsigned i = 0; i < 2; i++)
        threads[i] = harness_thread(call_from_runtime, torc_mailbox_acquire());
    return torc_sleep(3 * TORC_MILLISECOND);
}

TEST(calls_from_other_runtimes_that_race_with_the_end_are_refused_or_run)
{
    NEEDS_THREADS();
    for (unsigned i = 0; i < 20; i++) {
        pthread_t threads[2];

        EXPECT_INT(torc_run(end_under_calls_of_runtimes, threads, NULL), ==, 0);
        for (unsigned j = 0; j < 2; j++)
            harness_join(threads[j]);
    }
}

/* ---- Shards of one runtime, of which one ends before the others do ---- */

static int end_or_call(void *arg)
{
    (void)arg;
    if (torc_shard_index() == 1)
        return torc_sleep(harness_random_below(1000) * TORC_MICROSECOND);
    return call_with_fibers(torc_shard_mailbox(1));
}

TEST(calls_that_race_with_the_end_of_their_shard_are_refused_or_run)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    for (unsigned i = 0; i < harness_scaled(50); i++)
        EXPECT_INT(harness_run_result(&options, end_or_call, NULL), ==, 0);
}

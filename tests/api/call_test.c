/* SPDX-License-Identifier: MIT */
/*
 * call_test.c - calls, asks and fibers on other shards, from shards and from threads.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <torc/torc.h>

/* ---- Results ---- */

static int index_and_yield(void *arg)
{
    EXPECT_INT(torc_yield(), ==, 0);
    *(unsigned *)arg = torc_shard_index();
    return 100 + (int)torc_shard_index();
}

static int index_at_once(void *arg)
{
    *(unsigned *)arg = torc_shard_index();
    return 200 + (int)torc_shard_index();
}

static int call_everybody(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 300; i++) {
        const unsigned shard = i % 3;
        unsigned seen = 99;

        EXPECT_INT(torc_shard_call(shard, index_and_yield, &seen), ==, 100 + (int)shard);
        EXPECT_UINT(seen, ==, shard);
        seen = 99;
        EXPECT_INT(torc_shard_ask(shard, index_at_once, &seen), ==, 200 + (int)shard);
        EXPECT_UINT(seen, ==, shard);
    }
    EXPECT_INT(torc_shard_call(3, index_and_yield, NULL), ==, -EINVAL);
    EXPECT_INT(torc_shard_ask(3, index_and_yield, NULL), ==, -EINVAL);
    EXPECT_INT(torc_shard_spawn(3, index_and_yield, NULL), ==, -EINVAL);
    EXPECT(torc_shard_mailbox(3) == NULL);
    EXPECT_UINT(torc_shard_load(3), ==, 0);
    return 0;
}

TEST(a_call_runs_on_the_other_shard_and_brings_its_result_back)
{
    NEEDS_THREADS();
    harness_act_on(3, call_everybody, NULL);
}

static int call_back(void *arg)
{
    int *depth = arg;

    if (--*depth == 0)
        return 7;
    return torc_shard_call(1 - torc_shard_index(), call_back, depth);
}

static int call_back_and_forth(void *arg)
{
    int depth = 50;

    (void)arg;
    EXPECT_INT(torc_shard_call(1, call_back, &depth), ==, 7);
    EXPECT_INT(depth, ==, 0);
    return 0;
}

TEST(shards_may_call_each_other_while_they_are_called)
{
    NEEDS_THREADS();
    harness_act_on(2, call_back_and_forth, NULL);
}

static int suspend_in_leaf(void *arg)
{
    (void)arg;
    return torc_yield();
}

static int ask_to_suspend(void *arg)
{
    (void)arg;
    return torc_shard_ask(1, suspend_in_leaf, NULL);
}

static void run_leaf_that_suspends(void)
{
    harness_act_on(2, ask_to_suspend, NULL);
}

TEST(a_leaf_that_suspends_aborts)
{
    NEEDS_THREADS();
    harness_expect_death(run_leaf_that_suspends, SIGABRT, "running != &shard->loop");
}

/* ---- Order ---- */

struct note {
    struct torc_message message;
    unsigned number;
};

static unsigned notes_taken; /* by the one shard that gets them */

static void take_note(struct torc_message *message)
{
    struct note *note = (struct note *)(void *)message;

    EXPECT_UINT(note->number, ==, notes_taken);
    notes_taken++;
}

static int count_notes(void *arg)
{
    (void)arg;
    return (int)notes_taken;
}

static int post_then_ask(void *arg)
{
    static struct note notes[1000];

    (void)arg;
    for (unsigned i = 0; i < 1000; i++) {
        notes[i] = (struct note){.message = {.run = take_note}, .number = i};
        EXPECT_INT(torc_shard_post(1, &notes[i].message), ==, 0);
        if (i % 100 == 99)
            EXPECT_INT(torc_shard_ask(1, count_notes, NULL), ==, (int)i + 1);
    }
    EXPECT_INT(torc_shard_call(1, count_notes, NULL), ==, 1000);
    EXPECT_INT(torc_shard_post(2, &notes[0].message), ==, -EINVAL);
    return 0;
}

TEST(what_one_fiber_sends_to_one_shard_arrives_in_order)
{
    NEEDS_THREADS();
    harness_act_on(2, post_then_ask, NULL);
}

static int count_notes_in_a_fiber(void *arg)
{
    EXPECT_INT(torc_yield(), ==, 0);
    return count_notes(arg);
}

FIBER_TEST(what_one_fiber_sends_to_its_own_shard_arrives_in_order)
{
    static struct note notes[1000]; /* More than one round takes. */
    struct torc_scope scope;

    for (unsigned i = 0; i < 1000; i++) {
        notes[i] = (struct note){.message = {.run = take_note}, .number = i};
        EXPECT_INT(torc_shard_post(0, &notes[i].message), ==, 0);
        if (i == 499)
            EXPECT_INT(torc_shard_ask(0, count_notes, NULL), ==, 500);
    }
    EXPECT_INT(torc_shard_call(0, count_notes_in_a_fiber, NULL), ==, 1000);
    EXPECT_INT(torc_shard_call(0, count_notes, NULL), ==, 1000); /* With nothing before it. */

    notes[0] = (struct note){.message = {.run = take_note}, .number = 1000};
    EXPECT_INT(torc_shard_post(0, &notes[0].message), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_shard_call(0, count_notes, NULL), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(torc_shard_ask(0, count_notes, NULL), ==, 1001);
}

/* ---- Cancellation ---- */

static atomic_bool callee_waits;
static atomic_int callee_result;

static int wait_for_the_end(void *arg)
{
    int result;

    (void)arg;
    atomic_store(&callee_waits, true);
    result = torc_sleep(TORC_FOREVER);
    atomic_store(&callee_result, result);
    return result;
}

static int call_waiter(void *arg)
{
    return torc_shard_call(1, wait_for_the_end, arg);
}

static int cancel_running_call(void *arg)
{
    struct torc_scope scope;

    (void)arg;
    torc_scope_open(&scope, TORC_SUPERVISE);
    harness_spawn(&scope, call_waiter, NULL);
    while (!atomic_load(&callee_waits))
        EXPECT_INT(torc_yield(), ==, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(atomic_load(&callee_result), ==, -ECANCELED);
    return 0;
}

TEST(cancelling_a_call_cancels_what_runs_for_it_and_waits_for_that)
{
    NEEDS_THREADS();
    harness_act_on(2, cancel_running_call, NULL);
}

static int call_past_deadline(void *arg)
{
    struct torc_scope scope;

    (void)arg;
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_shard_call(1, wait_for_the_end, NULL), ==, -ETIME);
    EXPECT_INT(torc_shard_call(1, wait_for_the_end, NULL), ==, -ETIME);
    EXPECT_INT(torc_shard_ask(1, wait_for_the_end, NULL), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    return 0;
}

TEST(a_deadline_ends_a_call)
{
    NEEDS_THREADS();
    harness_act_on(2, call_past_deadline, NULL);
}

static int finish_in_spite(void *arg)
{
    atomic_store(&callee_waits, true);
    EXPECT_INT(torc_sleep(TORC_FOREVER), ==, -ECANCELED);
    *(int *)arg = 55;
    return 55;
}

static int call_stubborn(void *arg)
{
    int *number = arg;
    int result = torc_shard_call(1, finish_in_spite, number);

    EXPECT_INT(result, ==, 55);
    EXPECT_INT(*number, ==, 55);
    return 0;
}

static int cancel_stubborn_call(void *arg)
{
    struct torc_scope scope;
    int number = 0;

    (void)arg;
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, call_stubborn, &number);
    while (!atomic_load(&callee_waits))
        EXPECT_INT(torc_yield(), ==, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    return 0;
}

TEST(the_result_of_a_call_that_ends_well_in_spite_of_a_cancel_is_kept)
{
    NEEDS_THREADS();
    harness_act_on(2, cancel_stubborn_call, NULL);
}

/* A shard that is kept busy, so that what is sent to it is not begun. */
static atomic_bool let_go;
static atomic_bool is_busy;
static atomic_bool has_begun;

static int keep_busy(void *arg)
{
    (void)arg;
    atomic_store(&is_busy, true);
    while (!atomic_load(&let_go))
        sched_yield();
    return 0;
}

static int note_begin(void *arg)
{
    (void)arg;
    atomic_store(&has_begun, true);
    return 0;
}

static int call_busy_shard(void *arg)
{
    return torc_shard_call(1, *(torc_fiber_fn **)arg, NULL);
}

static int ask_busy_shard(void *arg)
{
    return torc_shard_ask(1, *(torc_fiber_fn **)arg, NULL);
}

static int withdraw_calls(void *arg)
{
    torc_fiber_fn *busy = keep_busy;
    torc_fiber_fn *note = note_begin;
    struct torc_scope scope;
    struct torc_scope doomed;

    (void)arg;
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, call_busy_shard, &busy);
    while (!atomic_load(&is_busy))
        EXPECT_INT(torc_yield(), ==, 0);
    torc_scope_open(&doomed, TORC_SUPERVISE);
    harness_spawn(&doomed, call_busy_shard, &note);
    harness_spawn(&doomed, ask_busy_shard, &note);
    harness_yield(3);
    torc_scope_cancel(&doomed);
    atomic_store(&let_go, true);
    EXPECT_INT(torc_scope_close(&doomed), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT(!atomic_load(&has_begun));
    return 0;
}

TEST(a_call_that_has_not_begun_is_withdrawn)
{
    NEEDS_THREADS();
    harness_act_on(2, withdraw_calls, NULL);
}

/* Calls that race with their own cancelling, in every way the threads make it come out. */
static atomic_uint outcomes[2];

static int call_some(void *arg)
{
    int result = torc_shard_call(1, harness_yield_or_end, arg);

    EXPECT(result == 1 || result == -ECANCELED);
    atomic_fetch_add(&outcomes[result == 1], 1);
    return 0;
}

static int race_calls_and_cancels(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < harness_scaled(2000); i++) {
        unsigned yields = harness_random_below(4);
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        for (unsigned j = 0; j < 4; j++)
            harness_spawn(&scope, call_some, &yields);
        for (unsigned j = harness_random_below(6); j > 0; j--)
            EXPECT_INT(torc_yield(), ==, 0);
        torc_scope_cancel(&scope);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    }
    EXPECT_UINT(atomic_load(&outcomes[0]) + atomic_load(&outcomes[1]), ==,
                4 * harness_scaled(2000));
    return 0;
}

TEST(calls_that_race_with_their_cancelling_end_once)
{
    NEEDS_THREADS();
    harness_act_on(2, race_calls_and_cancels, NULL);
}

/* ---- Shutdown ---- */

static int wait_until_stopped(void *arg)
{
    (void)arg;
    return torc_sleep(TORC_FOREVER);
}

static int call_across_the_end(void *arg)
{
    (void)arg;
    if (torc_shard_index() == 0) {
        (void)torc_shard_call(1, wait_until_stopped, NULL);
        return 0;
    }
    EXPECT_INT(torc_sleep(2 * TORC_MILLISECOND), ==, 0);
    torc_stop();
    return 0;
}

TEST(calls_end_when_the_runtime_is_stopped)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    NEEDS_THREADS();
    for (int i = 0; i < 20; i++)
        EXPECT_INT(harness_run_result(&options, call_across_the_end, NULL), ==, 0);
}

static int end_early_or_call_late(void *arg)
{
    int result;

    (void)arg;
    if (torc_shard_index() == 1)
        return 0; /* Its shard ends. */
    while ((result = torc_shard_ask(1, index_at_once, &(unsigned){0})) == 201)
        ; /* It was not over yet. */
    EXPECT_INT(result, ==, -ESHUTDOWN);
    EXPECT_INT(torc_shard_call(1, index_at_once, &(unsigned){0}), ==, -ESHUTDOWN);
    EXPECT_INT(torc_shard_spawn(1, index_at_once, NULL), ==, -ESHUTDOWN);
    return 0;
}

TEST(a_shard_that_has_ended_refuses_calls)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    NEEDS_THREADS();
    EXPECT_INT(harness_run_result(&options, end_early_or_call_late, NULL), ==, 0);
}

/* ---- Handing over connections ---- */

static int answer(void *arg)
{
    const int fd = (int)(intptr_t)arg;
    char byte;

    EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, 1);
    byte = (char)('0' + torc_shard_index());
    EXPECT_INT(torc_send(fd, &byte, 1, 0), ==, 1);
    return torc_close(fd);
}

static int hand_over_connections(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 30; i++) {
        const unsigned shard = 1 + i % 2;
        int fds[2];
        char byte = '?';

        harness_tcp_pair(fds);
        EXPECT_INT(torc_shard_spawn(shard, answer, (void *)(intptr_t)fds[1]), ==, 0);
        EXPECT_INT(torc_send(fds[0], &byte, 1, 0), ==, 1);
        EXPECT_INT(torc_recv(fds[0], &byte, 1, 0), ==, 1);
        EXPECT_INT(byte, ==, '0' + (int)shard);
        EXPECT_INT(torc_recv(fds[0], &byte, 1, 0), ==, 0);
        EXPECT_INT(torc_close(fds[0]), ==, 0);
    }
    return 0;
}

TEST(a_connection_can_be_handed_to_another_shard)
{
    NEEDS_THREADS();
    harness_act_on(3, hand_over_connections, NULL);
}

static struct torc_shared_event loads_end;

static int be_a_load(void *arg)
{
    (void)arg;
    return torc_shared_event_wait(&loads_end);
}

static int spread_load(void *arg)
{
    unsigned before[3];

    (void)arg;
    for (unsigned i = 0; i < 3; i++)
        EXPECT_INT(torc_shard_spawn(i, be_a_load, NULL), ==, 0); /* So that all are published. */
    for (unsigned i = 0; i < 3; i++)
        before[i] = torc_shard_load(i);
    for (unsigned i = 0; i < 30; i++) {
        const unsigned shard = torc_shard_least_loaded();

        for (unsigned j = 0; j < 3; j++)
            EXPECT_UINT(torc_shard_load(shard), <=, torc_shard_load(j));
        EXPECT_INT(torc_shard_spawn(shard, be_a_load, NULL), ==, 0);
    }
    for (unsigned i = 0; i < 3; i++)
        EXPECT_UINT(torc_shard_load(i) - before[i], >=, 9);
    torc_shared_event_set(&loads_end);
    return 0;
}

TEST(the_least_loaded_shard_is_the_one_with_the_fewest_fibers)
{
    NEEDS_THREADS();
    harness_act_on(3, spread_load, NULL);
}

/* Shard 1 ends at once; an acceptor goes on to hand out what comes. */
static int end_early_or_share(void *arg)
{
    (void)arg;
    if (torc_shard_index() == 1)
        return 0;
    if (torc_shard_index() == 2)
        return torc_sleep(TORC_FOREVER);
    while (torc_shard_ask(1, index_at_once, &(unsigned){0}) != -ESHUTDOWN)
        ; /* It was not over yet. */
    for (unsigned i = 0; i < 50; i++)
        EXPECT_UINT(torc_shard_least_loaded(), !=, 1);
    torc_stop();
    return 0;
}

TEST(a_shard_that_has_ended_is_not_the_least_loaded)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    EXPECT_INT(harness_run_result(&options, end_early_or_share, NULL), ==, 0);
}

/* ---- Threads ---- */

static void *call_from_thread(void *arg)
{
    struct torc_mailbox *mailbox = arg;
    unsigned seen = 99;

    for (unsigned i = 0; i < 200; i++) {
        EXPECT_INT(torc_mailbox_call(mailbox, index_and_yield, &seen), ==, 100);
        EXPECT_INT(torc_mailbox_ask(mailbox, index_at_once, &seen), ==, 200);
        EXPECT_UINT(seen, ==, 0);
    }
    return NULL;
}

static int join_threads(void *arg)
{
    pthread_t *threads = arg;

    for (unsigned i = 0; i < 3; i++)
        harness_join(threads[i]);
    return 0;
}

static void *joiner(void *arg)
{
    (void)join_threads(arg);
    torc_shared_event_set(&loads_end);
    return NULL;
}

FIBER_TEST_WITH_THREADS(threads_may_call_and_wait)
{
    struct torc_mailbox *mailbox = torc_mailbox_acquire();
    pthread_t threads[3];
    pthread_t last;

    for (unsigned i = 0; i < 3; i++)
        threads[i] = harness_thread(call_from_thread, mailbox);
    last = harness_thread(joiner, threads);
    EXPECT_INT(torc_shared_event_wait(&loads_end), ==, 0);
    harness_join(last);
    torc_mailbox_release(mailbox);
}

static int keep_handle(void *arg)
{
    *(struct torc_mailbox **)arg = torc_shard_mailbox(0);
    return 0;
}

TEST(a_handle_is_safe_after_the_runtime_has_ended)
{
    struct torc_mailbox *mailbox = NULL;
    struct torc_message message = {.run = NULL};
    unsigned seen;

    EXPECT_INT(torc_run(keep_handle, &mailbox, NULL), ==, 0);
    EXPECT_INT(torc_mailbox_post(mailbox, &message), ==, -ESHUTDOWN);
    EXPECT_INT(torc_mailbox_call(mailbox, index_and_yield, &seen), ==, -ESHUTDOWN);
    EXPECT_INT(torc_mailbox_ask(mailbox, index_at_once, &seen), ==, -ESHUTDOWN);
    torc_mailbox_release(mailbox);
}

/* A thread that calls as long as it can, while the runtime ends. */
static void *call_until_refused(void *arg)
{
    struct torc_mailbox *mailbox = arg;
    unsigned seen;
    int result;

    do {
        result = torc_mailbox_call(mailbox, index_at_once, &seen);
        EXPECT(result == 200 || result == -ESHUTDOWN || result == -ECANCELED);
    } while (result != -ESHUTDOWN);
    torc_mailbox_release(mailbox);
    return NULL;
}

struct ending {
    pthread_t threads[2];
};

static int end_under_calls(void *arg)
{
    struct ending *ending = arg;

    for (unsigned i = 0; i < 2; i++)
        ending->threads[i] = harness_thread(call_until_refused, torc_mailbox_acquire());
    return torc_sleep(TORC_MILLISECOND);
}

TEST(calls_from_threads_that_race_with_the_end_are_refused_or_run)
{
    NEEDS_THREADS();
    for (unsigned i = 0; i < 20; i++) {
        struct ending ending;

        EXPECT_INT(torc_run(end_under_calls, &ending, NULL), ==, 0);
        for (unsigned j = 0; j < 2; j++)
            harness_join(ending.threads[j]);
    }
}

/* ---- The last messages of a shard ---- */

struct last_words {
    struct torc_message message;
    int result;
};

static atomic_bool last_words_spoken;

static int call_late(void *arg)
{
    struct last_words *last = arg;
    struct torc_scope shield; /* For the root scope is cancelled. */

    torc_scope_open(&shield, TORC_SHIELD);
    last->result = torc_shard_call(1, index_at_once, &(unsigned){0});
    EXPECT_INT(torc_scope_close(&shield), ==, 0);
    atomic_store(&last_words_spoken, true);
    return 0;
}

static void start_late_fiber(struct torc_message *message)
{
    harness_spawn(NULL, call_late, message);
}

static int post_to_self_and_end(void *arg)
{
    if (torc_shard_index() == 0) {
        EXPECT_INT(torc_shard_post(0, arg), ==, 0);
        return 0; /* The close takes the message, when all fibers have ended. */
    }
    while (!atomic_load(&last_words_spoken))
        EXPECT_INT(torc_yield(), ==, 0);
    return 0;
}

TEST(a_fiber_that_one_of_the_last_messages_has_started_cannot_call)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};
    struct last_words last = {.message = {.run = start_late_fiber}, .result = 1};

    NEEDS_THREADS();
    EXPECT_INT(torc_run(post_to_self_and_end, &last, &options), ==, 0);
    EXPECT_INT(last.result, ==, -ESHUTDOWN);
}

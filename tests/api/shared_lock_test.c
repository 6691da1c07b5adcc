/* SPDX-License-Identifier: MIT */
/*
 * shared_lock_test.c - mutex, semaphore and event between shards and threads.
 */
#include "harness/run.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <torc/torc.h>

/* ---- On one shard: order and cancellation ---- */

struct waiting {
    struct torc_shared_mutex *mutex;
    struct torc_shared_semaphore *semaphore;
    uint32_t units;
    unsigned *turn;
    unsigned place;
    int result;
};

static int lock_and_note(void *arg)
{
    struct waiting *self = arg;

    self->result = torc_shared_mutex_lock(self->mutex);
    if (self->result == 0) {
        self->place = ++*self->turn;
        torc_shared_mutex_unlock(self->mutex);
    }
    return 0;
}

FIBER_TEST(a_shared_mutex_is_handed_over_in_order_and_left_when_cancelled)
{
    struct torc_shared_mutex mutex = {0};
    unsigned turn = 0;
    struct waiting waits[3];
    struct torc_scope scope;
    struct torc_scope doomed;

    torc_scope_open(&scope, 0);
    torc_scope_open(&doomed, 0);
    EXPECT_INT(torc_shared_mutex_lock(&mutex), ==, 0);
    EXPECT_INT(torc_shared_mutex_try_lock(&mutex), ==, -EBUSY);
    for (unsigned i = 0; i < 3; i++) {
        waits[i] = (struct waiting){.mutex = &mutex, .turn = &turn, .result = 1};
        harness_spawn(i == 1 ? &doomed : &scope, lock_and_note, &waits[i]);
        torc_yield();
    }
    torc_scope_cancel(&doomed);
    EXPECT_INT(torc_scope_close(&doomed), ==, -ECANCELED);
    torc_shared_mutex_unlock(&mutex);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(waits[0].place, ==, 1);
    EXPECT_INT(waits[1].result, ==, -ECANCELED);
    EXPECT_UINT(waits[2].place, ==, 2);
    torc_shared_mutex_finish(&mutex);
}

FIBER_TEST(a_shared_mutex_that_was_handed_over_is_kept_in_spite_of_a_cancel)
{
    struct torc_shared_mutex mutex = {0};
    unsigned turn = 0;
    struct waiting wait = {.mutex = &mutex, .turn = &turn, .result = 1};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_shared_mutex_lock(&mutex), ==, 0);
    harness_spawn(&scope, lock_and_note, &wait);
    torc_yield();
    torc_shared_mutex_unlock(&mutex);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_shared_mutex_lock(&mutex), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(wait.result, ==, 0);
    EXPECT_INT(torc_shared_mutex_try_lock(&mutex), ==, 0);
    torc_shared_mutex_unlock(&mutex);
    torc_shared_mutex_finish(&mutex);
}

static int acquire_and_note(void *arg)
{
    struct waiting *self = arg;

    self->result = torc_shared_semaphore_acquire(self->semaphore, self->units);
    if (self->result == 0)
        self->place = ++*self->turn;
    return 0;
}

FIBER_TEST(shared_units_are_given_in_order_and_a_cancelled_request_lets_others_pass)
{
    struct torc_shared_semaphore semaphore;
    unsigned turn = 0;
    const uint32_t units[3] = {3, 5, 1};
    struct waiting waits[3];
    struct torc_scope scope;
    struct torc_scope doomed;

    torc_shared_semaphore_init(&semaphore, 2);
    torc_scope_open(&scope, 0);
    torc_scope_open(&doomed, 0);
    for (unsigned i = 0; i < 3; i++) {
        waits[i] = (struct waiting){
            .semaphore = &semaphore, .units = units[i], .turn = &turn, .result = 1};
        harness_spawn(i == 1 ? &doomed : &scope, acquire_and_note, &waits[i]);
        torc_yield();
    }
    EXPECT_INT(torc_shared_semaphore_try_acquire(&semaphore, 1), ==, -EAGAIN);
    torc_shared_semaphore_release(&semaphore, 2);
    torc_yield();
    EXPECT_UINT(turn, ==, 1); /* One unit is left, and the request for five is first. */
    torc_scope_cancel(&doomed);
    EXPECT_INT(torc_scope_close(&doomed), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(waits[0].place, ==, 1);
    EXPECT_UINT(waits[2].place, ==, 2);
    torc_shared_semaphore_finish(&semaphore);
}

static void lock_twice(void)
{
    struct torc_shared_mutex mutex = {0};

    EXPECT_INT(torc_shared_mutex_lock(&mutex), ==, 0);
    (void)torc_shared_mutex_lock(&mutex);
}

static void finish_held(void)
{
    struct torc_shared_mutex mutex = {0};

    EXPECT_INT(torc_shared_mutex_lock(&mutex), ==, 0);
    torc_shared_mutex_finish(&mutex);
}

static void unlock_free(void)
{
    struct torc_shared_mutex mutex = {0};

    torc_shared_mutex_unlock(&mutex);
}

TEST(misuse_of_a_shared_mutex_aborts)
{
    harness_expect_death(lock_twice, SIGABRT, "is_mine");
    harness_expect_death(finish_held, SIGABRT, "_state");
    harness_expect_death(unlock_free, SIGABRT, "is_mine");
}

TEST(threads_alone_may_use_shared_locks)
{
    struct torc_shared_mutex mutex = {0};
    struct torc_shared_semaphore semaphore;
    struct torc_shared_event event = {0};

    torc_shared_semaphore_init(&semaphore, 1);
    EXPECT_INT(torc_shared_mutex_lock(&mutex), ==, 0);
    torc_shared_mutex_unlock(&mutex);
    EXPECT_INT(torc_shared_semaphore_acquire(&semaphore, 1), ==, 0);
    EXPECT_INT(torc_shared_semaphore_try_acquire(&semaphore, 1), ==, -EAGAIN);
    torc_shared_event_set(&event);
    EXPECT_INT(torc_shared_event_wait(&event), ==, 0);
    torc_shared_event_clear(&event);
    EXPECT(!torc_shared_event_is_set(&event));
    torc_shared_event_finish(&event);
}

/* ---- Shards and threads at once ---- */

#define THREADS 2

struct contest {
    struct torc_shared_mutex mutex;
    struct torc_shared_semaphore semaphore;
    unsigned rounds;
    uint64_t counter; /* the mutex's */
    unsigned inside;  /* the mutex's */
    atomic_int held;  /* units of the semaphore, 2 at most */
    unsigned acquired;
    pthread_t threads[THREADS];
    struct torc_shared_event threads_end;
    atomic_uint threads_left;
};

static void enter(struct contest *contest)
{
    EXPECT_UINT(contest->inside, ==, 0);
    contest->inside++;
    contest->counter++;
}

static void *contend_as_thread(void *arg)
{
    struct contest *contest = arg;

    for (unsigned i = 0; i < contest->rounds; i++) {
        EXPECT_INT(torc_shared_mutex_lock(&contest->mutex), ==, 0);
        enter(contest);
        contest->inside--;
        torc_shared_mutex_unlock(&contest->mutex);
        EXPECT_INT(torc_shared_semaphore_acquire(&contest->semaphore, 1), ==, 0);
        EXPECT_INT(atomic_fetch_add(&contest->held, 1), <, 2);
        atomic_fetch_sub(&contest->held, 1);
        torc_shared_semaphore_release(&contest->semaphore, 1);
    }
    if (atomic_fetch_sub(&contest->threads_left, 1) == 1)
        torc_shared_event_set(&contest->threads_end);
    return NULL;
}

static int contend_as_fiber(void *arg)
{
    struct contest *contest = arg;

    for (unsigned i = 0; i < contest->rounds; i++) {
        EXPECT_INT(torc_shared_mutex_lock(&contest->mutex), ==, 0);
        enter(contest);
        if (harness_random_below(8) == 0)
            EXPECT_INT(torc_yield(), ==, 0); /* It may be held over a suspension. */
        contest->inside--;
        torc_shared_mutex_unlock(&contest->mutex);
        EXPECT_INT(torc_shared_semaphore_acquire(&contest->semaphore, 2), ==, 0);
        EXPECT_INT(atomic_fetch_add(&contest->held, 2), ==, 0);
        atomic_fetch_sub(&contest->held, 2);
        torc_shared_semaphore_release(&contest->semaphore, 2);
    }
    return 0;
}

static int contend_on_shard(void *arg)
{
    struct contest *contest = arg;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, contend_as_fiber, contest);
    harness_spawn(&scope, contend_as_fiber, contest);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    if (torc_shard_index() == 0)
        EXPECT_INT(torc_shared_event_wait(&contest->threads_end), ==, 0);
    return 0;
}

TEST(shards_and_threads_exclude_each_other)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};
    static struct contest contest;

    NEEDS_THREADS();
    contest.rounds = harness_scaled(2000);
    torc_shared_semaphore_init(&contest.semaphore, 2);
    atomic_store(&contest.threads_left, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        contest.threads[i] = harness_thread(contend_as_thread, &contest);
    EXPECT_INT(torc_run(contend_on_shard, &contest, &options), ==, 0);
    for (unsigned i = 0; i < THREADS; i++)
        harness_join(contest.threads[i]);
    EXPECT_UINT(contest.counter, ==, (uint64_t)contest.rounds * (THREADS + 4));
    torc_shared_mutex_finish(&contest.mutex);
    torc_shared_semaphore_finish(&contest.semaphore);
    torc_shared_event_finish(&contest.threads_end);
}

/* ---- Cancelling across shards ---- */

struct hold {
    struct torc_shared_mutex mutex;
    atomic_uint shards_left;
    unsigned taken; /* the mutex's */
};

static int try_for_a_moment(void *arg)
{
    struct hold *hold = arg;

    for (unsigned i = 0; i < harness_scaled(1000); i++) {
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, harness_random_below(20000));
        if (torc_shared_mutex_lock(&hold->mutex) == 0) {
            hold->taken++;
            (void)torc_yield();
            torc_shared_mutex_unlock(&hold->mutex);
        }
        (void)torc_scope_close(&scope);
    }
    return 0;
}

static int try_on_shard(void *arg)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 3; i++)
        harness_spawn(&scope, try_for_a_moment, arg);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    return 0;
}

TEST(deadlines_that_race_with_the_hand_over_of_a_mutex_leave_it_usable)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};
    static struct hold hold;

    NEEDS_THREADS();
    EXPECT_INT(torc_run(try_on_shard, &hold, &options), ==, 0);
    torc_shared_mutex_finish(&hold.mutex);
}

/* ---- The last messages of a shard ---- */

struct last_words {
    struct torc_message message;
    bool spoken;
};

/* Its shard takes no messages any more, so nobody could wake it. */
static int wait_too_late(void *arg)
{
    struct last_words *last = arg;
    struct torc_shared_event event = {0};
    struct torc_shared_semaphore semaphore = {0};
    struct torc_shared_mutex mutex = {0};
    struct torc_shared_channel *channel;
    struct torc_scope shield; /* For the root scope is cancelled. */
    struct torc_case one;
    char value;

    EXPECT_INT(torc_shared_channel_create(1, 1, &channel), ==, 0);
    torc_scope_open(&shield, TORC_SHIELD);
    EXPECT_INT(torc_shared_event_wait(&event), ==, -ESHUTDOWN);
    EXPECT_INT(torc_shared_semaphore_acquire(&semaphore, 1), ==, -ESHUTDOWN);
    EXPECT_INT(torc_shared_channel_receive(channel, &value), ==, -ESHUTDOWN);
    one = torc_case_shared_receive(channel, &value);
    EXPECT_INT(torc_select(&one, 1), ==, -ESHUTDOWN);
    EXPECT_INT(torc_shared_mutex_lock(&mutex), ==, 0); /* What needs no waiting is given. */
    torc_shared_mutex_unlock(&mutex);
    EXPECT_INT(torc_scope_close(&shield), ==, 0);
    torc_shared_channel_release(channel);
    last->spoken = true;
    return 0;
}

static void start_late_fiber(struct torc_message *message)
{
    harness_spawn(NULL, wait_too_late, message);
}

static int post_to_self_and_end(void *arg)
{
    EXPECT_INT(torc_shard_post(0, arg), ==, 0);
    return 0; /* The close takes the message, when all fibers have ended. */
}

TEST(a_fiber_that_one_of_the_last_messages_has_started_cannot_wait)
{
    struct last_words last = {.message = {.run = start_late_fiber}};

    EXPECT_INT(torc_run(post_to_self_and_end, &last, NULL), ==, 0);
    EXPECT(last.spoken);
}

/* SPDX-License-Identifier: MIT */
/*
 * event_test.c - event, once, barrier, wait group.
 */
#include "harness/run.h"
#include <errno.h>
#include <signal.h>
#include <torc/torc.h>

/* ---- Event ---- */

struct wait_for_event {
    struct torc_event *event;
    int result;
};

static int wait_for_event(void *arg)
{
    struct wait_for_event *wait = arg;

    wait->result = torc_event_wait(wait->event);
    return 0;
}

FIBER_TEST(an_event_wakes_all_who_wait_but_those_who_were_cancelled)
{
    struct torc_event event = {0};
    struct wait_for_event waits[3] = {{&event, 1}, {&event, 1}, {&event, 1}};
    struct torc_scope scope;
    struct torc_scope doomed;

    torc_scope_open(&scope, 0);
    torc_scope_open(&doomed, 0);
    harness_spawn(&scope, wait_for_event, &waits[0]);
    harness_spawn(&doomed, wait_for_event, &waits[1]);
    harness_spawn(&scope, wait_for_event, &waits[2]);
    torc_yield();
    torc_scope_cancel(&doomed);
    EXPECT_INT(torc_scope_close(&doomed), ==, -ECANCELED);
    EXPECT_INT(waits[0].result, ==, 1);
    torc_event_set(&event);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(waits[0].result, ==, 0);
    EXPECT_INT(waits[1].result, ==, -ECANCELED);
    EXPECT_INT(waits[2].result, ==, 0);
    torc_event_clear(&event);
    EXPECT(!torc_event_is_set(&event));
    torc_event_finish(&event);
}

static void finish_waited_for(void)
{
    static struct torc_event event;
    static struct wait_for_event wait = {&event, 1};

    harness_spawn(NULL, wait_for_event, &wait);
    torc_yield();
    torc_event_finish(&event);
}

TEST(finishing_an_event_that_is_waited_for_aborts)
{
    harness_expect_fiber_death(finish_waited_for, SIGABRT, "torc__waiters_empty");
}

/* ---- Once ---- */

struct once_user {
    struct torc_once *once;
    unsigned runs;
    int outcomes[4]; /* of the first, second, ... run */
    int results[4];  /* of the users */
    unsigned users;
};

static int initialise(void *arg)
{
    struct once_user *user = arg;
    int outcome = user->outcomes[user->runs++];

    torc_yield();
    return outcome;
}

static int use_once(void *arg)
{
    struct once_user *user = arg;
    unsigned number = user->users++;

    user->results[number] = torc_once_run(user->once, initialise, user);
    return 0;
}

FIBER_TEST(once_runs_once_and_the_others_wait_for_it)
{
    struct torc_once once = {0};
    struct once_user user = {.once = &once, .outcomes = {7}, .results = {1, 1, 1, 1}};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 4; i++)
        harness_spawn(&scope, use_once, &user);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(user.runs, ==, 1);
    EXPECT(torc_once_is_done(&once));
    for (unsigned i = 0; i < 4; i++)
        EXPECT_INT(user.results[i], ==, 0);
}

FIBER_TEST(a_failed_once_is_tried_again_by_the_next_in_the_queue)
{
    struct torc_once once = {0};
    struct once_user user = {.once = &once, .outcomes = {-EIO, -ENOMEM, 0}};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 4; i++)
        harness_spawn(&scope, use_once, &user);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(user.runs, ==, 3);
    EXPECT_INT(user.results[0], ==, -EIO);
    EXPECT_INT(user.results[1], ==, -ENOMEM);
    EXPECT_INT(user.results[2], ==, 0);
    EXPECT_INT(user.results[3], ==, 0);
    EXPECT_INT(torc_once_run(&once, initialise, &user), ==, 0);
    EXPECT_UINT(user.runs, ==, 3);
    torc_once_finish(&once);
}

static int finish_meanwhile(void *arg)
{
    torc_once_finish(arg);
    return 0;
}

static void finish_a_running_once(void)
{
    struct torc_once once = {0};

    (void)torc_once_run(&once, finish_meanwhile, &once);
}

TEST(finishing_a_once_that_is_being_done_aborts)
{
    harness_expect_fiber_death(finish_a_running_once, SIGABRT, "_runner");
}

/* ---- Barrier ---- */

struct party {
    struct torc_barrier barrier;
    unsigned arrivals;
    unsigned lasts;
    unsigned rounds;
};

static int meet(void *arg)
{
    struct party *party = arg;

    for (unsigned i = 0; i < party->rounds; i++) {
        int result;

        party->arrivals++;
        result = torc_barrier_wait(&party->barrier);
        EXPECT_INT(result, >=, 0);
        EXPECT_UINT(party->arrivals, >=, 3 * (i + 1)); /* All were there. */
        party->lasts += result == 1;
    }
    return 0;
}

FIBER_TEST(a_barrier_opens_when_all_are_there_again_and_again)
{
    struct party party = {.rounds = 100};
    struct torc_scope scope;

    torc_barrier_init(&party.barrier, 3);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 3; i++)
        harness_spawn(&scope, meet, &party);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(party.lasts, ==, 100);
    torc_barrier_finish(&party.barrier);
}

FIBER_TEST(who_gives_up_at_a_barrier_does_not_count)
{
    struct party party = {.rounds = 1};
    struct torc_scope scope;
    struct torc_scope doomed;

    torc_barrier_init(&party.barrier, 2);
    torc_scope_open(&doomed, 0);
    torc_scope_cancel(&doomed);
    EXPECT_INT(torc_barrier_wait(&party.barrier), ==, -ECANCELED); /* At the entry. */
    EXPECT_INT(torc_scope_close(&doomed), ==, -ECANCELED);
    torc_scope_open(&doomed, 0);
    torc_scope_set_timeout(&doomed, 1);
    EXPECT_INT(torc_barrier_wait(&party.barrier), ==, -ETIME); /* While it waits. */
    EXPECT_INT(torc_scope_close(&doomed), ==, -ETIME);
    party.arrivals = 2; /* These two; then two more. */
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, meet, &party);
    harness_yield(2);
    EXPECT_UINT(party.lasts, ==, 0);
    harness_spawn(&scope, meet, &party);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(party.lasts, ==, 1);
}

/* ---- Wait group ---- */

static int work(void *arg)
{
    torc_yield();
    torc_wait_group_done(arg);
    return 0;
}

FIBER_TEST(a_wait_group_is_waited_for_until_all_have_ended)
{
    struct torc_wait_group group = {0};

    EXPECT_INT(torc_wait_group_wait(&group), ==, 0);
    torc_wait_group_add(&group, 5);
    for (unsigned i = 0; i < 5; i++)
        harness_spawn(NULL, work, &group);
    EXPECT_INT(torc_wait_group_wait(&group), ==, 0);
    torc_wait_group_finish(&group);
    harness_yield_until_alone();
}

static void finish_one_too_many(void)
{
    struct torc_wait_group group = {0};

    torc_wait_group_done(&group);
}

TEST(ending_more_than_was_begun_aborts)
{
    harness_expect_fiber_death(finish_one_too_many, SIGABRT, "_count");
}

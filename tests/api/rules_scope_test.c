/* SPDX-License-Identifier: MIT */
/*
 * rules_scope_test.c - the numbered rules of cancellation that speak of scopes and their fibers.
 *
 * A test whose name begins with a number is about that rule. The rules of single waits
 * are in rules_wait_test.c.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <signal.h>
#include <torc/torc.h>

#define A_WHILE (20 * TORC_MILLISECOND)

/* Waits for ever, and tells how that ended. */
static int wait_forever(void *arg)
{
    int *ret_result = arg;

    *ret_result = torc_sleep_until(TORC_FOREVER);
    return *ret_result;
}

static int note_reason(void *arg)
{
    *(int *)arg = torc_cancelled();
    return 0;
}

static int give_back(void *arg)
{
    return *(const int *)arg;
}

/* ---- 1 to 3: what reason is in force where ---- */

FIBER_TEST(rule_01_a_fiber_is_in_its_innermost_open_scope)
{
    struct torc_scope outer;
    struct torc_scope inner;

    torc_scope_open(&outer, 0);
    torc_scope_open(&inner, 0);
    torc_scope_cancel(&inner);
    EXPECT_INT(torc_cancelled(), ==, -ECANCELED);
    EXPECT_INT(torc_scope_reason(&outer), ==, 0);
    EXPECT_INT(torc_scope_close(&inner), ==, -ECANCELED);

    EXPECT_INT(torc_cancelled(), ==, 0);
    EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_INT(torc_scope_close(&outer), ==, 0);
}

FIBER_TEST(rule_01_a_fiber_begins_in_the_scope_it_was_started_in)
{
    struct torc_scope outer;
    struct torc_scope inner;
    int in_outer = 1;
    int in_root = 1;

    torc_scope_open(&outer, 0);
    torc_scope_open(&inner, 0);
    torc_scope_cancel(&inner);
    harness_spawn(&outer, note_reason, &in_outer);
    harness_spawn(NULL, note_reason, &in_root);
    torc_scope_close(&inner);
    EXPECT_INT(torc_scope_close(&outer), ==, 0);
    harness_yield_until_alone();

    EXPECT_INT(in_outer, ==, 0);
    EXPECT_INT(in_root, ==, 0);
}

static int close_outer_first(void *arg)
{
    struct torc_scope outer;
    struct torc_scope inner;

    (void)arg;
    torc_scope_open(&outer, 0);
    torc_scope_open(&inner, 0);
    return torc_scope_close(&outer);
}

static void run_close_outer_first(void)
{
    (void)!torc_run(close_outer_first, NULL, NULL);
}

TEST(rule_01_closing_a_scope_with_another_inside_aborts)
{
    harness_expect_death(run_close_outer_first, SIGABRT, "torc: ");
}

static int close_it(void *arg)
{
    return torc_scope_close(arg);
}

static int close_by_another(void *arg)
{
    struct torc_scope scope;

    (void)arg;
    torc_scope_open(&scope, 0);
    (void)!torc_spawn(close_it, &scope);
    torc_yield();
    return 0;
}

static void run_close_by_another(void)
{
    (void)!torc_run(close_by_another, NULL, NULL);
}

TEST(rule_01_closing_the_scope_of_another_fiber_aborts)
{
    harness_expect_death(run_close_by_another, SIGABRT, "torc: ");
}

FIBER_TEST(rule_02_opening_a_scope_with_a_deadline_makes_no_system_call)
{
    struct torc_stats before;
    struct torc_stats after;

    torc_stats(&before);
    for (int i = 0; i < 1000; i++) {
        struct torc_scope scope;

        torc_scope_open(&scope, i % 2 == 0 ? 0 : TORC_SHIELD);
        torc_scope_set_timeout(&scope, TORC_SECOND);
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
    }
    torc_stats(&after);

    EXPECT_UINT(after.enters, ==, before.enters);
    EXPECT_UINT(after.ops, ==, before.ops);
}

/* Beside -ETIME and -ECANCELED: both, in this order. */
#define ETIME_THEN_CANCEL 1

/* Lets a deadline pass; the shield is for when the fiber is under some other reason already. */
static void let_time_out(struct torc_scope *scope)
{
    struct torc_scope shield;

    torc_scope_set_deadline(scope, torc_now());
    torc_scope_open(&shield, TORC_SHIELD);
    EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
    torc_scope_close(&shield);
}

static void give_reason(struct torc_scope *scope, int reason)
{
    if (reason == -ETIME || reason == ETIME_THEN_CANCEL)
        let_time_out(scope);
    if (reason == -ECANCELED || reason == ETIME_THEN_CANCEL)
        torc_scope_cancel(scope);
}

static void expect_reason(int outer_reason, unsigned inner_flags, int inner_reason, int expected)
{
    struct torc_scope outer;
    struct torc_scope inner;

    /* The inner reason first, so that the outer one has to be pushed down to it. */
    torc_scope_open(&outer, 0);
    torc_scope_open(&inner, inner_flags);
    give_reason(&inner, inner_reason);
    give_reason(&outer, outer_reason);
    EXPECT_INT(torc_scope_reason(&inner), ==, expected);
    EXPECT_INT(torc_cancelled(), ==, expected);
    EXPECT_INT(torc_sleep(0), ==, expected);
    EXPECT_INT(torc_scope_close(&inner), ==, expected);
    EXPECT_INT(torc_scope_close(&outer), ==, outer_reason);
}

static int open_under(void *arg)
{
    struct torc_scope scope;
    int *ret_reason = arg;

    torc_scope_open(&scope, 0);
    *ret_reason = torc_cancelled();
    return torc_scope_close(&scope);
}

FIBER_TEST(rule_03_the_reason_in_force_is_the_own_one_or_that_of_the_scopes_outside)
{
    expect_reason(0, 0, 0, 0);
    expect_reason(-ECANCELED, 0, 0, -ECANCELED);
    expect_reason(-ETIME, 0, 0, -ETIME);
    expect_reason(0, 0, -ETIME, -ETIME);
    expect_reason(0, 0, -ECANCELED, -ECANCELED);
}

FIBER_TEST(rule_03_a_cancel_anywhere_beats_a_deadline_anywhere)
{
    expect_reason(-ECANCELED, 0, -ETIME, -ECANCELED);
    expect_reason(-ETIME, 0, -ECANCELED, -ECANCELED);
    expect_reason(0, 0, ETIME_THEN_CANCEL, -ECANCELED);
    expect_reason(-ETIME, 0, ETIME_THEN_CANCEL, -ECANCELED);
}

FIBER_TEST(rule_03_a_shield_stops_reasons_from_outside_but_not_its_own)
{
    expect_reason(-ECANCELED, TORC_SHIELD, 0, 0);
    expect_reason(-ETIME, TORC_SHIELD, 0, 0);
    expect_reason(-ECANCELED, TORC_SHIELD, -ETIME, -ETIME);
    expect_reason(-ETIME, TORC_SHIELD, -ECANCELED, -ECANCELED);
}

FIBER_TEST(rule_03_a_scope_opened_under_a_reason_has_it_at_once)
{
    struct torc_scope scope;
    int seen = 1;

    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    harness_spawn(&scope, open_under, &seen);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(seen, ==, -ECANCELED);
}

FIBER_TEST(rule_03_a_deadline_may_be_moved_both_ways_until_it_passes)
{
    struct torc_scope scope;
    const uint64_t start = torc_now();
    int result;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_SECOND);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND); /* Earlier, */
    torc_scope_set_timeout(&scope, A_WHILE);          /* later again. */
    result = torc_sleep(5 * TORC_MILLISECOND);
    EXPECT(result == 0 || torc_now() - start >= A_WHILE); /* That late where all stalls. */
    EXPECT_INT(torc_sleep_until(TORC_FOREVER), ==, -ETIME);
    EXPECT_UINT(torc_now() - start, >=, A_WHILE);
    torc_scope_set_deadline(&scope, TORC_FOREVER); /* Too late. */
    EXPECT_INT(torc_sleep(0), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    torc_scope_set_deadline(&scope, TORC_FOREVER);
    EXPECT_INT(torc_sleep(3 * TORC_MILLISECOND), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

/* ---- 18 to 23: fibers of a scope ---- */

static int end_late(void *arg)
{
    struct torc_scope shield;
    bool *ret_ended = arg;

    torc_scope_open(&shield, TORC_SHIELD);
    harness_yield(100);
    *ret_ended = true;
    return torc_scope_close(&shield);
}

FIBER_TEST(rule_18_closing_a_scope_waits_for_all_its_fibers_even_when_cancelled)
{
    struct torc_scope scope;
    bool ended[3] = {false, false, false};

    torc_scope_open(&scope, 0);
    for (int i = 0; i < 3; i++)
        harness_spawn(&scope, end_late, &ended[i]);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT(ended[0] && ended[1] && ended[2]);
    EXPECT_UINT(harness_fibers(), ==, 1);
}

static int close_over_sleeper(void *arg)
{
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_forever, &result);
    *(int *)arg = torc_scope_close(&scope);
    EXPECT_INT(result, ==, -ECANCELED);
    return 0;
}

FIBER_TEST(rule_18_a_cancel_from_outside_reaches_the_fibers_that_a_close_waits_for)
{
    struct torc_scope outer;
    int closed = 1;

    torc_scope_open(&outer, 0);
    harness_spawn(&outer, close_over_sleeper, &closed);
    harness_yield(3); /* It waits in torc_scope_close(). */
    EXPECT_UINT(harness_fibers(), ==, 3);
    EXPECT_INT(closed, ==, 1);
    torc_scope_cancel(&outer);
    EXPECT_INT(torc_scope_close(&outer), ==, -ECANCELED);
    EXPECT_INT(closed, ==, -ECANCELED);
}

FIBER_TEST(rule_19_the_first_failure_cancels_the_others_and_is_what_close_returns)
{
    struct torc_scope scope;
    const int first = -EPIPE;
    const int second = -EIO;
    int sleeper = 1;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_forever, &sleeper);
    harness_spawn(&scope, give_back, (void *)&first);
    harness_spawn(&scope, give_back, (void *)&second);
    EXPECT_INT(torc_scope_close(&scope), ==, -EPIPE);
    EXPECT_INT(sleeper, ==, -ECANCELED);
}

FIBER_TEST(rule_19_results_that_are_not_negative_are_no_failures)
{
    struct torc_scope scope;
    const int many = 42;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, give_back, (void *)&many);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

FIBER_TEST(rule_19_the_scopes_own_reason_is_no_failure_of_a_fiber)
{
    struct torc_scope scope;
    const int late = -EIO;
    int sleeper = 1;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_forever, &sleeper);
    EXPECT_INT(torc_yield(), ==, 0);
    torc_scope_cancel(&scope);
    harness_yield_until_alone(); /* The sleeper has returned -ECANCELED, and then */
    harness_spawn(&scope, give_back, (void *)&late);
    EXPECT_INT(torc_scope_close(&scope), ==, -EIO); /* a real failure is still the first. */
    EXPECT_INT(sleeper, ==, -ECANCELED);
}

FIBER_TEST(rule_19_a_fibers_own_ecanceled_in_a_sound_scope_is_a_failure)
{
    struct torc_scope scope;
    const int result = -ECANCELED;
    int sleeper = 1;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_forever, &sleeper);
    harness_spawn(&scope, give_back, (void *)&result);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(sleeper, ==, -ECANCELED);
}

FIBER_TEST(rule_19_a_supervising_scope_lets_the_others_go_on)
{
    struct torc_scope scope;
    const int failure = -EPIPE;
    bool ended = false;

    torc_scope_open(&scope, TORC_SUPERVISE);
    harness_spawn(&scope, end_late, &ended);
    harness_spawn(&scope, give_back, (void *)&failure);
    harness_yield(10);
    EXPECT_INT(torc_scope_reason(&scope), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -EPIPE);
    EXPECT(ended);
}

FIBER_TEST(rule_20_daemons_are_cancelled_once_only_they_are_left)
{
    struct torc_scope scope;
    bool ended = false;
    int daemon = 1;

    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_scope_spawn_daemon(&scope, wait_forever, &daemon), ==, 0);
    harness_spawn(&scope, end_late, &ended);
    harness_yield(10);
    EXPECT_INT(daemon, ==, 1);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT(ended);
    EXPECT_INT(daemon, ==, -ECANCELED);
}

FIBER_TEST(rule_20_a_daemons_failure_counts_like_any_other)
{
    struct torc_scope scope;
    const int failure = -EPIPE;
    int sleeper = 1;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_forever, &sleeper);
    EXPECT_INT(torc_scope_spawn_daemon(&scope, give_back, (void *)&failure), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -EPIPE);
    EXPECT_INT(sleeper, ==, -ECANCELED);
}

static int close_fd(void *arg)
{
    EXPECT_INT(torc_sleep(0), ==, -ECANCELED);
    return torc_close(*(const int *)arg);
}

FIBER_TEST(rule_21_a_fiber_started_in_a_cancelled_scope_runs_and_sees_the_reason)
{
    struct torc_scope scope;
    int ends[2];

    harness_pipe(ends);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    for (int i = 0; i < 2; i++)
        harness_spawn(&scope, close_fd, &ends[i]);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
}

FIBER_TEST(rule_22_linger_gives_fibers_the_grace_and_then_cuts_them_off)
{
    struct torc_scope scope;
    bool ended = false;
    int sleeper = 1;
    uint64_t start = torc_now();

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_forever, &sleeper);
    EXPECT_INT(torc_scope_linger(&scope, A_WHILE), ==, -ETIME);
    EXPECT_INT(sleeper, ==, -ETIME);
    EXPECT_UINT(torc_now() - start, >=, A_WHILE);

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, end_late, &ended);
    EXPECT_INT(torc_scope_linger(&scope, 10 * TORC_SECOND), ==, 0);
    EXPECT(ended);
    EXPECT_UINT(torc_now() - start, <, 10 * TORC_SECOND);
}

FIBER_TEST(rule_23_a_shield_with_a_deadline_is_the_place_to_say_goodbye)
{
    struct torc_scope scope;
    struct torc_scope shield;
    char data[4];
    int fds[2];

    harness_tcp_pair(fds);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, -ECANCELED);

    torc_scope_open(&shield, TORC_SHIELD);
    torc_scope_set_timeout(&shield, A_WHILE);
    EXPECT_INT(torc_send_all(fds[0], "bye", 4, NULL), ==, 0);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&shield), ==, -ETIME);

    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    harness_get(fds[1], data, sizeof(data));
    EXPECT_STR(data, "bye");
    harness_close_pair(fds);
}

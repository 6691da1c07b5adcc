/* SPDX-License-Identifier: MIT */
/*
 * time_test.c - sleeping and intervals: never early, not much too late, in order.
 *
 * How late depends on what else the machine does, so lateness is judged by medians and with ample
 * room: enough to tell microseconds from a timer that counts milliseconds.
 */
#include "harness/run.h"
#include <limits.h>
#include <time.h>
#include <torc/torc.h>

#define SLEEPS 50

FIBER_TEST(a_sleep_is_never_early_and_not_rounded_to_milliseconds)
{
    uint64_t shortest = UINT64_MAX;

    for (int i = 0; i < SLEEPS; i++) {
        const uint64_t start = torc_now();
        uint64_t took;

        EXPECT_INT(torc_sleep(300 * TORC_MICROSECOND), ==, 0);
        took = torc_now() - start;
        EXPECT_UINT(took, >=, 300 * TORC_MICROSECOND);
        shortest = took < shortest ? took : shortest;
    }
    if (!harness_is_slow())
        EXPECT_UINT(shortest, <, TORC_MILLISECOND); /* The others are the machine's doing. */
}

FIBER_TEST(sleeping_until_a_time_wakes_at_it_or_at_once_if_it_has_passed)
{
    const uint64_t start = torc_now();
    struct torc_stats before;
    struct torc_stats after;

    EXPECT_INT(torc_sleep_until(start + 3 * TORC_MILLISECOND), ==, 0);
    EXPECT_UINT(torc_now(), >=, start + 3 * TORC_MILLISECOND);
    torc_stats(&before);
    EXPECT_INT(torc_sleep_until(start), ==, 0);
    EXPECT_INT(torc_sleep_until(0), ==, 0);
    EXPECT_INT(torc_sleep(0), ==, 0);
    torc_stats(&after);
}

FIBER_TEST(the_clock_is_that_of_clock_monotonic)
{
    struct timespec now;
    uint64_t low;
    uint64_t middle;

    low = torc_now();
    clock_gettime(CLOCK_MONOTONIC, &now);
    middle = (uint64_t)now.tv_sec * TORC_SECOND + (uint64_t)now.tv_nsec;
    EXPECT_UINT(low, <=, middle);
    EXPECT_UINT(middle, <=, torc_now());
    EXPECT_UINT(torc_round_time(), <=, torc_now());
    harness_pass_kernel();
    EXPECT_UINT(torc_round_time(), >=, low);
    EXPECT_UINT(torc_deadline(TORC_SECOND), >=, torc_now() + TORC_SECOND / 2);
    EXPECT_UINT(torc_deadline(TORC_FOREVER), ==, TORC_FOREVER);
    EXPECT_UINT(torc_deadline(TORC_FOREVER - 1), ==, TORC_FOREVER);
}

/* ---- Order ---- */

#define SLEEPERS 1000

struct sleeper {
    uint64_t deadline_ns;
    uint64_t began_ns;
    uint64_t woke_ns;
    unsigned place;
};

static struct sleeper sleepers[SLEEPERS];
static unsigned woken;

static int sleep_and_note(void *arg)
{
    struct sleeper *sleeper = arg;

    sleeper->began_ns = torc_now();
    EXPECT_INT(torc_sleep_until(sleeper->deadline_ns), ==, 0);
    sleeper->woke_ns = torc_now();
    sleeper->place = woken++;
    return 0;
}

/* Sleeper i wakes at place i * step, `gap_ns` after the last one. False if some began too late. */
static bool wake_in_order(unsigned step, uint64_t gap_ns)
{
    const uint64_t start = torc_now() + 100 * TORC_MILLISECOND;
    struct torc_scope scope;
    bool in_time = true;

    woken = 0;
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < SLEEPERS; i++) {
        sleepers[i].deadline_ns = start + i * step % SLEEPERS * gap_ns;
        harness_spawn(&scope, sleep_and_note, &sleepers[i]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (unsigned i = 0; i < SLEEPERS; i++) {
        EXPECT_UINT(sleepers[i].woke_ns, >=, sleepers[i].deadline_ns);
        in_time = in_time && sleepers[i].began_ns < start;
    }
    return in_time;
}

static void expect_order(unsigned step, uint64_t gap_ns)
{
    for (int tries = 0; !wake_in_order(step, gap_ns); tries++) {
        if (tries == 20)
            return; /* The machine has no time for this. */
    }
    for (unsigned i = 0; i < SLEEPERS; i++)
        EXPECT_UINT(sleepers[i].place, ==, i * step % SLEEPERS);
}

FIBER_TEST(sleepers_wake_in_the_order_of_their_deadlines)
{
    expect_order(997, 20 * TORC_MICROSECOND); /* 997 and 1000 have no common divisor. */
    expect_order(997, 1);
    expect_order(333, 100);
}

FIBER_TEST(sleepers_with_one_deadline_wake_in_the_order_in_which_they_lay_down)
{
    expect_order(1, 0);
}

FIBER_TEST(deadlines_of_all_magnitudes_live_together)
{
    struct torc_scope scopes[31];
    struct torc_scope scope;

    for (unsigned i = 0; i < 31; i++) { /* From 9 seconds to 292 years. */
        torc_scope_open(&scopes[i], 0);
        torc_scope_set_deadline(&scopes[i], torc_now() + (UINT64_C(1) << (i + 33)));
    }
    woken = 0;
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 26; i++) { /* From 1 ns to 34 ms. */
        sleepers[i].deadline_ns = torc_now() + (UINT64_C(1) << i);
        harness_spawn(&scope, sleep_and_note, &sleepers[i]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(woken, ==, 26);
    for (unsigned i = 31; i-- > 0;)
        EXPECT_INT(torc_scope_close(&scopes[i]), ==, 0);
}

FIBER_TEST(a_deadline_at_the_end_of_time_never_comes)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 2 * TORC_MILLISECOND);
    EXPECT_INT(torc_sleep(TORC_FOREVER), ==, -ETIME);
    torc_scope_close(&scope);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 2 * TORC_MILLISECOND);
    EXPECT_INT(torc_sleep_until(TORC_FOREVER - 1), ==, -ETIME);
    torc_scope_close(&scope);
}

/* ---- Many ---- */

#define MANY 100000

static int sleep_once(void *arg)
{
    const uint64_t deadline = *(const uint64_t *)arg;

    EXPECT_INT(torc_sleep_until(deadline), ==, 0);
    EXPECT_UINT(torc_now(), >=, deadline);
    woken++;
    return 0;
}

FIBER_TEST(a_hundred_thousand_timers_all_fire_and_none_early)
{
    static uint64_t deadlines[MANY];
    const unsigned count = UNDER_TSAN ? 2000 : harness_scaled(MANY);
    struct torc_scope scope;
    struct torc_stats stats;
    uint64_t fired;

    woken = 0;
    torc_stats(&stats);
    fired = stats.timers_fired;
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < count; i++) {
        deadlines[i] = torc_now() + harness_random_below(500000000);
        harness_spawn(&scope, sleep_once, &deadlines[i]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(woken, ==, count);
    torc_stats(&stats);
    EXPECT_UINT(stats.timers_fired - fired, <=, count);
}

FIBER_TEST(timers_started_and_stopped_at_random_never_fire_for_nothing)
{
    struct torc_scope scopes[100];
    const unsigned rounds = harness_scaled(200000);

    for (int i = 0; i < 100; i++) {
        torc_scope_open(&scopes[i], 0);
        torc_scope_set_timeout(&scopes[i], 100 * TORC_SECOND);
    }
    for (unsigned i = 0; i < rounds; i++) {
        const uint64_t timeout = TORC_SECOND + (harness_random() >> harness_random_below(64)) / 2;

        torc_scope_set_timeout(&scopes[harness_random_below(100)], timeout);
        if (i % 1000 == 0)
            EXPECT_INT(torc_yield(), ==, 0);
    }
    for (int i = 99; i >= 0; i--)
        EXPECT_INT(torc_scope_close(&scopes[i]), ==, 0);
}

/* ---- Intervals ---- */

#define PERIOD (2 * TORC_MILLISECOND)

FIBER_TEST(an_interval_ticks_at_its_times_and_not_before)
{
    struct torc_interval interval;
    const uint64_t first = torc_now() + PERIOD;

    EXPECT_INT(torc_interval_init(&interval, first, PERIOD, TORC_MISSED_BURST), ==, 0);
    for (unsigned i = 0; i < 10; i++) {
        EXPECT_INT(torc_interval_wait(&interval), ==, 0);
        EXPECT_UINT(torc_now(), >=, first + i * PERIOD);
        EXPECT_UINT(interval.next_ns, ==, first + (i + 1) * PERIOD);
    }
}

/* An interval whose first four ticks (and half a period) have passed. */
static struct torc_interval missed_interval(enum torc_missed missed)
{
    struct torc_interval interval;
    const uint64_t first = torc_now();

    EXPECT_INT(torc_interval_init(&interval, first, 10 * PERIOD, missed), ==, 0);
    harness_hog_until(first + 35 * PERIOD);
    return interval;
}

FIBER_TEST(missed_ticks_are_delivered_in_a_burst)
{
    struct torc_interval interval = missed_interval(TORC_MISSED_BURST);
    const uint64_t first = interval.next_ns;
    const uint64_t start = torc_now();

    for (int i = 0; i < 4; i++)
        EXPECT_INT(torc_interval_wait(&interval), ==, 0);
    EXPECT_UINT(interval.next_ns, ==, first + 40 * PERIOD);
    if (torc_now() < first + 40 * PERIOD) /* Unless the machine stood still meanwhile. */
        EXPECT_UINT(torc_now() - start, <, 5 * PERIOD);
    EXPECT_INT(torc_interval_wait(&interval), ==, 0);
    EXPECT_UINT(torc_now(), >=, first + 40 * PERIOD);
}

FIBER_TEST(after_missed_ticks_the_period_counts_from_now_on)
{
    struct torc_interval interval = missed_interval(TORC_MISSED_DELAY);
    const uint64_t start = torc_now();

    EXPECT_INT(torc_interval_wait(&interval), >=, 3);
    EXPECT_UINT(interval.next_ns, >=,
                start + 10 * PERIOD - PERIOD); /* A round's time may be old. */
    EXPECT_UINT(interval.next_ns, <=, torc_now() + 10 * PERIOD);
    EXPECT_INT(torc_interval_wait(&interval), >=, 0); /* More if the machine stood still. */
}

FIBER_TEST(missed_ticks_are_skipped_and_the_rhythm_stays)
{
    struct torc_interval interval = missed_interval(TORC_MISSED_SKIP);
    const uint64_t first = interval.next_ns;
    const int missed = torc_interval_wait(&interval);

    EXPECT_INT(missed, >=, 3);
    EXPECT_UINT((interval.next_ns - first) % (10 * PERIOD), ==, 0);
    EXPECT_UINT(interval.next_ns, ==, first + ((uint64_t)missed + 1) * 10 * PERIOD);
    EXPECT_INT(torc_interval_wait(&interval), >=, 0);
    EXPECT_UINT(torc_now(), >=, first + 40 * PERIOD);
}

FIBER_TEST(a_cancelled_wait_uses_up_no_tick)
{
    struct torc_interval interval;
    struct torc_scope scope;
    const uint64_t first = torc_now() + 100 * TORC_SECOND;

    EXPECT_INT(torc_interval_init(&interval, first, PERIOD, TORC_MISSED_BURST), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, PERIOD);
    EXPECT_INT(torc_interval_wait(&interval), ==, -ETIME);
    torc_scope_close(&scope);
    EXPECT_UINT(interval.next_ns, ==, first);
}

FIBER_TEST(intervals_have_limits)
{
    struct torc_interval interval = {.next_ns = 7};

    EXPECT_INT(torc_interval_init(&interval, 0, 0, TORC_MISSED_BURST), ==, -EINVAL);
    EXPECT_INT(torc_interval_init(&interval, 0, 1, (enum torc_missed)3), ==, -EINVAL);
    EXPECT_UINT(interval.next_ns, ==, 7);
    EXPECT_INT(torc_interval_init(&interval, 0, 1, TORC_MISSED_SKIP), ==, 0);
    EXPECT_INT(torc_interval_wait(&interval), ==, INT_MAX);
    EXPECT_INT(torc_interval_init(&interval, torc_now(), TORC_FOREVER, TORC_MISSED_SKIP), ==, 0);
    EXPECT_INT(torc_interval_wait(&interval), ==, 0);
    EXPECT_UINT(interval.next_ns, >, torc_now() + TORC_SECOND); /* It did not wrap around. */
}

/* ---- Timers while nothing else happens ---- */

FIBER_TEST(a_shard_that_waits_for_one_timer_does_not_turn_in_between)
{
    struct torc_stats before;
    struct torc_stats after;

    torc_stats(&before);
    EXPECT_INT(torc_sleep(200 * TORC_MILLISECOND), ==, 0);
    torc_stats(&after);
    EXPECT_UINT(after.rounds - before.rounds, <, 20);
}

/* ---- Dense timers ---- */

#define PAIRS    40
#define DENSE_NS (50 * TORC_MICROSECOND)

/* Sleepers in pairs, `gap_ns` apart. Returns how many waits they took. */
static uint64_t waits_of_pairs(uint64_t gap_ns)
{
    const uint64_t start = torc_now() + 20 * TORC_MILLISECOND;
    struct torc_stats before;
    struct torc_stats after;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        sleepers[i].deadline_ns = start + i / 2 * gap_ns;
        harness_spawn(&scope, sleep_and_note, &sleepers[i]);
    }
    torc_stats(&before);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_stats(&after);
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        EXPECT_UINT(sleepers[i].woke_ns, >=, sleepers[i].deadline_ns);
    return after.waits - before.waits;
}

/* On a machine that has no time they take fewer, so this is no matter of speed. */
FIBER_TEST(dense_timers_share_their_wake_ups)
{
    EXPECT_UINT(waits_of_pairs(DENSE_NS), <, PAIRS / 2);
}

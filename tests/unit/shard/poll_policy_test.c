/* SPDX-License-Identifier: MIT */
/*
 * poll_policy_test.c - when polling pays: learnt from short waits, given up after polls in vain.
 *
 * Time is made up. Whether the CPU is shared is not: a poll that is refused for that reason is
 * recognised by the policy's rest, and the tests go on after it.
 */
#include "harness/harness.h"
#include "shard/poll_policy.h"
#include <errno.h>
#include <sched.h>
#include <string.h>

#define SHORT_NS UINT64_C(40000)
#define LONG_NS  UINT64_C(10000000)

static struct torc__poll_policy policy;
static uint64_t now_ns;

static void start(enum torc_busy_poll mode, uint64_t limit_ns)
{
    const struct torc_options options = {.busy_poll = mode, .busy_poll_ns = limit_ns};

    EXPECT_INT(torc__poll_policy_init(&policy, &options), ==, 0);
    now_ns = 1;
}

static bool polls(void)
{
    if (now_ns < policy.rest_until_ns)
        now_ns = policy.rest_until_ns;
    return torc__poll_policy_begin(&policy, now_ns) > 0;
}

static void end(enum wait_end how, uint64_t waited_ns)
{
    now_ns += waited_ns;
    torc__poll_policy_end(&policy, how, waited_ns, now_ns);
}

/* A wait for an event that comes after `event_ns`. Returns whether it was polled for. */
static bool wait_for_event(uint64_t event_ns)
{
    const bool polled = polls();

    if (!polled)
        end(WAIT_SLEPT, event_ns);
    else
        end(event_ns <= policy.limit_ns ? WAIT_POLLED : WAIT_POLL_LOST, event_ns);
    return polled;
}

TEST(options_out_of_their_range_are_invalid)
{
    const struct torc_options bad_mode = {.busy_poll = (enum torc_busy_poll)17};
    const struct torc_options too_long = {.busy_poll_ns = 1000000001};
    const struct torc_options longest = {.busy_poll_ns = 1000000000};

    EXPECT_INT(torc__poll_policy_init(&policy, &bad_mode), ==, -EINVAL);
    EXPECT_INT(torc__poll_policy_init(&policy, &too_long), ==, -EINVAL);
    EXPECT_INT(torc__poll_policy_init(&policy, &longest), ==, 0);
    EXPECT_UINT(policy.limit_ns, ==, 1000000000);
}

TEST(off_never_polls)
{
    start(TORC_BUSY_POLL_OFF, 0);
    for (unsigned i = 0; i < 100; i++)
        EXPECT(!wait_for_event(SHORT_NS));
    EXPECT_UINT(policy.polls, ==, 0);
}

TEST(fixed_polls_always_and_for_its_time)
{
    start(TORC_BUSY_POLL_FIXED, 7000);
    for (unsigned i = 0; i < 100; i++) {
        EXPECT_UINT(torc__poll_policy_begin(&policy, now_ns), ==, 7000);
        end(WAIT_POLL_LOST, LONG_NS);
    }
    EXPECT_UINT(policy.polls, ==, 100);
    EXPECT_UINT(policy.polls_won, ==, 0);
}

TEST(adaptive_is_the_default_and_begins_asleep)
{
    start(TORC_BUSY_POLL_DEFAULT, 0);
    EXPECT_INT(policy.mode, ==, TORC_BUSY_POLL_ADAPTIVE);
    EXPECT(!polls());
}

TEST(adaptive_polls_after_a_short_wait)
{
    start(TORC_BUSY_POLL_ADAPTIVE, 0);
    EXPECT(!wait_for_event(SHORT_NS));
    for (unsigned i = 0; i < 1000; i++)
        EXPECT(wait_for_event(SHORT_NS));
    EXPECT_UINT(policy.polls, ==, 1000);
    EXPECT_UINT(policy.polls_won, ==, 1000);
}

TEST(adaptive_does_not_poll_for_events_that_are_far)
{
    start(TORC_BUSY_POLL_ADAPTIVE, 0);
    for (unsigned i = 0; i < 1000; i++)
        EXPECT(!wait_for_event(LONG_NS));
}

TEST(adaptive_soon_stops_when_events_become_far)
{
    unsigned in_vain = 0;

    start(TORC_BUSY_POLL_ADAPTIVE, 0);
    for (unsigned i = 0; i < 100; i++)
        (void)wait_for_event(SHORT_NS);
    for (unsigned i = 0; i < 1000; i++)
        in_vain += wait_for_event(LONG_NS);
    EXPECT_UINT(in_vain, <=, 8);
}

/* Waits just too long to be polled through, and too short to lose hope. */
TEST(polls_in_vain_become_exponentially_rare)
{
    unsigned in_vain = 0;

    start(TORC_BUSY_POLL_ADAPTIVE, 0);
    for (unsigned i = 0; i < 10000; i++)
        in_vain += wait_for_event(2 * policy.limit_ns);
    EXPECT_UINT(in_vain, >, 5); /* It does not give up for good, ... */
    EXPECT_UINT(in_vain, <, 30);

    for (unsigned i = 0; i < 1100; i++) /* ... and is back soon enough. */
        (void)wait_for_event(SHORT_NS);
    EXPECT(wait_for_event(SHORT_NS));
}

TEST(a_won_poll_forgives_all_that_were_lost)
{
    start(TORC_BUSY_POLL_ADAPTIVE, 0);
    for (unsigned i = 0; i < 500; i++)
        (void)wait_for_event(2 * policy.limit_ns);
    while (!wait_for_event(SHORT_NS))
        continue;
    EXPECT_UINT(policy.failures, ==, 0);
    EXPECT_UINT(policy.skip, ==, 0);
    EXPECT(wait_for_event(2 * policy.limit_ns));
    EXPECT_UINT(policy.skip, ==, 1);
}

TEST(a_shard_that_only_timers_wake_does_not_poll)
{
    start(TORC_BUSY_POLL_ADAPTIVE, 0);
    for (unsigned i = 0; i < 100; i++)
        (void)wait_for_event(SHORT_NS);
    for (unsigned i = 0; i < 8; i++) {
        (void)polls();
        end(WAIT_TIMER, SHORT_NS);
    }
    for (unsigned i = 0; i < 100; i++) {
        EXPECT(!polls());
        end(WAIT_TIMER, SHORT_NS);
    }
}

TEST(a_rest_is_kept_to_its_end)
{
    start(TORC_BUSY_POLL_ADAPTIVE, 0);
    (void)wait_for_event(SHORT_NS);
    policy.rest_until_ns = now_ns + 1000;
    EXPECT_UINT(torc__poll_policy_begin(&policy, now_ns), ==, 0);
    EXPECT_UINT(torc__poll_policy_begin(&policy, now_ns + 999), ==, 0);
    EXPECT_UINT(torc__poll_policy_begin(&policy, now_ns + 1000), ==, policy.limit_ns);
}

/* The kernel counts them: here, two more than the policy knew of at its last look. */
TEST(a_cpu_that_was_taken_away_lets_the_policy_rest)
{
    start(TORC_BUSY_POLL_ADAPTIVE, 0);
    (void)wait_for_event(SHORT_NS);
    EXPECT(wait_for_event(2 * policy.limit_ns)); /* It looks, and knows all of them now. */
    policy.rest_until_ns = 0;
    policy.preemptions -= 2;
    EXPECT(!wait_for_event(SHORT_NS));
    EXPECT(wait_for_event(2 * policy.limit_ns));
    EXPECT_UINT(policy.rest_until_ns, ==, now_ns + 50000000);
    EXPECT_UINT(torc__poll_policy_begin(&policy, now_ns), ==, 0);
}

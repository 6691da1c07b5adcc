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
/* What the policy begins with. */
#define FIRST_REST_NS UINT64_C(50000000)

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

/* Polls that are won, until the policy has looked. Returns whether it rests now. */
static bool rests_after_a_look(void)
{
    const uint64_t looked_ns = policy.looked_ns;

    while (policy.looked_ns == looked_ns)
        EXPECT(wait_for_event(SHORT_NS));
    return policy.rest_until_ns > now_ns;
}

static void start_polling(void)
{
    start(TORC_BUSY_POLL_ADAPTIVE, 0);
    (void)wait_for_event(SHORT_NS);
    while (rests_after_a_look()) /* What the kernel does just now is not ours to say. */
        policy.rest_ns = FIRST_REST_NS;
}

/* The kernel counts how often a CPU was taken: here, so many more since the last look. */
TEST(a_cpu_that_is_taken_away_often_lets_the_policy_rest)
{
    start_polling();
    policy.preemptions -= 11;
    EXPECT(rests_after_a_look());
    EXPECT_UINT(policy.rest_until_ns, ==, now_ns + FIRST_REST_NS);
    EXPECT_UINT(torc__poll_policy_begin(&policy, now_ns), ==, 0);
}

/* As by the observer of this very process, and by threads of the kernel. */
TEST(a_cpu_that_is_taken_away_now_and_then_is_polled_on)
{
    unsigned rests = 0;

    start_polling();
    for (unsigned i = 0; i < 10; i++) {
        policy.preemptions -= 5;
        rests += rests_after_a_look();
    }
    EXPECT_UINT(rests, <, 5); /* But for what the kernel does besides. */
}

TEST(a_cpu_that_is_taken_away_for_long_lets_the_policy_rest)
{
    start_polling();
    for (unsigned i = 0; i < 3; i++) {
        EXPECT(polls());
        end(WAIT_POLLED, policy.limit_ns + 4000000);
    }
    EXPECT(rests_after_a_look());
}

TEST(rests_grow_until_the_cpu_is_its_own)
{
    uint64_t total_ns = 0;

    start_polling();
    for (unsigned i = 0; i < 10; i++) {
        EXPECT(!rests_after_a_look() || i == 0); /* The rest itself says nothing, ... */
        policy.preemptions -= 1000;
        EXPECT(rests_after_a_look()); /* ... the time after it does. */
        total_ns += policy.rest_until_ns - now_ns;
    }
    EXPECT_UINT(total_ns / 1000000, ==, 50 + 100 + 200 + 400 + 800 + 5 * 1600);
    while (rests_after_a_look())
        continue;
    while (rests_after_a_look())
        continue;
    EXPECT_UINT(policy.rest_ns, ==, FIRST_REST_NS);
}

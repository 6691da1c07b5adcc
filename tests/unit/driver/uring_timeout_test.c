/* SPDX-License-Identifier: MIT */
/*
 * uring_timeout_test.c - waits end on time, with the kernel's timeout argument and without it.
 */
#include "unit/driver/rig.h"

#define LATE_MAX_NS (2 * NS_PER_SECOND) /* For a machine that is busy with something else. */

static const unsigned timeout_rungs[] = {0, TORC_FEATURE_EXT_ARG, TORC_FEATURE_ALL};

/* Wait until `until_ns` as a shard's loop does. Returns in how many turns. */
static unsigned wait_until(struct torc__uring *uring, uint64_t until_ns)
{
    unsigned turns = 0;

    while (torc__clock_now() < until_ns) {
        turn(uring, until_ns);
        turns++;
    }
    EXPECT_UINT(torc__clock_now(), <, until_ns + LATE_MAX_NS);
    return turns;
}

TEST(a_wait_ends_on_time)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(timeout_rungs); rung++) {
        struct torc__uring uring;

        start(&uring, timeout_rungs[rung]);
        for (unsigned i = 0; i < 10; i++) {
            unsigned turns = wait_until(&uring, torc__clock_now() + 2 * TORC_MILLISECOND);

            EXPECT_UINT(turns, <=, 2);
        }
        stop(&uring);
    }
}

TEST(a_time_that_has_passed_ends_a_wait_at_once)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(timeout_rungs); rung++) {
        struct torc__uring uring;
        const uint64_t begun_ns = torc__clock_now();

        start(&uring, timeout_rungs[rung]);
        turn(&uring, 1);
        turn(&uring, begun_ns);
        EXPECT_UINT(torc__clock_now(), <, begun_ns + LATE_MAX_NS);
        stop(&uring);
    }
}

TEST(earlier_and_later_times_in_turn_all_hold)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(timeout_rungs); rung++) {
        struct torc__uring uring;
        unsigned turns = 0;

        start(&uring, timeout_rungs[rung]);
        for (unsigned i = 0; i < 20; i++) {
            const uint64_t now_ns = torc__clock_now();
            struct noted_op op;

            prepare_nops(&uring, &op, 1); /* Ends a wait for a later time. */
            turn_until_ended(&uring, &op, 1);
            prepare_nops(&uring, &op, 1);
            turn(&uring, now_ns + (3600 + i) * NS_PER_SECOND);
            turns += wait_until(&uring, now_ns + TORC_MILLISECOND + harness_random_below(1000000));
        }
        EXPECT_UINT(turns, <=, 20 * 5);
        stop(&uring);
    }
}

/* A wait that an event has ended leaves its timeout behind; thousands of them must not add up. */
TEST(timeouts_of_ended_waits_do_not_pile_up)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(timeout_rungs); rung++) {
        struct torc__uring uring;
        const uint64_t begun_ns = torc__clock_now();
        struct noted_op op;

        start_sized(&uring, timeout_rungs[rung], 64, 128);
        for (unsigned i = 0; i < 3000; i++) {
            prepare_nops(&uring, &op, 1);
            turn(&uring, begun_ns + (3600 + i % 7) * NS_PER_SECOND);
            turn_until_ended(&uring, &op, 1);
            EXPECT_UINT(uring.own_pending, <=, 4); /* The wake-up, the timeout, what ends. */
        }
        EXPECT_UINT(wait_until(&uring, torc__clock_now() + 20 * TORC_MILLISECOND), <=, 4);
        stop(&uring);
    }
}

/* The same time again and again is what a loop with one far timer asks for. */
TEST(a_time_that_stays_the_same_is_armed_once)
{
    struct torc__uring uring;
    const uint64_t until_ns = torc__clock_now() + 3600 * NS_PER_SECOND;
    struct noted_op op;

    start(&uring, TORC_FEATURE_EXT_ARG);
    for (unsigned i = 0; i < 1000; i++) {
        prepare_nops(&uring, &op, 1);
        turn(&uring, until_ns);
        turn_until_ended(&uring, &op, 1);
    }
    EXPECT_UINT(uring.timeout_generation, <=, 2);
    stop(&uring);
}

TEST(a_wait_without_end_takes_the_timeout_away)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(timeout_rungs); rung++) {
        struct torc__uring uring;
        const uint64_t begun_ns = torc__clock_now();
        struct noted_op ops[2];
        struct __kernel_timespec spec = {.tv_nsec = 30 * 1000 * 1000};

        start(&uring, timeout_rungs[rung]);
        prepare_nops(&uring, &ops[0], 1);
        turn(&uring, begun_ns + 10 * TORC_MILLISECOND);
        io_uring_prep_timeout(prepare(&uring, &ops[1]), &spec, 0, 0);
        uring.base.stats.waits = 0;
        while (ops[1].ended == 0)
            turn(&uring, TORC_FOREVER);

        EXPECT(!uring.timeout_armed);
        EXPECT_UINT(uring.base.stats.waits, <=, 3);
        stop(&uring);
    }
}

TEST(finish_does_not_wait_for_an_armed_timeout)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(timeout_rungs); rung++) {
        struct torc__uring uring;
        const uint64_t begun_ns = torc__clock_now();
        struct noted_op op;

        start(&uring, timeout_rungs[rung]);
        prepare_nops(&uring, &op, 1);
        turn(&uring, begun_ns + 3600 * NS_PER_SECOND);
        turn_until_ended(&uring, &op, 1);
        stop(&uring);

        EXPECT_UINT(torc__clock_now(), <, begun_ns + LATE_MAX_NS);
    }
}

TEST(times_at_the_end_of_time_are_waited_for)
{
    const uint64_t far[] = {INT64_MAX, TORC_FOREVER - 1, TORC_FOREVER};

    for (unsigned rung = 0; rung < ARRAY_LENGTH(timeout_rungs); rung++) {
        struct torc__uring uring;

        start(&uring, timeout_rungs[rung]);
        for (unsigned i = 0; i < ARRAY_LENGTH(far); i++) {
            struct noted_op op;
            struct __kernel_timespec spec = {.tv_nsec = 5 * 1000 * 1000};

            io_uring_prep_timeout(prepare(&uring, &op), &spec, 0, 0);
            uring.base.stats.waits = 0;
            while (op.ended == 0)
                turn(&uring, far[i]);
            EXPECT_UINT(uring.base.stats.waits, <=, 4);
        }
        stop(&uring);
    }
}

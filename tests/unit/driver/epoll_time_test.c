/* SPDX-License-Identifier: MIT */
/*
 * epoll_time_test.c - timeouts as operations: in their order, by their clocks, and counted.
 */
#include "unit/driver/epoll_rig.h"
#include <stdlib.h>

static struct __kernel_timespec to_spec(uint64_t ns)
{
    return (struct __kernel_timespec){.tv_sec = (long long)(ns / NS_PER_SECOND),
                                      .tv_nsec = (long long)(ns % NS_PER_SECOND)};
}

/* ---- The heap ---- */

TEST(what_waits_for_a_time_comes_out_in_order_whatever_is_taken_out_before)
{
    enum {
        COUNT = 500
    };
    static struct noted_op ops[COUNT];
    struct torc__epoll epoll;

    start(&epoll);
    for (unsigned round = 0; round < 10; round++) {
        uint64_t last_ns = 0;
        unsigned left = 0;

        for (unsigned i = 0; i < COUNT; i++) {
            struct torc__epoll_note *about = torc__epoll_note(&ops[i].op);

            memset(&ops[i], 0, sizeof(ops[i]));
            about->state = STATE_ACTIVE;
            about->due_ns = harness_random_below(1000);
            torc__epoll_time(&epoll, about);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            if (harness_random_below(3) == 0)
                torc__epoll_untime(&epoll, torc__epoll_note(&ops[i].op));
            else
                left++;
        }
        for (; left > 0; left--) {
            EXPECT_UINT(torc__epoll_next_due(&epoll), >=, last_ns);
            last_ns = torc__epoll_next_due(&epoll);
            torc__epoll_untime(&epoll, epoll.due);
        }
        EXPECT_UINT(torc__epoll_next_due(&epoll), ==, UINT64_MAX);
        EXPECT(torc__epoll_list_is_empty(&epoll.timing));
    }
    stop(&epoll);
}

/* ---- Timeouts ---- */

TEST(timeouts_end_no_earlier_than_asked_for_and_in_their_order)
{
    struct torc__epoll epoll;
    struct noted_op ops[3];
    struct __kernel_timespec specs[3];
    const uint64_t begun_ns = torc__clock_now();

    start(&epoll);
    for (unsigned i = 0; i < 3; i++) {
        specs[i] = to_spec((3 - i) * 10 * TORC_MILLISECOND);
        io_uring_prep_timeout(prepare(&epoll, &ops[i]), &specs[i], 0, 0);
    }
    EXPECT_INT(result_of(&epoll, &ops[2]), ==, -ETIME);
    EXPECT_UINT(torc__clock_now() - begun_ns, >=, 10 * TORC_MILLISECOND);
    EXPECT_INT(result_of(&epoll, &ops[0]), ==, -ETIME);
    EXPECT_UINT(ops[1].ended, ==, 1);
    EXPECT_UINT(torc__clock_now() - begun_ns, >=, 30 * TORC_MILLISECOND);
    stop(&epoll);
}

TEST(absolute_times_are_of_the_clock_that_is_named)
{
    const struct {
        clockid_t clock;
        unsigned flags;
    } cases[] = {{CLOCK_MONOTONIC, 0},
                 {CLOCK_REALTIME, IORING_TIMEOUT_REALTIME},
                 {CLOCK_BOOTTIME, IORING_TIMEOUT_BOOTTIME}};
    struct torc__epoll epoll;

    start(&epoll);
    for (unsigned i = 0; i < ARRAY_LENGTH(cases); i++) {
        const unsigned flags = cases[i].flags | IORING_TIMEOUT_ABS;
        const uint64_t begun_ns = torc__clock_now();
        struct timespec now;
        struct __kernel_timespec spec;
        struct noted_op op;

        EXPECT_INT(clock_gettime(cases[i].clock, &now), ==, 0);
        spec = to_spec((uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec +
                       5 * TORC_MILLISECOND);
        io_uring_prep_timeout(prepare(&epoll, &op), &spec, 0, flags);
        EXPECT_INT(result_of(&epoll, &op), ==, -ETIME);
        EXPECT_UINT(torc__clock_now() - begun_ns, >=, 4 * TORC_MILLISECOND);
        spec.tv_sec = 1; /* Long ago. */
        io_uring_prep_timeout(prepare(&epoll, &op), &spec, 0, flags);
        EXPECT_INT(result_of(&epoll, &op), ==, -ETIME);
    }
    stop(&epoll);
}

TEST(a_timeout_ends_when_as_many_completions_have_come_as_it_counts)
{
    struct torc__epoll epoll;
    struct noted_op timeout;
    struct noted_op op;
    struct __kernel_timespec hour = to_spec(3600 * NS_PER_SECOND);

    start(&epoll);
    io_uring_prep_timeout(prepare(&epoll, &timeout), &hour, 3, 0);
    settle(&epoll);
    for (unsigned i = 0; i < 3; i++) {
        EXPECT_UINT(timeout.told, ==, 0);
        io_uring_prep_nop(prepare(&epoll, &op));
        EXPECT_INT(result_of(&epoll, &op), ==, 0);
    }
    EXPECT_INT(result_of(&epoll, &timeout), ==, 0);
    stop(&epoll);
}

TEST(a_multishot_timeout_is_told_as_often_as_it_says)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct __kernel_timespec spec = to_spec(TORC_MILLISECOND);
    const uint64_t begun_ns = torc__clock_now();

    start(&epoll);
    io_uring_prep_timeout(prepare(&epoll, &op), &spec, 3, KERNEL_TIMEOUT_MULTISHOT);
    EXPECT_INT(result_of(&epoll, &op), ==, -ETIME);
    EXPECT_UINT(op.told, ==, 3);
    EXPECT_UINT(torc__clock_now() - begun_ns, >=, 3 * TORC_MILLISECOND);

    io_uring_prep_timeout(prepare(&epoll, &op), &spec, 0, KERNEL_TIMEOUT_MULTISHOT);
    turn_until_told(&epoll, &op, 5);
    EXPECT_UINT(op.ended, ==, 0);
    cancel_and_end(&epoll, &op);
    stop(&epoll);
}

TEST(a_timeout_can_be_removed_and_given_another_time)
{
    struct torc__epoll epoll;
    struct noted_op timeout;
    struct noted_op op;
    struct __kernel_timespec hour = to_spec(3600 * NS_PER_SECOND);
    struct __kernel_timespec soon = to_spec(TORC_MILLISECOND);
    const uint64_t name = (uint64_t)(uintptr_t)&timeout.op;

    start(&epoll);
    io_uring_prep_timeout(prepare(&epoll, &timeout), &hour, 0, 0);
    io_uring_prep_timeout_remove(prepare(&epoll, &op), name, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    EXPECT_INT(result_of(&epoll, &timeout), ==, -ECANCELED);

    io_uring_prep_timeout(prepare(&epoll, &timeout), &hour, 0, 0);
    io_uring_prep_timeout_update(prepare(&epoll, &op), &soon, name, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    EXPECT_INT(result_of(&epoll, &timeout), ==, -ETIME);
    io_uring_prep_timeout_update(prepare(&epoll, &op), &soon, name, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -ENOENT);
    io_uring_prep_timeout_remove(prepare(&epoll, &op), name, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -ENOENT);
    stop(&epoll);
}

TEST(a_timeout_that_makes_no_sense_is_invalid)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct io_uring_sqe *sqe;
    struct __kernel_timespec bad[] = {{-1, 0}, {0, -1}, {0, 1000000000}};
    struct __kernel_timespec hour = to_spec(3600 * NS_PER_SECOND);
    const unsigned flags[] = {1U << 20, IORING_TIMEOUT_UPDATE,
                              IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME,
                              KERNEL_TIMEOUT_MULTISHOT | IORING_TIMEOUT_ABS};

    start(&epoll);
    for (unsigned i = 0; i < ARRAY_LENGTH(bad); i++) {
        io_uring_prep_timeout(prepare(&epoll, &op), &bad[i], 0, 0);
        EXPECT_INT(result_of(&epoll, &op), ==, -EINVAL);
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(flags); i++) {
        io_uring_prep_timeout(prepare(&epoll, &op), &hour, 0, flags[i]);
        EXPECT_INT(result_of(&epoll, &op), ==, -EINVAL);
    }
    sqe = prepare(&epoll, &op);
    io_uring_prep_timeout(sqe, &hour, 0, 0);
    sqe->len = 2;
    EXPECT_INT(result_of(&epoll, &op), ==, -EINVAL);
    io_uring_prep_link_timeout(prepare(&epoll, &op), &hour, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -EINVAL); /* There is nothing it could be linked to. */
    stop(&epoll);
}

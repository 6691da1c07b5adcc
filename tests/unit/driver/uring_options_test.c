/* SPDX-License-Identifier: MIT */
/*
 * uring_options_test.c - rings as they may be asked for: a polling thread, collecting waits, NAPI.
 */
#include "harness/run.h"
#include "unit/driver/rig.h"
#include <poll.h>
#include <sched.h>
#include <stdlib.h>

static void start_with(struct torc__uring *uring, const struct torc__driver_options *options)
{
    memset(uring, 0, sizeof(*uring));
    uring->base.ops = &torc__uring_ops;
    EXPECT_INT(torc__uring_ops.init(&uring->base, options), ==, 0);
}

/* ---- What is read ---- */

static int read_options(struct torc_options options, struct torc__driver_options *ret_options)
{
    return torc__uring_read_options(&options, ret_options);
}

TEST(nothing_is_asked_for_by_default)
{
    struct torc__driver_options chosen;

    unsetenv("TORC_SQPOLL");
    unsetenv("TORC_NAPI");
    unsetenv("TORC_MIN_WAIT");
    EXPECT_INT(read_options((struct torc_options){0}, &chosen), ==, 0);
    EXPECT_UINT(chosen.sqpoll_idle_ms, ==, 0);
    EXPECT_UINT(chosen.napi_poll_us, ==, 0);
    EXPECT_UINT(chosen.min_wait_us, ==, 0);
}

TEST(the_environment_asks_where_options_do_not)
{
    struct torc__driver_options chosen;

    setenv("TORC_SQPOLL", "7", 1);
    setenv("TORC_NAPI", "8", 1);
    setenv("TORC_MIN_WAIT", "9", 1);
    EXPECT_INT(read_options((struct torc_options){.napi_poll_us = 50}, &chosen), ==, 0);
    EXPECT_UINT(chosen.sqpoll_idle_ms, ==, 7);
    EXPECT_UINT(chosen.napi_poll_us, ==, 50);
    EXPECT_UINT(chosen.min_wait_us, ==, 9);
}

TEST(what_is_no_number_in_the_environment_is_told_and_has_no_effect)
{
    static const char *const wrong[] = {"x", "7x", "-1", "10001", "99999999999999999999", "1.5"};

    for (unsigned i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct torc__driver_options chosen;
        struct log_capture capture;

        setenv("TORC_SQPOLL", wrong[i], 1);
        begin_capture(&capture);
        EXPECT_INT(read_options((struct torc_options){0}, &chosen), ==, 0);
        EXPECT_UINT(end_capture(&capture, "TORC_SQPOLL"), ==, 1);
        EXPECT_UINT(chosen.sqpoll_idle_ms, ==, 0);
    }
}

TEST(options_have_limits)
{
    struct torc__driver_options chosen;

    EXPECT_INT(read_options((struct torc_options){.sqpoll_idle_ms = 10000}, &chosen), ==, 0);
    EXPECT_INT(read_options((struct torc_options){.sqpoll_idle_ms = 10001}, &chosen), ==, -EINVAL);
    EXPECT_INT(read_options((struct torc_options){.napi_poll_us = 1000000}, &chosen), ==, 0);
    EXPECT_INT(read_options((struct torc_options){.napi_poll_us = 1000001}, &chosen), ==, -EINVAL);
    EXPECT_INT(read_options((struct torc_options){.min_wait_us = 1000000}, &chosen), ==, 0);
    EXPECT_INT(read_options((struct torc_options){.min_wait_us = 1000001}, &chosen), ==, -EINVAL);
}

/* ---- A thread that polls the submission queue ---- */

static bool start_sqpoll(struct torc__uring *uring, unsigned forbid, unsigned entries)
{
    const struct torc__driver_options options = {
        .entries = entries, .completion_entries = 8192, .forbid = forbid, .sqpoll_idle_ms = 1};

    start_with(uring, &options);
    return uring->sqpoll;
}

TEST(a_polled_ring_does_without_what_does_not_go_with_it)
{
    static const struct torc_options asked = {.sqpoll_idle_ms = 1};
    const unsigned apart =
        TORC_FEATURE_DEFER_TASKRUN | TORC_FEATURE_COOP_TASKRUN | TORC_FEATURE_MSG_RING;
    struct torc_driver_report report;
    struct torc__uring uring;
    unsigned all;

    start(&uring, 0);
    all = uring.base.features;
    stop(&uring);
    if (start_sqpoll(&uring, 0, 256)) {
        EXPECT_UINT(uring.base.features, ==, all & ~apart); /* And no more than these. */
        EXPECT_UINT(uring.ring.setup_flags & IORING_SETUP_DEFER_TASKRUN, ==, 0);
        EXPECT_UINT(uring.base.features & TORC_FEATURE_DEFER_TASKRUN, ==, 0);
        EXPECT(torc__uring_why_unused(&uring, TORC_FEATURE_DEFER_TASKRUN) != NULL);
        EXPECT(torc__uring_why_unused(&uring, TORC_FEATURE_SUBMIT_ALL) == NULL);
        EXPECT_INT(torc__driver_report(&asked, &report), ==, 0);
        EXPECT_UINT(report.sqpoll_idle_ms, ==, 1);
    }
    stop(&uring);
}

TEST(a_full_queue_waits_for_the_polling_thread)
{
    enum {
        COUNT = 2000
    };
    static struct noted_op ops[COUNT];

    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;

        if (start_sqpoll(&uring, rungs[rung], 8)) {
            prepare_nops(&uring, ops, COUNT);
            turn_until_ended(&uring, ops, COUNT);
            expect_each_told_once(ops, COUNT, 0);
        }
        stop(&uring);
    }
}

/* Until the flag is raised, so that the next submission has to wake it. */
static void let_it_sleep(struct torc__uring *uring)
{
    const uint64_t limit_ns = torc__clock_now() + 10 * NS_PER_SECOND;

    while (!(__atomic_load_n(uring->ring.sq_flags, __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP)) {
        EXPECT(torc__clock_now() < limit_ns);
        sched_yield();
    }
}

TEST(a_polling_thread_that_sleeps_is_woken)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op op;

        if (start_sqpoll(&uring, rungs[rung], 8)) {
            for (unsigned i = 0; i < 20; i++) {
                let_it_sleep(&uring);
                prepare_nops(&uring, &op, 1);
                if (i & 1)
                    turn(&uring, DRIVER_NO_WAIT);
                turn_until_ended(&uring, &op, 1);
                expect_each_told_once(&op, 1, 0);
            }
        }
        stop(&uring);
    }
}

TEST(timeouts_wake_ups_and_cancels_work_on_a_polled_ring)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op op;
        int ends[2];

        harness_pipe(ends);
        if (start_sqpoll(&uring, rungs[rung], 8)) {
            const uint64_t until_ns = torc__clock_now() + TORC_MILLISECOND;

            io_uring_prep_poll_add(prepare(&uring, &op), ends[0], POLLIN);
            while (torc__clock_now() < until_ns)
                turn(&uring, until_ns);
            torc__uring_ops.wake(&uring.base, NULL);
            while (uring.base.stats.wakeups_received == 0)
                turn(&uring, torc__clock_now() + 10 * NS_PER_SECOND);
            EXPECT_UINT(op.told, ==, 0);
            cancel(&uring, &op);
            turn_until_ended(&uring, &op, 1);
            EXPECT_INT(op.result, ==, -ECANCELED);
        }
        stop(&uring);
        harness_close_pair(ends);
    }
}

/* ---- Waits that collect ---- */

static bool start_collecting(struct torc__uring *uring, uint32_t min_wait_us)
{
    const struct torc__driver_options options = {
        .entries = 256, .completion_entries = 8192, .min_wait_us = min_wait_us};

    start_with(uring, &options);
    return uring->ring.min_wait_us > 0;
}

TEST(a_collecting_wait_ends_after_its_time_with_what_has_come)
{
    const uint64_t limit_ns = torc__clock_now() + 20 * NS_PER_SECOND;
    const uint64_t begun_ns = torc__clock_now();
    struct torc__uring uring;
    struct noted_op ops[3];

    if (start_collecting(&uring, 20000)) {
        prepare_nops(&uring, ops, 3);
        while (ops[2].ended == 0)
            turn(&uring, limit_ns);
        expect_each_told_once(ops, 3, 0);
        EXPECT_UINT(torc__clock_now() - begun_ns, >=, 20 * TORC_MILLISECOND);
        EXPECT_UINT(uring.base.stats.waits, ==, 1);
    }
    stop(&uring);
}

TEST(a_collecting_wait_ends_at_once_when_enough_has_come)
{
    struct torc__uring uring;
    struct noted_op ops[MIN_WAIT_COUNT];

    if (start_collecting(&uring, 1000000)) {
        prepare_nops(&uring, ops, MIN_WAIT_COUNT);
        turn(&uring, torc__clock_now() + 10 * NS_PER_SECOND);
        expect_each_told_once(ops, MIN_WAIT_COUNT, 0);
    }
    stop(&uring);
}

static unsigned last_wait;
static int (*real_enter)(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                         const struct __kernel_timespec *timeout);

static int note_wait(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                     const struct __kernel_timespec *timeout)
{
    last_wait = wait;
    return real_enter(ring, submit, wait, flags, timeout);
}

/* The kernel collects for the whole time, however near the wait's own timeout is. */
TEST(a_wait_whose_deadline_is_near_does_not_collect)
{
    struct torc__uring uring;
    struct noted_op ops[MIN_WAIT_COUNT];

    if (start_collecting(&uring, 1000000)) {
        real_enter = uring.ring.enter;
        uring.ring.enter = note_wait;
        prepare_nops(&uring, ops, 1);
        turn(&uring, torc__clock_now() + TORC_MILLISECOND);
        EXPECT_UINT(last_wait, ==, 1);
        expect_each_told_once(ops, 1, 0);

        prepare_nops(&uring, ops, MIN_WAIT_COUNT);
        turn(&uring, torc__clock_now() + 3600 * NS_PER_SECOND);
        EXPECT_UINT(last_wait, ==, MIN_WAIT_COUNT);
        expect_each_told_once(ops, MIN_WAIT_COUNT, 0);
    }
    stop(&uring);
}

/* ---- Network devices ---- */

TEST(a_ring_that_polls_network_devices_works_like_any_other)
{
    const struct torc__driver_options options = {
        .entries = 256, .completion_entries = 8192, .napi_poll_us = 20};
    struct torc__uring uring;
    struct noted_op ops[2];
    char byte = 0;
    int ends[2];

    harness_tcp_pair(ends);
    start_with(&uring, &options);
    for (unsigned i = 0; i < 100; i++) {
        io_uring_prep_recv(prepare(&uring, &ops[0]), ends[0], &byte, 1, 0);
        io_uring_prep_send(prepare(&uring, &ops[1]), ends[1], "x", 1, 0);
        turn_until_ended(&uring, ops, 2);
        expect_each_told_once(ops, 2, 1);
    }
    stop(&uring);
    harness_close_pair(ends);
}

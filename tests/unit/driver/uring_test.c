/* SPDX-License-Identifier: MIT */
/*
 * uring_test.c - operations on the io_uring driver, however many there are; with boundary_test.c.
 */
#include "unit/driver/rig.h"
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

TEST(nothing_reaches_the_kernel_before_the_driver_turns)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op ops[100];

        start(&uring, rungs[rung]);
        prepare_nops(&uring, ops, 100);
        EXPECT_UINT(uring.base.stats.enters, ==, 0);

        turn(&uring, DRIVER_NO_WAIT);
        EXPECT_UINT(uring.base.stats.enters, <=, 9); /* Some kernels hand out 16 per call. */
        turn_until_ended(&uring, ops, 100);
        expect_each_told_once(ops, 100, 0);

        uring.base.stats.enters = 0;
        turn(&uring, DRIVER_NO_WAIT);
        EXPECT_UINT(uring.base.stats.enters, ==, 0);
        stop(&uring);
    }
}

TEST(a_full_queue_is_flushed_to_make_room)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op ops[1000];

        start_sized(&uring, rungs[rung], 16, 8192);
        prepare_nops(&uring, ops, 1000);
        EXPECT_UINT(uring.base.stats.enters, >=, 1000 / 16 - 1);

        turn_until_ended(&uring, ops, 1000);
        expect_each_told_once(ops, 1000, 0);
        stop(&uring);
    }
}

TEST(more_ops_are_in_flight_than_both_queues_have_room_for)
{
    enum {
        COUNT = 1500
    };
    static struct noted_op ops[COUNT];
    static char bytes[COUNT];
    static char sent[COUNT];

    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        int ends[2];

        start_sized(&uring, rungs[rung], 8, 16);
        harness_pipe(ends);
        for (unsigned i = 0; i < COUNT; i++)
            io_uring_prep_read(prepare(&uring, &ops[i]), ends[0], &bytes[i], 1, 0);
        turn(&uring, DRIVER_NO_WAIT);

        memset(sent, 'y', sizeof(sent));
        memset(bytes, 'n', sizeof(bytes));
        harness_put(ends[1], sent, sizeof(sent));
        turn_until_ended(&uring, ops, COUNT);

        expect_each_told_once(ops, COUNT, 1);
        EXPECT_MEM(bytes, sent, sizeof(sent));
        harness_close_pair(ends);
        stop(&uring);
    }
}

/*
 * Where completions are deferred the kernel posts them only when it is asked to, and says by a flag
 * that there are some: so whoever does not wait has to look at that, or a busy loop and one that
 * polls see nothing. With `queued` there is something to submit besides.
 */
static void expect_told_without_a_wait(unsigned forbid, bool queued)
{
    struct torc__uring uring;
    struct noted_op op;
    struct noted_op other;
    char byte;
    int ends[2];

    start(&uring, forbid);
    harness_pipe(ends);
    io_uring_prep_read(prepare(&uring, &op), ends[0], &byte, 1, 0);
    turn(&uring, DRIVER_NO_WAIT);
    EXPECT_UINT(op.told, ==, 0);

    harness_put(ends[1], "x", 1);
    if (queued)
        io_uring_prep_poll_add(prepare(&uring, &other), ends[0], POLLIN);
    turn(&uring, DRIVER_NO_WAIT);
    expect_each_told_once(&op, 1, 1);

    harness_close_pair(ends);
    if (queued) {
        cancel(&uring, &other);
        turn_until_ended(&uring, &other, 1);
    }
    stop(&uring);
}

TEST(what_has_come_is_told_by_the_next_turn_that_does_not_wait)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        expect_told_without_a_wait(rungs[rung], false);
        expect_told_without_a_wait(rungs[rung], true);
    }
}

TEST(an_overflowing_completion_queue_loses_nothing)
{
    const unsigned count = harness_scaled(20000);
    struct noted_op *ops = calloc(count, sizeof(*ops));

    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;

        start_sized(&uring, rungs[rung], 8, 16);
        prepare_nops(&uring, ops, count);
        turn_until_ended(&uring, ops, count);

        expect_each_told_once(ops, count, 0);
        EXPECT_UINT(uring.base.stats.overflows, >, 0);
        EXPECT_UINT(uring.base.stats.ops_ended, ==, count);
        stop(&uring);
    }
    free(ops);
}

/* ---- Functions of ops that go on ---- */

static struct {
    struct torc__uring *uring;
    unsigned left;
    unsigned told;
} chain;

static void prepare_next(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)flags;
    (void)more;
    EXPECT_INT(result, ==, 0);
    chain.told++;
    if (chain.left > 0) {
        chain.left--;
        io_uring_prep_nop(torc__uring_ops.prepare(&chain.uring->base, op));
    }
}

TEST(a_completion_may_begin_the_next_op_without_end)
{
    enum {
        CHAINS = 64,
        ROUNDS = 500
    };
    struct torc_op ops[CHAINS] = {0};

    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;

        start_sized(&uring, rungs[rung], 8, 16); /* So the functions have to flush all the time. */
        memset(&chain, 0, sizeof(chain));
        chain.uring = &uring;
        chain.left = CHAINS * ROUNDS;
        for (unsigned i = 0; i < CHAINS; i++) {
            set_function(&ops[i], prepare_next);
            io_uring_prep_nop(torc__uring_ops.prepare(&uring.base, &ops[i]));
        }
        while (chain.told < CHAINS * (ROUNDS + 1))
            turn(&uring, torc__clock_now() + NS_PER_SECOND);

        EXPECT_UINT(chain.left, ==, 0);
        EXPECT_UINT(uring.base.stats.ops_ended, ==, uring.base.stats.ops);
        stop(&uring);
    }
}

TEST(a_multishot_op_is_told_several_times_and_ends_once)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op op;
        struct noted_op write;
        int ends[2];

        start(&uring, rungs[rung]);
        harness_pipe(ends);
        io_uring_prep_poll_multishot(prepare(&uring, &op), ends[0], POLLIN);
        for (unsigned i = 1; i <= 5; i++) {
            const uint64_t limit_ns = torc__clock_now() + 10 * NS_PER_SECOND;

            io_uring_prep_write(prepare(&uring, &write), ends[1], "x", 1, 0);
            while (op.told < i && torc__clock_now() < limit_ns)
                turn(&uring, limit_ns);
            EXPECT_UINT(op.told, ==, i);
            EXPECT_UINT(op.ended, ==, 0);
        }
        cancel(&uring, &op);
        turn_until_ended(&uring, &op, 1);
        EXPECT_INT(op.result, ==, -ECANCELED);
        EXPECT_UINT(uring.base.stats.ops_ended, ==, uring.base.stats.ops);
        harness_close_pair(ends);
        stop(&uring);
    }
}

/* ---- Cancelling ---- */

TEST(cancel_of_an_op_not_yet_submitted_ends_it)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op op;
        int ends[2];
        char byte;

        start(&uring, rungs[rung]);
        harness_pipe(ends);
        io_uring_prep_read(prepare(&uring, &op), ends[0], &byte, 1, 0);
        cancel(&uring, &op);
        turn_until_ended(&uring, &op, 1);

        expect_each_told_once(&op, 1, -ECANCELED);
        harness_close_pair(ends);
        stop(&uring);
    }
}

TEST(cancel_of_an_op_in_flight_ends_it_and_no_other)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op ops[2];
        int ends[2];
        char bytes[2];

        start(&uring, rungs[rung]);
        harness_pipe(ends);
        for (unsigned i = 0; i < 2; i++)
            io_uring_prep_read(prepare(&uring, &ops[i]), ends[0], &bytes[i], 1, 0);
        turn(&uring, DRIVER_NO_WAIT);
        cancel(&uring, &ops[0]);
        turn_until_ended(&uring, ops, 1);
        EXPECT_UINT(ops[1].told, ==, 0);

        harness_put(ends[1], "x", 1);
        turn_until_ended(&uring, ops, 2);
        expect_each_told_once(&ops[0], 1, -ECANCELED);
        expect_each_told_once(&ops[1], 1, 1);
        harness_close_pair(ends);
        stop(&uring);
    }
}

/* ---- The end of a turn, and of a driver ---- */

TEST(a_turn_ends_though_each_completion_begins_another_op)
{
    struct torc_op ops[64] = {0};
    struct torc__uring uring;

    start_sized(&uring, 0, 16, 8192); /* So what the functions begin is flushed, and completes. */
    memset(&chain, 0, sizeof(chain));
    chain.uring = &uring;
    chain.left = 1000000;
    for (unsigned i = 0; i < 64; i++) {
        set_function(&ops[i], prepare_next);
        io_uring_prep_nop(torc__uring_ops.prepare(&uring.base, &ops[i]));
    }
    turn(&uring, DRIVER_NO_WAIT);
    EXPECT_UINT(chain.told, <, 1000);

    chain.left = 0;
    while (torc__driver_in_flight(&uring.base) > 0)
        turn(&uring, DRIVER_NO_WAIT);
    stop(&uring);
}

/* SPDX-License-Identifier: MIT */
/*
 * epoll_test.c - operations on the epoll driver, however many there are; with boundary_test.c.
 */
#include "unit/driver/epoll_rig.h"
#include <signal.h>

/* The two ways to wait: to the nanosecond, and as before Linux 5.11. */
static const unsigned ways[] = {0, TORC_FEATURE_EXT_ARG};

TEST(an_sqe_is_handed_out_cleared_with_the_op_as_its_user_data)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct io_uring_sqe expected = {.user_data = (uint64_t)(uintptr_t)&op.op};

    start(&epoll);
    for (unsigned i = 0; i < 3; i++) {
        struct io_uring_sqe *sqe;

        memset(&op, 0xff, sizeof(op));
        set_function(&op.op, note);
        sqe = torc__epoll_ops.prepare(&epoll.base, &op.op);
        EXPECT_MEM(sqe, &expected, sizeof(expected));
        op.ended = op.told = 0;
        io_uring_prep_nop(sqe);
        turn_until_ended(&epoll, &op, 1);
    }
    stop(&epoll);
}

TEST(nothing_is_tried_before_the_driver_turns)
{
    struct torc__epoll epoll;
    struct noted_op ops[100];
    char bytes[100];
    int ends[2];

    start(&epoll);
    harness_pipe(ends);
    harness_put(ends[1], "x", 1);
    for (unsigned i = 0; i < 100; i++)
        io_uring_prep_read(prepare(&epoll, &ops[i]), ends[0], &bytes[i], 1, 0);
    EXPECT_UINT(epoll.base.stats.enters, ==, 0);
    harness_get(ends[0], bytes, 1);

    turn(&epoll, DRIVER_NO_WAIT);
    for (unsigned i = 0; i < 100; i++) {
        EXPECT_UINT(ops[i].told, ==, 0);
        cancel(&epoll, &ops[i]);
    }
    turn_until_ended(&epoll, ops, 100);
    expect_each_told_once(ops, 100, -ECANCELED);
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(more_ops_wait_for_one_descriptor_than_a_turn_serves)
{
    enum {
        COUNT = 3000
    };
    static struct noted_op ops[COUNT];
    static char bytes[COUNT];
    struct torc__epoll epoll;
    int ends[2];

    start(&epoll);
    harness_pipe(ends);
    for (unsigned i = 0; i < COUNT; i++)
        io_uring_prep_read(prepare(&epoll, &ops[i]), ends[0], &bytes[i], 1, 0);
    settle(&epoll);
    harness_pattern_fill(bytes, COUNT, 7);
    harness_put(ends[1], bytes, COUNT);
    memset(bytes, 0, sizeof(bytes));
    turn_until_ended(&epoll, ops, COUNT);

    expect_each_told_once(ops, COUNT, 1);
    harness_pattern_check(bytes, COUNT, 7); /* And each got its own, in the order they came. */
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(a_driver_that_nobody_waits_on_makes_no_system_call)
{
    struct torc__epoll epoll;
    struct noted_op op;

    start(&epoll);
    for (unsigned i = 0; i < 1000; i++) {
        io_uring_prep_nop(prepare(&epoll, &op));
        turn(&epoll, DRIVER_NO_WAIT);
        turn(&epoll, DRIVER_NO_WAIT);
        expect_each_told_once(&op, 1, 0);
    }
    EXPECT_UINT(epoll.base.stats.enters, ==, 0);
    stop(&epoll);
}

/* ---- Functions of ops that go on ---- */

static struct {
    struct torc__epoll *epoll;
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
        io_uring_prep_nop(torc__epoll_ops.prepare(&chain.epoll->base, op));
    }
}

TEST(a_turn_ends_though_each_completion_begins_another_op)
{
    struct torc_op ops[64] = {0};
    struct torc__epoll epoll;

    start(&epoll);
    memset(&chain, 0, sizeof(chain));
    chain.epoll = &epoll;
    chain.left = 64 * 500;
    for (unsigned i = 0; i < 64; i++) {
        set_function(&ops[i], prepare_next);
        io_uring_prep_nop(torc__epoll_ops.prepare(&epoll.base, &ops[i]));
    }
    EXPECT_INT(turn(&epoll, TORC_FOREVER), ==, 64);
    while (chain.told < 64 * 501)
        EXPECT_INT(turn(&epoll, TORC_FOREVER), ==, 64);
    stop(&epoll);
}

static unsigned busy_turns;
static bool data_came;

static void note_data(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)op;
    (void)flags;
    (void)more;
    EXPECT_INT(result, ==, 1);
    data_came = true;
}

TEST(events_are_served_though_every_turn_has_ops_that_complete)
{
    struct torc__epoll epoll;
    struct torc_op read = {0};
    struct noted_op nop;
    int ends[2];
    char byte;

    start(&epoll);
    harness_pipe(ends);
    set_function(&read, note_data);
    io_uring_prep_read(torc__epoll_ops.prepare(&epoll.base, &read), ends[0], &byte, 1, 0);
    settle(&epoll);
    harness_put(ends[1], "x", 1);
    for (busy_turns = 0; !data_came; busy_turns++) {
        EXPECT_UINT(busy_turns, <, 10);
        io_uring_prep_nop(prepare(&epoll, &nop));
        turn(&epoll, DRIVER_NO_WAIT);
        expect_each_told_once(&nop, 1, 0);
    }
    harness_close_pair(ends);
    stop(&epoll);
}

/* ---- Cancelling ---- */

TEST(cancel_of_an_op_not_yet_tried_ends_it)
{
    struct torc__epoll epoll;
    struct noted_op op;
    int ends[2];
    char byte;

    start(&epoll);
    harness_pipe(ends);
    io_uring_prep_read(prepare(&epoll, &op), ends[0], &byte, 1, 0);
    cancel_and_end(&epoll, &op);
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(data_that_is_there_beats_the_cancel_of_an_op_not_yet_tried)
{
    struct torc__epoll epoll;
    struct noted_op op;
    int ends[2];
    char byte = 0;

    start(&epoll);
    harness_pipe(ends);
    harness_put(ends[1], "x", 1);
    io_uring_prep_read(prepare(&epoll, &op), ends[0], &byte, 1, 0);
    cancel(&epoll, &op);
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    EXPECT_INT(byte, ==, 'x');
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(cancel_of_an_op_that_waits_ends_it_at_the_next_turn_and_no_other)
{
    struct torc__epoll epoll;
    struct noted_op ops[3];
    int ends[2];
    char bytes[3];

    start(&epoll);
    harness_pipe(ends);
    for (unsigned i = 0; i < 3; i++)
        io_uring_prep_read(prepare(&epoll, &ops[i]), ends[0], &bytes[i], 1, 0);
    settle(&epoll);
    cancel(&epoll, &ops[1]);
    cancel(&epoll, &ops[1]);
    EXPECT_UINT(ops[1].told, ==, 0); /* Completions are told by turns only. */
    turn(&epoll, TORC_FOREVER);
    expect_each_told_once(&ops[1], 1, -ECANCELED);
    EXPECT_UINT(ops[0].told + ops[2].told, ==, 0);

    harness_put(ends[1], "xy", 2);
    turn_until_ended(&epoll, ops, 3);
    expect_each_told_once(&ops[0], 1, 1);
    expect_each_told_once(&ops[2], 1, 1);
    EXPECT(bytes[0] == 'x' && bytes[2] == 'y');
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(an_op_that_races_with_its_cancel_keeps_its_data)
{
    struct torc__epoll epoll;
    int ends[2];

    start(&epoll);
    harness_unix_pair(ends);
    for (unsigned i = 0; i < 2000; i++) {
        struct noted_op read;
        struct noted_op write;
        char byte = 0;

        io_uring_prep_read(prepare(&epoll, &read), ends[0], &byte, 1, 0);
        if (i & 1)
            turn(&epoll, DRIVER_NO_WAIT);
        io_uring_prep_write(prepare(&epoll, &write), ends[1], "x", 1, 0);
        if (i & 2)
            turn(&epoll, DRIVER_NO_WAIT);
        cancel(&epoll, &read);
        turn_until_ended(&epoll, &write, 1);
        turn_until_ended(&epoll, &read, 1);

        expect_each_told_once(&write, 1, 1);
        expect_each_told_once(&read, 1, byte == 'x' ? 1 : -ECANCELED);
        EXPECT_UINT(harness_drain(ends[0]), ==, byte == 'x' ? 0 : 1);
    }
    harness_close_pair(ends);
    stop(&epoll);
}

/* ---- Waiting ---- */

TEST(a_wait_lasts_until_its_time_and_no_shorter)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(ways); i++) {
        const uint64_t waits_ns[] = {1, 300000, 1000000, 2500000};
        struct torc__epoll epoll;

        start_with(&epoll, ways[i], 0);
        for (unsigned j = 0; j < ARRAY_LENGTH(waits_ns); j++) {
            const uint64_t until_ns = torc__clock_now() + waits_ns[j];

            EXPECT_INT(turn(&epoll, until_ns), ==, 0);
            EXPECT_UINT(torc__clock_now(), >=, until_ns);
        }
        EXPECT_INT(turn(&epoll, 1), ==, 0);
        stop(&epoll);
    }
}

TEST(an_event_ends_a_wait_that_has_no_other_end)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(ways); i++) {
        struct torc__epoll epoll;
        struct noted_op op;
        char byte;
        int ends[2];

        start_with(&epoll, ways[i], 0);
        harness_pipe(ends);
        io_uring_prep_read(prepare(&epoll, &op), ends[0], &byte, 1, 0);
        settle(&epoll);
        harness_put(ends[1], "x", 1);
        while (op.told == 0)
            turn(&epoll, TORC_FOREVER);
        expect_each_told_once(&op, 1, 1);
        harness_close_pair(ends);
        stop(&epoll);
    }
}

TEST(a_wait_that_a_signal_interrupts_is_no_failure)
{
    struct torc__epoll epoll;

    start(&epoll);
    set_signals(1000);
    while (signals < 5)
        EXPECT_INT(turn(&epoll, torc__clock_now() + NS_PER_SECOND), ==, 0);
    set_signals(0);
    stop(&epoll);
}

TEST(a_turn_leaves_errno_alone)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char byte;

    start(&epoll);
    io_uring_prep_read(prepare(&epoll, &op), -1, &byte, 1, 0);
    errno = EXDEV;
    turn(&epoll, DRIVER_NO_WAIT);
    EXPECT_INT(errno, ==, EXDEV);
    expect_each_told_once(&op, 1, -EBADF);
    stop(&epoll);
}

/* ---- What breaks the contract ---- */

static void change_state_in_a_way_that_is_none(void)
{
    struct torc__epoll_note note = {.state = STATE_WATCHING};

    torc__epoll_set_state(&note, STATE_IDLE);
}

TEST(a_state_that_cannot_follow_aborts)
{
    harness_expect_death(change_state_in_a_way_that_is_none, SIGABRT, "next_states");
}

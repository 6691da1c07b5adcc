/* SPDX-License-Identifier: MIT */
/*
 * uring_error_test.c - the system call fails: ops are retried, or told, and never lost.
 *
 * ring.enter is replaced by a function that fails the next calls, before or after they have been
 * carried out.
 */
#include "unit/driver/rig.h"
#include <signal.h>

static struct {
    int error;
    unsigned times;    /* how many calls still fail */
    bool submits_only; /* ... of those that submit */
    bool every_other;  /* every second of them succeeds */
    bool afterwards;   /* the call is carried out, and then reported as failed */
    unsigned calls;
    int (*real)(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                const struct __kernel_timespec *timeout);
} fault;

static int faulty_enter(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                        const struct __kernel_timespec *timeout)
{
    fault.calls++;
    if (fault.times == 0 || (fault.submits_only && submit == 0))
        return fault.real(ring, submit, wait, flags, timeout);
    fault.times--;
    if (fault.every_other && (fault.times & 1) == 0)
        return fault.real(ring, submit, wait, flags, timeout);
    if (fault.afterwards)
        (void)fault.real(ring, submit, 0, flags, NULL);
    return fault.error;
}

static void start_faulty(struct torc__uring *uring, unsigned forbid)
{
    start_sized(uring, forbid, 16, 8192);
    memset(&fault, 0, sizeof(fault));
    fault.real = uring->ring.enter;
    uring->ring.enter = faulty_enter;
}

static void fail_next(int error, unsigned times)
{
    fault.error = error;
    fault.times = times;
    fault.calls = 0;
}

static void expect_it_works(struct torc__uring *uring)
{
    struct noted_op ops[40];

    fault.times = 0;
    prepare_nops(uring, ops, 40);
    turn_until_ended(uring, ops, 40);
    expect_each_told_once(ops, 40, 0);
}

/* ---- Errors that pass ---- */

static const int passing[] = {-EINTR, -EAGAIN, -EBUSY};

TEST(a_passing_error_of_a_turn_delays_ops_and_loses_none)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op ops[10];

        start_faulty(&uring, rungs[rung]);
        for (unsigned i = 0; i < ARRAY_LENGTH(passing); i++) {
            prepare_nops(&uring, ops, 10);
            fail_next(passing[i], 20);
            turn_until_ended(&uring, ops, 10);
            expect_each_told_once(ops, 10, 0);

            prepare_nops(&uring, ops, 10);
            fail_next(passing[i], 20);
            while (ops[9].told == 0)
                turn(&uring, DRIVER_NO_WAIT);
            expect_each_told_once(ops, 10, 0);
        }
        EXPECT_UINT(uring.base.stats.submits_retried, >, 0);
        expect_it_works(&uring);
        stop(&uring);
    }
}

TEST(a_passing_error_of_a_flush_delays_ops_and_loses_none)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op ops[100];

        start_faulty(&uring, rungs[rung]);
        for (unsigned i = 0; i < ARRAY_LENGTH(passing); i++) {
            fault.submits_only = true;
            fail_next(passing[i], 100);
            prepare_nops(&uring, ops, 100);
            EXPECT_UINT(fault.times, ==, 0);
            for (unsigned j = 0; j < 100; j++)
                EXPECT_UINT(ops[j].told, ==, 0); /* Only turns tell. */
            turn_until_ended(&uring, ops, 100);
            expect_each_told_once(ops, 100, 0);
        }
        stop(&uring);
    }
}

TEST(an_interruption_after_the_submission_submits_nothing_twice)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op ops[100];
        int ends[2];
        char bytes[100];

        start_faulty(&uring, rungs[rung]);
        harness_pipe(ends);
        fault.afterwards = true;
        fail_next(-EINTR, UINT32_MAX);
        for (unsigned i = 0; i < 100; i++)
            io_uring_prep_write(prepare(&uring, &ops[i]), ends[1], "x", 1, 0);
        turn_until_ended(&uring, ops, 100);

        expect_each_told_once(ops, 100, 1);
        harness_get(ends[0], bytes, 100);
        EXPECT(!harness_is_readable(ends[0]));
        expect_it_works(&uring);
        harness_close_pair(ends);
        stop(&uring);
    }
}

TEST(an_interrupted_wait_returns_so_that_the_loop_looks_around)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;

        start_faulty(&uring, rungs[rung]);
        turn(&uring, torc__clock_now() + 1);
        fail_next(-EINTR, 1000);
        for (unsigned i = 0; i < 1000; i++)
            EXPECT_INT(turn(&uring, TORC_FOREVER), ==, 0);
        EXPECT_UINT(fault.calls, ==, 1000);
        expect_it_works(&uring);
        stop(&uring);
    }
}

/* ---- Errors that stay ---- */

TEST(ops_that_are_refused_for_ever_are_told_of_want_of_memory)
{
    const int refusals[] = {-EAGAIN, -EBUSY};

    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op ops[100];

        start_faulty(&uring, rungs[rung]);
        fault.submits_only = true;
        for (unsigned i = 0; i < ARRAY_LENGTH(refusals); i++) {
            fail_next(refusals[i], UINT32_MAX);
            prepare_nops(&uring, ops, 100); /* The flush fails the first ones ... */
            turn(&uring, DRIVER_NO_WAIT);   /* ... and the turn the rest. */
            expect_each_told_once(ops, 100, -ENOMEM);
            EXPECT_UINT(fault.calls, <, 100000);
            expect_it_works(&uring);
        }
        stop(&uring);
    }
}

TEST(ops_that_are_refused_for_ever_by_a_wait_are_told_of_want_of_memory)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op ops[10];

        start_faulty(&uring, rungs[rung]);
        prepare_nops(&uring, ops, 10);
        fail_next(-EAGAIN, UINT32_MAX);
        turn(&uring, torc__clock_now() + NS_PER_SECOND);

        expect_each_told_once(ops, 10, -ENOMEM);
        expect_it_works(&uring);
        stop(&uring);
    }
}

TEST(a_fatal_error_is_the_result_of_the_queued_ops_and_of_no_others)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op in_flight;
        struct noted_op ops[10];
        int ends[2];
        char byte;

        start_faulty(&uring, rungs[rung]);
        harness_pipe(ends);
        io_uring_prep_read(prepare(&uring, &in_flight), ends[0], &byte, 1, 0);
        turn(&uring, DRIVER_NO_WAIT);
        prepare_nops(&uring, ops, 10);
        fail_next(-EFAULT, UINT32_MAX);
        turn(&uring, DRIVER_NO_WAIT);
        expect_each_told_once(ops, 10, -EFAULT);
        EXPECT_UINT(fault.calls, <=, 3);
        EXPECT_UINT(in_flight.told, ==, 0);

        expect_it_works(&uring);
        harness_put(ends[1], "x", 1);
        turn_until_ended(&uring, &in_flight, 1);
        expect_each_told_once(&in_flight, 1, 1);
        harness_close_pair(ends);
        stop(&uring);
    }
}

TEST(a_fatal_error_of_the_first_wait_fails_the_own_ops_too_and_is_survived)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op op;
        const uint64_t until_ns = torc__clock_now() + 5 * TORC_MILLISECOND;

        start_faulty(&uring, rungs[rung]);
        prepare_nops(&uring, &op, 1);
        fail_next(-EFAULT, 2); /* The turn's call, and the submission that is tried after it. */
        turn(&uring, until_ns);
        expect_each_told_once(&op, 1, -EFAULT);

        EXPECT_UINT(uring.own_pending, ==, 0);
        while (torc__clock_now() < until_ns)
            turn(&uring, until_ns);
        torc__uring_ops.wake(&uring.base, NULL);
        turn(&uring, torc__clock_now() + 10 * NS_PER_SECOND);
        EXPECT_UINT(uring.base.stats.wakeups_received, ==, 1);
        stop(&uring);
    }
}

static void wait_on_a_ring_that_does_not_work(void)
{
    struct torc__uring uring;

    start_faulty(&uring, 0);
    turn(&uring, torc__clock_now() + 1);
    fail_next(-EBADF, UINT32_MAX);
    turn(&uring, TORC_FOREVER);
}

TEST(a_ring_that_can_not_wait_ends_the_program_with_a_message)
{
    harness_expect_death(wait_on_a_ring_that_does_not_work, SIGABRT, "cannot wait");
}

/* ---- Where a thread of the kernel's takes what is queued ---- */

TEST(ops_that_were_queued_when_the_polling_thread_had_died_are_told)
{
    struct torc__uring uring;
    struct noted_op op;

    start_faulty(&uring, 0);
    uring.sqpoll = true; /* It is not, so nobody takes what is queued: as after a death. */
    prepare_nops(&uring, &op, 1);
    fail_next(-EOWNERDEAD, 1);
    turn(&uring, TORC_FOREVER);
    turn(&uring, DRIVER_NO_WAIT);
    expect_each_told_once(&op, 1, -EOWNERDEAD);
    uring.sqpoll = false;
    stop(&uring);
}

static void fail_with_a_polling_thread(void)
{
    struct torc__uring uring;
    struct noted_op op;

    start_faulty(&uring, 0);
    uring.sqpoll = true;
    prepare_nops(&uring, &op, 1);
    fail_next(-EPERM, UINT32_MAX);
    turn(&uring, TORC_FOREVER);
}

/* Then it may take the op at any time, which therefore cannot be told to have failed. */
TEST(an_error_that_stays_while_the_polling_thread_lives_ends_the_program_with_a_message)
{
    harness_expect_death(fail_with_a_polling_thread, SIGABRT,
                         "cannot wait: Operation not permitted");
}

/* ---- Errors while the functions of ops begin others ---- */

static struct {
    struct torc__uring *uring;
    struct noted_op later[64];
    unsigned begun;
    unsigned told;
    unsigned begun_max;
    unsigned depth;
    unsigned deepest;
} heirs;

static void begin_an_heir(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)op;
    (void)flags;
    (void)more;
    (void)result;
    heirs.told++;
    if (heirs.begun < ARRAY_LENGTH(heirs.later))
        io_uring_prep_nop(prepare(heirs.uring, &heirs.later[heirs.begun++]));
}

TEST(ops_begun_by_ops_that_fail_are_told_as_well)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct torc_op ops[64] = {0};

        start_faulty(&uring, rungs[rung]);
        memset(&heirs, 0, sizeof(heirs));
        heirs.uring = &uring;
        fail_next(-EFAULT, 2);
        for (unsigned i = 0; i < 64; i++) {
            set_function(&ops[i], begin_an_heir);
            io_uring_prep_nop(torc__uring_ops.prepare(&uring.base, &ops[i]));
        }
        turn(&uring, torc__clock_now() + NS_PER_SECOND);
        turn_until_ended(&uring, heirs.later, 64);

        EXPECT_UINT(heirs.told, ==, 64);
        for (unsigned i = 0; i < 64; i++)
            EXPECT_UINT(heirs.later[i].told, ==, 1);
        EXPECT_UINT(uring.base.stats.ops_ended, ==, 128);
        stop(&uring);
    }
}

static void begin_again(struct torc_op *op, int result, uint32_t flags, int more)
{
    (void)result;
    (void)flags;
    (void)more;
    heirs.told++;
    heirs.depth++;
    heirs.deepest = heirs.depth > heirs.deepest ? heirs.depth : heirs.deepest;
    if (heirs.begun++ < heirs.begun_max)
        io_uring_prep_nop(torc__uring_ops.prepare(&heirs.uring->base, op));
    heirs.depth--;
}

/* Were completions told to make room, their functions would need room, and so on, a level each. */
TEST(making_room_does_not_recurse)
{
    struct torc__uring uring;
    struct torc_op ops[2000] = {0};

    start_faulty(&uring, 0);
    memset(&heirs, 0, sizeof(heirs));
    heirs.uring = &uring;
    fault.submits_only = true;
    fault.every_other = true;
    heirs.begun_max = 20000;
    fail_next(-EBUSY, UINT32_MAX);
    for (unsigned i = 0; i < 2000; i++) {
        set_function(&ops[i], begin_again);
        io_uring_prep_nop(torc__uring_ops.prepare(&uring.base, &ops[i]));
    }
    for (unsigned i = 0; i < 10000 && uring.base.stats.ops_ended < uring.base.stats.ops; i++)
        turn(&uring, DRIVER_NO_WAIT);

    EXPECT_UINT(uring.base.stats.ops_ended, ==, uring.base.stats.ops);
    EXPECT_UINT(heirs.told, ==, 22000);
    EXPECT_UINT(heirs.deepest, ==, 1);
    stop(&uring);
}

TEST(a_turn_ends_though_each_op_that_fails_begins_another)
{
    struct torc__uring uring;
    struct torc_op ops[64] = {0};

    start_faulty(&uring, 0);
    memset(&heirs, 0, sizeof(heirs));
    heirs.uring = &uring;
    heirs.begun_max = 1000000;
    fail_next(-EFAULT, UINT32_MAX);
    for (unsigned i = 0; i < 64; i++) {
        set_function(&ops[i], begin_again);
        io_uring_prep_nop(torc__uring_ops.prepare(&uring.base, &ops[i]));
    }
    turn(&uring, DRIVER_NO_WAIT);
    EXPECT_UINT(heirs.told, <, 1000);

    heirs.begun_max = 0;
    fault.times = 0;
    while (torc__driver_in_flight(&uring.base) > 0)
        turn(&uring, DRIVER_NO_WAIT);
    stop(&uring);
}

TEST(completions_that_are_set_aside_in_every_turn_need_no_more_memory_in_time)
{
    struct torc__uring uring;
    struct torc_op ops[64] = {0};

    start_faulty(&uring, 0);
    memset(&heirs, 0, sizeof(heirs));
    heirs.uring = &uring;
    heirs.begun_max = UINT32_MAX;
    fail_next(-EFAULT, UINT32_MAX);
    for (unsigned i = 0; i < 64; i++) {
        set_function(&ops[i], begin_again);
        io_uring_prep_nop(torc__uring_ops.prepare(&uring.base, &ops[i]));
    }
    for (unsigned i = 0; i < 1000; i++)
        turn(&uring, DRIVER_NO_WAIT);
    EXPECT_UINT(heirs.told, >=, 10000);
    EXPECT_UINT(uring.backlog_room, <, 1000);

    heirs.begun_max = 0;
    fault.times = 0;
    while (torc__driver_in_flight(&uring.base) > 0)
        turn(&uring, DRIVER_NO_WAIT);
    stop(&uring);
}

TEST(a_fatal_error_that_passes_does_not_keep_finish_waiting)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;

        start_faulty(&uring, rungs[rung]);
        turn(&uring, torc__clock_now() + 1); /* The read for wake-ups is in flight. */
        fail_next(-EFAULT, 1);
        stop(&uring);
    }
}

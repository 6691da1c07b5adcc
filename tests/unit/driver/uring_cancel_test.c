/* SPDX-License-Identifier: MIT */
/*
 * uring_cancel_test.c - cancels that the kernel does not take at once are kept, for as long as it
 * takes: nobody would ask for them again.
 */
#include "unit/driver/rig.h"

static struct {
    int error;
    unsigned times; /* how many calls that submit still fail */
    unsigned calls; /* of those that submit */
    int (*real)(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                const struct __kernel_timespec *timeout);
} fault;

static int refuse_submissions(struct torc__ring *ring, unsigned submit, unsigned wait,
                              unsigned flags, const struct __kernel_timespec *timeout)
{
    fault.calls += submit > 0;
    if (submit == 0 || fault.times == 0)
        return fault.real(ring, submit, wait, flags, timeout);
    fault.times--;
    return fault.error;
}

static void start_refusing(struct torc__uring *uring, unsigned forbid)
{
    start_sized(uring, forbid, 16, 8192);
    memset(&fault, 0, sizeof(fault));
    fault.real = uring->ring.enter;
    uring->ring.enter = refuse_submissions;
}

static void refuse_next(int error, unsigned times)
{
    fault.error = error;
    fault.times = times;
    fault.calls = 0;
}

/* Reads of a pipe into which nobody writes, in the kernel's hands. */
static void begin_reads(struct torc__uring *uring, int fd, struct noted_op *ops, unsigned count)
{
    static char byte;

    for (unsigned i = 0; i < count; i++)
        io_uring_prep_read(prepare(uring, &ops[i]), fd, &byte, 1, 0);
    turn(uring, DRIVER_NO_WAIT);
    EXPECT_UINT(torc__ring_queued(&uring->ring), ==, 0);
}

TEST(cancels_are_kept_when_the_ops_queued_with_them_fail)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op reads[3];
        struct noted_op nops[4];
        int ends[2];

        start_refusing(&uring, rungs[rung]);
        harness_pipe(ends);
        begin_reads(&uring, ends[0], reads, 3);
        prepare_nops(&uring, nops, 2);
        cancel(&uring, &reads[0]);
        prepare_nops(&uring, &nops[2], 2);
        cancel(&uring, &reads[2]);
        refuse_next(-EFAULT, 2); /* The turn's call, and the submission that is tried after it. */
        turn(&uring, DRIVER_NO_WAIT);
        expect_each_told_once(nops, 4, -EFAULT);
        EXPECT_UINT(torc__ring_queued(&uring.ring), ==, 2);

        turn_until_ended(&uring, &reads[0], 1);
        turn_until_ended(&uring, &reads[2], 1);
        expect_each_told_once(&reads[0], 1, -ECANCELED);
        expect_each_told_once(&reads[2], 1, -ECANCELED);
        EXPECT_UINT(reads[1].told, ==, 0);
        cancel(&uring, &reads[1]);
        turn_until_ended(&uring, &reads[1], 1);
        harness_close_pair(ends);
        stop(&uring);
    }
}

/* More of them than the queue has room for: the next one has to wait for the kernel. */
static void cancel_while_refused(unsigned forbid, int error, unsigned times)
{
    enum {
        COUNT = 40
    };
    struct log_capture capture;
    struct torc__uring uring;
    struct noted_op reads[COUNT];
    int ends[2];

    start_refusing(&uring, forbid);
    harness_pipe(ends);
    begin_reads(&uring, ends[0], reads, COUNT);
    begin_capture(&capture);
    refuse_next(error, times);
    for (unsigned i = 0; i < COUNT; i++)
        cancel(&uring, &reads[i]);
    EXPECT_UINT(fault.times, ==, 0);
    EXPECT_UINT(fault.calls, <=, times + COUNT);
    turn_until_ended(&uring, reads, COUNT);
    expect_each_told_once(reads, COUNT, -ECANCELED);
    EXPECT_UINT(end_capture(&capture, "io_uring_enter"), ==, 1);
    harness_close_pair(ends);
    stop(&uring);
}

TEST(a_queue_full_of_cancels_waits_for_the_kernel_however_long_it_refuses)
{
    cancel_while_refused(0, -ENOMEM, 110);
    cancel_while_refused(TORC_FEATURE_ALL, -ENOMEM, 110);
    cancel_while_refused(0, -EAGAIN, 250);
}

/* A loop with nothing but refused cancels asks a hundred times a second, not a million times. */
TEST(turns_with_nothing_but_refused_cancels_do_not_spin)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op read;
        int ends[2];
        uint64_t begun_ns;

        start_refusing(&uring, rungs[rung]);
        harness_pipe(ends);
        begin_reads(&uring, ends[0], &read, 1);
        cancel(&uring, &read);
        begun_ns = torc__clock_now();
        refuse_next(-EFAULT, 40);
        while (fault.times > 0)
            turn(&uring, DRIVER_NO_WAIT);
        EXPECT_UINT(torc__clock_now() - begun_ns, >=, 20 * 10 * TORC_MILLISECOND);
        turn_until_ended(&uring, &read, 1);
        harness_close_pair(ends);
        stop(&uring);
    }
}

/* ---- Cancels that miss ---- */

static unsigned misses; /* cancels that are still to miss */

static int enter_missing(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                         const struct __kernel_timespec *timeout)
{
    const unsigned head = __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);

    for (unsigned i = head; i != ring->sq_tail && misses > 0; i++) {
        struct io_uring_sqe *sqe = &ring->sqes[i & ring->sq_mask];

        if (sqe->opcode == IORING_OP_ASYNC_CANCEL && sqe->addr != 8) {
            sqe->addr = 8; /* No op of ours is there. */
            misses--;
        }
    }
    return fault.real(ring, submit, wait, flags, timeout);
}

TEST(an_op_whose_cancel_misses_is_cancelled_again)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op reads[3];
        int ends[2];

        harness_pipe(ends);
        start_sized(&uring, rungs[rung], 16, 8192);
        fault.real = uring.ring.enter;
        uring.ring.enter = enter_missing;
        begin_reads(&uring, ends[0], reads, 3);
        misses = 5; /* All three, and two of them again. */
        for (unsigned i = 0; i < 3; i++)
            torc__uring_ops.cancel(&uring.base, &reads[i].op);
        while (torc__driver_in_flight(&uring.base) > 0)
            turn(&uring, torc__clock_now() + NS_PER_SECOND);
        EXPECT_UINT(misses, ==, 0);
        expect_each_told_once(reads, 3, -ECANCELED);
        EXPECT(uring.cancelled == NULL);
        harness_close_pair(ends);
        stop(&uring);
    }
}

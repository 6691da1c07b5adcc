/* SPDX-License-Identifier: MIT */
/*
 * uring_slot_test.c - a slot of the queue is handed out cleared, whatever stood in it.
 *
 * Newer liburing relies on it: its io_uring_prep_*() leave most fields alone.
 */
#include "unit/driver/rig.h"

/* All slots that are free: a repeated cancel may still stand in the queue. */
static void spoil(struct torc__uring *uring)
{
    struct torc__ring *ring = &uring->ring;
    const unsigned free_count = ring->sq_entries - torc__ring_queued(ring);

    for (unsigned i = 0; i < free_count; i++) {
        struct io_uring_sqe *sqe = &ring->sqes[(ring->sq_tail + i) & ring->sq_mask];

        memset(sqe, 0xff, sizeof(*sqe));
        sqe->flags = IOSQE_CQE_SKIP_SUCCESS; /* Not what ties it to others. */
    }
}

TEST(what_stood_in_a_slot_does_not_show_in_its_next_use)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op op;

        start(&uring, rungs[rung]);
        for (unsigned i = 0; i < 2 * uring.ring.sq_entries; i++) {
            struct io_uring_sqe expected = {.user_data = (uint64_t)(uintptr_t)&op.op};
            struct io_uring_sqe *sqe;

            if (i % 100 == 0)
                spoil(&uring);
            sqe = prepare(&uring, &op);
            EXPECT_MEM(sqe, &expected, sizeof(expected));
            io_uring_prep_nop(sqe);
            turn_until_ended(&uring, &op, 1);
        }
        stop(&uring);
    }
}

TEST(cancels_and_timeouts_in_spoilt_slots_do_what_they_should)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        int ends[2];
        char byte;

        start(&uring, rungs[rung]);
        harness_pipe(ends);
        for (unsigned i = 0; i < 50; i++) {
            struct noted_op read;

            spoil(&uring);
            io_uring_prep_read(prepare(&uring, &read), ends[0], &byte, 1, 0);
            turn(&uring, torc__clock_now() + 1000);
            spoil(&uring);
            cancel(&uring, &read);
            turn_until_ended(&uring, &read, 1);
            expect_each_told_once(&read, 1, -ECANCELED);
        }
        harness_close_pair(ends);
        stop(&uring);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * neighbours_test.c - operations of all fibers share a queue: none may harm the next.
 */
#include "harness/harness.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <liburing.h>
#include <signal.h>
#include <torc/torc.h>

static unsigned tie;

static int prepare_tied(void *arg)
{
    struct torc_op op;
    struct io_uring_sqe *sqe = torc_op_prepare(&op);

    (void)arg;
    io_uring_prep_nop(sqe);
    sqe->flags |= tie;
    return torc_op_wait(&op);
}

static void run_tied(void)
{
    (void)torc_run(prepare_tied, NULL, NULL);
}

TEST(an_operation_that_is_tied_to_its_neighbours_aborts)
{
    const unsigned ties[] = {IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_IO_DRAIN};

    for (unsigned i = 0; i < 3; i++) {
        tie = ties[i];
        harness_expect_death(run_tied, SIGABRT, "flags & ties");
    }
}

static int wait_for(void *arg)
{
    return torc_op_wait(arg);
}

static int wait_twice(void *arg)
{
    struct torc_op op;
    int ends[2];

    (void)arg;
    harness_pipe(ends);
    io_uring_prep_poll_add(torc_op_prepare(&op), ends[0], 1);
    harness_spawn(NULL, wait_for, &op);
    return torc_op_wait(&op);
}

static void run_two_waits(void)
{
    (void)torc_run(wait_twice, NULL, NULL);
}

TEST(two_fibers_that_wait_for_one_operation_abort)
{
    harness_expect_death(run_two_waits, SIGABRT, "_waiter == NULL");
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

TEST(large_queues_can_be_asked_for_by_entries_alone)
{
    for (unsigned entries = 8192; entries <= 32768; entries *= 2) {
        const struct torc_options options = {.entries = entries};

        EXPECT_INT(harness_run_result(&options, do_nothing, NULL), ==, 0);
    }
}

TEST(a_thread_may_have_many_rings_one_after_the_other)
{
    struct torc_driver_report before;
    struct torc_driver_report after;

    EXPECT_INT(torc_driver_report(NULL, &before), ==, 0);
    for (unsigned i = 0; i < 50; i++)
        EXPECT_INT(harness_run_result(NULL, do_nothing, NULL), ==, 0);
    EXPECT_INT(torc_driver_report(NULL, &after), ==, 0);
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++)
        EXPECT_MSG(after.features[i].used == before.features[i].used, "%s", after.features[i].name);
}

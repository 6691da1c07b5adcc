/* SPDX-License-Identifier: MIT */
/*
 * boundary_test.c - what driver.h promises, of every driver and on every rung of its ladder.
 *
 * What only one of them can do, or only its inside shows, is tested in a file of its own.
 */
#include "base/clock.h"
#include "driver/driver.h"
#include "harness/net.h"
#include "harness/run.h"
#include "unit/driver/noted.h"
#include <errno.h>
#include <liburing.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <torc/time.h>
#include <unistd.h>

#define SOON_NS (10 * NS_PER_SECOND) /* What comes takes microseconds; after this it is lost. */

#define AFTER_60                                                                      \
    (TORC_FEATURE_DEFER_TASKRUN | TORC_FEATURE_NO_SQARRAY | TORC_FEATURE_BUFFER_INC | \
     TORC_FEATURE_GUARD_REGIONS)
#define AFTER_511                                                                        \
    (AFTER_60 | TORC_FEATURE_CQE_SKIP | TORC_FEATURE_SUBMIT_ALL | TORC_FEATURE_RING_FD | \
     TORC_FEATURE_MSG_RING | TORC_FEATURE_COOP_TASKRUN | TORC_FEATURE_BUFFER_RING |      \
     TORC_FEATURE_SINGLE_ISSUER | TORC_FEATURE_MULTISHOT | TORC_FEATURE_SEND_ZC)

static const struct kind {
    const struct torc__driver_ops *ops;
    unsigned forbid;
} kinds[] = {
    {&torc__uring_ops, 0},         {&torc__uring_ops, AFTER_60},
    {&torc__uring_ops, AFTER_511}, {&torc__uring_ops, TORC_FEATURE_ALL},
    {&torc__epoll_ops, 0},         {&torc__epoll_ops, TORC_FEATURE_EXT_ARG},
};

static struct torc__driver *start(const struct kind *kind)
{
    const struct torc__driver_options options = {
        .entries = 256, .completion_entries = 8192, .forbid = kind->forbid};
    struct torc__driver *driver = aligned_alloc(64, (kind->ops->size + 63) / 64 * 64);

    EXPECT(driver != NULL);
    memset(driver, 0, kind->ops->size);
    driver->ops = kind->ops;
    driver->forbid = kind->forbid;
    EXPECT_INT(kind->ops->init(driver, &options), ==, 0);
    return driver;
}

static void stop(struct torc__driver *driver)
{
    EXPECT_UINT(torc__driver_in_flight(driver), ==, 0);
    driver->ops->finish(driver);
    free(driver);
}

static struct io_uring_sqe *prepare(struct torc__driver *driver, struct noted_op *noted)
{
    memset(noted, 0, sizeof(*noted));
    set_function(&noted->op, note);
    return driver->ops->prepare(driver, &noted->op);
}

static int turn(struct torc__driver *driver, uint64_t until_ns)
{
    return driver->ops->turn(driver, until_ns);
}

static void turn_until_ended(struct torc__driver *driver, const struct noted_op *ops,
                             unsigned count)
{
    const uint64_t limit_ns = torc__clock_now() + SOON_NS;

    for (unsigned i = 0; i < count; i++) {
        while (ops[i].ended == 0) {
            EXPECT(torc__clock_now() < limit_ns);
            turn(driver, limit_ns);
        }
    }
}

/* Run a test on all of them. */
static void for_each_kind(void (*test)(struct torc__driver *driver))
{
    for (unsigned i = 0; i < ARRAY_LENGTH(kinds); i++) {
        struct torc__driver *driver = start(&kinds[i]);

        test(driver);
        stop(driver);
    }
}

#define DRIVER_TEST(name)                               \
    static void name##_on(struct torc__driver *driver); \
    TEST(name)                                          \
    {                                                   \
        for_each_kind(name##_on);                       \
    }                                                   \
    static void name##_on(struct torc__driver *driver)

/* ---- Completing ---- */

DRIVER_TEST(an_op_completes_once_with_the_result_of_the_kernel)
{
    struct noted_op ops[3];
    int ends[2];
    char byte = 0;

    harness_pipe(ends);
    harness_put(ends[1], "x", 1);
    io_uring_prep_nop(prepare(driver, &ops[0]));
    io_uring_prep_read(prepare(driver, &ops[1]), ends[0], &byte, 1, 0);
    io_uring_prep_read(prepare(driver, &ops[2]), -1, &byte, 1, 0);
    turn_until_ended(driver, ops, 3);

    expect_each_told_once(&ops[0], 1, 0);
    expect_each_told_once(&ops[1], 1, 1);
    expect_each_told_once(&ops[2], 1, -EBADF);
    EXPECT_INT(byte, ==, 'x');
    EXPECT_UINT(driver->stats.ops, ==, 3);
    EXPECT_UINT(driver->stats.ops_ended, ==, 3);
    EXPECT_UINT(driver->stats.completions, >=, 3);
    harness_close_pair(ends);
}

DRIVER_TEST(nothing_is_told_and_no_call_is_made_before_the_driver_turns)
{
    struct noted_op ops[100];

    driver->stats.enters = 0;
    for (unsigned i = 0; i < ARRAY_LENGTH(ops); i++)
        io_uring_prep_nop(prepare(driver, &ops[i]));
    EXPECT_UINT(driver->stats.enters, ==, 0);
    for (unsigned i = 0; i < ARRAY_LENGTH(ops); i++)
        EXPECT_UINT(ops[i].told, ==, 0);
    turn_until_ended(driver, ops, ARRAY_LENGTH(ops));
    expect_each_told_once(ops, ARRAY_LENGTH(ops), 0);
}

static struct {
    struct torc__driver *driver;
    unsigned told;
    unsigned left;
} chain;

static void prepare_next(struct torc_op *op, int result, uint32_t flags, int more)
{
    EXPECT_INT(result, ==, 0);
    EXPECT_INT(more, ==, 0);
    (void)flags;
    chain.told++;
    if (chain.left > 0) {
        chain.left--;
        io_uring_prep_nop(chain.driver->ops->prepare(chain.driver, op));
    }
}

DRIVER_TEST(a_turn_ends_though_each_completion_begins_another_op)
{
    struct torc_op ops[64] = {0};

    memset(&chain, 0, sizeof(chain));
    chain.driver = driver;
    chain.left = 64 * 500;
    for (unsigned i = 0; i < ARRAY_LENGTH(ops); i++) {
        set_function(&ops[i], prepare_next);
        io_uring_prep_nop(driver->ops->prepare(driver, &ops[i]));
    }
    turn(driver, TORC_FOREVER);
    EXPECT_UINT(chain.told, <, 1000);
    while (chain.told < 64 * 501)
        turn(driver, TORC_FOREVER);
    EXPECT_UINT(chain.told, ==, 64 * 501);
}

DRIVER_TEST(a_turn_leaves_errno_alone)
{
    struct noted_op op;
    char byte;

    io_uring_prep_read(prepare(driver, &op), -1, &byte, 1, 0);
    errno = ECHILD;
    turn_until_ended(driver, &op, 1);
    turn(driver, DRIVER_NO_WAIT);
    EXPECT_INT(errno, ==, ECHILD);
}

/* ---- Cancelling ---- */

DRIVER_TEST(cancel_of_an_op_that_waits_ends_it_in_a_turn_and_no_other)
{
    struct noted_op ops[3];
    int ends[2];
    char bytes[3];

    harness_pipe(ends);
    for (unsigned i = 0; i < 3; i++)
        io_uring_prep_read(prepare(driver, &ops[i]), ends[0], &bytes[i], 1, 0);
    turn(driver, DRIVER_NO_WAIT);
    driver->ops->cancel(driver, &ops[1].op);
    EXPECT_UINT(ops[1].told, ==, 0);
    turn_until_ended(driver, &ops[1], 1);
    expect_each_told_once(&ops[1], 1, -ECANCELED);
    EXPECT_UINT(ops[0].told + ops[2].told, ==, 0);

    harness_put(ends[1], "xy", 2);
    turn_until_ended(driver, ops, 3);
    expect_each_told_once(&ops[0], 1, 1);
    expect_each_told_once(&ops[2], 1, 1);
    harness_close_pair(ends);
}

DRIVER_TEST(cancel_of_a_completed_op_does_nothing)
{
    struct noted_op done;
    struct noted_op untold;

    io_uring_prep_nop(prepare(driver, &done));
    turn_until_ended(driver, &done, 1);
    io_uring_prep_nop(prepare(driver, &untold));
    driver->ops->cancel(driver, &untold.op);
    driver->ops->cancel(driver, &done.op);
    turn_until_ended(driver, &untold, 1);
    turn(driver, torc__clock_now() + TORC_MILLISECOND);
    expect_each_told_once(&done, 1, 0);
    expect_each_told_once(&untold, 1, 0);
    EXPECT_UINT(driver->stats.ops, ==, 2);
}

DRIVER_TEST(an_op_that_races_with_its_cancel_keeps_its_data)
{
    int ends[2];

    harness_unix_pair(ends);
    for (unsigned i = 0; i < 2000; i++) {
        struct noted_op read;
        struct noted_op write;
        char byte = 0;

        io_uring_prep_read(prepare(driver, &read), ends[0], &byte, 1, 0);
        if (i & 1)
            turn(driver, DRIVER_NO_WAIT);
        io_uring_prep_write(prepare(driver, &write), ends[1], "x", 1, 0);
        driver->ops->cancel(driver, &read.op);
        turn_until_ended(driver, &write, 1);
        turn_until_ended(driver, &read, 1);

        expect_each_told_once(&write, 1, 1);
        expect_each_told_once(&read, 1, byte == 'x' ? 1 : -ECANCELED);
        EXPECT_UINT(harness_drain(ends[0]), ==, byte == 'x' ? 0 : 1);
    }
    harness_close_pair(ends);
}

/* ---- Waking ---- */

static void wait_for_wakeups(struct torc__driver *driver, uint64_t count)
{
    const uint64_t limit_ns = torc__clock_now() + SOON_NS;

    while (driver->stats.wakeups_received < count) {
        EXPECT(torc__clock_now() < limit_ns);
        turn(driver, limit_ns);
    }
}

DRIVER_TEST(a_wake_before_the_wait_ends_it_at_once)
{
    driver->ops->wake(driver, NULL);
    wait_for_wakeups(driver, 1);
    driver->ops->wake(driver, NULL);
    wait_for_wakeups(driver, 2);
}

DRIVER_TEST(many_wakes_before_a_wait_are_one)
{
    const uint64_t end_ns = torc__clock_now() + 50 * TORC_MILLISECOND;

    for (unsigned i = 0; i < 10000; i++)
        driver->ops->wake(driver, NULL);
    wait_for_wakeups(driver, 1);
    driver->stats.waits = 0;
    while (torc__clock_now() < end_ns)
        turn(driver, end_ns);
    EXPECT_UINT(driver->stats.waits, <=, 3);
    EXPECT_UINT(driver->stats.wakeups_received, ==, 1);
}

DRIVER_TEST(a_wake_that_nobody_waited_for_does_not_keep_a_driver_from_its_end)
{
    turn(driver, torc__clock_now() + 1);
    driver->ops->wake(driver, NULL);
}

struct waker {
    struct torc__driver *driver;
    atomic_uint asked; /* how many wake-ups the waiting thread has asked for */
    atomic_bool stopped;
};

static void *wake_when_asked(void *arg)
{
    struct waker *waker = arg;
    unsigned given = 0;

    while (!atomic_load(&waker->stopped)) {
        if (atomic_load(&waker->asked) == given) {
            sched_yield();
            continue;
        }
        given++;
        waker->driver->ops->wake(waker->driver, NULL);
    }
    return NULL;
}

static void be_woken_when_it_was_asked_for(struct torc__driver *driver)
{
    struct waker waker = {.driver = driver};
    const pthread_t thread = harness_thread(wake_when_asked, &waker);

    for (unsigned i = 1; i <= 1000; i++) {
        atomic_fetch_add(&waker.asked, 1);
        wait_for_wakeups(driver, i);
    }
    atomic_store(&waker.stopped, true);
    harness_join(thread);
    EXPECT_UINT(driver->stats.wakeups_received, ==, 1000);
}

TEST(a_thread_wakes_a_driver_that_waits)
{
    NEEDS_THREADS();
    for_each_kind(be_woken_when_it_was_asked_for);
}

static void *wake_often(void *arg)
{
    struct waker *waker = arg;

    for (unsigned i = 0; i < 1000; i++)
        waker->driver->ops->wake(waker->driver, NULL);
    atomic_fetch_sub(&waker->asked, 1);
    waker->driver->ops->wake(waker->driver, NULL);
    return NULL;
}

static void be_woken_by_many(struct torc__driver *driver)
{
    struct waker waker = {.driver = driver, .asked = 8};
    const uint64_t limit_ns = torc__clock_now() + SOON_NS;
    pthread_t threads[8];

    for (unsigned i = 0; i < 8; i++)
        threads[i] = harness_thread(wake_often, &waker);
    while (atomic_load(&waker.asked) > 0) {
        EXPECT(torc__clock_now() < limit_ns);
        turn(driver, limit_ns);
    }
    for (unsigned i = 0; i < 8; i++)
        harness_join(threads[i]);
}

TEST(many_threads_wake_a_driver_and_the_last_wake_is_seen)
{
    NEEDS_THREADS();
    for_each_kind(be_woken_by_many);
}

/* ---- The end ---- */

static const struct kind *doomed;

static void finish_with_an_op_in_flight(void)
{
    struct torc__driver *driver = start(doomed);
    struct noted_op op;
    char byte;
    int ends[2];

    harness_pipe(ends);
    io_uring_prep_read(prepare(driver, &op), ends[0], &byte, 1, 0);
    turn(driver, DRIVER_NO_WAIT);
    driver->ops->finish(driver);
}

/* The kernel might still write to memory that is the op's. */
TEST(finishing_with_ops_in_flight_aborts)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(kinds); i++) {
        doomed = &kinds[i];
        harness_expect_death(finish_with_an_op_in_flight, SIGABRT, "assertion failed");
    }
}

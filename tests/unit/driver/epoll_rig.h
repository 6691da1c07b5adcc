/* SPDX-License-Identifier: MIT */
/*
 * epoll_rig.h - an epoll driver without a shard, and a pool for it.
 */
#ifndef UNIT_DRIVER_EPOLL_RIG_H
#define UNIT_DRIVER_EPOLL_RIG_H

#include "base/clock.h"
#include "driver/epoll.h"
#include "harness/net.h"
#include "harness/run.h"
#include "unit/driver/noted.h"
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <torc/time.h>
#include <unistd.h>

/* A wait that takes this long is lost. */
#define SOON_NS (10 * NS_PER_SECOND)

/* ---- Signals that interrupt system calls ---- */

static volatile sig_atomic_t signals; /* that have come */

static inline void count_signal(int number)
{
    (void)number;
    signals = signals + 1;
}

/* From now on one comes every `interval_us`; none any more if that is 0. */
static inline void set_signals(int interval_us)
{
    const struct itimerval timer = {{0, interval_us}, {0, interval_us}};
    const struct sigaction action = {.sa_handler = count_signal};

    EXPECT_INT(sigaction(SIGALRM, &action, NULL), ==, 0);
    EXPECT_INT(setitimer(ITIMER_REAL, &timer, NULL), ==, 0);
}

/* Make a driver whose pool has `threads`, or none if that is 0. */
static inline void start_with(struct torc__epoll *epoll, unsigned forbid, unsigned threads)
{
    const struct torc__driver_options options = {.forbid = forbid};
    const struct torc_options pool = {.blocking_threads_max = threads};

    memset(epoll, 0, sizeof(*epoll));
    epoll->base.ops = &torc__epoll_ops;
    epoll->base.forbid = forbid;
    epoll->base.pool = threads > 0 ? torc__pool_create(&pool) : NULL;
    EXPECT_INT(torc__epoll_ops.init(&epoll->base, &options), ==, 0);
}

static inline void start(struct torc__epoll *epoll)
{
    start_with(epoll, 0, 0);
}

static inline void stop(struct torc__epoll *epoll)
{
    EXPECT_UINT(torc__driver_in_flight(&epoll->base), ==, 0);
    EXPECT_UINT(epoll->watching, ==, 0);
    EXPECT_UINT(epoll->queued, ==, 0);
    torc__epoll_ops.finish(&epoll->base);
    torc__pool_destroy(epoll->base.pool);
}

static inline struct io_uring_sqe *prepare(struct torc__epoll *epoll, struct noted_op *noted)
{
    memset(noted, 0, sizeof(*noted));
    set_function(&noted->op, note);
    return torc__epoll_ops.prepare(&epoll->base, &noted->op);
}

static inline void cancel(struct torc__epoll *epoll, struct noted_op *noted)
{
    torc__epoll_ops.cancel(&epoll->base, &noted->op);
}

static inline int turn(struct torc__epoll *epoll, uint64_t until_ns)
{
    return torc__epoll_ops.turn(&epoll->base, until_ns);
}

/* Turn until nothing has been told for a few turns, without waiting. */
static inline void settle(struct torc__epoll *epoll)
{
    for (int i = 0; i < 4; i++) {
        while (turn(epoll, DRIVER_NO_WAIT) > 0)
            i = 0;
    }
}

/* Turn, and sleep, until all ops have ended; fails if that takes longer than it ever may. */
static inline void turn_until_ended(struct torc__epoll *epoll, const struct noted_op *ops,
                                    unsigned count)
{
    const uint64_t limit_ns = torc__clock_now() + SOON_NS;

    for (unsigned i = 0; i < count; i++) {
        while (ops[i].ended == 0) {
            EXPECT(torc__clock_now() < limit_ns);
            turn(epoll, limit_ns);
        }
    }
}

/* Turn, and sleep, until an op has been told `count` times. */
static inline void turn_until_told(struct torc__epoll *epoll, const struct noted_op *op,
                                   unsigned count)
{
    const uint64_t limit_ns = torc__clock_now() + SOON_NS;

    while (op->told < count) {
        EXPECT(torc__clock_now() < limit_ns);
        turn(epoll, limit_ns);
    }
}

/* Turn until an op has ended, and give its result. */
static inline int result_of(struct torc__epoll *epoll, const struct noted_op *op)
{
    turn_until_ended(epoll, op, 1);
    EXPECT_UINT(op->ended, ==, 1);
    return op->result;
}

/* Cancel an op that waits, and see it end so. */
static inline void cancel_and_end(struct torc__epoll *epoll, struct noted_op *op)
{
    cancel(epoll, op);
    EXPECT_INT(result_of(epoll, op), ==, -ECANCELED);
}

/* How long the driver sleeps, and how often it goes back to sleep, until `for_ns` have passed. */
static inline uint64_t waits_during(struct torc__epoll *epoll, uint64_t for_ns)
{
    const uint64_t end_ns = torc__clock_now() + for_ns;
    const uint64_t before = epoll->base.stats.waits;

    while (torc__clock_now() < end_ns)
        turn(epoll, end_ns);
    return epoll->base.stats.waits - before;
}

#endif

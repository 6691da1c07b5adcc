/* SPDX-License-Identifier: MIT */
/*
 * rig.h - an io_uring driver without a shard, for tests that look at it or make it fail.
 */
#ifndef UNIT_DRIVER_RIG_H
#define UNIT_DRIVER_RIG_H

#include "base/clock.h"
#include "driver/uring.h"
#include "harness/net.h"
#include "unit/driver/log_capture.h"
#include "unit/driver/noted.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <torc/time.h>
#include <unistd.h>

#define AFTER_60                                                                      \
    (TORC_FEATURE_DEFER_TASKRUN | TORC_FEATURE_NO_SQARRAY | TORC_FEATURE_BUFFER_INC | \
     TORC_FEATURE_GUARD_REGIONS)
#define AFTER_511                                                                        \
    (AFTER_60 | TORC_FEATURE_CQE_SKIP | TORC_FEATURE_SUBMIT_ALL | TORC_FEATURE_RING_FD | \
     TORC_FEATURE_MSG_RING | TORC_FEATURE_COOP_TASKRUN | TORC_FEATURE_BUFFER_RING |      \
     TORC_FEATURE_SINGLE_ISSUER | TORC_FEATURE_MULTISHOT | TORC_FEATURE_SEND_ZC)

/* What to forbid to be on each rung of the ladder on which all is tested. */
static const unsigned rungs[] = {0, AFTER_60, AFTER_511, TORC_FEATURE_ALL};

static inline struct io_uring_sqe *prepare(struct torc__uring *uring, struct noted_op *noted)
{
    memset(noted, 0, sizeof(*noted));
    set_function(&noted->op, note);
    return torc__uring_ops.prepare(&uring->base, &noted->op);
}

static inline void prepare_nops(struct torc__uring *uring, struct noted_op *ops, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        io_uring_prep_nop(prepare(uring, &ops[i]));
}

static inline void cancel(struct torc__uring *uring, struct noted_op *noted)
{
    torc__uring_ops.cancel(&uring->base, &noted->op);
}

static inline int turn(struct torc__uring *uring, uint64_t until_ns)
{
    return torc__uring_ops.turn(&uring->base, until_ns);
}

static inline void start_sized(struct torc__uring *uring, unsigned forbid, uint32_t entries,
                               uint32_t completion_entries)
{
    const struct torc__driver_options options = {
        .entries = entries, .completion_entries = completion_entries, .forbid = forbid};

    memset(uring, 0, sizeof(*uring));
    uring->base.ops = &torc__uring_ops;
    uring->base.forbid = forbid;
    EXPECT_INT(torc__uring_ops.init(&uring->base, &options), ==, 0);
}

static inline void start(struct torc__uring *uring, unsigned forbid)
{
    start_sized(uring, forbid, 256, 8192);
}

static inline void stop(struct torc__uring *uring)
{
    torc__uring_ops.finish(&uring->base);
}

/* Turn until all ops have ended; fails if that takes longer than it ever may. */
static inline void turn_until_ended(struct torc__uring *uring, const struct noted_op *ops,
                                    unsigned count)
{
    const uint64_t limit_ns = torc__clock_now() + 10 * NS_PER_SECOND;

    for (unsigned i = 0; i < count; i++) {
        while (ops[i].ended == 0) {
            EXPECT(torc__clock_now() < limit_ns);
            turn(uring, limit_ns);
        }
    }
}

#endif

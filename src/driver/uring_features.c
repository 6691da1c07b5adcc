/* SPDX-License-Identifier: MIT */
/*
 * uring_features.c - the ladder: from all that the newest kernel has, down to a ring of Linux 5.6.
 *
 * The set-up flags are tried together; while the kernel refuses them (EINVAL), the newest goes.
 * What needs no flag is asked for afterwards, by behaviour: a feature bit, a probe, a registration.
 */
#include "base/compiler.h"
#include "base/log.h"
#include "driver/uring.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Those that are the ring's; the others are the stacks'. */
#define RING_FEATURES (TORC_FEATURE_ALL & ~(unsigned)TORC_FEATURE_GUARD_REGIONS)

#define LAST_OPCODE_OF_56 IORING_OP_EPOLL_CTL

static const struct {
    unsigned feature;
    unsigned flags;
} rungs[] = {
    /* Newest first: this is the order in which they are given up. */
    {TORC_FEATURE_NO_SQARRAY, IORING_SETUP_NO_SQARRAY},
    /* Completions appear when we ask; TASKRUN_FLAG tells, without a call, that we should. */
    {TORC_FEATURE_DEFER_TASKRUN, IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG},
    {TORC_FEATURE_SINGLE_ISSUER, IORING_SETUP_SINGLE_ISSUER},
    {TORC_FEATURE_COOP_TASKRUN, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG},
    {TORC_FEATURE_SUBMIT_ALL, IORING_SETUP_SUBMIT_ALL},
};

unsigned torc__uring_setup_flags(unsigned features)
{
    unsigned flags = 0;

    for (unsigned i = 0; i < ARRAY_LENGTH(rungs); i++) {
        if (features & rungs[i].feature)
            flags |= rungs[i].flags;
    }
    if (flags & IORING_SETUP_DEFER_TASKRUN)
        flags &= ~IORING_SETUP_COOP_TASKRUN; /* Deferring says it all. */
    return flags;
}

/* What a feature cannot be without. */
static unsigned without_orphans(unsigned features)
{
    if (!(features & TORC_FEATURE_SINGLE_ISSUER))
        features &= ~(unsigned)TORC_FEATURE_DEFER_TASKRUN;
    if (!(features & TORC_FEATURE_BUFFER_RING))
        features &= ~(unsigned)TORC_FEATURE_BUFFER_INC;
    return features;
}

/* The log tells it of one of the shards. */
static void tell_smaller(const struct torc__ring_shape *shape, uint32_t wanted)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;

    if (!atomic_flag_test_and_set(&told))
        torc__log("no memory for a ring of %u completions, it has %u: see ulimit -l", wanted,
                  shape->completion_entries);
}

/* Queues may be too large for RLIMIT_MEMLOCK (before 5.12, from 6.14 on): then smaller ones do. */
static int init_ring(struct torc__uring *uring, const struct torc__driver_options *options,
                     unsigned features)
{
    struct torc__ring_shape shape = {
        .entries = options->entries,
        .completion_entries = options->completion_entries,
        .setup_flags = torc__uring_setup_flags(features),
        .sqpoll_idle_ms = options->sqpoll_idle_ms,
    };
    int result;

    if (options->sqpoll_idle_ms > 0)
        shape.setup_flags |= IORING_SETUP_SQPOLL;
    result = torc__ring_init_patiently(&uring->ring, &shape);
    while (result == -ENOMEM && shape.completion_entries > 512) {
        shape.completion_entries /= 2;
        shape.entries = shape.entries > 256 ? shape.entries / 2 : shape.entries;
        result = torc__ring_init(&uring->ring, &shape);
    }
    if (result == 0 && shape.completion_entries < options->completion_entries)
        tell_smaller(&shape, options->completion_entries);
    return result;
}

/* What a ring of buffers can do, found out by registering one. */
static unsigned probe_buffers(struct torc__uring *uring, unsigned features)
{
    const unsigned both = TORC_FEATURE_BUFFER_RING | TORC_FEATURE_BUFFER_INC;
    int result = -EINVAL;

    if (features & TORC_FEATURE_BUFFER_INC)
        result = torc__ring_try_buffers(&uring->ring, true);
    if (result == 0)
        return features;
    if (features & TORC_FEATURE_BUFFER_RING)
        result = torc__ring_try_buffers(&uring->ring, false);
    if (result == 0)
        return features & ~(unsigned)TORC_FEATURE_BUFFER_INC;
    if (result == -ENOMEM)
        uring->unknown |= features & both;
    return features & ~both;
}

/* Operations that came after Linux 5.6 are done without where all that came later is forbidden. */
static void probe_opcodes(struct torc__uring *uring, unsigned forbid)
{
    torc__ring_probe(&uring->ring, uring->base.opcodes, ARRAY_LENGTH(uring->base.opcodes));
    if ((forbid & TORC_FEATURE_ALL) == TORC_FEATURE_ALL) {
        uring->base.opcodes[0] &= (UINT64_C(2) << LAST_OPCODE_OF_56) - 1;
        uring->base.opcodes[1] = 0;
    }
}

static unsigned probe_rest(struct torc__uring *uring, unsigned features)
{
    struct torc__ring *ring = &uring->ring;

    if (!(ring->features & IORING_FEAT_EXT_ARG))
        features &= ~(unsigned)TORC_FEATURE_EXT_ARG;
    if (!(ring->features & IORING_FEAT_CQE_SKIP))
        features &= ~(unsigned)TORC_FEATURE_CQE_SKIP;
    if (!torc__driver_has(&uring->base, IORING_OP_MSG_RING))
        features &= ~(unsigned)TORC_FEATURE_MSG_RING;
    /* Multishot receive has no mark of its own; SEND_ZC came in the same release. */
    if (!torc__ring_has_opcode(ring, IORING_OP_SEND_ZC))
        features &= ~(unsigned)(TORC_FEATURE_SEND_ZC | TORC_FEATURE_MULTISHOT);
    features = probe_buffers(uring, features);
    if ((features & TORC_FEATURE_RING_FD) && torc__ring_register_fd(ring) < 0)
        features &= ~(unsigned)TORC_FEATURE_RING_FD;
    return features;
}

/* Give up rung by rung what the kernel refuses. The features that are left, or a negative errno. */
static int climb(struct torc__uring *uring, const struct torc__driver_options *options,
                 unsigned features)
{
    int result = init_ring(uring, options, features);

    for (unsigned i = 0; i < ARRAY_LENGTH(rungs) && result == -EINVAL; i++) {
        if (!(features & rungs[i].feature))
            continue;
        features = without_orphans(features & ~rungs[i].feature);
        result = init_ring(uring, options, features);
    }
    return result < 0 ? result : (int)features;
}

/* Ask the self-test. Without cancelling no ring is of use. */
static int drop_broken(struct torc__uring *uring)
{
    const unsigned not_tested = IORING_SETUP_SQPOLL; /* It would be a thread for each check. */
    const unsigned flags = uring->ring.setup_flags & ~not_tested;
    const unsigned wanted = torc__selftest_wanted(uring->base.features);

    uring->offered = uring->base.features;
    uring->broken = torc__selftest_get(wanted, flags).broken & wanted;
    uring->base.features =
        without_orphans(uring->base.features & ~torc__selftest_lost(uring->broken));
    return uring->broken & (1U << CHECK_CANCEL) ? -EOPNOTSUPP : 0;
}

/* ---- What is asked for by options ---- */

/*
 * What a ring with a polling thread does without: completions are worked off by that thread, so
 * there is nothing to defer; and a MSG_RING would leave when the thread looks, perhaps after the
 * other ring has been closed.
 */
#define NOT_WITH_SQPOLL \
    (TORC_FEATURE_DEFER_TASKRUN | TORC_FEATURE_COOP_TASKRUN | TORC_FEATURE_MSG_RING)

static int climb_with_sqpoll(struct torc__uring *uring, const struct torc__driver_options *options,
                             unsigned features)
{
    int result = climb(uring, options, features & ~(unsigned)NOT_WITH_SQPOLL);

    /* Before 5.11 such a ring takes registered files only. */
    if (result >= 0 && !(uring->ring.features & IORING_FEAT_SQPOLL_NONFIXED)) {
        torc__ring_finish(&uring->ring);
        result = -EOPNOTSUPP;
    }
    uring->sqpoll = result >= 0;
    uring->sqpoll_idle_ms = result >= 0 ? options->sqpoll_idle_ms : 0;
    if (result < 0)
        torc__log("no thread that polls the submission queue: %s", strerror(-result));
    return result;
}

static void apply_options(struct torc__uring *uring, const struct torc__driver_options *options)
{
    const bool has_min_wait = (uring->ring.features & IORING_FEAT_MIN_TIMEOUT) &&
                              (uring->base.features & TORC_FEATURE_EXT_ARG);
    int result = 0;

    uring->wait_count = 1;
    if (options->min_wait_us > 0 && has_min_wait) {
        uring->ring.min_wait_us = options->min_wait_us;
        uring->wait_count = MIN_WAIT_COUNT;
    } else if (options->min_wait_us > 0) {
        torc__log("waits do not collect completions: this kernel cannot (before 6.12)");
    }
    if (options->napi_poll_us > 0)
        result = torc__ring_register_napi(&uring->ring, options->napi_poll_us);
    if (result < 0)
        torc__log("network devices are not polled: %s", strerror(-result));
    else
        uring->napi_poll_us = options->napi_poll_us;
}

void torc__uring_report_options(const struct torc__uring *uring, struct torc_driver_report *report)
{
    report->sqpoll_idle_ms = uring->sqpoll_idle_ms;
    report->napi_poll_us = uring->napi_poll_us;
    report->min_wait_us = uring->ring.min_wait_us;
}

const char *torc__uring_why_unused(const struct torc__uring *uring, unsigned feature)
{
    if (uring->sqpoll && (feature & NOT_WITH_SQPOLL))
        return "not together with a thread that polls the submission queue";
    if (feature == TORC_FEATURE_BUFFER_INC &&
        (torc__selftest_lost(uring->broken) & TORC_FEATURE_BUFFER_RING))
        return "needs buffer_ring, which has a bug here";
    if (uring->unknown & feature)
        return "no memory to find out whether this kernel has it (ulimit -l)";
    return torc__selftest_reason(uring->broken, feature);
}

int torc__uring_climb(struct torc__uring *uring, const struct torc__driver_options *options)
{
    struct torc__driver_options without = *options;
    const unsigned features = without_orphans(RING_FEATURES & ~options->forbid);
    int result = -EINVAL;

    without.sqpoll_idle_ms = 0;
    if (options->sqpoll_idle_ms > 0)
        result = climb_with_sqpoll(uring, options, features);
    if (result < 0)
        result = climb(uring, &without, features);
    if (result < 0)
        return result;
    probe_opcodes(uring, options->forbid);
    uring->base.features = probe_rest(uring, (unsigned)result);
    result = torc__ring_try(&uring->ring);
    if (result >= 0)
        result = drop_broken(uring);
    if (result < 0) {
        torc__ring_finish(&uring->ring);
        return result;
    }
    apply_options(uring, options);
    return 0;
}

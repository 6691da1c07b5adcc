/* SPDX-License-Identifier: MIT */
/*
 * uring_features.c - the ladder: from all that the newest kernel has, down to a ring of Linux 5.6.
 *
 * The set-up flags are tried together; while the kernel refuses them (EINVAL), the newest goes.
 * What needs no flag is asked for afterwards, by behaviour: a feature bit, a probe, a registration.
 */
#include "base/compiler.h"
#include "driver/uring.h"
#include <errno.h>

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

/* The queues may be too large for RLIMIT_MEMLOCK on kernels before 5.12: then smaller ones do. */
static int init_ring(struct torc__uring *uring, const struct torc__driver_options *options,
                     unsigned flags)
{
    uint32_t entries = options->entries;
    uint32_t completion_entries = options->completion_entries;
    int result = torc__ring_init(&uring->ring, entries, completion_entries, flags);

    while (result == -ENOMEM && completion_entries > 512) {
        completion_entries /= 2;
        entries = entries > 256 ? entries / 2 : entries;
        result = torc__ring_init(&uring->ring, entries, completion_entries, flags);
    }
    return result;
}

/* What a ring of buffers can do, found out by registering one. */
static unsigned probe_buffers(struct torc__ring *ring, unsigned features)
{
    const unsigned both = TORC_FEATURE_BUFFER_RING | TORC_FEATURE_BUFFER_INC;

    if ((features & TORC_FEATURE_BUFFER_INC) && torc__ring_takes_buffers(ring, true))
        return features;
    if ((features & TORC_FEATURE_BUFFER_RING) && torc__ring_takes_buffers(ring, false))
        return features & ~(unsigned)TORC_FEATURE_BUFFER_INC;
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
    features = probe_buffers(ring, features);
    if ((features & TORC_FEATURE_RING_FD) && torc__ring_register_fd(ring) < 0)
        features &= ~(unsigned)TORC_FEATURE_RING_FD;
    return features;
}

int torc__uring_climb(struct torc__uring *uring, const struct torc__driver_options *options)
{
    unsigned features = without_orphans(RING_FEATURES & ~options->forbid);
    int result = init_ring(uring, options, torc__uring_setup_flags(features));

    for (unsigned i = 0; i < ARRAY_LENGTH(rungs) && result == -EINVAL; i++) {
        if (!(features & rungs[i].feature))
            continue;
        features = without_orphans(features & ~rungs[i].feature);
        result = init_ring(uring, options, torc__uring_setup_flags(features));
    }
    if (result < 0)
        return result;
    probe_opcodes(uring, options->forbid);
    uring->base.features = probe_rest(uring, features);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * buffer_ring.h - memory lent to the driver in advance, of which receives choose when data comes.
 *
 * A driver that has such rings opens one by its open_buffers(); then buffers are put in by
 * torc__buffer_ring_add(), and come back with the completions of ops that have
 * IOSQE_BUFFER_SELECT and the ring's group. Linux 5.19; incremental rings, whose buffers are used
 * up bit by bit, 6.12; on epoll at any time.
 */
#ifndef DRIVER_BUFFER_RING_H
#define DRIVER_BUFFER_RING_H

#include "base/kernel_abi.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/runtime.h>

struct torc__buffer_ring {
    struct io_uring_buf_ring *ring; /* shared with the kernel where that is who fills them */
    unsigned mask;
    uint16_t tail;
    uint16_t group;
    bool incremental;
};

/* Whether such rings are of use with these features: only multishot receives choose from them. */
static inline bool torc__buffer_ring_is_had(unsigned features, bool incremental)
{
    const unsigned needed = TORC_FEATURE_BUFFER_RING | TORC_FEATURE_MULTISHOT |
                            (incremental ? TORC_FEATURE_BUFFER_INC : 0u);

    return (features & needed) == needed;
}

/* The place of a buffer, counted from the first that was put in. */
static inline struct io_uring_buf *torc__buffer_ring_slot(const struct torc__buffer_ring *buffers,
                                                          unsigned position)
{
    /* As bufs[], which is declared with no elements. */
    struct io_uring_buf *slots = (struct io_uring_buf *)(void *)buffers->ring;

    return &slots[position & buffers->mask];
}

/* Lend a buffer. `id` comes back in the upper 16 bits of the completion's flags. */
static inline void torc__buffer_ring_add(struct torc__buffer_ring *buffers, void *memory,
                                         unsigned size, unsigned id)
{
    struct io_uring_buf *slot = torc__buffer_ring_slot(buffers, buffers->tail++);

    slot->addr = (uint64_t)(uintptr_t)memory;
    slot->len = size;
    slot->bid = (uint16_t)id;
    __atomic_store_n(&buffers->ring->tail, buffers->tail, __ATOMIC_RELEASE);
}

/* What a completion has among its flags that speaks of the buffer in a slot. */
static inline uint32_t torc__buffer_flags(const struct io_uring_buf *slot)
{
    return IORING_CQE_F_BUFFER | (uint32_t)slot->bid << IORING_CQE_BUFFER_SHIFT;
}

/* The id of the buffer that a completion with IORING_CQE_F_BUFFER speaks of. */
static inline unsigned torc__buffer_id(uint32_t flags)
{
    return flags >> IORING_CQE_BUFFER_SHIFT;
}

#endif

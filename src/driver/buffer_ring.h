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

struct torc__buffer_ring {
    struct io_uring_buf_ring *ring; /* shared with the kernel where that is who fills them */
    unsigned mask;
    uint16_t tail;
    uint16_t group;
    bool incremental;
};

/* Lend a buffer. `id` comes back in the upper 16 bits of the completion's flags. */
static inline void torc__buffer_ring_add(struct torc__buffer_ring *buffers, void *memory,
                                         unsigned size, unsigned id)
{
    /* As bufs[], which is declared with no elements. */
    struct io_uring_buf *slots = (struct io_uring_buf *)(void *)buffers->ring;
    struct io_uring_buf *slot = &slots[buffers->tail++ & buffers->mask];

    slot->addr = (uint64_t)(uintptr_t)memory;
    slot->len = size;
    slot->bid = (uint16_t)id;
    __atomic_store_n(&buffers->ring->tail, buffers->tail, __ATOMIC_RELEASE);
}

/* The id of the buffer that a completion with IORING_CQE_F_BUFFER speaks of. */
static inline unsigned torc__buffer_id(uint32_t flags)
{
    return flags >> IORING_CQE_BUFFER_SHIFT;
}

#endif

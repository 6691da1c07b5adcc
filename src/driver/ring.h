/* SPDX-License-Identifier: MIT */
/*
 * ring.h - a bare io_uring: set-up, queues, the one system call.
 *
 * Made without liburing's library, whose version 2.3 writes over the ring where the kernel has left
 * out the SQ's index array (NO_SQARRAY), and hides the call that tests have to force errors in.
 */
#ifndef DRIVER_RING_H
#define DRIVER_RING_H

#include "base/kernel_abi.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct torc__ring {
    /* Submission: slots [*sq_head, sq_tail) are filled, and the kernel's from sq_head on. */
    struct io_uring_sqe *sqes;
    unsigned *sq_head;
    unsigned *sq_tail_shared;
    unsigned *sq_flags;
    unsigned sq_tail;
    unsigned sq_mask;
    unsigned sq_entries;
    /* Completion. */
    unsigned *cq_head;
    unsigned *cq_tail;
    unsigned *cq_overflow;
    struct io_uring_cqe *cqes;
    unsigned cq_mask;
    unsigned cq_entries;

    int fd;       /* the ring's descriptor */
    int enter_fd; /* what io_uring_enter() is called with: fd, or its registered index */
    unsigned enter_flags;
    unsigned features; /* IORING_FEAT_ */
    unsigned setup_flags;
    unsigned min_wait_us; /* Waits for several completions collect them for so long; 0: do not. */

    /* io_uring_enter() itself; tests put failures in its place. Count or negative errno. */
    int (*enter)(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                 const struct __kernel_timespec *timeout);

    void *rings;
    size_t rings_size;
    size_t sqes_size;
};

/* What a ring is made of. */
struct torc__ring_shape {
    unsigned entries;
    unsigned completion_entries;
    unsigned setup_flags;
    unsigned sqpoll_idle_ms; /* With IORING_SETUP_SQPOLL: when the kernel's thread goes to sleep. */
};

/* Make a ring with exactly these set-up flags. 0, or the error of io_uring_setup() or mmap(). */
int torc__ring_init(struct torc__ring *ring, const struct torc__ring_shape *shape);

/*
 * How much locked memory a ring counts as, at most: from Linux 6.14 on it is whole pages, before
 * 5.12 powers of two of these, in between nothing.
 */
size_t torc__ring_locked_size(const struct torc__ring_shape *shape);

/*
 * torc__ring_init(); but where the memory that the user may lock is taken (RLIMIT_MEMLOCK), and it
 * would suffice for this ring, wait for up to a second for what others give back: the kernel takes
 * a ring apart some time after it was closed.
 */
int torc__ring_init_patiently(struct torc__ring *ring, const struct torc__ring_shape *shape);

/*
 * Carry an operation through a ring that has no other. 0, and its own result in `*ret_result`; or
 * the error of io_uring_enter().
 */
int torc__ring_carry(struct torc__ring *ring, const struct io_uring_sqe *sqe, int32_t *ret_result);

/*
 * Carry a NOP through a new ring, since a filter may allow rings to be made but not to be used. 0,
 * or the error of io_uring_enter().
 */
int torc__ring_try(struct torc__ring *ring);

/* Unmap and close. The kernel ends what is in flight later: wait for it before. */
void torc__ring_finish(struct torc__ring *ring);

/* Register the ring's own descriptor, which saves a lookup per call. 0, or why not. */
int torc__ring_register_fd(struct torc__ring *ring);

/* Poll the network devices of the ring's sockets for so long in each wait (6.9). 0, or why not. */
int torc__ring_register_napi(struct torc__ring *ring, unsigned poll_us);

/* Set the bit of each operation code below 64 * words that the kernel knows, clear the others
 * (IORING_REGISTER_PROBE, 5.6). */
void torc__ring_probe(struct torc__ring *ring, uint64_t *opcodes, unsigned words);

/* Whether the kernel knows an operation code below 256. */
bool torc__ring_has_opcode(struct torc__ring *ring, unsigned opcode);

/*
 * Register `entries` (a power of two, at most 32,768) of page-aligned memory as the ring of buffers
 * of a group, and take it back. 0 or a negative errno.
 */
int torc__ring_register_buffers(struct torc__ring *ring, struct io_uring_buf_ring *buffers,
                                unsigned entries, unsigned group, bool incremental);
int torc__ring_unregister_buffers(struct torc__ring *ring, unsigned group);

/* Try a ring of buffers; used up incrementally or not. 0, or why the kernel does not take it. */
int torc__ring_try_buffers(struct torc__ring *ring, bool incremental);

/* How many filled slots the kernel has not taken yet. */
static inline unsigned torc__ring_queued(const struct torc__ring *ring)
{
    return ring->sq_tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
}

/* Whether a completion waits to be taken. */
static inline bool torc__ring_has_completion(const struct torc__ring *ring)
{
    return *ring->cq_head != __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * sqe.h - what an SQE says, for drivers that carry it out themselves.
 */
#ifndef DRIVER_SQE_H
#define DRIVER_SQE_H

#include "base/clock.h"
#include "base/kernel_abi.h"
#include <errno.h>
#include <stdbool.h>

static inline bool torc__timespec_is_valid(const struct __kernel_timespec *time)
{
    return time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < (long long)NS_PER_SECOND;
}

static inline uint64_t torc__timespec_ns(const struct __kernel_timespec *time)
{
    if ((uint64_t)time->tv_sec > UINT64_MAX / NS_PER_SECOND - 1)
        return UINT64_MAX - 1;
    return (uint64_t)time->tv_sec * NS_PER_SECOND + (uint64_t)time->tv_nsec;
}

/* Whether the kernel would take an IORING_OP_TIMEOUT: 0, or -EINVAL. */
static inline int torc__timeout_check(const struct io_uring_sqe *sqe)
{
    const uint32_t known = IORING_TIMEOUT_ABS | IORING_TIMEOUT_CLOCK_MASK |
                           IORING_TIMEOUT_ETIME_SUCCESS | KERNEL_TIMEOUT_MULTISHOT;

    if ((sqe->timeout_flags & ~known) || sqe->len != 1 ||
        (sqe->timeout_flags & IORING_TIMEOUT_CLOCK_MASK) == IORING_TIMEOUT_CLOCK_MASK)
        return -EINVAL;
    if ((sqe->timeout_flags & KERNEL_TIMEOUT_MULTISHOT) &&
        (sqe->timeout_flags & IORING_TIMEOUT_ABS))
        return -EINVAL;
    return torc__timespec_is_valid((const void *)(uintptr_t)sqe->addr) ? 0 : -EINVAL;
}

/* What a poll asks for: the events of poll(2), without what only epoll knows. */
static inline uint32_t torc__poll_events(const struct io_uring_sqe *sqe)
{
    uint32_t events = sqe->poll32_events;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    events = events << 16 | events >> 16; /* As io_uring_prep_poll_add() has it. */
#endif
    return events & 0xffffu;
}

#endif

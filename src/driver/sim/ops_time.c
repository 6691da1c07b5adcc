/* SPDX-License-Identifier: MIT */
/*
 * ops_time.c - timeouts in the simulated driver.
 */
#include "base/clock.h"
#include "driver/sim/driver.h"
#include "driver/sqe.h"
#include <errno.h>

/* When `time` will be, on the world's clock. That a host's clock is set later is not noticed. */
static uint64_t due_time(const struct sim_host *host, const struct __kernel_timespec *time,
                         uint32_t flags)
{
    const uint64_t now_ns = host->world->now_ns;
    const uint64_t time_ns = torc__timespec_ns(time);
    uint64_t other_ns;

    if (!(flags & IORING_TIMEOUT_ABS))
        return torc__time_add(now_ns, time_ns);
    if (!(flags & IORING_TIMEOUT_REALTIME))
        return time_ns; /* CLOCK_BOOTTIME is CLOCK_MONOTONIC of what never sleeps. */
    other_ns = torc__sim_host_realtime(host);
    return time_ns > other_ns ? torc__time_add(now_ns, time_ns - other_ns) : now_ns;
}

/* A timeout that also ends after so many completions keeps in sqe->off when that will be. */
static bool counts(const struct io_uring_sqe *sqe)
{
    return sqe->off != 0 && !(sqe->timeout_flags & KERNEL_TIMEOUT_MULTISHOT);
}

static int begin(struct sim_op *op, struct io_uring_sqe *sqe)
{
    const struct __kernel_timespec *time = (const void *)(uintptr_t)sqe->addr;
    const int result = torc__timeout_check(sqe);

    if (result < 0)
        return result;
    op->due_ns = due_time(op->sim->host, time, sqe->timeout_flags);
    if (counts(sqe)) {
        sqe->off += op->sim->base.stats.completions;
        op->sim->counting++;
        op->is_counting = true;
    }
    return SIM_LATER;
}

/* The time of a multishot timeout has come; off is how often it is to be told, 0 for ever. */
static int repeat(struct sim_op *op, const struct io_uring_sqe *sqe)
{
    const uint64_t due_ns = op->due_ns;

    op->done++;
    if (sqe->off != 0 && op->done == sqe->off)
        return -ETIME;
    torc__sim_op_tell(op, -ETIME, 0);
    op->due_ns = torc__time_add(due_ns, torc__timespec_ns((const void *)(uintptr_t)sqe->addr));
    return SIM_LATER;
}

int torc__sim_try_timeout(struct sim_op *op, struct io_uring_sqe *sqe)
{
    if (!op->is_retried)
        return begin(op, sqe);
    return sqe->timeout_flags & KERNEL_TIMEOUT_MULTISHOT ? repeat(op, sqe) : -ETIME;
}

/* A timeout that has not ended, by its user_data. */
static struct sim_op *find_timeout(struct torc__sim *sim, uint64_t user_data)
{
    struct sim_op *op = sim->in_flight;

    while (op != NULL && ((uint64_t)(uintptr_t)op->op != user_data || op->state != SIM_OP_TIMED ||
                          torc__sim_sqe(op)->opcode != IORING_OP_TIMEOUT))
        op = op->next;
    return op;
}

int torc__sim_try_timeout_remove(struct sim_op *op, struct io_uring_sqe *sqe)
{
    const uint32_t updates = IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE;
    struct sim_op *target = find_timeout(op->sim, sqe->addr);
    const struct __kernel_timespec *time = (const void *)(uintptr_t)sqe->addr2;

    if (!(sqe->timeout_flags & updates))
        return target == NULL ? -ENOENT : torc__sim_op_cancel(target);
    if (!torc__timespec_is_valid(time))
        return -EINVAL;
    if (target == NULL || (sqe->timeout_flags & IORING_LINK_TIMEOUT_UPDATE))
        return -ENOENT; /* Nothing is linked here. */
    torc__sim_op_delay(target, due_time(op->sim->host, time, sqe->timeout_flags));
    return 0;
}

/* End the timeouts that as many other completions have been told before as they count. */
void torc__sim_count_timeouts(struct torc__sim *sim)
{
    struct sim_op *op = sim->in_flight;

    while (op != NULL) {
        struct sim_op *next = op->next;

        if (op->is_counting && op->state == SIM_OP_TIMED &&
            torc__sim_sqe(op)->off <= sim->base.stats.completions)
            torc__sim_op_end(op, 0, 0);
        op = next;
    }
}

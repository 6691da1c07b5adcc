/* SPDX-License-Identifier: MIT */
/*
 * ops_cancel.c - polls in the simulated driver, and ops that end other ops, which they name by
 * user_data, descriptor or opcode.
 */
#include "driver/sim/driver.h"
#include "driver/sqe.h"
#include <errno.h>

/* ---- Polls ---- */

/* A multishot one tells of changes; of a level, while it lasts, with IORING_POLL_ADD_LEVEL. */
int torc__sim_try_poll(struct sim_op *op, struct io_uring_sqe *sqe)
{
    const uint32_t events = torc__poll_events(sqe) | POLLERR | POLLHUP;
    const bool is_multi = sqe->len & IORING_POLL_ADD_MULTI;
    const bool by_level = sqe->len & IORING_POLL_ADD_LEVEL;
    uint32_t ready;

    if (sqe->len & ~(uint32_t)(IORING_POLL_ADD_MULTI | IORING_POLL_ADD_LEVEL))
        return -EINVAL;
    ready = torc__sim_file_poll(op->file) & events;
    if (is_multi && !by_level && op->is_retried && !(op->seen & events))
        ready = 0; /* Nothing is new: it was woken for nothing. */
    if (ready != 0 && !is_multi)
        return (int)ready;
    if (ready != 0)
        torc__sim_op_tell(op, (int)ready, 0);
    if (ready == 0 || !by_level)
        return torc__sim_op_wait(op, events);
    op->due_ns = op->sim->world->now_ns +
                 torc__sim_duration(op->sim->world, &op->sim->world->chaos.op_latency);
    return SIM_LATER;
}

/* A poll that still waits, by its user_data. */
static struct sim_op *find_poll(struct torc__sim *sim, uint64_t user_data)
{
    struct sim_op *op = sim->in_flight;

    while (op != NULL && ((uint64_t)(uintptr_t)op->op != user_data || op->state == SIM_OP_TELLING ||
                          torc__sim_sqe(op)->opcode != IORING_OP_POLL_ADD))
        op = op->next;
    return op;
}

/* Ends a poll, or gives it other events, by having it begin again. */
int torc__sim_try_poll_remove(struct sim_op *op, struct io_uring_sqe *sqe)
{
    const uint32_t known = IORING_POLL_UPDATE_EVENTS | IORING_POLL_ADD_MULTI;
    struct sim_op *target = find_poll(op->sim, sqe->addr);
    struct io_uring_sqe *poll;

    if (sqe->len & ~known)
        return -EINVAL; /* user_data is not to be changed: it is the op. */
    if (target == NULL)
        return -ENOENT;
    if (!(sqe->len & IORING_POLL_UPDATE_EVENTS)) {
        torc__sim_op_end(target, -ECANCELED, 0);
        return 0;
    }
    poll = torc__sim_sqe(target);
    poll->poll32_events = sqe->poll32_events;
    poll->len = (poll->len & ~(uint32_t)IORING_POLL_ADD_MULTI) | (sqe->len & IORING_POLL_ADD_MULTI);
    if (target->state != SIM_OP_QUEUED)
        torc__sim_op_again(target);
    return 0;
}

/* ---- Cancels ---- */

/* Which ops are meant, as IORING_OP_ASYNC_CANCEL says it. */
static bool is_meant(const struct sim_op *op, const struct io_uring_sqe *cancel)
{
    const uint32_t flags = cancel->cancel_flags;
    const uint32_t others = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_FD | KERNEL_CANCEL_OP;
    const struct io_uring_sqe *sqe = torc__sim_sqe(op);

    if (op->state == SIM_OP_TELLING || op->is_cancelled || sqe == cancel)
        return false;
    if (flags & IORING_ASYNC_CANCEL_ANY)
        return true;
    if ((flags & IORING_ASYNC_CANCEL_FD) && sqe->fd != cancel->fd)
        return false;
    if ((flags & KERNEL_CANCEL_OP) && sqe->opcode != cancel->len)
        return false;
    if (!(flags & others) || (flags & KERNEL_CANCEL_USERDATA))
        return sqe->user_data == cancel->addr;
    return true;
}

int torc__sim_try_cancel(struct sim_op *op, struct io_uring_sqe *sqe)
{
    const uint32_t known = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD |
                           IORING_ASYNC_CANCEL_ANY | KERNEL_CANCEL_USERDATA | KERNEL_CANCEL_OP;
    const uint32_t many = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
    struct sim_op *other = op->sim->in_flight;
    int last = -ENOENT;
    int count = 0;

    if (sqe->cancel_flags & IORING_ASYNC_CANCEL_FD_FIXED)
        return -EBADF;
    if (sqe->cancel_flags & ~known)
        return -EINVAL;
    while (other != NULL) {
        struct sim_op *next = other->next;

        if (is_meant(other, sqe)) {
            count++;
            last = torc__sim_op_cancel(other);
            if (!(sqe->cancel_flags & many))
                return last;
        }
        other = next;
    }
    return sqe->cancel_flags & many ? count : last;
}

/* SPDX-License-Identifier: MIT */
/*
 * await.h - one operation, one wait: what every I/O function is made of.
 *
 *     struct torc_op op;
 *     struct io_uring_sqe *sqe = torc__begin(&op);
 *
 *     if (sqe == NULL)
 *         return op._result;
 *     io_uring_prep_recv(sqe, fd, buffer, length, flags);
 *     return torc__await(&op);
 */
#ifndef IO_AWAIT_H
#define IO_AWAIT_H

#include "base/kernel_abi.h"
#include "shard/loan.h"
#include <string.h>
#include <torc/op.h>

/* Values of torc_op._state. An op that is zeroed and was never prepared is done. */
enum op_state {
    OP_DONE,
    OP_IN_FLIGHT,
};

/* The most that one read or write moves (the kernel's MAX_RW_COUNT). */
#define TRANSFER_MAX ((size_t)0x7ffff000)

static inline unsigned torc__clamp(size_t length)
{
    return length < TRANSFER_MAX ? (unsigned)length : (unsigned)TRANSFER_MAX;
}

/*
 * Of several completions the last counts; but if that is only the notification that the memory of
 * a zero-copy send is free again, the one before it has the result.
 */
static inline void torc__op_take_result(struct torc_op *op, int result, uint32_t flags)
{
    if (!(flags & IORING_CQE_F_NOTIF))
        op->_result = result;
    op->_flags = flags;
}

/* A public op has had its last completion. */
static inline void torc__op_retire(struct torc_op *op)
{
    op->_state = OP_DONE;
    op->_fiber->owes -= FIBER_OWES_OP;
}

/* Note what an op does, for those who look at who waits: the SQE is not there for long. */
static inline void torc__op_note(struct torc_op *op, const struct io_uring_sqe *sqe)
{
    op->_opcode = sqe->opcode;
    op->_fd = sqe->fd;
}

/* The shard is about to turn to the driver, so the feeds that are new have been described. */
void torc__feeds_note(struct torc__shard *shard);

/* The completion of an op whose fiber waits for just that. */
void torc__await_complete(struct torc_op *op, int result, uint32_t flags, int more);

/* Prepare an op that is awaited whatever the scope says. */
static inline struct io_uring_sqe *torc__begin_always(struct torc_op *op)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    op->_complete = torc__await_complete;
    op->_waiter = shard->running;
    op->_cancelling = 0;
    return shard->driver->ops->prepare(shard->driver, op);
}

/* An op that no fiber waits for begins, and stands in a list of its shard; it has ended. */
static inline void torc__told_begin(struct torc_op **list, struct torc_op *op)
{
    torc__loan_begin(op);
    op->_next = *list;
    op->_link = list;
    if (op->_next != NULL)
        op->_next->_link = &op->_next;
    *list = op;
}

static inline void torc__told_end(struct torc_op *op)
{
    torc__loan_end(op);
    *op->_link = op->_next;
    if (op->_next != NULL)
        op->_next->_link = op->_link;
}

/*
 * Prepare an op of something that outlives this call and ends it itself, as a stream does: its
 * completions are told to `complete`, on the loop, which calls torc__told_end() at the last. Cancel
 * it by torc__op_hurry(). It has been placed. The caller notes what it does (torc__op_note()).
 */
static inline struct io_uring_sqe *torc__begin_told(struct torc_op *op, torc_op_fn *complete)
{
    struct torc__shard *shard = torc__shard_here();

    op->_complete = complete;
    op->_cancelling = 0;
    torc__told_begin(&shard->told, op);
    return shard->driver->ops->prepare(shard->driver, op);
}

/* What a multishot op does that feeds something which outlives a wait. */
enum feed_state {
    FEED_OFF,
    FEED_ON,
    FEED_ENDING, /* it was cancelled, since there is enough, or it is being closed */
};

/*
 * Cancel an op at each of its completions, until the last: the kernel does not find a multishot one
 * that it is about to retry, and that then goes on.
 */
static inline void torc__op_hurry_again(struct torc__shard *shard, struct torc_op *op)
{
    if (op->_cancelling)
        shard->driver->ops->cancel(shard->driver, op);
    else
        torc__op_hurry(shard, op);
}

/*
 * The state of a feed after a completion of its op, which is cancelled if there is `enough`. Only
 * the missing `more` says that it is off, whatever the result: ends may be silent.
 */
static inline uint8_t torc__feed_after(struct torc_op *op, uint8_t feed, int more, bool enough)
{
    if (!more) {
        torc__told_end(op);
        return FEED_OFF;
    }
    if (feed != FEED_ENDING && !enough)
        return feed;
    torc__op_hurry_again(torc__shard, op);
    return FEED_ENDING;
}

/* Prepare an op; NULL, and the scope's reason as the op's result, if there is one. */
static inline struct io_uring_sqe *torc__begin(struct torc_op *op)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int reason = torc__reason(shard);

    if (unlikely(reason != 0)) {
        op->_result = torc__refuse(shard, reason);
        return NULL;
    }
    return torc__begin_always(op);
}

/* torc__await() and torc__await_shielded() of an op that is noted. */
int torc__await_noted(struct torc_op *op);
int torc__await_noted_shielded(struct torc_op *op);

/*
 * Wait for an op, which `sqe` describes, until its last completion: there is no other way out.
 * Returns its result; the scope's reason if that ended it.
 */
static inline int torc__await(struct torc_op *op, const struct io_uring_sqe *sqe)
{
    torc__op_note(op, sqe);
    op->_memory = (const void *)(uintptr_t)sqe->addr;
    return torc__await_noted(op);
}

/* torc__await() that is not to be interrupted. */
static inline int torc__await_shielded(struct torc_op *op, const struct io_uring_sqe *sqe)
{
    torc__op_note(op, sqe);
    op->_memory = (const void *)(uintptr_t)sqe->addr;
    return torc__await_noted_shielded(op);
}

/*
 * Whether an op was disturbed: it ended with -EINTR though nobody had cancelled it, since work that
 * the kernel had for the same thread looked like a signal to it (of any other op before
 * COOP_TASKRUN, 5.19; on the kernel's own threads at any time). Reads, writes and their like have
 * done nothing then, so they begin again, and hear of the scope's reason meanwhile. What changes
 * files or names may have been done by another machine, or by half.
 */
static inline bool torc__is_disturbed(ssize_t result)
{
    return unlikely(result == -EINTR);
}

/* ---- Waits of one fiber at a time, which is noted in a slot; NULL while none waits ---- */

/* How such a wait is interrupted, unless its kind says that it is not. */
torc__interrupt_fn torc__interrupt_slot;

/* Suspend until torc__wake_in(). Returns 0, or the scope's reason, which ends the wait. */
int torc__wait_in(struct torc__shard *shard, struct torc_fiber **slot,
                  const struct torc_wait_kind *kind);

/* Wake who waits in the slot, if anybody does. */
void torc__wake_in(struct torc_fiber **slot);

/* ---- Operations that not every driver has ---- */

/* The operation of an op that torc__begin_for() did not give to the driver. */
static inline struct io_uring_sqe *torc__op_own_sqe(struct torc_op *op)
{
    return (struct io_uring_sqe *)(void *)op->_sqe;
}

static inline struct io_uring_sqe *torc__begin_for_always(struct torc_op *op, unsigned opcode)
{
    if (likely(torc__driver_has(torc__shard_of_fiber()->driver, opcode)))
        return torc__begin_always(op);
    op->_complete = NULL; /* Nobody completes it: torc__await_for() carries it out. */
    memset(op->_sqe, 0, sizeof(op->_sqe));
    return torc__op_own_sqe(op);
}

/*
 * torc__begin(), of an operation that is newer than Linux 5.6: the caller prepares one with
 * `opcode` in the SQE, and waits by torc__await_for(). Where the driver does not have it, it is
 * carried out by system calls on a thread of the pool.
 */
static inline struct io_uring_sqe *torc__begin_for(struct torc_op *op, unsigned opcode)
{
    if (likely(torc__driver_has(torc__shard_of_fiber()->driver, opcode)))
        return torc__begin(op);
    return torc__begin_for_always(op, opcode);
}

/* torc__await(), for torc__begin_for(). */
int torc__await_for(struct torc_op *op, const struct io_uring_sqe *sqe);

/*
 * Carry out what `sqe` describes, which is copied: for calls on files and their names, beside whose
 * cost that is nothing. -EINTR without a cancel tells nothing then about whether it was done.
 */
int torc__perform(const struct io_uring_sqe *sqe);

/* The same for what may as well be done twice: it begins again when it was disturbed. */
int torc__perform_again(const struct io_uring_sqe *sqe);

/* torc__await_shielded(), for torc__begin_for_always(). */
int torc__await_for_shielded(struct torc_op *op, const struct io_uring_sqe *sqe);

/*
 * The result of an op; from now on the scope's reason if that is what ended the op, and -ECANCELED
 * if it was cancelled otherwise.
 */
int torc__op_verdict(const struct torc__shard *shard, struct torc_op *op);

#endif

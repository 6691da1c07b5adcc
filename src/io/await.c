/* SPDX-License-Identifier: MIT */
/*
 * await.c - one operation, one wait.
 */
#include "io/await.h"
#include "driver/execute.h"
#include "io/blocking.h"
#include <errno.h>

/* From so many bytes on it matters whether they are still in the cache when they are used. */
#define HOT_LEAST 4096

static bool has_received(const struct torc_op *op)
{
    switch (op->_opcode) {
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
    case IORING_OP_READ:
    case IORING_OP_READV:
        return true;
    default:
        return false;
    }
}

void torc__await_complete(struct torc_op *op, int result, uint32_t flags, int more)
{
    torc__op_take_result(op, result, flags);
    if (more)
        return;
    /* Its fiber looks there next: a miss that this way is waited for together with others'. */
    __builtin_prefetch(op->_memory);
    if (unlikely(result >= HOT_LEAST) && has_received(op))
        torc__wake_hot(torc__shard, op->_waiter);
    else
        torc__wake(torc__shard, op->_waiter, 0);
}

static void interrupt_op(struct torc_fiber *fiber, int reason)
{
    (void)reason;
    torc__op_hurry(torc__shard, fiber->waits_for);
}

static const struct torc_wait_kind op_wait = {
    .interrupt = interrupt_op,
    .name = "operation",
    .form = TORC_WAIT_OP,
};

static const struct torc_wait_kind op_wait_shielded = {
    .name = "operation",
    .form = TORC_WAIT_OP,
};

/*
 * Interrupted system calls end inside the kernel with codes of its own, from ERESTARTSYS on, which
 * the ring lets out for some operations (as opening a FIFO, Linux 6.18).
 */
static bool is_restart(int result)
{
    return result <= -512 && result >= -516;
}

static void hide_restart(struct torc_op *op)
{
    if (unlikely(is_restart(op->_result)))
        op->_result = -EINTR;
}

int torc__op_verdict(const struct torc__shard *shard, struct torc_op *op)
{
    int reason = torc__reason(shard);

    hide_restart(op);
    /* Kernel threads that execute blocking ops see the cancel as an interruption. */
    if (op->_cancelling && (op->_result == -ECANCELED || op->_result == -EINTR))
        op->_result = reason != 0 ? reason : -ECANCELED;
    return op->_result;
}

int torc__await_noted(struct torc_op *op)
{
    struct torc__shard *shard = torc__shard;

    torc__suspend(shard, &op_wait, op);
    if (likely(op->_result >= 0))
        return op->_result;
    return torc__op_verdict(shard, op);
}

int torc__await_noted_shielded(struct torc_op *op)
{
    torc__suspend(torc__shard, &op_wait_shielded, op);
    hide_restart(op);
    return op->_result;
}

void torc__interrupt_slot(struct torc_fiber *fiber, int reason)
{
    struct torc_fiber **slot = fiber->waits_for;

    *slot = NULL;
    torc__wake(torc__shard, fiber, reason);
}

int torc__wait_in(struct torc__shard *shard, struct torc_fiber **slot,
                  const struct torc_wait_kind *kind)
{
    *slot = shard->running;
    return torc__wait(shard, kind, slot);
}

void torc__wake_in(struct torc_fiber **slot)
{
    struct torc_fiber *fiber = *slot;

    if (fiber == NULL)
        return;
    *slot = NULL;
    torc__wake(torc__shard, fiber, 0);
}

static int execute(void *op)
{
    return torc__execute(torc__op_own_sqe(op));
}

int torc__await_for(struct torc_op *op, const struct io_uring_sqe *sqe)
{
    if (unlikely(op->_complete == NULL))
        return torc__blocking(LANE_FILES, execute, op);
    return torc__await(op, sqe);
}

int torc__perform(const struct io_uring_sqe *sqe)
{
    struct torc_op op;
    struct io_uring_sqe *slot = torc__begin_for(&op, sqe->opcode);
    uint64_t user_data;

    if (slot == NULL)
        return op._result;
    user_data = slot->user_data;
    *slot = *sqe;
    slot->user_data = user_data;
    return torc__await_for(&op, slot);
}

int torc__perform_again(const struct io_uring_sqe *sqe)
{
    int result;

    do {
        result = torc__perform(sqe);
    } while (torc__is_disturbed(result));
    return result;
}

int torc__await_for_shielded(struct torc_op *op, const struct io_uring_sqe *sqe)
{
    if (unlikely(op->_complete == NULL))
        return torc__blocking_shielded(LANE_FILES, execute, op);
    return torc__await_shielded(op, sqe);
}

/* SPDX-License-Identifier: MIT */
/*
 * zero_copy.c - send without copying.
 *
 * Such an op completes twice: with its result, and, when the memory is free, with a notification
 * (IORING_CQE_F_NOTIF). The second follows a failure too, once the kernel has said so by F_MORE.
 */
#include "io/await.h"
#include <errno.h>
#include <torc/net.h>
#include <torc/zero_copy.h>

static bool can_zero_copy(const struct torc__shard *shard)
{
    return shard->driver->features & TORC_FEATURE_SEND_ZC;
}

/* Errors that say no more than that it has to be done with a copy. */
static bool is_refusal(ssize_t result)
{
    switch (result) {
    case -EOPNOTSUPP: /* Not this kind of socket. */
    case -EINVAL:     /* An opcode that this kernel does not have: SENDMSG_ZC came after SEND_ZC. */
    case -ENOMEM:     /* No more memory may be locked. */
    case -ENOBUFS:    /* net.core.optmem_max, of which notifications are made. */
    case -EINTR:      /* It was disturbed: see torc__is_disturbed(). */
        return true;
    default:
        return false;
    }
}

ssize_t torc_send_zc(int fd, const void *buffer, size_t length, int flags)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int result;

    if (!can_zero_copy(torc__shard_of_fiber()))
        return torc_send(fd, buffer, length, flags);
    sqe = torc__begin(&op);
    if (sqe == NULL)
        return op._result;
    io_uring_prep_send_zc(sqe, fd, buffer, torc__clamp(length), flags | MSG_NOSIGNAL, 0);
    result = torc__await(&op, sqe);
    return is_refusal(result) ? torc_send(fd, buffer, length, flags) : result;
}

ssize_t torc_sendmsg_zc(int fd, const struct msghdr *message, int flags)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int result;

    if (!can_zero_copy(torc__shard_of_fiber()))
        return torc_sendmsg(fd, message, flags);
    sqe = torc__begin(&op);
    if (sqe == NULL)
        return op._result;
    io_uring_prep_sendmsg_zc(sqe, fd, message, (unsigned)flags | MSG_NOSIGNAL);
    result = torc__await(&op, sqe);
    return is_refusal(result) ? torc_sendmsg(fd, message, flags) : result;
}

/* ---- In two steps ---- */

static void completed(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct torc_zero_copy *zero_copy = container_of(op, struct torc_zero_copy, _op);

    if (!(flags & IORING_CQE_F_NOTIF)) {
        zero_copy->_result = result;
        zero_copy->_answered = true;
    }
    zero_copy->_is_free = !more;
    if (!more)
        torc__told_end(op);
    torc__wake_in(&zero_copy->_waiter);
}

static void interrupt_send(struct torc_fiber *fiber, int reason)
{
    (void)reason;
    torc__op_hurry(torc__shard, fiber->waits_for);
}

/* The op itself has the descriptor noted. */
static const struct torc_wait_kind send_kind =
    WAIT_KIND_FD("send_zc", interrupt_send, struct torc_zero_copy, _op, _op._fd);
static const struct torc_wait_kind release_kind =
    WAIT_KIND_FD("send_zc, for its memory", NULL, struct torc_zero_copy, _op, _op._fd);

static void wait_for_completion(struct torc_zero_copy *zero_copy, const struct torc_wait_kind *kind)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    zero_copy->_waiter = shard->running;
    (void)torc__wait(shard, kind, &zero_copy->_op);
}

static ssize_t send_with_copy(struct torc_zero_copy *zero_copy, int fd, const void *buffer,
                              size_t length, int flags)
{
    zero_copy->_answered = true;
    zero_copy->_is_free = true;
    zero_copy->_result = torc_send(fd, buffer, length, flags);
    return zero_copy->_result;
}

ssize_t torc_zero_copy_start(struct torc_zero_copy *zero_copy, int fd, const void *buffer,
                             size_t length, int flags)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    const int reason = torc__reason(shard);
    struct io_uring_sqe *sqe;

    *zero_copy = (struct torc_zero_copy){._is_free = true};
    if (reason != 0)
        return torc__refuse(shard, reason);
    if (!can_zero_copy(shard))
        return send_with_copy(zero_copy, fd, buffer, length, flags);
    zero_copy->_is_free = false;
    torc__loan_place(&zero_copy->_op, LOAN_ZERO_COPY, __builtin_return_address(0));
    sqe = torc__begin_told(&zero_copy->_op, completed);
    io_uring_prep_send_zc(sqe, fd, buffer, torc__clamp(length), flags | MSG_NOSIGNAL, 0);
    torc__op_note(&zero_copy->_op, sqe);
    while (!zero_copy->_answered)
        wait_for_completion(zero_copy, &send_kind);
    if (is_refusal(zero_copy->_result)) {
        torc_zero_copy_finish(zero_copy);
        return send_with_copy(zero_copy, fd, buffer, length, flags);
    }
    zero_copy->_op._result = (int)zero_copy->_result;
    zero_copy->_result = torc__op_verdict(shard, &zero_copy->_op);
    return zero_copy->_result;
}

bool torc_zero_copy_is_free(const struct torc_zero_copy *zero_copy)
{
    return zero_copy->_is_free;
}

void torc_zero_copy_finish(struct torc_zero_copy *zero_copy)
{
    while (!zero_copy->_is_free)
        wait_for_completion(zero_copy, &release_kind);
}

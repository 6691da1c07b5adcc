/* SPDX-License-Identifier: MIT */
/*
 * ops_socket.c - operations on sockets in the simulated driver.
 */
#include "base/log.h"
#include "base/vector.h"
#include "driver/sim/driver.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* How many times a multishot op is tried in a row; then others have their turn. */
#define SHOTS_MAX 32u

/* Options in sqe->ioprio. */
#define RECV_OPTIONS   (IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT)
#define SEND_OPTIONS   IORING_RECVSEND_POLL_FIRST
#define ACCEPT_OPTIONS (IORING_ACCEPT_MULTISHOT | KERNEL_ACCEPT_DONTWAIT | KERNEL_ACCEPT_POLL_FIRST)

/* ---- What ops have in common ---- */

/* That its file has O_NONBLOCK means nothing to operations on sockets, as in the kernel. */
static bool may_wait(const struct io_uring_sqe *sqe)
{
    return !(sqe->msg_flags & MSG_DONTWAIT);
}

/* Urgent data and the error queue have events of their own. */
static uint32_t readable(uint32_t flags)
{
    if (flags & MSG_ERRQUEUE)
        return POLLERR;
    return flags & MSG_OOB ? POLLPRI : POLLIN | POLLRDHUP;
}

static bool is_socket(const struct sim_op *op)
{
    return op->file->ops->traits & SIM_SOCKET;
}

/* MSG_WAITALL goes on after a short transfer on what is a stream, and not where peeking. */
static bool goes_on(const struct sim_op *op, const struct io_uring_sqe *sqe)
{
    return (sqe->msg_flags & MSG_WAITALL) && !(sqe->msg_flags & MSG_PEEK) &&
           (op->file->ops->traits & SIM_BYTES);
}

/* Of an op that wants `wanted` bytes and has just been given `result`: what becomes of it. */
static int settle(struct sim_op *op, const struct io_uring_sqe *sqe, ssize_t result, size_t wanted,
                  uint32_t events)
{
    if (result == -EAGAIN && may_wait(sqe))
        return torc__sim_op_wait(op, events);
    if (result <= 0)
        return op->done > 0 ? (int)op->done : (int)result;
    op->done += (uint32_t)result;
    if (op->done < wanted && may_wait(sqe) && goes_on(op, sqe))
        return torc__sim_op_wait(op, events);
    return (int)op->done;
}

/* Whether an op asks to be tried only once its socket is ready. */
static bool waits_first(const struct sim_op *op, const struct io_uring_sqe *sqe)
{
    return (sqe->ioprio & IORING_RECVSEND_POLL_FIRST) && !op->is_retried && may_wait(sqe);
}

/* What becomes of an op before its socket is asked; 0: it may be. */
static int look_first(struct sim_op *op, const struct io_uring_sqe *sqe, unsigned options,
                      uint32_t events)
{
    if (sqe->ioprio & ~options)
        return -EINVAL;
    if (!is_socket(op))
        return -ENOTSOCK;
    return waits_first(op, sqe) ? torc__sim_op_wait(op, events) : 0;
}

static ssize_t receive(struct sim_op *op, struct msghdr *message, int flags)
{
    return op->file->ops->recvmsg != NULL ? op->file->ops->recvmsg(op->file, message, flags)
                                          : -ENOTSOCK;
}

static ssize_t send_one(struct sim_op *op, const struct msghdr *message, int flags)
{
    return op->file->ops->sendmsg != NULL ? op->file->ops->sendmsg(op->file, message, flags)
                                          : -ENOTSOCK;
}

/* The flags of the call: the driver goes on itself where all is to be moved. */
static int call_flags(const struct io_uring_sqe *sqe, int more)
{
    return (int)(sqe->msg_flags & ~(uint32_t)MSG_WAITALL) | more;
}

/* ---- Receive into buffers of a ring ---- */

/* What one shot of a receive has given. */
struct shot {
    ssize_t result;
    uint32_t flags;
    bool is_last; /* of several: the end, or no buffers */
};

static void shoot_recv(struct sim_op *op, const struct io_uring_sqe *sqe, struct shot *shot)
{
    struct torc__sim *sim = op->sim;
    struct iovec memory;
    struct msghdr message = {.msg_iov = &memory, .msg_iovlen = 1};

    shot->result = torc__sim_buffer_peek(sim, sqe->buf_group, &memory);
    if (shot->result < 0)
        return;
    if (sqe->len != 0 && sqe->len < memory.iov_len)
        memory.iov_len = sqe->len;
    memory.iov_len = torc__sim_shorten(op, memory.iov_len);
    shot->result = receive(op, &message, call_flags(sqe, 0));
    if (shot->result > 0)
        shot->flags = torc__sim_buffer_commit(sim, sqe->buf_group, (size_t)shot->result);
}

/* A datagram with its header, the peer's address and control data in front of it. */
static void shoot_recvmsg(struct sim_op *op, const struct io_uring_sqe *sqe, struct shot *shot)
{
    const struct msghdr *asked = (const void *)(uintptr_t)sqe->addr;
    const size_t head =
        sizeof(struct io_uring_recvmsg_out) + asked->msg_namelen + asked->msg_controllen;
    struct io_uring_recvmsg_out out = {0};
    struct iovec memory;
    struct iovec payload;
    struct msghdr message = {.msg_iov = &payload, .msg_iovlen = 1};
    char *bytes;

    shot->result = torc__sim_buffer_peek(op->sim, sqe->buf_group, &memory);
    if (shot->result == 0 && memory.iov_len < head)
        shot->result = -EFAULT;
    if (shot->result < 0)
        return;
    bytes = memory.iov_base;
    payload = (struct iovec){bytes + head, memory.iov_len - head};
    message.msg_name = bytes + sizeof(out);
    message.msg_namelen = asked->msg_namelen;
    message.msg_control = bytes + sizeof(out) + asked->msg_namelen;
    message.msg_controllen = asked->msg_controllen;
    shot->result = receive(op, &message, call_flags(sqe, 0));
    if (shot->result < 0)
        return;
    out.namelen = message.msg_namelen;
    out.controllen = (uint32_t)message.msg_controllen;
    out.payloadlen = (uint32_t)shot->result;
    out.flags = (uint32_t)message.msg_flags;
    memcpy(bytes, &out, sizeof(out));
    if ((size_t)shot->result > payload.iov_len)
        shot->result = (ssize_t)payload.iov_len; /* MSG_TRUNC was asked for. */
    shot->result += (ssize_t)head;
    shot->flags = torc__sim_buffer_commit(op->sim, sqe->buf_group, (size_t)shot->result);
    shot->is_last = false;
}

static void shoot(struct sim_op *op, const struct io_uring_sqe *sqe, struct shot *shot)
{
    *shot = (struct shot){.is_last = true};
    if (sqe->opcode == IORING_OP_RECVMSG) {
        shoot_recvmsg(op, sqe, shot);
    } else {
        shoot_recv(op, sqe, shot);
        shot->is_last = shot->result <= 0;
    }
}

static bool ends_early(struct sim_op *op)
{
    struct sim_world *world = op->sim->world;

    return torc__sim_fault(world, op->sim->host, "multishot ends", world->chaos.multishot_end_rate);
}

static int end_with(struct sim_op *op, const struct shot *shot)
{
    torc__sim_op_end(op, (int)shot->result, shot->flags);
    return 0; /* Not looked at: it has ended. */
}

static int recv_many(struct sim_op *op, const struct io_uring_sqe *sqe)
{
    struct sim_world *world = op->sim->world;

    for (unsigned i = 0; i < SHOTS_MAX; i++) {
        struct shot shot;

        shoot(op, sqe, &shot);
        if (shot.result == -EAGAIN)
            return torc__sim_op_wait(op, readable(sqe->msg_flags));
        if (shot.is_last || ends_early(op))
            return end_with(op, &shot);
        torc__sim_op_tell(op, (int)shot.result, shot.flags);
        if (op->is_cancelled)
            return -ECANCELED;
    }
    op->due_ns = world->now_ns + torc__sim_duration(world, &world->chaos.turn_latency);
    return SIM_LATER;
}

static int recv_chosen(struct sim_op *op, const struct io_uring_sqe *sqe)
{
    struct shot shot;

    if (sqe->ioprio & IORING_RECV_MULTISHOT)
        return op->sim->base.features & TORC_FEATURE_MULTISHOT ? recv_many(op, sqe) : -EINVAL;
    shoot(op, sqe, &shot);
    if (shot.result == -EAGAIN && may_wait(sqe))
        return torc__sim_op_wait(op, readable(sqe->msg_flags));
    return end_with(op, &shot);
}

/* ---- Receive ---- */

int torc__sim_try_recv(struct sim_op *op, struct io_uring_sqe *sqe)
{
    struct iovec piece = {(char *)(uintptr_t)sqe->addr + op->done, sqe->len - op->done};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    const uint32_t events = readable(sqe->msg_flags);
    const int first = look_first(op, sqe, RECV_OPTIONS, events);

    if (first != 0)
        return first;
    if (sqe->flags & IOSQE_BUFFER_SELECT)
        return recv_chosen(op, sqe);
    if (sqe->ioprio & IORING_RECV_MULTISHOT)
        return -EINVAL;
    piece.iov_len = torc__sim_shorten(op, piece.iov_len);
    return settle(op, sqe, receive(op, &message, call_flags(sqe, 0)), sqe->len, events);
}

/* The rest of a vector of which some bytes were moved, and no more than `limit` of it. */
static size_t describe_rest(const struct msghdr *message, size_t done, size_t limit,
                            struct iovec pieces[IOV_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < message->msg_iovlen && i < IOV_MAX && limit > 0; i++) {
        struct iovec piece = message->msg_iov[i];
        const size_t skip = done < piece.iov_len ? done : piece.iov_len;

        done -= skip;
        piece.iov_base = (char *)piece.iov_base + skip;
        piece.iov_len -= skip;
        if (piece.iov_len > limit)
            piece.iov_len = limit;
        limit -= piece.iov_len;
        if (piece.iov_len > 0)
            pieces[count++] = piece;
    }
    return count;
}

/* A message of bytes may go in pieces; any other goes as it is, and what comes with it. */
static int try_message(struct sim_op *op, const struct io_uring_sqe *sqe, bool is_send)
{
    struct msghdr *const whole = (void *)(uintptr_t)sqe->addr;
    const size_t size = torc__vector_size(whole->msg_iov, whole->msg_iovlen);
    const size_t wanted = torc__sim_shorten(op, size - op->done);
    struct iovec pieces[IOV_MAX];
    struct msghdr rest = {.msg_iov = pieces};
    struct msghdr *message = whole;
    ssize_t result;

    if (whole->msg_iovlen > IOV_MAX)
        return -EMSGSIZE;
    if (op->done > 0 || wanted < size) {
        if (op->done == 0)
            rest = *whole;
        rest.msg_iov = pieces;
        rest.msg_iovlen = describe_rest(whole, op->done, wanted, pieces);
        message = &rest;
    }
    result = is_send ? send_one(op, message, call_flags(sqe, MSG_NOSIGNAL))
                     : receive(op, message, call_flags(sqe, 0));
    if (message == &rest && op->done == 0 && result >= 0 && !is_send) {
        whole->msg_namelen = rest.msg_namelen;
        whole->msg_controllen = rest.msg_controllen;
        whole->msg_flags = rest.msg_flags;
    }
    return settle(op, sqe, result, size, is_send ? POLLOUT : readable(sqe->msg_flags));
}

int torc__sim_try_recvmsg(struct sim_op *op, struct io_uring_sqe *sqe)
{
    const int first = look_first(op, sqe, RECV_OPTIONS, readable(sqe->msg_flags));

    if (first != 0)
        return first;
    if (sqe->flags & IOSQE_BUFFER_SELECT)
        return recv_chosen(op, sqe);
    if (sqe->ioprio & IORING_RECV_MULTISHOT)
        return -EINVAL;
    return try_message(op, sqe, false);
}

/* ---- Send ---- */

/* The memory of a zero-copy send is free some time after its result. */
static int end_zero_copy(struct sim_op *op, int outcome)
{
    if (!torc__sim_is_result(outcome) || outcome < 0)
        return outcome;
    torc__sim_op_tell(op, outcome, 0);
    torc__sim_op_end(op, 0, IORING_CQE_F_NOTIF);
    return 0;
}

static bool is_zero_copy(const struct io_uring_sqe *sqe)
{
    return sqe->opcode == IORING_OP_SEND_ZC || sqe->opcode == IORING_OP_SENDMSG_ZC;
}

int torc__sim_try_send(struct sim_op *op, struct io_uring_sqe *sqe)
{
    struct iovec piece = {(char *)(uintptr_t)sqe->addr + op->done, sqe->len - op->done};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    const int first = look_first(op, sqe, SEND_OPTIONS, POLLOUT);
    int outcome;

    if (first != 0)
        return first;
    if (sqe->addr_len > 0) {
        message.msg_name = (void *)(uintptr_t)sqe->addr2;
        message.msg_namelen = sqe->addr_len;
    }
    piece.iov_len = torc__sim_shorten(op, piece.iov_len);
    outcome =
        settle(op, sqe, send_one(op, &message, call_flags(sqe, MSG_NOSIGNAL)), sqe->len, POLLOUT);
    return is_zero_copy(sqe) ? end_zero_copy(op, outcome) : outcome;
}

int torc__sim_try_sendmsg(struct sim_op *op, struct io_uring_sqe *sqe)
{
    const int first = look_first(op, sqe, SEND_OPTIONS, POLLOUT);
    int outcome;

    if (first != 0)
        return first;
    outcome = try_message(op, sqe, true);
    return is_zero_copy(sqe) ? end_zero_copy(op, outcome) : outcome;
}

/* ---- Accept ---- */

/* One connection, or why there is none. */
static int accept_one(struct sim_op *op, const struct io_uring_sqe *sqe)
{
    struct torc__sim *sim = op->sim;
    struct sim_world *world = sim->world;
    struct sockaddr *address = (void *)(uintptr_t)sqe->addr;
    socklen_t *length = (void *)(uintptr_t)sqe->addr2;
    struct sim_file *file;
    int result;

    if (op->file->ops->accept == NULL)
        return -ENOTSOCK;
    if (!torc__sim_fd_is_free(sim->host))
        return -EMFILE;
    if ((torc__sim_file_poll(op->file) & POLLIN) &&
        torc__sim_fault(world, sim->host, "no descriptor", world->chaos.descriptor_error_rate))
        return torc__sim_chance(world, 500000) ? -EMFILE : -ENFILE;
    result = op->file->ops->accept(op->file, address, length,
                                   (int)sqe->accept_flags & ~SOCK_CLOEXEC, &file);
    if (result < 0)
        return result;
    result = torc__sim_fd_open(sim->host, file);
    if (result < 0)
        torc__sim_file_release(file);
    return result;
}

static int accept_many(struct sim_op *op, const struct io_uring_sqe *sqe)
{
    struct sim_world *world = op->sim->world;

    if (!(op->sim->base.features & TORC_FEATURE_MULTISHOT))
        return -EINVAL;
    for (unsigned i = 0; i < SHOTS_MAX; i++) {
        const int result = accept_one(op, sqe);

        if (result == -EAGAIN)
            return torc__sim_op_wait(op, POLLIN);
        if (result < 0 || ends_early(op))
            return result;
        torc__sim_op_tell(op, result, 0);
        if (op->is_cancelled)
            return -ECANCELED;
    }
    op->due_ns = world->now_ns + torc__sim_duration(world, &world->chaos.turn_latency);
    return SIM_LATER;
}

int torc__sim_try_accept(struct sim_op *op, struct io_uring_sqe *sqe)
{
    int result;

    if (sqe->ioprio & ~(unsigned)ACCEPT_OPTIONS)
        return -EINVAL;
    if (sqe->file_index != 0)
        return -ENXIO; /* There are no registered files. */
    if ((sqe->ioprio & KERNEL_ACCEPT_POLL_FIRST) && !op->is_retried)
        return torc__sim_op_wait(op, POLLIN);
    if (sqe->ioprio & IORING_ACCEPT_MULTISHOT)
        return accept_many(op, sqe);
    result = accept_one(op, sqe);
    if (result == -EAGAIN && !(sqe->ioprio & KERNEL_ACCEPT_DONTWAIT))
        return torc__sim_op_wait(op, POLLIN);
    return result;
}

/* ---- Connect ---- */

int torc__sim_try_connect(struct sim_op *op, struct io_uring_sqe *sqe)
{
    int result;

    if (op->file->ops->connect == NULL)
        return -ENOTSOCK;
    if (op->has_begun && !(torc__sim_file_poll(op->file) & (POLLOUT | POLLERR | POLLHUP)))
        return torc__sim_op_wait(op, POLLOUT);
    result =
        op->file->ops->connect(op->file, (const void *)(uintptr_t)sqe->addr, (socklen_t)sqe->addr2);
    if (result == -EISCONN && op->has_begun)
        return 0;
    if (result != -EINPROGRESS && result != -EALREADY && result != -EAGAIN)
        return result;
    op->has_begun = result != -EAGAIN;
    return torc__sim_op_wait(op, POLLOUT);
}

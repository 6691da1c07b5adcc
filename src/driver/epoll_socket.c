/* SPDX-License-Identifier: MIT */
/*
 * epoll_socket.c - operations on sockets. All of them pass MSG_DONTWAIT, so a socket's own flags
 * do not matter, and stay as they are.
 */
#include "base/clock.h"
#include "base/compiler.h"
#include "base/vector.h"
#include "driver/epoll.h"
#include <errno.h>
#include <sys/socket.h>
#include <torc/time.h>

/* How many pieces of a vector a step moves that goes on after a short transfer. */
#define PIECES_MAX 64u
/* How many connections a multishot accept takes in one turn. */
#define ACCEPTS_MAX 16u
/* A Unix socket does not tell when a listener's queue has room again: look after 1, 2 ... 32 ms. */
#define CONNECT_PAUSE_NS        TORC_MILLISECOND
#define CONNECT_PAUSE_DOUBLINGS 6

/* Options of send and recv, in sqe->ioprio, that mean something without a ring. */
#define KNOWN_OPTIONS IORING_RECVSEND_POLL_FIRST

/* Wait for `events` of the op's socket. */
static int watch(struct torc__epoll_note *note, const struct io_uring_sqe *sqe, uint32_t events)
{
    note->fd = sqe->fd;
    note->events = events;
    return VERDICT_WATCH;
}

/* ---- Data ---- */

/* MSG_WAITALL goes on after a short transfer on what is a stream, and not where peeking. */
static bool goes_on(struct torc__epoll *epoll, const struct io_uring_sqe *sqe)
{
    socklen_t length = sizeof(int);
    int type = 0;

    if (!(sqe->msg_flags & MSG_WAITALL) || (sqe->msg_flags & MSG_PEEK))
        return false;
    torc__epoll_count_call(epoll);
    (void)getsockopt(sqe->fd, SOL_SOCKET, SO_TYPE, &type, &length);
    return type == SOCK_STREAM || type == SOCK_SEQPACKET;
}

/* Urgent data and the error queue have events of their own. */
static uint32_t events_for(uint32_t direction, uint32_t flags)
{
    if (direction == EPOLLIN && (flags & MSG_ERRQUEUE))
        return EPOLLERR;
    return direction == EPOLLIN && (flags & MSG_OOB) ? EPOLLPRI : direction;
}

/* Of an op that wants `wanted` bytes and has just been given `result`: what becomes of it. */
static int settle(struct torc__epoll *epoll, struct torc_op *op, ssize_t result, size_t wanted,
                  uint32_t direction)
{
    const struct io_uring_sqe *sqe = torc__epoll_sqe(op);
    struct torc__epoll_note *note = torc__epoll_note(op);
    const bool may_wait = !(sqe->msg_flags & MSG_DONTWAIT);

    if (result == -EINTR)
        return VERDICT_AGAIN;
    if (result == -EAGAIN && may_wait)
        return watch(note, sqe, events_for(direction, sqe->msg_flags));
    if (result <= 0)
        return note->done > 0 ? (int)note->done : (int)result;
    note->done += (uint32_t)result;
    if (note->done < wanted) {
        if (direction == EPOLLIN && !(sqe->msg_flags & MSG_PEEK))
            torc__epoll_note_short(epoll, sqe->fd);
        if (may_wait && goes_on(epoll, sqe))
            return watch(note, sqe, direction);
    }
    return (int)note->done;
}

/* Whether an op asks to be tried only once its socket is ready. */
static bool waits_first(const struct torc__epoll_note *note, const struct io_uring_sqe *sqe)
{
    return (sqe->ioprio & IORING_RECVSEND_POLL_FIRST) && !note->retried &&
           !(sqe->msg_flags & MSG_DONTWAIT);
}

int torc__epoll_try_recv(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);
    const int flags = (int)(sqe->msg_flags & ~(uint32_t)MSG_WAITALL) | MSG_DONTWAIT;
    char *buffer = (char *)(uintptr_t)sqe->addr + note->done;
    ssize_t result;

    if (sqe->flags & IOSQE_BUFFER_SELECT)
        return sqe->ioprio == IORING_RECV_MULTISHOT ? torc__epoll_recv_many(epoll, op, sqe)
                                                    : -EINVAL;
    if (sqe->ioprio & ~KNOWN_OPTIONS)
        return -EINVAL; /* Multishot needs buffers to choose from. */
    if (waits_first(note, sqe))
        return watch(note, sqe, EPOLLIN);
    torc__epoll_count_call(epoll);
    result = recv(sqe->fd, buffer, sqe->len - note->done, flags);
    if (unlikely(result < 0) && torc__epoll_is_shut_down(epoll, note, sqe->fd))
        result = recv(sqe->fd, buffer, sqe->len - note->done, flags & ~MSG_DONTWAIT);
    return settle(epoll, op, result < 0 ? -errno : result, sqe->len, EPOLLIN);
}

int torc__epoll_try_send(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);
    const int flags = (int)(sqe->msg_flags & ~(uint32_t)MSG_WAITALL) | MSG_DONTWAIT | MSG_NOSIGNAL;
    const struct sockaddr *to = sqe->addr_len > 0 ? (const void *)(uintptr_t)sqe->addr2 : NULL;
    const char *data = (const char *)(uintptr_t)sqe->addr + note->done;
    ssize_t result;

    if (sqe->ioprio & ~KNOWN_OPTIONS)
        return -EINVAL;
    if (waits_first(note, sqe))
        return watch(note, sqe, EPOLLOUT);
    torc__epoll_count_call(epoll);
    result = sendto(sqe->fd, data, sqe->len - note->done, flags, to, sqe->addr_len);
    return settle(epoll, op, result < 0 ? -errno : result, sqe->len, EPOLLOUT);
}

/* What is left of a message of which some bytes have been moved: names and control data have. */
static void describe_rest(const struct msghdr *message, uint32_t done, struct iovec *pieces,
                          struct msghdr *ret_rest)
{
    *ret_rest = (struct msghdr){.msg_iov = pieces};
    ret_rest->msg_iovlen =
        torc__epoll_slice(message->msg_iov, message->msg_iovlen, done, pieces, PIECES_MAX);
}

/*
 * Message headers are looked at while the call is made only, as by a ring. A size is counted up
 * only after the kernel has taken the vector for valid.
 */
static int try_message(struct torc__epoll *epoll, struct torc_op *op, bool is_send, int more_flags)
{
    struct io_uring_sqe *sqe = torc__epoll_sqe(op);
    struct torc__epoll_note *note = torc__epoll_note(op);
    const int flags = (int)(sqe->msg_flags & ~(uint32_t)MSG_WAITALL) | MSG_DONTWAIT | more_flags;
    const uint32_t direction = is_send ? EPOLLOUT : EPOLLIN;
    struct msghdr *const whole = (void *)(uintptr_t)sqe->addr;
    struct msghdr *message = whole;
    struct iovec pieces[PIECES_MAX];
    struct msghdr rest;
    size_t size = 0;
    ssize_t result;

    if (sqe->ioprio & ~KNOWN_OPTIONS)
        return -EINVAL;
    if (waits_first(note, sqe))
        return watch(note, sqe, direction);
    if (note->done > 0) {
        describe_rest(whole, note->done, pieces, &rest);
        message = &rest;
    }
    torc__epoll_count_call(epoll);
    result = is_send ? sendmsg(sqe->fd, message, flags) : recvmsg(sqe->fd, message, flags);
    if (unlikely(result < 0) && !is_send && torc__epoll_is_shut_down(epoll, note, sqe->fd))
        result = recvmsg(sqe->fd, message, flags & ~MSG_DONTWAIT);
    if (result > 0)
        size = torc__vector_size(whole->msg_iov, whole->msg_iovlen);
    return settle(epoll, op, result < 0 ? -errno : result, size, direction);
}

int torc__epoll_try_recvmsg(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    (void)sqe;
    return try_message(epoll, op, false, 0);
}

int torc__epoll_try_sendmsg(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    (void)sqe;
    return try_message(epoll, op, true, MSG_NOSIGNAL);
}

/* ---- Accept ---- */

static ssize_t accept_call(void *arguments)
{
    const struct io_uring_sqe *sqe = arguments;

    return accept4(sqe->fd, (void *)(uintptr_t)sqe->addr, (void *)(uintptr_t)sqe->addr2,
                   (int)sqe->accept_flags);
}

/* One connection, or why there is none. */
static int accept_one(struct torc__epoll *epoll, struct io_uring_sqe *sqe)
{
    int result = (int)torc__epoll_call_nonblocking(epoll, sqe->fd, accept_call, sqe);

    if (result >= 0)
        torc__epoll_forget(epoll, result);
    return result;
}

static int accept_many(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);

    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        int result = accept_one(epoll, sqe);

        if (result == -EAGAIN)
            return watch(note, sqe, EPOLLIN);
        if (result < 0)
            return result;
        torc__epoll_tell_more(epoll, op, result, 0);
        if (note->cancelled)
            return -ECANCELED;
    }
    return VERDICT_AGAIN;
}

int torc__epoll_try_accept(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    const uint16_t known =
        IORING_ACCEPT_MULTISHOT | KERNEL_ACCEPT_DONTWAIT | KERNEL_ACCEPT_POLL_FIRST;
    struct torc__epoll_note *note = torc__epoll_note(op);
    int result;

    if (sqe->ioprio & ~known)
        return -EINVAL;
    if (sqe->file_index != 0)
        return -ENXIO; /* There are no registered files. */
    if ((sqe->ioprio & KERNEL_ACCEPT_POLL_FIRST) && !note->retried)
        return watch(note, sqe, EPOLLIN);
    if (sqe->ioprio & IORING_ACCEPT_MULTISHOT)
        return accept_many(epoll, op, sqe);
    result = accept_one(epoll, sqe);
    if (result == -EAGAIN && !(sqe->ioprio & KERNEL_ACCEPT_DONTWAIT))
        return watch(note, sqe, EPOLLIN);
    return result;
}

/* ---- Connect ---- */

static ssize_t connect_call(void *arguments)
{
    const struct io_uring_sqe *sqe = arguments;

    return connect(sqe->fd, (const void *)(uintptr_t)sqe->addr, (socklen_t)sqe->addr2);
}

/* A connect is on its way: what has become of it. */
static int look_at_connection(struct torc__epoll *epoll, const struct io_uring_sqe *sqe)
{
    socklen_t length = sizeof(int);
    int error = 0;

    torc__epoll_count_call(epoll);
    if (getsockopt(sqe->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        return -errno;
    return -error;
}

int torc__epoll_try_connect(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);
    int result;

    if (note->begun) {
        if (!torc__epoll_is_ready(epoll, sqe->fd, EPOLLOUT))
            return watch(note, sqe, EPOLLOUT);
        return look_at_connection(epoll, sqe);
    }
    result = (int)torc__epoll_call_nonblocking(epoll, sqe->fd, connect_call, sqe);
    if (result == -EINPROGRESS || result == -EALREADY) {
        note->begun = true;
        return watch(note, sqe, EPOLLOUT);
    }
    if (result != -EAGAIN)
        return result;
    note->result += note->result < CONNECT_PAUSE_DOUBLINGS;
    note->due_ns = torc__time_add(torc__clock_now(), CONNECT_PAUSE_NS << (note->result - 1));
    return VERDICT_TIME;
}

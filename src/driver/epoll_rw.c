/* SPDX-License-Identifier: MIT */
/*
 * epoll_rw.c - reads, writes and splices of any descriptor, without blocking the loop.
 *
 * With RWF_NOWAIT one call says that there is nothing to be read yet, on current kernels for
 * sockets, pipes, and files, whose part in memory is read so. What does not know it is asked by
 * poll(2) first, or is a file and goes to the pool. That a descriptor is a file is also found out
 * where it would have to be waited for: epoll refuses it.
 */
#include "base/clock.h"
#include "base/compiler.h"
#include "base/vector.h"
#include "driver/epoll.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <torc/time.h>
#include <unistd.h>

/* The most that one read or write moves, as the kernel has it (MAX_RW_COUNT). */
#define MOVE_MAX UINT32_C(0x7ffff000)
/* A splice that is not possible, though both ends are ready, is tried again after this. */
#define SPLICE_PAUSE_NS TORC_MILLISECOND

/* A read or write, however it was described. */
struct transfer {
    int fd;
    bool is_write;
    const struct iovec *vector;
    unsigned count;
    off_t offset; /* -1: the file's own position */
    int flags;    /* RWF_ */
    struct iovec single;
};

static void describe(const struct io_uring_sqe *sqe, struct transfer *ret_transfer)
{
    const bool is_vector = sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV;

    *ret_transfer = (struct transfer){
        .fd = sqe->fd,
        .is_write = sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV,
        .offset = (off_t)sqe->off,
        .flags = (int)sqe->rw_flags,
        .single = {(void *)(uintptr_t)sqe->addr, sqe->len},
    };
    ret_transfer->vector =
        is_vector ? (const struct iovec *)(uintptr_t)sqe->addr : &ret_transfer->single;
    ret_transfer->count = is_vector ? sqe->len : 1;
}

/* What has no positions, as a socket, refuses those that a ring does not look at. */
static ssize_t move(const struct transfer *transfer, int flags)
{
    ssize_t (*const call)(int, const struct iovec *, int, off_t, int) =
        transfer->is_write ? pwritev2 : preadv2;
    ssize_t result =
        call(transfer->fd, transfer->vector, (int)transfer->count, transfer->offset, flags);

    if (result < 0 && errno == ESPIPE && transfer->offset != -1)
        result = call(transfer->fd, transfer->vector, (int)transfer->count, -1, flags);
    return result < 0 ? -errno : result;
}

/* An empty write is a message to a socket of messages, but the calls on vectors would send none. */
static int move_now(const struct transfer *transfer)
{
    const bool is_empty = transfer->vector == &transfer->single && transfer->single.iov_len == 0;

    if (is_empty && transfer->is_write) {
        const ssize_t result = send(transfer->fd, NULL, 0, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (result == 0 || errno != ENOTSOCK)
            return result == 0 ? 0 : -errno;
    }
    return (int)move(transfer, transfer->flags | RWF_NOWAIT);
}

/* ---- Files, on a thread of the pool ---- */

/* Shorten a vector to `size` bytes. Returns how many pieces are left. */
static unsigned shorten(struct iovec *pieces, unsigned count, size_t size)
{
    unsigned left = 0;

    for (; left < count && size > 0; left++) {
        if (pieces[left].iov_len > size)
            pieces[left].iov_len = size;
        size -= pieces[left].iov_len;
    }
    return left;
}

int torc__epoll_transfer_rest(struct torc_op *op)
{
    const struct torc__epoll_note *note = torc__epoll_note(op);
    struct iovec pieces[IOV_MAX];
    struct transfer transfer;
    ssize_t result;

    describe(torc__epoll_sqe(op), &transfer);
    if (note->done > 0) {
        transfer.count = torc__epoll_slice(transfer.vector, transfer.count, note->done, pieces,
                                           ARRAY_LENGTH(pieces));
        transfer.count = shorten(pieces, transfer.count, MOVE_MAX - note->done);
        transfer.vector = pieces;
        transfer.offset += transfer.offset == -1 ? 0 : (off_t)note->done;
    }
    result = move(&transfer, transfer.flags);
    if (note->done > 0)
        return (int)note->done + (result > 0 ? (int)result : 0);
    return (int)result;
}

/* ---- On the loop ---- */

static bool is_file(mode_t mode)
{
    return S_ISREG(mode) || S_ISBLK(mode) || S_ISDIR(mode);
}

/* Whether a read that came short has come to the end of the file. */
static bool is_at_end(const struct transfer *transfer, const struct stat *about, size_t moved)
{
    const off_t end =
        transfer->offset == -1 ? lseek(transfer->fd, 0, SEEK_CUR) : transfer->offset + (off_t)moved;

    return S_ISREG(about->st_mode) && end >= about->st_size;
}

/* Fewer bytes than asked for: all that there is, or, of a file, what is in memory already. */
static int came_short(struct torc__epoll *epoll, struct torc__epoll_note *note,
                      const struct transfer *transfer, int moved)
{
    const struct torc__epoll_watch *watch = torc__epoll_find(epoll, transfer->fd);
    struct stat about;

    if (watch != NULL && watch->armed != 0) {
        if (!transfer->is_write)
            torc__epoll_note_short(epoll, transfer->fd);
        return moved;
    }
    torc__epoll_count_call(epoll);
    if (fstat(transfer->fd, &about) < 0 || !is_file(about.st_mode))
        return moved;
    if (!transfer->is_write && is_at_end(transfer, &about, (size_t)moved))
        return moved;
    note->done = (uint32_t)moved;
    return VERDICT_POOL;
}

static ssize_t move_call(void *arguments)
{
    const struct transfer *transfer = arguments;
    ssize_t result = move(transfer, transfer->flags);

    if (result < 0)
        errno = (int)-result;
    return result < 0 ? -1 : result;
}

/*
 * What does not know RWF_NOWAIT. That it is ready is no promise: another shard or process may be
 * quicker, so the call itself must not block either.
 */
static int ask_first(struct torc__epoll *epoll, struct torc__epoll_note *note,
                     struct transfer *transfer)
{
    struct stat about;
    int result;

    torc__epoll_count_call(epoll);
    if (fstat(transfer->fd, &about) < 0)
        return -errno;
    if (is_file(about.st_mode))
        return VERDICT_POOL;
    result = torc__epoll_can_watch(epoll, transfer->fd, note->events);
    if (result == -EPERM)
        return VERDICT_POOL; /* A device that is never not ready; who knows what it does. */
    if (result < 0)
        return result;
    if (!torc__epoll_is_ready(epoll, transfer->fd, note->events))
        return VERDICT_WATCH;
    result = (int)torc__epoll_call_nonblocking(epoll, transfer->fd, move_call, transfer);
    return result == -EAGAIN || result == -EINTR ? VERDICT_WATCH : result;
}

static int try_transfer(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe,
                        uint32_t direction)
{
    struct torc__epoll_note *note = torc__epoll_note(op);
    struct transfer transfer;
    int result;

    describe(sqe, &transfer);
    note->fd = sqe->fd;
    note->events = direction;
    torc__epoll_count_call(epoll);
    result = move_now(&transfer);
    if (result > 0 && (size_t)result < torc__vector_size(transfer.vector, transfer.count))
        return came_short(epoll, note, &transfer, result);
    if (result >= 0 || (transfer.flags & RWF_NOWAIT))
        return result;
    if (result == -EOPNOTSUPP)
        return ask_first(epoll, note, &transfer);
    if (!transfer.is_write && torc__epoll_is_shut_down(epoll, note, transfer.fd))
        result = (int)move(&transfer, transfer.flags);
    return result == -EAGAIN || result == -EINTR ? VERDICT_WATCH : result;
}

int torc__epoll_try_read(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    return try_transfer(epoll, op, sqe, EPOLLIN);
}

int torc__epoll_try_write(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    return try_transfer(epoll, op, sqe, EPOLLOUT);
}

/* ---- Splice and tee ---- */

static bool must_wait(struct torc__epoll *epoll, struct torc__epoll_note *note, int fd,
                      uint32_t events)
{
    note->fd = fd;
    note->events = events;
    return !torc__epoll_is_ready(epoll, fd, events);
}

static mode_t mode_of(struct torc__epoll *epoll, int fd)
{
    struct stat about;

    torc__epoll_count_call(epoll);
    return fstat(fd, &about) == 0 ? about.st_mode : 0;
}

/* It looks for signals before it has moved anything, though it never waits. */
static ssize_t splice_now(struct torc__epoll *epoll, const struct io_uring_sqe *sqe)
{
    const unsigned flags = sqe->splice_flags | SPLICE_F_NONBLOCK;
    loff_t in = (loff_t)sqe->splice_off_in;
    loff_t out = (loff_t)sqe->off;
    ssize_t result;

    do {
        torc__epoll_count_call(epoll);
        if (sqe->opcode == IORING_OP_TEE)
            result = tee(sqe->splice_fd_in, sqe->fd, sqe->len, flags);
        else
            result = splice(sqe->splice_fd_in, in == -1 ? NULL : &in, sqe->fd,
                            out == -1 ? NULL : &out, sqe->len, flags);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

/* One end is not ready. If that is a pipe the call does not block, and tells what is wrong. */
static int wait_for_end(struct torc__epoll *epoll, const struct torc__epoll_note *note,
                        const struct io_uring_sqe *sqe, bool may_wait)
{
    ssize_t result = -EAGAIN;

    if (S_ISFIFO(mode_of(epoll, note->fd)))
        result = splice_now(epoll, sqe);
    return result == -EAGAIN && may_wait ? VERDICT_WATCH : (int)result;
}

/*
 * Both ends are to be ready first, since SPLICE_F_NONBLOCK speaks of the pipe only. A file goes to
 * the pool, where it may take its time, but does not wait for the pipe.
 */
int torc__epoll_try_splice(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);
    const bool may_wait = !(sqe->splice_flags & SPLICE_F_NONBLOCK) || note->begun;
    ssize_t result;

    if ((sqe->splice_flags & SPLICE_F_FD_IN_FIXED) || sqe->splice_fd_in < 0 || sqe->fd < 0)
        return -EBADF;
    if (sqe->len == 0)
        return 0;
    if (must_wait(epoll, note, sqe->splice_fd_in, EPOLLIN) ||
        must_wait(epoll, note, sqe->fd, EPOLLOUT))
        return wait_for_end(epoll, note, sqe, may_wait);
    if (is_file(mode_of(epoll, sqe->splice_fd_in)) || is_file(mode_of(epoll, sqe->fd))) {
        note->begun = may_wait;
        sqe->splice_flags |= SPLICE_F_NONBLOCK;
        return VERDICT_POOL;
    }
    result = splice_now(epoll, sqe);
    if (result != -EAGAIN || !may_wait)
        return (int)result;
    note->due_ns = torc__time_add(torc__clock_now(), SPLICE_PAUSE_NS);
    return VERDICT_TIME;
}

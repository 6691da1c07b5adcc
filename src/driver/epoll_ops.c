/* SPDX-License-Identifier: MIT */
/*
 * epoll_ops.c - what each opcode means: the table, polls, and what needs little more than a call.
 */
#include "base/compiler.h"
#include "driver/epoll.h"
#include "driver/execute.h"
#include "driver/sqe.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

_Static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLPRI == EPOLLPRI &&
                   POLLERR == EPOLLERR && POLLHUP == EPOLLHUP && POLLRDHUP == EPOLLRDHUP,
               "the events of poll(2) and epoll are the same bits");

/* Receives that do not wait, or not for what the others wait for. */
#define OUT_OF_TURN (MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE)
/* What holds for files at any time. */
#define FILE_EVENTS ((uint32_t)(POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM))

/* ---- Polls ---- */

int torc__epoll_poll_file(const struct torc__epoll_note *note)
{
    const uint32_t ready = note->events & FILE_EVENTS;

    return ready != 0 ? (int)ready : -EINVAL;
}

int torc__epoll_try_poll(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);
    const bool is_multi = sqe->len & IORING_POLL_ADD_MULTI;
    int result = 0;

    if (sqe->len & ~(uint32_t)(IORING_POLL_ADD_MULTI | IORING_POLL_ADD_LEVEL))
        return -EINVAL;
    note->fd = sqe->fd;
    note->events = torc__poll_events(sqe);
    if (is_multi && !(sqe->len & IORING_POLL_ADD_LEVEL) && note->edge == EDGE_NONE)
        note->edge = EDGE_WANTED;
    if (!is_multi && !note->retried && torc__epoll_will_tell(epoll, sqe->fd, note->events))
        return VERDICT_WATCH;
    if (!is_multi || note->retried) {
        result = note->retried && note->result != 0
                     ? note->result & (int)(note->events | POLLERR | POLLHUP)
                     : torc__epoll_ask(epoll, sqe->fd, note->events);
    }
    note->result = 0;
    if (result == 0)
        return VERDICT_WATCH;
    if (!is_multi || result < 0)
        return result;
    torc__epoll_tell_more(epoll, op, result, 0);
    return VERDICT_WATCH;
}

/* ---- What is done at once, or by a thread ---- */

static int by_call(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    (void)op;
    torc__epoll_count_call(epoll);
    return torc__execute(sqe);
}

static int by_pool(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    (void)epoll;
    (void)op;
    (void)sqe;
    return VERDICT_POOL;
}

/* A child that a pidfd names is waited for as any descriptor is; others by a thread. */
static int try_waitid(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);
    const int options = (int)sqe->file_index;
    siginfo_t own = {0};
    siginfo_t *info = sqe->addr2 != 0 ? (void *)(uintptr_t)sqe->addr2 : &own;

    if (options & WNOHANG)
        return by_call(epoll, op, sqe);
    if (sqe->len != P_PIDFD || (options & (WSTOPPED | WCONTINUED)))
        return VERDICT_POOL;
    note->fd = sqe->fd;
    note->events = EPOLLIN;
    torc__epoll_count_call(epoll);
    info->si_pid = 0;
    if (waitid(P_PIDFD, (id_t)sqe->fd, info, options | WNOHANG) < 0)
        return -errno;
    return info->si_pid != 0 ? 0 : VERDICT_WATCH;
}

static int nop(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    (void)epoll;
    (void)op;
    (void)sqe;
    return 0;
}

/* A new socket or pipe has numbers of which we know nothing yet. */
static int open_socket(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    int result = by_call(epoll, op, sqe);

    if (result >= 0)
        torc__epoll_forget(epoll, result);
    return result;
}

static int open_pipe(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    const int *ends = (const void *)(uintptr_t)sqe->addr;
    int result = by_call(epoll, op, sqe);

    for (int i = 0; i < 2 && result == 0; i++)
        torc__epoll_forget(epoll, ends[i]);
    return result;
}

/* Whether the close of a socket waits until its peer has taken what was sent. */
static bool lingers(struct torc__epoll *epoll, int fd)
{
    struct linger linger = {0};
    socklen_t length = sizeof(linger);

    torc__epoll_count_call(epoll);
    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length) == 0 && linger.l_onoff &&
           linger.l_linger > 0;
}

/* The last close of a file may wait for its disk, or free very much; that of few others waits. */
static int try_close(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    const struct torc__epoll_watch *watch = torc__epoll_find(epoll, sqe->fd);
    const bool is_known = watch != NULL && watch->armed != 0;
    struct stat about;

    if (sqe->file_index != 0)
        return -ENXIO;
    torc__epoll_part(epoll, sqe->fd);
    if (!is_known) {
        torc__epoll_count_call(epoll);
        if (fstat(sqe->fd, &about) < 0)
            return -errno;
        if (S_ISREG(about.st_mode) || S_ISBLK(about.st_mode))
            return VERDICT_POOL;
    }
    return lingers(epoll, sqe->fd) ? VERDICT_POOL : by_call(epoll, op, sqe);
}

/* Rings alone have these: they are refused with the error that kernels without them give. */
static int only_rings(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    (void)epoll;
    (void)op;
    (void)sqe;
    return -EOPNOTSUPP;
}

static int fixed_buffer(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    (void)epoll;
    (void)op;
    (void)sqe;
    return -EFAULT; /* None is registered. */
}

/* ---- The table ---- */

static const struct torc__epoll_opcode opcodes[DRIVER_OPCODES] = {
    [IORING_OP_NOP] = {.attempt = nop},
    [IORING_OP_READV] = {torc__epoll_try_read, EPOLLIN, RWF_NOWAIT},
    [IORING_OP_WRITEV] = {torc__epoll_try_write, EPOLLOUT, RWF_NOWAIT},
    [IORING_OP_FSYNC] = {.attempt = by_pool},
    [IORING_OP_READ_FIXED] = {.attempt = fixed_buffer},
    [IORING_OP_WRITE_FIXED] = {.attempt = fixed_buffer},
    [IORING_OP_POLL_ADD] = {.attempt = torc__epoll_try_poll},
    [IORING_OP_POLL_REMOVE] = {.attempt = torc__epoll_try_poll_remove},
    [IORING_OP_SYNC_FILE_RANGE] = {.attempt = by_pool},
    [IORING_OP_SENDMSG] = {torc__epoll_try_sendmsg, EPOLLOUT, MSG_DONTWAIT},
    [IORING_OP_RECVMSG] = {torc__epoll_try_recvmsg, EPOLLIN, OUT_OF_TURN},
    [IORING_OP_TIMEOUT] = {.attempt = torc__epoll_try_timeout},
    [IORING_OP_TIMEOUT_REMOVE] = {.attempt = torc__epoll_try_timeout_remove},
    [IORING_OP_ACCEPT] = {torc__epoll_try_accept, EPOLLIN, 0},
    [IORING_OP_ASYNC_CANCEL] = {.attempt = torc__epoll_try_cancel},
    [IORING_OP_CONNECT] = {.attempt = torc__epoll_try_connect},
    [IORING_OP_FALLOCATE] = {.attempt = by_pool},
    [IORING_OP_OPENAT] = {.attempt = by_pool},
    [IORING_OP_CLOSE] = {.attempt = try_close},
    [IORING_OP_STATX] = {.attempt = by_pool},
    [IORING_OP_READ] = {torc__epoll_try_read, EPOLLIN, RWF_NOWAIT},
    [IORING_OP_WRITE] = {torc__epoll_try_write, EPOLLOUT, RWF_NOWAIT},
    [IORING_OP_FADVISE] = {.attempt = by_pool},
    [IORING_OP_MADVISE] = {.attempt = by_pool},
    [IORING_OP_SEND] = {torc__epoll_try_send, EPOLLOUT, MSG_DONTWAIT},
    [IORING_OP_RECV] = {torc__epoll_try_recv, EPOLLIN, OUT_OF_TURN},
    [IORING_OP_OPENAT2] = {.attempt = by_pool},
    [IORING_OP_EPOLL_CTL] = {.attempt = by_call},
    [IORING_OP_SPLICE] = {.attempt = torc__epoll_try_splice},
    [IORING_OP_TEE] = {.attempt = torc__epoll_try_splice},
    [IORING_OP_SHUTDOWN] = {.attempt = by_call},
    [IORING_OP_RENAMEAT] = {.attempt = by_pool},
    [IORING_OP_UNLINKAT] = {.attempt = by_pool},
    [IORING_OP_MKDIRAT] = {.attempt = by_pool},
    [IORING_OP_SYMLINKAT] = {.attempt = by_pool},
    [IORING_OP_LINKAT] = {.attempt = by_pool},
    [IORING_OP_MSG_RING] = {.attempt = only_rings},
    [IORING_OP_FSETXATTR] = {.attempt = by_pool},
    [IORING_OP_SETXATTR] = {.attempt = by_pool},
    [IORING_OP_FGETXATTR] = {.attempt = by_pool},
    [IORING_OP_GETXATTR] = {.attempt = by_pool},
    [IORING_OP_SOCKET] = {.attempt = open_socket},
    [IORING_OP_URING_CMD] = {.attempt = only_rings},
    [IORING_OP_SEND_ZC] = {torc__epoll_try_send, EPOLLOUT, MSG_DONTWAIT},
    [IORING_OP_SENDMSG_ZC] = {torc__epoll_try_sendmsg, EPOLLOUT, MSG_DONTWAIT},
    [KERNEL_OP_WAITID] = {.attempt = try_waitid},
    [KERNEL_OP_FTRUNCATE] = {.attempt = by_pool},
    [KERNEL_OP_BIND] = {.attempt = by_call},
    [KERNEL_OP_LISTEN] = {.attempt = by_call},
    [KERNEL_OP_PIPE] = {.attempt = open_pipe},
};

const struct torc__epoll_opcode *torc__epoll_opcode(unsigned opcode)
{
    return opcode < ARRAY_LENGTH(opcodes) && opcodes[opcode].attempt != NULL ? &opcodes[opcode]
                                                                             : NULL;
}

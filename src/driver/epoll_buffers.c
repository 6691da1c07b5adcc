/* SPDX-License-Identifier: MIT */
/*
 * epoll_buffers.c - multishot receives, into a ring of buffers as the kernel has them for rings.
 *
 * There is one such ring, for the streams of the shard. With no kernel at its other end the buffer
 * that was put in last is taken first: it is the one that may still be in the cache.
 */
#include "base/compiler.h"
#include "base/log.h"
#include "driver/buffer_ring.h"
#include "driver/epoll.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* How often a multishot receive is tried in one turn. */
#define RECEIVES_MAX 16u
/* A buffer with less room left is not received into again: it would cut messages in pieces. */
#define REST_LEAST 4096u

int torc__epoll_open_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers,
                             unsigned entries)
{
    struct torc__epoll *epoll = torc__to_epoll(driver);

    TORC_ASSERT((entries & (entries - 1)) == 0);
    if (!torc__buffer_ring_is_had(~driver->forbid, buffers->incremental))
        return -EOPNOTSUPP;
    if (epoll->buffers != NULL)
        return -ENOMEM;
    buffers->ring = calloc(entries, sizeof(struct io_uring_buf));
    if (buffers->ring == NULL)
        return -ENOMEM;
    buffers->mask = entries - 1;
    buffers->tail = 0;
    buffers->group = 0;
    epoll->buffers = buffers;
    return 0;
}

void torc__epoll_close_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers)
{
    torc__to_epoll(driver)->buffers = NULL;
    free(buffers->ring);
    buffers->ring = NULL;
}

/* The buffer that was put in last; NULL if all are in use. */
static struct io_uring_buf *last_buffer(const struct torc__buffer_ring *buffers)
{
    return buffers->tail == 0 ? NULL : torc__buffer_ring_slot(buffers, buffers->tail - 1u);
}

/* So many bytes were received into a buffer. The flags of their completion. */
static uint32_t use(struct torc__buffer_ring *buffers, struct io_uring_buf *buffer, uint32_t count)
{
    const uint32_t flags = torc__buffer_flags(buffer);

    if (buffers->incremental && buffer->len - count >= REST_LEAST) {
        buffer->addr += count;
        buffer->len -= count;
        return flags | IORING_CQE_F_BUF_MORE;
    }
    buffers->tail--;
    return flags;
}

/* What is there, up to `size` bytes. The count, -EAGAIN, 0 at the end, or another error. */
static ssize_t receive(struct torc__epoll *epoll, const struct torc__epoll_note *note,
                       const struct io_uring_sqe *sqe, const struct io_uring_buf *buffer,
                       size_t size)
{
    void *const bytes = (void *)(uintptr_t)buffer->addr;
    const int flags = (int)sqe->msg_flags;
    ssize_t result;

    torc__epoll_count_call(epoll);
    do
        result = recv(sqe->fd, bytes, size, flags | MSG_DONTWAIT);
    while (result < 0 && errno == EINTR);
    if (unlikely(result < 0) && torc__epoll_is_shut_down(epoll, note, sqe->fd))
        result = recv(sqe->fd, bytes, size, flags);
    return result < 0 ? -errno : result;
}

/* Whether what is left of `fd`, such as its end, has an event of its own: an edge tells once. */
static bool will_be_told(const struct torc__epoll *epoll, int fd)
{
    const struct torc__epoll_watch *watch = torc__epoll_find(epoll, fd);

    return watch == NULL || !watch->edge;
}

/*
 * One that came short has taken all the bytes that there were, so the next is told by an event. Who
 * is told may put buffers in, and cancel.
 */
int torc__epoll_recv_many(struct torc__epoll *epoll, struct torc_op *op,
                          const struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);

    note->fd = sqe->fd;
    note->events = EPOLLIN;
    if (epoll->buffers == NULL || sqe->buf_group != epoll->buffers->group)
        return -ENOBUFS;
    for (unsigned i = 0; i < RECEIVES_MAX; i++) {
        struct io_uring_buf *buffer = last_buffer(epoll->buffers);
        size_t size;
        ssize_t result;

        if (buffer == NULL)
            return -ENOBUFS;
        size = sqe->len != 0 && sqe->len < buffer->len ? sqe->len : buffer->len;
        result = receive(epoll, note, sqe, buffer, size);
        if (result == -EAGAIN)
            return VERDICT_WATCH;
        if (result <= 0)
            return (int)result;
        torc__epoll_tell_more(epoll, op, (int)result,
                              use(epoll->buffers, buffer, (uint32_t)result));
        if (note->cancelled)
            return -ECANCELED;
        if ((size_t)result < size && will_be_told(epoll, sqe->fd))
            return VERDICT_WATCH;
    }
    return VERDICT_AGAIN;
}

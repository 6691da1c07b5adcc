/* SPDX-License-Identifier: MIT */
/*
 * at_once.h - large pieces, moved by a call of their own while they are in the cache.
 *
 * A ring carries out many operations in one go, and the fibers that wait for them run thereafter.
 * Of large pieces, one pushes the other out of the cache before it is used. So a fiber that has a
 * large piece to send, or whose last receive was one, tries first whether it goes without waiting;
 * only a few in a row, since meanwhile nobody else runs.
 */
#ifndef IO_AT_ONCE_H
#define IO_AT_ONCE_H

#include "shard/shard.h"
#include <sys/socket.h>

/* From here on it pays; of less, more go through the system calls saved by a ring. */
#define AT_ONCE_LEAST 65536u

/*
 * Whether the running fiber may move `length` bytes more without a wait: 0; -EAGAIN if others are
 * to run first, or if the driver wants to see ops; or the scope's reason.
 */
int torc__may_go_on(struct torc__shard *shard, size_t length);

/*
 * Send what goes without waiting of the `count` pieces, which are `length` bytes together. The
 * count; -EAGAIN if nothing goes, or if others are to run first; the scope's reason; or an error.
 */
ssize_t torc__send_at_once(int fd, struct iovec *pieces, unsigned count, size_t length, int flags);

/* Note whether a receive of `length` bytes left some, and enough to take them at once. */
static inline void torc__note_more(struct torc__shard *shard, int fd, size_t length, bool has_more)
{
    shard->at_once.more_fd = has_more && length >= AT_ONCE_LEAST ? fd : -1;
}

/* Whether the last receive on this shard was from `fd`, and that was noted. */
static inline bool torc__has_more(const struct torc__shard *shard, int fd)
{
    return shard->at_once.more_fd == fd;
}

/* Receive what is there. The results of torc__send_at_once(). */
int torc__recv_at_once(int fd, void *buffer, size_t length);

#endif

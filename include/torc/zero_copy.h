/* SPDX-License-Identifier: MIT */
/*
 * torc/zero_copy.h - send without copying: SEND_ZC (Linux 6.0) and SENDMSG_ZC (6.1).
 *
 * The kernel sends from the caller's memory, and has it until the peer has acknowledged the data
 * or the connection is gone. Worth it from some ten KiB on, over a real network card. Within the
 * machine the kernel copies all the same, and the memory comes back later: up to a hundred times
 * slower than torc_send(). So torc never does it unasked.
 *
 * Where it cannot work (older kernels, other drivers, other kinds of sockets, no locked memory
 * left: RLIMIT_MEMLOCK) these functions send as torc_send() does.
 */
#ifndef TORC_ZERO_COPY_H
#define TORC_ZERO_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <torc/api.h>
#include <torc/op.h>
TORC_BEGIN_C

struct torc_fiber;

/*
 * torc_send() without a copy. Suspends until the memory is free again, which takes a round trip to
 * the peer at least, and as long as the peer takes otherwise: a scope's reason ends the sending,
 * not the waiting for memory that was sent from. The count, which may be short, or an error.
 */
TORC_CHECK ssize_t torc_send_zc(int fd, const void *buffer, size_t length, int flags);

/* torc_sendmsg() without a copy of what its vector names. Suspends. As torc_send_zc(). */
TORC_CHECK ssize_t torc_sendmsg_zc(int fd, const struct msghdr *message, int flags);

/* A send whose memory is still lent. In the caller's memory; fields are private. */
struct torc_zero_copy {
    struct torc_op _op;
    struct torc_fiber *_waiter;
    ssize_t _result;
    bool _answered;
    bool _is_free;
};

/*
 * torc_send_zc() in two steps: this one returns when the data is on its way. Suspends. The count or
 * an error, as above. Whatever it is, the memory is lent until torc_zero_copy_finish() has
 * returned; which is to be called in any case, before `zero_copy` goes away.
 */
TORC_CHECK ssize_t torc_zero_copy_start(struct torc_zero_copy *zero_copy, int fd,
                                        const void *buffer, size_t length, int flags);

/* Whether the memory is free, so that torc_zero_copy_finish() would not suspend. */
TORC_API bool torc_zero_copy_is_free(const struct torc_zero_copy *zero_copy);

/* Wait until the memory is free. Suspends; not cancellable. */
TORC_API void torc_zero_copy_finish(struct torc_zero_copy *zero_copy);

TORC_END_C
#endif

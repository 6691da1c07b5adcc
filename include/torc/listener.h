/* SPDX-License-Identifier: MIT */
/*
 * torc/listener.h - accept connections as they come, many for one operation.
 *
 * A listener accepts by itself while somebody waits for connections (multishot accept, Linux 5.19;
 * one after the other elsewhere), and keeps those that come faster than they are asked for. When it
 * has TORC_LISTENER_QUEUE_MAX the others wait in the kernel's queue; but the kernel hands out a
 * queue that is full already in one go, so that the backlog is the limit of what may be kept. No
 * connection is lost but by closing the listener.
 *
 * The kernel notes how many descriptors there may be (RLIMIT_NOFILE) when a multishot accept
 * begins. A limit that is raised later takes effect after the next -EMFILE; one that is lowered
 * when accepting pauses, for an error or a full queue.
 *
 *     struct torc_listener listener;
 *
 *     result = torc_listener_open(&listener, &address, NULL);
 *     while ((fd = torc_listener_accept(&listener, NULL)) >= 0 ||
 *            torc_accept_error_is_transient(fd))
 *         if (fd >= 0 && torc_spawn(serve, (void *)(intptr_t)fd) < 0)
 *             (void)torc_close(fd);
 *     (void)torc_listener_close(&listener);
 */
#ifndef TORC_LISTENER_H
#define TORC_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <torc/api.h>
#include <torc/net.h>
#include <torc/op.h>
#include <torc/sync.h>
TORC_BEGIN_C

/* Connections that are accepted before the listener makes the others wait. */
#define TORC_LISTENER_QUEUE_MAX 64

/*
 * In the caller's memory; never copied or moved while open, and closed before that memory, or the
 * shard, ends. All fields are private.
 */
struct torc_listener {
    int _fd;
    int _error; /* what ended accepting, to be told once */
    uint8_t _feed;
    bool _one_by_one; /* there is no multishot here */
    uint32_t _first;  /* of the queue, which is a ring */
    uint32_t _count;
    uint32_t _room;
    int *_queue;
    struct torc_event _arrived;
    struct torc_op _accept;
};

/*
 * Listen at a TCP or Unix stream address; `options` (may be NULL) as for torc_tcp_listen(), of
 * which a Unix socket heeds the backlog only. Returns 0, or an error of socket(2), bind(2),
 * listen(2).
 */
TORC_CHECK int torc_listener_open(struct torc_listener *listener,
                                  const struct torc_address *address,
                                  const struct torc_listen_options *options);

/* Make a listener of a descriptor that listens; it is the listener's from now on. */
TORC_API void torc_listener_adopt(struct torc_listener *listener, int fd);

/* The descriptor, for options and the address. It stays the listener's. */
TORC_API int torc_listener_fd(const struct torc_listener *listener);

/*
 * The next connection. Suspends if there is none. Returns its descriptor, close-on-exec, which the
 * caller owns; `*ret_peer` (may be NULL) receives the peer's address, whose length is 0 if the peer
 * has gone already. Several fibers may wait. Errors as of torc_accept(): accepting goes on with the
 * next call, after -EMFILE too.
 */
TORC_CHECK int torc_listener_accept(struct torc_listener *listener, struct torc_address *ret_peer);

/* How many connections are accepted and not asked for. */
TORC_API unsigned torc_listener_queued(const struct torc_listener *listener);

/*
 * Close the listener, and the connections that nobody has asked for: ask until
 * torc_listener_queued() is 0 where they matter. Suspends; not cancellable. Fibers that wait for
 * connections get -EINVAL. Returns the result of close(2).
 */
TORC_API int torc_listener_close(struct torc_listener *listener);

TORC_END_C
#endif

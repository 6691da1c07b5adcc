/* SPDX-License-Identifier: MIT */
/*
 * torc/watch.h - the readiness of many descriptors, for libraries that do their own I/O.
 *
 * Where the I/O is torc's none of this is needed: a fiber per connection waits in its own call, and
 * torc_poll() tells the readiness of one descriptor. A watcher is for libraries that say which
 * descriptors they wait for and want to be told when these are ready (curl's multi interface,
 * c-ares, libpq), and for one fiber that looks after many: eventfd, timerfd, inotify, signalfd.
 *
 *     while (library_has_work(library)) {
 *         count = torc_watcher_wait(&watcher, events, 16);
 *         for (int i = 0; i < count; i++)
 *             library_socket_is_ready(library, (int)events[i].key, events[i].events);
 *     }
 *
 * Its semantics are those of epoll(7), level-triggered, and so are its abilities: a set is changed
 * at any time, also while a fiber waits, by calls that never wait; a closed descriptor leaves it by
 * itself. What is always ready, as regular files are, cannot be watched (-EPERM).
 */
#ifndef TORC_WATCH_H
#define TORC_WATCH_H

#include <poll.h>
#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

/* A set of watched descriptors, in the caller's memory. Private fields. */
struct torc_watcher {
    int _fd;
};

/* One that is ready. */
struct torc_watch_event {
    uint64_t key;    /* what was given to torc_watcher_set() */
    unsigned events; /* POLLIN, POLLOUT, POLLPRI, POLLRDHUP; POLLERR and POLLHUP, unasked */
};

/* The most events that one wait returns. */
#define TORC_WATCH_EVENTS_MAX 64

/* Prepare an empty set. Takes one descriptor. -EMFILE and its like. */
TORC_CHECK int torc_watcher_open(struct torc_watcher *watcher);

/* Give the descriptor back. No fiber may wait. What was watched stays open. */
TORC_API void torc_watcher_close(struct torc_watcher *watcher);

/*
 * Watch `fd` for `events`, of POLLIN, POLLOUT, POLLPRI and POLLRDHUP; from now on, if it is watched
 * already. `key` comes back with its events: the descriptor itself, for example, or a pointer.
 *
 * -EINVAL     events is 0, or has others.
 * -EPERM      it is always ready: a regular file, a directory.
 * -EBADF      it is not open.
 */
TORC_CHECK int torc_watcher_set(struct torc_watcher *watcher, int fd, unsigned events,
                                uint64_t key);

/*
 * Watch `fd` no more: no wait that begins from now on reports it. Do this before closing it, if
 * there are duplicates of it; otherwise closing does as well.
 *
 * -ENOENT     it is not watched;  -EBADF: it is not open.
 */
TORC_API int torc_watcher_remove(struct torc_watcher *watcher, int fd);

/*
 * Wait until something is ready, and store up to `capacity` events, at most TORC_WATCH_EVENTS_MAX.
 * Suspends. Returns how many, at least 1. What is ready and not stored comes with a later wait,
 * first; what stays ready is reported by every wait. An event may be about a descriptor that the
 * handling of one before it has removed.
 *
 * -EINVAL     capacity is 0.
 */
TORC_CHECK int torc_watcher_wait(struct torc_watcher *watcher, struct torc_watch_event *ret_events,
                                 unsigned capacity);

TORC_END_C
#endif

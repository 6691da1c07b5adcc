/* SPDX-License-Identifier: MIT */
/*
 * watch.c - the readiness of many descriptors.
 *
 * A set is an epoll instance, which the ring polls: one operation waits, however many descriptors
 * are watched. Polling each of them in the ring would keep a reference to its file, so that what a
 * library closes would not be closed, nor its peer be told, before the poll has ended.
 */
#include "base/compiler.h"
#include "io/control.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <torc/io.h>
#include <torc/watch.h>

/* poll(2) and epoll(7) name the same bits. */
_Static_assert(POLLIN == EPOLLIN, "kernel ABI");
_Static_assert(POLLOUT == EPOLLOUT, "kernel ABI");
_Static_assert(POLLPRI == EPOLLPRI, "kernel ABI");
_Static_assert(POLLERR == EPOLLERR, "kernel ABI");
_Static_assert(POLLHUP == EPOLLHUP, "kernel ABI");

#ifndef POLLRDHUP /* Without _GNU_SOURCE, which the library has. */
#error "POLLRDHUP"
#endif
_Static_assert(POLLRDHUP == EPOLLRDHUP, "kernel ABI");

#define MAY_WATCH ((unsigned)(POLLIN | POLLOUT | POLLPRI | POLLRDHUP))

int torc_watcher_open(struct torc_watcher *watcher)
{
    struct torc__control request = {.kind = CONTROL_WATCH_OPEN};
    const int fd = torc__control(&request);

    if (fd < 0)
        return fd;
    watcher->_fd = fd;
    return 0;
}

void torc_watcher_close(struct torc_watcher *watcher)
{
    torc__close_now(watcher->_fd);
    watcher->_fd = -1;
}

int torc_watcher_set(struct torc_watcher *watcher, int fd, unsigned events, uint64_t key)
{
    struct torc__control request = {
        .kind = CONTROL_WATCH_SET, .fd = watcher->_fd, .a = fd, .b = (int)events, .data = &key};

    return events == 0 || (events & ~MAY_WATCH) ? -EINVAL : torc__control(&request);
}

int torc_watcher_remove(struct torc_watcher *watcher, int fd)
{
    struct torc__control request = {.kind = CONTROL_WATCH_SET, .fd = watcher->_fd, .a = fd};

    return torc__control(&request);
}

static int take(struct torc_watcher *watcher, struct torc_watch_event *ret_events,
                unsigned capacity)
{
    struct epoll_event events[TORC_WATCH_EVENTS_MAX];
    struct torc__control request = {
        .kind = CONTROL_WATCH_TAKE, .fd = watcher->_fd, .data = events, .length = capacity};
    const int count = torc__control(&request);

    for (int i = 0; i < count; i++)
        ret_events[i] = (struct torc_watch_event){events[i].data.u64, events[i].events};
    return count;
}

int torc_watcher_wait(struct torc_watcher *watcher, struct torc_watch_event *ret_events,
                      unsigned capacity)
{
    int result = torc_yield(); /* A fiber that always finds something must not keep the shard. */

    if (capacity == 0)
        return -EINVAL;
    if (capacity > TORC_WATCH_EVENTS_MAX)
        capacity = TORC_WATCH_EVENTS_MAX;
    while (result >= 0) {
        result = take(watcher, ret_events, capacity);
        if (result != 0)
            break;
        result = torc_poll(watcher->_fd, POLLIN); /* It may be that somebody else was faster. */
    }
    return result;
}

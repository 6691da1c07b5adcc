/* SPDX-License-Identifier: MIT */
/*
 * watch.c - the readiness of descriptors.
 *
 * A set is an epoll instance, which the ring polls: one operation waits, however many descriptors
 * are watched. Polling each of them in the ring would keep a reference to its file, so that what a
 * library closes would not be closed, nor its peer be told, before the poll has ended.
 */
#include "base/compiler.h"
#include "io/await.h"
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

static int watch(struct torc_watcher *watcher, int fd, unsigned events, uint64_t key)
{
    struct torc__control request = {
        .kind = CONTROL_WATCH_SET, .fd = watcher->_fd, .a = fd, .b = (int)events, .data = &key};

    return torc__control(&request);
}

int torc_watcher_set(struct torc_watcher *watcher, int fd, unsigned events, uint64_t key)
{
    return events == 0 || (events & ~MAY_WATCH) ? -EINVAL : watch(watcher, fd, events, key);
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

/* ---- One descriptor ---- */

static int poll_by_op(int fd, unsigned events)
{
    struct torc_op op;
    struct io_uring_sqe *sqe = torc__begin(&op);

    if (sqe == NULL)
        return op._result;
    io_uring_prep_poll_add(sqe, fd, events);
    return torc__await(&op, sqe);
}

/* By a set of descriptors, in which there is this one. */
static int poll_by_set(int fd, unsigned events)
{
    struct torc_watch_event event = {0};
    struct torc_watcher set;
    int result = torc_watcher_open(&set);

    if (result < 0)
        return result;
    result = watch(&set, fd, events | POLLERR, 0);
    if (result == 0)
        result = torc_watcher_wait(&set, &event, 1);
    torc_watcher_close(&set);
    return result < 0 ? result : (int)event.events;
}

/*
 * To rings the end of the peer (POLLRDHUP) is an answer, whatever was asked. Where it is no answer
 * to the question, who asked again would be told the same, and again.
 */
int torc_poll(int fd, unsigned events)
{
    const int told = (int)(events | POLLERR | POLLHUP);
    int result = poll_by_op(fd, events);

    if (unlikely(result > 0 && !(result & told)))
        result = poll_by_set(fd, events);
    return result < 0 ? result : result & told;
}

/* SPDX-License-Identifier: MIT */
/*
 * epoll_call.c - system calls that have no non-blocking form, and vectors that go in steps.
 *
 * accept() and connect() block, or do not, by a flag of the open file, which is the program's and
 * perhaps shared with other processes; as do reads and writes of what has no other way to say so:
 * terminals, and on older kernels timers, signals and pipes. It is set for the one call and taken
 * back. Threads of this process take turns, so that none mistakes another's O_NONBLOCK for the
 * program's. What is left: another process that shares the open file may see -EAGAIN in that
 * moment; and if it does the same thing in the same moment, one of the two may block, until there
 * is a connection or room.
 */
#include "base/compiler.h"
#include "driver/epoll.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

/* Of the process, as the flags of its files are. */
static pthread_mutex_t changing_flags = PTHREAD_MUTEX_INITIALIZER;

/* The events that hold now, of `events` and those that are always told; or a negative errno. */
static int poll_now(struct torc__epoll *epoll, int fd, uint32_t events)
{
    struct pollfd one = {.fd = fd, .events = (short)events};
    const int saved = errno;
    int result;

    torc__epoll_count_call(epoll);
    do
        result = poll(&one, 1, 0);
    while (result < 0 && errno == EINTR); /* Which it says of any signal, though it never waits. */
    result = result < 0 ? -errno : (uint16_t)one.revents;
    errno = saved;
    return result;
}

bool torc__epoll_is_ready(struct torc__epoll *epoll, int fd, uint32_t events)
{
    return poll_now(epoll, fd, events) > 0;
}

int torc__epoll_ask(struct torc__epoll *epoll, int fd, uint32_t events)
{
    const int result = fd < 0 ? -EBADF : poll_now(epoll, fd, events);

    return result > 0 && (result & POLLNVAL) ? -EBADF : result;
}

bool torc__epoll_is_shut_down(struct torc__epoll *epoll, const struct torc__epoll_note *note,
                              int fd)
{
    int events = 0;

    if (errno == EAGAIN && note->retried)
        events = torc__epoll_ask(epoll, fd, POLLRDHUP);
    return events > 0 && (events & POLLRDHUP);
}

static ssize_t make_call(torc__epoll_call_fn *call, void *arguments)
{
    ssize_t result;

    do
        result = call(arguments);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

ssize_t torc__epoll_call_nonblocking(struct torc__epoll *epoll, int fd, torc__epoll_call_fn *call,
                                     void *arguments)
{
    ssize_t result;
    int flags;

    pthread_mutex_lock(&changing_flags);
    torc__epoll_count_call(epoll);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0) {
        result = -errno;
    } else if (flags & O_NONBLOCK) {
        torc__epoll_count_call(epoll);
        result = make_call(call, arguments);
    } else {
        epoll->base.stats.enters += 3;
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        result = make_call(call, arguments);
        (void)fcntl(fd, F_SETFL, flags);
    }
    pthread_mutex_unlock(&changing_flags);
    return result;
}

void torc__epoll_call_after_fork(void)
{
    pthread_mutex_init(&changing_flags, NULL);
}

unsigned torc__epoll_slice(const struct iovec *vector, size_t count, size_t skip,
                           struct iovec *ret_pieces, unsigned room)
{
    unsigned pieces = 0;

    for (size_t i = 0; i < count && pieces < room; i++) {
        if (skip >= vector[i].iov_len) {
            skip -= vector[i].iov_len;
            continue;
        }
        ret_pieces[pieces].iov_base = (char *)vector[i].iov_base + skip;
        ret_pieces[pieces].iov_len = vector[i].iov_len - skip;
        pieces++;
        skip = 0;
    }
    return pieces;
}

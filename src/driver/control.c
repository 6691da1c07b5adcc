/* SPDX-License-Identifier: MIT */
/*
 * control.c - the requests that never wait, as system calls.
 */
#include "driver/driver.h"
#include "driver/local_path.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connect without waiting, which a Unix socket does only where its file says so. */
static int connect_now(const struct torc__control *request)
{
    const int flags = fcntl(request->fd, F_GETFL);
    int error;
    int result;

    if (flags < 0 || fcntl(request->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -1;
    result = connect(request->fd, request->data, request->length);
    error = errno;
    (void)fcntl(request->fd, F_SETFL, flags);
    errno = error;
    return result;
}

static int pipe_size(const struct torc__control *request)
{
    if (request->a == 0)
        return fcntl(request->fd, F_GETPIPE_SZ);
    return fcntl(request->fd, F_SETPIPE_SZ, request->a);
}

/* Change what is watched, whether it is watched already or not. */
static int watch_set(const struct torc__control *request)
{
    struct epoll_event event = {.events = (uint32_t)request->b};
    int result;

    if (request->b == 0)
        return epoll_ctl(request->fd, EPOLL_CTL_DEL, request->a, &event);
    memcpy(&event.data.u64, request->data, sizeof(event.data.u64));
    result = epoll_ctl(request->fd, EPOLL_CTL_MOD, request->a, &event);
    if (result < 0 && errno == ENOENT)
        result = epoll_ctl(request->fd, EPOLL_CTL_ADD, request->a, &event);
    return result;
}

/* A function that tells its error itself, in place of errno. */
static int from_result(int result)
{
    if (result >= 0)
        return result;
    errno = -result;
    return -1;
}

static int ready_events(const struct torc__control *request)
{
    struct pollfd one = {.fd = request->fd, .events = (short)request->a};
    const int result = poll(&one, 1, 0);

    return result < 0 ? result : (uint16_t)one.revents;
}

static int do_request(struct torc__control *request)
{
    switch (request->kind) {
    case CONTROL_SOCKET:
        return socket(request->a, request->b | SOCK_CLOEXEC, request->c);
    case CONTROL_BIND:
        return bind(request->fd, request->data, request->length);
    case CONTROL_LISTEN:
        return listen(request->fd, request->a);
    case CONTROL_SHUTDOWN:
        return shutdown(request->fd, request->a);
    case CONTROL_LOCAL:
        return getsockname(request->fd, request->data, &request->length);
    case CONTROL_PEER:
        return getpeername(request->fd, request->data, &request->length);
    case CONTROL_SET_OPTION:
        return setsockopt(request->fd, request->a, request->b, request->data, request->length);
    case CONTROL_GET_OPTION:
        return getsockopt(request->fd, request->a, request->b, request->data, &request->length);
    case CONTROL_RECV:
        return (int)recv(request->fd, request->data, request->length, MSG_DONTWAIT);
    case CONTROL_CONNECT:
        return connect_now(request);
    case CONTROL_CLOSE:
        return close(request->fd);
    case CONTROL_PAIR:
        return socketpair(AF_UNIX, request->a | SOCK_CLOEXEC, 0, request->data);
    case CONTROL_BIND_PATH:
        return from_result(
            torc__local_bind(request->fd, request->data, request->length, (unsigned)request->a));
    case CONTROL_FREE_PATH:
        return from_result(torc__local_free(request->data, request->length));
    case CONTROL_SEND:
        return sendmmsg(request->fd, request->data, request->length,
                        request->a | MSG_DONTWAIT | MSG_NOSIGNAL);
    case CONTROL_RECEIVE:
        return recvmmsg(request->fd, request->data, request->length,
                        request->a | MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
    case CONTROL_READY:
        return ready_events(request);
    case CONTROL_PIPE:
        return pipe2(request->data, O_CLOEXEC);
    case CONTROL_PIPE_SIZE:
        return pipe_size(request);
    case CONTROL_WATCH_OPEN:
        return epoll_create1(EPOLL_CLOEXEC);
    case CONTROL_WATCH_SET:
        return watch_set(request);
    case CONTROL_WATCH_TAKE:
        return epoll_wait(request->fd, request->data, (int)request->length, 0);
    }
    errno = ENOSYS;
    return -1;
}

/* None of these waits, but some say EINTR of any signal all the same, poll() for one. */
int torc__control_kernel(struct torc__driver *driver, struct torc__control *request)
{
    int saved = errno; /* The caller's: no torc call changes it. */
    int result;

    (void)driver;
    do
        result = do_request(request);
    while (result < 0 && errno == EINTR && request->kind != CONTROL_CLOSE);
    if (result < 0)
        result = -errno;
    errno = saved;
    return result;
}

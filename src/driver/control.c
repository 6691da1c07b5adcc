/* SPDX-License-Identifier: MIT */
/*
 * control.c - the requests that never wait, as system calls.
 */
#include "driver/driver.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

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
    case CONTROL_CLOSE:
        return close(request->fd);
    case CONTROL_RECV:
        return (int)recv(request->fd, request->data, request->length, MSG_DONTWAIT);
    }
    errno = ENOSYS;
    return -1;
}

int torc__control_kernel(struct torc__driver *driver, struct torc__control *request)
{
    int saved = errno; /* The caller's: no torc call changes it. */
    int result = do_request(request);

    (void)driver;
    if (result < 0)
        result = -errno;
    errno = saved;
    return result;
}

/* SPDX-License-Identifier: MIT */
/*
 * control.c - the requests that never wait, to a simulated host.
 */
#include "base/log.h"
#include "driver/sim/driver.h"
#include "driver/sim/net.h"
#include "driver/sim/open.h"
#include "driver/sim/watch_set.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

/* Requests go on for so long as one of a list is done; an error is for the first only. */
static int done_or(unsigned done, int result)
{
    return done > 0 ? (int)done : result;
}

/* ---- What opens something ---- */

static int open_socket(struct sim_host *host, const struct torc__control *request)
{
    struct sim_file *file;
    int result;

    if (!torc__sim_fd_is_free(host))
        return -EMFILE;
    result = torc__sim_socket(host, request->a, request->b & ~SOCK_CLOEXEC, request->c, &file);
    return result < 0 ? result : torc__sim_install(host, file);
}

static int open_pair(struct sim_host *host, const struct torc__control *request)
{
    struct sim_file *files[2];
    int result = torc__sim_socket_pair(host, request->a & ~SOCK_CLOEXEC, files);

    return result < 0 ? result : torc__sim_install_two(host, files, request->data);
}

static int open_set(struct sim_host *host)
{
    struct sim_file *file;
    int result = torc__sim_watch_open(host, &file);

    return result < 0 ? result : torc__sim_install(host, file);
}

/* ---- Of sockets ---- */

static int socket_request(struct sim_file *file, struct torc__control *request)
{
    const struct sim_file_ops *ops = file->ops;
    void *data = request->data;

    if (!(ops->traits & SIM_SOCKET))
        return -ENOTSOCK;
    switch (request->kind) {
    case CONTROL_BIND:
        return ops->bind(file, data, request->length);
    case CONTROL_LISTEN:
        return ops->listen(file, request->a);
    case CONTROL_SHUTDOWN:
        return ops->shutdown(file, request->a);
    case CONTROL_LOCAL:
        return ops->local(file, data, &request->length);
    case CONTROL_PEER:
        return ops->peer(file, data, &request->length);
    case CONTROL_SET_OPTION:
        return ops->set_option(file, request->a, request->b, data, request->length);
    case CONTROL_GET_OPTION:
        return ops->get_option(file, request->a, request->b, data, &request->length);
    case CONTROL_CONNECT:
        return ops->connect(file, data, request->length);
    default:
        return -EINVAL;
    }
}

/* Whatever a kind of socket does not have, as listen() of datagrams, it does not support. */
static bool has_request(const struct sim_file *file, enum torc__control_kind kind)
{
    const struct sim_file_ops *ops = file->ops;

    if (!(ops->traits & SIM_SOCKET))
        return true; /* It is refused for that. */
    switch (kind) {
    case CONTROL_BIND:
        return ops->bind != NULL;
    case CONTROL_LISTEN:
        return ops->listen != NULL;
    case CONTROL_SHUTDOWN:
        return ops->shutdown != NULL;
    case CONTROL_CONNECT:
        return ops->connect != NULL;
    default:
        return true;
    }
}

static ssize_t receive_one(struct sim_file *file, struct msghdr *message, int flags)
{
    return file->ops->recvmsg != NULL
               ? file->ops->recvmsg(file, message,
                                    (flags | MSG_DONTWAIT) & ~(MSG_CMSG_CLOEXEC | MSG_WAITALL))
               : -ENOTSOCK;
}

static int receive(struct sim_file *file, const struct torc__control *request)
{
    struct iovec piece = {request->data, request->length};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    return (int)receive_one(file, &message, 0);
}

static int receive_many(struct sim_file *file, const struct torc__control *request)
{
    struct mmsghdr *messages = request->data;

    for (unsigned i = 0; i < request->length; i++) {
        const ssize_t size = receive_one(file, &messages[i].msg_hdr, request->a);

        if (size < 0)
            return done_or(i, (int)size);
        messages[i].msg_len = (unsigned)size;
    }
    return (int)request->length;
}

static int send_many(struct sim_file *file, const struct torc__control *request)
{
    struct mmsghdr *messages = request->data;

    if (file->ops->sendmsg == NULL)
        return -ENOTSOCK;
    for (unsigned i = 0; i < request->length; i++) {
        const ssize_t size = file->ops->sendmsg(file, &messages[i].msg_hdr,
                                                request->a | MSG_DONTWAIT | MSG_NOSIGNAL);

        if (size < 0)
            return done_or(i, (int)size);
        messages[i].msg_len = (unsigned)size;
    }
    return (int)request->length;
}

/* ---- Of others ---- */

static int pipe_size(struct sim_file *file, const struct torc__control *request)
{
    int size = request->a;

    if (!(file->ops->traits & SIM_PIPE) || file->ops->ioctl == NULL)
        return -EBADF;
    return file->ops->ioctl(file, request->a == 0 ? F_GETPIPE_SZ : F_SETPIPE_SZ, &size);
}

/* Change what is watched, whether it is watched already or not. */
static int watch_set(struct sim_file *set, const struct torc__control *request)
{
    struct epoll_event event = {.events = (uint32_t)request->b};
    int result;

    if (request->b == 0)
        return torc__sim_watch_control(set, EPOLL_CTL_DEL, request->a, &event);
    event.data.u64 = *(const uint64_t *)request->data;
    result = torc__sim_watch_control(set, EPOLL_CTL_MOD, request->a, &event);
    if (result == -ENOENT)
        result = torc__sim_watch_control(set, EPOLL_CTL_ADD, request->a, &event);
    return result;
}

static int file_request(struct sim_host *host, struct sim_file *file, struct torc__control *request)
{
    switch (request->kind) {
    case CONTROL_RECV:
        return receive(file, request);
    case CONTROL_SEND:
        return send_many(file, request);
    case CONTROL_RECEIVE:
        return receive_many(file, request);
    case CONTROL_READY:
        return (int)(torc__sim_file_poll(file) & ((uint32_t)request->a | POLLERR | POLLHUP));
    case CONTROL_CLOSE:
        return torc__sim_fd_close(host, request->fd);
    case CONTROL_BIND_PATH:
        return torc__sim_unix_bind_path(file, request->data, request->length, (unsigned)request->a);
    case CONTROL_PIPE_SIZE:
        return pipe_size(file, request);
    case CONTROL_WATCH_SET:
        return watch_set(file, request);
    case CONTROL_WATCH_TAKE:
        return torc__sim_watch_take(file, request->data, request->length);
    default:
        return has_request(file, request->kind) ? socket_request(file, request) : -EOPNOTSUPP;
    }
}

static int do_request(struct sim_host *host, struct torc__control *request)
{
    struct sim_file *file;

    switch (request->kind) {
    case CONTROL_SOCKET:
        return open_socket(host, request);
    case CONTROL_PAIR:
        return open_pair(host, request);
    case CONTROL_PIPE:
        return torc__sim_open_pipe(host, 0, request->data);
    case CONTROL_WATCH_OPEN:
        return open_set(host);
    case CONTROL_FREE_PATH:
        return torc__sim_unix_free_path(host, request->data, request->length);
    default:
        file = torc__sim_fd_file(host, request->fd);
        return file != NULL ? file_request(host, file, request) : -EBADF;
    }
}

int torc__sim_control(struct torc__driver *driver, struct torc__control *request)
{
    struct sim_host *host = torc__to_sim(driver)->host;
    const int fd = request->fd;
    const int result = do_request(host, request);

    torc__sim_trace(host->world, host, "request", (int64_t)request->kind << 32 | (uint32_t)fd,
                    result);
    return result;
}

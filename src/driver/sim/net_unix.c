/* SPDX-License-Identifier: MIT */
/*
 * net_unix.c - Unix sockets: their life, and what they are like.
 */
#include "driver/sim/net_unix.h"
#include "base/log.h"
#include "driver/sim/net_socket.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

static const struct sim_file_ops stream_ops;
static const struct sim_file_ops message_ops;

/* ---- Life ---- */

struct sim_unix *torc__sim_unix_create(struct sim_host *host, int type)
{
    struct sim_unix *socket = calloc(1, sizeof(*socket));

    TORC_ASSERT(socket != NULL);
    torc__sim_file_init(&socket->file, type == SOCK_STREAM ? &stream_ops : &message_ops, host,
                        O_RDWR);
    socket->users = 1;
    socket->is_open = true;
    socket->type = type;
    torc__sim_options_init(socket->values, AF_UNIX, type);
    socket->queue_last = &socket->queue;
    socket->ready_last = &socket->ready;
    return socket;
}

void torc__sim_unix_release(struct sim_unix *socket)
{
    if (socket != NULL && --socket->users == 0)
        free(socket);
}

void torc__sim_unix_join(struct sim_unix *a, struct sim_unix *b)
{
    a->peer = torc__sim_unix_acquire(b);
    b->peer = torc__sim_unix_acquire(a);
    a->has_credentials = true;
    b->has_credentials = true;
}

/* The peer of a connection learns of the end, and whether something was not read. */
static void tell_peer(struct sim_unix *peer, bool is_reset)
{
    peer->shut_receive = true;
    peer->shut_send = true;
    if (is_reset)
        peer->error = ECONNRESET;
    torc__sim_notify(&peer->file,
                     POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLERR | POLLHUP | POLLRDHUP);
}

void torc__sim_unix_close(struct sim_unix *socket, bool is_reset)
{
    struct sim_unix *peer = socket->peer;

    socket->is_open = false;
    torc__sim_unix_unbind(socket);
    torc__sim_unix_stop_listening(socket);
    if (peer != NULL && peer->is_open && socket->type != SOCK_DGRAM)
        tell_peer(peer, is_reset || socket->queue != NULL);
    torc__sim_unix_flush(socket);
    socket->peer = NULL;
    torc__sim_unix_release(peer);
    torc__sim_unix_release(socket);
}

static void unix_release(struct sim_file *file, bool crashed)
{
    (void)crashed; /* Its peers are on the same host. */
    torc__sim_unix_close(torc__sim_unix_of(file), false);
}

int torc__sim_unix_open(struct sim_host *host, int type, int protocol, int flags,
                        struct sim_file **ret_file)
{
    struct sim_unix *socket;

    if (protocol != 0 && protocol != AF_UNIX)
        return -EPROTONOSUPPORT;
    if (type == SOCK_RAW)
        type = SOCK_DGRAM; /* As Linux has it. */
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    socket = torc__sim_unix_create(host, type);
    if (flags & SOCK_NONBLOCK)
        socket->file.flags |= O_NONBLOCK;
    *ret_file = &socket->file;
    return 0;
}

int torc__sim_socket_pair(struct sim_host *host, int type, struct sim_file *ret_files[2])
{
    const int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct sim_file *files[2];
    int result = torc__sim_unix_open(host, type & ~flags, 0, flags, &files[0]);

    if (result == 0)
        result = torc__sim_unix_open(host, type & ~flags, 0, flags, &files[1]);
    if (result < 0)
        return result;
    torc__sim_unix_join(torc__sim_unix_of(files[0]), torc__sim_unix_of(files[1]));
    memcpy(ret_files, files, sizeof(files));
    return 0;
}

/* ---- Transfers without more than their bytes ---- */

static ssize_t unix_read(struct sim_file *file, const struct iovec *vector, size_t count,
                         off_t offset, int flags)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vector, .msg_iovlen = count};

    (void)offset;
    (void)flags;
    return torc__sim_unix_recvmsg(file, &message, 0);
}

static ssize_t unix_write(struct sim_file *file, const struct iovec *vector, size_t count,
                          off_t offset, int flags)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vector,
                                   .msg_iovlen = count};

    (void)offset;
    (void)flags;
    return torc__sim_unix_sendmsg(file, &message, 0);
}

/* ---- Ends ---- */

static void shut(struct sim_unix *socket, bool receive, bool send)
{
    socket->shut_receive |= receive;
    socket->shut_send |= send;
    torc__sim_notify(&socket->file,
                     POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLRDHUP);
}

/* The peer of a connection is shut down the other way round. */
static int unix_shutdown(struct sim_file *file, int how)
{
    struct sim_unix *socket = torc__sim_unix_of(file);

    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
    shut(socket, how != SHUT_WR, how != SHUT_RD);
    if (socket->type != SOCK_DGRAM && socket->peer != NULL && socket->peer->is_open)
        shut(socket->peer, how != SHUT_RD, how != SHUT_WR);
    return 0;
}

static int unix_local(struct sim_file *file, struct sockaddr *address, socklen_t *length)
{
    torc__sim_unix_write_name(torc__sim_unix_of(file), address, length);
    return 0;
}

static int unix_peer(struct sim_file *file, struct sockaddr *address, socklen_t *length)
{
    const struct sim_unix *socket = torc__sim_unix_of(file);

    if (socket->peer == NULL)
        return -ENOTCONN;
    torc__sim_unix_write_name(socket->peer, address, length);
    return 0;
}

/* ---- What they are like ---- */

static uint32_t unix_poll(struct sim_file *file)
{
    const struct sim_unix *socket = torc__sim_unix_of(file);
    uint32_t events = socket->error != 0 ? POLLERR : 0;

    events |= socket->shut_receive && socket->shut_send ? POLLHUP : 0;
    events |= socket->shut_receive ? POLLIN | POLLRDNORM | POLLRDHUP : 0;
    events |= socket->queue != NULL || socket->ready != NULL ? POLLIN | POLLRDNORM : 0;
    if (socket->type != SOCK_DGRAM && socket->peer == NULL && !socket->is_listening)
        events |= POLLHUP;
    if (!socket->is_listening && torc__sim_unix_is_writable(socket))
        events |= POLLOUT | POLLWRNORM;
    return events;
}

static int give_bytes(const void *from, socklen_t size, void *value, socklen_t *length)
{
    if (*length > size)
        *length = size;
    memcpy(value, from, *length);
    return 0;
}

static int give_credentials(const struct sim_unix *socket, void *value, socklen_t *length)
{
    struct ucred peer = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};

    if (socket->has_credentials)
        peer = (struct ucred){getpid(), geteuid(), getegid()};
    return give_bytes(&peer, sizeof(peer), value, length);
}

static int unix_get_option(struct sim_file *file, int level, int name, void *value,
                           socklen_t *length)
{
    static const struct timeval for_ever;
    struct sim_unix *socket = torc__sim_unix_of(file);
    const int error = socket->error;

    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    switch (name) {
    case SO_ERROR:
        socket->error = 0;
        return torc__sim_option_give(error, value, length);
    case SO_TYPE:
        return torc__sim_option_give(socket->type, value, length);
    case SO_DOMAIN:
        return torc__sim_option_give(AF_UNIX, value, length);
    case SO_PROTOCOL:
        return torc__sim_option_give(0, value, length);
    case SO_ACCEPTCONN:
        return torc__sim_option_give(socket->is_listening, value, length);
    case SO_LINGER:
        return give_bytes(&socket->linger, sizeof(socket->linger), value, length);
    case SO_RCVTIMEO:
    case SO_SNDTIMEO:
        return give_bytes(&for_ever, sizeof(for_ever), value, length);
    case SO_PEERCRED:
        return give_credentials(socket, value, length);
    default:
        return torc__sim_option_get(socket->values, AF_UNIX, socket->type, level, name, value,
                                    length);
    }
}

static int unix_set_option(struct sim_file *file, int level, int name, const void *value,
                           socklen_t length)
{
    struct sim_unix *socket = torc__sim_unix_of(file);

    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    if (name == SO_LINGER && length >= sizeof(socket->linger)) {
        memcpy(&socket->linger, value, sizeof(socket->linger)); /* Remembered only. */
        return 0;
    }
    if (name == SO_RCVTIMEO || name == SO_SNDTIMEO)
        return length >= sizeof(struct timeval) ? 0 : -EINVAL;
    return torc__sim_option_set(socket->values, AF_UNIX, socket->type, level, name, value, length);
}

static int unix_ioctl(struct sim_file *file, unsigned long request, void *arg)
{
    const struct sim_unix *socket = torc__sim_unix_of(file);
    int count = 0;

    if (request != FIONREAD && request != SIOCOUTQ)
        return -ENOTTY;
    if (socket->is_listening)
        return -EINVAL;
    if (request == SIOCOUTQ)
        count = (int)socket->sent_weight;
    for (const struct sim_unix_message *message = socket->queue;
         request == FIONREAD && message != NULL; message = message->next) {
        count += (int)(message->length - message->offset);
        if (socket->type == SOCK_DGRAM)
            break;
    }
    memcpy(arg, &count, sizeof(count));
    return 0;
}

static int unix_stat(struct sim_file *file, struct statx *ret_about)
{
    (void)file;
    ret_about->stx_mode = S_IFSOCK | 0777;
    return 0;
}

#define UNIX_CALLS                                                                   \
    .read = unix_read, .write = unix_write, .recvmsg = torc__sim_unix_recvmsg,       \
    .sendmsg = torc__sim_unix_sendmsg, .bind = torc__sim_unix_bind,                  \
    .listen = torc__sim_unix_listen, .connect = torc__sim_unix_connect,              \
    .accept = torc__sim_unix_accept, .shutdown = unix_shutdown, .local = unix_local, \
    .peer = unix_peer, .get_option = unix_get_option, .set_option = unix_set_option, \
    .poll = unix_poll, .stat = unix_stat, .ioctl = unix_ioctl, .release = unix_release

static const struct sim_file_ops stream_ops = {
    .kind = "unix", .traits = SIM_BYTES | SIM_SOCKET, UNIX_CALLS};

static const struct sim_file_ops message_ops = {.kind = "unix", .traits = SIM_SOCKET, UNIX_CALLS};

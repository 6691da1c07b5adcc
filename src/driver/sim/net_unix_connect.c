/* SPDX-License-Identifier: MIT */
/*
 * net_unix_connect.c - Unix sockets that find each other.
 */
#include "driver/sim/net_unix.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* net.core.somaxconn */
#define BACKLOG_MOST 4096u

/* ---- Listeners ---- */

int torc__sim_unix_listen(struct sim_file *file, int backlog)
{
    struct sim_unix *socket = torc__sim_unix_of(file);

    if (socket->type == SOCK_DGRAM)
        return -EOPNOTSUPP;
    if (socket->name_length == 0 || socket->peer != NULL)
        return -EINVAL;
    socket->is_listening = true;
    socket->has_credentials = true;
    socket->backlog = (unsigned)backlog < BACKLOG_MOST ? (unsigned)backlog : BACKLOG_MOST;
    torc__sim_unix_tell_refused(socket);
    return 0;
}

static struct sim_unix *take_ready(struct sim_unix *listener)
{
    struct sim_unix *socket = listener->ready;

    listener->ready = socket->ready_next;
    if (listener->ready == NULL)
        listener->ready_last = &listener->ready;
    listener->ready_count--;
    return socket;
}

int torc__sim_unix_accept(struct sim_file *file, struct sockaddr *address, socklen_t *length,
                          int flags, struct sim_file **ret_file)
{
    struct sim_unix *listener = torc__sim_unix_of(file);
    struct sim_unix *socket;

    if (listener->type == SOCK_DGRAM)
        return -EOPNOTSUPP;
    if (!listener->is_listening)
        return -EINVAL;
    if (listener->ready == NULL)
        return listener->shut_receive ? -EINVAL : -EAGAIN;
    socket = take_ready(listener);
    if (address != NULL)
        torc__sim_unix_write_name(socket->peer, address, length);
    if (flags & SOCK_NONBLOCK)
        socket->file.flags |= O_NONBLOCK;
    torc__sim_unix_tell_refused(listener);
    *ret_file = &socket->file;
    return 0;
}

void torc__sim_unix_stop_listening(struct sim_unix *socket)
{
    while (socket->ready != NULL)
        torc__sim_unix_close(take_ready(socket), true);
    socket->is_listening = false;
}

/* ---- Connecting ---- */

static void connect_to(struct sim_unix *socket, struct sim_unix *listener)
{
    struct sim_unix *other = torc__sim_unix_create(socket->file.host, socket->type);

    memcpy(other->values, listener->values, sizeof(other->values));
    other->name = listener->name;
    other->name_length = listener->name_length;
    torc__sim_unix_join(socket, other);
    other->ready_next = NULL;
    *listener->ready_last = other;
    listener->ready_last = &other->ready_next;
    listener->ready_count++;
    torc__sim_notify(&listener->file, POLLIN | POLLRDNORM);
}

static int connect_stream(struct sim_unix *socket, const struct sockaddr *address, socklen_t length)
{
    struct sim_unix *listener;
    int result;

    if (socket->is_listening)
        return -EINVAL;
    if (socket->peer != NULL)
        return -EISCONN;
    result = torc__sim_unix_find(socket->file.host, socket->type, address, length, &listener);
    if (result < 0)
        return result;
    if (!listener->is_listening || listener->shut_receive)
        return -ECONNREFUSED;
    if (listener->ready_count > listener->backlog) {
        torc__sim_unix_refuse(listener, socket);
        return -EAGAIN;
    }
    connect_to(socket, listener);
    return 0;
}

void torc__sim_unix_part(struct sim_unix *socket)
{
    struct sim_unix *peer = socket->peer;

    socket->peer = NULL;
    torc__sim_unix_flush(socket);
    if (peer->is_open && peer->peer == socket) {
        peer->error = ECONNRESET;
        torc__sim_notify(&peer->file, POLLERR | POLLIN | POLLOUT);
    }
    torc__sim_unix_release(peer);
}

static int connect_datagrams(struct sim_unix *socket, const struct sockaddr *address,
                             socklen_t length)
{
    struct sim_unix *peer = NULL;
    int result = 0;

    if (address->sa_family != AF_UNSPEC)
        result = torc__sim_unix_find(socket->file.host, SOCK_DGRAM, address, length, &peer);
    if (result < 0)
        return result;
    if (peer != NULL && !torc__sim_unix_may_send(socket, peer))
        return -EPERM;
    if (peer == socket->peer)
        return 0;
    if (socket->peer != NULL)
        torc__sim_unix_part(socket);
    if (peer != NULL)
        socket->peer = torc__sim_unix_acquire(peer);
    return 0;
}

int torc__sim_unix_connect(struct sim_file *file, const struct sockaddr *address, socklen_t length)
{
    struct sim_unix *socket = torc__sim_unix_of(file);

    if (length < sizeof(address->sa_family))
        return -EINVAL;
    return socket->type == SOCK_DGRAM ? connect_datagrams(socket, address, length)
                                      : connect_stream(socket, address, length);
}

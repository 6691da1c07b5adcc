/* SPDX-License-Identifier: MIT */
/*
 * net_unix_data.c - what goes through Unix sockets.
 */
#include "base/log.h"
#include "base/vector.h"
#include "driver/sim/net_unix.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a message weighs beside its bytes. */
#define OVERHEAD 768u
/* A stream is cut into messages of at most so many bytes. */
#define PIECE_MOST 32768u
/* How many datagrams wait for one that is not connected to their sender: max_dgram_qlen. */
#define DATAGRAMS_MOST 512u
/* What a datagram may not use of its sender's buffer. */
#define RESERVE 32u

static size_t buffer_of(const struct sim_unix *socket)
{
    return (size_t)socket->values[OPTION_SNDBUF];
}

/* ---- The queue ---- */

/* Those who are connected to each other are held back by their buffers only. */
static bool is_full_for(const struct sim_unix *to, const struct sim_unix *from)
{
    return to->peer != from && to->queued > DATAGRAMS_MOST;
}

bool torc__sim_unix_is_writable(const struct sim_unix *socket)
{
    if (socket->sent_weight * 4 > buffer_of(socket))
        return false;
    return socket->type != SOCK_DGRAM || socket->peer == NULL || !is_full_for(socket->peer, socket);
}

void torc__sim_unix_refuse(struct sim_unix *to, struct sim_unix *socket)
{
    if (socket->is_refused)
        return;
    socket->is_refused = true;
    socket->refused_next = to->refused;
    to->refused = torc__sim_unix_acquire(socket);
}

static void tell_writable(struct sim_unix *socket)
{
    if (socket->is_open)
        torc__sim_notify(&socket->file, POLLOUT | POLLWRNORM);
}

void torc__sim_unix_tell_refused(struct sim_unix *to)
{
    while (to->refused != NULL) {
        struct sim_unix *socket = to->refused;

        to->refused = socket->refused_next;
        socket->is_refused = false;
        tell_writable(socket);
        torc__sim_unix_release(socket);
    }
}

static void enqueue(struct sim_unix *to, struct sim_unix *from, struct sim_unix_message *message)
{
    message->sender = torc__sim_unix_acquire(from);
    message->weight = message->length + OVERHEAD;
    from->sent_weight += message->weight;
    *to->queue_last = message;
    to->queue_last = &message->next;
    to->queued++;
    torc__sim_notify(&to->file, POLLIN | POLLRDNORM);
}

static void dequeue(struct sim_unix *socket)
{
    struct sim_unix_message *message = socket->queue;
    struct sim_unix *sender = message->sender;

    socket->queue = message->next;
    if (socket->queue == NULL)
        socket->queue_last = &socket->queue;
    socket->queued--;
    sender->sent_weight -= message->weight;
    torc__sim_unix_message_destroy(message);
    if (torc__sim_unix_is_writable(sender))
        tell_writable(sender);
    torc__sim_unix_release(sender);
    torc__sim_unix_tell_refused(socket);
}

void torc__sim_unix_flush(struct sim_unix *socket)
{
    while (socket->queue != NULL)
        dequeue(socket);
    torc__sim_unix_tell_refused(socket);
}

/* ---- Sending ---- */

static int take_error(struct sim_unix *socket)
{
    const int error = socket->error;

    socket->error = 0;
    return -error;
}

static int check_send(struct sim_unix *socket)
{
    if (socket->type == SOCK_STREAM && socket->shut_send)
        return -EPIPE; /* Whatever the error is. */
    if (socket->error != 0)
        return take_error(socket);
    if (socket->shut_send)
        return -EPIPE;
    return socket->sent_weight >= buffer_of(socket) ? -EAGAIN : 0;
}

/* Send one message. */
static ssize_t put(struct sim_unix *to, struct sim_unix *from, const struct msghdr *message,
                   size_t skip, size_t length)
{
    struct sim_unix_message *copy;
    const int result =
        torc__sim_unix_message_create(from->file.host, skip == 0 ? message : NULL, length, &copy);

    if (result < 0)
        return result;
    (void)torc__sim_vector_take(message->msg_iov, message->msg_iovlen, skip, copy->data, length);
    enqueue(to, from, copy);
    return (ssize_t)length;
}

/* What comes with the bytes, comes with the first of them. */
static ssize_t send_stream(struct sim_unix *socket, const struct msghdr *message, size_t size)
{
    const size_t half = buffer_of(socket) / 2 - 64;
    const size_t most = half < PIECE_MOST ? half : PIECE_MOST;
    size_t done = 0;

    if (socket->shut_send)
        return -EPIPE; /* Also of no bytes. */
    while (done < size) {
        const size_t length = size - done < most ? size - done : most;
        ssize_t result = check_send(socket);

        if (result == 0 && (!socket->peer->is_open || socket->peer->shut_receive))
            result = -EPIPE;
        if (result == 0)
            result = put(socket->peer, socket, message, done, length);
        if (result < 0)
            return done > 0 ? (ssize_t)done : result;
        done += length;
    }
    return (ssize_t)done;
}

static ssize_t send_to_peer(struct sim_unix *socket, const struct msghdr *message, size_t size)
{
    ssize_t result;

    if (socket->peer == NULL)
        return -ENOTCONN;
    if (socket->type == SOCK_STREAM && message->msg_namelen > 0)
        return -EISCONN;
    if (socket->type == SOCK_STREAM)
        return send_stream(socket, message, size);
    if (size > buffer_of(socket) - RESERVE)
        return -EMSGSIZE;
    result = check_send(socket);
    if (result == 0 && (!socket->peer->is_open || socket->peer->shut_receive))
        result = -EPIPE;
    return result < 0 ? result : put(socket->peer, socket, message, 0, size);
}

/* A peer that was closed is one no more. */
static int find_target(struct sim_unix *socket, const struct msghdr *message,
                       struct sim_unix **ret_target)
{
    struct sim_unix *peer = socket->peer;

    if (message->msg_name != NULL && message->msg_namelen > 0)
        return torc__sim_unix_find(socket->file.host, SOCK_DGRAM, message->msg_name,
                                   message->msg_namelen, ret_target);
    if (peer == NULL)
        return -ENOTCONN;
    if (!peer->is_open) {
        torc__sim_unix_part(socket);
        return -ECONNREFUSED;
    }
    *ret_target = peer;
    return 0;
}

static ssize_t send_datagram(struct sim_unix *socket, const struct msghdr *message, size_t size)
{
    struct sim_unix *to = NULL;
    int result = size > buffer_of(socket) - RESERVE ? -EMSGSIZE : check_send(socket);

    if (result == 0)
        result = find_target(socket, message, &to);
    if (result < 0)
        return result;
    if (!torc__sim_unix_may_send(socket, to))
        return -EPERM;
    if (to->shut_receive)
        return -EPIPE;
    if (is_full_for(to, socket)) {
        torc__sim_unix_refuse(to, socket);
        return -EAGAIN;
    }
    return put(to, socket, message, 0, size);
}

ssize_t torc__sim_unix_sendmsg(struct sim_file *file, const struct msghdr *message, int flags)
{
    struct sim_unix *socket = torc__sim_unix_of(file);
    const size_t size = torc__vector_size(message->msg_iov, message->msg_iovlen);

    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    return socket->type == SOCK_DGRAM ? send_datagram(socket, message, size)
                                      : send_to_peer(socket, message, size);
}

/* ---- Receiving ---- */

static int nothing_to_receive(struct sim_unix *socket, struct msghdr *message, int flags)
{
    if (socket->type != SOCK_DGRAM && socket->peer == NULL)
        return socket->type == SOCK_STREAM ? -EINVAL : -ENOTCONN;
    if (socket->error != 0)
        return take_error(socket);
    if (!socket->shut_receive || (socket->type == SOCK_DGRAM && (flags & MSG_DONTWAIT)))
        return -EAGAIN; /* Of datagrams the end is told only to a call that may wait. */
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = 0;
    return 0;
}

static ssize_t receive_one(struct sim_unix *socket, struct msghdr *message, int flags)
{
    struct sim_unix_message *first = socket->queue;
    const size_t length = first->length;
    const size_t copied =
        torc__sim_vector_fill(message->msg_iov, message->msg_iovlen, 0, first->data, length);

    torc__sim_unix_tell(socket, first, message, flags & MSG_PEEK);
    if (copied < length)
        message->msg_flags |= MSG_TRUNC;
    if (!(flags & MSG_PEEK))
        dequeue(socket);
    return (ssize_t)(flags & MSG_TRUNC ? length : copied);
}

/* Copy bytes of a message; whether all of them have been. */
static bool copy_from(const struct sim_unix_message *from, const struct msghdr *message,
                      size_t *done, size_t size)
{
    const size_t left = from->length - from->offset;
    const size_t length = left < size - *done ? left : size - *done;

    (void)torc__sim_vector_fill(message->msg_iov, message->msg_iovlen, *done,
                                from->data + from->offset, length);
    *done += length;
    return length == left;
}

/*
 * Bytes of several messages, up to those with which descriptors came. What stands beside bytes is
 * that of the first message, or of the last if that is the one with descriptors.
 */
static ssize_t receive_stream(struct sim_unix *socket, struct msghdr *message, int flags)
{
    const size_t size = torc__vector_size(message->msg_iov, message->msg_iovlen);
    const struct msghdr room = *message;
    struct sim_unix_message *from = socket->queue;
    size_t done = 0;
    bool is_last = false;

    while (from != NULL && !is_last && (done < size || done == 0)) {
        const size_t before = done;
        const bool is_whole = copy_from(from, message, &done, size);
        struct sim_unix_message *next = from->next;

        is_last = from->file_count > 0 || !is_whole;
        if (before == 0 || from->file_count > 0) {
            *message = room;
            torc__sim_unix_tell(socket, from, message, flags & MSG_PEEK);
        }
        if (!(flags & MSG_PEEK)) {
            from->offset += done - before;
            if (is_whole)
                dequeue(socket);
        }
        from = next;
    }
    return (ssize_t)done;
}

ssize_t torc__sim_unix_recvmsg(struct sim_file *file, struct msghdr *message, int flags)
{
    struct sim_unix *socket = torc__sim_unix_of(file);

    if (flags & (MSG_OOB | MSG_ERRQUEUE))
        return -EOPNOTSUPP;
    if (socket->type != SOCK_STREAM && socket->error != 0)
        return take_error(socket); /* Before what is in the queue: not so of a stream. */
    if (socket->queue == NULL)
        return nothing_to_receive(socket, message, flags);
    return socket->type == SOCK_STREAM ? receive_stream(socket, message, flags)
                                       : receive_one(socket, message, flags);
}

/* SPDX-License-Identifier: MIT */
/*
 * net.c - sockets.
 */
#include "fiber/sanitizer.h"
#include "io/at_once.h"
#include "io/control.h"
#include "io/transfer.h"
#include <errno.h>
#include <string.h>
#include <torc/fiber.h>
#include <torc/net.h>

static int control(struct torc__control request)
{
    return torc__control(&request);
}

int torc_socket(int family, int type, int protocol)
{
    return control(
        (struct torc__control){.kind = CONTROL_SOCKET, .a = family, .b = type, .c = protocol});
}

int torc_bind(int fd, const struct torc_address *address)
{
    struct torc_address copy = *address;

    return control((struct torc__control){
        .kind = CONTROL_BIND, .fd = fd, .data = &copy.any, .length = copy.length});
}

int torc_listen(int fd, int backlog)
{
    return control((struct torc__control){.kind = CONTROL_LISTEN, .fd = fd, .a = backlog});
}

int torc_accept(int fd, struct torc_address *ret_peer)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof(storage);
    struct torc_op op;
    int result;

    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        if (ret_peer == NULL)
            io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
        else
            io_uring_prep_accept(sqe, fd, (struct sockaddr *)&storage, &length, SOCK_CLOEXEC);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    if (result >= 0 && ret_peer != NULL) {
        torc__sanitizer_kernel_wrote(&length, sizeof(length));
        torc__sanitizer_kernel_wrote(&storage, sizeof(storage));
        ret_peer->length = length < sizeof(storage) ? length : (socklen_t)sizeof(storage);
        memcpy(&ret_peer->storage, &storage, ret_peer->length);
    }
    return result;
}

bool torc_accept_error_is_transient(int error)
{
    switch (error) {
    case -ECONNABORTED:
    case -EPROTO:
    case -ENETDOWN:
    case -ENOPROTOOPT:
    case -EHOSTDOWN:
    case -ENONET:
    case -EHOSTUNREACH:
    case -EOPNOTSUPP:
    case -ENETUNREACH:
    case -EPERM:
    case -EAGAIN:
    case -EINTR:
        return true;
    default:
        return false;
    }
}

/*
 * A connect to a Unix socket whose queue is full cannot be polled for: the kernel tries it again
 * and again, and while it does a cancel does not find it. So the ring is used only for one that
 * has to wait, and then a kernel thread waits, from the start.
 */
static int connect_local(int fd, const struct torc_address *address)
{
    struct torc_address copy = *address;
    struct torc_op op;
    int result = torc_yield();

    if (result < 0)
        return result;
    result = control((struct torc__control){
        .kind = CONTROL_CONNECT, .fd = fd, .data = &copy.any, .length = copy.length});
    if (result != -EAGAIN)
        return result;
    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_connect(sqe, fd, &copy.any, copy.length);
        sqe->flags |= IOSQE_ASYNC;
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result)); /* Nothing is on its way then, unlike with TCP. */
    return result;
}

int torc_connect(int fd, const struct torc_address *address)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;

    if (address->any.sa_family == AF_UNIX)
        return connect_local(fd, address);
    sqe = torc__begin(&op);
    if (sqe == NULL)
        return op._result;
    io_uring_prep_connect(sqe, fd, &address->any, address->length);
    return torc__await(&op, sqe);
}

static int recv_by_op(int fd, void *buffer, size_t length, int flags)
{
    struct torc_op op;
    int result;

    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_recv(sqe, fd, buffer, torc__clamp(length), flags);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    torc__note_more(torc__shard, fd, length,
                    (size_t)result == length && (op._flags & IORING_CQE_F_SOCK_NONEMPTY));
    return result;
}

/* As much as the buffer holds, of what was left by the last time. */
static int recv_large(int fd, void *buffer, size_t length)
{
    const int result = torc__recv_at_once(fd, buffer, length);

    if (result == -EAGAIN)
        return recv_by_op(fd, buffer, length, 0);
    torc__note_more(torc__shard, fd, length, (size_t)result == length);
    return result;
}

ssize_t torc_recv(int fd, void *buffer, size_t length, int flags)
{
    int result;

    if (unlikely(torc__has_more(torc__shard_of_fiber(), fd)) && flags == 0)
        result = recv_large(fd, buffer, torc__clamp(length));
    else
        result = recv_by_op(fd, buffer, length, flags);
    /* With MSG_TRUNC it is the length of the datagram, for which there may have been no room. */
    torc__sanitizer_kernel_wrote(buffer,
                                 result > 0 && (size_t)result > length ? (ssize_t)length : result);
    return result;
}

static int send_by_op(int fd, const void *buffer, size_t length, int flags)
{
    struct torc_op op;
    int result;

    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_send(sqe, fd, buffer, torc__clamp(length), flags | MSG_NOSIGNAL);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    return result;
}

static ssize_t send_large(int fd, const void *buffer, size_t length, int flags)
{
    struct iovec piece = {(void *)(uintptr_t)buffer, length};
    const ssize_t count = torc__send_at_once(fd, &piece, 1, length, flags);

    return count == -EAGAIN ? send_by_op(fd, buffer, length, flags) : count;
}

/* What goes at once, if that is something, or what one op sends. */
static ssize_t send_some(int fd, const void *buffer, size_t length, int flags)
{
    return unlikely(length >= AT_ONCE_LEAST) ? send_large(fd, buffer, length, flags)
                                             : send_by_op(fd, buffer, length, flags);
}

/*
 * What a first send has left, which may have gone at once; or the kernel does not go on by itself
 * (before 5.19), nor beyond TRANSFER_MAX. Returns the count, and drops an error, as the kernel does
 * behind a count.
 */
static size_t send_rest(int fd, const char *data, size_t length, int flags)
{
    size_t done = 0;

    while (done < length) {
        const int count = send_by_op(fd, data + done, length - done, flags);

        if (count <= 0)
            break;
        done += (size_t)count;
    }
    return done;
}

ssize_t torc_send(int fd, const void *buffer, size_t length, int flags)
{
    const ssize_t first = send_some(fd, buffer, length, flags);
    size_t rest;

    if (likely((size_t)first == length) || first < 0 || !(flags & MSG_WAITALL))
        return first;
    rest = send_rest(fd, (const char *)buffer + first, length - (size_t)first, flags);
    return first + (ssize_t)rest;
}

ssize_t torc_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct torc_op op;
    int result;

    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_recvmsg(sqe, fd, message, (unsigned)flags | MSG_CMSG_CLOEXEC);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    torc__sanitizer_kernel_wrote(message, sizeof(*message));
    torc__sanitizer_kernel_wrote_vector(message->msg_iov, message->msg_iovlen, result);
    if (result >= 0) {
        torc__sanitizer_kernel_wrote(message->msg_name, message->msg_namelen);
        torc__sanitizer_kernel_wrote(message->msg_control, (ssize_t)message->msg_controllen);
    }
    return result;
}

ssize_t torc_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct torc_op op;
    int result;

    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_sendmsg(sqe, fd, message, (unsigned)flags | MSG_NOSIGNAL);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    return result;
}

static ssize_t recv_step(int fd, void *buffer, size_t length)
{
    return torc_recv(fd, buffer, length, 0);
}

/*
 * MSG_WAITALL lets the kernel send the rest itself after a short write (5.19). Where it does not,
 * the next step does, not torc_send(): that would drop the error.
 */
static ssize_t send_step(int fd, void *buffer, size_t length)
{
    return send_some(fd, buffer, length, MSG_WAITALL);
}

int torc_recv_all(int fd, void *buffer, size_t length, size_t *ret_done)
{
    return torc__move_all(recv_step, fd, buffer, length, ret_done);
}

int torc_send_all(int fd, const void *buffer, size_t length, size_t *ret_done)
{
    return torc__move_all(send_step, fd, (void *)(uintptr_t)buffer, length, ret_done);
}

int torc_shutdown(int fd, int how)
{
    return control((struct torc__control){.kind = CONTROL_SHUTDOWN, .fd = fd, .a = how});
}

static int get_address(enum torc__control_kind kind, int fd, struct torc_address *ret_address)
{
    struct torc_address address = {0};
    struct torc__control request = {
        .kind = kind, .fd = fd, .data = &address.any, .length = sizeof(address.storage)};
    int result = torc__control(&request);

    if (result < 0)
        return result;
    address.length = request.length;
    *ret_address = address;
    return 0;
}

int torc_local_address(int fd, struct torc_address *ret_address)
{
    return get_address(CONTROL_LOCAL, fd, ret_address);
}

int torc_peer_address(int fd, struct torc_address *ret_address)
{
    return get_address(CONTROL_PEER, fd, ret_address);
}

int torc_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    return control((struct torc__control){.kind = CONTROL_SET_OPTION,
                                          .fd = fd,
                                          .a = level,
                                          .b = option,
                                          .data = (void *)(uintptr_t)value,
                                          .length = length});
}

int torc_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    struct torc__control request = {.kind = CONTROL_GET_OPTION,
                                    .fd = fd,
                                    .a = level,
                                    .b = option,
                                    .data = value,
                                    .length = *length};
    int result = torc__control(&request);

    if (result == 0)
        *length = request.length;
    return result;
}

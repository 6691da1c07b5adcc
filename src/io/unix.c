/* SPDX-License-Identifier: MIT */
/*
 * unix.c - sockets between the processes of one machine.
 *
 * What may come with a message is a list of descriptors, perhaps preceded by credentials. A room
 * for both may be filled by descriptors alone, and then holds a few more than the caller's array:
 * those are closed here, the ones that did not fit into the room were never opened by the kernel.
 */
#include "base/compiler.h"
#include "io/control.h"
#include "io/message.h"
#include "io/option.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <torc/io.h>
#include <torc/unix.h>

#define BACKLOG_DEFAULT 4096
#define PATH_START      offsetof(struct sockaddr_un, sun_path)

/* ---- Addresses ---- */

int torc_unix_address(enum torc_unix_name kind, const char *name, size_t length,
                      struct torc_address *ret_address)
{
    struct torc_address address = {0};
    const bool is_abstract = kind == TORC_UNIX_ABSTRACT;

    if (kind == TORC_UNIX_UNNAMED)
        return -EINVAL;
    if (length > sizeof(address.local.sun_path) - 1)
        return -ENAMETOOLONG;
    if (!is_abstract && (length == 0 || memchr(name, '\0', length) != NULL))
        return -EINVAL;
    address.local.sun_family = AF_UNIX;
    if (length > 0)
        memcpy(address.local.sun_path + is_abstract, name, length);
    address.length = (socklen_t)(PATH_START + length + (is_abstract && length == 0 ? 0 : 1));
    *ret_address = address;
    return 0;
}

enum torc_unix_name torc_unix_name_of(const struct torc_address *address)
{
    if (address->length <= PATH_START)
        return TORC_UNIX_UNNAMED;
    return address->local.sun_path[0] == '\0' ? TORC_UNIX_ABSTRACT : TORC_UNIX_PATH;
}

/* ---- Sockets ---- */

static int bind_to(int fd, const struct torc_address *address, unsigned mode)
{
    struct torc_address copy = *address;
    struct torc__control request = {.kind = CONTROL_BIND_PATH,
                                    .fd = fd,
                                    .data = &copy.local,
                                    .length = copy.length,
                                    .a = (int)mode};

    return torc__control(&request);
}

static int set_up(int fd, int type, const struct torc_address *address,
                  const struct torc_unix_options *options)
{
    const struct torc__option list[] = {
        {SOL_SOCKET, SO_PASSCRED, 1, options->credentials},
        {SOL_SOCKET, SO_SNDBUF, options->send_buffer_size, options->send_buffer_size > 0},
        {SOL_SOCKET, SO_RCVBUF, options->receive_buffer_size, options->receive_buffer_size > 0},
    };
    int result = torc__options_set(fd, list, ARRAY_LENGTH(list));

    if (result == 0)
        result = bind_to(fd, address, options->mode);
    if (result == 0 && type != SOCK_DGRAM && options->backlog >= 0)
        result = torc_listen(fd, options->backlog > 0 ? options->backlog : BACKLOG_DEFAULT);
    return result;
}

int torc_unix_open(const struct torc_address *address, const struct torc_unix_options *options)
{
    static const struct torc_unix_options defaults;
    int result;
    int type;
    int fd;

    if (options == NULL)
        options = &defaults;
    type = options->type != 0 ? options->type : SOCK_STREAM;
    if (address->any.sa_family != AF_UNIX || options->mode > 0777)
        return -EINVAL;
    fd = torc_socket(AF_UNIX, type, 0);
    if (fd < 0)
        return fd;
    result = set_up(fd, type, address, options);
    if (result < 0) {
        torc__close_now(fd);
        return result;
    }
    return fd;
}

int torc_unix_connect(const struct torc_address *address, int type)
{
    const int fd = torc_socket(AF_UNIX, type, 0);
    int result;

    if (fd < 0)
        return fd;
    result = torc_connect(fd, address);
    if (result < 0) {
        torc__close_now(fd);
        return result;
    }
    return fd;
}

int torc_unix_pair(int type, int ret_fds[2])
{
    int fds[2];
    struct torc__control request = {.kind = CONTROL_PAIR, .a = type, .data = fds};
    const int result = torc__control(&request);

    if (result == 0)
        memcpy(ret_fds, fds, sizeof(fds));
    return result;
}

int torc_unix_close(int fd)
{
    struct torc_address address = {0};
    struct torc__control request = {.kind = CONTROL_FREE_PATH, .data = &address.local};
    int result = torc_local_address(fd, &address);
    const int closed = torc_close(fd);

    if (closed < 0)
        return closed;
    if (result < 0 || address.any.sa_family != AF_UNIX)
        return result;
    request.length = address.length;
    result = torc__control(&request);
    return result == -EADDRINUSE || result == -ENOTSOCK ? 0 : result; /* It is another's now. */
}

int torc_unix_peer(int fd, struct torc_unix_credentials *ret_peer)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);
    const int result = torc_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);

    if (result < 0)
        return result;
    if (peer.uid == (uid_t)-1)
        return -ENOTCONN;
    *ret_peer = (struct torc_unix_credentials){peer.pid, peer.uid, peer.gid};
    return 0;
}

int torc_unix_set_credentials(int fd, bool on)
{
    const int value = on;

    return torc_setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &value, sizeof(value));
}

/* ---- Descriptors ---- */

/* Room for what comes with a message. */
struct luggage {
    _Alignas(struct cmsghdr) char bytes[CMSG_SPACE(sizeof(struct ucred)) +
                                        CMSG_SPACE(TORC_UNIX_FDS_MAX * sizeof(int))];
};

ssize_t torc_unix_send(int fd, const void *data, size_t length,
                       const struct torc_unix_parcel *parcel)
{
    struct luggage luggage;
    struct iovec vector = {(void *)(uintptr_t)data, length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

    if (length == 0 || parcel->fd_count > TORC_UNIX_FDS_MAX)
        return -EINVAL;
    if (parcel->fd_count > 0) {
        message.msg_control = luggage.bytes;
        torc__message_append(&message, SOL_SOCKET, SCM_RIGHTS, parcel->fds,
                             parcel->fd_count * sizeof(int));
    }
    return torc__message_send(fd, &message, 0);
}

static void take_fds(struct torc_unix_parcel *parcel, const struct cmsghdr *header)
{
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    for (size_t i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(header) + i * sizeof(fd), sizeof(fd));
        if (parcel->fd_count < parcel->fd_capacity) {
            parcel->fds[parcel->fd_count++] = fd;
        } else {
            torc__close_now(fd);
            parcel->fds_lost = true;
        }
    }
}

static void unpack(struct torc_unix_parcel *parcel, struct msghdr *message)
{
    parcel->fd_count = 0;
    parcel->fds_lost = message->msg_flags & MSG_CTRUNC;
    parcel->truncated = message->msg_flags & MSG_TRUNC;
    parcel->has_credentials = false;
    parcel->sender = (struct torc_unix_credentials){0};
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            take_fds(parcel, header);
        } else if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS) {
            struct ucred sender;

            memcpy(&sender, CMSG_DATA(header), sizeof(sender));
            parcel->has_credentials = true;
            parcel->sender = (struct torc_unix_credentials){sender.pid, sender.uid, sender.gid};
        } else {
            torc__message_close_fds_in(header);
        }
    }
}

ssize_t torc_unix_recv(int fd, void *data, size_t length, struct torc_unix_parcel *parcel)
{
    struct luggage luggage;
    struct iovec vector = {data, length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = luggage.bytes};
    ssize_t result;

    if (parcel->fd_capacity > TORC_UNIX_FDS_MAX)
        return -EINVAL;
    message.msg_controllen = CMSG_SPACE(sizeof(struct ucred));
    if (parcel->fd_capacity > 0)
        message.msg_controllen += CMSG_SPACE(parcel->fd_capacity * sizeof(int));
    result = torc__message_receive(fd, &message, 0);
    if (result < 0)
        return result;
    unpack(parcel, &message);
    return result;
}

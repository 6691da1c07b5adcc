/* SPDX-License-Identifier: MIT */
/*
 * dump_fd.c - what a descriptor of another process is.
 *
 * A socket is asked itself, through a copy of the descriptor (pidfd_getfd(2), Linux 5.6), which
 * works in whatever network namespace it is; all else is told by the link in /proc.
 */
#include "dump.h"

#include "output.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <torc/net.h>
#include <unistd.h>

static const char *protocol_name(int family, int type)
{
    if (family == AF_UNIX)
        return type == SOCK_DGRAM ? "unix datagram" : "unix";
    if (family == AF_INET || family == AF_INET6)
        return type == SOCK_STREAM ? "tcp" : type == SOCK_DGRAM ? "udp" : "raw ip";
    return family == AF_NETLINK ? "netlink" : "socket";
}

static void address_text(const struct torc_address *address, char *text, size_t size)
{
    if (address->length <= sizeof(sa_family_t))
        (void)snprintf(text, size, "%s", address->any.sa_family == AF_UNIX ? "unnamed" : "");
    else
        (void)torc_address_format(address, text, size);
}

static void socket_text(int fd, int type, char *text, size_t size)
{
    struct torc_address local = {.length = sizeof(local.storage)};
    struct torc_address peer = {.length = sizeof(peer.storage)};
    socklen_t length = sizeof(int);
    char local_text[160] = "";
    char peer_text[160] = "";
    int listens = 0;

    if (getsockname(fd, &local.any, &local.length) == 0)
        address_text(&local, local_text, sizeof(local_text));
    (void)getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length);
    if (getpeername(fd, &peer.any, &peer.length) == 0)
        address_text(&peer, peer_text, sizeof(peer_text));
    (void)snprintf(text, size, "%s %s%s%s%s", protocol_name(local.any.sa_family, type), local_text,
                   listens ? ", listens" : "", peer_text[0] != '\0' ? " <-> " : "", peer_text);
}

static void link_text(pid_t pid, int fd, char *text, size_t size)
{
    char path[64];
    char target[PATH_MAX];
    ssize_t length;

    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
    length = readlink(path, target, sizeof(target) - 1);
    if (length < 0 && errno == ENOENT) {
        (void)snprintf(text, size, "not open any more");
        return;
    }
    (void)snprintf(text, size, "%.*s", length > 0 ? (int)length : 0, target);
    output_make_printable(text);
}

static void look_at(const struct dump *dump, int fd, char *text, size_t size)
{
    socklen_t length = sizeof(int);
    int copy = -1;
    int type;

#ifdef SYS_pidfd_getfd
    if (dump->pidfd >= 0)
        copy = (int)syscall(SYS_pidfd_getfd, dump->pidfd, fd, 0);
#endif
    if (copy >= 0 && getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &length) == 0)
        socket_text(copy, type, text, size);
    else
        link_text(dump->pid, fd, text, size);
    if (copy >= 0)
        close(copy);
}

const char *dump_fd_text(const struct dump *dump, int fd)
{
    struct dump_fds *fds = dump->fds;
    uint32_t known = table_find(&fds->text_of, (uint64_t)fd);

    if (known == TABLE_NONE) {
        known = fds->count++;
        fds->texts = table_grow(fds->texts, fds->count, sizeof(fds->texts[0]));
        fds->texts[known][0] = '\0';
        look_at(dump, fd, fds->texts[known], sizeof(fds->texts[known]));
        table_set(&fds->text_of, (uint64_t)fd, known);
    }
    return fds->texts[known];
}

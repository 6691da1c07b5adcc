/* SPDX-License-Identifier: MIT */
/*
 * net_unix_name.c - the names of Unix sockets: paths on the host's disk, and abstract ones.
 *
 * A path is a name of an inode on the disk, which remembers no socket. A bound socket remembers the
 * number of its inode, which no other ever gets; so it can be renamed and unlinked as any other.
 */
#include "driver/sim/disk.h"
#include "driver/sim/net_socket.h"
#include "driver/sim/net_unix.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define PATH_START ((socklen_t)offsetof(struct sockaddr_un, sun_path))
#define PATH_ROOM  (sizeof(((struct sockaddr_un *)0)->sun_path) + 1)
/* Abstract names that are chosen have five digits. */
#define CHOSEN_COUNT 0x100000u

/* ---- The disk ---- */

static int call(struct sim_host *host, int number, uintptr_t a, uintptr_t b, uintptr_t c)
{
    const uintptr_t arguments[6] = {(uintptr_t)AT_FDCWD, a, b, c};

    return host->disk != NULL ? (int)torc__sim_disk_call(host, number, arguments) : -ENOENT;
}

/* What is at a path: a socket's inode, or -ECONNREFUSED: something else. */
static int look_up(struct sim_host *host, const char *path, uint64_t *ret_inode)
{
    struct statx about = {0};
    const uintptr_t arguments[6] = {(uintptr_t)AT_FDCWD, (uintptr_t)path, 0, STATX_BASIC_STATS,
                                    (uintptr_t)&about};
    const int result =
        host->disk != NULL ? (int)torc__sim_disk_call(host, SYS_statx, arguments) : -ENOENT;

    if (result < 0)
        return result;
    *ret_inode = about.stx_ino;
    return S_ISSOCK(about.stx_mode) ? 0 : -ECONNREFUSED;
}

static int make_inode(struct sim_host *host, const char *path, uint64_t *ret_inode)
{
    const int result = call(host, SYS_mknodat, (uintptr_t)path, S_IFSOCK | 0777, 0);

    if (result < 0)
        return result == -EEXIST ? -EADDRINUSE : result;
    return look_up(host, path, ret_inode);
}

/* ---- Names ---- */

/* The path of a name, ended by a NUL; false if it has none. */
static bool get_path(const struct sockaddr_un *name, socklen_t length, char path[PATH_ROOM])
{
    if (length <= PATH_START || name->sun_path[0] == '\0')
        return false;
    memcpy(path, name->sun_path, length - PATH_START);
    path[length - PATH_START] = '\0';
    return true;
}

static int read_name(const struct sockaddr *address, socklen_t length, struct sockaddr_un *ret_name)
{
    if (length < PATH_START || length > sizeof(*ret_name) || address->sa_family != AF_UNIX)
        return -EINVAL;
    memset(ret_name, 0, sizeof(*ret_name));
    memcpy(ret_name, address, length);
    return 0;
}

void torc__sim_unix_write_name(const struct sim_unix *socket, struct sockaddr *address,
                               socklen_t *length)
{
    const socklen_t whole = socket->name_length > 0 ? socket->name_length : PATH_START;
    struct sockaddr_un name = socket->name;

    name.sun_family = AF_UNIX;
    memcpy(address, &name, *length < whole ? *length : whole);
    *length = whole;
}

static struct sim_unix *find_abstract(const struct sim_host *host, const struct sockaddr_un *name,
                                      socklen_t length)
{
    struct sim_unix *socket = host->net->unix_bound;

    while (socket != NULL && !(socket->inode == 0 && socket->name_length == length &&
                               memcmp(&socket->name, name, length) == 0))
        socket = socket->bound_next;
    return socket;
}

static struct sim_unix *find_inode(const struct sim_host *host, uint64_t inode)
{
    struct sim_unix *socket = host->net->unix_bound;

    while (socket != NULL && socket->inode != inode)
        socket = socket->bound_next;
    return socket;
}

int torc__sim_unix_find(struct sim_host *host, int type, const struct sockaddr *address,
                        socklen_t length, struct sim_unix **ret_socket)
{
    struct sim_unix *socket;
    char path[PATH_ROOM];
    struct sockaddr_un name;
    uint64_t inode;
    int result = length > PATH_START ? read_name(address, length, &name) : -EINVAL;

    if (result < 0)
        return result;
    if (get_path(&name, length, path)) {
        result = look_up(host, path, &inode);
        socket = result == 0 ? find_inode(host, inode) : NULL;
    } else {
        socket = find_abstract(host, &name, length);
    }
    if (result < 0)
        return result;
    if (socket == NULL)
        return -ECONNREFUSED;
    *ret_socket = socket;
    return socket->type == type ? 0 : -EPROTOTYPE;
}

/* ---- Binding ---- */

static void enter(struct sim_unix *socket, const struct sockaddr_un *name, socklen_t length,
                  uint64_t inode)
{
    struct sim_unix **list = &socket->file.host->net->unix_bound;

    socket->name = *name;
    socket->name_length = length;
    socket->inode = inode;
    socket->bound_next = *list;
    socket->bound_link = list;
    if (*list != NULL)
        (*list)->bound_link = &socket->bound_next;
    *list = socket;
}

void torc__sim_unix_unbind(struct sim_unix *socket)
{
    if (socket->bound_link == NULL)
        return;
    *socket->bound_link = socket->bound_next;
    if (socket->bound_next != NULL)
        socket->bound_next->bound_link = socket->bound_link;
    socket->bound_link = NULL;
}

static int bind_chosen(struct sim_unix *socket)
{
    struct sim_host *host = socket->file.host;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const socklen_t length = PATH_START + 6;

    for (unsigned i = 0; i < CHOSEN_COUNT; i++) {
        const unsigned number = (unsigned)(++host->net->unix_names % CHOSEN_COUNT);

        (void)snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "%05x", number);
        if (find_abstract(host, &name, length) == NULL) {
            enter(socket, &name, length, 0);
            return 0;
        }
    }
    return -ENOSPC;
}

int torc__sim_unix_bind(struct sim_file *file, const struct sockaddr *address, socklen_t length)
{
    struct sim_unix *socket = torc__sim_unix_of(file);
    char path[PATH_ROOM];
    struct sockaddr_un name;
    uint64_t inode = 0;
    int result = read_name(address, length, &name);

    if (result < 0)
        return result;
    if (socket->name_length > 0)
        return length == PATH_START ? 0 : -EINVAL;
    if (length == PATH_START)
        return bind_chosen(socket);
    if (get_path(&name, length, path)) {
        result = make_inode(file->host, path, &inode);
        length = PATH_START + (socklen_t)strlen(path) + 1;
        if (length > sizeof(name))
            length = sizeof(name);
    } else if (find_abstract(file->host, &name, length) != NULL) {
        result = -EADDRINUSE;
    }
    if (result == 0)
        enter(socket, &name, length, inode);
    return result;
}

/* ---- Paths that outlive their sockets ---- */

int torc__sim_unix_free_path(struct sim_host *host, const struct sockaddr *address,
                             socklen_t length)
{
    char path[PATH_ROOM];
    struct sockaddr_un name;
    uint64_t inode;
    int result;

    if (read_name(address, length, &name) < 0 || !get_path(&name, length, path))
        return 0;
    result = look_up(host, path, &inode);
    if (result < 0)
        return result == -ENOENT ? 0 : result == -ECONNREFUSED ? -ENOTSOCK : result;
    if (find_inode(host, inode) != NULL)
        return -EADDRINUSE;
    return call(host, SYS_unlinkat, (uintptr_t)path, 0, 0);
}

int torc__sim_unix_bind_path(struct sim_file *file, const struct sockaddr *address,
                             socklen_t length, unsigned mode)
{
    struct sockaddr_un name;
    char path[PATH_ROOM];
    int result;

    if (file->ops->bind == NULL)
        return -ENOTSOCK;
    result = file->ops->bind(file, address, length);
    if (result == -EADDRINUSE && torc__sim_unix_free_path(file->host, address, length) == 0)
        result = file->ops->bind(file, address, length);
    if (result == 0 && mode != 0 && read_name(address, length, &name) == 0 &&
        get_path(&name, length, path))
        result = call(file->host, SYS_fchmodat, (uintptr_t)path, mode, 0);
    return result;
}

/* SPDX-License-Identifier: MIT */
/*
 * local_path.c - the paths of Unix sockets, which outlive the sockets.
 *
 * Whether a path still has its socket is asked by connecting a datagram socket to it. A bound one
 * of any type answers, one that does not listen yet too (EPROTOTYPE, or success if it is one for
 * datagrams), and notices nothing: there is no connection that it would have to accept.
 *
 * A stale path is first moved aside, then asked again, and only then removed. So what another
 * program has bound there in the meantime is found out, and put back where it was.
 */
#include "driver/local_path.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_START offsetof(struct sockaddr_un, sun_path)
#define PATH_SIZE  sizeof(((struct sockaddr_un *)0)->sun_path)
#define PATH_ROOM  (PATH_SIZE + 1) /* One of full length has no NUL. */

/* The path of an address, ended by a NUL; false if it has none. */
static bool get_path(const struct sockaddr_un *address, uint32_t length, char path[PATH_ROOM])
{
    if (address->sun_family != AF_UNIX || length <= PATH_START || address->sun_path[0] == '\0')
        return false;
    length -= PATH_START;
    if (length > PATH_SIZE)
        return false;
    memcpy(path, address->sun_path, length);
    path[length] = '\0';
    return true;
}

/* 0 if what is at `path` is a socket's that has gone. */
static int check_stale(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    int result;
    int fd;

    if (lstat(path, &status) < 0)
        return -errno;
    if (!S_ISSOCK(status.st_mode))
        return -ENOTSOCK;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    memcpy(address.sun_path, path, strlen(path));
    result = connect(fd, (struct sockaddr *)&address, sizeof(address));
    result = result < 0 && errno == ECONNREFUSED ? 0 : -EADDRINUSE;
    close(fd);
    return result;
}

/* Rename without replacing anything, if the file system can do that. */
static int move_path(const char *from, const char *to)
{
    int result = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);

    if (result < 0 && errno == EINVAL)
        result = rename(from, to);
    return result < 0 ? -errno : 0;
}

/*
 * A name in the same directory, by which only this thread calls anything. Where the path of the
 * directory leaves no room for it, the directory is opened, and has a short path by that:
 * *ret_folder, to be closed.
 */
static int name_aside(const char *path, char aside[PATH_ROOM], int *ret_folder)
{
    const char *slash = strrchr(path, '/');
    const int length = slash != NULL ? (int)(slash + 1 - path) : 0;
    const unsigned thread = (unsigned)gettid();
    char folder[PATH_ROOM];

    *ret_folder = -1;
    if (snprintf(aside, PATH_ROOM, "%.*s.torc%x", length, path, thread) <= (int)PATH_SIZE)
        return 0;
    memcpy(folder, path, (size_t)length);
    folder[length] = '\0';
    if (access("/proc/self/fd", X_OK) < 0)
        return -ENAMETOOLONG;
    *ret_folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*ret_folder < 0)
        return -errno;
    (void)snprintf(aside, PATH_ROOM, "/proc/self/fd/%d/.torc%x", *ret_folder, thread);
    return 0;
}

/* What is at `path` is stale: move it to `aside`, and remove it if it still is. */
static int remove_by_way_of(const char *path, const char *aside)
{
    int result = move_path(path, aside);

    if (result < 0)
        return result;
    if (check_stale(aside) < 0) {
        result = move_path(aside, path);
        return result < 0 ? result : -EADDRINUSE;
    }
    return unlink(aside) < 0 ? -errno : 0;
}

static int remove_stale(const char *path)
{
    char aside[PATH_ROOM];
    int folder = -1;
    int result = check_stale(path);

    if (result == 0)
        result = name_aside(path, aside, &folder);
    if (result == 0)
        result = remove_by_way_of(path, aside);
    if (folder >= 0)
        close(folder);
    return result;
}

int torc__local_free(const struct sockaddr_un *address, uint32_t length)
{
    char path[PATH_ROOM];
    int result;

    if (!get_path(address, length, path))
        return 0;
    result = remove_stale(path);
    return result == -ENOENT ? 0 : result;
}

static int bind_once(int fd, const struct sockaddr_un *address, uint32_t length)
{
    return bind(fd, (const struct sockaddr *)address, length) < 0 ? -errno : 0;
}

int torc__local_bind(int fd, const struct sockaddr_un *address, uint32_t length, unsigned mode)
{
    char path[PATH_ROOM];
    const bool has_path = get_path(address, length, path);
    int result;

    /* The path gets the mode of the socket, less the umask: never, for a moment, more than `mode`.
     */
    if (has_path && mode != 0 && fchmod(fd, mode) < 0)
        return -errno;
    result = bind_once(fd, address, length);
    if (result == -EADDRINUSE && has_path && torc__local_free(address, length) == 0)
        result = bind_once(fd, address, length);
    if (result == 0 && has_path && mode != 0 && chmod(path, mode) < 0) {
        result = -errno;
        (void)unlink(path);
    }
    return result;
}

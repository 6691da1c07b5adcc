/* SPDX-License-Identifier: MIT */
/*
 * disk_status.c - calls that look, and change nothing.
 */
#include "driver/sim/disk_status.h"
#include "base/kernel_abi.h"
#include "driver/sim/disk_file.h"
#include "driver/sim/disk_path.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATX_KNOWN_FLAGS \
    (AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)

/* ---- statx ---- */

static int stat_descriptor(struct sim_disk *disk, int fd, struct statx *ret_about)
{
    struct sim_file *file = torc__sim_fd_file(disk->host, fd);

    if (file == NULL)
        return -EBADF;
    *ret_about = (struct statx){.stx_mask = 0};
    return file->ops->stat != NULL ? file->ops->stat(file, ret_about) : 0;
}

int torc__sim_statx(struct sim_disk *disk, const struct sim_place *place, int flags, unsigned mask,
                    struct statx *ret_about)
{
    const bool is_descriptor = (flags & AT_EMPTY_PATH) &&
                               (place->path == NULL || *place->path == '\0') &&
                               place->dirfd != AT_FDCWD;
    struct sim_inode *inode;
    struct statx about;
    int result;

    if (flags & ~STATX_KNOWN_FLAGS || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE ||
        mask & STATX__RESERVED)
        return -EINVAL;
    if (is_descriptor) {
        result = stat_descriptor(disk, place->dirfd, &about);
    } else {
        result = torc__sim_find(disk, place->dirfd, place->path, flags, &inode);
        if (result == 0)
            torc__sim_inode_stat(inode, &about);
    }
    if (result < 0)
        return result;
    *ret_about = about;
    if (!(mask & KERNEL_STATX_DIOALIGN)) /* This one is told only to who asks. */
        torc__sim_stat_direct(ret_about, 0);
    return 0;
}

/* ---- Links and rights ---- */

int64_t torc__sim_readlinkat(struct sim_disk *disk, int dirfd, const char *path, char *target,
                             size_t size)
{
    const bool is_empty = path != NULL && *path == '\0';
    struct sim_inode *inode;
    size_t length;
    int result;

    if ((int64_t)(int)size <= 0)
        return -EINVAL;
    result = torc__sim_find(disk, dirfd, path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, &inode);
    if (result < 0)
        return result;
    if (!S_ISLNK(inode->live.mode))
        return is_empty ? -ENOENT : -EINVAL;
    length = strlen(inode->target);
    if (length > size)
        length = size;
    memcpy(target, inode->target, length);
    torc__sim_inode_accessed(inode);
    return (int64_t)length;
}

int torc__sim_accessat(struct sim_disk *disk, int dirfd, const char *path, int access, int flags)
{
    struct sim_inode *inode;
    int result;

    if (access & ~(R_OK | W_OK | X_OK) ||
        flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    result = torc__sim_find(disk, dirfd, path, flags & ~AT_EACCESS, &inode);
    return result < 0 ? result : torc__sim_inode_permits(inode, access);
}

/* ---- Paths ---- */

static const struct sim_entry *entry_of(const struct sim_inode *directory)
{
    const struct sim_directory *parent = directory->directory->parent->directory;

    for (size_t i = 0; i < parent->count; i++) {
        if (parent->entries[i]->live == directory)
            return parent->entries[i];
    }
    return NULL;
}

int64_t torc__sim_path_of(const struct sim_inode *directory, char *path, size_t size)
{
    char text[PATH_MAX]; /* filled from its end */
    size_t at = sizeof(text);

    while (directory != directory->disk->root) {
        const struct sim_entry *entry = entry_of(directory);

        if (entry == NULL)
            return -ENOENT;
        if (at < (size_t)entry->length + 1)
            return -ENAMETOOLONG;
        at -= entry->length;
        memcpy(text + at, entry->name, entry->length);
        text[--at] = '/';
        directory = directory->directory->parent;
    }
    if (at == sizeof(text))
        text[--at] = '/';
    if (sizeof(text) - at + 1 > size)
        return -ERANGE;
    memcpy(path, text + at, sizeof(text) - at);
    path[sizeof(text) - at] = '\0';
    return (int64_t)(sizeof(text) - at);
}

/* The last name of a walk, behind the path of its directory, of which `length` bytes are there. */
static ssize_t add_last(const struct sim_walk *walk, char *path, size_t length, size_t size)
{
    if (length > 1)
        path[length++] = '/';
    if (length + walk->length + 1 > size)
        return -ERANGE;
    memcpy(path + length, walk->name, walk->length);
    path[length + walk->length] = '\0';
    return (ssize_t)(length + walk->length);
}

/* Follow what is a link at the end of a walk, as far as it goes. */
static int find_real(struct sim_walk *walk, struct sim_inode **ret_inode)
{
    int result = torc__sim_walk_parent(walk);

    while (result == 0) {
        result = torc__sim_walk_last(walk, ret_inode);
        if (result < 0)
            return result;
        if (*ret_inode == NULL)
            return -ENOENT;
        if (!S_ISLNK((*ret_inode)->live.mode))
            return walk->has_slash && !torc__sim_is_directory(*ret_inode) ? -ENOTDIR : 0;
        result = torc__sim_walk_follow(walk, *ret_inode);
    }
    return result;
}

ssize_t torc__sim_disk_realpath(struct sim_host *host, const char *path, char *resolved,
                                size_t size)
{
    struct sim_walk walk;
    struct sim_inode *inode;
    char text[PATH_MAX];
    ssize_t length;
    int result = torc__sim_walk_init(&walk, host->disk, AT_FDCWD, path, 0);

    if (result == 0)
        result = find_real(&walk, &inode);
    if (result < 0)
        return result;
    length = torc__sim_path_of(torc__sim_is_directory(inode) ? inode : walk.at, text, sizeof(text));
    if (length > 0 && !torc__sim_is_directory(inode))
        length = add_last(&walk, text, (size_t)length, sizeof(text));
    if (length < 0)
        return length;
    if ((size_t)length >= size)
        return -ERANGE;
    memcpy(resolved, text, (size_t)length + 1);
    return length;
}

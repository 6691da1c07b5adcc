/* SPDX-License-Identifier: MIT */
/*
 * disk_path.c - where paths lead.
 *
 * A link is followed by putting its target on top of what is left of the path: nothing is copied.
 */
#include "driver/sim/disk_path.h"
#include "driver/sim/disk_file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <unistd.h>

/* ---- Beginning ---- */

int torc__sim_inode_of(struct sim_disk *disk, int fd, struct sim_inode **ret_inode)
{
    struct sim_file *file;
    struct sim_disk_file *disk_file;

    if (fd == AT_FDCWD) {
        *ret_inode = disk->working;
        return 0;
    }
    file = torc__sim_fd_file(disk->host, fd);
    if (file == NULL)
        return -EBADF;
    disk_file = torc__sim_disk_file(file);
    if (disk_file == NULL)
        return -EINVAL;
    *ret_inode = disk_file->inode;
    return 0;
}

static int find_start(struct sim_walk *walk, int dirfd)
{
    int result = torc__sim_inode_of(walk->disk, dirfd, &walk->at);

    if (result < 0)
        return result == -EINVAL ? -ENOTDIR : result;
    return torc__sim_is_directory(walk->at) ? 0 : -ENOTDIR;
}

int torc__sim_walk_init(struct sim_walk *walk, struct sim_disk *disk, int dirfd, const char *path,
                        uint64_t resolve)
{
    const bool is_confined = resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT);
    size_t length;
    int result = 0;

    if (path == NULL)
        return -EFAULT;
    length = strnlen(path, PATH_MAX);
    if (length == 0)
        return -ENOENT;
    if (length == PATH_MAX)
        return -ENAMETOOLONG;
    *walk = (struct sim_walk){.disk = disk,
                              .resolve = resolve,
                              .top = disk->root,
                              .at = disk->root,
                              .depth = 1,
                              .rest = {path}};
    if (*path == '/' && (resolve & RESOLVE_BENEATH))
        return -EXDEV;
    if (*path != '/' || is_confined)
        result = find_start(walk, dirfd);
    if (is_confined)
        walk->top = walk->at;
    return result;
}

/* ---- Names ---- */

static const char *skip_slashes(const char *text)
{
    while (*text == '/')
        text++;
    return text;
}

/* Whether nothing but slashes is left; tells whether there are any. */
static bool is_at_end(const struct sim_walk *walk, bool *ret_has_slash)
{
    bool has_slash = false;

    for (unsigned i = 0; i < walk->depth; i++) {
        has_slash |= walk->rest[i][0] == '/';
        if (*skip_slashes(walk->rest[i]) != '\0')
            return false;
    }
    *ret_has_slash = has_slash;
    return true;
}

static enum sim_last kind_of(const char *name, size_t length)
{
    if (length == 0)
        return SIM_LAST_ROOT;
    if (name[0] != '.' || length > 2)
        return SIM_LAST_NAME;
    if (length == 1)
        return SIM_LAST_DOT;
    return name[1] == '.' ? SIM_LAST_DOTDOT : SIM_LAST_NAME;
}

/* Take the next name. True if it is the last one. */
static bool take_name(struct sim_walk *walk)
{
    const char *text = skip_slashes(walk->rest[walk->depth - 1]);

    while (*text == '\0' && walk->depth > 1)
        text = skip_slashes(walk->rest[--walk->depth - 1]);
    walk->name = text;
    while (*text != '\0' && *text != '/')
        text++;
    walk->length = (size_t)(text - walk->name);
    walk->last = kind_of(walk->name, walk->length);
    walk->rest[walk->depth - 1] = text;
    walk->has_slash = false;
    return is_at_end(walk, &walk->has_slash);
}

/* ---- Steps ---- */

static int go_up(struct sim_walk *walk)
{
    if (walk->at == walk->top)
        return walk->resolve & RESOLVE_BENEATH ? -EXDEV : 0;
    walk->at = walk->at->directory->parent;
    return 0;
}

int torc__sim_walk_last(struct sim_walk *walk, struct sim_inode **ret_inode)
{
    const struct sim_entry *entry;
    int result = 0;

    if (walk->last == SIM_LAST_NAME) {
        if (walk->length > SIM_NAME_SIZE)
            return -ENAMETOOLONG;
        entry = torc__sim_entry_find(walk->at, walk->name, walk->length);
        *ret_inode = entry != NULL ? entry->live : NULL;
        return 0;
    }
    if (walk->last == SIM_LAST_DOTDOT)
        result = go_up(walk);
    if (result == 0)
        *ret_inode = walk->at;
    return result;
}

/* Put a link's target on what is left of the path. */
static int enter_link(struct sim_walk *walk, struct sim_inode *link)
{
    if (walk->resolve & RESOLVE_NO_SYMLINKS || ++walk->links > SIM_LINK_DEPTH)
        return -ELOOP;
    torc__sim_inode_accessed(link);
    if (link->target[0] == '/') {
        if (walk->resolve & RESOLVE_BENEATH)
            return -EXDEV;
        walk->at = walk->top;
    }
    walk->rest[walk->depth++] = link->target;
    return 0;
}

/* Go through a name that is not the last. */
static int step(struct sim_walk *walk)
{
    struct sim_inode *inode;
    int result = torc__sim_walk_last(walk, &inode);

    if (result < 0)
        return result;
    if (inode == NULL)
        return -ENOENT;
    if (S_ISLNK(inode->live.mode))
        return enter_link(walk, inode);
    if (!torc__sim_is_directory(inode))
        return -ENOTDIR;
    walk->at = inode;
    return 0;
}

int torc__sim_walk_parent(struct sim_walk *walk)
{
    int result = 0;

    while (result == 0) {
        const bool is_last = take_name(walk);

        if (walk->last != SIM_LAST_ROOT)
            result = torc__sim_inode_permits(walk->at, X_OK);
        if (result < 0 || is_last)
            break;
        result = step(walk);
    }
    return result;
}

int torc__sim_walk_follow(struct sim_walk *walk, struct sim_inode *link)
{
    const bool has_slash = walk->has_slash;
    int result = enter_link(walk, link);

    if (result == 0)
        result = torc__sim_walk_parent(walk);
    walk->has_slash |= has_slash;
    return result;
}

int torc__sim_walk_find(struct sim_walk *walk, bool follows, struct sim_inode **ret_inode)
{
    int result = torc__sim_walk_parent(walk);

    while (result == 0) {
        struct sim_inode *inode;

        result = torc__sim_walk_last(walk, &inode);
        if (result < 0)
            break;
        if (inode == NULL)
            return -ENOENT;
        if (S_ISLNK(inode->live.mode) && (follows || walk->has_slash)) {
            result = torc__sim_walk_follow(walk, inode);
            continue;
        }
        if (walk->has_slash && !torc__sim_is_directory(inode))
            return -ENOTDIR;
        *ret_inode = inode;
        break;
    }
    return result;
}

int torc__sim_find(struct sim_disk *disk, int dirfd, const char *path, int flags,
                   struct sim_inode **ret_inode)
{
    struct sim_walk walk;
    int result;

    if (path != NULL && *path == '\0' && (flags & AT_EMPTY_PATH))
        return torc__sim_inode_of(disk, dirfd, ret_inode);
    result = torc__sim_walk_init(&walk, disk, dirfd, path, 0);
    if (result < 0)
        return result;
    return torc__sim_walk_find(&walk, !(flags & AT_SYMLINK_NOFOLLOW), ret_inode);
}

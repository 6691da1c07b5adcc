/* SPDX-License-Identifier: MIT */
/*
 * disk_names.c - names are made, linked and removed.
 */
#include "driver/sim/disk_names.h"
#include "driver/sim/disk_file.h"
#include "driver/sim/disk_watch.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Making ---- */

int torc__sim_may_create(struct sim_walk *walk, bool is_directory)
{
    struct sim_disk *disk = walk->disk;
    const struct torc_sim_chaos *chaos = &disk->world->chaos;
    struct sim_inode *there;
    int result;

    if (walk->last != SIM_LAST_NAME)
        return -EEXIST;
    result = torc__sim_walk_last(walk, &there);
    if (result < 0)
        return result;
    if (there != NULL)
        return -EEXIST;
    if (walk->has_slash && !is_directory)
        return -ENOENT;
    if (disk->is_read_only)
        return -EROFS;
    if (walk->at->links == 0)
        return -ENOENT; /* It has been removed. */
    result = torc__sim_inode_permits(walk->at, W_OK | X_OK);
    if (result < 0)
        return result;
    if (disk->inode_count >= disk->pages_max)
        return -ENOSPC;
    if (torc__sim_disk_fault(disk, "disk: no room for a name", chaos->disk_full_rate))
        return -ENOSPC;
    return torc__sim_disk_fault(disk, "disk: quota", chaos->disk_quota_rate) ? -EDQUOT : 0;
}

struct sim_inode *torc__sim_inode_for(struct sim_inode *directory, mode_t mode)
{
    struct sim_disk *disk = directory->disk;
    struct sim_inode *inode =
        torc__sim_inode_create(disk, S_ISLNK(mode) ? mode : mode & ~disk->umask);

    if (directory->live.mode & S_ISGID) {
        inode->live.group = directory->live.group;
        if (S_ISDIR(mode))
            inode->live.mode |= S_ISGID;
    }
    inode->durable = inode->live;
    return inode;
}

void torc__sim_add_name(struct sim_walk *walk, struct sim_inode *inode)
{
    struct sim_entry *entry = torc__sim_entry_add(walk->at, walk->name, walk->length);
    const struct sim_change change = {walk->at, entry, inode};

    torc__sim_entry_set(walk->at, entry, inode);
    torc__sim_journal_add(walk->disk, &change, 1);
    torc__sim_inode_modified(walk->at);
    torc__sim_tell_name(walk->at, entry, inode, IN_CREATE, 0);
}

/* Go to where a name is to be made, and see whether it may be. */
static int walk_to_new(struct sim_walk *walk, struct sim_disk *disk, const struct sim_place *place,
                       bool is_directory)
{
    int result = torc__sim_walk_init(walk, disk, place->dirfd, place->path, 0);

    if (result == 0)
        result = torc__sim_walk_parent(walk);
    return result < 0 ? result : torc__sim_may_create(walk, is_directory);
}

static int make_node(struct sim_disk *disk, const struct sim_place *place, mode_t mode,
                     const char *target)
{
    struct sim_walk walk;
    struct sim_inode *inode;
    int result = walk_to_new(&walk, disk, place, S_ISDIR(mode));

    if (result < 0)
        return result;
    inode = torc__sim_inode_for(walk.at, mode);
    if (target != NULL) {
        inode->size = inode->durable_size = strlen(target);
        inode->target = torc__sim_allocate(inode->size + 1);
        memcpy(inode->target, target, inode->size);
    }
    torc__sim_add_name(&walk, inode);
    torc__sim_inode_release(inode);
    return 0;
}

int torc__sim_mkdirat(struct sim_disk *disk, int dirfd, const char *path, mode_t mode)
{
    return make_node(disk, &(struct sim_place){dirfd, path}, S_IFDIR | (mode & 01777), NULL);
}

int torc__sim_mknodat(struct sim_disk *disk, int dirfd, const char *path, mode_t mode)
{
    switch (mode & S_IFMT) {
    case 0:
        mode |= S_IFREG;
        break;
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
        break;
    case S_IFCHR:
    case S_IFBLK:
        return -EPERM;
    default:
        return -EINVAL;
    }
    return make_node(disk, &(struct sim_place){dirfd, path}, mode & (S_IFMT | 07777), NULL);
}

int torc__sim_symlinkat(struct sim_disk *disk, const char *target, int dirfd, const char *path)
{
    size_t length;

    if (target == NULL)
        return -EFAULT;
    length = strnlen(target, PATH_MAX);
    if (length == 0)
        return -ENOENT;
    if (length == PATH_MAX)
        return -ENAMETOOLONG;
    return make_node(disk, &(struct sim_place){dirfd, path}, S_IFLNK | 0777, target);
}

/* ---- Linking ---- */

/* What is to get another name. /proc/self/fd/N is the file of a descriptor, as in procfs. */
static int find_to_link(struct sim_disk *disk, const struct sim_place *from, int flags,
                        struct sim_inode **ret_inode)
{
    static const char descriptors[] = "/proc/self/fd/";
    const size_t length = sizeof(descriptors) - 1;

    if (from->path != NULL && (flags & AT_SYMLINK_FOLLOW) &&
        strncmp(from->path, descriptors, length) == 0 && from->path[length] != '\0')
        return torc__sim_inode_of(disk, (int)strtol(from->path + length, NULL, 10), ret_inode);
    return torc__sim_find(
        disk, from->dirfd, from->path,
        (flags & AT_EMPTY_PATH) | (flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW), ret_inode);
}

int torc__sim_linkat(struct sim_disk *disk, const struct sim_place *from,
                     const struct sim_place *to, int flags)
{
    struct sim_walk walk;
    struct sim_inode *inode;
    int result;

    if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    result = find_to_link(disk, from, flags, &inode);
    if (result == 0)
        result = walk_to_new(&walk, disk, to, false);
    if (result < 0)
        return result;
    if (torc__sim_is_directory(inode))
        return -EPERM;
    if (inode->links == 0 && !inode->is_linkable)
        return -ENOENT;
    if (inode->links >= SIM_LINKS_MAX)
        return -EMLINK;
    torc__sim_inode_changed(inode);
    torc__sim_tell_self(inode, IN_ATTRIB);
    torc__sim_add_name(&walk, inode);
    return 0;
}

/* ---- Removing ---- */

int torc__sim_may_delete(const struct sim_inode *directory, const struct sim_inode *victim)
{
    const struct sim_disk *disk = directory->disk;
    int result = torc__sim_inode_permits(directory, W_OK | X_OK);

    if (result < 0)
        return result;
    if ((directory->live.mode & S_ISVTX) && disk->user != 0 && disk->user != victim->live.user &&
        disk->user != directory->live.user)
        return -EPERM;
    return victim->generator != NULL || victim == disk->root ? -EPERM : 0;
}

void torc__sim_inode_unlinked(struct sim_inode *inode)
{
    torc__sim_inode_changed(inode);
    torc__sim_inode_settle(inode);
}

static void remove_name(struct sim_walk *walk, struct sim_inode *inode)
{
    struct sim_inode *directory = walk->at;
    struct sim_entry *entry = torc__sim_entry_find(directory, walk->name, walk->length);
    const struct sim_change change = {directory, entry, NULL};

    inode->users++;
    torc__sim_journal_add(walk->disk, &change, 1);
    torc__sim_entry_set(directory, entry, NULL);
    torc__sim_inode_modified(directory);
    if (!torc__sim_is_directory(inode))
        torc__sim_tell_self(inode, IN_ATTRIB);
    if (inode->links == 0 && inode->users == 1)
        torc__sim_tell_gone(inode); /* Linux tells of this first. */
    torc__sim_tell_name(directory, entry, inode, IN_DELETE, 0);
    inode->users--;
    torc__sim_inode_unlinked(inode);
}

/* What unlink() may not remove: 0 or an error. */
static int check_file(const struct sim_walk *walk, const struct sim_inode *inode)
{
    if (walk->has_slash)
        return torc__sim_is_directory(inode) ? -EISDIR : -ENOTDIR;
    return torc__sim_is_directory(inode) ? -EISDIR : 0;
}

/* The same of rmdir(). */
static int check_directory(const struct sim_inode *inode)
{
    if (!torc__sim_is_directory(inode))
        return -ENOTDIR;
    return inode->directory->live_count > 0 ? -ENOTEMPTY : 0;
}

/* A path whose last part is no name. */
static int refuse_last(enum sim_last last, bool is_directory)
{
    if (!is_directory)
        return -EISDIR;
    return last == SIM_LAST_DOT ? -EINVAL : last == SIM_LAST_DOTDOT ? -ENOTEMPTY : -EBUSY;
}

int torc__sim_unlinkat(struct sim_disk *disk, int dirfd, const char *path, int flags)
{
    const bool is_directory = flags & AT_REMOVEDIR;
    struct sim_walk walk;
    struct sim_inode *inode;
    int result;

    if (flags & ~AT_REMOVEDIR)
        return -EINVAL;
    result = torc__sim_walk_init(&walk, disk, dirfd, path, 0);
    if (result == 0)
        result = torc__sim_walk_parent(&walk);
    if (result < 0)
        return result;
    if (walk.last != SIM_LAST_NAME)
        return refuse_last(walk.last, is_directory);
    if (disk->is_read_only)
        return -EROFS;
    result = torc__sim_walk_last(&walk, &inode);
    if (result == 0 && inode == NULL)
        result = -ENOENT;
    if (result == 0 && !is_directory && walk.has_slash)
        result = check_file(&walk, inode);
    if (result == 0)
        result = torc__sim_may_delete(walk.at, inode);
    if (result == 0)
        result = is_directory ? check_directory(inode) : check_file(&walk, inode);
    if (result == 0)
        remove_name(&walk, inode);
    return result;
}

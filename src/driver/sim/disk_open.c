/* SPDX-License-Identifier: MIT */
/*
 * disk_open.c - openat(2) and openat2(2).
 */
#include "driver/sim/disk_open.h"
#include "driver/sim/disk_data.h"
#include "driver/sim/disk_file.h"
#include "driver/sim/disk_names.h"
#include "driver/sim/disk_watch.h"
#include <errno.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define TMPFILE_BIT (O_TMPFILE & ~O_DIRECTORY)
#define PATH_FLAGS  (O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC)
#define ALL_FLAGS                                                                          \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |  \
     O_ASYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | \
     O_PATH | O_TMPFILE)
#define ALL_RESOLVES                                                                   \
    (RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | \
     RESOLVE_IN_ROOT | RESOLVE_CACHED)

struct opening {
    struct sim_walk walk;
    struct sim_inode *inode;
    int flags;
    mode_t mode;
    bool is_new;
};

/* Which rights the flags ask for. */
static int access_of(int flags)
{
    const int mode = flags & O_ACCMODE;
    int access = mode == O_RDONLY ? R_OK : mode == O_WRONLY ? W_OK : R_OK | W_OK;

    return flags & O_TRUNC ? access | W_OK : access;
}

/* ---- What to open ---- */

static int make_file(struct opening *opening)
{
    int result = torc__sim_may_create(&opening->walk, false);

    if (result < 0)
        return result;
    opening->inode = torc__sim_inode_for(opening->walk.at, S_IFREG | (opening->mode & 07777));
    opening->is_new = true;
    torc__sim_add_name(&opening->walk, opening->inode);
    return 0;
}

/* A file without a name in a directory. */
static int make_temporary(struct opening *opening, struct sim_inode *directory)
{
    int result;

    if (!torc__sim_is_directory(directory))
        return -ENOTDIR;
    result = torc__sim_inode_permits(directory, W_OK | X_OK);
    if (result < 0)
        return result;
    opening->inode = torc__sim_inode_for(directory, S_IFREG | (opening->mode & 07777));
    opening->inode->is_linkable = !(opening->flags & O_EXCL);
    opening->is_new = true;
    return 0;
}

/* The last name, which is there or is made. 1: it is a link, which is followed now. */
static int find_last(struct opening *opening)
{
    const int flags = opening->flags;
    const bool creates = flags & O_CREAT;
    struct sim_walk *walk = &opening->walk;
    struct sim_inode *inode;
    bool follows = !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
    int result;

    if (creates && walk->last == SIM_LAST_NAME && walk->has_slash)
        return -EISDIR;
    result = torc__sim_walk_last(walk, &inode);
    if (result < 0)
        return result;
    if (inode == NULL)
        return creates ? make_file(opening) : -ENOENT;
    if (S_ISLNK(inode->live.mode) && (follows || (walk->has_slash && !creates))) {
        result = torc__sim_walk_follow(walk, inode);
        return result < 0 ? result : 1;
    }
    opening->inode = inode;
    inode->users++;
    return 0;
}

static int find(struct opening *opening)
{
    int result;

    if (opening->flags & TMPFILE_BIT) {
        struct sim_inode *directory;

        result = torc__sim_walk_find(&opening->walk, !(opening->flags & O_NOFOLLOW), &directory);
        return result < 0 ? result : make_temporary(opening, directory);
    }
    result = torc__sim_walk_parent(&opening->walk);
    if (result == 0) {
        do {
            result = find_last(opening);
        } while (result == 1);
    }
    return result;
}

/* ---- Whether it may be opened ---- */

static int check_kind(const struct opening *opening)
{
    const mode_t mode = opening->inode->live.mode;
    const int flags = opening->flags;

    if (flags & O_CREAT) {
        if ((flags & O_EXCL) && !opening->is_new)
            return -EEXIST;
        if (S_ISDIR(mode))
            return -EISDIR;
    }
    if ((flags & O_DIRECTORY || opening->walk.has_slash) && !S_ISDIR(mode) && !opening->is_new)
        return -ENOTDIR;
    if (S_ISLNK(mode))
        return flags & O_PATH ? 0 : -ELOOP;
    if (S_ISDIR(mode) && !(flags & O_PATH) && access_of(flags) & W_OK)
        return -EISDIR;
    if ((S_ISSOCK(mode) || S_ISFIFO(mode)) && !(flags & O_PATH))
        return -ENXIO; /* There is nobody at the other end. */
    return 0;
}

static int check_rights(const struct opening *opening)
{
    const struct sim_inode *inode = opening->inode;
    int result;

    if (opening->flags & O_PATH || opening->is_new)
        return 0;
    result = torc__sim_inode_permits(inode, access_of(opening->flags));
    if (result < 0)
        return result;
    return (opening->flags & O_NOATIME) && !torc__sim_inode_is_owned(inode) ? -EPERM : 0;
}

static int check_direct(const struct opening *opening)
{
    const struct sim_inode *inode = opening->inode;

    return (opening->flags & O_DIRECT) && !(opening->flags & O_PATH) &&
                   (!S_ISREG(inode->live.mode) || inode->generator != NULL)
               ? -EINVAL
               : 0;
}

static int open_found(struct opening *opening)
{
    struct sim_inode *inode = opening->inode;
    int result = check_kind(opening);

    if (result == 0)
        result = check_rights(opening);
    if (result == 0)
        result = check_direct(opening);
    if (result < 0)
        return result;
    result = torc__sim_file_open(inode, opening->flags);
    if (result < 0)
        return result;
    if ((opening->flags & O_TRUNC) && S_ISREG(inode->live.mode) && !opening->is_new &&
        inode->generator == NULL)
        (void)torc__sim_inode_truncate(inode, 0);
    return result;
}

/* ---- Calls ---- */

static int check_flags(const struct open_how *how)
{
    const uint64_t flags = how->flags;
    const bool makes = flags & (O_CREAT | TMPFILE_BIT);

    if (flags & ~(uint64_t)ALL_FLAGS || how->resolve & ~(uint64_t)ALL_RESOLVES)
        return -EINVAL;
    if ((how->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) == (RESOLVE_BENEATH | RESOLVE_IN_ROOT))
        return -EINVAL;
    if (makes ? how->mode & ~UINT64_C(07777) : how->mode != 0)
        return -EINVAL;
    if ((flags & (O_DIRECTORY | O_CREAT)) == (O_DIRECTORY | O_CREAT))
        return -EINVAL;
    if (flags & TMPFILE_BIT &&
        (!(flags & O_DIRECTORY) || (flags & O_CREAT) || (flags & O_ACCMODE) == O_RDONLY))
        return -EINVAL;
    if (flags & O_PATH && flags & ~(uint64_t)PATH_FLAGS)
        return -EINVAL;
    if (how->resolve & RESOLVE_CACHED && flags & (O_TRUNC | O_CREAT | TMPFILE_BIT))
        return -EAGAIN;
    return 0;
}

int torc__sim_openat2(struct sim_disk *disk, int dirfd, const char *path,
                      const struct open_how *how)
{
    struct opening opening = {.flags = (int)how->flags, .mode = (mode_t)how->mode};
    int result = check_flags(how);

    if (result == 0)
        result = torc__sim_walk_init(&opening.walk, disk, dirfd, path, how->resolve);
    if (result == 0 && !torc__sim_fd_is_free(disk->host))
        result = -EMFILE;
    if (result == 0)
        result = find(&opening);
    if (result < 0)
        return result;
    result = open_found(&opening);
    torc__sim_inode_release(opening.inode);
    return result;
}

int torc__sim_openat(struct sim_disk *disk, int dirfd, const char *path, int flags, mode_t mode)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)flags & ALL_FLAGS, .mode = mode & 07777};

    /* What openat2() refuses, this one never has. */
    if (how.flags & O_PATH)
        how.flags &= PATH_FLAGS;
    if (!(how.flags & (O_CREAT | TMPFILE_BIT)))
        how.mode = 0;
    return torc__sim_openat2(disk, dirfd, path, &how);
}

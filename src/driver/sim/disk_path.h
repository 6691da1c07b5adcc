/* SPDX-License-Identifier: MIT */
/*
 * disk_path.h - where paths lead.
 *
 * A walk goes up to the last name of a path, and stops there: what is done with that is different
 * in each call. torc__sim_walk_find() is for those that want what it names.
 */
#ifndef DRIVER_SIM_DISK_PATH_H
#define DRIVER_SIM_DISK_PATH_H

#include "driver/sim/disk_inner.h"

/* What the last name of a path is. */
enum sim_last {
    SIM_LAST_NAME,
    SIM_LAST_DOT,
    SIM_LAST_DOTDOT,
    SIM_LAST_ROOT, /* none: the path is "/" */
};

struct sim_walk {
    struct sim_disk *disk;
    struct sim_inode *top; /* "/", and ".." leads no higher */
    struct sim_inode *at;  /* the directory that has the last name */
    uint64_t resolve;      /* RESOLVE_ flags */
    enum sim_last last;
    const char *name;
    size_t length;
    bool has_slash; /* after the last name */
    unsigned links; /* followed so far */
    unsigned depth;
    const char *rest[SIM_LINK_DEPTH + 1]; /* of the path, and of the links inside each other */
};

/*
 * Begin to walk a path from a simulated descriptor, or AT_FDCWD; `resolve` as of openat2(2). 0;
 * -EFAULT, -ENOENT (it is empty), -ENAMETOOLONG; -EBADF, -ENOTDIR (the descriptor); -EXDEV.
 */
int torc__sim_walk_init(struct sim_walk *walk, struct sim_disk *disk, int dirfd, const char *path,
                        uint64_t resolve);

/* Go up to the last name. 0 or an error. */
int torc__sim_walk_parent(struct sim_walk *walk);

/* What the last name stands for: links are not followed. 0; NULL if there is no such name. */
int torc__sim_walk_last(struct sim_walk *walk, struct sim_inode **ret_inode);

/* Go where a link leads that is the last name, up to the last name there. 0 or an error. */
int torc__sim_walk_follow(struct sim_walk *walk, struct sim_inode *link);

/* All of it: what the path names, which exists. 0 or an error. */
int torc__sim_walk_find(struct sim_walk *walk, bool follows, struct sim_inode **ret_inode);

/*
 * The same from the beginning. `flags` of AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, which is for files of
 * this disk only.
 */
int torc__sim_find(struct sim_disk *disk, int dirfd, const char *path, int flags,
                   struct sim_inode **ret_inode);

/* The inode of a descriptor. 0, -EBADF; -EINVAL: it is no file of the disk. */
int torc__sim_inode_of(struct sim_disk *disk, int fd, struct sim_inode **ret_inode);

#endif

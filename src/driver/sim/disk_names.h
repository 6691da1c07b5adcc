/* SPDX-License-Identifier: MIT */
/*
 * disk_names.h - names of a simulated disk: made, moved and removed, as by the calls of the same
 * names. Descriptors are simulated ones, or AT_FDCWD.
 */
#ifndef DRIVER_SIM_DISK_NAMES_H
#define DRIVER_SIM_DISK_NAMES_H

#include "driver/sim/disk_path.h"

int torc__sim_mkdirat(struct sim_disk *disk, int dirfd, const char *path, mode_t mode);
/* Files, FIFOs and sockets; -EPERM of devices. */
int torc__sim_mknodat(struct sim_disk *disk, int dirfd, const char *path, mode_t mode);
int torc__sim_symlinkat(struct sim_disk *disk, const char *target, int dirfd, const char *path);
int torc__sim_unlinkat(struct sim_disk *disk, int dirfd, const char *path, int flags);

int torc__sim_linkat(struct sim_disk *disk, const struct sim_place *from,
                     const struct sim_place *to, int flags);
int torc__sim_renameat(struct sim_disk *disk, const struct sim_place *from,
                       const struct sim_place *to, unsigned flags);

/* ---- Steps of these ---- */

/*
 * The last name of a walk, which has come there, may be made. 0 or an error; a slash at the end is
 * for directories only.
 */
int torc__sim_may_create(struct sim_walk *walk, bool is_directory);

/* A new inode for that directory, as mkdir(2) and open(2) make one; the caller is its user. */
struct sim_inode *torc__sim_inode_for(struct sim_inode *directory, mode_t mode);

/* Give an inode a name that is free, or has been taken for it. */
void torc__sim_add_name(struct sim_walk *walk, struct sim_inode *inode);

/* Whether an entry may be removed, or have its name taken by another. 0 or an error. */
int torc__sim_may_delete(const struct sim_inode *directory, const struct sim_inode *victim);

/* One of its names is gone: free it if that was the last, and nobody has it open. */
void torc__sim_inode_unlinked(struct sim_inode *inode);

#endif

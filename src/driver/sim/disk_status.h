/* SPDX-License-Identifier: MIT */
/*
 * disk_status.h - calls that look: statx(2), readlink(2), access(2), getcwd(2), realpath(3).
 */
#ifndef DRIVER_SIM_DISK_STATUS_H
#define DRIVER_SIM_DISK_STATUS_H

#include "driver/sim/disk_inner.h"

/* Of any descriptor, with AT_EMPTY_PATH. */
int torc__sim_statx(struct sim_disk *disk, const struct sim_place *place, int flags, unsigned mask,
                    struct statx *ret_about);
int64_t torc__sim_readlinkat(struct sim_disk *disk, int dirfd, const char *path, char *target,
                             size_t size);
int torc__sim_accessat(struct sim_disk *disk, int dirfd, const char *path, int access, int flags);

/* The path of a directory from the root; the length, or -ERANGE, -ENOENT: it is removed. */
int64_t torc__sim_path_of(const struct sim_inode *directory, char *path, size_t size);

#endif

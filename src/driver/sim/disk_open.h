/* SPDX-License-Identifier: MIT */
/*
 * disk_open.h - openat(2) and openat2(2) on a simulated disk.
 */
#ifndef DRIVER_SIM_DISK_OPEN_H
#define DRIVER_SIM_DISK_OPEN_H

#include "driver/sim/disk_inner.h"

struct open_how;

/* A descriptor of the host, or an error. `dirfd` is a simulated descriptor, or AT_FDCWD. */
int torc__sim_openat(struct sim_disk *disk, int dirfd, const char *path, int flags, mode_t mode);
int torc__sim_openat2(struct sim_disk *disk, int dirfd, const char *path,
                      const struct open_how *how);

#endif

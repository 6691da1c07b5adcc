/* SPDX-License-Identifier: MIT */
/*
 * disk_attribute.h - what files have beside data: rights, owners, times, and named attributes.
 *
 * They act on inodes, however these were found.
 */
#ifndef DRIVER_SIM_DISK_ATTRIBUTE_H
#define DRIVER_SIM_DISK_ATTRIBUTE_H

#include "driver/sim/disk_inner.h"

int torc__sim_chmod(struct sim_inode *inode, mode_t mode);
int torc__sim_chown(struct sim_inode *inode, uid_t user, gid_t group);
/* `times` may be NULL: now. */
int torc__sim_utimens(struct sim_inode *inode, const struct timespec *times);

/* Whether it is a name at all. 0, -EFAULT, -ERANGE. */
int torc__sim_xattr_check(const char *name);
int64_t torc__sim_getxattr(const struct sim_inode *inode, const char *name, void *value,
                           size_t size);
int torc__sim_setxattr(struct sim_inode *inode, const char *name, const void *value, size_t size,
                       int flags);
int64_t torc__sim_listxattr(const struct sim_inode *inode, char *names, size_t size);
int torc__sim_removexattr(struct sim_inode *inode, const char *name);

#endif

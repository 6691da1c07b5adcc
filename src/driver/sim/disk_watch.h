/* SPDX-License-Identifier: MIT */
/*
 * disk_watch.h - who watches a simulated disk is told: see torc__sim_inotify_open().
 */
#ifndef DRIVER_SIM_DISK_WATCH_H
#define DRIVER_SIM_DISK_WATCH_H

#include "driver/sim/disk_inner.h"

/* Something has happened to a name: who watches the directory is told. */
void torc__sim_tell_name(struct sim_inode *directory, const struct sim_entry *entry,
                         const struct sim_inode *inode, uint32_t mask, uint32_t cookie);

/* To an inode itself: who watches it is told, and who watches a directory that has it. */
void torc__sim_tell_inode(struct sim_inode *inode, uint32_t mask);

/* The same, but only who watches the inode. */
void torc__sim_tell_self(struct sim_inode *inode, uint32_t mask);

/* It has no names any more, and nobody has it open: IN_DELETE_SELF, and the end of its watches. */
void torc__sim_tell_gone(struct sim_inode *inode);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * disk_data.h - the data of regular files: read, written, cut, given room; and made durable.
 */
#ifndef DRIVER_SIM_DISK_DATA_H
#define DRIVER_SIM_DISK_DATA_H

#include "driver/sim/disk_inner.h"

/* What stands there; holes are zero. The size is not looked at. */
void torc__sim_data_read(const struct sim_inode *inode, uint64_t offset, uint8_t *to, size_t size);

/* Returns how much there was room for. The size grows with what is written. */
size_t torc__sim_data_write(struct sim_inode *inode, uint64_t offset, const uint8_t *from,
                            size_t size);

/* Make it `size` bytes long. */
void torc__sim_data_resize(struct sim_inode *inode, uint64_t size);

/* Give it room for [offset, end), with zeros where there is nothing. 0, or -ENOSPC and no room. */
int torc__sim_data_reserve(struct sim_inode *inode, uint64_t offset, uint64_t end);

/* Zeros, without room for whole pages. */
void torc__sim_data_punch(struct sim_inode *inode, uint64_t offset, uint64_t end);

/* Take out [offset, end), or push in zeros there; multiples of SIM_PAGE. 0 or -ENOSPC. */
int torc__sim_data_collapse(struct sim_inode *inode, uint64_t offset, uint64_t end);
int torc__sim_data_insert(struct sim_inode *inode, uint64_t offset, uint64_t end);

/* Where data or a hole (SEEK_DATA, SEEK_HOLE) begins from `offset`, below the size, on. -ENXIO. */
int64_t torc__sim_data_seek(const struct sim_inode *inode, uint64_t offset, int whence);

/* ---- What the medium has ---- */

/*
 * Make data and size durable. If that fails (-EIO, by chance), some of it is and the rest never
 * will be, though no longer dirty: as Linux does it. What programs read is then the new data, or
 * again the old.
 */
int torc__sim_data_sync(struct sim_inode *inode);

/* The same, which never fails. */
void torc__sim_data_write_back(struct sim_inode *inode);

/* Some of what is dirty in [offset, end) may reach the medium now, or not. */
void torc__sim_data_write_early(struct sim_inode *inode, uint64_t offset, uint64_t end);

/* Forget what is not dirty and not durable either, as POSIX_FADV_DONTNEED. */
void torc__sim_data_drop_clean(struct sim_inode *inode, uint64_t offset, uint64_t end);

/* Go back to what is durable. */
void torc__sim_data_forget(struct sim_inode *inode);

/* A bit somewhere in [offset, end) becomes another one, if there are data. */
void torc__sim_data_rot(struct sim_inode *inode, uint64_t offset, uint64_t end);

/* The power is lost: by chance, for each page and for the size. */
void torc__sim_data_crash(struct sim_inode *inode);

/* Free all. */
void torc__sim_data_clear(struct sim_inode *inode);

#endif

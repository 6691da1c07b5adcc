/* SPDX-License-Identifier: MIT */
/*
 * disk_file.h - open files of a simulated disk.
 */
#ifndef DRIVER_SIM_DISK_FILE_H
#define DRIVER_SIM_DISK_FILE_H

#include "driver/sim/disk_inner.h"
#include <fcntl.h>

/* A part of a file that is locked by an open file: [start, end]. */
struct sim_range {
    struct sim_range *next;
    uint64_t start;
    uint64_t end;
    int type; /* F_RDLCK, F_WRLCK */
};

struct sim_disk_file {
    struct sim_file file;
    struct sim_inode *inode;
    struct sim_disk_file *next; /* of the inode's open files */
    struct sim_disk_file **link;
    uint64_t position;        /* in a directory: a hash */
    uint64_t errors_seen;     /* of the inode's */
    int flock;                /* LOCK_SH, LOCK_EX, or LOCK_UN: none */
    struct sim_range *ranges; /* by their starts; they do not touch if they are of one type */
    char *content;            /* made when it was opened */
    size_t content_size;
};

/* NULL: it is no file of a disk. */
struct sim_disk_file *torc__sim_disk_file(struct sim_file *file);

/* The file of a descriptor. NULL: there is none, or, unless `is_path_enough`, it is O_PATH. */
struct sim_file *torc__sim_file_of(struct sim_disk *disk, int fd, bool is_path_enough);

/* Open an inode, whatever it is. A new descriptor, or -EMFILE, -ENOMEM. */
int torc__sim_file_open(struct sim_inode *inode, int flags);

static inline bool torc__sim_may_read(const struct sim_file *file)
{
    return (file->flags & O_ACCMODE) != O_WRONLY && !(file->flags & O_PATH);
}

static inline bool torc__sim_may_write(const struct sim_file *file)
{
    return (file->flags & O_ACCMODE) != O_RDONLY && !(file->flags & O_PATH);
}

/* ---- Calls on open files ---- */

int64_t torc__sim_file_seek(struct sim_disk_file *file, int64_t offset, int whence);
int torc__sim_file_sync(struct sim_disk_file *file, bool data_only);
int torc__sim_file_sync_range(struct sim_disk_file *file, int64_t offset, int64_t length,
                              unsigned flags);
int torc__sim_file_truncate(struct sim_disk_file *file, int64_t length);
int torc__sim_file_allocate(struct sim_disk_file *file, int mode, int64_t offset, int64_t length);
int torc__sim_file_advise(struct sim_disk_file *file, int64_t offset, int64_t length, int advice);
int64_t torc__sim_file_entries(struct sim_disk_file *file, void *buffer, size_t size);
int64_t torc__sim_file_copy(struct sim_disk_file *in, int64_t *in_offset, struct sim_disk_file *out,
                            int64_t *out_offset, size_t length, unsigned flags);

/* Whether it may become `size` bytes long. 0 or -EFBIG. */
int torc__sim_size_is_allowed(const struct sim_disk *disk, int64_t size);
/* truncate(2), rights and kind aside. */
int torc__sim_inode_truncate(struct sim_inode *inode, int64_t length);
/* fsync(2) of an inode. */
int torc__sim_inode_sync(struct sim_inode *inode, bool data_only);

/* ---- Locks ---- */

int torc__sim_file_flock(struct sim_disk_file *file, int operation);
/* F_OFD_SETLK and F_OFD_GETLK. */
int torc__sim_file_lock(struct sim_disk_file *file, int command, struct flock *lock);
void torc__sim_file_unlock_all(struct sim_disk_file *file);

#endif

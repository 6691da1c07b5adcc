/* SPDX-License-Identifier: MIT */
/*
 * disk_file.c - open files of a disk: read, written, synchronised.
 */
#include "driver/sim/disk_file.h"
#include "base/compiler.h"
#include "base/kernel_abi.h"
#include "base/vector.h"
#include "driver/sim/disk_data.h"
#include "driver/sim/disk_device.h"
#include "driver/sim/disk_watch.h"
#include <errno.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRANSFER_MAX ((size_t)0x7ffff000) /* MAX_RW_COUNT of Linux */
#define RWF_KNOWN    (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | RWF_NOAPPEND)
/* Flags that open() uses up, so that F_GETFL does not tell them. */
#define OPENING_FLAGS (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)

/* A transfer that is about to be made. */
struct transfer {
    const struct iovec *vector;
    size_t count;
    uint64_t offset;
    size_t size; /* of it all */
    int flags;
};

/* ---- Transfers ---- */

static int check_vector(const struct sim_file *file, const struct transfer *transfer)
{
    uintptr_t all = 0;
    size_t size = 0;

    if (transfer->count > IOV_MAX)
        return -EINVAL;
    for (size_t i = 0; i < transfer->count; i++) {
        const struct iovec *piece = &transfer->vector[i];

        if (piece->iov_len > (size_t)SSIZE_MAX - size)
            return -EINVAL;
        size += piece->iov_len;
        if (piece->iov_len > 0)
            all |= (uintptr_t)piece->iov_base | piece->iov_len;
    }
    return file->flags & O_DIRECT && all % SIM_SECTOR != 0 ? -EINVAL : 0;
}

/* Look at what both directions have in common. `offset` as given, -1 for the position. */
static int begin(struct sim_disk_file *file, struct transfer *transfer, off_t offset)
{
    int result;

    if (offset < -1)
        return -EINVAL;
    if (transfer->flags & ~RWF_KNOWN)
        return -EOPNOTSUPP;
    result = check_vector(&file->file, transfer);
    if (result < 0)
        return result;
    transfer->offset = offset == -1 ? file->position : (uint64_t)offset;
    transfer->size = torc__vector_size(transfer->vector, transfer->count);
    if (transfer->size > TRANSFER_MAX)
        transfer->size = TRANSFER_MAX;
    return 0;
}

static int check_direct(const struct sim_file *file, const struct transfer *transfer)
{
    return file->flags & O_DIRECT && transfer->offset % SIM_SECTOR != 0 ? -EINVAL : 0;
}

/* Less than was asked for, by chance. */
static void shorten(const struct sim_disk_file *file, struct transfer *transfer)
{
    struct sim_disk *disk = file->inode->disk;
    const size_t unit = file->file.flags & O_DIRECT ? SIM_SECTOR : 1;
    const size_t units = transfer->size / unit;

    if (units > 1 &&
        torc__sim_disk_fault(disk, "disk: short transfer", disk->world->chaos.short_transfer_rate))
        transfer->size = unit * (size_t)torc__sim_between(disk->world, 1, units - 1);
}

/* Call for each piece of memory, of `size` bytes in all. */
typedef size_t piece_fn(struct sim_inode *inode, uint64_t offset, uint8_t *memory, size_t size);

static size_t for_pieces(struct sim_inode *inode, const struct transfer *transfer, piece_fn *move)
{
    size_t done = 0;

    for (size_t i = 0; i < transfer->count && done < transfer->size; i++) {
        const struct iovec *piece = &transfer->vector[i];
        const size_t left = transfer->size - done;
        const size_t size = piece->iov_len < left ? piece->iov_len : left;
        const size_t moved = move(inode, transfer->offset + done, piece->iov_base, size);

        done += moved;
        if (moved < size)
            break;
    }
    return done;
}

/* ---- Reading ---- */

static size_t read_piece(struct sim_inode *inode, uint64_t offset, uint8_t *memory, size_t size)
{
    torc__sim_data_read(inode, offset, memory, size);
    return size;
}

static ssize_t read_data(struct sim_disk_file *file, struct transfer *transfer)
{
    struct sim_inode *inode = file->inode;
    struct sim_disk *disk = inode->disk;
    const struct torc_sim_chaos *chaos = &disk->world->chaos;

    if (transfer->offset >= inode->size || transfer->size == 0)
        return 0;
    if (transfer->size > inode->size - transfer->offset)
        transfer->size = inode->size - transfer->offset;
    shorten(file, transfer);
    if (torc__sim_disk_fault(disk, "disk: read fails", chaos->disk_error_rate))
        return -EIO;
    if (torc__sim_disk_fault(disk, "disk: a bit has changed", chaos->disk_rot_rate))
        torc__sim_data_rot(inode, transfer->offset, transfer->offset + transfer->size);
    return (ssize_t)for_pieces(inode, transfer, read_piece);
}

static ssize_t read_file(struct sim_file *head, const struct iovec *vector, size_t count,
                         off_t offset, int flags)
{
    struct sim_disk_file *file = torc__sim_disk_file(head);
    struct transfer transfer = {.vector = vector, .count = count, .flags = flags};
    ssize_t result;

    if (!torc__sim_may_read(head))
        return -EBADF;
    if (file->inode->directory != NULL)
        return -EISDIR;
    torc__sim_disk_age(file->inode->disk);
    result = begin(file, &transfer, offset);
    if (result < 0)
        return result;
    if (!S_ISREG(file->inode->live.mode) || file->content != NULL) {
        result = torc__sim_device_read(file, vector, count, transfer.offset);
    } else {
        result = check_direct(head, &transfer);
        if (result == 0)
            result = read_data(file, &transfer);
    }
    if (result <= 0)
        return result;
    if (offset == -1)
        file->position += (uint64_t)result;
    if (!(head->flags & O_NOATIME))
        torc__sim_inode_accessed(file->inode);
    torc__sim_tell_inode(file->inode, IN_ACCESS);
    return result;
}

/* ---- Writing ---- */

static size_t write_piece(struct sim_inode *inode, uint64_t offset, uint8_t *memory, size_t size)
{
    return torc__sim_data_write(inode, offset, memory, size);
}

int torc__sim_size_is_allowed(const struct sim_disk *disk, int64_t size)
{
    return (uint64_t)size > disk->file_size_max ? -EFBIG : 0;
}

/* Cut the transfer at the largest size that a file may have. */
static int limit_size(const struct sim_disk *disk, struct transfer *transfer)
{
    const uint64_t limit =
        disk->file_size_max < (uint64_t)SIM_FILE_MAX ? disk->file_size_max : (uint64_t)SIM_FILE_MAX;

    if (transfer->offset >= limit)
        return -EFBIG;
    if (transfer->size > limit - transfer->offset)
        transfer->size = limit - transfer->offset;
    return 0;
}

static int fail_to_write(struct sim_disk *disk)
{
    const struct torc_sim_chaos *chaos = &disk->world->chaos;

    if (torc__sim_disk_fault(disk, "disk: full", chaos->disk_full_rate))
        return -ENOSPC;
    if (torc__sim_disk_fault(disk, "disk: quota", chaos->disk_quota_rate))
        return -EDQUOT;
    return torc__sim_disk_fault(disk, "disk: write fails", chaos->disk_error_rate) ? -EIO : 0;
}

static ssize_t write_data(struct sim_disk_file *file, struct transfer *transfer)
{
    struct sim_inode *inode = file->inode;
    size_t done;
    int result = limit_size(inode->disk, transfer);

    if (result == 0)
        result = fail_to_write(inode->disk);
    if (result < 0)
        return result;
    done = for_pieces(inode, transfer, write_piece);
    if (done == 0)
        return -ENOSPC;
    torc__sim_inode_written(inode);
    if (file->file.flags & O_DIRECT)
        torc__sim_data_write_early(inode, transfer->offset, transfer->offset + done);
    return (ssize_t)done;
}

/* What has been written is to be durable at once. 0 or -EIO. */
static int write_through(struct sim_disk_file *file, int flags)
{
    const bool all = (file->file.flags & O_SYNC) == O_SYNC || flags & RWF_SYNC;

    if (!all && !(file->file.flags & O_DSYNC) && !(flags & RWF_DSYNC))
        return 0;
    return torc__sim_file_sync(file, !all);
}

static ssize_t write_file(struct sim_file *head, const struct iovec *vector, size_t count,
                          off_t offset, int flags)
{
    struct sim_disk_file *file = torc__sim_disk_file(head);
    struct transfer transfer = {.vector = vector, .count = count, .flags = flags};
    bool appends = head->flags & O_APPEND || flags & RWF_APPEND;
    ssize_t result;

    if (!torc__sim_may_write(head))
        return -EBADF;
    torc__sim_disk_age(file->inode->disk);
    result = begin(file, &transfer, offset);
    if (result < 0)
        return result;
    if (!S_ISREG(file->inode->live.mode) || file->content != NULL)
        return torc__sim_device_write(file, transfer.size);
    if (flags & RWF_NOAPPEND)
        appends = false;
    if (appends) {
        transfer.offset = file->inode->size;
    } else {
        shorten(file, &transfer); /* But what is appended is a whole. */
    }
    result = check_direct(head, &transfer);
    if (result < 0 || transfer.size == 0)
        return result;
    result = write_data(file, &transfer);
    if (result > 0 && offset == -1)
        file->position = transfer.offset + (uint64_t)result;
    if (result > 0) {
        const int synced = write_through(file, flags);

        result = synced < 0 ? synced : result;
    }
    return result;
}

/* ---- Durability ---- */

void torc__sim_inode_sync_attributes(struct sim_inode *inode)
{
    if (inode->durable.xattrs != inode->live.xattrs)
        torc__sim_xattrs_free(inode->durable.xattrs);
    inode->durable = inode->live;
}

void torc__sim_inode_write_back(struct sim_inode *inode)
{
    torc__sim_data_write_back(inode);
    torc__sim_inode_sync_attributes(inode);
}

int torc__sim_inode_sync(struct sim_inode *inode, bool data_only)
{
    struct sim_disk *disk = inode->disk;
    int result;

    if (inode->directory != NULL) {
        if (torc__sim_disk_fault(disk, "disk: fsync fails", disk->world->chaos.disk_error_rate))
            return -EIO;
        torc__sim_journal_write_directory(disk, inode);
        torc__sim_inode_sync_attributes(inode);
        return 0;
    }
    result = torc__sim_data_sync(inode);
    if (result == 0 && !data_only)
        torc__sim_inode_sync_attributes(inode);
    if (result == 0 && disk->world->chaos.disk_sync_names)
        torc__sim_journal_write_names(disk, inode);
    return result;
}

int torc__sim_file_sync(struct sim_disk_file *file, bool data_only)
{
    struct sim_inode *inode = file->inode;
    int result;

    if (file->file.flags & O_PATH)
        return -EBADF;
    if (inode->generator != NULL || (!S_ISREG(inode->live.mode) && inode->directory == NULL))
        return -EINVAL;
    result = torc__sim_inode_sync(inode, data_only);
    if (inode->errors == file->errors_seen)
        return result;
    /* A failure is told to each open file once, whoever was the first to meet it. */
    file->errors_seen = inode->errors;
    inode->error_is_seen = true;
    return -EIO;
}

/* ---- Life ---- */

static int stat_file(struct sim_file *head, struct statx *ret_about)
{
    torc__sim_inode_stat(torc__sim_disk_file(head)->inode, ret_about);
    return 0;
}

static void release_file(struct sim_file *head, bool crashed)
{
    struct sim_disk_file *file = torc__sim_disk_file(head);
    struct sim_inode *inode = file->inode;

    torc__sim_file_unlock_all(file);
    *file->link = file->next;
    if (file->next != NULL)
        file->next->link = file->link;
    if (!crashed && !(head->flags & O_PATH))
        torc__sim_tell_inode(inode, torc__sim_may_write(head) ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
    torc__sim_free(file->content);
    torc__sim_free(file);
    torc__sim_inode_release(inode);
}

static const struct sim_file_ops file_ops = {.kind = "file",
                                             .traits = SIM_SEEKABLE,
                                             .read = read_file,
                                             .write = write_file,
                                             .stat = stat_file,
                                             .release = release_file};

static const struct sim_file_ops directory_ops = {.kind = "directory",
                                                  .traits = SIM_DIRECTORY,
                                                  .read = read_file,
                                                  .write = write_file,
                                                  .stat = stat_file,
                                                  .release = release_file};

struct sim_disk_file *torc__sim_disk_file(struct sim_file *file)
{
    return file->ops == &file_ops || file->ops == &directory_ops
               ? container_of(file, struct sim_disk_file, file)
               : NULL;
}

struct sim_file *torc__sim_file_of(struct sim_disk *disk, int fd, bool is_path_enough)
{
    struct sim_file *file = torc__sim_fd_file(disk->host, fd);

    return file != NULL && (is_path_enough || !(file->flags & O_PATH)) ? file : NULL;
}

int torc__sim_file_open(struct sim_inode *inode, int flags)
{
    struct sim_disk_file *file = torc__sim_allocate(sizeof(*file));
    struct sim_host *host = inode->disk->host;
    int fd;

    torc__sim_file_init(&file->file, inode->directory != NULL ? &directory_ops : &file_ops, host,
                        flags & ~OPENING_FLAGS);
    file->inode = inode;
    file->flock = LOCK_UN;
    file->errors_seen = inode->errors - (inode->errors > 0 && !inode->error_is_seen);
    inode->users++;
    file->link = &inode->files;
    file->next = inode->files;
    if (file->next != NULL)
        file->next->link = &file->next;
    inode->files = file;
    if (!(flags & O_PATH)) {
        torc__sim_content_make(file);
        torc__sim_tell_inode(inode, IN_OPEN);
    }
    fd = torc__sim_fd_open(host, &file->file);
    if (fd < 0)
        torc__sim_file_release(&file->file);
    return fd;
}

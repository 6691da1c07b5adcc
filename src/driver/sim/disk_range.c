/* SPDX-License-Identifier: MIT */
/*
 * disk_range.c - the position of an open file, and what is done with parts of it.
 */
#include "base/kernel_abi.h"
#include "driver/sim/disk_data.h"
#include "driver/sim/disk_file.h"
#include "driver/sim/disk_watch.h"
#include <dirent.h>
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_regular(const struct sim_inode *inode)
{
    return S_ISREG(inode->live.mode) && inode->generator == NULL;
}

/* ---- Positions ---- */

/* Where that is, which may be before the beginning. 0 or an error. */
static int find_position(const struct sim_disk_file *file, int64_t offset, int whence,
                         int64_t *ret_position)
{
    const struct sim_inode *inode = file->inode;
    int64_t base = 0;

    switch (whence) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        base = (int64_t)file->position;
        break;
    case SEEK_END:
        base = inode->directory != NULL ? INT64_MAX : (int64_t)inode->size;
        break;
    case SEEK_DATA:
    case SEEK_HOLE:
        if (!is_regular(inode))
            return -EINVAL;
        *ret_position = offset < 0 ? -ENXIO : torc__sim_data_seek(inode, (uint64_t)offset, whence);
        return *ret_position < 0 ? -ENXIO : 0;
    default:
        return -EINVAL;
    }
    return __builtin_add_overflow(base, offset, ret_position) ? -EINVAL : 0;
}

int64_t torc__sim_file_seek(struct sim_disk_file *file, int64_t offset, int whence)
{
    int64_t position;
    int result;

    if (file->file.flags & O_PATH)
        return -EBADF;
    if (S_ISCHR(file->inode->live.mode))
        return 0;
    result = find_position(file, offset, whence, &position);
    if (result < 0)
        return result;
    if (position < 0)
        return -EINVAL;
    file->position = (uint64_t)position;
    return position;
}

/* ---- Entries of a directory ---- */

struct filling {
    char *at;
    size_t left;
};

/* False if there is no room for another. */
static bool put_entry(struct filling *filling, const struct sim_inode *inode, const char *name,
                      uint64_t resume)
{
    const size_t length = strlen(name);
    const size_t size = (offsetof(struct kernel_dirent, name) + length + 1 + 7) & ~(size_t)7;
    struct kernel_dirent *raw = (struct kernel_dirent *)(void *)filling->at;

    if (size > filling->left)
        return false;
    memset(raw, 0, size);
    raw->inode = inode->number;
    raw->resume = (int64_t)resume;
    raw->size = (uint16_t)size;
    raw->type = IFTODT(inode->live.mode);
    memcpy(raw->name, name, length);
    filling->at += size;
    filling->left -= size;
    return true;
}

/* The entry at a position, or behind. False at the end, and if there is no room. */
static bool put_next(struct sim_disk_file *file, struct filling *filling, bool *ret_is_full)
{
    struct sim_inode *directory = file->inode;
    const struct sim_entry *entry;
    bool is_put;

    if (file->position < 2) {
        is_put = put_entry(filling, file->position == 0 ? directory : directory->directory->parent,
                           file->position == 0 ? "." : "..", file->position + 1);
        file->position += is_put;
    } else {
        entry = torc__sim_entry_from(directory, file->position);
        if (entry == NULL)
            return false;
        is_put = put_entry(filling, entry->live, entry->name, entry->hash + 1);
        file->position = is_put ? entry->hash + 1 : file->position;
    }
    *ret_is_full = !is_put;
    return is_put;
}

int64_t torc__sim_file_entries(struct sim_disk_file *file, void *buffer, size_t size)
{
    struct filling filling = {.at = buffer, .left = size};
    bool is_full = false;

    if (file->file.flags & O_PATH)
        return -EBADF;
    if (file->inode->directory == NULL)
        return -ENOTDIR;
    if (file->inode->links == 0)
        return -ENOENT;
    while (put_next(file, &filling, &is_full))
        continue;
    torc__sim_inode_accessed(file->inode);
    torc__sim_tell_inode(file->inode, IN_ACCESS);
    return filling.left == size && is_full ? -EINVAL : (int64_t)(size - filling.left);
}

/* ---- Sizes ---- */

int torc__sim_inode_truncate(struct sim_inode *inode, int64_t length)
{
    if ((uint64_t)length > inode->size && torc__sim_size_is_allowed(inode->disk, length) < 0)
        return -EFBIG;
    torc__sim_data_resize(inode, (uint64_t)length);
    torc__sim_inode_written(inode);
    return 0;
}

int torc__sim_file_truncate(struct sim_disk_file *file, int64_t length)
{
    if (length < 0)
        return -EINVAL;
    if (file->file.flags & O_PATH)
        return -EBADF;
    if (!is_regular(file->inode) || !torc__sim_may_write(&file->file))
        return -EINVAL;
    return torc__sim_inode_truncate(file->inode, length);
}

/* ---- Room ---- */

static int check_mode(int mode)
{
    switch (mode) {
    case 0:
    case FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_COLLAPSE_RANGE:
    case FALLOC_FL_INSERT_RANGE:
        return 0;
    default:
        return -EOPNOTSUPP;
    }
}

/* Take out a part in the middle, or put zeros there. */
static int shift(struct sim_inode *inode, int mode, uint64_t offset, uint64_t end)
{
    if (offset % SIM_PAGE != 0 || end % SIM_PAGE != 0)
        return -EINVAL;
    if (mode == FALLOC_FL_COLLAPSE_RANGE)
        return end >= inode->size ? -EINVAL : torc__sim_data_collapse(inode, offset, end);
    if (offset >= inode->size)
        return -EINVAL;
    if (inode->size > (uint64_t)SIM_FILE_MAX - (end - offset))
        return -EFBIG;
    return torc__sim_data_insert(inode, offset, end);
}

static int allocate(struct sim_inode *inode, int mode, uint64_t offset, uint64_t end)
{
    const uint64_t limit = inode->disk->file_size_max;
    int result = 0;

    if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
        return shift(inode, mode, offset, end);
    if (mode & FALLOC_FL_PUNCH_HOLE) {
        torc__sim_data_punch(inode, offset, end < inode->size ? end : inode->size);
        return 0;
    }
    if (!(mode & FALLOC_FL_KEEP_SIZE) && end > inode->size && end > limit)
        return -EFBIG;
    if (mode & FALLOC_FL_ZERO_RANGE)
        torc__sim_data_punch(inode, offset, end);
    result = torc__sim_data_reserve(inode, offset, end);
    if (result == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && end > inode->size)
        torc__sim_data_resize(inode, end);
    return result;
}

int torc__sim_file_allocate(struct sim_disk_file *file, int mode, int64_t offset, int64_t length)
{
    struct sim_inode *inode = file->inode;
    struct sim_disk *disk = inode->disk;
    int result;

    if (file->file.flags & O_PATH)
        return -EBADF;
    if (offset < 0 || length <= 0)
        return -EINVAL;
    result = check_mode(mode);
    if (result < 0)
        return result;
    if (!torc__sim_may_write(&file->file))
        return -EBADF;
    if (inode->directory != NULL)
        return -EISDIR;
    if (!is_regular(inode))
        return -ENODEV;
    if (length > INT64_MAX - offset)
        return -EFBIG;
    if (torc__sim_disk_fault(disk, "disk: full", disk->world->chaos.disk_full_rate))
        return -ENOSPC;
    result = allocate(inode, mode, (uint64_t)offset, (uint64_t)(offset + length));
    if (result == 0)
        torc__sim_inode_written(inode);
    return result;
}

/* ---- Advice ---- */

int torc__sim_file_advise(struct sim_disk_file *file, int64_t offset, int64_t length, int advice)
{
    uint64_t end;

    if (file->file.flags & O_PATH)
        return -EBADF;
    if (length < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE)
        return -EINVAL;
    end = length == 0 ? UINT64_MAX : (uint64_t)offset + (uint64_t)length;
    if (advice == POSIX_FADV_DONTNEED && is_regular(file->inode) && offset >= 0)
        torc__sim_data_drop_clean(file->inode, (uint64_t)offset, end);
    return 0;
}

int torc__sim_file_sync_range(struct sim_disk_file *file, int64_t offset, int64_t length,
                              unsigned flags)
{
    const unsigned all =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    uint64_t end;

    if (file->file.flags & O_PATH)
        return -EBADF;
    if (flags & ~all || offset < 0 || length < 0 || length > INT64_MAX - offset)
        return -EINVAL;
    if (!S_ISREG(file->inode->live.mode) && file->inode->directory == NULL)
        return -ESPIPE;
    end = length == 0 ? UINT64_MAX : (uint64_t)(offset + length);
    if (flags & SYNC_FILE_RANGE_WRITE)
        torc__sim_data_write_early(file->inode, (uint64_t)offset, end);
    return 0;
}

/* ---- Copies between files ---- */

static int check_copy(const struct sim_disk_file *in, const struct sim_disk_file *out,
                      unsigned flags)
{
    if ((in->file.flags | out->file.flags) & O_PATH)
        return -EBADF;
    if (flags != 0)
        return -EINVAL;
    if (in->inode->directory != NULL || out->inode->directory != NULL)
        return -EISDIR;
    if (!S_ISREG(in->inode->live.mode) || !S_ISREG(out->inode->live.mode))
        return -EINVAL;
    if (!torc__sim_may_read(&in->file) || !torc__sim_may_write(&out->file) ||
        out->file.flags & O_APPEND)
        return -EBADF;
    return 0;
}

/* How much may be copied; 0 or more, or an error. */
static int64_t limit_copy(const struct sim_disk_file *in, int64_t from,
                          const struct sim_disk_file *out, int64_t to, size_t length)
{
    const uint64_t limit = out->inode->disk->file_size_max;
    uint64_t size = length < INT64_MAX ? length : INT64_MAX;

    if (from < 0 || to < 0)
        return -EINVAL;
    if (size > (uint64_t)(INT64_MAX - from) || size > (uint64_t)(INT64_MAX - to))
        return -EOVERFLOW;
    if ((uint64_t)from >= in->inode->size)
        return 0;
    if (size > in->inode->size - (uint64_t)from)
        size = in->inode->size - (uint64_t)from;
    if (size > 0x7ffff000)
        size = 0x7ffff000;
    if ((uint64_t)to >= limit)
        return -EFBIG;
    if (size > limit - (uint64_t)to)
        size = limit - (uint64_t)to;
    if (in->inode == out->inode && from < to + (int64_t)size && to < from + (int64_t)size)
        return -EINVAL;
    return (int64_t)size;
}

static size_t copy(const struct sim_inode *in, uint64_t from, struct sim_inode *out, uint64_t to,
                   size_t size)
{
    uint8_t block[SIM_PAGE];
    size_t done = 0;

    while (done < size) {
        const size_t part = size - done < sizeof(block) ? size - done : sizeof(block);
        size_t written;

        torc__sim_data_read(in, from + done, block, part);
        written = torc__sim_data_write(out, to + done, block, part);
        done += written;
        if (written < part)
            break;
    }
    return done;
}

int64_t torc__sim_file_copy(struct sim_disk_file *in, int64_t *in_offset, struct sim_disk_file *out,
                            int64_t *out_offset, size_t length, unsigned flags)
{
    const int64_t from = in_offset != NULL ? *in_offset : (int64_t)in->position;
    const int64_t to = out_offset != NULL ? *out_offset : (int64_t)out->position;
    int64_t result = check_copy(in, out, flags);
    size_t done;

    if (result == 0)
        result = limit_copy(in, from, out, to, length);
    if (result <= 0)
        return result;
    done = copy(in->inode, (uint64_t)from, out->inode, (uint64_t)to, (size_t)result);
    if (done == 0)
        return -ENOSPC;
    if (in_offset != NULL) {
        *in_offset += (int64_t)done;
    } else {
        in->position += done;
    }
    if (out_offset != NULL) {
        *out_offset += (int64_t)done;
    } else {
        out->position += done;
    }
    torc__sim_inode_accessed(in->inode);
    torc__sim_tell_inode(in->inode, IN_ACCESS);
    torc__sim_inode_written(out->inode);
    return (int64_t)done;
}

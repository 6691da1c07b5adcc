/* SPDX-License-Identifier: MIT */
/*
 * disk_lock.c - locks of files: flock(2), and ranges that belong to open files (F_OFD_SETLK).
 *
 * Nothing waits here: -EAGAIN says that somebody else has the lock.
 */
#include "driver/sim/disk_file.h"
#include <errno.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- Whole files ---- */

int torc__sim_file_flock(struct sim_disk_file *file, int operation)
{
    const int type = operation & ~LOCK_NB;

    if (type != LOCK_SH && type != LOCK_EX && type != LOCK_UN)
        return -EINVAL;
    if (file->file.flags & O_PATH)
        return -EBADF;
    if (type == file->flock)
        return 0;
    /* Changing a lock lets it go first, as in Linux; somebody may have taken the other by then. */
    file->flock = LOCK_UN;
    for (struct sim_disk_file *other = file->inode->files; other != NULL; other = other->next) {
        if (other != file && other->flock != LOCK_UN && type != LOCK_UN &&
            (other->flock == LOCK_EX || type == LOCK_EX))
            return -EAGAIN;
    }
    file->flock = type;
    return 0;
}

/* ---- Ranges ---- */

static int range_of(const struct sim_disk_file *file, const struct flock *lock,
                    struct sim_range *ret_range)
{
    int64_t start = lock->l_start;

    if (lock->l_whence == SEEK_CUR) {
        start += (int64_t)file->position;
    } else if (lock->l_whence == SEEK_END) {
        start += (int64_t)file->inode->size;
    } else if (lock->l_whence != SEEK_SET) {
        return -EINVAL;
    }
    if (start < 0 || start + (lock->l_len < 0 ? lock->l_len : 0) < 0)
        return -EINVAL;
    if (lock->l_len > 0 && start > INT64_MAX - (lock->l_len - 1))
        return -EOVERFLOW;
    *ret_range = (struct sim_range){.start = (uint64_t)start, .type = lock->l_type};
    if (lock->l_len < 0) {
        ret_range->start = (uint64_t)(start + lock->l_len);
        ret_range->end = (uint64_t)(start - 1);
    } else {
        ret_range->end = lock->l_len == 0 ? INT64_MAX : (uint64_t)(start + lock->l_len - 1);
    }
    return 0;
}

static bool overlaps(const struct sim_range *a, const struct sim_range *b)
{
    return a->start <= b->end && b->start <= a->end;
}

/* A range of another open file that this one cannot be had beside. */
static const struct sim_range *find_conflict(const struct sim_disk_file *file,
                                             const struct sim_range *wanted)
{
    for (struct sim_disk_file *other = file->inode->files; other != NULL; other = other->next) {
        if (other == file)
            continue;
        for (const struct sim_range *range = other->ranges; range != NULL; range = range->next) {
            if (overlaps(range, wanted) && (range->type == F_WRLCK || wanted->type == F_WRLCK))
                return range;
        }
    }
    return NULL;
}

static void insert(struct sim_disk_file *file, const struct sim_range *range)
{
    struct sim_range **link = &file->ranges;
    struct sim_range *new = torc__sim_allocate(sizeof(*new));

    while (*link != NULL && (*link)->start < range->start)
        link = &(*link)->next;
    *new = *range;
    new->next = *link;
    *link = new;
}

/* Take [start, end] out of what the file has; what is left of a range on both sides stays. */
static void cut_out(struct sim_disk_file *file, const struct sim_range *gone)
{
    struct sim_range **link = &file->ranges;

    while (*link != NULL) {
        struct sim_range *range = *link;

        if (!overlaps(range, gone)) {
            link = &range->next;
        } else if (range->start < gone->start) {
            const struct sim_range rest = {
                .start = gone->end + 1, .end = range->end, .type = range->type};

            range->end = gone->start - 1;
            link = &range->next;
            if (rest.start <= rest.end)
                insert(file, &rest);
        } else if (range->end > gone->end) {
            range->start = gone->end + 1;
            link = &range->next;
        } else {
            *link = range->next;
            torc__sim_free(range);
        }
    }
}

static int tell_conflict(const struct sim_disk_file *file, const struct sim_range *wanted,
                         struct flock *lock)
{
    const struct sim_range *range = find_conflict(file, wanted);

    if (range == NULL) {
        lock->l_type = F_UNLCK;
        return 0;
    }
    *lock = (struct flock){.l_type = (short)range->type,
                           .l_whence = SEEK_SET,
                           .l_start = (off_t)range->start,
                           .l_len =
                               range->end == INT64_MAX ? 0 : (off_t)(range->end - range->start + 1),
                           .l_pid = -1};
    return 0;
}

int torc__sim_file_lock(struct sim_disk_file *file, int command, struct flock *lock)
{
    struct sim_range range;
    int result;

    if (file->file.flags & O_PATH)
        return -EBADF;
    if (lock->l_pid != 0)
        return -EINVAL;
    if (lock->l_type != F_RDLCK && lock->l_type != F_WRLCK &&
        (lock->l_type != F_UNLCK || command == F_OFD_GETLK))
        return -EINVAL;
    result = range_of(file, lock, &range);
    if (result < 0)
        return result;
    if (command == F_OFD_GETLK)
        return tell_conflict(file, &range, lock);
    if ((range.type == F_RDLCK && !torc__sim_may_read(&file->file)) ||
        (range.type == F_WRLCK && !torc__sim_may_write(&file->file)))
        return -EBADF;
    if (range.type != F_UNLCK && find_conflict(file, &range) != NULL)
        return -EAGAIN;
    cut_out(file, &range);
    if (range.type != F_UNLCK)
        insert(file, &range);
    return 0;
}

void torc__sim_file_unlock_all(struct sim_disk_file *file)
{
    while (file->ranges != NULL) {
        struct sim_range *range = file->ranges;

        file->ranges = range->next;
        torc__sim_free(range);
    }
    file->flock = LOCK_UN;
}

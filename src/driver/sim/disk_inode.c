/* SPDX-License-Identifier: MIT */
/*
 * disk_inode.c - inodes: what holds them, who may do what with them, and what stat(2) tells.
 */
#include "base/clock.h"
#include "base/kernel_abi.h"
#include "base/log.h"
#include "driver/sim/disk_data.h"
#include "driver/sim/disk_watch.h"
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEVICE_MAJOR 259u /* of the file system, as that of an NVMe disk */
/* relatime: the time of access is set if it is older than this. */
#define ACCESS_AGE_S (24 * 3600)

/* ---- Life ---- */

struct sim_inode *torc__sim_inode_create(struct sim_disk *disk, mode_t mode)
{
    struct sim_inode *inode = torc__sim_allocate(sizeof(*inode));
    const struct timespec now = torc__sim_disk_now(disk);

    inode->disk = disk;
    inode->number = disk->next_number++;
    inode->users = 1;
    inode->born = now;
    inode->live = (struct sim_attributes){.mode = mode,
                                          .user = disk->user,
                                          .group = disk->group,
                                          .accessed = now,
                                          .modified = now,
                                          .changed = now};
    inode->durable = inode->live;
    if (S_ISDIR(mode))
        inode->directory = torc__sim_allocate(sizeof(*inode->directory));
    inode->link = disk->inodes_last;
    *disk->inodes_last = inode;
    disk->inodes_last = &inode->next;
    disk->inode_count++;
    return inode;
}

void torc__sim_xattrs_free(struct sim_xattr *first)
{
    while (first != NULL) {
        struct sim_xattr *next = first->next;

        torc__sim_free(first->name);
        torc__sim_free(first->value);
        torc__sim_free(first);
        first = next;
    }
}

void torc__sim_inode_destroy(struct sim_inode *inode)
{
    struct sim_disk *disk = inode->disk;

    disk->inode_count--;
    *inode->link = inode->next;
    if (inode->next != NULL) {
        inode->next->link = inode->link;
    } else {
        disk->inodes_last = inode->link;
    }
    torc__sim_data_clear(inode);
    torc__sim_xattrs_free(inode->live.xattrs);
    if (inode->durable.xattrs != inode->live.xattrs)
        torc__sim_xattrs_free(inode->durable.xattrs);
    if (inode->directory != NULL)
        torc__sim_free(inode->directory->entries);
    torc__sim_free(inode->directory);
    torc__sim_free(inode->target);
    torc__sim_free(inode);
}

/* The directory above, of which an inode is no user any more; NULL if it has been none. */
static struct sim_inode *leave_parent(struct sim_inode *inode)
{
    struct sim_inode *parent = inode->directory != NULL ? inode->directory->parent : NULL;

    if (parent == NULL)
        return NULL;
    inode->directory->parent = NULL;
    parent->users--;
    return parent;
}

void torc__sim_inode_settle(struct sim_inode *inode)
{
    while (inode != NULL && inode->links == 0 && inode->users == 0) {
        struct sim_inode *parent = leave_parent(inode);

        torc__sim_tell_gone(inode);
        if (inode->pins > 0) {
            torc__sim_data_forget(inode); /* Nobody will write what programs cannot see. */
        } else {
            torc__sim_inode_destroy(inode);
        }
        inode = parent;
    }
}

void torc__sim_inode_release(struct sim_inode *inode)
{
    inode->users--;
    torc__sim_inode_settle(inode);
}

/* ---- Times ---- */

struct timespec torc__sim_disk_now(const struct sim_disk *disk)
{
    const uint64_t now_ns =
        disk->world->now_ns + SIM_REALTIME_NS + (uint64_t)disk->host->clock_skew_ns;

    return (struct timespec){.tv_sec = (time_t)(now_ns / NS_PER_SECOND),
                             .tv_nsec = (long)(now_ns % NS_PER_SECOND)};
}

void torc__sim_inode_changed(struct sim_inode *inode)
{
    inode->live.changed = torc__sim_disk_now(inode->disk);
    torc__sim_disk_dirtied(inode->disk);
}

void torc__sim_inode_modified(struct sim_inode *inode)
{
    torc__sim_inode_changed(inode);
    inode->live.modified = inode->live.changed;
}

/* Who writes to a program takes away its right to run as somebody else. */
static void drop_privileges(struct sim_inode *inode)
{
    struct sim_attributes *live = &inode->live;

    if (inode->disk->user == 0)
        return;
    live->mode &= ~(mode_t)S_ISUID;
    if ((live->mode & S_IXGRP) || inode->disk->group != live->group)
        live->mode &= ~(mode_t)S_ISGID;
}

void torc__sim_inode_written(struct sim_inode *inode)
{
    drop_privileges(inode);
    torc__sim_inode_modified(inode);
    torc__sim_tell_inode(inode, IN_MODIFY);
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

void torc__sim_inode_accessed(struct sim_inode *inode)
{
    struct sim_attributes *live = &inode->live;
    const struct timespec now = torc__sim_disk_now(inode->disk);

    if (inode->disk->is_read_only)
        return;
    if (!is_later(&live->accessed, &live->modified) || !is_later(&live->accessed, &live->changed) ||
        now.tv_sec - live->accessed.tv_sec >= ACCESS_AGE_S)
        live->accessed = now;
}

/* ---- Rights ---- */

bool torc__sim_inode_is_owned(const struct sim_inode *inode)
{
    return inode->disk->user == 0 || inode->disk->user == inode->live.user;
}

int torc__sim_inode_permits(const struct sim_inode *inode, int access)
{
    const struct sim_disk *disk = inode->disk;
    const mode_t mode = inode->live.mode;
    mode_t granted = mode;

    if ((access & W_OK) && disk->is_read_only && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode)))
        return -EROFS;
    if (disk->user == 0) /* Root may do all but execute what nobody may. */
        return !(access & X_OK) || S_ISDIR(mode) || (mode & 0111) ? 0 : -EACCES;
    if (disk->user == inode->live.user) {
        granted >>= 6;
    } else if (disk->group == inode->live.group) {
        granted >>= 3;
    }
    return ((unsigned)access & ~granted & 7) == 0 ? 0 : -EACCES;
}

/* ---- What there is to know ---- */

static struct statx_timestamp timestamp(const struct timespec *time)
{
    return (struct statx_timestamp){.tv_sec = time->tv_sec, .tv_nsec = (uint32_t)time->tv_nsec};
}

void torc__sim_stat_direct(struct statx *about, uint32_t alignment)
{
    const uint32_t bit = KERNEL_STATX_DIOALIGN;
    char *bytes = (char *)about;

    about->stx_mask = alignment != 0 ? about->stx_mask | bit : about->stx_mask & ~bit;
    memcpy(bytes + offsetof(struct kernel_statx_direct, memory_alignment), &alignment,
           sizeof(alignment));
    memcpy(bytes + offsetof(struct kernel_statx_direct, offset_alignment), &alignment,
           sizeof(alignment));
}

void torc__sim_inode_stat(const struct sim_inode *inode, struct statx *ret_about)
{
    const struct sim_attributes *live = &inode->live;

    *ret_about = (struct statx){.stx_mask = STATX_BASIC_STATS | STATX_BTIME,
                                .stx_blksize = SIM_PAGE,
                                .stx_nlink = inode->links,
                                .stx_uid = live->user,
                                .stx_gid = live->group,
                                .stx_mode = (uint16_t)live->mode,
                                .stx_ino = inode->number,
                                .stx_size = inode->size,
                                .stx_blocks = inode->pages_used * (SIM_PAGE / SIM_SECTOR),
                                .stx_atime = timestamp(&live->accessed),
                                .stx_btime = timestamp(&inode->born),
                                .stx_ctime = timestamp(&live->changed),
                                .stx_mtime = timestamp(&live->modified),
                                .stx_rdev_major = major(inode->device),
                                .stx_rdev_minor = minor(inode->device),
                                .stx_dev_major = DEVICE_MAJOR};
    if (inode->directory != NULL) {
        ret_about->stx_size = SIM_PAGE;
        ret_about->stx_blocks = SIM_PAGE / SIM_SECTOR;
    }
    if (S_ISREG(live->mode) && inode->generator == NULL)
        torc__sim_stat_direct(ret_about, SIM_SECTOR);
}

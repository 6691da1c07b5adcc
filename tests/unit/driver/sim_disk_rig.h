/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_rig.h - a simulated host with a disk, for tests that make system calls on it by hand.
 */
#ifndef SIM_DISK_RIG_H
#define SIM_DISK_RIG_H

#include "driver/sim/disk.h"
#include "driver/sim/disk_inner.h"
#include "driver/sim/file.h"
#include "harness/harness.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct rig {
    struct sim_world *world;
    struct sim_host *host;
};

/* A world in which nothing fails, and nothing is durable before its time. */
static inline struct torc_sim_chaos rig_chaos(void)
{
    struct torc_sim_chaos chaos;

    torc_sim_chaos_init(&chaos, TORC_SIM_CALM);
    chaos.disk_write_back_ns = 0;
    return chaos;
}

static inline void rig_open(struct rig *rig, uint64_t seed, const struct torc_sim_chaos *chaos)
{
    rig->world = torc__sim_world_create(seed, chaos);
    EXPECT(rig->world != NULL);
    EXPECT_INT(torc__sim_host_add(rig->world, "host", NULL, &rig->host), ==, 0);
    EXPECT_INT(torc__sim_disk_create(rig->host), ==, 0);
}

static inline void rig_close(struct rig *rig)
{
    torc__sim_fd_close_all(rig->host, false);
    torc__sim_disk_destroy(rig->host);
    torc__sim_world_destroy(rig->world);
}

/* The power is lost, and comes back. */
static inline void rig_crash(struct rig *rig)
{
    torc__sim_fd_close_all(rig->host, true);
    torc__sim_disk_crash(rig->host);
}

/* A system call on the disk; up to six arguments. */
#define RIG_CALL(rig, number, ...) \
    torc__sim_disk_call((rig)->host, number, (const uintptr_t[6]){__VA_ARGS__})

#define RIG_CWD ((uintptr_t)(intptr_t)AT_FDCWD)

static inline int rig_file(struct rig *rig, const char *path, int flags)
{
    return (int)RIG_CALL(rig, SYS_openat, RIG_CWD, (uintptr_t)path, (uintptr_t)flags, 0644);
}

static inline void rig_shut(struct rig *rig, int fd)
{
    EXPECT_INT(torc__sim_fd_close(rig->host, fd), ==, 0);
}

static inline ssize_t rig_read(struct rig *rig, int fd, void *data, size_t size, off_t offset)
{
    struct sim_file *file = torc__sim_fd_file(rig->host, fd);
    const struct iovec vector = {data, size};

    return file == NULL ? -EBADF : file->ops->read(file, &vector, 1, offset, 0);
}

static inline ssize_t rig_write(struct rig *rig, int fd, const void *data, size_t size,
                                off_t offset)
{
    struct sim_file *file = torc__sim_fd_file(rig->host, fd);
    const struct iovec vector = {(void *)(uintptr_t)data, size};

    return file == NULL ? -EBADF : file->ops->write(file, &vector, 1, offset, 0);
}

static inline int rig_sync(struct rig *rig, int fd)
{
    return (int)RIG_CALL(rig, SYS_fsync, (uintptr_t)fd);
}

/* Synchronise what a path names. */
static inline void rig_sync_path(struct rig *rig, const char *path)
{
    int fd = rig_file(rig, path, O_RDONLY);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(rig_sync(rig, fd), ==, 0);
    rig_shut(rig, fd);
}

static inline int rig_mkdir(struct rig *rig, const char *path)
{
    return (int)RIG_CALL(rig, SYS_mkdirat, RIG_CWD, (uintptr_t)path, 0755);
}

static inline int rig_rename(struct rig *rig, const char *from, const char *to)
{
    return (int)RIG_CALL(rig, SYS_renameat2, RIG_CWD, (uintptr_t)from, RIG_CWD, (uintptr_t)to, 0);
}

static inline int rig_unlink(struct rig *rig, const char *path)
{
    return (int)RIG_CALL(rig, SYS_unlinkat, RIG_CWD, (uintptr_t)path, 0);
}

static inline int rig_stat(struct rig *rig, const char *path, struct statx *ret_about)
{
    return (int)RIG_CALL(rig, SYS_statx, RIG_CWD, (uintptr_t)path, AT_SYMLINK_NOFOLLOW,
                         STATX_BASIC_STATS, (uintptr_t)ret_about);
}

static inline bool rig_exists(struct rig *rig, const char *path)
{
    struct statx about;

    return rig_stat(rig, path, &about) == 0;
}

/* Make a file, or replace what it has. */
static inline void rig_put(struct rig *rig, const char *path, const void *data, size_t size)
{
    int fd = rig_file(rig, path, O_WRONLY | O_CREAT | O_TRUNC);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(rig_write(rig, fd, data, size, -1), ==, (ssize_t)size);
    rig_shut(rig, fd);
}

/* How many bytes a file has, of which as many as fit are in `data`; or an error. */
static inline ssize_t rig_get(struct rig *rig, const char *path, void *data, size_t size)
{
    int fd = rig_file(rig, path, O_RDONLY);
    ssize_t result;

    if (fd < 0)
        return fd;
    result = rig_read(rig, fd, data, size, 0);
    rig_shut(rig, fd);
    return result;
}

/* ---- Comparing with the kernel ---- */

/*
 * What is done in a comparison follows from its number: each run of a test does the same. With
 * TORC_TEST_SEED in the environment it does something else, to search for what is different.
 */
static uint64_t rig_dice;

static inline void rig_set_dice(uint64_t number)
{
    const char *seed = getenv("TORC_TEST_SEED");

    rig_dice = number * UINT64_C(0x9e3779b97f4a7c15);
    if (seed != NULL)
        rig_dice ^= strtoull(seed, NULL, 0) * UINT64_C(0xd1342543de82ef95);
}

/* A number below `limit`, by splitmix64. */
static inline unsigned rig_any(unsigned limit)
{
    uint64_t z = rig_dice += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ (z >> 31)) >> 32) % limit;
}

/* ---- What is true of every disk at any time ---- */

/* Counts what holds this inode, in all directories. */
static inline void rig_expect_counted(const struct sim_disk *disk, const struct sim_inode *inode)
{
    unsigned links = 0;
    unsigned pins = 0;
    unsigned below = 0;

    for (const struct sim_inode *other = disk->inodes; other != NULL; other = other->next) {
        if (other->directory == NULL)
            continue;
        for (size_t i = 0; i < other->directory->count; i++) {
            const struct sim_entry *entry = other->directory->entries[i];

            links += entry->live == inode;
            pins += entry->durable == inode;
            below += other == inode && entry->live != NULL && entry->live->directory != NULL;
        }
    }
    for (unsigned i = 0; i < disk->journal_count; i++) {
        for (unsigned j = 0; j < disk->journal[i].count; j++) {
            pins += disk->journal[i].changes[j].target == inode;
            pins += disk->journal[i].changes[j].directory == inode;
        }
    }
    if (inode == disk->root)
        links = 1;
    EXPECT_UINT(inode->pins, ==, pins);
    EXPECT_UINT(inode->links, ==, inode->directory != NULL && links > 0 ? 2 + below : links);
    EXPECT(links <= 1 || inode->directory == NULL);
    EXPECT(inode->links + inode->users + inode->pins > 0);
}

static inline void rig_expect_sound(struct rig *rig)
{
    const struct sim_disk *disk = rig->host->disk;
    uint64_t pages = 0;
    uint64_t inodes = 0;

    for (const struct sim_inode *inode = disk->inodes; inode != NULL; inode = inode->next) {
        uint64_t number = 0;
        uint64_t used = 0;
        const struct sim_page *page;

        rig_expect_counted(disk, inode);
        while ((page = torc__sim_pages_next(&inode->pages, &number)) != NULL) {
            used += page->live != NULL || page->is_reserved;
            EXPECT(!page->is_dirty || (number >= inode->dirty_first && number < inode->dirty_end));
            number++;
        }
        EXPECT_UINT(inode->pages_used, ==, used);
        pages += used;
        inodes++;
    }
    EXPECT_UINT(disk->pages_used, ==, pages);
    EXPECT_UINT(disk->inode_count, ==, inodes);
}

#endif

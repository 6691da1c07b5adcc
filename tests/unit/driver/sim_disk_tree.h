/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_tree.h - a tree of files on a simulated disk is the same as one of the kernel's.
 */
#ifndef SIM_DISK_TREE_H
#define SIM_DISK_TREE_H

#include "unit/driver/sim_disk_rig.h"
#include <dirent.h>
#include <stdio.h>

/* Whether the kernel's file system counts the links of directories as it always was: 2 and more. */
static bool tree_counts_links;

static char tree_model_data[9000];
static char tree_kernel_data[9000];

static inline void tree_expect_same_status(const char *what, const struct statx *is,
                                           const struct statx *shall)
{
    const bool is_directory = S_ISDIR(shall->stx_mode);

    EXPECT_MSG(is->stx_mode == shall->stx_mode, "%s: mode %o, not %o", what, is->stx_mode,
               shall->stx_mode);
    EXPECT_UINT(is->stx_uid, ==, shall->stx_uid);
    EXPECT_UINT(is->stx_gid, ==, shall->stx_gid);
    if (!is_directory)
        EXPECT_UINT(is->stx_size, ==, shall->stx_size);
    if (!is_directory || tree_counts_links)
        EXPECT_MSG(is->stx_nlink == shall->stx_nlink, "%s: %u links, not %u", what, is->stx_nlink,
                   shall->stx_nlink);
}

struct tree_listing {
    unsigned count;
    char names[64][16];
    uint8_t types[64];
};

struct tree_raw_entry {
    uint64_t inode;
    int64_t resume;
    uint16_t size;
    uint8_t type;
    char name[];
};

static inline void tree_add_names(struct tree_listing *listing, const char *buffer, int64_t filled)
{
    for (int64_t at = 0; at < filled;) {
        const struct tree_raw_entry *raw =
            (const struct tree_raw_entry *)(const void *)(buffer + at);

        EXPECT_UINT(listing->count, <, 64);
        snprintf(listing->names[listing->count], 16, "%s", raw->name);
        listing->types[listing->count++] = raw->type;
        at += raw->size;
    }
}

static inline void tree_expect_listed(const struct tree_listing *listing, const char *name,
                                      uint8_t type)
{
    unsigned i = 0;

    while (i < listing->count && strcmp(listing->names[i], name) != 0)
        i++;
    EXPECT_MSG(i < listing->count, "%s is not there", name);
    EXPECT_UINT(listing->types[i], ==, type);
}

/* Read directories through small buffers, in whatever order each side has. */
static inline void tree_list(struct rig *rig, int kernel_fd, int model_fd,
                             struct tree_listing *kernel, struct tree_listing *model)
{
    static _Alignas(8) char buffer[2048];
    int64_t filled;

    kernel->count = model->count = 0;
    while ((filled = syscall(SYS_getdents64, kernel_fd, buffer, sizeof(buffer))) > 0)
        tree_add_names(kernel, buffer, filled);
    EXPECT_INT(filled, ==, 0);
    while ((filled = RIG_CALL(rig, SYS_getdents64, (uintptr_t)model_fd, (uintptr_t)buffer, 100)) >
           0)
        tree_add_names(model, buffer, filled);
    EXPECT_INT(filled, ==, 0);
    EXPECT_UINT(model->count, ==, kernel->count);
}

static inline void tree_expect_same_file(struct rig *rig, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t offset = 0;
    ssize_t count;

    if (fd < 0)
        return; /* Who may not read it, does not. */
    do {
        int copy = rig_file(rig, path, O_RDONLY);

        count = pread(fd, tree_kernel_data, sizeof(tree_kernel_data), offset);
        EXPECT_INT(rig_read(rig, copy, tree_model_data, sizeof(tree_model_data), offset), ==,
                   count);
        EXPECT_MEM(tree_model_data, tree_kernel_data, (size_t)count);
        rig_shut(rig, copy);
        offset += count;
    } while (count > 0);
    close(fd);
}

static inline void tree_expect_same(struct rig *rig, const char *path)
{
    static struct tree_listing listings[2];
    struct tree_listing names;
    int kernel_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int model_fd = rig_file(rig, path, O_RDONLY | O_DIRECTORY);

    if (kernel_fd < 0) {
        EXPECT_INT(model_fd, ==, -errno);
        return;
    }
    tree_list(rig, kernel_fd, model_fd, &listings[0], &listings[1]);
    close(kernel_fd);
    rig_shut(rig, model_fd);
    for (unsigned i = 0; i < listings[0].count; i++)
        tree_expect_listed(&listings[1], listings[0].names[i], listings[0].types[i]);
    names = listings[0];
    for (unsigned i = 0; i < names.count; i++) {
        char below[256];
        struct statx expected;
        struct statx status;

        if (names.names[i][0] == '.')
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, names.names[i]);
        if (statx(AT_FDCWD, below, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &expected) < 0)
            continue;
        EXPECT_INT(rig_stat(rig, below, &status), ==, 0);
        tree_expect_same_status(below, &status, &expected);
        if (names.types[i] == DT_DIR)
            tree_expect_same(rig, below);
        if (names.types[i] == DT_REG)
            tree_expect_same_file(rig, below);
    }
}

#endif

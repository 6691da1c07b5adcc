/* SPDX-License-Identifier: MIT */
/*
 * full_disk_test.c - file systems without room, or that may not be written.
 *
 * Each test makes one of its own in memory, which nobody else sees, and is in it.
 */
#include "harness/harness.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <torc/torc.h>
#include <unistd.h>

#define ROOM ((size_t)1024 * 1024)

static char data[2 * ROOM];

static bool put_line(const char *path, const char *line)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    const bool done = fd >= 0 && write(fd, line, strlen(line)) > 0;

    if (fd >= 0)
        close(fd);
    return done;
}

/* Mounts of our own: as root, or as the root of a user namespace. */
static bool leave_mounts(void)
{
    char users[40];
    char groups[40];

    (void)snprintf(users, sizeof(users), "0 %u 1", (unsigned)getuid());
    (void)snprintf(groups, sizeof(groups), "0 %u 1", (unsigned)getgid());
    if (unshare(CLONE_NEWNS) < 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || !put_line("/proc/self/setgroups", "deny") ||
         !put_line("/proc/self/uid_map", users) || !put_line("/proc/self/gid_map", groups)))
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* Work in a new file system, whose mount point is gone at once: it lasts as long as we do. */
static bool enter_file_system(const char *options, unsigned long flags)
{
    char path[] = "/tmp/torc-disk-XXXXXX";
    bool entered = false;

    if (!leave_mounts())
        return false;
    EXPECT(mkdtemp(path) != NULL);
    if (mount("none", path, "tmpfs", flags, options) == 0) {
        entered = chdir(path) == 0;
        EXPECT_INT(umount2(path, MNT_DETACH), ==, 0);
    }
    EXPECT_INT(rmdir(path), ==, 0);
    return entered;
}

/* A fiber's `body` in a new file system. */
static void run_on(const char *options, unsigned long flags, torc_fiber_fn *body, void *arg)
{
    NEEDS_THREADS();
    if (!enter_file_system(options, flags))
        SKIP("nothing may be mounted here");
    harness_run_with(NULL, body, arg);
}

/* More than there is room for: `error` tells so, and what was written is. */
static int overfill(void *arg)
{
    const int error = *(const int *)arg;
    struct torc_stream stream;
    size_t done = 0;
    int result;
    int fd;

    fd = torc_open("file", O_WRONLY | O_CREAT, 0600);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_pwrite_all(fd, data, sizeof(data), 0, &done), ==, error);
    EXPECT_UINT(done, >=, ROOM / 2);
    EXPECT_UINT(done, <=, ROOM);
    EXPECT_INT(torc_append(fd, data, 1), ==, error);
    EXPECT_INT(torc_fallocate(fd, 0, 0, (off_t)sizeof(data)), ==, error);

    EXPECT_INT(torc_seek(fd, 0, SEEK_END), >=, ROOM / 2);
    torc_stream_open(&stream, fd);
    result = torc_stream_write(&stream, "text", 4, NULL);
    EXPECT_INT(result, ==, 0); /* It is only collected. */
    EXPECT_INT(torc_stream_close(&stream), ==, error);

    EXPECT_INT(torc_truncate("file", 0), ==, 0);
    fd = torc_open("file", O_WRONLY, 0);
    EXPECT_INT(torc_pwrite_all(fd, data, ROOM / 2, 0, &done), ==, 0); /* Now there is. */
    EXPECT_INT(torc_close(fd), ==, 0);
    return 0;
}

TEST(a_full_disk_is_told_with_how_much_was_written)
{
    int error = -ENOSPC;

    run_on("size=1m,mode=0777", 0, overfill, &error);
}

/* No part of the data is like the one before. */
static void tell_places_apart(void)
{
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i / 1000 + i % 7);
}

/* What a file that was filled in order has: the data, from their beginning. */
static void expect_in_order(const char *path, size_t done)
{
    char *found;
    size_t length;

    EXPECT_INT(torc_load_file(path, sizeof(data), &found, &length), ==, 0);
    EXPECT_UINT(length, ==, done);
    EXPECT_UINT(length, >=, ROOM / 2);
    EXPECT_MEM(found, data, length);
    free(found);
    EXPECT_INT(torc_unlink(path), ==, 0);
}

/* At the file's position, which every call leaves behind what it has written. */
static int overfill_in_order(void *arg)
{
    const struct iovec halves[] = {{data, ROOM}, {data + ROOM, ROOM}};
    struct torc_stream stream;
    size_t done = 0;
    int fd;

    (void)arg;
    tell_places_apart();
    fd = torc_open("file", O_WRONLY | O_CREAT, 0600);
    EXPECT_INT(torc_write_all(fd, data, sizeof(data), &done), ==, -ENOSPC);
    EXPECT_INT(torc_close(fd), ==, 0);
    expect_in_order("file", done);

    fd = torc_open("file", O_WRONLY | O_CREAT, 0600);
    EXPECT_INT(torc_writev_all(fd, halves, 2, &done), ==, -ENOSPC);
    EXPECT_INT(torc_close(fd), ==, 0);
    expect_in_order("file", done);

    fd = torc_open("file", O_WRONLY | O_CREAT, 0600);
    done = (size_t)torc_pwritev(fd, halves, 2, -1, 0);
    EXPECT_INT(torc_pwritev(fd, halves, 2, -1, 0), ==, -ENOSPC);
    EXPECT_INT(torc_close(fd), ==, 0);
    expect_in_order("file", done);

    torc_stream_open(&stream, torc_open("file", O_WRONLY | O_CREAT, 0600));
    EXPECT_INT(torc_stream_write(&stream, data, sizeof(data), &done), ==, -ENOSPC);
    EXPECT_INT(torc_stream_close(&stream), ==, -ENOSPC);
    expect_in_order("file", done);
    return 0;
}

TEST(what_fits_on_a_full_disk_is_there_in_order)
{
    run_on("size=1m,mode=0777", 0, overfill_in_order, NULL);
}

/* Small pieces are collected, and written by an op that nobody waits for. */
static int overfill_by_pieces(void *arg)
{
    struct torc_stream stream;
    size_t at = 0;
    int result = 0;

    (void)arg;
    tell_places_apart();
    torc_stream_open(&stream, torc_open("file", O_WRONLY | O_CREAT, 0600));
    for (; result == 0 && at < sizeof(data); at += 999)
        result = torc_stream_write(&stream, data + at, 999, NULL);
    EXPECT_INT(result, ==, -ENOSPC);
    EXPECT_INT(torc_stream_close(&stream), ==, -ENOSPC);
    expect_in_order("file", ROOM - ROOM % 4096);
    return 0;
}

TEST(small_pieces_that_fit_on_a_full_disk_are_there_in_order)
{
    run_on("size=1m,mode=0777", 0, overfill_by_pieces, NULL);
}

/* Files that are replaced: there is room for the old one, and not for the new one. */
static int save_in_vain(void *arg)
{
    char small[8] = "";

    (void)arg;
    EXPECT_INT(torc_save_file("saved", "old", 3, 0600), ==, 0);
    EXPECT_INT(torc_save_file("saved", data, sizeof(data), 0600), ==, -ENOSPC);
    EXPECT_INT(torc_copy_file("/proc/self/exe", "saved"), ==, -ENOSPC);
    EXPECT_INT(torc_read_file("saved", small, sizeof(small)), ==, 3);
    EXPECT_STR(small, "old");
    EXPECT_INT(torc_save_file("saved", data, ROOM / 2, 0600), ==, 0); /* Nothing was left. */
    return 0;
}

TEST(a_file_that_finds_no_room_replaces_none)
{
    run_on("size=1m,mode=0777", 0, save_in_vain, NULL);
}

static int write_in_vain(void *arg)
{
    (void)arg;
    EXPECT_INT(torc_open("file", O_WRONLY | O_CREAT, 0600), ==, -EROFS);
    EXPECT_INT(torc_mkdir("directory", 0700), ==, -EROFS);
    EXPECT_INT(torc_mkdir_all("a/b", 0700), ==, -EROFS);
    EXPECT_INT(torc_symlink("target", "link"), ==, -EROFS);
    EXPECT_INT(torc_chmod(".", 0700), ==, -EROFS);
    return 0;
}

TEST(what_may_not_be_written_says_so)
{
    run_on("", MS_RDONLY, write_in_vain, NULL);
}

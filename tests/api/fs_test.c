/* SPDX-License-Identifier: MIT */
/*
 * fs_test.c - names: made, looked at, renamed, linked, removed; attributes.
 */
#include "harness/directory.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <torc/torc.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE  (1 << 1)
#endif

/* ---- What is there ---- */

static void expect_same_status(const char *path, int flags)
{
    struct statx status;
    struct stat expected;

    EXPECT_INT(fstatat(AT_FDCWD, path, &expected, flags), ==, 0);
    EXPECT_INT(torc_statx(AT_FDCWD, path, flags, STATX_BASIC_STATS, &status), ==, 0);
    EXPECT_UINT(status.stx_ino, ==, expected.st_ino);
    EXPECT_UINT(status.stx_mode, ==, expected.st_mode);
    EXPECT_INT(status.stx_size, ==, expected.st_size);
    EXPECT_INT(status.stx_mtime.tv_sec, ==, expected.st_mtim.tv_sec);
    EXPECT_INT(status.stx_mtime.tv_nsec, ==, expected.st_mtim.tv_nsec);
}

FIBER_TEST(statx_says_of_files_directories_and_links_what_stat_does)
{
    struct statx status;
    int dir;

    harness_enter_directory();
    harness_put_file("file", "12345");
    EXPECT_INT(mkdir("dir", 0751), ==, 0);
    EXPECT_INT(symlink("file", "link"), ==, 0);
    expect_same_status("file", 0);
    expect_same_status("dir", 0);
    expect_same_status("link", 0);
    expect_same_status("link", AT_SYMLINK_NOFOLLOW);
    dir = torc_open("dir", O_RDONLY, 0);
    EXPECT_INT(torc_statx(dir, "../file", 0, STATX_SIZE, &status), ==, 0);
    EXPECT_UINT(status.stx_size, ==, 5);
    EXPECT_INT(torc_close(dir), ==, 0);
    EXPECT_INT(torc_statx(AT_FDCWD, "none", 0, STATX_SIZE, &status), ==, -ENOENT);
    EXPECT_INT(torc_statx(AT_FDCWD, "file/x", 0, STATX_SIZE, &status), ==, -ENOTDIR);
    harness_leave_directory();
}

/* ---- Renaming and removing ---- */

FIBER_TEST_WITH_THREADS(files_are_renamed_within_and_between_directories)
{
    int dir;

    harness_enter_directory();
    EXPECT_INT(torc_mkdir("dir", 0755), ==, 0);
    harness_put_file("a", "text");
    EXPECT_INT(torc_rename("a", "b"), ==, 0);
    EXPECT(!harness_exists("a"));
    EXPECT_INT(torc_rename("b", "dir/c"), ==, 0);
    harness_expect_file("dir/c", "text");
    dir = torc_open("dir", O_RDONLY, 0);
    EXPECT_INT(torc_renameat(dir, "c", AT_FDCWD, "d", 0), ==, 0);
    EXPECT_INT(torc_close(dir), ==, 0);
    harness_put_file("e", "other");
    EXPECT_INT(torc_renameat(AT_FDCWD, "d", AT_FDCWD, "e", RENAME_NOREPLACE), ==, -EEXIST);
    EXPECT_INT(torc_rename("d", "e"), ==, 0);
    harness_expect_file("e", "text");
    EXPECT_INT(torc_rename("none", "x"), ==, -ENOENT);
    EXPECT_INT(torc_rename("e", "none/x"), ==, -ENOENT);
    EXPECT_INT(torc_rename("e", "dir"), ==, -EISDIR);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(files_and_directories_are_removed_each_by_its_call)
{
    harness_enter_directory();
    EXPECT_INT(torc_mkdir("dir", 0755), ==, 0);
    EXPECT_INT(torc_mkdir("dir", 0755), ==, -EEXIST);
    harness_put_file("dir/file", "");
    EXPECT_INT(torc_rmdir("dir"), ==, -ENOTEMPTY);
    EXPECT_INT(torc_unlink("dir"), ==, -EISDIR);
    EXPECT_INT(torc_rmdir("dir/file"), ==, -ENOTDIR);
    EXPECT_INT(torc_unlink("dir/file"), ==, 0);
    EXPECT_INT(torc_unlink("dir/file"), ==, -ENOENT);
    EXPECT_INT(torc_rmdir("dir"), ==, 0);
    EXPECT_INT(torc_rmdir("dir"), ==, -ENOENT);
    EXPECT_UINT(harness_count_names(), ==, 0);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(names_that_are_too_long_are_refused_by_every_call)
{
    static char path[5001];
    char buffer[PATH_MAX];
    struct statx status;

    harness_enter_directory();
    memset(path, 'x', 5000);
    for (size_t length = 5000; length >= 256; length /= 2) {
        path[length] = '\0';
        EXPECT_INT(torc_mkdir(path, 0700), ==, -ENAMETOOLONG);
        EXPECT_INT(torc_mkdir_all(path, 0700), ==, -ENAMETOOLONG);
        EXPECT_INT(torc_rename("/tmp", path), ==, -ENAMETOOLONG);
        EXPECT_INT(torc_unlink(path), ==, -ENAMETOOLONG);
        EXPECT_INT(torc_statx(AT_FDCWD, path, 0, STATX_SIZE, &status), ==, -ENAMETOOLONG);
        EXPECT_INT(torc_symlink("x", path), ==, -ENAMETOOLONG);
        EXPECT_INT(torc_readlink(path, buffer, sizeof(buffer)), ==, -ENAMETOOLONG);
        EXPECT_INT(torc_realpath(path, buffer, sizeof(buffer)), ==, -ENAMETOOLONG);
        EXPECT_INT(torc_truncate(path, 0), ==, -ENAMETOOLONG);
        EXPECT_INT(torc_save_file(path, "", 0, 0600), ==, -ENAMETOOLONG);
    }
    EXPECT_UINT(harness_count_names(), ==, 0);
    harness_leave_directory();
}

/* ---- Links ---- */

FIBER_TEST_WITH_THREADS(links_share_a_file_or_point_to_a_name)
{
    char target[16];
    char resolved[PATH_MAX];
    char expected[PATH_MAX];
    int dir;

    harness_enter_directory();
    harness_put_file("file", "text");
    EXPECT_INT(torc_link("file", "hard"), ==, 0);
    EXPECT_INT(torc_link("file", "hard"), ==, -EEXIST);
    EXPECT_INT(torc_symlink("file", "soft"), ==, 0);
    EXPECT_INT(torc_symlink("nowhere", "broken"), ==, 0);
    harness_expect_file("hard", "text");
    harness_expect_file("soft", "text");
    EXPECT_INT(torc_readlink("soft", target, sizeof(target)), ==, 4);
    EXPECT_STR(target, "file");
    EXPECT_INT(torc_readlink("soft", target, 5), ==, 4);
    EXPECT_INT(torc_readlink("soft", target, 4), ==, -ERANGE);
    EXPECT_INT(torc_readlink("file", target, sizeof(target)), ==, -EINVAL);
    EXPECT(realpath("file", expected) != NULL);
    EXPECT_INT(torc_realpath("./soft", resolved, sizeof(resolved)), ==, strlen(expected));
    EXPECT_STR(resolved, expected);
    EXPECT_INT(torc_realpath("soft", resolved, 4), ==, -ERANGE);
    EXPECT_INT(torc_realpath("broken", resolved, sizeof(resolved)), ==, -ENOENT);
    EXPECT_INT(torc_mkdir("dir", 0755), ==, 0);
    dir = torc_open("dir", O_RDONLY, 0);
    EXPECT_INT(torc_symlinkat("../file", dir, "up"), ==, 0);
    EXPECT_INT(torc_readlinkat(dir, "up", target, sizeof(target)), ==, 7);
    EXPECT_INT(torc_linkat(dir, "up", dir, "followed", AT_SYMLINK_FOLLOW), ==, 0);
    EXPECT_INT(torc_close(dir), ==, 0);
    harness_expect_file("dir/up", "text");
    harness_expect_file("dir/followed", "text");
    harness_leave_directory();
}

/* ---- Directories and those above them ---- */

static bool is_directory(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

FIBER_TEST_WITH_THREADS(directories_are_made_with_all_above_them)
{
    char path[300];

    harness_enter_directory();
    EXPECT_INT(torc_mkdir_all("a/b/c", 0755), ==, 0);
    EXPECT_INT(torc_mkdir_all("a/b/c", 0755), ==, 0);
    EXPECT(is_directory("a/b/c"));
    EXPECT_INT(torc_mkdir_all("a//x///y/", 0755), ==, 0);
    EXPECT(is_directory("a/x/y"));
    EXPECT_INT(torc_mkdir_all("a/new/../other", 0755), ==, 0);
    EXPECT(is_directory("a/other"));
    EXPECT_INT(torc_mkdir_all("a/\xc3\xa4\xe6\x97\xa5/z", 0755), ==, 0);
    EXPECT(is_directory("a/\xc3\xa4\xe6\x97\xa5/z"));
    EXPECT_INT(torc_mkdir_all("/", 0755), ==, 0);
    EXPECT_INT(torc_mkdir_all(".", 0755), ==, 0);
    EXPECT_INT(torc_mkdir_all("", 0755), ==, -ENOENT);
    snprintf(path, sizeof(path), "%s/abs/x", harness_directory());
    EXPECT_INT(torc_mkdir_all(path, 0755), ==, 0);
    EXPECT(is_directory("abs/x"));
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(directories_are_made_through_links_and_not_through_files)
{
    harness_enter_directory();
    harness_put_file("file", "");
    EXPECT_INT(torc_mkdir("real", 0755), ==, 0);
    EXPECT_INT(torc_symlink("real", "link"), ==, 0);
    EXPECT_INT(torc_symlink("file", "file-link"), ==, 0);
    EXPECT_INT(torc_mkdir_all("link/a/b", 0755), ==, 0);
    EXPECT(is_directory("real/a/b"));
    EXPECT_INT(torc_mkdir_all("link", 0755), ==, 0);
    EXPECT_INT(torc_mkdir_all("file", 0755), ==, -EEXIST);
    EXPECT_INT(torc_mkdir_all("file-link", 0755), ==, -EEXIST);
    EXPECT_INT(torc_mkdir_all("file/a", 0755), ==, -ENOTDIR);
    EXPECT_INT(torc_mkdir_all("file/a/b", 0755), ==, -ENOTDIR);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(directories_are_made_255_deep)
{
    char path[2 * 255 + 1] = "";

    harness_enter_directory();
    for (size_t i = 0; i < 255; i++)
        memcpy(path + 2 * i, "d/", 3);
    EXPECT_INT(torc_mkdir_all(path, 0755), ==, 0);
    EXPECT(is_directory(path));
    harness_leave_directory();
}

static int make_the_same(void *arg)
{
    return torc_mkdir_all(arg, 0755);
}

FIBER_TEST_WITH_THREADS(many_may_make_the_same_directories_at_once)
{
    char path[] = "a/b/c/d/e/f/g/h";
    struct torc_scope scope;

    harness_enter_directory();
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 20; i++)
        harness_spawn(&scope, make_the_same, path);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT(is_directory(path));
    harness_leave_directory();
}

/* ---- Attributes ---- */

FIBER_TEST_WITH_THREADS(times_are_set)
{
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000, .tv_nsec = 5}};
    struct statx status;

    harness_enter_directory();
    harness_put_file("file", "");
    EXPECT_INT(torc_utimens("file", times, 0), ==, 0);
    EXPECT_INT(torc_statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &status), ==, 0);
    EXPECT_INT(status.stx_atime.tv_sec, ==, 1000);
    EXPECT_INT(status.stx_mtime.tv_sec, ==, 2000);
    EXPECT_INT(torc_utimens("file", NULL, 0), ==, 0);
    EXPECT_INT(torc_utimens("none", NULL, 0), ==, -ENOENT);
    harness_leave_directory();
}

static bool has_name(const char *names, ssize_t length, const char *name)
{
    for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
        if (strcmp(names + at, name) == 0)
            return true;
    }
    return false;
}

FIBER_TEST_WITH_THREADS(extended_attributes_are_set_listed_read_and_removed)
{
    char value[16];
    char names[256];
    ssize_t length;
    int fd;

    harness_enter_directory();
    fd = torc_open("file", O_RDWR | O_CREAT, 0600);
    if (torc_setxattr("file", "user.one", "1", 1, XATTR_CREATE) == -EOPNOTSUPP) {
        EXPECT_INT(torc_close(fd), ==, 0);
        harness_leave_directory();
        SKIP("the file system for temporary files has no attributes");
    }
    EXPECT_INT(torc_setxattr("file", "user.one", "1", 1, XATTR_CREATE), ==, -EEXIST);
    EXPECT_INT(torc_fsetxattr(fd, "user.two", "22", 2, 0), ==, 0);
    EXPECT_INT(torc_getxattr("file", "user.two", value, sizeof(value)), ==, 2);
    EXPECT_MEM(value, "22", 2);
    EXPECT_INT(torc_fgetxattr(fd, "user.one", value, sizeof(value)), ==, 1);
    EXPECT_INT(torc_getxattr("file", "user.two", NULL, 0), ==, 2);
    EXPECT_INT(torc_getxattr("file", "user.two", value, 1), ==, -ERANGE);
    EXPECT_INT(torc_getxattr("file", "user.none", value, 1), ==, -ENODATA);
    length = torc_listxattr("file", names, sizeof(names));
    EXPECT(has_name(names, length, "user.one"));
    EXPECT_INT(torc_removexattr("file", "user.one"), ==, 0);
    EXPECT_INT(torc_fremovexattr(fd, "user.one"), ==, -ENODATA);
    length = torc_flistxattr(fd, names, sizeof(names));
    EXPECT(!has_name(names, length, "user.one"));
    EXPECT(has_name(names, length, "user.two"));
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

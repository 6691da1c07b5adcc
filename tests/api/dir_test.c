/* SPDX-License-Identifier: MIT */
/*
 * dir_test.c - directories are read, trees walked and removed.
 */
#include "harness/directory.h"
#include "harness/run.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <torc/torc.h>
#include <unistd.h>

/* ---- One directory ---- */

static unsigned seen[300];

FIBER_TEST_WITH_THREADS(every_entry_of_a_large_directory_is_told_once)
{
    struct torc_dir dir;
    struct torc_dir_entry entry;
    unsigned count = 0;
    int result;

    harness_enter_directory();
    for (unsigned i = 0; i < 300; i++) {
        char name[32];

        snprintf(name, sizeof(name), "%u", i);
        harness_put_file(name, "");
    }
    EXPECT_INT(torc_dir_open(&dir, AT_FDCWD, "."), ==, 0);
    while ((result = torc_dir_next(&dir, &entry)) > 0) {
        unsigned number;

        EXPECT_INT(sscanf(entry.name, "%u", &number), ==, 1);
        EXPECT_UINT(number, <, 300);
        EXPECT_UINT(seen[number]++, ==, 0);
        EXPECT(entry.type == DT_REG || entry.type == DT_UNKNOWN);
        count++;
    }
    EXPECT_INT(result, ==, 0);
    EXPECT_UINT(count, ==, 300);
    EXPECT_INT(torc_dir_next(&dir, &entry), ==, 0);
    torc_dir_close(&dir);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(an_entry_has_a_type_and_an_inode_and_can_be_opened_by_the_directory)
{
    struct torc_dir dir;
    struct torc_dir_entry entry;
    struct stat status;
    int fd;

    harness_enter_directory();
    EXPECT_INT(mkdir("dir", 0755), ==, 0);
    EXPECT_INT(symlink("nowhere", "dir/link"), ==, 0);
    EXPECT_INT(torc_dir_open(&dir, AT_FDCWD, "dir"), ==, 0);
    EXPECT_INT(torc_dir_next(&dir, &entry), ==, 1);
    EXPECT_STR(entry.name, "link");
    EXPECT(entry.type == DT_LNK || entry.type == DT_UNKNOWN);
    EXPECT_INT(lstat("dir/link", &status), ==, 0);
    EXPECT_UINT(entry.inode, ==, status.st_ino);
    fd = torc_openat(torc_dir_fd(&dir), entry.name, O_PATH | O_NOFOLLOW, 0);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_dir_next(&dir, &entry), ==, 0);
    torc_dir_close(&dir);
    EXPECT_INT(torc_dir_open(&dir, AT_FDCWD, "dir/link"), ==, -ENOENT);
    EXPECT_INT(torc_dir_open(&dir, AT_FDCWD, "/dev/null"), ==, -ENOTDIR);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_directory_that_is_removed_meanwhile_ends)
{
    struct torc_dir dir;
    struct torc_dir_entry entry;

    harness_enter_directory();
    EXPECT_INT(mkdir("dir", 0755), ==, 0);
    EXPECT_INT(torc_dir_open(&dir, AT_FDCWD, "dir"), ==, 0);
    EXPECT_INT(rmdir("dir"), ==, 0);
    EXPECT_INT(torc_dir_next(&dir, &entry), ==, 0);
    torc_dir_close(&dir);
    harness_leave_directory();
}

/* ---- Trees ---- */

static void make_tree(void)
{
    harness_enter_directory();
    EXPECT_INT(mkdir("tree", 0755), ==, 0);
    EXPECT_INT(mkdir("tree/a", 0755), ==, 0);
    EXPECT_INT(mkdir("tree/a/b", 0755), ==, 0);
    EXPECT_INT(mkdir("tree/empty", 0755), ==, 0);
    harness_put_file("tree/file", "");
    harness_put_file("tree/a/file", "");
    harness_put_file("tree/a/b/file", "");
    EXPECT_INT(symlink("..", "tree/a/b/up"), ==, 0);
}

static unsigned entries;
static unsigned directories;
static unsigned deepest;

/* Walks `path`, checks what is always true, and counts. */
static void count_tree(const char *path, unsigned depth_max)
{
    struct torc_walk walk;
    struct torc_walk_entry entry;
    char inside[8][64];
    unsigned open = 0;
    int result;

    entries = directories = deepest = 0;
    EXPECT_INT(torc_walk_open(&walk, AT_FDCWD, path, depth_max), ==, 0);
    while ((result = torc_walk_next(&walk, &entry)) > 0) {
        struct stat status;

        EXPECT_INT(fstatat(entry.dirfd, entry.name, &status, AT_SYMLINK_NOFOLLOW), ==, 0);
        EXPECT_UINT(entry.type, ==, IFTODT(status.st_mode));
        if (entry.visit == TORC_WALK_LEAVE)
            EXPECT_STR(entry.path, inside[--open]);
        EXPECT_UINT(entry.depth, ==, open + 1);
        if (entry.visit == TORC_WALK_ENTER) {
            EXPECT_UINT(open, <, 8);
            snprintf(inside[open++], sizeof(inside[0]), "%s", entry.path);
            directories++;
        }
        entries += entry.visit == TORC_WALK_ENTRY;
        deepest = entry.depth > deepest ? entry.depth : deepest;
        EXPECT_INT(entry.error, ==, 0);
    }
    EXPECT_INT(result, ==, 0);
    EXPECT_UINT(open, ==, 0);
    torc_walk_close(&walk);
}

FIBER_TEST_WITH_THREADS(a_walk_visits_everything_and_leaves_what_it_enters)
{
    make_tree();
    count_tree("tree", 0);
    EXPECT_UINT(entries, ==, 4);
    EXPECT_UINT(directories, ==, 3);
    EXPECT_UINT(deepest, ==, 3);
    count_tree("tree/empty", 0);
    EXPECT_UINT(entries + directories, ==, 0);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_walk_goes_no_deeper_than_it_may)
{
    struct torc_walk walk;

    make_tree();
    count_tree("tree", 1);
    EXPECT_UINT(entries, ==, 1);
    EXPECT_UINT(directories, ==, 2); /* Entered by name, and left at once. */
    count_tree("tree", 2);
    EXPECT_UINT(entries, ==, 2);
    EXPECT_UINT(directories, ==, 3);
    EXPECT_INT(torc_walk_open(&walk, AT_FDCWD, "tree", 257), ==, -EINVAL);
    EXPECT_INT(torc_walk_open(&walk, AT_FDCWD, "none", 0), ==, -ENOENT);
    EXPECT_INT(torc_walk_open(&walk, AT_FDCWD, "tree/file", 0), ==, -ENOTDIR);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_directory_can_be_left_out_of_a_walk)
{
    struct torc_walk walk;
    struct torc_walk_entry entry;
    unsigned told = 0;
    int result;

    make_tree();
    EXPECT_INT(torc_walk_open(&walk, AT_FDCWD, "tree", 0), ==, 0);
    while ((result = torc_walk_next(&walk, &entry)) > 0) {
        EXPECT_UINT(entry.depth, ==, 1);
        if (strcmp(entry.name, "a") == 0)
            torc_walk_skip(&walk);
        told++;
    }
    EXPECT_INT(result, ==, 0);
    EXPECT_UINT(told, ==, 5); /* A file, and two directories entered and left. */
    torc_walk_close(&walk);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_directory_that_is_removed_during_a_walk_has_come_to_its_end)
{
    struct torc_walk walk;
    struct torc_walk_entry entry;

    harness_enter_directory();
    EXPECT_INT(torc_mkdir_all("tree/in", 0755), ==, 0);
    EXPECT_INT(torc_walk_open(&walk, AT_FDCWD, "tree", 0), ==, 0);
    EXPECT_INT(torc_walk_next(&walk, &entry), ==, 1);
    EXPECT_INT(torc_walk_next(&walk, &entry), ==, 1);
    EXPECT_INT(entry.visit, ==, TORC_WALK_LEAVE);
    EXPECT_INT(torc_remove_all(AT_FDCWD, "tree"), ==, 0);
    EXPECT_INT(torc_walk_next(&walk, &entry), ==, 0);
    torc_walk_close(&walk);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_walk_can_be_broken_off_at_any_place)
{
    struct torc_walk walk;
    struct torc_walk_entry entry;

    make_tree();
    for (unsigned steps = 0; steps < 12; steps++) {
        const unsigned fds = harness_open_fds();

        EXPECT_INT(torc_walk_open(&walk, AT_FDCWD, "tree", 0), ==, 0);
        for (unsigned i = 0; i < steps; i++)
            EXPECT_INT(torc_walk_next(&walk, &entry), >=, 0);
        torc_walk_close(&walk);
        EXPECT_UINT(harness_open_fds(), ==, fds);
    }
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_cancelled_walk_says_so_and_goes_on_where_the_reason_is_gone)
{
    struct torc_walk walk;
    struct torc_walk_entry entry;
    unsigned told = 0;

    make_tree();
    EXPECT_INT(torc_walk_open(&walk, AT_FDCWD, "tree", 0), ==, 0);
    for (;;) {
        struct torc_scope scope;
        int result;

        torc_scope_open(&scope, 0);
        torc_scope_cancel(&scope);
        result = torc_walk_next(&walk, &entry); /* What is in the buffer is told all the same. */
        EXPECT(result == -ECANCELED || result >= 0);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
        if (result < 0)
            result = torc_walk_next(&walk, &entry);
        EXPECT_INT(result, >=, 0);
        if (result == 0)
            break;
        told++;
    }
    EXPECT_UINT(told, ==, 4 + 2 * 3);
    torc_walk_close(&walk);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_directory_that_cannot_be_read_fails_alone)
{
    struct torc_walk walk;
    struct torc_walk_entry entry;
    bool failed = false;
    unsigned told = 0;

    make_tree();
    EXPECT_INT(chmod("tree/a/b", 0), ==, 0);
    if (!harness_drop_root()) {
        harness_leave_directory();
        SKIP("root may read everything");
    }
    EXPECT_INT(torc_walk_open(&walk, AT_FDCWD, "tree", 0), ==, 0);
    while (torc_walk_next(&walk, &entry) > 0) {
        told++;
        if (entry.visit == TORC_WALK_FAILED) {
            EXPECT_STR(entry.path, "a/b");
            EXPECT_INT(entry.error, ==, -EACCES);
            failed = true;
        }
    }
    EXPECT(failed);
    EXPECT_UINT(told, ==, 2 + 2 * 3);
    torc_walk_close(&walk);
    harness_regain_root();
    EXPECT_INT(chmod("tree/a/b", 0755), ==, 0);
    harness_leave_directory();
}

/* ---- Removing ---- */

FIBER_TEST_WITH_THREADS(a_tree_is_removed_and_nothing_that_links_point_to)
{
    make_tree();
    harness_put_file("kept", "kept");
    EXPECT_INT(mkdir("kept-dir", 0755), ==, 0);
    harness_put_file("kept-dir/file", "");
    EXPECT_INT(symlink("../kept", "tree/to-file"), ==, 0);
    EXPECT_INT(symlink("../kept-dir", "tree/to-dir"), ==, 0);
    EXPECT_INT(torc_remove_all(AT_FDCWD, "tree"), ==, 0);
    EXPECT(!harness_exists("tree"));
    EXPECT(harness_exists("kept-dir/file"));
    EXPECT_INT(symlink("kept-dir", "link"), ==, 0);
    EXPECT_INT(torc_remove_all(AT_FDCWD, "link"), ==, 0);
    EXPECT_INT(torc_remove_all(AT_FDCWD, "kept"), ==, 0);
    EXPECT_INT(torc_remove_all(AT_FDCWD, "none"), ==, 0);
    EXPECT_UINT(harness_count_names(), ==, 1);
    EXPECT_INT(torc_remove_all(AT_FDCWD, "kept-dir/file/x"), ==, -ENOTDIR);
    harness_leave_directory();
}

/* A directory in a directory, and so on. */
static void make_chain(const char *top, const char *name, unsigned depth)
{
    int fd;

    EXPECT_INT(torc_mkdir(top, 0755), ==, 0);
    fd = torc_open(top, O_RDONLY | O_DIRECTORY, 0);
    for (unsigned i = 0; i < depth; i++) {
        int next;

        EXPECT_INT(torc_mkdirat(fd, name, 0755), ==, 0);
        next = torc_openat(fd, name, O_RDONLY | O_DIRECTORY, 0);
        EXPECT_INT(next, >=, 0);
        EXPECT_INT(torc_close(fd), ==, 0);
        fd = next;
    }
    EXPECT_INT(torc_close(fd), ==, 0);
}

FIBER_TEST_WITH_THREADS(a_tree_is_removed_however_deep_it_is_and_however_long_its_paths_are)
{
    char name[251];

    harness_enter_directory();
    make_chain("deep", "d", 3 * TORC_WALK_DEPTH_MAX);
    EXPECT_INT(torc_remove_all(AT_FDCWD, "deep"), ==, 0);
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    make_chain("long", name, 40);
    EXPECT_INT(torc_remove_all(AT_FDCWD, "long"), ==, 0);
    EXPECT_UINT(harness_count_names(), ==, 0);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_large_directory_is_removed_although_it_shrinks_meanwhile)
{
    harness_enter_directory();
    EXPECT_INT(mkdir("tree", 0755), ==, 0);
    for (unsigned i = 0; i < 250; i++) { /* More than a buffer has room for. */
        char name[32];

        snprintf(name, sizeof(name), "tree/%u", i);
        if (i % 10 == 0) {
            EXPECT_INT(mkdir(name, 0755), ==, 0);
        } else {
            harness_put_file(name, "");
        }
    }
    EXPECT_INT(torc_remove_all(AT_FDCWD, "tree"), ==, 0);
    EXPECT_UINT(harness_count_names(), ==, 0);
    harness_leave_directory();
}

/* SPDX-License-Identifier: MIT */
/*
 * fs_watch_test.c - what changes in a tree is told, whatever grows in it meanwhile.
 */
#include "harness/directory.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <torc/torc.h>
#include <unistd.h>

#define EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE)

static struct torc_fs_watch *watch_here(uint32_t mask)
{
    struct torc_fs_watch *watch = NULL;

    EXPECT_INT(torc_fs_watch_open(".", mask, &watch), ==, 0);
    return watch;
}

/* Takes events until this one comes; which it does, or the test takes too long. */
static uint32_t await(struct torc_fs_watch *watch, uint32_t mask, const char *path)
{
    struct torc_fs_watch_event event;

    do
        EXPECT_INT(torc_fs_watch_next(watch, &event), ==, 0);
    while ((event.mask & mask) != mask || strcmp(event.path, path) != 0);
    return event.cookie;
}

static void expect_quiet(struct torc_fs_watch *watch)
{
    struct torc_fs_watch_event event;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 2 * TORC_MILLISECOND);
    EXPECT_INT(torc_fs_watch_next(watch, &event), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
}

FIBER_TEST_WITH_THREADS(changes_in_the_directory_and_below_are_told_with_their_paths)
{
    struct torc_fs_watch *watch;
    uint32_t cookie;

    harness_enter_directory();
    EXPECT_INT(torc_mkdir_all("a/b", 0755), ==, 0);
    harness_put_file("a/b/old", "");
    watch = watch_here(EVENTS);
    expect_quiet(watch);
    harness_put_file("file", "text");
    await(watch, IN_CREATE, "file");
    await(watch, IN_CLOSE_WRITE, "file");
    harness_put_file("a/b/old", "text");
    await(watch, IN_CLOSE_WRITE, "a/b/old");
    EXPECT_INT(rename("file", "a/new"), ==, 0);
    cookie = await(watch, IN_MOVED_FROM, "file");
    EXPECT_UINT(await(watch, IN_MOVED_TO, "a/new"), ==, cookie);
    EXPECT_INT(unlink("a/new"), ==, 0);
    await(watch, IN_DELETE, "a/new");
    EXPECT_INT(torc_remove_all(AT_FDCWD, "a"), ==, 0);
    await(watch, IN_DELETE | IN_ISDIR, "a");
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(new_directories_are_followed_with_what_they_have_already)
{
    struct torc_fs_watch *watch;

    harness_enter_directory();
    watch = watch_here(EVENTS);
    EXPECT_INT(torc_mkdir_all("a/b/c", 0755), ==, 0);
    harness_put_file("a/b/c/early", "");
    await(watch, IN_CREATE | IN_ISDIR, "a");
    await(watch, IN_CREATE | IN_ISDIR, "a/b");
    await(watch, IN_CREATE | IN_ISDIR, "a/b/c");
    await(watch, IN_CREATE, "a/b/c/early");
    harness_put_file("a/b/c/late", "");
    await(watch, IN_CREATE, "a/b/c/late");
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(directories_that_are_moved_keep_being_followed_under_their_new_name)
{
    struct torc_fs_watch *watch;

    harness_enter_directory();
    EXPECT_INT(mkdir("in", 0755), ==, 0);
    EXPECT_INT(chdir("in"), ==, 0);
    EXPECT_INT(torc_mkdir_all("a/b", 0755), ==, 0);
    EXPECT_INT(torc_mkdir_all("../out/x", 0755), ==, 0);
    watch = watch_here(EVENTS);
    EXPECT_INT(rename("a", "z"), ==, 0);
    await(watch, IN_MOVED_TO | IN_ISDIR, "z");
    harness_put_file("z/b/file", "");
    await(watch, IN_CREATE, "z/b/file");
    EXPECT_INT(rename("../out", "out"), ==, 0);
    await(watch, IN_MOVED_TO | IN_ISDIR, "out");
    await(watch, IN_CREATE | IN_ISDIR, "out/x");
    EXPECT_INT(rename("z", "../z"), ==, 0);
    await(watch, IN_MOVED_FROM | IN_ISDIR, "z");
    harness_put_file("../z/b/other", "");
    expect_quiet(watch);
    torc_fs_watch_close(watch);
    EXPECT_INT(chdir(".."), ==, 0);
    harness_leave_directory();
}

static void expect_next(struct torc_fs_watch *watch, const char *path)
{
    struct torc_fs_watch_event event;

    EXPECT_INT(torc_fs_watch_next(watch, &event), ==, 0);
    EXPECT_STR(event.path, path);
}

FIBER_TEST_WITH_THREADS(what_happens_below_a_renamed_directory_before_that_is_taken_is_told)
{
    struct torc_fs_watch *watch;

    harness_enter_directory();
    EXPECT_INT(mkdir("in", 0755), ==, 0);
    EXPECT_INT(chdir("in"), ==, 0);
    EXPECT_INT(torc_mkdir_all("a/b", 0755), ==, 0);
    harness_put_file("a/b/file", "");
    watch = watch_here(IN_CLOSE_WRITE);
    EXPECT_INT(rename("a", "y"), ==, 0);
    harness_put_file("y/b/file", "text");
    EXPECT_INT(rename("y", "z"), ==, 0);
    EXPECT_INT(mkdir("y", 0755), ==, 0);
    harness_put_file("z/b/file", "text");
    expect_next(watch, "y/b/file");
    expect_next(watch, "z/b/file");
    EXPECT_INT(rename("z", "../z"), ==, 0); /* Where nothing is told of any more, */
    harness_put_file("../z/b/file", "text");
    harness_put_file("mark", "");
    expect_next(watch, "mark");
    EXPECT_INT(rename("../z", "y/z"), ==, 0); /* until it is there again. */
    harness_put_file("mark", "");
    expect_next(watch, "mark");
    harness_put_file("y/z/b/file", "text");
    expect_next(watch, "y/z/b/file");
    torc_fs_watch_close(watch);
    EXPECT_INT(chdir(".."), ==, 0);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(directories_that_are_exchanged_have_each_others_paths)
{
    struct torc_fs_watch *watch;

    harness_enter_directory();
    EXPECT_INT(torc_mkdir_all("a/of_a", 0755), ==, 0);
    EXPECT_INT(torc_mkdir_all("b/of_b", 0755), ==, 0);
    watch = watch_here(IN_CLOSE_WRITE);
    for (int i = 0; i < 2; i++) {
        EXPECT_INT(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE), ==, 0);
        harness_put_file("mark", "");
        expect_next(watch, "mark");
        harness_put_file(i == 0 ? "a/of_b/file" : "a/of_a/file", "");
        expect_next(watch, i == 0 ? "a/of_b/file" : "a/of_a/file");
        harness_put_file(i == 0 ? "b/of_a/file" : "b/of_b/file", "");
        expect_next(watch, i == 0 ? "b/of_a/file" : "b/of_b/file");
        harness_put_file("a/file", "");
        expect_next(watch, "a/file");
    }
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

#define RENAMES 1500 /* So many that no event has to be dropped. */

/* Rename a directory in the one at `arg` again and again, each time writing a file below it. */
static void *rename_often(void *arg)
{
    const char *directory = arg;
    char from[40];
    char to[40];
    char file[60];

    for (int i = 0; i < RENAMES; i++) {
        (void)snprintf(from, sizeof(from), "%s/%d", directory, i);
        (void)snprintf(to, sizeof(to), "%s/%d", directory, i + 1);
        (void)snprintf(file, sizeof(file), "%s/in/file", to);
        EXPECT_INT(rename(from, to), ==, 0);
        harness_put_file(file, "");
    }
    return NULL;
}

FIBER_TEST_WITH_THREADS(what_happens_below_directories_renamed_by_two_at_once_is_told)
{
    static char a[] = "a";
    static char b[] = "b";
    struct torc_fs_watch *watch;
    pthread_t other;
    char path[40];
    int told[2] = {0};

    harness_enter_directory();
    EXPECT_INT(torc_mkdir_all("a/0/in", 0755), ==, 0);
    EXPECT_INT(torc_mkdir_all("b/0/in", 0755), ==, 0);
    watch = watch_here(IN_CLOSE_WRITE);
    EXPECT_INT(pthread_create(&other, NULL, rename_often, a), ==, 0);
    (void)rename_often(b);
    EXPECT_INT(pthread_join(other, NULL), ==, 0);
    for (int i = 0; i < 2 * RENAMES; i++) {
        struct torc_fs_watch_event event;

        EXPECT_INT(torc_fs_watch_next(watch, &event), ==, 0);
        (void)snprintf(path, sizeof(path), "%c/%d/in/file", *event.path,
                       ++told[*event.path == 'b']);
        EXPECT_STR(event.path, path);
    }
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(only_what_was_asked_for_is_told)
{
    struct torc_fs_watch_event event;
    struct torc_fs_watch *watch;

    harness_enter_directory();
    watch = watch_here(IN_DELETE);
    EXPECT_INT(mkdir("dir", 0755), ==, 0);
    harness_put_file("dir/file", "text");
    harness_put_file("mark", "");
    EXPECT_INT(unlink("mark"), ==, 0);
    EXPECT_INT(torc_fs_watch_next(watch, &event), ==, 0);
    EXPECT_UINT(event.mask, ==, IN_DELETE);
    EXPECT_STR(event.path, "mark"); /* What came before was not told, but followed. */
    EXPECT_INT(unlink("dir/file"), ==, 0);
    EXPECT_INT(torc_fs_watch_next(watch, &event), ==, 0);
    EXPECT_UINT(event.mask, ==, IN_DELETE);
    EXPECT_STR(event.path, "dir/file");
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(what_cannot_be_watched_is_refused)
{
    struct torc_fs_watch *watch = NULL;

    harness_enter_directory();
    harness_put_file("file", "");
    EXPECT_INT(torc_fs_watch_open("file", EVENTS, &watch), ==, -ENOTDIR);
    EXPECT_INT(torc_fs_watch_open("none", EVENTS, &watch), ==, -ENOENT);
    EXPECT_INT(torc_fs_watch_open(".", 0, &watch), ==, -EINVAL);
    EXPECT(watch == NULL);
    torc_fs_watch_close(NULL);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(the_end_of_the_directory_itself_is_told)
{
    struct torc_fs_watch_event event;
    struct torc_fs_watch *watch;

    harness_enter_directory();
    EXPECT_INT(mkdir("dir", 0755), ==, 0);
    EXPECT_INT(torc_fs_watch_open("dir", IN_DELETE_SELF, &watch), ==, 0);
    EXPECT_INT(rmdir("dir"), ==, 0);
    EXPECT_INT(torc_fs_watch_next(watch, &event), ==, 0);
    EXPECT_UINT(event.mask & IN_DELETE_SELF, ==, IN_DELETE_SELF);
    EXPECT_STR(event.path, "");
    EXPECT_INT(torc_fs_watch_next(watch, &event), ==, -ENOENT);
    EXPECT_INT(torc_fs_watch_next(watch, &event), ==, -ENOENT);
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_watch_ends_when_its_directory_is_moved_away)
{
    struct torc_fs_watch_event event;
    struct torc_fs_watch *watch;

    harness_enter_directory();
    for (int asked = 0; asked < 2; asked++) {
        EXPECT_INT(mkdir("tree", 0755), ==, 0);
        EXPECT_INT(torc_fs_watch_open("tree", IN_CREATE | (asked ? IN_MOVE_SELF : 0), &watch), ==,
                   0);
        harness_put_file("tree/before", "");
        EXPECT_INT(rename("tree", "moved"), ==, 0);
        await(watch, IN_CREATE, "before");
        if (asked)
            await(watch, IN_MOVE_SELF, "");
        EXPECT_INT(torc_fs_watch_next(watch, &event), ==, -ENOENT);
        EXPECT_INT(torc_fs_watch_next(watch, &event), ==, -ENOENT);
        torc_fs_watch_close(watch);
        EXPECT_INT(torc_remove_all(AT_FDCWD, "moved"), ==, 0);
    }
    harness_leave_directory();
}

/* The watch does not see the rename itself, but that it cannot follow what is made any more. */
FIBER_TEST_WITH_THREADS(a_watch_ends_when_it_cannot_find_its_directory_any_more)
{
    struct torc_fs_watch_event event;
    struct torc_fs_watch *watch;
    int result;

    harness_enter_directory();
    EXPECT_INT(torc_mkdir_all("above/tree", 0755), ==, 0);
    EXPECT_INT(torc_fs_watch_open("above/tree", IN_CREATE, &watch), ==, 0);
    EXPECT_INT(rename("above", "elsewhere"), ==, 0);
    EXPECT_INT(mkdir("elsewhere/tree/new", 0755), ==, 0);
    while ((result = torc_fs_watch_next(watch, &event)) == 0)
        EXPECT_STR(event.path, "new");
    EXPECT_INT(result, ==, -ENOENT);
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

#define DEEP 600 /* More than twice what a walk goes into. */

/* "d/d/d", and so on. */
static void make_deep_path(char path[2 * DEEP], unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) {
        path[2 * i] = 'd';
        path[2 * i + 1] = '/';
    }
    path[2 * depth - 1] = '\0';
}

static void put_deep_file(const char *path, const char *name, char full[2 * DEEP + 20])
{
    (void)snprintf(full, 2 * DEEP + 20, "%s/%s", path, name);
    harness_put_file(full, "");
}

FIBER_TEST_WITH_THREADS(directories_of_any_depth_are_followed)
{
    char path[2 * DEEP];
    char full[2 * DEEP + 20];
    struct torc_fs_watch *watch;

    harness_enter_directory();
    EXPECT_INT(mkdir("in", 0755), ==, 0); /* Beside it is room for what is hidden. */
    EXPECT_INT(chdir("in"), ==, 0);
    make_deep_path(path, DEEP);
    EXPECT_INT(torc_mkdir_all(path, 0755), ==, 0);
    watch = watch_here(EVENTS | IN_OPEN);
    expect_quiet(watch);
    put_deep_file(path, "file", full);
    await(watch, IN_CREATE, full);
    EXPECT_INT(rename("d", "../hidden"), ==, 0);
    await(watch, IN_MOVED_FROM | IN_ISDIR, "d");
    EXPECT_INT(rename("../hidden", "d"), ==, 0);
    await(watch, IN_CREATE, full);
    put_deep_file(path, "other", full);
    await(watch, IN_CREATE, full);
    torc_fs_watch_close(watch);
    EXPECT_INT(unlink(full), ==, 0);
    put_deep_file(path, "file", full);
    EXPECT_INT(unlink(full), ==, 0);
    for (unsigned depth = DEEP; depth > 0; depth--) { /* Not by nftw(3), which recurses. */
        path[2 * depth - 1] = '\0';
        EXPECT_INT(rmdir(path), ==, 0);
    }
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_watch_does_not_see_itself_reading_the_tree)
{
    struct torc_fs_watch *watch;
    struct torc_dir dir;

    harness_enter_directory();
    EXPECT_INT(torc_mkdir_all("a/b", 0755), ==, 0);
    harness_put_file("a/b/file", "text");
    watch = watch_here(IN_ALL_EVENTS);
    expect_quiet(watch);
    EXPECT_INT(torc_dir_open(&dir, AT_FDCWD, "a/b"), ==, 0); /* But others it sees. */
    torc_dir_close(&dir);
    await(watch, IN_OPEN | IN_ISDIR, "a/b");
    await(watch, IN_CLOSE_NOWRITE | IN_ISDIR, "a/b");
    harness_expect_file("a/b/file", "text");
    await(watch, IN_ACCESS, "a/b/file");
    EXPECT_INT(mkdir("a/c", 0755), ==, 0);
    await(watch, IN_CREATE | IN_ISDIR, "a/c");
    harness_put_file("a/c/file", "text");
    await(watch, IN_CLOSE_WRITE, "a/c/file");
    harness_expect_file("a/c/file", "text");
    await(watch, IN_CLOSE_NOWRITE, "a/c/file");
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

/* How many events the kernel keeps. */
static unsigned queue_limit(void)
{
    char text[32] = "";

    EXPECT_INT(torc_read_file("/proc/sys/fs/inotify/max_queued_events", text, 31), >, 0);
    return (unsigned)strtoul(text, NULL, 10);
}

/* More than the kernel keeps: each opening of the file is two events. */
static void overflow(const char *file, unsigned limit)
{
    for (unsigned i = 0; i <= limit / 2; i++) {
        int fd = open(file, O_RDONLY | O_CLOEXEC);

        EXPECT_INT(fd, >=, 0);
        close(fd);
    }
}

FIBER_TEST_WITH_THREADS(what_the_kernel_could_not_keep_is_told_as_an_overflow)
{
    const unsigned limit = queue_limit();
    struct torc_fs_watch *watch;

    if (limit > 50000)
        SKIP("the kernel keeps %u events", limit);
    harness_enter_directory();
    harness_put_file("file", "");
    watch = watch_here(IN_CREATE | IN_OPEN | IN_CLOSE_NOWRITE);
    overflow("file", limit);
    EXPECT_INT(torc_mkdir_all("missed/dir", 0755), ==, 0); /* Nobody tells. */
    await(watch, IN_Q_OVERFLOW, "");
    expect_quiet(watch); /* Or another overflow might come of reading the tree after this one. */
    harness_put_file("missed/dir/file", "");
    await(watch, IN_CREATE, "missed/dir/file");
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(what_left_the_tree_unseen_is_of_no_concern_any_more)
{
    const unsigned limit = queue_limit();
    struct torc_fs_watch_event event;
    struct torc_fs_watch *watch;

    if (limit > 50000)
        SKIP("the kernel keeps %u events", limit);
    harness_enter_directory();
    EXPECT_INT(torc_mkdir_all("tree/gone/below", 0755), ==, 0);
    EXPECT_INT(torc_mkdir_all("tree/moved/below", 0755), ==, 0);
    harness_put_file("tree/file", "");
    EXPECT_INT(torc_fs_watch_open("tree", IN_CREATE | IN_OPEN | IN_CLOSE_NOWRITE, &watch), ==, 0);
    overflow("tree/file", limit);
    EXPECT_INT(rename("tree/gone", "gone"), ==, 0);
    EXPECT_INT(rename("tree/moved", "tree/here"), ==, 0);
    await(watch, IN_Q_OVERFLOW, "");
    harness_put_file("gone/file", "");
    harness_put_file("gone/below/file", "");
    harness_put_file("tree/here/below/file", "");
    do
        EXPECT_INT(torc_fs_watch_next(watch, &event), ==, 0);
    while (!(event.mask & IN_CREATE));
    EXPECT_STR(event.path, "here/below/file");
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

/* Waits for an event, interrupted at a random place; once more, and not interrupted, if it was. */
static void take_after_interruption(struct torc_fs_watch *watch, struct torc_fs_watch_event *event)
{
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    if (harness_random_below(2) == 0)
        torc_scope_cancel(&scope);
    else
        torc_scope_set_timeout(&scope, harness_random_below(200) * TORC_MICROSECOND);
    result = torc_fs_watch_next(watch, event);
    (void)torc_scope_close(&scope);
    if (result == -ECANCELED || result == -ETIME)
        result = torc_fs_watch_next(watch, event);
    EXPECT_INT(result, ==, 0);
}

FIBER_TEST_WITH_THREADS(an_interrupted_wait_loses_no_event)
{
    struct torc_fs_watch_event event;
    struct torc_fs_watch *watch;
    unsigned told = 0;

    harness_enter_directory();
    watch = watch_here(IN_CREATE | IN_OPEN);
    EXPECT_INT(torc_mkdir_all("a/b/c/d/e/f", 0755), ==, 0);
    harness_put_file("a/b/c/d/e/f/last", "");
    do {
        take_after_interruption(watch, &event);
        told += (event.mask & IN_CREATE) != 0;
    } while (!(event.mask & IN_CREATE) || strcmp(event.path, "a/b/c/d/e/f/last") != 0);
    harness_expect_file("a/b/c/d/e/f/last", "");
    do
        take_after_interruption(watch, &event);
    while (!(event.mask & IN_OPEN) || strcmp(event.path, "a/b/c/d/e/f/last") != 0);
    EXPECT_UINT(told, >=, 7);
    torc_fs_watch_close(watch);
    harness_leave_directory();
}

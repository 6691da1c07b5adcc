/* SPDX-License-Identifier: MIT */
/*
 * dir_test.c - walks where the file system does not say what an entry is.
 */
#include "harness/directory.h"
#include "harness/run.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <torc/dir.h>

#define COUNT 5

/* Of the entries that have been read and not told. */
static void forget_types(struct torc_dir *dir)
{
    while (dir->_at < dir->_filled) {
        struct dirent64 *entry = (void *)((char *)dir->_buffer + dir->_at);

        entry->d_type = DT_UNKNOWN;
        dir->_at += entry->d_reclen;
    }
}

/* Begin a walk of that many directories, and be told of the first. */
static void begin_walk(struct torc_walk *walk)
{
    static const char *const names[COUNT] = {"a", "b", "c", "d", "e"};
    struct torc_walk_entry entry;
    uint32_t at;

    harness_enter_directory();
    for (unsigned i = 0; i < COUNT; i++)
        EXPECT_INT(mkdir(names[i], 0755), ==, 0);
    EXPECT_INT(torc_walk_open(walk, AT_FDCWD, ".", 1), ==, 0);
    EXPECT_INT(torc_walk_next(walk, &entry), ==, 1);
    at = walk->_dir._at;
    forget_types(&walk->_dir);
    walk->_dir._at = at;
}

/* Go on, each time after a call in a scope that is cancelled if `is_disturbed`; count entries. */
static unsigned count_entered(struct torc_walk *walk, bool is_disturbed)
{
    struct torc_walk_entry entry;
    struct torc_scope scope;
    unsigned count = 1;
    int result = 0;

    do {
        torc_scope_open(&scope, 0);
        if (is_disturbed)
            torc_scope_cancel(&scope);
        result = torc_walk_next(walk, &entry);
        (void)torc_scope_close(&scope);
        if (result == -ECANCELED)
            result = torc_walk_next(walk, &entry);
        EXPECT_INT(result, >=, 0);
        count += result > 0 && entry.visit == TORC_WALK_ENTER;
    } while (result > 0);
    torc_walk_close(walk);
    harness_leave_directory();
    return count;
}

FIBER_TEST_WITH_THREADS(a_walk_finds_out_what_it_is_not_told)
{
    struct torc_walk walk;

    begin_walk(&walk);
    EXPECT_UINT(count_entered(&walk, false), ==, COUNT);
}

FIBER_TEST_WITH_THREADS(a_walk_that_was_interrupted_in_finding_out_has_lost_nothing)
{
    struct torc_walk walk;

    begin_walk(&walk);
    EXPECT_UINT(count_entered(&walk, true), ==, COUNT);
}

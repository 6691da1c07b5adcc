/* SPDX-License-Identifier: MIT */
/*
 * fs_whole_test.c - whole files are read, replaced and copied.
 */
#include "harness/directory.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <torc/torc.h>
#include <unistd.h>

#define LARGE 300000

static char large[LARGE];
static char buffer[LARGE + 1];

static void put_large(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    harness_pattern_fill(large, LARGE, 0);
    harness_put(fd, large, LARGE);
    close(fd);
}

/* ---- Reading ---- */

FIBER_TEST(a_whole_file_is_read_into_a_buffer_that_is_large_enough)
{
    harness_enter_directory();
    put_large("large");
    harness_put_file("empty", "");
    EXPECT_INT(torc_read_file("large", buffer, LARGE + 1), ==, LARGE);
    EXPECT_MEM(buffer, large, LARGE);
    EXPECT_INT(torc_read_file("large", buffer, LARGE), ==, LARGE);
    EXPECT_INT(torc_read_file("large", buffer, LARGE - 1), ==, -EFBIG);
    EXPECT_INT(torc_read_file("empty", buffer, 10), ==, 0);
    EXPECT_INT(torc_read_file("empty", buffer, 0), ==, 0);
    EXPECT_INT(torc_read_file("none", buffer, 10), ==, -ENOENT);
    EXPECT_INT(torc_read_file(".", buffer, 10), ==, -EISDIR);
    harness_leave_directory();
}

FIBER_TEST(a_whole_file_is_loaded_up_to_a_limit)
{
    char *data = NULL;
    size_t length = 0;

    harness_enter_directory();
    put_large("large");
    harness_put_file("empty", "");
    EXPECT_INT(torc_load_file("large", SIZE_MAX, &data, &length), ==, 0);
    EXPECT_UINT(length, ==, LARGE);
    EXPECT_MEM(data, large, LARGE);
    EXPECT_INT(data[LARGE], ==, 0);
    free(data);
    EXPECT_INT(torc_load_file("large", LARGE, &data, &length), ==, 0);
    EXPECT_UINT(length, ==, LARGE);
    free(data);
    data = NULL;
    EXPECT_INT(torc_load_file("large", LARGE - 1, &data, &length), ==, -EFBIG);
    EXPECT_INT(torc_load_file("large", 0, &data, &length), ==, -EFBIG);
    EXPECT_INT(torc_load_file("none", 0, &data, &length), ==, -ENOENT);
    EXPECT(data == NULL);
    EXPECT_INT(torc_load_file("empty", 0, &data, &length), ==, 0);
    EXPECT_UINT(length, ==, 0);
    EXPECT_STR(data, "");
    free(data);
    harness_leave_directory();
}

FIBER_TEST(a_file_that_says_its_size_is_loaded_into_no_more_memory)
{
    char *data;
    size_t length;

    harness_enter_directory();
    put_large("large");
    EXPECT_INT(torc_load_file("large", SIZE_MAX, &data, &length), ==, 0);
    EXPECT_UINT(malloc_usable_size(data), <, LARGE + LARGE / 2);
    free(data);
    harness_leave_directory();
}

FIBER_TEST(files_that_do_not_say_their_size_are_read_whole)
{
    char *data;
    size_t length;
    ssize_t count = torc_read_file("/proc/self/status", buffer, sizeof(buffer));

    EXPECT_INT(count, >, 100);
    EXPECT_MEM(buffer, "Name:", 5);
    EXPECT_INT(torc_load_file("/proc/self/maps", 1 << 24, &data, &length), ==, 0);
    EXPECT_UINT(length, >, 2000); /* More than one read of a /proc file gives. */
    EXPECT_INT(data[length - 1], ==, '\n');
    free(data);
    EXPECT_INT(torc_load_file("/dev/zero", 100000, &data, &length), ==, -EFBIG);
}

/* The end of the room is looked for at every size, whatever it was doubled from. */
FIBER_TEST(files_that_do_not_say_their_size_are_loaded_up_to_any_limit)
{
    char *data;
    size_t length;

    for (size_t limit = 4090; limit < 4100; limit++) {
        for (size_t twice = limit; twice <= 4 * limit; twice *= 2) {
            EXPECT_INT(torc_load_file("/dev/zero", twice, &data, &length), ==, -EFBIG);
            EXPECT_INT(torc_load_file("/dev/zero", twice + 1, &data, &length), ==, -EFBIG);
        }
    }
}

/* ---- Replacing ---- */

FIBER_TEST_WITH_THREADS(a_saved_file_replaces_the_old_one_and_leaves_nothing_else)
{
    struct stat status;

    harness_enter_directory();
    harness_pattern_fill(large, LARGE, 7);
    EXPECT_INT(torc_save_file("file", "first", 5, 0600), ==, 0);
    harness_expect_file("file", "first");
    EXPECT_INT(stat("file", &status), ==, 0);
    EXPECT_UINT(status.st_mode & 07777, ==, 0600);
    EXPECT_INT(torc_save_file("./file", large, LARGE, 0644), ==, 0);
    EXPECT_INT(torc_read_file("file", buffer, sizeof(buffer)), ==, LARGE);
    harness_pattern_check(buffer, LARGE, 7);
    EXPECT_INT(torc_save_file("file", NULL, 0, 0644), ==, 0);
    harness_expect_file("file", "");
    EXPECT_UINT(harness_count_names(), ==, 1);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(what_cannot_be_saved_leaves_what_was_there)
{
    harness_enter_directory();
    EXPECT_INT(mkdir("dir", 0755), ==, 0);
    harness_put_file("file", "old");
    EXPECT_INT(torc_save_file("dir", "x", 1, 0600), ==, -EISDIR);
    EXPECT_INT(torc_save_file("none/file", "x", 1, 0600), ==, -ENOENT);
    EXPECT_INT(torc_save_file("file/file", "x", 1, 0600), ==, -ENOTDIR);
    EXPECT_UINT(harness_count_names(), ==, 2);
    harness_expect_file("file", "old");
    harness_leave_directory();
}

static int save_over_and_over(void *arg)
{
    const char fill = *(const char *)arg;
    static char data[2][20000];
    char *mine = data[fill == 'b'];
    int result;

    memset(mine, fill, sizeof(data[0]));
    do {
        result = torc_save_file("file", mine, sizeof(data[0]), 0600);
    } while (result == 0);
    return result;
}

FIBER_TEST_WITH_THREADS(whoever_reads_a_file_that_is_saved_sees_all_of_one_version)
{
    struct torc_scope scope;
    char fills[] = "ab";

    harness_enter_directory();
    for (unsigned i = 0; i < harness_scaled(20); i++) {
        memset(buffer, 'a', 20000);
        EXPECT_INT(torc_save_file("file", buffer, 20000, 0600), ==, 0);
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, save_over_and_over, &fills[0]);
        harness_spawn(&scope, save_over_and_over, &fills[1]);
        for (unsigned j = 0; j < 5; j++) {
            EXPECT_INT(torc_read_file("file", buffer, sizeof(buffer)), ==, 20000);
            EXPECT(memchr(buffer, buffer[0] == 'a' ? 'b' : 'a', 20000) == NULL);
        }
        torc_scope_cancel(&scope);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
        EXPECT_UINT(harness_count_names(), ==, 1); /* Those that were cancelled clean up. */
    }
    harness_leave_directory();
}

struct saver {
    struct torc_scope scope;
    bool ended;
    int result;
};

static int save_new(void *arg)
{
    struct saver *saver = arg;

    saver->result = torc_save_file("file", "new", 3, 0600);
    saver->ended = true;
    return 0;
}

/* Cancel as soon as the new file is there, and before its saver may know. */
FIBER_TEST_WITH_THREADS(a_file_that_has_been_replaced_has_been_saved_whatever_the_scope_says)
{
    harness_enter_directory();
    for (unsigned i = 0; i < harness_scaled(50); i++) {
        struct saver saver = {.ended = false};
        struct stat before;
        struct stat now;

        harness_put_file("file", "old");
        EXPECT_INT(stat("file", &before), ==, 0);
        torc_scope_open(&saver.scope, TORC_SUPERVISE);
        harness_spawn(&saver.scope, save_new, &saver);
        do {
            EXPECT_INT(torc_yield(), ==, 0);
            EXPECT_INT(stat("file", &now), ==, 0);
        } while (now.st_ino == before.st_ino && !saver.ended);
        torc_scope_cancel(&saver.scope);
        EXPECT_INT(torc_scope_close(&saver.scope), ==, -ECANCELED);
        EXPECT_INT(saver.result, ==, 0);
        harness_expect_file("file", "new");
        EXPECT_UINT(harness_count_names(), ==, 1);
    }
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_file_is_saved_in_a_directory_that_may_not_be_read)
{
    harness_enter_directory();
    if (!harness_drop_root()) {
        harness_leave_directory();
        SKIP("root may read everything");
    }
    EXPECT_INT(mkdir("blind", 0300), ==, 0);
    EXPECT_INT(torc_save_file("blind/file", "text", 4, 0600), ==, 0);
    harness_expect_file("blind/file", "text");
    EXPECT_INT(chmod("blind", 0700), ==, 0);
    harness_regain_root();
    harness_leave_directory();
}

/* ---- Copying ---- */

FIBER_TEST_WITH_THREADS(a_copy_has_the_data_and_the_permissions)
{
    struct stat status;

    harness_enter_directory();
    put_large("large");
    EXPECT_INT(chmod("large", 0751), ==, 0);
    harness_put_file("old", "old");
    EXPECT_INT(torc_copy_file("large", "new"), ==, 0);
    EXPECT_INT(torc_copy_file("large", "old"), ==, 0);
    EXPECT_INT(torc_read_file("new", buffer, sizeof(buffer)), ==, LARGE);
    EXPECT_MEM(buffer, large, LARGE);
    EXPECT_INT(torc_read_file("old", buffer, sizeof(buffer)), ==, LARGE);
    EXPECT_INT(stat("new", &status), ==, 0);
    EXPECT_UINT(status.st_mode & 07777, ==, 0751);
    EXPECT_INT(torc_copy_file("none", "new"), ==, -ENOENT);
    EXPECT_INT(torc_copy_file(".", "new"), ==, -EISDIR);
    EXPECT_INT(torc_copy_file("/dev/null", "new"), ==, -EINVAL);
    EXPECT_INT(torc_copy_file("large", "none/new"), ==, -ENOENT);
    EXPECT_UINT(harness_count_names(), ==, 3);
    harness_leave_directory();
}

/* It is the copier's own, who may be somebody else. */
FIBER_TEST_WITH_THREADS(a_copy_runs_as_whoever_runs_it)
{
    struct stat status;

    harness_enter_directory();
    harness_put_file("program", "text");
    EXPECT_INT(chmod("program", 06755), ==, 0);
    EXPECT_INT(torc_copy_file("program", "copy"), ==, 0);
    EXPECT_INT(stat("copy", &status), ==, 0);
    EXPECT_UINT(status.st_mode & 07777, ==, 0755);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(what_the_kernel_cannot_copy_goes_through_memory)
{
    harness_enter_directory();
    EXPECT_INT(torc_copy_file("/proc/self/status", "status"), ==, 0);
    EXPECT_INT(harness_file_size("status"), >, 100);
    EXPECT_INT(torc_copy_file("/proc/self/mounts", "mounts"), ==, 0);
    EXPECT_INT(harness_file_size("mounts"), >, 0);
    harness_leave_directory();
}

/* SPDX-License-Identifier: MIT */
/*
 * file_lock_test.c - locks of files: shared, exclusive, waited for and given up.
 */
#include "harness/directory.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <torc/torc.h>

static int open_file(void)
{
    int fd = torc_open("file", O_RDWR | O_CREAT, 0600);

    EXPECT_INT(fd, >=, 0);
    return fd;
}

static void close_both(int first, int second)
{
    EXPECT_INT(torc_close(first), ==, 0);
    EXPECT_INT(torc_close(second), ==, 0);
}

FIBER_TEST_WITH_THREADS(whole_files_are_locked_shared_or_exclusively)
{
    int first;
    int second;

    harness_enter_directory();
    first = open_file();
    second = open_file();
    EXPECT_INT(torc_flock(first, LOCK_SH), ==, 0);
    EXPECT_INT(torc_flock(second, LOCK_SH), ==, 0);
    EXPECT_INT(torc_flock(first, LOCK_EX | LOCK_NB), ==, -EAGAIN);
    EXPECT_INT(torc_flock(second, LOCK_UN), ==, 0);
    EXPECT_INT(torc_flock(first, LOCK_EX), ==, 0);
    EXPECT_INT(torc_flock(second, LOCK_SH | LOCK_NB), ==, -EAGAIN);
    EXPECT_INT(torc_flock(-1, LOCK_EX), ==, -EBADF);
    EXPECT_INT(torc_flock(first, 77), ==, -EINVAL);
    close_both(first, second);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(ranges_are_locked_for_an_open_file_not_for_the_process)
{
    int first;
    int second;

    harness_enter_directory();
    first = open_file();
    second = open_file();
    EXPECT_INT(torc_lock(first, F_WRLCK, 0, 10), ==, 0);
    EXPECT_INT(torc_try_lock(second, F_RDLCK, 5, 1), ==, -EAGAIN);
    EXPECT_INT(torc_try_lock(second, F_WRLCK, 10, 0), ==, 0);
    EXPECT_INT(torc_try_lock(first, F_RDLCK, 1000000, 1), ==, -EAGAIN);
    EXPECT_INT(torc_lock(first, F_UNLCK, 0, 0), ==, 0);
    EXPECT_INT(torc_lock(second, F_RDLCK, 0, 0), ==, 0);
    EXPECT_INT(torc_try_lock(first, F_RDLCK, 0, 0), ==, 0);
    EXPECT_INT(torc_try_lock(first, 77, 0, 0), ==, -EINVAL);
    EXPECT_INT(torc_try_lock(first, F_RDLCK, -1, 0), ==, -EINVAL);
    close_both(first, second);
    harness_leave_directory();
}

struct waiter {
    int fd;
    bool whole;
    bool has_lock;
};

static int wait_for_lock(void *arg)
{
    struct waiter *waiter = arg;
    int result =
        waiter->whole ? torc_flock(waiter->fd, LOCK_EX) : torc_lock(waiter->fd, F_WRLCK, 0, 0);

    waiter->has_lock = result == 0;
    return result;
}

FIBER_TEST_WITH_THREADS(a_lock_is_waited_for_until_it_is_free)
{
    for (unsigned i = 0; i < 2; i++) {
        struct torc_scope scope;
        struct waiter waiter = {.whole = i == 0};
        int first;

        harness_enter_directory();
        first = open_file();
        waiter.fd = open_file();
        EXPECT_INT(torc_flock(first, LOCK_EX), ==, 0);
        EXPECT_INT(torc_lock(first, F_RDLCK, 0, 1), ==, 0);
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, wait_for_lock, &waiter);
        /* This asks for it at least once meanwhile. */
        EXPECT_INT(torc_flock(waiter.fd, LOCK_EX | LOCK_NB), ==, -EAGAIN);
        EXPECT(!waiter.has_lock);
        EXPECT_INT(torc_flock(first, LOCK_UN), ==, 0);
        EXPECT_INT(torc_lock(first, F_UNLCK, 0, 0), ==, 0);
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
        EXPECT(waiter.has_lock);
        close_both(first, waiter.fd);
        harness_leave_directory();
    }
}

FIBER_TEST_WITH_THREADS(waiting_for_a_lock_ends_with_the_scope_and_keeps_no_thread)
{
    struct torc_scope scope;
    struct waiter waiters[100]; /* More than there are threads for files. */
    int first;

    harness_enter_directory();
    first = open_file();
    EXPECT_INT(torc_flock(first, LOCK_EX), ==, 0);
    torc_scope_open(&scope, TORC_SUPERVISE);
    for (unsigned i = 0; i < 100; i++) {
        waiters[i] = (struct waiter){.fd = open_file(), .whole = true};
        harness_spawn(&scope, wait_for_lock, &waiters[i]);
    }
    for (unsigned i = 0; i < 20; i++)
        EXPECT_INT(torc_seek(first, 0, SEEK_SET), ==, 0); /* Threads are there for that. */
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    for (unsigned i = 0; i < 100; i++) {
        EXPECT(!waiters[i].has_lock);
        EXPECT_INT(torc_close(waiters[i].fd), ==, 0);
    }
    EXPECT_INT(torc_close(first), ==, 0);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(waiting_for_a_lock_ends_at_the_deadline)
{
    struct torc_scope scope;
    int first;
    int second;

    harness_enter_directory();
    first = open_file();
    second = open_file();
    EXPECT_INT(torc_lock(first, F_WRLCK, 0, 0), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 5 * TORC_MILLISECOND);
    EXPECT_INT(torc_lock(second, F_WRLCK, 0, 0), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    close_both(first, second);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(a_lock_is_let_go_in_a_cancelled_scope_too)
{
    struct torc_scope scope;
    int first;
    int second;

    harness_enter_directory();
    first = open_file();
    second = open_file();
    EXPECT_INT(torc_flock(first, LOCK_EX), ==, 0);
    EXPECT_INT(torc_lock(first, F_WRLCK, 0, 0), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_flock(second, LOCK_EX), ==, -ECANCELED);
    EXPECT_INT(torc_flock(first, LOCK_UN), ==, 0);
    EXPECT_INT(torc_lock(first, F_UNLCK, 0, 10), ==, 0);
    EXPECT_INT(torc_try_lock(first, F_UNLCK, 10, 0), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(torc_flock(second, LOCK_EX | LOCK_NB), ==, 0);
    EXPECT_INT(torc_try_lock(second, F_WRLCK, 0, 0), ==, 0);
    close_both(first, second);
    harness_leave_directory();
}

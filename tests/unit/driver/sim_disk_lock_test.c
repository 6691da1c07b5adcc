/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_lock_test.c - locks of open files of a simulated disk. That they exclude each other as
 * the kernel's do is compared in sim_disk_call_test.c.
 */
#include "unit/driver/sim_disk_rig.h"
#include <sys/file.h>

static struct rig rig;
static int first;
static int second;

static void open_two(void)
{
    const struct torc_sim_chaos chaos = rig_chaos();

    rig_open(&rig, 1, &chaos);
    first = rig_file(&rig, "/tmp/file", O_RDWR | O_CREAT);
    second = rig_file(&rig, "/tmp/file", O_RDWR);
}

static int lock(int fd, int type, off_t start, off_t length)
{
    const struct flock range = {
        .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

    return (int)RIG_CALL(&rig, SYS_fcntl, (uintptr_t)fd, F_OFD_SETLK, (uintptr_t)&range);
}

static int whole(int fd, int operation)
{
    return (int)RIG_CALL(&rig, SYS_flock, (uintptr_t)fd, (uintptr_t)(operation | LOCK_NB));
}

TEST(a_lock_ends_with_its_open_file)
{
    open_two();
    EXPECT_INT(lock(first, F_WRLCK, 0, 0), ==, 0);
    EXPECT_INT(whole(first, LOCK_EX), ==, 0);
    EXPECT_INT(lock(second, F_RDLCK, 0, 1), ==, -EAGAIN);
    EXPECT_INT(whole(second, LOCK_SH), ==, -EAGAIN);
    rig_shut(&rig, first);
    EXPECT_INT(lock(second, F_RDLCK, 0, 1), ==, 0);
    EXPECT_INT(whole(second, LOCK_SH), ==, 0);
    rig_close(&rig);
}

TEST(a_lock_stays_as_long_as_somebody_has_a_reference)
{
    struct sim_file *file;

    open_two();
    EXPECT_INT(whole(first, LOCK_EX), ==, 0);
    file = torc__sim_file_acquire(torc__sim_fd_file(rig.host, first));
    rig_shut(&rig, first);
    EXPECT_INT(whole(second, LOCK_EX), ==, -EAGAIN);
    torc__sim_file_release(file);
    EXPECT_INT(whole(second, LOCK_EX), ==, 0);
    rig_close(&rig);
}

TEST(letting_go_of_the_middle_leaves_both_ends)
{
    open_two();
    EXPECT_INT(lock(first, F_WRLCK, 10, 30), ==, 0);
    EXPECT_INT(lock(first, F_UNLCK, 20, 10), ==, 0);
    EXPECT_INT(lock(second, F_WRLCK, 19, 1), ==, -EAGAIN);
    EXPECT_INT(lock(second, F_WRLCK, 20, 10), ==, 0);
    EXPECT_INT(lock(second, F_WRLCK, 30, 1), ==, -EAGAIN);
    EXPECT_INT(lock(second, F_WRLCK, 40, 0), ==, 0);
    EXPECT_INT(lock(first, F_RDLCK, 0, 0), ==, -EAGAIN);
    rig_close(&rig);
}

TEST(who_asks_is_told_which_lock_is_in_the_way)
{
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 100};
    const uintptr_t arguments[6] = {0, F_OFD_GETLK, (uintptr_t)&range};

    open_two();
    EXPECT_INT(lock(first, F_RDLCK, 50, 5), ==, 0);
    EXPECT_INT(RIG_CALL(&rig, SYS_fcntl, (uintptr_t)second, arguments[1], arguments[2]), ==, 0);
    EXPECT_INT(range.l_type, ==, F_RDLCK);
    EXPECT_INT(range.l_start, ==, 50);
    EXPECT_INT(range.l_len, ==, 5);
    range = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET};
    EXPECT_INT(RIG_CALL(&rig, SYS_fcntl, (uintptr_t)second, arguments[1], arguments[2]), ==, 0);
    EXPECT_INT(range.l_type, ==, F_UNLCK);
    rig_close(&rig);
}

TEST(a_crash_ends_all_locks)
{
    open_two();
    rig_shut(&rig, second);
    EXPECT_INT(rig_sync(&rig, first), ==, 0);
    rig_sync_path(&rig, "/tmp");
    EXPECT_INT(whole(first, LOCK_EX), ==, 0);
    EXPECT_INT(lock(first, F_WRLCK, 0, 0), ==, 0);
    rig_crash(&rig);
    first = rig_file(&rig, "/tmp/file", O_RDWR);
    EXPECT_INT(whole(first, LOCK_EX), ==, 0);
    EXPECT_INT(lock(first, F_WRLCK, 0, 0), ==, 0);
    rig_close(&rig);
}

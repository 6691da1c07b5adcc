/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_device_test.c - devices, and files that say they have nothing and have something.
 */
#include "unit/driver/sim_disk_rig.h"
#include <sys/stat.h>

static struct rig rig;
static char data[32768];

static void open_rig(void)
{
    const struct torc_sim_chaos chaos = rig_chaos();

    rig_open(&rig, 1, &chaos);
}

TEST(devices_give_and_take_what_they_are_for)
{
    int fd;

    open_rig();
    EXPECT_INT(rig_get(&rig, "/dev/null", data, 10), ==, 0);
    memset(data, 'x', sizeof(data));
    EXPECT_INT(rig_get(&rig, "/dev/zero", data, 10), ==, 10);
    EXPECT_MEM(data, "\0\0\0\0\0\0\0\0\0\0x", 11);
    fd = rig_file(&rig, "/dev/full", O_WRONLY);
    EXPECT_INT(rig_write(&rig, fd, "x", 1, -1), ==, -ENOSPC);
    EXPECT_INT(rig_write(&rig, fd, "x", 1, 100), ==, -ENOSPC);
    fd = rig_file(&rig, "/dev/null", O_WRONLY);
    EXPECT_INT(rig_write(&rig, fd, data, 10, -1), ==, 10);
    EXPECT_INT(rig_sync(&rig, fd), ==, -EINVAL);
    EXPECT_INT(RIG_CALL(&rig, SYS_lseek, (uintptr_t)fd, 10, SEEK_SET), ==, 0);
    EXPECT_INT(RIG_CALL(&rig, SYS_ftruncate, (uintptr_t)fd, 0), ==, -EINVAL);
    rig_close(&rig);
}

TEST(random_bytes_follow_from_the_seed)
{
    char first[16];

    open_rig();
    EXPECT_INT(rig_get(&rig, "/dev/urandom", first, sizeof(first)), ==, sizeof(first));
    EXPECT_INT(rig_get(&rig, "/dev/urandom", data, sizeof(first)), ==, sizeof(first));
    EXPECT(memcmp(data, first, sizeof(first)) != 0);
    rig_close(&rig);
    open_rig();
    EXPECT_INT(rig_get(&rig, "/dev/urandom", data, sizeof(first)), ==, sizeof(first));
    EXPECT_MEM(data, first, sizeof(first));
    rig_close(&rig);
}

TEST(files_of_proc_say_they_are_empty_and_are_not)
{
    struct statx about;
    ssize_t size;
    int fd;

    open_rig();
    EXPECT_INT(rig_stat(&rig, "/proc/self/status", &about), ==, 0);
    EXPECT_UINT(about.stx_size, ==, 0);
    EXPECT_UINT(about.stx_mode, ==, S_IFREG | 0444);
    EXPECT_INT(rig_get(&rig, "/proc/self/status", data, sizeof(data)), >, 100);
    EXPECT_MEM(data, "Name:\thost\n", 11);
    size = rig_get(&rig, "/proc/self/maps", data, sizeof(data));
    EXPECT_INT(size, >, 2000);
    EXPECT_INT(data[size - 1], ==, '\n');
    fd = rig_file(&rig, "/proc/self/maps", O_RDONLY);
    EXPECT_INT(rig_read(&rig, fd, data, 10, -1), ==, 10);
    EXPECT_INT(rig_read(&rig, fd, data + 10, sizeof(data), -1), ==, size - 10);
    EXPECT_INT(rig_read(&rig, fd, data, 10, -1), ==, 0);
    EXPECT_INT(rig_get(&rig, "/proc/sys/fs/inotify/max_queued_events", data, 32), ==, 6);
    EXPECT_MEM(data, "16384\n", 6);
    rig_close(&rig);
}

TEST(files_of_proc_cannot_be_removed_or_opened_directly)
{
    open_rig();
    EXPECT_INT(rig_unlink(&rig, "/proc/self/status"), ==, -EPERM);
    EXPECT_INT(rig_rename(&rig, "/proc/self/status", "/tmp/x"), ==, -EPERM);
    EXPECT_INT(rig_file(&rig, "/proc/self/status", O_RDONLY | O_DIRECT), ==, -EINVAL);
    rig_crash(&rig);
    EXPECT_INT(rig_get(&rig, "/proc/mounts", data, sizeof(data)), >, 10);
    rig_close(&rig);
}

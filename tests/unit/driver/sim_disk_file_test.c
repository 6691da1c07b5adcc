/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_file_test.c - open files of a simulated disk: what transfers ask for and get.
 */
#include "driver/sim/disk_file.h"
#include "unit/driver/sim_disk_rig.h"
#include <limits.h>
#include <stdlib.h>

static struct rig rig;
static _Alignas(4096) char data[16384];

static int open_file(const struct torc_sim_chaos *chaos, int flags)
{
    const struct torc_sim_chaos calm = rig_chaos();
    int fd;

    rig_open(&rig, 1, chaos != NULL ? chaos : &calm);
    fd = rig_file(&rig, "/tmp/file", flags | O_CREAT);
    EXPECT_INT(fd, >=, 0);
    return fd;
}

static ssize_t move(int fd, bool is_write, const struct iovec *vector, size_t count, int flags)
{
    struct sim_file *file = torc__sim_fd_file(rig.host, fd);

    return is_write ? file->ops->write(file, vector, count, 0, flags)
                    : file->ops->read(file, vector, count, 0, flags);
}

TEST(vectors_and_flags_that_are_none_are_refused)
{
    static struct iovec many[IOV_MAX + 1];
    const struct iovec too_long[2] = {{data, 1}, {data, (size_t)SSIZE_MAX}};
    const struct iovec one = {data, 1};
    int fd = open_file(NULL, O_RDWR);

    EXPECT_INT(move(fd, true, many, IOV_MAX + 1, 0), ==, -EINVAL);
    EXPECT_INT(move(fd, false, many, (unsigned)-1, 0), ==, -EINVAL);
    EXPECT_INT(move(fd, true, many, IOV_MAX, 0), ==, 0);
    EXPECT_INT(move(fd, true, too_long, 2, 0), ==, -EINVAL);
    EXPECT_INT(move(fd, true, &one, 1, 0x40000000), ==, -EOPNOTSUPP);
    EXPECT_INT(rig_read(&rig, fd, data, 1, -2), ==, -EINVAL);
    EXPECT_INT(rig_read(&rig, fd, data, 1, INT64_MAX), ==, 0);
    EXPECT_INT(rig_write(&rig, fd, data, 1, INT64_MAX), ==, -EFBIG);
    rig_close(&rig);
}

TEST(what_is_appended_goes_to_the_end_and_is_whole)
{
    struct torc_sim_chaos chaos = rig_chaos();
    const struct iovec one = {data, 5000};
    int fd;

    chaos.short_transfer_rate = 1000000;
    fd = open_file(&chaos, O_RDWR | O_APPEND);
    for (int i = 0; i < 5; i++)
        EXPECT_INT(rig_write(&rig, fd, data, 5000, 0), ==, 5000);
    rig_shut(&rig, fd);
    fd = rig_file(&rig, "/tmp/file", O_RDWR);
    EXPECT_INT(move(fd, true, &one, 1, RWF_APPEND), ==, 5000);
    EXPECT_INT(rig_write(&rig, fd, data, 5000, 0), <, 5000);
    EXPECT_INT(RIG_CALL(&rig, SYS_lseek, (uintptr_t)fd, 0, SEEK_END), ==, 30000);
    rig_close(&rig);
}

TEST(direct_transfers_are_aligned_also_if_they_are_short)
{
    struct torc_sim_chaos chaos = rig_chaos();
    ssize_t result;
    int fd;

    chaos.short_transfer_rate = 1000000;
    fd = open_file(&chaos, O_RDWR | O_DIRECT);
    EXPECT_INT(rig_write(&rig, fd, data + 1, 512, 0), ==, -EINVAL);
    EXPECT_INT(rig_write(&rig, fd, data, 511, 0), ==, -EINVAL);
    EXPECT_INT(rig_write(&rig, fd, data, 512, 1), ==, -EINVAL);
    EXPECT_INT(rig_write(&rig, fd, data, 512, 512), ==, 512);
    for (int i = 0; i < 20; i++) {
        result = rig_write(&rig, fd, data, sizeof(data), 0);
        EXPECT_INT(result, <, sizeof(data));
        EXPECT_INT(result % 512, ==, 0);
    }
    rig_close(&rig);
}

TEST(files_opened_for_one_thing_or_by_path_refuse_the_others)
{
    int fd = open_file(NULL, O_RDONLY);

    EXPECT_INT(rig_write(&rig, fd, data, 1, 0), ==, -EBADF);
    fd = rig_file(&rig, "/tmp/file", O_WRONLY);
    EXPECT_INT(rig_read(&rig, fd, data, 1, 0), ==, -EBADF);
    fd = rig_file(&rig, "/tmp/file", O_PATH);
    EXPECT_INT(rig_read(&rig, fd, data, 1, 0), ==, -EBADF);
    EXPECT_INT(rig_sync(&rig, fd), ==, -EBADF);
    fd = rig_file(&rig, "/tmp", O_RDONLY);
    EXPECT_INT(rig_read(&rig, fd, data, 1, 0), ==, -EISDIR);
    EXPECT_UINT(torc__sim_fd_file(rig.host, fd)->ops->traits, ==, SIM_DIRECTORY);
    rig_close(&rig);
}

TEST(the_largest_size_of_a_file_cuts_a_write_and_then_refuses_it)
{
    int fd = open_file(NULL, O_RDWR);

    rig.host->disk->file_size_max = 4096;
    EXPECT_INT(rig_write(&rig, fd, data, 10000, 0), ==, 4096);
    EXPECT_INT(rig_write(&rig, fd, data, 1, 4096), ==, -EFBIG);
    EXPECT_INT(RIG_CALL(&rig, SYS_ftruncate, (uintptr_t)fd, 5000), ==, -EFBIG);
    EXPECT_INT(RIG_CALL(&rig, SYS_truncate, (uintptr_t) "/tmp/file", 5000), ==, -EFBIG);
    EXPECT_INT(RIG_CALL(&rig, SYS_fallocate, (uintptr_t)fd, 0, 0, 5000), ==, -EFBIG);
    EXPECT_INT(RIG_CALL(&rig, SYS_ftruncate, (uintptr_t)fd, 4000), ==, 0);
    rig_close(&rig);
}

TEST(errors_come_as_often_as_they_are_asked_for)
{
    const struct torc_sim_chaos calm = rig_chaos();
    struct torc_sim_chaos *chaos;
    int fd = open_file(&calm, O_RDWR);

    chaos = &rig.world->chaos;
    EXPECT_INT(rig_write(&rig, fd, data, 5000, 0), ==, 5000);
    chaos->disk_error_rate = 1000000;
    EXPECT_INT(rig_read(&rig, fd, data, 10, 0), ==, -EIO);
    EXPECT_INT(rig_write(&rig, fd, data, 10, 0), ==, -EIO);
    *chaos = calm;
    chaos->disk_full_rate = 1000000;
    EXPECT_INT(rig_write(&rig, fd, data, 10, 0), ==, -ENOSPC);
    EXPECT_INT(rig_mkdir(&rig, "/tmp/dir"), ==, -ENOSPC);
    EXPECT_INT(rig_rename(&rig, "/tmp/file", "/tmp/other"), ==, -ENOSPC);
    *chaos = calm;
    chaos->disk_quota_rate = 1000000;
    EXPECT_INT(rig_write(&rig, fd, data, 10, 0), ==, -EDQUOT);
    EXPECT_INT(rig_file(&rig, "/tmp/new", O_RDWR | O_CREAT), ==, -EDQUOT);
    *chaos = calm;
    EXPECT_INT(rig_read(&rig, fd, data, 10, 0), ==, 10);
    rig_close(&rig);
}

TEST(a_bit_changes_if_that_is_asked_for_and_stays_so)
{
    const struct torc_sim_chaos calm = rig_chaos();
    static char again[sizeof(data)];
    unsigned bits = 0;
    int fd = open_file(&calm, O_RDWR);

    memset(data, 0, sizeof(data));
    EXPECT_INT(rig_write(&rig, fd, data, sizeof(data), 0), ==, sizeof(data));
    rig.world->chaos.disk_rot_rate = 1000000;
    EXPECT_INT(rig_read(&rig, fd, data, sizeof(data), 0), ==, sizeof(data));
    rig.world->chaos.disk_rot_rate = 0;
    EXPECT_INT(rig_read(&rig, fd, again, sizeof(again), 0), ==, sizeof(again));
    EXPECT_MEM(again, data, sizeof(data));
    for (size_t i = 0; i < sizeof(data); i++)
        bits += (unsigned)__builtin_popcount((unsigned char)data[i]);
    EXPECT_UINT(bits, ==, 1);
    rig_close(&rig);
}

TEST(what_is_written_through_is_durable_without_a_call)
{
    static const int flags[] = {O_SYNC, O_DSYNC};

    for (unsigned i = 0; i < 4; i++) {
        const struct iovec one = {data, 5000};
        int fd = open_file(NULL, O_RDWR);

        rig_sync_path(&rig, "/tmp");
        memset(data, 'x', 5000);
        if (i < 2) {
            fd = rig_file(&rig, "/tmp/file", O_RDWR | flags[i]);
            EXPECT_INT(rig_write(&rig, fd, data, 5000, 0), ==, 5000);
        } else {
            EXPECT_INT(move(fd, true, &one, 1, i == 2 ? RWF_SYNC : RWF_DSYNC), ==, 5000);
        }
        rig.world->chaos.crash_lose_rate = 1000000;
        rig_crash(&rig);
        memset(data, 0, sizeof(data));
        EXPECT_INT(rig_get(&rig, "/tmp/file", data, sizeof(data)), ==, 5000);
        EXPECT_INT(data[0], ==, 'x');
        EXPECT_INT(data[4999], ==, 'x');
        rig_close(&rig);
    }
}

TEST(dropping_the_cache_after_a_failed_fsync_shows_the_old_data)
{
    bool kept = false;
    bool lost = false;

    for (unsigned seed = 0; seed < 50; seed++) {
        const struct torc_sim_chaos calm = rig_chaos();
        int fd;

        rig_open(&rig, seed, &calm);
        fd = rig_file(&rig, "/tmp/file", O_RDWR | O_CREAT);
        EXPECT_INT(rig_write(&rig, fd, "old", 3, 0), ==, 3);
        EXPECT_INT(rig_sync(&rig, fd), ==, 0);
        EXPECT_INT(rig_write(&rig, fd, "new", 3, 0), ==, 3);
        rig.world->chaos.disk_error_rate = 1000000;
        EXPECT_INT(rig_sync(&rig, fd), ==, -EIO);
        rig.world->chaos.disk_error_rate = 0;
        EXPECT_INT(RIG_CALL(&rig, SYS_fadvise64, (uintptr_t)fd, 0, 0, POSIX_FADV_DONTNEED), ==, 0);
        EXPECT_INT(rig_read(&rig, fd, data, 3, 0), ==, 3);
        kept |= memcmp(data, "new", 3) == 0;
        lost |= memcmp(data, "old", 3) == 0;
        rig_close(&rig);
    }
    EXPECT(kept);
    EXPECT(lost);
}

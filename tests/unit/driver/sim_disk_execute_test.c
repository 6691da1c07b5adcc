/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_execute_test.c - what an SQE says is done on a simulated disk, and how long it takes.
 */
#include "base/kernel_abi.h"
#include "unit/driver/sim_disk_rig.h"
#include <linux/openat2.h>

static struct rig rig;
static struct io_uring_sqe sqe;

static void open_rig(void)
{
    const struct torc_sim_chaos chaos = rig_chaos();

    rig_open(&rig, 1, &chaos);
    EXPECT_INT(RIG_CALL(&rig, SYS_chdir, (uintptr_t) "/tmp"), ==, 0);
    memset(&sqe, 0, sizeof(sqe));
}

/* What was prepared, on the file that its descriptor is now. */
static int execute(void)
{
    const int result = torc__sim_disk_execute(rig.host, torc__sim_fd_file(rig.host, sqe.fd), &sqe);

    memset(&sqe, 0, sizeof(sqe));
    return result;
}

TEST(names_are_made_looked_at_moved_and_removed)
{
    struct statx about;

    open_rig();
    io_uring_prep_mkdirat(&sqe, AT_FDCWD, "dir", 0700);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_symlinkat(&sqe, "dir", AT_FDCWD, "link");
    EXPECT_INT(execute(), ==, 0);
    rig_put(&rig, "file", "12345", 5);
    io_uring_prep_linkat(&sqe, AT_FDCWD, "file", AT_FDCWD, "link/file", 0);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_statx(&sqe, AT_FDCWD, "dir/file", 0, STATX_BASIC_STATS, &about);
    EXPECT_INT(execute(), ==, 0);
    EXPECT_UINT(about.stx_size, ==, 5);
    EXPECT_UINT(about.stx_nlink, ==, 2);
    io_uring_prep_renameat(&sqe, AT_FDCWD, "file", AT_FDCWD, "other", 0);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_renameat(&sqe, AT_FDCWD, "other", AT_FDCWD, "dir/file", 1); /* NOREPLACE */
    EXPECT_INT(execute(), ==, -EEXIST);
    io_uring_prep_unlinkat(&sqe, AT_FDCWD, "other", 0);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_unlinkat(&sqe, AT_FDCWD, "dir", AT_REMOVEDIR);
    EXPECT_INT(execute(), ==, -ENOTEMPTY);
    rig_close(&rig);
}

TEST(files_are_opened_and_changed)
{
    struct open_how how = {.flags = O_RDWR, .resolve = RESOLVE_BENEATH};
    struct statx about;
    char value[4];
    int fd;

    open_rig();
    io_uring_prep_openat(&sqe, AT_FDCWD, "file", O_RDWR | O_CREAT, 0600);
    fd = execute();
    EXPECT_INT(fd, >=, 0);
    io_uring_prep_fallocate(&sqe, fd, 0, 0, 10000);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_rw(KERNEL_OP_FTRUNCATE, &sqe, fd, NULL, 0, 4000);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_statx(&sqe, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &about);
    EXPECT_INT(execute(), ==, 0);
    EXPECT_UINT(about.stx_size, ==, 4000);
    io_uring_prep_fsetxattr(&sqe, fd, "user.a", "12", 0, 2);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_getxattr(&sqe, "user.a", value, "file", 4);
    EXPECT_INT(execute(), ==, 2);
    io_uring_prep_fadvise(&sqe, fd, 0, 100, POSIX_FADV_WILLNEED);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_sync_file_range(&sqe, fd, 100, 0, SYNC_FILE_RANGE_WRITE);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_fsync(&sqe, fd, IORING_FSYNC_DATASYNC);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_fsync(&sqe, fd, 2);
    EXPECT_INT(execute(), ==, -EINVAL);
    io_uring_prep_openat2(&sqe, AT_FDCWD, "../tmp/file", &how);
    EXPECT_INT(execute(), ==, -EXDEV);
    how.flags = 1ull << 40;
    io_uring_prep_openat2(&sqe, AT_FDCWD, "file", &how);
    EXPECT_INT(execute(), ==, -EINVAL);
    rig_close(&rig);
}

TEST(paths_may_be_confined_to_where_they_begin)
{
    static const struct {
        const char *path;
        uint64_t resolve;
        int result;
    } cases[] = {{"in/file", RESOLVE_BENEATH, 0},
                 {"in/../in/file", RESOLVE_BENEATH, 0},
                 {"in/../../top/in/file", RESOLVE_BENEATH, -EXDEV},
                 {"/tmp/top/in/file", RESOLVE_BENEATH, -EXDEV},
                 {"away/in/file", RESOLVE_BENEATH, -EXDEV},
                 {"inside/file", RESOLVE_BENEATH, 0},
                 {"inside/file", RESOLVE_NO_SYMLINKS, -ELOOP},
                 {"loop", 0, -ELOOP},
                 {"/in/file", RESOLVE_IN_ROOT, 0},
                 {"../../in/file", RESOLVE_IN_ROOT, 0},
                 {"away/in/file", RESOLVE_IN_ROOT, -ENOENT}};
    int top;

    open_rig();
    EXPECT_INT(rig_mkdir(&rig, "top"), ==, 0);
    EXPECT_INT(rig_mkdir(&rig, "top/in"), ==, 0);
    rig_put(&rig, "top/in/file", "", 0);
    EXPECT_INT(
        RIG_CALL(&rig, SYS_symlinkat, (uintptr_t) "/tmp/top", RIG_CWD, (uintptr_t) "top/away"), ==,
        0);
    EXPECT_INT(RIG_CALL(&rig, SYS_symlinkat, (uintptr_t) "./in", RIG_CWD, (uintptr_t) "top/inside"),
               ==, 0);
    EXPECT_INT(RIG_CALL(&rig, SYS_symlinkat, (uintptr_t) "loop", RIG_CWD, (uintptr_t) "top/loop"),
               ==, 0);
    top = rig_file(&rig, "top", O_RDONLY | O_DIRECTORY);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct open_how how = {.flags = O_RDONLY, .resolve = cases[i].resolve};
        int fd;

        io_uring_prep_openat2(&sqe, top, cases[i].path, &how);
        fd = execute();
        EXPECT_MSG(cases[i].result == 0 ? fd >= 0 : fd == cases[i].result, "%s: %d", cases[i].path,
                   fd);
    }
    rig_close(&rig);
}

TEST(an_operation_acts_on_the_file_it_began_with)
{
    struct sim_file *file;
    int fd;

    open_rig();
    fd = rig_file(&rig, "first", O_RDWR | O_CREAT);
    file = torc__sim_file_acquire(torc__sim_fd_file(rig.host, fd));
    rig_shut(&rig, fd);
    EXPECT_INT(rig_file(&rig, "second", O_RDWR | O_CREAT), ==, fd);
    io_uring_prep_rw(KERNEL_OP_FTRUNCATE, &sqe, fd, NULL, 0, 100);
    EXPECT_INT(torc__sim_disk_execute(rig.host, file, &sqe), ==, 0);
    torc__sim_file_release(file);
    EXPECT_INT(RIG_CALL(&rig, SYS_lseek, (uintptr_t)fd, 0, SEEK_END), ==, 0);
    rig_close(&rig);
}

TEST(what_is_no_operation_on_files_is_refused)
{
    open_rig();
    io_uring_prep_nop(&sqe);
    EXPECT_INT(execute(), ==, -EINVAL);
    io_uring_prep_fsync(&sqe, 12345, 0);
    EXPECT_INT(execute(), ==, -EBADF);
    EXPECT_INT(RIG_CALL(&rig, SYS_getpid, 0), ==, -ENOSYS);
    rig_close(&rig);
}

TEST(operations_take_as_long_as_the_chaos_says)
{
    struct sim_file *file;
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;

    open_rig();
    rig.world->chaos.disk_flush_latency = (struct torc_sim_range){1000, 2000};
    rig.world->chaos.disk_latency = (struct torc_sim_range){10, 20};
    file = torc__sim_fd_file(rig.host, rig_file(&rig, "file", O_RDWR | O_CREAT));
    io_uring_prep_fsync(&sqe, 0, 0);
    for (unsigned i = 0; i < 1000; i++) {
        const uint64_t duration = torc__sim_disk_duration(rig.host, file, &sqe);

        least = duration < least ? duration : least;
        most = duration > most ? duration : most;
    }
    EXPECT_UINT(least, >=, 1000);
    EXPECT_UINT(most, <=, 2000);
    EXPECT_UINT(most, >, 1500);
    io_uring_prep_write(&sqe, 0, "x", 1, 0);
    EXPECT_UINT(torc__sim_disk_duration(rig.host, file, &sqe), ==, 0); /* Into the cache. */
    io_uring_prep_openat(&sqe, AT_FDCWD, "file", 0, 0);
    EXPECT_UINT(torc__sim_disk_duration(rig.host, NULL, &sqe), <=, 20);
    rig.world->chaos.disk_stall_rate = 1000000;
    EXPECT_UINT(torc__sim_disk_duration(rig.host, NULL, &sqe), >, 20);
    io_uring_prep_nop(&sqe);
    EXPECT_UINT(torc__sim_disk_duration(rig.host, NULL, &sqe), ==, 0);
    rig_close(&rig);
}

TEST(a_file_without_a_name_can_be_given_one_and_is_gone_otherwise)
{
    char path[32] = "/proc/self/fd/";
    int fd;

    open_rig();
    fd = rig_file(&rig, ".", O_RDWR | O_TMPFILE);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(rig_write(&rig, fd, "text", 4, -1), ==, 4);
    for (int i = 1000000, at = 14; i > 0; i /= 10)
        path[at++] = (char)('0' + fd / i % 10);
    io_uring_prep_linkat(&sqe, AT_FDCWD, path, AT_FDCWD, "file", AT_SYMLINK_FOLLOW);
    EXPECT_INT(execute(), ==, 0);
    io_uring_prep_linkat(&sqe, fd, "", AT_FDCWD, "again", AT_EMPTY_PATH);
    EXPECT_INT(execute(), ==, 0);
    rig_shut(&rig, fd);
    EXPECT_INT(rig_get(&rig, "file", path, sizeof(path)), ==, 4);
    EXPECT_INT(rig_unlink(&rig, "again"), ==, 0);
    fd = rig_file(&rig, ".", O_RDWR | O_TMPFILE | O_EXCL);
    io_uring_prep_linkat(&sqe, fd, "", AT_FDCWD, "never", AT_EMPTY_PATH);
    EXPECT_INT(execute(), ==, -ENOENT);
    rig_shut(&rig, fd);
    rig_expect_sound(&rig);
    rig_close(&rig);
}

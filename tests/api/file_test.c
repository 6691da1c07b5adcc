/* SPDX-License-Identifier: MIT */
/*
 * file_test.c - open files: offsets, room, durability, and what they refuse.
 */
#include "harness/directory.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <torc/torc.h>
#include <unistd.h>

static int make(const char *path)
{
    int fd = torc_open(path, O_RDWR | O_CREAT | O_EXCL, 0644);

    EXPECT_INT(fd, >=, 0);
    return fd;
}

/* ---- Opening ---- */

FIBER_TEST(an_opened_file_is_close_on_exec_and_follows_the_flags)
{
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT(harness_is_cloexec(fd));
    EXPECT_INT(torc_write(fd, "abc", 3), ==, 3);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_open("file", O_RDWR | O_CREAT | O_EXCL, 0644), ==, -EEXIST);
    EXPECT_INT(torc_open("none", O_RDONLY, 0), ==, -ENOENT);
    EXPECT_INT(torc_open("file/x", O_RDONLY, 0), ==, -ENOTDIR);
    EXPECT_INT(torc_open(".", O_WRONLY, 0), ==, -EISDIR);
    fd = torc_open("file", O_RDONLY, 0);
    EXPECT_INT(torc_write(fd, "abc", 3), ==, -EBADF);
    EXPECT_INT(torc_close(fd), ==, 0);
    fd = torc_open("file", O_WRONLY | O_TRUNC, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(harness_file_size("file"), ==, 0);
    harness_leave_directory();
}

FIBER_TEST(a_closed_file_is_closed_and_closing_again_tells)
{
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(fcntl(fd, F_GETFD), ==, -1);
    EXPECT_INT(torc_close(fd), ==, -EBADF);
    harness_leave_directory();
}

FIBER_TEST(paths_begin_at_the_directory_given_and_may_be_confined_to_it)
{
    const struct open_how beneath = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    int dir;
    int fd;

    harness_enter_directory();
    EXPECT_INT(mkdir("sub", 0755), ==, 0);
    harness_put_file("sub/inside", "i");
    harness_put_file("outside", "o");
    dir = torc_open("sub", O_RDONLY | O_DIRECTORY, 0);
    EXPECT_INT(dir, >=, 0);
    fd = torc_openat(dir, "inside", O_RDONLY, 0);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    fd = torc_openat2(dir, "inside", &beneath);
    EXPECT_INT(fd, >=, 0);
    EXPECT(harness_is_cloexec(fd));
    EXPECT_INT(torc_close(fd), ==, 0);
    fd = torc_openat(dir, "../outside", O_RDONLY, 0);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_openat2(dir, "../outside", &beneath), ==, -EXDEV);
    EXPECT_INT(torc_close(dir), ==, 0);
    harness_leave_directory();
}

FIBER_TEST(names_that_are_too_long_are_refused)
{
    static char path[5001];

    memset(path, 'x', 5000);
    EXPECT_INT(torc_open(path, O_RDONLY, 0), ==, -ENAMETOOLONG);
    path[300] = '\0';
    EXPECT_INT(torc_open(path, O_RDONLY, 0), ==, -ENAMETOOLONG);
}

/* ---- Offsets ---- */

FIBER_TEST(every_offset_can_be_read_and_the_end_is_zero)
{
    static const char text[] = "0123456789abcdef";
    const int length = (int)strlen(text);
    char data[32];
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_pwrite_all(fd, text, (size_t)length, 0, NULL), ==, 0);
    for (int offset = 0; offset <= length; offset++) {
        EXPECT_INT(torc_pread(fd, data, sizeof(data), offset), ==, length - offset);
        EXPECT_MEM(data, text + offset, (size_t)(length - offset));
        EXPECT_INT(torc_pread_all(fd, data, (size_t)(length - offset), offset, NULL), ==, 0);
    }
    EXPECT_INT(torc_pread(fd, data, sizeof(data), length + 100), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST(an_exact_read_of_a_short_file_tells_how_much_there_was)
{
    char data[16];
    size_t done = 99;
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_pwrite_all(fd, "abcdef", 6, 10, &done), ==, 0);
    EXPECT_UINT(done, ==, 6);
    EXPECT_INT(torc_pread_all(fd, data, 10, 12, &done), ==, -ENODATA);
    EXPECT_UINT(done, ==, 4);
    EXPECT_MEM(data, "cdef", 4);
    EXPECT_INT(torc_pread_all(fd, data, 6, 10, &done), ==, 0);
    EXPECT_INT(torc_pread_all(fd, data, 6, -1, &done), ==, -EINVAL);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST(vectors_move_at_an_offset_or_at_the_position)
{
    char data[8];
    struct iovec in[2] = {{data, 3}, {data + 3, 5}};
    const struct iovec out[3] = {{(char[]){"ab"}, 2}, {NULL, 0}, {(char[]){"cdefgh"}, 6}};
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_pwritev(fd, out, 3, 100, 0), ==, 8);
    EXPECT_INT(torc_preadv(fd, in, 2, 100, 0), ==, 8);
    EXPECT_MEM(data, "abcdefgh", 8);
    EXPECT_INT(lseek(fd, 0, SEEK_CUR), ==, 0);
    EXPECT_INT(torc_pwritev(fd, out, 3, -1, 0), ==, 8);
    EXPECT_INT(lseek(fd, 0, SEEK_CUR), ==, 8);
    EXPECT_INT(torc_preadv(fd, in, 2, -2, 0), ==, -EINVAL);
    EXPECT_INT(torc_preadv(fd, in, -1, 0, 0), ==, -EINVAL);
    EXPECT_INT(torc_preadv(fd, in, 2, 0, 0x40000000), ==, -EOPNOTSUPP);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST(an_append_goes_to_the_end_whatever_the_position)
{
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_write(fd, "first", 5), ==, 5);
    EXPECT_INT(lseek(fd, 0, SEEK_SET), ==, 0);
    EXPECT_INT(torc_append(fd, "-second", 7), ==, 7);
    EXPECT_INT(torc_pwrite(fd, "F", 1, 0), ==, 1);
    EXPECT_INT(torc_append(fd, "-third", 6), ==, 6);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_expect_file("file", "First-second-third");
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(seeking_sets_the_position_and_finds_holes)
{
    char data[4];
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_pwrite_all(fd, "0123456789", 10, 0, NULL), ==, 0);
    EXPECT_INT(torc_seek(fd, 4, SEEK_SET), ==, 4);
    EXPECT_INT(torc_read(fd, data, 2), ==, 2);
    EXPECT_MEM(data, "45", 2);
    EXPECT_INT(torc_seek(fd, -1, SEEK_CUR), ==, 5);
    EXPECT_INT(torc_seek(fd, 0, SEEK_END), ==, 10);
    EXPECT_INT(torc_seek(fd, ((off_t)5 << 32), SEEK_SET), ==, (off_t)5 << 32);
    EXPECT_INT(torc_seek(fd, 3, SEEK_DATA), ==, 3);
    EXPECT_INT(torc_seek(fd, 11, SEEK_DATA), ==, -ENXIO);
    EXPECT_INT(torc_seek(fd, -5, SEEK_SET), ==, -EINVAL);
    EXPECT_INT(torc_seek(-1, 0, SEEK_SET), ==, -EBADF);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

/* ---- Room and durability ---- */

FIBER_TEST(files_are_synchronised_and_given_room)
{
    struct statx status;
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_write(fd, "data", 4), ==, 4);
    EXPECT_INT(torc_fdatasync(fd), ==, 0);
    EXPECT_INT(torc_fsync(fd), ==, 0);
    EXPECT_INT(torc_sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE), ==, 0);
    EXPECT_INT(torc_fallocate(fd, 0, 0, 100000), ==, 0);
    EXPECT_INT(torc_fadvise(fd, 0, 100000, POSIX_FADV_SEQUENTIAL), ==, 0);
    EXPECT_INT(torc_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), ==, 0);
    EXPECT_INT(torc_fstatx(fd, STATX_BASIC_STATS, &status), ==, 0);
    EXPECT_UINT(status.stx_size, ==, 100000);
    EXPECT_UINT(status.stx_mode & S_IFMT, ==, S_IFREG);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_fsync(fd), ==, -EBADF);
    EXPECT_INT(torc_fstatx(fd, STATX_SIZE, &status), ==, -EBADF);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(lengths_that_no_sqe_can_hold_are_whole)
{
    const off_t much = ((off_t)1 << 32) + 1;
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_fadvise(fd, 0, much, POSIX_FADV_NORMAL), ==, 0);
    EXPECT_INT(torc_fadvise(fd, 0, -1, POSIX_FADV_NORMAL), ==, -EINVAL);
    EXPECT_INT(torc_sync_file_range(fd, 0, much, SYNC_FILE_RANGE_WRITE), ==, 0);
    EXPECT_INT(torc_sync_file_range(fd, 0, -1, SYNC_FILE_RANGE_WRITE), ==, -EINVAL);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(files_are_cut_and_grown)
{
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_write(fd, "0123456789", 10), ==, 10);
    EXPECT_INT(torc_ftruncate(fd, 4), ==, 0);
    EXPECT_INT(harness_file_size("file"), ==, 4);
    EXPECT_INT(torc_ftruncate(fd, (off_t)5 << 30), ==, 0);
    EXPECT_INT(harness_file_size("file"), ==, (off_t)5 << 30);
    EXPECT_INT(torc_ftruncate(fd, -1), ==, -EINVAL);
    EXPECT_INT(torc_truncate("file", 2), ==, 0);
    EXPECT_INT(torc_truncate("none", 2), ==, -ENOENT);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_expect_file("file", "01");
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(permissions_and_owners_are_set)
{
    struct statx status;
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_fchmod(fd, 0640), ==, 0);
    EXPECT_INT(torc_fchown(fd, (uid_t)-1, (gid_t)-1), ==, 0);
    EXPECT_INT(torc_fchown(fd, getuid(), getgid()), ==, 0);
    EXPECT_INT(torc_fstatx(fd, STATX_MODE | STATX_UID, &status), ==, 0);
    EXPECT_UINT(status.stx_mode & 07777, ==, 0640);
    EXPECT_UINT(status.stx_uid, ==, getuid());
    EXPECT_INT(torc_chmod("file", 0600), ==, 0);
    EXPECT_INT(torc_chmod("none", 0600), ==, -ENOENT);
    EXPECT_INT(torc_chown("file", (uid_t)-1, (gid_t)-1, AT_SYMLINK_NOFOLLOW), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(ranges_are_copied_between_files)
{
    off_t from = 2;
    off_t to = 1;
    int in;
    int out;

    harness_enter_directory();
    harness_put_file("in", "0123456789");
    harness_put_file("out", "........");
    in = torc_open("in", O_RDONLY, 0);
    out = torc_open("out", O_WRONLY, 0);
    EXPECT_INT(torc_copy_file_range(in, &from, out, &to, 4), ==, 4);
    EXPECT_INT(from, ==, 6);
    EXPECT_INT(to, ==, 5);
    harness_expect_file("out", ".2345...");
    EXPECT_INT(torc_copy_file_range(in, NULL, out, NULL, 100), ==, 10);
    EXPECT_INT(torc_copy_file_range(in, NULL, out, NULL, 100), ==, 0);
    EXPECT_INT(torc_copy_file_range(-1, NULL, out, NULL, 100), ==, -EBADF);
    EXPECT_INT(torc_close(in), ==, 0);
    EXPECT_INT(torc_close(out), ==, 0);
    harness_expect_file("out", "0123456789");
    harness_leave_directory();
}

/* A new file for direct I/O, in a directory of its own; -1 and neither where there is none. */
static int open_direct(void)
{
    int fd;

    harness_enter_directory();
    fd = torc_open("file", O_RDWR | O_CREAT | O_DIRECT, 0600);
    if (fd == -EINVAL) {
        harness_leave_directory();
        return -1;
    }
    EXPECT_INT(fd, >=, 0);
    return fd;
}

FIBER_TEST(direct_transfers_work_with_the_alignment_told)
{
    struct torc_direct direct;
    size_t block;
    char *memory;
    int result;
    int fd;

    fd = open_direct();
    if (fd < 0)
        SKIP("the file system for temporary files has no direct I/O");
    result = torc_direct_alignment(fd, &direct);
    if (result == 0) {
        EXPECT_UINT(direct.memory_alignment & (direct.memory_alignment - 1), ==, 0);
        block = direct.offset_alignment > 4096 ? direct.offset_alignment : 4096;
        memory = aligned_alloc(block, 2 * block);
        memset(memory, 'd', block);
        memset(memory + block, 'e', block);
        EXPECT_INT(torc_pwrite_all(fd, memory, 2 * block, 0, NULL), ==, 0);
        EXPECT_INT(torc_pread_all(fd, memory, block, (off_t)block, NULL), ==, 0);
        EXPECT_INT(memory[0], ==, 'e');
        EXPECT_INT(memory[block - 1], ==, 'e');
        free(memory);
    } else {
        EXPECT_INT(result, ==, -EOPNOTSUPP);
    }
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_direct_alignment(fd, &direct), ==, -EBADF);
    harness_leave_directory();
}

/* Blocks of `block` bytes that begin with a letter each, from 'a' on. */
static void expect_blocks_at_position(int fd, char *memory, size_t block)
{
    const struct iovec vector = {memory, block};

    memset(memory, 'a', block);
    EXPECT_INT(torc_write(fd, memory, block), ==, (ssize_t)block);
    memset(memory, 'b', block);
    EXPECT_INT(torc_writev(fd, &vector, 1), ==, (ssize_t)block);
    memset(memory, 'c', block);
    EXPECT_INT(torc_pwritev(fd, &vector, 1, -1, 0), ==, (ssize_t)block);
    EXPECT_INT(lseek(fd, 0, SEEK_CUR), ==, 3 * block);

    EXPECT_INT(lseek(fd, 0, SEEK_SET), ==, 0);
    EXPECT_INT(torc_read(fd, memory, block), ==, (ssize_t)block);
    EXPECT_INT(memory[0], ==, 'a');
    EXPECT_INT(torc_readv(fd, &vector, 1), ==, (ssize_t)block);
    EXPECT_INT(memory[0], ==, 'b');
    EXPECT_INT(torc_preadv(fd, &vector, 1, -1, 0), ==, (ssize_t)block);
    EXPECT_INT(memory[0], ==, 'c');
    EXPECT_INT(torc_read(fd, memory, block), ==, 0);
    EXPECT_INT(lseek(fd, 0, SEEK_SET), ==, 0);
}

FIBER_TEST(direct_transfers_at_the_position_move_it)
{
    const size_t block = 4096;
    char *memory;
    int fd;

    fd = open_direct();
    if (fd < 0)
        SKIP("the file system for temporary files has no direct I/O");
    memory = aligned_alloc(block, block);
    expect_blocks_at_position(fd, memory, block);
    expect_blocks_at_position(fd, memory, block); /* Over what is there. */
    EXPECT_INT(torc_close(fd), ==, 0);
    free(memory);
    harness_leave_directory();
}

/* ---- What goes wrong ---- */

FIBER_TEST(a_full_device_is_an_error_and_what_fit_is_told)
{
    size_t done = 99;
    int fd = torc_open("/dev/full", O_WRONLY, 0);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_write(fd, "abc", 3), ==, -ENOSPC);
    EXPECT_INT(torc_pwrite_all(fd, "abc", 3, 0, &done), ==, -ENOSPC);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
}

/* A file system of our own, if this may be had: `options` for tmpfs. */
static bool mount_tmpfs(const char *options, unsigned flags)
{
    EXPECT_INT(mkdir("mount", 0755), ==, 0);
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, "") == 0 &&
           mount("tmpfs", "mount", "tmpfs", flags, options) == 0;
}

/* The mount is of the test's main thread; the shard's, which came from it, has it as well. */
static void fill_the_disk(void)
{
    static char block[65536];
    size_t done = 0;
    int fd = torc_open("mount/file", O_RDWR | O_CREAT, 0600);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_fallocate(fd, 0, 0, 1 << 20), ==, -ENOSPC);
    EXPECT_INT(torc_write_all(fd, block, sizeof(block), &done), ==, 0);
    EXPECT_INT(torc_pwrite_all(fd, block, sizeof(block), sizeof(block), &done), ==, 0);
    EXPECT_INT(torc_pwrite_all(fd, block, sizeof(block), 2 * sizeof(block), &done), ==, -ENOSPC);
    EXPECT_UINT(done, <, sizeof(block));
    EXPECT_INT(torc_append(fd, block, sizeof(block)), ==, -ENOSPC);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_save_file("mount/saved", block, sizeof(block), 0600), ==, -ENOSPC);
    EXPECT(!harness_exists("mount/saved"));
    EXPECT_INT(chdir("mount"), ==, 0);
    EXPECT_UINT(harness_count_names(), ==, 1); /* Nothing temporary is left. */
    EXPECT_INT(chdir(".."), ==, 0);
}

TEST(a_full_disk_is_an_error_and_leaves_nothing_behind)
{
    harness_enter_directory();
    if (!mount_tmpfs("size=128k", 0)) {
        harness_leave_directory();
        SKIP("mounting is not allowed here");
    }
    harness_run(fill_the_disk);
    EXPECT_INT(umount("mount"), ==, 0);
    harness_leave_directory();
}

static void write_to_read_only(void)
{
    EXPECT_INT(torc_open("mount/file", O_RDWR | O_CREAT, 0600), ==, -EROFS);
    EXPECT_INT(torc_mkdir("mount/dir", 0700), ==, -EROFS);
    EXPECT_INT(torc_save_file("mount/file", "x", 1, 0600), ==, -EROFS);
}

TEST(a_read_only_file_system_says_so)
{
    NEEDS_THREADS(); /* On old kernels. */
    harness_enter_directory();
    if (!mount_tmpfs("", MS_RDONLY)) {
        harness_leave_directory();
        SKIP("mounting is not allowed here");
    }
    harness_run(write_to_read_only);
    EXPECT_INT(umount("mount"), ==, 0);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(the_limit_of_file_sizes_is_an_error_and_no_signal)
{
    static char block[10000];
    struct rlimit before;
    struct rlimit limit;
    size_t done;
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
    limit = (struct rlimit){4096, before.rlim_max};
    EXPECT_INT(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    EXPECT_INT(torc_pwrite_all(fd, block, sizeof(block), 0, &done), ==, -EFBIG);
    EXPECT_UINT(done, ==, 4096);
    EXPECT_INT(torc_append(fd, block, 1), ==, -EFBIG);
    EXPECT_INT(torc_ftruncate(fd, 5000), ==, -EFBIG);
    EXPECT_INT(torc_truncate("file", 5000), ==, -EFBIG);
    EXPECT_INT(torc_fallocate(fd, 0, 0, 5000), ==, -EFBIG);
    EXPECT_INT(setrlimit(RLIMIT_FSIZE, &before), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST(a_file_that_shrinks_while_it_is_read_ends_early)
{
    static char data[30000];
    size_t done;
    int fd;

    harness_enter_directory();
    fd = make("file");
    EXPECT_INT(torc_pwrite_all(fd, data, sizeof(data), 0, NULL), ==, 0);
    EXPECT_INT(torc_pread_all(fd, data, 10000, 0, &done), ==, 0);
    EXPECT_INT(ftruncate(fd, 12000), ==, 0);
    EXPECT_INT(torc_pread_all(fd, data, 20000, 10000, &done), ==, -ENODATA);
    EXPECT_UINT(done, ==, 2000);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST_WITH_THREADS(what_is_not_permitted_is_refused)
{
    harness_enter_directory();
    if (!harness_drop_root()) {
        harness_leave_directory();
        SKIP("root may do everything");
    }
    harness_put_file("file", "");
    EXPECT_INT(torc_chmod("file", 0), ==, 0);
    EXPECT_INT(torc_open("file", O_RDONLY, 0), ==, -EACCES);
    EXPECT_INT(torc_chown("file", 0, 0, 0), ==, -EPERM);
    EXPECT_INT(torc_mkdir("dir", 0), ==, 0);
    EXPECT_INT(torc_open("dir/file", O_RDONLY | O_CREAT, 0600), ==, -EACCES);
    EXPECT_INT(torc_mkdir_all("dir/a/b", 0700), ==, -EACCES);
    EXPECT_INT(torc_rename("file", "dir/file"), ==, -EACCES);
    EXPECT_INT(torc_save_file("dir/file", "text", 4, 0600), ==, -EACCES);
    EXPECT_INT(torc_chmod("dir", 0700), ==, 0);
    EXPECT_INT(torc_mkdir_all("dir/a/b", 0700), ==, 0);
    EXPECT_INT(torc_rename("file", "dir/file"), ==, 0);
    harness_regain_root();
    harness_leave_directory();
}

/* ---- Cancelling ---- */

FIBER_TEST_WITH_THREADS(in_a_cancelled_scope_files_are_refused_and_can_be_closed)
{
    struct torc_scope scope;
    char data[4];
    int fd;

    harness_enter_directory();
    fd = make("file");
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_open("other", O_RDWR | O_CREAT, 0600), ==, -ECANCELED);
    EXPECT_INT(torc_pread(fd, data, 4, 0), ==, -ECANCELED);
    EXPECT_INT(torc_fsync(fd), ==, -ECANCELED);
    EXPECT_INT(torc_ftruncate(fd, 0), ==, -ECANCELED);
    EXPECT_INT(torc_seek(fd, 0, SEEK_SET), ==, -ECANCELED);
    EXPECT_INT(torc_rename("file", "other"), ==, -ECANCELED);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT(!harness_exists("other"));
    harness_leave_directory();
}

static int read_often(void *arg)
{
    char data[64];

    for (;;) {
        ssize_t count = torc_pread(*(const int *)arg, data, sizeof(data), 0);

        if (count < 0)
            return (int)count;
        EXPECT_INT(count, ==, 10);
    }
}

FIBER_TEST(reads_that_are_cancelled_leave_the_file_as_usable_as_before)
{
    char data[64];
    int fd;

    harness_enter_directory();
    harness_put_file("file", "0123456789");
    fd = torc_open("file", O_RDONLY, 0);
    for (unsigned i = 0; i < harness_scaled(100); i++) {
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        for (unsigned j = 0; j < 4; j++)
            harness_spawn(&scope, read_often, &fd);
        harness_yield(harness_random_below(4));
        torc_scope_cancel(&scope);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
        EXPECT_INT(torc_pread(fd, data, sizeof(data), 3), ==, 7);
    }
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

/* IOSQE_ASYNC has a kernel thread wait in it; a ring that tries first does not wait at all. */
static int open_fifo(void *arg)
{
    struct torc_op op;
    struct io_uring_sqe *sqe = torc_op_prepare(&op);

    (void)arg;
    io_uring_prep_openat(sqe, AT_FDCWD, "fifo", O_RDONLY | O_CLOEXEC, 0);
    sqe->flags |= IOSQE_ASYNC;
    return torc_op_wait(&op);
}

FIBER_TEST(a_kernel_thread_that_waits_for_the_other_end_of_a_fifo_is_interrupted)
{
    struct torc_driver_report report;
    struct torc_scope scope;

    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    if (strcmp(report.driver, "uring") != 0)
        SKIP("a thread of the pool that waits in open() cannot be interrupted");
    harness_enter_directory();
    EXPECT_INT(mkfifo("fifo", 0600), ==, 0);
    for (unsigned i = 0; i < 20; i++) {
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, open_fifo, NULL);
        harness_yield(1);
        for (unsigned j = 0; j < i; j++)
            harness_pass_kernel(); /* Time for the thread to get there. */
        torc_scope_cancel(&scope);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    }
    harness_leave_directory();
}

FIBER_TEST(an_op_cancelled_in_a_kernel_thread_gives_no_other_error_than_that)
{
    struct torc_driver_report report;

    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    if (strcmp(report.driver, "uring") != 0)
        SKIP("a thread of the pool that waits in open() cannot be interrupted");
    harness_enter_directory();
    EXPECT_INT(mkfifo("fifo", 0600), ==, 0);
    for (unsigned i = 0; i < 20; i++) {
        struct torc_op op;
        struct io_uring_sqe *sqe = torc_op_prepare(&op);

        io_uring_prep_openat(sqe, AT_FDCWD, "fifo", O_RDONLY | O_CLOEXEC, 0);
        sqe->flags |= IOSQE_ASYNC;
        EXPECT_INT(torc_sleep(i * 200 * TORC_MICROSECOND), ==, 0); /* For it to get there. */
        torc_op_cancel(&op);
        EXPECT_INT(torc_op_wait(&op), ==, -ECANCELED);
    }
    harness_leave_directory();
}

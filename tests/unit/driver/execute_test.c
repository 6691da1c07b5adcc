/* SPDX-License-Identifier: MIT */
/*
 * execute_test.c - what an SQE says is done by system calls as a ring does it.
 *
 * Most tests do the same on both, and compare.
 */
#include "driver/execute.h"
#include "harness/net.h"
#include "unit/driver/rig.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct torc__uring uring;
static char directory[64];
static int directory_fd;

static void set_up(void)
{
    strcpy(directory, "/tmp/torc-execute-XXXXXX");
    EXPECT(mkdtemp(directory) != NULL);
    directory_fd = open(directory, O_DIRECTORY | O_CLOEXEC);
    EXPECT_INT(directory_fd, >=, 0);
    start(&uring, 0);
}

static void tear_down(void)
{
    stop(&uring);
    close(directory_fd);
    EXPECT_INT(rmdir(directory), ==, 0); /* Every test takes away what it has made. */
}

static int by_ring(const struct io_uring_sqe *sqe)
{
    struct noted_op op;
    struct io_uring_sqe *slot = prepare(&uring, &op);
    const uint64_t user_data = slot->user_data;

    *slot = *sqe;
    slot->user_data = user_data;
    turn_until_ended(&uring, &op, 1);
    return op.result;
}

/* The SQE has the same result, of which it is `expected`, by a call and on a ring that knows it. */
static void expect_same(const struct io_uring_sqe *sqe, int expected)
{
    EXPECT_INT(torc__execute(sqe), ==, expected);
    if (torc__driver_has(&uring.base, sqe->opcode))
        EXPECT_INT(by_ring(sqe), ==, expected);
}

static int new_file(const char *name, const char *text)
{
    int fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    EXPECT_INT(fd, >=, 0);
    harness_put(fd, text, strlen(text));
    return fd;
}

static void remove_file(int fd, const char *name)
{
    close(fd);
    EXPECT_INT(unlinkat(directory_fd, name, 0), ==, 0);
}

static off_t size_of(int fd)
{
    struct stat status;

    EXPECT_INT(fstat(fd, &status), ==, 0);
    return status.st_size;
}

TEST(reads_and_writes_are_at_an_offset_or_at_the_files_position)
{
    struct io_uring_sqe sqe = {0};
    char in[8] = "";
    struct iovec vector[2] = {{in, 2}, {in + 2, 3}};
    int fd;

    set_up();
    fd = new_file("file", "0123456789");
    io_uring_prep_read(&sqe, fd, in, 4, 3);
    expect_same(&sqe, 4);
    EXPECT_MEM(in, "3456", 4);
    io_uring_prep_readv(&sqe, fd, vector, 2, 5);
    expect_same(&sqe, 5);
    EXPECT_MEM(in, "56789", 5);
    io_uring_prep_write(&sqe, fd, "ab", 2, 1);
    expect_same(&sqe, 2);
    io_uring_prep_writev(&sqe, fd, vector, 2, 0);
    expect_same(&sqe, 5);
    EXPECT_INT(lseek(fd, 0, SEEK_CUR), ==, 10);

    EXPECT_INT(lseek(fd, 0, SEEK_SET), ==, 0);
    io_uring_prep_read(&sqe, fd, in, 2, UINT64_MAX);
    expect_same(&sqe, 2); /* Once each. */
    EXPECT_MEM(in, "78", 2);
    io_uring_prep_write(&sqe, fd, "xyz", 3, UINT64_MAX);
    expect_same(&sqe, 3);
    EXPECT_INT(lseek(fd, 0, SEEK_CUR), ==, 10);
    io_uring_prep_read(&sqe, fd, in, 2, 100);
    expect_same(&sqe, 0);
    sqe.rw_flags = 0x40000000;
    expect_same(&sqe, -EOPNOTSUPP);
    sqe.fd = -1;
    expect_same(&sqe, -EBADF);
    remove_file(fd, "file");
    tear_down();
}

TEST(a_pipe_has_no_positions_and_none_is_looked_at)
{
    struct io_uring_sqe sqe = {0};
    char in[8] = "";
    int ends[2];

    set_up();
    harness_pipe(ends);
    io_uring_prep_write(&sqe, ends[1], "pipe", 4, 0);
    expect_same(&sqe, 4);
    io_uring_prep_read(&sqe, ends[0], in, 4, 0);
    expect_same(&sqe, 4);
    EXPECT_MEM(in, "pipe", 4);
    harness_close_pair(ends);
    tear_down();
}

TEST(splice_and_tee_move_bytes_between_pipes_and_files)
{
    struct io_uring_sqe sqe = {0};
    char in[8] = "";
    int from[2];
    int to[2];
    int fd;

    set_up();
    harness_pipe(from);
    harness_pipe(to);
    fd = new_file("file", "abcdefgh");
    io_uring_prep_splice(&sqe, fd, 2, from[1], -1, 3, 0);
    expect_same(&sqe, 3);
    io_uring_prep_tee(&sqe, from[0], to[1], 6, 0);
    expect_same(&sqe, 6);
    harness_get(to[0], in, 6);
    EXPECT_MEM(in, "cdecde", 6);
    io_uring_prep_splice(&sqe, from[0], -1, fd, 7, 2, 0);
    expect_same(&sqe, 2);
    EXPECT_INT(size_of(fd), ==, 9);
    harness_close_pair(from);
    harness_close_pair(to);
    remove_file(fd, "file");
    tear_down();
}

TEST(open_files_are_synchronised_allocated_advised_and_cut)
{
    struct io_uring_sqe sqe = {0};
    int fd;

    set_up();
    fd = new_file("file", "0123456789");
    io_uring_prep_fsync(&sqe, fd, 0);
    expect_same(&sqe, 0);
    io_uring_prep_fsync(&sqe, fd, IORING_FSYNC_DATASYNC);
    expect_same(&sqe, 0);
    io_uring_prep_fsync(&sqe, fd, 16);
    expect_same(&sqe, -EINVAL);
    io_uring_prep_sync_file_range(&sqe, fd, 4, 0, SYNC_FILE_RANGE_WRITE);
    expect_same(&sqe, 0);
    io_uring_prep_fallocate(&sqe, fd, 0, 0, 5000);
    expect_same(&sqe, 0);
    EXPECT_INT(size_of(fd), ==, 5000);
    io_uring_prep_fallocate(&sqe, fd, 0, 0, 0);
    expect_same(&sqe, -EINVAL);
    io_uring_prep_fadvise(&sqe, fd, 0, 100, POSIX_FADV_WILLNEED);
    expect_same(&sqe, 0);
    io_uring_prep_fadvise(&sqe, fd, 0, 100, 77);
    expect_same(&sqe, -EINVAL);
    memset(&sqe, 0, sizeof(sqe));
    io_uring_prep_rw(KERNEL_OP_FTRUNCATE, &sqe, fd, NULL, 0, 3);
    expect_same(&sqe, 0);
    EXPECT_INT(size_of(fd), ==, 3);
    remove_file(fd, "file");
    tear_down();
}

TEST(memory_is_advised)
{
    struct io_uring_sqe sqe = {0};
    char *page;

    set_up();
    page = aligned_alloc(65536, 65536);
    page[0] = 'x';
    io_uring_prep_madvise(&sqe, page, 65536, MADV_WILLNEED);
    expect_same(&sqe, 0);
    io_uring_prep_madvise(&sqe, page + 1, 65536, MADV_WILLNEED);
    expect_same(&sqe, -EINVAL);
    free(page);
    tear_down();
}

TEST(files_are_opened_looked_at_and_closed)
{
    struct io_uring_sqe sqe = {0};
    struct statx status = {0};
    int fd;

    set_up();
    io_uring_prep_openat(&sqe, directory_fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    fd = torc__execute(&sqe);
    EXPECT_INT(fd, >=, 0);
    EXPECT(harness_is_cloexec(fd));
    harness_put(fd, "12345", 5);
    io_uring_prep_statx(&sqe, directory_fd, "file", 0, STATX_SIZE | STATX_MODE, &status);
    expect_same(&sqe, 0);
    EXPECT_UINT(status.stx_size, ==, 5);
    memset(&status, 0, sizeof(status));
    io_uring_prep_statx(&sqe, fd, "", AT_EMPTY_PATH, STATX_SIZE, &status);
    expect_same(&sqe, 0);
    EXPECT_UINT(status.stx_size, ==, 5);
    io_uring_prep_close(&sqe, fd);
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    expect_same(&sqe, -EBADF);
    EXPECT_INT(unlinkat(directory_fd, "file", 0), ==, 0);
    io_uring_prep_openat(&sqe, directory_fd, "file", O_RDONLY, 0);
    expect_same(&sqe, -ENOENT);
    tear_down();
}

TEST(files_are_opened_within_a_directory)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    struct io_uring_sqe sqe = {0};
    int fd;

    if (harness_is_valgrind())
        SKIP("valgrind 3.19 does not know openat2()");
    set_up();
    close(new_file("file", ""));
    io_uring_prep_openat2(&sqe, directory_fd, "file", &how);
    fd = torc__execute(&sqe);
    EXPECT_INT(fd, >=, 0);
    io_uring_prep_openat2(&sqe, directory_fd, "../file", &how);
    expect_same(&sqe, -EXDEV);
    remove_file(fd, "file");
    tear_down();
}

TEST(names_are_made_changed_and_removed)
{
    struct io_uring_sqe sqe = {0};
    char target[8] = "";

    set_up();
    io_uring_prep_mkdirat(&sqe, directory_fd, "a", 0700);
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    expect_same(&sqe, -EEXIST);
    io_uring_prep_renameat(&sqe, directory_fd, "a", directory_fd, "b", RENAME_NOREPLACE);
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    expect_same(&sqe, -ENOENT);
    io_uring_prep_unlinkat(&sqe, directory_fd, "b", 0);
    expect_same(&sqe, -EISDIR);
    io_uring_prep_unlinkat(&sqe, directory_fd, "b", AT_REMOVEDIR);
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    expect_same(&sqe, -ENOENT);
    io_uring_prep_symlinkat(&sqe, "goal", directory_fd, "link");
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    expect_same(&sqe, -EEXIST);
    EXPECT_INT(readlinkat(directory_fd, "link", target, 8), ==, 4);
    EXPECT_MEM(target, "goal", 4);
    io_uring_prep_linkat(&sqe, directory_fd, "link", directory_fd, "second", 0);
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    expect_same(&sqe, -EEXIST);
    EXPECT_INT(unlinkat(directory_fd, "link", 0), ==, 0);
    EXPECT_INT(unlinkat(directory_fd, "second", 0), ==, 0);
    tear_down();
}

TEST(attributes_are_set_and_read)
{
    struct io_uring_sqe sqe = {0};
    char value[8] = "";
    char path[80];
    int fd;

    set_up();
    fd = new_file("file", "");
    strcat(strcpy(path, directory), "/file");
    io_uring_prep_fsetxattr(&sqe, fd, "user.torc", "one", 0, 3);
    if (torc__execute(&sqe) == 0) {
        expect_same(&sqe, 0);
        io_uring_prep_fgetxattr(&sqe, fd, "user.torc", value, 8);
        expect_same(&sqe, 3);
        EXPECT_MEM(value, "one", 3);
        io_uring_prep_setxattr(&sqe, "user.torc", "two", path, 0, 3);
        expect_same(&sqe, 0);
        io_uring_prep_getxattr(&sqe, "user.torc", value, path, 8);
        expect_same(&sqe, 3);
        EXPECT_MEM(value, "two", 3);
        io_uring_prep_getxattr(&sqe, "user.none", value, path, 8);
        expect_same(&sqe, -ENODATA);
    } else {
        expect_same(&sqe, -EOPNOTSUPP); /* Not every file system has them. */
    }
    remove_file(fd, "file");
    tear_down();
}

TEST(sockets_are_made_bound_and_shut_down)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct io_uring_sqe sqe = {0};
    int fd;

    set_up();
    io_uring_prep_socket(&sqe, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0, 0);
    fd = torc__execute(&sqe);
    EXPECT_INT(fd, >=, 0);
    memset(&sqe, 0, sizeof(sqe));
    io_uring_prep_rw(KERNEL_OP_BIND, &sqe, fd, &address, 0, sizeof(address));
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    expect_same(&sqe, -EINVAL);
    io_uring_prep_rw(KERNEL_OP_LISTEN, &sqe, fd, NULL, 5, 0);
    expect_same(&sqe, 0);
    io_uring_prep_shutdown(&sqe, fd, SHUT_RDWR);
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    io_uring_prep_shutdown(&sqe, fd, 9);
    expect_same(&sqe, -EINVAL);
    close(fd);
    tear_down();
}

TEST(a_child_is_waited_for_and_a_pipe_made)
{
    struct io_uring_sqe sqe = {0};
    siginfo_t info = {0};
    int ends[2];
    pid_t child;

    set_up();
    child = fork();
    if (child == 0)
        _exit(3);
    io_uring_prep_rw(KERNEL_OP_WAITID, &sqe, (int)child, NULL, P_PID, (uintptr_t)&info);
    sqe.file_index = WEXITED;
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    EXPECT_INT(info.si_status, ==, 3);
    expect_same(&sqe, -ECHILD);
    memset(&sqe, 0, sizeof(sqe));
    io_uring_prep_rw(KERNEL_OP_PIPE, &sqe, 0, ends, 0, 0);
    sqe.rw_flags = O_CLOEXEC;
    EXPECT_INT(torc__execute(&sqe), ==, 0);
    EXPECT(harness_is_cloexec(ends[1]));
    harness_close_pair(ends);
    tear_down();
}

TEST(an_unknown_operation_is_invalid_and_a_registered_file_does_not_exist)
{
    struct io_uring_sqe sqe = {0};
    char in[4];

    set_up();
    io_uring_prep_nop(&sqe);
    expect_same(&sqe, 0);
    sqe.opcode = 255;
    EXPECT_INT(torc__execute(&sqe), ==, -EINVAL);
    EXPECT_INT(by_ring(&sqe), ==, -EINVAL);
    sqe.opcode = IORING_OP_TIMEOUT;
    EXPECT_INT(torc__execute(&sqe), ==, -EINVAL);
    memset(&sqe, 0, sizeof(sqe));
    io_uring_prep_read(&sqe, 0, in, 4, 0);
    sqe.flags = IOSQE_FIXED_FILE;
    expect_same(&sqe, -EBADF);
    tear_down();
}

TEST(a_ring_of_the_lowest_rung_lacks_what_came_after_linux_56)
{
    start(&uring, TORC_FEATURE_ALL);
    EXPECT(torc__driver_has(&uring.base, IORING_OP_OPENAT2));
    EXPECT(torc__driver_has(&uring.base, IORING_OP_STATX));
    EXPECT(torc__driver_has(&uring.base, IORING_OP_EPOLL_CTL));
    EXPECT(!torc__driver_has(&uring.base, IORING_OP_SPLICE));
    EXPECT(!torc__driver_has(&uring.base, IORING_OP_RENAMEAT));
    EXPECT(!torc__driver_has(&uring.base, KERNEL_OP_FTRUNCATE));
    stop(&uring);
}

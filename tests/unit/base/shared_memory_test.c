/* SPDX-License-Identifier: MIT */
/*
 * shared_memory_test.c - memory that another process may map, too.
 *
 * This program has its own fallocate(), which fails when it is told to.
 */
#include "base/kernel_abi.h"
#include "base/shared_memory.h"
#include "harness/harness.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 10000u

/* What the next call gives; 0: what the kernel does. */
static int next_error;

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    if (next_error == 0)
        return (int)syscall(SYS_fallocate, fd, mode, offset, length);
    errno = next_error;
    next_error = 0;
    return -1;
}

TEST(who_maps_the_descriptor_sees_the_same_bytes)
{
    int fd;
    char *memory = torc__shared_create("torc-test", SIZE, &fd);
    char *other;

    EXPECT(memory != NULL);
    EXPECT_INT(fd, >=, 0);
    other = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    EXPECT(other != MAP_FAILED);
    EXPECT_INT(other[SIZE - 1], ==, 0);
    memory[SIZE - 1] = 7;
    EXPECT_INT(other[SIZE - 1], ==, 7);
    munmap(other, SIZE);
    torc__shared_destroy(memory, SIZE, fd);
}

TEST(nobody_can_change_its_size_and_it_is_its_owners_alone)
{
    struct stat status;
    int fd;
    char *memory = torc__shared_create("torc-test", SIZE, &fd);

    EXPECT(memory != NULL);
    EXPECT_INT(ftruncate(fd, 1), ==, -1);
    EXPECT_INT(ftruncate(fd, 2 * SIZE), ==, -1);
    EXPECT_INT(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    EXPECT_INT(fstat(fd, &status), ==, 0);
    EXPECT_UINT(status.st_mode & 0777, ==, 0600);
    torc__shared_destroy(memory, SIZE, fd);
}

TEST(it_is_never_a_program_where_the_kernel_can_see_to_that)
{
    const int probe = memfd_create("torc-test", MFD_NOEXEC_SEAL);
    char *memory;
    int fd;

    if (probe < 0)
        SKIP("this kernel has no MFD_NOEXEC_SEAL");
    close(probe);
    memory = torc__shared_create("torc-test", SIZE, &fd);
    EXPECT(memory != NULL);
    EXPECT_INT(fchmod(fd, 0700), ==, -1);
    EXPECT_INT(errno, ==, EPERM);
    torc__shared_destroy(memory, SIZE, fd);
}

TEST(its_memory_is_there_before_it_is_used)
{
    struct stat status;
    int fd;
    char *memory = torc__shared_create("torc-test", SIZE, &fd);

    EXPECT(memory != NULL);
    EXPECT_INT(fstat(fd, &status), ==, 0);
    EXPECT_INT(status.st_size, ==, SIZE);
    EXPECT_INT(status.st_blocks * 512, >=, SIZE);
    torc__shared_destroy(memory, SIZE, fd);
}

TEST(want_of_memory_is_an_error_also_if_other_memory_might_be_had)
{
    int fd;

    errno = EXDEV;
    next_error = ENOSPC;
    EXPECT(torc__shared_create("torc-test", SIZE, &fd) == NULL);
    next_error = ENOMEM;
    EXPECT(torc__shared_create("torc-test", SIZE, &fd) == NULL);
    EXPECT_INT(errno, ==, EXDEV);
}

TEST(a_signal_while_it_is_made_changes_nothing)
{
    char *memory;
    int fd;

    next_error = EINTR;
    memory = torc__shared_create("torc-test", SIZE, &fd);
    EXPECT(memory != NULL);
    EXPECT_INT(fd, >=, 0);
    torc__shared_destroy(memory, SIZE, fd);
}

TEST(a_child_does_not_have_it_mapped)
{
    int status;
    int fd;
    char *memory = torc__shared_create("torc-test", SIZE, &fd);
    pid_t child;

    EXPECT(memory != NULL);
    child = fork();
    if (child == 0) {
        unsigned char there;

        _exit(mincore(memory, 1, &there) == -1 && errno == ENOMEM ? 0 : 1);
    }
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    EXPECT_INT(status, ==, 0);
    torc__shared_destroy(memory, SIZE, fd);
}

TEST(where_files_may_not_be_so_large_it_is_memory_like_any_other)
{
    const struct rlimit limit = {.rlim_cur = SIZE - 1, .rlim_max = RLIM_INFINITY};
    struct rlimit before;
    char *memory;
    int fd;

    EXPECT_INT(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
    if (before.rlim_max != RLIM_INFINITY)
        SKIP("the size of files is limited here already");
    EXPECT_INT(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    memory = torc__shared_create("torc-test", SIZE, &fd);
    EXPECT_INT(setrlimit(RLIMIT_FSIZE, &before), ==, 0);
    EXPECT(memory != NULL);
    EXPECT_INT(fd, ==, -1);
    memory[SIZE - 1] = 1;
    torc__shared_destroy(memory, SIZE, fd);
}

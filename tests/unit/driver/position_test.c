/* SPDX-License-Identifier: MIT */
/*
 * position_test.c - what a ring has written of two pages, the second of which cannot be read.
 */
#include "driver/position.h"
#include "unit/driver/rig.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Write two pages at the position. Returns the size of the one that can be read. */
static size_t write_one_of_two_pages(int fd)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct torc__uring uring;
    struct noted_op noted;

    EXPECT(pages != MAP_FAILED);
    EXPECT_INT(mprotect(pages + page, page, PROT_NONE), ==, 0);
    start(&uring, 0);
    io_uring_prep_write(prepare(&uring, &noted), fd, pages, (unsigned)(2 * page), UINT64_MAX);
    turn_until_ended(&uring, &noted, 1);
    EXPECT_INT(noted.result, ==, (int)page);
    stop(&uring);
    EXPECT_INT(munmap(pages, 2 * page), ==, 0);
    return page;
}

TEST(after_a_short_write_the_position_is_behind_what_was_written)
{
    const int fd = memfd_create("file", MFD_CLOEXEC);

    EXPECT_INT(fd, >=, 0);
    for (off_t i = 1; i < 4; i++) { /* What the kernel does is tried by the first only. */
        const size_t page = write_one_of_two_pages(fd);

        torc__position_follow(fd, page);
        EXPECT_INT(lseek(fd, 0, SEEK_CUR), ==, i * (off_t)page);
    }
    close(fd);
}

TEST(what_has_no_position_is_left_alone)
{
    int fds[2];

    EXPECT_INT(pipe(fds), ==, 0);
    errno = EXDEV;
    torc__position_follow(fds[1], 1);
    torc__position_follow(-1, 1);
    EXPECT_INT(errno, ==, EXDEV);
    close(fds[0]);
    close(fds[1]);
}

TEST(only_a_file_that_is_open_for_direct_transfers_tells_where_it_is)
{
    const int fd = memfd_create("file", MFD_CLOEXEC);
    int fds[2];

    EXPECT_INT(pipe2(fds, O_DIRECT), ==, 0); /* Packets, which have no positions. */
    errno = EXDEV;
    EXPECT_INT(torc__position_of_direct(fds[1]), ==, -1);
    EXPECT_INT(torc__position_of_direct(fd), ==, -1);
    EXPECT_INT(torc__position_of_direct(-1), ==, -1);
    EXPECT_INT(errno, ==, EXDEV);
    torc__position_move(fd, 77);
    EXPECT_INT(lseek(fd, 0, SEEK_CUR), ==, 77);
    close(fd);
    close(fds[0]);
    close(fds[1]);
}

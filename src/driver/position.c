/* SPDX-License-Identifier: MIT */
/*
 * position.c - the position of a file, where a ring does not move it.
 *
 * What this kernel does after a short write is tried when it first matters: a file in memory is
 * written from two pages, of which the second cannot be read.
 */
#include "driver/position.h"
#include "driver/ring.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum conduct {
    UNKNOWN,
    FOLLOWS,
    STAYS
};

/* Write `size` bytes at the position. The result, or a negative errno. */
static int write_by_ring(int fd, const char *data, unsigned size)
{
    const struct torc__ring_shape shape = {.entries = 4, .completion_entries = 8};
    struct io_uring_sqe sqe = {0};
    struct torc__ring ring;
    int32_t written;
    int result = torc__ring_init(&ring, &shape);

    if (result < 0)
        return result;
    io_uring_prep_write(&sqe, fd, data, size, UINT64_MAX);
    result = torc__ring_carry(&ring, &sqe, &written);
    torc__ring_finish(&ring);
    return result < 0 ? result : written;
}

static enum conduct try_with(int fd, char *pages, size_t page)
{
    if (mprotect(pages + page, page, PROT_NONE) < 0 ||
        write_by_ring(fd, pages, (unsigned)(2 * page)) != (int)page)
        return UNKNOWN;
    return lseek(fd, 0, SEEK_CUR) == 0 ? STAYS : FOLLOWS;
}

static enum conduct try_kernel(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const int fd = memfd_create("torc-position", MFD_CLOEXEC);
    char *pages;
    enum conduct conduct = UNKNOWN;

    if (fd < 0)
        return UNKNOWN;
    pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages != MAP_FAILED) {
        conduct = try_with(fd, pages, page);
        munmap(pages, 2 * page);
    }
    close(fd);
    return conduct;
}

/* Where it cannot be tried now, the kernel is taken for one of those that are known. */
static bool stays(void)
{
    static atomic_int known; /* enum conduct */
    int conduct = atomic_load_explicit(&known, memory_order_relaxed);

    if (conduct == UNKNOWN) {
        conduct = try_kernel();
        atomic_store_explicit(&known, conduct, memory_order_relaxed);
    }
    return conduct != FOLLOWS;
}

/* Whether it is one of those of which the kernel writes the rest. Asks nobody but this kernel. */
static bool is_file(int fd)
{
    struct statx status;

    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) == 0 &&
           (S_ISREG(status.stx_mode) || S_ISBLK(status.stx_mode));
}

void torc__position_follow(int fd, size_t count)
{
    const int saved = errno;

    if (is_file(fd) && stays())
        torc__position_move(fd, count);
    errno = saved;
}

off_t torc__position_of_direct(int fd)
{
    const int saved = errno;
    const int flags = fcntl(fd, F_GETFL);
    const off_t position = flags >= 0 && (flags & O_DIRECT) ? lseek(fd, 0, SEEK_CUR) : -1;

    errno = saved;
    return position;
}

void torc__position_move(int fd, size_t count)
{
    const int saved = errno;

    (void)lseek(fd, (off_t)count, SEEK_CUR);
    errno = saved;
}

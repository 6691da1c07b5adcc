/* SPDX-License-Identifier: MIT */
/*
 * shared_memory.c - memory that another process may map, too.
 */
#include "base/shared_memory.h"
#include "base/kernel_abi.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* One that is no program: with vm.memfd_noexec = 2, sysctl(8), there are no others. */
static int make(const char *name)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    const int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);

    return fd < 0 && errno == EINVAL ? memfd_create(name, flags) : fd;
}

/* Have all of it now: memory that is refused later, when it is first touched, is a fault. */
static int reserve(int fd, size_t size)
{
    int result;

    do
        result = fallocate(fd, 0, 0, (off_t)size);
    while (result < 0 && errno == EINTR);
    return result;
}

/* Nobody may make it smaller, or reading it would be a fault as well. -1, and errno. */
static int open_sealed(const char *name, size_t size)
{
    struct rlimit limit;
    int fd;

    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < size) {
        errno = EFBIG; /* Giving it that size would be a signal. */
        return -1;
    }
    fd = make(name);
    if (fd < 0)
        return -1;
    if (reserve(fd, size) < 0 || fchmod(fd, S_IRUSR | S_IWUSR) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void *torc__shared_create(const char *name, size_t size, int *ret_fd)
{
    const int saved = errno;
    const int fd = open_sealed(name, size);
    const bool is_wanting = fd < 0 && (errno == ENOMEM || errno == ENOSPC);
    const int kind = fd >= 0 ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS;
    void *memory = MAP_FAILED;

    if (!is_wanting)
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, kind, fd, 0);
    if (memory == MAP_FAILED) {
        if (fd >= 0)
            close(fd);
        errno = saved;
        return NULL;
    }
    (void)madvise(memory, size, MADV_DONTFORK);
    errno = saved;
    *ret_fd = fd;
    return memory;
}

void torc__shared_destroy(void *memory, size_t size, int fd)
{
    munmap(memory, size);
    if (fd >= 0)
        close(fd);
}

/* SPDX-License-Identifier: MIT */
/*
 * fs.c - names of files.
 *
 * An operation where the kernel has one, perhaps only since it was new; else a system call on the
 * pool. Which of the two an old kernel takes is torc__begin_for()'s business.
 */
#include "driver/thread.h"
#include "fiber/sanitizer.h"
#include "io/await.h"
#include "io/blocking.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <torc/fs.h>

int torc_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *ret_status)
{
    struct io_uring_sqe sqe = {0};
    int result;

    io_uring_prep_statx(&sqe, dirfd, path, flags, mask, ret_status);
    result = torc__perform_again(&sqe);
    torc__sanitizer_kernel_wrote(ret_status, result == 0 ? (ssize_t)sizeof(*ret_status) : 0);
    return result;
}

int torc_renameat(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_renameat(&sqe, from_dirfd, from, to_dirfd, to, flags);
    return torc__perform(&sqe);
}

int torc_rename(const char *from, const char *to)
{
    return torc_renameat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int torc_linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_linkat(&sqe, from_dirfd, from, to_dirfd, to, flags);
    return torc__perform(&sqe);
}

int torc_link(const char *from, const char *to)
{
    return torc_linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int torc_symlinkat(const char *target, int dirfd, const char *path)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_symlinkat(&sqe, target, dirfd, path);
    return torc__perform(&sqe);
}

int torc_symlink(const char *target, const char *path)
{
    return torc_symlinkat(target, AT_FDCWD, path);
}

ssize_t torc_readlinkat(int dirfd, const char *path, char *target, size_t size)
{
    ssize_t length = torc__file_call(
        SYS_readlinkat, (uintptr_t[6]){(uintptr_t)dirfd, (uintptr_t)path, (uintptr_t)target, size});

    if (length < 0)
        return length;
    if ((size_t)length >= size)
        return -ERANGE;
    target[length] = '\0';
    return length;
}

ssize_t torc_readlink(const char *path, char *target, size_t size)
{
    return torc_readlinkat(AT_FDCWD, path, target, size);
}

struct resolution {
    const char *path;
    char *resolved;
    size_t size;
};

static int resolve(void *arg)
{
    const struct resolution *resolution = arg;

    return (int)torc__real_path(resolution->path, resolution->resolved, resolution->size);
}

ssize_t torc_realpath(const char *path, char *resolved, size_t size)
{
    struct resolution resolution = {.path = path, .resolved = resolved, .size = size};
    int result;

    do {
        result = torc__blocking(LANE_FILES, resolve, &resolution);
    } while (torc__is_disturbed(result));
    return result;
}

int torc_unlinkat(int dirfd, const char *path, int flags)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_unlinkat(&sqe, dirfd, path, flags);
    return torc__perform(&sqe);
}

int torc_unlink(const char *path)
{
    return torc_unlinkat(AT_FDCWD, path, 0);
}

int torc_rmdir(const char *path)
{
    return torc_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int torc_mkdirat(int dirfd, const char *path, mode_t mode)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_mkdirat(&sqe, dirfd, path, mode);
    return torc__perform(&sqe);
}

int torc_mkdir(const char *path, mode_t mode)
{
    return torc_mkdirat(AT_FDCWD, path, mode);
}

/* ---- A directory and those above it ---- */

/* 0 also if there is one already. */
static int make_or_find(const char *path, mode_t mode)
{
    struct statx status = {0};
    int result;

    do {
        result = torc_mkdir(path, mode);
    } while (torc__is_disturbed(result));
    if (result != -EEXIST)
        return result;
    result = torc_statx(AT_FDCWD, path, 0, STATX_TYPE, &status);
    if (result < 0)
        return result;
    return S_ISDIR(status.stx_mode) ? 0 : -EEXIST;
}

/* Where the last name before `end` begins, less the slashes before it; 0 if it is the first. */
static size_t parent_end(const char *path, size_t end)
{
    while (end > 0 && path[end - 1] == '/')
        end--;
    while (end > 0 && path[end - 1] != '/')
        end--;
    while (end > 0 && path[end - 1] == '/')
        end--;
    return end;
}

/* Where the name after the slashes at `end` ends. */
static size_t child_end(const char *path, size_t end, size_t length)
{
    while (end < length && path[end] == '/')
        end++;
    while (end < length && path[end] != '/')
        end++;
    return end;
}

/* make_or_find() of the first `end` bytes. */
static int make_prefix(char *path, size_t end, mode_t mode)
{
    const char cut = path[end];
    int result;

    path[end] = '\0';
    result = make_or_find(path, mode);
    path[end] = cut;
    return result;
}

int torc_mkdir_all(const char *path, mode_t mode)
{
    const size_t length = strlen(path);
    char copy[PATH_MAX];
    size_t end = length;
    int result;

    if (length >= sizeof(copy))
        return -ENAMETOOLONG;
    memcpy(copy, path, length + 1);
    /* Up to what there is, as a rule not far, and down again. */
    result = make_prefix(copy, end, mode);
    while (result == -ENOENT && parent_end(copy, end) > 0) {
        end = parent_end(copy, end);
        result = make_prefix(copy, end, mode);
    }
    while (result == 0 && end < length) {
        end = child_end(copy, end, length);
        result = make_prefix(copy, end, mode);
    }
    return result;
}

/* ---- What files have beside data ---- */

int torc_chmod(const char *path, mode_t mode)
{
    return (int)torc__file_call(SYS_fchmodat,
                                (uintptr_t[6]){(uintptr_t)AT_FDCWD, (uintptr_t)path, mode});
}

int torc_chown(const char *path, uid_t user, gid_t group, int flags)
{
    return (int)torc__file_call(SYS_fchownat, (uintptr_t[6]){(uintptr_t)AT_FDCWD, (uintptr_t)path,
                                                             user, group, (uintptr_t)flags});
}

int torc_utimens(const char *path, const struct timespec *times, int flags)
{
    return (int)torc__file_call(SYS_utimensat, (uintptr_t[6]){(uintptr_t)AT_FDCWD, (uintptr_t)path,
                                                              (uintptr_t)times, (uintptr_t)flags});
}

/* Attributes are at most 64 KiB long: more than an SQE's 32 bits is as wrong as what fits. */
static unsigned attribute_size(size_t size)
{
    return size < UINT32_MAX ? (unsigned)size : UINT32_MAX;
}

static ssize_t take_attribute(const struct io_uring_sqe *sqe, void *value, size_t size)
{
    int result = torc__perform_again(sqe);

    torc__sanitizer_kernel_wrote(value, size > 0 ? result : 0);
    return result;
}

ssize_t torc_getxattr(const char *path, const char *name, void *value, size_t size)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_getxattr(&sqe, name, value, path, attribute_size(size));
    return take_attribute(&sqe, value, size);
}

ssize_t torc_fgetxattr(int fd, const char *name, void *value, size_t size)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_fgetxattr(&sqe, fd, name, value, attribute_size(size));
    return take_attribute(&sqe, value, size);
}

/* XATTR_CREATE would find what came through although it was disturbed. */
static int set_attribute(const struct io_uring_sqe *sqe, int flags)
{
    return flags & XATTR_CREATE ? torc__perform(sqe) : torc__perform_again(sqe);
}

int torc_setxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_setxattr(&sqe, name, value, path, flags, attribute_size(size));
    return set_attribute(&sqe, flags);
}

int torc_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_fsetxattr(&sqe, fd, name, value, flags, attribute_size(size));
    return set_attribute(&sqe, flags);
}

ssize_t torc_listxattr(const char *path, char *names, size_t size)
{
    return torc__file_call(SYS_listxattr, (uintptr_t[6]){(uintptr_t)path, (uintptr_t)names, size});
}

ssize_t torc_flistxattr(int fd, char *names, size_t size)
{
    return torc__file_call(SYS_flistxattr, (uintptr_t[6]){(uintptr_t)fd, (uintptr_t)names, size});
}

int torc_removexattr(const char *path, const char *name)
{
    return (int)torc__file_call_once(SYS_removexattr,
                                     (uintptr_t[6]){(uintptr_t)path, (uintptr_t)name});
}

int torc_fremovexattr(int fd, const char *name)
{
    return (int)torc__file_call_once(SYS_fremovexattr,
                                     (uintptr_t[6]){(uintptr_t)fd, (uintptr_t)name});
}

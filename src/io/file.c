/* SPDX-License-Identifier: MIT */
/*
 * file.c - open files.
 */
#include "fiber/sanitizer.h"
#include "io/await.h"
#include "io/blocking.h"
#include "io/transfer.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <torc/file.h>
#include <torc/io.h>

/* ---- Opening ---- */

/* Where it was disturbed it may have come through all the same, and O_EXCL would find that. */
static int open_as(const struct io_uring_sqe *sqe, uint64_t flags)
{
    return flags & O_EXCL ? torc__perform(sqe) : torc__perform_again(sqe);
}

int torc_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_openat(&sqe, dirfd, path, flags | O_CLOEXEC, mode);
    return open_as(&sqe, (unsigned)flags);
}

int torc_open(const char *path, int flags, mode_t mode)
{
    return torc_openat(AT_FDCWD, path, flags, mode);
}

int torc_openat2(int dirfd, const char *path, const struct open_how *how)
{
    struct open_how closing = *how;
    struct io_uring_sqe sqe = {0};

    closing.flags |= O_CLOEXEC;
    io_uring_prep_openat2(&sqe, dirfd, path, &closing);
    return open_as(&sqe, how->flags);
}

/* ---- Reading and writing at an offset ---- */

ssize_t torc_preadv(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    const off_t direct = offset == -1 ? torc__direct_position_of(fd, vector, count) : -1;
    struct torc_op op;
    int result;

    if (offset < -1)
        return -EINVAL;
    if (direct >= 0)
        offset = direct;
    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_readv2(sqe, fd, vector, (unsigned)count, (uint64_t)offset, flags);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    torc__moved_direct(fd, direct, result);
    torc__sanitizer_kernel_wrote_vector(vector, (size_t)count, result);
    return result;
}

ssize_t torc_pwritev(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
    const off_t direct = offset == -1 ? torc__direct_position_of(fd, vector, count) : -1;
    struct torc_op op;
    int result;

    if (offset < -1)
        return -EINVAL;
    if (direct >= 0)
        offset = direct;
    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_writev2(sqe, fd, vector, (unsigned)count, (uint64_t)offset, flags);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    if (offset == -1)
        torc__wrote_vector(fd, result, vector, count);
    torc__moved_direct(fd, direct, result);
    return result;
}

ssize_t torc_append(int fd, const void *buffer, size_t length)
{
    const struct iovec vector = {(void *)(uintptr_t)buffer, torc__clamp(length)};

    return torc_pwritev(fd, &vector, 1, 0, RWF_APPEND);
}

typedef ssize_t move_at_fn(int fd, void *buffer, size_t length, off_t offset);

static int move_all_at(move_at_fn *move, int fd, const struct iovec *whole, off_t offset,
                       size_t *ret_done)
{
    size_t done = 0;
    int result = 0;

    while (done < whole->iov_len) {
        ssize_t moved =
            move(fd, (char *)whole->iov_base + done, whole->iov_len - done, offset + (off_t)done);

        if (moved <= 0) {
            result = moved < 0 ? (int)moved : -ENODATA;
            break;
        }
        done += (size_t)moved;
    }
    if (ret_done != NULL)
        *ret_done = done;
    return result;
}

int torc_pread_all(int fd, void *buffer, size_t length, off_t offset, size_t *ret_done)
{
    const struct iovec whole = {buffer, length};

    return move_all_at(torc_pread, fd, &whole, offset, ret_done);
}

static ssize_t write_step(int fd, void *buffer, size_t length, off_t offset)
{
    return torc_pwrite(fd, buffer, length, offset);
}

int torc_pwrite_all(int fd, const void *buffer, size_t length, off_t offset, size_t *ret_done)
{
    const struct iovec whole = {(void *)(uintptr_t)buffer, length};

    return move_all_at(write_step, fd, &whole, offset, ret_done);
}

off_t torc_seek(int fd, off_t offset, int whence)
{
    return torc__file_call(SYS_lseek,
                           (uintptr_t[6]){(uintptr_t)fd, (uintptr_t)offset, (uintptr_t)whence});
}

/* ---- Room and durability ---- */

static int synchronise(int fd, unsigned flags)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_fsync(&sqe, fd, flags);
    return torc__perform_again(&sqe);
}

int torc_fsync(int fd)
{
    return synchronise(fd, 0);
}

int torc_fdatasync(int fd)
{
    return synchronise(fd, IORING_FSYNC_DATASYNC);
}

/* An SQE has 32 bits for these lengths (before 6.10, for one of them). */
static bool fits_sqe(off_t length)
{
    return length >= 0 && length <= (off_t)UINT32_MAX;
}

int torc_sync_file_range(int fd, off_t offset, off_t length, unsigned flags)
{
    struct io_uring_sqe sqe = {0};

    if (!fits_sqe(length)) {
        return (int)torc__file_call(
            SYS_sync_file_range,
            (uintptr_t[6]){(uintptr_t)fd, (uintptr_t)offset, (uintptr_t)length, flags});
    }
    io_uring_prep_sync_file_range(&sqe, fd, (unsigned)length, (uint64_t)offset, (int)flags);
    return torc__perform_again(&sqe);
}

/* What moves the data behind the range would move them twice: SMB may be interrupted half-way. */
static bool moves_data(int mode)
{
    return mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
}

int torc_fallocate(int fd, int mode, off_t offset, off_t length)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_fallocate(&sqe, fd, mode, offset, length);
    return moves_data(mode) ? torc__perform(&sqe) : torc__perform_again(&sqe);
}

int torc_fadvise(int fd, off_t offset, off_t length, int advice)
{
    struct io_uring_sqe sqe = {0};

    if (!fits_sqe(length)) {
        return (int)torc__file_call(
            SYS_fadvise64,
            (uintptr_t[6]){(uintptr_t)fd, (uintptr_t)offset, (uintptr_t)length, (uintptr_t)advice});
    }
    io_uring_prep_fadvise(&sqe, fd, (uint64_t)offset, length, advice);
    return torc__perform_again(&sqe);
}

int torc_ftruncate(int fd, off_t length)
{
    struct io_uring_sqe sqe = {0};

    io_uring_prep_rw(KERNEL_OP_FTRUNCATE, &sqe, fd, NULL, 0, (uint64_t)length);
    return torc__perform_again(&sqe);
}

int torc_truncate(const char *path, off_t length)
{
    return (int)torc__file_call(SYS_truncate, (uintptr_t[6]){(uintptr_t)path, (uintptr_t)length});
}

int torc_fstatx(int fd, unsigned mask, struct statx *ret_status)
{
    struct io_uring_sqe sqe = {0};
    int result;

    io_uring_prep_statx(&sqe, fd, "", AT_EMPTY_PATH, mask, ret_status);
    result = torc__perform_again(&sqe);
    torc__sanitizer_kernel_wrote(ret_status, result == 0 ? (ssize_t)sizeof(*ret_status) : 0);
    return result;
}

int torc_fchmod(int fd, mode_t mode)
{
    return (int)torc__file_call(SYS_fchmod, (uintptr_t[6]){(uintptr_t)fd, mode});
}

int torc_fchown(int fd, uid_t user, gid_t group)
{
    return (int)torc__file_call(SYS_fchown, (uintptr_t[6]){(uintptr_t)fd, user, group});
}

ssize_t torc_copy_file_range(int in, off_t *in_offset, int out, off_t *out_offset, size_t length)
{
    return torc__file_call(SYS_copy_file_range,
                           (uintptr_t[6]){(uintptr_t)in, (uintptr_t)in_offset, (uintptr_t)out,
                                          (uintptr_t)out_offset, length});
}

/* ---- Direct I/O ---- */

int torc_direct_alignment(int fd, struct torc_direct *ret_direct)
{
    const uint32_t everywhere = 4096;
    struct kernel_statx_direct status = {0};
    int result = torc_fstatx(fd, KERNEL_STATX_DIOALIGN, (struct statx *)(void *)&status);

    if (result < 0)
        return result;
    if (!(status.mask & KERNEL_STATX_DIOALIGN)) {
        *ret_direct = (struct torc_direct){everywhere, everywhere};
        return 0;
    }
    if (status.memory_alignment == 0 || status.offset_alignment == 0)
        return -EOPNOTSUPP;
    *ret_direct = (struct torc_direct){status.memory_alignment, status.offset_alignment};
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * io.c - reading and writing descriptors.
 */
#include "fiber/sanitizer.h"
#include "io/transfer.h"
#include "shard/diagnose.h"
#include <errno.h>
#include <torc/file.h>
#include <torc/io.h>

/* -1: the kernel means the file's own position (IORING_FEAT_RW_CUR_POS, 5.6). */
#define AT_POSITION UINT64_MAX

static ssize_t read_at(int fd, void *buffer, size_t length, uint64_t offset)
{
    struct torc_op op;
    int result;

    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_read(sqe, fd, buffer, torc__clamp(length), offset);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    torc__sanitizer_kernel_wrote(buffer, result);
    return result;
}

static ssize_t write_at(int fd, const void *buffer, size_t length, uint64_t offset)
{
    struct torc_op op;
    int result;

    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_write(sqe, fd, buffer, torc__clamp(length), offset);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    if (offset == AT_POSITION)
        torc__wrote(fd, result, length);
    return result;
}

ssize_t torc_read(int fd, void *buffer, size_t length)
{
    const off_t direct = torc__direct_position(fd, length);
    const ssize_t result = read_at(fd, buffer, length, (uint64_t)direct);

    torc__moved_direct(fd, direct, result);
    return result;
}

ssize_t torc_write(int fd, const void *buffer, size_t length)
{
    const off_t direct = torc__direct_position(fd, length);
    const ssize_t result = write_at(fd, buffer, length, (uint64_t)direct);

    torc__moved_direct(fd, direct, result);
    return result;
}

ssize_t torc_pread(int fd, void *buffer, size_t length, off_t offset)
{
    return offset < 0 ? -EINVAL : read_at(fd, buffer, length, (uint64_t)offset);
}

ssize_t torc_pwrite(int fd, const void *buffer, size_t length, off_t offset)
{
    return offset < 0 ? -EINVAL : write_at(fd, buffer, length, (uint64_t)offset);
}

ssize_t torc_readv(int fd, const struct iovec *vector, int count)
{
    return torc_preadv(fd, vector, count, -1, 0);
}

ssize_t torc_writev(int fd, const struct iovec *vector, int count)
{
    return torc_pwritev(fd, vector, count, -1, 0);
}

int torc_close(int fd)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc_op op;
    struct io_uring_sqe *sqe;

    if (unlikely(shard->check_misuse))
        torc__check_close(shard, fd);
    sqe = torc__begin_always(&op);
    io_uring_prep_close(sqe, fd);
    return torc__await_shielded(&op, sqe);
}

static ssize_t read_step(int fd, void *buffer, size_t length)
{
    return torc_read(fd, buffer, length);
}

static ssize_t write_step(int fd, void *buffer, size_t length)
{
    return torc_write(fd, buffer, length);
}

int torc_read_all(int fd, void *buffer, size_t length, size_t *ret_done)
{
    return torc__move_all(read_step, fd, buffer, length, ret_done);
}

int torc_write_all(int fd, const void *buffer, size_t length, size_t *ret_done)
{
    return torc__move_all(write_step, fd, (void *)(uintptr_t)buffer, length, ret_done);
}

int torc_readv_all(int fd, const struct iovec *vector, int count, size_t *ret_done)
{
    return torc__move_vector(torc_readv, fd, vector, count, ret_done);
}

int torc_writev_all(int fd, const struct iovec *vector, int count, size_t *ret_done)
{
    return torc__move_vector(torc_writev, fd, vector, count, ret_done);
}

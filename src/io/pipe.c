/* SPDX-License-Identifier: MIT */
/*
 * pipe.c - pipes, splice and tee.
 */
#include "io/await.h"
#include "io/control.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <torc/pipe.h>

int torc_pipe_size(int fd)
{
    struct torc__control request = {.kind = CONTROL_PIPE_SIZE, .fd = fd};

    return torc__control(&request);
}

int torc_pipe_set_size(int fd, size_t size)
{
    struct torc__control request = {.kind = CONTROL_PIPE_SIZE, .fd = fd, .a = (int)size};

    return size == 0 || size > INT_MAX ? -EINVAL : torc__control(&request);
}

int torc_pipe(int ret_fds[2], size_t size)
{
    int fds[2];
    struct torc__control request = {.kind = CONTROL_PIPE, .data = fds};
    int result = torc__control(&request);

    if (result < 0)
        return result;
    if (size > 0)
        result = torc_pipe_set_size(fds[1], size);
    if (result < 0) {
        torc__close_now(fds[0]);
        torc__close_now(fds[1]);
        return result;
    }
    memcpy(ret_fds, fds, sizeof(fds));
    return 0;
}

ssize_t torc_splice(int in, int64_t in_offset, int out, int64_t out_offset, size_t length,
                    unsigned flags)
{
    struct torc_op op;
    int result;

    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_splice(sqe, in, in_offset, out, out_offset, torc__clamp(length), flags);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    return result;
}

ssize_t torc_tee(int in, int out, size_t length, unsigned flags)
{
    struct torc_op op;
    int result;

    do {
        struct io_uring_sqe *sqe = torc__begin(&op);

        if (sqe == NULL)
            return op._result;
        io_uring_prep_tee(sqe, in, out, torc__clamp(length), flags);
        result = torc__await(&op, sqe);
    } while (torc__is_disturbed(result));
    return result;
}

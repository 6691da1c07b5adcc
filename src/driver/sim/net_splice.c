/* SPDX-License-Identifier: MIT */
/*
 * net_splice.c - bytes that go from one file to another, one of them a pipe.
 */
#include "base/log.h"
#include "driver/sim/net_pipe.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* What is moved at once: as much as the largest pipe holds. */
#define MOVE_MOST 1048576u

static size_t smallest(size_t a, size_t b, size_t c)
{
    const size_t least = a < b ? a : b;

    return least < c ? least : c;
}

static ssize_t between_pipes(struct sim_pipe *from, struct sim_pipe *to, size_t size, bool is_tee)
{
    int result = torc__sim_pipe_check_write(to);
    char *bytes;

    if (result == -EPIPE)
        return result;
    if (torc__sim_pipe_check_read(from) != 0)
        return torc__sim_pipe_check_read(from) > 0 ? 0 : -EAGAIN;
    if (result < 0)
        return result;
    size = smallest(size, from->bytes.count, torc__sim_pipe_room(to));
    bytes = malloc(size);
    TORC_ASSERT(bytes != NULL);
    torc__sim_queue_copy(&from->bytes, 0, bytes, size);
    torc__sim_pipe_put(to, bytes, size);
    if (!is_tee)
        torc__sim_pipe_drop(from, size);
    free(bytes);
    return (ssize_t)size;
}

static ssize_t out_of_pipe(struct sim_pipe *from, struct sim_file *out, off_t *offset, size_t size)
{
    struct iovec vector = {NULL, smallest(size, from->bytes.count, MOVE_MOST)};
    ssize_t result = torc__sim_pipe_check_read(from);

    if (result != 0)
        return result > 0 ? 0 : result;
    vector.iov_base = malloc(vector.iov_len);
    TORC_ASSERT(vector.iov_base != NULL);
    torc__sim_queue_copy(&from->bytes, 0, vector.iov_base, vector.iov_len);
    result = out->ops->write(out, &vector, 1, *offset, 0);
    free(vector.iov_base);
    if (result > 0) {
        torc__sim_pipe_drop(from, (size_t)result);
        *offset += *offset == -1 ? 0 : result;
    }
    return result;
}

static ssize_t into_pipe(struct sim_file *in, off_t *offset, struct sim_pipe *to, size_t size)
{
    struct iovec vector = {NULL, smallest(size, torc__sim_pipe_room(to), MOVE_MOST)};
    ssize_t result = torc__sim_pipe_check_write(to);

    if (result < 0)
        return result;
    vector.iov_base = malloc(vector.iov_len);
    TORC_ASSERT(vector.iov_base != NULL);
    result = in->ops->read(in, &vector, 1, *offset, 0);
    if (result > 0) {
        torc__sim_pipe_put(to, vector.iov_base, (size_t)result);
        *offset += *offset == -1 ? 0 : result;
    }
    free(vector.iov_base);
    return result;
}

static bool may(const struct sim_file *file, int wanted)
{
    const int mode = file->flags & O_ACCMODE;

    return !(file->flags & O_PATH) && (mode == O_RDWR || mode == wanted);
}

static int check(struct sim_file *in, const off_t *in_offset, struct sim_file *out,
                 const off_t *out_offset)
{
    const struct sim_pipe *from = torc__sim_pipe_of(in);
    const struct sim_pipe *to = torc__sim_pipe_of(out);

    if (!may(in, O_RDONLY) || !may(out, O_WRONLY))
        return -EBADF;
    if ((from != NULL && *in_offset != -1) || (to != NULL && *out_offset != -1))
        return -ESPIPE;
    if ((from == NULL && to == NULL) || from == to)
        return -EINVAL;
    if ((*in_offset != -1 && !(in->ops->traits & SIM_SEEKABLE)) ||
        (*out_offset != -1 && !(out->ops->traits & SIM_SEEKABLE)))
        return -EINVAL;
    if (out->flags & O_APPEND)
        return -EINVAL;
    return in->ops->read == NULL || out->ops->write == NULL ? -EINVAL : 0;
}

ssize_t torc__sim_splice(struct sim_file *in, off_t *in_offset, struct sim_file *out,
                         off_t *out_offset, size_t size, unsigned flags)
{
    struct sim_pipe *from = torc__sim_pipe_of(in);
    struct sim_pipe *to = torc__sim_pipe_of(out);
    const int result = size > 0 ? check(in, in_offset, out, out_offset) : 0;

    (void)flags;
    if (result < 0 || size == 0)
        return result;
    if (from != NULL && to != NULL)
        return between_pipes(from, to, size, false);
    return from != NULL ? out_of_pipe(from, out, out_offset, size)
                        : into_pipe(in, in_offset, to, size);
}

ssize_t torc__sim_tee(struct sim_file *in, struct sim_file *out, size_t size, unsigned flags)
{
    struct sim_pipe *from = torc__sim_pipe_of(in);
    struct sim_pipe *to = torc__sim_pipe_of(out);

    (void)flags;
    if (size == 0)
        return 0;
    if (!may(in, O_RDONLY) || !may(out, O_WRONLY))
        return -EBADF;
    if (from == NULL || to == NULL || from == to)
        return -EINVAL;
    return between_pipes(from, to, size, true);
}

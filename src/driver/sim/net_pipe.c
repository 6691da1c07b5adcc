/* SPDX-License-Identifier: MIT */
/*
 * net_pipe.c - pipes.
 *
 * Their room is counted in bytes. What is written at once and is no more than PIPE_BUF goes in
 * whole or not at all, and they are ready for writing when so much has room.
 */
#include "driver/sim/net_pipe.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/vector.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define PIPE_DEFAULT 65536u
#define PIPE_MOST    1048576u /* fs.pipe-max-size */
#define PAGE         4096u

enum {
    READER,
    WRITER,
};

static const struct sim_file_ops reader_ops;
static const struct sim_file_ops writer_ops;

struct sim_pipe *torc__sim_pipe_of(struct sim_file *file)
{
    if (file->ops == &reader_ops)
        return container_of(file, struct sim_pipe, ends[READER]);
    if (file->ops == &writer_ops)
        return container_of(file, struct sim_pipe, ends[WRITER]);
    return NULL;
}

/* ---- Bytes ---- */

size_t torc__sim_pipe_room(const struct sim_pipe *pipe)
{
    return pipe->size - pipe->bytes.count;
}

int torc__sim_pipe_check_read(const struct sim_pipe *pipe)
{
    if (pipe->bytes.count > 0)
        return 0;
    return pipe->is_open[WRITER] ? -EAGAIN : 1;
}

int torc__sim_pipe_check_write(const struct sim_pipe *pipe)
{
    if (!pipe->is_open[READER])
        return -EPIPE;
    return torc__sim_pipe_room(pipe) > 0 ? 0 : -EAGAIN;
}

static bool is_writable(const struct sim_pipe *pipe)
{
    return torc__sim_pipe_room(pipe) >= PIPE_BUF;
}

static void tell_reader(struct sim_pipe *pipe)
{
    torc__sim_notify(&pipe->ends[READER], POLLIN | POLLRDNORM);
}

void torc__sim_pipe_put(struct sim_pipe *pipe, const void *data, size_t length)
{
    torc__sim_queue_put(&pipe->bytes, data, length);
    tell_reader(pipe);
}

void torc__sim_pipe_drop(struct sim_pipe *pipe, size_t length)
{
    torc__sim_queue_drop(&pipe->bytes, length);
    if (is_writable(pipe))
        torc__sim_notify(&pipe->ends[WRITER], POLLOUT | POLLWRNORM);
}

static ssize_t pipe_read(struct sim_file *file, const struct iovec *vector, size_t count,
                         off_t offset, int flags)
{
    struct sim_pipe *pipe = torc__sim_pipe_of(file);
    struct sim_cursor cursor = torc__sim_cursor(vector, count);
    size_t size = torc__vector_size(vector, count);
    const int result = torc__sim_pipe_check_read(pipe);

    (void)offset;
    (void)flags;
    if (file->ops != &reader_ops)
        return -EBADF;
    if (size == 0 || result > 0)
        return 0;
    if (result < 0)
        return result;
    if (size > pipe->bytes.count)
        size = pipe->bytes.count;
    torc__sim_queue_copy_to(&pipe->bytes, 0, &cursor, size);
    torc__sim_pipe_drop(pipe, size);
    return (ssize_t)size;
}

static ssize_t pipe_write(struct sim_file *file, const struct iovec *vector, size_t count,
                          off_t offset, int flags)
{
    struct sim_pipe *pipe = torc__sim_pipe_of(file);
    struct sim_cursor cursor = torc__sim_cursor(vector, count);
    size_t size = torc__vector_size(vector, count);
    const int result = torc__sim_pipe_check_write(pipe);

    (void)offset;
    (void)flags;
    if (file->ops != &writer_ops)
        return -EBADF;
    if (size == 0)
        return 0;
    if (result < 0)
        return result;
    if (size > torc__sim_pipe_room(pipe) && size <= PIPE_BUF)
        return -EAGAIN;
    if (size > torc__sim_pipe_room(pipe))
        size = torc__sim_pipe_room(pipe);
    torc__sim_queue_put_from(&pipe->bytes, &cursor, size);
    tell_reader(pipe);
    return (ssize_t)size;
}

/* ---- What it is like ---- */

static uint32_t pipe_poll(struct sim_file *file)
{
    const struct sim_pipe *pipe = torc__sim_pipe_of(file);
    uint32_t events = 0;

    if (file->ops == &reader_ops) {
        events |= pipe->bytes.count > 0 ? POLLIN | POLLRDNORM : 0;
        events |= pipe->is_open[WRITER] ? 0 : POLLHUP;
    } else {
        events |= is_writable(pipe) ? POLLOUT | POLLWRNORM : 0;
        events |= pipe->is_open[READER] ? 0 : POLLERR;
    }
    return events;
}

static int pipe_stat(struct sim_file *file, struct statx *ret_about)
{
    (void)file;
    ret_about->stx_mode = S_IFIFO | 0600;
    return 0;
}

static int set_size(struct sim_pipe *pipe, int wanted)
{
    size_t size = PAGE;

    if (wanted <= 0)
        return -EINVAL;
    if ((size_t)wanted > PIPE_MOST)
        return -EPERM;
    while (size < (size_t)wanted)
        size *= 2;
    if (size < pipe->bytes.count)
        return -EBUSY;
    pipe->size = size;
    if (is_writable(pipe))
        torc__sim_notify(&pipe->ends[WRITER], POLLOUT | POLLWRNORM);
    return (int)size;
}

static int pipe_ioctl(struct sim_file *file, unsigned long request, void *arg)
{
    struct sim_pipe *pipe = torc__sim_pipe_of(file);
    const int count = (int)pipe->bytes.count;

    switch (request) {
    case F_GETPIPE_SZ:
        return (int)pipe->size;
    case F_SETPIPE_SZ:
        return set_size(pipe, *(const int *)arg);
    case FIONREAD:
        memcpy(arg, &count, sizeof(count));
        return 0;
    default:
        return -ENOTTY;
    }
}

/* ---- Life ---- */

static void pipe_release(struct sim_file *file, bool crashed)
{
    struct sim_pipe *pipe = torc__sim_pipe_of(file);
    const int own = file->ops == &writer_ops ? WRITER : READER;

    (void)crashed;
    pipe->is_open[own] = false;
    if (pipe->is_open[1 - own]) {
        torc__sim_notify(&pipe->ends[1 - own],
                         own == WRITER ? POLLIN | POLLHUP : POLLOUT | POLLERR);
        return;
    }
    torc__sim_queue_clear(&pipe->bytes);
    free(pipe);
}

static const struct sim_file_ops reader_ops = {
    .kind = "pipe",
    .traits = SIM_BYTES | SIM_PIPE,
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .stat = pipe_stat,
    .ioctl = pipe_ioctl,
    .release = pipe_release,
};

static const struct sim_file_ops writer_ops = {
    .kind = "pipe",
    .traits = SIM_BYTES | SIM_PIPE,
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .stat = pipe_stat,
    .ioctl = pipe_ioctl,
    .release = pipe_release,
};

int torc__sim_pipe_open(struct sim_host *host, int flags, struct sim_file *ret_files[2])
{
    struct sim_pipe *pipe;

    if (flags & ~(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    pipe = calloc(1, sizeof(*pipe));
    TORC_ASSERT(pipe != NULL);
    pipe->size = PIPE_DEFAULT;
    flags &= O_NONBLOCK;
    torc__sim_file_init(&pipe->ends[READER], &reader_ops, host, flags | O_RDONLY);
    torc__sim_file_init(&pipe->ends[WRITER], &writer_ops, host, flags | O_WRONLY);
    for (int i = 0; i < 2; i++) {
        pipe->is_open[i] = true;
        ret_files[i] = &pipe->ends[i];
    }
    return 0;
}

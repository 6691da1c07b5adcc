/* SPDX-License-Identifier: MIT */
/*
 * copy.c - bytes that go from one descriptor to another.
 *
 *     in ---- splice ----> out                     WAY_DIRECT: one of them is a pipe
 *     in -- splice -> pipe -- splice ----> out     WAY_PIPE
 *     in -- read -> buffer -- write -----> out     WAY_BUFFER
 *
 * A splice that cannot be done (EINVAL), or makes no progress although both sides are ready, turns
 * the copy to reading and writing, for good; what the pipe still holds is then read from it. What
 * is held, in the buffer first and in the pipe second, is delivered before more is taken: so a
 * copy that was interrupted anywhere goes on where it was.
 */
#include "base/compiler.h"
#include "io/await.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <torc/io.h>
#include <torc/pipe.h>

enum way {
    WAY_UNKNOWN,
    WAY_DIRECT,
    WAY_PIPE,
    WAY_BUFFER,
};

void torc_copy_init(struct torc_copy *copy, int in, int out)
{
    memset(copy, 0, offsetof(struct torc_copy, _buffer));
    copy->in = in;
    copy->out = out;
    copy->in_offset = -1;
    copy->_pipe[0] = -1;
}

/* ---- Splicing ---- */

/*
 * Splice what is there. The waiting is done by polling, since a splice that waits holds a thread
 * of the kernel's. -EINVAL also if there is nothing although all is ready.
 */
static ssize_t splice_ready(int in, int64_t in_offset, int out, size_t length, bool poll_in,
                            bool poll_out)
{
    const unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    ssize_t result = poll_in ? torc_poll(in, POLLIN) : 0;

    if (result >= 0)
        result = torc_splice(in, in_offset, out, -1, length, flags);
    if (result == -EAGAIN && poll_out) {
        result = torc_poll(out, POLLOUT);
        if (result >= 0)
            result = torc_splice(in, in_offset, out, -1, length, flags);
    }
    return result == -EAGAIN ? -EINVAL : result;
}

static int open_pipe(struct torc_copy *copy)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc__pipe pipe;
    int result;

    if (copy->_pipe[0] >= 0)
        return 0;
    result = torc__pipe_take(&shard->pipes, shard->driver, &pipe);
    if (result < 0)
        return result;
    memcpy(copy->_pipe, pipe.fds, sizeof(pipe.fds));
    copy->_pipe_size = pipe.size;
    return 0;
}

static void note_taken(struct torc_copy *copy, size_t count)
{
    copy->taken += count;
    if (copy->in_offset >= 0)
        copy->in_offset += (int64_t)count;
}

/* ---- Reading and writing ---- */

/* Files that are opened O_NONBLOCK, and cannot tell the ring when they are ready: terminals. */
static ssize_t read_waiting(int fd, int64_t offset, void *data, size_t length)
{
    for (;;) {
        ssize_t result =
            offset < 0 ? torc_read(fd, data, length) : torc_pread(fd, data, length, (off_t)offset);

        if (result != -EAGAIN)
            return result;
        result = torc_poll(fd, POLLIN);
        if (result < 0)
            return result;
    }
}

static ssize_t write_waiting(int fd, const void *data, size_t length)
{
    for (;;) {
        ssize_t result = torc_write(fd, data, length);

        if (result != -EAGAIN)
            return result;
        result = torc_poll(fd, POLLOUT);
        if (result < 0)
            return result;
    }
}

/* ---- Steps: the bytes moved, 0 at the end of `in`, or an error ---- */

static ssize_t take_direct(struct torc_copy *copy, size_t length)
{
    const ssize_t result = splice_ready(copy->in, copy->in_offset, copy->out, length, true, true);

    if (result > 0) {
        note_taken(copy, (size_t)result);
        copy->delivered += (uint64_t)result;
    }
    return result;
}

static ssize_t take_into_pipe(struct torc_copy *copy, size_t length)
{
    ssize_t result = open_pipe(copy);

    if (result < 0)
        return result;
    if (length > copy->_pipe_size)
        length = copy->_pipe_size;
    result = splice_ready(copy->in, copy->in_offset, copy->_pipe[1], length, true, false);
    if (result > 0) {
        note_taken(copy, (size_t)result);
        copy->_piped = (uint32_t)result;
    }
    return result;
}

static ssize_t take_into_buffer(struct torc_copy *copy, size_t length)
{
    const size_t count = length < sizeof(copy->_buffer) ? length : sizeof(copy->_buffer);
    const ssize_t result = read_waiting(copy->in, copy->in_offset, copy->_buffer, count);

    if (result > 0) {
        note_taken(copy, (size_t)result);
        copy->_buffer_start = 0;
        copy->_buffer_end = (uint16_t)result;
    }
    return result;
}

static enum way choose_way(const struct torc_copy *copy)
{
    return torc_pipe_size(copy->in) >= 0 || torc_pipe_size(copy->out) >= 0 ? WAY_DIRECT : WAY_PIPE;
}

static ssize_t take(struct torc_copy *copy, uint64_t length)
{
    const size_t count = length < TRANSFER_MAX ? (size_t)length : TRANSFER_MAX;
    ssize_t result = -EINVAL;

    if (copy->_way == WAY_UNKNOWN)
        copy->_way = (uint8_t)choose_way(copy);
    if (copy->_way == WAY_DIRECT)
        result = take_direct(copy, count);
    else if (copy->_way == WAY_PIPE)
        result = take_into_pipe(copy, count);
    if (result != -EINVAL)
        return result;
    copy->_way = WAY_BUFFER;
    return take_into_buffer(copy, count);
}

static ssize_t deliver_pipe(struct torc_copy *copy)
{
    ssize_t result = -EINVAL;

    if (copy->_way != WAY_BUFFER) {
        result = splice_ready(copy->_pipe[0], -1, copy->out, copy->_piped, false, true);
        if (result > 0) {
            copy->_piped -= (uint32_t)result;
            copy->delivered += (uint64_t)result;
        }
        if (result != -EINVAL && result != 0)
            return result;
        copy->_way = WAY_BUFFER;
    }
    result = torc_read(copy->_pipe[0], copy->_buffer,
                       copy->_piped < sizeof(copy->_buffer) ? copy->_piped : sizeof(copy->_buffer));
    if (result > 0) {
        copy->_piped -= (uint32_t)result;
        copy->_buffer_start = 0;
        copy->_buffer_end = (uint16_t)result;
    }
    return result;
}

static ssize_t deliver_buffer(struct torc_copy *copy)
{
    const ssize_t result = write_waiting(copy->out, copy->_buffer + copy->_buffer_start,
                                         (size_t)(copy->_buffer_end - copy->_buffer_start));

    if (result > 0) {
        copy->_buffer_start = (uint16_t)(copy->_buffer_start + result);
        copy->delivered += (uint64_t)result;
    }
    return result;
}

/* Deliver some of what is held. */
static int deliver(struct torc_copy *copy)
{
    const ssize_t result =
        copy->_buffer_start < copy->_buffer_end ? deliver_buffer(copy) : deliver_pipe(copy);

    /* Something that takes nothing, and does not say why, would take nothing for ever. */
    return result == 0 ? -EIO : result < 0 ? (int)result : 0;
}

static bool holds_bytes(const struct torc_copy *copy)
{
    return copy->_buffer_start < copy->_buffer_end || copy->_piped > 0;
}

/* ---- Public ---- */

int torc_copy_run(struct torc_copy *copy, uint64_t length)
{
    int result = 0;

    while (result == 0) {
        ssize_t taken;

        if (holds_bytes(copy)) {
            result = deliver(copy);
            continue;
        }
        if (length == 0 || copy->ended)
            return 0;
        taken = take(copy, length);
        if (taken < 0)
            return (int)taken;
        copy->ended = taken == 0;
        if (length != UINT64_MAX)
            length -= (uint64_t)taken;
    }
    return result;
}

void torc_copy_finish(struct torc_copy *copy)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    const struct torc__pipe pipe = {{copy->_pipe[0], copy->_pipe[1]}, copy->_pipe_size};

    copy->_buffer_start = copy->_buffer_end = 0;
    if (copy->_pipe[0] < 0)
        return;
    if (copy->_piped == 0)
        torc__pipe_give(&shard->pipes, shard->driver, &pipe);
    else
        torc__pipe_close(shard->driver, &pipe);
    copy->_pipe[0] = -1;
    copy->_piped = 0;
}

int torc_copy_fd(int in, int out, uint64_t length, struct torc_copied *ret_copied)
{
    struct torc_copy copy;
    int result;

    torc_copy_init(&copy, in, out);
    result = torc_copy_run(&copy, length);
    torc_copy_finish(&copy);
    if (ret_copied != NULL)
        *ret_copied = (struct torc_copied){copy.taken, copy.delivered};
    return result;
}

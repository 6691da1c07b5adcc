/* SPDX-License-Identifier: MIT */
/*
 * transfer.c - move everything, by as many short transfers as it takes.
 */
#include "io/transfer.h"
#include "base/vector.h"
#include "driver/position.h"
#include <errno.h>
#include <limits.h>

/* Entries handed to the kernel at a time: few, since they stand on a fiber's stack. */
#define WINDOW 32

static int conclude(int result, size_t done, size_t *ret_done)
{
    if (ret_done != NULL)
        *ret_done = done;
    return result;
}

int torc__move_all(torc__move_fn *move, int fd, void *buffer, size_t length, size_t *ret_done)
{
    size_t done = 0;

    while (done < length) {
        ssize_t moved = move(fd, (char *)buffer + done, length - done);

        if (moved <= 0)
            return conclude(moved < 0 ? (int)moved : -ENODATA, done, ret_done);
        done += (size_t)moved;
    }
    return conclude(0, done, ret_done);
}

/* Where in a vector the next transfer begins. */
struct position {
    const struct iovec *vector;
    int count;     /* entries left, the present one included */
    size_t offset; /* in the present one */
};

static void advance(struct position *at, size_t bytes)
{
    at->offset += bytes;
    /* Entries of no length are passed as well, or they would look like the end of the input. */
    while (at->count > 0 && at->offset >= at->vector->iov_len) {
        at->offset -= at->vector->iov_len;
        at->vector++;
        at->count--;
    }
}

static int fill_window(const struct position *at, struct iovec *window)
{
    int count = at->count < WINDOW ? at->count : WINDOW;

    for (int i = 0; i < count; i++)
        window[i] = at->vector[i];
    window[0].iov_base = (char *)window[0].iov_base + at->offset;
    window[0].iov_len -= at->offset;
    return count;
}

int torc__move_vector(torc__move_vector_fn *move, int fd, const struct iovec *vector, int count,
                      size_t *ret_done)
{
    struct position at = {.vector = vector, .count = count};
    struct iovec window[WINDOW];
    size_t done = 0;

    if (count < 0)
        return conclude(-EINVAL, 0, ret_done);
    advance(&at, 0);
    while (at.count > 0) {
        ssize_t moved = move(fd, window, fill_window(&at, window));

        if (moved <= 0)
            return conclude(moved < 0 ? (int)moved : -ENODATA, done, ret_done);
        done += (size_t)moved;
        advance(&at, (size_t)moved);
    }
    return conclude(0, done, ret_done);
}

/* ---- The position of a file ---- */

/* Lengths with O_DIRECT are multiples of this, at least. */
#define SECTOR 512u

off_t torc__direct_position(int fd, size_t length)
{
    if (length == 0 || length % SECTOR != 0 ||
        torc__shard_of_fiber()->driver->ops != &torc__uring_ops)
        return -1;
    return torc__position_of_direct(fd);
}

off_t torc__direct_position_of(int fd, const struct iovec *vector, int count)
{
    if (vector == NULL || count < 0 || count > IOV_MAX)
        return -1;
    return torc__direct_position(fd, torc__vector_size(vector, (size_t)count));
}

void torc__moved_direct(int fd, off_t position, ssize_t result)
{
    if (unlikely(position >= 0) && result > 0)
        torc__position_move(fd, (size_t)result);
}

void torc__wrote(int fd, ssize_t result, size_t length)
{
    if (unlikely(result > 0 && (size_t)result < torc__clamp(length)) &&
        torc__shard->driver->ops == &torc__uring_ops)
        torc__position_follow(fd, (size_t)result);
}

void torc__wrote_vector(int fd, ssize_t result, const struct iovec *vector, int count)
{
    if (result > 0)
        torc__wrote(fd, result, torc__vector_size(vector, (size_t)count));
}

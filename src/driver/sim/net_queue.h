/* SPDX-License-Identifier: MIT */
/*
 * net_queue.h - bytes in their order, as many as there are: what a connection or a pipe holds.
 *
 * And the pieces of a vector, gone through from the first byte to the last.
 */
#ifndef DRIVER_SIM_NET_QUEUE_H
#define DRIVER_SIM_NET_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Where in a vector the next byte is. */
struct sim_cursor {
    const struct iovec *vector;
    size_t count;  /* pieces left, the present one included */
    size_t offset; /* in the present one */
};

struct sim_queue {
    char *bytes; /* a ring of `room` bytes, a power of two; NULL while nothing was ever put in */
    size_t room;
    size_t first;
    size_t count;
};

static inline struct sim_cursor torc__sim_cursor(const struct iovec *vector, size_t count)
{
    return (struct sim_cursor){.vector = vector, .count = count};
}

/* Copy the next `length` bytes from or to a vector. How many there were. */
size_t torc__sim_cursor_read(struct sim_cursor *cursor, void *to, size_t length);
size_t torc__sim_cursor_write(struct sim_cursor *cursor, const void *from, size_t length);

/* Append; the queue grows as it has to. */
void torc__sim_queue_put(struct sim_queue *queue, const void *data, size_t length);
/* Append the next `length` bytes of a vector, which has them. */
void torc__sim_queue_put_from(struct sim_queue *queue, struct sim_cursor *cursor, size_t length);

/* Copy `length` bytes from `offset` on, which must be there. They stay. */
void torc__sim_queue_copy(const struct sim_queue *queue, size_t offset, void *to, size_t length);
void torc__sim_queue_copy_to(const struct sim_queue *queue, size_t offset,
                             struct sim_cursor *cursor, size_t length);

/* The first `length` bytes, which must be there, are not needed any more. */
void torc__sim_queue_drop(struct sim_queue *queue, size_t length);

/* Nothing is in it, and it holds no memory. */
void torc__sim_queue_clear(struct sim_queue *queue);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * net_queue.c - bytes in their order.
 */
#include "driver/sim/net_queue.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>

#define ROOM_LEAST 1024u

/* ---- Vectors ---- */

/* The bytes at the cursor that lie in one piece, at most `length`; none: *ret_part is 0. */
static char *next_part(struct sim_cursor *cursor, size_t length, size_t *ret_part)
{
    while (cursor->count > 0 && cursor->offset == cursor->vector->iov_len) {
        cursor->vector++;
        cursor->count--;
        cursor->offset = 0;
    }
    *ret_part = 0;
    if (cursor->count == 0)
        return NULL;
    *ret_part = cursor->vector->iov_len - cursor->offset;
    if (*ret_part > length)
        *ret_part = length;
    cursor->offset += *ret_part;
    return (char *)cursor->vector->iov_base + cursor->offset - *ret_part;
}

size_t torc__sim_cursor_read(struct sim_cursor *cursor, void *to, size_t length)
{
    size_t done = 0;
    size_t part = 1;

    while (done < length && part > 0) {
        const char *from = next_part(cursor, length - done, &part);

        if (part > 0)
            memcpy((char *)to + done, from, part);
        done += part;
    }
    return done;
}

size_t torc__sim_cursor_write(struct sim_cursor *cursor, const void *from, size_t length)
{
    size_t done = 0;
    size_t part = 1;

    while (done < length && part > 0) {
        char *to = next_part(cursor, length - done, &part);

        if (part > 0)
            memcpy(to, (const char *)from + done, part);
        done += part;
    }
    return done;
}

/* ---- Queues ---- */

static void grow(struct sim_queue *queue, size_t length)
{
    size_t room = queue->room > 0 ? queue->room : ROOM_LEAST;
    char *bytes;

    while (room < queue->count + length)
        room *= 2;
    if (room == queue->room)
        return;
    bytes = malloc(room);
    TORC_ASSERT(bytes != NULL);
    torc__sim_queue_copy(queue, 0, bytes, queue->count);
    free(queue->bytes);
    queue->bytes = bytes;
    queue->room = room;
    queue->first = 0;
}

/* The bytes from `offset` on that lie in one piece, at most `length`. */
static char *piece(const struct sim_queue *queue, size_t offset, size_t length, size_t *ret_part)
{
    const size_t at = (queue->first + offset) & (queue->room - 1);

    *ret_part = queue->room - at < length ? queue->room - at : length;
    return queue->bytes + at;
}

void torc__sim_queue_put(struct sim_queue *queue, const void *data, size_t length)
{
    const struct iovec vector = {(void *)(uintptr_t)data, length};
    struct sim_cursor cursor = torc__sim_cursor(&vector, 1);

    torc__sim_queue_put_from(queue, &cursor, length);
}

void torc__sim_queue_put_from(struct sim_queue *queue, struct sim_cursor *cursor, size_t length)
{
    grow(queue, length);
    while (length > 0) {
        size_t part;
        char *to = piece(queue, queue->count, length, &part);
        const size_t read = torc__sim_cursor_read(cursor, to, part);

        TORC_ASSERT(read == part);
        queue->count += part;
        length -= part;
    }
}

void torc__sim_queue_copy(const struct sim_queue *queue, size_t offset, void *to, size_t length)
{
    const struct iovec vector = {to, length};
    struct sim_cursor cursor = torc__sim_cursor(&vector, 1);

    torc__sim_queue_copy_to(queue, offset, &cursor, length);
}

void torc__sim_queue_copy_to(const struct sim_queue *queue, size_t offset,
                             struct sim_cursor *cursor, size_t length)
{
    TORC_ASSERT(offset + length <= queue->count);
    while (length > 0) {
        size_t part;
        const char *from = piece(queue, offset, length, &part);

        (void)torc__sim_cursor_write(cursor, from, part);
        offset += part;
        length -= part;
    }
}

void torc__sim_queue_drop(struct sim_queue *queue, size_t length)
{
    TORC_ASSERT(length <= queue->count);
    queue->count -= length;
    if (queue->room > 0)
        queue->first = (queue->first + length) & (queue->room - 1);
}

void torc__sim_queue_clear(struct sim_queue *queue)
{
    free(queue->bytes);
    *queue = (struct sim_queue){0};
}

/* SPDX-License-Identifier: MIT */
/*
 * stream_pair.c - two streams that are connected to each other in memory.
 */
#include "io/stream.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct torc_wait_kind pair_kind = {
    .interrupt = torc__interrupt_slot,
    .name = "stream in memory",
};

static int wait_for_other(struct torc_fiber **waiter)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    const int reason = torc__reason(shard);

    if (reason != 0)
        return torc__refuse(shard, reason);
    return torc__wait_in(shard, waiter, &pair_kind);
}

static size_t take(struct torc_stream_queue *queue, char *buffer, size_t length)
{
    const size_t until_turn = queue->_room - queue->_from;
    size_t part = length < queue->_count ? length : queue->_count;

    if (part > until_turn)
        part = until_turn;
    memcpy(buffer, queue->_bytes + queue->_from, part);
    queue->_from = (queue->_from + part) % queue->_room;
    queue->_count -= part;
    return part;
}

static size_t put(struct torc_stream_queue *queue, const char *data, size_t length)
{
    const size_t to = (queue->_from + queue->_count) % queue->_room;
    size_t part = queue->_room - queue->_count;

    if (part > queue->_room - to)
        part = queue->_room - to;
    if (part > length)
        part = length;
    memcpy(queue->_bytes + to, data, part);
    queue->_count += part;
    return part;
}

static ssize_t pair_read(void *context, void *buffer, size_t length)
{
    struct torc_stream_end *end = context;
    struct torc_stream_queue *queue = end->_input;
    size_t count;
    int result = 0;

    while (result == 0 && queue->_count == 0 && !queue->_ended)
        result = wait_for_other(&queue->_reader);
    if (result < 0)
        return result;
    count = take(queue, buffer, length);
    if (count > 0)
        torc__wake_in(&queue->_writer);
    return (ssize_t)count;
}

static ssize_t pair_writev(void *context, const struct iovec *vector, int count)
{
    struct torc_stream_end *end = context;
    struct torc_stream_queue *queue = end->_output;
    size_t done = 0;
    int result = 0;

    while (result == 0 && queue->_count == queue->_room && !queue->_broken && !queue->_ended)
        result = wait_for_other(&queue->_writer);
    if (result < 0)
        return result;
    if (queue->_broken || queue->_ended)
        return -EPIPE;
    for (int i = 0; i < count; i++) {
        const size_t part = put(queue, vector[i].iov_base, vector[i].iov_len);

        done += part;
        if (part < vector[i].iov_len)
            break;
    }
    torc__wake_in(&queue->_reader);
    return (ssize_t)done;
}

static int pair_shutdown(void *context)
{
    struct torc_stream_end *end = context;

    end->_output->_ended = true;
    torc__wake_in(&end->_output->_reader);
    return 0;
}

static int pair_close(void *context)
{
    struct torc_stream_end *end = context;

    end->_input->_broken = true;
    torc__wake_in(&end->_input->_writer);
    return pair_shutdown(context);
}

static const struct torc_transport pair_transport = {
    .read = pair_read,
    .writev = pair_writev,
    .shutdown = pair_shutdown,
    .close = pair_close,
};

int torc_stream_pair_open(struct torc_stream_pair *pair, size_t room)
{
    if (room == 0)
        return -EINVAL;
    memset(pair->_queues, 0, sizeof(pair->_queues));
    for (int i = 0; i < 2; i++) {
        pair->_queues[i]._room = room;
        pair->_queues[i]._bytes = malloc(room);
        if (pair->_queues[i]._bytes == NULL) {
            torc_stream_pair_finish(pair);
            return -ENOMEM;
        }
    }
    for (int i = 0; i < 2; i++) {
        pair->_ends[i]._input = &pair->_queues[i];
        pair->_ends[i]._output = &pair->_queues[1 - i];
        torc_stream_open_transport(&pair->ends[i], &pair_transport, &pair->_ends[i]);
    }
    return 0;
}

void torc_stream_pair_finish(struct torc_stream_pair *pair)
{
    for (int i = 0; i < 2; i++) {
        free(pair->_queues[i]._bytes);
        pair->_queues[i]._bytes = NULL;
    }
}

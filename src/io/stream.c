/* SPDX-License-Identifier: MIT */
/*
 * stream.c - the life of a stream, and bytes that flow from one to another.
 */
#include "io/stream.h"
#include <errno.h>
#include <string.h>
#include <torc/io.h>
#include <torc/scope.h>

/* ---- Life ---- */

static void init(struct torc_stream *stream, const void *opener)
{
    memset(stream, 0, sizeof(*stream));
    stream->_fd = -1;
    stream->_input_end = 1;
    stream->_last = &stream->_first;
    torc__loan_place(&stream->_receive, LOAN_STREAM, opener);
    torc__loan_place(&stream->_send, LOAN_STREAM, opener);
}

void torc_stream_open(struct torc_stream *stream, int fd)
{
    init(stream, __builtin_return_address(0));
    stream->_fd = fd;
}

void torc_stream_open_transport(struct torc_stream *stream, const struct torc_transport *transport,
                                void *context)
{
    init(stream, __builtin_return_address(0));
    stream->_transport = transport;
    stream->_context = context;
}

int torc_stream_fd(const struct torc_stream *stream)
{
    return stream->_fd;
}

static int close_below(struct torc_stream *stream)
{
    int fd = stream->_fd;

    stream->_fd = -1;
    if (stream->_transport != NULL)
        return stream->_transport->close != NULL ? stream->_transport->close(stream->_context) : 0;
    return fd >= 0 ? torc_close(fd) : 0;
}

int torc_stream_close(struct torc_stream *stream)
{
    int unsent = stream->_output_error;
    int closed;

    if (torc__stream_has_output(stream))
        unsent = torc_stream_flush(stream);
    torc__stream_drop_output(stream); /* First, or what is to be dropped leaves meanwhile. */
    torc__stream_stop_feed(stream);
    torc__stream_drop_input(stream);
    closed = close_below(stream);
    return unsent < 0 ? unsent : closed;
}

int torc_stream_linger(struct torc_stream *stream, uint64_t grace_ns)
{
    struct torc_scope scope;
    const void *data;
    ssize_t count;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, grace_ns);
    count = torc_stream_shutdown(stream);
    while (count >= 0 && (count = torc_stream_peek(stream, &data)) > 0)
        torc_stream_consume(stream, (size_t)count);
    (void)torc_scope_close(&scope);
    if (count < 0 && torc__stream_has_output(stream)) {
        torc__stream_drop_output(stream); /* Closing would wait for the peer to take it. */
        stream->_output_error = (int)count;
    }
    return (int)count;
}

int torc_stream_detach(struct torc_stream *stream)
{
    int result;
    int fd = stream->_fd;

    if (fd < 0)
        return -EBADF;
    result = torc_stream_flush(stream);
    if (result < 0)
        return result;
    torc__stream_stop_feed(stream);
    stream->_fd = -1;
    if (stream->_input_end == 1)
        stream->_input_end = 0;
    return fd;
}

/* ---- From one to another ---- */

int torc_stream_copy(struct torc_stream *from, struct torc_stream *to, uint64_t *ret_count)
{
    uint64_t copied = 0;
    const void *data;
    ssize_t count = 0;
    int result = 0;

    while (result == 0 && (count = torc_stream_peek(from, &data)) > 0) {
        size_t done;

        result = torc_stream_write(to, data, (size_t)count, &done);
        torc_stream_consume(from, done);
        copied += done;
        /* No turn of the shard takes with it what was collected for a transport. */
        if (result == 0 && to->_transport != NULL && torc_stream_buffered(from) == 0)
            result = torc_stream_flush(to);
    }
    if (result == 0)
        result = count < 0 ? (int)count : torc_stream_flush(to);
    if (ret_count != NULL)
        *ret_count = copied;
    return result;
}

struct relay {
    struct torc_stream *from;
    struct torc_stream *to;
    uint64_t count;
};

/* One direction, and its end. What cannot be half closed reads no end before it is closed. */
static int relay_one_way(void *arg)
{
    struct relay *relay = arg;
    int result = torc_stream_copy(relay->from, relay->to, &relay->count);

    if (result < 0)
        return result;
    result = torc_stream_shutdown(relay->to);
    return result == -EOPNOTSUPP || result == -ENOTCONN ? 0 : result;
}

int torc_stream_relay(struct torc_stream *a, struct torc_stream *b, uint64_t *ret_ab,
                      uint64_t *ret_ba)
{
    struct relay relays[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
    struct torc_scope scope;
    int result;
    int closed;

    torc_scope_open(&scope, 0);
    result = torc_scope_spawn(&scope, relay_one_way, &relays[0]);
    if (result == 0)
        result = torc_scope_spawn(&scope, relay_one_way, &relays[1]);
    if (result < 0)
        torc_scope_cancel(&scope);
    closed = torc_scope_close(&scope);
    if (ret_ab != NULL)
        *ret_ab = relays[0].count;
    if (ret_ba != NULL)
        *ret_ba = relays[1].count;
    return result < 0 ? result : closed;
}

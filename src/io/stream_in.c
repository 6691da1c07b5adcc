/* SPDX-License-Identifier: MIT */
/*
 * stream_in.c - the reading half of a stream.
 *
 * Input stands in order: first what was joined to be in one piece, then the chunks, each where it
 * was received. A feed (multishot receive) adds chunks whether a fiber waits or not, until too much
 * is queued. Where there is no feed, or no buffer was free for it, the waiting fiber reads into a
 * block once the descriptor is readable. The two never overlap, so the bytes keep their order.
 *
 * The latter is better for large pieces, whose cost is that of copying: the block is hot, and what
 * is written from it at once does not leave the cache in between.
 *
 * Who waits for more holds no buffer of the ring: what is there is joined first. Who does not wait
 * gets copies joined, ahead of what is asked: asking for a little more each time costs little, and
 * who is done with the piece goes on in the chunk, in place.
 */
#include "base/compiler.h"
#include "fiber/sanitizer.h"
#include "io/at_once.h"
#include "io/stream.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <torc/fiber.h>
#include <torc/io.h>
#include <torc/net.h>

/* Of so much that nobody has consumed, no more is received. */
#define QUEUED_MAX   (256u * 1024u)
#define JOINED_LEAST 512u
#define AHEAD_MOST   4096u
/* A piece of so many bytes is large; a stream is one of large pieces until so many are not. */
#define BULK_LEAST 8192u
#define SMALL_ONES 16u

/* ---- The queue of chunks ---- */

static struct torc__chunk *last_chunk(const struct torc_stream *stream)
{
    return stream->_first == NULL ? NULL : container_of(stream->_last, struct torc__chunk, next);
}

static void append(struct torc_stream *stream, struct torc__memory *memory, char *data,
                   uint32_t length)
{
    struct torc__streams *streams = torc__shard->streams;
    struct torc__chunk *last = last_chunk(stream);
    struct torc__chunk *chunk;

    if (last != NULL && last->memory == memory && last->data + last->length == data) {
        last->length += length;
        stream->_queued += length;
        return;
    }
    chunk = torc__chunk_take(streams);
    if (chunk == NULL) {
        torc__memory_release(streams, memory);
        stream->_input_end = -EIO; /* These bytes are lost, so nothing may follow. */
        return;
    }
    *chunk = (struct torc__chunk){.memory = memory, .data = data, .length = length};
    memory->chunks++;
    *(last != NULL ? &last->next : &stream->_first) = chunk;
    stream->_last = &chunk->next;
    stream->_queued += length;
}

static void consume_chunks(struct torc_stream *stream, size_t count)
{
    stream->_queued -= count;
    while (count > 0) {
        struct torc__chunk *chunk = stream->_first;
        const uint32_t part = count < chunk->length ? (uint32_t)count : chunk->length;

        chunk->data += part;
        chunk->length -= part;
        count -= part;
        if (chunk->length == 0) {
            stream->_first = chunk->next;
            torc__chunk_release(torc__shard->streams, chunk);
        }
    }
}

/* There is no feed until so many small pieces have come. */
static void read_itself_for_a_while(struct torc_stream *stream)
{
    stream->_is_bulk = true;
    stream->_small_ones = 0;
}

/* A piece of `count` bytes has been received. */
static void note_size(struct torc_stream *stream, size_t count)
{
    stream->_may_have_more = count == STREAM_BLOCK;
    if (count >= BULK_LEAST) {
        read_itself_for_a_while(stream);
    } else if (stream->_is_bulk && ++stream->_small_ones == SMALL_ONES) {
        stream->_is_bulk = false;
    }
}

/* ---- The feed ---- */

static void take_input(struct torc_stream *stream, int result, uint32_t flags)
{
    struct torc__memory *memory;
    char *data;

    memory = torc__buffer_filled(torc__shard->streams, flags, (uint32_t)result, &data);
    torc__sanitizer_kernel_wrote(data, result);
    if (result > 0 && stream->_input_end == 1)
        append(stream, memory, data, (uint32_t)result);
    else
        torc__memory_release(torc__shard->streams, memory);
}

static void end_input(struct torc_stream *stream, int result)
{
    stream->_input_end = result;
    torc__stream_tell_output(stream);
}

/* A receive has ended, or would not begin. */
static void note_end(struct torc_stream *stream, int result)
{
    switch (result) {
    case -ECANCELED: /* By us: there is too much, or the stream is being closed. */
    case -EINTR:     /* Nor is this an end: see torc__is_disturbed(). */
        break;
    case -ENOBUFS:
        torc__buffers_starved(torc__shard->streams, torc__shard->round_time_ns);
        stream->_may_have_more = true;
        break;
    case -ENOMEM:
    case -ENOSPC: /* Of epoll: the user has registered as many descriptors as allowed. */
        read_itself_for_a_while(stream); /* A plain read needs less, or tells who waits. */
        break;
    case -ENOTSOCK:
        stream->_no_socket = true;
        break;
    case -EINVAL:
    case -EOPNOTSUPP:
        stream->_reads_itself = true; /* No multishot for this kind: a plain read tells more. */
        break;
    default:
        if (stream->_input_end == 1) /* Else bytes were lost, which the end must not hide. */
            end_input(stream, result);
    }
}

static void fed(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct torc_stream *stream = container_of(op, struct torc_stream, _receive);

    if (flags & IORING_CQE_F_BUFFER)
        take_input(stream, result, flags);
    if (result >= (int)BULK_LEAST)
        note_size(stream, (size_t)result);
    if (result <= 0)
        note_end(stream, result);
    stream->_feed = torc__feed_after(op, stream->_feed, more,
                                     stream->_queued > QUEUED_MAX || result >= (int)BULK_LEAST);
    torc__wake_in(&stream->_reader);
}

static void start_feed(struct torc_stream *stream, const struct torc__streams *streams)
{
    struct io_uring_sqe *sqe = torc__begin_told(&stream->_receive, fed);

    io_uring_prep_recv_multishot(sqe, stream->_fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = streams->ring.group;
    torc__op_note(&stream->_receive, sqe);
    stream->_feed = FEED_ON;
}

static const struct torc_wait_kind read_kind =
    WAIT_KIND_FD("stream read", torc__interrupt_slot, struct torc_stream, _reader, _fd);
static const struct torc_wait_kind stop_kind =
    WAIT_KIND_FD("stream close", NULL, struct torc_stream, _reader, _fd);

static int wait_for_feed(struct torc_stream *stream, struct torc__shard *shard)
{
    if (stream->_feed == FEED_OFF)
        start_feed(stream, shard->streams);
    TORC_REQUIRE(stream->_reader == NULL, "two fibers read from one stream");
    return torc__wait_in(shard, &stream->_reader, &read_kind);
}

void torc__stream_stop_feed(struct torc_stream *stream)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    TORC_REQUIRE(stream->_reader == NULL, "a stream is closed while another fiber reads");
    while (stream->_feed != FEED_OFF) {
        stream->_feed = FEED_ENDING;
        torc__op_hurry_again(shard, &stream->_receive);
        (void)torc__wait_in(shard, &stream->_reader, &stop_kind);
    }
}

/* ---- Reading without a feed ---- */

/* What is there now. -EAGAIN if nothing is; a file's read may wait. */
static ssize_t receive_now(struct torc_stream *stream, struct torc__shard *shard, char *bytes)
{
    struct torc__control request = {
        .kind = CONTROL_RECV, .fd = stream->_fd, .data = bytes, .length = STREAM_BLOCK};
    int result = -ENOTSOCK;

    if (!stream->_no_socket)
        result = shard->driver->ops->control(shard->driver, &request);
    if (result != -ENOTSOCK)
        return result;
    stream->_no_socket = true;
    return torc_read(stream->_fd, bytes, STREAM_BLOCK);
}

static ssize_t read_transport(const struct torc_stream *stream, char *bytes)
{
    if (stream->_transport->read == NULL)
        return -EOPNOTSUPP;
    return stream->_transport->read(stream->_context, bytes, STREAM_BLOCK);
}

/* Errors that say nothing of the input: who waits is told, and may read again. */
static bool is_passing(ssize_t error)
{
    return error == -EINTR || error == -ENOMEM || error == -ENOBUFS;
}

/*
 * `ready` is what is known of the descriptor. An error queue that nobody reads keeps it ready for
 * ever, with nothing to be received (POLLERR): then the receive itself has to wait. As it has if
 * the input was shut down (POLLRDHUP), of which datagram sockets tell only who would wait.
 */
static ssize_t receive(struct torc_stream *stream, struct torc__shard *shard, char *bytes,
                       int ready)
{
    ssize_t count;

    if (stream->_transport != NULL)
        return read_transport(stream, bytes);
    count = receive_now(stream, shard, bytes);
    if (count == -EAGAIN && ((ready & (POLLIN | POLLERR)) == POLLERR || (ready & POLLRDHUP)))
        count = torc_recv(stream->_fd, bytes, STREAM_BLOCK, 0);
    return count;
}

/* The chunk is only held, so that what is received surely finds one. */
static int read_into_block(struct torc_stream *stream, struct torc__shard *shard, int ready)
{
    struct torc__streams *streams = shard->streams;
    struct torc__memory *block = torc__block_take(streams);
    struct torc__chunk *chunk = block != NULL ? torc__chunk_take(streams) : NULL;
    ssize_t count = -ENOMEM;

    if (chunk != NULL) {
        count = receive(stream, shard, block->bytes, ready);
        torc__chunk_give(streams, chunk);
    }
    note_size(stream, count > 0 ? (size_t)count : 0);
    if (count > 0) {
        append(stream, block, block->bytes, (uint32_t)count);
        return 0;
    }
    if (block != NULL)
        torc__block_give(streams, block);
    if (count == -EAGAIN && stream->_transport == NULL)
        return 0;
    if (count < 0 && (count == torc__reason(shard) || is_passing(count)))
        return (int)count;
    end_input(stream, (int)count);
    return 0;
}

/*
 * Where there may be more already, that is looked for at once; but now and then others run first,
 * or a fiber that always finds something would keep the shard to itself.
 */
static int wait_for_more(struct torc__shard *shard)
{
    const int result = torc__may_go_on(shard, STREAM_BLOCK);

    return result == -EAGAIN ? torc_yield() : result;
}

static int read_by_itself(struct torc_stream *stream, struct torc__shard *shard)
{
    int result = 0;

    TORC_REQUIRE(stream->_reader == NULL, "two fibers read from one stream");
    stream->_reader = shard->running;
    if (stream->_transport == NULL)
        result = stream->_may_have_more ? wait_for_more(shard)
                                        : torc_poll(stream->_fd, POLLIN | POLLRDHUP);
    if (result >= 0)
        result = read_into_block(stream, shard, result);
    stream->_reader = NULL;
    return result;
}

/* ---- Waiting ---- */

/* Without a free buffer a feed would end at once, whether there is input or not. */
static bool has_free_buffer(struct torc__shard *shard)
{
    if (unlikely(shard->receive_buffers_free == 0))
        torc__buffers_starved(shard->streams, shard->round_time_ns);
    return shard->receive_buffers_free > 0;
}

static bool has_feed(const struct torc_stream *stream, struct torc__shard *shard)
{
    if (stream->_feed != FEED_OFF)
        return true; /* It has to end before anybody else reads. */
    return shard->streams->can_feed && stream->_transport == NULL && !stream->_no_socket &&
           !stream->_reads_itself && !stream->_may_have_more && !stream->_is_bulk &&
           has_free_buffer(shard);
}

int torc__stream_fill(struct torc_stream *stream)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc__streams *streams = torc__streams_of(shard);
    const size_t before = stream->_queued;
    int result = 0;

    if (streams == NULL)
        return -ENOMEM;
    /* A transport has no turn of the shard to take with it what was collected. */
    if (stream->_transport != NULL && stream->_output == OUTPUT_IDLE &&
        torc__stream_has_output(stream))
        result = torc__stream_start_pump(stream);
    while (result == 0 && stream->_queued == before) {
        if (stream->_input_end != 1)
            return stream->_input_end;
        if (torc__reason(shard) != 0)
            return torc__refuse(shard, torc__reason(shard));
        result =
            has_feed(stream, shard) ? wait_for_feed(stream, shard) : read_by_itself(stream, shard);
    }
    return result < 0 ? result : 1;
}

/* ---- Looking ---- */

static size_t joined_count(const struct torc_stream *stream)
{
    return stream->_joined_to - stream->_joined_from;
}

/* Those of the joined bytes that are in no chunk any more. */
static size_t own_count(const struct torc_stream *stream)
{
    return joined_count(stream) - stream->_joined_ahead;
}

size_t torc_stream_buffered(const struct torc_stream *stream)
{
    return own_count(stream) + stream->_queued;
}

/* The first piece of input. Returns its length. */
static size_t first_piece(const struct torc_stream *stream, const void **ret_data)
{
    if (joined_count(stream) > 0) {
        *ret_data = stream->_joined + stream->_joined_from;
        return joined_count(stream);
    }
    if (stream->_first == NULL)
        return 0;
    *ret_data = stream->_first->data;
    return stream->_first->length;
}

/*
 * Make room for `count` more joined bytes. Where fewer were consumed than would have to be moved,
 * there is more room from now on, so that bytes are not moved again and again.
 */
static int grow_joined(struct torc_stream *stream, size_t count)
{
    const size_t there = joined_count(stream);
    const size_t least = stream->_joined_from < there ? 2 * there : there;
    size_t room = stream->_joined_room > 0 ? stream->_joined_room : JOINED_LEAST;
    char *larger;

    if (stream->_joined_to + count <= stream->_joined_room)
        return 0;
    if (stream->_joined_from > 0 && there > 0)
        memmove(stream->_joined, stream->_joined + stream->_joined_from, there);
    stream->_joined_from = 0;
    stream->_joined_to = (uint32_t)there;
    while (room < there + count || room < least)
        room *= 2;
    if (room == stream->_joined_room)
        return 0;
    larger = realloc(stream->_joined, room);
    if (larger == NULL)
        return there + count <= stream->_joined_room ? 0 : -ENOMEM;
    stream->_joined = larger;
    stream->_joined_room = (uint32_t)room;
    return 0;
}

/* Copy the queued bytes from `from` to `end`. */
static void copy_chunks(const struct torc_stream *stream, char *to, size_t from, size_t end)
{
    const struct torc__chunk *chunk = stream->_first;
    size_t before = 0; /* the chunk */

    for (; before < end; before += chunk->length, chunk = chunk->next) {
        const size_t first = from > before ? from - before : 0;
        const size_t last = end - before < chunk->length ? end - before : chunk->length;

        if (first < last)
            to = mempcpy(to, chunk->data + first, last - first);
    }
}

/* Have copies of the first `count` queued bytes among those that are joined. */
static int join_copies(struct torc_stream *stream, size_t count)
{
    const size_t more = count > stream->_joined_ahead ? count - stream->_joined_ahead : 0;
    int result = more > 0 ? grow_joined(stream, more) : 0;

    if (result < 0 || more == 0)
        return result;
    copy_chunks(stream, stream->_joined + stream->_joined_to, stream->_joined_ahead, count);
    stream->_joined_to += (uint32_t)more;
    stream->_joined_ahead = (uint32_t)count;
    return 0;
}

/* Move all queued bytes to those that are joined. */
static int join(struct torc_stream *stream)
{
    int result = join_copies(stream, stream->_queued);

    if (result < 0)
        return result;
    consume_chunks(stream, stream->_queued);
    stream->_joined_ahead = 0;
    return 0;
}

ssize_t torc_stream_peek(struct torc_stream *stream, const void **ret_data)
{
    return torc_stream_peek_at_least(stream, 1, ret_data);
}

/* Wait until so many bytes are in the stream, or it ends, and have them in one piece. */
static int gather(struct torc_stream *stream, size_t least)
{
    const void *data;
    size_t ahead;
    int result = 1;

    while (result > 0 && torc_stream_buffered(stream) < least) {
        result = join(stream);
        if (result == 0)
            result = torc__stream_fill(stream);
    }
    if (result < 0)
        return result;
    ahead = joined_count(stream) + torc__smaller(joined_count(stream), AHEAD_MOST);
    if (least < ahead && ahead <= TORC_STREAM_PEEK_MAX)
        least = ahead;
    least = torc__smaller(least, torc_stream_buffered(stream));
    return first_piece(stream, &data) < least ? join_copies(stream, least - own_count(stream)) : 0;
}

ssize_t torc_stream_peek_at_least(struct torc_stream *stream, size_t least, const void **ret_data)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    const int reason = torc__reason(shard);
    const void *data = NULL;
    int result;

    if (least > TORC_STREAM_PEEK_MAX)
        return -EMSGSIZE;
    if (unlikely(reason < 0)) {
        (void)torc__refuse(shard, reason);
        return reason;
    }
    if (first_piece(stream, &data) < least) {
        result = gather(stream, least);
        if (result < 0)
            return result;
    }
    *ret_data = NULL;
    return (ssize_t)first_piece(stream, ret_data);
}

/* ---- Consuming ---- */

void torc_stream_consume(struct torc_stream *stream, size_t count)
{
    const size_t own = own_count(stream);
    const size_t queued = count > own ? count - own : 0; /* so many of those */
    const size_t copied = torc__smaller(queued, stream->_joined_ahead);

    TORC_ASSERT(count <= torc_stream_buffered(stream));
    stream->_joined_from += (uint32_t)(count - queued + copied);
    stream->_joined_ahead -= (uint32_t)copied;
    consume_chunks(stream, queued);
    /* All that is left is in the first chunk as well. */
    if (stream->_joined != NULL && count >= own &&
        (stream->_joined_ahead == 0 || stream->_joined_ahead <= stream->_first->length)) {
        free(stream->_joined);
        stream->_joined = NULL;
        stream->_joined_from = stream->_joined_to = stream->_joined_room = 0;
        stream->_joined_ahead = 0;
    }
}

void torc__stream_drop_input(struct torc_stream *stream)
{
    torc_stream_consume(stream, torc_stream_buffered(stream));
}

ssize_t torc_stream_read(struct torc_stream *stream, void *buffer, size_t length)
{
    const void *data;
    ssize_t count;

    if (length == 0)
        return 0;
    count = torc_stream_peek(stream, &data);
    if (count <= 0)
        return count;
    if ((size_t)count > length)
        count = (ssize_t)length;
    memcpy(buffer, data, (size_t)count);
    torc_stream_consume(stream, (size_t)count);
    return count;
}

/* Move `length` bytes to `buffer`, or nowhere if that is NULL. */
static int take_all(struct torc_stream *stream, char *buffer, size_t length, size_t *ret_done)
{
    size_t done = 0;
    ssize_t count = 1;

    while (done < length && count > 0) {
        const void *data;

        count = torc_stream_peek(stream, &data);
        if (count <= 0)
            break;
        if ((size_t)count > length - done)
            count = (ssize_t)(length - done);
        if (buffer != NULL)
            memcpy(buffer + done, data, (size_t)count);
        torc_stream_consume(stream, (size_t)count);
        done += (size_t)count;
    }
    if (ret_done != NULL)
        *ret_done = done;
    if (done == length)
        return 0;
    return count < 0 ? (int)count : -ENODATA;
}

int torc_stream_read_all(struct torc_stream *stream, void *buffer, size_t length, size_t *ret_done)
{
    return take_all(stream, buffer, length, ret_done);
}

int torc_stream_skip(struct torc_stream *stream, size_t length, size_t *ret_done)
{
    return take_all(stream, NULL, length, ret_done);
}

int torc_stream_unread(struct torc_stream *stream, const void *data, size_t length)
{
    const size_t there = joined_count(stream);
    char *joined;

    if (length == 0)
        return 0;
    if (length > TORC_STREAM_PEEK_MAX - there)
        return -EMSGSIZE;
    joined = malloc(length + there);
    if (joined == NULL)
        return -ENOMEM;
    memcpy(joined, data, length);
    if (there > 0)
        memcpy(joined + length, stream->_joined + stream->_joined_from, there);
    free(stream->_joined);
    stream->_joined = joined;
    stream->_joined_from = 0;
    stream->_joined_to = stream->_joined_room = (uint32_t)(length + there);
    return 0;
}

/* ---- Numbers ---- */

static int read_number(struct torc_stream *stream, unsigned size, bool is_little,
                       uint64_t *ret_value)
{
    const unsigned char *bytes;
    const void *data;
    uint64_t value = 0;
    ssize_t count;

    if (size < 1 || size > 8)
        return -EINVAL;
    count = torc_stream_peek_at_least(stream, size, &data);
    if (count < 0)
        return (int)count;
    if ((size_t)count < size)
        return -ENODATA;
    bytes = data;
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | bytes[is_little ? size - 1 - i : i];
    torc_stream_consume(stream, size);
    *ret_value = value;
    return 0;
}

int torc_stream_read_be(struct torc_stream *stream, unsigned size, uint64_t *ret_value)
{
    return read_number(stream, size, false, ret_value);
}

int torc_stream_read_le(struct torc_stream *stream, unsigned size, uint64_t *ret_value)
{
    return read_number(stream, size, true, ret_value);
}

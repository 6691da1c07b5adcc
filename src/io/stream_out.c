/* SPDX-License-Identifier: MIT */
/*
 * stream_out.c - the writing half of a stream.
 *
 * Small pieces are collected in a block, which an op of the stream's own sends when the shard turns
 * to the driver; nobody waits for that. Large ones are sent by the writing fiber from the caller's
 * memory, behind what was collected. A transport has no ops: its writing is done by fibers, when
 * the block is full, and when they flush; and before somebody waits for input by a fiber of the
 * stream's own, the pump.
 */
#include "base/clock.h"
#include "io/at_once.h"
#include "io/stream.h"
#include "io/transfer.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <torc/fiber.h>
#include <torc/io.h>
#include <torc/net.h>
#include <torc/scope.h>
#include <torc/time.h>
#include <torc/zero_copy.h>

/* From here on a copy costs more than waiting for the send. */
#define LARGE 2048u
/* So long after the kernel had no memory for a send it is tried again. */
#define STARVED_NS (10 * TORC_MILLISECOND)

/* ---- What was collected ---- */

static void give_block(struct torc_stream *stream)
{
    if (stream->_block != NULL)
        torc__block_give(torc__shard->streams, stream->_block);
    stream->_block = NULL;
    stream->_out_from = stream->_out_to = 0;
}

/* `count` bytes of the block have left. */
static void has_left(struct torc_stream *stream, size_t count)
{
    stream->_out_from += (uint32_t)count;
    if (!torc__stream_has_output(stream))
        give_block(stream);
}

static void fail_output(struct torc_stream *stream, int error)
{
    stream->_output_error = error;
    give_block(stream);
}

/* Nothing was lost by that, and the next time there may be some. */
static bool is_want_of_memory(ssize_t error)
{
    return error == -ENOMEM || error == -ENOBUFS;
}

/*
 * Whether the kernel is not to wait for room. A ring that does polls for the end of the peer, too
 * (POLLRDHUP, asked or not). Where that has come it tries again at once, a hundred times, and then
 * has a thread that blocks, one for each such send. Without MSG_WAITALL: a short count is one.
 */
static bool must_not_wait(const struct torc_stream *stream)
{
    return stream->_input_end != 1 && !stream->_no_socket;
}

static int send_flags(const struct torc_stream *stream)
{
    return must_not_wait(stream) ? MSG_DONTWAIT : MSG_WAITALL;
}

/* Or it waited for room, and was cancelled since it must not, or since it is to be dropped. */
static bool is_want_of_room(ssize_t error)
{
    return error == -EAGAIN || error == -ECANCELED || error == -EINTR;
}

static void sent(struct torc_op *op, int result, uint32_t flags, int more);

static void start_send(struct torc_stream *stream)
{
    struct io_uring_sqe *sqe = torc__begin_told(&stream->_send, sent);
    const char *data = stream->_block->bytes + stream->_out_from;
    const uint32_t length = stream->_out_to - stream->_out_from;

    stream->_output = OUTPUT_SENDING;
    stream->_out_asked = length;
    if (stream->_no_socket)
        io_uring_prep_write(sqe, stream->_fd, data, length, UINT64_MAX);
    else
        io_uring_prep_send(sqe, stream->_fd, data, length, send_flags(stream) | MSG_NOSIGNAL);
    torc__op_note(&stream->_send, sqe);
}

static void prepare_output(struct torc__shard *shard);

static void feed_starved(struct torc_timer *timer)
{
    struct torc__streams *streams = container_of(timer, struct torc__streams, again);
    struct torc_stream **link = &streams->dirty;

    while (*link != NULL)
        link = &(*link)->_next_dirty;
    *link = streams->starved;
    streams->starved = NULL;
    torc__shard->before_turn = prepare_output;
}

/* What was collected is sent some time later. */
static void send_later(struct torc_stream *stream, struct torc__shard *shard)
{
    struct torc__streams *streams = shard->streams;

    if (!torc__timer_is_running(&streams->again))
        torc__timer_start(&shard->timers, &streams->again,
                          torc__time_add(shard->round_time_ns, STARVED_NS), feed_starved);
    stream->_is_dirty = true;
    torc__loan_begin(&stream->_send);
    stream->_next_dirty = streams->starved;
    streams->starved = stream;
}

static void sent(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct torc_stream *stream = container_of(op, struct torc_stream, _send);

    (void)flags;
    (void)more;
    torc__told_end(op);
    stream->_output = OUTPUT_IDLE;
    if (stream->_no_socket)
        torc__wrote(stream->_fd, result, stream->_out_asked);
    if (result > 0)
        has_left(stream, (size_t)result);
    else if (result == -ENOTSOCK && !stream->_no_socket)
        stream->_no_socket = true;
    else if (is_want_of_memory(result) || (must_not_wait(stream) && is_want_of_room(result)))
        send_later(stream, torc__shard); /* Or before, by who waits for it. */
    else if (!torc__is_disturbed(result) || op->_cancelling)
        fail_output(stream, result < 0 ? result : -EIO);
    if (torc__stream_has_output(stream) && !stream->_is_dirty)
        start_send(stream);
    torc__wake_in(&stream->_writer);
}

/* The shard is about to turn to the driver: what was collected in this round goes with it. */
static void prepare_output(struct torc__shard *shard)
{
    struct torc_stream *stream = shard->streams->dirty;

    shard->streams->dirty = NULL;
    shard->before_turn = NULL;
    torc__feeds_note(shard);
    for (; stream != NULL; stream = stream->_next_dirty) {
        stream->_is_dirty = false;
        torc__loan_end(&stream->_send);
        if (stream->_output == OUTPUT_IDLE && torc__stream_has_output(stream))
            start_send(stream);
    }
}

static void send_soon(struct torc_stream *stream, struct torc__shard *shard)
{
    if (stream->_is_dirty || stream->_transport != NULL || stream->_output != OUTPUT_IDLE)
        return;
    stream->_is_dirty = true;
    torc__loan_begin(&stream->_send);
    stream->_next_dirty = shard->streams->dirty;
    shard->streams->dirty = stream;
    shard->before_turn = prepare_output;
}

static const struct torc_wait_kind write_kind =
    WAIT_KIND_FD("stream write", torc__interrupt_slot, struct torc_stream, _writer, _fd);
static const struct torc_wait_kind drop_kind =
    WAIT_KIND_FD("stream close", NULL, struct torc_stream, _writer, _fd);

/* Wait until the op that sends has done something, if there is anything to be sent. */
static int wait_for_send(struct torc_stream *stream, struct torc__shard *shard)
{
    const int reason = torc__reason(shard);

    if (reason != 0)
        return torc__refuse(shard, reason);
    TORC_REQUIRE(stream->_writer == NULL, "two fibers write to one stream");
    send_soon(stream, shard);
    return torc__wait_in(shard, &stream->_writer, &write_kind);
}

/* ---- Sending by the fiber ---- */

static ssize_t send_on_socket(const struct torc_stream *stream, struct iovec pieces[2])
{
    const struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    const size_t least = stream->_zero_copy_least;
    const bool is_one = pieces[0].iov_len == 0;
    const int flags = send_flags(stream);

    if (unlikely(least > 0 && pieces[1].iov_len >= least))
        return is_one ? torc_send_zc(stream->_fd, pieces[1].iov_base, pieces[1].iov_len, flags)
                      : torc_sendmsg_zc(stream->_fd, &message, flags);
    if (pieces[1].iov_len >= AT_ONCE_LEAST) {
        const size_t length = pieces[0].iov_len + pieces[1].iov_len;
        const ssize_t count = torc__send_at_once(stream->_fd, pieces, 2, length, 0);

        if (count != -EAGAIN)
            return count;
    }
    if (is_one)
        return torc_send(stream->_fd, pieces[1].iov_base, pieces[1].iov_len, flags);
    return torc_sendmsg(stream->_fd, &message, flags);
}

/* The same, but -EAGAIN if the end of the input comes while that waits for room. */
static ssize_t send_until_end(struct torc_stream *stream, struct iovec pieces[2])
{
    struct torc_scope scope;
    ssize_t count;
    int reason;

    torc_scope_open(&scope, 0);
    stream->_until_end = &scope;
    count = send_on_socket(stream, pieces);
    stream->_until_end = NULL;
    reason = torc_scope_close(&scope);
    return count < 0 && count == reason && must_not_wait(stream) ? -EAGAIN : count;
}

void torc__stream_tell_output(struct torc_stream *stream)
{
    struct torc__shard *shard = torc__shard;

    if (stream->_until_end != NULL)
        torc_scope_cancel(stream->_until_end);
    else if (stream->_output == OUTPUT_SENDING && stream->_transport == NULL &&
             must_not_wait(stream))
        shard->driver->ops->cancel(shard->driver, &stream->_send); /* sent() has it go on. */
}

/* Only pieces with something in them. */
static ssize_t write_transport(const struct torc_stream *stream, const struct iovec pieces[2])
{
    const int first = pieces[0].iov_len > 0 ? 0 : 1;
    const int end = pieces[1].iov_len > 0 ? 2 : 1;

    if (stream->_transport->writev == NULL)
        return -EOPNOTSUPP;
    return stream->_transport->writev(stream->_context, pieces + first, end - first);
}

/* Send as much as goes at once of two pieces, the first of which may be empty. */
static ssize_t send_pieces(struct torc_stream *stream, struct iovec pieces[2])
{
    ssize_t count = -ENOTSOCK;

    if (stream->_transport != NULL)
        return write_transport(stream, pieces);
    if (!stream->_no_socket)
        count =
            must_not_wait(stream) ? send_on_socket(stream, pieces) : send_until_end(stream, pieces);
    if (count != -ENOTSOCK)
        return count;
    stream->_no_socket = true;
    return torc_writev(stream->_fd, pieces, 2);
}

/*
 * After -EAGAIN. If it cannot be asked for, or something else makes the socket ready, as an error
 * queue that nobody reads, look again after a while: a send tells what is wrong.
 */
static int wait_for_room(const struct torc_stream *stream, const struct torc__shard *shard)
{
    const int ready = torc_poll(stream->_fd, POLLOUT);

    if (ready < 0 && ready == torc__reason(shard))
        return ready;
    return ready > 0 && (ready & POLLOUT) ? 0 : torc_sleep(STARVED_NS);
}

/*
 * Send what was collected, and `length` bytes of the caller's. *ret_done tells how many of these.
 * What is not sent because of the scope stays collected.
 */
static int send_directly(struct torc_stream *stream, struct torc__shard *shard, const char *data,
                         size_t length, size_t *ret_done)
{
    bool had_room = false;
    int result = 0;

    *ret_done = 0;
    stream->_output = OUTPUT_DIRECT;
    while (result == 0 && (torc__stream_has_output(stream) || *ret_done < length)) {
        const size_t collected = stream->_out_to - stream->_out_from;
        struct iovec pieces[2] = {
            {collected > 0 ? stream->_block->bytes + stream->_out_from : NULL, collected},
            {(char *)(uintptr_t)data + *ret_done, length - *ret_done},
        };
        ssize_t count = send_pieces(stream, pieces);

        if (is_want_of_memory(count)) {
            result = torc_sleep(STARVED_NS);
            continue;
        }
        if (count == -EAGAIN && stream->_transport == NULL && must_not_wait(stream)) {
            /* What has room, and takes nothing, is out of memory. */
            result = had_room ? torc_sleep(STARVED_NS) : wait_for_room(stream, shard);
            had_room = !had_room;
            continue;
        }
        if (count <= 0) {
            result = count < 0 ? (int)count : -EIO;
            break;
        }
        had_room = false;
        *ret_done += (size_t)count > collected ? (size_t)count - collected : 0;
        has_left(stream, (size_t)count < collected ? (size_t)count : collected);
    }
    stream->_output = OUTPUT_IDLE;
    if (result < 0 && result != torc__reason(shard))
        fail_output(stream, result);
    else if (torc__stream_has_output(stream))
        send_soon(stream, shard);
    torc__wake_in(&stream->_writer);
    return result;
}

/* ---- The pump ---- */

/*
 * It does not end for the reason of whoever happened to start it, nor for the end of the shard: the
 * stream's owner closes the stream, which ends it.
 */
static int pump(void *arg)
{
    struct torc_stream *stream = arg;
    struct torc_scope scope;
    size_t none;

    torc_fiber_set_name("stream output");
    torc_scope_open(&scope, TORC_SHIELD);
    stream->_pump = &scope;
    (void)send_directly(stream, torc__shard_of_fiber(), NULL, 0, &none);
    stream->_pump = NULL;
    torc__loan_end(&stream->_send);
    (void)torc_scope_close(&scope);
    return 0;
}

int torc__stream_start_pump(struct torc_stream *stream)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    const int result = torc__spawn(shard, &shard->root, pump, stream, false);

    if (result < 0)
        return result;
    stream->_output = OUTPUT_SENDING;
    torc__loan_begin(&stream->_send);
    return 0;
}

/* End it, if there is one; what it has not sent is dropped, or about to be. */
static void stop_pump(struct torc_stream *stream, struct torc__shard *shard)
{
    if (stream->_output == OUTPUT_SENDING)
        give_block(stream); /* It has not begun, and finds nothing. */
    while (stream->_output == OUTPUT_SENDING || stream->_pump != NULL) {
        if (stream->_pump != NULL)
            torc_scope_cancel(stream->_pump);
        (void)torc__wait_in(shard, &stream->_writer, &drop_kind);
    }
}

/* ---- Writing ---- */

/* Why nothing can be written now; 0 if something can. Sees to it that blocks can be had. */
static int check_output(const struct torc_stream *stream, struct torc__shard *shard)
{
    const int reason = torc__reason(shard);

    if (reason != 0)
        return torc__refuse(shard, reason);
    if (stream->_output_error != 0)
        return stream->_output_error;
    if (stream->_fd < 0 && stream->_transport == NULL)
        return -EBADF;
    return torc__streams_of(shard) != NULL ? 0 : -ENOMEM;
}

/* Wait until no op sends, nor the reading fiber what was collected for a transport. */
static int wait_until_idle(struct torc_stream *stream, struct torc__shard *shard)
{
    int result = 0;

    while (result == 0 && stream->_output != OUTPUT_IDLE)
        result = wait_for_send(stream, shard);
    return result < 0 ? result : stream->_output_error;
}

/* Get some of what was collected to leave, if any was: by an op, where there is one that waits. */
static int send_collected(struct torc_stream *stream, struct torc__shard *shard)
{
    size_t none;

    if (stream->_output == OUTPUT_IDLE && (stream->_transport != NULL || must_not_wait(stream)))
        return send_directly(stream, shard, NULL, 0, &none);
    return wait_for_send(stream, shard);
}

/* Make room for `length` more collected bytes. */
static int make_room(struct torc_stream *stream, struct torc__shard *shard, size_t length)
{
    int result = 0;

    while (result == 0 && stream->_block != NULL && stream->_out_to + length > STREAM_BLOCK) {
        result = send_collected(stream, shard);
        if (result == 0)
            result = stream->_output_error;
    }
    if (result == 0 && stream->_block == NULL) {
        stream->_block = torc__block_take(shard->streams);
        result = stream->_block != NULL ? 0 : -ENOMEM;
    }
    return result;
}

static int collect(struct torc_stream *stream, struct torc__shard *shard, const void *data,
                   size_t length)
{
    int result = make_room(stream, shard, length);

    if (result < 0)
        return result;
    memcpy(stream->_block->bytes + stream->_out_to, data, length);
    stream->_out_to += (uint32_t)length;
    send_soon(stream, shard);
    return 0;
}

int torc_stream_write(struct torc_stream *stream, const void *data, size_t length, size_t *ret_done)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    size_t done = 0;
    int result = check_output(stream, shard);

    if (result == 0 && length >= LARGE) {
        result = wait_until_idle(stream, shard);
        if (result == 0)
            result = send_directly(stream, shard, data, length, &done);
    } else if (result == 0 && length > 0) {
        result = collect(stream, shard, data, length);
        done = result == 0 ? length : 0;
    }
    if (ret_done != NULL)
        *ret_done = done;
    return result;
}

int torc_stream_writev(struct torc_stream *stream, const struct iovec *vector, int count,
                       size_t *ret_done)
{
    size_t done = 0;
    int result = count < 0 ? -EINVAL : 0;

    for (int i = 0; i < count && result == 0; i++) {
        size_t part;

        result = torc_stream_write(stream, vector[i].iov_base, vector[i].iov_len, &part);
        done += part;
    }
    if (ret_done != NULL)
        *ret_done = done;
    return result;
}

static int write_number(struct torc_stream *stream, unsigned size, bool is_little, uint64_t value)
{
    unsigned char bytes[8];

    if (size < 1 || size > 8)
        return -EINVAL;
    for (unsigned i = 0; i < size; i++, value >>= 8)
        bytes[is_little ? i : size - 1 - i] = (unsigned char)value;
    return torc_stream_write(stream, bytes, size, NULL);
}

int torc_stream_write_be(struct torc_stream *stream, unsigned size, uint64_t value)
{
    return write_number(stream, size, false, value);
}

int torc_stream_write_le(struct torc_stream *stream, unsigned size, uint64_t value)
{
    return write_number(stream, size, true, value);
}

int torc_stream_flush(struct torc_stream *stream)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int result = check_output(stream, shard);

    while (result == 0 && torc__stream_has_output(stream))
        result = send_collected(stream, shard);
    return result < 0 ? result : stream->_output_error;
}

int torc_stream_shutdown(struct torc_stream *stream)
{
    int result = torc_stream_flush(stream);

    if (result < 0)
        return result;
    if (stream->_transport != NULL)
        return stream->_transport->shutdown != NULL ? stream->_transport->shutdown(stream->_context)
                                                    : -EOPNOTSUPP;
    result = torc_shutdown(stream->_fd, SHUT_WR);
    return result == -ENOTSOCK ? -EOPNOTSUPP : result;
}

/* Take a stream out of a list, if it is there. */
static void forget(struct torc_stream *stream, struct torc_stream **link)
{
    while (*link != NULL && *link != stream)
        link = &(*link)->_next_dirty;
    if (*link != NULL)
        *link = stream->_next_dirty;
}

void torc__stream_drop_output(struct torc_stream *stream)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    TORC_REQUIRE((stream->_output != OUTPUT_DIRECT || stream->_pump != NULL) &&
                     stream->_writer == NULL,
                 "a stream is closed while another fiber writes");
    if (stream->_transport != NULL)
        stop_pump(stream, shard);
    while (stream->_output == OUTPUT_SENDING) {
        torc__op_hurry(torc__shard, &stream->_send);
        (void)torc__wait_in(shard, &stream->_writer, &drop_kind);
    }
    give_block(stream);
    if (stream->_is_dirty) {
        forget(stream, &shard->streams->dirty);
        forget(stream, &shard->streams->starved);
        stream->_is_dirty = false;
        torc__loan_end(&stream->_send);
    }
}

/* Whether both ends have the same address, or one that never leaves the machine. */
static bool is_within_machine(const struct torc_address *local, const struct torc_address *peer)
{
    const struct in6_addr *host = &peer->v6.sin6_addr;

    if (peer->any.sa_family == AF_INET)
        return (ntohl(peer->v4.sin_addr.s_addr) >> 24) == 127 ||
               peer->v4.sin_addr.s_addr == local->v4.sin_addr.s_addr;
    return IN6_IS_ADDR_LOOPBACK(host) || IN6_ARE_ADDR_EQUAL(host, &local->v6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(host) && host->s6_addr[12] == 127);
}

int torc_stream_set_zero_copy(struct torc_stream *stream, size_t least)
{
    struct torc_address local;
    struct torc_address peer;

    stream->_zero_copy_least = 0;
    if (least == 0 || stream->_fd < 0 || torc_peer_address(stream->_fd, &peer) < 0 ||
        torc_local_address(stream->_fd, &local) < 0)
        return 0;
    if ((peer.any.sa_family != AF_INET && peer.any.sa_family != AF_INET6) ||
        is_within_machine(&local, &peer))
        return 0;
    stream->_zero_copy_least = least;
    return 1;
}

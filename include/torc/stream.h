/* SPDX-License-Identifier: MIT */
/*
 * torc/stream.h - buffered streams: over TCP, Unix sockets, pipes, files, or anything else.
 *
 *     struct torc_stream stream;
 *     const void *data;
 *     ssize_t count;
 *
 *     torc_stream_open(&stream, fd);
 *     while ((count = torc_stream_peek(&stream, &data)) > 0) {
 *         if (torc_stream_write(&stream, data, (size_t)count, NULL) < 0)
 *             break;
 *         torc_stream_consume(&stream, (size_t)count);
 *     }
 *     (void)torc_stream_close(&stream);
 *
 * Input is looked at where it was received, and consumed when it is done with: nothing is copied
 * but what has to be joined. An idle stream holds no memory: bytes come in a buffer of the shard's
 * (multishot receive and buffer rings, Linux 6.0, or the epoll driver; elsewhere, and for streams
 * of large pieces, memory is taken when the descriptor is readable).
 *
 * Output of less than some KiB is collected, and leaves, all of a round in one send, when the shard
 * turns to the kernel. Larger pieces are sent from the caller's memory, together with what was
 * collected before. Where the kernel has no memory for a send (-ENOMEM, -ENOBUFS; also of a
 * transport), it is tried again after a while: who writes, flushes or closes waits meanwhile.
 *
 * Once the input has ended, and the stream has seen that, sends wait for room by torc_poll(): see
 * torc/net.h on peers that have shut down their direction.
 *
 * One fiber may read and another write a stream at the same time, but not two of the same kind.
 * A wait that the scope ends loses nothing: received bytes stay in the stream. While a stream is
 * open, nobody else receives from its descriptor. Functions that wait allocate, from the shard's
 * free lists, and may give -ENOMEM; those lists have what they need after a while. Reading may be
 * tried again after -ENOMEM and -ENOBUFS, which say nothing of the input. Other errors stay, as
 * does -EIO where bytes had come, and for want of memory were lost. They are the kernel's, see
 * torc/net.h: a reset of which reading was told (-ECONNRESET) is -EPIPE to writing.
 */
#ifndef TORC_STREAM_H
#define TORC_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <torc/api.h>
#include <torc/op.h>
TORC_BEGIN_C

struct torc__chunk;
struct torc__memory;
struct torc_fiber;
struct torc_scope;

/*
 * What a stream stands on, if that is no descriptor. All functions may suspend, follow the rules of
 * torc/api.h, and get the context that was given with them. NULL: the stream cannot do that. One
 * fiber may be in `read` while another is in `writev`.
 */
struct torc_transport {
    /* The count, 0 at the end, or an error. */
    ssize_t (*read)(void *context, void *buffer, size_t length);
    /* The count, which may be short, or an error. Of up to two buffers, none of them empty. */
    ssize_t (*writev)(void *context, const struct iovec *vector, int count);
    /* No more will be written: the peer reads the end. */
    int (*shutdown)(void *context);
    int (*close)(void *context);
};

/*
 * In the caller's memory; never copied or moved while open, and closed before that memory, or the
 * shard, ends: a fiber that ends with one in use on its stack aborts. All fields are private.
 */
struct torc_stream {
    const struct torc_transport *_transport;
    void *_context;
    int _fd;
    int _input_end;    /* 1 while it has not ended, then 0 or the error */
    int _output_error; /* of something collected, once it happens */
    uint8_t _feed;     /* what the multishot receive does */
    uint8_t _output;   /* what the collected output does */
    bool _no_socket;
    bool _reads_itself; /* no feed: it takes memory when there is something to be read */
    bool _may_have_more;
    bool _is_bulk;       /* large pieces come of late ... */
    uint8_t _small_ones; /* ... but for the last so many */
    bool _is_dirty;
    size_t _zero_copy_least; /* pieces of so many bytes go without a copy; 0: none does */
    /* Input: what was joined, then chunks as they were received. */
    char *_joined;
    uint32_t _joined_from;
    uint32_t _joined_to;
    uint32_t _joined_room;
    uint32_t _joined_ahead; /* the last so many joined bytes are copies of the first queued ones */
    size_t _queued; /* bytes of the chunks */
    struct torc__chunk *_first;
    struct torc__chunk **_last;
    struct torc_fiber *_reader; /* who waits for input */
    /* Output: what was collected in a block. */
    struct torc__memory *_block;
    uint32_t _out_from;
    uint32_t _out_to;
    uint32_t _out_asked;           /* bytes of them that the op under way sends */
    struct torc_fiber *_writer;    /* who waits for it to leave */
    struct torc_scope *_pump;      /* of the fiber that sends it on a transport, if there is one */
    struct torc_scope *_until_end; /* of a send that the end of the input interrupts */
    struct torc_stream *_next_dirty;
    struct torc_op _receive;
    struct torc_op _send;
};

/* ---- Life ---- */

/*
 * Make a stream of a descriptor, which is the stream's from now on: of a connected stream socket, a
 * pipe, a terminal, or a file. Its input ends when torc_shutdown() ends that direction; but where
 * the socket is one of datagrams, and the kernel receives for the stream (multishot), that does not
 * wake who waits.
 */
TORC_API void torc_stream_open(struct torc_stream *stream, int fd);

/*
 * Make a stream of something else. `transport` and `context` must live as long as the stream. What
 * is collected for it leaves when a fiber flushes, writes more than fits, or waits for its input,
 * which does not wait for the output: that is sent by a fiber of the stream's own.
 */
TORC_API void torc_stream_open_transport(struct torc_stream *stream,
                                         const struct torc_transport *transport, void *context);

/*
 * Flush, and close the descriptor or the transport; input that is left is dropped. Suspends; always
 * ends the stream; aborts if another fiber is reading or writing it. In a scope with a reason to
 * end it does not flush. Returns the error of what could not be sent, else that of closing, else 0.
 */
TORC_API int torc_stream_close(struct torc_stream *stream);

/*
 * Flush, and take the descriptor out of the stream. Suspends. Returns it; it is the caller's. The
 * stream stays open for the input that it has received, until it is closed.
 *
 * -EBADF      it is a transport's, or was taken out already.
 */
TORC_CHECK int torc_stream_detach(struct torc_stream *stream);

/* The descriptor, for options and addresses; -1 if there is none. It stays the stream's. */
TORC_API int torc_stream_fd(const struct torc_stream *stream);

/* ---- Input ---- */

/*
 * Wait for input, and look at it. Suspends if there is none. Returns how many bytes there are at
 * `*ret_data`, which are lent until the next call that reads, unreads, peeks or consumes; 0 at the
 * end.
 */
TORC_CHECK ssize_t torc_stream_peek(struct torc_stream *stream, const void **ret_data);

/*
 * Wait until there are `least` bytes in one piece, and look at them. Suspends. Returns how many
 * there are, which are fewer if the input ends; 0 if it ended before the first.
 *
 * -EMSGSIZE   `least` is more than TORC_STREAM_PEEK_MAX.
 */
TORC_CHECK ssize_t torc_stream_peek_at_least(struct torc_stream *stream, size_t least,
                                             const void **ret_data);

#define TORC_STREAM_PEEK_MAX ((size_t)1 << 30)

/* Be done with the first `count` bytes of what was peeked; aborts if so many are not there. */
TORC_API void torc_stream_consume(struct torc_stream *stream, size_t count);

/* How many bytes of input are in the stream, received and not consumed. */
TORC_API size_t torc_stream_buffered(const struct torc_stream *stream);

/* Copy up to `length` bytes of input. Suspends if there are none. The count; 0 at the end. */
TORC_CHECK ssize_t torc_stream_read(struct torc_stream *stream, void *buffer, size_t length);

/*
 * Copy exactly `length` bytes. Suspends. Returns 0 or an error; `*ret_done`, which may be NULL,
 * receives the number of bytes copied in both cases.
 *
 * -ENODATA    the input ended before.
 */
TORC_CHECK int torc_stream_read_all(struct torc_stream *stream, void *buffer, size_t length,
                                    size_t *ret_done);

/* Discard exactly `length` bytes. Suspends. As torc_stream_read_all(). */
TORC_CHECK int torc_stream_skip(struct torc_stream *stream, size_t length, size_t *ret_done);

/*
 * Put bytes in front of the input, to be read next: those of another protocol that were read to
 * find out which it is, say. They are copied. Allocates.
 *
 * -EMSGSIZE   with what stands in one piece already they are more than TORC_STREAM_PEEK_MAX.
 * -ENOMEM     no memory for them.
 */
TORC_CHECK int torc_stream_unread(struct torc_stream *stream, const void *data, size_t length);

/*
 * Read a number of `size` bytes, 1 to 8, the most significant first. Suspends. A
 * signed one is got by a cast to the type of that size, a floating-point one by memcpy(). Errors of
 * torc_stream_read_all(); then nothing is consumed.
 */
TORC_CHECK int torc_stream_read_be(struct torc_stream *stream, unsigned size, uint64_t *ret_value);
/* The same, the least significant byte first. Suspends. */
TORC_CHECK int torc_stream_read_le(struct torc_stream *stream, unsigned size, uint64_t *ret_value);

/* ---- Output ---- */

/*
 * Send, or collect to be sent with the rest of this round. Suspends if the piece is large, or what
 * was collected does not leave fast enough. Returns 0 or an error; `*ret_done`, which may be NULL,
 * receives the number of bytes taken over in both cases. An error of bytes collected before is
 * reported too: from then on nothing can be written.
 */
TORC_CHECK int torc_stream_write(struct torc_stream *stream, const void *data, size_t length,
                                 size_t *ret_done);

/* Write all buffers of a vector of any count >= 0. Suspends. As torc_stream_write(). */
TORC_CHECK int torc_stream_writev(struct torc_stream *stream, const struct iovec *vector, int count,
                                  size_t *ret_done);

/* Write a number of `size` bytes, 1 to 8, the most significant first. Suspends. */
TORC_CHECK int torc_stream_write_be(struct torc_stream *stream, unsigned size, uint64_t value);
/* The same, the least significant byte first. Suspends. */
TORC_CHECK int torc_stream_write_le(struct torc_stream *stream, unsigned size, uint64_t value);

/* Wait until all that was written has been handed to the kernel, or the transport. Suspends. */
TORC_CHECK int torc_stream_flush(struct torc_stream *stream);

/*
 * Flush, and tell the peer that no more will be written: it reads the end. Suspends. Reading goes
 * on.
 *
 * -EOPNOTSUPP the stream is no socket, and its transport cannot do it.
 */
TORC_CHECK int torc_stream_shutdown(struct torc_stream *stream);

/*
 * Say the last word, and wait for the peer's end: shut down, and drop what still comes, for at most
 * `grace_ns`. Suspends. Then close. Who closes while bytes arrive makes the peer's system throw
 * away what it has not read yet, the last answer among it. 0, or an error, with which what was
 * written and has not left is dropped, so that closing does not wait for it; -ETIME: the peer has
 * not ended.
 */
TORC_API int torc_stream_linger(struct torc_stream *stream, uint64_t grace_ns);

/*
 * Let pieces of `least` bytes or more be sent without a copy, see torc/zero_copy.h; their writing
 * then waits for the peer. 0: never, which is how a stream begins. Returns 1 if it will be done, 0
 * if it would not pay: the peer is within the machine, or this is no TCP socket.
 */
TORC_API int torc_stream_set_zero_copy(struct torc_stream *stream, size_t least);

/* ---- Both ---- */

/*
 * Write what can be read from `from` to `to`, until it ends. Suspends. Returns 0 then, or an error;
 * `*ret_count`, which may be NULL, receives the number of bytes written in both cases. What was
 * read and not written is still in `from`. Flushes `to`, and does not shut it down.
 */
TORC_CHECK int torc_stream_copy(struct torc_stream *from, struct torc_stream *to,
                                uint64_t *ret_count);

/*
 * Copy both ways at once; each end of input is passed on by torc_stream_shutdown(). Suspends until
 * both have ended. Returns 0, or the first error, upon which the other way is cut off; `*ret_ab`
 * and `*ret_ba`, which may be NULL, receive the bytes from a to b and from b to a.
 *
 * A peer that goes in silence (its power fails, its reset gets lost) ends this only when something
 * is sent to it. A relay whose own end has gone sends nothing more: torc_tcp_set_keepalive() asks.
 */
TORC_CHECK int torc_stream_relay(struct torc_stream *a, struct torc_stream *b, uint64_t *ret_ab,
                                 uint64_t *ret_ba);

/* ---- In memory ---- */

/* One direction between two streams in memory; private. */
struct torc_stream_queue {
    char *_bytes;
    size_t _room;
    size_t _from;
    size_t _count;
    bool _ended;  /* by the writer */
    bool _broken; /* the reader has gone */
    struct torc_fiber *_reader;
    struct torc_fiber *_writer;
};

/* Two ends that are connected to each other in memory, as by a socket; for tests, and filters. */
struct torc_stream_pair {
    struct torc_stream ends[2];
    struct torc_stream_queue _queues[2];
    struct torc_stream_end {
        struct torc_stream_queue *_input;
        struct torc_stream_queue *_output;
    } _ends[2];
};

/*
 * Open both ends; each direction holds `room` bytes, > 0, before its writer waits. Close both, then
 * torc_stream_pair_finish(). Allocates.
 *
 * -EINVAL     room is 0.
 * -ENOMEM     no memory for the room.
 */
TORC_CHECK int torc_stream_pair_open(struct torc_stream_pair *pair, size_t room);

/* Free the memory of a pair whose ends are closed. */
TORC_API void torc_stream_pair_finish(struct torc_stream_pair *pair);

TORC_END_C
#endif

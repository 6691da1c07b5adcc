/* SPDX-License-Identifier: MIT */
/*
 * torc/frame.h - lines and length-delimited frames on a stream.
 *
 * A peek waits until the whole of it has come, and lends it as torc_stream_peek() does; so there is
 * no parser to be fed, and what is in one piece already is not copied. It returns how many bytes to
 * pass to torc_stream_consume() when done. Everything has a limit, so that a peer that never ends
 * its line costs no more than that. On an error nothing is consumed.
 */
#ifndef TORC_FRAME_H
#define TORC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <torc/api.h>
TORC_BEGIN_C

struct torc_stream;

/*
 * Wait for input up to the first `delimiter`. Suspends. Returns how many bytes that is, the
 * delimiter included; at the end of the input those that are left, so that the last byte tells
 * whether there was one; 0 if none are.
 *
 * -EMSGSIZE   `limit` bytes came without a delimiter, or limit is 0.
 */
TORC_CHECK ssize_t torc_stream_peek_until(struct torc_stream *stream, char delimiter, size_t limit,
                                          const void **ret_data);

/*
 * Wait for a line. Suspends. *ret_line and *ret_length are the line without its "\n" or "\r\n",
 * which the last one of the input may lack. Returns how many bytes to consume; 0 at the end.
 *
 * -EMSGSIZE   `limit` bytes came, and there is no end of the line among them.
 */
TORC_CHECK ssize_t torc_stream_peek_line(struct torc_stream *stream, size_t limit,
                                         const char **ret_line, size_t *ret_length);

/* Frames that tell their length in a number. All zero: four bytes, the most significant first. */
struct torc_frame_format {
    unsigned length_offset; /* bytes before the number, at most 256 */
    unsigned length_size;   /* bytes of it, 1 to 8; 0 = 4 */
    bool little_endian;
    bool keep_header;   /* lend the frame with what comes before its body */
    int64_t adjustment; /* added to the number gives the length of the body: -4 where
                           the number counts its own four bytes, say */
    size_t body_max;    /* 0 = 8 MiB; at most TORC_STREAM_PEEK_MAX less the header */
};

/*
 * Wait for a frame. Suspends. *ret_data and *ret_length are its body. Returns how many bytes to
 * consume, > 0; or 0 if the input ended where a frame could have begun.
 *
 * -EMSGSIZE   its body is longer than body_max.
 * -EBADMSG    the number and the adjustment make a negative length.
 * -ENODATA    the input ended within a frame.
 * -EINVAL     the format is out of its ranges.
 */
TORC_CHECK ssize_t torc_stream_peek_frame(struct torc_stream *stream,
                                          const struct torc_frame_format *format,
                                          const void **ret_data, size_t *ret_length);

/*
 * Write a frame. Suspends. The bytes before the number are 0. Returns 0 or an error. After one of
 * the stream, or the scope's reason, a part of the frame may have been written: none can follow it.
 *
 * -EMSGSIZE   the body is longer than body_max, or its length does not fit the number.
 * -EINVAL     the format is out of its ranges.
 */
TORC_CHECK int torc_stream_write_frame(struct torc_stream *stream,
                                       const struct torc_frame_format *format, const void *data,
                                       size_t length);

TORC_END_C
#endif

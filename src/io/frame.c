/* SPDX-License-Identifier: MIT */
/*
 * frame.c - lines and length-delimited frames on a stream.
 */
#include "base/compiler.h"
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <torc/frame.h>
#include <torc/stream.h>

#define BODY_MAX_DEFAULT  ((size_t)8 << 20)
#define LENGTH_OFFSET_MAX 256u

/* ---- Lines ---- */

ssize_t torc_stream_peek_until(struct torc_stream *stream, char delimiter, size_t limit,
                               const void **ret_data)
{
    size_t scanned = 0;
    size_t wanted = 1;

    if (limit == 0)
        return -EMSGSIZE;
    for (;;) {
        const char *found;
        const void *data;
        ssize_t count = torc_stream_peek_at_least(stream, wanted, &data);
        size_t end;

        if (count < 0)
            return count;
        end = torc__smaller((size_t)count, limit);
        found =
            end > scanned ? memchr((const char *)data + scanned, delimiter, end - scanned) : NULL;
        if (found != NULL || (size_t)count < wanted) {
            *ret_data = data;
            return found != NULL ? found + 1 - (const char *)data : count;
        }
        if (end == limit)
            return -EMSGSIZE;
        /* Only now is it worth to have all that is there in one piece. */
        scanned = end;
        wanted = torc__smaller(torc_stream_buffered(stream), limit);
        if (wanted <= scanned)
            wanted = scanned + 1;
    }
}

ssize_t torc_stream_peek_line(struct torc_stream *stream, size_t limit, const char **ret_line,
                              size_t *ret_length)
{
    const void *data;
    const char *line;
    ssize_t count = torc_stream_peek_until(stream, '\n', limit, &data);
    size_t length;

    if (count <= 0)
        return count;
    line = data;
    length = (size_t)count;
    if (line[length - 1] == '\n') {
        length--;
        if (length > 0 && line[length - 1] == '\r')
            length--;
    }
    *ret_line = line;
    *ret_length = length;
    return count;
}

/* ---- Frames ---- */

/* The format with its defaults filled in; -EINVAL if it is out of its ranges. */
static int read_format(const struct torc_frame_format *format, struct torc_frame_format *ret_format)
{
    struct torc_frame_format full = *format;
    size_t header;

    if (full.length_size == 0)
        full.length_size = 4;
    if (full.body_max == 0)
        full.body_max = BODY_MAX_DEFAULT;
    header = full.length_offset + full.length_size;
    if (full.length_size > 8 || full.length_offset > LENGTH_OFFSET_MAX ||
        full.body_max > TORC_STREAM_PEEK_MAX - header)
        return -EINVAL;
    *ret_format = full;
    return 0;
}

static uint64_t read_number(const unsigned char *bytes, const struct torc_frame_format *format)
{
    const unsigned size = format->length_size;
    uint64_t number = 0;

    for (unsigned i = 0; i < size; i++)
        number = number << 8 | bytes[format->little_endian ? size - 1 - i : i];
    return number;
}

/* The length of the body, if the header is one that may be believed. */
static int read_header(const struct torc_frame_format *format, const void *header,
                       size_t *ret_length)
{
    const uint64_t number =
        read_number((const unsigned char *)header + format->length_offset, format);
    int64_t length;

    if (__builtin_add_overflow(number, format->adjustment, &length))
        return -EMSGSIZE;
    if (length < 0)
        return -EBADMSG;
    if ((uint64_t)length > format->body_max)
        return -EMSGSIZE;
    *ret_length = (size_t)length;
    return 0;
}

ssize_t torc_stream_peek_frame(struct torc_stream *stream, const struct torc_frame_format *format,
                               const void **ret_data, size_t *ret_length)
{
    struct torc_frame_format full;
    const void *data;
    size_t header;
    size_t length;
    ssize_t count;
    int result = read_format(format, &full);

    if (result < 0)
        return result;
    header = full.length_offset + full.length_size;
    count = torc_stream_peek_at_least(stream, header, &data);
    if (count <= 0)
        return count;
    if ((size_t)count < header)
        return -ENODATA;
    result = read_header(&full, data, &length);
    if (result < 0)
        return result;
    count = torc_stream_peek_at_least(stream, header + length, &data);
    if (count < 0)
        return count;
    if ((size_t)count < header + length)
        return -ENODATA;
    *ret_data = full.keep_header ? data : (const char *)data + header;
    *ret_length = full.keep_header ? header + length : length;
    return (ssize_t)(header + length);
}

int torc_stream_write_frame(struct torc_stream *stream, const struct torc_frame_format *format,
                            const void *data, size_t length)
{
    unsigned char header[LENGTH_OFFSET_MAX + 8] = {0};
    struct torc_frame_format full;
    struct iovec pieces[2];
    uint64_t number;
    int result = read_format(format, &full);

    if (result < 0)
        return result;
    if (length > full.body_max || __builtin_sub_overflow(length, full.adjustment, &number) ||
        (full.length_size < 8 && number >> (8 * full.length_size) != 0))
        return -EMSGSIZE;
    for (unsigned i = 0; i < full.length_size; i++, number >>= 8) {
        const unsigned place = full.little_endian ? i : full.length_size - 1 - i;

        header[full.length_offset + place] = (unsigned char)number;
    }
    pieces[0] = (struct iovec){header, full.length_offset + full.length_size};
    pieces[1] = (struct iovec){(void *)(uintptr_t)data, length};
    return torc_stream_writev(stream, pieces, 2, NULL);
}

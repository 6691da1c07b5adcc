/* SPDX-License-Identifier: MIT */
/*
 * torc/buffer.h - bytes that are put together in memory that grows, and numbers as text.
 *
 *     struct torc_buffer answer = {0};
 *
 *     torc_buffer_printf(&answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", length);
 *     torc_buffer_append(&answer, body, length);
 *     result = answer.failed ? -ENOMEM
 *                            : torc_stream_write(&stream, answer.bytes, answer.used, NULL);
 *     torc_buffer_reset(&answer, 4096);
 *     ...
 *     torc_buffer_finish(&answer);
 *
 * Nothing here suspends, and all of it may be called by any thread, with buffers of its own.
 * Appending allocates where there is no room; where there is no memory the buffer has `failed`,
 * which stays so until it is reset: one look at the end is enough.
 */
#ifndef TORC_BUFFER_H
#define TORC_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

/* Zeroed: empty, and without memory. To be read; for `used` see torc_buffer_reserve(). */
struct torc_buffer {
    char *bytes;
    size_t used;
    size_t room;
    bool failed; /* something is missing */
};

/*
 * Have room for `count` more bytes. Returns where they belong: who writes them there adds to
 * `used`. NULL without memory.
 */
TORC_API char *torc_buffer_reserve(struct torc_buffer *buffer, size_t count);

/* Append `count` bytes, which are not the buffer's own; or nothing, if it fails. */
TORC_API void torc_buffer_append(struct torc_buffer *buffer, const void *bytes, size_t count);

/* Append what printf() would print, of arguments that are not the buffer's own bytes. */
TORC_API void torc_buffer_printf(struct torc_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Make the buffer empty. It keeps its memory, unless that is more than `keep` bytes. */
TORC_API void torc_buffer_reset(struct torc_buffer *buffer, size_t keep);

/* Free the memory. The buffer is as one zeroed. */
TORC_API void torc_buffer_finish(struct torc_buffer *buffer);

/* ---- Numbers ---- */

/* Bytes that torc_integer_format() needs at most; there is no final NUL. */
#define TORC_INTEGER_TEXT_SIZE 20

/* Write a number in decimal digits. Returns how many bytes that are. */
TORC_API size_t torc_integer_format(int64_t number, char text[TORC_INTEGER_TEXT_SIZE]);

/*
 * Read the number that is all of a text, written just as torc_integer_format() writes it.
 *
 * -EINVAL     it is empty, or has blanks, a plus, zeros in front, or anything else in it.
 * -ERANGE     it is no int64_t.
 */
TORC_CHECK int torc_integer_parse(const char *text, size_t length, int64_t *ret_number);

TORC_END_C
#endif

/* SPDX-License-Identifier: MIT */
/*
 * buffer.c - bytes that are put together in memory that grows, and numbers as text.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc/buffer.h>

#define ROOM_LEAST ((size_t)512)

/* ---- Buffers ---- */

static char *grow(struct torc_buffer *buffer, size_t count)
{
    size_t room = buffer->room > 0 ? buffer->room : ROOM_LEAST;
    char *larger = NULL;

    while (room - buffer->used < count && room <= SIZE_MAX / 2)
        room *= 2;
    if (room - buffer->used >= count)
        larger = realloc(buffer->bytes, room);
    if (larger == NULL) {
        buffer->failed = true;
        return NULL;
    }
    buffer->bytes = larger;
    buffer->room = room;
    return larger + buffer->used;
}

char *torc_buffer_reserve(struct torc_buffer *buffer, size_t count)
{
    if (buffer->room - buffer->used >= count && buffer->room > 0)
        return buffer->bytes + buffer->used;
    return grow(buffer, count);
}

void torc_buffer_append(struct torc_buffer *buffer, const void *bytes, size_t count)
{
    char *to = torc_buffer_reserve(buffer, count);

    if (to == NULL || count == 0)
        return;
    memcpy(to, bytes, count);
    buffer->used += count;
}

void torc_buffer_printf(struct torc_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_list again;
    char *to = torc_buffer_reserve(buffer, 1);
    int length;

    if (to == NULL)
        return;
    va_start(arguments, format);
    va_copy(again, arguments);
    length = vsnprintf(to, buffer->room - buffer->used, format, arguments);
    if (length >= 0 && (size_t)length >= buffer->room - buffer->used) {
        to = torc_buffer_reserve(buffer, (size_t)length + 1);
        if (to != NULL)
            length = vsnprintf(to, (size_t)length + 1, format, again);
    }
    va_end(again);
    va_end(arguments);
    if (length < 0)
        buffer->failed = true; /* The format does not make sense, or the locale. */
    else if (to != NULL)
        buffer->used += (size_t)length;
}

void torc_buffer_reset(struct torc_buffer *buffer, size_t keep)
{
    if (buffer->room > keep)
        torc_buffer_finish(buffer);
    buffer->used = 0;
    buffer->failed = false;
}

void torc_buffer_finish(struct torc_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct torc_buffer){0};
}

/* ---- Numbers ---- */

size_t torc_integer_format(int64_t number, char text[TORC_INTEGER_TEXT_SIZE])
{
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char digits[TORC_INTEGER_TEXT_SIZE];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0)
        digits[--at] = '-';
    memcpy(text, digits + at, sizeof(digits) - at);
    return sizeof(digits) - at;
}

int torc_integer_parse(const char *text, size_t length, int64_t *ret_number)
{
    const bool is_negative = length > 0 && text[0] == '-';
    int64_t number = 0;
    int result = 0;
    size_t at = is_negative;

    if (at == length || (text[at] == '0' && length > 1))
        return -EINVAL;
    for (; at < length; at++) {
        const int digit = text[at] - '0';

        if (digit < 0 || digit > 9)
            return -EINVAL;
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, is_negative ? -digit : digit, &number))
            result = -ERANGE;
    }
    if (result == 0)
        *ret_number = number;
    return result;
}

/* SPDX-License-Identifier: MIT */
/*
 * reply.c - answers in the words of the Redis protocol, versions 2 and 3.
 */
#include "kv.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_LEAST ((size_t)512)
#define ROOM_KEPT  ((size_t)16 * 1024)

void reply_finish(struct reply *reply)
{
    free(reply->bytes);
    *reply = (struct reply){.protocol = reply->protocol};
}

void reply_reset(struct reply *reply)
{
    reply->used = 0;
    if (reply->room > ROOM_KEPT)
        reply_finish(reply);
}

static bool grow(struct reply *reply, size_t count)
{
    size_t room = reply->room > 0 ? reply->room : ROOM_LEAST;
    char *larger;

    while (room < reply->used + count)
        room *= 2;
    larger = realloc(reply->bytes, room);
    if (larger == NULL) {
        reply->failed = true;
        return false;
    }
    reply->bytes = larger;
    reply->room = room;
    return true;
}

/* Make room for `count` more bytes. False if there is no memory. */
static inline bool reserve(struct reply *reply, size_t count)
{
    return reply->room - reply->used >= count || grow(reply, count);
}

void reply_raw(struct reply *reply, const void *bytes, size_t count)
{
    if (count == 0 || !reserve(reply, count))
        return;
    memcpy(reply->bytes + reply->used, bytes, count);
    reply->used += count;
}

void reply_string(struct reply *reply, const char *protocol_text)
{
    reply_raw(reply, protocol_text, strlen(protocol_text));
}

static void vprint(struct reply *reply, const char *format, va_list arguments)
{
    va_list again;
    int length;

    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (!reserve(reply, (size_t)length + 1))
        return;
    (void)vsnprintf(reply->bytes + reply->used, (size_t)length + 1, format, arguments);
    reply->used += (size_t)length;
}

void reply_printf(struct reply *reply, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprint(reply, format, arguments);
    va_end(arguments);
}

const char *reply_error(struct reply *reply, const char *format, ...)
{
    va_list arguments;
    size_t from;

    reply_string(reply, "-ERR ");
    from = reply->used;
    va_start(arguments, format);
    vprint(reply, format, arguments);
    va_end(arguments);
    for (; from < reply->used; from++) {
        if (reply->bytes[from] == '\r' || reply->bytes[from] == '\n')
            reply->bytes[from] = ' ';
    }
    reply_string(reply, "\r\n");
    return NULL;
}

void reply_number(struct reply *reply, char mark, int64_t number)
{
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char text[24] = {mark};
    char *end = text + 1;

    if (number < 0)
        *end++ = '-';
    for (uint64_t tens = rest; (tens /= 10) > 0;)
        end++;
    for (char *digit = end++; digit == end - 1 || rest > 0; rest /= 10)
        *digit-- = (char)('0' + rest % 10);
    memcpy(end, "\r\n", 2);
    reply_raw(reply, text, (size_t)(end + 2 - text));
}

void reply_map(struct reply *reply, int64_t pairs)
{
    reply_number(reply, reply->protocol == 2 ? '*' : '%', reply->protocol == 2 ? 2 * pairs : pairs);
}

void reply_null(struct reply *reply)
{
    reply_string(reply, reply->protocol == 2 ? "$-1\r\n" : "_\r\n");
}

void reply_bulk(struct reply *reply, const void *bytes, size_t length)
{
    reply_number(reply, '$', (int64_t)length);
    if (!reserve(reply, length + 2))
        return;
    memcpy(reply->bytes + reply->used, bytes, length);
    memcpy(reply->bytes + reply->used + length, "\r\n", 2);
    reply->used += length + 2;
}

void reply_push(struct reply *reply, const char *kind, struct slice channel)
{
    reply_number(reply, reply->protocol == 2 ? '*' : '>', 3);
    reply_bulk(reply, kind, strlen(kind));
    reply_bulk(reply, channel.at, channel.length);
}

void reply_text(struct reply *reply, struct reply *text)
{
    reply_number(reply, reply->protocol == 2 ? '$' : '=',
                 (int64_t)text->used + (reply->protocol == 2 ? 0 : 4));
    reply_string(reply, reply->protocol == 2 ? "" : "txt:");
    reply_raw(reply, text->bytes, text->used);
    reply_string(reply, "\r\n");
    reply->failed |= text->failed;
    reply_finish(text);
}

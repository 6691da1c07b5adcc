/* SPDX-License-Identifier: MIT */
/*
 * reply.c - answers in the words of the Redis protocol, versions 2 and 3.
 */
#include "kv.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ROOM_LEAST ((size_t)512)
#define ROOM_KEPT  ((size_t)16 * 1024)
#define PRINT_MAX  ((size_t)1024)

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

/* Make room for `count` more bytes. False if there is no memory. */
static bool reserve(struct reply *reply, size_t count)
{
    size_t room = reply->room > 0 ? reply->room : ROOM_LEAST;
    char *larger;

    if (reply->room - reply->used >= count)
        return true;
    while (room < reply->used + count)
        room *= 2;
    larger = realloc(reply->bytes, room);
    reply->failed |= larger == NULL;
    if (larger == NULL)
        return false;
    reply->bytes = larger;
    reply->room = room;
    return true;
}

void reply_bytes(struct reply *reply, const void *bytes, size_t count)
{
    if (count == 0 || !reserve(reply, count))
        return;
    memcpy(reply->bytes + reply->used, bytes, count);
    reply->used += count;
}

void reply_printf(struct reply *reply, const char *format, ...)
{
    va_list arguments;
    int length;

    if (!reserve(reply, PRINT_MAX))
        return;
    va_start(arguments, format);
    length = vsnprintf(reply->bytes + reply->used, PRINT_MAX, format, arguments);
    va_end(arguments);
    reply->used += (size_t)length < PRINT_MAX ? (size_t)length : PRINT_MAX - 1;
}

const char *reply_error(struct reply *reply, const char *format, ...)
{
    char text[PRINT_MAX - 8]; /* with room for what is around it */
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *at = text; (at = strpbrk(at, "\r\n")) != NULL;)
        *at = ' ';
    reply_printf(reply, "-ERR %s\r\n", text);
    return NULL;
}

void reply_line(struct reply *reply, const char *line)
{
    if (line != NULL && (line[0] == '+' || line[0] == '-')) {
        reply_bytes(reply, line, strlen(line));
        reply_bytes(reply, "\r\n", 2);
    } else if (line != NULL) {
        (void)reply_error(reply, "%s", line);
    }
}

void reply_number(struct reply *reply, char mark, int64_t number)
{
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char text[24];
    char *from = text + sizeof(text) - 2;

    memcpy(from, "\r\n", 2);
    do {
        *--from = (char)('0' + rest % 10);
    } while ((rest /= 10) > 0);
    if (number < 0)
        *--from = '-';
    *--from = mark;
    reply_bytes(reply, from, (size_t)(text + sizeof(text) - from));
}

void reply_map(struct reply *reply, int64_t pairs)
{
    reply_number(reply, reply->protocol == 2 ? '*' : '%', reply->protocol == 2 ? 2 * pairs : pairs);
}

const char *reply_null(struct reply *reply)
{
    reply_printf(reply, reply->protocol == 2 ? "$-1\r\n" : "_\r\n");
    return NULL;
}

void reply_bulk(struct reply *reply, struct slice bytes)
{
    reply_number(reply, '$', (int64_t)bytes.length);
    reply_bytes(reply, bytes.at, bytes.length);
    reply_bytes(reply, "\r\n", 2);
}

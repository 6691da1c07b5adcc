/* SPDX-License-Identifier: MIT */
/*
 * reply.c - texts, and answers in the words of the Redis protocol.
 */
#include "reply.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_LEAST  ((size_t)512)
#define HEAD_MAX    ((size_t)32) /* a mark, a number, CR LF */
#define ERROR_MAX   ((size_t)512)
#define NUMBER_SIZE 24

/* ---- Texts ---- */

struct text *text_create(size_t room)
{
    struct text *text;

    if (room > UINT32_MAX - 2)
        return NULL;
    text = malloc(sizeof(*text) + room + 2);
    if (text == NULL)
        return NULL;
    atomic_init(&text->references, 1);
    text->length = 0;
    text->room = (uint32_t)room;
    return text;
}

void text_release(struct text *text)
{
    if (text != NULL && atomic_fetch_sub_explicit(&text->references, 1, memory_order_acq_rel) == 1)
        free(text);
}

void text_set(struct text *text, struct slice bytes)
{
    memcpy(text->bytes, bytes.at, bytes.length);
    memcpy(text->bytes + bytes.length, "\r\n", 2);
    text->length = (uint32_t)bytes.length;
}

/* ---- The buffer ---- */

void reply_finish(struct reply *reply)
{
    text_release(reply->text);
    free(reply->bytes);
    *reply = (struct reply){.protocol = reply->protocol};
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

bool reply_reserve(struct reply *reply, size_t count)
{
    return reply->room - reply->used >= count || grow(reply, count);
}

void reply_raw(struct reply *reply, const void *bytes, size_t count)
{
    if (count == 0 || !reply_reserve(reply, count))
        return;
    memcpy(reply->bytes + reply->used, bytes, count);
    reply->used += count;
}

void reply_string(struct reply *reply, const char *protocol_text)
{
    reply_raw(reply, protocol_text, strlen(protocol_text));
}

/* ---- Words ---- */

/* A mark, a number, and the end of the line, for which there is room. */
static void put_number(struct reply *reply, char mark, int64_t number)
{
    char digits[NUMBER_SIZE];
    char *first = digits + sizeof(digits);
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char *to = reply->bytes + reply->used;
    size_t length;

    do {
        *--first = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0)
        *--first = '-';
    length = (size_t)(digits + sizeof(digits) - first);
    *to++ = mark;
    memcpy(to, first, length);
    memcpy(to + length, "\r\n", 2);
    reply->used += length + 3;
}

static void reply_head(struct reply *reply, char mark, size_t count)
{
    if (reply_reserve(reply, HEAD_MAX))
        put_number(reply, mark, (int64_t)count);
}

void reply_ok(struct reply *reply)
{
    reply_raw(reply, "+OK\r\n", 5);
}

void reply_null(struct reply *reply)
{
    reply_string(reply, reply->protocol == 2 ? "$-1\r\n" : "_\r\n");
}

void reply_integer(struct reply *reply, int64_t number)
{
    if (reply_reserve(reply, HEAD_MAX))
        put_number(reply, ':', number);
}

void reply_bulk(struct reply *reply, struct slice bytes)
{
    if (!reply_reserve(reply, HEAD_MAX + bytes.length + 2))
        return;
    put_number(reply, '$', (int64_t)bytes.length);
    reply_raw(reply, bytes.at, bytes.length);
    reply_raw(reply, "\r\n", 2);
}

void reply_bulk_string(struct reply *reply, const char *string)
{
    reply_bulk(reply, (struct slice){string, strlen(string)});
}

void reply_text(struct reply *reply, struct text *text)
{
    if (text == NULL) {
        reply_null(reply);
    } else if (text->length < TEXT_LARGE) {
        if (!reply_reserve(reply, HEAD_MAX + text->length + 2))
            return;
        put_number(reply, '$', text->length);
        memcpy(reply->bytes + reply->used, text->bytes, (size_t)text->length + 2);
        reply->used += (size_t)text->length + 2;
    } else {
        reply_head(reply, '$', text->length);
        atomic_fetch_add_explicit(&text->references, 1, memory_order_relaxed);
        reply->text = text;
    }
}

void reply_verbatim(struct reply *reply, struct slice bytes)
{
    if (reply->protocol == 2) {
        reply_bulk(reply, bytes);
        return;
    }
    reply_head(reply, '=', bytes.length + 4);
    reply_string(reply, "txt:");
    reply_raw(reply, bytes.at, bytes.length);
    reply_string(reply, "\r\n");
}

void reply_array(struct reply *reply, size_t count)
{
    reply_head(reply, '*', count);
}

void reply_map(struct reply *reply, size_t count)
{
    if (reply->protocol == 2) {
        reply_head(reply, '*', 2 * count);
    } else {
        reply_head(reply, '%', count);
    }
}

void reply_push(struct reply *reply, size_t count)
{
    reply_head(reply, reply->protocol == 2 ? '*' : '>', count);
}

void reply_error(struct reply *reply, const char *format, ...)
{
    char text[ERROR_MAX];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *c = text; *c != '\0'; c++) {
        if (*c == '\r' || *c == '\n')
            *c = ' ';
    }
    if (text[0] != '-')
        reply_string(reply, "-ERR ");
    reply_string(reply, text);
    reply_string(reply, "\r\n");
}

/* SPDX-License-Identifier: MIT */
/*
 * reply.c - answers in the words of the Redis protocol, versions 2 and 3.
 */
#include "kv.h"
#include <stdarg.h>
#include <stdio.h>

#define HEAD_SIZE  (TORC_INTEGER_TEXT_SIZE + 3) /* a mark, a number, CR LF */
#define ERROR_SIZE 1024

static char *put_head(char *to, char mark, int64_t number)
{
    *to++ = mark;
    to += torc_integer_format(number, to);
    return mempcpy(to, "\r\n", 2);
}

const char *reply_number(struct torc_buffer *reply, char mark, int64_t number)
{
    char *to = torc_buffer_reserve(reply, HEAD_SIZE);

    if (to != NULL)
        reply->used += (size_t)(put_head(to, mark, number) - to);
    return NULL;
}

const char *reply_bulk(struct torc_buffer *reply, struct slice bytes)
{
    char *to = torc_buffer_reserve(reply, HEAD_SIZE + bytes.length + 2);

    if (to != NULL) {
        to = mempcpy(put_head(to, '$', (int64_t)bytes.length), bytes.at, bytes.length);
        to = mempcpy(to, "\r\n", 2);
        reply->used = (size_t)(to - reply->bytes);
    }
    return NULL;
}

const char *reply_map(struct torc_buffer *reply, const struct client *client, int64_t pairs)
{
    return reply_number(reply, client->protocol == 2 ? '*' : '%',
                        client->protocol == 2 ? 2 * pairs : pairs);
}

const char *reply_null(const struct client *client)
{
    return client->protocol == 2 ? "$-1" : "_";
}

void reply_line(struct torc_buffer *reply, const char *line, const char *command_name)
{
    if (strchr("+-$_", line[0]) == NULL) {
        reply_error(reply, line, command_name);
    } else {
        torc_buffer_append(reply, line, strlen(line));
        torc_buffer_append(reply, "\r\n", 2);
    }
}

const char *reply_error(struct torc_buffer *reply, const char *format, ...)
{
    char text[ERROR_SIZE] = "-ERR ";
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text + 5, sizeof(text) - 5, format, arguments);
    va_end(arguments);
    for (char *at = text; (at = strpbrk(at, "\r\n")) != NULL;)
        *at = ' ';
    reply_line(reply, text, NULL);
    return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * client.c - a fiber for each client. It parses requests where they were received, and has them
 * done; when it needs more input than there is, it first writes all answers, which leave in one
 * send. So the parser is straight-line code: what it has read is on the fiber's stack.
 */
#include "kv.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_LENGTH ((size_t)64 * 1024) /* of words, or before a number's CR LF */
#define GOODBYE_TIME    (2 * TORC_SECOND)
#define GOODBYE_MAX     ((size_t)1024 * 1024) /* bytes that are read to no purpose */
#define SPANS_LEAST     64u
#define SPANS_KEPT      4096u

int client_write(struct client *client)
{
    struct reply *reply = &client->reply;
    int result = reply->failed ? -ENOMEM : 0;

    if (result == 0 && reply->used > 0)
        result = torc_stream_write(&client->stream, reply->bytes, reply->used, NULL);
    reply_reset(reply);
    return result;
}

/* ---- Input ---- */

/* Be done with all requests before this one: answer them, and give their bytes back. */
static int finish_batch(struct client *client)
{
    int result = route_batch(client);

    if (result == 0)
        result = client_write(client);
    torc_stream_consume(&client->stream, client->used);
    client->at -= client->used;
    client->used = client->length = 0;
    client->first = client->count > 0 ? client->first : 0;
    if (client->count == 0 && client->span_room > SPANS_KEPT) {
        free(client->spans);
        client->spans = NULL;
        client->span_room = 0;
    }
    return result;
}

/* Tell the client what it did, after all other answers, and see it off. */
static int fail(struct client *client, const char *error)
{
    int result = route_batch(client);

    if (result < 0)
        return result;
    (void)reply_error(&client->reply, "Protocol error: %s", error);
    client->is_closing = true;
    return -EPROTO;
}

/* Wait for `count` bytes of this request. All that was before it is finished first. */
static int wait_for(struct client *client, size_t count)
{
    const void *data;
    ssize_t length;
    int result;

    if (count > (size_t)client->shard->server->value_max + ((size_t)48 << 20))
        return fail(client, "request too large");
    result = finish_batch(client);
    torc_mutex_unlock(&client->output);
    if (result < 0)
        return result;
    length = torc_stream_peek_at_least(&client->stream, count, &data);
    if (length < (ssize_t)count)
        return length < 0 ? (int)length : -ENODATA;
    client->input = data;
    client->length = (size_t)length;
    return torc_mutex_lock(&client->output);
}

/* Have `count` bytes of this request. */
static inline int want(struct client *client, size_t count)
{
    return client->length - client->used >= count ? 0 : wait_for(client, count);
}

static int extend_spans(struct client *client)
{
    const uint32_t room = client->span_room > 0 ? 2 * client->span_room : SPANS_LEAST;
    int result = route_batch(client); /* Whose spans are about to move. */
    struct span *larger = result == 0 ? realloc(client->spans, room * sizeof(*larger)) : NULL;

    if (larger == NULL)
        return result < 0 ? result : -ENOMEM;
    client->spans = larger;
    client->span_room = room;
    return 0;
}

static inline int add_span(struct client *client, size_t from, size_t length)
{
    if (client->first + client->count == client->span_room) {
        int result = extend_spans(client);

        if (result < 0)
            return result;
    }
    client->spans[client->first + client->count++] =
        (struct span){(uint32_t)from, (uint32_t)length};
    return 0;
}

/* Read a line that consists of a mark and a number, however it comes and whatever is wrong. */
static int read_any_number(struct client *client, char mark, int64_t *ret_number)
{
    const bool is_count = mark == '*';
    char unexpected[] = "expected '$', got '?'";
    const char *line = client->input + client->at;
    const char *end;

    while ((end = memchr(line, '\r', client->length - client->at)) == NULL ||
           end + 1 == client->input + client->length) {
        int result;

        if (end == NULL && client->length - client->at > LINE_MAX_LENGTH)
            return fail(client,
                        is_count ? "too big mbulk count string" : "too big bulk count string");
        result = want(client, client->length - client->used + 1);
        if (result < 0)
            return result;
        line = client->input + client->at;
    }
    unexpected[sizeof(unexpected) - 3] = *line;
    if (*line != mark)
        return fail(client, unexpected);
    if (!parse_integer((struct slice){line + 1, (size_t)(end - line - 1)}, ret_number))
        return fail(client, is_count ? "invalid multibulk length" : "invalid bulk length");
    client->at += (size_t)(end + 2 - line);
    return 0;
}

/* The same. This is where most of parsing is done, so the usual is done here. */
static inline int read_number(struct client *client, char mark, int64_t *ret_number)
{
    const char *line = client->input + client->at;
    const size_t length = client->length - client->at;
    int64_t number = 0;
    size_t at = 1;

    for (; at < length && at < 10 && line[at] >= '0' && line[at] <= '9'; at++)
        number = 10 * number + (line[at] - '0');
    if (at == 1 || at + 1 >= length || line[0] != mark || line[at] != '\r' ||
        (line[1] == '0' && at > 2))
        return read_any_number(client, mark, ret_number);
    client->at += at + 2;
    *ret_number = number;
    return 0;
}

/* An array of bulk strings. */
static int read_array(struct client *client)
{
    const struct server *server = client->shard->server;
    int64_t length;
    int64_t count;
    int result = read_number(client, '*', &count);

    if (result == 0 && count > server->arguments_max)
        return fail(client, "invalid multibulk length");
    for (; result == 0 && count > 0; count--) {
        result = read_number(client, '$', &length);
        if (result == 0 && (length < 0 || length > server->value_max))
            return fail(client, "invalid bulk length");
        if (result == 0)
            result = want(client, client->at - client->used + (size_t)length + 2);
        if (result == 0)
            result = add_span(client, client->at - client->used, (size_t)length);
        if (result == 0)
            client->at += (size_t)length + 2;
    }
    return result;
}

/* ---- Lines of words, for people ---- */

/* What a backslash and what follows stand for; *at moves on to the last character of it. */
static char unescape(const char **at, const char *end)
{
    static const char letters[] = "n\nr\rt\tb\ba\a";
    const char *letter = letters;
    unsigned byte;

    if (end - *at > 3 && (*at)[1] == 'x' && isxdigit((unsigned char)(*at)[2]) &&
        isxdigit((unsigned char)(*at)[3]) && sscanf(*at + 2, "%2x", &byte) == 1) {
        *at += 3;
        return (char)byte;
    }
    ++*at;
    while (*letter != '\0' && *letter != **at)
        letter += 2;
    return *letter != '\0' ? letter[1] : **at;
}

/* Copy the words of a line without their quotes. */
static int split_words(struct client *client, const char *line, const char *end)
{
    int result = route_batch(client); /* Words of the line before may be part of it. */
    char *words = realloc(client->words, (size_t)(end - line) + 1);
    char *to = words;

    if (words == NULL)
        return -ENOMEM;
    client->words = words;
    for (; result == 0 && line < end; line++) {
        const char *from = to;
        char quote = '\0';

        if (isspace((unsigned char)*line))
            continue;
        for (; line < end && (quote != '\0' || !isspace((unsigned char)*line)); line++) {
            if (quote == '\0' && (*line == '"' || *line == '\'')) {
                quote = *line;
            } else if (*line == quote) {
                quote = '\0';
                if (line + 1 < end && !isspace((unsigned char)line[1]))
                    return fail(client, "unbalanced quotes in request");
            } else if (*line == '\\' && line + 1 < end &&
                       (quote == '"' || (quote == '\'' && line[1] == '\''))) {
                *to++ = quote == '"' ? unescape(&line, end) : *++line;
            } else {
                *to++ = *line;
            }
        }
        if (quote != '\0')
            return fail(client, "unbalanced quotes in request");
        result = add_span(client, (size_t)(from - words), (size_t)(to - from));
    }
    return result;
}

static int read_line(struct client *client)
{
    const char *line;
    const char *end;
    size_t length;

    while ((end = memchr(client->input + client->at, '\n', client->length - client->at)) == NULL) {
        int result;

        if (client->length - client->used > LINE_MAX_LENGTH)
            return fail(client, "too big inline request");
        client->at = client->length;
        result = want(client, client->length - client->used + 1);
        if (result < 0)
            return result;
    }
    client->at = (size_t)(end + 1 - client->input);
    line = client->input + client->used;
    length = (size_t)(end - line);
    if (length > 0 && line[length - 1] == '\r')
        length--;
    return split_words(client, line, line + strnlen(line, length));
}

/* ---- Life ---- */

/* Serve until the client goes, or is sent away. Returns 0, or what went wrong. */
static int serve(struct client *client)
{
    int result = torc_mutex_lock(&client->output);

    while (result == 0 && !client->is_closing) {
        bool is_array;

        client->first = client->call_count > 0 ? client->first + client->count : 0;
        client->count = 0;
        client->used = client->at;
        result = want(client, 1);
        if (result < 0)
            break;
        is_array = client->input[client->at] == '*';
        result = is_array ? read_array(client) : read_line(client);
        if (result == 0 && client->count > 0)
            result = route_request(client, is_array ? client->input + client->used : client->words);
    }
    return result;
}

static void enter(struct client *client)
{
    struct shard *shard = client->shard;
    const uint64_t shards = (uint64_t)shard->server->shard_count;

    client->id = ++shard->clients_ever * shards + shard->index;
    client->reply.protocol = client->pushes.protocol = 2;
    client->next = shard->clients;
    client->link = &shard->clients;
    if (client->next != NULL)
        client->next->link = &client->next;
    shard->clients = client;
    if (++shard->client_count * shards > (uint64_t)shard->server->clients_max + shards - 1) {
        (void)reply_error(&client->reply, "max number of clients reached");
        client->is_closing = true;
    }
}

static void leave(struct client *client)
{
    *client->link = client->next;
    if (client->next != NULL)
        client->next->link = client->link;
    client->shard->client_count--;
    route_finish(client);
    reply_finish(&client->reply);
    reply_finish(&client->pushes);
    reply_finish(&client->text);
    free(client->spans);
    free(client->words);
    free(client->name);
    free(client);
}

/*
 * Send what is left, and close. Closing at once while bytes arrive would make the client's system
 * throw away the last answer. All of it takes a limited time, whatever the client does.
 */
static void say_goodbye(struct client *client)
{
    struct torc_scope scope;
    size_t ignored = 0;
    const void *data;
    ssize_t count;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, GOODBYE_TIME);
    if (client->is_closing && client_write(client) == 0 &&
        torc_stream_shutdown(&client->stream) == 0) {
        while (ignored < GOODBYE_MAX && (count = torc_stream_peek(&client->stream, &data)) > 0) {
            torc_stream_consume(&client->stream, (size_t)count);
            ignored += (size_t)count;
        }
    }
    (void)torc_stream_close(&client->stream);
    (void)torc_scope_close(&scope);
}

int client_main(void *arg)
{
    struct client *client = arg;

    torc_fiber_set_name("client");
    enter(client);
    torc_scope_open(&client->scope, 0);
    (void)serve(client); /* How a client behaves is no failure of the server. */
    pubsub_leave(client);
    (void)torc_scope_close(&client->scope);
    say_goodbye(client);
    leave(client);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * client.c - a fiber for each client. It parses requests where they were received, and has them
 * done; when it needs more input than there is, it first writes all answers, which leave in one
 * send. So the parser is straight-line code: what it has read is on the fiber's stack.
 */
#include "kv.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define REQUEST_MAX     ((size_t)64 << 20) /* bytes */
#define ARGUMENTS_MAX   (1 << 20)
#define LINE_MAX_LENGTH ((size_t)64 << 10)
#define GOODBYE_TIME    (2 * TORC_SECOND)
#define ARGS_LEAST      64u

void client_write(struct client *client)
{
    struct torc_buffer *reply = &client->reply;
    int result = reply->failed ? -ENOMEM : 0;

    if (client->result >= 0 && result == 0 && reply->used > 0)
        result = torc_stream_write(client->stream, reply->bytes, reply->used, NULL);
    if (client->result >= 0 && result < 0)
        client->result = result;
    torc_buffer_reset(reply, REPLY_KEPT);
}

void client_take_pushes(struct client *client)
{
    torc_buffer_append(&client->reply, client->pushes.bytes, client->pushes.used);
    client->reply.failed |= client->pushes.failed;
    torc_buffer_reset(&client->pushes, REPLY_KEPT);
}

/* ---- Input ---- */

/* Tell the client what it did, after all other answers, and see it off. */
static void fail(struct client *client, const char *error)
{
    if (client->result != 0)
        return;
    route_batch(client);
    client_take_pushes(client);
    (void)reply_error(&client->reply, "Protocol error: %s", error);
    client->result = CLOSING;
}

/* Write answers and messages, and wait for input; again, if it is a message that comes. */
static ssize_t write_and_peek(struct client *client, size_t count, const void **ret_data)
{
    ssize_t length;

    do {
        client_take_pushes(client);
        client_write(client);
        if (client->result < 0)
            return client->result;
        torc_scope_open(&client->wait, 0);
        client->is_waiting = true;
        if (client->pushes.used > 0) /* They came during the write. */
            torc_scope_cancel(&client->wait);
        length = torc_stream_peek_at_least(client->stream, count, ret_data);
        client->is_waiting = false;
        (void)torc_scope_close(&client->wait);
    } while (length == -ECANCELED && client->pushes.used > 0);
    return length;
}

/* Wait for `count` bytes of this request. Before, all others are answered and given back. */
static bool wait_for(struct client *client, size_t count)
{
    const char *begin = client->input + client->used; /* which may move */
    const void *data;
    ssize_t length;

    if (count > REQUEST_MAX)
        fail(client, "request too large");
    if (client->result != 0)
        return false;
    route_batch(client);
    torc_stream_consume(client->stream, client->used);
    client->at -= client->used;
    client->used = client->length = 0;
    length = write_and_peek(client, count, &data);
    if (length < (ssize_t)count) {
        client->result = length < 0 ? (int)length : -ENODATA;
        return false;
    }
    for (unsigned i = client->first; data != begin && i < client->first + client->count; i++)
        client->args[i].at = (const char *)data + (client->args[i].at - begin);
    client->input = data;
    client->length = (size_t)length;
    return true;
}

/* Have `count` bytes of this request. */
static inline bool want(struct client *client, size_t count)
{
    return client->length - client->used >= count || wait_for(client, count);
}

/* Have all before a mark, and go behind that. */
static struct slice read_until(struct client *client, char mark, const char *too_long)
{
    const char *line = client->input + client->at;
    const char *end;

    while ((end = memchr(line, mark, client->length - client->at)) == NULL) {
        if (client->length - client->at > LINE_MAX_LENGTH)
            fail(client, too_long);
        if (!want(client, client->length - client->used + 1))
            return slice_of("");
        line = client->input + client->at;
    }
    client->at += (size_t)(end + 1 - line);
    return (struct slice){line, (size_t)(end - line)};
}

/* ---- Requests ---- */

/* The next argument is there. */
static inline void add_argument(struct client *client, const char *at, size_t length)
{
    if (client->first + client->count == client->arg_room) {
        struct slice *larger;

        route_batch(client); /* Whose arguments are about to move. */
        larger = reallocarray(client->args, 2 * client->arg_room + ARGS_LEAST, sizeof(*larger));
        if (larger == NULL) {
            client->result = -ENOMEM;
            return;
        }
        client->args = larger;
        client->arg_room = 2 * client->arg_room + ARGS_LEAST;
    }
    client->args[client->first + client->count++] = (struct slice){at, length};
}

/* A mark, a number, CR and any byte, however they come and whatever is wrong. */
static int64_t read_any_number(struct client *client, char mark)
{
    const bool is_count = mark == '*';
    const struct slice line = read_until(
        client, '\r', is_count ? "too big mbulk count string" : "too big bulk count string");
    char unexpected[] = "expected '$', got '?'";
    int64_t number = 0;

    unexpected[sizeof(unexpected) - 3] = line.at[0];
    if (line.at[0] != mark)
        fail(client, unexpected);
    else if (torc_integer_parse(line.at + 1, line.length - 1, &number) < 0)
        fail(client, is_count ? "invalid multibulk length" : "invalid bulk length");
    else if (want(client, client->at - client->used + 1))
        client->at++;
    return number;
}

/* The same. This is where most of parsing is done, so the usual is done here. */
static inline int64_t read_number(struct client *client, char mark)
{
    const char *line = client->input + client->at;
    const size_t length = client->length - client->at;
    int64_t number = 0;
    size_t at = 1;

    for (; at < length && at < 10 && line[at] >= '0' && line[at] <= '9'; at++)
        number = 10 * number + (line[at] - '0');
    if (at == 1 || at + 1 >= length || line[0] != mark || line[at] != '\r' ||
        (line[1] == '0' && at > 2))
        return read_any_number(client, mark);
    client->at += at + 2;
    return number;
}

static inline void read_bulk(struct client *client)
{
    const int64_t length = read_number(client, '$');

    if (length < 0 || length > (int64_t)VALUE_MAX)
        fail(client, "invalid bulk length");
    if (client->result != 0 || !want(client, client->at - client->used + (size_t)length + 2))
        return;
    add_argument(client, client->input + client->at, (size_t)length);
    client->at += (size_t)length + 2;
}

static void read_array(struct client *client)
{
    int64_t count = read_number(client, '*');

    if (count > ARGUMENTS_MAX)
        fail(client, "invalid multibulk length");
    for (; client->result == 0 && count > 0; count--)
        read_bulk(client);
}

/* A line of words, for people. */
static void read_words(struct client *client)
{
    const struct slice line = read_until(client, '\n', "too big inline request");

    /* Quotes mean nothing here. Who uses them had better know. */
    if (memchr(line.at, '"', line.length) || memchr(line.at, '\'', line.length))
        fail(client, "unbalanced quotes in request");
    for (size_t end, at = 0; client->result == 0 && at < line.length; at = end + 1) {
        while (at < line.length && isspace((unsigned char)line.at[at]))
            at++;
        for (end = at; end < line.length && memchr(" \t\r", line.at[end], 3) == NULL;)
            end++;
        if (end > at)
            add_argument(client, line.at + at, end - at);
    }
}

/* ---- Life ---- */

/* Read a request and have it done, or note in client->result why there is no more to do. */
static void serve(struct client *client)
{
    client->first = client->call_count > 0 ? client->first + client->count : 0;
    client->count = 0;
    client->used = client->at;
    if (!want(client, 1))
        return;
    if (client->input[client->at] == '*')
        read_array(client);
    else
        read_words(client);
    if (client->result == 0 && client->count > 0)
        route_request(client);
}

void client_serve(struct torc_stream *stream, void *arg)
{
    struct shard *shard = &shards[torc_shard_index()];
    struct client client = {.shard = shard, .stream = stream, .protocol = 2};

    (void)arg;
    torc_fiber_set_name("client");
    shard->client_count++;
    client.id = ++shard->clients_ever * torc_shard_count() + torc_shard_index();
    torc_scope_open(&client.scope, 0);
    while (client.result == 0)
        serve(&client);
    pubsub_leave(&client);
    client_write(&client);
    if (client.result != -ENODATA) /* Else it takes what was answered, at its own pace. */
        (void)torc_stream_linger(stream, GOODBYE_TIME);
    (void)torc_scope_close(&client.scope);
    shard->client_count--;
    route_finish(&client);
    torc_buffer_finish(&client.reply);
    torc_buffer_finish(&client.pushes);
    free(client.args);
    free(client.name);
}

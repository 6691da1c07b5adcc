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

int client_write(struct client *client)
{
    struct torc_buffer *reply = &client->reply;
    int result = reply->failed ? -ENOMEM : 0;

    if (result == 0 && reply->used > 0)
        result = torc_stream_write(client->stream, reply->bytes, reply->used, NULL);
    torc_buffer_reset(reply, REPLY_KEPT);
    return result;
}

/* ---- Input ---- */

/* Tell the client what it did, after all other answers, and see it off. */
static int fail(struct client *client, const char *error)
{
    (void)route_batch(client);
    (void)reply_error(&client->reply, "Protocol error: %s", error);
    client->is_closing = true;
    return -EPROTO;
}

/* Write answers and messages, and wait for input; again, if it is a message that comes. */
static ssize_t write_and_peek(struct client *client, size_t count, const void **ret_data)
{
    ssize_t length;

    do {
        torc_buffer_append(&client->reply, client->pushes.bytes, client->pushes.used);
        client->reply.failed |= client->pushes.failed;
        torc_buffer_reset(&client->pushes, REPLY_KEPT);
        length = client_write(client);
        if (length < 0)
            break;
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
static int wait_for(struct client *client, size_t count)
{
    const char *begin = client->input + client->used; /* which may move */
    const void *data;
    ssize_t length;
    int result;

    if (count > REQUEST_MAX)
        return fail(client, "request too large");
    result = route_batch(client);
    if (result < 0)
        return result;
    torc_stream_consume(client->stream, client->used);
    client->at -= client->used;
    client->used = client->length = 0;
    length = write_and_peek(client, count, &data);
    if (length < (ssize_t)count)
        return length < 0 ? (int)length : -ENODATA;
    for (unsigned i = client->first; i < client->first + client->count; i++)
        client->args[i].at = (const char *)data + (client->args[i].at - begin);
    client->input = data;
    client->length = (size_t)length;
    return 0;
}

/* Have `count` bytes of this request. */
static inline int want(struct client *client, size_t count)
{
    return client->length - client->used >= count ? 0 : wait_for(client, count);
}

/* Have a line, and go behind it. *ret_line is what is before its LF, or CR LF. */
static int read_line(struct client *client, const char *too_long, struct slice *ret_line)
{
    const char *line = client->input + client->at;
    const char *end;

    while ((end = memchr(line, '\n', client->length - client->at)) == NULL) {
        int result = client->length - client->at > LINE_MAX_LENGTH
                         ? fail(client, too_long)
                         : want(client, client->length - client->used + 1);

        if (result < 0)
            return result;
        line = client->input + client->at;
    }
    client->at += (size_t)(end + 1 - line);
    end -= end > line && end[-1] == '\r';
    *ret_line = (struct slice){line, (size_t)(end - line)};
    return 0;
}

/* ---- Requests ---- */

/* The next argument is there. */
static inline int add_argument(struct client *client, const char *at, size_t length)
{
    if (client->first + client->count == client->arg_room) {
        const unsigned room = 2 * client->arg_room + ARGS_LEAST;
        int result = route_batch(client); /* Whose arguments are about to move. */
        struct slice *larger = result == 0 ? realloc(client->args, room * sizeof(*larger)) : NULL;

        if (larger == NULL)
            return result < 0 ? result : -ENOMEM;
        client->args = larger;
        client->arg_room = room;
    }
    client->args[client->first + client->count++] = (struct slice){at, length};
    return 0;
}

/* A line that consists of a mark and a number, however it comes and whatever is wrong. */
static int read_any_number(struct client *client, char mark, int64_t *ret_number)
{
    const bool is_count = mark == '*';
    char unexpected[] = "expected '$', got '?'";
    struct slice line;
    int result = read_line(
        client, is_count ? "too big mbulk count string" : "too big bulk count string", &line);

    if (result < 0)
        return result;
    unexpected[sizeof(unexpected) - 3] = line.at[0];
    if (line.at[0] != mark)
        return fail(client, unexpected);
    if (line.at[line.length] != '\r' ||
        torc_integer_parse(line.at + 1, line.length - 1, ret_number) < 0)
        return fail(client, is_count ? "invalid multibulk length" : "invalid bulk length");
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

static inline int read_bulk(struct client *client)
{
    int64_t length;
    int result = read_number(client, '$', &length);

    if (result < 0)
        return result;
    if (length < 0 || length > (int64_t)VALUE_MAX)
        return fail(client, "invalid bulk length");
    result = want(client, client->at - client->used + (size_t)length + 2);
    if (result == 0)
        result = add_argument(client, client->input + client->at, (size_t)length);
    client->at += (size_t)length + 2;
    return result;
}

static int read_array(struct client *client)
{
    int64_t count;
    int result = read_number(client, '*', &count);

    if (result == 0 && count > ARGUMENTS_MAX)
        return fail(client, "invalid multibulk length");
    for (; result == 0 && count > 0; count--)
        result = read_bulk(client);
    return result;
}

/* A line of words, for people. */
static int read_words(struct client *client)
{
    struct slice line;
    int result = read_line(client, "too big inline request", &line);

    /* Quotes mean nothing here. Who uses them had better know. */
    if (result == 0 && (memchr(line.at, '"', line.length) || memchr(line.at, '\'', line.length)))
        return fail(client, "unbalanced quotes in request");
    for (size_t end, at = 0; result == 0 && at < line.length; at = end + 1) {
        for (end = at; end < line.length && !isspace((unsigned char)line.at[end]);)
            end++;
        if (end > at)
            result = add_argument(client, line.at + at, end - at);
    }
    return result;
}

/* ---- Life ---- */

/* Serve until the client goes, or is sent away. Returns 0, or what went wrong. */
static int serve(struct client *client)
{
    int result = 0;

    while (result == 0 && !client->is_closing) {
        client->first = client->call_count > 0 ? client->first + client->count : 0;
        client->count = 0;
        client->used = client->at;
        result = want(client, 1);
        if (result == 0)
            result = client->input[client->at] == '*' ? read_array(client) : read_words(client);
        if (result == 0 && client->count > 0)
            result = route_request(client);
    }
    return result;
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
    (void)serve(&client); /* How a client behaves is no failure of the server. */
    pubsub_leave(&client);
    if (client.is_closing && client_write(&client) == 0)
        (void)torc_stream_linger(stream, GOODBYE_TIME);
    (void)torc_scope_close(&client.scope);
    shard->client_count--;
    route_finish(&client);
    torc_buffer_finish(&client.reply);
    torc_buffer_finish(&client.pushes);
    free(client.args);
    free(client.name);
}

/* SPDX-License-Identifier: MIT */
/*
 * connection.c - a fiber for each connection: it reads what has come, has all requests in it done,
 * and writes all answers, which leave in one send.
 */
#include "kv.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GOODBYE_TIME (2 * TORC_SECOND)
#define GOODBYE_MAX  ((size_t)1024 * 1024) /* bytes that are read to no purpose */

int connection_write(struct connection *connection)
{
    struct reply *reply = &connection->reply;
    struct text *text = reply->text;
    int result = reply->failed ? -ENOMEM : 0;

    if (result == 0 && reply->used > 0)
        result = torc_stream_write(&connection->stream, reply->bytes, reply->used, NULL);
    if (result == 0 && text != NULL)
        result =
            torc_stream_write(&connection->stream, text->bytes, (size_t)text->length + 2, NULL);
    text_release(text);
    reply->text = NULL;
    reply->used = 0;
    return result;
}

/* ---- Input ---- */

/* Do the requests at `data`. A part of one may be left: the parser knows how it goes on. */
static int serve_input(struct connection *connection, const char *data, size_t length,
                       size_t *ret_used)
{
    struct parser *parser = &connection->parser;
    enum parse_result parsed = PARSE_EMPTY;
    size_t used = 0;
    int result = 0;

    while (result == 0 && used < length && !connection->is_closing) {
        parsed = parser_run(parser, data + used, length - used);
        if (parsed != PARSE_COMPLETE && parsed != PARSE_EMPTY)
            break;
        if (parsed == PARSE_COMPLETE) {
            const struct args args = parser_args(parser, data + used);

            result = route_request(connection, &args);
            if (result == 0 && parser->is_line) /* Whose words the next line replaces. */
                result = route_batch(connection);
        }
        used += parser_next(parser);
        if (connection->part_count == 0)
            parser_forget(parser);
    }
    if (result == 0)
        result = route_batch(connection);
    parser_forget(parser);
    if (parsed == PARSE_ERROR) {
        reply_error(&connection->reply, "%s", parser->error);
        connection->is_closing = true;
    }
    *ret_used = used;
    return result;
}

/* Serve until the client goes, or is sent away. Returns 0, or what went wrong. */
static int serve(struct connection *connection)
{
    int result = 0;

    while (result == 0 && !connection->is_closing) {
        const size_t need = connection->parser.need;
        const void *data;
        const ssize_t count = torc_stream_peek_at_least(&connection->stream, need, &data);
        size_t used = 0;

        if (count < 0)
            return (int)count;
        if ((size_t)count < need)
            return 0;
        result = torc_mutex_lock(&connection->output);
        if (result < 0)
            return result;
        result = serve_input(connection, data, (size_t)count, &used);
        if (result == 0)
            result = connection_write(connection);
        torc_mutex_unlock(&connection->output);
        torc_stream_consume(&connection->stream, used);
        if (connection->reply.room > TEXT_LARGE)
            reply_finish(&connection->reply);
    }
    return result;
}

/* ---- Life ---- */

struct connection *connection_create(struct shard *shard, int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    if (connection == NULL)
        return NULL;
    connection->shard = shard;
    connection->reply.protocol = connection->pushes.protocol = 2;
    parser_init(&connection->parser, &shard->server->options.limits);
    torc_stream_open(&connection->stream, fd);
    return connection;
}

static void enter(struct connection *connection)
{
    struct shard *shard = connection->shard;

    connection->id = ++shard->connections_ever * shard->server->shard_count + shard->index;
    connection->next = shard->connections;
    connection->link = &shard->connections;
    if (connection->next != NULL)
        connection->next->link = &connection->next;
    shard->connections = connection;
    shard->connection_count++;
}

static void leave(struct connection *connection)
{
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    connection->shard->connection_count--;
}

/*
 * Send what is left, and close. Closing at once while bytes arrive would make the client's system
 * throw away the last answer. All of it takes a limited time, whatever the client does.
 */
static void say_goodbye(struct connection *connection)
{
    struct torc_scope scope;
    size_t ignored = 0;
    const void *data;
    ssize_t count;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, GOODBYE_TIME);
    if (connection->is_closing && torc_stream_shutdown(&connection->stream) == 0) {
        while (ignored < GOODBYE_MAX &&
               (count = torc_stream_peek(&connection->stream, &data)) > 0) {
            torc_stream_consume(&connection->stream, (size_t)count);
            ignored += (size_t)count;
        }
    }
    (void)torc_stream_close(&connection->stream);
    (void)torc_scope_close(&scope);
}

static void connection_destroy(struct connection *connection)
{
    route_finish(connection);
    parser_finish(&connection->parser);
    reply_finish(&connection->reply);
    reply_finish(&connection->pushes);
    free(connection->name);
    free(connection);
}

int connection_main(void *arg)
{
    struct connection *connection = arg;
    struct shard *shard = connection->shard;
    const unsigned shards = shard->server->shard_count;
    const unsigned share = (shard->server->options.clients_max + shards - 1) / shards;

    torc_fiber_set_name("connection");
    enter(connection);
    torc_scope_open(&connection->scope, 0);
    if (shard->connection_count > share) {
        reply_error(&connection->reply, "max number of clients reached");
        connection->is_closing = connection_write(connection) == 0;
    } else {
        (void)serve(connection); /* How a client behaves is no failure of the server. */
    }
    pubsub_leave(connection);
    (void)torc_scope_close(&connection->scope);
    say_goodbye(connection);
    leave(connection);
    connection_destroy(connection);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * control.c - commands about the connection and the server. What other shards know is asked there,
 * one after the other, by torc_shard_call_each().
 */
#include "kv.h"
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The connection ---- */

int control_ping(struct connection *connection, const struct args *args)
{
    struct reply *reply = &connection->reply;

    if (args->count > 2) {
        refuse_arity(reply, "ping");
    } else if (connection->subscription_count > 0 && reply->protocol == 2) {
        reply_array(reply, 2);
        reply_bulk_string(reply, "pong");
        reply_bulk(reply, args->count == 2 ? arg(args, 1) : (struct slice){"", 0});
    } else if (args->count == 2) {
        reply_bulk(reply, arg(args, 1));
    } else {
        reply_string(reply, "+PONG\r\n");
    }
    return 0;
}

int control_echo(struct connection *connection, const struct args *args)
{
    reply_bulk(&connection->reply, arg(args, 1));
    return 0;
}

int control_quit(struct connection *connection, const struct args *args)
{
    (void)args;
    reply_ok(&connection->reply);
    connection->is_closing = true;
    return 0;
}

int control_select(struct connection *connection, const struct args *args)
{
    int64_t number;

    if (!argument_integer(args, 1, &connection->reply, &number))
        return 0;
    if (number != 0) {
        reply_error(&connection->reply, "DB index is out of range");
    } else {
        reply_ok(&connection->reply);
    }
    return 0;
}

/* ---- CLIENT ---- */

/* Give the connection a name; "" takes it away. False if that cannot be, which is said. */
static bool set_name(struct connection *connection, struct slice name)
{
    char *copy = NULL;

    for (size_t i = 0; i < name.length; i++) {
        if (name.at[i] < '!' || name.at[i] > '~') {
            reply_error(&connection->reply,
                        "Client names cannot contain spaces, newlines or special characters.");
            return false;
        }
    }
    if (name.length > 0) {
        copy = strndup(name.at, name.length);
        connection->reply.failed |= copy == NULL;
    }
    free(connection->name);
    connection->name = copy;
    return true;
}

int control_client_set_name(struct connection *connection, const struct args *args)
{
    if (set_name(connection, arg(args, 2)))
        reply_ok(&connection->reply);
    return 0;
}

int control_client_name(struct connection *connection, const struct args *args)
{
    (void)args;
    if (connection->name != NULL) {
        reply_bulk_string(&connection->reply, connection->name);
    } else {
        reply_null(&connection->reply);
    }
    return 0;
}

int control_client_id(struct connection *connection, const struct args *args)
{
    (void)args;
    reply_integer(&connection->reply, (int64_t)connection->id);
    return 0;
}

/* What library a client is made with is nice to know, but of no use here. */
int control_client_info(struct connection *connection, const struct args *args)
{
    if (argument_is(args, 2, "LIB-NAME") || argument_is(args, 2, "LIB-VER")) {
        reply_ok(&connection->reply);
    } else {
        const struct slice word = arg(args, 2);

        reply_error(&connection->reply, "Unrecognized option '%.*s'",
                    (int)strnlen(word.at, word.length), word.at);
    }
    return 0;
}

struct client_list {
    struct server *server;
    struct reply lines;
};

static int list_clients(void *arg)
{
    struct client_list *list = arg;
    const struct shard *shard = &list->server->shards[torc_shard_index()];
    const struct connection *client;

    for (client = shard->connections; client != NULL; client = client->next) {
        struct torc_address peer = {0};
        char address[TORC_ADDRESS_TEXT_SIZE] = "";
        char line[TORC_ADDRESS_TEXT_SIZE + 128];
        const int fd = torc_stream_fd(&client->stream);

        if (torc_peer_address(fd, &peer) == 0)
            (void)torc_address_format(&peer, address, sizeof(address));
        (void)snprintf(line, sizeof(line), "id=%" PRIu64 " addr=%s fd=%d name=", client->id,
                       address, fd);
        reply_string(&list->lines, line);
        reply_string(&list->lines, client->name != NULL ? client->name : "");
        (void)snprintf(line, sizeof(line), " flags=N db=0 sub=%u psub=0 resp=%u shard=%u\n",
                       client->subscription_count, client->reply.protocol, shard->index);
        reply_string(&list->lines, line);
    }
    return 0;
}

int control_client_list(struct connection *connection, const struct args *args)
{
    struct client_list list = {.server = connection->shard->server};
    int result;

    if (args->count > 2) {
        reply_error(&connection->reply, "syntax error");
        return 0;
    }
    result = torc_shard_call_each(list_clients, &list);
    reply_verbatim(&connection->reply, (struct slice){list.lines.bytes, list.lines.used});
    connection->reply.failed |= list.lines.failed;
    reply_finish(&list.lines);
    return result;
}

/* ---- HELLO ---- */

static bool read_hello(struct connection *connection, const struct args *args,
                       struct slice *ret_name)
{
    struct reply *reply = &connection->reply;

    for (unsigned i = 2; i < args->count; i++) {
        const struct slice option = arg(args, i);

        if (argument_is(args, i, "AUTH") && i + 2 < args->count) {
            if (!argument_is(args, i + 1, "default")) {
                reply_error(reply,
                            "-WRONGPASS invalid username-password pair or user is disabled.");
                return false;
            }
            i += 2; /* That user has no password, so any will do. */
        } else if (argument_is(args, i, "SETNAME") && i + 1 < args->count) {
            *ret_name = arg(args, ++i);
        } else {
            reply_error(reply, "Syntax error in HELLO option '%.*s'",
                        (int)strnlen(option.at, option.length), option.at);
            return false;
        }
    }
    return true;
}

static void greet(const struct connection *connection, struct reply *reply)
{
    reply_map(reply, 7);
    reply_bulk_string(reply, "server");
    reply_bulk_string(reply, "redis");
    reply_bulk_string(reply, "version");
    reply_bulk_string(reply, KV_REDIS_VERSION);
    reply_bulk_string(reply, "proto");
    reply_integer(reply, reply->protocol);
    reply_bulk_string(reply, "id");
    reply_integer(reply, (int64_t)connection->id);
    reply_bulk_string(reply, "mode");
    reply_bulk_string(reply, "standalone");
    reply_bulk_string(reply, "role");
    reply_bulk_string(reply, "master");
    reply_bulk_string(reply, "modules");
    reply_array(reply, 0);
}

int control_hello(struct connection *connection, const struct args *args)
{
    struct reply *reply = &connection->reply;
    int64_t protocol = reply->protocol;
    struct slice name = {NULL, 0};

    if (args->count > 1 && !parse_integer(arg(args, 1), &protocol)) {
        reply_error(reply, "Protocol version is not an integer or out of range");
        return 0;
    }
    if (protocol < 2 || protocol > 3) {
        reply_error(reply, "-NOPROTO unsupported protocol version");
        return 0;
    }
    if (!read_hello(connection, args, &name) || (name.at != NULL && !set_name(connection, name)))
        return 0;
    reply->protocol = connection->pushes.protocol = (uint8_t)protocol;
    greet(connection, reply);
    return 0;
}

/* ---- The server ---- */

struct totals {
    struct server *server;
    uint64_t clients;
    uint64_t connections;
    uint64_t requests;
    uint64_t keys;
    uint64_t mortal;
    uint64_t expired;
};

static int add_totals(void *arg)
{
    struct totals *totals = arg;
    const struct shard *shard = &totals->server->shards[torc_shard_index()];

    totals->clients += shard->connection_count;
    totals->connections += shard->connections_ever;
    totals->requests += shard->requests;
    totals->keys += shard->store.keys.count;
    totals->mortal += shard->store.mortal_count;
    totals->expired += shard->store.expired;
    return 0;
}

int control_info(struct connection *connection, const struct args *args)
{
    const struct server *server = connection->shard->server;
    struct totals totals = {.server = connection->shard->server};
    int result = torc_shard_call_each(add_totals, &totals);
    char text[1024];
    int length;

    (void)args; /* All sections are given, since there are few. */
    length = snprintf(text, sizeof(text),
                      "# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\n"
                      "torc_version:%s\r\ntorc_shards:%u\r\nprocess_id:%d\r\ntcp_port:%u\r\n"
                      "uptime_in_seconds:%" PRIu64 "\r\n\r\n"
                      "# Clients\r\nconnected_clients:%" PRIu64 "\r\n\r\n"
                      "# Stats\r\ntotal_connections_received:%" PRIu64 "\r\n"
                      "total_commands_processed:%" PRIu64 "\r\nexpired_keys:%" PRIu64 "\r\n\r\n"
                      "# Replication\r\nrole:master\r\n\r\n# Keyspace\r\n",
                      KV_REDIS_VERSION, TORC_VERSION, server->shard_count, (int)getpid(),
                      torc_address_port(&server->address),
                      ((uint64_t)now_ms() - server->started_ms) / 1000, totals.clients,
                      totals.connections, totals.requests, totals.expired);
    if (totals.keys > 0)
        length += snprintf(text + length, sizeof(text) - (size_t)length,
                           "db0:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0\r\n", totals.keys,
                           totals.mortal);
    reply_verbatim(&connection->reply, (struct slice){text, (size_t)length});
    return result;
}

static int flush_shard(void *arg)
{
    struct server *server = arg;

    store_clear(&server->shards[torc_shard_index()].store);
    return 0;
}

int control_flush(struct connection *connection, const struct args *args)
{
    int result;

    if (args->count > 2 ||
        (args->count == 2 && !argument_is(args, 1, "ASYNC") && !argument_is(args, 1, "SYNC"))) {
        reply_error(&connection->reply, "syntax error");
        return 0;
    }
    result = torc_shard_call_each(flush_shard, connection->shard->server);
    reply_ok(&connection->reply);
    return result;
}

/* The first argument that means a setting, by its name or a pattern; 0 if there is none. */
static unsigned find_pattern(const struct args *args, const char *setting)
{
    for (unsigned i = 2; i < args->count; i++) {
        const struct slice word = arg(args, i);
        char pattern[64];

        (void)snprintf(pattern, sizeof(pattern), "%.*s", (int)strnlen(word.at, word.length),
                       word.at);
        if (fnmatch(pattern, setting, FNM_CASEFOLD) == 0)
            return i;
    }
    return 0;
}

int control_config_get(struct connection *connection, const struct args *args)
{
    const struct options *options = &connection->shard->server->options;
    struct reply *reply = &connection->reply;
    struct reply found = {.protocol = reply->protocol};
    size_t count = 0;
    char clients[24];
    char value[24];
    const char *const settings[][2] = {
        {"save", ""},
        {"appendonly", "no"},
        {"databases", "1"},
        {"maxclients", clients},
        {"proto-max-bulk-len", value},
    };

    (void)snprintf(clients, sizeof(clients), "%u", options->clients_max);
    (void)snprintf(value, sizeof(value), "%zu", options->limits.argument);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        const unsigned at = find_pattern(args, settings[i][0]);

        if (at == 0)
            continue;
        count++;
        if (argument_is(args, at, settings[i][0])) { /* Then it is called as the client does. */
            reply_bulk(&found, arg(args, at));
        } else {
            reply_bulk_string(&found, settings[i][0]);
        }
        reply_bulk_string(&found, settings[i][1]);
    }
    reply_map(reply, count);
    reply_raw(reply, found.bytes, found.used);
    reply->failed |= found.failed;
    reply_finish(&found);
    return 0;
}

/* ---- COMMAND ---- */

static size_t count_commands(void)
{
    const struct command *command;
    size_t count = 0;

    for (unsigned i = 0; (command = command_at(i)) != NULL; i++)
        count += strchr(command->name, '|') == NULL;
    return count;
}

int control_command_count(struct connection *connection, const struct args *args)
{
    (void)args;
    reply_integer(&connection->reply, (int64_t)count_commands());
    return 0;
}

/* There are none: clients then show commands without a hint. */
int control_command_docs(struct connection *connection, const struct args *args)
{
    (void)args;
    reply_map(&connection->reply, 0);
    return 0;
}

static void describe(const struct command *command, struct reply *reply)
{
    const bool has_keys = command->place == BY_KEY || command->place == BY_EACH_KEY;
    const char *word = command->flags;
    size_t flags = *word != '\0';

    for (const char *c = word; *c != '\0'; c++)
        flags += *c == ' ';
    reply_array(reply, 6);
    reply_bulk_string(reply, command->name);
    reply_integer(reply, command->arity);
    reply_array(reply, flags);
    for (; flags > 0; flags--) {
        const size_t length = strcspn(word, " ");

        reply_string(reply, "+");
        reply_raw(reply, word, length);
        reply_string(reply, "\r\n");
        word += length + 1;
    }
    reply_integer(reply, has_keys);
    reply_integer(reply, command->place == BY_EACH_KEY ? -1 : has_keys);
    reply_integer(reply, command->place == BY_EACH_KEY ? (int64_t)command->step : has_keys);
}

int control_command(struct connection *connection, const struct args *args)
{
    const struct command *command;

    (void)args;
    reply_array(&connection->reply, count_commands());
    for (unsigned i = 0; (command = command_at(i)) != NULL; i++) {
        if (strchr(command->name, '|') == NULL)
            describe(command, &connection->reply);
    }
    return 0;
}

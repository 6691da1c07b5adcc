/* SPDX-License-Identifier: MIT */
/*
 * commands.c - the table of commands, and those about the client and the server.
 */
#include "kv.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define REDIS_VERSION "7.0.15" /* whose commands these are, which some clients want to know */
#define WORDS_MAX     128      /* characters of what a client said, in an error */

static command_fn run_ping, run_echo, run_quit, run_hello, run_info, run_config, run_command;
static command_fn run_client;

/* clang-format off */
static const struct command commands[] = {
    {"get",          2, run_get,         BY_KEY,    0, 0,   "readonly"},
    {"set",         -3, run_set,         BY_KEY,    0, 0,   "write"},
    {"incr",         2, run_increment,   BY_KEY,    0, 0,   "write"},
    {"expire",       3, run_expire,      BY_KEY,    0, 0,   "write"},
    {"ttl",          2, run_ttl,         BY_KEY,    0, 0,   "readonly"},
    {"mget",        -2, run_get,         BY_KEY,    1, '*', "readonly"},
    {"mset",        -3, run_set,         BY_KEY,    2, '+', "write"},
    {"del",         -2, run_delete,      BY_KEY,    1, ':', "write"},
    {"exists",      -2, run_exists,      BY_KEY,    1, ':', "readonly"},
    {"publish",      3, run_publish,     BY_ALL,    0, ':', "pubsub"},
    {"subscribe",   -2, run_subscribe,   BY_CLIENT, 0, 0,   "pubsub"},
    {"unsubscribe", -1, run_unsubscribe, BY_CLIENT, 0, 0,   "pubsub"},
    {"ping",        -1, run_ping,        BY_CLIENT, 0, 0,   "fast"},
    {"quit",        -1, run_quit,        BY_CLIENT, 0, 0,   "fast"},
    {"echo",         2, run_echo,        BY_CLIENT, 0, 0,   "fast"},
    {"hello",       -1, run_hello,       BY_CLIENT, 0, 0,   "fast"},
    {"client",      -2, run_client,      BY_CLIENT, 0, 0,   "noscript"},
    {"info",        -1, run_info,        BY_CLIENT, 0, 0,   "stale"},
    {"command",     -1, run_command,     BY_CLIENT, 0, 0,   "stale"},
    {"config",      -3, run_config,      BY_CLIENT, 0, 0,   "admin"},
};
/* clang-format on */

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

/* ---- Names ---- */

bool slice_is(struct slice slice, const char *word)
{
    return slice.length == strlen(word) && strncasecmp(slice.at, word, slice.length) == 0;
}

static const struct command *find(struct slice name)
{
    for (const struct command *command = commands; command < commands + COMMAND_COUNT; command++) {
        if (command->name[0] == (name.at[0] | 0x20) && slice_is(name, command->name))
            return command;
    }
    return NULL;
}

/* What of an argument a C string of at most `most` characters can hold. */
static int printable(struct slice word, int most)
{
    return (int)strnlen(word.at, word.length < (size_t)most ? word.length : (size_t)most);
}

static const char *refuse_subcommand(struct call *call)
{
    return reply_error(call->reply, "unknown subcommand '%.*s', or wrong number of arguments",
                       printable(call->args[1], WORDS_MAX), call->args[1].at);
}

static const char *refuse_unknown(struct call *call)
{
    char words[2 * WORDS_MAX + 8] = "";
    int used = 0;

    for (unsigned i = 1; i < call->count && used < WORDS_MAX; i++)
        used += snprintf(words + used, sizeof(words) - (size_t)used, "'%.*s' ",
                         printable(call->args[i], WORDS_MAX - used), call->args[i].at);
    return reply_error(call->reply, "unknown command '%.*s', with args beginning with: %s",
                       printable(call->args[0], WORDS_MAX), call->args[0].at, words);
}

/* Why this command cannot be run: a text in which its name may be missing; or NULL. */
static const char *refusal(const struct command *command, const struct call *call)
{
    const unsigned arity = (unsigned)abs(command->arity);
    const unsigned step = command->step > 0 ? command->step : call->count;

    if ((command->arity > 0 ? call->count != arity : call->count < arity) ||
        (command->step > 0 && (call->count - 1) % step != 0))
        return "wrong number of arguments for '%s' command";
    if (call->client->subscription_count > 0 && call->client->protocol == 2 &&
        command->run != run_subscribe && command->run != run_unsubscribe &&
        command->run != run_ping && command->run != run_quit)
        return "Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
               "are allowed in this context";
    for (unsigned i = 1; command->place == BY_KEY && i < call->count; i += step) {
        if (call->args[i].length > KEY_MAX)
            return "key of '%s' exceeds maximum allowed size (65536 bytes)";
    }
    return NULL;
}

static const char *refuse(struct call *call)
{
    const struct command *command = find(call->args[0]);

    if (command == NULL)
        return refuse_unknown(call);
    return reply_error(call->reply, refusal(command, call), command->name);
}

const struct command *command_find(const struct call *call)
{
    static const struct command refused = {.run = refuse};
    const struct command *command = find(call->args[0]);

    return command != NULL && refusal(command, call) == NULL ? command : &refused;
}

/* ---- The client ---- */

static const char *run_ping(struct call *call)
{
    if (call->count > 2)
        return "wrong number of arguments for 'ping' command";
    if (call->client->subscription_count > 0 && call->client->protocol == 2)
        torc_buffer_printf(call->reply, "*2\r\n$4\r\npong\r\n");
    else if (call->count == 1)
        return "+PONG";
    return reply_bulk(call->reply, call->count > 1 ? call->args[1] : slice_of(""));
}

static const char *run_echo(struct call *call)
{
    return reply_bulk(call->reply, call->args[1]);
}

static const char *run_quit(struct call *call)
{
    call->client->is_closing = true;
    return "+OK";
}

static const char *set_name(struct client *client, struct slice name)
{
    for (size_t i = 0; i < name.length; i++) {
        if (name.at[i] < '!' || name.at[i] > '~')
            return "Client names cannot contain spaces, newlines or special characters.";
    }
    free(client->name);
    client->name = name.length > 0 ? strndup(name.at, name.length) : NULL;
    return "+OK";
}

static const char *run_client(struct call *call)
{
    struct client *client = call->client;

    if (slice_is(call->args[1], "SETNAME") && call->count == 3)
        return set_name(client, call->args[2]);
    if (slice_is(call->args[1], "ID") && call->count == 2)
        return reply_number(call->reply, ':', (int64_t)client->id);
    if (!slice_is(call->args[1], "GETNAME") || call->count > 2)
        return refuse_subcommand(call);
    return client->name != NULL ? reply_bulk(call->reply, slice_of(client->name))
                                : reply_null(client);
}

static const char *run_hello(struct call *call)
{
    int64_t protocol = call->client->protocol;

    if (call->count > 1 && !slice_is_number(call->args[1], &protocol))
        return "Protocol version is not an integer or out of range";
    if (protocol < 2 || protocol > 3)
        return "-NOPROTO unsupported protocol version";
    if (call->count > 2)
        return reply_error(call->reply, "Syntax error in HELLO option '%.*s'",
                           printable(call->args[2], WORDS_MAX), call->args[2].at);
    call->client->protocol = (int)protocol;
    reply_map(call->reply, call->client, 7);
    torc_buffer_printf(call->reply,
                       "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n" REDIS_VERSION "\r\n"
                       "$5\r\nproto\r\n:%d\r\n$2\r\nid\r\n:%" PRIu64 "\r\n$4\r\nmode\r\n"
                       "$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
                       call->client->protocol, call->client->id);
    return NULL;
}

/* ---- The server ---- */

/* On each shard, one after the other. */
static int add_totals(void *arg)
{
    struct shard *totals = arg; /* of which only the numbers mean something */
    const struct shard *shard = &shards[torc_shard_index()];

    totals->client_count += shard->client_count;
    totals->requests += shard->requests;
    totals->expired += shard->expired;
    totals->key_count += shard->key_count;
    totals->mortal_count += shard->mortal_count;
    return 0;
}

static const char *run_info(struct call *call)
{
    struct shard totals = {0};
    char text[512];

    call->reply->failed |= torc_shard_call_each(add_totals, &totals) < 0;
    (void)snprintf(text, sizeof(text),
                   "# Server\r\nredis_version:" REDIS_VERSION "\r\ntorc_version:" TORC_VERSION
                   "\r\ntorc_shards:%u\r\n\r\n# Clients\r\nconnected_clients:%" PRIu64
                   "\r\n\r\n# Stats\r\ntotal_commands_processed:%" PRIu64
                   "\r\nexpired_keys:%" PRIu64
                   "\r\n\r\n# Keyspace\r\ndb0:keys=%zu,expires=%zu,avg_ttl=0\r\n",
                   torc_shard_count(), totals.client_count, totals.requests, totals.expired,
                   totals.key_count, totals.mortal_count);
    if (call->client->protocol == 2)
        return reply_bulk(call->reply, slice_of(text));
    torc_buffer_printf(call->reply, "=%zu\r\ntxt:%s\r\n", strlen(text) + 4, text);
    return NULL;
}

static const char *run_command(struct call *call)
{
    if (call->count > 1 && slice_is(call->args[1], "DOCS"))
        return reply_map(call->reply, call->client, 0); /* Clients then show no hints. */
    if (call->count > 1 && !slice_is(call->args[1], "COUNT"))
        return refuse_subcommand(call);
    reply_number(call->reply, call->count == 1 ? '*' : ':', COMMAND_COUNT);
    for (unsigned i = 0; call->count == 1 && i < COMMAND_COUNT; i++) {
        const struct command *command = &commands[i];
        const int first = command->place == BY_KEY;

        torc_buffer_printf(
            call->reply, "*6\r\n$%zu\r\n%s\r\n:%d\r\n*1\r\n+%s\r\n:%d\r\n:%d\r\n:%u\r\n",
            strlen(command->name), command->name, command->arity, command->flag, first,
            command->step > 0 ? -1 : first, command->step > 0 ? command->step : (unsigned)first);
    }
    return NULL;
}

/* CONFIG GET. redis-benchmark prints some settings; here everything has its only value. */
static const char *run_config(struct call *call)
{
    if (!slice_is(call->args[1], "GET") || call->count > 3)
        return refuse_subcommand(call);
    reply_map(call->reply, call->client, 1);
    reply_bulk(call->reply, call->args[2]);
    return reply_bulk(call->reply, slice_of(slice_is(call->args[2], "appendonly") ? "no" : ""));
}

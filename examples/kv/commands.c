/* SPDX-License-Identifier: MIT */
/*
 * commands.c - the table of commands, and those about the client and the server.
 */
#include "kv.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/param.h>

#define REDIS_VERSION "7.0.15" /* whose commands these are, which some clients want to know */
#define WORDS_MAX     128u     /* characters of what a client said, in an error */
#define WRONG_COUNT   "wrong number of arguments for '%s' command"

static command_fn run_ping, run_echo, run_quit, run_hello;
static command_fn run_client_id, run_client_getname, run_client_setname;
static command_fn run_info, run_command, run_config_get, run_unknown, run_unknown_word;

/* clang-format off */
static const struct command commands[] = {
    {"get",          2, run_get,         BY_KEY,    0, 0,   "readonly", false},
    {"set",         -3, run_set,         BY_KEY,    0, 0,   "write",    false},
    {"incr",         2, run_increment,   BY_KEY,    0, 0,   "write",    false},
    {"expire",       3, run_expire,      BY_KEY,    0, 0,   "write",    false},
    {"ttl",          2, run_ttl,         BY_KEY,    0, 0,   "readonly", false},
    {"mget",        -2, run_get,         BY_KEY,    1, '*', "readonly", false},
    {"mset",        -3, run_set,         BY_KEY,    2, '+', "write",    false},
    {"del",         -2, run_delete,      BY_KEY,    1, ':', "write",    false},
    {"exists",      -2, run_exists,      BY_KEY,    1, ':', "readonly", false},
    {"publish",      3, run_publish,     BY_ALL,    0, ':', "pubsub",   false},
    {"subscribe",   -2, run_subscribe,   BY_CLIENT, 0, 0,   "pubsub",   true},
    {"unsubscribe", -1, run_unsubscribe, BY_CLIENT, 0, 0,   "pubsub",   true},
    {"ping",        -1, run_ping,        BY_CLIENT, 0, 0,   "fast",     true},
    {"quit",        -1, run_quit,        BY_CLIENT, 0, 0,   "fast",     true},
    {"echo",         2, run_echo,        BY_CLIENT, 0, 0,   "fast",     false},
    {"hello",       -1, run_hello,       BY_CLIENT, 0, 0,   "fast",     false},
    {"info",        -1, run_info,        BY_CLIENT, 0, 0,   "stale",    false},
    {"command",     -1, run_command,     BY_CLIENT, 0, 0,   "stale",    false},
    {"client",      -2, run_unknown_word, BY_CLIENT, 0, 0,  "noscript", true},
    {"config",      -2, run_unknown_word, BY_CLIENT, 0, 0,  "admin",    true},
};

/* Those of two words. */
static const struct command subcommands[] = {
    {"client|id",      2, run_client_id,      BY_CLIENT, 0, 0, NULL, false},
    {"client|getname", 2, run_client_getname, BY_CLIENT, 0, 0, NULL, false},
    {"client|setname", 3, run_client_setname, BY_CLIENT, 0, 0, NULL, false},
    {"config|get",     3, run_config_get,     BY_CLIENT, 0, 0, NULL, false},
};
/* clang-format on */

#define COMMAND_COUNT    (sizeof(commands) / sizeof(commands[0]))
#define SUBCOMMAND_COUNT (sizeof(subcommands) / sizeof(subcommands[0]))

/* ---- Names ---- */

bool slice_is(struct slice slice, const char *word)
{
    return slice.length == strlen(word) && strncasecmp(slice.at, word, slice.length) == 0;
}

/* The one of two words that is meant; the command itself, which says so, if there is none. */
static const struct command *subcommand_find(const struct command *command, struct slice word)
{
    const size_t length = strlen(command->name);

    for (const struct command *at = subcommands; at < subcommands + SUBCOMMAND_COUNT; at++) {
        if (strncmp(at->name, command->name, length) == 0 && slice_is(word, at->name + length + 1))
            return at;
    }
    return command;
}

const struct command *command_find(const struct slice *args, unsigned count)
{
    static const struct command unknown = {.arity = -1, .run = run_unknown, .always = true};

    for (const struct command *command = commands; command < commands + COMMAND_COUNT; command++) {
        if (command->name[0] == (args->at[0] | 0x20) && slice_is(args[0], command->name)) {
            const bool has_word = command->run == run_unknown_word && count > 1;

            return has_word ? subcommand_find(command, args[1]) : command;
        }
    }
    return &unknown;
}

const char *command_refuse(const struct call *call)
{
    const struct command *command = call->command;
    const unsigned arity = (unsigned)abs(command->arity);
    const unsigned step = command->step > 0 ? command->step : call->count;

    if (command->arity > 0 ? call->count != arity : call->count < arity)
        return WRONG_COUNT;
    if (call->client->subscription_count > 0 && call->client->protocol == 2 && !command->always)
        return "Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
               "are allowed in this context";
    if (command->step > 0 && (call->count - 1) % step != 0)
        return WRONG_COUNT;
    for (unsigned i = 1; command->place == BY_KEY && i < call->count; i += step) {
        if (call->args[i].length > KEY_MAX)
            return "key of '%s' exceeds maximum allowed size (65536 bytes)";
    }
    return NULL;
}

static const char *run_unknown(struct call *call)
{
    char words[2 * WORDS_MAX + 8] = "";
    size_t used = 0;

    for (unsigned i = 1; i < call->count && used < WORDS_MAX; i++)
        used +=
            (size_t)snprintf(words + used, sizeof(words) - used, "'%.*s' ",
                             (int)MIN(call->args[i].length, WORDS_MAX - used), call->args[i].at);
    return reply_error(call->reply, "unknown command '%.*s', with args beginning with: %s",
                       (int)MIN(call->args[0].length, WORDS_MAX), call->args[0].at, words);
}

static const char *run_unknown_word(struct call *call)
{
    char name[WORDS_MAX] = "";

    for (unsigned i = 0; call->command->name[i] != '\0'; i++)
        name[i] = (char)toupper((unsigned char)call->command->name[i]);
    return reply_error(call->reply, "unknown subcommand '%.*s'. Try %s HELP.",
                       (int)MIN(call->args[1].length, WORDS_MAX), call->args[1].at, name);
}

/* ---- The client ---- */

static const char *run_ping(struct call *call)
{
    if (call->count > 2)
        return WRONG_COUNT;
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
    pubsub_leave(call->client); /* No more messages are for it. */
    call->client->result = CLOSING;
    return "+OK";
}

static const char *run_client_id(struct call *call)
{
    return reply_number(call->reply, ':', (int64_t)call->client->id);
}

static const char *run_client_getname(struct call *call)
{
    const struct client *client = call->client;

    return client->name != NULL && client->name[0] != '\0'
               ? reply_bulk(call->reply, slice_of(client->name))
               : reply_null(client);
}

/* Returns what CLIENT SETNAME answers. */
static const char *set_name(struct client *client, struct slice name)
{
    for (size_t i = 0; i < name.length; i++) {
        if (name.at[i] < '!' || name.at[i] > '~')
            return "Client names cannot contain spaces, newlines or special characters.";
    }
    free(client->name);
    client->name = strndup(name.at, name.length);
    client->reply.failed |= client->name == NULL;
    return "+OK";
}

static const char *run_client_setname(struct call *call)
{
    return set_name(call->client, call->args[2]);
}

static const char *run_hello(struct call *call)
{
    int64_t protocol = call->client->protocol;
    const char *line = "+";

    if (call->count > 1 &&
        torc_integer_parse(call->args[1].at, call->args[1].length, &protocol) < 0)
        return "Protocol version is not an integer or out of range";
    if (protocol < 2 || protocol > 3)
        return "-NOPROTO unsupported protocol version";
    for (unsigned i = 2; line[0] == '+' && i < call->count; i++) {
        const struct slice option = call->args[i];

        if (slice_is(option, "AUTH") && i + 2 < call->count) {
            if (!slice_equals(call->args[i + 1], slice_of("default"))) /* Who has no password. */
                line = "-WRONGPASS invalid username-password pair or user is disabled.";
            i += 2;
        } else if (slice_is(option, "SETNAME") && i + 1 < call->count) {
            line = set_name(call->client, call->args[++i]);
        } else {
            return reply_error(call->reply, "Syntax error in HELLO option '%.*s'",
                               (int)MIN(option.length, WORDS_MAX), option.at);
        }
    }
    if (line[0] != '+')
        return line;
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
    totals->key_count += shard->key_count;
    totals->mortal_count += shard->mortal_count;
    return 0;
}

static const char *run_info(struct call *call)
{
    struct shard totals = {0};
    char text[256];

    call->reply->failed |= torc_shard_call_each(add_totals, &totals) < 0;
    (void)snprintf(text, sizeof(text),
                   "# Server\r\nredis_version:" REDIS_VERSION "\r\n\r\n"
                   "# Clients\r\nconnected_clients:%" PRIu64 "\r\n\r\n"
                   "# Keyspace\r\ndb0:keys=%zu,expires=%zu,avg_ttl=0\r\n",
                   totals.client_count, totals.key_count, totals.mortal_count);
    return reply_bulk(call->reply, slice_of(text));
}

static const char *run_command(struct call *call)
{
    if (call->count > 1)
        return run_unknown_word(call);
    reply_number(call->reply, '*', COMMAND_COUNT);
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        const struct command *command = &commands[i];
        const int first = command->place == BY_KEY;

        torc_buffer_printf(
            call->reply, "*6\r\n$%zu\r\n%s\r\n:%d\r\n*1\r\n+%s\r\n:%d\r\n:%d\r\n:%u\r\n",
            strlen(command->name), command->name, command->arity, command->flag, first,
            command->step > 0 ? -1 : first, command->step > 0 ? command->step : (unsigned)first);
    }
    return NULL;
}

/* CONFIG GET, as redis-benchmark asks for settings, of which there are none. */
static const char *run_config_get(struct call *call)
{
    reply_map(call->reply, call->client, 1);
    reply_bulk(call->reply, call->args[2]);
    return reply_bulk(call->reply, slice_of(""));
}

/* SPDX-License-Identifier: MIT */
/*
 * commands.c - the table of commands, and those about the client and the server. What other shards
 * know is asked there, one after the other, by torc_shard_call_each().
 */
#include "kv.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define REDIS_VERSION "7.0.15" /* whose commands these are, which some clients want to know */
#define WORDS_MAX     128      /* characters of what a client said, in an error */

static command_fn run_ping, run_echo, run_quit, run_select, run_hello, run_info, run_config_get;
static command_fn run_command, run_command_count, run_command_docs, run_client_id, run_client_list;
static command_fn run_client_name, run_client_set_name;

/* clang-format off */
static const struct command commands[] = {
    {"get",             2, run_get,             BY_KEY,      0,   0,    "readonly"},
    {"set",            -3, run_set,             BY_KEY,      0,   0,    "write"},
    {"append",          3, run_append,          BY_KEY,      0,   0,    "write"},
    {"strlen",          2, run_length,          BY_KEY,      0,   0,    "readonly"},
    {"incr",            2, run_add,             BY_KEY,      0,   1,    "write"},
    {"decr",            2, run_add,             BY_KEY,      0,   -1,   "write"},
    {"incrby",          3, run_add,             BY_KEY,      0,   1,    "write"},
    {"decrby",          3, run_add,             BY_KEY,      0,   -1,   "write"},
    {"expire",         -3, run_expire,          BY_KEY,      0,   1000, "write"},
    {"pexpire",        -3, run_expire,          BY_KEY,      0,   1,    "write"},
    {"ttl",             2, run_ttl,             BY_KEY,      0,   1000, "readonly"},
    {"pttl",            2, run_ttl,             BY_KEY,      0,   1,    "readonly"},
    {"persist",         2, run_persist,         BY_KEY,      0,   0,    "write"},
    {"mget",           -2, run_get,             BY_EACH_KEY, '*', 1,    "readonly"},
    {"mset",           -3, run_set_one,         BY_EACH_KEY, 0,   2,    "write"},
    {"del",            -2, run_delete,          BY_EACH_KEY, ':', 1,    "write"},
    {"unlink",         -2, run_delete,          BY_EACH_KEY, ':', 1,    "write"},
    {"exists",         -2, run_exists,          BY_EACH_KEY, ':', 1,    "readonly"},
    {"dbsize",          1, run_count,           BY_ALL,      ':', 0,    "readonly"},
    {"publish",         3, run_publish,         BY_ALL,      ':', 0,    "pubsub"},
    {"flushall",       -1, run_flush,           BY_ALL,      0,   0,    "write"},
    {"flushdb",        -1, run_flush,           BY_ALL,      0,   0,    "write"},
    {"subscribe",      -2, run_subscribe,       BY_CLIENT,   0,   0,    "pubsub"},
    {"unsubscribe",    -1, run_unsubscribe,     BY_CLIENT,   0,   0,    "pubsub"},
    {"ping",           -1, run_ping,            BY_CLIENT,   0,   0,    "fast"},
    {"echo",            2, run_echo,            BY_CLIENT,   0,   0,    "fast"},
    {"select",          2, run_select,          BY_CLIENT,   0,   0,    "fast"},
    {"quit",           -1, run_quit,            BY_CLIENT,   0,   0,    "fast"},
    {"hello",          -1, run_hello,           BY_CLIENT,   0,   0,    "fast"},
    {"info",           -1, run_info,            BY_CLIENT,   0,   0,    "stale"},
    {"command",        -1, run_command,         BY_CLIENT,   0,   0,    "stale"},
    {"command|count",   2, run_command_count,   BY_CLIENT,   0,   0,    "stale"},
    {"command|docs",   -2, run_command_docs,    BY_CLIENT,   0,   0,    "stale"},
    {"config",         -2, NULL,                BY_CLIENT,   0,   0,    "admin"},
    {"config|get",     -3, run_config_get,      BY_CLIENT,   0,   0,    "admin"},
    {"client",         -2, NULL,                BY_CLIENT,   0,   0,    "noscript"},
    {"client|id",       2, run_client_id,       BY_CLIENT,   0,   0,    "noscript"},
    {"client|list",    -2, run_client_list,     BY_ALL,      '$', 0,    "admin"},
    {"client|getname",  2, run_client_name,     BY_CLIENT,   0,   0,    "noscript"},
    {"client|setname",  3, run_client_set_name, BY_CLIENT,   0,   0,    "noscript"},
};
/* clang-format on */

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

/* ---- Names ---- */

/* What of an argument a C string of at most `most` characters can hold. */
static int printable(struct slice word, int most)
{
    return (int)strnlen(word.at, word.length < (size_t)most ? word.length : (size_t)most);
}

static bool is_word(struct slice slice, const char *word)
{
    return slice.length == strlen(word) && strncasecmp(slice.at, word, slice.length) == 0;
}

bool arg_is(const struct call *call, unsigned index, const char *word)
{
    return is_word(arg(call, index), word);
}

static const struct command *find_name(struct slice name)
{
    for (const struct command *command = commands; command < commands + COMMAND_COUNT; command++) {
        if (command->name[0] == (name.at[0] | 0x20) && is_word(name, command->name))
            return command;
    }
    return NULL;
}

/* The command with this name, or subcommand with these two, whatever else is there. */
static const struct command *find(const struct call *call, bool by_first_only)
{
    const struct slice first = arg(call, 0);
    const struct command *command = find_name(first);
    char name[32];

    if (command == NULL || command->place == BY_KEY)
        return command;
    if (strchr(command->name, '|') != NULL)
        return NULL; /* Not how it is called. */
    if (by_first_only || call->count < 2 || (command->run != NULL && command->run != run_command))
        return command;
    (void)snprintf(name, sizeof(name), "%s|%.*s", command->name, printable(arg(call, 1), 20),
                   arg(call, 1).at);
    return find_name((struct slice){name, first.length + 1 + arg(call, 1).length});
}

const struct command *command_find(const struct call *call)
{
    const struct command *command = find(call, false);

    if (command == NULL || command->arity == (int)call->count)
        return command;
    if (command->arity > 0 || call->count < (unsigned)-command->arity)
        return NULL;
    if (command->place == BY_EACH_KEY && (call->count - 1) % (unsigned)command->number != 0)
        return NULL;
    return command;
}

void command_refuse(struct call *call)
{
    const struct command *command = find(call, false);
    char words[2 * WORDS_MAX + 8] = "";
    int used = 0;

    if (command != NULL) {
        (void)reply_error(call->reply, "wrong number of arguments for '%s' command", command->name);
    } else if ((command = find(call, true)) != NULL) {
        for (; command->name[used] != '\0'; used++)
            words[used] = (char)toupper((unsigned char)command->name[used]);
        (void)reply_error(call->reply, "unknown subcommand '%.*s'. Try %s HELP.",
                          printable(arg(call, 1), WORDS_MAX), arg(call, 1).at, words);
    } else {
        for (unsigned i = 1; i < call->count && used < WORDS_MAX; i++)
            used += snprintf(words + used, sizeof(words) - (size_t)used, "'%.*s' ",
                             printable(arg(call, i), WORDS_MAX - used), arg(call, i).at);
        (void)reply_error(call->reply, "unknown command '%.*s', with args beginning with: %s",
                          printable(arg(call, 0), WORDS_MAX), arg(call, 0).at, words);
    }
}

bool parse_integer(struct slice text, int64_t *ret_number)
{
    const bool is_negative = text.length > 0 && text.at[0] == '-';
    int64_t number = 0;
    size_t at = is_negative;

    if (at == text.length || (text.at[at] == '0' && text.length > 1))
        return false;
    for (; at < text.length; at++) {
        const int digit = text.at[at] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, is_negative ? -digit : digit, &number))
            return false;
    }
    *ret_number = number;
    return true;
}

/* ---- COMMAND ---- */

static const char *run_command_count(struct call *call)
{
    int64_t count = 0;

    for (unsigned i = 0; i < COMMAND_COUNT; i++)
        count += strchr(commands[i].name, '|') == NULL;
    reply_number(call->reply, call->count == 1 ? '*' : ':', count);
    return NULL;
}

static const char *run_command_docs(struct call *call)
{
    reply_map(call->reply, 0); /* There are none: clients then show commands without a hint. */
    return NULL;
}

static const char *run_command(struct call *call)
{
    (void)run_command_count(call);
    for (const struct command *command = commands; command < commands + COMMAND_COUNT; command++) {
        const int has_keys = command->place == BY_KEY || command->place == BY_EACH_KEY;
        const bool has_many = command->place == BY_EACH_KEY;

        if (strchr(command->name, '|') != NULL)
            continue;
        reply_printf(call->reply, "*6\r\n$%zu\r\n%s\r\n:%d\r\n*1\r\n+%s\r\n:%d\r\n:%d\r\n:%d\r\n",
                     strlen(command->name), command->name, command->arity, command->flag, has_keys,
                     has_many ? -1 : has_keys, has_many ? command->number : has_keys);
    }
    return NULL;
}

/* ---- The client ---- */

static const char *run_ping(struct call *call)
{
    const struct slice text = call->count > 1 ? arg(call, 1) : (struct slice){"", 0};

    if (call->count > 2)
        return "wrong number of arguments for 'ping' command";
    if (call->client->subscription_count > 0 && call->reply->protocol == 2) {
        reply_printf(call->reply, "*2\r\n$4\r\npong\r\n");
    } else if (call->count == 1) {
        return "+PONG";
    }
    reply_bulk(call->reply, text.at, text.length);
    return NULL;
}

static const char *run_echo(struct call *call)
{
    reply_bulk(call->reply, arg(call, 1).at, arg(call, 1).length);
    return NULL;
}

static const char *run_quit(struct call *call)
{
    call->client->is_closing = true;
    return "+OK";
}

static const char *run_select(struct call *call)
{
    int64_t number;

    if (!parse_integer(arg(call, 1), &number))
        return NOT_AN_INTEGER;
    return number == 0 ? "+OK" : "DB index is out of range";
}

/* Give the client a name; "" takes it away. */
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

static const char *run_client_set_name(struct call *call)
{
    return set_name(call->client, arg(call, 2));
}

static const char *run_client_name(struct call *call)
{
    if (call->client->name == NULL) {
        reply_null(call->reply);
    } else {
        reply_bulk(call->reply, call->client->name, strlen(call->client->name));
    }
    return NULL;
}

static const char *run_client_id(struct call *call)
{
    reply_number(call->reply, ':', (int64_t)call->client->id);
    return NULL;
}

static const char *run_hello(struct call *call)
{
    int64_t protocol = call->reply->protocol;
    struct slice name = {NULL, 0};
    const char *said = "+OK";

    if (call->count > 1 && !parse_integer(arg(call, 1), &protocol))
        return "Protocol version is not an integer or out of range";
    if (protocol < 2 || protocol > 3)
        return "-NOPROTO unsupported protocol version";
    for (unsigned i = 2; i < call->count; i++) {
        if (arg_is(call, i, "AUTH") && i + 2 < call->count) {
            if (!arg_is(call, i + 1, "default")) /* Who has no password, so any will do. */
                return "-WRONGPASS invalid username-password pair or user is disabled.";
            i += 2;
        } else if (arg_is(call, i, "SETNAME") && i + 1 < call->count) {
            name = arg(call, ++i);
        } else {
            return reply_error(call->reply, "Syntax error in HELLO option '%.*s'",
                               printable(arg(call, i), WORDS_MAX), arg(call, i).at);
        }
    }
    if (name.at != NULL)
        said = set_name(call->client, name);
    if (said[0] != '+')
        return said;
    call->reply->protocol = call->client->pushes.protocol = (int)protocol;
    reply_map(call->reply, 7);
    reply_printf(call->reply,
                 "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n" REDIS_VERSION "\r\n"
                 "$5\r\nproto\r\n:%d\r\n$2\r\nid\r\n:%" PRIu64 "\r\n$4\r\nmode\r\n"
                 "$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
                 (int)protocol, call->client->id);
    return NULL;
}

/* ---- The server ---- */

static int add_totals(void *arg)
{
    struct shard *totals = arg;
    const struct shard *shard = &totals->server->shards[torc_shard_index()];

    totals->client_count += shard->client_count;
    totals->clients_ever += shard->clients_ever;
    totals->requests += shard->requests;
    totals->keys.count += shard->keys.count;
    totals->mortal_count += shard->mortal_count;
    totals->expired += shard->expired;
    return 0;
}

static const char *run_info(struct call *call)
{
    const struct server *server = call->shard->server;
    struct shard totals = {.server =
                               call->shard->server}; /* of which only numbers mean something */
    struct reply text = {.failed = torc_shard_call_each(add_totals, &totals) < 0};

    reply_printf(&text,
                 "# Server\r\nredis_version:" REDIS_VERSION "\r\nredis_mode:standalone\r\n"
                 "torc_version:" TORC_VERSION "\r\ntorc_shards:%" PRId64 "\r\nprocess_id:%d\r\n"
                 "tcp_port:%u\r\nuptime_in_seconds:%" PRId64 "\r\n\r\n"
                 "# Clients\r\nconnected_clients:%" PRIu64 "\r\n\r\n"
                 "# Stats\r\ntotal_connections_received:%" PRIu64 "\r\n"
                 "total_commands_processed:%" PRIu64 "\r\nexpired_keys:%" PRIu64 "\r\n\r\n"
                 "# Replication\r\nrole:master\r\n\r\n# Keyspace\r\n",
                 server->shard_count, (int)getpid(), torc_address_port(&server->address),
                 (now_ms() - server->started_ms) / 1000, totals.client_count, totals.clients_ever,
                 totals.requests, totals.expired);
    if (totals.keys.count > 0)
        reply_printf(&text, "db0:keys=%zu,expires=%zu,avg_ttl=0\r\n", totals.keys.count,
                     totals.mortal_count);
    reply_text(call->reply, &text);
    return NULL;
}

static const char *run_client_list(struct call *call)
{
    const struct client *client = call->count > 2 ? NULL : call->shard->clients;

    for (; client != NULL; client = client->next) {
        const int fd = torc_stream_fd(&client->stream);
        char address[TORC_ADDRESS_TEXT_SIZE] = "";
        struct torc_address peer = {.length = sizeof(peer.storage)};

        if (getpeername(fd, &peer.any, &peer.length) == 0)
            (void)torc_address_format(&peer, address, sizeof(address));
        reply_printf(call->reply,
                     "id=%" PRIu64 " addr=%s fd=%d name=%s flags=N db=0 sub=%u psub=0 resp=%d "
                     "shard=%u\n",
                     client->id, address, fd, client->name != NULL ? client->name : "",
                     client->subscription_count, client->reply.protocol, call->shard->index);
    }
    return call->count > 2 ? "syntax error" : NULL;
}

static const char *run_config_get(struct call *call)
{
    const struct server *server = call->shard->server;
    const struct {
        const char *name;
        int64_t value; /* negative: a word */
        const char *word;
    } settings[] = {{"save", -1, ""},
                    {"appendonly", -1, "no"},
                    {"databases", 1, NULL},
                    {"maxclients", server->clients_max, NULL},
                    {"proto-max-bulk-len", server->value_max, NULL}};
    struct reply found = {0};
    int64_t count = 0;
    char value[24];

    for (unsigned k = 0; k < 5; k++) {
        unsigned i = 2;

        while (i < call->count && !arg_is(call, i, settings[k].name))
            i++;
        if (i == call->count)
            continue;
        count++;
        (void)snprintf(value, sizeof(value), "%" PRId64, settings[k].value);
        if (settings[k].word != NULL)
            (void)snprintf(value, sizeof(value), "%s", settings[k].word);
        reply_bulk(&found, arg(call, i).at, arg(call, i).length); /* as the client calls it */
        reply_bulk(&found, value, strlen(value));
    }
    reply_map(call->reply, count);
    reply_raw(call->reply, found.bytes, found.used);
    reply_finish(&found);
    return NULL;
}

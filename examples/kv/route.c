/* SPDX-License-Identifier: MIT */
/*
 * route.c - requests to the shards that own their keys, and the answers in order.
 *
 * Of the requests that a client sent in one go, all that concerns another shard's keys makes one
 * errand there: that shard's loop runs all of them, one after the other, while the client's fiber
 * waits. Errands to several shards are under way at the same time. Then the answers are put in
 * their order, and only now is done what the own shard is asked.
 *
 *     GET a; SET b 1; MGET c d          calls     errands
 *                                       GET a     shard 0: GET a, GET d
 *                                       SET b 1   shard 1: SET b 1, GET c
 *                                       GET c
 *                                       GET d
 *
 * What the own shard is asked while nothing waits is done at once: with one shard, everything.
 */
#include "kv.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_COUNT 16384u
#define BATCH_MAX  256u                /* calls */
#define LARGE      ((size_t)64 * 1024) /* bytes of answers that are written before there are more */

/* Calls that wait, and where others answer them. */
struct batch {
    struct call calls[BATCH_MAX];
    struct reply replies[BATCH_MAX];
};

/* ---- Whose key it is ---- */

/* CRC-16/XMODEM, four bits at a time. */
static unsigned crc16(struct slice bytes)
{
    static const uint16_t table[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5,
                                       0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b,
                                       0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    unsigned crc = 0;

    for (size_t i = 0; i < bytes.length; i++) {
        const unsigned byte = (unsigned char)bytes.at[i];

        crc = (crc << 4 ^ table[(crc >> 12 ^ byte >> 4) & 15]) & 0xffff;
        crc = (crc << 4 ^ table[(crc >> 12 ^ byte) & 15]) & 0xffff;
    }
    return crc;
}

/* Of a key with a {tag} only that counts, so that one may put keys on the same shard. */
static unsigned owner_of(const struct server *server, struct slice key)
{
    const char *const end = key.at + key.length;
    const char *open;
    const char *close;

    if (server->shard_count == 1)
        return 0;
    open = memchr(key.at, '{', key.length);
    close = open != NULL ? memchr(open, '}', (size_t)(end - open)) : NULL;
    if (close != NULL && close > open + 1)
        key = (struct slice){open + 1, (size_t)(close - open - 1)};
    return crc16(key) % SLOT_COUNT * (unsigned)server->shard_count / SLOT_COUNT;
}

/* ---- Calls ---- */

static inline void run(struct call *call, struct shard *shard)
{
    call->shard = shard;
    call->number = 0;
    call->said = call->command->run(call);
}

/* What all parts of a request say together. */
static void conclude(struct client *client, char kind)
{
    struct reply *reply = &client->reply;
    const char *said = client->said;

    if (said != NULL && (said[0] == '+' || said[0] == '-')) {
        reply_string(reply, said);
        reply_string(reply, "\r\n");
    } else if (said != NULL) {
        (void)reply_error(reply, "%s", said);
    } else if (kind == ':') {
        reply_number(reply, ':', client->sum);
    } else if (kind == '$') {
        reply_text(reply, &client->text);
    }
    client->said = NULL;
    client->sum = 0;
}

/* A call on the own shard, or the answer of another; all is written if it is much. */
static int answer(struct client *client, struct call *call)
{
    const char kind = call->command->answer;
    struct reply *reply = kind == '$' ? &client->text : &client->reply;

    if (kind == '*' && call->part == 0)
        reply_number(reply, '*', call->parts);
    if (call->is_done) {
        reply_raw(reply, call->reply->bytes, call->reply->used);
        reply->failed |= call->reply->failed;
        reply_reset(call->reply);
    } else {
        call->reply = reply;
        run(call, client->shard);
    }
    client->said = client->said != NULL ? client->said : call->said;
    client->sum += call->number;
    if (call->part + 1 == call->parts)
        conclude(client, kind);
    return client->reply.used < LARGE ? 0 : client_write(client);
}

/* On another shard: do what waits for it, from this call on. When that is much, not all. */
static int run_errand(void *arg)
{
    struct call *call = arg;
    struct client *client = call->client;
    const struct call *end = client->batch->calls + client->call_count;
    const unsigned owner = call->owner;
    size_t said = 0;

    for (; call < end && said < LARGE; call++) {
        if (call->owner != owner || call->is_done)
            continue;
        run(call, &client->shard->server->shards[owner]);
        call->is_done = true;
        said += call->reply->used;
    }
    return 0;
}

static int send_errand(void *arg)
{
    return torc_shard_ask(((struct call *)arg)->owner, run_errand, arg);
}

/* Have other shards do what waits for them, all at the same time. */
static int run_errands(struct client *client)
{
    struct torc_scope scope;
    int result = 0;
    int closed;

    torc_scope_open(&scope, 0);
    for (unsigned shard = 0; shard < client->shard->server->shard_count && result == 0; shard++) {
        unsigned i = client->answered;

        while (i < client->call_count &&
               (client->batch->calls[i].owner != shard || client->batch->calls[i].is_done))
            i++;
        if (shard != client->shard->index && i < client->call_count)
            result = torc_scope_spawn(&scope, send_errand, &client->batch->calls[i]);
    }
    closed = torc_scope_close(&scope);
    return result < 0 ? result : closed;
}

int route_batch(struct client *client)
{
    int result = 0;

    while (result == 0 && client->answered < client->call_count) {
        result = run_errands(client);
        while (result == 0 && client->answered < client->call_count) {
            struct call *call = &client->batch->calls[client->answered];

            if (!call->is_done && call->owner != client->shard->index)
                break; /* There was too much to say. */
            result = answer(client, call);
            client->answered++;
        }
    }
    client->answered = client->call_count = 0;
    return result;
}

void route_finish(struct client *client)
{
    for (unsigned i = 0; client->batch != NULL && i < BATCH_MAX; i++)
        reply_finish(&client->batch->replies[i]);
    free(client->batch);
}

/* ---- Requests ---- */

static int route_call(struct client *client, struct call *call)
{
    int result = 0;

    if (client->call_count == 0 && call->owner == client->shard->index)
        return answer(client, call);
    if (client->batch == NULL && (client->batch = calloc(1, sizeof(*client->batch))) == NULL)
        return -ENOMEM;
    if (client->call_count == BATCH_MAX)
        result = route_batch(client);
    call->reply = &client->batch->replies[client->call_count];
    call->reply->protocol = client->reply.protocol;
    client->batch->calls[client->call_count++] = *call;
    return result;
}

/* With version 2 of the protocol, who has subscribed may do little else. */
static bool is_refused(const struct client *client, const struct command *command)
{
    return client->subscription_count > 0 && client->reply.protocol == 2 &&
           command->run != run_subscribe && command->run != run_unsubscribe &&
           strcmp(command->name, "ping") != 0 && strcmp(command->name, "quit") != 0;
}

/* What the client's fiber does by itself, or refuses. All before it is answered first. */
static int run_by_client(struct client *client, struct call *call)
{
    const struct command *command = call->command;
    int result = route_batch(client);

    call->reply = &client->reply;
    if (result < 0)
        return result;
    if (command == NULL) {
        command_refuse(call);
    } else if (is_refused(client, command)) {
        (void)reply_error(&client->reply,
                          "Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                          "QUIT / RESET are allowed in this context",
                          command->name);
    } else if (command->place != BY_CLIENT) {
        (void)reply_error(&client->reply, "key exceeds maximum allowed size (%zu bytes)",
                          (size_t)client->shard->server->key_max);
    } else {
        return answer(client, call);
    }
    return 0;
}

int route_request(struct client *client, const char *base)
{
    const struct server *server = client->shard->server;
    struct call call = {.base = base,
                        .spans = client->spans + client->first,
                        .count = client->count,
                        .parts = 1,
                        .client = client};
    const struct command *command = call.command = command_find(&call);
    const bool has_keys = command != NULL && command->place != BY_ALL;
    unsigned step;
    int result = 0;

    client->shard->requests++;
    if (command == NULL || command->place == BY_CLIENT || is_refused(client, command))
        return run_by_client(client, &call);
    step = command->place == BY_EACH_KEY ? (unsigned)command->number : call.count - 1;
    for (unsigned i = 1; has_keys && i < call.count; i += step) {
        if (arg(&call, i).length > (size_t)server->key_max)
            return run_by_client(client, &call);
    }
    call.parts = has_keys ? (call.count - 1) / step : (unsigned)server->shard_count;
    for (call.count = has_keys ? step + 1 : call.count; call.part < call.parts; call.part++) {
        call.owner = has_keys ? owner_of(server, arg(&call, 1)) : call.part;
        result = route_call(client, &call);
        if (result < 0)
            break;
        call.spans += has_keys ? step : 0;
    }
    return result;
}

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
#define BATCH_MAX  256u /* calls */

struct errand {
    struct client *client;
    unsigned shard;
    bool is_wanted;
    struct reply reply;
    size_t taken; /* so many bytes of it have become the client's */
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

    if (server->options.shards == 1)
        return 0;
    open = memchr(key.at, '{', key.length);
    close = open != NULL ? memchr(open, '}', (size_t)(end - open)) : NULL;
    if (close != NULL && close > open + 1)
        key = (struct slice){open + 1, (size_t)(close - open - 1)};
    return crc16(key) % SLOT_COUNT * (unsigned)server->options.shards / SLOT_COUNT;
}

/* ---- Calls ---- */

static inline void run(struct call *call, struct shard *shard, struct reply *reply)
{
    const char *said;

    call->shard = shard;
    call->reply = reply;
    said = call->command->run(call);
    if (said == NULL)
        return;
    if (said[0] == '+' || said[0] == '-')
        reply_printf(reply, "%s\r\n", said);
    else
        (void)reply_error(reply, "%s", said);
}

/* A call on the own shard, or the answer of another; all is written if it is much. */
static int answer(struct client *client, struct call *call)
{
    const enum command_answer kind = call->command->answer;
    struct errand *errand = &client->errands[call->owner];
    struct reply *reply = &client->reply;

    if (call->keys > 0) {
        client->sum = 0;
        if (kind == ANSWER_LIST)
            reply_number(reply, '*', call->keys);
    }
    if (call->is_done) {
        reply_raw(reply, errand->reply.bytes + errand->taken, call->length);
        errand->taken += call->length;
        reply->failed |= errand->reply.failed;
    } else {
        run(call, client->shard, reply);
    }
    client->sum += call->number;
    if (kind == ANSWER_SUM && call->is_last)
        reply_number(reply, ':', client->sum);
    if (kind == ANSWER_OK && call->is_last)
        reply_printf(reply, "+OK\r\n");
    return reply->used < REPLY_LARGE ? 0 : client_write(client);
}

/* ---- Errands ---- */

/* On the other shard. When there is much to say, the rest is for another time. */
static int run_errand(void *arg)
{
    struct errand *errand = arg;
    const struct client *client = errand->client;

    for (unsigned i = client->answered; i < client->call_count; i++) {
        struct call *call = &client->calls[i];
        const size_t before = errand->reply.used;

        if (call->owner != errand->shard || call->is_done || before >= REPLY_LARGE)
            continue;
        run(call, &client->shard->server->shards[errand->shard], &errand->reply);
        call->length = errand->reply.used - before;
        call->is_done = true;
    }
    return 0;
}

static int send_errand(void *arg)
{
    struct errand *errand = arg;

    return torc_shard_ask(errand->shard, run_errand, errand);
}

/* Have all errands run that calls wait for: each by a fiber, but for the last. */
static int run_errands(struct client *client)
{
    struct errand *own = NULL;
    struct torc_scope scope;
    int result = 0;
    int closed;

    for (unsigned i = client->answered; i < client->call_count; i++)
        client->errands[client->calls[i].owner].is_wanted |= !client->calls[i].is_done;
    client->errands[client->shard->index].is_wanted = false;
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < client->shard->server->options.shards && result == 0; i++) {
        struct errand *errand = &client->errands[i];

        if (!errand->is_wanted)
            continue;
        errand->is_wanted = false;
        errand->reply.protocol = client->reply.protocol;
        if (errand->taken == errand->reply.used) {
            reply_reset(&errand->reply);
            errand->taken = 0;
        }
        if (own != NULL)
            result = torc_scope_spawn(&scope, send_errand, own);
        own = errand;
    }
    if (result == 0 && own != NULL)
        result = send_errand(own);
    closed = torc_scope_close(&scope);
    return result < 0 ? result : closed;
}

int route_batch(struct client *client)
{
    int result = 0;

    while (result == 0 && client->answered < client->call_count) {
        result = run_errands(client);
        while (result == 0 && client->answered < client->call_count) {
            struct call *call = &client->calls[client->answered];

            if (!call->is_done && call->owner != client->shard->index)
                break; /* There was too much to say. */
            client->answered++;
            result = answer(client, call);
        }
    }
    client->answered = client->call_count = 0;
    return result;
}

/* What other shards need: it is made when the first key is theirs. */
static int make_errands(struct client *client)
{
    const size_t count = (size_t)client->shard->server->options.shards;

    client->calls = malloc(BATCH_MAX * sizeof(*client->calls));
    client->errands = calloc(count, sizeof(*client->errands));
    if (client->calls == NULL || client->errands == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        client->errands[i] = (struct errand){.client = client, .shard = (unsigned)i};
    return 0;
}

void route_finish(struct client *client)
{
    for (int64_t i = 0; client->errands != NULL && i < client->shard->server->options.shards; i++)
        reply_finish(&client->errands[i].reply);
    free(client->errands);
    free(client->calls);
}

/* ---- Requests ---- */

static int route_call(struct client *client, struct call *call)
{
    int result = 0;

    if (client->call_count == 0 && call->owner == client->shard->index)
        return answer(client, call);
    if (client->calls == NULL)
        result = make_errands(client);
    else if (client->call_count == BATCH_MAX)
        result = route_batch(client);
    if (result == 0)
        client->calls[client->call_count++] = *call;
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

    if (result < 0)
        return result;
    call->reply = &client->reply;
    if (command == NULL) {
        command_refuse(call);
    } else if (is_refused(client, command)) {
        (void)reply_error(&client->reply,
                          "Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                          "QUIT / RESET are allowed in this context",
                          command->name);
    } else if (command->place != BY_CLIENT) {
        (void)reply_error(&client->reply, "key exceeds maximum allowed size (%zu bytes)",
                          (size_t)client->shard->server->options.key_max);
    } else {
        run(call, client->shard, &client->reply);
    }
    return 0;
}

int route_request(struct client *client, const char *base)
{
    const struct server *server = client->shard->server;
    struct call call = {.base = base,
                        .spans = client->spans + client->first,
                        .count = client->count,
                        .client = client};
    const struct command *command = call.command = command_find(&call);
    const bool has_keys = command != NULL && command->place >= BY_KEY && command->place < BY_ALL;
    unsigned step;
    unsigned calls;
    int result = 0;

    client->shard->requests++;
    if (command == NULL || command->place == BY_CLIENT || is_refused(client, command))
        return run_by_client(client, &call);
    step = command->place == BY_EACH_KEY ? (unsigned)command->number : call.count - 1;
    for (unsigned i = 1; has_keys && i < call.count; i += step) {
        if (arg(&call, i).length > (size_t)server->options.key_max)
            return run_by_client(client, &call);
    }
    calls = has_keys ? (call.count - 1) / step : (unsigned)server->options.shards;
    for (unsigned i = 0; i < calls && result == 0; i++) {
        call.keys = i == 0 ? calls : 0;
        call.is_last = i + 1 == calls;
        call.number = 0;
        call.owner = has_keys ? owner_of(server, arg(&call, 1)) : i;
        call.count = command->place == BY_EACH_KEY ? step + 1 : call.count;
        result = route_call(client, &call);
        call.spans += command->place == BY_EACH_KEY ? step : 0;
    }
    return result;
}

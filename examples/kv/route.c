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

#define SLOT_COUNT 16384u
#define BATCH_MAX  256u                /* calls */
#define LARGE      ((size_t)64 * 1024) /* bytes of answers that are written before there are more */

/* Calls that wait, and where others answer them. */
struct batch {
    struct call calls[BATCH_MAX];
    struct reply replies[BATCH_MAX];
};

static unsigned crc16(struct slice bytes) /* CRC-16/XMODEM */
{
    uint16_t crc = 0;

    for (size_t i = 0; i < bytes.length; i++) {
        unsigned byte = crc >> 8 ^ (unsigned char)bytes.at[i];

        byte ^= byte >> 4;
        crc = (uint16_t)(crc << 8 ^ byte << 12 ^ byte << 5 ^ byte);
    }
    return crc;
}

unsigned slot_of(struct slice key)
{
    const char *open = memchr(key.at, '{', key.length);
    const char *close = open ? memchr(open, '}', key.length - (size_t)(open - key.at)) : NULL;

    if (close != NULL && close > open + 1)
        key = (struct slice){open + 1, (size_t)(close - open - 1)};
    return crc16(key) % SLOT_COUNT;
}

/* ---- Calls ---- */

static inline void run(struct call *call, struct shard *shard)
{
    const char *line;

    call->shard = shard;
    call->number = 0;
    line = call->command->run(call);
    if (call->command->kind != '+' || call->part + 1 == call->parts)
        reply_line(call->reply, line);
}

/* Do what the own shard is asked, or take another's answer; all is written if it is much. */
static int answer(struct client *client, struct call *call)
{
    struct reply *reply = &client->reply;
    const char kind = call->command->kind;

    if (kind == '*' && call->part == 0)
        reply_number(reply, '*', call->parts);
    if (call->is_done) {
        reply_bytes(reply, call->reply->bytes, call->reply->used);
        reply->failed |= call->reply->failed;
        reply_reset(call->reply);
    } else {
        call->reply = reply;
        run(call, client->shard);
    }
    client->sum = call->number + (call->part > 0 ? client->sum : 0);
    if (kind == ':' && call->part + 1 == call->parts)
        reply_number(reply, ':', client->sum);
    return reply->used < LARGE ? 0 : client_write(client);
}

/* ---- Errands ---- */

/* The first call from this one on that waits for the shard; `end` if there is none. */
static struct call *next_for(struct call *call, const struct call *end, unsigned owner)
{
    while (call < end && (call->owner != owner || call->is_done))
        call++;
    return call;
}

/* On another shard: do what waits for it, from this call on. When that is much, not all. */
static int run_errand(void *arg)
{
    struct call *call = arg;
    struct client *client = call->client;
    const struct call *end = client->batch->calls + client->call_count;
    const unsigned owner = call->owner;
    size_t said = 0;

    for (; call < end && said < LARGE; call = next_for(call, end, owner)) {
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
    struct call *end = client->batch->calls + client->call_count;
    struct torc_scope scope;
    int result = 0;
    int closed;

    torc_scope_open(&scope, 0);
    for (unsigned shard = 0; shard < client->shard->server->shard_count && result == 0; shard++) {
        struct call *call = next_for(client->batch->calls + client->answered, end, shard);

        if (shard != client->shard->index && call < end)
            result = torc_scope_spawn(&scope, send_errand, call);
    }
    closed = torc_scope_close(&scope);
    return result < 0 ? result : closed;
}

int route_batch(struct client *client)
{
    int result = 0;

    while (result == 0 && client->answered < client->call_count) {
        struct call *call = &client->batch->calls[client->answered];

        if (!call->is_done && call->owner != client->shard->index)
            result = run_errands(client); /* Once more, if there was too much to say. */
        if (result == 0)
            result = answer(client, call);
        client->answered++;
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

int route_request(struct client *client)
{
    const unsigned shard_count = (unsigned)client->shard->server->shard_count;
    struct call call = {
        .args = client->args + client->first, .count = client->count, .parts = 1, .client = client};
    const struct command *command = call.command = command_find(&call);
    unsigned step = command->step; /* arguments of each part */
    int result = 0;

    client->shard->requests++;
    if (command->place == BY_CLIENT) {
        result = route_batch(client);
        return result < 0 ? result : answer(client, &call);
    }
    if (command->place == BY_ALL)
        call.parts = shard_count;
    if (step > 0) {
        call.parts = (call.count - 1) / step;
        call.count = step + 1;
    }
    for (; result == 0 && call.part < call.parts; call.part++, call.args += step) {
        call.owner = call.part;
        if (command->place == BY_KEY)
            call.owner = shard_count == 1 ? 0 : slot_of(call.args[1]) * shard_count / SLOT_COUNT;
        result = route_call(client, &call);
    }
    return result;
}

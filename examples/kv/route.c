/* SPDX-License-Identifier: MIT */
/*
 * route.c - requests to the shards that own their keys, and the answers in order.
 *
 * Of the requests that a client sent in one go, all that concerns another shard's keys makes one
 * errand there: that shard's loop runs all of it, in its order, while the client's fiber waits.
 * Errands to several shards are under way at the same time. Then the answers are put in their
 * order, and only now is done what the own shard is asked.
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
#define BATCH_MAX  256u               /* calls */
#define LARGE      ((size_t)64 << 10) /* bytes of answers that are written before there are more */

/* What a batch asks of one shard. */
struct errand {
    struct client *client;
    unsigned waiting; /* calls that have not been run */
    size_t taken;     /* bytes of the answers */
    struct torc_buffer answers;
};

struct batch {
    struct call calls[BATCH_MAX];
    struct errand errands[SHARDS_MAX];
};

unsigned slot_of(struct slice key)
{
    const char *open = memchr(key.at, '{', key.length);
    const char *close = open ? memchr(open, '}', key.length - (size_t)(open - key.at)) : NULL;
    uint16_t crc = 0; /* CRC-16/XMODEM */

    if (close != NULL && close > open + 1)
        key = (struct slice){open + 1, (size_t)(close - open - 1)};
    for (size_t i = 0; i < key.length; i++) {
        unsigned byte = crc >> 8 ^ (unsigned char)key.at[i];

        byte ^= byte >> 4;
        crc = (uint16_t)(crc << 8 ^ byte << 12 ^ byte << 5 ^ byte);
    }
    return crc % SLOT_COUNT;
}

/* ---- Answers ---- */

static inline void run(struct call *call, struct torc_buffer *reply)
{
    const char *line;

    call->reply = reply;
    call->number = 0;
    line = call->command->run(call);
    if (line != NULL && (call->command->kind != '+' || call->part + 1 == call->parts))
        reply_line(reply, line, call->command->name);
}

static void take_answer(struct client *client, const struct call *call)
{
    struct errand *errand = call->errand;

    torc_buffer_append(&client->reply, errand->answers.bytes + errand->taken, call->length);
    client->reply.failed |= errand->answers.failed;
    errand->taken += call->length;
    if (errand->taken < errand->answers.used)
        return;
    torc_buffer_reset(&errand->answers, REPLY_KEPT);
    errand->taken = 0;
}

/* Do what the own shard is asked, or take another's answer; all is written if it is much. */
static void answer(struct client *client, struct call *call)
{
    struct torc_buffer *reply = &client->reply;
    const char kind = call->command->kind;

    if (call->part == 0 && client->pushes.used > 0)
        client_take_pushes(client);
    if (kind == '*' && call->part == 0)
        reply_number(reply, '*', call->parts);
    if (call->is_done)
        take_answer(client, call);
    else
        run(call, reply);
    client->sum = call->number + (call->part > 0 ? client->sum : 0);
    if (kind == ':' && call->part + 1 == call->parts) {
        client_take_pushes(client); /* The message, if it published one to itself. */
        reply_number(reply, ':', client->sum);
    }
    if (reply->used >= LARGE)
        client_write(client);
}

/* ---- Errands ---- */

/* On another shard: do what waits for it. When that is much, not all. */
static int run_errand(void *arg)
{
    struct errand *errand = arg;
    struct client *client = errand->client;
    struct call *call = &client->batch->calls[client->answered];

    for (; errand->waiting > 0 && errand->answers.used < LARGE; call++) {
        const size_t before = errand->answers.used;

        if (call->errand != errand || call->is_done)
            continue;
        run(call, &errand->answers);
        call->length = errand->answers.used - before;
        call->is_done = true;
        errand->waiting--;
    }
    return 0;
}

/* Have other shards do what waits for them, all at the same time. */
static void run_errands(struct client *client)
{
    void *errands[SHARDS_MAX];
    int result;

    for (unsigned i = 0; i < torc_shard_count(); i++)
        errands[i] = client->batch->errands[i].waiting > 0 ? &client->batch->errands[i] : NULL;
    result = torc_shard_ask_all(run_errand, errands);
    if (result < 0)
        client->result = result;
}

void route_batch(struct client *client)
{
    for (; client->answered < client->call_count; client->answered++) {
        struct call *call = &client->batch->calls[client->answered];

        if (!call->is_done && call->errand != NULL)
            run_errands(client); /* Once more, if there was too much to say. */
        if (client->result < 0)
            break;
        answer(client, call);
    }
    client->answered = client->call_count = 0;
}

void route_finish(struct client *client)
{
    for (unsigned i = 0; client->batch != NULL && i < SHARDS_MAX; i++)
        torc_buffer_finish(&client->batch->errands[i].answers);
    free(client->batch);
}

/* ---- Requests ---- */

/* Do it, or let it wait. */
static void route_call(struct client *client, struct call *call)
{
    if (client->call_count == 0 && call->shard == client->shard) {
        answer(client, call);
        return;
    }
    if (client->call_count == BATCH_MAX)
        route_batch(client);
    if (client->batch == NULL && (client->batch = calloc(1, sizeof(*client->batch))) == NULL) {
        client->result = -ENOMEM;
        return;
    }
    call->errand = NULL;
    if (call->shard != client->shard) {
        call->errand = &client->batch->errands[call->shard - shards];
        call->errand->client = client;
        call->errand->waiting++;
    }
    client->batch->calls[client->call_count++] = *call;
}

void route_request(struct client *client)
{
    const unsigned shard_count = torc_shard_count();
    const struct slice *args = client->args + client->first;
    const struct command *command = command_find(args, client->count);
    const unsigned step = command->step; /* arguments of each part */
    struct call call = {
        .command = command,
        .args = args,
        .count = client->count,
        .parts = command->place == BY_ALL ? shard_count : 1,
        .client = client,
        .shard = client->shard,
    };
    const char *error = command_refuse(&call);

    if (error != NULL || command->place == BY_CLIENT)
        route_batch(client);
    if (error != NULL) {
        reply_line(&client->reply, error, command->name);
        return;
    }
    if (step > 0) {
        call.parts = (call.count - 1) / step;
        call.count = step + 1;
    }
    for (; client->result == 0 && call.part < call.parts; call.part++, call.args += step) {
        if (command->place == BY_ALL)
            call.shard = &shards[call.part];
        else if (command->place == BY_KEY && shard_count > 1)
            call.shard = &shards[slot_of(call.args[1]) * shard_count / SLOT_COUNT];
        route_call(client, &call);
    }
}

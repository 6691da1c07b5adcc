/* SPDX-License-Identifier: MIT */
/*
 * route.c - requests to the shards that own their keys, and the answers in order.
 *
 * Of the requests that a client sent in one go, all that concerns another shard's keys makes one
 * errand there: a message, in which that shard's loop runs all of them, one after the other, and
 * which it sends back. Errands to several shards are under way at the same time; the connection's
 * fiber waits for all, then writes the answers in the order of the requests, and only now does what
 * its own shard is asked. Requests and answers stay in the memory of the connection.
 *
 *     GET a; SET b 1; MGET c d          parts     errands
 *                                       GET a     shard 0: GET a, GET d
 *                                       SET b 1   shard 1: SET b 1, GET c
 *                                       GET c
 *                                       GET d
 *
 * With one shard there are no parts: every request is answered when it is read.
 */
#include "kv.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_COUNT 16384u
#define BATCH_MAX  256u                /* parts */
#define WRITE_AT   ((size_t)64 * 1024) /* bytes of answers */

struct errand {
    struct torc_message message; /* First: what arrives is found by it. */
    struct connection *connection;
    struct shard *shard;
    struct part *first;
    struct part **last;
    struct reply reply;
};

/* ---- Whose key it is ---- */

/* CRC-16/XMODEM, four bits at a time. */
static unsigned crc16(struct slice bytes)
{
    static const uint16_t table[16] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
    };
    unsigned crc = 0;

    for (size_t i = 0; i < bytes.length; i++) {
        const unsigned byte = (unsigned char)bytes.at[i];

        crc = (crc << 4 ^ table[(crc >> 12 ^ byte >> 4) & 15]) & 0xffff;
        crc = (crc << 4 ^ table[(crc >> 12 ^ byte) & 15]) & 0xffff;
    }
    return crc;
}

/* Of a key with a {tag} only that counts, so that one may put keys on the same shard. */
static struct slice tag_of(struct slice key)
{
    const char *open = memchr(key.at, '{', key.length);
    const char *close;

    if (open == NULL)
        return key;
    close = memchr(open, '}', (size_t)(key.at + key.length - open));
    if (close == NULL || close == open + 1)
        return key;
    return (struct slice){open + 1, (size_t)(close - open - 1)};
}

static unsigned owner_of(const struct server *server, struct slice key)
{
    if (server->shard_count == 1)
        return 0;
    return crc16(tag_of(key)) % SLOT_COUNT * server->shard_count / SLOT_COUNT;
}

/* ---- Answers ---- */

/* What precedes the answer of the first of `keys` parts. */
static void begin_answer(const struct command *command, unsigned keys, struct reply *reply)
{
    if (keys > 0 && command->answer == ANSWER_LIST)
        reply_array(reply, keys);
}

/* A part is in the reply: add what follows the last of an answer; write all if it is much. */
static int end_answer(struct connection *connection, const struct command *command, bool is_last)
{
    struct reply *reply = &connection->reply;

    if (is_last && command->answer == ANSWER_SUM) {
        reply_integer(reply, reply->number);
        reply->number = 0;
    } else if (is_last && command->answer == ANSWER_OK) {
        reply_ok(reply);
    }
    if (reply->text == NULL && reply->used < WRITE_AT)
        return 0;
    return connection_write(connection);
}

/* ---- Errands ---- */

/* The answer of another shard becomes ours. */
static void take_answer(const struct errand *errand, struct part *part, struct reply *reply)
{
    reply_raw(reply, errand->reply.bytes + part->answer_at, part->answer_length);
    reply->text = part->text;
    part->text = NULL;
    reply->number += part->number;
    reply->failed |= errand->reply.failed;
}

/* On the connection's shard. */
static void errand_returned(struct torc_message *message)
{
    struct connection *connection = ((struct errand *)(void *)message)->connection;

    if (--connection->underway == 0)
        torc_event_set(&connection->answered);
}

/* On the shard that owns the keys. */
static void errand_arrived(struct torc_message *message)
{
    struct errand *errand = (struct errand *)(void *)message;
    struct reply *reply = &errand->reply;

    for (struct part *part = errand->first; part != NULL; part = part->next) {
        part->answer_at = reply->used;
        part->command->run(errand->shard, &part->args, reply);
        part->answer_length = reply->used - part->answer_at;
        part->text = reply->text;
        part->number = reply->number;
        reply->text = NULL;
        reply->number = 0;
    }
    message->run = errand_returned;
    /* The connection's fiber waits for this, so its shard takes messages. */
    if (torc_shard_post(errand->connection->shard->index, message) < 0)
        abort();
}

/* Give every part that is another shard's to the errand there. */
static void sort_parts(struct connection *connection)
{
    const unsigned own = connection->shard->index;

    for (unsigned i = 0; i < connection->part_count; i++) {
        struct part *part = &connection->parts[i];
        struct errand *errand = &connection->errands[part->shard];

        part->args.spans = connection->parser.spans + part->first_span;
        if (part->shard == own)
            continue;
        *errand->last = part;
        errand->last = &part->next;
    }
}

/* Have all errands done. A scope's reason does not end the wait: others have our memory. */
static int run_errands(struct connection *connection)
{
    const unsigned count = connection->shard->server->shard_count;
    struct torc_scope shield;
    int result = 0;

    torc_event_clear(&connection->answered);
    for (unsigned i = 0; i < count && result == 0; i++) {
        struct errand *errand = &connection->errands[i];

        if (errand->first == NULL)
            continue;
        errand->reply.protocol = connection->reply.protocol;
        errand->message.run = errand_arrived;
        result = torc_shard_post(i, &errand->message);
        connection->underway += result == 0;
    }
    torc_scope_open(&shield, TORC_SHIELD);
    if (connection->underway > 0)
        result = torc_event_wait(&connection->answered) < 0 ? -ECANCELED : result;
    (void)torc_scope_close(&shield);
    return result;
}

static int answer_parts(struct connection *connection)
{
    struct shard *here = connection->shard;
    int result = 0;

    for (unsigned i = 0; i < connection->part_count && result == 0; i++) {
        struct part *part = &connection->parts[i];

        begin_answer(part->command, part->keys, &connection->reply);
        if (part->shard == here->index) {
            part->command->run(here, &part->args, &connection->reply);
        } else {
            take_answer(&connection->errands[part->shard], part, &connection->reply);
        }
        result = end_answer(connection, part->command, part->is_last);
    }
    return result;
}

static void errand_reset(struct errand *errand)
{
    errand->first = NULL;
    errand->last = &errand->first;
    errand->reply.used = 0;
    if (errand->reply.room > TEXT_LARGE)
        reply_finish(&errand->reply);
}

int route_batch(struct connection *connection)
{
    int result;

    if (connection->part_count == 0)
        return 0;
    sort_parts(connection);
    result = run_errands(connection);
    if (result == 0)
        result = answer_parts(connection);
    for (unsigned i = 0; i < connection->part_count; i++)
        text_release(connection->parts[i].text); /* Of those that could not be written. */
    for (unsigned i = 0; i < connection->shard->server->shard_count; i++)
        errand_reset(&connection->errands[i]);
    connection->part_count = 0;
    return result;
}

static int make_errands(struct connection *connection)
{
    struct server *server = connection->shard->server;

    connection->parts = malloc(BATCH_MAX * sizeof(*connection->parts));
    connection->errands = calloc(server->shard_count, sizeof(*connection->errands));
    if (connection->parts == NULL || connection->errands == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < server->shard_count; i++) {
        connection->errands[i].connection = connection;
        connection->errands[i].shard = &server->shards[i];
        connection->errands[i].last = &connection->errands[i].first;
    }
    return 0;
}

void route_finish(struct connection *connection)
{
    const unsigned count = connection->shard->server->shard_count;

    for (unsigned i = 0; connection->errands != NULL && i < count; i++)
        reply_finish(&connection->errands[i].reply);
    free(connection->errands);
    free(connection->parts);
}

/* ---- Requests ---- */

/* One key of a request, or the whole of it if it has one. */
static int route_part(struct connection *connection, const struct command *command,
                      const struct args *args, unsigned shard, unsigned keys, bool is_last)
{
    int result = 0;

    if (connection->shard->server->shard_count == 1) {
        begin_answer(command, keys, &connection->reply);
        command->run(connection->shard, args, &connection->reply);
        return end_answer(connection, command, is_last);
    }
    if (connection->parts == NULL)
        result = make_errands(connection);
    else if (connection->part_count == BATCH_MAX)
        result = route_batch(connection);
    if (result < 0)
        return result;
    connection->parts[connection->part_count++] = (struct part){
        .command = command,
        .args = *args,
        .first_span = (uint32_t)(args->spans - connection->parser.spans),
        .keys = keys,
        .is_last = is_last,
        .shard = shard,
    };
    return 0;
}

static int route_each_key(struct connection *connection, const struct command *command,
                          const struct args *args)
{
    const struct server *server = connection->shard->server;
    unsigned keys = (args->count - 1) / command->step;
    int result = 0;

    for (unsigned i = 1; i < args->count && result == 0; i += command->step) {
        const struct args one = {args->base, args->spans + i - 1, command->step + 1};

        result = route_part(connection, command, &one, owner_of(server, arg(args, i)), keys,
                            i + command->step == args->count);
        keys = 0;
    }
    return result;
}

static int route_to_all(struct connection *connection, const struct command *command,
                        const struct args *args)
{
    const unsigned count = connection->shard->server->shard_count;
    int result = 0;

    for (unsigned i = 0; i < count && result == 0; i++)
        result = route_part(connection, command, args, i, 0, i + 1 == count);
    return result;
}

static bool has_long_key(const struct server *server, const struct command *command,
                         const struct args *args)
{
    if (command->place == BY_KEY)
        return arg(args, 1).length > server->options.key_max;
    for (unsigned i = 1; command->place == BY_EACH_KEY && i < args->count; i += command->step) {
        if (arg(args, i).length > server->options.key_max)
            return true;
    }
    return false;
}

/* With version 2 of the protocol, who has subscribed may do little else. */
static bool is_refused(const struct connection *connection, const struct command *command)
{
    return connection->subscription_count > 0 && connection->reply.protocol == 2 &&
           command->control != control_subscribe && command->control != control_unsubscribe &&
           command->control != control_ping && command->control != control_quit;
}

/* What the connection does by itself, or refuses. All before it has been answered. */
static int run_control(struct connection *connection, const struct command *command,
                       const struct args *args)
{
    struct reply *reply = &connection->reply;

    if (command == NULL) {
        command_refuse(args, reply);
        return 0;
    }
    if (is_refused(connection, command)) {
        reply_error(reply,
                    "Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                    "RESET are allowed in this context",
                    command->name);
        return 0;
    }
    if (command->place != BY_CONNECTION) {
        reply_error(reply, "key exceeds maximum allowed size (%zu bytes)",
                    connection->shard->server->options.key_max);
        return 0;
    }
    return command->control(connection, args);
}

int route_request(struct connection *connection, const struct args *args)
{
    const struct command *command = command_find(args);
    int result;

    connection->shard->requests++;
    if (command == NULL || command->place == BY_CONNECTION || is_refused(connection, command) ||
        has_long_key(connection->shard->server, command, args)) {
        result = route_batch(connection);
        return result < 0 ? result : run_control(connection, command, args);
    }
    if (command->place == BY_KEY)
        return route_part(connection, command, args,
                          owner_of(connection->shard->server, arg(args, 1)), 0, true);
    return command->place == BY_ALL ? route_to_all(connection, command, args)
                                    : route_each_key(connection, command, args);
}

/* SPDX-License-Identifier: MIT */
/*
 * pubsub.c - channels. Every shard knows the subscriptions of its own clients, in lists by the slot
 * of the channel. So a message is given to all shards, and each gives it to its own.
 *
 * A message may come at any time, also in the middle of an answer. So it is noted, and written by
 * the client's fiber before the next answer, or before it waits for input. If it waits already,
 * that is cancelled.
 */
#include "kv.h"
#include <stdlib.h>

#define PUSHES_MAX ((size_t)8 << 20) /* bytes for a client that does not read them */

struct subscription { /* Of a client to a channel. */
    LIST_ENTRY(subscription) of_shard;
    LIST_ENTRY(subscription) of_client;
    struct client *client;
    struct slice channel;
    char bytes[]; /* of its name */
};

static struct subscriptions *list_of(struct shard *shard, struct slice channel)
{
    return &shard->subscriptions[slot_of(channel) % SUBSCRIPTION_LISTS];
}

/* What is told about a channel, or about none, but for the last part. */
static void tell(struct torc_buffer *reply, const struct client *client, const char *kind,
                 struct slice channel)
{
    reply_number(reply, client->protocol == 2 ? '*' : '>', 3);
    reply_bulk(reply, slice_of(kind));
    if (channel.at != NULL)
        reply_bulk(reply, channel);
    else
        reply_line(reply, reply_null(client), NULL);
}

const char *run_publish(struct call *call)
{
    const struct subscription *subscription = LIST_FIRST(list_of(call->shard, call->args[1]));

    for (; subscription != NULL; subscription = LIST_NEXT(subscription, of_shard)) {
        struct client *client = subscription->client;

        if (!slice_equals(subscription->channel, call->args[1]))
            continue;
        call->number++;
        if (client->pushes.failed || client->pushes.used > PUSHES_MAX) {
            torc_scope_cancel(&client->scope);
            continue;
        }
        tell(&client->pushes, client, "message", call->args[1]);
        reply_bulk(&client->pushes, call->args[2]);
        if (client->is_waiting)
            torc_scope_cancel(&client->wait);
    }
    return NULL;
}

/* The client's subscription to a channel, or NULL. */
static struct subscription *find(const struct client *client, struct slice channel)
{
    struct subscription *found = LIST_FIRST(list_of(client->shard, channel));

    while (found != NULL && (found->client != client || !slice_equals(found->channel, channel)))
        found = LIST_NEXT(found, of_shard);
    return found;
}

static void join(struct client *client, struct slice channel)
{
    struct subscription *joined = malloc(sizeof(*joined) + channel.length);

    client->reply.failed |= joined == NULL;
    if (joined == NULL)
        return;
    memcpy(joined->bytes, channel.at, channel.length);
    joined->client = client;
    joined->channel = (struct slice){joined->bytes, channel.length};
    LIST_INSERT_HEAD(list_of(client->shard, channel), joined, of_shard);
    LIST_INSERT_HEAD(&client->subscriptions, joined, of_client);
    client->subscription_count++;
}

static void leave(struct subscription *left)
{
    left->client->subscription_count--;
    LIST_REMOVE(left, of_shard);
    LIST_REMOVE(left, of_client);
    free(left);
}

void pubsub_leave(struct client *client)
{
    while (!LIST_EMPTY(&client->subscriptions))
        leave(LIST_FIRST(&client->subscriptions));
}

const char *run_subscribe(struct call *call)
{
    struct client *client = call->client;

    for (unsigned i = 1; i < call->count; i++) {
        if (find(client, call->args[i]) == NULL)
            join(client, call->args[i]);
        tell(call->reply, client, "subscribe", call->args[i]);
        reply_number(call->reply, ':', client->subscription_count);
    }
    return NULL;
}

/* Leave a channel; or none, which is what a client is told that leaves all of its none. */
static void unsubscribe(struct call *call, struct subscription *left, struct slice channel)
{
    tell(call->reply, call->client, "unsubscribe", channel);
    if (left != NULL)
        leave(left);
    reply_number(call->reply, ':', call->client->subscription_count);
}

const char *run_unsubscribe(struct call *call)
{
    struct client *client = call->client;
    struct subscription *left;

    for (unsigned i = 1; i < call->count; i++)
        unsubscribe(call, find(client, call->args[i]), call->args[i]);
    if (call->count > 1)
        return NULL;
    do {
        left = LIST_FIRST(&client->subscriptions);
        unsubscribe(call, left, left != NULL ? left->channel : (struct slice){0});
    } while (!LIST_EMPTY(&client->subscriptions));
    return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * pubsub.c - channels. Every shard knows the subscriptions of its own clients, in lists by the slot
 * of the channel. So a message is given to all shards, and each gives it to its own.
 *
 * A message may come at any time, also in the middle of an answer. So it is noted, and written by
 * the client's fiber before it waits for input. If it waits already, that is cancelled.
 */
#include "kv.h"
#include <stdlib.h>

#define SUBSCRIPTIONS_MAX 1024u             /* of a client */
#define PUSHES_MAX        ((size_t)8 << 20) /* bytes for a client that does not read them */

struct subscription { /* Of a client to a channel. */
    struct subscription *next;
    struct client *client;
    size_t length;
    char channel[];
};

static const struct slice nowhere; /* no channel */

static struct subscription **list_of(struct shard *shard, struct slice channel)
{
    return &shard->subscriptions[slot_of(channel) % SUBSCRIPTION_LISTS];
}

static bool is_to(const struct subscription *subscription, struct slice channel)
{
    return subscription->length == channel.length &&
           memcmp(subscription->channel, channel.at, channel.length) == 0;
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
        reply_line(reply, reply_null(client));
}

const char *run_publish(struct call *call)
{
    const struct subscription *subscription = *list_of(call->shard, call->args[1]);

    for (; subscription != NULL; subscription = subscription->next) {
        struct client *client = subscription->client;

        if (!is_to(subscription, call->args[1]))
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

/*
 * What points to the client's subscription to a channel, or to any if that is nowhere; to NULL, at
 * the end of a list, if it has none.
 */
static struct subscription **find(struct client *client, struct slice channel)
{
    struct subscription **list = client->shard->subscriptions;
    struct subscription **last = list + SUBSCRIPTION_LISTS - 1;
    struct subscription **link;

    if (channel.at != NULL)
        list = last = list_of(client->shard, channel);
    for (link = list; *link != NULL || list < last;) {
        if (*link == NULL)
            link = ++list;
        else if ((*link)->client == client && (channel.at == NULL || is_to(*link, channel)))
            break;
        else
            link = &(*link)->next;
    }
    return link;
}

static void join(struct client *client, struct subscription **link, struct slice channel)
{
    struct subscription *joined = malloc(sizeof(*joined) + channel.length);

    client->reply.failed |= joined == NULL;
    if (joined == NULL)
        return;
    *joined = (struct subscription){.client = client, .length = channel.length};
    memcpy(joined->channel, channel.at, channel.length);
    *link = joined;
    client->subscription_count++;
}

static void leave(struct client *client, struct subscription **link)
{
    struct subscription *left = *link;

    *link = left->next;
    free(left);
    client->subscription_count--;
}

void pubsub_leave(struct client *client)
{
    while (client->subscription_count > 0)
        leave(client, find(client, nowhere));
}

const char *run_subscribe(struct call *call)
{
    struct client *client = call->client;

    for (unsigned i = 1; i < call->count; i++) {
        struct subscription **link = find(client, call->args[i]);

        if (*link == NULL && client->subscription_count == SUBSCRIPTIONS_MAX)
            return "too many subscriptions";
        if (*link == NULL)
            join(client, link, call->args[i]);
        tell(call->reply, client, "subscribe", call->args[i]);
        reply_number(call->reply, ':', client->subscription_count);
    }
    return NULL;
}

const char *run_unsubscribe(struct call *call)
{
    struct client *client = call->client;
    unsigned at = 1;

    do {
        struct slice channel = call->count > 1 ? call->args[at] : nowhere;
        struct subscription **link = find(client, channel);

        if (call->count == 1 && *link != NULL)
            channel = (struct slice){(*link)->channel, (*link)->length};
        tell(call->reply, client, "unsubscribe", channel);
        if (*link != NULL)
            leave(client, link);
        reply_number(call->reply, ':', client->subscription_count);
    } while (call->count > 1 ? ++at < call->count : client->subscription_count > 0);
    return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * pubsub.c - channels. Every shard knows the subscribers among its own clients, so a message is
 * given to all shards, and each gives it to its own.
 *
 * A message may come while the client's fiber waits for requests. So it is noted, and a second
 * fiber of the client writes it as soon as no answer is being written.
 */
#include "kv.h"
#include <stdlib.h>

#define SUBSCRIPTIONS_MAX 1024u                     /* of a client */
#define PUSHES_MAX        ((size_t)8 * 1024 * 1024) /* bytes for a client that does not read them */

struct subscription { /* Of a client to a channel: in a list of each. */
    struct client *client;
    struct entry *channel;
    struct subscription *next;
    struct subscription *next_of_channel;
    struct subscription **link_of_channel;
};

const char *run_publish(struct call *call)
{
    const struct entry *channel = table_find(&call->shard->channels, arg(call, 1));
    struct subscription *subscription = channel != NULL ? channel->subscribers : NULL;

    for (; subscription != NULL; subscription = subscription->next_of_channel) {
        struct client *client = subscription->client;

        call->number++;
        if (client->pushes.failed || client->pushes.used > PUSHES_MAX) {
            torc_scope_cancel(&client->scope);
            continue;
        }
        reply_push(&client->pushes, "message", arg(call, 1));
        reply_bulk(&client->pushes, arg(call, 2).at, arg(call, 2).length);
        torc_event_set(&client->pushed);
    }
    return NULL;
}

/* Write messages as they come. More may come meanwhile, so what is written is taken away first. */
static int push(void *arg)
{
    struct client *client = arg;
    int result = 0;

    torc_fiber_set_name("messages");
    while (result == 0) {
        struct reply pushes;

        if (torc_event_wait(&client->pushed) < 0 || torc_mutex_lock(&client->output) < 0)
            return 0;
        torc_event_clear(&client->pushed);
        pushes = client->pushes;
        client->pushes = (struct reply){.protocol = pushes.protocol};
        result = torc_stream_write(&client->stream, pushes.bytes, pushes.used, NULL);
        reply_finish(&pushes);
        torc_mutex_unlock(&client->output);
    }
    return result; /* Which cancels the scope, and so sends the client away. */
}

/* What points to the subscription; to NULL at the end if there is none. */
static struct subscription **find(struct client *client, struct slice name)
{
    const struct entry *channel = table_find(&client->shard->channels, name);
    struct subscription **link = &client->subscriptions;

    while (*link != NULL && (*link)->channel != channel)
        link = &(*link)->next;
    return link;
}

/* Join a channel; *link is the end of the client's list. False without memory. */
static bool join(struct client *client, struct subscription **link, struct slice name)
{
    struct table *channels = &client->shard->channels;
    struct entry *channel = table_find(channels, name);
    struct subscription *joined = malloc(sizeof(*joined));

    if (joined != NULL && channel == NULL)
        channel = table_add(channels, name);
    if (joined == NULL || channel == NULL) {
        free(joined);
        return false;
    }
    *joined = (struct subscription){.client = client,
                                    .channel = channel,
                                    .next_of_channel = channel->subscribers,
                                    .link_of_channel = &channel->subscribers};
    if (channel->subscribers != NULL)
        channel->subscribers->link_of_channel = &joined->next_of_channel;
    channel->subscribers = *link = joined;
    client->subscription_count++;
    return true;
}

/* Leave the channel that `link` points to. */
static void leave(struct client *client, struct subscription **link)
{
    struct subscription *left = *link;

    *link = left->next;
    *left->link_of_channel = left->next_of_channel;
    if (left->next_of_channel != NULL)
        left->next_of_channel->link_of_channel = left->link_of_channel;
    if (left->channel->subscribers == NULL)
        table_take(&client->shard->channels, left->channel);
    free(left);
    client->subscription_count--;
}

void pubsub_leave(struct client *client)
{
    while (client->subscriptions != NULL)
        leave(client, &client->subscriptions);
}

const char *run_subscribe(struct call *call)
{
    struct client *client = call->client;

    if (!client->has_pusher)
        client->has_pusher = torc_scope_spawn_daemon(&client->scope, push, client) == 0;
    call->reply->failed |= !client->has_pusher;
    for (unsigned i = 1; i < call->count; i++) {
        struct subscription **link = find(client, arg(call, i));

        if (*link == NULL && client->subscription_count == SUBSCRIPTIONS_MAX)
            return "too many subscriptions";
        call->reply->failed |= *link == NULL && !join(client, link, arg(call, i));
        reply_push(call->reply, "subscribe", arg(call, i));
        reply_number(call->reply, ':', client->subscription_count);
    }
    return NULL;
}

const char *run_unsubscribe(struct call *call)
{
    struct client *client = call->client;
    struct subscription **link = &client->subscriptions;

    if (call->count == 1 && *link == NULL)
        reply_printf(call->reply, call->reply->protocol == 2
                                      ? "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"
                                      : ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n");
    for (unsigned i = 1; i < call->count || (call->count == 1 && *link != NULL); i++) {
        if (call->count > 1)
            link = find(client, arg(call, i));
        reply_push(call->reply, "unsubscribe",
                   call->count > 1
                       ? arg(call, i)
                       : (struct slice){(*link)->channel->key, (*link)->channel->length});
        if (*link != NULL)
            leave(client, link);
        reply_number(call->reply, ':', client->subscription_count);
    }
    return NULL;
}

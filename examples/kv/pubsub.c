/* SPDX-License-Identifier: MIT */
/*
 * pubsub.c - channels. Every shard knows the subscribers among its own connections, so a message is
 * given to all shards, and each gives it to its own.
 *
 * A message may come while the connection's fiber waits for requests. So it is noted, and a second
 * fiber of the connection writes it as soon as no answer is being written.
 */
#include "kv.h"
#include <errno.h>
#include <stdlib.h>

#define SUBSCRIPTIONS_MAX 1024u                     /* of a connection */
#define PUSHES_MAX        ((size_t)8 * 1024 * 1024) /* bytes for a client that does not read them */

/* Of a connection to a channel: in a list of each. */
struct subscription {
    struct connection *connection;
    struct entry *channel; /* whose value is the first of its subscriptions */
    struct subscription *next;
    struct subscription *next_of_channel;
    struct subscription **link_of_channel;
};

/* ---- Messages ---- */

void run_publish(struct shard *shard, const struct args *args, struct reply *reply)
{
    struct entry **channel = dict_find(&shard->channels, arg(args, 1));
    struct subscription *subscription = channel != NULL ? (*channel)->value : NULL;

    for (; subscription != NULL; subscription = subscription->next_of_channel) {
        struct connection *connection = subscription->connection;
        struct reply *pushes = &connection->pushes;

        reply->number++;
        if (pushes->failed || pushes->used > PUSHES_MAX) {
            torc_scope_cancel(&connection->scope);
            continue;
        }
        reply_push(pushes, 3);
        reply_bulk_string(pushes, "message");
        reply_bulk(pushes, arg(args, 1));
        reply_bulk(pushes, arg(args, 2));
        torc_event_set(&connection->pushed);
    }
}

/* Write what has come. More may come meanwhile, so it is taken away first. */
static int write_pushes(struct connection *connection)
{
    struct reply pushes = connection->pushes;
    int result;

    connection->pushes = (struct reply){.protocol = pushes.protocol};
    result = torc_stream_write(&connection->stream, pushes.bytes, pushes.used, NULL);
    reply_finish(&pushes);
    return result;
}

static int push(void *arg)
{
    struct connection *connection = arg;
    int result = 0;

    torc_fiber_set_name("messages");
    while (result == 0) {
        result = torc_event_wait(&connection->pushed);
        if (result == 0)
            result = torc_mutex_lock(&connection->output);
        if (result < 0)
            return 0;
        torc_event_clear(&connection->pushed);
        result = write_pushes(connection);
        torc_mutex_unlock(&connection->output);
    }
    return result; /* Which cancels the scope, and so ends the connection. */
}

/* ---- Subscriptions ---- */

/* What points to the subscription; to NULL at the end if there is none. */
static struct subscription **find(struct connection *connection, struct slice name)
{
    struct entry **channel = dict_find(&connection->shard->channels, name);
    struct subscription **link = &connection->subscriptions;

    while (*link != NULL && (channel == NULL || (*link)->channel != *channel))
        link = &(*link)->next;
    return link;
}

static struct entry *open_channel(struct shard *shard, struct slice name)
{
    struct entry **channel = dict_find(&shard->channels, name);

    return channel != NULL ? *channel : dict_add(&shard->channels, name);
}

static void close_channel(struct shard *shard, const struct entry *channel)
{
    const struct slice name = {channel->key, channel->length};

    if (channel->value == NULL)
        free(dict_take(&shard->channels, dict_find(&shard->channels, name)));
}

/* Join a channel. False without memory. */
static bool subscribe(struct connection *connection, struct slice name)
{
    struct subscription **link = find(connection, name);
    struct subscription *subscription;
    struct subscription *others;
    struct entry *channel;

    if (*link != NULL)
        return true;
    subscription = malloc(sizeof(*subscription));
    channel = subscription != NULL ? open_channel(connection->shard, name) : NULL;
    if (channel == NULL) {
        free(subscription);
        return false;
    }
    others = channel->value;
    *subscription = (struct subscription){
        .connection = connection,
        .channel = channel,
        .next_of_channel = others,
    };
    if (others != NULL)
        others->link_of_channel = &subscription->next_of_channel;
    channel->value = subscription;
    *link = subscription;
    connection->subscription_count++;
    return true;
}

/* Leave the channel that `link` points to. */
static void leave(struct connection *connection, struct subscription **link)
{
    struct subscription *subscription = *link;
    struct subscription *others = subscription->next_of_channel;

    *link = subscription->next;
    if (others != NULL)
        others->link_of_channel = subscription->link_of_channel;
    if (subscription->link_of_channel != NULL) {
        *subscription->link_of_channel = others;
    } else {
        subscription->channel->value = others;
    }
    connection->subscription_count--;
    close_channel(connection->shard, subscription->channel);
    free(subscription);
}

void pubsub_leave(struct connection *connection)
{
    while (connection->subscriptions != NULL)
        leave(connection, &connection->subscriptions);
}

/* ---- Commands ---- */

static void confirm(struct reply *reply, const char *what, struct slice channel, unsigned count)
{
    reply_push(reply, 3);
    reply_bulk_string(reply, what);
    reply_bulk(reply, channel);
    reply_integer(reply, count);
}

int control_subscribe(struct connection *connection, const struct args *args)
{
    if (!connection->has_pusher) {
        int result = torc_scope_spawn_daemon(&connection->scope, push, connection);

        if (result < 0)
            return result;
        connection->has_pusher = true;
    }
    for (unsigned i = 1; i < args->count; i++) {
        if (connection->subscription_count == SUBSCRIPTIONS_MAX) {
            reply_error(&connection->reply, "too many subscriptions (%u)", SUBSCRIPTIONS_MAX);
            return 0;
        }
        if (!subscribe(connection, arg(args, i)))
            return -ENOMEM;
        confirm(&connection->reply, "subscribe", arg(args, i), connection->subscription_count);
    }
    return 0;
}

static void unsubscribe_all(struct connection *connection)
{
    struct reply *reply = &connection->reply;

    if (connection->subscriptions == NULL) {
        reply_push(reply, 3);
        reply_bulk_string(reply, "unsubscribe");
        reply_null(reply);
        reply_integer(reply, 0);
    }
    while (connection->subscriptions != NULL) {
        const struct entry *channel = connection->subscriptions->channel;

        confirm(reply, "unsubscribe", (struct slice){channel->key, channel->length},
                connection->subscription_count - 1);
        leave(connection, &connection->subscriptions);
    }
}

int control_unsubscribe(struct connection *connection, const struct args *args)
{
    if (args->count == 1)
        unsubscribe_all(connection);
    for (unsigned i = 1; i < args->count; i++) {
        struct subscription **link = find(connection, arg(args, i));

        if (*link != NULL)
            leave(connection, link);
        confirm(&connection->reply, "unsubscribe", arg(args, i), connection->subscription_count);
    }
    return 0;
}

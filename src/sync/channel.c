/* SPDX-License-Identifier: MIT */
/*
 * channel.c - the bounded channel.
 *
 * Senders wait only while the slots are full, receivers only while they are empty and no sender
 * waits: so never both, and whoever comes deals with the first of the other side directly.
 */
#include "sync/waiters.h"
#include <errno.h>
#include <string.h>

void torc_channel_init(struct torc_channel *channel, void *slots, size_t element_size,
                       uint32_t capacity)
{
    TORC_ASSERT(slots != NULL || capacity == 0 || element_size == 0);
    *channel = (struct torc_channel){
        ._slots = slots, ._element_size = element_size, ._capacity = capacity};
}

static void copy(const struct torc_channel *channel, void *to, const void *from)
{
    /* What is passed most is a pointer; a copy of known size needs no call. */
    if (channel->_element_size == sizeof(void *))
        memcpy(to, from, sizeof(void *));
    else if (channel->_element_size > 0)
        memcpy(to, from, channel->_element_size);
}

static void put(struct torc_channel *channel, const void *value)
{
    uint64_t index = (uint64_t)channel->_first + channel->_count;

    if (index >= channel->_capacity)
        index -= channel->_capacity;
    copy(channel, channel->_slots + index * channel->_element_size, value);
    channel->_count++;
}

static void take(struct torc_channel *channel, void *ret_value)
{
    copy(channel, ret_value, channel->_slots + channel->_first * channel->_element_size);
    if (++channel->_first == channel->_capacity)
        channel->_first = 0;
    channel->_count--;
}

static inline int try_send(struct torc_channel *channel, const void *value)
{
    struct torc_waiter *receiver = channel->_receivers._first;

    if (unlikely(channel->_closed))
        return -EPIPE;
    if (receiver != NULL) {
        copy(channel, receiver->_value, value);
        torc__waiter_grant(receiver, 0);
        return 0;
    }
    if (channel->_count == channel->_capacity)
        return -EAGAIN;
    put(channel, value);
    return 0;
}

int torc_channel_try_send(struct torc_channel *channel, const void *value)
{
    return try_send(channel, value);
}
static const struct torc_wait_kind send_kind =
    WAIT_KIND_QUEUE("channel send", struct torc_channel, _senders);

int torc_channel_send(struct torc_channel *channel, const void *value)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int result = try_send(channel, value);

    if (result != -EAGAIN)
        return result;
    return torc__waiters_wait_for_value(shard, &channel->_senders, NULL, (void *)(uintptr_t)value,
                                        &send_kind);
}

/* Take what a value is there; what a sender has waited to send takes its place. */
static inline int try_receive(struct torc_channel *channel, void *ret_value)
{
    struct torc_waiter *sender = channel->_senders._first;

    if (channel->_count > 0) {
        take(channel, ret_value);
        if (sender != NULL)
            put(channel, sender->_value);
    } else if (sender != NULL) {
        copy(channel, ret_value, sender->_value);
    } else {
        return channel->_closed ? -EPIPE : -EAGAIN;
    }
    if (sender != NULL)
        torc__waiter_grant(sender, 0);
    return 0;
}

int torc_channel_try_receive(struct torc_channel *channel, void *ret_value)
{
    return try_receive(channel, ret_value);
}
static const struct torc_wait_kind receive_kind =
    WAIT_KIND_QUEUE("channel receive", struct torc_channel, _receivers);

int torc_channel_receive(struct torc_channel *channel, void *ret_value)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int reason = torc__reason(shard);
    int result;

    if (unlikely(reason != 0))
        return torc__refuse(shard, reason);
    result = try_receive(channel, ret_value);
    if (result != -EAGAIN)
        return result;
    return torc__waiters_wait_for_value(shard, &channel->_receivers, NULL, ret_value,
                                        &receive_kind);
}

void torc_channel_close(struct torc_channel *channel)
{
    TORC_ASSERT(torc__shard != NULL);
    channel->_closed = true;
    torc__waiters_grant_all(&channel->_senders, -EPIPE);
    torc__waiters_grant_all(&channel->_receivers, -EPIPE);
}

bool torc_channel_is_closed(const struct torc_channel *channel)
{
    return channel->_closed;
}

uint32_t torc_channel_count(const struct torc_channel *channel)
{
    return channel->_count;
}

void torc_channel_finish(struct torc_channel *channel)
{
    TORC_ASSERT(torc__waiters_empty(&channel->_senders));
    TORC_ASSERT(torc__waiters_empty(&channel->_receivers));
}

/* ---- Cases of a select ---- */

static int attempt_send(struct torc_case *one)
{
    return torc_channel_try_send(one->_waiter._object, one->_waiter._value);
}

struct torc_case torc_case_send(struct torc_channel *channel, const void *value)
{
    return torc__case_of(attempt_send, &channel->_senders, channel, (void *)(uintptr_t)value);
}

static int attempt_receive(struct torc_case *one)
{
    return torc_channel_try_receive(one->_waiter._object, one->_waiter._value);
}

struct torc_case torc_case_receive(struct torc_channel *channel, void *ret_value)
{
    return torc__case_of(attempt_receive, &channel->_receivers, channel, ret_value);
}

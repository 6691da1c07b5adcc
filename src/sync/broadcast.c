/* SPDX-License-Identifier: MIT */
/*
 * broadcast.c - one value for many readers: each value for each (broadcast), or only the latest.
 */
#include "sync/waiters.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

/* ---- Broadcast ---- */

void torc_broadcast_init(struct torc_broadcast *broadcast, void *slots, size_t element_size,
                         uint32_t capacity)
{
    TORC_ASSERT(capacity > 0);
    TORC_ASSERT(slots != NULL || element_size == 0);
    *broadcast = (struct torc_broadcast){
        ._slots = slots, ._element_size = element_size, ._capacity = capacity};
}

static char *slot_of(const struct torc_broadcast *broadcast, uint64_t number)
{
    return broadcast->_slots + number % broadcast->_capacity * broadcast->_element_size;
}

static void copy(size_t size, void *to, const void *from)
{
    if (size > 0)
        memcpy(to, from, size);
}

int torc_broadcast_send(struct torc_broadcast *broadcast, const void *value)
{
    if (broadcast->_closed)
        return -EPIPE;
    copy(broadcast->_element_size, slot_of(broadcast, broadcast->_sent), value);
    broadcast->_sent++;
    /* Who waits has had all the others: it gets this one now, however late it runs. */
    while (!torc__waiters_empty(&broadcast->_readers)) {
        struct torc_waiter *waiter = broadcast->_readers._first;
        struct torc_broadcast_reader *reader = waiter->_object;

        reader->_next = broadcast->_sent;
        copy(broadcast->_element_size, waiter->_value, value);
        torc__waiter_grant(waiter, 0);
    }
    return 0;
}

void torc_broadcast_subscribe(struct torc_broadcast *broadcast,
                              struct torc_broadcast_reader *reader)
{
    *reader = (struct torc_broadcast_reader){._broadcast = broadcast, ._next = broadcast->_sent};
}

int torc_broadcast_try_receive(struct torc_broadcast_reader *reader, void *ret_value)
{
    const struct torc_broadcast *broadcast = reader->_broadcast;
    const uint64_t behind = broadcast->_sent - reader->_next;
    uint64_t missed = 0;

    if (behind == 0)
        return broadcast->_closed ? -EPIPE : -EAGAIN;
    if (behind > broadcast->_capacity)
        missed = behind - broadcast->_capacity;
    reader->_next += missed;
    copy(broadcast->_element_size, ret_value, slot_of(broadcast, reader->_next));
    reader->_next++;
    return missed < INT_MAX ? (int)missed : INT_MAX;
}

static const struct torc_wait_kind receive_kind =
    WAIT_KIND_QUEUE("broadcast", struct torc_broadcast, _readers);

int torc_broadcast_receive(struct torc_broadcast_reader *reader, void *ret_value)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int reason = torc__reason(shard);
    int result;

    if (reason != 0)
        return torc__refuse(shard, reason);
    result = torc_broadcast_try_receive(reader, ret_value);
    if (result != -EAGAIN)
        return result;
    return torc__waiters_wait_for_value(shard, &reader->_broadcast->_readers, reader, ret_value,
                                        &receive_kind);
}

void torc_broadcast_close(struct torc_broadcast *broadcast)
{
    TORC_ASSERT(torc__shard != NULL);
    broadcast->_closed = true;
    torc__waiters_grant_all(&broadcast->_readers, -EPIPE);
}

void torc_broadcast_finish(struct torc_broadcast *broadcast)
{
    TORC_ASSERT(torc__waiters_empty(&broadcast->_readers));
}

static int attempt_broadcast(struct torc_case *one)
{
    return torc_broadcast_try_receive(one->_waiter._object, one->_waiter._value);
}

struct torc_case torc_case_broadcast(struct torc_broadcast_reader *reader, void *ret_value)
{
    return torc__case_of(attempt_broadcast, &reader->_broadcast->_readers, reader, ret_value);
}

/* ---- Latest ---- */

void torc_latest_init(struct torc_latest *latest, void *slot, size_t size)
{
    TORC_ASSERT(slot != NULL || size == 0);
    *latest = (struct torc_latest){._slot = slot, ._size = size, ._version = 1};
}

int torc_latest_set(struct torc_latest *latest, const void *value)
{
    if (latest->_closed)
        return -EPIPE;
    copy(latest->_size, latest->_slot, value);
    latest->_version++;
    while (!torc__waiters_empty(&latest->_waiters)) {
        struct torc_waiter *waiter = latest->_waiters._first;

        *(uint64_t *)waiter->_object = latest->_version;
        copy(latest->_size, waiter->_value, value);
        torc__waiter_grant(waiter, 0);
    }
    return 0;
}

uint64_t torc_latest_get(const struct torc_latest *latest, void *ret_value)
{
    copy(latest->_size, ret_value, latest->_slot);
    return latest->_version;
}

/* The value, if it has changed. */
static int look(struct torc_latest *latest, uint64_t *version, void *ret_value)
{
    if (latest->_version == *version)
        return latest->_closed ? -EPIPE : -EAGAIN;
    *version = torc_latest_get(latest, ret_value);
    return 0;
}

static const struct torc_wait_kind latest_kind =
    WAIT_KIND_QUEUE("latest value", struct torc_latest, _waiters);

int torc_latest_wait(struct torc_latest *latest, uint64_t *version, void *ret_value)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int reason = torc__reason(shard);
    int result;

    if (reason != 0)
        return torc__refuse(shard, reason);
    result = look(latest, version, ret_value);
    if (result != -EAGAIN)
        return result;
    return torc__waiters_wait_for_value(shard, &latest->_waiters, version, ret_value, &latest_kind);
}

void torc_latest_close(struct torc_latest *latest)
{
    TORC_ASSERT(torc__shard != NULL);
    latest->_closed = true;
    torc__waiters_grant_all(&latest->_waiters, -EPIPE);
}

void torc_latest_finish(struct torc_latest *latest)
{
    TORC_ASSERT(torc__waiters_empty(&latest->_waiters));
}

static int attempt_latest(struct torc_case *one)
{
    struct torc_latest *latest = container_of(one->_queue, struct torc_latest, _waiters);

    return look(latest, one->_waiter._object, one->_waiter._value);
}

struct torc_case torc_case_latest(struct torc_latest *latest, uint64_t *version, void *ret_value)
{
    return torc__case_of(attempt_latest, &latest->_waiters, version, ret_value);
}

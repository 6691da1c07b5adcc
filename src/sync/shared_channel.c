/* SPDX-License-Identifier: MIT */
/*
 * shared_channel.c - the channel between shards.
 *
 * A ring of slots, each with a turn that says what it is good for. In lap n (the position divided
 * by the number of slots) a slot is free while its turn is 2n, and full while it is 2n + 1:
 *
 *     turn 2n --sender of lap n--> 2n + 1 --receiver of lap n--> 2n + 2 = 2(n + 1)
 *
 * Senders claim positions by moving `tail`, receivers by moving `head`; then each owns its slot
 * until it changes the turn (after D. Vyukov's bounded queue). The lowest bit of `tail` says that
 * the channel is closed: so a position is claimed before the close, and will be received, or not at
 * all.
 *
 * Who finds no room, or nothing, announces that it waits, looks again, and waits. Who has changed a
 * turn looks whether somebody waits; see shared_waiters.h. It wakes one, which tries again, ahead
 * of the others if somebody else was faster. Positions may be published out of order, so one that
 * is woken may find that it is too early, and what it was woken for is there when it has gone back
 * to wait: therefore who gets what it wants looks whether there is more, and wakes the next.
 */
#include "sync/shared_waiters.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MAX (UINT32_C(1) << 30)
#define SIZE_MAX_ALL (UINT64_C(1) << 40)
#define CLOSED       UINT64_C(1)

struct slot {
    _Atomic(uint64_t) turn;
    char value[];
};

/* Senders write the first line, receivers the second; all only read the others as a rule. */
struct torc_shared_channel {
    _Alignas(64) _Atomic(uint64_t) tail; /* twice the position of the next value; CLOSED */
    _Alignas(64) _Atomic(uint64_t) head; /* the position of the oldest value */
    _Alignas(64) struct torc_shared_waiters senders;
    struct torc_shared_waiters receivers;
    _Alignas(64) uint64_t mask;
    unsigned shift; /* by which a position becomes a lap */
    size_t element_size;
    size_t stride;
    atomic_uint references;
    _Alignas(64) char slots[];
};

/* ---- Slots ---- */

static struct slot *slot_at(struct torc_shared_channel *channel, uint64_t position)
{
    return (struct slot *)(void *)(channel->slots + (position & channel->mask) * channel->stride);
}

/* How far a slot is from `turn`: 0 if it is its turn, negative if that is still to come. */
static int64_t turns_ahead(struct slot *slot, uint64_t turn)
{
    return (int64_t)(atomic_load(&slot->turn) - turn);
}

static uint64_t turn_to_send(const struct torc_shared_channel *channel, uint64_t position)
{
    return (position >> channel->shift) * 2;
}

/* The slot of the next position to send to; or -EAGAIN, -EPIPE. */
static int claim_free(struct torc_shared_channel *channel, struct slot **ret_slot)
{
    uint64_t tail = atomic_load(&channel->tail);

    for (;;) {
        const uint64_t position = tail >> 1;
        struct slot *slot = slot_at(channel, position);
        int64_t ahead;

        if (tail & CLOSED)
            return -EPIPE;
        ahead = turns_ahead(slot, turn_to_send(channel, position));
        if (ahead == 0) {
            if (atomic_compare_exchange_strong(&channel->tail, &tail, tail + 2)) {
                *ret_slot = slot;
                return 0;
            }
        } else {
            const uint64_t now = atomic_load(&channel->tail);

            if (ahead < 0 && now == tail)
                return -EAGAIN;
            tail = now;
        }
    }
}

/* Whether all that was sent before the close has been received. `head` is where receivers are. */
static bool is_drained(struct torc_shared_channel *channel, uint64_t head)
{
    return atomic_load(&channel->tail) == (head << 1 | CLOSED);
}

/* The slot of the oldest value; or -EAGAIN, -EPIPE. */
static int claim_full(struct torc_shared_channel *channel, struct slot **ret_slot)
{
    uint64_t head = atomic_load(&channel->head);

    for (;;) {
        struct slot *slot = slot_at(channel, head);
        const int64_t ahead = turns_ahead(slot, turn_to_send(channel, head) + 1);

        if (ahead == 0) {
            if (atomic_compare_exchange_strong(&channel->head, &head, head + 1)) {
                *ret_slot = slot;
                return 0;
            }
        } else {
            const bool drained = is_drained(channel, head);
            const uint64_t now = atomic_load(&channel->head);

            if (ahead < 0 && now == head)
                return drained ? -EPIPE : -EAGAIN;
            head = now;
        }
    }
}

/* ---- Waking ---- */

/* Whether a sender would not have to wait now. */
static bool may_send(struct torc_shared_channel *channel)
{
    const uint64_t tail = atomic_load(&channel->tail);

    return (tail & CLOSED) ||
           turns_ahead(slot_at(channel, tail >> 1), turn_to_send(channel, tail >> 1)) >= 0;
}

/* Whether a receiver would not have to wait now. */
static bool may_receive(struct torc_shared_channel *channel)
{
    const uint64_t head = atomic_load(&channel->head);

    return turns_ahead(slot_at(channel, head), turn_to_send(channel, head) + 1) >= 0 ||
           is_drained(channel, head);
}

static void wake_sender(struct torc_shared_channel *channel)
{
    if (torc__shared_has_waiters(&channel->senders) && may_send(channel))
        torc__shared_wake_one(&channel->senders);
}

static void wake_receiver(struct torc_shared_channel *channel)
{
    if (torc__shared_has_waiters(&channel->receivers) && may_receive(channel))
        torc__shared_wake_one(&channel->receivers);
}

/* ---- Without waiting ---- */

int torc_shared_channel_try_send(struct torc_shared_channel *channel, const void *value)
{
    struct slot *slot;
    int result = claim_free(channel, &slot);

    if (result < 0)
        return result;
    if (channel->element_size > 0)
        memcpy(slot->value, value, channel->element_size);
    atomic_fetch_add(&slot->turn, 1);
    wake_receiver(channel);
    wake_sender(channel);
    return 0;
}

int torc_shared_channel_try_receive(struct torc_shared_channel *channel, void *ret_value)
{
    struct slot *slot;
    int result = claim_full(channel, &slot);

    if (result == -EPIPE)
        wake_receiver(channel); /* The next one, which will wake the next. */
    if (result < 0)
        return result;
    if (channel->element_size > 0)
        memcpy(ret_value, slot->value, channel->element_size);
    atomic_fetch_add(&slot->turn, 1);
    wake_sender(channel);
    wake_receiver(channel);
    return 0;
}

/* ---- Waiting ---- */

/* Stand in the queue, at its front if `again`; unless there is no need to wait. */
static bool stand(struct torc_shared_channel *channel, bool sends, struct torc__parked *parked,
                  bool again)
{
    struct torc_shared_waiters *waiters = sends ? &channel->senders : &channel->receivers;
    bool may_go_on;

    torc__shared_lock(waiters);
    torc__shared_announce(waiters);
    may_go_on = sends ? may_send(channel) : may_receive(channel);
    if (may_go_on)
        torc__shared_withdraw(waiters);
    else
        torc__shared_stand(waiters, parked, again);
    torc__shared_unlock(waiters);
    return !may_go_on;
}

bool torc__shared_channel_stand(struct torc_shared_channel *channel, bool sends,
                                struct torc__parked *parked)
{
    return stand(channel, sends, parked, false);
}

void torc__shared_channel_pass_on(struct torc_shared_channel *channel, bool sends)
{
    if (sends)
        wake_sender(channel);
    else
        wake_receiver(channel);
}

static const struct torc_wait_kind send_kind = WAIT_KIND_SHARED(
    "send to a shared channel", struct torc_shared_channel, senders, TORC_WAIT_NONE);
static const struct torc_wait_kind receive_kind = WAIT_KIND_SHARED(
    "receive from a shared channel", struct torc_shared_channel, receivers, TORC_WAIT_NONE);

/* Wait until it is worth to try again. 0, or why not. */
static int wait_to_try(struct torc_shared_channel *channel, bool sends, bool again)
{
    struct torc__parked parked;
    int result = torc__parked_init(&parked);

    if (result < 0 || !stand(channel, sends, &parked, again))
        return result;
    return torc__shared_wait(&parked, sends ? &send_kind : &receive_kind);
}

int torc_shared_channel_send(struct torc_shared_channel *channel, const void *value)
{
    int result = torc_shared_channel_try_send(channel, value);

    for (bool again = false; result == -EAGAIN; again = true) {
        int reason = torc__caller_reason();

        if (reason != 0)
            return again ? reason : torc__refuse(torc__shard, reason);
        result = wait_to_try(channel, true, again);
        if (result == 0)
            result = torc_shared_channel_try_send(channel, value);
    }
    return result;
}

int torc_shared_channel_receive(struct torc_shared_channel *channel, void *ret_value)
{
    int reason = torc__caller_reason();
    int result;

    if (reason != 0)
        return torc__refuse(torc__shard, reason);
    result = torc_shared_channel_try_receive(channel, ret_value);
    for (bool again = false; result == -EAGAIN; again = true) {
        reason = torc__caller_reason();
        if (reason != 0)
            return reason;
        result = wait_to_try(channel, false, again);
        if (result == 0)
            result = torc_shared_channel_try_receive(channel, ret_value);
    }
    return result;
}

/* ---- Life ---- */

static void wake_all(struct torc_shared_waiters *waiters)
{
    struct torc__parked *all;

    torc__shared_lock(waiters);
    all = torc__shared_take_all(waiters);
    torc__shared_unlock(waiters);
    torc__shared_wake_chain(all);
}

void torc_shared_channel_close(struct torc_shared_channel *channel)
{
    (void)atomic_fetch_or(&channel->tail, CLOSED);
    wake_all(&channel->senders);
    wake_all(&channel->receivers);
}

static unsigned shift_for(uint32_t capacity)
{
    unsigned shift = 0;

    while ((UINT32_C(1) << shift) < capacity)
        shift++;
    return shift;
}

int torc_shared_channel_create(uint32_t capacity, size_t element_size,
                               struct torc_shared_channel **ret_channel)
{
    const size_t alignment = _Alignof(struct slot);
    struct torc_shared_channel *channel;
    uint64_t stride;
    uint64_t size;
    unsigned shift;

    if (capacity == 0 || capacity > CAPACITY_MAX || element_size > SIZE_MAX_ALL)
        return -EINVAL;
    shift = shift_for(capacity);
    stride = (sizeof(struct slot) + element_size + alignment - 1) / alignment * alignment;
    if (stride > SIZE_MAX_ALL >> shift)
        return -EINVAL;
    size = (sizeof(*channel) + (stride << shift) + 63) / 64 * 64;
    channel = aligned_alloc(64, size);
    if (channel == NULL)
        return -ENOMEM;
    memset(channel, 0, size); /* All slots are in their turn 0: free in lap 0. */
    channel->mask = (UINT64_C(1) << shift) - 1;
    channel->shift = shift;
    channel->element_size = element_size;
    channel->stride = stride;
    atomic_init(&channel->references, 1);
    *ret_channel = channel;
    return 0;
}

struct torc_shared_channel *torc_shared_channel_share(struct torc_shared_channel *channel)
{
    atomic_fetch_add_explicit(&channel->references, 1, memory_order_relaxed);
    return channel;
}

void torc_shared_channel_release(struct torc_shared_channel *channel)
{
    if (channel == NULL)
        return;
    if (atomic_fetch_sub_explicit(&channel->references, 1, memory_order_acq_rel) == 1)
        free(channel);
}

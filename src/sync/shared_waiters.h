/* SPDX-License-Identifier: MIT */
/*
 * shared_waiters.h - a queue of fibers and threads, under a lock that is held for a few
 * instructions only.
 *
 * Whoever takes the first out of the queue has to wake it, after unlocking. A fiber whose scope
 * gets a reason leaves the queue, unless it was taken out before: then it waits to be woken.
 *
 * `_waiting` lets others see without the lock whether there is anybody to wake. It is set before
 * the waiter looks for the last time at what it waits for, and read after that has been changed,
 * both sequentially consistent: so one of the two sees the other.
 */
#ifndef SYNC_SHARED_WAITERS_H
#define SYNC_SHARED_WAITERS_H

#include "sync/parked.h"
#include <torc/shared.h>

/* Words of public structs, which must be plain for C++, are atomic all the same. */
static inline atomic_uint *torc__atomic(uint32_t *word)
{
    return (atomic_uint *)word;
}

void torc__shared_lock(struct torc_shared_waiters *waiters);
void torc__shared_unlock(struct torc_shared_waiters *waiters);

/* Say that somebody is about to wait. Under the lock, before looking for the last time. */
void torc__shared_announce(struct torc_shared_waiters *waiters);

/* It need not wait after all. Under the lock. */
void torc__shared_withdraw(struct torc_shared_waiters *waiters);

/* Stand in the queue, at its front if that has been waited for before. Under the lock. */
void torc__shared_stand(struct torc_shared_waiters *waiters, struct torc__parked *parked,
                        bool at_front);

/* The first, taken out; NULL if there is none. Under the lock. */
struct torc__parked *torc__shared_take(struct torc_shared_waiters *waiters);

/* All, taken out, linked by `next`. Under the lock. */
struct torc__parked *torc__shared_take_all(struct torc_shared_waiters *waiters);

/* Wake all of a chain. Not under the lock. */
void torc__shared_wake_chain(struct torc__parked *parked);

/* Whether anybody may be waiting. Not under the lock. */
static inline bool torc__shared_has_waiters(struct torc_shared_waiters *waiters)
{
    return atomic_load(torc__atomic(&waiters->_waiting)) != 0;
}

/* Wake the first, if there is one. Not under the lock. */
void torc__shared_wake_one(struct torc_shared_waiters *waiters);

/* Leave the queue. False if it was taken out before, and so is being woken. */
bool torc__shared_leave(struct torc__parked *parked);

/* How such a wait is interrupted. */
torc__interrupt_fn torc__interrupt_shared;

/* A kind of wait in the queue `field` of a `type`. */
#define WAIT_KIND_SHARED(label, type, field, owner_at)                                  \
    {                                                                                   \
        .interrupt = torc__interrupt_shared, .name = (label), .form = TORC_WAIT_OBJECT, \
        .object = offsetof(struct torc__parked, queue), .base = offsetof(type, field),  \
        .owner = (owner_at), .fd = TORC_WAIT_NONE, .count = TORC_WAIT_NONE,             \
    }

/* Having stood in the queue, wait to be woken. 0, or the reason if it has left for that. */
int torc__shared_wait(struct torc__parked *parked, const struct torc_wait_kind *kind);

/* ---- shared_channel.c, for a select ---- */

/*
 * Stand in the queue of senders, or of receivers, unless there is no need to wait. Whether it
 * stands. The message of one that stands tells that it may be worth to try again.
 */
bool torc__shared_channel_stand(struct torc_shared_channel *channel, bool sends,
                                struct torc__parked *parked);

/* One that was woken has not tried again: let another. */
void torc__shared_channel_pass_on(struct torc_shared_channel *channel, bool sends);

#endif

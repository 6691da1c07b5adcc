/* SPDX-License-Identifier: MIT */
/*
 * torc/shared.h - locks and channels between shards, and between shards and plain threads.
 *
 * Every function here may be called by a fiber of any shard, of any runtime, and by any thread that
 * is no shard: a fiber suspends where a thread blocks. So all of it says "Waits" instead of
 * "Suspends". In a loop callback only what does not wait may be called: what would wait aborts.
 * Among fibers of one shard torc/sync.h and torc/channel.h do the same, and cost next to nothing.
 *
 * A fiber's wait ends with its scope's reason, unless what it waits for was handed over before. A
 * thread's wait ends when it has what it waits for, and not before.
 *
 * Locks are in the caller's memory, which all who use them share; zeroed is ready for use. They are
 * handed over first come, first served. Memory written by the one before is seen by the one after.
 *
 * -ESHUTDOWN  of every call that waits: this shard has no more than its last messages and feeds to
 *             end, and cannot be woken any more. Only fibers that these start ever see it.
 */
#ifndef TORC_SHARED_H
#define TORC_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

struct torc__parked;

/* Fibers and threads that wait, in their order. Private; part of what they wait for. */
struct torc_shared_waiters {
    uint32_t _lock;
    uint32_t _waiting; /* whether there are any, or may be */
    struct torc__parked *_first;
    struct torc__parked **_last; /* Meaningless while there is no first. */
};

/* ---- Mutex ---- */

/* Held by one fiber or thread at a time. Zeroed: free. */
struct torc_shared_mutex {
    struct torc_shared_waiters _waiters;
    uint32_t _state;
    const void *_owner; /* Only for assertions. */
};

/*
 * Take the mutex. Waits while it is held. Aborts if the caller holds it. A fiber may keep it over a
 * call that suspends, but others may have to wait as long, and threads do nothing else meanwhile.
 */
TORC_CHECK int torc_shared_mutex_lock(struct torc_shared_mutex *mutex);

/*
 * Take the mutex if it is free.
 *
 * -EBUSY      it is not.
 */
TORC_CHECK int torc_shared_mutex_try_lock(struct torc_shared_mutex *mutex);

/* Give the mutex back: to the one who has waited longest. Aborts if the caller does not hold it. */
TORC_API void torc_shared_mutex_unlock(struct torc_shared_mutex *mutex);

/* The mutex is not used any more. Aborts if it is held. */
TORC_API void torc_shared_mutex_finish(struct torc_shared_mutex *mutex);

/* ---- Semaphore ---- */

/* Units to take and to give back. Zeroed: none are there. */
struct torc_shared_semaphore {
    struct torc_shared_waiters _waiters;
    uint32_t _units;
};

/* Prepare a semaphore with so many units. */
TORC_API void torc_shared_semaphore_init(struct torc_shared_semaphore *semaphore, uint32_t units);

/* Take `units`, all at once. Waits for them, and for all who came before. */
TORC_CHECK int torc_shared_semaphore_acquire(struct torc_shared_semaphore *semaphore,
                                             uint32_t units);

/*
 * Take `units` if they are there and nobody waits.
 *
 * -EAGAIN     otherwise.
 */
TORC_CHECK int torc_shared_semaphore_try_acquire(struct torc_shared_semaphore *semaphore,
                                                 uint32_t units);

/* Give `units` back, or add them. Also in a loop callback. Aborts beyond UINT32_MAX. */
TORC_API void torc_shared_semaphore_release(struct torc_shared_semaphore *semaphore,
                                            uint32_t units);

/* The semaphore is not used any more. Aborts if somebody waits. */
TORC_API void torc_shared_semaphore_finish(struct torc_shared_semaphore *semaphore);

/* ---- Event ---- */

/* Something that is either set or not. Zeroed: not set. */
struct torc_shared_event {
    struct torc_shared_waiters _waiters;
    uint32_t _set;
};

/* Set the event and wake all who wait. Also in a loop callback; idempotent. */
TORC_API void torc_shared_event_set(struct torc_shared_event *event);

/*
 * Make the event not set again. Also in a loop callback. Who clears it, then looks whether there is
 * something to do, and only then waits, sleeps through nothing that is done before a set.
 */
TORC_API void torc_shared_event_clear(struct torc_shared_event *event);

/* Whether the event is set. Also in a loop callback. */
TORC_API bool torc_shared_event_is_set(const struct torc_shared_event *event);

/* Wait until the event is set; at once if it is. */
TORC_CHECK int torc_shared_event_wait(struct torc_shared_event *event);

/* The event is not used any more. Aborts if somebody waits. */
TORC_API void torc_shared_event_finish(struct torc_shared_event *event);

/* ---- Channel ---- */

/*
 * A bounded channel with any number of senders and receivers. Sending and receiving take no lock,
 * and wake nobody who does not wait. What one sender has sent comes in its order. A full channel
 * makes senders wait, so that a fast side cannot drown a slow one.
 *
 * It is counted: each reference may be used by one thread after the other, and is given back once.
 * It has nothing to do with any runtime's life, and stays safe after that: close it in the end, for
 * nobody else will, and who waits then would wait for ever.
 */
struct torc_shared_channel;

/*
 * Make a channel of at least `capacity` elements (rounded up to a power of two) of `element_size`
 * bytes; the caller owns one reference. Any thread. Allocates.
 *
 * -EINVAL     the capacity is 0 or over 2^30, or the size of all is over 2^40 bytes.
 * -ENOMEM     no memory for the elements.
 */
TORC_CHECK int torc_shared_channel_create(uint32_t capacity, size_t element_size,
                                          struct torc_shared_channel **ret_channel);

/* Another reference to the same channel. */
TORC_API struct torc_shared_channel *torc_shared_channel_share(struct torc_shared_channel *channel);

/* Give a reference back; the last one frees the channel, and what is in it. NULL is ignored. */
TORC_API void torc_shared_channel_release(struct torc_shared_channel *channel);

/*
 * Send a copy of *value. Waits while the channel is full. Where there is room it does not look at
 * the scope's reason.
 *
 * -EPIPE      the channel is closed.
 */
TORC_CHECK int torc_shared_channel_send(struct torc_shared_channel *channel, const void *value);

/*
 * Send if there is room. Also in a loop callback.
 *
 * -EAGAIN     there is none.
 * -EPIPE      the channel is closed.
 */
TORC_CHECK int torc_shared_channel_try_send(struct torc_shared_channel *channel, const void *value);

/*
 * Receive the oldest value. Waits while there is none.
 *
 * -EPIPE      the channel is closed, and all that was sent has been received.
 */
TORC_CHECK int torc_shared_channel_receive(struct torc_shared_channel *channel, void *ret_value);

/*
 * Receive if a value is there. Also in a loop callback.
 *
 * -EAGAIN     none is.
 * -EPIPE      as torc_shared_channel_receive().
 */
TORC_CHECK int torc_shared_channel_try_receive(struct torc_shared_channel *channel,
                                               void *ret_value);

/* Close the channel, by either side. Wakes all who wait. Also in a loop callback; idempotent. */
TORC_API void torc_shared_channel_close(struct torc_shared_channel *channel);

TORC_END_C
#endif

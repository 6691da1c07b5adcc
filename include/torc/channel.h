/* SPDX-License-Identifier: MIT */
/*
 * torc/channel.h - values that pass from fiber to fiber of one shard.
 *
 *     torc_channel     bounded; with a capacity of 0 sender and receiver meet
 *     torc_queue       unbounded, of elements that the sender owns; warns when it grows large
 *     torc_oneshot     one value, once
 *     torc_broadcast   every reader gets every value, unless it lags behind
 *     torc_latest      the latest value
 *
 * No locks, no allocation: slots and elements are the caller's memory, and values are copied. What
 * torc/sync.h says of its things holds for these as well: not moved while in use, first come first
 * served, and a value that has been handed over is never lost to a reason of the scope.
 *
 * Each can be closed, by either side, from a fiber or a loop callback, any number of times. Closing
 * wakes everybody. What has been sent can still be received; then, and for senders at once, all
 * calls give -EPIPE, which no other condition does.
 *
 * Sending where there is room, and all try_ forms, do not look at the scope's reason, and may be
 * called from a loop callback. All can be cases of a torc_select().
 */
#ifndef TORC_CHANNEL_H
#define TORC_CHANNEL_H

#include <stddef.h>
#include <torc/sync.h>
TORC_BEGIN_C

/* ---- Bounded ---- */

/* All fields are private. */
struct torc_channel {
    struct torc_waiters _senders;
    struct torc_waiters _receivers;
    char *_slots;
    size_t _element_size;
    uint32_t _capacity;
    uint32_t _first; /* the slot of the oldest value */
    uint32_t _count;
    bool _closed;
};

/*
 * Prepare a channel of `capacity` elements of `element_size` bytes, kept in `slots`: an array of
 * the caller's that lives as long as the channel; NULL when the capacity is 0, or the size is.
 */
TORC_API void torc_channel_init(struct torc_channel *channel, void *slots, size_t element_size,
                                uint32_t capacity);

/*
 * Send a copy of *value. Suspends while the channel is full; with a capacity of 0, until a receiver
 * takes it. Returns 0 when it has been sent; after anything else it has not.
 *
 * -EPIPE      the channel is closed.
 */
TORC_CHECK int torc_channel_send(struct torc_channel *channel, const void *value);

/*
 * Send if that needs no waiting.
 *
 * -EAGAIN     it does.
 * -EPIPE      the channel is closed.
 */
TORC_CHECK int torc_channel_try_send(struct torc_channel *channel, const void *value);

/*
 * Receive the oldest value. Suspends while there is none.
 *
 * -EPIPE      the channel is closed, and all that was sent has been received.
 */
TORC_CHECK int torc_channel_receive(struct torc_channel *channel, void *ret_value);

/*
 * Receive if a value is there, or a sender waits.
 *
 * -EAGAIN     neither.
 * -EPIPE      as torc_channel_receive().
 */
TORC_CHECK int torc_channel_try_receive(struct torc_channel *channel, void *ret_value);

/* Close the channel. Senders that wait get -EPIPE, and keep their values. */
TORC_API void torc_channel_close(struct torc_channel *channel);

/* Whether the channel is closed. */
TORC_API bool torc_channel_is_closed(const struct torc_channel *channel);

/* How many values are in the slots. */
TORC_API uint32_t torc_channel_count(const struct torc_channel *channel);

/* The channel is not used any more. Aborts if fibers wait. */
TORC_API void torc_channel_finish(struct torc_channel *channel);

/* ---- Unbounded ---- */

/* To be embedded in what is sent. Belongs to the queue from push to pop. */
struct torc_queue_node {
    struct torc_queue_node *_next;
};

/* First in, first out, without a limit: sending never waits. Zeroed is ready, and never warns. */
struct torc_queue {
    struct torc_queue_node *_first;
    struct torc_queue_node **_last;
    struct torc_waiters _receivers;
    const char *_name;
    uint32_t _count;
    uint32_t _warn_at; /* 0: never */
    bool _closed;
};

/*
 * Prepare a queue that warns in the log, under `name`, when it holds `warn_at` elements, and again
 * each time this has doubled. A receiver that is too slow has no other way to be noticed.
 */
TORC_API void torc_queue_init(struct torc_queue *queue, const char *name, uint32_t warn_at);

/*
 * Send an element, which is the receiver's from then on. From a fiber or a loop callback.
 *
 * -EPIPE      the queue is closed; the element is still the caller's.
 */
TORC_CHECK int torc_queue_push(struct torc_queue *queue, struct torc_queue_node *node);

/*
 * Receive the oldest element. Suspends while there is none.
 *
 * -EPIPE      the queue is closed and empty.
 */
TORC_CHECK int torc_queue_pop(struct torc_queue *queue, struct torc_queue_node **ret_node);

/*
 * Receive if an element is there.
 *
 * -EAGAIN     none is.
 * -EPIPE      as torc_queue_pop().
 */
TORC_CHECK int torc_queue_try_pop(struct torc_queue *queue, struct torc_queue_node **ret_node);

/* Close the queue. */
TORC_API void torc_queue_close(struct torc_queue *queue);

/* How many elements are in the queue. */
TORC_API uint32_t torc_queue_count(const struct torc_queue *queue);

/* The queue is not used any more. Aborts if fibers wait, or elements are left. */
TORC_API void torc_queue_finish(struct torc_queue *queue);

/* ---- One-shot ---- */

/* A place for one value, sent once and received once. All fields are private. */
struct torc_oneshot {
    struct torc_waiters _receivers;
    struct torc_waiters _watchers; /* senders that wait for the close */
    void *_slot;
    size_t _size;
    uint8_t _state;
};

/* Prepare a one-shot for a value of `size` bytes, kept in `slot`; NULL and 0 for a mere signal. */
TORC_API void torc_oneshot_init(struct torc_oneshot *oneshot, void *slot, size_t size);

/*
 * Send a copy of *value, without waiting. From a fiber or a loop callback.
 *
 * -EPIPE      the receiver has closed, or the value has been sent before.
 */
TORC_CHECK int torc_oneshot_send(struct torc_oneshot *oneshot, const void *value);

/*
 * Receive the value. Suspends until it is sent.
 *
 * -EPIPE      closed without a value, or the value has been received before.
 */
TORC_CHECK int torc_oneshot_receive(struct torc_oneshot *oneshot, void *ret_value);

/*
 * Receive the value if it is there.
 *
 * -EAGAIN     it may still come.
 * -EPIPE      as torc_oneshot_receive().
 */
TORC_CHECK int torc_oneshot_try_receive(struct torc_oneshot *oneshot, void *ret_value);

/* Close it: no value will come, or none is wanted. One that was sent can still be received. */
TORC_API void torc_oneshot_close(struct torc_oneshot *oneshot);

/* Whether nothing will be sent any more: it is closed, or a value was sent. */
TORC_API bool torc_oneshot_is_closed(const struct torc_oneshot *oneshot);

/* For the sender: wait until it is closed, so that work for the value can be given up. Suspends. */
TORC_CHECK int torc_oneshot_wait_closed(struct torc_oneshot *oneshot);

/* The one-shot is not used any more. Aborts if fibers wait. */
TORC_API void torc_oneshot_finish(struct torc_oneshot *oneshot);

/* ---- Broadcast ---- */

/* The last `capacity` values that were sent. All fields are private. */
struct torc_broadcast {
    struct torc_waiters _readers;
    char *_slots;
    size_t _element_size;
    uint32_t _capacity;
    bool _closed;
    uint64_t _sent; /* so many values so far */
};

/* How far one reader is. May be copied: the copy reads on by itself. */
struct torc_broadcast_reader {
    struct torc_broadcast *_broadcast;
    uint64_t _next;
};

/* Prepare a broadcast; `slots` as torc_channel_init(), `capacity` at least 1. */
TORC_API void torc_broadcast_init(struct torc_broadcast *broadcast, void *slots,
                                  size_t element_size, uint32_t capacity);

/*
 * Send a copy of *value to all readers. Never waits: the oldest value makes room. From a fiber or a
 * loop callback.
 *
 * -EPIPE      the broadcast is closed.
 */
TORC_CHECK int torc_broadcast_send(struct torc_broadcast *broadcast, const void *value);

/* Let a reader begin with the next value that is sent. No undoing needed. */
TORC_API void torc_broadcast_subscribe(struct torc_broadcast *broadcast,
                                       struct torc_broadcast_reader *reader);

/*
 * Receive the reader's next value. Suspends while there is none. Returns how many values it has
 * missed before this one because it lags behind: 0 if none, at most INT_MAX.
 *
 * -EPIPE      closed, and the reader has had all.
 */
TORC_CHECK int torc_broadcast_receive(struct torc_broadcast_reader *reader, void *ret_value);

/*
 * Receive if a value is there.
 *
 * -EAGAIN     none is.
 * -EPIPE      as torc_broadcast_receive().
 */
TORC_CHECK int torc_broadcast_try_receive(struct torc_broadcast_reader *reader, void *ret_value);

/* Close the broadcast. */
TORC_API void torc_broadcast_close(struct torc_broadcast *broadcast);

/* The broadcast is not used any more. Aborts if readers wait. */
TORC_API void torc_broadcast_finish(struct torc_broadcast *broadcast);

/* ---- Latest ---- */

/* A value that changes, of which only the latest counts. All fields are private. */
struct torc_latest {
    struct torc_waiters _waiters;
    void *_slot;
    size_t _size;
    uint64_t _version; /* 1 for the first value */
    bool _closed;
};

/* Prepare it for a value of `size` bytes: that which is in `slot`, which belongs to it now. */
TORC_API void torc_latest_init(struct torc_latest *latest, void *slot, size_t size);

/*
 * Change the value and wake all who wait for that. From a fiber or a loop callback.
 *
 * -EPIPE      it is closed.
 */
TORC_CHECK int torc_latest_set(struct torc_latest *latest, const void *value);

/* The value now, also after the close. Returns its version, which is at least 1. */
TORC_API uint64_t torc_latest_get(const struct torc_latest *latest, void *ret_value);

/*
 * Wait until the version is not *version, at first 0 or what torc_latest_get() returned; then
 * update it, and the value. Suspends. A change that is overtaken by a later one is never seen.
 *
 * -EPIPE      closed, and *version is that of the last value.
 */
TORC_CHECK int torc_latest_wait(struct torc_latest *latest, uint64_t *version, void *ret_value);

/* Close it: the value will not change any more. */
TORC_API void torc_latest_close(struct torc_latest *latest);

/* It is not used any more. Aborts if fibers wait. */
TORC_API void torc_latest_finish(struct torc_latest *latest);

TORC_END_C
#endif

/* SPDX-License-Identifier: MIT */
/*
 * mailbox.h - the one way into a shard for other threads.
 *
 * A stack of messages, pushed by compare-and-swap and taken whole by its shard, which turns it
 * around: so each sender's messages keep their order. Shared by reference, since senders may
 * outlive the shard; a closed mailbox refuses.
 *
 * Waking: the shard says that it sleeps, and then looks once more. A sender pushes first, and then
 * looks whether the shard sleeps; whoever changes that state sends the wake-up. Both orders are
 * sequentially consistent, so either the shard sees the message or a sender sees the shard asleep.
 * Of each kind of wake-up at most one is on its way per sleep, however many send:
 *
 *     ASLEEP --shard of the same runtime--> claimed by it: a MSG_RING that leaves with its ops
 *     ASLEEP or claimed by another --anybody else--> AWAKE: an eventfd, at once
 *
 * What leaves later must find the shard's ring, and only the shards of a runtime end together.
 */
#ifndef SHARD_MAILBOX_H
#define SHARD_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/mailbox.h>

struct torc__driver;
struct torc__runtime;

#define MAILBOX_ASLEEP ((uintptr_t)0)
#define MAILBOX_AWAKE  ((uintptr_t)1)

/* The shard, which is closing, sleeps until the last of the wakers has gone. */
#define MAILBOX_AWAITED (1u << 31)

/* Stands for "closed" at the head of the stack; never run, never followed. */
extern struct torc_message torc__mailbox_closed;

/* Also the public `struct torc_mailbox`. */
struct torc__mailbox {
    _Alignas(64) _Atomic(struct torc_message *) last; /* newest first; CLOSED at the end */
    atomic_uintptr_t sleep;      /* MAILBOX_ASLEEP, MAILBOX_AWAKE, or the shard that claims it */
    struct torc__driver *driver; /* whom to wake; while open */
    const struct torc__runtime *runtime; /* whose shards may claim it */
    atomic_uint wakers; /* senders that may be using `driver` just now, and MAILBOX_AWAITED */
    atomic_uint references;
    atomic_uint load; /* how many fibers the shard has, for others to see */
};

/*
 * A new mailbox with one reference, for a shard of `runtime`; NULL without memory. Closed until it
 * is opened.
 */
struct torc__mailbox *torc__mailbox_create(const struct torc__runtime *runtime);

/* Begin to take messages for the shard of `driver`. */
void torc__mailbox_open(struct torc__mailbox *mailbox, struct torc__driver *driver);

/*
 * Refuse messages from now on. The last messages are returned, oldest first, to be run. Sleeps
 * while there are senders that are about to wake the driver: each thread is one once at most, since
 * it is refused before it becomes one the next time.
 */
struct torc_message *torc__mailbox_close(struct torc__mailbox *mailbox);

struct torc__mailbox *torc__mailbox_acquire(struct torc__mailbox *mailbox);
void torc__mailbox_release(struct torc__mailbox *mailbox);

/* Any thread. 0 or -ESHUTDOWN. */
int torc__mailbox_push(struct torc__mailbox *mailbox, struct torc_message *message);

/* All messages, oldest first. The shard's thread; not when closed. */
struct torc_message *torc__mailbox_take(struct torc__mailbox *mailbox);

/* Whether there are messages. */
static inline bool torc__mailbox_has_mail(struct torc__mailbox *mailbox)
{
    struct torc_message *last = atomic_load_explicit(&mailbox->last, memory_order_relaxed);

    return last != NULL && last != &torc__mailbox_closed;
}

/* Whether messages are taken; a moment later they may not be any more. Any thread. */
static inline bool torc__mailbox_is_open(struct torc__mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->last, memory_order_relaxed) != &torc__mailbox_closed;
}

/* Tell others how many fibers the shard has. Its own thread. */
static inline void torc__mailbox_set_load(struct torc__mailbox *mailbox, unsigned load)
{
    /* Others read this line, so it is not written without need. */
    if (atomic_load_explicit(&mailbox->load, memory_order_relaxed) != load)
        atomic_store_explicit(&mailbox->load, load, memory_order_relaxed);
}

static inline unsigned torc__mailbox_load(struct torc__mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->load, memory_order_relaxed);
}

/* The shard is going to sleep. False if it must not, since a message has come. */
bool torc__mailbox_sleep(struct torc__mailbox *mailbox);

/* It is awake again. */
void torc__mailbox_woken(struct torc__mailbox *mailbox);

#endif

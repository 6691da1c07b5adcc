/* SPDX-License-Identifier: MIT */
/*
 * parked.h - a fiber or a plain thread that waits for something other threads do.
 *
 * It stands on the stack of the one who waits. A fiber is woken by a message to its shard, or
 * directly where the waker is on the same one; a thread by a futex. Whoever is to wake it has found
 * it somewhere, in a queue for one, and must do so exactly once: afterwards it is gone.
 */
#ifndef SYNC_PARKED_H
#define SYNC_PARKED_H

#include "shard/shard.h"
#include <torc/mailbox.h>

struct torc_shared_waiters;

struct torc__parked {
    struct torc_message message; /* Its function wakes the fiber, or does something else for it. */
    struct torc__shard *shard;   /* of the fiber; NULL: a thread */
    struct torc_fiber *fiber;
    struct torc__mailbox *mailbox;
    atomic_uint woken; /* a thread's futex */
    /* For shared_waiters.c. */
    struct torc_shared_waiters *queue;
    bool stands; /* in the queue; only under its lock */
    struct torc__parked *next;
    struct torc__parked **link;
    uint32_t units; /* wanted */
};

/*
 * Prepare to wait. The calling fiber, or thread; aborts in a loop callback. -ESHUTDOWN if this
 * shard's mailbox is closed, so that nobody could wake the fiber any more.
 */
int torc__parked_init(struct torc__parked *parked);

/* Why the caller's waits end: its scope's reason; 0 for a thread. Aborts in a loop callback. */
int torc__caller_reason(void);

/*
 * Wait until woken; the result given there for a fiber, 0 for a thread. `kind` as torc__wait();
 * `parked` is what the fiber waits for.
 */
int torc__parked_wait(struct torc__parked *parked, const struct torc_wait_kind *kind);

/* Wake it, with the result 0. Any thread, once. */
void torc__parked_wake(struct torc__parked *parked);

#endif

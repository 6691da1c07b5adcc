/* SPDX-License-Identifier: MIT */
/*
 * waiters.h - fibers in a queue: what everything in this layer waits with.
 *
 * A waiter stands on the stack of its fiber. Whoever has something for the first of a queue grants
 * it: the waiter leaves the queue in the same moment and its fiber becomes ready, so from then on
 * no reason of a scope can take back what was granted. A reason that comes first takes the waiter
 * out of the queue. So a queue holds only fibers that still wait.
 *
 * A fiber that selects stands in several queues at once. Its waiters have a `_granted` of their
 * own, which takes the others out of their queues before it wakes the fiber.
 */
#ifndef SYNC_WAITERS_H
#define SYNC_WAITERS_H

#include "shard/shard.h"
#include <torc/select.h>
#include <torc/sync.h>

static inline bool torc__waiters_empty(const struct torc_waiters *waiters)
{
    return waiters->_first == NULL;
}

/* Stand at the end of the queue. */
static inline void torc__waiters_append(struct torc_waiters *waiters, struct torc_waiter *waiter)
{
    /* Zeroed memory is an empty queue. */
    struct torc_waiter **last = waiters->_first == NULL ? &waiters->_first : waiters->_last;

    waiter->_next = NULL;
    waiter->_link = last;
    waiter->_queue = waiters;
    *last = waiter;
    waiters->_last = &waiter->_next;
}

/* Leave the queue. */
static inline void torc__waiters_leave(struct torc_waiter *waiter)
{
    *waiter->_link = waiter->_next;
    if (waiter->_next != NULL)
        waiter->_next->_link = waiter->_link;
    else
        waiter->_queue->_last = waiter->_link;
    waiter->_queue = NULL;
}

/* Give the waiter what it waits for: it leaves its queue and its wait returns `result`. */
static inline void torc__waiter_grant(struct torc_waiter *waiter, int result)
{
    torc__waiters_leave(waiter);
    if (unlikely(waiter->_granted != NULL))
        waiter->_granted(waiter, result);
    else
        torc__wake(torc__shard, waiter->_fiber, result);
}

/* Grant the same to all in the queue. */
void torc__waiters_grant_all(struct torc_waiters *waiters, int result);

/* A kind of wait in the queue `field` of a `type`; and of one that a fiber may have for itself. */
#define WAIT_KIND_QUEUE_OF(label, function, type, field, owner_at)                     \
    {                                                                                  \
        .interrupt = (function), .name = (label), .form = TORC_WAIT_OBJECT,            \
        .object = offsetof(struct torc_waiter, _queue), .base = offsetof(type, field), \
        .owner = (owner_at), .fd = TORC_WAIT_NONE, .count = TORC_WAIT_NONE,            \
    }
#define WAIT_KIND_QUEUE(label, type, field) \
    WAIT_KIND_QUEUE_OF(label, torc__interrupt_wait, type, field, TORC_WAIT_NONE)

/* Leave the queue and wake the fiber with the reason: how most waits here are interrupted. */
void torc__interrupt_wait(struct torc_fiber *fiber, int reason);

/*
 * Wait at the end of the queue until granted. Returns what was granted, or the scope's reason. The
 * caller has seen that there is none yet; `kind` as torc__wait(), and waits_for is `waiter`.
 */
int torc__waiters_wait(struct torc__shard *shard, struct torc_waiters *waiters,
                       struct torc_waiter *waiter, const struct torc_wait_kind *kind);

/* The plain wait of the running fiber: returns 0 when granted, or the reason, also at the entry. */
int torc__waiters_wait_plainly(struct torc__shard *shard, struct torc_waiters *waiters,
                               const struct torc_wait_kind *kind);

/* The same for a value: `object` and `value` are for the one who grants. */
int torc__waiters_wait_for_value(struct torc__shard *shard, struct torc_waiters *waiters,
                                 void *object, void *value, const struct torc_wait_kind *kind);

/* A case of a select that waits in `queue`; `attempt` commits it if that needs no waiting. */
struct torc_case torc__case_of(int (*attempt)(struct torc_case *one), struct torc_waiters *queue,
                               void *object, void *value);

#endif

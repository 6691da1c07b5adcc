/* SPDX-License-Identifier: MIT */
/*
 * waiters.c - fibers in a queue.
 */
#include "sync/waiters.h"

void torc__waiters_append(struct torc_waiters *waiters, struct torc_waiter *waiter)
{
    /* Zeroed memory is an empty queue. */
    struct torc_waiter **last = waiters->_first == NULL ? &waiters->_first : waiters->_last;

    waiter->_next = NULL;
    waiter->_link = last;
    waiter->_queue = waiters;
    *last = waiter;
    waiters->_last = &waiter->_next;
}

void torc__waiters_leave(struct torc_waiter *waiter)
{
    *waiter->_link = waiter->_next;
    if (waiter->_next != NULL)
        waiter->_next->_link = waiter->_link;
    else
        waiter->_queue->_last = waiter->_link;
    waiter->_queue = NULL;
}

void torc__waiter_grant(struct torc_waiter *waiter, int result)
{
    torc__waiters_leave(waiter);
    if (unlikely(waiter->_granted != NULL))
        waiter->_granted(waiter, result);
    else
        torc__wake(torc__shard, waiter->_fiber, result);
}

void torc__waiters_grant_all(struct torc_waiters *waiters, int result)
{
    while (!torc__waiters_empty(waiters))
        torc__waiter_grant(waiters->_first, result);
}

void torc__interrupt_wait(struct torc_fiber *fiber, int reason)
{
    torc__waiters_leave(fiber->waits_for);
    torc__wake(torc__shard, fiber, reason);
}

int torc__waiters_wait(struct torc__shard *shard, struct torc_waiters *waiters,
                       struct torc_waiter *waiter, const struct torc_wait_kind *kind)
{
    waiter->_fiber = shard->running;
    waiter->_granted = NULL;
    torc__waiters_append(waiters, waiter);
    return torc__wait(shard, kind, waiter);
}

int torc__waiters_wait_plainly(struct torc__shard *shard, struct torc_waiters *waiters,
                               const struct torc_wait_kind *kind)
{
    struct torc_waiter waiter;
    int reason = torc__reason(shard);

    if (unlikely(reason != 0))
        return torc__refuse(shard, reason);
    return torc__waiters_wait(shard, waiters, &waiter, kind);
}

int torc__waiters_wait_for_value(struct torc__shard *shard, struct torc_waiters *waiters,
                                 void *object, void *value, const struct torc_wait_kind *kind)
{
    struct torc_waiter waiter = {._object = object, ._value = value};
    int reason = torc__reason(shard);

    if (unlikely(reason != 0))
        return torc__refuse(shard, reason);
    return torc__waiters_wait(shard, waiters, &waiter, kind);
}

struct torc_case torc__case_of(int (*attempt)(struct torc_case *one), struct torc_waiters *queue,
                               void *object, void *value)
{
    return (struct torc_case){._attempt = attempt,
                              ._queue = queue,
                              ._waiter = {._object = object, ._value = value},
                              ._deadline_ns = TORC_FOREVER};
}

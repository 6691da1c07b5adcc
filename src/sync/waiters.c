/* SPDX-License-Identifier: MIT */
/*
 * waiters.c - fibers in a queue.
 */
#include "sync/waiters.h"

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
    struct torc_waiter waiter;
    int reason = torc__reason(shard);

    if (unlikely(reason != 0))
        return torc__refuse(shard, reason);
    waiter._object = object;
    waiter._value = value;
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

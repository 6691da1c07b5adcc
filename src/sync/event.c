/* SPDX-License-Identifier: MIT */
/*
 * event.c - something that is set or not, and things under way: what fibers wait for without
 * getting anything.
 */
#include "sync/waiters.h"
#include <errno.h>

void torc_event_set(struct torc_event *event)
{
    TORC_ASSERT(torc__shard != NULL);
    event->_set = true;
    torc__waiters_grant_all(&event->_waiters, 0);
}

void torc_event_clear(struct torc_event *event)
{
    event->_set = false;
}

bool torc_event_is_set(const struct torc_event *event)
{
    return event->_set;
}

static const struct torc_wait_kind event_kind =
    WAIT_KIND_QUEUE("event", struct torc_event, _waiters);

int torc_event_wait(struct torc_event *event)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    if (!event->_set || torc__reason(shard) != 0)
        return torc__waiters_wait_plainly(shard, &event->_waiters, &event_kind);
    return 0;
}

void torc_event_finish(struct torc_event *event)
{
    TORC_ASSERT(torc__waiters_empty(&event->_waiters));
}

static int attempt_event(struct torc_case *one)
{
    return torc_event_is_set(one->_waiter._object) ? 0 : -EAGAIN;
}

struct torc_case torc_case_event(struct torc_event *event)
{
    return torc__case_of(attempt_event, &event->_waiters, event, NULL);
}

/* ---- Wait group ---- */

void torc_wait_group_add(struct torc_wait_group *group, uint32_t count)
{
    TORC_ASSERT(count <= UINT32_MAX - group->_count);
    group->_count += count;
}

void torc_wait_group_done(struct torc_wait_group *group)
{
    TORC_ASSERT(group->_count > 0);
    if (--group->_count == 0)
        torc__waiters_grant_all(&group->_waiters, 0);
}

static const struct torc_wait_kind group_kind =
    WAIT_KIND_QUEUE("wait group", struct torc_wait_group, _waiters);

int torc_wait_group_wait(struct torc_wait_group *group)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    if (group->_count > 0 || torc__reason(shard) != 0)
        return torc__waiters_wait_plainly(shard, &group->_waiters, &group_kind);
    return 0;
}

void torc_wait_group_finish(struct torc_wait_group *group)
{
    TORC_ASSERT(group->_count == 0);
    TORC_ASSERT(torc__waiters_empty(&group->_waiters));
}

/* ---- Once ---- */

bool torc_once_is_done(const struct torc_once *once)
{
    return once->_done;
}

static const struct torc_wait_kind once_kind = WAIT_KIND_QUEUE_OF(
    "once", torc__interrupt_wait, struct torc_once, _waiters, offsetof(struct torc_once, _runner));

int torc_once_run(struct torc_once *once, torc_fiber_fn *body, void *arg)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int result;

    if (likely(once->_done))
        return 0;
    TORC_ASSERT(once->_runner != shard->running); /* body needs what it is to do. */
    if (once->_runner != NULL) {
        result = torc__waiters_wait_plainly(shard, &once->_waiters, &once_kind);
        if (result < 0 || once->_done)
            return result;
    }
    once->_runner = shard->running;
    result = body(arg);
    once->_runner = NULL;
    if (result >= 0) {
        once->_done = true;
        torc__waiters_grant_all(&once->_waiters, 0);
        return 0;
    }
    if (!torc__waiters_empty(&once->_waiters)) {
        /* It is the next one's turn, whose place nobody may take before it runs. */
        once->_runner = once->_waiters._first->_fiber;
        torc__waiter_grant(once->_waiters._first, 0);
    }
    return result;
}

void torc_once_finish(struct torc_once *once)
{
    TORC_ASSERT(once->_runner == NULL);
}

/* ---- Barrier ---- */

/* A waiter of a barrier, which has to know that one has left. */
struct arrival {
    struct torc_waiter waiter;
    struct torc_barrier *barrier;
};

void torc_barrier_init(struct torc_barrier *barrier, uint32_t count)
{
    TORC_ASSERT(count > 0);
    *barrier = (struct torc_barrier){._count = count};
}

static void interrupt_arrival(struct torc_fiber *fiber, int reason)
{
    struct arrival *arrival = fiber->waits_for;

    arrival->barrier->_arrived--;
    torc__waiters_leave(&arrival->waiter);
    torc__wake(torc__shard, fiber, reason);
}

static const struct torc_wait_kind barrier_kind =
    WAIT_KIND_QUEUE_OF("barrier", interrupt_arrival, struct torc_barrier, _waiters, TORC_WAIT_NONE);

int torc_barrier_wait(struct torc_barrier *barrier)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct arrival arrival = {.barrier = barrier};
    int reason = torc__reason(shard);

    TORC_ASSERT(barrier->_count > 0);
    if (reason != 0)
        return torc__refuse(shard, reason);
    if (++barrier->_arrived == barrier->_count) {
        barrier->_arrived = 0;
        torc__waiters_grant_all(&barrier->_waiters, 0);
        return 1;
    }
    return torc__waiters_wait(shard, &barrier->_waiters, &arrival.waiter, &barrier_kind);
}

void torc_barrier_finish(struct torc_barrier *barrier)
{
    TORC_ASSERT(torc__waiters_empty(&barrier->_waiters));
}

/* SPDX-License-Identifier: MIT */
/*
 * shared_waiters.c - a queue of fibers and threads.
 */
#include "sync/shared_waiters.h"
#include <sched.h>

#define SPINS_PER_YIELD 64

void torc__shared_lock(struct torc_shared_waiters *waiters)
{
    unsigned spins = 0;

    while (atomic_exchange_explicit(torc__atomic(&waiters->_lock), 1, memory_order_acquire) != 0) {
        if (++spins % SPINS_PER_YIELD == 0)
            sched_yield(); /* The kernel may have taken the CPU from the one who holds it. */
        else
            torc__cpu_relax();
    }
}

void torc__shared_unlock(struct torc_shared_waiters *waiters)
{
    atomic_store_explicit(torc__atomic(&waiters->_lock), 0, memory_order_release);
}

void torc__shared_announce(struct torc_shared_waiters *waiters)
{
    atomic_store(torc__atomic(&waiters->_waiting), 1);
}

void torc__shared_withdraw(struct torc_shared_waiters *waiters)
{
    if (waiters->_first == NULL)
        atomic_store_explicit(torc__atomic(&waiters->_waiting), 0, memory_order_relaxed);
}

void torc__shared_stand(struct torc_shared_waiters *waiters, struct torc__parked *parked,
                        bool at_front)
{
    struct torc__parked **link =
        at_front || waiters->_first == NULL ? &waiters->_first : waiters->_last;

    parked->queue = waiters;
    parked->stands = true;
    parked->link = link;
    parked->next = *link;
    *link = parked;
    if (parked->next != NULL)
        parked->next->link = &parked->next;
    else
        waiters->_last = &parked->next;
}

static void leave(struct torc_shared_waiters *waiters, struct torc__parked *parked)
{
    *parked->link = parked->next;
    if (parked->next != NULL)
        parked->next->link = parked->link;
    else
        waiters->_last = parked->link;
    parked->stands = false;
    torc__shared_withdraw(waiters);
}

struct torc__parked *torc__shared_take(struct torc_shared_waiters *waiters)
{
    struct torc__parked *first = waiters->_first;

    if (first == NULL)
        return NULL;
    leave(waiters, first);
    first->next = NULL;
    return first;
}

struct torc__parked *torc__shared_take_all(struct torc_shared_waiters *waiters)
{
    struct torc__parked *all = waiters->_first;

    for (struct torc__parked *parked = all; parked != NULL; parked = parked->next)
        parked->stands = false;
    waiters->_first = NULL;
    torc__shared_withdraw(waiters);
    return all;
}

void torc__shared_wake_chain(struct torc__parked *parked)
{
    while (parked != NULL) {
        struct torc__parked *next = parked->next; /* Woken, it is gone. */

        torc__parked_wake(parked);
        parked = next;
    }
}

void torc__shared_wake_one(struct torc_shared_waiters *waiters)
{
    struct torc__parked *first;

    torc__shared_lock(waiters);
    first = torc__shared_take(waiters);
    torc__shared_unlock(waiters);
    torc__shared_wake_chain(first);
}

bool torc__shared_leave(struct torc__parked *parked)
{
    struct torc_shared_waiters *waiters = parked->queue;
    bool stood;

    torc__shared_lock(waiters);
    stood = parked->stands;
    if (stood)
        leave(waiters, parked);
    torc__shared_unlock(waiters);
    return stood;
}

void torc__interrupt_shared(struct torc_fiber *fiber, int reason)
{
    if (torc__shared_leave(fiber->waits_for))
        torc__wake(torc__shard, fiber, reason);
}

int torc__shared_wait(struct torc__parked *parked, const struct torc_wait_kind *kind)
{
    return torc__parked_wait(parked, kind);
}

/* SPDX-License-Identifier: MIT */
/*
 * shared_lock.c - mutex, semaphore and event for fibers of all shards and for threads.
 *
 * As on one shard, what is given back is handed over to the first who waits. The mutex is one word
 * while nobody waits; the others are always used under the lock of their queue, which costs no more
 * than a word of their own would.
 */
#include "sync/shared_waiters.h"
#include <errno.h>

/* How often to look again at a mutex before queuing: what it protects takes a moment as a rule. */
#ifndef MUTEX_SPINS
#define MUTEX_SPINS 50
#endif

/* ---- Mutex ---- */

#define LOCKED 1u
#define WAITED 2u /* somebody waits, or is about to */

/* Stands for the caller: its fiber, or an address that only this thread has. */
static const void *identity(void)
{
    struct torc__shard *shard = torc__shard;

    return shard == NULL ? (const void *)&torc__shard : (const void *)shard->running;
}

/* Only who holds the mutex changes the owner; but others may look whether it is they. */
static void set_owner(struct torc_shared_mutex *mutex, const void *owner)
{
    struct torc__shard *shard = torc__shard;

    __atomic_store_n(&mutex->_owner, owner, __ATOMIC_RELAXED);
    if (shard != NULL)
        shard->running->owes += owner != NULL ? FIBER_OWES_LOCK : -FIBER_OWES_LOCK;
}

static bool is_mine(struct torc_shared_mutex *mutex)
{
    return __atomic_load_n(&mutex->_owner, __ATOMIC_RELAXED) == identity();
}

static bool take_free(struct torc_shared_mutex *mutex)
{
    unsigned state = 0;

    return atomic_compare_exchange_strong_explicit(torc__atomic(&mutex->_state), &state, LOCKED,
                                                   memory_order_acquire, memory_order_relaxed);
}

static bool spin(struct torc_shared_mutex *mutex)
{
    for (unsigned i = 0; i < MUTEX_SPINS; i++) {
        unsigned state = atomic_load_explicit(torc__atomic(&mutex->_state), memory_order_relaxed);

        if (state == 0 && take_free(mutex))
            return true;
        if (state & WAITED)
            return false;
        torc__cpu_relax();
    }
    return false;
}

/* Stand in the queue; or take the mutex if it has become free. */
static bool take_or_stand(struct torc_shared_mutex *mutex, struct torc__parked *parked)
{
    struct torc_shared_waiters *waiters = &mutex->_waiters;
    bool taken;

    torc__shared_lock(waiters);
    taken = !(atomic_fetch_or_explicit(torc__atomic(&mutex->_state), LOCKED | WAITED,
                                       memory_order_acquire) &
              LOCKED);
    if (!taken)
        torc__shared_stand(waiters, parked, false);
    else if (waiters->_first == NULL)
        atomic_store_explicit(torc__atomic(&mutex->_state), LOCKED, memory_order_relaxed);
    torc__shared_unlock(waiters);
    return taken;
}

static const struct torc_wait_kind mutex_kind = WAIT_KIND_SHARED(
    "shared mutex", struct torc_shared_mutex, _waiters, offsetof(struct torc_shared_mutex, _owner));

/* The mutex is held by somebody else: wait for it. */
static int lock_slowly(struct torc_shared_mutex *mutex)
{
    struct torc__parked parked;
    int result = torc__parked_init(&parked);

    if (result == 0 && !take_or_stand(mutex, &parked))
        result = torc__shared_wait(&parked, &mutex_kind);
    return result;
}

int torc_shared_mutex_lock(struct torc_shared_mutex *mutex)
{
    int reason = torc__caller_reason();
    int result = 0;

    TORC_REQUIRE(!is_mine(mutex), "a shared mutex is locked by who holds it");
    if (unlikely(reason != 0))
        return torc__refuse(torc__shard, reason);
    if (unlikely(!take_free(mutex) && !spin(mutex)))
        result = lock_slowly(mutex);
    if (result == 0)
        set_owner(mutex, identity());
    return result;
}

int torc_shared_mutex_try_lock(struct torc_shared_mutex *mutex)
{
    if (!take_free(mutex))
        return -EBUSY;
    set_owner(mutex, identity());
    return 0;
}

/* Somebody may wait: hand the mutex over. */
static void hand_over(struct torc_shared_mutex *mutex)
{
    struct torc_shared_waiters *waiters = &mutex->_waiters;
    struct torc__parked *next;

    torc__shared_lock(waiters);
    next = torc__shared_take(waiters);
    if (waiters->_first == NULL)
        atomic_store_explicit(torc__atomic(&mutex->_state), next != NULL ? LOCKED : 0,
                              memory_order_release);
    torc__shared_unlock(waiters);
    torc__shared_wake_chain(next);
}

void torc_shared_mutex_unlock(struct torc_shared_mutex *mutex)
{
    unsigned state = LOCKED;

    TORC_REQUIRE(is_mine(mutex), "a shared mutex is unlocked by who does not hold it");
    set_owner(mutex, NULL);
    if (!atomic_compare_exchange_strong_explicit(torc__atomic(&mutex->_state), &state, 0,
                                                 memory_order_release, memory_order_relaxed))
        hand_over(mutex);
}

void torc_shared_mutex_finish(struct torc_shared_mutex *mutex)
{
    /* It may be free, and whoever made it so not have left the queue's lock yet. */
    torc__shared_lock(&mutex->_waiters);
    TORC_ASSERT(atomic_load(torc__atomic(&mutex->_state)) == 0);
    torc__shared_unlock(&mutex->_waiters);
}

/* ---- Semaphore ---- */

void torc_shared_semaphore_init(struct torc_shared_semaphore *semaphore, uint32_t units)
{
    *semaphore = (struct torc_shared_semaphore){._units = units};
}

/* Take out those who can have what they want. Under the lock. */
static struct torc__parked *hand_out(struct torc_shared_semaphore *semaphore)
{
    struct torc_shared_waiters *waiters = &semaphore->_waiters;
    struct torc__parked *chain = NULL;
    struct torc__parked **last = &chain;

    while (waiters->_first != NULL && waiters->_first->units <= semaphore->_units) {
        semaphore->_units -= waiters->_first->units;
        *last = torc__shared_take(waiters);
        last = &(*last)->next;
    }
    return chain;
}

static bool take_units(struct torc_shared_semaphore *semaphore, uint32_t units)
{
    if (units > semaphore->_units || semaphore->_waiters._first != NULL)
        return false;
    semaphore->_units -= units;
    return true;
}

int torc_shared_semaphore_try_acquire(struct torc_shared_semaphore *semaphore, uint32_t units)
{
    bool taken;

    torc__shared_lock(&semaphore->_waiters);
    taken = take_units(semaphore, units);
    torc__shared_unlock(&semaphore->_waiters);
    return taken ? 0 : -EAGAIN;
}

static const struct torc_wait_kind semaphore_kind =
    WAIT_KIND_SHARED("shared semaphore", struct torc_shared_semaphore, _waiters, TORC_WAIT_NONE);

int torc_shared_semaphore_acquire(struct torc_shared_semaphore *semaphore, uint32_t units)
{
    struct torc__parked parked;
    int reason = torc__caller_reason();
    int result = 0;
    bool taken;

    if (reason != 0)
        return torc__refuse(torc__shard, reason);
    torc__shared_lock(&semaphore->_waiters);
    taken = take_units(semaphore, units);
    if (!taken) {
        result = torc__parked_init(&parked);
        parked.units = units;
        if (result == 0)
            torc__shared_stand(&semaphore->_waiters, &parked, false);
    }
    torc__shared_unlock(&semaphore->_waiters);
    if (taken || result < 0)
        return result;
    result = torc__shared_wait(&parked, &semaphore_kind);
    if (result < 0)
        torc_shared_semaphore_release(semaphore, 0); /* Smaller requests may have stood behind. */
    return result;
}

void torc_shared_semaphore_release(struct torc_shared_semaphore *semaphore, uint32_t units)
{
    struct torc__parked *chain;

    torc__shared_lock(&semaphore->_waiters);
    TORC_ASSERT(units <= UINT32_MAX - semaphore->_units);
    semaphore->_units += units;
    chain = hand_out(semaphore);
    torc__shared_unlock(&semaphore->_waiters);
    torc__shared_wake_chain(chain);
}

void torc_shared_semaphore_finish(struct torc_shared_semaphore *semaphore)
{
    torc__shared_lock(&semaphore->_waiters);
    TORC_ASSERT(semaphore->_waiters._first == NULL);
    torc__shared_unlock(&semaphore->_waiters);
}

/* ---- Event ---- */

void torc_shared_event_set(struct torc_shared_event *event)
{
    struct torc__parked *chain;

    torc__shared_lock(&event->_waiters);
    atomic_store_explicit(torc__atomic(&event->_set), 1, memory_order_release);
    chain = torc__shared_take_all(&event->_waiters);
    torc__shared_unlock(&event->_waiters);
    torc__shared_wake_chain(chain);
}

void torc_shared_event_clear(struct torc_shared_event *event)
{
    torc__shared_lock(&event->_waiters); /* So that who looks next sees what came before a set. */
    atomic_store_explicit(torc__atomic(&event->_set), 0, memory_order_relaxed);
    torc__shared_unlock(&event->_waiters);
}

bool torc_shared_event_is_set(const struct torc_shared_event *event)
{
    return atomic_load_explicit((const atomic_uint *)&event->_set, memory_order_acquire) != 0;
}

static const struct torc_wait_kind event_kind =
    WAIT_KIND_SHARED("shared event", struct torc_shared_event, _waiters, TORC_WAIT_NONE);

int torc_shared_event_wait(struct torc_shared_event *event)
{
    struct torc__parked parked;
    int reason = torc__caller_reason();
    int result;
    bool is_set;

    if (reason != 0)
        return torc__refuse(torc__shard, reason);
    if (torc_shared_event_is_set(event))
        return 0;
    result = torc__parked_init(&parked);
    if (result < 0)
        return result;
    torc__shared_lock(&event->_waiters);
    is_set = torc_shared_event_is_set(event);
    if (!is_set)
        torc__shared_stand(&event->_waiters, &parked, false);
    torc__shared_unlock(&event->_waiters);
    return is_set ? 0 : torc__shared_wait(&parked, &event_kind);
}

void torc_shared_event_finish(struct torc_shared_event *event)
{
    torc__shared_lock(&event->_waiters);
    TORC_ASSERT(event->_waiters._first == NULL);
    torc__shared_unlock(&event->_waiters);
}

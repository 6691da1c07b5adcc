/* SPDX-License-Identifier: MIT */
/*
 * lock.c - mutex, condition, read-write lock, semaphore.
 *
 * All hand over: what is given back belongs to the first waiter before its fiber runs. So whenever
 * something is free nobody waits for it, which is what the fast paths look at.
 */
#include "sync/waiters.h"
#include <errno.h>

/* Who has a lock owes its unlock. */
static void take_lock(struct torc_fiber **owner, struct torc_fiber *fiber)
{
    fiber->owes += FIBER_OWES_LOCK;
    *owner = fiber;
}

static void drop_lock(struct torc_fiber **owner)
{
    (*owner)->owes -= FIBER_OWES_LOCK;
    *owner = NULL;
}

/* ---- Mutex ---- */

static const struct torc_wait_kind mutex_kind =
    WAIT_KIND_QUEUE_OF("mutex", torc__interrupt_wait, struct torc_mutex, _waiters,
                       offsetof(struct torc_mutex, _owner));
static const struct torc_wait_kind mutex_kind_shielded = WAIT_KIND_QUEUE_OF(
    "mutex", NULL, struct torc_mutex, _waiters, offsetof(struct torc_mutex, _owner));

/*
 * What is out of the ordinary is out of line, misuse as well: then the ordinary way of lock and
 * unlock, which is some twenty instructions, needs no frame.
 */
static __attribute__((noinline)) int wait_for_mutex(struct torc_mutex *mutex)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    TORC_REQUIRE(mutex->_owner != shard->running, "a fiber locks a mutex that it holds");
    return torc__waiters_wait_plainly(shard, &mutex->_waiters, &mutex_kind);
}

int torc_mutex_lock(struct torc_mutex *mutex)
{
    struct torc__shard *shard = torc__shard;

    if (unlikely(shard == NULL || shard->running == &shard->loop || torc__reason(shard) != 0 ||
                 mutex->_owner != NULL))
        return wait_for_mutex(mutex);
    take_lock(&mutex->_owner, shard->running);
    return 0;
}

int torc_mutex_try_lock(struct torc_mutex *mutex)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    if (mutex->_owner != NULL)
        return -EBUSY;
    take_lock(&mutex->_owner, shard->running);
    return 0;
}

static __attribute__((noinline)) void hand_over(struct torc_mutex *mutex)
{
    TORC_REQUIRE(torc_mutex_is_mine(mutex), "a mutex is unlocked by who does not hold it");
    drop_lock(&mutex->_owner);
    take_lock(&mutex->_owner, mutex->_waiters._first->_fiber);
    torc__waiter_grant(mutex->_waiters._first, 0);
}

void torc_mutex_unlock(struct torc_mutex *mutex)
{
    struct torc__shard *shard = torc__shard;

    if (unlikely(shard == NULL || mutex->_owner != shard->running ||
                 !torc__waiters_empty(&mutex->_waiters))) {
        hand_over(mutex);
        return;
    }
    drop_lock(&mutex->_owner);
}

bool torc_mutex_is_mine(const struct torc_mutex *mutex)
{
    return mutex->_owner == torc__shard_of_fiber()->running;
}

void torc_mutex_finish(struct torc_mutex *mutex)
{
    TORC_ASSERT(mutex->_owner == NULL);
}

/* ---- Condition ---- */

/* Take the mutex whatever the scope says: the caller's caller will give it back. */
static void lock_shielded(struct torc__shard *shard, struct torc_mutex *mutex)
{
    struct torc_waiter waiter;

    if (mutex->_owner == NULL)
        take_lock(&mutex->_owner, shard->running);
    else
        (void)torc__waiters_wait(shard, &mutex->_waiters, &waiter, &mutex_kind_shielded);
}

static const struct torc_wait_kind condition_kind =
    WAIT_KIND_QUEUE("condition", struct torc_condition, _waiters);

int torc_condition_wait(struct torc_condition *condition, struct torc_mutex *mutex)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc_waiter waiter;
    int reason = torc__reason(shard);
    int result;

    TORC_ASSERT(mutex->_owner == shard->running);
    if (reason != 0)
        return torc__refuse(shard, reason);
    torc_mutex_unlock(mutex);
    result = torc__waiters_wait(shard, &condition->_waiters, &waiter, &condition_kind);
    lock_shielded(shard, mutex);
    return result;
}

void torc_condition_signal(struct torc_condition *condition)
{
    TORC_ASSERT(torc__shard != NULL);
    if (!torc__waiters_empty(&condition->_waiters))
        torc__waiter_grant(condition->_waiters._first, 0);
}

void torc_condition_broadcast(struct torc_condition *condition)
{
    TORC_ASSERT(torc__shard != NULL);
    torc__waiters_grant_all(&condition->_waiters, 0);
}

void torc_condition_finish(struct torc_condition *condition)
{
    TORC_ASSERT(torc__waiters_empty(&condition->_waiters));
}

/* ---- Read-write lock ---- */

/* A waiter for a lock or for units, which lets others in when it gives up. */
struct request {
    struct torc_waiter waiter;
    struct torc_rwlock *lock;
    struct torc_semaphore *semaphore;
    bool writes;
    uint32_t units;
};

static struct request *first_request(const struct torc_waiters *waiters)
{
    return container_of(waiters->_first, struct request, waiter);
}

/* Let in whom the lock can take now. */
static void admit(struct torc_rwlock *lock)
{
    while (!torc__waiters_empty(&lock->_waiters) && lock->_writer == NULL) {
        struct request *request = first_request(&lock->_waiters);

        if (request->writes && lock->_readers > 0)
            return;
        if (request->writes)
            take_lock(&lock->_writer, request->waiter._fiber);
        else
            lock->_readers++;
        torc__waiter_grant(&request->waiter, 0);
    }
}

static void interrupt_rwlock(struct torc_fiber *fiber, int reason)
{
    struct request *request = fiber->waits_for;

    torc__interrupt_wait(fiber, reason);
    admit(request->lock); /* Readers may have stood behind this writer. */
}

static const struct torc_wait_kind read_kind =
    WAIT_KIND_QUEUE_OF("read lock", interrupt_rwlock, struct torc_rwlock, _waiters,
                       offsetof(struct torc_rwlock, _writer));
static const struct torc_wait_kind write_kind =
    WAIT_KIND_QUEUE_OF("write lock", interrupt_rwlock, struct torc_rwlock, _waiters,
                       offsetof(struct torc_rwlock, _writer));

static int wait_for_lock(struct torc__shard *shard, struct torc_rwlock *lock, bool writes)
{
    struct request request = {.lock = lock, .writes = writes};
    int reason = torc__reason(shard);

    if (reason != 0)
        return torc__refuse(shard, reason);
    return torc__waiters_wait(shard, &lock->_waiters, &request.waiter,
                              writes ? &write_kind : &read_kind);
}

int torc_rwlock_try_read_lock(struct torc_rwlock *lock)
{
    if (lock->_writer != NULL || !torc__waiters_empty(&lock->_waiters))
        return -EBUSY;
    lock->_readers++;
    return 0;
}

int torc_rwlock_try_write_lock(struct torc_rwlock *lock)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    if (lock->_writer != NULL || lock->_readers > 0)
        return -EBUSY;
    take_lock(&lock->_writer, shard->running);
    return 0;
}

int torc_rwlock_read_lock(struct torc_rwlock *lock)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    TORC_REQUIRE(lock->_writer != shard->running, "a fiber locks what it has locked to write");
    if (torc__reason(shard) != 0 || torc_rwlock_try_read_lock(lock) < 0)
        return wait_for_lock(shard, lock, false);
    return 0;
}

int torc_rwlock_write_lock(struct torc_rwlock *lock)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    TORC_REQUIRE(lock->_writer != shard->running, "a fiber locks what it has locked to write");
    if (torc__reason(shard) != 0 || torc_rwlock_try_write_lock(lock) < 0)
        return wait_for_lock(shard, lock, true);
    return 0;
}

void torc_rwlock_read_unlock(struct torc_rwlock *lock)
{
    TORC_ASSERT(lock->_readers > 0);
    lock->_readers--;
    admit(lock);
}

void torc_rwlock_write_unlock(struct torc_rwlock *lock)
{
    TORC_REQUIRE(lock->_writer == torc__shard_of_fiber()->running,
                 "a lock to write is given up by who does not hold it");
    drop_lock(&lock->_writer);
    admit(lock);
}

void torc_rwlock_downgrade(struct torc_rwlock *lock)
{
    TORC_REQUIRE(lock->_writer == torc__shard_of_fiber()->running,
                 "a lock to write is given up by who does not hold it");
    drop_lock(&lock->_writer);
    lock->_readers = 1;
    admit(lock);
}

void torc_rwlock_finish(struct torc_rwlock *lock)
{
    TORC_ASSERT(lock->_writer == NULL);
    TORC_ASSERT(lock->_readers == 0);
}

/* ---- Semaphore ---- */

void torc_semaphore_init(struct torc_semaphore *semaphore, uint32_t units)
{
    *semaphore = (struct torc_semaphore){._units = units};
}

static void hand_out(struct torc_semaphore *semaphore)
{
    while (!torc__waiters_empty(&semaphore->_waiters)) {
        struct request *request = first_request(&semaphore->_waiters);

        if (request->units > semaphore->_units)
            return;
        semaphore->_units -= request->units;
        torc__waiter_grant(&request->waiter, 0);
    }
}

static void interrupt_semaphore(struct torc_fiber *fiber, int reason)
{
    struct request *request = fiber->waits_for;

    torc__interrupt_wait(fiber, reason);
    hand_out(request->semaphore); /* Smaller requests may have stood behind this one. */
}

int torc_semaphore_try_acquire(struct torc_semaphore *semaphore, uint32_t units)
{
    if (units > semaphore->_units || !torc__waiters_empty(&semaphore->_waiters))
        return -EAGAIN;
    semaphore->_units -= units;
    return 0;
}

static const struct torc_wait_kind semaphore_kind = WAIT_KIND_QUEUE_OF(
    "semaphore", interrupt_semaphore, struct torc_semaphore, _waiters, TORC_WAIT_NONE);

int torc_semaphore_acquire(struct torc_semaphore *semaphore, uint32_t units)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct request request = {.semaphore = semaphore, .units = units};
    int reason = torc__reason(shard);

    if (reason != 0)
        return torc__refuse(shard, reason);
    if (torc_semaphore_try_acquire(semaphore, units) == 0)
        return 0;
    return torc__waiters_wait(shard, &semaphore->_waiters, &request.waiter, &semaphore_kind);
}

void torc_semaphore_release(struct torc_semaphore *semaphore, uint32_t units)
{
    TORC_ASSERT(torc__shard != NULL);
    TORC_ASSERT(units <= UINT32_MAX - semaphore->_units);
    semaphore->_units += units;
    hand_out(semaphore);
}

uint32_t torc_semaphore_units(const struct torc_semaphore *semaphore)
{
    return semaphore->_units;
}

void torc_semaphore_finish(struct torc_semaphore *semaphore)
{
    TORC_ASSERT(torc__waiters_empty(&semaphore->_waiters));
}

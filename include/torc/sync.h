/* SPDX-License-Identifier: MIT */
/*
 * torc/sync.h - fibers of one shard that wait for each other.
 *
 * Fibers of a shard take turns, so what they share needs a lock only where it must not change over
 * a call that suspends. Everything here belongs to one shard: no atomics, no system calls. What is
 * shared by several shards, or with plain threads, is in torc/shared.h.
 *
 * Rules that hold for all of it:
 *   - It lives in the caller's memory, and is not moved while it is in use. Zeroed memory is ready
 *     for use, but for the semaphore's units and the barrier's count.
 *   - All waiting is first come, first served: what becomes free is handed to the one who has
 *     waited longest, and nobody can get in between.
 *   - A wait ends with the scope's reason, unless what was waited for had been handed over before:
 *     then it is the caller's, and the call returns 0.
 *   - try_ forms never suspend, and do not look at the scope's reason. Nor do calls that give back.
 *   - _finish() frees nothing. It says that the thing is not used any more, and aborts if somebody
 *     still holds it or waits for it. Giving back what one does not hold aborts too.
 */
#ifndef TORC_SYNC_H
#define TORC_SYNC_H

#include <stdbool.h>
#include <stdint.h>
#include <torc/fiber.h>
TORC_BEGIN_C

struct torc_fiber;
struct torc_waiter;

/* Fibers that wait, in their order. Part of what they wait for; all fields are private. */
struct torc_waiters {
    struct torc_waiter *_first;
    struct torc_waiter **_last; /* Meaningless while there is no first. */
};

/* ---- Event ---- */

/* Something that is either set or not. Zeroed: not set. */
struct torc_event {
    struct torc_waiters _waiters;
    bool _set;
};

/* Set the event and wake all who wait. From a fiber or a loop callback; idempotent. */
TORC_API void torc_event_set(struct torc_event *event);

/* Make the event not set again. From a fiber or a loop callback. */
TORC_API void torc_event_clear(struct torc_event *event);

/* Whether the event is set. From a fiber or a loop callback. */
TORC_API bool torc_event_is_set(const struct torc_event *event);

/*
 * Wait until the event is set; at once if it is. Suspends otherwise. Returns 0, or the scope's
 * reason. Waking does not clear it.
 */
TORC_CHECK int torc_event_wait(struct torc_event *event);

/* The event is not used any more. Aborts if fibers wait. */
TORC_API void torc_event_finish(struct torc_event *event);

/* ---- Mutex ---- */

/* Held by one fiber at a time. Zeroed: free. */
struct torc_mutex {
    struct torc_fiber *_owner;
    struct torc_waiters _waiters;
};

/*
 * Take the mutex. Suspends if another fiber holds it. Aborts if this one does: it is not recursive.
 * Returns 0, or the scope's reason, and then does not hold it.
 */
TORC_CHECK int torc_mutex_lock(struct torc_mutex *mutex);

/*
 * Take the mutex if it is free.
 *
 * -EBUSY      it is not.
 */
TORC_CHECK int torc_mutex_try_lock(struct torc_mutex *mutex);

/* Give the mutex back: to the fiber that has waited longest, if any does. */
TORC_API void torc_mutex_unlock(struct torc_mutex *mutex);

/* Whether the calling fiber holds the mutex: for assertions. */
TORC_API bool torc_mutex_is_mine(const struct torc_mutex *mutex);

/* The mutex is not used any more. Aborts if it is held. */
TORC_API void torc_mutex_finish(struct torc_mutex *mutex);

/* ---- Condition ---- */

/* Where fibers that hold a mutex wait for what it protects to change. Zeroed: ready. */
struct torc_condition {
    struct torc_waiters _waiters;
};

/*
 * Give `mutex` back, wait to be told, and take it again. Suspends. Returns 0, or the scope's
 * reason: the mutex is held again in any case, for which the call may wait even then. To be called
 * in a loop that looks whether what it waits for has come about.
 */
TORC_CHECK int torc_condition_wait(struct torc_condition *condition, struct torc_mutex *mutex);

/* Wake the fiber that has waited longest, if any waits. From a fiber or a loop callback. */
TORC_API void torc_condition_signal(struct torc_condition *condition);

/* Wake all who wait. From a fiber or a loop callback. */
TORC_API void torc_condition_broadcast(struct torc_condition *condition);

/* The condition is not used any more. Aborts if fibers wait. */
TORC_API void torc_condition_finish(struct torc_condition *condition);

/* ---- Read-write lock ---- */

/*
 * Held by one writer or by many readers. Zeroed: free. A reader waits behind a writer that came
 * first, so writers do not starve; and so a fiber must not take it twice, not even to read.
 */
struct torc_rwlock {
    struct torc_fiber *_writer;
    uint32_t _readers;
    struct torc_waiters _waiters;
};

/* Take the lock to read. Suspends while a writer holds it, or waits. */
TORC_CHECK int torc_rwlock_read_lock(struct torc_rwlock *lock);

/* Take the lock to write. Suspends while anybody holds it. Aborts if this fiber does, as writer. */
TORC_CHECK int torc_rwlock_write_lock(struct torc_rwlock *lock);

/*
 * Take the lock to read if that needs no waiting.
 *
 * -EBUSY      it does.
 */
TORC_CHECK int torc_rwlock_try_read_lock(struct torc_rwlock *lock);

/* torc_rwlock_try_read_lock(), to write. */
TORC_CHECK int torc_rwlock_try_write_lock(struct torc_rwlock *lock);

/* Give back what torc_rwlock_read_lock() took. */
TORC_API void torc_rwlock_read_unlock(struct torc_rwlock *lock);

/* Give back what torc_rwlock_write_lock() took. */
TORC_API void torc_rwlock_write_unlock(struct torc_rwlock *lock);

/* The writer becomes a reader; readers that wait first in the queue come in with it. */
TORC_API void torc_rwlock_downgrade(struct torc_rwlock *lock);

/* The lock is not used any more. Aborts if it is held. */
TORC_API void torc_rwlock_finish(struct torc_rwlock *lock);

/* ---- Semaphore ---- */

/* A number of units that fibers take and give back. Zeroed: none are there. */
struct torc_semaphore {
    uint32_t _units;
    struct torc_waiters _waiters;
};

/* Prepare a semaphore with so many units. */
TORC_API void torc_semaphore_init(struct torc_semaphore *semaphore, uint32_t units);

/*
 * Take `units`, all at once. Suspends until they are there and all who came before have theirs: a
 * request for many is not overtaken by requests for few. Nobody owns units: any fiber may give them
 * back.
 */
TORC_CHECK int torc_semaphore_acquire(struct torc_semaphore *semaphore, uint32_t units);

/*
 * Take `units` if they are there and nobody waits.
 *
 * -EAGAIN     otherwise.
 */
TORC_CHECK int torc_semaphore_try_acquire(struct torc_semaphore *semaphore, uint32_t units);

/* Give `units` back, or add them. From a fiber or a loop callback. Aborts beyond UINT32_MAX. */
TORC_API void torc_semaphore_release(struct torc_semaphore *semaphore, uint32_t units);

/* How many units are there to be taken. */
TORC_API uint32_t torc_semaphore_units(const struct torc_semaphore *semaphore);

/* The semaphore is not used any more. Aborts if fibers wait. */
TORC_API void torc_semaphore_finish(struct torc_semaphore *semaphore);

/* ---- Once ---- */

/* Something to be done by whoever needs it first. Zeroed: not done. */
struct torc_once {
    struct torc_fiber *_runner;
    struct torc_waiters _waiters;
    bool _done;
};

/*
 * Do `body(arg)` unless it has been done; wait for it while another fiber does it. Suspends if that
 * is so, or if body does. Returns 0 once it is done; else what body returned, which is negative, or
 * the scope's reason. A failure leaves it undone: the next in the queue tries in its own scope.
 */
TORC_CHECK int torc_once_run(struct torc_once *once, torc_fiber_fn *body, void *arg);

/* Whether it has been done. */
TORC_API bool torc_once_is_done(const struct torc_once *once);

/* It is not used any more. Aborts if a fiber is doing it, or waits for that. */
TORC_API void torc_once_finish(struct torc_once *once);

/* ---- Barrier ---- */

/* Where `count` fibers wait for each other, again and again. Never zeroed: needs its count. */
struct torc_barrier {
    uint32_t _count;
    uint32_t _arrived;
    struct torc_waiters _waiters;
};

/* Prepare a barrier for `count` fibers, at least 1. */
TORC_API void torc_barrier_init(struct torc_barrier *barrier, uint32_t count);

/*
 * Wait until `count` fibers are here. Suspends, but for the last. Returns 1 to the last and 0 to
 * the others, or the scope's reason to one that has given up: it does not count as arrived.
 */
TORC_CHECK int torc_barrier_wait(struct torc_barrier *barrier);

/* The barrier is not used any more. Aborts if fibers wait. */
TORC_API void torc_barrier_finish(struct torc_barrier *barrier);

/* ---- Wait group ---- */

/*
 * A number of things under way, and fibers that wait until it is 0. Zeroed: none. Where the things
 * are fibers, a scope does the same, and cannot be forgotten.
 */
struct torc_wait_group {
    uint32_t _count;
    struct torc_waiters _waiters;
};

/* So many more are under way. From a fiber or a loop callback. */
TORC_API void torc_wait_group_add(struct torc_wait_group *group, uint32_t count);

/* One has ended. From a fiber or a loop callback. Aborts if none was under way. */
TORC_API void torc_wait_group_done(struct torc_wait_group *group);

/* Wait until none is under way; at once if so. Suspends otherwise. */
TORC_CHECK int torc_wait_group_wait(struct torc_wait_group *group);

/* The group is not used any more. Aborts if fibers wait, or things are under way. */
TORC_API void torc_wait_group_finish(struct torc_wait_group *group);

TORC_END_C
#endif

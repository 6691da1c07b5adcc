/* SPDX-License-Identifier: MIT */
/*
 * torc/shard.h - from one shard to another: calls, messages, fibers, connections.
 *
 * Nothing moves between shards by itself. What belongs to a shard is used there: a fiber that needs
 * it has that shard run a function, and waits. Shards are named by their numbers, from 0 to
 * torc_shard_count() - 1, within one runtime; a thread that is no shard uses a handle, a reference
 * to a shard's mailbox, which stays safe when the shard, or the whole runtime, has ended.
 *
 *     static int count_users(void *arg) // Runs on shard 3, and may touch what is shard 3's.
 *
 *     result = torc_shard_call(3, count_users, &count);
 *
 * What one fiber sends to one shard arrives in its order, whichever of these calls it uses. However
 * many send, a sleeping shard is woken once; one that polls, or is busy, not at all. Nothing is
 * allocated, and no queue can be full: what is sent stands in the memory of the one who waits.
 *
 * A call lends `arg`. So when the caller's scope gives a reason, the call does not just return: a
 * function that has not begun is withdrawn, one that runs is cancelled in its turn, and the call
 * returns when it has ended. What it returned in spite of that is the result.
 */
#ifndef TORC_SHARD_H
#define TORC_SHARD_H

#include <torc/fiber.h>
#include <torc/mailbox.h>
TORC_BEGIN_C

/*
 * Run `body(arg)` as a fiber of another shard, and wait for its result. Suspends. On the own shard
 * that is a plain call, in a scope of its own, once what was sent there before has arrived. Returns
 * what body returned, or the scope's reason if body ended for that, or did not begin.
 *
 * -EINVAL     there is no such shard.
 * -ESHUTDOWN  that shard has ended, or has ended body, which returned -ECANCELED for that; or this
 *             one has no more than its last messages left to run. But where all shards are being
 *             stopped, it is the scope's reason.
 * -ENOMEM     no fiber could be started there.
 */
TORC_API int torc_shard_call(unsigned shard, torc_fiber_fn *body, void *arg);

/*
 * Run `leaf(arg)` in the loop of another shard, and wait for its result. Suspends, but `leaf` must
 * not: a torc call that would aborts. Cheaper than torc_shard_call(), for what is done in a moment.
 * Otherwise as that.
 */
TORC_API int torc_shard_ask(unsigned shard, torc_fiber_fn *leaf, void *arg);

/*
 * Start `body(arg)` as a fiber of another shard's root scope, and wait until that has been done,
 * not for its end. Suspends. This is how to hand on a connection: pass the descriptor in `arg`.
 * When it returns 0 the fiber runs, or will, and owns what arg stands for; else that is still the
 * caller's. Errors as torc_shard_call().
 */
TORC_CHECK int torc_shard_spawn(unsigned shard, torc_fiber_fn *body, void *arg);

/*
 * Post a message to another shard, as torc_mailbox_post(). From a fiber or a loop callback.
 *
 * -EINVAL     there is no such shard.
 * -ESHUTDOWN  that shard has ended: the message is still the caller's, and will not be run.
 */
TORC_CHECK int torc_shard_post(unsigned shard, struct torc_message *message);

/*
 * torc_shard_call() on every shard, this one included, one after the other in their order.
 * Suspends. Returns the first failure, which ends it, or 0.
 */
TORC_API int torc_shard_call_each(torc_fiber_fn *body, void *arg);

/*
 * torc_shard_call() on every shard, this one included, all at the same time. Suspends until all
 * have ended; returns the first failure, which does not stop the others, or 0.
 *
 * -ENOMEM     not all of the fibers could be started that wait here, one for each shard.
 */
TORC_API int torc_shard_call_all(torc_fiber_fn *body, void *arg);

/*
 * torc_shard_ask() of several shards, all at the same time: `leaf(args[i])` in the loop of shard i,
 * for each of the torc_shard_count() arguments that is not NULL. Suspends until all have
 * answered; returns the first failure, which does not stop the others, or 0.
 *
 * -ENOMEM     not all of the fibers could be started that wait here, one less than there are asked.
 */
TORC_API int torc_shard_ask_all(torc_fiber_fn *leaf, void *const *args);

/* ---- Load ---- */

/*
 * How many fibers another shard has, as of its last round. From a fiber or a loop callback. 0 if
 * there is no such shard.
 */
TORC_API unsigned torc_shard_load(unsigned shard);

/*
 * The shard that has the fewest fibers, any of these if there are several, of the shards that have
 * not ended: where an acceptor hands the next connection to. From a fiber or a loop callback.
 */
TORC_API unsigned torc_shard_least_loaded(void);

/* ---- Handles ---- */

/*
 * The mailbox of another shard, a reference to which the caller owns: torc_mailbox_release(). NULL
 * if there is no such shard. From a fiber or a loop callback.
 */
TORC_CHECK struct torc_mailbox *torc_shard_mailbox(unsigned shard);

/*
 * torc_shard_call() by a handle. Any thread: a fiber suspends, a thread that is no shard blocks.
 * Not from a loop callback, where it aborts.
 *
 * -ESHUTDOWN  the shard has ended, or has ended body.
 */
TORC_API int torc_mailbox_call(struct torc_mailbox *mailbox, torc_fiber_fn *body, void *arg);

/* torc_shard_ask() by a handle; otherwise as torc_mailbox_call(). */
TORC_API int torc_mailbox_ask(struct torc_mailbox *mailbox, torc_fiber_fn *leaf, void *arg);

TORC_END_C
#endif

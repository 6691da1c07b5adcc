/* SPDX-License-Identifier: MIT */
/*
 * torc/scope.h - groups of fibers that are waited for, cancelled and timed together.
 *
 * A scope lives in the caller's memory, on the stack of the fiber that opens it, and is closed by
 * that fiber, innermost first. From open to close it is the fiber's innermost scope: its deadline
 * and its cancellation are those of every wait in between, and of all fibers started in it.
 *
 *     struct torc_scope scope;
 *
 *     torc_scope_open(&scope, 0);
 *     torc_scope_set_timeout(&scope, 2 * TORC_SECOND);
 *     result = torc_scope_spawn(&scope, fetch, &first);
 *     if (result == 0)
 *         result = torc_scope_spawn(&scope, fetch, &second);
 *     if (result < 0)
 *         torc_scope_cancel(&scope);
 *     closed = torc_scope_close(&scope); // Waits for both: 0, the first failure, or -ETIME.
 *
 * Cancellation is a state, not an event: while a scope is cancelled (-ECANCELED) or past its
 * deadline (-ETIME), every wait in it ends with that reason, the present one and all later ones.
 * The reason holds for all scopes inside, down to a shield. Data beats cancel: a wait for I/O that
 * has finished in spite of it returns its result, and the next wait reports the reason. -ECANCELED
 * beats -ETIME.
 *
 * Closing a scope waits for its fibers, always, and cannot be interrupted: cancelling makes the
 * fibers end, and so the wait. Never leave a function with a scope open on its stack.
 */
#ifndef TORC_SCOPE_H
#define TORC_SCOPE_H

#include <torc/fiber.h>
#include <torc/time.h>
TORC_BEGIN_C

struct torc_fiber;
struct torc_token;

/* For torc_scope_open(). */
enum torc_scope_flags {
    TORC_SHIELD = 1 << 0,    /* reasons of the scopes outside do not reach this one */
    TORC_SUPERVISE = 1 << 1, /* a fiber's failure does not cancel the others */
};

/* At most 128 bytes, on the opener's stack; all fields are private. Never copied or moved. */
struct torc_scope {
    struct torc_scope *_parent;
    struct torc_scope *_first_child;
    struct torc_scope *_next_sibling;
    struct torc_scope **_link; /* What points here in the list of the parent's children. */
    struct torc_fiber *_owner; /* The fiber that opened it. */
    struct torc_fiber *_fibers;
    struct torc_token *_token;
    struct torc_timer _deadline;
    uint32_t _fiber_count;
    uint32_t _daemon_count;
    int _own_reason; /* -ECANCELED, -ETIME or 0, of this scope alone. */
    int _reason;     /* The one in force: own or inherited. */
    int _failure;    /* The first failure of a fiber. */
    uint8_t _flags;
    uint8_t _closing; /* The owner waits for the last fiber. */
};

/* Open a scope inside the current one; `flags` of torc_scope_flags. Costs no system call. */
TORC_API void torc_scope_open(struct torc_scope *scope, unsigned flags);

/*
 * Wait for all fibers of the scope, then leave it. Suspends if there are any; not cancellable.
 *
 * If only daemons are left they are cancelled. Returns the first failure of a fiber; else the
 * reason in force in the scope (-ECANCELED, -ETIME) if there is one; else 0. What fibers return
 * because of the scope's own reason is no failure. Aborts if an inner scope is still open, or if
 * another fiber opened this one.
 */
TORC_API int torc_scope_close(struct torc_scope *scope);

/*
 * Like torc_scope_close(), but give the fibers `grace_ns` before they are cut off with -ETIME.
 * Suspends; not cancellable.
 */
TORC_API int torc_scope_linger(struct torc_scope *scope, uint64_t grace_ns);

/*
 * Start `body(arg)` as a fiber of `scope`, which may be any open scope of this shard. Otherwise as
 * torc_spawn(). The first fiber that fails cancels the others, unless the scope supervises.
 *
 * -ENOMEM     as torc_spawn(); the caller still owns `arg`.
 */
TORC_CHECK int torc_scope_spawn(struct torc_scope *scope, torc_fiber_fn *body, void *arg);

/* Like torc_scope_spawn(), but closing the scope cancels the fiber when only daemons are left. */
TORC_CHECK int torc_scope_spawn_daemon(struct torc_scope *scope, torc_fiber_fn *body, void *arg);

/* End the waits in `scope` with -ECANCELED from now on. Any fiber of this shard; idempotent. */
TORC_API void torc_scope_cancel(struct torc_scope *scope);

/*
 * Let the waits in `scope` end with -ETIME from `deadline_ns` on; TORC_FOREVER takes the deadline
 * away. May be moved either way until it has passed; then it is final.
 */
TORC_API void torc_scope_set_deadline(struct torc_scope *scope, uint64_t deadline_ns);

/* torc_scope_set_deadline() at `timeout_ns` from now. */
TORC_API void torc_scope_set_timeout(struct torc_scope *scope, uint64_t timeout_ns);

/* The reason in force in an open scope: 0, -ECANCELED or -ETIME. */
TORC_API int torc_scope_reason(const struct torc_scope *scope);

/*
 * A handle by which other threads may cancel `scope`, also after it was closed. Allocates once per
 * scope. The caller owns one reference, which it gives back by torc_token_release().
 *
 * -ENOMEM     no memory for the handle.
 */
TORC_CHECK int torc_scope_token(struct torc_scope *scope, struct torc_token **ret_token);

/* Another reference to the same token. Any thread. */
TORC_API struct torc_token *torc_token_acquire(struct torc_token *token);

/* Give a reference back; the last one frees the token. Any thread. NULL is ignored. */
TORC_API void torc_token_release(struct torc_token *token);

/*
 * Ask the scope's shard to cancel it; returns at once and says nothing of when. Any thread.
 * Harmless when the scope, or its whole runtime, has ended.
 */
TORC_API void torc_token_cancel(struct torc_token *token);

TORC_END_C
#endif

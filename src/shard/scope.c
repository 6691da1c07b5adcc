/* SPDX-License-Identifier: MIT */
/*
 * scope.c - scopes: grouping, cancelling, deadlines, shields.
 *
 * Scopes form a tree. Each has a reason of its own, and the one in force: the stronger of its own
 * and, unless it is a shield, its parent's. The one in force is pushed down the tree when it
 * changes, so that a wait checks it by one load.
 *
 * Who must be told when it changes: the fiber that opened the scope, and the fibers that were
 * started in it, each if this is its innermost scope. Those that have opened inner ones are found
 * through the tree.
 */
#include "shard/shard.h"
#include "shard/token.h"
#include <errno.h>
#include <string.h>

/* -ECANCELED is stronger than -ETIME, and that than nothing. */
static int stronger(int a, int b)
{
    if (a == -ECANCELED || b == -ECANCELED)
        return -ECANCELED;
    return a != 0 ? a : b;
}

static int effective_reason(const struct torc_scope *scope)
{
    if (scope->_parent == NULL || (scope->_flags & TORC_SHIELD))
        return scope->_own_reason;
    return stronger(scope->_own_reason, scope->_parent->_reason);
}

static void interrupt_fibers(struct torc_scope *scope)
{
    struct torc_fiber *fiber = scope->_fibers;

    if (scope->_owner != NULL && scope->_owner->scope == scope)
        torc__interrupt(scope->_owner, scope->_reason);
    for (; fiber != NULL; fiber = fiber->sibling) {
        if (fiber->scope == scope)
            torc__interrupt(fiber, scope->_reason);
    }
}

/* Bring one scope up to date. False if nothing has changed, and so nothing does below it. */
static bool update(struct torc_scope *scope)
{
    int before = scope->_reason;

    scope->_reason = effective_reason(scope);
    if (scope->_reason == before)
        return false;
    if (before == 0)
        interrupt_fibers(scope); /* Else all waits have been interrupted, and none has begun. */
    return true;
}

/* The scope after `scope` in a walk of the tree below `top`; into its children if `descend`. */
static struct torc_scope *walk(struct torc_scope *top, struct torc_scope *scope, bool descend)
{
    if (descend && scope->_first_child != NULL)
        return scope->_first_child;
    while (scope != top && scope->_next_sibling == NULL)
        scope = scope->_parent;
    return scope == top ? NULL : scope->_next_sibling;
}

/* Give a scope a reason of its own, and push it down. No recursion: trees may be deep. */
static void give_reason(struct torc_scope *scope, int reason)
{
    struct torc_scope *next = scope;

    scope->_own_reason = stronger(scope->_own_reason, reason);
    while (next != NULL)
        next = walk(scope, next, update(next));
}

static void deadline_passed(struct torc_timer *timer)
{
    give_reason(container_of(timer, struct torc_scope, _deadline), -ETIME);
}

void torc__scope_init_root(struct torc_scope *scope)
{
    memset(scope, 0, sizeof(*scope));
    scope->_flags = TORC_SUPERVISE;
}

void torc_scope_open(struct torc_scope *scope, unsigned flags)
{
    struct torc_fiber *self = torc__shard_of_fiber()->running;
    struct torc_scope *parent = self->scope;

    TORC_ASSERT((flags & ~(unsigned)(TORC_SHIELD | TORC_SUPERVISE)) == 0);
    scope->_parent = parent;
    scope->_first_child = NULL;
    scope->_next_sibling = parent->_first_child;
    scope->_link = &parent->_first_child;
    if (parent->_first_child != NULL)
        parent->_first_child->_link = &scope->_next_sibling;
    parent->_first_child = scope;
    scope->_owner = self;
    scope->_fibers = NULL;
    scope->_token = NULL;
    torc__timer_init(&scope->_deadline);
    scope->_fiber_count = 0;
    scope->_daemon_count = 0;
    scope->_own_reason = 0;
    scope->_reason = flags & TORC_SHIELD ? 0 : parent->_reason;
    scope->_failure = 0;
    scope->_flags = (uint8_t)flags;
    scope->_closing = 0;
    self->scope = scope;
}

static const struct torc_wait_kind scope_close = {
    .name = "scope close",
    .form = TORC_WAIT_SCOPE,
};

/*
 * Wait for the fibers of a closing scope. Returns the reason in force when the last one ended that
 * was no daemon; the one that then ends the daemons is nobody's failure.
 */
static int wait_for_fibers(struct torc__shard *shard, struct torc_scope *scope)
{
    bool only_daemons = false;
    int reason = scope->_reason;

    scope->_closing = 1;
    while (scope->_fiber_count > 0) {
        if (!only_daemons && scope->_fiber_count == scope->_daemon_count) {
            only_daemons = true;
            reason = scope->_reason;
            give_reason(scope, -ECANCELED);
        }
        (void)torc__wait(shard, &scope_close, scope);
    }
    return only_daemons ? reason : scope->_reason;
}

int torc_scope_close(struct torc_scope *scope)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc_fiber *self = shard->running;
    int reason;

    TORC_REQUIRE(scope->_owner == self, "a fiber closes a scope that another has opened");
    TORC_REQUIRE(self->scope == scope, "a scope is closed before one inside it");
    reason = scope->_fiber_count > 0 ? wait_for_fibers(shard, scope) : scope->_reason;
    TORC_ASSERT(scope->_first_child == NULL);
    torc__timer_stop(&shard->timers, &scope->_deadline);
    if (unlikely(scope->_token != NULL))
        torc__token_detach(scope);
    *scope->_link = scope->_next_sibling;
    if (scope->_next_sibling != NULL)
        scope->_next_sibling->_link = scope->_link;
    self->scope = scope->_parent;
    return scope->_failure != 0 ? scope->_failure : reason;
}

int torc_scope_linger(struct torc_scope *scope, uint64_t grace_ns)
{
    if (scope->_fiber_count > 0)
        torc_scope_set_timeout(scope, grace_ns);
    return torc_scope_close(scope);
}

void torc_scope_cancel(struct torc_scope *scope)
{
    TORC_ASSERT(torc__shard != NULL);
    give_reason(scope, -ECANCELED);
}

void torc_scope_set_deadline(struct torc_scope *scope, uint64_t deadline_ns)
{
    struct torc__shard *shard = torc__shard;

    TORC_ASSERT(shard != NULL);
    torc__timer_stop(&shard->timers, &scope->_deadline);
    if (deadline_ns == TORC_FOREVER || scope->_own_reason != 0)
        return;
    if (deadline_ns <= shard->round_time_ns)
        give_reason(scope, -ETIME); /* No wait may slip through before the timers' next turn. */
    else
        torc__timer_start(&shard->timers, &scope->_deadline, deadline_ns, deadline_passed);
}

void torc_scope_set_timeout(struct torc_scope *scope, uint64_t timeout_ns)
{
    torc_scope_set_deadline(scope, torc_deadline(timeout_ns));
}

/*
 * Not by a service of all timers: it fires only so many, and many may be due before this one; and
 * what those wake could not run yet.
 */
void torc__scope_look_at_clock(struct torc__shard *shard, struct torc_scope *scope)
{
    for (;; scope = scope->_parent) {
        if (torc__timer_is_running(&scope->_deadline) &&
            scope->_deadline._deadline_ns <= shard->driver->ops->now(shard->driver)) {
            torc__timer_stop(&shard->timers, &scope->_deadline);
            give_reason(scope, -ETIME);
        }
        if (scope->_parent == NULL || (scope->_flags & TORC_SHIELD))
            break;
    }
}

int torc_scope_reason(const struct torc_scope *scope)
{
    return scope->_reason;
}

/* What a fiber returns because of its scope's own reason is not a failure of the fiber. */
static bool is_failure(const struct torc_scope *scope, int result)
{
    if (result >= 0)
        return false;
    return scope->_reason == 0 || (result != -ECANCELED && result != -ETIME);
}

void torc__scope_leave(struct torc_fiber *fiber, int result)
{
    struct torc_scope *home = fiber->home;

    *fiber->sibling_link = fiber->sibling;
    if (fiber->sibling != NULL)
        fiber->sibling->sibling_link = fiber->sibling_link;
    home->_fiber_count--;
    if (unlikely(fiber->is_daemon))
        home->_daemon_count--;
    if (unlikely(is_failure(home, result))) {
        if (home->_failure == 0)
            home->_failure = result;
        if (!(home->_flags & TORC_SUPERVISE))
            give_reason(home, -ECANCELED);
    }
    if (home->_closing && home->_owner->state == FIBER_WAITING &&
        home->_fiber_count == home->_daemon_count)
        torc__wake(torc__shard, home->_owner, 0);
}

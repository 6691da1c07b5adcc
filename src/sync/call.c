/* SPDX-License-Identifier: MIT */
/*
 * call.c - run a function on another shard.
 *
 * The call stands on the caller's stack and is lent to the other shard, the callee, until that
 * wakes the caller: the last thing it does to it.
 *
 *     caller                                     callee
 *     request ---------------------------------> starts a fiber, or calls the leaf
 *     (scope's reason: RUNNING -> CANCELLING)
 *     cancel ----------------------------------> cancels the fiber's scope
 *                                                RUNNING or CANCELLING -> FINISHED
 *     <----------------------------------------- wakes the caller
 *
 * The message `cancel` is part of the call too, so once it has been sent the callee wakes the
 * caller only when it has arrived. Whether it has been sent is what the state tells, which both
 * change by exchanges: a callee that finds CANCELLING knows that it will arrive, a caller that
 * finds FINISHED sends none. A leaf cannot be cancelled; CANCELLING just tells it not to begin.
 */
#include "shard/runtime.h"
#include "sync/parked.h"
#include <errno.h>
#include <limits.h>
#include <torc/shard.h>

enum call_state {
    RUNNING,
    CANCELLING,
    FINISHED
};

struct call {
    struct torc__parked caller; /* First: an interrupt finds the call by it. */
    struct torc_message request;
    struct torc_message cancel;
    struct torc__mailbox *callee;
    torc_fiber_fn *body;
    void *arg;
    int result;
    atomic_int state;
    bool is_leaf;
    bool was_interrupted; /* The caller's alone, as all above but for the messages. */
    bool cancel_arrived;  /* The callee's alone, as are those below, until it has finished. */
    bool cut_off;         /* The body was ended, or kept from beginning, by the end of its shard. */
    struct torc_scope *scope;
};

/* ---- The callee ---- */

static void finish(struct call *call, int result)
{
    const bool may_await_cancel = !call->is_leaf && !call->cancel_arrived;

    call->result = result;
    /* Where the cancel could not be sent, the call is the caller's again from here on. */
    if (atomic_exchange(&call->state, FINISHED) == RUNNING || !may_await_cancel)
        torc__parked_wake(&call->caller);
}

static bool is_withdrawn(struct call *call)
{
    return atomic_load_explicit(&call->state, memory_order_relaxed) == CANCELLING;
}

static int run_body(void *arg)
{
    struct call *call = arg;
    struct torc_scope scope;
    int result = -ECANCELED;

    torc_fiber_set_name("call");
    torc_scope_open(&scope, 0);
    call->scope = &scope;
    if (!is_withdrawn(call))
        result = call->body(call->arg);
    call->cut_off = result == -ECANCELED && torc__shard->root._reason != 0 && !is_withdrawn(call);
    call->scope = NULL;
    (void)torc_scope_close(&scope);
    finish(call, result);
    return 0;
}

static void request_arrived(struct torc_message *message)
{
    struct call *call = container_of(message, struct call, request);
    int result;

    if (is_withdrawn(call)) {
        finish(call, -ECANCELED);
    } else if (call->is_leaf) {
        finish(call, call->body(call->arg));
    } else {
        result = torc_spawn(run_body, call);
        if (result < 0)
            finish(call, result);
    }
}

static void cancel_arrived(struct torc_message *message)
{
    struct call *call = container_of(message, struct call, cancel);

    call->cancel_arrived = true;
    if (atomic_load(&call->state) == FINISHED)
        torc__parked_wake(&call->caller);
    else if (call->scope != NULL)
        torc_scope_cancel(call->scope);
}

/* ---- The caller ---- */

static void interrupt_call(struct torc_fiber *fiber, int reason)
{
    struct call *call = fiber->waits_for;
    int state = RUNNING;

    (void)reason;
    call->was_interrupted = true;
    if (!atomic_compare_exchange_strong(&call->state, &state, CANCELLING) || call->is_leaf)
        return; /* It has finished; or will, soon. */
    call->cancel.run = cancel_arrived;
    if (torc__mailbox_push(call->callee, &call->cancel) == 0)
        return;
    /* The callee's shard is ending, and cancels its fibers anyway. */
    state = CANCELLING;
    if (!atomic_compare_exchange_strong(&call->state, &state, RUNNING))
        torc__wake(torc__shard, fiber, 0); /* It has finished, and counts on the message. */
}

/*
 * The callee's shard is ending, or this one has. Where the whole runtime is being stopped the
 * caller's scope is cancelled as well, though the message that says so may still be on its way.
 */
static int refused(void)
{
    struct torc__shard *shard = torc__shard;
    int reason;

    if (shard != NULL && torc__runtime_is_stopping(shard->runtime))
        torc__shard_stop(shard);
    reason = torc__caller_reason();
    return reason != 0 ? reason : -ESHUTDOWN;
}

static const struct torc_wait_kind call_kind = {
    .interrupt = interrupt_call,
    .name = "another shard",
    .form = TORC_WAIT_SHARD,
    .object = offsetof(struct call, callee),
    .owner = TORC_WAIT_NONE,
    .fd = TORC_WAIT_NONE,
    .count = TORC_WAIT_NONE,
};

static int call_there(struct torc__mailbox *callee, torc_fiber_fn *body, void *arg, bool is_leaf)
{
    struct call call = {
        .request = {.run = request_arrived},
        .callee = callee,
        .body = body,
        .arg = arg,
        .is_leaf = is_leaf,
    };
    int result = torc__parked_init(&call.caller);

    if (result == 0)
        result = torc__mailbox_push(callee, &call.request);
    if (result < 0)
        return refused();
    (void)torc__parked_wait(&call.caller, &call_kind);
    if (call.cut_off)
        return refused();
    if (call.was_interrupted && (call.result == -ECANCELED || call.result == -ETIME))
        return torc__caller_reason();
    return call.result;
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* What has been sent to this shard arrives first, as it would at another one. */
static int let_mail_arrive(struct torc__shard *shard)
{
    const bool has_mail = shard->mail != NULL ||
                          atomic_load_explicit(&shard->mailbox->last, memory_order_relaxed) != NULL;
    int result = 0;

    if (has_mail && !shard->closing)
        result = call_there(shard->mailbox, nothing, NULL, true);
    return result < 0 ? result : torc__caller_reason();
}

/* On the own shard. A leaf may not suspend there either; but nothing is gained by watching. */
static int call_here(torc_fiber_fn *body, void *arg)
{
    struct torc_scope scope;
    int result = let_mail_arrive(torc__shard);

    if (result < 0)
        return result;
    torc_scope_open(&scope, 0);
    result = body(arg);
    (void)torc_scope_close(&scope);
    return result;
}

static int call(struct torc__mailbox *callee, torc_fiber_fn *body, void *arg, bool is_leaf)
{
    const int reason = torc__caller_reason();

    if (reason != 0)
        return torc__refuse(torc__shard, reason);
    if (torc__shard != NULL && torc__shard->mailbox == callee)
        return call_here(body, arg);
    return call_there(callee, body, arg, is_leaf);
}

/* ---- By a handle ---- */

static struct torc__mailbox *from_public(struct torc_mailbox *mailbox)
{
    return (struct torc__mailbox *)(void *)mailbox;
}

int torc_mailbox_call(struct torc_mailbox *mailbox, torc_fiber_fn *body, void *arg)
{
    return call(from_public(mailbox), body, arg, false);
}

int torc_mailbox_ask(struct torc_mailbox *mailbox, torc_fiber_fn *leaf, void *arg)
{
    return call(from_public(mailbox), leaf, arg, true);
}

/* ---- By a number ---- */

/* The mailbox of a shard of this runtime; NULL if there is none. */
static struct torc__mailbox *mailbox_of(unsigned shard)
{
    TORC_ASSERT(torc__shard != NULL);
    return torc__runtime_mailbox(torc__shard->runtime, shard);
}

struct torc_mailbox *torc_shard_mailbox(unsigned shard)
{
    struct torc__mailbox *mailbox = mailbox_of(shard);

    if (mailbox == NULL)
        return NULL;
    return (struct torc_mailbox *)(void *)torc__mailbox_acquire(mailbox);
}

int torc_shard_call(unsigned shard, torc_fiber_fn *body, void *arg)
{
    struct torc__mailbox *mailbox = mailbox_of(shard);

    return mailbox != NULL ? call(mailbox, body, arg, false) : -EINVAL;
}

int torc_shard_ask(unsigned shard, torc_fiber_fn *leaf, void *arg)
{
    struct torc__mailbox *mailbox = mailbox_of(shard);

    return mailbox != NULL ? call(mailbox, leaf, arg, true) : -EINVAL;
}

int torc_shard_post(unsigned shard, struct torc_message *message)
{
    struct torc__mailbox *mailbox = mailbox_of(shard);

    return mailbox != NULL ? torc__mailbox_push(mailbox, message) : -EINVAL;
}

/* ---- Fibers of another shard ---- */

struct start {
    torc_fiber_fn *body;
    void *arg;
};

static int start(void *arg)
{
    const struct start *start = arg;
    struct torc__shard *shard = torc__shard;
    int result = torc_spawn(start->body, start->arg);

    torc__mailbox_set_load(shard->mailbox, shard->fibers.alive);
    return result;
}

int torc_shard_spawn(unsigned shard, torc_fiber_fn *body, void *arg)
{
    struct start order = {body, arg};

    return torc_shard_ask(shard, start, &order);
}

/* ---- Every shard ---- */

int torc_shard_call_each(torc_fiber_fn *body, void *arg)
{
    const unsigned count = torc_shard_count();

    for (unsigned shard = 0; shard < count; shard++) {
        int result = torc_shard_call(shard, body, arg);

        if (result < 0)
            return result;
    }
    return 0;
}

/*
 * A cancel may come when all have done what they were asked. So it is what the calls return that
 * counts, and not the scope of the fibers that wait for them.
 */
static void note_failure(int *failure, int result)
{
    if (result < 0 && *failure == 0)
        *failure = result;
}

struct call_to_all {
    torc_fiber_fn *body;
    void *arg;
    unsigned next;
    int failure; /* the first */
};

static int call_next(void *arg)
{
    struct call_to_all *all = arg;

    note_failure(&all->failure, torc_shard_call(all->next++, all->body, all->arg));
    return 0;
}

int torc_shard_call_all(torc_fiber_fn *body, void *arg)
{
    struct call_to_all all = {.body = body, .arg = arg};
    const unsigned count = torc_shard_count();
    struct torc_scope scope;
    int result = 0;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < count && result == 0; i++)
        result = torc_scope_spawn(&scope, call_next, &all);
    if (result < 0)
        torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    return result < 0 ? result : all.failure;
}

struct ask_of_all {
    torc_fiber_fn *leaf;
    void *const *args;
    unsigned next;
    int failure; /* the first */
};

static int ask_next(void *arg)
{
    struct ask_of_all *all = arg;
    unsigned shard;

    while (all->args[all->next] == NULL)
        all->next++;
    shard = all->next++;
    note_failure(&all->failure, torc_shard_ask(shard, all->leaf, all->args[shard]));
    return 0;
}

int torc_shard_ask_all(torc_fiber_fn *leaf, void *const *args)
{
    struct ask_of_all all = {.leaf = leaf, .args = args};
    const unsigned count = torc_shard_count();
    struct torc_scope scope;
    unsigned asked = 0;
    int result = 0;

    for (unsigned i = 0; i < count; i++)
        asked += args[i] != NULL;
    if (asked == 0)
        return 0;
    torc_scope_open(&scope, 0);
    for (unsigned i = 1; i < asked && result == 0; i++)
        result = torc_scope_spawn(&scope, ask_next, &all);
    if (result == 0)
        (void)ask_next(&all); /* For one of them, or the only one, it needs no fiber. */
    else
        torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    return result < 0 ? result : all.failure;
}

/* ---- Load ---- */

unsigned torc_shard_load(unsigned shard)
{
    struct torc__mailbox *mailbox = mailbox_of(shard);

    return mailbox != NULL ? torc__mailbox_load(mailbox) : 0;
}

unsigned torc_shard_least_loaded(void)
{
    const unsigned count = torc_shard_count();
    const unsigned first = torc__random(torc__shard, count); /* So that equals share. */
    unsigned best = torc__shard->index;
    unsigned least = UINT_MAX;

    for (unsigned i = 0; i < count; i++) {
        const unsigned shard = (first + i) % count;
        struct torc__mailbox *mailbox = mailbox_of(shard);
        const unsigned load = torc__mailbox_load(mailbox);

        if (load < least && torc__mailbox_is_open(mailbox)) {
            least = load;
            best = shard;
        }
    }
    return best;
}

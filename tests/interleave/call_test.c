/* SPDX-License-Identifier: MIT */
/*
 * call_test.c - a call to another shard that is cancelled while it runs, or before, or just after:
 * it ends once, and nobody touches it afterwards.
 *
 * Thread 0 is the caller's shard with its fiber; thread 1 is the callee's loop, which takes
 * messages in their order, and runs the fiber that a request has started.
 */
#include "interleave/interleave.h"

#include "base/compiler.h"
#include <stdatomic.h>
#include <string.h>

/* What is done after an exchange, others may see late: it is a step of its own. */
static int then_step(int before)
{
    interleave_step("after an exchange");
    return before;
}

#undef atomic_exchange
#define atomic_exchange(p, value) then_step(SHIM_CHANGE(p, INTERLEAVE_EXCHANGE, value))
#include "sync/call.c"

#include "harness/harness.h"

#define CALLEE 1u

_Thread_local struct torc__shard *torc__shard;

static struct torc__shard here;      /* who runs: only its root scope's reason counts */
static struct torc__mailbox mailbox; /* the callee's: only its address counts */

/* In the arena. */
static struct world {
    struct torc_fiber fiber;       /* the caller's */
    struct torc_message *inbox[4]; /* the callee's */
    unsigned posted;
    unsigned taken;
    bool closed;    /* The callee's mailbox is. */
    bool stopped;   /* The callee's root scope is cancelled. */
    bool cancelled; /* The caller's scope is. */
    bool woken;     /* The caller is, and so the call is its own again. */
    bool over;      /* The call has returned. */
    unsigned wakes;
    torc_fiber_fn *started; /* a fiber of the callee that has not run yet */
    void *started_arg;
    bool body_ran;
    bool body_cancelled;
    bool scope_cancelled; /* the callee's scope */
    bool leaf;
    int result;
} * world;

/* ---- What call.c calls ---- */

int torc__mailbox_push(struct torc__mailbox *to, struct torc_message *message)
{
    INTERLEAVE_EXPECT(to == &mailbox);
    interleave_step("push");
    if (world->closed)
        return -ESHUTDOWN;
    INTERLEAVE_EXPECT(world->posted < 4);
    world->inbox[world->posted++] = message;
    return 0;
}

int torc__parked_init(struct torc__parked *parked)
{
    memset(parked, 0, sizeof(*parked));
    parked->fiber = &world->fiber;
    return 0;
}

int torc__caller_reason(void)
{
    return world->cancelled ? -ECANCELED : 0;
}

int torc__refuse(struct torc__shard *shard, int reason)
{
    (void)shard;
    return reason;
}

static bool is_woken(void *arg)
{
    (void)arg;
    return world->woken;
}

static bool is_woken_or_cancelled(void *arg)
{
    (void)arg;
    return world->woken || world->cancelled;
}

int torc__parked_wait(struct torc__parked *parked, const struct torc_wait_kind *kind)
{
    interleave_block_until(is_woken_or_cancelled, NULL);
    if (!world->woken) {
        world->fiber.waits_for = parked;
        kind->interrupt(&world->fiber, -ECANCELED);
    }
    interleave_block_until(is_woken, NULL);
    return 0;
}

/* By the callee. */
void torc__parked_wake(struct torc__parked *parked)
{
    interleave_step("wake");
    INTERLEAVE_EXPECT(parked->fiber == &world->fiber);
    world->woken = true;
    world->wakes++;
}

/* By the interrupt function. */
void torc__wake(struct torc__shard *shard, struct torc_fiber *fiber, int result)
{
    (void)shard;
    INTERLEAVE_EXPECT(fiber == &world->fiber && result == 0);
    world->woken = true;
    world->wakes++;
}

int torc_spawn(torc_fiber_fn *body, void *arg)
{
    world->started = body;
    world->started_arg = arg;
    return 0;
}

void torc_scope_open(struct torc_scope *scope, unsigned flags)
{
    (void)scope;
    (void)flags;
}

int torc_scope_close(struct torc_scope *scope)
{
    (void)scope;
    return 0;
}

void torc_scope_cancel(struct torc_scope *scope)
{
    (void)scope;
    world->scope_cancelled = true;
}

void torc_fiber_set_name(const char *name)
{
    (void)name;
}

/* Not reached from a call by a handle. */
struct torc_message torc__mailbox_closed;

struct torc__mailbox *torc__runtime_mailbox(struct torc__runtime *runtime, unsigned index)
{
    (void)runtime;
    (void)index;
    return NULL;
}

bool torc__runtime_is_stopping(struct torc__runtime *runtime)
{
    (void)runtime;
    return false;
}

void torc__shard_stop(struct torc__shard *stopped)
{
    (void)stopped;
}

unsigned torc_shard_count(void)
{
    return 2;
}

int torc_scope_spawn(struct torc_scope *scope, torc_fiber_fn *body, void *arg)
{
    (void)scope;
    (void)body;
    (void)arg;
    return -ENOMEM;
}

/* ---- The callee ---- */

/* Take what there is; the memory of a message is the caller's until it is woken. */
static void take_messages(void)
{
    while (world->taken < world->posted) {
        struct torc_message *message = world->inbox[world->taken++];

        INTERLEAVE_EXPECT(!world->over);
        message->run(message);
        interleave_step("message");
    }
}

/* The body waits once, and meanwhile the loop has a turn. */
static int body(void *arg)
{
    (void)arg;
    world->body_ran = true;
    if (world->leaf)
        return 7;
    interleave_step("body");
    take_messages();
    world->body_cancelled = world->scope_cancelled || world->stopped;
    return world->body_cancelled ? -ECANCELED : 7;
}

static bool has_something_to_do(void *arg)
{
    (void)arg;
    return world->taken < world->posted || world->started != NULL || world->over;
}

static void serve(void)
{
    while (!world->over) {
        take_messages();
        if (world->started != NULL) {
            torc_fiber_fn *fiber = world->started;

            world->started = NULL;
            (void)fiber(world->started_arg);
        }
        interleave_block_until(has_something_to_do, NULL);
    }
}

/* The shard ends: its fibers are cancelled, it takes no more messages, but runs what it has. */
static void serve_and_end(void)
{
    take_messages();
    world->stopped = true;
    interleave_step("close");
    world->closed = true;
    serve();
}

/* ---- The caller ---- */

static void set_up(void)
{
    world = interleave_alloc(sizeof(*world));
    torc__shard = &here;
}

static void become(unsigned thread)
{
    here.root._reason = thread == CALLEE && world->stopped ? -ECANCELED : 0;
}

static void set_up_leaf(void)
{
    set_up();
    world->leaf = true;
}

/* Use the memory in which the call has stood for something else. */
static __attribute__((noinline)) void reuse_stack(void)
{
    volatile char other[1024];

    for (size_t i = 0; i < sizeof(other); i++)
        other[i] = -1;
}

static void call_it(void)
{
    struct torc_mailbox *handle = (struct torc_mailbox *)(void *)&mailbox;

    world->result =
        world->leaf ? torc_mailbox_ask(handle, body, NULL) : torc_mailbox_call(handle, body, NULL);
    reuse_stack();
    world->over = true;
}

static void cancel(void)
{
    interleave_step("cancel");
    world->cancelled = true;
}

static void outcome_is_consistent(void)
{
    const bool was_sent = world->posted > 0;

    INTERLEAVE_EXPECT(world->taken == world->posted);
    INTERLEAVE_EXPECT(world->wakes == (was_sent ? 1 : 0));
    INTERLEAVE_EXPECT(world->started == NULL);
    if (world->result == 7)
        INTERLEAVE_EXPECT(world->body_ran && !world->body_cancelled);
    else if (world->result == -ECANCELED)
        INTERLEAVE_EXPECT(!world->body_ran || world->body_cancelled);
    else
        INTERLEAVE_EXPECT(world->result == -ESHUTDOWN && world->stopped &&
                          (!was_sent || world->body_cancelled));
}

static const struct interleave_model calling = {
    set_up, {call_it, serve, cancel}, become, outcome_is_consistent, 0};
static const struct interleave_model asking = {
    set_up_leaf, {call_it, serve, cancel}, become, outcome_is_consistent, 0};
static const struct interleave_model calling_at_the_end = {
    set_up, {call_it, serve_and_end, cancel}, become, outcome_is_consistent, 0};

TEST(a_call_that_is_cancelled_at_any_time_ends_once)
{
    interleave_holds(&calling);
}

TEST(a_leaf_that_is_withdrawn_at_any_time_ends_once)
{
    interleave_holds(&asking);
}

TEST(a_call_to_a_shard_that_is_ending_ends_as_well)
{
    interleave_holds(&calling_at_the_end);
}

/* ---- Planted bugs are found ---- */

TEST(a_callee_that_does_not_look_whether_a_cancel_is_on_its_way_is_found)
{
    interleave_finds(&calling, (struct interleave_mutation){
                                   .function = "finish",
                                   .effect = INTERLEAVE_ANSWER_CHANGE,
                                   .value = RUNNING,
                               });
}

TEST(a_callee_that_never_sees_that_it_has_finished_is_found)
{
    interleave_finds(&calling, (struct interleave_mutation){
                                   .function = "cancel_arrived",
                                   .effect = INTERLEAVE_ANSWER,
                                   .value = RUNNING,
                               });
}

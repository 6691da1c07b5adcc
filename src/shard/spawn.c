/* SPDX-License-Identifier: MIT */
/*
 * spawn.c - the begin and the end of fibers.
 *
 * Spawning takes a control block and queues it. A fiber that ends hands its stack straight to the
 * next one if that is new, without a switch; so a burst of short fibers uses one hot stack.
 */
#include "arch/context.h"
#include "base/probe.h"
#include "base/trace.h"
#include "fiber/sanitizer.h"
#include "shard/loan.h"
#include <errno.h>
#include <execinfo.h>
#include <string.h>
#include <unistd.h>

/*
 * Make sure that there is a free block, and a stack for one more fiber: reserved here, where its
 * want can be told, and taken at the first run.
 */
static __attribute__((noinline)) int make_room(struct torc__shard *shard)
{
    const int saved = errno;
    int result = torc__stacks_reserve(&shard->stacks, shard->fibers.alive + 1);

    if (result == 0 && shard->fibers.free == NULL)
        result = torc__fibers_grow(&shard->fibers);
    errno = saved;
    return result;
}

int torc__spawn(struct torc__shard *shard, struct torc_scope *scope, torc_fiber_fn *body, void *arg,
                bool is_daemon)
{
    struct torc__fibers *fibers = &shard->fibers;
    struct torc_fiber *fiber;

    if (unlikely(fibers->free == NULL || fibers->alive >= shard->stacks.reserved)) {
        int result = make_room(shard);

        if (result < 0)
            return result;
    }
    fiber = fibers->free;
    fibers->free = fiber->next;
    fibers->alive++;
    if (fibers->alive > fibers->peak)
        fibers->peak = fibers->alive;
    shard->spawns++;

    fiber->sp = NULL;
    fiber->stack = NULL;
    fiber->saved_errno = 0;
    fiber->owes = 0;
    fiber->scope = scope;
    fiber->home = scope;
    fiber->body = body;
    fiber->arg = arg;
    fiber->is_daemon = is_daemon;
    fiber->is_named = false;
    fiber->is_hot = false;
    fiber->refusals = 0;
    fiber->sibling = scope->_fibers;
    fiber->sibling_link = &scope->_fibers;
    if (scope->_fibers != NULL)
        scope->_fibers->sibling_link = &fiber->sibling;
    scope->_fibers = fiber;
    scope->_fiber_count++;
    if (unlikely(is_daemon)) /* Added up with the other count, both would wait for its store. */
        scope->_daemon_count++;
    TORC_PROBE3(spawn, shard->index, fiber->id, body);
    torc__make_ready(shard, fiber);
    fiber->state = FIBER_NEW;
    if (unlikely(shard->trace != NULL))
        torc__trace_fiber(shard, fiber, TRACE_SPAWN);
    return 0;
}

/* A fiber has ended with something that should be over. Its stack tells nothing any more. */
static __attribute__((noinline)) void refuse_end(const struct torc_fiber *fiber)
{
    const uint32_t ops = fiber->owes % FIBER_OWES_LOCK;
    void *body;

    torc__log("a fiber must not end so; its body was");
    memcpy(&body, &fiber->body, sizeof(body));
    backtrace_symbols_fd(&body, 1, torc__log_fd());
    TORC_REQUIRE(fiber->scope == fiber->home, "a fiber has ended with a scope open");
    TORC_REQUIRE(ops == 0, "a fiber has ended with operations in flight");
    TORC_REQUIRE(fiber->owes == 0, "a fiber has ended with a lock held");
}

/* A fiber's body has returned: it leaves its scope, and its block is free. */
static void retire(struct torc__shard *shard, struct torc_fiber *fiber, int result)
{
    if (unlikely(fiber->scope != fiber->home || fiber->owes != 0))
        refuse_end(fiber);
    torc__loan_check(fiber->stack);
    torc__scope_leave(fiber, result);
    fiber->state = FIBER_FREE;
    fiber->next = shard->fibers.free;
    shard->fibers.free = fiber;
    shard->fibers.alive--;
}

/* The next fiber, if it is new and may run now, adopts the stack of the one that has ended. */
static bool adopt(struct torc__shard *shard, struct torc__stack *stack)
{
    struct torc_fiber *next = shard->ready_first;

    if (next == NULL || next->state != FIBER_NEW || shard->budget == 0)
        return false;
    shard->budget--;
    shard->switches++;
    shard->ready_first = next->next;
    if (next->next == NULL)
        shard->ready_last = &shard->ready_first;
    next->stack = stack;
    stack->name = NULL;
    next->state = FIBER_RUNNING;
    *shard->errno_of_thread = 0;
    shard->running = next;
    if (unlikely(shard->trace != NULL))
        torc__trace_switch(shard, &shard->grave, next);
    return true;
}

void torc__fiber_main(void *arg)
{
    struct torc__shard *shard = arg;
    struct torc__stack *stack = shard->running->stack;

    torc__sanitizer_arrive(NULL);
    do {
        struct torc_fiber *self = shard->running;
        int result = self->body(self->arg);

        /* It is not in a child made by fork(), where the fiber has no way to go on. */
        TORC_ASSERT(torc__shard == shard);
        retire(shard, self, result);
    } while (adopt(shard, stack));
    /* Free from here on, but nothing else takes it before the switch. */
    torc__stack_give(&shard->stacks, stack);
    shard->running = &shard->grave;
    torc__park(shard); /* For good; as a tail call, which leaves the prediction of returns right. */
}

int torc_spawn(torc_fiber_fn *body, void *arg)
{
    struct torc__shard *shard = torc__shard_here();

    return torc__spawn(shard, &shard->root, body, arg, false);
}

int torc_scope_spawn(struct torc_scope *scope, torc_fiber_fn *body, void *arg)
{
    return torc__spawn(torc__shard_here(), scope, body, arg, false);
}

int torc_scope_spawn_daemon(struct torc_scope *scope, torc_fiber_fn *body, void *arg)
{
    return torc__spawn(torc__shard_here(), scope, body, arg, true);
}

void torc_fiber_set_name(const char *name)
{
    torc__shard_of_fiber()->running->stack->name = name;
}

const char *torc_fiber_name(void)
{
    return torc__shard_of_fiber()->running->stack->name;
}

uint32_t torc_fiber_id(void)
{
    return torc__shard_of_fiber()->running->id;
}

size_t torc_stack_left(void)
{
    const char *here = __builtin_frame_address(0);

    return (size_t)(here - torc__shard_of_fiber()->running->stack->low);
}

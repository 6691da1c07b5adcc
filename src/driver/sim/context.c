/* SPDX-License-Identifier: MIT */
/*
 * context.c - the threads of simulated programs.
 */
#include "driver/sim/context.h"
#include "arch/context.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/sanitizer.h"
#include "driver/sim/file.h"
#include "driver/sim/host.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Address space, of which only what is touched costs memory. */
#define STACK_SIZE ((size_t)1024 * 1024)
#define GUARD_SIZE ((size_t)64 * 1024)

/* ---- Memory ---- */

/* A context stands at the top of its stack. */
static struct sim_context *allocate(struct sim_world *world)
{
    struct sim_context *context = world->free_contexts;
    char *stack;

    if (context != NULL) {
        world->free_contexts = context->next;
        return context;
    }
    stack = mmap(NULL, STACK_SIZE + GUARD_SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return NULL;
    (void)mprotect(stack, GUARD_SIZE, PROT_NONE);
    context = (void *)(stack + GUARD_SIZE + STACK_SIZE - 1024);
    _Static_assert(sizeof(*context) <= 1024, "room at the top of the stack");
    context->stack = stack + GUARD_SIZE;
    context->stack_size = STACK_SIZE - 1024;
#if TORC_ASAN
    __lsan_register_root_region(context->stack, STACK_SIZE);
#endif
#ifdef TORC_VALGRIND
    (void)VALGRIND_STACK_REGISTER(context->stack, context->stack + context->stack_size);
#endif
    return context;
}

static void leave_hosts_list(struct sim_context *context)
{
    *context->link = context->next;
    if (context->next != NULL)
        context->next->link = context->link;
}

/* What was on the stack means nothing any more; it may be used anew. */
static void recycle(struct sim_world *world, struct sim_context *context)
{
    leave_hosts_list(context);
#if TORC_ASAN
    __asan_unpoison_memory_region(context->stack, context->stack_size);
#endif
#if TORC_TSAN
    __tsan_destroy_fiber(context->tsan);
#endif
    context->next = world->free_contexts;
    world->free_contexts = context;
}

void torc__sim_context_trim(struct sim_world *world)
{
    while (world->free_contexts != NULL) {
        struct sim_context *context = world->free_contexts;

        world->free_contexts = context->next;
#if TORC_ASAN
        __lsan_unregister_root_region(context->stack, STACK_SIZE);
#endif
        munmap(context->stack - GUARD_SIZE, STACK_SIZE + GUARD_SIZE);
    }
}

/* ---- Switching ---- */

static void free_ended(struct sim_world *world)
{
    struct sim_context *ended = world->ended;

    world->ended = NULL;
    if (ended != NULL)
        recycle(world, ended);
}

static void arrive(struct sim_context *self)
{
    struct sim_world *world = self->world;

    const void *low = NULL;
    size_t size = 0;

    torc__sanitizer_arrive_from(self->fake_stack, &low, &size);
    if (world->running != NULL) {
        world->running->waits_low = low;
        world->running->waits_size = size;
    }
    world->running = self;
    self->state = CONTEXT_RUNNING;
    free_ended(world);
}

static void schedule(struct sim_world *world);

static void context_main(void *arg)
{
    struct sim_context *self = arg;
    struct sim_world *world = self->world;

    arrive(self);
    (void)self->body(self->arg);
    self->state = CONTEXT_ENDED;
    torc__sim_wake_on(world, self, true);
    schedule(world); /* It does not come back. */
}

/*
 * One call site, as src/arch asks for: whoever ended is told to the next, on whose stack its own
 * can be freed.
 */
static void switch_to(struct sim_context *self, struct sim_context *next)
{
    const bool ends = self->state == CONTEXT_ENDED;
    void *unused;

    if (ends && self->unclaimed)
        self->world->ended = self;
#if TORC_TSAN
    self->waits_tsan = __tsan_get_current_fiber();
#endif
    torc__sanitizer_leave(ends ? NULL : &self->fake_stack, next->waits_low, next->waits_size,
                          next->waits_tsan);
    if (next->sp == NULL) {
        next->sp = next; /* Anything but NULL. */
        torc__context_start(ends ? &unused : &self->sp, next->stack + next->stack_size,
                            context_main, next);
    } else {
        torc__context_switch(ends ? &unused : &self->sp, next->sp);
    }
    arrive(self);
}

/* Nothing can end any wait, or the world has had its time. */
static void give_up(struct sim_world *world, enum sim_verdict verdict)
{
    world->verdict = verdict;
    if (world->gives_up != NULL)
        world->gives_up(world);
    torc__sim_event_clear(world, &world->root->go_on);
    world->next = world->root; /* At once: what others are about to do does not happen. */
}

/* Whether the world has had its time. */
static enum sim_verdict judge(const struct sim_world *world)
{
    if (world->events_max != 0 && world->events_happened >= world->events_max)
        return SIM_TOO_BUSY;
    if (world->time_max_ns != 0 && world->now_ns - SIM_EPOCH_NS >= world->time_max_ns)
        return SIM_TOO_LATE;
    return SIM_GOES_ON;
}

/* Let the world go on until the event of a context says that it does. */
static void schedule(struct sim_world *world)
{
    struct sim_context *self = world->running;
    struct sim_context *next;
    const int saved = errno;

    if (world->local != NULL) {
        self->local = *world->local;
        *world->local = NULL;
    }
    while (world->next == NULL) {
        const enum sim_verdict verdict = world->heap_count > 0 ? judge(world) : SIM_STUCK;

        if (unlikely(verdict != SIM_GOES_ON) && world->verdict == SIM_GOES_ON)
            give_up(world, verdict);
        else
            (void)torc__sim_step(world, UINT64_MAX);
    }
    next = world->next;
    world->next = NULL;
    if (next != self)
        switch_to(self, next);
    self->state = CONTEXT_RUNNING;
    if (world->local != NULL)
        *world->local = self->local;
    errno = saved;
}

void torc__sim_give_up(struct sim_world *world, enum sim_verdict verdict)
{
    world->running->state = CONTEXT_WAITING;
    give_up(world, verdict);
    schedule(world);
    abort(); /* Nobody goes on here. */
}

void torc__sim_goes_on(struct sim_world *world)
{
    world->events_happened++;
    if (unlikely(judge(world) != SIM_GOES_ON))
        torc__sim_give_up(world, judge(world));
}

/* ---- Waiting ---- */

static void go_on(struct sim_event *event)
{
    struct sim_context *context = (struct sim_context *)(void *)event; /* Its first field. */

    context->world->next = context;
}

void torc__sim_wait(struct sim_world *world, uint64_t until_ns, bool hears)
{
    struct sim_context *self = world->running;

    if (until_ns < torc__sim_next_ns(world) && judge(world) == SIM_GOES_ON) {
        if (until_ns > world->now_ns)
            world->now_ns = until_ns;
        world->events_happened++;
        return; /* Nobody else has anything to do before that. */
    }
    self->state = CONTEXT_WAITING;
    self->hears = hears;
    self->heard = false;
    if (until_ns != UINT64_MAX)
        torc__sim_event_set(world, &self->go_on, until_ns, go_on);
    schedule(world);
    self->hears = false;
}

void torc__sim_wake(struct sim_context *context)
{
    struct sim_world *world = context->world;

    if (context->state != CONTEXT_WAITING || !context->hears)
        return;
    context->hears = false;
    context->heard = true;
    torc__sim_event_clear(world, &context->go_on);
    torc__sim_event_set(world, &context->go_on,
                        world->now_ns + torc__sim_duration(world, &world->chaos.turn_latency),
                        go_on);
}

static void stop_waiting_on(struct sim_context *context)
{
    struct sim_context **link = &context->world->waiting;

    while (*link != context)
        link = &(*link)->next_waiting;
    *link = context->next_waiting;
    context->key = NULL;
}

bool torc__sim_wait_on(struct sim_world *world, const void *key, uint64_t until_ns)
{
    struct sim_context *self = world->running;
    struct sim_context **last = &world->waiting;

    while (*last != NULL)
        last = &(*last)->next_waiting;
    *last = self;
    self->next_waiting = NULL;
    self->key = key;
    torc__sim_wait(world, until_ns, true);
    if (self->key == NULL)
        return true;
    stop_waiting_on(self);
    return world->now_ns < until_ns; /* It may be a shard, whose driver has woken it. */
}

void torc__sim_wake_on(struct sim_world *world, const void *key, bool all)
{
    struct sim_context *context = world->waiting;

    while (context != NULL) {
        struct sim_context *next = context->next_waiting;

        if (context->key == key) {
            stop_waiting_on(context);
            torc__sim_wake(context);
            if (!all)
                return;
        }
        context = next;
    }
}

/* ---- Life ---- */

void torc__sim_bind_local(struct sim_world *world, void **variable)
{
    world->local = variable;
}

void torc__sim_context_adopt_root(struct sim_world *world)
{
    struct sim_context *root = world->root;

#if TORC_ASAN
    pthread_attr_t attributes;
    void *low;

    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &root->stack_size);
        root->stack = low;
        pthread_attr_destroy(&attributes);
    }
#endif
#if TORC_TSAN
    root->tsan = __tsan_get_current_fiber();
#endif
    world->running = root;
}

int torc__sim_context_init_root(struct sim_world *world)
{
    struct sim_context *root = malloc(sizeof(*root));

    if (root == NULL)
        return -ENOMEM;
    *root = (struct sim_context){.world = world};
    root->sp = root; /* Anything but NULL. */
    world->root = root;
    torc__sim_context_adopt_root(world);
    return 0;
}

struct sim_context *torc__sim_context_start(struct sim_host *host, void *(*body)(void *arg),
                                            void *arg, bool unclaimed)
{
    struct sim_world *world = host->world;
    struct sim_context *context = allocate(world);
    char *stack;
    size_t stack_size;

    if (context == NULL)
        return NULL;
    stack = context->stack;
    stack_size = context->stack_size;
    *context = (struct sim_context){.world = world,
                                    .host = host,
                                    .body = body,
                                    .arg = arg,
                                    .state = CONTEXT_WAITING,
                                    .unclaimed = unclaimed,
                                    .stack = stack,
                                    .stack_size = stack_size,
                                    .waits_low = stack,
                                    .waits_size = stack_size};
#if TORC_TSAN
    context->tsan = context->waits_tsan = __tsan_create_fiber(0);
#endif
    context->next = host->contexts;
    context->link = &host->contexts;
    if (context->next != NULL)
        context->next->link = &context->next;
    host->contexts = context;
    torc__sim_event_set(world, &context->go_on,
                        world->now_ns + torc__sim_duration(world, &world->chaos.turn_latency),
                        go_on);
    return context;
}

void torc__sim_context_join(struct sim_context *context)
{
    struct sim_world *world = context->world;

    while (context->state != CONTEXT_ENDED && world->verdict == SIM_GOES_ON)
        (void)torc__sim_wait_on(world, context, UINT64_MAX);
    if (context->state == CONTEXT_ENDED)
        recycle(world, context);
}

void torc__sim_hold(struct sim_world *world, struct sim_file *file)
{
    if (world->running->held == NULL && file != NULL)
        world->running->held = torc__sim_file_acquire(file);
}

static void let_go(struct sim_context *context)
{
    struct sim_file *file = context->held;

    context->held = NULL;
    torc__sim_file_release(file);
}

void torc__sim_let_go(struct sim_world *world)
{
    let_go(world->running);
}

void torc__sim_context_kill_all(struct sim_host *host)
{
    struct sim_world *world = host->world;

    while (host->contexts != NULL) {
        struct sim_context *context = host->contexts;

        TORC_ASSERT(context != world->running);
        torc__sim_event_clear(world, &context->go_on);
        if (context->key != NULL)
            stop_waiting_on(context);
        if (context->waiter != NULL)
            torc__sim_wait_end(context->waiter);
        let_go(context);
        if (TORC_ASAN)
            leave_hosts_list(context); /* It is to find what is named on the stack. */
        else
            recycle(world, context);
    }
}

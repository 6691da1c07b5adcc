/* SPDX-License-Identifier: MIT */
/*
 * wait.c - suspend, interrupt and wake fibers. Every wait of the library ends here.
 *
 * A reason of the scope does not wake a fiber, it asks the wait to end; see fiber/fiber.h. So
 * memory lent to the kernel is never in use once the call that lent it has returned.
 */
#include "arch/context.h"
#include "base/probe.h"
#include "base/trace.h"
#include "fiber/sanitizer.h"
#include "shard/diagnose.h"
#include <torc/error.h>

/* A fiber may ask so often in a row whether its reason has gone. It has not. */
#define REFUSALS_MAX 1000

_Thread_local struct torc__shard *torc__shard;

/*
 * What the switch after the next one will read: where a fiber parked, and its callers; and the
 * block of the one behind it. A switch later is too late for what is in the third level of the
 * cache. Not for NULL: gcc takes a function that may leave its fetches out for one without effect.
 */
static inline void fetch_ahead(const struct torc_fiber *fiber)
{
    const char *frames = fiber->sp;

    __builtin_prefetch(frames);
    __builtin_prefetch(frames + 64);
    __builtin_prefetch(frames + 128);
    __builtin_prefetch(fiber->next);
}

/* Who goes on: the first of the run queue, or the loop when that is empty or its turn has come. */
static inline struct torc_fiber *take_next(struct torc__shard *shard)
{
    struct torc_fiber *next = shard->ready_first;

    if (next == NULL || shard->budget == 0)
        return &shard->loop;
    shard->budget--;
    shard->ready_first = next->next;
    if (next->next == NULL)
        shard->ready_last = &shard->ready_first;
    else if (next->next->next != NULL)
        fetch_ahead(next->next->next);
    return next;
}

#if TORC_ASAN || TORC_TSAN
/* Both ways of leaving, with what sanitizers have to be told. */
static void leave_watched(struct torc__shard *shard, struct torc_fiber *self,
                          struct torc_fiber *next)
{
    const bool to_loop = next == &shard->loop;
    void *fake_stack = NULL;

    torc__sanitizer_leave(self == &shard->grave ? NULL : &fake_stack,
                          to_loop ? shard->thread_stack_low : next->stack->low,
                          to_loop ? shard->thread_stack_size
                                  : (size_t)(next->stack->top - next->stack->low),
                          to_loop ? shard->thread_tsan : next->stack->tsan);
    if (next->sp == NULL)
        torc__context_start(&self->sp, next->stack->top, torc__fiber_main, shard);
    else
        torc__context_switch(&self->sp, next->sp);
    torc__sanitizer_arrive(fake_stack);
}
#endif

/* The first run of a fiber: only now does it need a stack. Handing it out may set errno. */
static __attribute__((noinline)) void begin(struct torc__shard *shard, struct torc_fiber *self,
                                            struct torc_fiber *next)
{
    next->stack = torc__stack_take(&shard->stacks);
    next->stack->name = NULL;
    *shard->errno_of_thread = 0;
    torc__sanitizer_clean_stack(next->stack);
#if TORC_ASAN || TORC_TSAN
    leave_watched(shard, self, next);
#else
    next->sp = next->stack->top; /* It has run. */
    torc__context_start(&self->sp, next->stack->top, torc__fiber_main, shard);
#endif
}

/* Leave `self` for `next`. */
static inline void switch_to(struct torc__shard *shard, struct torc_fiber *self,
                             struct torc_fiber *next)
{
    shard->switches++;
    self->saved_errno = *shard->errno_of_thread;
    if (unlikely(next->sp == NULL)) {
        begin(shard, self, next);
        return;
    }
    *shard->errno_of_thread = next->saved_errno;
#if TORC_ASAN || TORC_TSAN
    leave_watched(shard, self, next);
#else
    torc__context_switch(&self->sp, next->sp);
#endif
}

/* Apart, and ending in jumps as well: so who is not recorded needs no frame. */
static __attribute__((noinline)) void
switch_recorded(struct torc__shard *shard, struct torc_fiber *self, struct torc_fiber *next)
{
    torc__trace_switch(shard, self, next);
    switch_to(shard, self, next);
}

/*
 * Never inlined, and it ends in a jump to what switches: then the processor predicts the return
 * from there, and those after it, which lead back into the same functions.
 */
__attribute__((noinline)) void torc__park(struct torc__shard *shard)
{
    struct torc_fiber *self = shard->running;
    struct torc_fiber *next = take_next(shard);

    shard->running = next;
    next->state = FIBER_RUNNING;
    if (next == self)
        return; /* It yielded, and nobody else is ready. */
    TORC_PROBE3(park, shard->index, self->id, next->id);
    if (unlikely(shard->trace != NULL))
        switch_recorded(shard, self, next);
    else
        switch_to(shard, self, next);
}

int torc__wait(struct torc__shard *shard, const struct torc_wait_kind *kind, void *waits_for)
{
    struct torc_fiber *self = shard->running;

    torc__suspend(shard, kind, waits_for);
    return self->wait_result;
}

static inline void wake(struct torc__shard *shard, struct torc_fiber ***queue,
                        struct torc_fiber *fiber, int result)
{
    TORC_ASSERT(fiber->state == FIBER_WAITING || fiber->state == FIBER_INTERRUPTED);
    fiber->wait_result = result;
    TORC_PROBE2(wake, shard->index, fiber->id);
    torc__enqueue(queue, fiber);
    if (unlikely(shard->trace != NULL))
        torc__trace_fiber(shard, fiber, TRACE_WAKE);
}

void torc__wake(struct torc__shard *shard, struct torc_fiber *fiber, int result)
{
    fiber->is_hot = false;
    wake(shard, &shard->ready_last, fiber, result);
}

void torc__wake_hot(struct torc__shard *shard, struct torc_fiber *fiber)
{
    if (fiber->is_hot) {
        torc__wake(shard, fiber, 0);
        return;
    }
    fiber->is_hot = true;
    shard->marked_switches += shard->marked_switches != 0; /* One more comes before. */
    wake(shard, &shard->hot_last, fiber, 0);
}

void torc__interrupt(struct torc_fiber *fiber, int reason)
{
    if (fiber->state != FIBER_WAITING || fiber->wait->interrupt == NULL)
        return; /* Not suspended, already ending for an earlier reason, or not to be disturbed. */
    fiber->state = FIBER_INTERRUPTED;
    fiber->wait->interrupt(fiber, reason);
}

static void pass_turn(struct torc__shard *shard)
{
    torc__make_ready(shard, shard->running);
    torc__park(shard);
}

static void name_spinner(struct torc_fiber *self, int reason)
{
    char who[128];

    if (self->is_named)
        return; /* Once is enough. */
    self->is_named = true;
    torc__describe_running(who, sizeof(who));
    torc__log("%s does not end although its waits give \"%s\"", who, torc_strerror(reason));
}

int torc__refuse(struct torc__shard *shard, int reason)
{
    struct torc_fiber *self = shard->running;

    if (++self->refusals >= REFUSALS_MAX) {
        name_spinner(self, reason);
        self->refusals = 0;
        pass_turn(shard);
    }
    return reason;
}

int torc_yield(void)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int reason = torc__reason(shard);

    if (unlikely(reason != 0))
        return torc__refuse(shard, reason);
    shard->running->refusals = 0;
    pass_turn(shard);
    return 0;
}

/*
 * Waits look at the reason as it was when the round began. A fiber that computes asks here, and may
 * have kept the loop from seeing that a deadline has passed.
 */
int torc_cancelled(void)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    if (torc__reason(shard) == 0)
        torc__scope_look_at_clock(shard, shard->running->scope);
    return torc__reason(shard);
}

/* SPDX-License-Identifier: MIT */
/*
 * thread_stack.c - run leaf code on the thread's own, large stack.
 *
 * The loop is parked there. So the fiber leaves a request and lets the loop go on, which makes the
 * call and puts the fiber first into the run queue: nothing else runs in between.
 */
#include "shard/shard.h"

struct torc__thread_call {
    int (*fn)(void *arg);
    void *arg;
    int result;
    uint32_t budget;
    struct torc_fiber *fiber;
};

static const struct torc_wait_kind on_thread_stack = {
    .name = "call on the thread's stack",
};

int torc_on_thread_stack(int (*fn)(void *arg), void *arg)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc__thread_call call = {
        .fn = fn, .arg = arg, .budget = shard->budget, .fiber = shard->running};

    shard->call = &call;
    shard->budget = 0; /* So that the loop is next. */
    (void)torc__wait(shard, &on_thread_stack, &call);
    return call.result;
}

void torc__thread_call_serve(struct torc__shard *shard)
{
    struct torc__thread_call *call = shard->call;
    struct torc_fiber *fiber = call->fiber;

    shard->call = NULL;
    call->result = call->fn(call->arg);
    fiber->state = FIBER_READY;
    fiber->next = shard->ready_first;
    if (shard->ready_first == NULL)
        shard->ready_last = &fiber->next;
    shard->ready_first = fiber;
    shard->budget = call->budget + 1;
}

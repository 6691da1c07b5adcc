/* SPDX-License-Identifier: MIT */
/*
 * blocking.c - wait for a function that runs on a thread of the pool.
 *
 * The call stands in the frame of the waiting fiber. The thread posts its message to the shard's
 * mailbox as the last thing it does with it, and only that message wakes the fiber; or the call is
 * withdrawn before it ran.
 */
#include "io/blocking.h"
#include "driver/thread.h"
#include "shard/shard.h"
#include <errno.h>
#include <torc/blocking.h>

struct call {
    struct torc__job job;
    struct torc_message message;
    struct torc__shard *shard;
    struct torc_fiber *fiber;
    int (*fn)(void *arg);
    void *arg;
    int result;
};

static void arrived(struct torc_message *message)
{
    struct call *call = container_of(message, struct call, message);

    torc__wake(call->shard, call->fiber, 0);
}

static void run(struct torc__job *job)
{
    struct call *call = container_of(job, struct call, job);
    int posted;

    call->result = call->fn(call->arg);
    posted = torc__mailbox_push(call->shard->mailbox, &call->message);
    TORC_ASSERT(posted == 0); /* It is open for as long as a fiber waits here. */
}

static void interrupt_call(struct torc_fiber *fiber, int reason)
{
    struct call *call = fiber->waits_for;

    if (torc__pool_withdraw(call->shard->pool, &call->job))
        torc__wake(call->shard, fiber, reason);
}

/* A call that is shielded is waited for to its end. */
#define POOL_KIND(function)                                                                 \
    {                                                                                       \
        .interrupt = (function), .name = "blocking call", .form = TORC_WAIT_FUNCTION,       \
        .object = offsetof(struct call, fn), .owner = TORC_WAIT_NONE, .fd = TORC_WAIT_NONE, \
        .count = offsetof(struct call, job.state),                                          \
    }

static const struct torc_wait_kind pool_kind = POOL_KIND(interrupt_call);
static const struct torc_wait_kind pool_kind_shielded = POOL_KIND(NULL);

static int call_on_pool(enum torc__lane lane, int (*fn)(void *arg), void *arg,
                        const struct torc_wait_kind *kind)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct call call = {.job = {.run = run},
                        .message = {.run = arrived},
                        .shard = shard,
                        .fiber = shard->running,
                        .fn = fn,
                        .arg = arg};
    int result;

    /* At the very end the mailbox is closed, and nothing else wants the shard any more. */
    if (shard->closing)
        return torc_on_thread_stack(fn, arg);
    result = torc__pool_submit(shard->pool, lane, &call.job);
    if (result == 0)
        result = torc__wait(shard, kind, &call);
    return result < 0 ? result : call.result;
}

int torc__blocking(enum torc__lane lane, int (*fn)(void *arg), void *arg)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int reason = torc__reason(shard);

    if (reason != 0)
        return torc__refuse(shard, reason);
    return call_on_pool(lane, fn, arg, &pool_kind);
}

int torc__blocking_shielded(enum torc__lane lane, int (*fn)(void *arg), void *arg)
{
    return call_on_pool(lane, fn, arg, &pool_kind_shielded);
}

int torc_blocking(int (*fn)(void *arg), void *arg)
{
    return torc__blocking(LANE_CALLS, fn, arg);
}

/* ---- System calls ---- */

struct system_call {
    int number;
    const uintptr_t *arguments;
    int64_t result;
};

static int make_call(void *arg)
{
    struct system_call *call = arg;

    call->result = torc__disk_call(call->number, call->arguments);
    return 0;
}

int64_t torc__file_call_once(int number, const uintptr_t arguments[6])
{
    struct system_call call = {.number = number, .arguments = arguments};
    int result = torc__blocking(LANE_FILES, make_call, &call);

    return result < 0 ? result : call.result;
}

int64_t torc__file_call(int number, const uintptr_t arguments[6])
{
    int64_t result;

    do {
        result = torc__file_call_once(number, arguments);
    } while (unlikely(result == -EINTR));
    return result;
}

int64_t torc__file_call_shielded(int number, const uintptr_t arguments[6])
{
    struct system_call call = {.number = number, .arguments = arguments};
    int result = torc__blocking_shielded(LANE_FILES, make_call, &call);

    return result < 0 ? result : call.result;
}

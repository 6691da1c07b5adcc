/* SPDX-License-Identifier: MIT */
/*
 * trace_own.c - traces of the runtime that the calling fiber is part of.
 *
 * The observer may have its mutex for milliseconds, to look symbols up, say; so it is taken on a
 * thread of the pool, and the fiber waits. What a trace's begin or end has sent to this shard
 * arrives before the fiber goes on, since the same thread has sent both, in this order.
 */
#include "io/blocking.h"
#include "shard/observer.h"
#include "shard/shard.h"
#include <errno.h>
#include <torc/io.h>
#include <torc/time.h>
#include <torc/trace.h>

/* What is done with the mutex. */
typedef int act_fn(struct torc__observer *observer, void *arg);

struct call {
    struct torc__observer *observer;
    act_fn *act;
    void *arg;
    int result;
    bool done;
};

static int make_call(void *arg)
{
    struct call *call = arg;

    pthread_mutex_lock(&call->observer->mutex);
    call->result = call->act(call->observer, call->arg);
    pthread_mutex_unlock(&call->observer->mutex);
    torc__observer_ring(call->observer); /* There may be something to be given back. */
    call->done = true;
    return 0;
}

/* What `act` returns; -EOPNOTSUPP where there is no observer. */
static int with_mutex(act_fn *act, void *arg)
{
    struct call call = {.observer = torc__shard_of_fiber()->observer, .act = act, .arg = arg};

    if (call.observer == NULL)
        return -EOPNOTSUPP;
    if (torc__blocking_shielded(LANE_CALLS, make_call, &call) < 0 && !call.done)
        (void)make_call(&call); /* No thread is to be had: it does not take long as a rule. */
    return call.result;
}

static int start(struct torc__observer *observer, void *events)
{
    return torc__trace_begin(observer, *(uint32_t *)events, TORC_FOREVER);
}

int torc_trace_start(uint32_t events)
{
    return with_mutex(start, &events);
}

static int stop(struct torc__observer *observer, void *arg)
{
    (void)arg;
    torc__trace_end(observer);
    return 0;
}

void torc_trace_stop(void)
{
    (void)with_mutex(stop, NULL);
}

static int drop(struct torc__observer *observer, void *arg)
{
    (void)arg;
    torc__trace_drop(observer);
    return 0;
}

void torc_trace_drop(void)
{
    (void)with_mutex(drop, NULL);
}

/* ---- Writing ---- */

static int acquire(struct torc__observer *observer, void *shape)
{
    return torc__trace_acquire(observer, shape);
}

static int release(struct torc__observer *observer, void *arg)
{
    (void)arg;
    torc__trace_release(observer);
    return 0;
}

static int write_out(void *arg, const void *data, size_t size)
{
    return (int)torc_write_all(*(const int *)arg, data, size, NULL);
}

int torc_trace_write(int fd)
{
    struct torc__trace_shape shape;
    int result = with_mutex(acquire, &shape);

    if (result < 0)
        return -ENODATA;
    result = torc__trace_to_json(torc__shard_of_fiber()->observer->area, shape, write_out, &fd);
    (void)with_mutex(release, NULL);
    return result;
}

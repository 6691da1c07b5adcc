/* SPDX-License-Identifier: MIT */
/*
 * trace.c - start and stop the recording of traces.
 *
 *     OFF --begin--> ON --end, time--> KEPT --drop, time--> DROPPED --all have heard--> OFF
 *
 * Whoever begins or ends says what he wants in each shard's slot, and sends a message to it; the
 * shard does it when that arrives, on its own thread, so that nothing of the path of an event needs
 * to be atomic. Memory goes when no shard writes to it any more.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/shared_memory.h"
#include "shard/observer.h"
#include "shard/shard.h"
#include <errno.h>
#include <torc/time.h>

/* How long the trace of a tool is kept for it. */
#define TOOL_KEEPS_NS (60 * NS_PER_SECOND)

/* ---- On the shard ---- */

/* Do on this shard what is wanted. */
static void adopt(struct torc__shard *shard)
{
    struct torc__observed *observed = shard->observed;
    const bool wanted = observed != NULL && atomic_load(&observed->trace_wanted);

    shard->trace = wanted ? &observed->trace : NULL;
    shard->driver->trace = shard->trace;
    if (wanted && !atomic_load(&observed->tracing))
        torc__trace_switch(shard, &shard->loop, shard->running); /* What runs at the beginning. */
    if (observed != NULL)
        atomic_store(&observed->tracing, wanted);
}

static void message_arrived(struct torc_message *message)
{
    struct torc__observed *observed = container_of(message, struct torc__observed, trace_message);

    atomic_store(&observed->trace_told, false); /* First: what is wanted later is told anew. */
    adopt(torc__shard);
    /* Only now may memory be given back that it wrote to. */
    if (torc__shard->observer != NULL && !atomic_load(&observed->trace_wanted))
        torc__observer_ring(torc__shard->observer);
}

void torc__trace_enter(struct torc__observed *observed)
{
    adopt(observed->shard);
}

void torc__trace_leave(struct torc__observed *observed)
{
    atomic_store(&observed->trace_wanted, false);
    adopt(observed->shard);
}

/* ---- Telling the shards ---- */

static void tell(struct torc__observed *observed)
{
    if (observed->shard == NULL)
        return;
    if (observed->shard == torc__shard) {
        adopt(torc__shard);
        return;
    }
    if (atomic_exchange(&observed->trace_told, true))
        return;
    observed->trace_message.run = message_arrived;
    if (torc__mailbox_push(observed->shard->mailbox, &observed->trace_message) < 0)
        atomic_store(&observed->trace_told, false); /* It ends, and leaves by itself. */
}

static void want(struct torc__observer *observer, bool wanted)
{
    for (unsigned i = 0; i < observer->count; i++) {
        atomic_store(&observer->slots[i].trace_wanted, wanted);
        tell(&observer->slots[i]);
    }
}

/* Whether the trace is still written or read. */
static bool is_in_use(const struct torc__observer *observer)
{
    if (observer->area_readers > 0)
        return true;
    for (unsigned i = 0; i < observer->count; i++) {
        if (atomic_load(&observer->slots[i].tracing) || atomic_load(&observer->slots[i].trace_told))
            return true;
    }
    return false;
}

/* ---- The memory ---- */

static int make_area(struct torc__observer *observer, uint32_t capacity)
{
    const size_t size = torc__trace_area_size(observer->count, capacity);
    struct torc__trace_area *area = torc__shared_create(TRACE_FD_NAME, size, &observer->area_fd);

    if (area == NULL)
        return -ENOMEM;
    *area = (struct torc__trace_area){
        .magic = TRACE_MAGIC,
        .version = PAGE_VERSION,
        .owner = observer->page->owner,
        .shard_count = observer->count,
        .capacity = capacity,
        .started_ns = torc__clock_now(),
    };
    for (unsigned i = 0; i < observer->count; i++) {
        torc__trace_init(&observer->slots[i].trace, torc__trace_ring_of(area, i, capacity),
                         capacity);
    }
    observer->area = area;
    observer->area_size = size;
    observer->area_capacity = capacity;
    return 0;
}

static void release_area(struct torc__observer *observer)
{
    torc__shared_destroy(observer->area, observer->area_size, observer->area_fd);
    observer->area = NULL;
    observer->trace_state = TRACE_OFF;
}

static uint32_t round_up(uint32_t events)
{
    uint32_t capacity = TRACE_EVENTS_MIN;

    if (events == 0)
        return TRACE_EVENTS_DEFAULT;
    while (capacity < events && capacity < TRACE_EVENTS_MAX)
        capacity *= 2;
    return capacity;
}

/* ---- With the observer's mutex held ---- */

int torc__trace_begin(struct torc__observer *observer, uint32_t events, uint64_t until_ns)
{
    int result;

    if (observer->trace_state == TRACE_ON)
        return -EBUSY;
    if (is_in_use(observer))
        return -EAGAIN;
    if (observer->area != NULL)
        release_area(observer);
    result = make_area(observer, round_up(events));
    if (result < 0)
        return result;
    observer->trace_state = TRACE_ON;
    observer->trace_until_ns = until_ns;
    want(observer, true);
    return 0;
}

void torc__trace_end(struct torc__observer *observer)
{
    if (observer->trace_state != TRACE_ON)
        return;
    observer->trace_state = TRACE_KEPT;
    atomic_store(&observer->area->ended_ns, torc__clock_now());
    observer->trace_drop_ns =
        observer->trace_until_ns == TORC_FOREVER ? TORC_FOREVER : torc__clock_now() + TOOL_KEEPS_NS;
    want(observer, false);
}

void torc__trace_drop(struct torc__observer *observer)
{
    torc__trace_end(observer);
    if (observer->trace_state == TRACE_KEPT)
        observer->trace_state = TRACE_DROPPED;
}

uint64_t torc__trace_serve(struct torc__observer *observer, uint64_t now_ns)
{
    if (observer->trace_state == TRACE_ON && now_ns >= observer->trace_until_ns)
        torc__trace_end(observer);
    if (observer->trace_state == TRACE_KEPT && now_ns >= observer->trace_drop_ns)
        observer->trace_state = TRACE_DROPPED;
    if (observer->trace_state == TRACE_DROPPED && !is_in_use(observer))
        release_area(observer);
    return observer->trace_state == TRACE_ON     ? observer->trace_until_ns
           : observer->trace_state == TRACE_KEPT ? observer->trace_drop_ns
                                                 : TORC_FOREVER;
}

void torc__trace_stall(struct torc__observer *observer, const struct torc__trace_stall *stall)
{
    struct torc__trace_area *area = observer->area;

    if (observer->trace_state != TRACE_ON)
        return;
    area->stalls[atomic_load(&area->stall_count) % TRACE_STALLS] = *stall;
    atomic_fetch_add(&area->stall_count, 1);
}

int torc__trace_acquire(struct torc__observer *observer, struct torc__trace_shape *ret_shape)
{
    if (observer->trace_state != TRACE_ON && observer->trace_state != TRACE_KEPT)
        return -ENODATA;
    *ret_shape = (struct torc__trace_shape){.capacity = observer->area_capacity,
                                            .shard_count = observer->count};
    observer->area_readers++;
    return 0;
}

void torc__trace_release(struct torc__observer *observer)
{
    observer->area_readers--;
}

/* ---- What the switches call, while they are recorded ---- */

void torc__trace_switch(struct torc__shard *shard, const struct torc_fiber *from,
                        const struct torc_fiber *to)
{
    const bool to_loop = to == &shard->loop;
    const char *name = to_loop || to->stack == NULL ? NULL : to->stack->name;
    enum torc__trace_left left = TRACE_WAITS;

    if (from == &shard->grave || from->state == FIBER_FREE)
        left = TRACE_ENDED;
    else if (from->state == FIBER_READY)
        left = TRACE_YIELDED;
    torc__trace_add(shard->trace, (struct torc__trace_event){
                                      .kind = TRACE_RUN,
                                      .fiber = to_loop ? 0 : to->id,
                                      .other = from == &shard->loop ? 0 : from->id,
                                      .name = torc__trace_name(shard->trace, name),
                                      .detail = (uint8_t)left,
                                  });
}

void torc__trace_fiber(struct torc__shard *shard, const struct torc_fiber *fiber, uint8_t kind)
{
    torc__trace_add(shard->trace, (struct torc__trace_event){.kind = kind, .fiber = fiber->id});
}

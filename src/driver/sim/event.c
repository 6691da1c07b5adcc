/* SPDX-License-Identifier: MIT */
/*
 * event.c - what is going to happen, in its order: a binary heap of events in their owners' memory.
 */
#include "base/compiler.h"
#include "base/log.h"
#include "driver/sim/world.h"
#include <stdlib.h>

#define HEAP_ROOM_FIRST 256u

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->time_ns != b->time_ns ? a->time_ns < b->time_ns : a->sequence < b->sequence;
}

static void put(struct sim_world *world, struct sim_event *event, uint32_t place)
{
    world->heap[place] = event;
    event->place = place;
}

static void rise(struct sim_world *world, struct sim_event *event, uint32_t place)
{
    while (place > 1 && is_before(event, world->heap[place / 2])) {
        put(world, world->heap[place / 2], place);
        place /= 2;
    }
    put(world, event, place);
}

static void sink(struct sim_world *world, struct sim_event *event, uint32_t place)
{
    for (;;) {
        uint32_t child = 2 * place;

        if (child < world->heap_count && is_before(world->heap[child + 1], world->heap[child]))
            child++;
        if (child > world->heap_count || !is_before(world->heap[child], event))
            break;
        put(world, world->heap[child], place);
        place = child;
    }
    put(world, event, place);
}

/* A simulation without memory for what is going to happen cannot go on: nobody could be told. */
static void make_room(struct sim_world *world)
{
    const uint32_t room = world->heap_room > 0 ? 2 * world->heap_room : HEAP_ROOM_FIRST;
    struct sim_event **heap = realloc(world->heap, room * sizeof(struct sim_event *));

    TORC_ASSERT(heap != NULL);
    world->heap = heap;
    world->heap_room = room;
}

void torc__sim_event_set(struct sim_world *world, struct sim_event *event, uint64_t time_ns,
                         torc__sim_event_fn *happen)
{
    TORC_ASSERT(event->place == 0);
    if (unlikely(world->heap_count + 1 >= world->heap_room))
        make_room(world);
    event->time_ns = time_ns > world->now_ns ? time_ns : world->now_ns;
    event->sequence = world->sequence++;
    event->happen = happen;
    rise(world, event, ++world->heap_count);
}

void torc__sim_event_clear(struct sim_world *world, struct sim_event *event)
{
    const uint32_t place = event->place;
    struct sim_event *last;

    if (place == 0)
        return;
    last = world->heap[world->heap_count--];
    event->place = 0;
    if (last == event)
        return;
    if (place > 1 && is_before(last, world->heap[place / 2])) {
        rise(world, last, place);
    } else {
        sink(world, last, place);
    }
}

uint64_t torc__sim_next_ns(const struct sim_world *world)
{
    return world->heap_count > 0 ? world->heap[1]->time_ns : UINT64_MAX;
}

bool torc__sim_step(struct sim_world *world, uint64_t until_ns)
{
    struct sim_event *event;

    if (world->heap_count == 0 || world->heap[1]->time_ns > until_ns) {
        if (until_ns != UINT64_MAX && until_ns > world->now_ns)
            world->now_ns = until_ns;
        return false;
    }
    event = world->heap[1];
    torc__sim_event_clear(world, event);
    if (event->time_ns > world->now_ns)
        world->now_ns = event->time_ns; /* It may be late: programs take their time, too. */
    world->events_happened++;
    event->happen(event);
    return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * trace.c - writing the events of a shard.
 */
#include "base/trace.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include <stdbool.h>
#include <string.h>

#define NAME_REST (TRACE_NAMES - 1)

static void put_name(struct torc__trace *trace, unsigned number, const char *name)
{
    char *text = trace->ring->names[number];
    const size_t length = strnlen(name, TRACE_NAME_MAX - 1);

    memcpy(text, name, length);
    text[length] = '\0';
    torc__utf8_drop_part(text, TRACE_NAME_MAX);
    trace->named[number] = name;
}

/* The memory of a name may have become that of another. One that is long may have been cut off. */
static bool is_text_of(const char *text, const char *name)
{
    const size_t length = strnlen(text, TRACE_NAME_MAX - 1);

    return strncmp(text, name, length) == 0 &&
           (name[length] == '\0' || length >= TRACE_NAME_MAX - UTF8_LENGTH_MAX);
}

void torc__trace_init(struct torc__trace *trace, struct torc__trace_ring *ring, uint32_t capacity)
{
    TORC_ASSERT((capacity & (capacity - 1)) == 0);
    *trace = (struct torc__trace){.ring = ring, .mask = capacity - 1, .name_count = 1};
    ring->capacity = capacity;
    put_name(trace, 0, "");
    put_name(trace, NAME_REST, "(other names)");
    atomic_store_explicit(&ring->name_count, 1, memory_order_release);
}

void torc__trace_add(struct torc__trace *trace, struct torc__trace_event event)
{
    event.time_ns = torc__clock_now();
    trace->ring->events[trace->written & trace->mask] = event;
    trace->written++;
    atomic_store_explicit(&trace->ring->written, trace->written, memory_order_release);
}

uint16_t torc__trace_name(struct torc__trace *trace, const char *name)
{
    const unsigned count = trace->name_count;

    if (name == NULL || name[0] == '\0')
        return 0;
    for (unsigned i = 1; i < count; i++) {
        if (trace->named[i] == name && is_text_of(trace->ring->names[i], name))
            return (uint16_t)i;
    }
    if (count == NAME_REST)
        return NAME_REST;
    put_name(trace, count, name);
    trace->name_count++;
    atomic_store_explicit(&trace->ring->name_count, count + 1, memory_order_release);
    return (uint16_t)count;
}

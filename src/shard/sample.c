/* SPDX-License-Identifier: MIT */
/*
 * sample.c - what fibers of one name do, found out by looking now and then.
 *
 * Names belong to the program, and their memory may be gone by the time it is read here; so the
 * kernel copies it, which says so instead of faulting.
 */
#include "base/clock.h"
#include "base/utf8.h"
#include "shard/observer.h"
#include "shard/shard.h"
#include <string.h>

/* The first of observer.names; the last is for all for which there is no room. */
#define NAME_LOOP  0u
#define NAME_NONE  1u
#define NAME_REST  (PAGE_NAMES - 1)
#define CHUNKS_MAX 8192u /* 4 million fibers */

static void put(struct torc__observer *observer, unsigned number, const char *text)
{
    struct torc__sampled *name = &observer->names[number];

    *name = (struct torc__sampled){.text = NULL};
    memcpy(name->stats.name, text, strnlen(text, sizeof(name->stats.name) - 1));
}

/* The number of the name that stands at `text`. */
static unsigned find(struct torc__observer *observer, const char *text)
{
    char copy[sizeof(observer->names[0].stats.name)] = "";
    unsigned i;

    if (text == NULL)
        return NAME_NONE;
    for (i = NAME_NONE; i < observer->name_count; i++) {
        if (observer->names[i].text == text)
            return i;
    }
    copy[torc__observer_copy(copy, (uintptr_t)text, sizeof(copy) - 1)] = '\0';
    torc__utf8_drop_part(copy, sizeof(copy));
    for (i = NAME_NONE; i < observer->name_count; i++) {
        if (strcmp(observer->names[i].stats.name, copy) == 0)
            break;
    }
    if (i >= NAME_REST)
        i = NAME_REST; /* No room. */
    if (i == observer->name_count) {
        put(observer, i, i == NAME_REST ? "(other names)" : copy);
        observer->name_count++;
    }
    observer->names[i].text = text;
    return i;
}

/* Where a name stood before, another may stand now. */
static void forget_places(struct torc__observer *observer)
{
    for (unsigned i = 0; i < observer->name_count; i++)
        observer->names[i].text = NULL;
}

static LOOKS_AT_OTHERS const char *name_of(const struct torc_fiber *fiber)
{
    const struct torc__stack *stack = PEEK(fiber->stack);

    return stack != NULL ? PEEK(stack->name) : NULL;
}

static LOOKS_AT_OTHERS unsigned find_running(struct torc__observer *observer,
                                             const struct torc__shard *shard)
{
    const struct torc_fiber *running = PEEK(shard->running);

    if (running == &shard->loop || running == &shard->grave)
        return NAME_LOOP;
    return find(observer, name_of(running));
}

void torc__sample_begin(struct torc__observer *observer)
{
    observer->name_count = 2;
    put(observer, NAME_LOOP, "(loop)");
    put(observer, NAME_NONE, "");
    for (unsigned i = 0; i < observer->count; i++) {
        if (observer->slots[i].shard != NULL)
            observer->slots[i].sampled_cpu_ns = torc__observed_cpu_ns(&observer->slots[i]);
    }
}

void torc__sample_cpu(struct torc__observer *observer)
{
    forget_places(observer);
    for (unsigned i = 0; i < observer->count; i++) {
        struct torc__observed *observed = &observer->slots[i];
        uint64_t cpu_ns;

        if (observed->shard == NULL)
            continue;
        cpu_ns = torc__observed_cpu_ns(observed);
        observer->names[find_running(observer, observed->shard)].stats.cpu_ns +=
            cpu_ns - observed->sampled_cpu_ns;
        observed->sampled_cpu_ns = cpu_ns;
    }
}

static LOOKS_AT_OTHERS void count_chunk(struct torc__observer *observer,
                                        const struct torc__fiber_chunk *chunk)
{
    for (unsigned i = 0; i < FIBER_CHUNK; i++) {
        const struct torc_fiber *fiber = &chunk->fibers[i];
        const uint8_t state = PEEK(fiber->state);
        struct torc_name_stats *stats;

        if (state == FIBER_FREE)
            continue;
        stats = &observer->names[find(observer, state == FIBER_NEW ? NULL : name_of(fiber))].stats;
        stats->fibers++;
        stats->ready += state != FIBER_WAITING && state != FIBER_INTERRUPTED;
    }
}

LOOKS_AT_OTHERS void torc__sample_fibers(struct torc__observer *observer)
{
    forget_places(observer);
    for (unsigned i = 0; i < observer->name_count; i++)
        observer->names[i].stats.fibers = observer->names[i].stats.ready = 0;
    for (unsigned i = 0; i < observer->count; i++) {
        const struct torc__shard *shard = observer->slots[i].shard;
        const struct torc__fiber_chunk *chunk = shard != NULL ? PEEK(shard->fibers.chunks) : NULL;

        for (unsigned k = 0; chunk != NULL && k < CHUNKS_MAX; k++) {
            count_chunk(observer, chunk);
            chunk = PEEK(chunk->next);
        }
    }
}

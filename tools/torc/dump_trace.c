/* SPDX-License-Identifier: MIT */
/*
 * dump_trace.c - the calls on stacks: each different list of them is kept once.
 */
#include "dump.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const uint64_t *pcs, unsigned depth)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) + depth;

    for (unsigned i = 0; i < depth; i++) {
        hash = (hash ^ pcs[i]) * UINT64_C(0x100000001b3);
        hash ^= hash >> 29;
    }
    return hash;
}

static bool is_same(const struct dump_trace *trace, const uint64_t *pcs, unsigned depth)
{
    return trace->depth == depth && memcmp(trace->pcs, pcs, depth * sizeof(pcs[0])) == 0;
}

uint32_t dump_trace(struct dump *dump, const struct unwind_registers *registers,
                    const struct unwind_memory *memory)
{
    uint64_t pcs[UNWIND_DEPTH_MAX];
    const unsigned depth = unwind_walk(dump->unwinder, registers, memory, pcs);
    uint64_t hash = hash_of(pcs, depth);
    struct dump_trace *trace;
    uint32_t found;

    if (depth == 0)
        return DUMP_NONE;
    while ((found = table_find(&dump->trace_of, hash)) != TABLE_NONE) {
        if (is_same(&dump->traces[found], pcs, depth))
            return found;
        hash++;
    }
    dump->traces = table_grow(dump->traces, dump->trace_count + 1, sizeof(*trace));
    trace = &dump->traces[dump->trace_count];
    *trace = (struct dump_trace){.depth = depth};
    trace->pcs = table_grow(NULL, depth, sizeof(pcs[0]));
    memcpy(trace->pcs, pcs, depth * sizeof(pcs[0]));
    table_set(&dump->trace_of, hash, dump->trace_count);
    return dump->trace_count++;
}

const struct unwind_place *dump_trace_place(const struct dump *dump, const struct dump_trace *trace,
                                            unsigned i)
{
    return unwind_lines(dump->unwinder, trace->pcs[i], i > 0);
}

static bool begins_with(const struct dump *dump, const struct dump_trace *trace, unsigned i,
                        const char *prefix)
{
    const char *function = unwind_name(dump->unwinder, trace->pcs[i], i > 0)->at.function;

    return function != NULL && strncmp(function, prefix, strlen(prefix)) == 0;
}

static bool is_internal(const struct dump *dump, const struct dump_trace *trace, unsigned i)
{
    return begins_with(dump, trace, i, "torc__");
}

/* How a parked fiber came to be parked, up to the function of torc's that it called. */
static unsigned inner_end(const struct dump *dump, const struct dump_trace *trace, unsigned end)
{
    unsigned internal = 0;

    for (unsigned i = 0; i < end; i++) {
        if (begins_with(dump, trace, i, "torc_") && !is_internal(dump, trace, i))
            return i;
    }
    while (internal < end && is_internal(dump, trace, internal))
        internal++;
    return internal;
}

bool dump_trace_is_shown(const struct unwind_source *inlined)
{
    return inlined->function != NULL && strncmp(inlined->function, "torc__", strlen("torc__")) != 0;
}

void dump_trace_shown(const struct dump *dump, const struct dump_trace *trace, unsigned *ret_first,
                      unsigned *ret_end)
{
    unsigned first = 0;
    unsigned end = trace->depth;

    while (end > 0 && is_internal(dump, trace, end - 1))
        end--;
    if (end > 0 && is_internal(dump, trace, 0))
        first = inner_end(dump, trace, end);
    if (first == end) { /* There is nothing else. */
        first = 0;
        end = trace->depth;
    }
    *ret_first = first;
    *ret_end = end;
}

static bool is_shown_alike(const struct dump *dump, const struct dump_trace *a,
                           const struct dump_trace *b)
{
    unsigned first_a;
    unsigned first_b;
    unsigned end_a;
    unsigned end_b;

    dump_trace_shown(dump, a, &first_a, &end_a);
    dump_trace_shown(dump, b, &first_b, &end_b);
    return end_a - first_a == end_b - first_b &&
           memcmp(a->pcs + first_a, b->pcs + first_b, (end_a - first_a) * sizeof(a->pcs[0])) == 0;
}

void dump_trace_merge(struct dump *dump)
{
    uint32_t *same = table_grow(NULL, dump->trace_count, sizeof(*same));
    struct table shown = {0};

    for (uint32_t i = 0; i < dump->trace_count; i++) {
        const struct dump_trace *trace = &dump->traces[i];
        unsigned first;
        unsigned end;
        uint64_t hash;
        uint32_t other;

        dump_trace_shown(dump, trace, &first, &end);
        hash = hash_of(trace->pcs + first, end - first);
        other = table_find(&shown, hash);
        if (other == TABLE_NONE)
            table_set(&shown, hash, i);
        same[i] =
            other != TABLE_NONE && is_shown_alike(dump, trace, &dump->traces[other]) ? other : i;
    }
    for (uint32_t i = 0; i < dump->fiber_count; i++) {
        if (dump->fibers[i].trace != DUMP_NONE)
            dump->fibers[i].trace = same[dump->fibers[i].trace];
    }
    table_finish(&shown);
    free(same);
}

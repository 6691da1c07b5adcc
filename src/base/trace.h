/* SPDX-License-Identifier: MIT */
/*
 * trace.h - a bounded ring of events of one shard, which keeps the newest.
 *
 * The shard's thread writes; anybody, in another process too, may read at the same time. Events are
 * numbered from 0; `written` says how many there have been. A reader copies events and then looks
 * at `written` again: those that are older than a ring's length by then may have been overwritten
 * while they were copied, and are dropped.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdatomic.h>
#include <stdint.h>

struct io_uring_sqe;

#define TRACE_NAMES    256u /* of fibers; the first is for those without, the last for the rest */
#define TRACE_NAME_MAX 48u

enum torc__trace_kind {
    TRACE_RUN,      /* fiber begins to run; other: the one before it, detail: what became of that */
    TRACE_SPAWN,    /* fiber is new, and ready */
    TRACE_WAKE,     /* fiber has become ready */
    TRACE_OP_START, /* object: the op, detail: opcode, value: descriptor */
    TRACE_OP_END,   /* object: the op, detail: whether more is to come, value: result */
    TRACE_SLEEP,    /* the loop waits in the kernel */
    TRACE_AWAKE,
};

/* What became of the fiber that ran before. */
enum torc__trace_left {
    TRACE_ENDED,
    TRACE_YIELDED,
    TRACE_WAITS,
};

struct torc__trace_event {
    uint64_t time_ns;
    uint64_t object;
    uint32_t fiber; /* 0: the loop */
    uint32_t other;
    int32_t value;
    uint16_t name; /* of `fiber` */
    uint8_t kind;
    uint8_t detail;
};
_Static_assert(sizeof(struct torc__trace_event) == 32, "two in a cache line");

/* What is shared with those who read. */
struct torc__trace_ring {
    _Atomic uint64_t written;
    uint32_t capacity; /* a power of two */
    _Atomic uint32_t name_count;
    char names[TRACE_NAMES][TRACE_NAME_MAX];
    _Alignas(64) struct torc__trace_event events[];
};

/* The writer's side, which believes nothing that stands in the ring: others may write there. */
struct torc__trace {
    struct torc__trace_ring *ring;
    uint64_t written;
    uint64_t mask;
    unsigned name_count;
    const char *named[TRACE_NAMES]; /* whose texts are in the ring */
};

/* Begin to write to an empty ring of `capacity` events. */
void torc__trace_init(struct torc__trace *trace, struct torc__trace_ring *ring, uint32_t capacity);

/* Write one event; its time is filled in. */
void torc__trace_add(struct torc__trace *trace, struct torc__trace_event event);

/* The number of a name; NULL is a name, too. */
uint16_t torc__trace_name(struct torc__trace *trace, const char *name);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * page.h - the memory of a runtime that tools share with it, and how they speak.
 *
 * A runtime has one such page: a sealed memfd by the name "torc", open for as long as the runtime
 * lives, so /proc/PID/fd leads to it whoever may look there, and the kernel removes it however the
 * process ends. Nothing on it is needed by the runtime itself: its shards neither read nor write
 * it, and its observer (observer.h) believes nothing that it finds there.
 *
 * A tool asks: it adds 1 to `asked`, then to `bell`, which is a futex that the observer sleeps on.
 * The observer writes counters and names, `sequence` being odd meanwhile, and sets `answered`,
 * which is a futex too, to what it had read from `asked`.
 *
 * A trace has a memfd of its own, "torc-trace", while there is one: torc__trace_area.
 */
#ifndef SHARD_PAGE_H
#define SHARD_PAGE_H

#include "base/compiler.h"
#include "base/trace.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/runtime.h>
#include <torc/view.h>

#define PAGE_FD_NAME  "torc"
#define TRACE_FD_NAME "torc-trace"

#define PAGE_MAGIC      UINT64_C(0x656761702d637274) /* "trc-page" */
#define TRACE_MAGIC     UINT64_C(0x6563617274637274) /* "trctrace" */
#define PAGE_VERSION    2u
#define PAGE_SHARDS_MAX 1024u

/* Names of fibers that have used CPU time or exist; the first is for what a loop does itself. */
#define PAGE_NAMES 64u

#define TRACE_EVENTS_MIN     1024u
#define TRACE_EVENTS_MAX     (1u << 22)
#define TRACE_EVENTS_DEFAULT (1u << 16)
#define TRACE_STALLS         64u

enum torc__page_command {
    PAGE_NOTHING,
    PAGE_TRACE_START,
    PAGE_TRACE_STOP,
    PAGE_TRACE_DROP,
};

struct torc__page {
    uint64_t magic;
    uint32_t version;
    uint32_t stats_size; /* of struct torc_stats */
    uint32_t name_size;  /* of struct torc_name_stats */
    uint32_t shard_count;
    uint64_t owner; /* the same for a runtime's page and its trace */
    uint32_t pid; /* in the process's own namespace: a child inherits the memfd, but is not meant */
    int32_t fd;   /* the runtime's: views of the process's own have others of the same memfd */
    char driver[12];

    /* Tools write here. */
    _Alignas(64) _Atomic uint32_t bell;
    _Atomic uint32_t asked;
    _Atomic uint32_t command; /* torc__page_command, taken with the next answer */
    _Atomic uint32_t trace_events;
    _Atomic uint32_t trace_ms;

    /* The observer writes here. */
    _Alignas(64) _Atomic uint32_t answered;
    _Atomic int32_t command_result;
    _Atomic uint32_t sequence;
    _Atomic uint32_t ended; /* the runtime has */
    uint32_t name_count;
    uint64_t time_ns; /* of the answer */
    struct torc_name_stats names[PAGE_NAMES];
    struct torc_stats shards[];
};

static inline size_t torc__page_size(unsigned shard_count)
{
    return offsetof(struct torc__page, shards) + shard_count * sizeof(struct torc_stats);
}

/* A stall, written by the observer. */
struct torc__trace_stall {
    uint64_t time_ns; /* when it was noticed */
    uint64_t lasted_ns;
    uint32_t shard;
    uint32_t fiber;
};

struct torc__trace_area {
    uint64_t magic;
    uint64_t owner;
    uint32_t version;
    uint32_t shard_count;
    uint32_t capacity; /* events of a shard */
    uint64_t started_ns;
    _Atomic uint64_t ended_ns;    /* 0: it goes on */
    _Atomic uint32_t stall_count; /* as with rings: the newest TRACE_STALLS are there */
    struct torc__trace_stall stalls[TRACE_STALLS];
    _Alignas(64) char rings[];
};

static inline size_t torc__trace_ring_size(uint32_t capacity)
{
    return offsetof(struct torc__trace_ring, events) + capacity * sizeof(struct torc__trace_event);
}

static inline size_t torc__trace_area_size(unsigned shard_count, uint32_t capacity)
{
    return offsetof(struct torc__trace_area, rings) + shard_count * torc__trace_ring_size(capacity);
}

static inline struct torc__trace_ring *torc__trace_ring_of(struct torc__trace_area *area,
                                                           unsigned shard, uint32_t capacity)
{
    return (struct torc__trace_ring *)(void *)(area->rings +
                                               shard * torc__trace_ring_size(capacity));
}

/* ---- trace_json.c ---- */

/* Takes bytes of a trace as it is written out; a negative errno ends that. */
typedef int torc__trace_sink_fn(void *arg, const void *data, size_t size);

/* What is to be known of a trace, once: whoever wrote it may go on to write. */
struct torc__trace_shape {
    uint32_t capacity;
    uint32_t shard_count;
};

/* Whether this is a trace that can be read, in `size` bytes, whoever wrote it. */
bool torc__trace_is_valid(const struct torc__trace_area *area, size_t size,
                          struct torc__trace_shape *ret_shape);

/*
 * Write a valid trace as a JSON object in the Trace Event Format, 0 being the time of its start.
 * Allocates. 0, -ENOMEM or the sink's error.
 */
int torc__trace_to_json(struct torc__trace_area *area, struct torc__trace_shape shape,
                        torc__trace_sink_fn *sink, void *arg);

#endif

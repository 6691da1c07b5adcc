/* SPDX-License-Identifier: MIT */
/*
 * world.h - what a simulation consists of: its clock, what is going to happen, chance, and the
 * trace of what has.
 *
 * Everything that happens follows from the seed. So nothing else may decide anything: no real
 * clock, no address of an object, no order of a hash table, no byte that was never written. A model
 * that needs a decision asks the world for a number, and asks as often whatever the answer is.
 *
 * All of a world runs on one OS thread, which has at most one world at a time.
 */
#ifndef DRIVER_SIM_WORLD_H
#define DRIVER_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/sim_chaos.h>

struct sim_completion;
struct sim_context;
struct sim_event;
struct sim_host;
struct sim_net;
struct sim_op;

/* ---- What is going to happen ---- */

typedef void torc__sim_event_fn(struct sim_event *event);

/*
 * Something that happens at a time, in its owner's memory. All zero: it does not stand in the heap.
 * Of events with the same time the one that was set first happens first.
 */
struct sim_event {
    uint64_t time_ns;
    uint64_t sequence;
    torc__sim_event_fn *happen;
    uint32_t place; /* in the heap, from 1 on; 0: not in it */
};

static inline bool torc__sim_event_is_set(const struct sim_event *event)
{
    return event->place != 0;
}

/* ---- The world ---- */

/* Whether it goes on; if not, its root context runs, and what is left is dropped. */
enum sim_verdict {
    SIM_GOES_ON,
    SIM_STUCK,    /* All wait, and nothing is going to happen. */
    SIM_TOO_BUSY, /* events_max have happened, */
    SIM_TOO_LATE, /* or time_max_ns have passed, and it has not come to an end. */
    SIM_FAILED,   /* Somebody has found a fault in it. */
};

/* In words. */
const char *torc__sim_verdict_text(enum sim_verdict verdict);

/* The dice: xoshiro256**, seeded by splitmix64. */
struct sim_random {
    uint64_t state[4];
};

struct sim_world {
    uint64_t seed;
    uint64_t now_ns;
    struct sim_random random;
    struct torc_sim_chaos chaos; /* What may go wrong: exact, 0 is never. */

    struct sim_event **heap; /* of heap_count; its first place stays empty */
    uint32_t heap_count;
    uint32_t heap_room;
    uint64_t sequence;

    struct sim_host *hosts; /* in the order in which they were made */
    struct sim_host **last_host;
    unsigned host_count;
    struct sim_net *net; /* what connects them; sim_net.h */

    /* Who runs; context.h. */
    struct sim_context *root;
    struct sim_context *running;
    struct sim_context *next;    /* to run */
    struct sim_context *waiting; /* on a key, in the order in which they came */
    struct sim_context *ended;   /* to be freed by the next one */
    struct sim_context *free_contexts;
    void **local;                              /* see torc__sim_bind_local() */
    enum sim_verdict verdict;                  /* on the world as a whole ... */
    void (*gives_up)(struct sim_world *world); /* ... and who wants to know */

    struct sim_op *free_ops; /* driver.h */
    struct sim_completion *free_completions;

    uint64_t trace_hash;
    bool trace; /* in words, on stderr */

    uint64_t events_happened;
    uint64_t events_max; /* Then it is stopped; 0: never. */
    uint64_t time_max_ns;
    uint64_t faults; /* that have been done so far; see torc__sim_fault() */
    uint64_t ops;
};

/* The world of this OS thread; NULL if it has none. */
extern _Thread_local struct sim_world *torc__sim_world
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/*
 * Make a world without hosts; its clock stands at SIM_EPOCH_NS. `chaos` may be NULL: the default.
 * NULL without memory.
 */
struct sim_world *torc__sim_world_create(uint64_t seed, const struct torc_sim_chaos *chaos);

/* Free a world that nothing is left in. */
void torc__sim_world_destroy(struct sim_world *world);

/* What CLOCK_MONOTONIC shows when a world begins. */
#define SIM_EPOCH_NS UINT64_C(1000000000000)
/* What CLOCK_REALTIME shows more than that, of a host whose clock was not set: it is 2026 then. */
#define SIM_REALTIME_NS UINT64_C(1767225600000000000)

/* ---- Time ---- */

/* Let `event` happen at `time_ns`, or at once if that is past. It may not be set already. */
void torc__sim_event_set(struct sim_world *world, struct sim_event *event, uint64_t time_ns,
                         torc__sim_event_fn *happen);

/* It shall not happen; nothing if it is not set. */
void torc__sim_event_clear(struct sim_world *world, struct sim_event *event);

/* When the next event is due; UINT64_MAX without any. */
uint64_t torc__sim_next_ns(const struct sim_world *world);

/*
 * Let the next event happen, and turn the clock on to its time. False if there is none that is due
 * by `until_ns`: then the clock stands there, if that is later, and is not UINT64_MAX.
 */
bool torc__sim_step(struct sim_world *world, uint64_t until_ns);

/* ---- Chance ---- */

uint64_t torc__sim_random(struct sim_world *world);

/* A number below `limit`, which is not 0. */
uint64_t torc__sim_below(struct sim_world *world, uint64_t limit);

/* A number from `low` to `high`, both included. */
static inline uint64_t torc__sim_between(struct sim_world *world, uint64_t low, uint64_t high)
{
    return low >= high ? low : low + torc__sim_below(world, high - low + 1);
}

/* Whether something happens that does so `per_million` times of a million. No fault. */
bool torc__sim_chance(struct sim_world *world, uint32_t per_million);

/*
 * How long something takes: as a rule near the lower end of the range, seldom up to its upper one.
 */
uint64_t torc__sim_duration(struct sim_world *world, const struct torc_sim_range *range);

/*
 * Whether a fault happens now that may happen `per_million` times of a million. Faults are counted,
 * named in the trace, and end at the bound that the chaos has for their number; a plan can leave
 * out single ones.
 */
bool torc__sim_fault(struct sim_world *world, const struct sim_host *host, const char *name,
                     uint32_t per_million);

/* ---- Trace ---- */

/*
 * Something has happened on `host` (NULL: between hosts). Goes into the hash, and on stderr if the
 * trace is on, as "what a b". `what` is a string constant of a few words; `a` and `b` are numbers
 * that are the same in each run: no addresses.
 */
void torc__sim_trace(struct sim_world *world, const struct sim_host *host, const char *what,
                     int64_t a, int64_t b);

#endif

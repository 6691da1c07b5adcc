/* SPDX-License-Identifier: MIT */
/*
 * pool.h - threads for what cannot be done without blocking.
 *
 * One pool per runtime, shared by its shards and their drivers. It knows neither fibers nor
 * operations: it calls a function on one of its threads. A thread is started when there is work
 * and none is free, and ends when it has had nothing to do for a while.
 *
 * Work comes in lanes, each of which may occupy only so many threads, in all no more than there may
 * be: so slow name lookups, or calls of the program's that take for ever, never keep files waiting.
 */
#ifndef DRIVER_POOL_H
#define DRIVER_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <torc/runtime.h>

struct torc__pool;

enum torc__lane {
    LANE_CALLS, /* functions of the program: half of the threads */
    LANE_FILES, /* system calls on files: a quarter */
    LANE_NAMES, /* name lookups: a quarter */
    LANE_COUNT,
};

enum torc__job_state {
    JOB_QUEUED,
    JOB_WITHDRAWN,
    JOB_RUNNING,
};

/*
 * Something to be done, in the caller's memory, which the pool does not touch any more once `run`
 * is called. So the queue needs no memory, and is bounded by what the callers have.
 */
struct torc__job {
    struct torc__job *next;
    struct torc__job **link; /* what points here */
    enum torc__lane lane;
    enum torc__job_state state;
    /* Called on a thread of the pool, which is no shard. Says itself that it is done. */
    void (*run)(struct torc__job *job);
};

/* What torc_stats tells of the pool. */
struct torc__pool_stats {
    uint64_t threads;
    uint64_t runs;
};

/* Whether the options that concern the pool are in their ranges. */
bool torc__pool_options_valid(const struct torc_options *options);

/*
 * A pool without threads yet; NULL without memory. Its threads will run where the calling thread
 * may now, however the thread that starts them is pinned. Allocates.
 */
struct torc__pool *torc__pool_create(const struct torc_options *options);

/* End all threads and wait for them. No job may be queued or running. NULL is ignored. */
void torc__pool_destroy(struct torc__pool *pool);

/* Free a pool whose threads are no more, whatever was queued or running. */
void torc__pool_abandon(struct torc__pool *pool);

/*
 * Have `job->run(job)` called on a thread, in its lane's order. Any thread. 0; or why not a single
 * thread could be started (-EAGAIN as a rule): then the job is still the caller's.
 */
int torc__pool_submit(struct torc__pool *pool, enum torc__lane lane, struct torc__job *job);

/* Take a submitted job back: true if it now never runs, false if it does, or has. Any thread. */
bool torc__pool_withdraw(struct torc__pool *pool, struct torc__job *job);

void torc__pool_stats(struct torc__pool *pool, struct torc__pool_stats *ret_stats);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * micro.h - what the measurements of `micro` have in common.
 *
 * A measurement is a function that runs in a process of its own, so that none sees the memory and
 * the threads of another. It times chunks of operations, some hundred of them per repetition, and
 * reports two figures: the best of the repetitions' 10th percentiles, which is what the operation
 * costs when nobody disturbs, and the median of their medians.
 */
#ifndef TORC_BENCH_MICRO_H
#define TORC_BENCH_MICRO_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <torc/torc.h>

enum {
    MICRO_CHUNK = 1000,       /* operations between two readings of the clock */
    MICRO_SAMPLES_MAX = 4096, /* chunks of a repetition; more are not kept */
    MICRO_REPETITIONS_MAX = 64,
};

/* What a figure has no target for. */
#define MICRO_NO_TARGET (-1.0)

/* The measurements, in the files micro_*.c. */
void micro_switch(void);
void micro_spawn(void);
void micro_scope(void);
void micro_timer(void);
void micro_sleepers(void);
void micro_memory(void);
void micro_wake(void);
void micro_answer(void);
void micro_sync(void);
void micro_shards(void);
void micro_idle(void);
void micro_nop(void);

/* Whether memory is measured with a million fibers as well, which takes 5 GiB. */
bool micro_wants_million(void);

/* ---- Samples ---- */

struct micro_samples {
    unsigned count;
    unsigned repetitions;
    double values[MICRO_SAMPLES_MAX];
    double lows[MICRO_REPETITIONS_MAX];    /* the 10th percentile of each repetition */
    double medians[MICRO_REPETITIONS_MAX]; /* and its median */
};

/* An empty collection, to be freed by the caller. */
struct micro_samples *micro_samples_create(void);

/* One chunk took `total_ns` for `operations`. */
void micro_samples_add(struct micro_samples *samples, uint64_t total_ns, unsigned operations);

/* What was added since the last call is one repetition. */
void micro_samples_end_repetition(struct micro_samples *samples);

/* ---- Reports ---- */

/* Print what was sampled, in ns per operation; MICRO_NO_TARGET is allowed. */
void micro_report(const char *name, const struct micro_samples *samples, double target);

/* Print a figure that is not a distribution. */
void micro_report_value(const char *name, const char *unit, double value, double target);

/* The value that `percent` of all do not exceed; 0 if there are none. Sorts them. */
double micro_percentile(double *values, unsigned count, double percent);

/* Say on stderr why something was not measured. */
void micro_skip(const char *name, const char *reason);

/* ---- Helpers ---- */

/* End the program with a message if `result` is a negative errno. */
void micro_require(int result, const char *what);

/* Zeroed memory, or the end of the program. */
void *micro_allocate(size_t count, size_t size);

/* torc_run() with one shard; any failure ends the program. */
void micro_run(torc_fiber_fn *main, void *arg, const struct torc_options *options);

/* Put 0 .. count - 1 into `order`, shuffled. */
void micro_shuffle(uint32_t *order, uint32_t count, uint64_t *seed);

/* The next of a sequence of random numbers (xorshift64*); the seed is not 0. */
static inline uint64_t micro_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

static inline uint64_t micro_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * TORC_SECOND + (uint64_t)now.tv_nsec;
}

static inline uint64_t micro_now(void)
{
    return micro_clock(CLOCK_MONOTONIC);
}

/* The CPU time that the calling thread, and so the whole shard, has used. */
static inline uint64_t micro_cpu(void)
{
    return micro_clock(CLOCK_THREAD_CPUTIME_ID);
}

#endif

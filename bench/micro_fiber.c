/* SPDX-License-Identifier: MIT */
/*
 * micro_fiber.c - what switches, spawns and scopes cost.
 */
#include "micro.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    REPETITIONS = 7,
    CHUNKS = 400, /* of a repetition */
    LINES = 8,    /* cache lines of its stack that a fiber touches in each turn */
    LINE_SIZE = 64,
};

/* ---- Switch ---- */

struct switching {
    uint32_t fiber_count;
    unsigned left;     /* resumes until this chunk ends */
    unsigned warm_up;  /* chunks that are not counted: everybody's first turn */
    unsigned chunks;   /* that are still to come */
    uint64_t begun_ns; /* when this chunk began */
    bool bare;         /* touch nothing */
    bool ended;
    struct torc_event *starts; /* one per fiber */
    struct micro_samples *samples;
};

struct switcher {
    struct switching *all;
    struct torc_event *start;
};

static __attribute__((noinline)) void end_chunk(struct switching *all)
{
    const uint64_t now = micro_now();

    if (all->warm_up > 0)
        all->warm_up--;
    else
        micro_samples_add(all->samples, now - all->begun_ns, MICRO_CHUNK);
    all->ended = --all->chunks == 0;
    all->left = MICRO_CHUNK;
    all->begun_ns = now;
}

static int switch_bare(void *arg)
{
    const struct switcher self = *(struct switcher *)arg;

    micro_require(torc_event_wait(self.start), "wait");
    while (!self.all->ended) {
        if (--self.all->left == 0)
            end_chunk(self.all);
        (void)torc_yield();
    }
    return 0;
}

static int switch_and_touch(void *arg)
{
    volatile char lines[LINES][LINE_SIZE];
    const struct switcher self = *(struct switcher *)arg;

    micro_require(torc_event_wait(self.start), "wait");
    while (!self.all->ended) {
        for (int i = 0; i < LINES; i++)
            lines[i][0] = 1;
        if (--self.all->left == 0)
            end_chunk(self.all);
        (void)torc_yield();
        (void)lines[0][0]; /* Or a compiler would take the lines for unused. */
    }
    return 0;
}

/*
 * The stacks are handed out in the order of the fibers' first turns, and the run queue keeps the
 * order in which fibers became ready. So each first waits, and then they are woken in an order that
 * has nothing to do with where their stacks are.
 */
static int switch_main(void *arg)
{
    struct switching *all = arg;
    struct switcher *switchers = micro_allocate(all->fiber_count, sizeof(*switchers));
    uint32_t *order = micro_allocate(all->fiber_count, sizeof(*order));
    uint64_t seed = micro_now() | 1;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (uint32_t i = 0; i < all->fiber_count; i++) {
        switchers[i] = (struct switcher){.all = all, .start = &all->starts[i]};
        micro_require(
            torc_scope_spawn(&scope, all->bare ? switch_bare : switch_and_touch, &switchers[i]),
            "spawn");
    }
    (void)torc_yield();
    micro_shuffle(order, all->fiber_count, &seed);
    for (uint32_t i = 0; i < all->fiber_count; i++)
        torc_event_set(&all->starts[order[i]]);
    all->begun_ns = micro_now();
    micro_require(torc_scope_close(&scope), "scope");
    free(order);
    free(switchers);
    return 0;
}

static void switch_among(uint32_t fiber_count, bool bare, double target)
{
    struct micro_samples *samples = micro_samples_create();
    const unsigned turn = fiber_count / MICRO_CHUNK + 1; /* Chunks in which everybody has a turn. */
    char name[64];

    for (int i = 0; i < REPETITIONS; i++) {
        struct switching all = {.fiber_count = fiber_count, .bare = bare, .samples = samples};

        all.starts = micro_allocate(fiber_count, sizeof(*all.starts));
        all.left = MICRO_CHUNK;
        all.warm_up = 2 * turn;
        all.chunks = all.warm_up + CHUNKS + 4 * turn;
        micro_run(switch_main, &all, NULL);
        micro_samples_end_repetition(samples);
        free(all.starts);
    }
    snprintf(name, sizeof(name), "switch, %u fibers%s", fiber_count,
             bare ? ", no stack touched" : "");
    micro_report(name, samples, target);
    free(samples);
}

void micro_switch(void)
{
    switch_among(2, true, 8);
    switch_among(64, true, 12);
    switch_among(2, false, 8);
    switch_among(64, false, 12);
    switch_among(1000, false, 25);
    switch_among(10000, false, 40);
    switch_among(100000, false, 200);
}

/* ---- Spawn ---- */

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int spawn_singly(void *arg)
{
    struct micro_samples *samples = arg;

    for (int i = 0; i < CHUNKS; i++) {
        const uint64_t begun_ns = micro_now();

        for (int j = 0; j < MICRO_CHUNK; j++) {
            struct torc_scope scope;

            torc_scope_open(&scope, 0);
            micro_require(torc_scope_spawn(&scope, do_nothing, NULL), "spawn");
            (void)torc_scope_close(&scope);
        }
        micro_samples_add(samples, micro_now() - begun_ns, MICRO_CHUNK);
    }
    return 0;
}

static int spawn_in_batches(void *arg)
{
    struct micro_samples *samples = arg;

    for (int i = 0; i < CHUNKS; i++) {
        const uint64_t begun_ns = micro_now();
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        for (int j = 0; j < MICRO_CHUNK; j++)
            micro_require(torc_scope_spawn(&scope, do_nothing, NULL), "spawn");
        (void)torc_scope_close(&scope);
        micro_samples_add(samples, micro_now() - begun_ns, MICRO_CHUNK);
    }
    return 0;
}

/* Run `body`, which adds the samples of one repetition, on a fresh shard each time. */
static void repeat(const char *name, torc_fiber_fn *body, double target)
{
    struct micro_samples *samples = micro_samples_create();

    for (int i = 0; i < REPETITIONS; i++) {
        micro_run(body, samples, NULL);
        micro_samples_end_repetition(samples);
    }
    micro_report(name, samples, target);
    free(samples);
}

void micro_spawn(void)
{
    repeat("spawn, run, end, wait, one by one", spawn_singly, 45);
    repeat("spawn, run, end, wait, batches of 1000", spawn_in_batches, 20);
}

/* ---- Scope ---- */

static int scope_bare(void *arg)
{
    struct micro_samples *samples = arg;

    for (int i = 0; i < CHUNKS; i++) {
        const uint64_t begun_ns = micro_now();

        for (int j = 0; j < MICRO_CHUNK; j++) {
            struct torc_scope scope;

            torc_scope_open(&scope, 0);
            (void)torc_scope_close(&scope);
        }
        micro_samples_add(samples, micro_now() - begun_ns, MICRO_CHUNK);
    }
    return 0;
}

static int scope_with_deadline(void *arg)
{
    struct micro_samples *samples = arg;

    for (int i = 0; i < CHUNKS; i++) {
        const uint64_t begun_ns = micro_now();

        for (uint64_t j = 0; j < MICRO_CHUNK; j++) {
            struct torc_scope scope;

            torc_scope_open(&scope, 0);
            torc_scope_set_deadline(&scope, begun_ns + TORC_SECOND + j * TORC_MILLISECOND);
            (void)torc_scope_close(&scope);
        }
        micro_samples_add(samples, micro_now() - begun_ns, MICRO_CHUNK);
    }
    return 0;
}

static int scope_with_timeout(void *arg)
{
    struct micro_samples *samples = arg;

    for (int i = 0; i < CHUNKS; i++) {
        const uint64_t begun_ns = micro_now();

        for (uint64_t j = 0; j < MICRO_CHUNK; j++) {
            struct torc_scope scope;

            torc_scope_open(&scope, 0);
            torc_scope_set_timeout(&scope, TORC_SECOND + j * TORC_MILLISECOND);
            (void)torc_scope_close(&scope);
        }
        micro_samples_add(samples, micro_now() - begun_ns, MICRO_CHUNK);
    }
    return 0;
}

static int read_clock(void *arg)
{
    struct micro_samples *samples = arg;

    for (int i = 0; i < CHUNKS; i++) {
        const uint64_t begun_ns = micro_now();

        for (int j = 0; j < MICRO_CHUNK; j++)
            (void)torc_now();
        micro_samples_add(samples, micro_now() - begun_ns, MICRO_CHUNK);
    }
    return 0;
}

void micro_scope(void)
{
    repeat("scope opened and closed", scope_bare, MICRO_NO_TARGET);
    repeat("scope with a deadline opened and closed", scope_with_deadline, 50);
    repeat("the same by set_timeout (reads the clock)", scope_with_timeout, MICRO_NO_TARGET);
    repeat("the clock alone", read_clock, MICRO_NO_TARGET);
}

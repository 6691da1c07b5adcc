/* SPDX-License-Identifier: MIT */
/*
 * micro_sync.c - what fibers of one shard pay for each other: channels, locks, selects.
 */
#include "micro.h"
#include <stdlib.h>

enum {
    REPETITIONS = 7,
    CHUNKS = 300, /* of a repetition */
};

/* The chunks of one repetition, each of which does something MICRO_CHUNK times. */
static void sample(struct micro_samples *samples, void (*do_chunk)(void *arg), void *arg)
{
    for (unsigned chunk = 0; chunk <= CHUNKS; chunk++) {
        const uint64_t begun_ns = micro_now();

        do_chunk(arg);
        if (chunk > 0) /* The first one warms up. */
            micro_samples_add(samples, micro_now() - begun_ns, MICRO_CHUNK);
    }
    micro_samples_end_repetition(samples);
}

/* ---- Channels ---- */

/* A question in one channel, the answer in another. */
struct pair {
    struct torc_channel questions;
    struct torc_channel answers;
    uint64_t slots[2];
    uint32_t capacity;
    struct micro_samples *samples;
};

static int answer(void *arg)
{
    struct pair *pair = arg;
    uint64_t number;

    while (torc_channel_receive(&pair->questions, &number) == 0)
        micro_require(torc_channel_send(&pair->answers, &number), "send");
    return 0;
}

static void ask(void *arg)
{
    struct pair *pair = arg;
    uint64_t number = 1;

    for (unsigned i = 0; i < MICRO_CHUNK; i++) {
        micro_require(torc_channel_send(&pair->questions, &number), "send");
        micro_require(torc_channel_receive(&pair->answers, &number), "receive");
    }
}

static int round_trips(void *arg)
{
    struct pair *pair = arg;
    struct torc_scope scope;

    torc_channel_init(&pair->questions, &pair->slots[0], sizeof(uint64_t), pair->capacity);
    torc_channel_init(&pair->answers, &pair->slots[1], sizeof(uint64_t), pair->capacity);
    torc_scope_open(&scope, 0);
    micro_require(torc_scope_spawn(&scope, answer, pair), "spawn");
    sample(pair->samples, ask, pair);
    torc_channel_close(&pair->questions);
    return torc_scope_close(&scope);
}

static void measure_channel(const char *name, uint32_t capacity, double target)
{
    struct pair pair = {.capacity = capacity, .samples = micro_samples_create()};

    for (unsigned i = 0; i < REPETITIONS; i++)
        micro_run(round_trips, &pair, NULL);
    micro_report(name, pair.samples, target);
    free(pair.samples);
}

/* A value that nobody has to wait for. */
static void pass(void *arg)
{
    struct torc_channel *channel = arg;
    uint64_t number = 1;

    for (unsigned i = 0; i < MICRO_CHUNK; i++) {
        micro_require(torc_channel_send(channel, &number), "send");
        micro_require(torc_channel_receive(channel, &number), "receive");
    }
}

static int passes(void *arg)
{
    struct torc_channel channel;
    uint64_t slots[8];

    torc_channel_init(&channel, slots, sizeof(slots[0]), 8);
    sample(arg, pass, &channel);
    return 0;
}

static void select_one(void *arg)
{
    struct torc_channel *channels = arg;
    uint64_t number = 1;
    struct torc_case cases[] = {
        torc_case_receive(&channels[0], &number),
        torc_case_receive(&channels[1], &number),
    };

    for (unsigned i = 0; i < MICRO_CHUNK; i++) {
        micro_require(torc_channel_send(&channels[1], &number), "send");
        micro_require(torc_select(cases, 2), "select");
    }
}

static int selects(void *arg)
{
    struct torc_channel channels[2];
    uint64_t slots[2];

    torc_channel_init(&channels[0], &slots[0], sizeof(slots[0]), 1);
    torc_channel_init(&channels[1], &slots[1], sizeof(slots[1]), 1);
    sample(arg, select_one, channels);
    return 0;
}

/* ---- Locks ---- */

static void lock_and_unlock(void *arg)
{
    for (unsigned i = 0; i < MICRO_CHUNK; i++) {
        micro_require(torc_mutex_lock(arg), "lock");
        torc_mutex_unlock(arg);
    }
}

static int locks(void *arg)
{
    struct torc_mutex mutex = {0};

    sample(arg, lock_and_unlock, &mutex);
    return 0;
}

static void lock_and_unlock_shared(void *arg)
{
    for (unsigned i = 0; i < MICRO_CHUNK; i++) {
        micro_require(torc_shared_mutex_lock(arg), "lock");
        torc_shared_mutex_unlock(arg);
    }
}

static int shared_locks(void *arg)
{
    struct torc_shared_mutex mutex = {0};

    sample(arg, lock_and_unlock_shared, &mutex);
    return 0;
}

static void measure(const char *name, torc_fiber_fn *main, double target)
{
    struct micro_samples *samples = micro_samples_create();

    for (unsigned i = 0; i < REPETITIONS; i++)
        micro_run(main, samples, NULL);
    micro_report(name, samples, target);
    free(samples);
}

void micro_sync(void)
{
    measure_channel("channel, there and back between two fibers", 1, 60);
    measure_channel("rendezvous, there and back", 0, MICRO_NO_TARGET);
    measure("channel, send and receive without waiting", passes, MICRO_NO_TARGET);
    measure("select of two channels, one ready", selects, MICRO_NO_TARGET);
    measure("mutex, uncontended", locks, 5);
    measure("shared mutex, uncontended", shared_locks, MICRO_NO_TARGET);
}

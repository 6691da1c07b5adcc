/* SPDX-License-Identifier: MIT */
/*
 * world.c - the life of a world, its dice, and its trace.
 */
#include "driver/sim/world.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "driver/sim/context.h"
#include "driver/sim/driver.h"
#include "driver/sim/host.h"
#include <inttypes.h>
#include <stdlib.h>

#define MILLION 1000000u
/* How seldom a duration is a long one. */
#define LONG_ONE_IN 10u
/* The lower part of a range in which all others are. */
#define NEAR_PART 8u

_Thread_local struct sim_world *torc__sim_world;

/* ---- Chance ---- */

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

/* xoshiro256** 1.0, of Blackman and Vigna. */
uint64_t torc__sim_random(struct sim_world *world)
{
    uint64_t *s = world->random.state;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t torc__sim_below(struct sim_world *world, uint64_t limit)
{
    TORC_ASSERT(limit > 0);
    return (uint64_t)((unsigned __int128)torc__sim_random(world) * limit >> 64);
}

bool torc__sim_chance(struct sim_world *world, uint32_t per_million)
{
    return torc__sim_below(world, MILLION) < per_million;
}

uint64_t torc__sim_duration(struct sim_world *world, const struct torc_sim_range *range)
{
    const uint64_t span = range->max_ns > range->min_ns ? range->max_ns - range->min_ns : 0;
    const uint64_t dice = torc__sim_random(world);
    const uint64_t limit = (dice >> 32) % LONG_ONE_IN == 0 ? span : span / NEAR_PART;

    return range->min_ns + (uint64_t)((unsigned __int128)(dice & UINT32_MAX) * limit >> 32);
}

bool torc__sim_fault(struct sim_world *world, const struct sim_host *host, const char *name,
                     uint32_t per_million)
{
    const struct torc_sim_chaos *chaos = &world->chaos;

    if (per_million == 0)
        return false;
    if (!torc__sim_chance(world, per_million) || world->faults >= chaos->faults_max)
        return false;
    if (chaos->quiet_from_ns != 0 && world->now_ns - SIM_EPOCH_NS >= chaos->quiet_from_ns)
        return false;
    world->faults++;
    torc__sim_trace(world, host, name, (int64_t)world->faults, 0);
    return true;
}

/* ---- Trace ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ (hash >> 32);
}

static void print(const struct sim_world *world, const struct sim_host *host, const char *what,
                  int64_t a, int64_t b)
{
    const uint64_t now_ns = world->now_ns - SIM_EPOCH_NS;

    torc__log("%5" PRIu64 ".%09" PRIu64 " %-10s %-24s %" PRId64 " %" PRId64, now_ns / NS_PER_SECOND,
              now_ns % NS_PER_SECOND, host != NULL ? host->name : "-", what, a, b);
}

void torc__sim_trace(struct sim_world *world, const struct sim_host *host, const char *what,
                     int64_t a, int64_t b)
{
    uint64_t hash = mix(world->trace_hash, world->now_ns);

    hash = mix(hash, host != NULL ? host->index : 0);
    for (const char *c = what; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    world->trace_hash = mix(mix(hash, (uint64_t)a), (uint64_t)b);
    if (unlikely(world->trace))
        print(world, host, what, a, b);
}

/* ---- Life ---- */

struct sim_world *torc__sim_world_create(uint64_t seed, const struct torc_sim_chaos *chaos)
{
    struct sim_world *world = calloc(1, sizeof(*world));
    uint64_t state = seed;

    if (world == NULL)
        return NULL;
    world->seed = seed;
    world->now_ns = SIM_EPOCH_NS;
    world->trace_hash = seed;
    world->last_host = &world->hosts;
    if (torc__sim_context_init_root(world) < 0) {
        free(world);
        return NULL;
    }
    for (int i = 0; i < 4; i++)
        world->random.state[i] = splitmix64(&state);
    if (chaos != NULL) {
        world->chaos = *chaos;
    } else {
        torc_sim_chaos_init(&world->chaos, TORC_SIM_DEFAULT);
    }
    return world;
}

void torc__sim_world_destroy(struct sim_world *world)
{
    if (world == NULL)
        return;
    while (world->hosts != NULL) {
        struct sim_host *host = world->hosts;

        world->hosts = host->next;
        torc__sim_host_destroy(host);
    }
    torc__sim_context_trim(world);
    torc__sim_op_free_records(world);
    TORC_ASSERT(world->heap_count == 0); /* All events have had owners. */
    free(world->heap);
    free(world->root);
    free(world);
}

const char *torc__sim_verdict_text(enum sim_verdict verdict)
{
    switch (verdict) {
    case SIM_GOES_ON:
        return "it goes on";
    case SIM_STUCK:
        return "all wait for ever: nothing is going to happen any more";
    case SIM_TOO_BUSY:
        return "it has not ended after as many events as it may have";
    case SIM_TOO_LATE:
        return "it has not ended in the time it may take";
    case SIM_FAILED:
        return "a check has failed";
    }
    return "";
}

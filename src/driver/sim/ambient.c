/* SPDX-License-Identifier: MIT */
/*
 * ambient.c - the simulated world of an ordinary program.
 */
#include "driver/sim/ambient.h"
#include "base/environment.h"
#include "base/log.h"
#include "driver/sim/context.h"
#include "driver/sim/machine.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Whoever is inside holds it; it also guards the pointer. */
static pthread_mutex_t inside = PTHREAD_MUTEX_INITIALIZER;
static struct sim_world *ambient;

/* ---- The environment ---- */

int torc__sim_read_seed(uint64_t otherwise, uint64_t *ret_seed)
{
    const char *text = getenv("TORC_SIM_SEED");
    char *end;

    *ret_seed = otherwise;
    if (text == NULL || *text == '\0')
        return 0;
    errno = 0;
    *ret_seed = strtoull(text, &end, 0);
    if (*end == '\0' && errno == 0)
        return 0;
    torc__environment_wrong("TORC_SIM_SEED", text, strlen(text), "a number");
    return -EINVAL;
}

int torc__sim_read_chaos(enum torc_sim_preset otherwise, struct torc_sim_chaos *ret_chaos)
{
    const char *text = getenv("TORC_SIM_CHAOS");
    int result;

    torc_sim_chaos_init(ret_chaos, otherwise);
    if (text == NULL || *text == '\0')
        return 0;
    result = torc_sim_chaos_parse(text, ret_chaos);
    if (result < 0)
        torc__environment_wrong("TORC_SIM_CHAOS", text, strlen(text), "a chaos");
    return result;
}

/* ---- Life ---- */

static __attribute__((destructor)) void destroy_at_exit(void)
{
    if (torc__sim_world == NULL) /* It may be that exit() was called from within. */
        torc__sim_machines_destroy(ambient);
}

/* There is nobody who could be told but the operator. */
static void give_up(struct sim_world *world)
{
    torc__log("simulation with seed %" PRIu64 ": %s", world->seed,
              torc__sim_verdict_text(world->verdict));
    abort();
}

static int create(void)
{
    struct torc_sim_chaos chaos;
    struct sim_world *world;
    uint64_t seed;
    int result = torc__sim_read_seed(1, &seed);

    if (result == 0)
        result = torc__sim_read_chaos(TORC_SIM_CALM, &chaos);
    if (result < 0)
        return result;
    world = torc__sim_machines_create(seed, &chaos);
    if (world == NULL)
        return -ENOMEM;
    world->trace = torc__environment_number("TORC_SIM_TRACE", 0, 1) != 0;
    world->gives_up = give_up;
    result = torc__sim_machine_add(world, "host", NULL, &world->root->host);
    if (result < 0) {
        torc__sim_machines_destroy(world);
        return result;
    }
    ambient = world;
    return 0;
}

int torc__sim_enter(void **local)
{
    int result;

    pthread_mutex_lock(&inside);
    result = ambient == NULL ? create() : 0;
    if (result < 0) {
        pthread_mutex_unlock(&inside);
        return result;
    }
    torc__sim_world = ambient;
    torc__sim_context_adopt_root(ambient);
    torc__sim_bind_local(ambient, local);
    return 0;
}

void torc__sim_leave(void)
{
    torc__sim_world = NULL;
    pthread_mutex_unlock(&inside);
}

/* The parent's world stays the parent's; what it has here is lost. */
void torc__sim_after_fork(void)
{
    const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;

    inside = fresh;
    torc__sim_world = NULL;
    ambient = NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * sim_context_test.c - contexts take turns, as the events of their world have it.
 */
#include "driver/sim/context.h"
#include "driver/sim/host.h"
#include "harness/harness.h"

static struct sim_world *world;
static struct sim_host *host;
static void *local;
static int key;
static unsigned steps;

static void create(void)
{
    world = torc__sim_world_create(5, NULL);
    EXPECT_INT(torc__sim_host_add(world, "host", NULL, &host), ==, 0);
    torc__sim_bind_local(world, &local);
    local = NULL;
    steps = 0;
}

/* Each keeps its own value of the variable, whoever runs in between. */
static void *walk(void *arg)
{
    EXPECT(local == NULL);
    local = arg;
    for (unsigned i = 0; i < 100; i++) {
        steps++;
        torc__sim_wait(world, world->now_ns + torc__sim_below(world, 1000), false);
        EXPECT(local == arg);
    }
    return NULL;
}

TEST(contexts_take_turns_and_keep_what_is_their_own)
{
    struct sim_context *contexts[5];
    int owners[5];

    create();
    local = &owners;
    for (int i = 0; i < 5; i++) {
        contexts[i] = torc__sim_context_start(host, walk, &owners[i], false);
        EXPECT(contexts[i] != NULL);
    }
    for (int i = 0; i < 5; i++)
        torc__sim_context_join(contexts[i]);
    EXPECT_UINT(steps, ==, 500);
    EXPECT(local == &owners);
    EXPECT(host->contexts == NULL);
    torc__sim_world_destroy(world);
}

static void *await_key(void *arg)
{
    bool *woken = arg;

    *woken = torc__sim_wait_on(world, &key, world->now_ns + 1000000000);
    return NULL;
}

TEST(waits_on_a_key_end_by_a_wake_or_when_their_time_has_come)
{
    struct sim_context *contexts[3];
    bool woken[3];
    unsigned count = 0;

    create();
    for (int i = 0; i < 3; i++)
        contexts[i] = torc__sim_context_start(host, await_key, &woken[i], false);
    torc__sim_wait(world, world->now_ns + 100000000, false); /* All have begun to wait. */
    torc__sim_wake_on(world, &steps, true);
    torc__sim_wake_on(world, &key, false);
    for (int i = 0; i < 3; i++) {
        torc__sim_context_join(contexts[i]);
        count += woken[i];
    }
    EXPECT_UINT(count, ==, 1);
    EXPECT(world->now_ns >= SIM_EPOCH_NS + 1000000000);
    torc__sim_world_destroy(world);
}

TEST(contexts_that_are_killed_run_no_more)
{
    int owner;

    create();
    EXPECT(torc__sim_context_start(host, walk, &owner, true) != NULL);
    torc__sim_wait(world, world->now_ns + 10000, false);
    torc__sim_context_kill_all(host);
    EXPECT_UINT(steps, <, 100);
    EXPECT_UINT(world->heap_count, ==, 0);
    torc__sim_world_destroy(world);
}

static unsigned steps_at_the_end;

static void *give_up_late(void *arg)
{
    world->now_ns += 1000000; /* Others should have gone on meanwhile. */
    steps_at_the_end = steps;
    torc__sim_give_up(world, SIM_FAILED);
    return arg;
}

TEST(nobody_goes_on_in_a_world_that_has_been_given_up)
{
    struct sim_context *context;
    int owner;

    create();
    EXPECT(torc__sim_context_start(host, walk, &owner, true) != NULL);
    torc__sim_wait(world, world->now_ns + 10000, false);
    context = torc__sim_context_start(host, give_up_late, NULL, false);
    torc__sim_context_join(context);
    EXPECT_INT(world->verdict, ==, SIM_FAILED);
    EXPECT_UINT(steps, ==, steps_at_the_end);
    torc__sim_context_kill_all(host);
    torc__sim_world_destroy(world);
}

TEST(a_world_in_which_all_wait_gives_up)
{
    struct sim_context *context;
    bool woken;

    create();
    world->time_max_ns = 1000;
    context = torc__sim_context_start(host, await_key, &woken, false);
    torc__sim_context_join(context);
    EXPECT_INT(world->verdict, ==, SIM_TOO_LATE);
    torc__sim_context_kill_all(host);
    torc__sim_world_destroy(world);
}

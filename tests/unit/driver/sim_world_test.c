/* SPDX-License-Identifier: MIT */
/*
 * sim_world_test.c - the dice of a world, its faults and its trace follow from its seed.
 */
#include "driver/sim/world.h"
#include "harness/harness.h"

static struct sim_world *create(uint64_t seed)
{
    struct torc_sim_chaos chaos;
    struct sim_world *world;

    torc_sim_chaos_init(&chaos, TORC_SIM_CALM);
    world = torc__sim_world_create(seed, &chaos);
    EXPECT(world != NULL);
    return world;
}

TEST(the_same_seed_gives_the_same_numbers)
{
    struct sim_world *a = create(42);
    struct sim_world *b = create(42);
    struct sim_world *c = create(43);
    unsigned equal = 0;

    for (unsigned i = 0; i < 1000; i++) {
        const uint64_t number = torc__sim_random(a);

        EXPECT_UINT(torc__sim_random(b), ==, number);
        equal += torc__sim_random(c) == number;
    }
    EXPECT_UINT(equal, ==, 0);
    torc__sim_world_destroy(a);
    torc__sim_world_destroy(b);
    torc__sim_world_destroy(c);
}

TEST(numbers_and_durations_keep_within_their_ranges)
{
    const struct torc_sim_range range = {100, 900};
    struct sim_world *world = create(1);
    uint64_t longest = 0;

    for (unsigned i = 0; i < 10000; i++) {
        const uint64_t ns = torc__sim_duration(world, &range);

        EXPECT(ns >= 100 && ns <= 900);
        longest = ns > longest ? ns : longest;
        EXPECT_UINT(torc__sim_below(world, 3), <, 3);
        EXPECT(torc__sim_between(world, 5, 7) - 5 <= 2);
        EXPECT(!torc__sim_chance(world, 0));
        EXPECT(torc__sim_chance(world, 1000000));
    }
    EXPECT_UINT(longest, >, 500); /* There are long ones. */
    EXPECT_UINT(torc__sim_between(world, 9, 9), ==, 9);
    torc__sim_world_destroy(world);
}

TEST(faults_are_counted_and_end_at_their_bounds)
{
    struct sim_world *world = create(1);
    unsigned done = 0;

    world->chaos.faults_max = 5;
    for (unsigned i = 0; i < 100; i++)
        done += torc__sim_fault(world, NULL, "fault", 1000000);
    EXPECT_UINT(done, ==, 5);
    EXPECT_UINT(world->faults, ==, 5);
    world->chaos.faults_max = UINT64_MAX;
    EXPECT(!torc__sim_fault(world, NULL, "fault", 0));
    EXPECT(torc__sim_fault(world, NULL, "fault", 1000000));
    world->chaos.quiet_from_ns = 10;
    world->now_ns += 10;
    EXPECT(!torc__sim_fault(world, NULL, "fault", 1000000));
    torc__sim_world_destroy(world);
}

TEST(the_trace_counts_every_word_and_number_in_order)
{
    struct sim_world *a = create(1);
    struct sim_world *b = create(1);

    EXPECT_UINT(a->trace_hash, ==, b->trace_hash);
    torc__sim_trace(a, NULL, "one", 1, 2);
    torc__sim_trace(b, NULL, "one", 1, 2);
    EXPECT_UINT(a->trace_hash, ==, b->trace_hash);
    torc__sim_trace(a, NULL, "one", 2, 1);
    torc__sim_trace(b, NULL, "one", 1, 2);
    EXPECT(a->trace_hash != b->trace_hash);
    torc__sim_world_destroy(a);
    torc__sim_world_destroy(b);
}

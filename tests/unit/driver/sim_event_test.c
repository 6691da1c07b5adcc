/* SPDX-License-Identifier: MIT */
/*
 * sim_event_test.c - events of a world happen in the order of their times.
 */
#include "driver/sim/world.h"
#include "harness/harness.h"

#define COUNT 500u

struct mark {
    struct sim_event event;
    uint64_t wanted_ns;
    unsigned number;
};

static struct sim_world *world;
static uint64_t last_ns;
static uint64_t last_sequence;
static unsigned happened;

static void note(struct sim_event *event)
{
    struct mark *mark = (struct mark *)(void *)event;

    EXPECT_UINT(event->time_ns, ==, mark->wanted_ns);
    EXPECT_UINT(world->now_ns, ==, event->time_ns);
    EXPECT(event->time_ns > last_ns ||
           (event->time_ns == last_ns && (happened == 0 || event->sequence > last_sequence)));
    EXPECT(!torc__sim_event_is_set(event));
    last_ns = event->time_ns;
    last_sequence = event->sequence;
    happened++;
}

static void set_all(struct mark *marks)
{
    world = torc__sim_world_create(harness_random(), NULL);
    EXPECT(world != NULL);
    last_ns = 0;
    happened = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        marks[i] = (struct mark){.wanted_ns = SIM_EPOCH_NS + harness_random_below(100)};
        torc__sim_event_set(world, &marks[i].event, marks[i].wanted_ns, note);
    }
}

TEST(events_happen_in_the_order_of_their_times_and_of_being_set)
{
    static struct mark marks[COUNT];

    set_all(marks);
    while (torc__sim_step(world, UINT64_MAX))
        continue;
    EXPECT_UINT(happened, ==, COUNT);
    EXPECT_UINT(torc__sim_next_ns(world), ==, UINT64_MAX);
    torc__sim_world_destroy(world);
}

TEST(events_that_are_cleared_do_not_happen)
{
    static struct mark marks[COUNT];
    unsigned cleared = 0;

    set_all(marks);
    for (unsigned i = 0; i < COUNT; i++) {
        if (harness_random_below(2) == 0)
            continue;
        torc__sim_event_clear(world, &marks[i].event);
        torc__sim_event_clear(world, &marks[i].event);
        cleared++;
    }
    while (torc__sim_step(world, UINT64_MAX))
        continue;
    EXPECT_UINT(happened, ==, COUNT - cleared);
    torc__sim_world_destroy(world);
}

TEST(a_step_goes_no_further_than_it_may_and_turns_the_clock_on)
{
    struct mark mark = {.wanted_ns = SIM_EPOCH_NS + 50};

    world = torc__sim_world_create(1, NULL);
    happened = 0;
    last_ns = 0;
    torc__sim_event_set(world, &mark.event, mark.wanted_ns, note);
    EXPECT(!torc__sim_step(world, SIM_EPOCH_NS + 49));
    EXPECT_UINT(world->now_ns, ==, SIM_EPOCH_NS + 49);
    EXPECT(torc__sim_step(world, SIM_EPOCH_NS + 50));
    EXPECT(!torc__sim_step(world, UINT64_MAX));
    EXPECT_UINT(world->now_ns, ==, SIM_EPOCH_NS + 50);
    torc__sim_world_destroy(world);
}

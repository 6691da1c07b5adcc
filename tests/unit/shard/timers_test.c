/* SPDX-License-Identifier: MIT */
/*
 * timers_test.c - the timing wheel, beside a model that is only a table of deadlines.
 *
 * Time is made up here, so years pass in no time.
 */
#include "base/clock.h"
#include "base/compiler.h"
#include "harness/harness.h"
#include "shard/timers.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS (UINT64_C(1) << TIMER_TICK_BITS)
#define YEAR_NS (UINT64_C(365) * 24 * 3600 * NS_PER_SECOND)

struct entry {
    struct torc_timer timer;
    uint64_t deadline_ns;
    bool running;
    unsigned fired;
    unsigned number; /* Of all starts. */
};

static struct {
    struct torc__timers timers;
    uint64_t now_ns;
    uint64_t last_ns; /* The deadline that fired last in this service. */
    unsigned last_number;
    unsigned starts;
    unsigned fired;
    unsigned running;
} wheel;

static void wheel_init(uint64_t now_ns)
{
    wheel.now_ns = now_ns;
    torc__timers_init(&wheel.timers, now_ns);
}

static void fire(struct torc_timer *timer)
{
    struct entry *entry = container_of(timer, struct entry, timer);

    EXPECT(entry->running);
    EXPECT(entry->deadline_ns <= wheel.now_ns);  /* Never early, ... */
    EXPECT(entry->deadline_ns >= wheel.last_ns); /* ... in order, ... */
    if (entry->deadline_ns == wheel.last_ns)     /* ... and first come, first served. */
        EXPECT(entry->number > wheel.last_number);
    wheel.last_ns = entry->deadline_ns;
    wheel.last_number = entry->number;
    wheel.fired++;
    wheel.running--;
    entry->running = false;
    entry->fired++;
}

static void start_with(struct entry *entry, uint64_t deadline_ns,
                       void (*function)(struct torc_timer *timer))
{
    entry->deadline_ns = deadline_ns;
    entry->running = true;
    entry->number = ++wheel.starts;
    wheel.running++;
    torc__timer_start(&wheel.timers, &entry->timer, deadline_ns, function);
}

static void start(struct entry *entry, uint64_t deadline_ns)
{
    start_with(entry, deadline_ns, fire);
}

static void stop(struct entry *entry)
{
    wheel.running -= entry->running;
    entry->running = false;
    torc__timer_stop(&wheel.timers, &entry->timer);
}

static unsigned serve_some(uint64_t now_ns, unsigned max)
{
    unsigned before = wheel.fired;
    unsigned fired;

    wheel.now_ns = now_ns;
    fired = torc__timers_serve(&wheel.timers, now_ns, max);
    EXPECT_UINT(fired, <=, max);
    EXPECT_UINT(fired, ==, wheel.fired - before);
    EXPECT_UINT(wheel.timers.count, ==, wheel.running);
    return fired;
}

static unsigned serve(uint64_t now_ns)
{
    wheel.last_ns = 0;
    return serve_some(now_ns, UINT_MAX);
}

static uint64_t next(void)
{
    return torc__timers_next(&wheel.timers);
}

/* A time in the future, as often near as far: each bit length is as likely as any other. */
static uint64_t random_duration(unsigned bits_max)
{
    return harness_random() >> (64 - 1 - harness_random_below(bits_max));
}

/* ---- Single timers ---- */

TEST(a_timer_fires_within_a_tick_and_never_early)
{
    for (unsigned i = 0; i < 20000; i++) {
        struct entry entry = {0};
        const uint64_t now_ns = random_duration(60);
        const uint64_t deadline_ns = now_ns + random_duration(60);

        wheel_init(now_ns);
        start(&entry, deadline_ns);
        EXPECT_UINT(next(), >=, deadline_ns);
        EXPECT_UINT(next(), <, deadline_ns + TICK_NS);
        serve(deadline_ns - (deadline_ns > 0));
        serve(deadline_ns + TICK_NS - 1);
        EXPECT_UINT(entry.fired, ==, 1);
        EXPECT_UINT(next(), ==, TORC_FOREVER);
    }
}

TEST(serving_when_next_says_fires_a_lone_timer_at_the_first_time)
{
    for (unsigned i = 0; i < 20000; i++) {
        struct entry entry = {0};
        const uint64_t now_ns = random_duration(60);

        wheel_init(now_ns);
        start(&entry, now_ns + random_duration(60));
        EXPECT_UINT(serve(next()), ==, 1);
    }
}

TEST(a_timer_that_is_overdue_fires_at_the_next_service)
{
    struct entry entries[3] = {0};

    wheel_init(YEAR_NS);
    start(&entries[0], YEAR_NS);
    start(&entries[1], 0);
    start(&entries[2], YEAR_NS / 2);
    EXPECT_UINT(next(), <=, YEAR_NS);
    EXPECT_UINT(serve(YEAR_NS), ==, 3);
}

TEST(a_timer_at_the_end_of_time_never_fires)
{
    struct entry entries[2] = {0};

    wheel_init(0);
    start(&entries[0], TORC_FOREVER);
    start(&entries[1], TORC_FOREVER - 1);
    EXPECT_UINT(next(), >=, TORC_FOREVER - 1);
    for (uint64_t now_ns = 1; now_ns < UINT64_C(1) << 63; now_ns *= 2)
        EXPECT_UINT(serve(now_ns), ==, 0);
    stop(&entries[0]);
    stop(&entries[1]);
    EXPECT_UINT(next(), ==, TORC_FOREVER);
}

TEST(a_timer_later_than_all_levels_reach_fires_on_time)
{
    struct entry entry = {0};
    const uint64_t deadline_ns = 400 * YEAR_NS; /* The levels reach 146 years. */

    wheel_init(0);
    start(&entry, deadline_ns);
    EXPECT_UINT(serve(100 * YEAR_NS), ==, 0);
    EXPECT_UINT(serve(300 * YEAR_NS), ==, 0);
    EXPECT_UINT(next(), >=, deadline_ns);
    EXPECT_UINT(serve(deadline_ns - 1), ==, 0);
    EXPECT_UINT(serve(deadline_ns + TICK_NS), ==, 1);
}

TEST(stopping_a_stopped_timer_does_nothing)
{
    struct entry entry = {0};

    wheel_init(0);
    stop(&entry);
    start(&entry, 1000);
    stop(&entry);
    stop(&entry);
    EXPECT_UINT(serve(TICK_NS), ==, 0);
    start(&entry, 1000);
    EXPECT_UINT(serve(2 * TICK_NS), ==, 1);
    stop(&entry);
    EXPECT_UINT(wheel.timers.count, ==, 0);
}

TEST(a_clock_that_goes_back_fires_nothing_early)
{
    struct entry entries[2] = {0};

    wheel_init(0);
    serve(NS_PER_SECOND);
    start(&entries[0], NS_PER_SECOND / 2);
    start(&entries[1], NS_PER_SECOND / 4);
    EXPECT_UINT(serve(NS_PER_SECOND / 3), ==, 1);
    EXPECT_UINT(entries[1].fired, ==, 1);
    EXPECT_UINT(serve(NS_PER_SECOND + 1), ==, 1);
}

/* ---- Many timers, and the model ---- */

#define ENTRIES 300

static uint64_t earliest_of(const struct entry *entries, unsigned count)
{
    uint64_t earliest = TORC_FOREVER;

    for (unsigned i = 0; i < count; i++) {
        if (entries[i].running && entries[i].deadline_ns < earliest)
            earliest = entries[i].deadline_ns;
    }
    return earliest;
}

/* What must hold after a service: nothing is late by a tick, and the next one is not too late. */
static void expect_served(const struct entry *entries, unsigned count)
{
    const uint64_t earliest_ns = earliest_of(entries, count);

    EXPECT_UINT(next(), >, wheel.now_ns); /* Or the wait would end at once, again and again. */
    if (earliest_ns == TORC_FOREVER) {
        EXPECT_UINT(next(), ==, TORC_FOREVER);
        return;
    }
    EXPECT_UINT(earliest_ns + TICK_NS, >, wheel.now_ns);
    EXPECT_UINT(next(), <, earliest_ns + TICK_NS);
}

static void start_or_stop_one(struct entry *entries)
{
    struct entry *entry = &entries[harness_random_below(ENTRIES)];
    const uint64_t duration_ns = random_duration(harness_random_below(8) == 0 ? 60 : 40);

    if (entry->running)
        stop(entry);
    else if (harness_random_below(16) == 0)
        start(entry, wheel.now_ns - (duration_ns < wheel.now_ns ? duration_ns : wheel.now_ns));
    else
        start(entry, wheel.now_ns + duration_ns);
}

static void begin_anew(struct entry *entries)
{
    memset(entries, 0, ENTRIES * sizeof(*entries));
    wheel_init(0);
    wheel.running = 0;
}

TEST(any_sequence_of_starts_stops_and_services_agrees_with_the_model)
{
    static struct entry entries[ENTRIES];
    const unsigned rounds = harness_scaled(50000);

    wheel_init(harness_random() >> 16);
    for (unsigned i = 0; i < rounds; i++) {
        const uint64_t next_ns = next();
        const unsigned choice = harness_random_below(4);

        for (unsigned j = harness_random_below(20); j > 0; j--)
            start_or_stop_one(entries);
        if (wheel.now_ns > UINT64_C(1) << 61)
            begin_anew(entries);
        else if (choice == 0 && next_ns != TORC_FOREVER && next_ns > wheel.now_ns)
            serve(next_ns);
        else if (choice == 1)
            serve(wheel.now_ns);
        else
            serve(wheel.now_ns + random_duration(choice == 2 ? 26 : 44));
        expect_served(entries, ENTRIES);
    }
    EXPECT_UINT(wheel.fired, >, rounds);
}

/* ---- A crowd, of which a service leaves some ---- */

#define CROWD 4000

static struct entry crowd[CROWD];

static void start_or_stop_one_of_the_crowd(void);

static void fire_in_a_crowd(struct torc_timer *timer)
{
    fire(timer);
    if (harness_random_below(4) == 0)
        start_or_stop_one_of_the_crowd();
}

/* In the next two seconds, so that more than a service moves are in a slot, and often at once. */
static void start_or_stop_one_of_the_crowd(void)
{
    struct entry *entry = &crowd[harness_random_below(CROWD)];
    uint64_t deadline_ns = wheel.now_ns + 1 + harness_random_below(UINT32_C(1) << 31);

    if (harness_random_below(2) == 0)
        deadline_ns = (deadline_ns | (UINT64_C(0x3fffff))) + 1;
    if (entry->running)
        stop(entry);
    else
        start_with(entry, deadline_ns, fire_in_a_crowd);
}

/* What has been left is due at once; and it becomes less, until all is as it should be. */
static void expect_served_in_the_end(void)
{
    for (unsigned i = 0; next() <= wheel.now_ns; i++) {
        EXPECT_UINT(i, <, 2 * CROWD);
        (void)serve_some(wheel.now_ns, 1 + harness_random_below(100));
    }
    expect_served(crowd, CROWD);
}

TEST(a_crowd_that_is_served_in_parts_agrees_with_the_model)
{
    const unsigned rounds = harness_scaled(50000);
    unsigned moving = 0;
    unsigned left = 0;

    wheel_init(harness_random() >> 16);
    for (unsigned i = 0; i < CROWD; i++)
        start_or_stop_one_of_the_crowd();
    for (unsigned i = 0; i < rounds; i++) {
        const unsigned max = 1 + harness_random_below(300);
        const uint64_t step_ns = harness_random_below(2) == 0 ? 0 : random_duration(26);

        for (unsigned j = harness_random_below(40); j > 0; j--)
            start_or_stop_one_of_the_crowd();
        if (serve_some(wheel.now_ns + step_ns, max) == max)
            left++;
        else if (next() <= wheel.now_ns)
            moving++;
        if (earliest_of(crowd, CROWD) <= wheel.now_ns - TICK_NS)
            EXPECT_UINT(next(), <=, wheel.now_ns);
        if (harness_random_below(100) == 0)
            expect_served_in_the_end();
    }
    EXPECT_UINT(moving, >, rounds / 1000);
    EXPECT_UINT(left, >, rounds / 1000);
}

/* Each stop leaves behind bounds that are too early; each may cost one wake-up, and no more. */
TEST(stopped_timers_cost_few_wakeups)
{
    static struct entry entries[ENTRIES];

    for (unsigned round = 0; round < 100; round++) {
        unsigned in_vain = 0;

        wheel_init(harness_random() >> 16);
        for (unsigned i = 0; i < ENTRIES; i++)
            start(&entries[i], wheel.now_ns + random_duration(50));
        for (unsigned i = 1; i < ENTRIES; i++)
            stop(&entries[i]);
        while (wheel.running > 0)
            in_vain += serve(next()) == 0;
        EXPECT_UINT(in_vain, <=, TIMER_LEVELS);
    }
}

/* ---- Company ---- */

static uint64_t tick_time(uint64_t deadline_ns)
{
    return (deadline_ns + TICK_NS - 1) / TICK_NS * TICK_NS;
}

static uint64_t next_of_company(uint64_t slack_ns)
{
    return torc__timers_next_of_company(&wheel.timers, wheel.now_ns, slack_ns);
}

TEST(timers_near_each_other_are_served_with_the_last_of_them)
{
    struct entry entries[4] = {0};

    wheel_init(10 * TICK_NS);
    start(&entries[0], 20 * TICK_NS + 1);
    start(&entries[1], 25 * TICK_NS);
    start(&entries[2], 29 * TICK_NS - 5);
    start(&entries[3], 90 * TICK_NS);
    EXPECT_UINT(next_of_company(10 * TICK_NS), ==, 29 * TICK_NS);
    EXPECT_UINT(next_of_company(8 * TICK_NS), ==, 29 * TICK_NS);
    EXPECT_UINT(next_of_company(8 * TICK_NS - 1), ==, 25 * TICK_NS);
    EXPECT_UINT(next_of_company(1), ==, 21 * TICK_NS);
    EXPECT_UINT(serve(29 * TICK_NS), ==, 3);
    EXPECT_UINT(next_of_company(10 * TICK_NS), ==, 90 * TICK_NS);
    EXPECT_UINT(serve(90 * TICK_NS), ==, 1);
    EXPECT_UINT(next_of_company(TORC_FOREVER), ==, TORC_FOREVER);
}

/* On the levels above the last is not known, so what is short of the slack is waited for. */
TEST(company_beyond_the_lowest_level_is_waited_for_within_the_slack)
{
    const uint64_t end_ns = TIMER_SLOTS * TICK_NS;
    struct entry entries[3] = {0};

    wheel_init(0);
    start(&entries[0], end_ns - 3 * TICK_NS);
    start(&entries[1], end_ns + 20 * TICK_NS);
    EXPECT_UINT(next_of_company(10 * TICK_NS), ==, end_ns - 3 * TICK_NS);
    start(&entries[2], end_ns + 2 * TICK_NS);
    EXPECT_UINT(next_of_company(10 * TICK_NS), ==, end_ns + 7 * TICK_NS);
    EXPECT_UINT(next_of_company(4 * TICK_NS), ==, end_ns - 3 * TICK_NS);
    EXPECT_UINT(serve(end_ns + 7 * TICK_NS), ==, 2);
    EXPECT_UINT(next_of_company(10 * TICK_NS), ==, end_ns + 20 * TICK_NS);
    EXPECT_UINT(serve(end_ns + 20 * TICK_NS), ==, 1);
}

/* The last tick of those within the slack of the first one's, by looking at all. */
static uint64_t last_of_company(const struct entry entries[], uint64_t slack_ns)
{
    const uint64_t first_ns = next();
    uint64_t last_ns = first_ns;

    for (unsigned i = 0; i < ENTRIES; i++) {
        const uint64_t time_ns = tick_time(entries[i].deadline_ns);

        if (entries[i].running && time_ns <= first_ns + slack_ns && time_ns > last_ns)
            last_ns = time_ns;
    }
    return last_ns;
}

static void expect_company(const struct entry entries[], uint64_t time_ns, uint64_t slack_ns)
{
    const uint64_t last_of_level = wheel.timers.tick | (TIMER_SLOTS - 1);
    const bool on_lowest_level = next() / TICK_NS <= last_of_level;

    EXPECT_UINT(time_ns, <=, next() + slack_ns);
    EXPECT_UINT(time_ns, >=, on_lowest_level ? last_of_company(entries, slack_ns) : next());
}

TEST(company_is_not_left_behind_nor_waited_for_longer_than_the_slack)
{
    static struct entry entries[ENTRIES];
    const uint64_t slack_ns = 14 * TICK_NS + 99;
    unsigned exact = 0;
    unsigned looks = 0;

    wheel_init(harness_random() >> 16);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < ENTRIES; i++) {
            stop(&entries[i]);
            start(&entries[i], wheel.now_ns + 1 + random_duration(28));
        }
        while (wheel.running > 0) {
            const uint64_t time_ns = next_of_company(slack_ns);

            expect_company(entries, time_ns, slack_ns);
            exact += time_ns == last_of_company(entries, slack_ns);
            looks++;
            serve(time_ns);
        }
    }
    EXPECT_UINT(exact * 10, >, looks * 8);
}

/* ---- Boundaries ---- */

/* Begin `before` ticks from a boundary, and find timers that lie around another. */
static void look_around_boundary(uint64_t boundary_ns, int before)
{
    static struct entry entries[5];

    wheel_init(boundary_ns + (uint64_t)((int64_t)before * (int64_t)TICK_NS));
    for (unsigned i = 0; i < 5; i++)
        start(&entries[i], 3 * boundary_ns + (i - 2) * TICK_NS / 2);
    for (unsigned i = 0; wheel.running > 0; i++) {
        EXPECT_UINT(i, <, 10);
        serve(next());
    }
}

TEST(the_slots_around_every_boundary_of_a_level_are_found)
{
    for (unsigned bits = 0; bits < 62 - TIMER_TICK_BITS; bits++) {
        for (int before = -2; before <= 2; before++)
            look_around_boundary(TICK_NS << bits, before);
    }
}

TEST(a_million_timers_fire_or_are_stopped)
{
    const unsigned count = harness_scaled(1000000);
    struct entry *entries = calloc(count, sizeof(*entries));
    unsigned stopped = 0;

    wheel_init(YEAR_NS);
    for (unsigned i = 0; i < count; i++)
        start(&entries[i], YEAR_NS + random_duration(36));
    for (unsigned i = 0; i < count; i += 3) {
        stop(&entries[i]);
        stopped++;
    }
    for (unsigned i = 0; i < 500; i++)
        serve(wheel.now_ns + random_duration(30));
    while (wheel.running > 0)
        serve(next());

    EXPECT_UINT(wheel.fired, ==, count - stopped);
    for (unsigned i = 0; i < count; i++)
        EXPECT_UINT(entries[i].fired, ==, i % 3 != 0);
    free(entries);
}

/*
 * All of a slot of a second are moved when the wheel comes to it: not in one service, since that
 * would keep the shard for as long as tens of milliseconds. What is moved meanwhile can be stopped.
 */
TEST(many_timers_go_to_a_lower_level_in_several_services)
{
    const unsigned count = 20000;
    struct entry *entries = calloc(count, sizeof(*entries));
    unsigned services = 0;

    wheel_init(0);
    for (unsigned i = 0; i < count; i++)
        start(&entries[i], 2 * NS_PER_SECOND + i * TICK_NS / 8);
    serve(2 * NS_PER_SECOND + TICK_NS);
    while (next() <= wheel.now_ns) {
        EXPECT_UINT(wheel.fired, ==, 0);
        stop(&entries[count - 1 - services]);
        services++;
        serve(wheel.now_ns);
    }
    EXPECT_UINT(services, >=, 20);
    EXPECT_UINT(services, <=, 200);
    EXPECT_UINT(wheel.fired, >, 0);
    while (wheel.running > 0)
        serve(next() > wheel.now_ns ? next() : wheel.now_ns);
    EXPECT_UINT(wheel.fired, ==, count - services);
    free(entries);
}

TEST(who_starts_while_a_crowd_moves_fires_after_those_with_the_same_deadline)
{
    static struct entry entries[CROWD];
    static struct entry later;
    const uint64_t deadline_ns = 2 * NS_PER_SECOND;

    wheel_init(0);
    for (unsigned i = 0; i < CROWD; i++)
        start(&entries[i], deadline_ns);
    serve(deadline_ns - TICK_NS);
    EXPECT_UINT(next(), <=, wheel.now_ns); /* They are moving. */
    start(&later, deadline_ns);
    while (wheel.running > 0)
        serve_some(deadline_ns + TICK_NS, UINT_MAX);
    EXPECT_UINT(wheel.last_number, ==, later.number);
}

/* However often timers are stopped and started meanwhile, as those of operations are. */
TEST(a_crowd_arrives_though_more_start_than_move)
{
    static struct entry entries[CROWD];
    static struct entry busy[CROWD / 2];
    unsigned services = 0;

    wheel_init(0);
    for (unsigned i = 0; i < CROWD; i++)
        start(&entries[i], 2 * NS_PER_SECOND + i * TICK_NS);
    serve(2 * NS_PER_SECOND - TICK_NS);
    while (next() <= wheel.now_ns) {
        for (unsigned i = 0; i < CROWD / 2; i++) {
            stop(&busy[i]);
            start(&busy[i], 2 * NS_PER_SECOND + i);
        }
        serve(wheel.now_ns);
        services++;
        EXPECT_UINT(services, <, 10);
    }
    EXPECT_UINT(services, >, 1);
}

TEST(a_crowd_with_the_same_deadline_fires_in_the_order_of_its_start)
{
    const unsigned count = 100000;
    struct entry *entries = calloc(count, sizeof(*entries));

    wheel_init(0);
    for (unsigned i = 0; i < count; i++)
        start(&entries[i], 3 * TICK_NS - 1 - (i & 1));
    EXPECT_UINT(serve(3 * TICK_NS), ==, count);
    free(entries);
}

/* ---- Functions of timers that start and stop timers ---- */

static struct entry ring[8];

static void stop_the_others(struct torc_timer *timer)
{
    fire(timer);
    for (unsigned i = 0; i < 8; i++) {
        if (&ring[i].timer != timer)
            stop(&ring[i]);
    }
}

TEST(a_timer_stops_others_that_are_due_at_the_same_time)
{
    wheel_init(0);
    for (unsigned i = 0; i < 8; i++)
        start_with(&ring[i], 1000 + i, stop_the_others);
    EXPECT_UINT(serve(TICK_NS), ==, 1);
    EXPECT_UINT(ring[0].fired, ==, 1);
    EXPECT_UINT(next(), ==, TORC_FOREVER);
    EXPECT_UINT(serve(NS_PER_SECOND), ==, 0);
}

static void start_again(struct torc_timer *timer)
{
    struct entry *entry = container_of(timer, struct entry, timer);

    fire(timer);
    start_with(entry, wheel.now_ns, start_again);
}

TEST(a_timer_that_starts_itself_overdue_waits_for_the_next_service)
{
    wheel_init(0);
    start_with(&ring[0], 0, start_again);
    for (unsigned i = 1; i <= 1000; i++)
        EXPECT_UINT(serve(i * TICK_NS / 3 * 3), ==, 1);
    EXPECT_UINT(ring[0].fired, ==, 1000);
    stop(&ring[0]);
}

static void move_a_neighbour(struct torc_timer *timer)
{
    struct entry *neighbour = &ring[harness_random_below(8)];

    fire(timer);
    if (harness_random_below(2) == 0)
        neighbour = container_of(timer, struct entry, timer);
    stop(neighbour);
    start_with(neighbour, wheel.now_ns + 1 + random_duration(30), move_a_neighbour);
}

TEST(timers_that_move_each_other_fire_in_order_for_ever)
{
    wheel_init(0);
    for (unsigned i = 0; i < 20000; i++) {
        for (unsigned j = 0; j < 8; j++) {
            if (!ring[j].running)
                start_with(&ring[j], wheel.now_ns + random_duration(30), move_a_neighbour);
        }
        serve(next());
    }
    EXPECT_UINT(wheel.fired, >, 20000 / 2);
}

static void free_it(struct torc_timer *timer)
{
    fire(timer);
    free(container_of(timer, struct entry, timer));
}

TEST(a_timer_may_free_itself_when_it_fires)
{
    wheel_init(0);
    for (unsigned i = 0; i < 1000; i++)
        start_with(calloc(1, sizeof(struct entry)), random_duration(30), free_it);
    for (unsigned i = 0; i < 2000 && wheel.running > 0; i++)
        serve(next());
    EXPECT_UINT(wheel.fired, ==, 1000);
}

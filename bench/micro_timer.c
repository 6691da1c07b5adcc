/* SPDX-License-Identifier: MIT */
/*
 * micro_timer.c - what timers cost, and how late sleepers wake.
 */
#include "micro.h"
#include "shard/timers.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    REPETITIONS = 7,
    CHUNKS = 300,
    OTHERS = 100000,
};

/* Timers are 1 ms to 1 s away, at random: what they cost depends on where in the wheel they are. */
static uint64_t some_duration(uint64_t *seed)
{
    return TORC_MILLISECOND + micro_random(seed) % (999 * TORC_MILLISECOND);
}

/* ---- Start and stop, by way of a scope's deadline ---- */

struct scopes {
    struct torc_scope others[OTHERS];
    uint64_t durations[MICRO_CHUNK];
    struct micro_samples *samples;
};

/* Nothing waits meanwhile, so no round of the loop comes between, and no timer fires. */
static int deadline_main(void *arg)
{
    struct scopes *all = arg;
    uint64_t seed = 88172645463325252;
    struct torc_scope scope;

    for (int i = 0; i < MICRO_CHUNK; i++)
        all->durations[i] = some_duration(&seed);
    for (int i = 0; i < OTHERS; i++) {
        torc_scope_open(&all->others[i], 0);
        torc_scope_set_timeout(&all->others[i], some_duration(&seed));
    }
    torc_scope_open(&scope, 0);
    for (int i = 0; i < CHUNKS; i++) {
        const uint64_t begun_ns = micro_now();

        for (int j = 0; j < MICRO_CHUNK; j++) {
            torc_scope_set_deadline(&scope, begun_ns + all->durations[j]);
            torc_scope_set_deadline(&scope, TORC_FOREVER);
        }
        micro_samples_add(all->samples, micro_now() - begun_ns, MICRO_CHUNK);
    }
    (void)torc_scope_close(&scope);
    for (int i = OTHERS; i-- > 0;)
        (void)torc_scope_close(&all->others[i]);
    return 0;
}

static void time_deadlines(void)
{
    struct scopes *all = micro_allocate(1, sizeof(*all));

    all->samples = micro_samples_create();
    for (int i = 0; i < REPETITIONS; i++) {
        micro_run(deadline_main, all, NULL);
        micro_samples_end_repetition(all->samples);
    }
    micro_report("deadline set and taken off, 100,000 others", all->samples, 40);
    free(all->samples);
    free(all);
}

/* ---- Start and stop on the bare wheel ---- */

struct wheel {
    struct torc__timers timers;
    struct torc_timer others[OTHERS];
    struct torc_timer own[MICRO_CHUNK];
    uint64_t durations[MICRO_CHUNK];
    uint32_t order[MICRO_CHUNK]; /* in which they are stopped */
};

static void never(struct torc_timer *timer)
{
    (void)timer;
    micro_require(-EPROTO, "a timer fired that is never served");
}

static void fill_wheel(struct wheel *wheel, uint64_t *seed)
{
    const uint64_t now = micro_now();

    torc__timers_init(&wheel->timers, now);
    for (int i = 0; i < OTHERS; i++)
        torc__timer_start(&wheel->timers, &wheel->others[i], now + some_duration(seed), never);
    for (int i = 0; i < MICRO_CHUNK; i++)
        wheel->durations[i] = some_duration(seed);
    micro_shuffle(wheel->order, MICRO_CHUNK, seed);
}

static void start_and_stop(struct wheel *wheel, uint64_t now)
{
    for (int i = 0; i < MICRO_CHUNK; i++) {
        torc__timer_start(&wheel->timers, wheel->own, now + wheel->durations[i], never);
        torc__timer_stop(&wheel->timers, wheel->own);
    }
}

/* As connections do it: what is stopped was started long ago, and has got neighbours since. */
static void start_all_stop_all(struct wheel *wheel, uint64_t now)
{
    for (int i = 0; i < MICRO_CHUNK; i++)
        torc__timer_start(&wheel->timers, &wheel->own[i], now + wheel->durations[i], never);
    for (int i = 0; i < MICRO_CHUNK; i++)
        torc__timer_stop(&wheel->timers, &wheel->own[wheel->order[i]]);
}

static void time_wheel(const char *name, void (*chunk)(struct wheel *wheel, uint64_t now))
{
    struct wheel *wheel = micro_allocate(1, sizeof(*wheel));
    struct micro_samples *samples = micro_samples_create();
    uint64_t seed = 88172645463325252;

    for (int i = 0; i < REPETITIONS; i++) {
        fill_wheel(wheel, &seed);
        for (int j = 0; j < CHUNKS; j++) {
            const uint64_t begun_ns = micro_now();

            chunk(wheel, begun_ns);
            micro_samples_add(samples, micro_now() - begun_ns, MICRO_CHUNK);
        }
        micro_samples_end_repetition(samples);
    }
    micro_report(name, samples, 40);
    free(samples);
    free(wheel);
}

void micro_timer(void)
{
    time_deadlines();
    time_wheel("timer started and stopped, 100,000 others", start_and_stop);
    time_wheel("1,000 started, then stopped, 100,000 others", start_all_stop_all);
}

/* ---- Sleepers ---- */

struct sleepers {
    uint32_t fiber_count;
    unsigned naps; /* of each fiber */
    uint64_t shortest_ns;
    uint64_t longest_ns;
    uint32_t asleep; /* fibers that have begun */
    uint64_t seed;
    uint64_t cpu_ns;      /* of all, and of it: */
    uint64_t starting_ns; /* to spawn the fibers and run them to their first sleep */
    struct torc_stats before;
    struct torc_stats after;
    double *lateness_us; /* room for one per nap */
    unsigned count;
};

static int nap_again_and_again(void *arg)
{
    struct sleepers *all = arg;
    const uint64_t span_ns = all->longest_ns - all->shortest_ns;

    all->asleep++;
    for (unsigned i = 0; i < all->naps; i++) {
        const uint64_t until_ns =
            torc_deadline(all->shortest_ns + micro_random(&all->seed) % span_ns);

        micro_require(torc_sleep_until(until_ns), "sleep");
        all->lateness_us[all->count++] = (double)(torc_now() - until_ns) / 1000;
    }
    return 0;
}

static int sleepers_main(void *arg)
{
    struct sleepers *all = arg;
    const uint64_t begun_ns = micro_cpu();
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_stats(&all->before);
    for (uint32_t i = 0; i < all->fiber_count; i++)
        micro_require(torc_scope_spawn(&scope, nap_again_and_again, all), "spawn");
    while (all->asleep < all->fiber_count)
        (void)torc_yield();
    all->starting_ns = micro_cpu() - begun_ns;
    micro_require(torc_scope_close(&scope), "scope");
    all->cpu_ns = micro_cpu() - begun_ns;
    torc_stats(&all->after);
    return 0;
}

static double mean_of(const double *values, unsigned count)
{
    double sum = 0;

    for (unsigned i = 0; i < count; i++)
        sum += values[i];
    return count > 0 ? sum / count : 0;
}

/* The best of some runs; lateness and CPU of the same run belong together. */
static void sleep_for_a_while(struct sleepers *all, int runs)
{
    struct sleepers best = {0};
    const unsigned room = all->fiber_count * all->naps;
    double *kept = micro_allocate(room, sizeof(*kept));

    for (int i = 0; i < runs; i++) {
        struct sleepers run = *all;

        run.lateness_us = micro_allocate(room, sizeof(*run.lateness_us));
        micro_run(sleepers_main, &run, NULL);
        if (best.cpu_ns == 0 || run.cpu_ns < best.cpu_ns) {
            free(kept);
            kept = run.lateness_us;
            best = run;
        } else {
            free(run.lateness_us);
        }
    }
    *all = best;
    all->lateness_us = kept;
}

void micro_sleepers(void)
{
    struct sleepers few = {.fiber_count = 1000,
                           .naps = 60,
                           .shortest_ns = TORC_MILLISECOND,
                           .longest_ns = 100 * TORC_MILLISECOND,
                           .seed = 88172645463325252};
    struct sleepers many = few;
    double timers;

    sleep_for_a_while(&few, 2);
    timers = few.count;
    micro_report_value("1,000 sleepers, mean lateness", "us", mean_of(few.lateness_us, few.count),
                       150);
    micro_report_value("1,000 sleepers, p50 lateness", "us",
                       micro_percentile(few.lateness_us, few.count, 50), MICRO_NO_TARGET);
    micro_report_value("1,000 sleepers, p99 lateness", "us",
                       micro_percentile(few.lateness_us, few.count, 99), MICRO_NO_TARGET);
    micro_report_value("1,000 sleepers, CPU per timer", "us", (double)few.cpu_ns / timers / 1000,
                       4);
    micro_report_value("1,000 sleepers, waits per timer", "",
                       (double)(few.after.waits - few.before.waits) / timers, MICRO_NO_TARGET);
    many.fiber_count = 100000;
    many.naps = 10;
    sleep_for_a_while(&many, 3);
    timers = many.count;
    micro_report_value("100,000 sleepers, CPU per timer, all in all", "us",
                       (double)many.cpu_ns / timers / 1000, 0.8);
    micro_report_value("100,000 sleepers, of it starting the fibers", "us",
                       (double)many.starting_ns / timers / 1000, MICRO_NO_TARGET);
    micro_report_value("100,000 sleepers, mean lateness", "us",
                       mean_of(many.lateness_us, many.count), MICRO_NO_TARGET);
    free(few.lateness_us);
    free(many.lateness_us);
}

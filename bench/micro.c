/* SPDX-License-Identifier: MIT */
/*
 * micro.c - what single things cost: a switch, a spawn, a timer, a wake-up, a parked fiber.
 *
 *     micro [--json] [--list] [--million] [NAME...]
 *
 * Without names all are measured, in about half a minute. Pin it to one CPU (`taskset -c 0`) for
 * steady figures; `wake`, `answer` and `shards` put their second thread on another CPU by
 * themselves. Prints a table, or with --json one object per line.
 */
#include "micro.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct measurement {
    const char *name;
    const char *question;
    void (*run)(void);
};

static const struct measurement measurements[] = {
    {"switch", "park, switch, resume: ns per fiber, by number of fibers", micro_switch},
    {"spawn", "spawn, run, end, wait", micro_spawn},
    {"scope", "open and close a scope", micro_scope},
    {"timer", "start and stop a timer while 100,000 others run", micro_timer},
    {"sleepers", "how late do sleepers wake, and at what CPU per timer", micro_sleepers},
    {"memory", "resident memory of a parked fiber", micro_memory},
    {"wake", "wake a fiber from another thread", micro_wake},
    {"answer", "a question to another shard and the answer, through two mailboxes", micro_answer},
    {"sync", "channels, selects and locks among fibers of one shard", micro_sync},
    {"shards", "calls, messages and shared channels between two shards that poll", micro_shards},
    {"idle", "what does a shard do that has nothing to do", micro_idle},
    {"nop", "an operation that does nothing, beside the same on a bare ring", micro_nop},
};

#define MEASUREMENT_COUNT (sizeof(measurements) / sizeof(measurements[0]))

/* What the command line asks for; written once, before anything is measured. */
static struct {
    bool json;
    bool million;
} asked;

bool micro_wants_million(void)
{
    return asked.million;
}

/* ---- Helpers ---- */

void micro_require(int result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "micro: %s: %s\n", what, torc_strerror(result));
    exit(1);
}

void *micro_allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL)
        micro_require(-ENOMEM, "calloc");
    return memory;
}

void micro_run(torc_fiber_fn *main, void *arg, const struct torc_options *options)
{
    micro_require(torc_run(main, arg, options), "torc_run");
}

void micro_shuffle(uint32_t *order, uint32_t count, uint64_t *seed)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t other = (uint32_t)(micro_random(seed) % (i + 1));

        order[i] = order[other];
        order[other] = i;
    }
}

/* ---- Samples ---- */

struct micro_samples *micro_samples_create(void)
{
    return micro_allocate(1, sizeof(struct micro_samples));
}

void micro_samples_add(struct micro_samples *samples, uint64_t total_ns, unsigned operations)
{
    if (samples->count < MICRO_SAMPLES_MAX)
        samples->values[samples->count++] = (double)total_ns / operations;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

double micro_percentile(double *values, unsigned count, double percent)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof(*values), compare);
    return values[(unsigned)((count - 1) * percent / 100 + 0.5)];
}

void micro_samples_end_repetition(struct micro_samples *samples)
{
    const unsigned i = samples->repetitions;

    if (samples->count > 0 && i < MICRO_REPETITIONS_MAX) {
        samples->lows[i] = micro_percentile(samples->values, samples->count, 10);
        samples->medians[i] = micro_percentile(samples->values, samples->count, 50);
        samples->repetitions++;
    }
    samples->count = 0;
}

/* ---- Reports ---- */

static const char *verdict(double value, double target)
{
    if (target < 0)
        return "";
    return value <= target ? "met" : "MISSED";
}

/* The member of a JSON object that names the target, if there is one. */
static const char *json_target(double target, char text[64])
{
    snprintf(text, 64, ", \"target\": %.2f", target);
    return target < 0 ? "" : text;
}

static void print_header(void)
{
    printf("%-44s %10s %10s %10s\n", "", "best p10", "median", "target");
}

void micro_report(const char *name, const struct micro_samples *samples, double target)
{
    double lows[MICRO_REPETITIONS_MAX];
    double medians[MICRO_REPETITIONS_MAX];
    double low;
    double median;
    char text[64];

    memcpy(lows, samples->lows, sizeof(lows));
    memcpy(medians, samples->medians, sizeof(medians));
    low = micro_percentile(lows, samples->repetitions, 0);
    median = micro_percentile(medians, samples->repetitions, 50);
    if (asked.json) {
        printf("{\"name\": \"%s\", \"unit\": \"ns\", \"best_p10\": %.2f, \"median\": %.2f%s}\n",
               name, low, median, json_target(target, text));
    } else if (target >= 0) {
        printf("%-44s %10.1f %10.1f %10.1f ns   %s\n", name, low, median, target,
               verdict(low, target));
    } else {
        printf("%-44s %10.1f %10.1f %10s ns\n", name, low, median, "");
    }
    fflush(stdout);
}

void micro_report_value(const char *name, const char *unit, double value, double target)
{
    char text[64];

    if (asked.json)
        printf("{\"name\": \"%s\", \"unit\": \"%s\", \"value\": %.3f%s}\n", name, unit, value,
               json_target(target, text));
    else if (target >= 0)
        printf("%-44s %10.2f %10s %10.2f %s   %s\n", name, value, "", target, unit,
               verdict(value, target));
    else
        printf("%-44s %10.2f %10s %10s %s\n", name, value, "", "", unit);
    fflush(stdout);
}

void micro_skip(const char *name, const char *reason)
{
    fprintf(stderr, "micro: %s is not measured: %s\n", name, reason);
}

/* ---- The command ---- */

static void list_measurements(void)
{
    for (unsigned i = 0; i < MEASUREMENT_COUNT; i++)
        printf("%-10s %s\n", measurements[i].name, measurements[i].question);
}

static const struct measurement *find_measurement(const char *name)
{
    for (unsigned i = 0; i < MEASUREMENT_COUNT; i++) {
        if (strcmp(measurements[i].name, name) == 0)
            return &measurements[i];
    }
    fprintf(stderr, "micro: there is no measurement \"%s\"; see --list\n", name);
    exit(2);
}

/* Returns whether it ended well. */
static bool measure(const struct measurement *measurement)
{
    pid_t child;
    int status;

    fflush(stdout);
    child = fork();
    if (child < 0) {
        perror("micro: fork");
        exit(1);
    }
    if (child == 0) {
        measurement->run();
        exit(0);
    }
    if (waitpid(child, &status, 0) == child && status == 0)
        return true;
    fprintf(stderr, "micro: %s failed\n", measurement->name);
    return false;
}

int main(int argc, char **argv)
{
    const struct measurement *chosen[MEASUREMENT_COUNT];
    unsigned count = 0;
    bool ended_well = true;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            asked.json = true;
        } else if (strcmp(argv[i], "--million") == 0) {
            asked.million = true;
        } else if (strcmp(argv[i], "--list") == 0) {
            list_measurements();
            return 0;
        } else if (argv[i][0] == '-' || count == MEASUREMENT_COUNT) {
            fprintf(stderr, "usage: micro [--json] [--list] [--million] [NAME...]\n");
            return 2;
        } else {
            chosen[count++] = find_measurement(argv[i]);
        }
    }
    if (!asked.json)
        print_header();
    for (unsigned i = 0; i < (count > 0 ? count : MEASUREMENT_COUNT); i++)
        ended_well &= measure(count > 0 ? chosen[i] : &measurements[i]);
    return ended_well ? 0 : 1;
}

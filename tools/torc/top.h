/* SPDX-License-Identifier: MIT */
/*
 * top.h - torc top: two moments of a process, and how their difference is shown.
 */
#ifndef TORC_TOOL_TOP_H
#define TORC_TOOL_TOP_H

#include "terminal.h"

#include <jansson.h>
#include <torc/torc.h>

enum {
    TOP_NAMES_MAX = 64,
};

/* The counters at one moment. */
struct top_moment {
    uint64_t time_ns;
    struct torc_stats *shards;
    struct torc_name_stats names[TOP_NAMES_MAX];
    unsigned name_count;
};

struct top {
    pid_t pid;
    char process[64]; /* what it is called */
    const char *driver;
    unsigned shard_count;
    struct top_moment before;
    struct top_moment now;
    bool silent; /* it did not answer when it was asked last */
};

/* How a shard has fared between two moments. */
struct top_rates {
    double seconds;
    double busy; /* part of the time that it did something: its fibers ran, or it used a CPU, but
                    for polling */
    double cpu;  /* part of a CPU */
    double ops;  /* these per second */
    double completions;
    double switches;
    double wakeups;
    double timers;
    double ops_per_wait; /* submissions for each system call that could sleep */
    /* How long fibers wait until they run, ns: at most so long in so many of a hundred rounds. */
    uint64_t delay_p50;
    uint64_t delay_p99;
    uint64_t delay_max;
};

struct top_rates top_rates(const struct torc_stats *before, const struct torc_stats *now,
                           double seconds);

/* CPU time of a name between the moments, as part of a CPU. */
double top_name_cpu(const struct top *top, const struct torc_name_stats *name);

/* All shards together. */
struct torc_stats top_total(const struct torc_stats *shards, unsigned count);

/* Print it on the terminal, or on whatever standard output is. */
void top_print(const struct top *top, struct terminal_size size);

json_t *top_json(const struct top *top);

#endif

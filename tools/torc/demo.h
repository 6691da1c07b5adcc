/* SPDX-License-Identifier: MIT */
/*
 * demo.h - who takes part in the demo, and what came of it.
 */
#ifndef TORC_TOOL_DEMO_H
#define TORC_TOOL_DEMO_H

#include "demo_server.h"
#include "histogram.h"

#include <stdint.h>

enum {
    DEMO_ROUNDS = 5,
    DEMO_CONTESTANTS = 3,
    DEMO_PATH_SIZE = 4096,
};

/* What the command line says. */
struct demo_options {
    uint64_t duration_ns;
    uint64_t connections;
    uint64_t size;
    const char *peers; /* the folder of their programs; NULL: look beside this one */
};

/* A server that takes part: one line of the table. */
struct demo_contestant {
    const char *name;
    const char *program; /* of a peer; NULL: torc itself */
    struct demo_server server;
    struct histogram *latency;    /* of all rounds */
    double rates[DEMO_ROUNDS];    /* messages per second */
    double costs_ns[DEMO_ROUNDS]; /* CPU time of the server per message */
    unsigned rounds;
    uint64_t cpu_begin_ns;
    uint64_t cpu_ns; /* of the server within the window */
};

/* One demo. */
struct demo {
    const struct demo_options *options;
    char torc[DEMO_PATH_SIZE];       /* this program */
    char folder[DEMO_PATH_SIZE];     /* where it lies */
    struct cpus cpus;                /* which this process may use */
    struct demo_contestant all_cpus; /* torc by itself */
    struct demo_contestant contestants[DEMO_CONTESTANTS];
};

/* Say what is to come. */
void demo_report_beginning(const struct demo *demo);

/* Say what was measured, in a table. Sorts the figures of the contestants. */
void demo_report(struct demo *demo);

#endif

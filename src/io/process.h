/* SPDX-License-Identifier: MIT */
/*
 * process.h - between the two sides of starting a program: the parent's and the child's.
 */
#ifndef IO_PROCESS_H
#define IO_PROCESS_H

#include "base/compiler.h"
#include <stdbool.h>
#include <torc/process.h>

/* What options may ask for: names of our own, and numbers of theirs. */
#define PROCESS_FDS_MAX      256u
#define PROCESS_FD_MAX       65535
#define PROCESS_STDIO_COUNT  3u
#define PROCESS_MAPPINGS_MAX (PROCESS_FDS_MAX + PROCESS_STDIO_COUNT)

/* A descriptor of the child: ours, and its number there. */
struct torc__process_mapping {
    int from; /* -1: none */
    int to;
};

/* A program to be started, and what became of it. */
struct torc__launch {
    const char *const *argv;
    const struct torc_process_options *options;
    const char *path;               /* of the program; searched for in `search` without a slash */
    const char *search;             /* a list of directories like PATH's */
    const char *const *environment; /* all of it */
    struct torc__process_mapping *mappings;
    unsigned mapping_count;
    int report; /* where the child tells why it failed; in its own numbering once it has begun */
    /* Written by the child: to be read here if it has our memory, and not a copy. */
    bool has_begun;
    int error; /* why it failed, or 0 */
    /* Results. */
    pid_t pid;
    int pidfd;
    int pipes[PROCESS_STDIO_COUNT]; /* our ends; -1 where there is none */
};

/*
 * Start the program that `launch` describes. Blocks until it runs, or has failed to. 0, with the
 * results filled; or a negative errno, with nothing left behind. Any thread that is no shard.
 */
int torc__process_launch(struct torc__launch *launch);

/* What the child does, of a struct torc__launch; it never returns. */
int torc__process_child(void *arg);

#endif

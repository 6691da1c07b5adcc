/* SPDX-License-Identifier: MIT */
/*
 * diagnose.h - what is told of shards and fibers: to those outside, in dumps, and when something
 * is wrong.
 */
#ifndef SHARD_DIAGNOSE_H
#define SHARD_DIAGNOSE_H

#include "shard/shard.h"

/* ---- inspect.c ---- */

/* Let this shard be seen from outside, from now on; and no longer. Its own thread. */
void torc__inspect_add(struct torc__shard *shard);
void torc__inspect_remove(struct torc__shard *shard);

/* This is the child of a fork(): there are no shards. */
void torc__inspect_after_fork(void);

/* Call `visit` for every shard that can be seen; not to take long. */
void torc__inspect_each(void (*visit)(struct torc__shard *shard));

/* ---- dump.c ---- */

/* Stacks that have been printed, so that each need be only once. */
struct torc__printed {
    unsigned count;
    struct {
        uint64_t hash;
        uint32_t fiber;
    } stacks[64];
};

/* The descriptor that a waiting fiber waits for; -1 if it is something else. */
int torc__fiber_descriptor(const struct torc_fiber *fiber);

/* Print a fiber and its stack, as lines of the log. `printed` begins as all zero. */
void torc__print_fiber(const struct torc__shard *shard, struct torc_fiber *fiber,
                       struct torc__printed *printed);

/* Print all fibers of a shard, none of which runs. */
void torc__print_shard(const struct torc__shard *shard);

/* Let SIGQUIT print all fibers of runtimes that want it, and no longer; counted. */
void torc__dump_on_quit(void);
void torc__dump_on_quit_no_more(void);

/* This is the child of a fork(), in which nobody else comes, goes or prints. */
void torc__dump_after_fork(void);

/* ---- remaining.c ---- */

/* A shard's `warn` timer: name the fibers that have not ended; then the operations. */
void torc__name_remaining(struct torc_timer *timer);

/*
 * A descriptor, as in "descriptor 9 (tcp 127.0.0.1:80 <-> 127.0.0.1:51344)". On the shard's thread.
 * Returns `text`.
 */
const char *torc__describe_fd(const struct torc__shard *shard, int fd, char *text, size_t size);

/* ---- check.c: what is looked for only where that is asked for ---- */

/* Whether `options`, or TORC_CHECK in the environment, ask for it. */
bool torc__check_wanted(const struct torc_options *options);

/* The running fiber closes a descriptor: report those that wait for it. */
void torc__check_close(struct torc__shard *shard, int fd);

/* ---- fork.c ---- */

/* See that the child of a fork() is no shard: once per process. */
void torc__fork_watch(void);

/* ---- fault.c ---- */

/* Catch faults of fibers, and no longer; counted. */
void torc__fault_catch(void);
void torc__fault_release(void);

/* This is the child of a fork(): a thread that had the mutex of these is not there. */
void torc__fault_after_fork(void);

/* A stack of its own for the calling thread's signal handlers; NULL if it had one, or has none. */
void *torc__signal_stack_make(void);
void torc__signal_stack_free(void *signal_stack);

/* What runs here, for messages: "fiber 12 "name" of shard 0". */
void torc__describe_running(char *text, int size);

#endif

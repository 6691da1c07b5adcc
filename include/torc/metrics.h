/* SPDX-License-Identifier: MIT */
/*
 * torc/metrics.h - the counters of all shards, as a struct and as text for Prometheus.
 *
 * Reading them asks nothing of the shards: counters are read as they stand, also those of a shard
 * that does not come back. So those of one shard are each exact, and together at most some moments
 * apart.
 *
 * Stalls: a fiber that does not give back its shard makes all others wait. A thread, the observer,
 * looks at the shards while they are awake, twice within torc_options.stall_ns, and sleeps without
 * a timer while they all sleep. A fiber that has kept its shard for longer, having used CPU time
 * or being blocked in a system call, is counted in torc_stats.stalls, and told of on stderr with
 * its stack: at most three times at once, one time a second from then on, and not while nobody
 * reads what is written there. Time for which the kernel ran somebody else on the CPU does not
 * count, nor that for which the process was stopped, by a signal or a debugger.
 *
 * The stack is asked for by SIGURG, which is ignored elsewhere; a program with a handler of its own
 * for it gets no stacks. No signal is sent into a system call that it would end early, such as
 * nanosleep(): what the report says then is guessed from the fiber's stack.
 */
#ifndef TORC_METRICS_H
#define TORC_METRICS_H

#include <stddef.h>
#include <torc/runtime.h>
TORC_BEGIN_C

/*
 * The counters of shard `index`. From a fiber or a loop callback.
 *
 * -EINVAL     there is no such shard.
 */
TORC_CHECK int torc_shard_stats(unsigned index, struct torc_stats *ret_stats);

/*
 * Write the counters of all shards in the text format of Prometheus (0.0.4) to `buffer`, which has
 * room for `size` bytes, and end them with a 0. Returns how long the whole text is, without that 0:
 * if it is `size` or more, the rest is missing. `buffer` may be NULL if `size` is 0. What stands in
 * it of one shard was read at one time. From a fiber or a loop callback. Allocates; without memory
 * there is no text, of length 0.
 */
TORC_API size_t torc_metrics_text(char *buffer, size_t size);

TORC_END_C
#endif

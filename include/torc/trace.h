/* SPDX-License-Identifier: MIT */
/*
 * torc/trace.h - what fibers and operations do, recorded for a while, as a time line.
 *
 * Each shard has a ring of events of its own, which keeps the newest: fibers that are started, run,
 * wait and become ready, operations that are handed to the kernel and complete, sleeps of the loop,
 * stalls. It is written as a JSON file that ui.perfetto.dev and chrome://tracing open. `torc trace`
 * does the same from outside.
 *
 * While nothing is recorded this costs a branch per switch; else some 30 ns per event.
 */
#ifndef TORC_TRACE_H
#define TORC_TRACE_H

#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

/*
 * Begin to record on all shards: on this one at once, on the others from their next round on. From
 * a fiber, as all functions here, which suspend and are not refused in a cancelled scope. Each
 * keeps the newest `events`, which is rounded up to a power of two; 0 = 65,536; 1,024 to 4,194,304.
 * An older trace is dropped.
 *
 * The memory is taken whole, here and not as it fills: 32 bytes per event and some 12 KiB, for each
 * shard, so 2 MiB each for 65,536 events, 128 MiB for the most. It is shared memory, which counts
 * as the process's and its cgroup's until torc_trace_drop().
 *
 * -EBUSY      a trace is being recorded, perhaps for `torc trace`.
 * -EAGAIN     the last one is still being written, or a shard has not yet heard that it has ended,
 *             which it does in its next round. Later it can be begun.
 * -ENOMEM     there is not so much memory; nothing is recorded then.
 * -EOPNOTSUPP     torc_options.no_observer.
 */
TORC_CHECK int torc_trace_start(uint32_t events);

/* End recording, as torc_trace_start() begins it. What was recorded is kept. */
TORC_API void torc_trace_stop(void);

/*
 * Write what is recorded to a file, pipe or socket; the writes are refused in a cancelled scope.
 * Also while recording goes on; then events that are overwritten meanwhile are missing. Allocates.
 *
 * -ENODATA    there is no trace.
 */
TORC_CHECK int torc_trace_write(int fd);

/* Drop the trace, and its memory as soon as all shards have heard of it. Ends recording. */
TORC_API void torc_trace_drop(void);

TORC_END_C
#endif

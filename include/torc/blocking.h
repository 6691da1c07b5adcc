/* SPDX-License-Identifier: MIT */
/*
 * torc/blocking.h - functions that block, away from the shard.
 *
 * What cannot wait the torc way (a library's own I/O, a long computation) would keep a whole shard
 * from its other fibers. It is run on a thread of a small pool instead, which all shards of a
 * torc_run() share: threads start when there is work for them, and end when they have had none for
 * torc_options.blocking_idle_ns.
 *
 * Of torc_options.blocking_threads_max threads (64) half may run functions of the program at a
 * time; a quarter is kept for files, where the kernel's ring cannot do them, and a quarter for name
 * lookups, so that neither waits for the other. More calls than that wait their turn, first come,
 * first served. The queue takes no memory, since each call stands in the frame of the fiber that
 * waits; it is no longer than there are fibers.
 *
 * The threads run where the thread that called torc_run() might, have a stack of 1 MiB, and all
 * signals blocked but those of faults. They are no shards: functions of torc whose comment does not
 * say "Any thread" abort there.
 */
#ifndef TORC_BLOCKING_H
#define TORC_BLOCKING_H

#include <torc/api.h>
TORC_BEGIN_C

/*
 * Call `fn(arg)` on a thread of the pool, and wait for it. Suspends. Returns what `fn` does, or why
 * it was not called. Interruptible until `fn` begins; from then on it is waited for, whatever
 * happens to the scope, so `arg` may stand in the caller's frame.
 *
 * -EAGAIN     not a single thread could be started (RLIMIT_NPROC; the log says so too), or `fn`
 *             returned it.
 */
TORC_CHECK int torc_blocking(int (*fn)(void *arg), void *arg);

TORC_END_C
#endif

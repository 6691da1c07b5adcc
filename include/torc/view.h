/* SPDX-License-Identifier: MIT */
/*
 * torc/view.h - look at the runtime of another process: what `torc top` and `torc trace` are made
 * of.
 *
 * A process that runs torc shares a page of counters with those who may read its /proc/PID/fd: the
 * same user, and root. Neither side needs symbols; both need the same version of torc. The page is
 * written by the process's observer when it is asked to, so looking costs the shards nothing.
 *
 * All functions here are for plain threads, on a shard or not; they block for a moment.
 */
#ifndef TORC_VIEW_H
#define TORC_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <torc/runtime.h>
TORC_BEGIN_C

struct torc_view;

/*
 * What fibers of one name do, on all shards: those without one have the name "", and what the loops
 * do themselves, polling included, has "(loop)" and no fibers. Counted and sampled only while
 * somebody looks: CPU time is what was found running every 10 ms.
 */
struct torc_name_stats {
    char name[40];   /* cut off if longer */
    uint64_t cpu_ns; /* since the process is looked at */
    uint64_t fibers; /* alive now */
    uint64_t ready;  /* of these, in the run queue or running; the others wait */
};

/*
 * Find the `number`-th runtime of a process, from 0, and make it ready to be looked at. Allocates.
 * The view is the caller's, to be closed.
 *
 * -ESRCH      there is no such process.
 * -EACCES     it is somebody else's, or protected from us.
 * -ENOENT     it does not run torc (any more), or with torc_options.no_observer.
 * -EPROTO     its torc is of another version.
 */
TORC_CHECK int torc_view_open(pid_t pid, unsigned number, struct torc_view **ret_view);

/* Close it. NULL is ignored. */
TORC_API void torc_view_close(struct torc_view *view);

/* How many shards there are. */
TORC_API unsigned torc_view_shard_count(const struct torc_view *view);

/* The name of the driver, "uring" or "epoll". */
TORC_API const char *torc_view_driver(const struct torc_view *view);

/*
 * Have the counters written anew, and read them. Waits a second for that at most.
 *
 * -ENOENT     the runtime has ended.
 * -ETIMEDOUT  the process does not answer; it may be stopped.
 */
TORC_CHECK int torc_view_refresh(struct torc_view *view);

/* Whether the runtime has ended, or its process. */
TORC_API bool torc_view_has_ended(const struct torc_view *view);

/* When the counters were written, CLOCK_MONOTONIC of the process looked at. */
TORC_API uint64_t torc_view_time(const struct torc_view *view);

/* The counters of a shard, as of the last refresh; those of the first beyond the last one. */
TORC_API const struct torc_stats *torc_view_stats(const struct torc_view *view, unsigned shard);

/* The names of fibers, as of the last refresh; returns how many there are. */
TORC_API unsigned torc_view_names(const struct torc_view *view,
                                  const struct torc_name_stats **ret_names);

/*
 * Begin to record a trace, as torc_trace_start() does. It ends after `duration_ms`, at most an
 * hour, and is dropped a minute later, whatever becomes of the caller.
 *
 * From then on until torc_view_trace_drop(), or the end of the view, no other view gets to record
 * or end a trace of that runtime, not even in another process.
 *
 * -EBUSY      a trace is being recorded, by the program itself or by another view.
 * -EAGAIN     the last one is not quite over: see torc_trace_start().
 */
TORC_CHECK int torc_view_trace_start(struct torc_view *view, uint32_t events, uint32_t duration_ms);

/* End it before that; one of the program itself, too. -EBUSY if it is another view's. */
TORC_CHECK int torc_view_trace_stop(struct torc_view *view);

/*
 * Write what was recorded to `fd`. Blocks; allocates.
 *
 * -ENODATA    there is no trace.
 */
TORC_CHECK int torc_view_trace_write(struct torc_view *view, int fd);

/* Drop it, so that the process has its memory back. -EBUSY if it is another view's. */
TORC_CHECK int torc_view_trace_drop(struct torc_view *view);

TORC_END_C
#endif

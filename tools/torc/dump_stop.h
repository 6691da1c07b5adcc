/* SPDX-License-Identifier: MIT */
/*
 * dump_stop.h - stop one thread of another process for a moment.
 */
#ifndef TORC_TOOL_DUMP_STOP_H
#define TORC_TOOL_DUMP_STOP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stopped {
    pid_t thread;
    int signal;          /* that was about to be delivered, and is when the thread goes on */
    uint64_t stopped_ns; /* when it was asked to stop */
};

/*
 * Stop a thread, and wait until it has. 0; or a negative errno, and why in `ret_why`: then the
 * thread goes on as if nothing had been.
 */
int dump_stop(pid_t thread, struct stopped *ret_stopped, char *ret_why, size_t why_size);

/* Let it go on. Returns for how long it stood, ns. */
uint64_t dump_resume(const struct stopped *stopped);

/* The time by which stopped_ns is told. */
uint64_t dump_clock(void);

/* The thread that `thread` is in the PID namespace of this command; 0 if there is none. */
pid_t dump_find_thread(pid_t pid, pid_t thread);

/* What a thread does in the kernel, "io_uring_enter" or "call 35"; "" if it runs. */
void dump_kernel_text(pid_t pid, pid_t thread, char *text, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * torc/signal.h - signals of the process, received by fibers.
 *
 *     static const int numbers[] = {SIGINT, SIGTERM};
 *     struct torc_signals signals;
 *
 *     result = torc_signals_open(&signals, numbers, 2);
 *     if (result < 0)
 *         return result;
 *     result = torc_signals_wait(&signals, NULL); // SIGINT or SIGTERM
 *     torc_signals_close(&signals);
 *
 * A watch receives from torc_signals_open() on, whether somebody waits or not. Any number of
 * watches, on any shards of any runtime, may be open for the same signal, and each receives it.
 * A signal that comes again before a watch has given it out is given out once, with a count.
 *
 * While a signal is watched its default action does not happen: SIGINT ends nothing. A handler that
 * the program had set is still called, after the watches have been told. When the last watch of a
 * signal closes, the action from before is put back; unless somebody else has set another one,
 * which then stays.
 *
 * This is done by a handler, so it does not matter which thread of the program a signal hits. No
 * signal has to be blocked anywhere; one that all threads have blocked is not received. System
 * calls of other threads are restarted (SA_RESTART).
 */
#ifndef TORC_SIGNAL_H
#define TORC_SIGNAL_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#include <torc/api.h>
TORC_BEGIN_C

/* Signals that can be watched have numbers below this. */
#define TORC_SIGNAL_LIMIT 65

/* A watch. In the caller's memory; all fields are private. Never copied or moved while open. */
struct torc_signals {
    struct torc_signals *_next;
    void *_home; /* the simulated host, see torc/sim.h; NULL: this process */
    int _read_fd;
    int _write_fd;
    uint64_t _set;                       /* bit n-1 is signal n */
    uint32_t _counts[TORC_SIGNAL_LIMIT]; /* received and not given out yet */
};

/* One signal, or several that became one. */
struct torc_signal_info {
    int number;
    int code;       /* why it was sent: si_code of sigaction(2), of the first of them */
    pid_t pid;      /* who sent it, by kill() and its like; of the first of them */
    uid_t uid;      /* and under which user */
    intptr_t value; /* sent along by sigqueue(); of the first of them */
    uint32_t count; /* how often it came; at least 1 */
};

/*
 * Begin to receive the `count` signals of `numbers`. Uses two descriptors. On success
 * torc_signals_close() has to follow.
 *
 * -EINVAL     a number is no signal, or that of one that cannot be caught (SIGKILL, SIGSTOP), or of
 *             a fault (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT), which is no message; or count is
 *             0.
 * -EMFILE     no descriptor is free.
 */
TORC_CHECK int torc_signals_open(struct torc_signals *signals, const int *numbers, unsigned count);

/*
 * Wait for the next signal. Suspends. Returns its number; `*ret_info` (may be NULL) tells more.
 * Several fibers may wait: each signal is given to one of them.
 */
TORC_CHECK int torc_signals_wait(struct torc_signals *signals, struct torc_signal_info *ret_info);

/*
 * Stop receiving. Nobody may be waiting. What was received and not given out is lost, and what
 * comes from now on does what it did before. From the shard that opened it.
 */
TORC_API void torc_signals_close(struct torc_signals *signals);

TORC_END_C
#endif

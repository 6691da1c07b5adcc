/* SPDX-License-Identifier: MIT */
/*
 * signals.h - Ctrl-C and SIGTERM end a run of torc in good order; a second one ends it at once.
 */
#ifndef TORC_TOOL_SIGNALS_H
#define TORC_TOOL_SIGNALS_H

#include <stdbool.h>
#include <torc/torc.h>

struct signals {
    struct torc_signals watch;
    sigset_t before; /* what this thread had blocked */
    int received;    /* the signal that ended the run; 0: none */
};

/* By convention a signal is left alone that was ignored when the program was started. */
bool signal_is_ignored(int number);

/*
 * Stop the runtime when a signal comes, from now on; but not by one that is ignored. On one shard.
 * -errno.
 */
int signals_start(struct signals *signals);

#endif

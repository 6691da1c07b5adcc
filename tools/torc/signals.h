/* SPDX-License-Identifier: MIT */
/*
 * signals.h - Ctrl-C and SIGTERM end a run of torc in good order; a second one ends it at once.
 */
#ifndef TORC_TOOL_SIGNALS_H
#define TORC_TOOL_SIGNALS_H

#include <torc/torc.h>

struct signals {
    struct torc_signals watch;
    sigset_t before; /* what this thread had blocked */
    int received;    /* the signal that ended the run; 0: none */
};

/* Stop the runtime when a signal comes, from now on. On one shard. -errno. */
int signals_start(struct signals *signals);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * signals.h - Ctrl-C and SIGTERM end a run of torc in good order; a second one ends it at once.
 *
 * The signals are blocked in all threads and read from a descriptor by a fiber, so nothing runs at
 * a moment of the signal's choosing.
 */
#ifndef TORC_TOOL_SIGNALS_H
#define TORC_TOOL_SIGNALS_H

struct signals {
    int fd;
    int received; /* the signal that ended the run; 0: none */
};

/* Block both signals in this thread and those it starts, and open the descriptor. -errno. */
int signals_open(struct signals *signals);

/* Close the descriptor. */
void signals_close(struct signals *signals);

/* The body of a fiber, of a struct signals: stop the runtime when a signal comes. */
int signals_watch(void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * signals.c - Ctrl-C and SIGTERM end a run of torc in good order; a second one ends it at once.
 */
#include "signals.h"

/* With the watch closed, the next signal does what signals do by themselves. */
static int stop_at_signal(void *arg)
{
    struct signals *signals = arg;

    torc_fiber_set_name("signals");
    const int number = torc_signals_wait(&signals->watch, NULL);
    torc_signals_close(&signals->watch);
    if (number < 0)
        return number;
    signals->received = number;
    torc_stop();
    return 0;
}

int signals_start(struct signals *signals)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    signals->received = 0;
    int error = torc_signals_open(&signals->watch, numbers, 2);
    if (error < 0)
        return error;
    error = torc_spawn(stop_at_signal, signals);
    if (error < 0)
        torc_signals_close(&signals->watch);
    return error;
}

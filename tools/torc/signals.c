/* SPDX-License-Identifier: MIT */
/*
 * signals.c - Ctrl-C and SIGTERM end a run of torc in good order; a second one ends it at once.
 */
#include "signals.h"

#include <pthread.h>

static const int numbers[] = {SIGINT, SIGTERM};

bool signal_is_ignored(int number)
{
    struct sigaction present;

    return sigaction(number, NULL, &present) == 0 && !(present.sa_flags & SA_SIGINFO) &&
           present.sa_handler == SIG_IGN;
}

/*
 * Let them in. Who blocks them around a run has those that come before it wait for it, and those
 * that come after it for the next.
 */
static void unblock(sigset_t *ret_before)
{
    sigset_t set;

    sigemptyset(&set);
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&set, numbers[i]);
    pthread_sigmask(SIG_UNBLOCK, &set, ret_before);
}

/* What came between the end of the run and the end of its watch. 0: nothing. */
static int receive_last(struct signals *signals)
{
    struct torc_scope shield;

    torc_scope_open(&shield, TORC_SHIELD);
    torc_scope_set_timeout(&shield, TORC_MILLISECOND);
    const int number = torc_signals_wait(&signals->watch, NULL);
    (void)torc_scope_close(&shield);
    return number > 0 ? number : 0;
}

static int stop_at_signal(void *arg)
{
    struct signals *signals = arg;

    torc_fiber_set_name("signals");
    const int number = torc_signals_wait(&signals->watch, NULL);
    if (number > 0) {
        signals->received = number;
        torc_stop();
    } else {
        pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
        signals->received = receive_last(signals);
    }
    /* The next signal does what signals do by themselves. */
    torc_signals_close(&signals->watch);
    return number < 0 ? number : 0;
}

int signals_start(struct signals *signals)
{
    int wanted[sizeof(numbers) / sizeof(numbers[0])];
    unsigned count = 0;

    signals->received = 0;
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (!signal_is_ignored(numbers[i]))
            wanted[count++] = numbers[i];
    }
    if (count == 0)
        return 0;
    int error = torc_signals_open(&signals->watch, wanted, count);
    if (error < 0)
        return error;
    error = torc_spawn(stop_at_signal, signals);
    if (error < 0)
        torc_signals_close(&signals->watch);
    else
        unblock(&signals->before);
    return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * signals.c - Ctrl-C and SIGTERM end a run of torc in good order; a second one ends it at once.
 */
#include "signals.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <torc/torc.h>
#include <unistd.h>

static sigset_t end_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

int signals_open(struct signals *signals)
{
    const sigset_t set = end_signals();
    const int error = pthread_sigmask(SIG_BLOCK, &set, NULL);

    if (error != 0)
        return -error;
    const int fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    *signals = (struct signals){.fd = fd};
    return 0;
}

void signals_close(struct signals *signals)
{
    close(signals->fd);
    signals->fd = -1;
}

int signals_watch(void *arg)
{
    const sigset_t set = end_signals();
    struct signals *signals = arg;
    struct signalfd_siginfo info;

    torc_fiber_set_name("signals");
    const ssize_t length = torc_read(signals->fd, &info, sizeof(info));
    if (length < 0)
        return (int)length;
    signals->received = (int)info.ssi_signo;
    /* With the block gone, the next signal does what signals do by themselves. */
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    torc_stop();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * 28_signals.c - SIGHUP is counted, SIGTERM ends the program in good order.
 *
 * Nobody sends this program a signal while it is being tried, so a fiber of its own does.
 */
#include <signal.h>
#include <stdio.h>
#include <torc/torc.h>

static int send_some(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        raise(SIGHUP);
    (void)torc_yield();
    raise(SIGTERM);
    return 0;
}

static int serve(void *arg)
{
    static const int numbers[] = {SIGHUP, SIGTERM};
    struct torc_signal_info info = {0};
    struct torc_signals signals;
    int result = torc_signals_open(&signals, numbers, 2);

    (void)arg;
    if (result < 0)
        return result;
    result = torc_spawn(send_some, NULL);
    while (result >= 0 && info.number != SIGTERM) {
        result = torc_signals_wait(&signals, &info);
        if (result == SIGHUP)
            printf("SIGHUP, %u times: the configuration is read again, once\n", info.count);
    }
    torc_signals_close(&signals);
    if (result == SIGTERM)
        printf("SIGTERM: good-bye\n");
    return result < 0 ? result : 0;
}

int main(void)
{
    const int result = torc_run(serve, NULL, NULL);

    if (result < 0)
        fprintf(stderr, "28_signals: %s\n", torc_strerror(result));
    return result < 0;
}

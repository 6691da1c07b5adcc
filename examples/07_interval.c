/* SPDX-License-Identifier: MIT */
/*
 * 07_interval.c - do something every 20 ms, and choose what becomes of ticks that were missed.
 *
 * The first tick's work takes 50 ms, so two ticks pass meanwhile. BURST delivers them at once,
 * DELAY starts a new rhythm, SKIP waits for the next tick of the old one. Run it without arguments:
 * it ends by itself.
 */
#include <stdio.h>
#include <torc/torc.h>

static int beat(const char *name, enum torc_missed missed)
{
    const uint64_t begun_ns = torc_now();
    struct torc_interval interval;
    int result = torc_interval_init(&interval, begun_ns, 20 * TORC_MILLISECOND, missed);

    printf("%s: ticks at", name);
    for (int i = 0; i < 5 && result >= 0; i++) {
        result = torc_interval_wait(&interval);
        printf(" %llu", (unsigned long long)((torc_now() - begun_ns) / TORC_MILLISECOND));
        if (result > 0)
            printf(" (%d missed)", result);
        if (i == 0 && result >= 0)
            result = torc_sleep(50 * TORC_MILLISECOND);
    }
    printf(" ms\n");
    return result < 0 ? result : 0;
}

static int run(void *arg)
{
    int result = beat("burst", TORC_MISSED_BURST);

    (void)arg;
    if (result == 0)
        result = beat("delay", TORC_MISSED_DELAY);
    if (result == 0)
        result = beat("skip", TORC_MISSED_SKIP);
    return result;
}

int main(void)
{
    int result = torc_run(run, NULL, NULL);

    if (result < 0)
        fprintf(stderr, "07_interval: %s\n", torc_strerror(result));
    return result < 0;
}

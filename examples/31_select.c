/* SPDX-License-Identifier: MIT */
/*
 * 31_select.c - a fiber serves what comes first: a job, the end of a tick, or the order to stop.
 *
 * Exactly one case of a select happens; none of the others has any effect. Needs no arguments.
 */
#include <stdio.h>
#include <torc/torc.h>

static struct torc_channel jobs;
static struct torc_event stop;

static int send_jobs(void *arg)
{
    int result = 0;

    (void)arg;
    for (int job = 1; job <= 5 && result == 0; job++) {
        result = torc_channel_send(&jobs, &job);
        if (result == 0)
            result = torc_sleep(3 * TORC_MILLISECOND);
    }
    torc_event_set(&stop);
    return result;
}

static int run(void *arg)
{
    int job;
    uint64_t tick_ns = torc_deadline(5 * TORC_MILLISECOND);

    (void)arg;
    torc_channel_init(&jobs, NULL, sizeof(int), 0);
    if (torc_spawn(send_jobs, NULL) < 0)
        return -1;
    for (;;) {
        struct torc_case cases[] = {
            torc_case_receive(&jobs, &job),
            torc_case_deadline(tick_ns),
            torc_case_event(&stop),
        };
        const int chosen = torc_select(cases, 3);

        if (chosen == 0) {
            printf("job %d\n", job);
        } else if (chosen == 1) {
            printf("tick\n");
            tick_ns = torc_deadline(5 * TORC_MILLISECOND);
        } else {
            printf("%s\n", chosen == 2 ? "stop" : torc_strerror(chosen));
            return chosen < 0 ? chosen : 0;
        }
    }
}

int main(void)
{
    return torc_run(run, NULL, NULL) < 0;
}

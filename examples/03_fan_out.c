/* SPDX-License-Identifier: MIT */
/*
 * 03_fan_out.c - ask two sources at once, and wait for both at most 100 ms.
 *
 * The scope is the place where both are waited for; its deadline ends what is too slow. Run it
 * without arguments: it ends by itself.
 */
#include <stdio.h>
#include <torc/torc.h>

struct source {
    const char *name;
    uint64_t delay_ns; /* how long it takes to answer */
    int answer;
};

/* Stands for a connect, a send and a recv: they are waits like this one. */
static int fetch(void *arg)
{
    struct source *source = arg;
    int result = torc_sleep(source->delay_ns);

    if (result < 0)
        return result;
    source->answer = 42;
    return 0;
}

static int fetch_both(struct source *one, struct source *other)
{
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 100 * TORC_MILLISECOND);
    result = torc_scope_spawn(&scope, fetch, one);
    if (result == 0)
        result = torc_scope_spawn(&scope, fetch, other);
    if (result < 0)
        torc_scope_cancel(&scope);
    return torc_scope_close(&scope); /* 0, the first failure, or -ETIME. */
}

static int run(void *arg)
{
    struct source sources[] = {{"quick", 20 * TORC_MILLISECOND, 0},
                               {"fair", 50 * TORC_MILLISECOND, 0},
                               {"slow", 10 * TORC_SECOND, 0}};
    int both = fetch_both(&sources[0], &sources[1]);
    int late = fetch_both(&sources[1], &sources[2]);

    (void)arg;
    printf("quick and fair: %s\nfair and slow: %s\n", torc_strerror(both), torc_strerror(late));
    return both != 0 || late != -ETIME ? -EIO : 0;
}

int main(void)
{
    return torc_run(run, NULL, NULL) < 0;
}

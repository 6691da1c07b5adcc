/* SPDX-License-Identifier: MIT */
/*
 * 08_shards.c - the same main on every CPU, and one shard that stops them all.
 *
 * Shards share nothing by themselves: each has its own loop, ring, timers and fibers, and its
 * thread is pinned to its CPU. Run it without arguments: it ends by itself.
 */
#include <stdio.h>
#include <torc/torc.h>

/* What a shard has done, in its own place: no lock, no atomic. */
struct work {
    unsigned rounds;
    char padding[60]; /* so that no two shards write to one cache line */
};

static int run(void *arg)
{
    struct work *work = (struct work *)arg + torc_shard_index();
    const uint64_t stop_ns = torc_deadline(50 * TORC_MILLISECOND);
    int result;

    do {
        work->rounds++;
        result = torc_sleep(5 * TORC_MILLISECOND);
        if (torc_shard_index() == 0 && torc_now() >= stop_ns)
            torc_stop(); /* The next wait of every shard says so. */
    } while (result == 0);
    printf("shard %u of %u: %s after %u rounds\n", torc_shard_index(), torc_shard_count(),
           torc_strerror(result), work->rounds);
    return result; /* -ECANCELED because of the stop: no failure. */
}

int main(void)
{
    static struct work works[1024];
    const struct torc_options options = {.shards = TORC_ALL_CPUS};
    int result = torc_run(run, works, &options);

    if (result < 0)
        fprintf(stderr, "08_shards: %s\n", torc_strerror(result));
    return result < 0;
}

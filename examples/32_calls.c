/* SPDX-License-Identifier: MIT */
/*
 * 32_calls.c - data that belongs to shards, without a lock: who needs it calls its shard.
 *
 * Every shard counts keys that are its own. A fiber that has a key of another shard lets that shard
 * count it, and waits for the answer. Run it without arguments.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <torc/torc.h>

#define SHARDS 2

static unsigned counts[SHARDS][8]; /* Each row is touched by its shard only. */
static atomic_uint working = SHARDS;

/* Runs in the loop of the shard that owns the key. */
static int count_key(void *arg)
{
    const unsigned key = *(const unsigned *)arg;

    return (int)++counts[torc_shard_index()][key / SHARDS];
}

static int print_counts(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 8; i++)
        printf("key %2u: %u times\n", i * SHARDS + torc_shard_index(),
               counts[torc_shard_index()][i]);
    return 0;
}

static int run(void *arg)
{
    int result = 0;

    (void)arg;
    for (unsigned i = 0; i < 160 && result >= 0; i++) {
        unsigned key = i % 16;

        result = torc_shard_ask(key % SHARDS, count_key, &key);
    }
    if (result >= 0 && atomic_fetch_sub(&working, 1) == 1) {
        result = torc_shard_call_each(print_counts, NULL);
        torc_stop();
    } else if (result >= 0) {
        (void)torc_sleep(TORC_FOREVER); /* Serve the others until they are ready. */
    }
    return result < 0 ? result : 0;
}

int main(void)
{
    const struct torc_options options = {.shards = SHARDS, .no_pin = true};

    return torc_run(run, NULL, &options) < 0;
}

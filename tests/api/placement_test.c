/* SPDX-License-Identifier: MIT */
/*
 * placement_test.c - where shards run, asked for by cores and by NUMA nodes.
 */
#include "harness/run.h"
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <torc/torc.h>

static atomic_uint shards_seen;
static atomic_uint pinned_seen;

static int look_where_we_are(void *arg)
{
    cpu_set_t set;

    (void)arg;
    EXPECT_INT(sched_getaffinity(0, sizeof(set), &set), ==, 0);
    atomic_fetch_add(&pinned_seen, CPU_COUNT(&set) == 1);
    atomic_store(&shards_seen, torc_shard_count());
    return 0;
}

TEST(there_is_a_shard_for_each_core_and_no_more_than_cpus)
{
    const struct torc_options options = {.shards = TORC_ALL_CPUS, .placement = TORC_PLACE_CORES};
    cpu_set_t set;

    NEEDS_THREADS();
    EXPECT_INT(sched_getaffinity(0, sizeof(set), &set), ==, 0);
    EXPECT_INT(torc_run(look_where_we_are, NULL, &options), ==, 0);
    EXPECT_UINT(atomic_load(&shards_seen), >=, 1);
    EXPECT_UINT(atomic_load(&shards_seen), <=, (unsigned)CPU_COUNT(&set));
}

TEST(one_shard_is_pinned_if_a_node_is_asked_for)
{
    const struct torc_options options = {.numa_nodes = 1};
    int result = torc_run(look_where_we_are, NULL, &options);

    if (result == -EINVAL)
        SKIP("this process may not use node 0");
    EXPECT_INT(result, ==, 0);
    EXPECT_UINT(atomic_load(&pinned_seen), ==, 1);
}

TEST(placements_and_nodes_that_there_are_not_are_refused)
{
    const struct torc_options node = {.shards = TORC_ALL_CPUS, .numa_nodes = UINT64_C(1) << 63};
    const struct torc_options placement = {.placement = TORC_PLACE_CORES + 1};

    EXPECT_INT(torc_run(look_where_we_are, NULL, &node), ==, -EINVAL);
    EXPECT_INT(torc_run(look_where_we_are, NULL, &placement), ==, -EINVAL);
}

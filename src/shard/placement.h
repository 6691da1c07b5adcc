/* SPDX-License-Identifier: MIT */
/*
 * placement.h - which CPUs the shards of a runtime are for.
 */
#ifndef SHARD_PLACEMENT_H
#define SHARD_PLACEMENT_H

#include "base/cpu_set.h"
#include <torc/runtime.h>

/* Where the kernel describes the machine. */
#define PLACEMENT_SYSFS "/sys/devices/system"

/*
 * Of the CPUs in `set` keep those that options->placement and options->numa_nodes allow; `sysfs` is
 * PLACEMENT_SYSFS, but for tests. Returns how many are left. What the kernel does not tell does not
 * restrict.
 *
 * -EINVAL     there is no such node, or none of its CPUs is in the set.
 */
int torc__placement_filter(const struct torc_options *options, const char *sysfs,
                           struct torc__cpu_set *set);

/* The CPUs that a list as "0-3,8" names; false if it is none. */
bool torc__placement_parse(const char *list, struct torc__cpu_set *ret_set);

#endif

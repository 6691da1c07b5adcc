/* SPDX-License-Identifier: MIT */
/*
 * cpu_set.h - sets of as many CPUs as Linux can have: libc's cpu_set_t ends at 1,024, and the
 * kernel refuses it on a machine that may have more.
 */
#ifndef BASE_CPU_SET_H
#define BASE_CPU_SET_H

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

#define CPUS_MAX 8192u

struct torc__cpu_set {
    cpu_set_t parts[CPUS_MAX / CPU_SETSIZE];
};

static inline void torc__cpus_clear(struct torc__cpu_set *set)
{
    memset(set, 0, sizeof(*set));
}

static inline void torc__cpus_add(struct torc__cpu_set *set, unsigned cpu)
{
    CPU_SET_S(cpu, sizeof(*set), set->parts);
}

static inline void torc__cpus_remove(struct torc__cpu_set *set, unsigned cpu)
{
    CPU_CLR_S(cpu, sizeof(*set), set->parts);
}

static inline bool torc__cpus_have(const struct torc__cpu_set *set, unsigned cpu)
{
    return CPU_ISSET_S(cpu, sizeof(*set), set->parts);
}

static inline int torc__cpus_count(const struct torc__cpu_set *set)
{
    return CPU_COUNT_S(sizeof(*set), set->parts);
}

/* Keep what is in `others` too. */
static inline void torc__cpus_keep(struct torc__cpu_set *set, const struct torc__cpu_set *others)
{
    CPU_AND_S(sizeof(*set), set->parts, set->parts, others->parts);
}

/* Add all of `others`. */
static inline void torc__cpus_join(struct torc__cpu_set *set, const struct torc__cpu_set *others)
{
    CPU_OR_S(sizeof(*set), set->parts, set->parts, others->parts);
}

/* Where the calling thread may run. 0 or a negative errno. */
static inline int torc__cpus_of_thread(struct torc__cpu_set *ret_set)
{
    torc__cpus_clear(ret_set);
    return sched_getaffinity(0, sizeof(*ret_set), ret_set->parts) < 0 ? -errno : 0;
}

/* Let the calling thread run there only. 0 or a negative errno. */
static inline int torc__cpus_pin_thread(const struct torc__cpu_set *set)
{
    return sched_setaffinity(0, sizeof(*set), set->parts) < 0 ? -errno : 0;
}

#endif

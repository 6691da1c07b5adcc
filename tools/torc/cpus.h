/* SPDX-License-Identifier: MIT */
/*
 * cpus.h - sets of CPUs, also on machines with more of them than libc's cpu_set_t has room for.
 */
#ifndef TORC_TOOL_CPUS_H
#define TORC_TOOL_CPUS_H

#include <sched.h>
#include <stdbool.h>
#include <string.h>

/* As many as Linux can have. */
#define CPUS_MAX 8192u

struct cpus {
    cpu_set_t parts[CPUS_MAX / CPU_SETSIZE];
};

/* Where this thread may run: at least on one. */
static inline struct cpus cpus_here(void)
{
    struct cpus cpus;

    memset(&cpus, 0, sizeof(cpus));
    if (sched_getaffinity(0, sizeof(cpus), cpus.parts) != 0)
        CPU_SET_S(0, sizeof(cpus), cpus.parts);
    return cpus;
}

static inline unsigned cpus_count(const struct cpus *cpus)
{
    return (unsigned)CPU_COUNT_S(sizeof(*cpus), cpus->parts);
}

/* The set of the nth of these, which are more than n. */
static inline struct cpus cpus_nth(const struct cpus *cpus, unsigned n)
{
    struct cpus set;
    unsigned cpu = 0;

    while (!CPU_ISSET_S(cpu, sizeof(*cpus), cpus->parts) || n-- > 0)
        cpu++;
    memset(&set, 0, sizeof(set));
    CPU_SET_S(cpu, sizeof(set), set.parts);
    return set;
}

/* Let this thread, and what it starts, run there only. */
static inline void cpus_pin(const struct cpus *cpus)
{
    (void)sched_setaffinity(0, sizeof(*cpus), cpus->parts);
}

#endif

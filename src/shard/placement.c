/* SPDX-License-Identifier: MIT */
/*
 * placement.c - cores and NUMA nodes, as the kernel describes them in /sys.
 */
#include "shard/placement.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LIST_MAX  16384
#define NODES_MAX 64

bool torc__placement_parse(const char *list, struct torc__cpu_set *ret_set)
{
    struct torc__cpu_set set;

    torc__cpus_clear(&set);
    while (*list >= '0' && *list <= '9') {
        char *end;
        unsigned long first = strtoul(list, &end, 10);
        unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

        if (last < first || last >= CPUS_MAX)
            return false;
        for (; first <= last; first++)
            torc__cpus_add(&set, (unsigned)first);
        list = *end == ',' ? end + 1 : end;
    }
    if (*list != '\0' && *list != '\n')
        return false;
    *ret_set = set;
    return true;
}

/* Read a list of CPUs. False if there is no such file, or nothing sensible in it. */
static bool read_list(const char *sysfs, const char *format, unsigned number,
                      struct torc__cpu_set *ret_set)
{
    char name[64];
    char path[256];
    char list[LIST_MAX];
    ssize_t length;
    int fd;

    (void)snprintf(name, sizeof(name), format, number);
    if (snprintf(path, sizeof(path), "%s/%s", sysfs, name) >= (int)sizeof(path))
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    length = read(fd, list, sizeof(list) - 1);
    close(fd);
    if (length < 0 || length == sizeof(list) - 1)
        return false; /* Half a list would be a wrong one. */
    list[length] = '\0';
    return torc__placement_parse(list, ret_set);
}

/* The CPUs of these nodes. */
static int keep_nodes(uint64_t nodes, const char *sysfs, struct torc__cpu_set *set)
{
    struct torc__cpu_set of_all;

    torc__cpus_clear(&of_all);
    for (unsigned node = 0; node < NODES_MAX; node++) {
        struct torc__cpu_set of_node;

        if (!(nodes >> node & 1))
            continue;
        if (!read_list(sysfs, "node/node%u/cpulist", node, &of_node)) {
            if (node == 0 && !read_list(sysfs, "node/online", 0, &of_node))
                return 0; /* A kernel without NUMA: all is node 0. */
            return -EINVAL;
        }
        torc__cpus_join(&of_all, &of_node);
    }
    torc__cpus_keep(set, &of_all);
    return 0;
}

/* One CPU of each core: the first that is in the set. */
static void keep_cores(const char *sysfs, struct torc__cpu_set *set)
{
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        struct torc__cpu_set siblings;

        if (!torc__cpus_have(set, cpu) ||
            !read_list(sysfs, "cpu/cpu%u/topology/thread_siblings_list", cpu, &siblings))
            continue;
        for (unsigned other = cpu + 1; other < CPUS_MAX; other++) {
            if (torc__cpus_have(&siblings, other))
                torc__cpus_remove(set, other);
        }
    }
}

int torc__placement_filter(const struct torc_options *options, const char *sysfs,
                           struct torc__cpu_set *set)
{
    const int saved = errno;
    int result = 0;
    int count;

    if (options->numa_nodes != 0)
        result = keep_nodes(options->numa_nodes, sysfs, set);
    if (result == 0 && options->placement == TORC_PLACE_CORES)
        keep_cores(sysfs, set);
    errno = saved;
    if (result < 0)
        return result;
    count = torc__cpus_count(set);
    return count > 0 ? count : -EINVAL;
}

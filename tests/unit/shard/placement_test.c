/* SPDX-License-Identifier: MIT */
/*
 * placement_test.c - cores and nodes of a machine that is described in files.
 */
#include "harness/harness.h"
#include "shard/placement.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- A machine: files in a directory of its own ---- */

#define FILES_MAX 64

static char root[64];
static char made[FILES_MAX][256]; /* files and directories, in the order of making */
static unsigned made_count;

static void note(const char *path)
{
    EXPECT_UINT(made_count, <, FILES_MAX);
    (void)snprintf(made[made_count++], sizeof(made[0]), "%s", path);
}

/* Write a file, and make the directories that lead to it. */
static void describe(const char *name, const char *text)
{
    char path[256];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0700) == 0)
            note(path);
        *slash = '/';
    }
    file = fopen(path, "w");
    EXPECT(file != NULL);
    EXPECT_INT(fputs(text, file), >=, 0);
    EXPECT_INT(fclose(file), ==, 0);
    note(path);
}

static void begin_machine(void)
{
    strcpy(root, "/tmp/torc-placement-XXXXXX");
    EXPECT(mkdtemp(root) != NULL);
}

static void end_machine(void)
{
    while (made_count > 0)
        EXPECT_INT(remove(made[--made_count]), ==, 0);
    EXPECT_INT(rmdir(root), ==, 0);
}

/* Two nodes of two cores of two CPUs each, numbered as Intel does. */
static void describe_two_nodes(void)
{
    describe("node/online", "0-1\n");
    describe("node/node0/cpulist", "0-1,4-5\n");
    describe("node/node1/cpulist", "2-3,6-7\n");
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        char name[64];
        char list[16];

        (void)snprintf(name, sizeof(name), "cpu/cpu%u/topology/thread_siblings_list", cpu);
        (void)snprintf(list, sizeof(list), "%u,%u\n", cpu % 4, cpu % 4 + 4);
        describe(name, list);
    }
}

static struct torc__cpu_set set_of(const char *list)
{
    struct torc__cpu_set set;

    EXPECT(torc__placement_parse(list, &set));
    return set;
}

static void expect_filtered(const struct torc_options *options, const char *from, const char *to)
{
    struct torc__cpu_set set = set_of(from);
    const struct torc__cpu_set expected = set_of(to);

    EXPECT_INT(torc__placement_filter(options, root, &set), ==, torc__cpus_count(&expected));
    EXPECT(memcmp(&set, &expected, sizeof(set)) == 0);
}

/* ---- Tests ---- */

TEST(lists_of_cpus_are_read_as_the_kernel_writes_them)
{
    struct torc__cpu_set set;

    EXPECT(torc__placement_parse("0-3,8,10-11\n", &set));
    EXPECT_INT(torc__cpus_count(&set), ==, 7);
    EXPECT(torc__cpus_have(&set, 8) && torc__cpus_have(&set, 11) && !torc__cpus_have(&set, 9));
    EXPECT(torc__placement_parse("\n", &set)); /* A node that has memory only. */
    EXPECT_INT(torc__cpus_count(&set), ==, 0);
    EXPECT(!torc__placement_parse("3-1", &set));
    EXPECT(!torc__placement_parse("1,x", &set));
    EXPECT(!torc__placement_parse("99999999", &set));
    EXPECT(!torc__placement_parse("-1", &set));
}

TEST(one_cpu_of_each_core_is_kept_and_one_that_may_be_used)
{
    const struct torc_options cores = {.placement = TORC_PLACE_CORES};
    const struct torc_options cpus = {.placement = TORC_PLACE_CPUS};

    begin_machine();
    describe_two_nodes();
    expect_filtered(&cpus, "0-7", "0-7");
    expect_filtered(&cores, "0-7", "0-3");
    expect_filtered(&cores, "1,4-6", "1,4,6"); /* 5 is 1's sibling, the other core of 4 is out. */
    end_machine();
}

TEST(only_cpus_of_the_nodes_are_kept)
{
    const struct torc_options second = {.numa_nodes = 1u << 1};
    const struct torc_options both = {.numa_nodes = 3};
    const struct torc_options cores = {.numa_nodes = 1, .placement = TORC_PLACE_CORES};
    const struct torc_options third = {.numa_nodes = 1u << 2};
    struct torc__cpu_set set = set_of("0-7");

    begin_machine();
    describe_two_nodes();
    expect_filtered(&second, "0-7", "2-3,6-7");
    expect_filtered(&second, "0-2", "2");
    expect_filtered(&both, "0-7", "0-7");
    expect_filtered(&cores, "0-7", "0-1");
    EXPECT_INT(torc__placement_filter(&third, root, &set), ==, -EINVAL);
    set = set_of("0-1");
    EXPECT_INT(torc__placement_filter(&second, root, &set), ==, -EINVAL); /* None is left. */
    end_machine();
}

TEST(cpus_beyond_the_thousandth_are_cpus_as_well)
{
    const struct torc_options cores = {.placement = TORC_PLACE_CORES};
    struct torc__cpu_set set;

    begin_machine();
    describe("cpu/cpu1500/topology/thread_siblings_list", "1500,5500\n");
    expect_filtered(&cores, "0,1500,5500,8191", "0,1500,8191");
    EXPECT(!torc__placement_parse("8192", &set));
    end_machine();
}

TEST(what_the_kernel_does_not_tell_does_not_restrict)
{
    const struct torc_options first = {.numa_nodes = 1, .placement = TORC_PLACE_CORES};
    const struct torc_options second = {.numa_nodes = 2};
    struct torc__cpu_set set = set_of("0-3");

    begin_machine();
    expect_filtered(&first, "0-3", "0-3"); /* A kernel without NUMA has one node. */
    EXPECT_INT(torc__placement_filter(&second, root, &set), ==, -EINVAL);
    end_machine();
}

TEST(this_machine_has_a_core_and_a_node)
{
    const struct torc_options options = {.numa_nodes = UINT64_MAX >> 63,
                                         .placement = TORC_PLACE_CORES};
    struct torc__cpu_set set;
    int count;

    EXPECT_INT(torc__cpus_of_thread(&set), ==, 0);
    count = torc__placement_filter(&options, PLACEMENT_SYSFS, &set);
    if (count == -EINVAL)
        SKIP("this process may not use node 0");
    EXPECT_INT(count, >=, 1);
}

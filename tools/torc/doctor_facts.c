/* SPDX-License-Identifier: MIT */
/*
 * doctor_facts.c - finding out what the kernel, its limits and this machine offer.
 */
#include "doctor.h"

#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The first line of a file; "" if it cannot be read. */
static void read_line(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");

    text[0] = '\0';
    if (file == NULL)
        return;
    if (fgets(text, (int)size, file) == NULL)
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    fclose(file);
}

static int64_t read_number(const char *path)
{
    char text[40];
    char *end;

    read_line(path, text, sizeof(text));
    const int64_t number = strtoll(text, &end, 10);
    return end == text ? DOCTOR_UNKNOWN : number;
}

/* Of "always [madvise] never" what stands in brackets. */
static void read_choice(const char *path, char *text, size_t size)
{
    char line[100];

    read_line(path, line, sizeof(line));
    const char *begin = strchr(line, '[');
    const char *end = strchr(line, ']');
    text[0] = '\0';
    if (begin != NULL && end > begin)
        snprintf(text, size, "%.*s", (int)(end - begin - 1), begin + 1);
}

/* A number behind "Name:" in /proc/self/status. */
static int64_t read_status(const char *name, int base)
{
    FILE *file = fopen("/proc/self/status", "re");
    const size_t length = strlen(name);
    int64_t number = DOCTOR_UNKNOWN;
    char line[256];

    if (file == NULL)
        return number;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            number = strtoll(line + length + 1, NULL, base);
    }
    fclose(file);
    return number;
}

/* What kind of container this is, by the marks that container engines leave. */
static void find_container(char *text, size_t size)
{
    const char *variable = getenv("container");
    const char *kind = "";

    if (getenv("KUBERNETES_SERVICE_HOST") != NULL) {
        kind = "kubernetes";
    } else if (access("/.dockerenv", F_OK) == 0) {
        kind = "docker";
    } else if (access("/run/.containerenv", F_OK) == 0) {
        kind = "podman";
    } else if (variable != NULL) {
        kind = variable;
    }
    snprintf(text, size, "%s", kind);
}

/* How many CPUs' worth of time the cgroup (version 2) of this process may use; 0: no limit. */
static double read_cpu_quota(void)
{
    char group[256];
    char path[320];
    char text[80];
    double quota;
    double period;

    read_line("/proc/self/cgroup", group, sizeof(group));
    if (strncmp(group, "0::/", 4) != 0)
        return 0;
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group + 3);
    read_line(path, text, sizeof(text));
    if (sscanf(text, "%lf %lf", &quota, &period) != 2 || period <= 0)
        return 0; /* "max 100000" */
    return quota / period;
}

static void read_limit(int which, uint64_t *ret_now, uint64_t *ret_most)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)which, &limit) != 0)
        return;
    *ret_now = limit.rlim_cur;
    *ret_most = limit.rlim_max;
}

static void read_kernel(struct doctor_facts *facts)
{
    struct utsname names;
    int major = 0;
    int minor = 0;

    if (uname(&names) != 0)
        return;
    snprintf(facts->kernel, sizeof(facts->kernel), "%s", names.release);
    snprintf(facts->machine, sizeof(facts->machine), "%s", names.machine);
    if (sscanf(names.release, "%d.%d", &major, &minor) == 2)
        facts->kernel_version = major * 100 + minor;
}

/* Why there is no ring, though nobody has asked for anything else. */
static int find_ring_error(const struct torc_options *options,
                           const struct torc_driver_report *report)
{
    const char *environment = getenv("TORC_DRIVER");
    struct torc_options rings = *options;
    struct torc_driver_report answer;

    if (report->error != 0 || strcmp(report->driver, "epoll") != 0)
        return report->error;
    if (options->driver == TORC_DRIVER_EPOLL ||
        (environment != NULL && strcmp(environment, "epoll") == 0))
        return 0;
    rings.driver = TORC_DRIVER_URING;
    return torc_driver_report(&rings, &answer) < 0 ? 0 : answer.error;
}

int doctor_collect(const struct torc_options *options, struct doctor_facts *ret_facts)
{
    struct doctor_facts facts = {
        .io_uring_disabled = read_number("/proc/sys/kernel/io_uring_disabled"),
        .io_uring_group = read_number("/proc/sys/kernel/io_uring_group"),
        .seccomp = read_status("Seccomp", 10),
        .capabilities = read_status("CapEff", 16),
        .max_map_count = read_number("/proc/sys/vm/max_map_count"),
        .overcommit_memory = read_number("/proc/sys/vm/overcommit_memory"),
        .somaxconn = read_number("/proc/sys/net/core/somaxconn"),
        .cpus = cli_cpu_count(),
        .cpus_online = (unsigned)sysconf(_SC_NPROCESSORS_ONLN),
        .cpu_quota = read_cpu_quota(),
    };
    const int error = torc_driver_report(options, &facts.report);

    if (error < 0)
        return error;
    facts.ring_error = find_ring_error(options, &facts.report);
    read_kernel(&facts);
    read_limit(RLIMIT_MEMLOCK, &facts.memlock, &facts.memlock_max);
    read_limit(RLIMIT_NOFILE, &facts.nofile, &facts.nofile_max);
    find_container(facts.container, sizeof(facts.container));
    read_choice("/sys/kernel/mm/transparent_hugepage/enabled", facts.huge_pages,
                sizeof(facts.huge_pages));
    read_line("/proc/sys/net/ipv4/tcp_congestion_control", facts.congestion_control,
              sizeof(facts.congestion_control));
    *ret_facts = facts;
    return 0;
}

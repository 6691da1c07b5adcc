/* SPDX-License-Identifier: MIT */
/*
 * doctor_advice.c - what could be better on this machine, and how to get it.
 */
#include "doctor.h"

#include "output.h"

#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    BACKLOG = 4096,        /* connections that torc lets wait to be accepted */
    FILES_WANTED = 65536,  /* descriptors with which a server gets somewhere */
    RING_SIZE = 512 << 10, /* a shard's ring and buffer rings, at most, if nothing else is said */
    MAPPINGS_WANTED = 1 << 20,
    FIRST_KERNEL = 506, /* the oldest rings that torc can use */
};

/* Where the next piece of advice goes. */
struct advisor {
    struct doctor_advice *advice;
    unsigned count;
};

static void advise(struct advisor *advisor, const char *how, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Add a piece of advice: `format` says what is the matter, `how` what to do. */
static void advise(struct advisor *advisor, const char *how, const char *format, ...)
{
    va_list arguments;

    if (advisor->count == DOCTOR_ADVICE_MAX)
        return;
    struct doctor_advice *advice = &advisor->advice[advisor->count++];
    *advice = (struct doctor_advice){0};
    snprintf(advice->how, sizeof(advice->how), "%s", how);
    va_start(arguments, format);
    vsnprintf(advice->what, sizeof(advice->what), format, arguments);
    va_end(arguments);
}

/* Why io_uring does not work: the likeliest cause, and what to do about it. */
static void advise_on_rings(struct advisor *advisor, const struct doctor_facts *facts)
{
    const char *switch_on = "as root: sysctl -w kernel.io_uring_disabled=0";
    const int error = facts->ring_error;
    const bool denied = error == -EPERM || error == -EACCES || error == -ENOSYS;

    if (facts->kernel_version > 0 && facts->kernel_version < FIRST_KERNEL) {
        advise(advisor, "run a newer kernel", "Linux %s is too old: torc needs io_uring as of 5.6",
               facts->kernel);
    } else if (facts->io_uring_disabled == 2) {
        advise(advisor, switch_on, "io_uring is switched off on this machine");
    } else if (facts->io_uring_disabled == 1 && denied) {
        advise(advisor, switch_on, "io_uring is for root and group %lld only (io_uring_group)",
               (long long)facts->io_uring_group);
    } else if (facts->seccomp == 2 && denied) {
        advise(advisor,
               "allow io_uring_setup, io_uring_enter and io_uring_register in the filter; for "
               "docker: --security-opt seccomp=docs/seccomp/torc.json",
               "a seccomp filter%s%s denies io_uring", facts->container[0] != '\0' ? " of " : "",
               facts->container);
    } else if (error == -ENOMEM) {
        advise(advisor, "ulimit -l, or LimitMEMLOCK= in a systemd unit",
               "there is no locked memory left for a ring (%s)",
               output_bytes((double)facts->memlock).text);
    } else {
        advise(advisor, facts->report.reason, "io_uring does not work: %s", torc_strerror(error));
    }
    advisor->advice[0].problem = facts->report.error != 0;
}

/* What only a newer kernel has, and what is not known. Those forbidden are somebody's wish. */
static void advise_on_features(struct advisor *advisor, const struct doctor_facts *facts)
{
    const char *newest = "";
    unsigned missing = 0;
    unsigned unknown = 0;
    char how[80];

    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        if (facts->report.features[i].unknown) {
            unknown++;
        } else if (!facts->report.features[i].available) {
            newest = facts->report.features[i].since;
            missing++;
        }
    }
    if (unknown > 0) {
        advise(advisor,
               "ulimit -l, or LimitMEMLOCK= in a systemd unit; rings of other programs of "
               "this user count, too",
               "it is not known whether this kernel has %u of the features that torc makes use of: "
               "no locked memory is left for trying them (%s)",
               unknown, output_bytes((double)facts->memlock).text);
    }
    if (missing == 0)
        return;
    snprintf(how, sizeof(how), "Linux %s has them", newest);
    advise(advisor, how, "this kernel lacks %u of the %u features that torc makes use of", missing,
           TORC_FEATURE_COUNT);
}

static void advise_on_descriptors(struct advisor *advisor, const struct doctor_facts *facts)
{
    char how[120];

    if (facts->nofile < facts->nofile_max && facts->nofile < FILES_WANTED) {
        snprintf(how, sizeof(how), "ulimit -n %llu (torc echo and torc bench do so by themselves)",
                 (unsigned long long)facts->nofile_max);
        advise(advisor, how, "programs get %s descriptors, and so connections",
               output_count(facts->nofile).text);
    }
    if (facts->nofile_max < FILES_WANTED) {
        advise(advisor,
               "nofile in /etc/security/limits.conf, LimitNOFILE= in a systemd unit, for docker: "
               "--ulimit nofile=1048576",
               "programs cannot get more than %s descriptors, and so connections",
               output_count(facts->nofile_max).text);
    }
    if (facts->somaxconn >= 0 && facts->somaxconn < BACKLOG) {
        advise(advisor, "as root: sysctl -w net.core.somaxconn=4096",
               "only %lld connections can wait to be accepted", (long long)facts->somaxconn);
    }
}

/* Whether this feature is in use. */
static bool uses(const struct torc_driver_report *report, const char *name)
{
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        const struct torc_feature_report *feature = &report->features[i];

        if (feature->name != NULL && strcmp(feature->name, name) == 0)
            return feature->used;
    }
    return false;
}

/*
 * Whether rings count as memory that this process has locked: before 5.12 all of it did, and does
 * again from 6.14 on, when all rings became regions; but not of who may lock what he likes.
 */
static bool rings_are_locked(const struct doctor_facts *facts)
{
    const bool may_lock_all =
        facts->capabilities != DOCTOR_UNKNOWN && (facts->capabilities >> CAP_IPC_LOCK) & 1;

    return (facts->kernel_version < 512 || facts->kernel_version >= 614) && !may_lock_all;
}

static void advise_on_memory(struct advisor *advisor, const struct doctor_facts *facts)
{
    if (rings_are_locked(facts) && facts->memlock < (uint64_t)facts->cpus * RING_SIZE) {
        advise(advisor, "ulimit -l 65536, or LimitMEMLOCK= in a systemd unit",
               "rings are locked memory on this kernel, and %s are too little for %u of them",
               output_bytes((double)facts->memlock).text, facts->cpus);
    }
    if (facts->overcommit_memory == 2) {
        advise(advisor, "for many fibers, as root: sysctl -w vm.overcommit_memory=0",
               "every stack counts in full, used or not (vm.overcommit_memory is 2)");
    }
    if (facts->report.error == 0 && !uses(&facts->report, "guard_regions") &&
        facts->max_map_count >= 0 && facts->max_map_count < MAPPINGS_WANTED) {
        advise(advisor, "for many fibers, as root: sysctl -w vm.max_map_count=1048576",
               "guards of stacks are mappings here, of which there may be %s",
               output_count((uint64_t)facts->max_map_count).text);
    }
}

static void advise_on_cpus(struct advisor *advisor, const struct doctor_facts *facts)
{
    if (facts->cpu_quota > 0 && facts->cpu_quota < facts->cpus) {
        advise(advisor, "use fewer shards, or raise the limit (cpu.max; for docker: --cpus)",
               "the cgroup may use the time of %.1f CPUs, spread over %u", facts->cpu_quota,
               facts->cpus);
    }
}

unsigned doctor_advise(const struct doctor_facts *facts, struct doctor_advice *advice)
{
    struct advisor advisor = {.advice = advice};

    if (facts->ring_error != 0) {
        advise_on_rings(&advisor, facts);
    } else if (strcmp(facts->report.driver, "uring") == 0) {
        advise_on_features(&advisor, facts);
    }
    advise_on_descriptors(&advisor, facts);
    advise_on_memory(&advisor, facts);
    advise_on_cpus(&advisor, facts);
    return advisor.count;
}

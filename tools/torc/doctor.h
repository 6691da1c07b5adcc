/* SPDX-License-Identifier: MIT */
/*
 * doctor.h - what is to be known of a machine before torc runs on it.
 */
#ifndef TORC_TOOL_DOCTOR_H
#define TORC_TOOL_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <torc/torc.h>

enum {
    DOCTOR_UNKNOWN = -1, /* of a number that the kernel does not tell */
    DOCTOR_ADVICE_MAX = 16,
};

/* What was found. Numbers may be DOCTOR_UNKNOWN, texts "". */
struct doctor_facts {
    char kernel[80];           /* "6.1.0-18-amd64" */
    char machine[80];          /* "x86_64" */
    int kernel_version;        /* 6.1 is 601 */
    int64_t io_uring_disabled; /* sysctl kernel.io_uring_disabled */
    int64_t io_uring_group;    /* sysctl kernel.io_uring_group */
    int64_t seccomp;           /* of this process: 0 off, 1 strict, 2 filter */
    int64_t capabilities;      /* effective ones: bits by their numbers */
    char container[40];        /* what kind of one this seems to be */
    uint64_t memlock;          /* bytes */
    uint64_t memlock_max;
    uint64_t nofile; /* descriptors */
    uint64_t nofile_max;
    int64_t max_map_count;
    int64_t overcommit_memory;
    char huge_pages[20]; /* "madvise" */
    unsigned cpus;       /* this process may use */
    unsigned cpus_online;
    double cpu_quota; /* CPUs' worth of time that the cgroup may use; 0: no limit */
    char congestion_control[20];
    int64_t somaxconn;
    struct torc_driver_report report;
    int ring_error; /* why there is no ring, though one would be used; else 0 */
};

/* Something that could be better. */
struct doctor_advice {
    bool problem; /* torc does not run without it */
    char what[200];
    char how[200];
};

/* Look around. `options` say which driver and which features may be used. -errno. */
int doctor_collect(const struct torc_options *options, struct doctor_facts *ret_facts);

/* What to do about what was found; at most DOCTOR_ADVICE_MAX. Returns how many. */
unsigned doctor_advise(const struct doctor_facts *facts, struct doctor_advice *advice);

/* The facts as an object of JSON. */
json_t *doctor_json(const struct doctor_facts *facts, const struct doctor_advice *advice,
                    unsigned advice_count);

#endif

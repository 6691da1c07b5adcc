/* SPDX-License-Identifier: MIT */
/*
 * driver.c - choose a driver, and say what was chosen and why.
 */
#include "driver/driver.h"
#include "base/compiler.h"
#include "base/log.h"
#include "driver/pool.h"
#include "driver/uring.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <torc/error.h>

#define ENTRIES_DEFAULT 1024
#define ENTRIES_MIN     256
#define ENTRIES_MAX     32768
/* The default too. It also sizes the table in which the kernel looks for what to cancel. */
#define COMPLETION_ENTRIES_MIN 8192

static const struct {
    const char *name;
    const char *since;
    const char *gives;
} feature_texts[TORC_FEATURE_COUNT] = {
    {"ext_arg", "5.11", "the wait's timeout as an argument, not an operation"},
    {"cqe_skip", "5.17", "no completion for a cancel that worked"},
    {"submit_all", "5.18", "one bad operation does not end the submission of the others"},
    {"ring_fd", "5.18", "no lookup of the ring's descriptor per call"},
    {"msg_ring", "5.18", "wake-up of another shard through the ring"},
    {"coop_taskrun", "5.19", "no interrupt of the program for a completion"},
    {"buffer_ring", "5.19", "memory to receive in is chosen when data comes: none while idle"},
    {"single_issuer", "6.0", "no locking for other threads that could submit"},
    {"multishot", "6.0", "one accept or receive completes again and again"},
    {"send_zc", "6.0", "sending without a copy, for those who ask for it"},
    {"defer_taskrun", "6.1", "completions are worked off when the shard asks, in batches"},
    {"no_sqarray", "6.6", "submission without the index array"},
    {"buffer_inc", "6.12", "large receive buffers, used up bit by bit by many streams"},
    {"guard_regions", "6.13", "stack guards that need no mapping of their own"},
};

/* ---- Options and environment ---- */

static unsigned feature_by_name(const char *name, size_t length)
{
    if (length == 3 && strncmp(name, "all", 3) == 0)
        return TORC_FEATURE_ALL;
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        if (strlen(feature_texts[i].name) == length &&
            strncmp(feature_texts[i].name, name, length) == 0)
            return 1U << i;
    }
    return 0;
}

/* The features named in TORC_FORBID; a name that is none is told, and has no effect. */
static unsigned forbidden_by_environment(void)
{
    const char *list = getenv("TORC_FORBID");
    unsigned forbid = 0;

    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ",");
        unsigned feature = feature_by_name(list, length);

        if (feature == 0 && length > 0)
            torc__log("TORC_FORBID: no feature is called \"%.*s\"", (int)length, list);
        forbid |= feature;
        list += length + (list[length] == ',');
    }
    return forbid;
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

int torc__driver_read_options(const struct torc_options *options,
                              struct torc__driver_options *ret_options)
{
    uint32_t entries = or_default(options->entries, ENTRIES_DEFAULT);
    uint32_t least = 2 * entries > COMPLETION_ENTRIES_MIN ? 2 * entries : COMPLETION_ENTRIES_MIN;
    uint32_t completions = or_default(options->completion_entries, least);

    if (entries < ENTRIES_MIN || entries > ENTRIES_MAX)
        return -EINVAL;
    if (completions < COMPLETION_ENTRIES_MIN || completions < entries ||
        completions > 2 * ENTRIES_MAX)
        return -EINVAL;
    if (options->driver > TORC_DRIVER_URING || (options->forbid & ~(unsigned)TORC_FEATURE_ALL))
        return -EINVAL;
    if (!torc__pool_options_valid(options))
        return -EINVAL;
    ret_options->entries = entries;
    ret_options->completion_entries = completions;
    ret_options->forbid = options->forbid | forbidden_by_environment();
    return 0;
}

/* ---- Choice ---- */

static const char *explain(int error)
{
    switch (error) {
    case -ENOSYS:
        return "the kernel has no io_uring (Linux 5.6 or newer), or a seccomp filter hides it";
    case -EPERM:
    case -EACCES:
        return "io_uring is denied: see the sysctl kernel.io_uring_disabled, and seccomp filters";
    case -ENOMEM:
        return "no memory for the rings: raise RLIMIT_MEMLOCK (ulimit -l), or use fewer entries";
    case -EMFILE:
    case -ENFILE:
        return "no free descriptor: raise RLIMIT_NOFILE (ulimit -n)";
    default:
        return torc_strerror(error);
    }
}

static int create_quietly(const struct torc_options *options, struct torc__pool *pool,
                          struct torc__driver **ret_driver)
{
    struct torc__driver_options chosen;
    struct torc__uring *uring;
    int result = torc__driver_read_options(options, &chosen);

    if (result < 0)
        return result;
    uring = calloc(1, sizeof(*uring));
    if (uring == NULL)
        return -ENOMEM;
    uring->base.ops = &torc__uring_ops;
    uring->base.forbid = chosen.forbid;
    uring->base.pool = pool;
    result = torc__uring_ops.init(&uring->base, &chosen);
    if (result < 0) {
        free(uring);
        return result;
    }
    *ret_driver = &uring->base;
    return 0;
}

static bool environment_names_a_driver(void)
{
    const char *name = getenv("TORC_DRIVER");

    return name == NULL || *name == '\0' || strcmp(name, "auto") == 0 || strcmp(name, "uring") == 0;
}

int torc__driver_create(const struct torc_options *options, struct torc__pool *pool,
                        struct torc__driver **ret_driver)
{
    int result;

    if (!environment_names_a_driver()) {
        torc__log("TORC_DRIVER: there is no driver \"%s\"", getenv("TORC_DRIVER"));
        return -EINVAL;
    }
    result = create_quietly(options, pool, ret_driver);
    if (result < 0 && result != -EINVAL)
        torc__log("cannot start: %s", explain(result));
    return result;
}

void torc__driver_destroy(struct torc__driver *driver)
{
    if (driver == NULL)
        return;
    driver->ops->finish(driver);
    free(container_of(driver, struct torc__uring, base));
}

/* ---- Report ---- */

static const char *why_unused(unsigned feature, unsigned forbid, unsigned used)
{
    if (forbid & feature)
        return "forbidden by option or TORC_FORBID";
    if (feature == TORC_FEATURE_COOP_TASKRUN && (used & TORC_FEATURE_DEFER_TASKRUN))
        return "defer_taskrun does more";
    if (feature == TORC_FEATURE_DEFER_TASKRUN && (forbid & TORC_FEATURE_SINGLE_ISSUER))
        return "needs single_issuer, which is forbidden";
    if (feature == TORC_FEATURE_BUFFER_INC && (forbid & TORC_FEATURE_BUFFER_RING))
        return "needs buffer_ring, which is forbidden";
    return "this kernel does not have it";
}

static void report_features(const struct torc__driver *driver, unsigned available, unsigned forbid,
                            struct torc_driver_report *report)
{
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        const unsigned feature = 1U << i;
        struct torc_feature_report *line = &report->features[i];

        line->name = feature_texts[i].name;
        line->since = feature_texts[i].since;
        line->gives = feature_texts[i].gives;
        line->available = available & feature;
        line->used = driver != NULL && (driver->features & feature) &&
                     !(feature == TORC_FEATURE_COOP_TASKRUN &&
                       (driver->features & TORC_FEATURE_DEFER_TASKRUN));
        line->reason = line->used       ? ""
                       : driver == NULL ? "there is no driver"
                                        : why_unused(feature, forbid, driver->features);
    }
}

/* All that the kernel offers, forbidden or not. */
static unsigned available_features(const struct torc_options *options)
{
    struct torc_options everything = *options;
    struct torc__uring probe = {.base = {.ops = &torc__uring_ops}};
    struct torc__driver_options chosen;
    unsigned features;

    everything.forbid = 0;
    if (torc__driver_read_options(&everything, &chosen) < 0)
        return 0;
    chosen.forbid = 0;
    if (torc__uring_ops.init(&probe.base, &chosen) < 0)
        return 0;
    features = probe.base.features;
    torc__uring_ops.finish(&probe.base);
    return features;
}

int torc__driver_report(const struct torc_options *options, struct torc_driver_report *ret_report)
{
    struct torc__driver *driver = NULL;
    struct torc__driver_options chosen;
    int result;

    result = torc__driver_read_options(options, &chosen);
    if (result < 0)
        return result;
    memset(ret_report, 0, sizeof(*ret_report));
    result = create_quietly(options, NULL, &driver);
    ret_report->error = result;
    ret_report->driver = result < 0 ? "none" : driver->ops->name;
    ret_report->reason =
        result < 0 ? explain(result) : "io_uring works here, and is the fastest driver";
    if (driver != NULL) {
        const struct torc__uring *uring = container_of(driver, struct torc__uring, base);

        ret_report->entries = uring->ring.sq_entries;
        ret_report->completion_entries = uring->ring.cq_entries;
    }
    report_features(driver, available_features(options), chosen.forbid, ret_report);
    torc__driver_destroy(driver);
    return 0;
}

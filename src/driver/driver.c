/* SPDX-License-Identifier: MIT */
/*
 * driver.c - choose a driver, and say what was chosen and why.
 */
#include "driver/driver.h"
#include "base/compiler.h"
#include "base/environment.h"
#include "base/log.h"
#include "driver/epoll.h"
#include "driver/pool.h"
#include "driver/selftest.h"
#include "driver/sim/ambient.h"
#include "driver/uring.h"
#include <errno.h>
#include <stdatomic.h>
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
            torc__environment_wrong("TORC_FORBID", list, length, "a feature or \"all\"");
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
    if (options->driver > TORC_DRIVER_SIM || (options->forbid & ~(unsigned)TORC_FEATURE_ALL))
        return -EINVAL;
    if (!torc__pool_options_valid(options))
        return -EINVAL;
    ret_options->entries = entries;
    ret_options->completion_entries = completions;
    ret_options->forbid = options->forbid | forbidden_by_environment();
    return torc__uring_read_options(options, ret_options);
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
    case -EOPNOTSUPP:
        return "this kernel has a bug: a cancel does not end the operation it names";
    case -EMFILE:
    case -ENFILE:
        return "no free descriptor: raise RLIMIT_NOFILE (ulimit -n)";
    default:
        return torc_strerror(error);
    }
}

/* Whether `error` says that there are no rings here, and not that something else is wanting. */
static bool means_no_rings(int error)
{
    switch (error) {
    case -ENOSYS:
    case -EPERM:
    case -EACCES:
    case -ENOMEM:
    case -EOPNOTSUPP:
    case -EINVAL: /* Before Linux 5.6 the flags are not known that all rings are made with. */
        return true;
    default:
        return false;
    }
}

/* What is asked for: by the program, or, if it leaves that open, in the environment. */
static int read_choice(const struct torc_options *options, enum torc_driver_choice *ret_choice)
{
    static const char *const names[] = {
        [TORC_DRIVER_AUTO] = "auto",
        [TORC_DRIVER_URING] = "uring",
        [TORC_DRIVER_EPOLL] = "epoll",
        [TORC_DRIVER_SIM] = "sim",
        NULL,
    };
    int choice;

    if (torc__sim_world != NULL)
        *ret_choice = TORC_DRIVER_SIM; /* There is no way out of it. */
    else if (options->driver != TORC_DRIVER_AUTO)
        *ret_choice = options->driver;
    else if ((choice = torc__environment_word("TORC_DRIVER", names)) >= 0)
        *ret_choice = (enum torc_driver_choice)choice;
    else
        return choice;
    return 0;
}

static int create_one(const struct torc__driver_ops *ops,
                      const struct torc__driver_options *options, struct torc__pool *pool,
                      struct torc__driver **ret_driver)
{
    struct torc__driver *driver = calloc(1, ops->size);
    int result;

    if (driver == NULL)
        return -ENOMEM;
    driver->ops = ops;
    driver->forbid = options->forbid;
    driver->pool = pool;
    result = ops->init(driver, options);
    if (result < 0) {
        free(driver);
        return result;
    }
    *ret_driver = driver;
    return 0;
}

int torc__driver_enter(const struct torc_options *options, void **shard, bool *ret_entered)
{
    enum torc_driver_choice asked;

    *ret_entered = false;
    /* An environment that names no driver concerns those who go on to make one. */
    if (torc__sim_world != NULL || read_choice(options, &asked) < 0 || asked != TORC_DRIVER_SIM)
        return 0;
    *ret_entered = true;
    return torc__sim_enter(shard);
}

void torc__driver_leave(void)
{
    torc__sim_leave();
}

/* What came of choosing. */
struct choice {
    struct torc__driver *driver; /* NULL: none works */
    int ring_error;              /* why there is no ring, if one was tried */
    const char *reason;
};

/* Make the driver that is asked for. 0, or why there is none; the reason is in words, too. */
static int choose(const struct torc_options *options, const struct torc__driver_options *chosen,
                  struct torc__pool *pool, struct choice *ret_choice)
{
    enum torc_driver_choice asked;
    int result = read_choice(options, &asked);

    *ret_choice = (struct choice){.reason = "TORC_DRIVER in the environment names no driver"};
    if (result < 0)
        return result;
    if (asked == TORC_DRIVER_SIM) {
        ret_choice->reason = "a simulation is asked for, by option, TORC_DRIVER or torc_sim_run()";
        return create_one(&torc__sim_ops, chosen, pool, &ret_choice->driver);
    }
    if (asked != TORC_DRIVER_EPOLL) {
        result = create_one(&torc__uring_ops, chosen, pool, &ret_choice->driver);
        ret_choice->ring_error = result;
        ret_choice->reason =
            result < 0 ? explain(result) : "io_uring works here, and is the fastest driver";
        if (result == 0 || asked == TORC_DRIVER_URING || !means_no_rings(result))
            return result;
    } else {
        ret_choice->reason = "epoll is asked for, by option or TORC_DRIVER";
    }
    result = create_one(&torc__epoll_ops, chosen, pool, &ret_choice->driver);
    if (result < 0)
        ret_choice->reason = explain(result);
    return result;
}

/* Once per process: it has one kernel, and one set of filters. */
static void tell_of_fallback(int ring_error)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;

    if (!atomic_flag_test_and_set(&told))
        torc__log("using epoll, which is slower than io_uring: %s (torc doctor tells more; "
                  "TORC_DRIVER=epoll asks for it without this message)",
                  explain(ring_error));
}

int torc__driver_create(const struct torc_options *options, struct torc__pool *pool,
                        struct torc__driver **ret_driver)
{
    struct torc__driver_options chosen;
    struct choice choice;
    int result = torc__driver_read_options(options, &chosen);

    if (result < 0)
        return result;
    result = choose(options, &chosen, pool, &choice);
    if (result < 0) {
        torc__log("cannot start: %s", choice.reason);
        return result;
    }
    if (choice.ring_error < 0)
        tell_of_fallback(choice.ring_error);
    *ret_driver = choice.driver;
    return 0;
}

void torc__driver_destroy(struct torc__driver *driver)
{
    if (driver == NULL)
        return;
    driver->ops->finish(driver);
    free(driver);
}

void torc__driver_after_fork(void)
{
    torc__epoll_call_after_fork();
    torc__selftest_after_fork();
    torc__sim_after_fork();
}

/* ---- Report ---- */

static const char *why_unused(const struct torc__driver *driver, unsigned feature, unsigned forbid)
{
    const unsigned used = driver->features;
    const char *reason;

    if (driver->ops == &torc__sim_ops)
        return forbid & feature ? "forbidden by option or TORC_FORBID"
                                : "what is simulated has no need of it";
    if (driver->ops != &torc__uring_ops)
        return "a feature of rings, and the driver is epoll";
    reason = torc__uring_why_unused(container_of(driver, struct torc__uring, base), feature);
    if (forbid & feature)
        return "forbidden by option or TORC_FORBID";
    if (reason != NULL)
        return reason;
    if (feature == TORC_FEATURE_COOP_TASKRUN && (used & TORC_FEATURE_DEFER_TASKRUN))
        return "defer_taskrun does more";
    if (feature == TORC_FEATURE_DEFER_TASKRUN && (forbid & TORC_FEATURE_SINGLE_ISSUER))
        return "needs single_issuer, which is forbidden";
    if (feature == TORC_FEATURE_BUFFER_INC && (forbid & TORC_FEATURE_BUFFER_RING))
        return "needs buffer_ring, which is forbidden";
    return "this kernel does not have it";
}

/* What the kernel offers, forbidden or not, and of what that is not known. */
struct offer {
    unsigned available;
    unsigned unknown;
};

static void report_features(const struct torc__driver *driver, const struct offer *offer,
                            unsigned forbid, struct torc_driver_report *report)
{
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        const unsigned feature = 1U << i;
        struct torc_feature_report *line = &report->features[i];

        line->name = feature_texts[i].name;
        line->since = feature_texts[i].since;
        line->gives = feature_texts[i].gives;
        line->available = offer->available & feature;
        line->unknown = offer->unknown & feature;
        line->used = driver != NULL && (driver->features & feature) &&
                     !(feature == TORC_FEATURE_COOP_TASKRUN &&
                       (driver->features & TORC_FEATURE_DEFER_TASKRUN));
        line->reason = line->used       ? ""
                       : driver == NULL ? "there is no driver"
                                        : why_unused(driver, feature, forbid);
    }
}

static struct offer offer_of(struct torc__driver *driver)
{
    const struct torc__uring *uring = container_of(driver, struct torc__uring, base);

    return (struct offer){.available = uring->offered, .unknown = uring->unknown};
}

/*
 * A ring from which nothing was withheld tells it, be it one that is made for this: a small one,
 * since the memory that may be locked is the same that other rings are in.
 */
static struct offer find_offer(struct torc__driver *chosen)
{
    const struct torc__driver_options everything = {.entries = 4, .completion_entries = 8};
    struct torc__driver *driver;
    struct offer offer;

    if (chosen != NULL && chosen->ops == &torc__uring_ops && chosen->forbid == 0 &&
        !container_of(chosen, struct torc__uring, base)->sqpoll)
        return offer_of(chosen);
    if (create_one(&torc__uring_ops, &everything, NULL, &driver) < 0)
        return (struct offer){.unknown = TORC_FEATURE_ALL};
    offer = offer_of(driver);
    torc__driver_destroy(driver);
    return offer;
}

int torc__driver_report(const struct torc_options *options, struct torc_driver_report *ret_report)
{
    struct torc__driver_options chosen;
    struct choice choice;
    struct offer offer;
    bool entered;
    int result;

    result = torc__driver_read_options(options, &chosen);
    if (result < 0)
        return result;
    memset(ret_report, 0, sizeof(*ret_report));
    result = torc__driver_enter(options, NULL, &entered);
    if (result < 0)
        return result;
    ret_report->error = choose(options, &chosen, NULL, &choice);
    ret_report->reason = choice.reason;
    ret_report->driver = "none";
    if (choice.driver != NULL) {
        ret_report->driver = choice.driver->ops->name;
        ret_report->entries = choice.driver->entries;
        ret_report->completion_entries = choice.driver->completion_entries;
    }
    if (choice.driver != NULL && choice.driver->ops == &torc__uring_ops)
        torc__uring_report_options(container_of(choice.driver, struct torc__uring, base),
                                   ret_report);
    ret_report->self_test = torc__selftest_summary();
    offer = find_offer(choice.driver);
    report_features(choice.driver, &offer, chosen.forbid, ret_report);
    torc__driver_destroy(choice.driver);
    if (entered)
        torc__driver_leave();
    return 0;
}

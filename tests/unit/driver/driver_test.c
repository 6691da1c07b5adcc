/* SPDX-License-Identifier: MIT */
/*
 * driver_test.c - the choice of a driver: options, environment, failures, and no trace afterwards.
 */
#include "driver/driver.h"
#include "harness/deny.h"
#include "harness/harness.h"
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The environment of the tests chooses neither. */
static void forget_environment(void)
{
    unsetenv("TORC_FORBID");
    unsetenv("TORC_DRIVER");
}

/* ---- Options ---- */

static int read_options(struct torc_options options, struct torc__driver_options *ret_options)
{
    forget_environment();
    return torc__driver_read_options(&options, ret_options);
}

TEST(options_of_zero_are_the_defaults)
{
    struct torc__driver_options chosen;

    EXPECT_INT(read_options((struct torc_options){0}, &chosen), ==, 0);
    EXPECT_UINT(chosen.entries, ==, 1024);
    EXPECT_UINT(chosen.completion_entries, ==, 8192);
    EXPECT_UINT(chosen.forbid, ==, 0);
}

TEST(options_out_of_their_range_are_invalid)
{
    struct torc__driver_options chosen;

    EXPECT_INT(read_options((struct torc_options){.entries = 255}, &chosen), ==, -EINVAL);
    EXPECT_INT(read_options((struct torc_options){.entries = 256}, &chosen), ==, 0);
    EXPECT_INT(read_options((struct torc_options){.completion_entries = 8191}, &chosen), ==,
               -EINVAL);
    EXPECT_INT(read_options((struct torc_options){.completion_entries = 8192}, &chosen), ==, 0);
    EXPECT_INT(read_options((struct torc_options){.entries = 32768}, &chosen), ==, 0);
    EXPECT_INT(read_options((struct torc_options){.entries = 32769}, &chosen), ==, -EINVAL);
    EXPECT_INT(read_options((struct torc_options){.completion_entries = 65536}, &chosen), ==, 0);
    EXPECT_INT(read_options((struct torc_options){.completion_entries = 65537}, &chosen), ==,
               -EINVAL);
    EXPECT_INT(read_options((struct torc_options){.forbid = TORC_FEATURE_ALL}, &chosen), ==, 0);
    EXPECT_INT(read_options((struct torc_options){.forbid = TORC_FEATURE_ALL + 1}, &chosen), ==,
               -EINVAL);
    EXPECT_INT(read_options((struct torc_options){.driver = (enum torc_driver_choice)77}, &chosen),
               ==, -EINVAL);
}

TEST(the_environment_forbids_more_features_by_name)
{
    const struct torc_options options = {.forbid = TORC_FEATURE_EXT_ARG};
    const struct {
        const char *list;
        unsigned forbid;
    } cases[] = {
        {"", 0},
        {"msg_ring", TORC_FEATURE_MSG_RING},
        {"msg_ring,ring_fd", TORC_FEATURE_MSG_RING | TORC_FEATURE_RING_FD},
        {",,guard_regions,", TORC_FEATURE_GUARD_REGIONS},
        {"all", TORC_FEATURE_ALL},
        {"alle,msg,msg_ring_,MSG_RING", 0},
        {"nonsense,cqe_skip", TORC_FEATURE_CQE_SKIP},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct torc__driver_options chosen;

        setenv("TORC_FORBID", cases[i].list, 1);
        EXPECT_INT(torc__driver_read_options(&options, &chosen), ==, 0);
        EXPECT_UINT(chosen.forbid, ==, cases[i].forbid | TORC_FEATURE_EXT_ARG);
    }
}

/* ---- Failures ---- */

static int create_chosen(enum torc_driver_choice choice, const char *expected_name)
{
    const struct torc_options options = {.driver = choice};
    struct torc__driver *driver = NULL;
    int result = torc__driver_create(&options, NULL, &driver);

    EXPECT(result == 0 || driver == NULL);
    if (result == 0 && expected_name != NULL)
        EXPECT_STR(driver->ops->name, expected_name);
    torc__driver_destroy(driver);
    return result;
}

static int create(void)
{
    return create_chosen(TORC_DRIVER_AUTO, NULL);
}

/* From now on, in this process, io_uring_setup() fails. */
static bool deny_rings(int error)
{
    forget_environment();
    return harness_deny(SYS_io_uring_setup, error);
}

static void expect_nothing_used(const struct torc_driver_report *report)
{
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        EXPECT(!report->features[i].used);
        EXPECT(report->features[i].reason[0] != '\0');
    }
}

TEST(a_kernel_that_denies_rings_is_reported_to_who_insists_and_leaves_nothing)
{
    const struct torc_options options = {.driver = TORC_DRIVER_URING};
    struct torc_driver_report report;

    if (!deny_rings(EPERM))
        SKIP("seccomp filters are not to be had here: %s", strerror(errno));
    EXPECT_INT(create_chosen(TORC_DRIVER_URING, NULL), ==, -EPERM);
    EXPECT_INT(torc__driver_report(&options, &report), ==, 0);
    EXPECT_STR(report.driver, "none");
    EXPECT_INT(report.error, ==, -EPERM);
    EXPECT(strstr(report.reason, "denied") != NULL);
    expect_nothing_used(&report);
}

TEST(a_kernel_that_denies_rings_gives_epoll_to_who_leaves_it_open)
{
    const struct torc_options options = {0};
    struct torc_driver_report report;

    if (!deny_rings(EPERM))
        SKIP("seccomp filters are not to be had here: %s", strerror(errno));
    EXPECT_INT(create_chosen(TORC_DRIVER_AUTO, "epoll"), ==, 0);
    EXPECT_INT(torc__driver_report(&options, &report), ==, 0);
    EXPECT_STR(report.driver, "epoll");
    EXPECT_INT(report.error, ==, 0);
    EXPECT(strstr(report.reason, "denied") != NULL);
    EXPECT_UINT(report.entries, ==, 0);
    expect_nothing_used(&report);
}

static void create_where_there_are_no_rings(void)
{
    if (!deny_rings(ENOSYS) || create_chosen(TORC_DRIVER_URING, NULL) == -ENOSYS)
        raise(SIGUSR1); /* So that dying without a word is told from this. */
}

TEST(a_kernel_without_rings_is_told_to_the_operator)
{
    harness_expect_death(create_where_there_are_no_rings, SIGUSR1, "the kernel has no io_uring");
}

static void fall_back_ten_times(void)
{
    bool denied = deny_rings(ENOSYS);

    for (int i = 0; i < 10 && denied; i++)
        EXPECT_INT(create_chosen(TORC_DRIVER_AUTO, "epoll"), ==, 0);
    raise(SIGUSR1);
}

TEST(a_process_is_told_once_that_it_uses_epoll_why_and_what_to_do)
{
    struct harness_death death;
    const char *line;

    harness_watch_death(fall_back_ten_times, &death);
    EXPECT(WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGUSR1);
    line = strstr(death.text, "torc: using epoll");
    if (line == NULL)
        SKIP("seccomp filters are not to be had here");
    EXPECT(strstr(line, "the kernel has no io_uring") != NULL);
    EXPECT(strstr(line, "torc doctor") != NULL);
    EXPECT(strstr(line + 1, "torc: using epoll") == NULL);
}

TEST(want_of_locked_memory_gives_epoll)
{
    const struct rlimit none = {0, 0};

    forget_environment();
    EXPECT_INT(setrlimit(RLIMIT_MEMLOCK, &none), ==, 0);
    if (create_chosen(TORC_DRIVER_URING, NULL) == 0)
        SKIP("rings do not count as locked memory here (Linux 5.12), or the user may lock all");
    EXPECT_INT(create_chosen(TORC_DRIVER_AUTO, "epoll"), ==, 0);
}

TEST(a_kernel_without_memory_for_the_smallest_rings_gives_epoll)
{
    if (!deny_rings(ENOMEM))
        SKIP("seccomp filters are not to be had here: %s", strerror(errno));
    EXPECT_INT(create_chosen(TORC_DRIVER_URING, NULL), ==, -ENOMEM);
    EXPECT_INT(create_chosen(TORC_DRIVER_AUTO, "epoll"), ==, 0);
}

TEST(a_failure_that_is_no_denial_is_never_covered_up)
{
    if (!deny_rings(EMFILE))
        SKIP("seccomp filters are not to be had here: %s", strerror(errno));
    EXPECT_INT(create(), ==, -EMFILE);
    EXPECT_INT(create_chosen(TORC_DRIVER_EPOLL, "epoll"), ==, 0);
}

TEST(want_of_descriptors_is_an_error_and_leaves_nothing)
{
    struct rlimit old;
    const int lowest = dup(STDERR_FILENO); /* The next descriptor that is free. */

    close(lowest);
    forget_environment();
    EXPECT_INT(getrlimit(RLIMIT_NOFILE, &old), ==, 0);
    for (unsigned i = 0; i < 2; i++) { /* None at all; or one for the eventfd. */
        const struct rlimit few = {(rlim_t)lowest + i, old.rlim_max};

        EXPECT_INT(setrlimit(RLIMIT_NOFILE, &few), ==, 0);
        EXPECT_INT(create(), ==, -EMFILE);
    }
    EXPECT_INT(setrlimit(RLIMIT_NOFILE, &old), ==, 0);
    EXPECT_INT(create(), ==, 0);
}

TEST(a_driver_that_does_not_exist_is_invalid)
{
    forget_environment();
    setenv("TORC_DRIVER", "steam", 1);
    EXPECT_INT(create(), ==, -EINVAL);
    setenv("TORC_DRIVER", "uring", 1);
    EXPECT_INT(create(), ==, 0);
    setenv("TORC_DRIVER", "auto", 1);
    EXPECT_INT(create(), ==, 0);
    setenv("TORC_DRIVER", "", 1);
    EXPECT_INT(create(), ==, 0);
}

TEST(the_environment_chooses_only_what_the_program_leaves_open)
{
    forget_environment();
    EXPECT_INT(create_chosen(TORC_DRIVER_EPOLL, "epoll"), ==, 0);
    setenv("TORC_DRIVER", "epoll", 1);
    EXPECT_INT(create_chosen(TORC_DRIVER_AUTO, "epoll"), ==, 0);
    EXPECT_INT(create_chosen(TORC_DRIVER_URING, "uring"), ==, 0);
    setenv("TORC_DRIVER", "uring", 1);
    EXPECT_INT(create_chosen(TORC_DRIVER_AUTO, "uring"), ==, 0);
    EXPECT_INT(create_chosen(TORC_DRIVER_EPOLL, "epoll"), ==, 0);
    setenv("TORC_DRIVER", "steam", 1);
    EXPECT_INT(create_chosen(TORC_DRIVER_EPOLL, "epoll"), ==, 0);
}

/* ---- Report ---- */

TEST(the_report_agrees_with_the_driver_that_is_created)
{
    const struct torc_options options = {.entries = 512, .forbid = TORC_FEATURE_RING_FD};
    struct torc_driver_report report;
    struct torc__driver *driver;

    forget_environment();
    EXPECT_INT(torc__driver_report(&options, &report), ==, 0);
    EXPECT_INT(torc__driver_create(&options, NULL, &driver), ==, 0);

    EXPECT_INT(report.error, ==, 0);
    EXPECT_STR(report.driver, driver->ops->name);
    EXPECT_UINT(report.entries, ==, 512);
    EXPECT_UINT(report.completion_entries, ==, 8192);
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        const struct torc_feature_report *line = &report.features[i];

        EXPECT(!line->used || line->available);
        EXPECT(!line->used || (driver->features & (1U << i)));
        EXPECT_INT(line->used, ==, line->reason[0] == '\0');
    }
    EXPECT(!report.features[3].used);
    EXPECT(strstr(report.features[3].reason, "forbidden") != NULL);
    torc__driver_destroy(driver);
}

TEST(destroying_no_driver_does_nothing)
{
    torc__driver_destroy(NULL);
}

static void create_and_destroy(unsigned count)
{
    const struct torc_options options = {.entries = 256};
    struct torc__driver *driver;

    for (unsigned i = 0; i < count; i++) {
        EXPECT_INT(torc__driver_create(&options, NULL, &driver), ==, 0);
        (void)driver->ops->turn(driver, 1); /* So that the read for wake-ups is in flight. */
        torc__driver_destroy(driver);
    }
}

TEST(ten_thousand_drivers_come_and_go_and_leave_nothing)
{
    size_t used;

    forget_environment();
    create_and_destroy(10);
    used = mallinfo2().uordblks;
    create_and_destroy(harness_scaled(10000));
    EXPECT_UINT(mallinfo2().uordblks, ==, used);
}

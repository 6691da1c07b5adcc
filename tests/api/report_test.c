/* SPDX-License-Identifier: MIT */
/*
 * report_test.c - what was chosen and why: drivers, features, and kernels that deny everything.
 */
#include "harness/deny.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <torc/torc.h>
#include <unistd.h>

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int sleep_a_little(void *arg)
{
    (void)arg;
    harness_pass_kernel();
    return torc_sleep(100 * TORC_MICROSECOND);
}

FIBER_TEST(a_report_can_be_had_on_a_shard_and_leaves_nothing_behind)
{
    const unsigned fds = harness_open_fds();
    struct torc_driver_report report;

    for (int i = 0; i < 40; i++) { /* A thread has room for 16 registered rings. */
        EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
        EXPECT_INT(report.error, ==, 0);
    }
    EXPECT_UINT(harness_open_fds(), ==, fds);
    harness_pass_kernel();
}

TEST(features_have_different_names)
{
    struct torc_driver_report report;

    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        for (unsigned j = 0; j < i; j++)
            EXPECT(strcmp(report.features[i].name, report.features[j].name) != 0);
    }
}

TEST(features_are_forbidden_by_name_in_the_environment)
{
    struct torc_driver_report report;
    char list[64];

    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    snprintf(list, sizeof(list), "%s,%s", report.features[0].name, report.features[3].name);
    EXPECT_INT(setenv("TORC_FORBID", list, 1), ==, 0);
    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    EXPECT(!report.features[0].used && !report.features[3].used);
    EXPECT_INT(harness_run_result(NULL, sleep_a_little, NULL), ==, 0);
    EXPECT_INT(setenv("TORC_FORBID", "all", 1), ==, 0);
    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++)
        EXPECT(!report.features[i].used);
    EXPECT_INT(unsetenv("TORC_FORBID"), ==, 0);
}

TEST(every_single_feature_can_be_forbidden)
{
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        const struct torc_options options = {.forbid = 1u << i};
        struct torc_driver_report report;

        EXPECT_INT(harness_run_result(&options, sleep_a_little, NULL), ==, 0);
        EXPECT_INT(torc_driver_report(&options, &report), ==, 0);
        EXPECT_INT(report.error, ==, 0);
        if (strcmp(report.driver, "epoll") != 0) { /* Which has no queues in the kernel. */
            EXPECT_STR(report.driver, "uring");
            EXPECT_UINT(report.completion_entries, >=, 8192);
            EXPECT_UINT(report.entries, >=, 256);
        }
        EXPECT(!report.features[i].used);
        EXPECT(report.features[i].reason[0] != '\0');
        for (unsigned j = 0; j < TORC_FEATURE_COUNT; j++) {
            const struct torc_feature_report *feature = &report.features[j];

            EXPECT(feature->name[0] != '\0' && feature->since[0] != '\0' &&
                   feature->gives[0] != '\0');
            EXPECT_MSG(feature->available || !feature->used, "%s", feature->name);
            EXPECT_MSG(feature->used == (feature->reason[0] == '\0'), "%s: %s", feature->name,
                       feature->reason);
        }
    }
}

TEST(the_environment_may_name_the_driver_but_not_invent_one)
{
    static const char *const known[] = {"uring", "epoll", "auto", ""};

    for (int i = 0; i < 4; i++) {
        EXPECT_INT(setenv("TORC_DRIVER", known[i], 1), ==, 0);
        EXPECT_INT(torc_run(do_nothing, NULL, NULL), ==, 0);
    }
    EXPECT_INT(setenv("TORC_DRIVER", "nonsense", 1), ==, 0);
    EXPECT_INT(torc_run(do_nothing, NULL, NULL), ==, -EINVAL);
    EXPECT_INT(unsetenv("TORC_DRIVER"), ==, 0);
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;

    for (text = strstr(text, part); text != NULL; text = strstr(text + 1, part))
        count++;
    return count;
}

TEST(nonsense_in_the_environment_is_told_in_one_line_for_each_variable)
{
    static const char *const names[] = {"TORC_CHECK",   "TORC_FORBID",   "TORC_MIN_WAIT",
                                        "TORC_NAPI",    "TORC_OBSERVER", "TORC_SQPOLL",
                                        "TORC_STALL_MS"};
    const struct torc_options options = {.shards = 2};
    char text[4096] = "";
    char line[64];
    int saved;
    int file;

    if (harness_is_simulated())
        SKIP("stderr is not of the simulated host");
    saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    file = memfd_create("log", MFD_CLOEXEC);
    EXPECT_INT(fcntl(file, F_SETFL, O_APPEND), ==, 0); /* Or two shards may write to one place. */
    EXPECT_INT(dup2(file, STDERR_FILENO), ==, STDERR_FILENO);
    for (unsigned i = 0; i < 7; i++)
        EXPECT_INT(setenv(names[i], "nonsense", 1), ==, 0);
    EXPECT_INT(torc_run(do_nothing, NULL, &options), ==, 0);
    EXPECT_INT(dup2(saved, STDERR_FILENO), ==, STDERR_FILENO);
    EXPECT_INT(pread(file, text, sizeof(text) - 1, 0), >, 0);
    for (unsigned i = 0; i < 7; i++) {
        snprintf(line, sizeof(line), "torc: %s: \"nonsense\" is not a", names[i]);
        EXPECT_MSG(count_of(text, line) == 1, "%s: %s", line, text);
    }
    close(saved);
    close(file);
}

/* ---- Where io_uring is denied ---- */

static int deny_error;

static void deny(unsigned call)
{
    EXPECT_INT(unsetenv("TORC_DRIVER"), ==, 0);
    EXPECT(harness_deny(call, deny_error));
}

static void insist_on_rings(void)
{
    const struct torc_options options = {.driver = TORC_DRIVER_URING};
    struct torc_driver_report report;

    deny(__NR_io_uring_setup);
    EXPECT_INT(torc_run(do_nothing, NULL, &options), ==, -deny_error);
    EXPECT_INT(torc_driver_report(&options, &report), ==, 0);
    EXPECT_INT(report.error, ==, -deny_error);
    EXPECT_STR(report.driver, "none");
    EXPECT(report.reason[0] != '\0');
    _exit(7);
}

static const int denials[] = {EPERM, ENOSYS, EACCES, ENOMEM};

TEST(where_io_uring_is_denied_a_run_that_insists_on_it_fails_and_says_why)
{
    for (size_t i = 0; i < sizeof(denials) / sizeof(denials[0]); i++) {
        struct harness_death death;

        deny_error = denials[i];
        harness_watch_death(insist_on_rings, &death);
        EXPECT_MSG(WIFEXITED(death.status) && WEXITSTATUS(death.status) == 7, "0x%x: %s",
                   (unsigned)death.status, death.text);
        EXPECT_MSG(strstr(death.text, "torc: ") != NULL, "said: %s", death.text);
    }
}

/* Data goes to and fro, a file is read, a deadline passes: on whatever driver there is. */
static int use_the_driver(void *arg)
{
    struct torc_scope scope;
    char data[64];
    int fds[2];
    int file;

    (void)arg;
    harness_unix_pair(fds);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_INT(torc_send(fds[1], "hello", 5, 0), ==, 5);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, 5);
    file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    EXPECT_INT(torc_read(file, data, sizeof(data)), ==, sizeof(data));
    EXPECT_INT(torc_close(file), ==, 0);
    harness_close_pair(fds);
    return 0;
}

static unsigned deny_call;
static bool deny_leaves_rings; /* They work without this call, if less well. */

static void go_on_without_rings(void)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};
    struct torc_driver_report report;

    deny(deny_call);
    EXPECT_INT(torc_run(use_the_driver, NULL, &options), ==, 0);
    EXPECT_INT(torc_run(use_the_driver, NULL, NULL), ==, 0);
    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    EXPECT_INT(report.error, ==, 0);
    EXPECT_STR(report.driver, deny_leaves_rings ? "uring" : "epoll");
    _exit(7);
}

static void expect_to_go_on(unsigned call, bool leaves_rings)
{
    for (size_t i = 0; i < sizeof(denials) / sizeof(denials[0]); i++) {
        struct harness_death death;

        deny_call = call;
        deny_leaves_rings = leaves_rings;
        deny_error = denials[i];
        harness_watch_death(go_on_without_rings, &death);
        EXPECT_MSG(WIFEXITED(death.status) && WEXITSTATUS(death.status) == 7, "0x%x: %s",
                   (unsigned)death.status, death.text);
        EXPECT_MSG(count_of(death.text, "torc: using epoll") == !leaves_rings, "said: %s",
                   death.text);
    }
}

TEST(where_io_uring_is_denied_a_run_uses_epoll_and_says_so_once)
{
    NEEDS_THREADS();
    expect_to_go_on(__NR_io_uring_setup, false);
}

TEST(where_rings_can_be_made_but_not_entered_a_run_uses_epoll_and_says_so_once)
{
    NEEDS_THREADS();
    expect_to_go_on(__NR_io_uring_enter, false);
}

TEST(where_only_registering_is_denied_a_run_uses_rings)
{
    struct torc_driver_report report;

    NEEDS_THREADS();
    EXPECT_INT(setenv("TORC_DRIVER", "uring", 1), ==, 0);
    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    if (report.error != 0)
        SKIP("there are no rings here: %s", report.reason);
    expect_to_go_on(__NR_io_uring_register, true);
}

static void open_without_descriptors(void)
{
    harness_leave_fds(32);
    while (dup(STDERR_FILENO) >= 0)
        continue;
    EXPECT_INT(torc_run(do_nothing, NULL, NULL), ==, -EMFILE);
    _exit(7);
}

TEST(a_run_without_a_free_descriptor_fails_cleanly)
{
    struct harness_death death;

    harness_watch_death(open_without_descriptors, &death);
    EXPECT_MSG(WIFEXITED(death.status) && WEXITSTATUS(death.status) == 7, "0x%x: %s",
               (unsigned)death.status, death.text);
}

/* ---- Counters ---- */

static int wait_for_event(void *arg)
{
    return torc_event_wait(arg);
}

FIBER_TEST(counters_tell_of_the_run_queue_operations_in_flight_and_the_longest_round)
{
    struct torc_event event = {0};
    struct torc_stats stats;
    struct torc_scope scope;
    struct torc_op op;
    int fds[2];

    harness_unix_pair(fds);
    torc_stats(&stats);
    EXPECT_UINT(stats.ready, ==, 0);
    EXPECT_UINT(stats.ops_in_flight, ==, 0);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 10; i++)
        harness_spawn(&scope, wait_for_event, &event);
    torc_stats(&stats);
    EXPECT_UINT(stats.ready, ==, 10);
    harness_yield(1);
    torc_stats(&stats);
    EXPECT_UINT(stats.ready, ==, 0);

    io_uring_prep_poll_add(torc_op_prepare(&op), fds[0], POLLIN);
    torc_stats(&stats);
    EXPECT_UINT(stats.ops_in_flight, ==, 1);
    harness_hog_until(torc_now() + 5 * TORC_MILLISECOND);
    harness_put(fds[1], "x", 1);
    EXPECT_INT(torc_op_wait(&op), >, 0);
    torc_stats(&stats);
    EXPECT_UINT(stats.ops_in_flight, ==, 0);
    EXPECT_UINT(stats.round_ns_max, >=, 5 * TORC_MILLISECOND);
    torc_event_set(&event);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
}

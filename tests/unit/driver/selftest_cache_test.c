/* SPDX-License-Identifier: MIT */
/*
 * selftest_cache_test.c - what the self-test has found is remembered, told once, and acted upon.
 */
#include "unit/driver/rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define EVERYTHING ((1U << CHECK_COUNT) - 1)

/* A directory as XDG_RUNTIME_DIR, and rings counted on which checks are made. */
static char directory[] = "/tmp/torc-selftest-XXXXXX";
static char file[sizeof(directory) + sizeof("/torc-selftest")];
static unsigned rings_made;

static void count_ring(struct torc__ring *ring)
{
    (void)ring;
    rings_made++;
}

static void begin(void)
{
    unsetenv("TORC_SELFTEST");
    EXPECT(mkdtemp(directory) != NULL);
    (void)snprintf(file, sizeof(file), "%s/torc-selftest", directory);
    setenv("XDG_RUNTIME_DIR", directory, 1);
    torc__selftest_forget();
    torc__selftest_tamper = count_ring;
}

static void end(void)
{
    torc__selftest_tamper = NULL;
    (void)unlink(file);
    EXPECT_INT(rmdir(directory), ==, 0); /* So nothing else was left in it. */
}

/* Ask for two checks, as a process that has just begun would; how many it had to make. */
static unsigned ask_anew(void)
{
    const unsigned wanted = 1U << CHECK_CANCEL | 1U << CHECK_MULTISHOT_ACCEPT;

    torc__selftest_forget();
    rings_made = 0;
    EXPECT_UINT(torc__selftest_get(wanted, 0).broken & wanted, ==, 0);
    return rings_made;
}

TEST(a_process_makes_each_check_once)
{
    begin();
    unsetenv("XDG_RUNTIME_DIR");
    EXPECT_UINT(ask_anew(), ==, 2);
    EXPECT_STR(torc__selftest_summary(), "passed, just now");
    rings_made = 0;
    (void)torc__selftest_get(1U << CHECK_CANCEL, 0);
    EXPECT_UINT(rings_made, ==, 0);
    (void)torc__selftest_get(1U << CHECK_CANCEL | 1U << CHECK_MULTISHOT_RECEIVE, 0);
    EXPECT_UINT(rings_made, ==, 1);
    (void)torc__selftest_get(1U << CHECK_CANCEL, IORING_SETUP_COOP_TASKRUN);
    EXPECT_UINT(rings_made, ==, 2); /* Another kind of ring may have other bugs. */
    end();
}

TEST(the_next_process_reads_the_result_from_the_file)
{
    struct stat status;

    begin();
    EXPECT_UINT(ask_anew(), ==, 2);
    EXPECT_INT(stat(file, &status), ==, 0);
    EXPECT_UINT(status.st_mode & 077, ==, 0);
    EXPECT_UINT(ask_anew(), ==, 0);
    EXPECT_STR(torc__selftest_summary(), "passed, earlier since this boot");
    end();
}

/* Change the first byte of the file, which is one of the boot's. */
static void spoil_file(void)
{
    FILE *stream = fopen(file, "r+e");

    EXPECT(stream != NULL);
    EXPECT_INT(fputc('!', stream), ==, '!');
    EXPECT_INT(fclose(stream), ==, 0);
}

TEST(the_file_of_another_boot_and_files_that_others_may_write_are_not_believed)
{
    begin();
    EXPECT_UINT(ask_anew(), ==, 2);
    spoil_file();
    EXPECT_UINT(ask_anew(), ==, 2);
    EXPECT_INT(chmod(file, 0622), ==, 0);
    EXPECT_UINT(ask_anew(), ==, 2); /* And it is replaced. */
    EXPECT_UINT(ask_anew(), ==, 0);
    EXPECT_INT(truncate(file, 20), ==, 0);
    EXPECT_UINT(ask_anew(), ==, 2);
    EXPECT_INT(unlink(file), ==, 0);
    EXPECT_INT(symlink("/dev/zero", file), ==, 0);
    EXPECT_UINT(ask_anew(), ==, 2);
    EXPECT_UINT(ask_anew(), ==, 0); /* The link has been replaced, not followed. */
    end();
}

TEST(nothing_is_written_where_others_may_write)
{
    begin();
    EXPECT_INT(chmod(directory, 0777), ==, 0);
    EXPECT_UINT(ask_anew(), ==, 2);
    EXPECT_INT(access(file, F_OK), ==, -1);
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    EXPECT_UINT(ask_anew(), ==, 2);
    setenv("XDG_RUNTIME_DIR", "/nonexistent/directory", 1);
    EXPECT_UINT(ask_anew(), ==, 2);
    end();
}

TEST(the_environment_may_leave_the_test_out)
{
    begin();
    setenv("TORC_SELFTEST", "off", 1);
    EXPECT_UINT(ask_anew(), ==, 0);
    EXPECT_STR(torc__selftest_summary(), "left out (TORC_SELFTEST=off)");
    end();
}

/* ---- What follows from a bug ---- */

static int (*real_enter)(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                         const struct __kernel_timespec *timeout);

/* Names other buffers than those that were used, in the completions that it brings. */
static int misnaming_enter(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                           const struct __kernel_timespec *timeout)
{
    unsigned from = *ring->cq_tail;
    const int result = real_enter(ring, submit, wait, flags, timeout);

    for (; from != __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE); from++) {
        if (ring->cqes[from & ring->cq_mask].flags & IORING_CQE_F_BUFFER)
            ring->cqes[from & ring->cq_mask].flags ^= 1U << IORING_CQE_BUFFER_SHIFT;
    }
    return result;
}

static void misname(struct torc__ring *ring)
{
    real_enter = ring->enter;
    ring->enter = misnaming_enter;
}

static const struct torc_feature_report *line_of(const struct torc_driver_report *report,
                                                 const char *name)
{
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        if (strcmp(report->features[i].name, name) == 0)
            return &report->features[i];
    }
    FAIL("no feature is called %s", name);
}

TEST(a_feature_with_a_bug_is_not_used_and_the_log_and_the_report_say_so)
{
    const unsigned lost = TORC_FEATURE_BUFFER_RING | TORC_FEATURE_BUFFER_INC;
    static const struct torc_options options;
    const struct torc_feature_report *line;
    struct torc_driver_report report;
    struct log_capture capture;
    struct torc__uring uring;

    begin();
    unsetenv("TORC_FORBID");
    start(&uring, 0);
    if (!(uring.base.features & TORC_FEATURE_BUFFER_RING)) {
        stop(&uring);
        end();
        SKIP("this kernel has no rings of buffers");
    }
    stop(&uring);
    (void)unlink(file);
    torc__selftest_forget();
    begin_capture(&capture);
    torc__selftest_tamper = misname;
    start(&uring, 0);
    EXPECT_UINT(uring.base.features & lost, ==, 0);
    EXPECT_UINT(uring.base.features & TORC_FEATURE_MSG_RING, !=, 0);
    stop(&uring);
    EXPECT_INT(torc__driver_report(&options, &report), ==, 0);
    EXPECT_UINT(end_capture(&capture, "buffers are not used in the order"), ==, 1);

    line = line_of(&report, "buffer_ring");
    EXPECT(line->available && !line->used);
    EXPECT_STR(line->reason, "buffers are not used in the order in which they were given");
    line = line_of(&report, "buffer_inc");
    EXPECT(!line->used);
    EXPECT(!line->available || strstr(line->reason, "needs buffer_ring") != NULL);
    EXPECT(line_of(&report, "msg_ring")->used);
    EXPECT_STR(report.self_test, "bugs found, just now");

    torc__selftest_tamper = NULL; /* The next process believes the file. */
    torc__selftest_forget();
    start(&uring, 0);
    EXPECT_UINT(uring.base.features & lost, ==, 0);
    stop(&uring);
    end();
}

static int uncancelling_enter(struct torc__ring *ring, unsigned submit, unsigned wait,
                              unsigned flags, const struct __kernel_timespec *timeout)
{
    unsigned from = *ring->cq_tail;
    const int result = real_enter(ring, submit, wait, flags, timeout);

    for (; from != __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE); from++) {
        if (ring->cqes[from & ring->cq_mask].res == -ECANCELED)
            ring->cqes[from & ring->cq_mask].res = 0;
    }
    return result;
}

static void uncancel(struct torc__ring *ring)
{
    real_enter = ring->enter;
    ring->enter = uncancelling_enter;
}

TEST(a_kernel_that_cannot_cancel_is_refused)
{
    static const struct torc_options options = {.driver = TORC_DRIVER_URING,
                                                .forbid = TORC_FEATURE_ALL};
    struct torc_driver_report report;

    begin();
    torc__selftest_tamper = uncancel;
    EXPECT_INT(torc__driver_report(&options, &report), ==, 0);
    EXPECT_INT(report.error, ==, -EOPNOTSUPP);
    EXPECT(strstr(report.reason, "cancel") != NULL);
    end();
}

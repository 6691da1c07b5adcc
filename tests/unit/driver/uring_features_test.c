/* SPDX-License-Identifier: MIT */
/*
 * uring_features_test.c - the ladder: whatever is forbidden or scarce, the rest works.
 */
#include "unit/driver/rig.h"
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* One op, one wait that ends by time, one wake-up. */
static void expect_it_works(struct torc__uring *uring)
{
    struct noted_op ops[300];
    const uint64_t until_ns = torc__clock_now() + TORC_MILLISECOND;

    prepare_nops(uring, ops, 300);
    turn_until_ended(uring, ops, 300);
    expect_each_told_once(ops, 300, 0);
    while (torc__clock_now() < until_ns)
        turn(uring, until_ns);
    torc__uring_ops.wake(&uring->base, NULL);
    while (uring->base.stats.wakeups_received == 0)
        turn(uring, torc__clock_now() + 10 * NS_PER_SECOND);
}

TEST(every_set_of_forbidden_features_leaves_a_driver_that_works)
{
    for (unsigned forbid = 0; forbid <= TORC_FEATURE_ALL; forbid += harness_is_slow() ? 97 : 13) {
        struct torc__uring uring;

        start_sized(&uring, forbid, 256, 512);
        EXPECT_UINT(uring.base.features & forbid, ==, 0);
        expect_it_works(&uring);
        stop(&uring);
    }
}

/*
 * A set of flags that no kernel takes would be found out by trying as well, but cost the newest
 * features, which are given up first.
 */
TEST(no_set_of_forbidden_features_costs_others_that_the_kernel_has)
{
    const unsigned flags = TORC_FEATURE_NO_SQARRAY | TORC_FEATURE_DEFER_TASKRUN |
                           TORC_FEATURE_SINGLE_ISSUER | TORC_FEATURE_COOP_TASKRUN |
                           TORC_FEATURE_SUBMIT_ALL;
    struct torc__uring uring;
    unsigned all;

    start(&uring, 0);
    all = uring.base.features & flags;
    stop(&uring);
    for (unsigned forbid = flags; forbid > 0; forbid = (forbid - 1) & flags) {
        unsigned left = all & ~forbid;

        if (!(left & TORC_FEATURE_SINGLE_ISSUER))
            left &= ~(unsigned)TORC_FEATURE_DEFER_TASKRUN;
        start_sized(&uring, forbid, 256, 512);
        EXPECT_UINT(uring.base.features & flags, ==, left);
        stop(&uring);
    }
}

TEST(deferring_goes_with_a_single_issuer_only)
{
    struct torc__uring uring;

    start(&uring, TORC_FEATURE_SINGLE_ISSUER);
    EXPECT_UINT(uring.base.features & TORC_FEATURE_DEFER_TASKRUN, ==, 0);
    EXPECT_UINT(uring.ring.setup_flags & IORING_SETUP_DEFER_TASKRUN, ==, 0);
    stop(&uring);
}

TEST(the_flags_of_all_features_are_consistent)
{
    const unsigned all = torc__uring_setup_flags(TORC_FEATURE_ALL);
    const unsigned old = torc__uring_setup_flags(TORC_FEATURE_ALL & ~TORC_FEATURE_DEFER_TASKRUN);

    EXPECT(all & IORING_SETUP_DEFER_TASKRUN);
    EXPECT(all & IORING_SETUP_SINGLE_ISSUER);
    EXPECT(all & IORING_SETUP_TASKRUN_FLAG);
    EXPECT_UINT(all & IORING_SETUP_COOP_TASKRUN, ==, 0);
    EXPECT(old & IORING_SETUP_COOP_TASKRUN);
    EXPECT(old & IORING_SETUP_TASKRUN_FLAG);
    EXPECT_UINT(torc__uring_setup_flags(0), ==, 0);
}

TEST(what_is_forbidden_is_not_asked_of_the_kernel)
{
    struct torc__uring uring;

    start(&uring, TORC_FEATURE_ALL);
    EXPECT_UINT(uring.ring.setup_flags, ==, 0);
    EXPECT_UINT(uring.ring.enter_flags, ==, 0);
    EXPECT_INT(uring.ring.enter_fd, ==, uring.ring.fd);
    EXPECT_UINT(uring.base.features, ==, 0);
    stop(&uring);
}

static size_t address_space(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    size_t pages = 0;

    EXPECT(file != NULL);
    EXPECT_INT(fscanf(file, "%zu", &pages), ==, 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void set_address_limit(rlim_t bytes)
{
    const struct rlimit limit = {bytes, RLIM_INFINITY};

    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
}

/* Before 5.12 it is RLIMIT_MEMLOCK that is too small; address space serves as well. */
TEST(queues_that_memory_does_not_suffice_for_become_smaller)
{
    const struct torc__driver_options options = {.entries = 32768, .completion_entries = 65536};
    struct log_capture capture;
    struct torc__uring uring;
    int result;

    memset(&uring, 0, sizeof(uring));
    begin_capture(&capture);
    set_address_limit(address_space() + (1 << 20)); /* The queues would take 3 MiB. */
    result = torc__uring_climb(&uring, &options);
    set_address_limit(RLIM_INFINITY);
    EXPECT_UINT(end_capture(&capture, "no memory for a ring of 65536 completions"), ==, 1);
    EXPECT_INT(result, ==, 0);

    EXPECT_UINT(uring.ring.cq_entries, <, 65536);
    EXPECT_UINT(uring.ring.cq_entries, >=, 512);
    EXPECT_UINT(uring.ring.sq_entries, >=, 256);
    torc__ring_finish(&uring.ring);
}

TEST(no_memory_at_all_is_told)
{
    const struct torc__driver_options options = {.entries = 256, .completion_entries = 8192};
    struct torc__uring uring = {.base = {.ops = &torc__uring_ops}};
    int result;

    set_address_limit(address_space());
    result = torc__uring_ops.init(&uring.base, &options);
    set_address_limit(RLIM_INFINITY);
    EXPECT_INT(result, ==, -ENOMEM);
}

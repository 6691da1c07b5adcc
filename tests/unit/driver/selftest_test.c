/* SPDX-License-Identifier: MIT */
/*
 * selftest_test.c - each check of the self-test passes here, and fails on a kernel with the bug.
 *
 * The bugs are made by changing completions on their way out of the kernel.
 */
#include "unit/driver/rig.h"

#define ALL_CHECKS ((1U << CHECK_COUNT) - 1)

static struct {
    int (*real)(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                const struct __kernel_timespec *timeout);
    void (*alter)(struct io_uring_cqe *cqe);
    unsigned seen; /* Completions before this one have been altered. */
} bug;

static int altering_enter(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                          const struct __kernel_timespec *timeout)
{
    const int result = bug.real(ring, submit, wait, flags, timeout);
    const unsigned tail = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);

    for (; bug.seen != tail; bug.seen++)
        bug.alter(&ring->cqes[bug.seen & ring->cq_mask]);
    return result;
}

static void tamper(struct torc__ring *ring)
{
    bug.real = ring->enter;
    bug.seen = *ring->cq_tail;
    ring->enter = altering_enter;
}

static int impatient_enter(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                           const struct __kernel_timespec *timeout)
{
    return timeout != NULL ? -ETIME : bug.real(ring, submit, wait, flags, timeout);
}

static void tamper_with_timeouts(struct torc__ring *ring)
{
    bug.real = ring->enter;
    ring->enter = impatient_enter;
}

static unsigned run_with(enum selftest_check check, unsigned setup_flags)
{
    const struct torc__selftest result = torc__selftest_run(1U << check, setup_flags);

    EXPECT_UINT(result.tested, ==, 1U << check);
    EXPECT_UINT(result.setup_flags, ==, setup_flags);
    return result.broken;
}

static void expect_found(enum selftest_check check, void (*alter)(struct io_uring_cqe *cqe))
{
    struct torc__uring uring;

    start(&uring, 0);
    if (torc__selftest_wanted(uring.base.features) & (1U << check)) {
        EXPECT_UINT(run_with(check, uring.ring.setup_flags), ==, 0);
        bug.alter = alter;
        torc__selftest_tamper = alter != NULL ? tamper : tamper_with_timeouts;
        EXPECT_UINT(run_with(check, uring.ring.setup_flags), ==, 1U << check);
        torc__selftest_tamper = NULL;
    }
    stop(&uring);
}

TEST(a_kernel_that_works_passes_all_checks_on_every_rung)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct torc__selftest result;
        unsigned wanted;

        start(&uring, rungs[rung]);
        wanted = torc__selftest_wanted(uring.base.features);
        EXPECT_UINT(wanted & (1U << CHECK_CANCEL), !=, 0);
        for (unsigned i = 0; i < 20; i++) {
            result = torc__selftest_run(wanted, uring.ring.setup_flags);
            EXPECT_UINT(result.tested, ==, wanted);
            EXPECT_UINT(result.broken, ==, 0);
        }
        stop(&uring);
    }
}

static void forget_cancels(struct io_uring_cqe *cqe)
{
    if (cqe->res == -ECANCELED)
        cqe->res = 0;
}

TEST(cancels_that_do_not_cancel_are_found)
{
    expect_found(CHECK_CANCEL, forget_cancels);
}

TEST(timeouts_that_come_early_are_found)
{
    expect_found(CHECK_TIMEOUT, NULL);
}

static void fail_first(struct io_uring_cqe *cqe)
{
    if (cqe->user_data == 8)
        cqe->res = -EINVAL;
}

TEST(messages_to_other_rings_that_fail_are_found)
{
    expect_found(CHECK_MSG_RING, fail_first);
}

/* As in kernels where bundles named buffers by their numbers, not by their place in the ring. */
static void misname_buffers(struct io_uring_cqe *cqe)
{
    if (cqe->flags & IORING_CQE_F_BUFFER)
        cqe->flags ^= 1U << IORING_CQE_BUFFER_SHIFT;
}

TEST(buffers_used_out_of_order_are_found)
{
    expect_found(CHECK_BUFFER_ORDER, misname_buffers);
}

static void end_buffers_early(struct io_uring_cqe *cqe)
{
    cqe->flags &= ~IORING_CQE_F_BUF_MORE;
}

static void never_end_buffers(struct io_uring_cqe *cqe)
{
    cqe->flags |= IORING_CQE_F_BUF_MORE;
}

TEST(buffers_whose_end_is_told_wrongly_are_found)
{
    expect_found(CHECK_BUFFER_INC, end_buffers_early);
    expect_found(CHECK_BUFFER_INC, never_end_buffers);
}

static void lose_a_connection(struct io_uring_cqe *cqe)
{
    if (cqe->user_data == 8 && cqe->res >= 0) {
        close(cqe->res);
        cqe->res = -ECONNABORTED;
    }
}

TEST(connections_lost_by_a_multishot_accept_are_found)
{
    expect_found(CHECK_MULTISHOT_ACCEPT, lose_a_connection);
}

static void lose_a_byte(struct io_uring_cqe *cqe)
{
    if (cqe->res > 1)
        cqe->res--;
}

TEST(bytes_lost_by_a_multishot_receive_are_found)
{
    expect_found(CHECK_MULTISHOT_RECEIVE, lose_a_byte);
    expect_found(CHECK_MULTISHOT_RECEIVE, misname_buffers);
}

/* From none at all to enough for everything. */
TEST(want_of_descriptors_is_no_bug_of_the_kernel)
{
    struct torc__selftest result = {0};
    struct torc__uring uring;
    unsigned wanted;

    if (harness_is_valgrind())
        SKIP("valgrind keeps the limit of descriptors to itself");
    start(&uring, 0);
    wanted = torc__selftest_wanted(uring.base.features);
    for (unsigned count = 0; count < 8; count++) {
        harness_leave_fds(count);
        result = torc__selftest_run(wanted, uring.ring.setup_flags);
        EXPECT_UINT(result.broken, ==, 0);
    }
    EXPECT_UINT(result.tested, ==, wanted);
    stop(&uring);
}

TEST(each_feature_is_lost_by_its_own_checks_only)
{
    EXPECT_UINT(torc__selftest_wanted(TORC_FEATURE_ALL), ==, ALL_CHECKS);
    EXPECT_UINT(torc__selftest_wanted(0), ==, 1U << CHECK_CANCEL);
    EXPECT_UINT(torc__selftest_wanted(TORC_FEATURE_MULTISHOT), ==,
                1U << CHECK_CANCEL | 1U << CHECK_MULTISHOT_ACCEPT);
    EXPECT_UINT(torc__selftest_lost(0), ==, 0);
    EXPECT_UINT(torc__selftest_lost(1U << CHECK_CANCEL), ==, 0); /* That is more than a feature. */
    EXPECT_UINT(torc__selftest_lost(1U << CHECK_BUFFER_ORDER | 1U << CHECK_TIMEOUT), ==,
                TORC_FEATURE_BUFFER_RING | TORC_FEATURE_EXT_ARG);
    EXPECT(torc__selftest_reason(1U << CHECK_TIMEOUT, TORC_FEATURE_EXT_ARG) != NULL);
    EXPECT(torc__selftest_reason(1U << CHECK_TIMEOUT, TORC_FEATURE_MSG_RING) == NULL);
    EXPECT(torc__selftest_reason(0, TORC_FEATURE_EXT_ARG) == NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * ring_test.c - a bare ring: what the kernel was told, and what it says.
 */
#include "driver/ring.h"
#include "harness/harness.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Nobody else is likely to be that. */
#define LONELY_USER (1963140287u + (unsigned)getpid())

static int init(struct torc__ring *ring, unsigned entries, unsigned completions, unsigned flags)
{
    const struct torc__ring_shape shape = {
        .entries = entries, .completion_entries = completions, .setup_flags = flags};

    return torc__ring_init_patiently(ring, &shape);
}

static void submit_nop(struct torc__ring *ring, uint64_t user_data)
{
    struct io_uring_sqe *sqe = &ring->sqes[ring->sq_tail++ & ring->sq_mask];

    io_uring_prep_nop(sqe);
    sqe->user_data = user_data;
    __atomic_store_n(ring->sq_tail_shared, ring->sq_tail, __ATOMIC_RELEASE);
}

/* Through each slot several times, so that wrong offsets or masks would show. */
static void expect_nops_come_back(struct torc__ring *ring)
{
    for (uint64_t i = 0; i < 5 * ring->cq_entries; i++) {
        const struct io_uring_cqe *cqe;

        submit_nop(ring, i * 8);
        EXPECT_UINT(torc__ring_queued(ring), ==, 1);
        EXPECT_INT(ring->enter(ring, 1, 1, IORING_ENTER_GETEVENTS, NULL), ==, 1);
        EXPECT_UINT(torc__ring_queued(ring), ==, 0);
        EXPECT(torc__ring_has_completion(ring));
        cqe = &ring->cqes[*ring->cq_head & ring->cq_mask];
        EXPECT_UINT(cqe->user_data, ==, i * 8);
        EXPECT_INT(cqe->res, ==, 0);
        __atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
        EXPECT(!torc__ring_has_completion(ring));
    }
}

TEST(a_ring_carries_ops_with_any_flags_and_sizes)
{
    const unsigned flags[] = {
        0,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_NO_SQARRAY,
    };

    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        for (unsigned entries = 1; entries <= 256; entries *= 4) {
            struct torc__ring ring;
            int result = init(&ring, entries, 2 * entries, flags[i]);

            if (result == -EINVAL && flags[i] != 0)
                continue; /* This kernel is older than the flag. */
            EXPECT_INT(result, ==, 0);
            EXPECT_UINT(ring.sq_entries, ==, entries);
            EXPECT_UINT(ring.cq_entries, ==, 2 * entries);
            expect_nops_come_back(&ring);
            torc__ring_finish(&ring);
        }
    }
}

TEST(sizes_that_are_no_power_of_two_are_rounded_up)
{
    struct torc__ring ring;

    EXPECT_INT(init(&ring, 300, 5000, 0), ==, 0);
    EXPECT_UINT(ring.sq_entries, ==, 512);
    EXPECT_UINT(ring.cq_entries, ==, 8192);
    EXPECT_UINT(ring.sq_mask, ==, 511);
    EXPECT_UINT(ring.cq_mask, ==, 8191);
    torc__ring_finish(&ring);
}

/* What a user may lock is told by all of his processes, so this one becomes another user. */
static bool limit_memory(size_t size)
{
    const struct rlimit limit = {size, size};

    EXPECT_INT(setrlimit(RLIMIT_MEMLOCK, &limit), ==, 0);
    return setuid(LONELY_USER) == 0;
}

/* What waits for less would wait for nothing. */
static void expect_to_fit(unsigned entries, unsigned completions)
{
    const struct torc__ring_shape shape = {.entries = entries, .completion_entries = completions};
    struct torc__ring ring;

    if (!limit_memory(torc__ring_locked_size(&shape)))
        SKIP("only root can become a user without other processes");
    EXPECT_INT(torc__ring_init(&ring, &shape), ==, 0);
    torc__ring_finish(&ring);
}

TEST(a_ring_counts_as_no_more_locked_memory_than_is_reckoned)
{
    expect_to_fit(1024, 8192);
}

TEST(sizes_that_are_rounded_up_are_reckoned_so)
{
    expect_to_fit(300, 5000);
}

/* The kernel takes the rings apart after close(2) has returned. */
TEST(the_memory_of_rings_that_were_closed_is_waited_for)
{
    struct torc__ring ring;

    if (!limit_memory(1024 * 1024))
        SKIP("only root can become a user without other processes");
    for (unsigned i = 0; i < harness_scaled(300); i++) {
        EXPECT_INT(init(&ring, 1024, 8192, 0), ==, 0);
        torc__ring_finish(&ring);
    }
}

TEST(what_does_not_fit_into_the_memory_that_may_be_locked_is_refused_in_the_end)
{
    struct torc__ring held;
    struct torc__ring ring;
    int result;

    if (!limit_memory(256 * 1024))
        SKIP("only root can become a user without other processes");
    EXPECT_INT(init(&held, 64, 128, 0), ==, 0);
    result = init(&ring, 1024, 8192, 0);
    if (result == 0)
        torc__ring_finish(&ring); /* Kernels from 5.12 to 6.13 do not count it. */
    else
        EXPECT_INT(result, ==, -ENOMEM);
    torc__ring_finish(&held);
}

TEST(a_registered_ring_is_entered_by_its_index)
{
    struct torc__ring ring;

    EXPECT_INT(init(&ring, 16, 32, 0), ==, 0);
    if (torc__ring_register_fd(&ring) < 0) {
        torc__ring_finish(&ring);
        SKIP("this kernel can not register a ring's descriptor");
    }
    EXPECT(ring.enter_flags & IORING_ENTER_REGISTERED_RING);
    expect_nops_come_back(&ring);
    torc__ring_finish(&ring);
}

TEST(a_wait_ends_at_its_timeout)
{
    const struct __kernel_timespec timeout = {.tv_nsec = 1000000};
    struct torc__ring ring;

    EXPECT_INT(init(&ring, 16, 32, 0), ==, 0);
    if (ring.features & IORING_FEAT_EXT_ARG)
        EXPECT_INT(ring.enter(&ring, 0, 1, IORING_ENTER_GETEVENTS, &timeout), ==, -ETIME);
    torc__ring_finish(&ring);
}

static int refuse(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                  const struct __kernel_timespec *timeout)
{
    (void)ring;
    (void)submit;
    (void)wait;
    (void)flags;
    (void)timeout;
    return -EPERM;
}

TEST(a_ring_is_tried_and_is_as_new_if_it_works)
{
    const unsigned flags[] = {0, IORING_SETUP_SQPOLL};
    struct torc__ring ring;

    for (unsigned i = 0; i < 2; i++) {
        if (init(&ring, 16, 32, flags[i]) < 0)
            continue; /* A polling thread is not for everyone. */
        for (unsigned j = 0; j < 100; j++)
            EXPECT_INT(torc__ring_try(&ring), ==, 0);
        while (flags[i] != 0 && torc__ring_queued(&ring) > 0)
            sched_yield(); /* The polling thread says last what it has taken. */
        EXPECT_UINT(torc__ring_queued(&ring), ==, 0);
        EXPECT(!torc__ring_has_completion(&ring));
        ring.enter = refuse;
        EXPECT_INT(torc__ring_try(&ring), ==, -EPERM);
        torc__ring_finish(&ring);
    }
}

TEST(op_codes_are_known_to_the_kernel_or_not)
{
    struct torc__ring ring;

    EXPECT_INT(init(&ring, 16, 32, 0), ==, 0);
    EXPECT(torc__ring_has_opcode(&ring, IORING_OP_NOP));
    EXPECT(torc__ring_has_opcode(&ring, IORING_OP_RECV));
    EXPECT(!torc__ring_has_opcode(&ring, 255));
    torc__ring_finish(&ring);
}

TEST(what_the_kernel_refuses_is_its_error_and_leaves_nothing)
{
    const struct rlimit none = {0, 20000};
    const struct rlimit old = {1024, 20000};
    struct torc__ring ring;

    memset(&ring, 0xaa, sizeof(ring));
    EXPECT_INT(init(&ring, 0, 32, 0), ==, -EINVAL);
    EXPECT_INT(init(&ring, 16, 8, 0), ==, -EINVAL); /* Completions must not be fewer. */
    EXPECT_INT(init(&ring, 16, 32, 1U << 31), ==, -EINVAL);
    if (setrlimit(RLIMIT_NOFILE, &none) == 0) {
        EXPECT_INT(init(&ring, 16, 32, 0), ==, -EMFILE);
        EXPECT_INT(setrlimit(RLIMIT_NOFILE, &old), ==, 0);
    }
}

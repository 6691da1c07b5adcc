/* SPDX-License-Identifier: MIT */
/*
 * uring_wake_test.c - one ring ends the wait of another. Threads: see boundary_test.c.
 */
#include "harness/run.h"
#include "unit/driver/rig.h"
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SOON_NS (10 * NS_PER_SECOND) /* A wake-up takes microseconds; after this it is lost. */

static void wake(struct torc__uring *uring, struct torc__uring *from)
{
    torc__uring_ops.wake(&uring->base, from != NULL ? &from->base : NULL);
}

/* Wait until the driver has received `count` wake-ups in all. */
static void wait_for_wakeups(struct torc__uring *uring, uint64_t count)
{
    const uint64_t limit_ns = torc__clock_now() + SOON_NS;

    while (uring->base.stats.wakeups_received < count) {
        EXPECT(torc__clock_now() < limit_ns);
        turn(uring, limit_ns);
    }
}

struct side {
    struct torc__uring uring;
    struct side *other;
    unsigned forbid;
    unsigned rounds;
    bool begins;
    pthread_barrier_t *barrier;
};

/* A driver belongs to the thread that has made it, so each side makes its own. */
static void *play(void *arg)
{
    struct side *side = arg;

    start(&side->uring, side->forbid);
    pthread_barrier_wait(side->barrier);
    for (unsigned i = 1; i <= side->rounds; i++) {
        if (side->begins)
            wake(&side->other->uring, &side->uring);
        wait_for_wakeups(&side->uring, i);
        if (!side->begins)
            wake(&side->other->uring, &side->uring);
    }
    turn(&side->uring, DRIVER_NO_WAIT); /* What was queued last is still to be sent. */
    pthread_barrier_wait(side->barrier);
    stop(&side->uring);
    return NULL;
}

/* Let two drivers wake each other in turn, with these features forbidden. */
static void play_both(unsigned forbid_first, unsigned forbid_second)
{
    pthread_barrier_t barrier;
    struct side sides[2] = {{.forbid = forbid_first, .begins = true}, {.forbid = forbid_second}};
    pthread_t thread;

    pthread_barrier_init(&barrier, NULL, 2);
    for (unsigned i = 0; i < 2; i++) {
        sides[i].other = &sides[!i];
        sides[i].rounds = 2000;
        sides[i].barrier = &barrier;
    }
    thread = harness_thread(play, &sides[1]);
    play(&sides[0]);
    harness_join(thread);
    pthread_barrier_destroy(&barrier);
}

TEST(two_drivers_wake_each_other)
{
    NEEDS_THREADS();
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++)
        play_both(rungs[rung], rungs[rung]);
}

TEST(two_drivers_wake_each_other_with_completions_for_wakes_that_were_sent)
{
    NEEDS_THREADS();
    play_both(TORC_FEATURE_CQE_SKIP, TORC_FEATURE_CQE_SKIP);
}

TEST(drivers_with_different_features_wake_each_other)
{
    NEEDS_THREADS();
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        play_both(0, rungs[rung]);
        play_both(rungs[rung], 0);
    }
}

TEST(a_wake_that_the_other_ring_refuses_goes_to_its_eventfd)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct torc__uring broken = {.base = {.ops = &torc__uring_ops}};
        uint64_t count = 0;

        start(&uring, rungs[rung]);
        broken.base.features = uring.base.features;
        broken.ring.fd = -1;
        broken.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        wake(&broken, &uring);
        turn(&uring, DRIVER_NO_WAIT);
        turn(&uring, DRIVER_NO_WAIT);

        EXPECT_INT(read(broken.wake_fd, &count, sizeof(count)), ==, sizeof(count));
        EXPECT_UINT(count, ==, 1);
        close(broken.wake_fd);
        stop(&uring);
    }
}

static int refuse(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                  const struct __kernel_timespec *timeout)
{
    (void)ring;
    (void)submit;
    (void)wait;
    (void)flags;
    (void)timeout;
    return -EFAULT;
}

TEST(a_wake_that_can_not_be_submitted_goes_to_the_eventfd)
{
    struct torc__uring uring;
    struct torc__uring target;
    int (*real)(struct torc__ring * ring, unsigned submit, unsigned wait, unsigned flags,
                const struct __kernel_timespec *timeout);

    start(&uring, 0);
    start(&target, 0);
    real = uring.ring.enter;
    uring.ring.enter = refuse;
    wake(&target, &uring);
    turn(&uring, DRIVER_NO_WAIT);
    uring.ring.enter = real;

    wait_for_wakeups(&target, 1);
    stop(&target);
    stop(&uring);
}

/* ---- A wake-up that comes while room is made ---- */

static struct {
    unsigned times;
    int (*real)(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                const struct __kernel_timespec *timeout);
} busy;

static int busy_at_first(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                         const struct __kernel_timespec *timeout)
{
    if (submit == 0 || busy.times == 0)
        return busy.real(ring, submit, wait, flags, timeout);
    busy.times--;
    return -EBUSY;
}

/* The queue is full when the wait begins, and emptying it takes the wake-up out of the kernel. */
TEST(a_wake_up_among_completions_set_aside_to_make_room_ends_the_wait)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct torc__uring other;
        struct noted_op polls[16];
        int ends[2];

        start_sized(&uring, rungs[rung], 16, 8192);
        start(&other, rungs[rung]);
        if (!(uring.base.features & TORC_FEATURE_MSG_RING)) {
            stop(&other);
            stop(&uring);
            continue;
        }
        harness_pipe(ends);
        wake(&uring, &other);
        turn(&other, DRIVER_NO_WAIT);
        for (unsigned i = 0; i < 16; i++)
            io_uring_prep_poll_add(prepare(&uring, &polls[i]), ends[0], POLLIN);
        busy.real = uring.ring.enter;
        busy.times = 1;
        uring.ring.enter = busy_at_first;
        turn(&uring, torc__clock_now() + SOON_NS);
        EXPECT_UINT(busy.times, ==, 0);
        EXPECT_UINT(uring.base.stats.wakeups_received, ==, 1);
        EXPECT_UINT(uring.base.stats.waits, ==, 0);

        harness_put(ends[1], "x", 1);
        turn_until_ended(&uring, polls, 16);
        harness_close_pair(ends);
        stop(&other);
        stop(&uring);
    }
}

/* Closing a ring ends what is in flight later, and until then it may write to our memory. */
TEST(a_driver_has_finished_when_nothing_of_it_is_in_flight)
{
    for (unsigned rung = 0; rung < ARRAY_LENGTH(rungs); rung++) {
        struct torc__uring uring;
        struct noted_op op;

        start(&uring, rungs[rung]);
        prepare_nops(&uring, &op, 1);
        turn(&uring, torc__clock_now() + SOON_NS); /* With a timeout where a wait has none. */
        turn_until_ended(&uring, &op, 1);
        EXPECT_UINT(uring.own_pending, >, 0);
        stop(&uring);
        EXPECT_UINT(uring.own_pending, ==, 0);
    }
}

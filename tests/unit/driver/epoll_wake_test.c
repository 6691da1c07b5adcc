/* SPDX-License-Identifier: MIT */
/*
 * epoll_wake_test.c - other threads end the wait of an epoll driver.
 */
#include "unit/driver/epoll_rig.h"
#include <sched.h>

static void wake(struct torc__epoll *epoll)
{
    torc__epoll_ops.wake(&epoll->base, NULL);
}

static void wait_for_wakeups(struct torc__epoll *epoll, uint64_t count)
{
    const uint64_t limit_ns = torc__clock_now() + SOON_NS;

    while (epoll->base.stats.wakeups_received < count) {
        EXPECT(torc__clock_now() < limit_ns);
        turn(epoll, limit_ns);
    }
}

struct waker {
    struct torc__epoll *epoll;
    atomic_uint asked; /* How many wake-ups the waiting thread has asked for. */
    atomic_bool stopped;
};

static void *wake_when_asked(void *arg)
{
    struct waker *waker = arg;
    unsigned given = 0;

    while (!atomic_load(&waker->stopped)) {
        if (atomic_load(&waker->asked) == given) {
            sched_yield();
            continue;
        }
        given++;
        wake(waker->epoll);
    }
    return NULL;
}

TEST(a_thread_wakes_a_driver_that_waits)
{
    struct torc__epoll epoll;
    struct waker waker = {.epoll = &epoll};
    pthread_t thread;

    start(&epoll);
    thread = harness_thread(wake_when_asked, &waker);
    for (unsigned i = 1; i <= 1000; i++) {
        atomic_fetch_add(&waker.asked, 1);
        wait_for_wakeups(&epoll, i);
    }
    atomic_store(&waker.stopped, true);
    harness_join(thread);
    EXPECT_UINT(epoll.base.stats.wakeups_received, ==, 1000);
    stop(&epoll);
}

TEST(a_wake_outlasts_a_new_set_of_registrations)
{
    struct torc__epoll epoll;

    start(&epoll);
    epoll.stale = true;
    turn(&epoll, DRIVER_NO_WAIT);
    EXPECT(!epoll.stale);
    wake(&epoll);
    wait_for_wakeups(&epoll, 1);
    stop(&epoll);
}

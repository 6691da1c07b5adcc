/* SPDX-License-Identifier: MIT */
/*
 * storm_test.c - signals interrupt the shard's system calls all the time, and nothing is lost.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define SIGNALS_MAX 200000

static atomic_uint signals_seen;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals_seen, 1);
}

struct storm {
    pthread_t target;
    pthread_t thread;
    atomic_bool over;
};

static void *send_signals(void *arg)
{
    struct storm *storm = arg;

    for (unsigned i = 0; i < SIGNALS_MAX && !atomic_load(&storm->over); i++) {
        EXPECT_INT(pthread_kill(storm->target, SIGUSR1), ==, 0);
        sched_yield();
    }
    return NULL;
}

/* From now on signals come to this thread, as fast as another can send them. */
static void begin_storm(struct storm *storm)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = count_signal; /* Without SA_RESTART: calls end with EINTR. */
    EXPECT_INT(sigaction(SIGUSR1, &action, NULL), ==, 0);
    atomic_store(&signals_seen, 0);
    atomic_store(&storm->over, false);
    storm->target = pthread_self();
    storm->thread = harness_thread(send_signals, storm);
    while (atomic_load(&signals_seen) == 0)
        EXPECT_INT(torc_yield(), ==, 0);
}

static void end_storm(struct storm *storm)
{
    atomic_store(&storm->over, true);
    harness_join(storm->thread);
}

FIBER_TEST_WITH_THREADS(operations_survive_a_storm_of_signals)
{
    const unsigned rounds = harness_scaled(3000);
    struct storm storm;
    char data[100];
    int fds[2];

    harness_tcp_pair(fds);
    begin_storm(&storm);
    for (unsigned i = 0; i < rounds; i++) {
        harness_pattern_fill(data, sizeof(data), i);
        EXPECT_INT(torc_send(fds[0], data, sizeof(data), MSG_WAITALL), ==, sizeof(data));
        EXPECT_INT(torc_recv(fds[1], data, sizeof(data), MSG_WAITALL), ==, sizeof(data));
        harness_pattern_check(data, sizeof(data), i);
    }
    end_storm(&storm);
    EXPECT_UINT(harness_unread(fds[1]), ==, 0);
    harness_close_pair(fds);
}

struct sleeper {
    uint64_t due_ns;
    bool woke;
};

static int sleep_until_due(void *arg)
{
    struct sleeper *sleeper = arg;

    EXPECT_INT(torc_sleep_until(sleeper->due_ns), ==, 0);
    EXPECT_UINT(torc_now(), >=, sleeper->due_ns);
    sleeper->woke = true;
    return 0;
}

FIBER_TEST_WITH_THREADS(timers_and_deadlines_survive_a_storm_of_signals)
{
    struct sleeper sleepers[100] = {0};
    struct torc_scope scope;
    struct storm storm;

    begin_storm(&storm);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 100; i++) {
        sleepers[i].due_ns = torc_now() + i * TORC_MILLISECOND / 2;
        harness_spawn(&scope, sleep_until_due, &sleepers[i]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (unsigned i = 0; i < 20; i++) {
        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, TORC_MILLISECOND);
        EXPECT_INT(torc_sleep_until(TORC_FOREVER), ==, -ETIME);
        EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    }
    end_storm(&storm);
    for (unsigned i = 0; i < 100; i++)
        EXPECT(sleepers[i].woke);
}

/* ---- Wake-ups ---- */

struct courier {
    struct torc_message message;
    struct torc_mailbox *mailbox;
    struct torc_event arrived;
    atomic_uint wanted;
    unsigned received;
};

static void deliver(struct torc_message *message)
{
    struct courier *courier = (struct courier *)message;

    courier->received++;
    torc_event_set(&courier->arrived);
}

#define DELIVERIES 500u

static void *carry(void *arg)
{
    struct courier *courier = arg;

    for (unsigned sent = 0; sent < DELIVERIES; sent++) {
        while (atomic_load(&courier->wanted) == sent)
            sched_yield();
        EXPECT_INT(torc_mailbox_post(courier->mailbox, &courier->message), ==, 0);
    }
    return NULL;
}

/* Each message finds the shard asleep, or about to be. */
FIBER_TEST_WITH_THREADS(wake_ups_survive_a_storm_of_signals)
{
    struct courier courier = {.message.run = deliver, .mailbox = torc_mailbox_acquire()};
    struct storm storm;
    pthread_t thread = harness_thread(carry, &courier);

    begin_storm(&storm);
    for (unsigned i = 1; i <= DELIVERIES; i++) {
        torc_event_clear(&courier.arrived);
        atomic_store(&courier.wanted, i);
        EXPECT_INT(torc_event_wait(&courier.arrived), ==, 0);
        EXPECT_UINT(courier.received, ==, i);
    }
    end_storm(&storm);
    harness_join(thread);
    torc_mailbox_release(courier.mailbox);
}

/* SPDX-License-Identifier: MIT */
/*
 * busy_test.c - a shard whose run queue is never empty still serves everything else.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <stdatomic.h>
#include <torc/torc.h>
#include <unistd.h>

#define BUSY_FIBERS 200

static bool enough;
static uint64_t yields;

static int keep_busy(void *arg)
{
    const uint64_t turn_ns = *(const uint64_t *)arg;

    while (!enough) {
        if (turn_ns > 0)
            harness_hog_until(torc_now() + turn_ns);
        yields++;
        EXPECT_INT(torc_yield(), ==, 0);
    }
    return 0;
}

/* Run `body` in the company of fibers that never let the run queue become empty. */
static void run_busily(unsigned count, uint64_t turn_ns, torc_fiber_fn *body, void *arg)
{
    struct torc_scope scope;

    enough = false;
    yields = 0;
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < count; i++)
        harness_spawn(&scope, keep_busy, &turn_ns);
    EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_INT(body(arg), ==, 0);
    enough = true;
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(yields, >, count);
}

static int sleep_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        const uint64_t start = torc_now();

        EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
        EXPECT_UINT(torc_now() - start, >=, TORC_MILLISECOND);
    }
    return 0;
}

FIBER_TEST(timers_fire_while_fibers_keep_the_run_queue_busy)
{
    run_busily(1, 0, sleep_often, NULL);
    run_busily(BUSY_FIBERS, 0, sleep_often, NULL);
    run_busily(10, 100 * TORC_MICROSECOND, sleep_often, NULL);
}

struct crowd {
    uint64_t until_ns;
    uint64_t asleep; /* when the first wakes up */
    uint64_t awake;
    uint64_t waiting_most; /* for their turn, of those whose timer has fired ... */
    uint64_t rounds;       /* ... in so many rounds */
    struct torc_stats before;
};

static int wake_in_a_crowd(void *arg)
{
    struct crowd *crowd = arg;
    struct torc_stats now;

    if (crowd->awake == 0)
        crowd->asleep++;
    EXPECT_INT(torc_sleep_until(crowd->until_ns), ==, 0);
    if (crowd->awake == 0)
        torc_stats(&crowd->before);
    torc_stats(&now);
    harness_hog_until(torc_now() + 2 * TORC_MICROSECOND);
    if (now.timers_fired - crowd->before.timers_fired > crowd->awake + crowd->waiting_most) {
        crowd->waiting_most = now.timers_fired - crowd->before.timers_fired - crowd->awake;
        crowd->rounds = now.rounds - crowd->before.rounds;
    }
    crowd->awake++;
    return 0;
}

/* Returns whether all were asleep before the first woke up. */
static bool let_a_crowd_sleep(struct crowd *crowd, unsigned count, uint64_t duration_ns)
{
    struct torc_scope scope;

    *crowd = (struct crowd){.until_ns = torc_deadline(duration_ns)};
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < count; i++)
        harness_spawn(&scope, wake_in_a_crowd, crowd);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(crowd->awake, ==, count);
    return crowd->asleep == count;
}

/* Or what they wake would be out of the cache when it runs, and in front of what others wake. */
FIBER_TEST(timers_do_not_fill_the_run_queue_faster_than_it_is_emptied)
{
    const unsigned count = harness_scaled(5000);
    uint64_t duration_ns = 30 * TORC_MILLISECOND;
    struct crowd crowd;

    while (!let_a_crowd_sleep(&crowd, count, duration_ns))
        duration_ns *= 2;
    EXPECT_UINT(crowd.waiting_most, <=, 512 + 32 * crowd.rounds);
}

static uint64_t round_before; /* the last that began to run before the crowd was due */
static uint64_t rounds_late;

static int compute_in_long_turns(void *arg)
{
    const struct crowd *crowd = arg;
    struct torc_stats now;

    while (crowd->awake == 0) {
        torc_stats(&now);
        if (torc_now() < crowd->until_ns)
            round_before = now.rounds;
        rounds_late = now.rounds - round_before;
        harness_hog_until(torc_now() + 5 * TORC_MILLISECOND);
        EXPECT_INT(torc_yield(), ==, 0);
    }
    return 0;
}

/* It moves to the lowest level of the wheel before, in parts: in a long round, in many. */
FIBER_TEST(a_crowd_of_timers_is_not_late_by_many_long_rounds)
{
    const unsigned count = harness_scaled(6000);
    struct crowd crowd = {.until_ns = torc_deadline(500 * TORC_MILLISECOND)};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < count; i++)
        harness_spawn(&scope, wake_in_a_crowd, &crowd);
    while (crowd.asleep < count)
        EXPECT_INT(torc_yield(), ==, 0);
    harness_spawn(&scope, compute_in_long_turns, &crowd);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(rounds_late, <=, 4);
}

static int echo_often(void *arg)
{
    int fds[2];
    char byte = 'x';

    (void)arg;
    harness_tcp_pair(fds);
    for (int i = 0; i < 100; i++) {
        EXPECT_INT(torc_send(fds[0], &byte, 1, 0), ==, 1);
        EXPECT_INT(torc_recv(fds[1], &byte, 1, 0), ==, 1);
    }
    harness_close_pair(fds);
    return 0;
}

FIBER_TEST(operations_complete_while_fibers_keep_the_run_queue_busy)
{
    run_busily(1, 0, echo_often, NULL);
    run_busily(BUSY_FIBERS, 0, echo_often, NULL);
    run_busily(10, 100 * TORC_MICROSECOND, echo_often, NULL);
}

#define TICKS 100

struct ticker {
    struct torc_message message; /* Sent again as soon as it has been received. */
    struct torc_mailbox *mailbox;
    struct torc_event done;
    unsigned received;
    atomic_bool free;
};

static void tick(struct torc_message *message)
{
    struct ticker *ticker = (struct ticker *)message;

    if (++ticker->received == TICKS)
        torc_event_set(&ticker->done);
    atomic_store(&ticker->free, true);
}

static void *send_ticks(void *arg)
{
    struct ticker *ticker = arg;

    for (int i = 0; i < TICKS; i++) {
        while (!atomic_exchange(&ticker->free, false))
            continue;
        EXPECT_INT(torc_mailbox_post(ticker->mailbox, &ticker->message), ==, 0);
    }
    return NULL;
}

static int receive_ticks(void *arg)
{
    struct ticker ticker = {.mailbox = torc_mailbox_acquire(), .message.run = tick, .free = true};
    pthread_t thread = harness_thread(send_ticks, &ticker);

    (void)arg;
    EXPECT_INT(torc_event_wait(&ticker.done), ==, 0);
    harness_join(thread);
    torc_mailbox_release(ticker.mailbox);
    return 0;
}

FIBER_TEST_WITH_THREADS(messages_arrive_while_fibers_keep_the_run_queue_busy)
{
    run_busily(1, 0, receive_ticks, NULL);
    run_busily(BUSY_FIBERS, 0, receive_ticks, NULL);
}

static int everything(void *arg)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, sleep_often, arg);
    harness_spawn(&scope, echo_often, arg);
    return torc_scope_close(&scope);
}

/* The deadlines of scopes end waits, too, however busy the shard. */
static int time_out(void *arg)
{
    struct torc_scope scope;

    (void)arg;
    for (int i = 0; i < 20; i++) {
        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, TORC_MILLISECOND);
        EXPECT_INT(torc_sleep_until(TORC_FOREVER), ==, -ETIME);
        torc_scope_close(&scope);
    }
    return 0;
}

FIBER_TEST(everything_is_served_at_once_on_a_busy_shard)
{
    run_busily(BUSY_FIBERS, 5 * TORC_MICROSECOND, everything, NULL);
    run_busily(BUSY_FIBERS, 5 * TORC_MICROSECOND, time_out, NULL);
}

struct partner {
    struct torc_event mine;
    struct torc_event *other;
};

static int wake_other(void *arg)
{
    struct partner *partner = arg;

    while (!enough) {
        torc_event_set(partner->other);
        EXPECT_INT(torc_event_wait(&partner->mine), ==, 0);
        torc_event_clear(&partner->mine);
    }
    torc_event_set(partner->other);
    return 0;
}

FIBER_TEST(two_fibers_that_wake_each_other_for_ever_do_not_stop_the_timers)
{
    struct partner partners[2] = {0};
    struct torc_scope scope;

    partners[0].other = &partners[1].mine;
    partners[1].other = &partners[0].mine;
    enough = false;
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wake_other, &partners[0]);
    harness_spawn(&scope, wake_other, &partners[1]);
    EXPECT_INT(sleep_often(NULL), ==, 0);
    enough = true;
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

/* ---- Fairness ---- */

#define CONNECTIONS 1000
#define ROUNDS_EACH 50

struct connection {
    int fds[2];
    unsigned rounds;
};

static unsigned rounds_to_go;

static int play_ping_pong(void *arg)
{
    struct connection *connection = arg;
    char byte = 'x';

    for (; rounds_to_go > 0; rounds_to_go -= rounds_to_go > 0) {
        EXPECT_INT(torc_send(connection->fds[0], &byte, 1, 0), ==, 1);
        EXPECT_INT(torc_recv(connection->fds[1], &byte, 1, 0), ==, 1);
        connection->rounds++;
    }
    return 0;
}

/* A thousand, or as many as there may be descriptors for. */
static unsigned connection_count(void)
{
    const unsigned possible = (harness_raise_fd_limit() - 100) / 2;
    const unsigned wanted = harness_scaled(CONNECTIONS);

    return wanted < possible ? wanted : possible;
}

FIBER_TEST(of_many_connections_none_is_starved)
{
    static struct connection connections[CONNECTIONS];
    const unsigned count = connection_count();
    struct torc_scope scope;

    rounds_to_go = count * ROUNDS_EACH;
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < count; i++) {
        harness_tcp_pair(connections[i].fds);
        harness_spawn(&scope, play_ping_pong, &connections[i]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (unsigned i = 0; i < count; i++) {
        EXPECT_UINT(connections[i].rounds, >=, ROUNDS_EACH / 2);
        EXPECT_UINT(connections[i].rounds, <=, ROUNDS_EACH * 2);
        harness_close_pair(connections[i].fds);
    }
}

/* ---- Who has received much ---- */

#define MUCH   8192
#define PIECES 8
#define MANY   2048 /* more than a round runs, however few of them it takes to fill one */

static uint64_t rounds_now(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.rounds;
}

static uint64_t round_of_busy; /* in which one of the others has run last */
static uint64_t busy_turns;

static int note_rounds(void *arg)
{
    (void)arg;
    while (!enough) {
        round_of_busy = rounds_now();
        busy_turns++;
        EXPECT_INT(torc_yield(), ==, 0);
    }
    return 0;
}

/* Run `body` in the company of so many fibers that rounds always leave some. */
static void run_among_many(torc_fiber_fn *body, void *arg)
{
    struct torc_scope scope;

    enough = false;
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < MANY; i++)
        harness_spawn(&scope, note_rounds, NULL);
    EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_INT(body(arg), ==, 0);
    enough = true;
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

static int receive_much(void *arg)
{
    static char buffer[MUCH];
    const int *fds = arg;

    EXPECT_INT(torc_send_all(fds[0], buffer, MUCH, NULL), ==, 0);
    EXPECT_INT(torc_recv(fds[1], buffer, MUCH, 0), ==, MUCH);
    EXPECT_UINT(round_of_busy, <, rounds_now());
    return 0;
}

FIBER_TEST(whoever_has_received_much_goes_before_those_that_are_left)
{
    int fds[2];

    harness_unix_pair(fds);
    run_among_many(receive_much, fds);
    harness_close_pair(fds);
}

/* All is there from the beginning, so no receive has to wait. */
static int receive_again_and_again(void *arg)
{
    static char buffer[MUCH];
    const int *fds = arg;

    for (int i = 0; i < PIECES; i++)
        EXPECT_INT(torc_send_all(fds[0], buffer, MUCH, NULL), ==, 0);
    for (int i = 0; i < PIECES; i += 2) {
        const uint64_t before = busy_turns;

        EXPECT_INT(torc_recv(fds[1], buffer, MUCH, 0), ==, MUCH);
        EXPECT_INT(torc_recv(fds[1], buffer, MUCH, 0), ==, MUCH);
        EXPECT_UINT(busy_turns - before, >=, MANY);
    }
    return 0;
}

FIBER_TEST(whoever_receives_much_at_once_again_lets_all_others_run_in_between)
{
    int fds[2];

    harness_unix_pair(fds);
    run_among_many(receive_again_and_again, fds);
    harness_close_pair(fds);
}

/* ---- And an idle shard is idle ---- */

FIBER_TEST(an_idle_shard_does_not_turn)
{
    struct torc_stats before;
    struct torc_stats after;

    EXPECT_INT(torc_sleep(50 * TORC_MILLISECOND), ==, 0);
    torc_stats(&before);
    EXPECT_INT(torc_sleep(300 * TORC_MILLISECOND), ==, 0);
    torc_stats(&after);
    EXPECT_UINT(after.enters - before.enters, <=, 4);
    EXPECT_UINT(after.rounds - before.rounds, <=, 4);
}

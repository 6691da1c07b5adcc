/* SPDX-License-Identifier: MIT */
/*
 * rules_race_test.c - cancels and deadlines race with data and connections, to the byte.
 *
 * A peer on a thread of its own makes plain system calls, so that what happens really is
 * concurrent. All choices are random; the seed is printed when a test fails.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define CHUNK_MAX 20000
/* A race goes on until so many waits have been ended, or, where that seldom succeeds, begun. */
#define CANCELS_ENOUGH 200u
#define WAITS_ENOUGH   4000u

/* What the fibers of a race share. */
struct race {
    int fds[2];               /* The first is the fiber's, the second the peer's. */
    struct torc_scope *scope; /* Where the fiber waits just now, or NULL. */
    uint64_t position;        /* in the stream, on the fiber's side */
    unsigned waits;
    unsigned reasons;    /* waits that ended with one */
    atomic_bool is_over; /* for the peer, too: nothing more is to be sent */
    bool done;
};

static void spin(uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++)
        __asm__ volatile("" ::: "memory");
}

/* Cancels whatever is being waited for, after a few turns of the shard. */
static int cancel_at_random(void *arg)
{
    struct race *race = arg;

    while (!race->done) {
        harness_yield(1 + harness_random_below(6));
        if (race->scope != NULL)
            torc_scope_cancel(race->scope);
    }
    return 0;
}

static ssize_t wait_in_scope(struct race *race, ssize_t (*call)(struct race *))
{
    struct torc_scope scope;
    ssize_t result;

    torc_scope_open(&scope, 0);
    if (harness_random_below(2) == 0) {
        torc_scope_set_timeout(&scope, harness_random_below(50000));
    } else {
        race->scope = &scope;
    }
    result = call(race);
    race->scope = NULL;
    torc_scope_close(&scope);
    if (result == -ECANCELED || result == -ETIME) {
        race->reasons++;
        result = -ECANCELED;
    }
    race->waits++;
    if (race->position > 0 && race->reasons > 0 &&
        (race->reasons >= harness_scaled(CANCELS_ENOUGH) ||
         race->waits >= harness_scaled(WAITS_ENOUGH)))
        race->is_over = true;
    return result;
}

static void run_race(struct race *race, void *(*peer)(void *), void (*body)(struct race *))
{
    struct torc_scope scope;
    pthread_t thread;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, cancel_at_random, race);
    thread = harness_thread(peer, race);
    body(race);
    race->done = true;
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_join(thread);
    EXPECT_UINT(race->reasons, >, 0);
    EXPECT_UINT(race->position, >, 0);
}

/* ---- Receiving ---- */

static void *send_pattern(void *arg)
{
    const struct race *race = arg;
    static char data[CHUNK_MAX];
    uint64_t position = 0;

    while (!race->is_over) {
        const size_t size = 1 + harness_random_below(harness_random_below(4) ? 100 : CHUNK_MAX);

        harness_pattern_fill(data, size, position);
        harness_put(race->fds[1], data, size);
        position += size;
        spin(harness_random_below(20000));
    }
    shutdown(race->fds[1], SHUT_WR);
    return (void *)(uintptr_t)position;
}

static char received[CHUNK_MAX];

static ssize_t receive_some(struct race *race)
{
    const size_t size = 1 + harness_random_below(CHUNK_MAX);

    memset(received, 0, size);
    return torc_recv(race->fds[0], received, size, harness_random_below(2) ? MSG_WAITALL : 0);
}

static ssize_t receive_vector(struct race *race)
{
    const size_t first = harness_random_below(CHUNK_MAX / 2);
    const struct iovec vector[] = {{received, first},
                                   {received + first, 1 + harness_random_below(CHUNK_MAX / 2)}};

    return torc_readv(race->fds[0], vector, 2);
}

static ssize_t receive_by_op(struct race *race)
{
    struct torc_op op;

    io_uring_prep_recv(torc_op_prepare(&op), race->fds[0], received, sizeof(received), 0);
    if (harness_random_below(10) == 0)
        torc_op_cancel(&op);
    return torc_op_wait(&op);
}

static ssize_t receive_all(struct race *race)
{
    const size_t size = 1 + harness_random_below(CHUNK_MAX);
    size_t done = 0;
    const int result = torc_recv_all(race->fds[0], received, size, &done);

    EXPECT_MSG(result != 0 || done == size, "%zu of %zu", done, size);
    if (done > 0) {
        race->reasons += result == -ECANCELED || result == -ETIME;
        return (ssize_t)done;
    }
    return result == -ENODATA ? 0 : result;
}

static void receive_under_fire(struct race *race)
{
    ssize_t (*const calls[])(struct race *) = {receive_some, receive_vector, receive_all,
                                               receive_by_op};
    ssize_t result;

    while ((result = wait_in_scope(race, calls[harness_random_below(4)])) != 0) {
        if (result < 0) {
            EXPECT_INT(result, ==, -ECANCELED);
            continue;
        }
        harness_pattern_check(received, (size_t)result, race->position);
        race->position += (size_t)result;
    }
}

/* The peer's position is not compared: the end of the stream came after the last byte. */
FIBER_TEST_WITH_THREADS(rule_09_no_byte_is_lost_when_receiving_is_cancelled_at_random)
{
    struct race race = {.done = false};

    harness_tcp_pair(race.fds);
    run_race(&race, send_pattern, receive_under_fire);
    harness_close_pair(race.fds);
}

FIBER_TEST_WITH_THREADS(rule_09_no_byte_is_lost_between_unix_sockets_either)
{
    struct race race = {.done = false};

    harness_unix_pair(race.fds);
    run_race(&race, send_pattern, receive_under_fire);
    harness_close_pair(race.fds);
}

/* ---- Sending ---- */

static uint64_t peer_position;

static void *receive_pattern(void *arg)
{
    const struct race *race = arg;
    static char data[CHUNK_MAX];
    ssize_t count;

    peer_position = 0;
    while ((count = recv(race->fds[1], data, sizeof(data), 0)) > 0) {
        harness_pattern_check(data, (size_t)count, peer_position);
        peer_position += (size_t)count;
        spin(harness_random_below(20000));
    }
    EXPECT_INT(count, ==, 0);
    return NULL;
}

static char to_send[10 * CHUNK_MAX];

static ssize_t send_some(struct race *race)
{
    const size_t size = 1 + harness_random_below(sizeof(to_send));
    size_t done = 0;
    int result;

    harness_pattern_fill(to_send, size, race->position);
    if (harness_random_below(2) == 0)
        return torc_send(race->fds[0], to_send, size, harness_random_below(2) ? MSG_WAITALL : 0);
    result = torc_send_all(race->fds[0], to_send, size, &done);
    EXPECT_MSG(result != 0 || done == size, "%zu of %zu", done, size);
    race->reasons += done > 0 && result != 0;
    return done > 0 ? (ssize_t)done : result;
}

static void send_under_fire(struct race *race)
{
    while (!race->is_over) {
        const ssize_t result = wait_in_scope(race, send_some);

        if (result < 0) {
            EXPECT_INT(result, ==, -ECANCELED);
        } else {
            race->position += (size_t)result;
        }
    }
    EXPECT_INT(torc_shutdown(race->fds[0], SHUT_WR), ==, 0);
}

FIBER_TEST_WITH_THREADS(rule_09_the_peer_gets_exactly_what_cancelled_sends_report)
{
    const int small = 10000; /* So that most sends have to wait. */
    struct race race = {.done = false};

    harness_unix_pair(race.fds);
    EXPECT_INT(setsockopt(race.fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==, 0);
    run_race(&race, receive_pattern, send_under_fire);
    EXPECT_UINT(peer_position, ==, race.position);
    harness_close_pair(race.fds);

    race = (struct race){.done = false};
    harness_tcp_pair(race.fds);
    EXPECT_INT(setsockopt(race.fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==, 0);
    run_race(&race, receive_pattern, send_under_fire);
    EXPECT_UINT(peer_position, ==, race.position);
    harness_close_pair(race.fds);
}

/* ---- Accepting ---- */

#define CONNECTIONS 1000

static struct torc_address target;

static void *connect_many(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        const int fd = harness_dial(&target);

        harness_put(fd, &i, sizeof(i));
        close(fd);
        harness_hog_until(torc_now() + harness_random_below(300000));
    }
    return NULL;
}

static ssize_t accept_one(struct race *race)
{
    return torc_accept(race->fds[0], NULL);
}

static void accept_under_fire(struct race *race)
{
    while (race->position < CONNECTIONS) {
        const ssize_t result = wait_in_scope(race, accept_one);
        unsigned number;

        if (result < 0) {
            EXPECT_INT(result, ==, -ECANCELED);
            continue;
        }
        EXPECT_INT(torc_recv_all((int)result, &number, sizeof(number), NULL), ==, 0);
        EXPECT_UINT(number, ==, race->position);
        race->position++;
        torc_close((int)result);
    }
}

FIBER_TEST_WITH_THREADS(
    rule_09_no_connection_is_lost_or_leaked_when_accepting_is_cancelled_at_random)
{
    struct race race = {.done = false};

    race.fds[0] = harness_listener(&target);
    run_race(&race, connect_many, accept_under_fire);
    close(race.fds[0]);
}

/* ---- 10: what came before a deadline ---- */

/* One end of a pair of sockets, received from in one of several ways, by a deadline. */
struct late {
    int fd;
    ssize_t (*receive)(int fd);
    struct torc_scope *scope;
    bool done;
};

static ssize_t receive_one(int fd)
{
    char byte;

    return torc_recv(fd, &byte, 1, 0);
}

static ssize_t poll_and_receive(int fd)
{
    char byte;
    const int events = torc_poll(fd, POLLIN);

    return events < 0 ? events : recv(fd, &byte, 1, MSG_DONTWAIT);
}

static ssize_t read_stream(int fd)
{
    struct torc_stream stream;
    ssize_t count;
    char byte;

    torc_stream_open(&stream, dup(fd));
    count = torc_stream_read(&stream, &byte, 1);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
    return count;
}

static int receive_by_deadline(void *arg)
{
    struct late *late = arg;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    late->scope = &scope;
    EXPECT_INT(late->receive(late->fd), ==, 1);
    torc_scope_close(&scope);
    late->done = true;
    return 0;
}

/* The shard is busy: it has something to do in each turn. */
static void send_just_before_the_deadline(int fds[2], ssize_t (*receive)(int fd), unsigned turns)
{
    struct late late = {.fd = fds[0], .receive = receive};
    struct torc_scope scope;
    uint64_t deadline_ns;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_by_deadline, &late);
    for (unsigned i = 0; i < 4 + turns; i++)
        harness_pass_kernel();
    harness_put(fds[1], "x", 1);
    deadline_ns = torc_now() + TORC_MILLISECOND;
    torc_scope_set_deadline(late.scope, deadline_ns);
    harness_hog_until(deadline_ns + TORC_MILLISECOND);
    while (!late.done)
        harness_pass_kernel();
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

FIBER_TEST(rule_10_what_came_before_the_deadline_beats_it_on_a_busy_shard)
{
    ssize_t (*const calls[])(int fd) = {receive_one, poll_and_receive, read_stream};
    int fds[2];

    harness_unix_pair(fds);
    for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        for (unsigned turns = 0; turns < 8; turns++)
            send_just_before_the_deadline(fds, calls[i], turns);
    }
    harness_close_pair(fds);
}

/* ---- 12 and 30: thousands of waits at once ---- */

#define PAIRS_MAX 4500

struct crowd {
    unsigned pairs;
    uint64_t cancel_calls;
};

static int crowd_fds[PAIRS_MAX][2];
static char crowd_data[PAIRS_MAX][2][16];
static unsigned crowd_reasons;

static int receive_in_crowd(void *arg)
{
    const int *fd = arg;
    const size_t index = (size_t)(fd - &crowd_fds[0][0]);

    crowd_reasons +=
        torc_recv(*fd, crowd_data[index / 2][index % 2], sizeof(crowd_data[0][0]), 0) == -ECANCELED;
    return 0;
}

static int cancel_crowd(void *arg)
{
    struct crowd *crowd = arg;
    struct torc_scope scope;
    struct torc_stats before;
    struct torc_stats after;

    crowd_reasons = 0;
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < crowd->pairs; i++) {
        harness_unix_pair(crowd_fds[i]);
        harness_spawn(&scope, receive_in_crowd, &crowd_fds[i][0]);
        harness_spawn(&scope, receive_in_crowd, &crowd_fds[i][1]);
    }
    harness_pass_kernel();
    torc_stats(&before);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    torc_stats(&after);
    crowd->cancel_calls = after.enters - before.enters;
    EXPECT_UINT(crowd_reasons, ==, 2 * crowd->pairs);
    for (unsigned i = 0; i < crowd->pairs; i++)
        harness_close_pair(crowd_fds[i]);
    return 0;
}

/* As many pairs as there may be descriptors for. */
static unsigned crowd_size(void)
{
    const unsigned possible = (harness_raise_fd_limit() - 100) / 2;
    const unsigned wanted = harness_scaled(PAIRS_MAX);

    return wanted < possible ? wanted : possible;
}

TEST(rule_12_nine_thousand_cancels_go_through_the_smallest_ring)
{
    const struct torc_options options = {.entries = 256, .completion_entries = 8192};
    struct crowd crowd = {.pairs = crowd_size()};

    harness_run_with(&options, cancel_crowd, &crowd);
}

TEST(rule_30_cancelling_nine_thousand_waits_takes_few_system_calls)
{
    struct crowd crowd = {.pairs = crowd_size()};

    harness_run_with(NULL, cancel_crowd, &crowd);
    EXPECT_UINT(crowd.cancel_calls, <, crowd.pairs / 8 + 10);
}

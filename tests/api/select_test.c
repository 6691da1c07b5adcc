/* SPDX-License-Identifier: MIT */
/*
 * select_test.c - exactly one case is committed, none starves, and ops lose nothing.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <liburing.h>
#include <torc/torc.h>

/* ---- Commitment ---- */

FIBER_TEST(only_the_committed_case_has_an_effect)
{
    unsigned slots[2][1];
    struct torc_channel channels[2];
    unsigned values[2] = {0, 0};
    unsigned one = 1;
    int first;

    for (unsigned i = 0; i < 2; i++) {
        torc_channel_init(&channels[i], slots[i], sizeof(unsigned), 1);
        EXPECT_INT(torc_channel_send(&channels[i], &one), ==, 0);
    }
    first = torc_select(
        (struct torc_case[]){
            torc_case_receive(&channels[0], &values[0]),
            torc_case_receive(&channels[1], &values[1]),
        },
        2);
    EXPECT(first == 0 || first == 1);
    EXPECT_UINT(values[first], ==, 1);
    EXPECT_UINT(values[1 - first], ==, 0);
    EXPECT_UINT(torc_channel_count(&channels[first]), ==, 0);
    EXPECT_UINT(torc_channel_count(&channels[1 - first]), ==, 1);
}

FIBER_TEST(no_ready_case_starves)
{
    struct torc_event events[3] = {0};
    unsigned chosen[3] = {0};

    for (unsigned i = 0; i < 3; i++)
        torc_event_set(&events[i]);
    for (unsigned i = 0; i < 3000; i++) {
        int index = torc_select(
            (struct torc_case[]){
                torc_case_event(&events[0]),
                torc_case_event(&events[1]),
                torc_case_event(&events[2]),
            },
            3);

        EXPECT_INT(index, >=, 0);
        chosen[index]++;
    }
    for (unsigned i = 0; i < 3; i++)
        EXPECT_UINT(chosen[i], >, 500); /* The sequence is the same in every run. */
}

/* A fiber that selects between two receives, a send and an event. */
struct selector {
    struct torc_channel *in[2];
    struct torc_channel *out;
    struct torc_event *event;
    unsigned values[2];
    int index;
    int result;
};

static int select_once(void *arg)
{
    struct selector *self = arg;
    const unsigned sent = 1234;
    struct torc_case cases[] = {
        torc_case_receive(self->in[0], &self->values[0]),
        torc_case_receive(self->in[1], &self->values[1]),
        torc_case_send(self->out, &sent),
        torc_case_event(self->event),
    };

    self->index = torc_select(cases, 4);
    if (self->index >= 0)
        self->result = cases[self->index].result;
    return 0;
}

struct rig {
    struct torc_channel channels[3];
    struct torc_event event;
    struct selector selector;
    struct torc_scope scope;
};

static void rig_start(struct rig *rig)
{
    for (unsigned i = 0; i < 3; i++)
        torc_channel_init(&rig->channels[i], NULL, sizeof(unsigned), 0);
    rig->event = (struct torc_event){0};
    rig->selector = (struct selector){.in = {&rig->channels[0], &rig->channels[1]},
                                      .out = &rig->channels[2],
                                      .event = &rig->event,
                                      .index = 99,
                                      .result = 99};
    torc_scope_open(&rig->scope, 0);
    harness_spawn(&rig->scope, select_once, &rig->selector);
    torc_yield();
    EXPECT_INT(rig->selector.index, ==, 99);
}

/* Nobody waits any more: every other case has been left. */
static void rig_stop(struct rig *rig, int index, int result, int closed)
{
    EXPECT_INT(torc_scope_close(&rig->scope), ==, closed);
    EXPECT_INT(rig->selector.index, ==, index);
    EXPECT_INT(rig->selector.result, ==, result);
    for (unsigned i = 0; i < 3; i++)
        torc_channel_finish(&rig->channels[i]);
    torc_event_finish(&rig->event);
}

FIBER_TEST(whatever_comes_first_ends_the_wait_and_the_other_cases_are_left)
{
    struct rig rig;
    unsigned value = 5;

    rig_start(&rig);
    EXPECT_INT(torc_channel_try_send(&rig.channels[1], &value), ==, 0);
    EXPECT_INT(torc_channel_try_send(&rig.channels[0], &value), ==, -EAGAIN); /* Too late. */
    EXPECT_INT(torc_channel_try_receive(&rig.channels[2], &value), ==, -EAGAIN);
    torc_event_set(&rig.event);
    rig_stop(&rig, 1, 0, 0);
    EXPECT_UINT(rig.selector.values[1], ==, 5);
    EXPECT_UINT(rig.selector.values[0], ==, 0);

    rig_start(&rig);
    EXPECT_INT(torc_channel_try_receive(&rig.channels[2], &value), ==, 0);
    EXPECT_UINT(value, ==, 1234);
    rig_stop(&rig, 2, 0, 0);

    rig_start(&rig);
    torc_event_set(&rig.event);
    rig_stop(&rig, 3, 0, 0);

    rig_start(&rig);
    torc_channel_close(&rig.channels[0]);
    rig_stop(&rig, 0, -EPIPE, 0);
}

FIBER_TEST(a_cancelled_select_commits_nothing_unless_something_was_granted_before)
{
    struct rig rig;
    unsigned value = 5;

    rig_start(&rig);
    torc_scope_cancel(&rig.scope);
    EXPECT_INT(torc_channel_try_send(&rig.channels[0], &value), ==, -EAGAIN);
    rig_stop(&rig, -ECANCELED, 99, -ECANCELED);

    rig_start(&rig);
    EXPECT_INT(torc_channel_try_send(&rig.channels[0], &value), ==, 0);
    torc_scope_cancel(&rig.scope);
    rig_stop(&rig, 0, 0, -ECANCELED);
    EXPECT_UINT(rig.selector.values[0], ==, 5);
}

FIBER_TEST(two_selects_can_meet)
{
    struct rig rig;
    unsigned value = 5;
    struct torc_case cases[2];

    rig_start(&rig);
    cases[0] = torc_case_receive(&rig.channels[2], &value);
    cases[1] = torc_case_deadline(TORC_FOREVER);
    EXPECT_INT(torc_select(cases, 2), ==, 0);
    EXPECT_UINT(value, ==, 1234);
    rig_stop(&rig, 2, 0, 0);
}

/* ---- Deadlines, and no cases ---- */

FIBER_TEST(a_deadline_is_a_case)
{
    struct torc_event event = {0};
    struct torc_case cases[] = {
        torc_case_event(&event),
        torc_case_deadline(torc_deadline(TORC_MILLISECOND)),
    };

    EXPECT_INT(torc_select(cases, 2), ==, 1);
    EXPECT_INT(cases[1].result, ==, 0);
    EXPECT_INT(torc_select(cases, 2), ==, 1); /* It has passed, so it is ready. */
    cases[1] = torc_case_deadline(torc_deadline(3600 * TORC_SECOND));
    torc_event_set(&event);
    EXPECT_INT(torc_select(cases, 2), ==, 0);
    torc_event_finish(&event);
}

/* Neither of these fibers gives the loop a turn, in which it would read the clock. */
FIBER_TEST(a_deadline_passes_while_a_fiber_tries_again_and_again)
{
    struct torc_case one = torc_case_deadline(torc_deadline(TORC_MILLISECOND));
    int result;

    do
        result = torc_try_select(&one, 1);
    while (result == -EAGAIN);
    EXPECT_INT(result, ==, 0);
}

FIBER_TEST(a_deadline_passes_while_another_case_is_always_ready)
{
    struct torc_event event = {0};
    struct torc_case cases[] = {
        torc_case_event(&event),
        torc_case_deadline(torc_deadline(TORC_MILLISECOND)),
    };
    int chosen;

    torc_event_set(&event);
    do
        chosen = torc_select(cases, 2);
    while (chosen == 0);
    EXPECT_INT(chosen, ==, 1);
}

FIBER_TEST(zeroed_cases_are_never_ready)
{
    struct torc_event event = {0};
    struct torc_case cases[2] = {{0}, {0}};

    EXPECT_INT(torc_select(cases, 2), ==, -EINVAL);
    EXPECT_INT(torc_select(cases, 0), ==, -EINVAL);
    cases[1] = torc_case_event(&event);
    EXPECT_INT(torc_try_select(cases, 2), ==, -EAGAIN);
    torc_event_set(&event);
    EXPECT_INT(torc_try_select(cases, 2), ==, 1);
    EXPECT_INT(torc_select(cases, 2), ==, 1);
}

FIBER_TEST(a_select_in_a_cancelled_scope_commits_nothing)
{
    unsigned slots[1];
    struct torc_channel channel;
    struct torc_scope scope;
    unsigned value = 1;
    struct torc_case one;

    torc_channel_init(&channel, slots, sizeof(slots[0]), 1);
    EXPECT_INT(torc_channel_send(&channel, &value), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    one = torc_case_receive(&channel, &value);
    EXPECT_INT(torc_select(&one, 1), ==, -ECANCELED);
    EXPECT_UINT(torc_channel_count(&channel), ==, 1);
    EXPECT_INT(torc_try_select(&one, 1), ==, 0); /* try_ does not look at the reason. */
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
}

/* ---- The other channels ---- */

FIBER_TEST(queues_oneshots_broadcasts_and_latest_values_are_cases_too)
{
    struct torc_queue queue = {0};
    struct torc_queue_node node;
    struct torc_queue_node *popped = NULL;
    struct torc_oneshot oneshot;
    unsigned slots[3] = {0};
    struct torc_broadcast broadcast;
    struct torc_broadcast_reader reader;
    struct torc_latest latest;
    unsigned values[3] = {0};
    uint64_t version = 1;
    unsigned seven = 7;
    struct torc_case cases[4];

    torc_oneshot_init(&oneshot, &slots[0], sizeof(unsigned));
    torc_broadcast_init(&broadcast, &slots[1], sizeof(unsigned), 1);
    torc_broadcast_subscribe(&broadcast, &reader);
    torc_latest_init(&latest, &slots[2], sizeof(unsigned));
    cases[0] = torc_case_pop(&queue, &popped);
    cases[1] = torc_case_oneshot(&oneshot, &values[0]);
    cases[2] = torc_case_broadcast(&reader, &values[1]);
    cases[3] = torc_case_latest(&latest, &version, &values[2]);

    EXPECT_INT(torc_try_select(cases, 4), ==, -EAGAIN);
    EXPECT_INT(torc_queue_push(&queue, &node), ==, 0);
    EXPECT_INT(torc_select(cases, 4), ==, 0);
    EXPECT(popped == &node);
    EXPECT_INT(torc_oneshot_send(&oneshot, &seven), ==, 0);
    EXPECT_INT(torc_select(cases, 4), ==, 1);
    cases[1] = (struct torc_case){0}; /* It has been received. */
    EXPECT_INT(torc_broadcast_send(&broadcast, &seven), ==, 0);
    EXPECT_INT(torc_select(cases, 4), ==, 2);
    EXPECT_INT(torc_latest_set(&latest, &seven), ==, 0);
    EXPECT_INT(torc_select(cases, 4), ==, 3);
    EXPECT_UINT(version, ==, 2);
    for (unsigned i = 0; i < 3; i++)
        EXPECT_UINT(values[i], ==, 7);
}

/* ---- Operations ---- */

FIBER_TEST(an_op_that_loses_is_cancelled_and_waited_for)
{
    struct torc_event event = {0};
    struct torc_op op;
    char data[8];
    int fds[2];
    struct torc_case cases[2];

    harness_unix_pair(fds);
    torc_event_set(&event);
    io_uring_prep_recv(torc_op_prepare(&op), fds[0], data, sizeof(data), 0);
    cases[0] = torc_case_op(&op);
    cases[1] = torc_case_event(&event);
    EXPECT_INT(torc_try_select(cases, 2), ==, 1);
    EXPECT(!torc_op_done(&op)); /* Only a select that commits ends ops. */
    EXPECT_INT(torc_select(cases, 2), ==, 1);
    EXPECT(torc_op_done(&op));
    EXPECT_INT(torc_op_wait(&op), ==, -ECANCELED);
    harness_put(fds[1], "kept", 4);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, 4); /* Nothing was taken. */
    harness_close_pair(fds);
}

FIBER_TEST(an_op_that_completes_is_committed)
{
    struct torc_event event = {0};
    struct torc_op ops[2];
    char data[2][8];
    int fds[2][2];
    struct torc_case cases[3];

    for (unsigned i = 0; i < 2; i++) {
        harness_unix_pair(fds[i]);
        io_uring_prep_recv(torc_op_prepare(&ops[i]), fds[i][0], data[i], sizeof(data[i]), 0);
        cases[i] = torc_case_op(&ops[i]);
    }
    cases[2] = torc_case_event(&event);
    harness_put(fds[1][1], "won", 3);
    EXPECT_INT(torc_select(cases, 3), ==, 1);
    EXPECT_INT(cases[1].result, ==, 3);
    EXPECT_INT(torc_op_wait(&ops[1]), ==, 3);
    EXPECT_INT(torc_op_wait(&ops[0]), ==, -ECANCELED);
    torc_event_finish(&event);
    harness_close_pair(fds[0]);
    harness_close_pair(fds[1]);
}

FIBER_TEST(ops_of_a_cancelled_select_have_ended_when_it_returns)
{
    struct torc_event event = {0};
    struct torc_scope scope;
    struct torc_op op;
    char data[8];
    int fds[2];
    struct torc_case cases[2];

    harness_unix_pair(fds);
    for (int round = 0; round < 2; round++) { /* The reason comes during the wait, or before it. */
        torc_scope_open(&scope, 0);
        if (round == 0)
            torc_scope_set_timeout(&scope, TORC_MILLISECOND);
        io_uring_prep_recv(torc_op_prepare(&op), fds[0], data, sizeof(data), 0);
        if (round == 1)
            torc_scope_cancel(&scope);
        cases[0] = torc_case_op(&op);
        cases[1] = torc_case_event(&event);
        EXPECT_INT(torc_select(cases, 2), ==, round == 0 ? -ETIME : -ECANCELED);
        EXPECT(torc_op_done(&op));
        EXPECT_INT(torc_scope_close(&scope), ==, round == 0 ? -ETIME : -ECANCELED);
    }
    torc_event_finish(&event);
    harness_close_pair(fds);
}

FIBER_TEST(an_op_that_has_succeeded_is_committed_in_spite_of_a_reason)
{
    struct torc_event event = {0};
    struct torc_scope scope;
    struct torc_op op;
    char data[8];
    int fds[2];
    struct torc_case cases[2];

    harness_unix_pair(fds);
    harness_put(fds[1], "data", 4);
    torc_scope_open(&scope, 0);
    io_uring_prep_recv(torc_op_prepare(&op), fds[0], data, sizeof(data), 0);
    while (!torc_op_done(&op))
        torc_yield();
    torc_scope_cancel(&scope);
    torc_event_set(&event);
    cases[0] = torc_case_event(&event);
    cases[1] = torc_case_op(&op);
    EXPECT_INT(torc_select(cases, 2), ==, 1);
    EXPECT_INT(cases[1].result, ==, 4);
    EXPECT_INT(torc_select(cases, 1), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    harness_close_pair(fds);
}

/* ---- Both at once, at random ---- */

struct traffic {
    struct torc_channel *channel;
    int fd;
    unsigned by_channel;
    unsigned by_socket;
};

static int make_traffic(void *arg)
{
    struct traffic *traffic = arg;
    const unsigned count = harness_scaled(2000);

    for (unsigned i = 0; i < count; i++) {
        const char byte = 'x';

        if (harness_random_below(2) == 0) {
            EXPECT_INT(torc_channel_send(traffic->channel, &byte), ==, 0);
            traffic->by_channel++;
        } else {
            EXPECT_INT(torc_send(traffic->fd, &byte, 1, 0), ==, 1);
            traffic->by_socket++;
        }
        if (harness_random_below(4) == 0)
            torc_yield();
    }
    torc_channel_close(traffic->channel);
    return 0;
}

FIBER_TEST(nothing_is_lost_between_a_channel_and_a_socket)
{
    char slots[4];
    struct torc_channel channel;
    struct traffic sent = {.channel = &channel};
    struct traffic got = {0};
    struct torc_scope scope;
    int fds[2];
    bool open = true;

    harness_unix_pair(fds);
    sent.fd = fds[1];
    torc_channel_init(&channel, slots, 1, 4);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, make_traffic, &sent);
    while (open) {
        char from_channel;
        char from_socket[16];
        struct torc_op op;
        struct torc_case cases[2];
        int index;
        int count;

        io_uring_prep_recv(torc_op_prepare(&op), fds[0], from_socket, sizeof(from_socket), 0);
        cases[0] = torc_case_receive(&channel, &from_channel);
        cases[1] = torc_case_op(&op);
        index = torc_select(cases, 2);
        EXPECT_INT(index, >=, 0);
        if (index == 0) {
            open = cases[0].result == 0;
            got.by_channel += open;
        }
        count = torc_op_wait(&op); /* A loser may have received in spite of the cancel. */
        got.by_socket += count > 0 ? (unsigned)count : 0;
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(got.by_channel, ==, sent.by_channel);
    EXPECT_UINT(got.by_socket + harness_drain(fds[0]), ==, sent.by_socket);
    harness_close_pair(fds);
}

/* ---- Several shards ---- */

static uint64_t chosen_by_shard[2]; /* a bit for each choice between two */

static int choose_again_and_again(void *arg)
{
    struct torc_event event = {0};
    struct torc_case cases[] = {torc_case_event(&event), torc_case_event(&event)};
    uint64_t chosen = 0;

    (void)arg;
    torc_event_set(&event);
    for (unsigned i = 0; i < 64; i++)
        chosen = chosen << 1 | (uint64_t)torc_select(cases, 2);
    chosen_by_shard[torc_shard_index()] = chosen;
    return 0;
}

TEST(shards_do_not_all_choose_alike)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    NEEDS_THREADS();
    EXPECT_INT(harness_run_result(&options, choose_again_and_again, NULL), ==, 0);
    EXPECT(chosen_by_shard[0] != chosen_by_shard[1]);
}

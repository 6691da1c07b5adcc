/* SPDX-License-Identifier: MIT */
/*
 * select_shared_test.c - ends of shared channels among the cases of a select.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <torc/torc.h>

static struct torc_shared_channel *create(uint32_t capacity)
{
    struct torc_shared_channel *channel;

    EXPECT_INT(torc_shared_channel_create(capacity, sizeof(unsigned), &channel), ==, 0);
    return channel;
}

/* ---- On one shard ---- */

struct selector {
    struct torc_shared_channel *in;
    struct torc_shared_channel *out;
    struct torc_event *event;
    unsigned value;
    int index;
    int result;
};

static int select_once(void *arg)
{
    struct selector *self = arg;
    const unsigned sent = 1234;
    struct torc_case cases[] = {
        torc_case_shared_receive(self->in, &self->value),
        torc_case_shared_send(self->out, &sent),
        torc_case_event(self->event),
    };

    self->index = torc_select(cases, 3);
    if (self->index >= 0)
        self->result = cases[self->index].result;
    return 0;
}

struct rig {
    struct torc_event event;
    struct selector selector;
    struct torc_scope scope;
};

/* One channel is empty, the other full, and a selector waits for both. */
static void rig_start(struct rig *rig)
{
    const unsigned one = 1;

    *rig = (struct rig){.selector = {.in = create(1), .out = create(1), .index = 99}};
    rig->selector.event = &rig->event;
    EXPECT_INT(torc_shared_channel_try_send(rig->selector.out, &one), ==, 0);
    torc_scope_open(&rig->scope, 0);
    harness_spawn(&rig->scope, select_once, &rig->selector);
    torc_yield();
    EXPECT_INT(rig->selector.index, ==, 99);
}

static void rig_stop(struct rig *rig, int index, int result, int closed)
{
    EXPECT_INT(torc_scope_close(&rig->scope), ==, closed);
    EXPECT_INT(rig->selector.index, ==, index);
    EXPECT_INT(rig->selector.result, ==, result);
    torc_event_finish(&rig->event);
    torc_shared_channel_release(rig->selector.in);
    torc_shared_channel_release(rig->selector.out);
}

FIBER_TEST(a_shared_channel_ends_a_select_on_either_side)
{
    struct rig rig;
    unsigned value = 5;

    rig_start(&rig);
    EXPECT_INT(torc_shared_channel_try_send(rig.selector.in, &value), ==, 0);
    rig_stop(&rig, 0, 0, 0);
    EXPECT_UINT(rig.selector.value, ==, 5);

    rig_start(&rig);
    EXPECT_INT(torc_shared_channel_try_receive(rig.selector.out, &value), ==, 0);
    EXPECT_UINT(value, ==, 1);
    torc_yield();
    EXPECT_INT(torc_shared_channel_try_receive(rig.selector.out, &value), ==, 0);
    EXPECT_UINT(value, ==, 1234);
    rig_stop(&rig, 1, 0, 0);

    rig_start(&rig);
    torc_event_set(&rig.event);
    rig_stop(&rig, 2, 0, 0);

    rig_start(&rig);
    torc_shared_channel_close(rig.selector.in);
    rig_stop(&rig, 0, -EPIPE, 0);

    rig_start(&rig);
    torc_scope_cancel(&rig.scope);
    rig_stop(&rig, -ECANCELED, 0, -ECANCELED);
}

FIBER_TEST(a_select_that_is_woken_in_vain_waits_on)
{
    struct rig rig;
    unsigned value = 5;

    rig_start(&rig);
    EXPECT_INT(torc_shared_channel_try_send(rig.selector.in, &value), ==, 0);
    EXPECT_INT(torc_shared_channel_try_receive(rig.selector.in, &value), ==, 0); /* Faster. */
    harness_yield(3);
    EXPECT_INT(rig.selector.index, ==, 99);
    value = 6;
    EXPECT_INT(torc_shared_channel_try_send(rig.selector.in, &value), ==, 0);
    rig_stop(&rig, 0, 0, 0);
    EXPECT_UINT(rig.selector.value, ==, 6);
}

FIBER_TEST(a_select_that_takes_another_case_passes_its_wake_up_on)
{
    struct rig first;
    struct selector second;
    unsigned value = 5;

    rig_start(&first);
    second = first.selector;
    second.index = 99;
    second.event = &(struct torc_event){0};
    harness_spawn(&first.scope, select_once, &second);
    torc_yield();
    torc_event_set(&first.event); /* It is committed, */
    EXPECT_INT(torc_shared_channel_try_send(first.selector.in, &value), ==, 0); /* so not this. */
    rig_stop(&first, 2, 0, 0);
    EXPECT_INT(second.index, ==, 0);
    EXPECT_UINT(second.value, ==, 5);
}

FIBER_TEST(no_more_ends_of_shared_channels_than_there_is_room_for)
{
    struct torc_shared_channel *channel = create(1);
    struct torc_case cases[TORC_SELECT_SHARED_MAX + 1];
    unsigned value = 0;

    for (unsigned i = 0; i <= TORC_SELECT_SHARED_MAX; i++)
        cases[i] = torc_case_shared_receive(channel, &value);
    EXPECT_INT(torc_select(cases, TORC_SELECT_SHARED_MAX + 1), ==, -EINVAL);
    EXPECT_INT(torc_try_select(cases, TORC_SELECT_SHARED_MAX), ==, -EAGAIN);
    EXPECT_INT(torc_shared_channel_send(channel, &(unsigned){3}), ==, 0);
    EXPECT_INT(torc_select(cases, TORC_SELECT_SHARED_MAX), >=, 0);
    EXPECT_UINT(value, ==, 3);
    torc_shared_channel_release(channel);
}

FIBER_TEST(an_op_beside_a_shared_channel_is_cancelled_or_wins)
{
    struct torc_shared_channel *channel = create(1);
    unsigned value = 9;
    char data[8];
    int fds[2];

    harness_unix_pair(fds);
    for (int round = 0; round < 2; round++) {
        struct torc_op op;
        struct torc_case cases[2];

        io_uring_prep_recv(torc_op_prepare(&op), fds[0], data, sizeof(data), 0);
        cases[0] = torc_case_op(&op);
        cases[1] = torc_case_shared_receive(channel, &value);
        if (round == 0)
            EXPECT_INT(torc_shared_channel_send(channel, &value), ==, 0);
        else
            harness_put(fds[1], "data", 4);
        EXPECT_INT(torc_select(cases, 2), ==, 1 - round);
        EXPECT_INT(torc_op_wait(&op), ==, round == 0 ? -ECANCELED : 4);
    }
    harness_close_pair(fds);
    torc_shared_channel_release(channel);
}

/* ---- Between shards ---- */

struct exchange {
    struct torc_shared_channel *channels[2];
    atomic_uint sent;
    atomic_uint received;
    atomic_uint senders_left;
    unsigned count; /* of each sender */
};

static int send_by_select(void *arg)
{
    struct exchange *exchange = arg;

    for (unsigned i = 0; i < exchange->count; i++) {
        const unsigned one = 1;
        struct torc_case cases[] = {
            torc_case_shared_send(exchange->channels[0], &one),
            torc_case_shared_send(exchange->channels[1], &one),
        };

        EXPECT_INT(torc_select(cases, 2), >=, 0);
        atomic_fetch_add(&exchange->sent, 1);
    }
    if (atomic_fetch_sub(&exchange->senders_left, 1) == 1) {
        torc_shared_channel_close(exchange->channels[0]);
        torc_shared_channel_close(exchange->channels[1]);
    }
    return 0;
}

/* Receive from both until both are at their end; give up now and then. */
static int receive_by_select(void *arg)
{
    struct exchange *exchange = arg;
    unsigned value;
    struct torc_case cases[] = {
        torc_case_shared_receive(exchange->channels[0], &value),
        torc_case_shared_receive(exchange->channels[1], &value),
        {0},
    };
    unsigned open = 2;

    while (open > 0) {
        int index;

        cases[2] = harness_random_below(2) == 0
                       ? torc_case_deadline(torc_deadline(harness_random_below(20000)))
                       : (struct torc_case){0};
        index = torc_select(cases, 3);
        EXPECT_INT(index, >=, 0);
        if (index == 2)
            continue;
        if (cases[index].result == 0) {
            atomic_fetch_add(&exchange->received, value);
        } else {
            EXPECT_INT(cases[index].result, ==, -EPIPE);
            cases[index] = (struct torc_case){0};
            open--;
        }
    }
    return 0;
}

static int exchange_on_shard(void *arg)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 2; i++) {
        harness_spawn(&scope, send_by_select, arg);
        harness_spawn(&scope, receive_by_select, arg);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    return 0;
}

TEST(selects_on_two_shards_lose_nothing_and_forget_nobody)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};
    struct exchange exchange = {.count = harness_scaled(2000)};

    NEEDS_THREADS();
    exchange.channels[0] = create(1);
    exchange.channels[1] = create(2);
    atomic_store(&exchange.senders_left, 4);
    EXPECT_INT(torc_run(exchange_on_shard, &exchange, &options), ==, 0);
    EXPECT_UINT(atomic_load(&exchange.sent), ==, 4 * exchange.count);
    EXPECT_UINT(atomic_load(&exchange.received), ==, 4 * exchange.count);
    torc_shared_channel_release(exchange.channels[0]);
    torc_shared_channel_release(exchange.channels[1]);
}

/* SPDX-License-Identifier: MIT */
/*
 * channel_test.c - bounded channels, unbounded queues, one-shots.
 */
#include "harness/run.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <torc/torc.h>

/* ---- Bounded, and rendezvous ---- */

struct stream {
    struct torc_channel *channel;
    unsigned count;
    unsigned sent;
    unsigned received;
};

static int send_numbers(void *arg)
{
    struct stream *stream = arg;

    for (unsigned i = 0; i < stream->count; i++) {
        EXPECT_INT(torc_channel_send(stream->channel, &i), ==, 0);
        stream->sent++;
    }
    torc_channel_close(stream->channel);
    return 0;
}

static int receive_numbers(void *arg)
{
    struct stream *stream = arg;
    unsigned number;
    int result;

    while ((result = torc_channel_receive(stream->channel, &number)) == 0)
        EXPECT_UINT(number, ==, stream->received++);
    EXPECT_INT(result, ==, -EPIPE);
    return 0;
}

static void stream_through(uint32_t capacity, bool receiver_first)
{
    unsigned slots[16];
    struct torc_channel channel;
    struct stream stream = {.channel = &channel, .count = 1000};
    struct torc_scope scope;

    torc_channel_init(&channel, capacity > 0 ? slots : NULL, sizeof(slots[0]), capacity);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receiver_first ? receive_numbers : send_numbers, &stream);
    torc_yield();
    if (!receiver_first)
        EXPECT_UINT(stream.sent, ==, capacity); /* Then it waits. */
    harness_spawn(&scope, receiver_first ? send_numbers : receive_numbers, &stream);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(stream.received, ==, 1000);
    EXPECT(torc_channel_is_closed(&channel));
    EXPECT_UINT(torc_channel_count(&channel), ==, 0);
    torc_channel_finish(&channel);
}

FIBER_TEST(values_come_out_in_the_order_in_which_they_went_in)
{
    for (uint32_t capacity = 0; capacity <= 16; capacity = capacity * 2 + 1) {
        stream_through(capacity, false);
        stream_through(capacity, true);
    }
}

struct sender {
    struct torc_channel *channel;
    unsigned value;
    int result;
};

static int send_one(void *arg)
{
    struct sender *sender = arg;

    sender->result = torc_channel_send(sender->channel, &sender->value);
    return 0;
}

FIBER_TEST(a_rendezvous_ends_for_the_sender_when_its_value_is_taken)
{
    struct torc_channel channel;
    struct sender senders[2] = {{&channel, 10, 1}, {&channel, 11, 1}};
    struct torc_scope scope;
    unsigned value = 0;

    torc_channel_init(&channel, NULL, sizeof(unsigned), 0);
    EXPECT_INT(torc_channel_try_send(&channel, &value), ==, -EAGAIN);
    EXPECT_INT(torc_channel_try_receive(&channel, &value), ==, -EAGAIN);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_one, &senders[0]);
    harness_spawn(&scope, send_one, &senders[1]);
    harness_yield(2);
    EXPECT_INT(senders[0].result, ==, 1);
    EXPECT_INT(torc_channel_try_receive(&channel, &value), ==, 0);
    EXPECT_UINT(value, ==, 10);
    harness_yield(1);
    EXPECT_INT(senders[0].result, ==, 0);
    EXPECT_INT(senders[1].result, ==, 1);
    EXPECT_INT(torc_channel_receive(&channel, &value), ==, 0);
    EXPECT_UINT(value, ==, 11);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

FIBER_TEST(closing_wakes_senders_and_leaves_what_was_sent)
{
    unsigned slots[1];
    struct torc_channel channel;
    struct sender senders[2] = {{&channel, 1, 1}, {&channel, 2, 1}};
    struct torc_scope scope;
    unsigned value = 0;

    torc_channel_init(&channel, slots, sizeof(slots[0]), 1);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_one, &senders[0]);
    harness_spawn(&scope, send_one, &senders[1]);
    torc_yield();
    torc_channel_close(&channel);
    torc_channel_close(&channel);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(senders[0].result, ==, 0);
    EXPECT_INT(senders[1].result, ==, -EPIPE);
    EXPECT_INT(torc_channel_send(&channel, &value), ==, -EPIPE);
    EXPECT_INT(torc_channel_try_send(&channel, &value), ==, -EPIPE);
    EXPECT_INT(torc_channel_receive(&channel, &value), ==, 0);
    EXPECT_UINT(value, ==, 1);
    EXPECT_INT(torc_channel_receive(&channel, &value), ==, -EPIPE);
    EXPECT_INT(torc_channel_try_receive(&channel, &value), ==, -EPIPE);
}

struct receiver {
    struct torc_channel *channel;
    unsigned value;
    int result;
};

static int receive_one(void *arg)
{
    struct receiver *receiver = arg;

    receiver->result = torc_channel_receive(receiver->channel, &receiver->value);
    return 0;
}

FIBER_TEST(closing_wakes_all_receivers)
{
    struct torc_channel channel;
    struct receiver receivers[3] = {{&channel, 0, 1}, {&channel, 0, 1}, {&channel, 0, 1}};
    struct torc_scope scope;

    torc_channel_init(&channel, NULL, sizeof(unsigned), 0);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 3; i++)
        harness_spawn(&scope, receive_one, &receivers[i]);
    torc_yield();
    torc_channel_close(&channel);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (unsigned i = 0; i < 3; i++)
        EXPECT_INT(receivers[i].result, ==, -EPIPE);
}

FIBER_TEST(a_cancelled_sender_has_not_sent_and_a_cancelled_receiver_has_not_received)
{
    struct torc_channel channel;
    struct sender sender = {&channel, 5, 1};
    struct receiver receiver = {&channel, 0, 1};
    struct torc_scope scope;
    unsigned value;

    torc_channel_init(&channel, NULL, sizeof(unsigned), 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_one, &sender);
    torc_yield();
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(sender.result, ==, -ECANCELED);
    EXPECT_INT(torc_channel_try_receive(&channel, &value), ==, -EAGAIN);

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_one, &receiver);
    torc_yield();
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(receiver.result, ==, -ECANCELED);
    EXPECT_INT(torc_channel_try_send(&channel, &value), ==, -EAGAIN);
}

FIBER_TEST(a_value_that_was_handed_over_is_not_lost_to_a_cancel)
{
    struct torc_channel channel;
    struct receiver receiver = {&channel, 0, 1};
    struct torc_scope scope;
    unsigned value = 77;

    torc_channel_init(&channel, NULL, sizeof(unsigned), 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_one, &receiver);
    torc_yield();
    EXPECT_INT(torc_channel_try_send(&channel, &value), ==, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(receiver.result, ==, 0);
    EXPECT_UINT(receiver.value, ==, 77);
}

FIBER_TEST(sending_with_room_does_not_look_at_the_reason_but_receiving_does)
{
    unsigned slots[1];
    struct torc_channel channel;
    struct torc_scope scope;
    unsigned value = 3;

    torc_channel_init(&channel, slots, sizeof(slots[0]), 1);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_channel_send(&channel, &value), ==, 0);
    EXPECT_INT(torc_channel_send(&channel, &value), ==, -ECANCELED);
    EXPECT_INT(torc_channel_receive(&channel, &value), ==, -ECANCELED);
    EXPECT_INT(torc_channel_try_receive(&channel, &value), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
}

FIBER_TEST(elements_may_have_any_size_and_none)
{
    char slots[3][7];
    struct torc_channel channel;
    char out[7];

    torc_channel_init(&channel, slots, 7, 3);
    EXPECT_INT(torc_channel_send(&channel, "sixsix"), ==, 0);
    EXPECT_INT(torc_channel_send(&channel, "seven!"), ==, 0);
    EXPECT_UINT(torc_channel_count(&channel), ==, 2);
    EXPECT_INT(torc_channel_receive(&channel, out), ==, 0);
    EXPECT_STR(out, "sixsix");
    EXPECT_INT(torc_channel_receive(&channel, out), ==, 0);
    EXPECT_STR(out, "seven!");

    torc_channel_init(&channel, NULL, 0, 2);
    EXPECT_INT(torc_channel_try_send(&channel, NULL), ==, 0);
    EXPECT_INT(torc_channel_try_send(&channel, NULL), ==, 0);
    EXPECT_INT(torc_channel_try_send(&channel, NULL), ==, -EAGAIN);
    EXPECT_INT(torc_channel_try_receive(&channel, NULL), ==, 0);
}

static void finish_waited_for(void)
{
    static struct torc_channel channel;
    static struct receiver receiver = {&channel, 0, 1};

    torc_channel_init(&channel, NULL, sizeof(unsigned), 0);
    harness_spawn(NULL, receive_one, &receiver);
    torc_yield();
    torc_channel_finish(&channel);
}

TEST(finishing_a_channel_that_is_waited_for_aborts)
{
    harness_expect_fiber_death(finish_waited_for, SIGABRT, "torc__waiters_empty");
}

/* ---- Queue ---- */

struct letter {
    struct torc_queue_node node;
    unsigned number;
};

static struct letter *letter_of(struct torc_queue_node *node)
{
    return (struct letter *)(void *)node;
}

static int pop_all(void *arg)
{
    struct torc_queue *queue = arg;
    struct torc_queue_node *node;
    unsigned number = 0;
    int result;

    while ((result = torc_queue_pop(queue, &node)) == 0)
        EXPECT_UINT(letter_of(node)->number, ==, number++);
    EXPECT_INT(result, ==, -EPIPE);
    EXPECT_UINT(number, ==, 20);
    return 0;
}

FIBER_TEST(a_queue_takes_everything_and_gives_it_in_order)
{
    struct torc_queue queue = {0};
    struct letter letters[20];
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < 20; i++) {
        letters[i].number = i;
        if (i == 10) { /* The rest goes to a receiver that waits. */
            harness_spawn(&scope, pop_all, &queue);
            harness_yield(2);
            EXPECT_UINT(torc_queue_count(&queue), ==, 0);
        }
        EXPECT_INT(torc_queue_push(&queue, &letters[i].node), ==, 0);
    }
    torc_queue_close(&queue);
    EXPECT_INT(torc_queue_push(&queue, &letters[0].node), ==, -EPIPE);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_queue_finish(&queue);
}

static void overfill(void)
{
    struct torc_queue queue;
    struct letter letters[9];

    torc_queue_init(&queue, "letters", 4);
    for (unsigned i = 0; i < 9; i++)
        EXPECT_INT(torc_queue_push(&queue, &letters[i].node), ==, 0);
    torc_queue_finish(&queue); /* Aborts: it is not empty. */
}

FIBER_TEST(a_queue_that_grows_is_named_in_the_log_each_time_it_doubles)
{
    struct harness_death death;

    harness_watch_death(overfill, &death);
    EXPECT(strstr(death.text, "the queue \"letters\" holds 4 elements") != NULL);
    EXPECT(strstr(death.text, "the queue \"letters\" holds 8 elements") != NULL);
    EXPECT(strstr(death.text, "holds 5") == NULL);
    EXPECT(strstr(death.text, "queue->_first == NULL") != NULL);
}

FIBER_TEST(an_empty_queue_says_whether_more_may_come)
{
    struct torc_queue queue = {0};
    struct torc_queue_node *node;

    EXPECT_INT(torc_queue_try_pop(&queue, &node), ==, -EAGAIN);
    torc_queue_close(&queue);
    EXPECT_INT(torc_queue_try_pop(&queue, &node), ==, -EPIPE);
    EXPECT_INT(torc_queue_pop(&queue, &node), ==, -EPIPE);
}

/* ---- One-shot ---- */

struct asker {
    struct torc_oneshot *oneshot;
    unsigned answer;
    int result;
};

static int ask(void *arg)
{
    struct asker *asker = arg;

    asker->result = torc_oneshot_receive(asker->oneshot, &asker->answer);
    return 0;
}

FIBER_TEST(a_oneshot_carries_one_value_once)
{
    struct torc_oneshot oneshot;
    unsigned slot;
    unsigned value = 42;
    struct asker askers[2] = {{&oneshot, 0, 1}, {&oneshot, 0, 1}};
    struct torc_scope scope;

    torc_oneshot_init(&oneshot, &slot, sizeof(slot));
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, ask, &askers[0]);
    harness_spawn(&scope, ask, &askers[1]);
    torc_yield();
    EXPECT(!torc_oneshot_is_closed(&oneshot));
    EXPECT_INT(torc_oneshot_send(&oneshot, &value), ==, 0);
    EXPECT_INT(torc_oneshot_send(&oneshot, &value), ==, -EPIPE);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(askers[0].result, ==, 0);
    EXPECT_UINT(askers[0].answer, ==, 42);
    EXPECT_INT(askers[1].result, ==, -EPIPE);
    torc_oneshot_finish(&oneshot);
}

FIBER_TEST(what_was_sent_before_a_oneshot_was_closed_can_be_received)
{
    struct torc_oneshot oneshot;
    unsigned slot;
    unsigned value = 42;
    unsigned answer = 0;

    torc_oneshot_init(&oneshot, &slot, sizeof(slot));
    EXPECT_INT(torc_oneshot_try_receive(&oneshot, &answer), ==, -EAGAIN);
    EXPECT_INT(torc_oneshot_send(&oneshot, &value), ==, 0);
    torc_oneshot_close(&oneshot);
    EXPECT_INT(torc_oneshot_receive(&oneshot, &answer), ==, 0);
    EXPECT_UINT(answer, ==, 42);
    EXPECT_INT(torc_oneshot_receive(&oneshot, &answer), ==, -EPIPE);

    torc_oneshot_init(&oneshot, NULL, 0);
    torc_oneshot_close(&oneshot);
    EXPECT_INT(torc_oneshot_send(&oneshot, NULL), ==, -EPIPE);
    EXPECT_INT(torc_oneshot_receive(&oneshot, NULL), ==, -EPIPE);
}

static int wait_until_unwanted(void *arg)
{
    struct asker *asker = arg;

    asker->result = torc_oneshot_wait_closed(asker->oneshot);
    return 0;
}

FIBER_TEST(a_sender_learns_that_nobody_wants_its_value_any_more)
{
    struct torc_oneshot oneshot;
    struct asker sender = {&oneshot, 0, 1};
    struct torc_scope scope;

    torc_oneshot_init(&oneshot, NULL, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_until_unwanted, &sender);
    torc_yield();
    EXPECT_INT(sender.result, ==, 1);
    torc_oneshot_close(&oneshot);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(sender.result, ==, 0);
    EXPECT_INT(torc_oneshot_wait_closed(&oneshot), ==, 0);
}

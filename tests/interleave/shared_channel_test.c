/* SPDX-License-Identifier: MIT */
/*
 * shared_channel_test.c - the channel between shards in every order of its steps: nothing is lost
 * or doubled, and nobody waits for what is there.
 */
#include "interleave/interleave.h"

#include "base/compiler.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#define torc__cpu_relax()          interleave_relax()
#define sched_yield()              interleave_relax()
#define aligned_alloc(align, size) interleave_alloc(size)
#define free(memory)               ((void)(memory))
#include "sync/shared_channel.c"
#include "sync/shared_waiters.c"

#include "harness/harness.h"
#include "interleave/parked_model.h"

/* In the arena. */
static struct world {
    struct torc_shared_channel *channel;
    unsigned sent[4];     /* by sender: how many */
    unsigned received[4]; /* by sender: how many of its values */
    unsigned given_up;
} * world;

/* A value names its sender, and counts from 0. */
static unsigned value_of(unsigned sender, unsigned number)
{
    return sender * 16 + number;
}

static void set_up(uint32_t capacity)
{
    world = interleave_alloc(sizeof(*world));
    parked_set_up();
    if (torc_shared_channel_create(capacity, sizeof(unsigned), &world->channel) < 0)
        interleave_fail("create");
}

static void set_up_one_slot(void)
{
    set_up(1);
}

static void set_up_two_slots(void)
{
    set_up(2);
}

/* ---- Threads ---- */

static void send(unsigned sender, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned value = value_of(sender, i);
        int result = torc_shared_channel_send(world->channel, &value);

        if (result < 0)
            return;
        world->sent[sender]++;
    }
}

static void send_one_and_close(void)
{
    send(0, 1);
    torc_shared_channel_close(world->channel);
}

static void send_two(void)
{
    send(0, 2);
}

static void send_one(void)
{
    send(0, 1);
}

static void send_one_more(void)
{
    send(1, 1);
}

static int receive(void)
{
    unsigned value = 99;
    int result = torc_shared_channel_receive(world->channel, &value);

    if (result == 0) {
        /* The values of one sender are taken in their order, but perhaps noted in another. */
        INTERLEAVE_EXPECT(value / 16 < 4);
        world->received[value / 16]++;
    }
    return result;
}

static void receive_one(void)
{
    INTERLEAVE_EXPECT(receive() == 0);
}

static void receive_all(void)
{
    int result;

    while ((result = receive()) == 0)
        ;
    INTERLEAVE_EXPECT(result == -EPIPE);
}

static void receive_one_or_give_up(void)
{
    int result = receive();

    INTERLEAVE_EXPECT(result == 0 || result == -ECANCELED || result == -EPIPE);
    world->given_up += result < 0;
}

static void receive_in_order(void)
{
    for (unsigned i = 0; i < 2; i++) {
        unsigned value = 99;

        INTERLEAVE_EXPECT(torc_shared_channel_receive(world->channel, &value) == 0);
        INTERLEAVE_EXPECT(value % 16 == world->received[value / 16]);
        world->received[value / 16]++;
    }
}

static void close_it(void)
{
    torc_shared_channel_close(world->channel);
}

/* ---- What must be true ---- */

static void all_was_received(void)
{
    for (unsigned i = 0; i < 4; i++)
        INTERLEAVE_EXPECT(world->sent[i] == world->received[i]);
}

/* What was not received is there still. */
static void the_rest_is_there(void)
{
    unsigned value;

    while (torc_shared_channel_try_receive(world->channel, &value) == 0)
        world->received[value / 16]++;
    all_was_received();
}

static const struct interleave_model one_and_one = {
    set_up_one_slot, {receive_in_order, send_two}, become, all_was_received, 0};
static const struct interleave_model close_by_another = {
    set_up_one_slot, {receive_all, send_one, close_it}, become, all_was_received, 0};
static const struct interleave_model with_cancel = {
    set_up_two_slots,
    {receive_one_or_give_up, send_one, send_one_more, cancel_now},
    become,
    the_rest_is_there,
    0};
static const struct interleave_model two_receivers_until_the_end = {
    set_up_one_slot, {send_one_and_close, receive_all, receive_all}, become, all_was_received, 2};
static const struct interleave_model two_senders = {
    set_up_one_slot, {receive_in_order, send_one, send_one_more}, become, all_was_received, 2};
static const struct interleave_model two_and_two = {
    set_up_two_slots,
    {send_one, send_one_more, receive_one, receive_one},
    become,
    all_was_received,
    2};
static const struct interleave_model cancel_and_another = {
    set_up_one_slot,
    {receive_one_or_give_up, receive_all, send_one_and_close, cancel_now},
    become,
    all_was_received,
    2};

TEST(one_sender_keeps_its_order_and_no_wake_up_is_lost)
{
    interleave_holds(&one_and_one);
}

TEST(all_receivers_learn_of_the_end)
{
    interleave_holds(&two_receivers_until_the_end);
}

TEST(neither_of_two_senders_is_forgotten)
{
    interleave_holds(&two_senders);
}

TEST(two_values_wake_two_receivers)
{
    interleave_holds(&two_and_two);
}

TEST(a_value_that_was_sent_before_the_close_is_received_and_no_other)
{
    interleave_holds(&close_by_another);
}

TEST(a_receiver_that_gives_up_takes_nothing_with_it)
{
    interleave_holds(&with_cancel);
}

TEST(a_receiver_that_gives_up_does_not_keep_the_others_waiting)
{
    interleave_holds(&cancel_and_another);
}

/* ---- Planted bugs are found ---- */

TEST(a_waiter_that_announces_itself_too_late_is_found)
{
    interleave_finds(&one_and_one, (struct interleave_mutation){
                                       .function = "torc__shared_announce",
                                       .effect = INTERLEAVE_WEAKEN,
                                   });
}

TEST(a_waiter_that_does_not_announce_itself_is_found)
{
    interleave_finds(&one_and_one, (struct interleave_mutation){
                                       .function = "torc__shared_announce",
                                       .effect = INTERLEAVE_OMIT,
                                   });
}

TEST(receivers_that_do_not_wake_each_other_are_found)
{
    interleave_finds(&two_and_two, (struct interleave_mutation){
                                       .function = "torc__shared_has_waiters",
                                       .effect = INTERLEAVE_ANSWER,
                                       .value = 0,
                                       .threads = 1u << 2 | 1u << 3,
                                   });
}

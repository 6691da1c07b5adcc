/* SPDX-License-Identifier: MIT */
/*
 * mailbox_test.c - the mailbox, and how its shard sleeps and is woken, in every order of steps.
 *
 * Thread 0 is the shard that the mailbox belongs to. The others are senders: another shard, whose
 * wake-ups leave when its loop turns, and a thread that is none.
 */
#include "interleave/interleave.h"

#include "base/compiler.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#define BASE_FUTEX_H /* That of this file stands below. */
static void torc__futex_wait(atomic_uint *word, unsigned value);
static void torc__futex_wake(atomic_uint *word);
#define aligned_alloc(align, size) interleave_alloc(size)
#define free(memory)               ((void)(memory))
#include "shard/mailbox.c"

#include "harness/harness.h"

_Thread_local struct torc__shard *torc__shard;

#define OWNER  0u
#define SHARD  1u /* a sender that is a shard */
#define THREAD 2u /* a sender that is none */

/* What the threads share; in the arena. */
static struct world {
    struct torc__mailbox *mailbox;
    struct torc_message messages[4];
    unsigned sent; /* accepted by the mailbox */
    unsigned received;
    unsigned expected;
    unsigned wakes;         /* wake-ups that have reached the owner */
    unsigned pending;       /* those in the sending shard's ring, which leave when its loop turns */
    bool gone;              /* The owner's driver is. */
    bool asleep;            /* The owner is, until the futex is woken. */
    unsigned char order[4]; /* in which messages were received */
} * world;

/* ---- Drivers and shards that do nothing else ---- */

static void count_wake(struct torc__driver *driver, struct torc__driver *from)
{
    (void)driver;
    interleave_step("wake");
    INTERLEAVE_EXPECT(!world->gone);
    if (from != NULL)
        world->pending++;
    else
        world->wakes++;
}

static const struct torc__driver_ops ops = {.name = "model", .wake = count_wake};
static struct torc__driver drivers[2] = {{.ops = &ops}, {.ops = &ops}};
static struct torc__shard shards[2] = {{.driver = &drivers[0]}, {.driver = &drivers[1]}};

/* ---- The futex, of which only the owner waits ---- */

static bool is_not_asleep(void *arg)
{
    (void)arg;
    return !world->asleep;
}

static void torc__futex_wait(atomic_uint *word, unsigned value)
{
    interleave_step("futex wait");
    if (*word != value)
        return;
    world->asleep = true;
    interleave_block_until(is_not_asleep, NULL);
}

static void torc__futex_wake(atomic_uint *word)
{
    (void)word;
    interleave_step("futex wake");
    world->asleep = false;
}

static void become(unsigned thread)
{
    torc__shard = thread < THREAD ? &shards[thread] : NULL;
}

static void set_up(void)
{
    world = interleave_alloc(sizeof(*world));
    world->mailbox = torc__mailbox_create(NULL);
    torc__mailbox_open(world->mailbox, &drivers[0]);
}

/* ---- The owner ---- */

static bool is_woken(void *arg)
{
    (void)arg;
    return world->wakes > 0;
}

/* Whoever takes a chain of messages follows it as the shard does. */
static struct torc_message *next_of(const struct torc_message *message)
{
    struct torc_message *next;

    memcpy(&next, (const char *)message + offsetof(struct torc_message, _next), sizeof(next));
    return next;
}

static void take_note(struct torc_message *message)
{
    while (message != NULL) {
        INTERLEAVE_EXPECT(world->received < 4);
        world->order[world->received++] = (unsigned char)(message - world->messages);
        message = next_of(message);
    }
}

static void sleep_once(void)
{
    if (torc__mailbox_sleep(world->mailbox)) {
        interleave_block_until(is_woken, NULL);
        world->wakes = 0; /* As with an eventfd: reading it takes all. */
    }
    torc__mailbox_woken(world->mailbox);
}

static void receive(unsigned count)
{
    while (world->received < count) {
        if (torc__mailbox_has_mail(world->mailbox))
            take_note(torc__mailbox_take(world->mailbox));
        if (world->received < count)
            sleep_once();
    }
}

static void receive_two(void)
{
    receive(2);
}

static void receive_three(void)
{
    receive(3);
}

/* Take what has come by now, and end. */
static void take_and_close(void)
{
    (void)torc__mailbox_sleep(world->mailbox); /* So that senders are about to wake it. */
    if (torc__mailbox_has_mail(world->mailbox))
        take_note(torc__mailbox_take(world->mailbox));
    take_note(torc__mailbox_close(world->mailbox));
    world->gone = true;
}

/* ---- The senders ---- */

static bool send(unsigned number)
{
    if (torc__mailbox_push(world->mailbox, &world->messages[number]) < 0)
        return false;
    world->sent++;
    return true;
}

/* The loop of the sending shard turns: its ring is submitted. */
static void turn(void)
{
    interleave_step("turn");
    world->wakes += world->pending;
    world->pending = 0;
}

static void shard_sends(void)
{
    (void)send(0);
    turn();
}

static void shard_sends_two(void)
{
    (void)send(0);
    (void)send(1);
    turn();
}

static void thread_sends(void)
{
    (void)send(2);
}

static void thread_sends_two(void)
{
    (void)send(2);
    (void)send(3);
}

static bool other_has_arrived(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < world->received; i++) {
        if (world->order[i] == 2)
            return true;
    }
    return false;
}

/* Its round takes so long that the other's message must not have to wait for it. */
static void shard_sends_and_is_slow(void)
{
    (void)send(0);
    interleave_block_until(other_has_arrived, NULL);
    turn();
}

/* ---- What must be true ---- */

/* Where message `number` came, or 4. */
static unsigned place_of(unsigned number)
{
    unsigned place = 0;

    while (place < world->received && world->order[place] != number)
        place++;
    return place < world->received ? place : 4;
}

static void all_were_received(void)
{
    INTERLEAVE_EXPECT(world->received == world->sent);
    INTERLEAVE_EXPECT(place_of(1) == 4 || place_of(0) < place_of(1));
    INTERLEAVE_EXPECT(place_of(3) == 4 || place_of(2) < place_of(3));
}

static const struct interleave_model shard_and_thread = {
    set_up, {receive_two, shard_sends, thread_sends}, become, all_were_received, 0};
static const struct interleave_model two_and_one = {
    set_up, {receive_three, shard_sends_two, thread_sends}, become, all_were_received, 0};
static const struct interleave_model slow_claim = {
    set_up, {receive_two, shard_sends_and_is_slow, thread_sends}, become, all_were_received, 0};
static const struct interleave_model closing = {
    set_up, {take_and_close, shard_sends, thread_sends_two}, become, all_were_received, 0};

TEST(no_message_is_slept_through)
{
    interleave_holds(&shard_and_thread);
}

TEST(each_sender_keeps_its_order)
{
    interleave_holds(&two_and_one);
}

TEST(a_claim_that_is_not_redeemed_soon_holds_up_nobody_else)
{
    interleave_holds(&slow_claim);
}

TEST(each_message_is_received_or_refused_and_nobody_wakes_what_is_gone)
{
    interleave_holds(&closing);
}

/* ---- Planted bugs are found ---- */

TEST(a_shard_that_says_that_it_sleeps_too_late_is_found)
{
    interleave_finds(&shard_and_thread, (struct interleave_mutation){
                                            .function = "torc__mailbox_sleep",
                                            .effect = INTERLEAVE_WEAKEN,
                                        });
}

TEST(a_shard_that_does_not_look_again_is_found)
{
    interleave_finds(&shard_and_thread, (struct interleave_mutation){
                                            .function = "torc__mailbox_sleep",
                                            .effect = INTERLEAVE_ANSWER,
                                            .value = 0,
                                        });
}

TEST(a_thread_that_relies_on_the_claim_of_a_shard_is_found)
{
    interleave_finds(&slow_claim, (struct interleave_mutation){
                                      .function = "wake_shard",
                                      .effect = INTERLEAVE_ANSWER_CHANGE,
                                      .value = MAILBOX_AWAKE,
                                      .threads = 1u << THREAD,
                                  });
}

TEST(a_close_that_does_not_wait_for_wakers_is_found)
{
    interleave_finds(&closing, (struct interleave_mutation){
                                   .function = "torc__mailbox_close",
                                   .effect = INTERLEAVE_ANSWER,
                                   .value = MAILBOX_AWAITED,
                                   .threads = 1u << OWNER,
                               });
}

TEST(a_sender_that_does_not_say_that_it_may_wake_the_shard_is_found)
{
    interleave_finds(&closing, (struct interleave_mutation){
                                   .function = "torc__mailbox_push",
                                   .effect = INTERLEAVE_ANSWER_CHANGE,
                                   .value = 0,
                                   .threads = 1u << THREAD,
                               });
}

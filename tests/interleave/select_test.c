/* SPDX-License-Identifier: MIT */
/*
 * select_test.c - a select of shared channels in every order of its steps and those of others: one
 * case is committed, nothing is lost, and no wake-up ends with one that did not need it any more.
 *
 * Thread 0 is a shard with one fiber, which selects; while it waits, the shard runs the messages
 * that have come. The others are threads that are no shards.
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
#include "sync/shared_waiters.c"

#include "sync/shared_channel.c"

/* The barriers of liburing's rings are no part of this, and clang would not have them as steps. */
#define LIBURING_BARRIER_H
#define IO_URING_WRITE_ONCE(var, value)      ((var) = (value))
#define IO_URING_READ_ONCE(var)              (var)
#define io_uring_smp_store_release(p, value) (*(p) = (value))
#define io_uring_smp_load_acquire(p)         (*(p))
#define io_uring_smp_mb()                    ((void)0)
#include "io/select.c"

#include "harness/harness.h"

#define SELECTS 0u

_Thread_local struct torc__shard *torc__shard;

static struct torc__shard here; /* the shard of thread 0 */
static struct torc_fiber fiber;
static struct torc_scope scope; /* its scope, of which only the reason counts */

/* In the arena. */
static struct world {
    struct torc_shared_channel *channels[2];
    struct torc_message *inbox[8]; /* of the shard */
    unsigned posted;
    unsigned run;
    bool woken; /* The fiber is. */
    bool cancelled;
    unsigned sent[2]; /* by channel */
    unsigned received[2];
} * world;

static void become(unsigned thread)
{
    torc__shard = thread == SELECTS ? &here : NULL;
    here.running = &fiber;
    here.random = 0;
    fiber.scope = &scope;
    scope._reason = world->cancelled ? -ECANCELED : 0;
}

/* ---- What the sources call ---- */

int torc__parked_init(struct torc__parked *parked)
{
    memset(parked, 0, sizeof(*parked));
    parked->shard = torc__shard;
    return 0;
}

int torc__caller_reason(void)
{
    return 0;
}

int torc__refuse(struct torc__shard *shard, int reason)
{
    (void)shard;
    return reason;
}

static bool is_woken(void *arg)
{
    return *(unsigned *)arg != 0;
}

/* Of a thread. */
int torc__parked_wait(struct torc__parked *parked, const struct torc_wait_kind *kind)
{
    (void)kind;
    interleave_block_until(is_woken, &parked->woken);
    return 0;
}

/* A thread goes on, the shard gets a message; whoever is woken does not stand any more. */
void torc__parked_wake(struct torc__parked *parked)
{
    interleave_step("wake");
    INTERLEAVE_EXPECT(parked->woken == 0 && !parked->stands);
    parked->woken = 1;
    if (parked->shard == NULL)
        return;
    INTERLEAVE_EXPECT(world->posted < 8);
    world->inbox[world->posted++] = &parked->message;
}

void torc__wake(struct torc__shard *shard, struct torc_fiber *woken, int result)
{
    INTERLEAVE_EXPECT(shard == &here && woken == &fiber && result == 0);
    INTERLEAVE_EXPECT(!world->woken);
    world->woken = true;
}

static bool shard_has_something_to_do(void *arg)
{
    const bool may_interrupt = *(bool *)arg;

    return world->posted > world->run || (may_interrupt && world->cancelled);
}

/* The fiber waits, and the loop goes on. */
int torc__wait(struct torc__shard *shard, const struct torc_wait_kind *kind, void *waits_for)
{
    bool may_interrupt = kind->interrupt != NULL;

    (void)shard;
    while (!world->woken) {
        interleave_block_until(shard_has_something_to_do, &may_interrupt);
        if (world->posted > world->run) {
            struct torc_message *message = world->inbox[world->run++];

            message->run(message);
        } else {
            may_interrupt = false;
            fiber.waits_for = waits_for;
            kind->interrupt(&fiber, -ECANCELED);
        }
    }
    world->woken = false;
    return 0;
}

void torc__timer_start(struct torc__timers *timers, struct torc_timer *timer, uint64_t time_ns,
                       void (*expired)(struct torc_timer *timer))
{
    (void)timers;
    (void)timer;
    (void)time_ns;
    (void)expired;
}

void torc__timer_stop(struct torc__timers *timers, struct torc_timer *timer)
{
    (void)timers;
    (void)timer;
}

/* There are no operations. */
int torc__op_verdict(const struct torc__shard *shard, struct torc_op *op)
{
    (void)shard;
    (void)op;
    return 0;
}

/* ---- Threads ---- */

static void set_up(void)
{
    world = interleave_alloc(sizeof(*world));
    for (unsigned i = 0; i < 2; i++) {
        if (torc_shared_channel_create(1, sizeof(unsigned), &world->channels[i]) < 0)
            interleave_fail("create");
    }
}

/* Receive from either; what select returns. */
static int select_either(void)
{
    unsigned value = 99;
    struct torc_case cases[] = {
        torc_case_shared_receive(world->channels[0], &value),
        torc_case_shared_receive(world->channels[1], &value),
    };
    const int chosen = torc_select(cases, 2);

    if (chosen >= 0 && cases[chosen].result == 0) {
        INTERLEAVE_EXPECT(value == (unsigned)chosen);
        world->received[chosen]++;
    }
    return chosen < 0 ? chosen : cases[chosen].result;
}

static void select_two(void)
{
    INTERLEAVE_EXPECT(select_either() == 0);
    INTERLEAVE_EXPECT(select_either() == 0);
}

static void select_one(void)
{
    INTERLEAVE_EXPECT(select_either() == 0);
}

static void select_one_or_give_up(void)
{
    const int result = select_either();

    INTERLEAVE_EXPECT(result == 0 || result == -ECANCELED);
}

static void send_to(unsigned channel)
{
    INTERLEAVE_EXPECT(torc_shared_channel_send(world->channels[channel], &channel) == 0);
    world->sent[channel]++;
}

static void send_to_first(void)
{
    send_to(0);
}

static void send_to_second(void)
{
    send_to(1);
}

/* One for the select, if it wants it, and one for who else receives. */
static void send_two_to_first(void)
{
    send_to(0);
    send_to(0);
}

/* Another receiver of the first channel. */
static void receive_from_first(void)
{
    unsigned value;

    INTERLEAVE_EXPECT(torc_shared_channel_receive(world->channels[0], &value) == 0);
    world->received[0]++;
}

static void cancel_now(void)
{
    interleave_step("cancel");
    world->cancelled = true;
}

/* ---- What must be true ---- */

/* What was not received is there still; and no message came too much, or is left. */
static void nothing_is_lost(void)
{
    INTERLEAVE_EXPECT(world->run == world->posted);
    for (unsigned i = 0; i < 2; i++) {
        unsigned value;

        while (torc_shared_channel_try_receive(world->channels[i], &value) == 0)
            world->received[i]++;
        INTERLEAVE_EXPECT(world->received[i] == world->sent[i]);
    }
}

static const struct interleave_model two_channels = {
    set_up, {select_two, send_to_first, send_to_second}, become, nothing_is_lost, 2};
static const struct interleave_model with_cancel = {
    set_up,
    {select_one_or_give_up, send_to_first, send_to_second, cancel_now},
    become,
    nothing_is_lost,
    2};
static const struct interleave_model with_another = {
    set_up,
    {select_one, receive_from_first, send_two_to_first, send_to_second},
    become,
    nothing_is_lost,
    1};
static const struct interleave_model cancel_and_another = {
    set_up,
    {select_one_or_give_up, receive_from_first, send_two_to_first, cancel_now},
    become,
    nothing_is_lost,
    2};

TEST(a_select_of_two_channels_misses_neither)
{
    interleave_holds(&two_channels);
}

TEST(a_select_that_is_cancelled_at_any_time_commits_one_case_or_none)
{
    interleave_holds(&with_cancel);
}

TEST(a_select_that_has_found_something_else_passes_the_wake_up_on)
{
    interleave_holds(&with_another);
}

TEST(a_select_that_was_cancelled_passes_the_wake_up_on)
{
    interleave_holds(&cancel_and_another);
}

/* ---- Planted bugs are found ---- */

TEST(a_select_that_keeps_wake_ups_to_itself_is_found)
{
    interleave_finds(&cancel_and_another, (struct interleave_mutation){
                                              .function = "torc__shared_has_waiters",
                                              .effect = INTERLEAVE_ANSWER,
                                              .value = 0,
                                              .threads = 1u << SELECTS,
                                          });
}

TEST(a_select_that_announces_itself_too_late_is_found)
{
    interleave_finds(&two_channels, (struct interleave_mutation){
                                        .function = "torc__shared_announce",
                                        .effect = INTERLEAVE_WEAKEN,
                                        .threads = 1u << SELECTS,
                                    });
}

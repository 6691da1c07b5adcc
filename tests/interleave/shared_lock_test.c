/* SPDX-License-Identifier: MIT */
/*
 * shared_lock_test.c - the mutex between shards in every order of its steps: one holds it at a
 * time, and nobody waits for a free one.
 */
#include "interleave/interleave.h"

#include "base/compiler.h"
#include <sched.h>
#include <string.h>
#define torc__cpu_relax() interleave_step("spin") /* The mutex goes on in any case, ... */
#define MUTEX_SPINS       1
#include "sync/shared_lock.c"

#undef torc__cpu_relax
#define torc__cpu_relax() interleave_relax() /* ... the lock of its queue does not. */
#define sched_yield()     interleave_relax()
#include "sync/shared_waiters.c"

#include "harness/harness.h"
#include "interleave/parked_model.h"

/* In the arena. */
static struct world {
    struct torc_shared_mutex mutex;
    struct torc_shared_semaphore semaphore;
    struct torc_shared_event event;
    unsigned inside;
    unsigned rounds;
    unsigned given_up;
    bool first_done; /* with the mutex, as is who has it now when the last one gets it */
    bool second_inside;
    atomic_uint freed;
    atomic_uint done;
} * world;

static void set_up(void)
{
    world = interleave_alloc(sizeof(*world));
    parked_set_up();
    torc_shared_semaphore_init(&world->semaphore, 2);
}

/* All threads are one to `identity()`, so the owner is left alone here. */
static void hold(void)
{
    set_owner(&world->mutex, NULL);
    INTERLEAVE_EXPECT(world->inside == 0);
    world->inside++;
    interleave_step("inside");
    world->inside--;
    world->rounds++;
    set_owner(&world->mutex, identity());
}

static void lock_once(void)
{
    INTERLEAVE_EXPECT(torc_shared_mutex_lock(&world->mutex) == 0);
    hold();
    torc_shared_mutex_unlock(&world->mutex);
}

static void lock_twice(void)
{
    lock_once();
    lock_once();
}

static void lock_or_give_up(void)
{
    int result = torc_shared_mutex_lock(&world->mutex);

    INTERLEAVE_EXPECT(result == 0 || result == -ECANCELED);
    if (result < 0) {
        world->given_up++;
        return;
    }
    hold();
    torc_shared_mutex_unlock(&world->mutex);
}

static void lock_or_give_up_first(void)
{
    lock_or_give_up();
    world->first_done = true;
}

static void lock_second(void)
{
    INTERLEAVE_EXPECT(torc_shared_mutex_lock(&world->mutex) == 0);
    world->second_inside = true;
    hold();
    torc_shared_mutex_unlock(&world->mutex);
}

static bool others_have_come(void *arg)
{
    (void)arg;
    return world->first_done && world->second_inside;
}

/* After those who come last, nobody may touch what is not used any more. */
static void lock_last_and_finish(void)
{
    interleave_block_until(others_have_come, NULL);
    lock_once();
    torc_shared_mutex_finish(&world->mutex);
    atomic_store(&world->freed, 1); /* Its own stores go first, as in every CPU. */
    memset(&world->mutex, 0xff, sizeof(world->mutex));
}

static void take_two(void)
{
    INTERLEAVE_EXPECT(torc_shared_semaphore_acquire(&world->semaphore, 2) == 0);
    torc_shared_semaphore_release(&world->semaphore, 2);
}

static void take_two_or_give_up(void)
{
    if (torc_shared_semaphore_acquire(&world->semaphore, 2) == 0)
        torc_shared_semaphore_release(&world->semaphore, 2);
}

static void take_one(void)
{
    INTERLEAVE_EXPECT(torc_shared_semaphore_acquire(&world->semaphore, 1) == 0);
    torc_shared_semaphore_release(&world->semaphore, 1);
}

static void wait_for_event(void)
{
    INTERLEAVE_EXPECT(torc_shared_event_wait(&world->event) == 0);
}

/* What is looked at after the event was made not set. */
static void clear_look_and_wait(void)
{
    torc_shared_event_clear(&world->event);
    if (!atomic_load(&world->done))
        INTERLEAVE_EXPECT(torc_shared_event_wait(&world->event) == 0);
    INTERLEAVE_EXPECT(atomic_load(&world->done));
}

static void do_and_set(void)
{
    atomic_store_explicit(&world->done, 1, memory_order_relaxed);
    torc_shared_event_set(&world->event);
}

static void set_event(void)
{
    torc_shared_event_set(&world->event);
}

static void mutex_is_free(void)
{
    INTERLEAVE_EXPECT(world->inside == 0);
    torc_shared_mutex_finish(&world->mutex);
}

static void memory_is_left_alone(void)
{
    const char *bytes = (const char *)&world->mutex;

    for (size_t i = 0; i < sizeof(world->mutex); i++)
        INTERLEAVE_EXPECT(bytes[i] == -1);
}

static void all_units_are_there(void)
{
    INTERLEAVE_EXPECT(torc_shared_semaphore_try_acquire(&world->semaphore, 2) == 0);
}

static const struct interleave_model three = {
    set_up, {lock_or_give_up, lock_once, lock_twice}, become, mutex_is_free, 0};
static const struct interleave_model with_cancel = {
    set_up, {lock_or_give_up, lock_once, lock_once, cancel_now}, become, mutex_is_free, 0};
static const struct interleave_model with_end = {
    set_up, {lock_or_give_up_first, lock_second, lock_last_and_finish, cancel_now},
    become, memory_is_left_alone,
    0,
};
static const struct interleave_model units = {
    set_up, {take_two_or_give_up, take_one, take_two, cancel_now}, become, all_units_are_there, 0};
static const struct interleave_model event = {
    set_up, {wait_for_event, wait_for_event, set_event}, become, NULL, 0};
static const struct interleave_model cleared = {
    set_up, {clear_look_and_wait, do_and_set}, become, NULL, 0};

TEST(one_at_a_time_holds_a_shared_mutex_and_all_get_it)
{
    interleave_holds(&three);
}

TEST(who_gives_up_waiting_for_a_shared_mutex_leaves_it_in_order)
{
    interleave_holds(&with_cancel);
}

TEST(the_last_one_to_hold_a_shared_mutex_may_finish_and_free_it)
{
    interleave_holds(&with_end);
}

TEST(shared_units_are_neither_lost_nor_waited_for_in_vain)
{
    interleave_holds(&units);
}

TEST(nobody_sleeps_through_a_shared_event)
{
    interleave_holds(&event);
}

TEST(who_clears_a_shared_event_before_it_looks_does_not_sleep_through_what_was_done)
{
    interleave_holds(&cleared);
}

/* ---- Planted bugs are found ---- */

TEST(a_mutex_that_is_taken_without_looking_is_found)
{
    interleave_finds(&three, (struct interleave_mutation){
                                 .function = "take_or_stand",
                                 .effect = INTERLEAVE_ANSWER_CHANGE,
                                 .value = 0,
                             });
}

TEST(a_waiter_that_does_not_say_so_is_found)
{
    interleave_finds(&three, (struct interleave_mutation){
                                 .function = "take_or_stand",
                                 .effect = INTERLEAVE_ANSWER_CHANGE,
                                 .value = LOCKED,
                             });
}

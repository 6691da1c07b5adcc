/* SPDX-License-Identifier: MIT */
/*
 * fiber_test.c - fibers: their order, their stacks, their names, and how many there may be.
 */
#include "harness/run.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <torc/torc.h>

/* ---- Order ---- */

#define FEW 100

static unsigned order[FEW];
static unsigned order_count;

static int note_order(void *arg)
{
    order[order_count++] = (unsigned)(uintptr_t)arg;
    return 0;
}

FIBER_TEST(fibers_run_in_the_order_in_which_they_were_started_once_the_starter_suspends)
{
    order_count = 0;
    for (unsigned i = 0; i < FEW; i++)
        harness_spawn(NULL, note_order, (void *)(uintptr_t)i);
    EXPECT_UINT(order_count, ==, 0);
    EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_UINT(order_count, ==, FEW);
    for (unsigned i = 0; i < FEW; i++)
        EXPECT_UINT(order[i], ==, i);
}

#define YIELDS 200

static unsigned turns[FEW];

static int take_turns(void *arg)
{
    unsigned *mine = arg;

    for (int i = 0; i < YIELDS; i++) {
        (*mine)++;
        for (unsigned j = 0; j < FEW; j++) /* Nobody is more than one turn ahead or behind. */
            EXPECT_MSG(turns[j] + 1 >= *mine && turns[j] <= *mine, "%u and %u", turns[j], *mine);
        EXPECT_INT(torc_yield(), ==, 0);
    }
    return 0;
}

FIBER_TEST(fibers_that_yield_take_turns)
{
    struct torc_scope scope;

    memset(turns, 0, sizeof(turns));
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < FEW; i++)
        harness_spawn(&scope, take_turns, &turns[i]);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

static struct torc_event gate;

static int wait_at_gate(void *arg)
{
    const int result = torc_event_wait(&gate);

    EXPECT_INT(result, ==, 0);
    return note_order(arg);
}

FIBER_TEST(who_wakes_others_goes_on_and_they_run_in_the_order_of_their_waits)
{
    struct torc_scope scope;

    order_count = 0;
    gate = (struct torc_event){0};
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < FEW - 1; i++)
        harness_spawn(&scope, wait_at_gate, (void *)(uintptr_t)i);
    EXPECT_INT(torc_yield(), ==, 0);
    harness_spawn(&scope, note_order, (void *)(uintptr_t)(FEW - 1)); /* Ready before the others. */
    torc_event_set(&gate);
    torc_event_set(&gate);
    EXPECT_UINT(order_count, ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(order_count, ==, FEW);
    EXPECT_UINT(order[0], ==, FEW - 1);
    for (unsigned i = 1; i < FEW; i++)
        EXPECT_UINT(order[i], ==, i - 1);
}

FIBER_TEST(an_event_stays_set_until_it_is_cleared)
{
    struct torc_event event = {0};
    struct torc_scope scope;

    EXPECT(!torc_event_is_set(&event));
    torc_event_set(&event);
    EXPECT(torc_event_is_set(&event));
    for (int i = 0; i < 3; i++)
        EXPECT_INT(torc_event_wait(&event), ==, 0);
    torc_event_clear(&event);
    torc_event_clear(&event);
    EXPECT(!torc_event_is_set(&event));
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_event_wait(&event), ==, -ETIME);
    torc_scope_close(&scope);
}

/* ---- Names and numbers ---- */

static int name_oneself(void *arg)
{
    const char *name = arg;

    EXPECT(torc_fiber_name() == NULL);
    torc_fiber_set_name(name);
    EXPECT_INT(torc_yield(), ==, 0);
    EXPECT(torc_fiber_name() == name);
    torc_fiber_set_name(NULL);
    EXPECT(torc_fiber_name() == NULL);
    return 0;
}

FIBER_TEST(each_fiber_has_a_name_of_its_own_or_none)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (int i = 0; i < 3; i++) { /* The second round is on stacks that were used before. */
        harness_spawn(&scope, name_oneself, (void *)"one");
        harness_spawn(&scope, name_oneself, (void *)"two");
        harness_yield(3);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

static uint32_t ids[1000];

static int note_id(void *arg)
{
    *(uint32_t *)arg = torc_fiber_id();
    EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_UINT(*(uint32_t *)arg, ==, torc_fiber_id());
    return 0;
}

FIBER_TEST(fibers_that_live_together_have_different_numbers)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (int i = 0; i < 1000; i++)
        harness_spawn(&scope, note_id, &ids[i]);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (int i = 0; i < 1000; i++) {
        EXPECT_UINT(ids[i], !=, torc_fiber_id());
        for (int j = 0; j < i; j++)
            EXPECT_UINT(ids[i], !=, ids[j]);
    }
}

/* ---- Stacks ---- */

/* Calls itself until `size` bytes are in use; returns how little was left then. */
static __attribute__((noinline)) size_t use_stack(size_t size)
{
    char page[1024];
    const size_t left = size > sizeof(page) ? use_stack(size - sizeof(page)) : torc_stack_left();

    memset(page, 1, sizeof(page));
    __asm__ volatile("" ::"r"(page) : "memory");
    return left;
}

static int use_most_of_stack(void *arg)
{
    const size_t size = *(const size_t *)arg;
    const size_t left = torc_stack_left();

    EXPECT_UINT(left, <=, size + 8192); /* An odd number of pages is better. */
    EXPECT_UINT(left, >=, size - size / 4);
    EXPECT_UINT(use_stack(size / 2), <=, left - size / 2);
    return 0;
}

TEST(a_fiber_may_use_the_stack_it_was_promised)
{
    static const size_t sizes[] = {0, 16 << 10, 64 << 10, 100000, 1 << 20, 8 << 20};

    if (UNDER_ASAN)
        SKIP("frames are larger under ASan");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct torc_options options = {.stack_size = sizes[i]};
        size_t size = sizes[i] == 0 ? 116 << 10 : (sizes[i] + 4095) / 4096 * 4096;

        harness_run_with(&options, use_most_of_stack, &size);
    }
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

FIBER_TEST(fibers_that_follow_each_other_share_one_stack)
{
    struct torc_stats stats;
    const unsigned count = harness_scaled(100000);

    for (unsigned i = 0; i < count; i++) {
        harness_spawn(NULL, do_nothing, NULL);
        EXPECT_INT(torc_yield(), ==, 0);
    }
    torc_stats(&stats);
    EXPECT_UINT(stats.fibers, ==, 1);
    EXPECT_UINT(stats.fibers_peak, <=, 3);
    EXPECT_UINT(stats.stacks_used, ==, 1);
    EXPECT_UINT(stats.spawns, >=, count);
}

FIBER_TEST(fibers_that_have_not_run_yet_have_no_stack)
{
    struct torc_stats stats;

    for (int i = 0; i < 10000; i++)
        harness_spawn(NULL, do_nothing, NULL);
    torc_stats(&stats);
    EXPECT_UINT(stats.fibers, ==, 10001);
    EXPECT_UINT(stats.stacks_used, ==, 1);
    harness_yield_until_alone();
}

static int use_much_stack(void *arg)
{
    char large[1 << 20];

    memset(large, *(const int *)arg, sizeof(large));
    __asm__ volatile("" ::"r"(large) : "memory");
    return large[sizeof(large) - 1] + 1;
}

FIBER_TEST(a_function_may_borrow_the_large_stack_of_the_thread)
{
    const int seven = 7;

    for (int i = 0; i < 100; i++)
        EXPECT_INT(torc_on_thread_stack(use_much_stack, (void *)&seven), ==, 8);
    EXPECT_INT(torc_yield(), ==, 0);
}

static int yield_there(void *arg)
{
    (void)arg;
    return torc_yield();
}

static int yield_on_thread_stack(void *arg)
{
    return torc_on_thread_stack(yield_there, arg);
}

static void run_yield_on_thread_stack(void)
{
    (void)!torc_run(yield_on_thread_stack, NULL, NULL);
}

TEST(suspending_on_the_stack_of_the_thread_aborts)
{
    harness_expect_death(run_yield_on_thread_stack, SIGABRT, "torc: ");
}

static void yield_nowhere(void)
{
    torc_yield();
}

TEST(suspending_outside_of_a_fiber_aborts)
{
    harness_expect_death(yield_nowhere, SIGABRT, "torc: ");
}

/* ---- Many ---- */

#define MANY 100000

static unsigned passed;

static int pass_gate(void *arg)
{
    char mark[64];

    memset(mark, (int)(uintptr_t)arg & 0xff, sizeof(mark));
    __asm__ volatile("" ::"r"(mark) : "memory");
    EXPECT_INT(torc_event_wait(&gate), ==, 0);
    for (size_t i = 0; i < sizeof(mark); i++)
        EXPECT_INT((unsigned char)mark[i], ==, (uintptr_t)arg & 0xff);
    passed++;
    return 0;
}

FIBER_TEST(a_hundred_thousand_fibers_live_at_once)
{
    /* gcc's TSan can follow some 8,000; ASan and valgrind are slow. */
    const unsigned count = UNDER_TSAN ? 2000 : harness_scaled(MANY);
    struct torc_scope scope;
    struct torc_stats stats;

    gate = (struct torc_event){0};
    for (int round = 0; round < 2; round++) {
        passed = 0;
        torc_event_clear(&gate);
        torc_scope_open(&scope, 0);
        for (unsigned i = 0; i < count; i++)
            harness_spawn(&scope, pass_gate, (void *)(uintptr_t)i);
        EXPECT_INT(torc_yield(), ==, 0);
        torc_stats(&stats);
        EXPECT_UINT(stats.fibers, ==, count + 1);
        EXPECT_UINT(stats.stacks_used, ==, count + 1);
        torc_event_set(&gate);
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
        EXPECT_UINT(passed, ==, count);
    }
    torc_stats(&stats);
    EXPECT_UINT(stats.fibers_peak, ==, count + 1);
}

static int fill_up(void *arg)
{
    const unsigned fibers_max = *(const unsigned *)arg;
    struct torc_scope scope;
    int run;
    int result = 0;

    for (int round = 0; round < 3; round++) {
        gate = (struct torc_event){0};
        torc_scope_open(&scope, 0);
        for (run = 0; result == 0; run++)
            result = torc_scope_spawn(&scope, wait_at_gate, NULL);
        EXPECT_INT(result, ==, -ENOMEM);
        EXPECT_UINT(harness_fibers(), ==, fibers_max);
        EXPECT_INT(torc_spawn(do_nothing, NULL), ==, -ENOMEM);
        EXPECT_INT(torc_scope_spawn_daemon(&scope, do_nothing, NULL), ==, -ENOMEM);
        order_count = 0;
        EXPECT_INT(torc_yield(), ==, 0);
        torc_event_set(&gate);
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
        EXPECT_UINT(order_count, ==, fibers_max - 1);
        result = torc_spawn(do_nothing, NULL); /* There is room again. */
        EXPECT_INT(result, ==, 0);
        harness_yield_until_alone();
    }
    return 0;
}

TEST(a_shard_that_is_full_says_enomem_and_has_room_again_later)
{
    unsigned fibers_max[] = {2, 10, 90};

    for (size_t i = 0; i < sizeof(fibers_max) / sizeof(fibers_max[0]); i++) {
        const struct torc_options options = {.fibers_max = fibers_max[i]};

        harness_run_with(&options, fill_up, &fibers_max[i]);
    }
}

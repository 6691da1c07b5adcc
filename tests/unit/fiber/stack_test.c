/* SPDX-License-Identifier: MIT */
/*
 * stack_test.c - stacks: their guards, their order, and the memory they take and give back.
 */
#include "base/compiler.h"
#include "fiber/stack.h"
#include "harness/net.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE  ((size_t)sysconf(_SC_PAGESIZE))
#define GUARD (PAGE > 16384 ? PAGE : (size_t)16384)

static int probe_ends[2];

/* Whether the byte can be read, asked of the kernel, which does not die of it. */
static bool is_readable(const void *address)
{
    char byte;
    ssize_t count;

    if (probe_ends[0] == 0)
        harness_pipe(probe_ends);
    count = write(probe_ends[1], address, 1);
    if (count < 0) {
        EXPECT_INT(errno, ==, EFAULT);
        return false;
    }
    EXPECT_INT(read(probe_ends[0], &byte, 1), ==, 1);
    return true;
}

static void end_probing(void)
{
    if (probe_ends[0] != 0)
        harness_close_pair(probe_ends);
}

static void start(struct torc__stacks *stacks, bool forbid_regions, uint32_t count)
{
    torc__stacks_init(stacks, STACK_SIZE_DEFAULT, forbid_regions);
    EXPECT_INT(torc__stacks_reserve(stacks, count), ==, 0);
}

static struct torc__stack **take_all(struct torc__stacks *stacks, uint32_t count)
{
    struct torc__stack **taken = calloc(count, sizeof(struct torc__stack *));

    for (uint32_t i = 0; i < count; i++)
        taken[i] = torc__stack_take(stacks);
    EXPECT_UINT(stacks->used, ==, count);
    return taken;
}

static void give_all(struct torc__stacks *stacks, struct torc__stack **taken, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        torc__stack_give(stacks, taken[i]);
    EXPECT_UINT(stacks->used, ==, 0);
    free(taken);
}

static void touch(const struct torc__stack *stack, char value)
{
    memset(stack->top - PAGE / 2, value, 8);
}

/* ---- Layout ---- */

TEST(slots_have_an_odd_number_of_pages_and_room_for_what_was_asked)
{
    for (size_t size = 16 * 1024; size <= 1024 * 1024; size += 1000) {
        struct torc__stacks stacks;

        torc__stacks_init(&stacks, size, true);
        EXPECT_UINT(stacks.slot_size % PAGE, ==, 0);
        EXPECT_UINT(stacks.slot_size / PAGE % 2, ==, 1);
        EXPECT_UINT(stacks.usable_size, >=, size);
        EXPECT_UINT(stacks.usable_size, <, size + 3 * PAGE);
        torc__stacks_finish(&stacks);
    }
}

TEST(stacks_are_apart_and_their_tops_are_coloured)
{
    struct torc__stacks stacks;
    struct torc__stack **taken;

    start(&stacks, false, 2000);
    taken = take_all(&stacks, 2000);
    for (unsigned i = 0; i < 2000; i++) {
        const char *end = taken[i]->low + stacks.usable_size;

        EXPECT_UINT((uintptr_t)taken[i]->low % PAGE, ==, 0);
        EXPECT_UINT((uintptr_t)taken[i]->top % 64, ==, 0);
        EXPECT_INT(end - taken[i]->top, ==, i % 1024 % 16 * 64);
        if (i % 1024 > 0)
            EXPECT(taken[i]->low == taken[i - 1]->low + stacks.slot_size);
    }
    give_all(&stacks, taken, 2000);
    torc__stacks_finish(&stacks);
}

TEST(an_address_leads_to_its_stack)
{
    struct torc__stacks stacks;
    struct torc__stack **taken;
    char elsewhere;

    start(&stacks, false, 1500);
    taken = take_all(&stacks, 1500);
    for (unsigned i = 0; i < 1500; i += 7) {
        const struct torc__stack *stack = taken[i];

        EXPECT(torc__stacks_find(&stacks, stack->low) == stack);
        EXPECT(torc__stacks_find(&stacks, stack->top - 1) == stack);
        EXPECT(torc__stacks_find(&stacks, stack->low - 1) == stack);
        EXPECT(torc__stacks_find(&stacks, stack->low - GUARD) == stack);
        EXPECT(torc__stack_in_guard(&stacks, stack, stack->low - 1));
        EXPECT(torc__stack_in_guard(&stacks, stack, stack->low - GUARD));
        EXPECT(!torc__stack_in_guard(&stacks, stack, stack->low));
        EXPECT(!torc__stack_in_guard(&stacks, stack, stack->low - GUARD - 1));
    }
    EXPECT(torc__stacks_find(&stacks, &elsewhere) == NULL);
    EXPECT(torc__stacks_find(&stacks, NULL) == NULL);
    give_all(&stacks, taken, 1500);
    torc__stacks_finish(&stacks);
}

/* ---- Guards ---- */

static void expect_guarded(const struct torc__stack *stack)
{
    for (unsigned page = 1; page <= GUARD / PAGE; page++) {
        EXPECT(!is_readable(stack->low - page * PAGE));
        EXPECT(!is_readable(stack->low - page * PAGE + PAGE - 1));
    }
    EXPECT(is_readable(stack->low));
    EXPECT(is_readable(stack->top - 1));
}

static void expect_guards(bool forbid_regions)
{
    struct torc__stacks stacks;
    struct torc__stack **taken;

    start(&stacks, forbid_regions, 1100);
    taken = take_all(&stacks, 1100);
    for (unsigned i = 0; i < 1100; i++)
        expect_guarded(taken[i]);
    EXPECT_UINT(stacks.unguarded, ==, 0);
    give_all(&stacks, taken, 1100);
    torc__stacks_finish(&stacks);
    end_probing();
}

TEST(every_stack_has_a_guard_made_of_a_region)
{
    if (!torc__stacks_probe_regions())
        SKIP("this kernel has no guard regions");
    expect_guards(false);
}

TEST(every_stack_has_a_guard_made_by_protection)
{
    expect_guards(true);
}

static void overflow(bool forbid_regions)
{
    struct torc__stacks stacks;

    signal(SIGSEGV, SIG_DFL); /* Sanitizers catch it otherwise. */
    start(&stacks, forbid_regions, 1);
    torc__stack_take(&stacks)->low[-1] = 1;
}

static void overflow_into_region(void)
{
    overflow(false);
}

static void overflow_into_protection(void)
{
    overflow(true);
}

TEST(a_write_below_a_stack_is_a_fault)
{
    harness_expect_death(overflow_into_region, SIGSEGV, "");
    harness_expect_death(overflow_into_protection, SIGSEGV, "");
}

static unsigned max_map_count(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned most = 0;

    EXPECT(file != NULL && fscanf(file, "%u", &most) == 1);
    fclose(file);
    return most;
}

/* Each of these guards makes two mappings more, and a process may have 65,530. */
TEST(more_stacks_than_guards_by_protection_are_had_without)
{
    const uint32_t count = 40000;
    const unsigned most = max_map_count();
    struct torc__stacks stacks;
    struct torc__stack **taken;
    void *mapping;

    if (most / 4 >= count || harness_is_slow())
        SKIP("vm.max_map_count is %u here, or everything is slow", most);
    start(&stacks, true, count);
    taken = take_all(&stacks, count);

    EXPECT_UINT(stacks.unguarded, >, 0);
    EXPECT_UINT(stacks.unguarded, <=, count - most / 4 + 64);
    for (uint32_t i = 0; i < count; i += 100)
        touch(taken[i], 'x');
    expect_guarded(taken[0]);
    mapping = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(mapping != MAP_FAILED); /* There are some left for others. */
    munmap(mapping, PAGE);
    give_all(&stacks, taken, count);
    torc__stacks_finish(&stacks);
    end_probing();
}

/* Mappings are counted for the whole process, and every shard has a pool of its own. */
TEST(guards_by_protection_are_counted_for_all_pools_together)
{
    const uint32_t limit = max_map_count() / 4;
    struct torc__stacks pools[3];
    struct torc__stack **taken[3];

    if (limit >= 40000 || harness_is_slow())
        SKIP("vm.max_map_count is %u here, or everything is slow", 4 * limit);
    start(&pools[0], true, limit + 64);
    taken[0] = take_all(&pools[0], limit + 64);
    start(&pools[1], true, 64);
    taken[1] = take_all(&pools[1], 64);
    EXPECT_UINT(pools[0].protected, ==, limit);
    EXPECT_UINT(pools[1].protected, ==, 0);
    EXPECT_UINT(pools[1].unguarded, ==, 64);

    give_all(&pools[0], taken[0], limit + 64);
    torc__stacks_finish(&pools[0]);
    start(&pools[2], true, 64);
    taken[2] = take_all(&pools[2], 64);
    EXPECT_UINT(pools[2].protected, ==, 64); /* Those of the first are to be had again. */
    for (unsigned i = 1; i < 3; i++) {
        give_all(&pools[i], taken[i], 64);
        torc__stacks_finish(&pools[i]);
    }
}

/* ---- Taking and giving ---- */

TEST(the_stack_given_back_last_is_taken_first)
{
    struct torc__stacks stacks;
    struct torc__stack *taken[200];

    start(&stacks, false, 200);
    for (unsigned i = 0; i < 200; i++)
        taken[i] = torc__stack_take(&stacks);
    for (unsigned i = 0; i < 200; i++)
        torc__stack_give(&stacks, taken[i]);
    for (unsigned i = 200; i-- > 0;)
        EXPECT(torc__stack_take(&stacks) == taken[i]);
    EXPECT_UINT(stacks.touched, ==, 200);
    for (unsigned i = 0; i < 200; i++)
        torc__stack_give(&stacks, taken[i]);
    torc__stacks_finish(&stacks);
}

TEST(no_stack_is_taken_twice)
{
    struct torc__stacks stacks;
    struct torc__stack *taken[500] = {NULL};

    start(&stacks, false, 500);
    for (unsigned i = 0; i < 20000; i++) {
        struct torc__stack **slot = &taken[harness_random_below(500)];

        if (*slot == NULL) {
            *slot = torc__stack_take(&stacks);
            EXPECT((*slot)->top[-1] == 0);
            (*slot)->top[-1] = 1;
        } else {
            EXPECT((*slot)->top[-1] == 1);
            (*slot)->top[-1] = 0;
            torc__stack_give(&stacks, *slot);
            *slot = NULL;
        }
    }
    for (unsigned i = 0; i < 500; i++) {
        if (taken[i] != NULL)
            torc__stack_give(&stacks, taken[i]);
    }
    torc__stacks_finish(&stacks);
}

static void take_without_reserving(void)
{
    struct torc__stacks stacks;

    start(&stacks, false, 1);
    for (;;)
        (void)torc__stack_take(&stacks);
}

static void finish_while_one_is_used(void)
{
    struct torc__stacks stacks;

    start(&stacks, false, 1);
    (void)torc__stack_take(&stacks);
    torc__stacks_finish(&stacks);
}

TEST(broken_contracts_abort)
{
    harness_expect_death(take_without_reserving, SIGABRT, "assertion failed");
    harness_expect_death(finish_while_one_is_used, SIGABRT, "assertion failed");
}

TEST(want_of_address_space_is_an_error_and_leaves_what_was_there)
{
    struct torc__stacks stacks;

    torc__stacks_init(&stacks, 64 << 20, false);
    if (torc__stacks_reserve(&stacks, 1024) < 0)
        SKIP("64 GiB of address space are more than there is, perhaps under valgrind");
    EXPECT_INT(torc__stacks_reserve(&stacks, 1 << 30), ==, -ENOMEM); /* 64 PiB. */
    EXPECT_UINT(stacks.reserved, >=, 1024);
    torc__stack_give(&stacks, torc__stack_take(&stacks));
    torc__stacks_finish(&stacks);
}

/* ---- Memory ---- */

static unsigned resident_pages(const struct torc__stacks *stacks, const struct torc__stack *stack)
{
    unsigned char map[64];
    unsigned count = 0;

    EXPECT_INT(mincore(stack->low, stacks->usable_size, map), ==, 0);
    for (unsigned i = 0; i < stacks->usable_size / PAGE; i++)
        count += map[i] & 1;
    return count;
}

static unsigned resident_stacks(const struct torc__stacks *stacks, struct torc__stack **taken,
                                unsigned count)
{
    unsigned resident = 0;

    for (unsigned i = 0; i < count; i++)
        resident += resident_pages(stacks, taken[i]) > 0;
    return resident;
}

TEST(trimming_gives_back_the_memory_of_all_but_the_hottest_free_stacks)
{
    enum {
        COUNT = 2000
    };
    struct torc__stacks stacks;
    struct torc__stack **taken;

    start(&stacks, false, COUNT);
    taken = take_all(&stacks, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        touch(taken[i], 'x');
    EXPECT_UINT(resident_stacks(&stacks, taken, COUNT), ==, COUNT);
    for (unsigned i = 100; i < COUNT; i++)
        torc__stack_give(&stacks, taken[i]);

    EXPECT_UINT(torc__stacks_trim(&stacks), ==, COUNT - 100 - COUNT / 4);
    EXPECT_UINT(resident_stacks(&stacks, taken, COUNT), ==, 100 + COUNT / 4);
    EXPECT_UINT(resident_stacks(&stacks, taken + COUNT - COUNT / 4, COUNT / 4), ==, COUNT / 4);
    torc__stacks_trim(&stacks);
    EXPECT_UINT(resident_stacks(&stacks, taken, COUNT), ==, 100 + 256);

    for (unsigned i = 0; i < 100; i++) {
        EXPECT_INT(taken[i]->top[-(int)PAGE / 2], ==, 'x'); /* In use, and so not touched. */
        torc__stack_give(&stacks, taken[i]);
    }
    for (unsigned i = 0; i < COUNT; i += 50)
        expect_guarded(taken[i]);
    free(taken);
    torc__stacks_finish(&stacks);
    end_probing();
}

TEST(a_stack_that_was_never_used_takes_no_memory)
{
    struct torc__stacks stacks;
    struct torc__stack **taken;

    start(&stacks, false, 1000);
    taken = take_all(&stacks, 1000);
    touch(taken[500], 'x');
    EXPECT_UINT(resident_stacks(&stacks, taken, 1000), ==, 1);
    EXPECT_UINT(resident_pages(&stacks, taken[500]), ==, 1);
    give_all(&stacks, taken, 1000);
    torc__stacks_finish(&stacks);
}

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    size_t total;
    size_t resident = 0;

    EXPECT(file != NULL && fscanf(file, "%zu %zu", &total, &resident) == 2);
    fclose(file);
    return resident * PAGE;
}

TEST(of_a_million_stacks_only_those_in_use_take_memory)
{
    const uint32_t reserved = harness_scaled(1000000);
    const uint32_t used = UNDER_TSAN ? 2000 : reserved / 10; /* It follows 8,128 at most. */
    const size_t before = resident_bytes();
    struct torc__stacks stacks;
    struct torc__stack **taken;

    start(&stacks, false, reserved);
    taken = take_all(&stacks, used);
    for (uint32_t i = 0; i < used; i++)
        touch(taken[i], 'x');
    if (!harness_is_slow()) /* Sanitizers have memory of their own for each of ours. */
        EXPECT_UINT(resident_bytes() - before, <, (size_t)used * PAGE * 5 / 4);
    EXPECT_UINT(stacks.touched, ==, used);
    give_all(&stacks, taken, used);
    EXPECT_UINT(torc__stacks_trim(&stacks), ==, used - used / 4);
    torc__stacks_finish(&stacks);
}

/* SPDX-License-Identifier: MIT */
/*
 * fiber_test.c - control blocks: numbered, aligned, and no more than there may be.
 */
#include "fiber/fiber.h"
#include "harness/harness.h"
#include <errno.h>
#include <signal.h>

static struct torc_fiber *take(struct torc__fibers *fibers)
{
    struct torc_fiber *fiber = fibers->free;

    if (fiber != NULL)
        fibers->free = fiber->next;
    return fiber;
}

TEST(blocks_are_handed_out_in_the_order_of_memory_and_numbered_from_one)
{
    struct torc__fibers fibers;
    const struct torc_fiber *last = NULL;

    torc__fibers_init(&fibers, 10000);
    for (uint32_t i = 1; i <= 3 * FIBER_CHUNK; i++) {
        struct torc_fiber *fiber;

        if (fibers.free == NULL)
            EXPECT_INT(torc__fibers_grow(&fibers), ==, 0);
        fiber = take(&fibers);
        EXPECT_UINT(fiber->id, ==, i);
        EXPECT_UINT((uintptr_t)fiber % 64, ==, 0);
        EXPECT_INT(fiber->state, ==, FIBER_FREE);
        if (i % FIBER_CHUNK != 1)
            EXPECT(fiber == last + 1);
        last = fiber;
    }
    EXPECT_UINT(fibers.allocated, ==, 3 * FIBER_CHUNK);
    torc__fibers_finish(&fibers);
}

TEST(there_are_never_more_blocks_than_the_limit)
{
    const uint32_t limits[] = {0, 1, FIBER_CHUNK - 1, FIBER_CHUNK, FIBER_CHUNK + 1, 1300};

    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct torc__fibers fibers;
        uint32_t count = 0;
        int result;

        torc__fibers_init(&fibers, limits[i]);
        while ((result = torc__fibers_grow(&fibers)) == 0) {
            while (take(&fibers) != NULL)
                count++;
        }
        EXPECT_INT(result, ==, -ENOMEM);
        EXPECT_UINT(count, ==, limits[i]);
        torc__fibers_finish(&fibers);
    }
}

TEST(finished_fibers_can_be_begun_again)
{
    struct torc__fibers fibers;

    torc__fibers_init(&fibers, 600);
    for (unsigned i = 0; i < 3; i++) {
        EXPECT_INT(torc__fibers_grow(&fibers), ==, 0);
        EXPECT_INT(torc__fibers_grow(&fibers), ==, 0);
        EXPECT_INT(torc__fibers_grow(&fibers), ==, -ENOMEM);
        torc__fibers_finish(&fibers);
        EXPECT(fibers.free == NULL);
        EXPECT_UINT(fibers.allocated, ==, 0);
    }
}

static void finish_while_one_is_alive(void)
{
    struct torc__fibers fibers;

    torc__fibers_init(&fibers, 600);
    fibers.alive = 1;
    torc__fibers_finish(&fibers);
}

TEST(finishing_while_a_fiber_is_alive_aborts)
{
    harness_expect_death(finish_while_one_is_alive, SIGABRT, "assertion failed");
}

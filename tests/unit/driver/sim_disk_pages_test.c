/* SPDX-License-Identifier: MIT */
/*
 * sim_disk_pages_test.c - pages are found by any number, in order, and leave nothing behind.
 */
#include "driver/sim/disk_inner.h"
#include "harness/harness.h"

#define NUMBER_MAX (UINT64_MAX >> 13) /* of the last page that a file may have */

static const uint64_t numbers[] = {0,    1,      63,      64,         65,         4095,
                                   4096, 262143, 1 << 20, 1ull << 30, 1ull << 42, NUMBER_MAX};

#define COUNT (sizeof(numbers) / sizeof(numbers[0]))

TEST(pages_are_found_by_their_numbers_only)
{
    struct sim_pages pages = {.root = NULL};
    struct sim_page *page[COUNT];

    EXPECT(torc__sim_pages_find(&pages, 0) == NULL);
    for (size_t i = 0; i < COUNT; i++) {
        page[i] = torc__sim_pages_add(&pages, numbers[i]);
        EXPECT(torc__sim_pages_add(&pages, numbers[i]) == page[i]);
        EXPECT(page[i]->live == NULL && page[i]->durable == NULL);
    }
    for (size_t i = 0; i < COUNT; i++) {
        EXPECT(torc__sim_pages_find(&pages, numbers[i]) == page[i]);
        EXPECT(torc__sim_pages_find(&pages, numbers[i] + 7) == NULL);
    }
    for (size_t i = 0; i < COUNT; i++)
        torc__sim_pages_remove(&pages, numbers[i]);
    EXPECT(pages.root == NULL && pages.height == 0);
}

TEST(the_next_page_is_the_first_one_from_there)
{
    struct sim_pages pages = {.root = NULL};
    uint64_t number = 0;
    size_t found = 0;

    EXPECT(torc__sim_pages_next(&pages, &number) == NULL);
    for (size_t i = COUNT; i-- > 0;)
        (void)torc__sim_pages_add(&pages, numbers[i]);
    while (torc__sim_pages_next(&pages, &number) != NULL) {
        EXPECT_UINT(number, ==, numbers[found++]);
        number++;
    }
    EXPECT_UINT(found, ==, COUNT);
    number = 66;
    EXPECT(torc__sim_pages_next(&pages, &number) != NULL);
    EXPECT_UINT(number, ==, 4095);
    for (size_t i = 0; i < COUNT; i++)
        torc__sim_pages_remove(&pages, numbers[i]);
}

TEST(random_pages_come_and_go)
{
    enum {
        RANGE = 5000
    };
    static bool is_there[RANGE];
    struct sim_pages pages = {.root = NULL};

    for (unsigned i = 0; i < harness_scaled(50000); i++) {
        uint64_t number = harness_random_below(RANGE);
        uint64_t next = number;

        if (is_there[number]) {
            torc__sim_pages_remove(&pages, number);
        } else {
            (void)torc__sim_pages_add(&pages, number);
        }
        is_there[number] = !is_there[number];
        while (number < RANGE && !is_there[number])
            number++;
        EXPECT((torc__sim_pages_next(&pages, &next) != NULL) == (number < RANGE));
        EXPECT(number == RANGE || next == number);
    }
    for (unsigned i = 0; i < RANGE; i++) {
        if (is_there[i])
            torc__sim_pages_remove(&pages, i);
    }
    EXPECT(pages.root == NULL);
}

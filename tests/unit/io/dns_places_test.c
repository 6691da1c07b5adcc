/* SPDX-License-Identifier: MIT */
/*
 * dns_places_test.c - the order of RFC 2782.
 */
#include "harness/harness.h"
#include "io/dns.h"
#include <string.h>

static uint32_t lowest(uint32_t limit)
{
    (void)limit;
    return 0;
}

static uint32_t highest(uint32_t limit)
{
    return limit - 1;
}

static void expect_order(const char *order, uint32_t (*below)(uint32_t limit))
{
    struct torc_service places[] = {
        {.priority = 20, .weight = 5, .host = "e"}, {.priority = 10, .weight = 7, .host = "b"},
        {.priority = 10, .weight = 0, .host = "a"}, {.priority = 10, .weight = 3, .host = "c"},
        {.priority = 15, .weight = 0, .host = "d"},
    };
    char found[6] = "";

    torc__places_sort(places, 5, below);
    for (int i = 0; i < 5; i++)
        found[i] = places[i].host[0];
    /* Equal ones are given in any order. */
    EXPECT_MSG(strcmp(found, order) == 0, "%s is not %s", found, order);
}

TEST(priority_decides_first_and_then_the_dice)
{
    expect_order("abcde", lowest);
    expect_order("cbade", highest);
}

TEST(weights_are_chances)
{
    unsigned first[3] = {0};

    for (int i = 0; i < 4000; i++) {
        struct torc_service places[] = {
            {.weight = 0, .port = 0}, {.weight = 1, .port = 1}, {.weight = 3, .port = 2}};

        torc__places_sort(places, 3, harness_random_below);
        first[places[0].port]++;
    }
    /* 1 of 5, 1 of 5, 3 of 5: that far off comes once in more tries than there are atoms. */
    EXPECT_UINT(first[0], >, 400);
    EXPECT_UINT(first[1], >, 400);
    EXPECT_UINT(first[2], >, 1800);
}

TEST(random_numbers_are_below_their_limit_and_differ)
{
    bool differ = false;

    EXPECT_UINT(torc__random_below(1), ==, 0);
    for (int i = 0; i < 100; i++) {
        const uint32_t number = torc__random_below(1000);

        EXPECT_UINT(number, <, 1000);
        differ = differ || number != torc__random_below(1000);
    }
    EXPECT(differ);
}

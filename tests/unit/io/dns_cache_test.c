/* SPDX-License-Identifier: MIT */
/*
 * dns_cache_test.c - what is remembered, for how long, and what makes room for what.
 */
#include "harness/net.h"
#include "harness/run.h"
#include "io/dns_cache.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NOW   1000
#define LATER 2000

/* Waking needs a shard, so names are made ready on one. */
static void remember(struct torc__names_cache *cache, const char *host, uint64_t expires_ns)
{
    const struct torc_address address = harness_address("127.0.0.1:0");
    struct torc__name *name = torc__names_add(cache, host);

    EXPECT(name != NULL);
    torc__names_complete(cache, name, 1, &address, expires_ns);
    torc__name_release(name);
}

static bool is_known(struct torc__names_cache *cache, const char *host, uint64_t now_ns)
{
    struct torc__name *name = torc__names_find(cache, host, now_ns);

    if (name != NULL)
        torc__name_release(name);
    return name != NULL;
}

FIBER_TEST(a_name_is_known_until_it_expires_in_any_case_of_letters)
{
    struct torc__names_cache cache;

    EXPECT_INT(torc__names_init(&cache, 4), ==, 0);
    EXPECT(!is_known(&cache, "a.test", NOW));
    remember(&cache, "a.test", LATER);
    EXPECT(is_known(&cache, "a.test", NOW));
    EXPECT(is_known(&cache, "A.Test", LATER - 1));
    EXPECT(!is_known(&cache, "a.test.", NOW)); /* Absolute, and so another name. */
    EXPECT(!is_known(&cache, "a.test", LATER));
    EXPECT_UINT(cache.ready, ==, 0);
    torc__names_finish(&cache);
}

FIBER_TEST(the_name_used_least_recently_makes_room)
{
    struct torc__names_cache cache;

    EXPECT_INT(torc__names_init(&cache, 3), ==, 0);
    remember(&cache, "a", LATER);
    remember(&cache, "b", LATER);
    remember(&cache, "c", LATER);
    EXPECT(is_known(&cache, "a", NOW));
    remember(&cache, "d", LATER);
    EXPECT_UINT(cache.ready, ==, 3);
    EXPECT(!is_known(&cache, "b", NOW));
    EXPECT(is_known(&cache, "a", NOW));
    EXPECT(is_known(&cache, "c", NOW));
    EXPECT(is_known(&cache, "d", NOW));
    torc__names_finish(&cache);
}

FIBER_TEST(many_names_are_told_apart)
{
    struct torc__names_cache cache;
    char host[16];

    EXPECT_INT(torc__names_init(&cache, 100), ==, 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(host, sizeof(host), "name-%d", i);
        remember(&cache, host, LATER);
    }
    EXPECT_UINT(cache.ready, ==, 100);
    for (int i = 0; i < 1000; i++) {
        snprintf(host, sizeof(host), "name-%d", i);
        EXPECT(is_known(&cache, host, NOW) == (i >= 900));
    }
    torc__names_finish(&cache);
}

FIBER_TEST(a_held_name_outlives_the_table)
{
    const struct torc_address addresses[] = {harness_address("127.0.0.1:0"),
                                             harness_address("127.0.0.2:0")};
    struct torc__names_cache cache;
    struct torc__name *name;

    EXPECT_INT(torc__names_init(&cache, 1), ==, 0);
    name = torc__names_add(&cache, "held");
    EXPECT(name != NULL);
    EXPECT_INT(name->state, ==, NAME_PENDING);
    EXPECT(is_known(&cache, "held", UINT64_MAX - 1)); /* Pending ones do not expire. */
    torc__names_complete(&cache, name, 2, addresses, LATER);
    remember(&cache, "other", LATER); /* Takes its place. */
    EXPECT(!is_known(&cache, "held", NOW));
    EXPECT_INT(name->result, ==, 2);
    EXPECT(torc_address_equal(&name->addresses[1], &addresses[1]));
    torc__names_finish(&cache);
    EXPECT(torc_address_equal(&name->addresses[0], &addresses[0]));
    torc__name_release(name);
}

FIBER_TEST(what_is_not_to_be_remembered_is_gone_when_it_is_ready)
{
    struct torc__names_cache cache;
    struct torc__name *name;

    EXPECT_INT(torc__names_init(&cache, 4), ==, 0);
    name = torc__names_add(&cache, "fleeting");
    EXPECT(name != NULL);
    torc__names_complete(&cache, name, -EAGAIN, NULL, 0);
    EXPECT(!is_known(&cache, "fleeting", 0));
    EXPECT_INT(name->result, ==, -EAGAIN);
    torc__name_release(name);

    name = torc__names_add(&cache, "flushed"); /* While it is looked up. */
    EXPECT(name != NULL);
    torc__names_flush(&cache);
    EXPECT(!is_known(&cache, "flushed", 0));
    torc__names_complete(&cache, name, -ENXIO, NULL, LATER);
    EXPECT(!is_known(&cache, "flushed", 0));
    torc__name_release(name);
    torc__names_finish(&cache);
}

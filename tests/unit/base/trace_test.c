/* SPDX-License-Identifier: MIT */
/*
 * trace_test.c - a ring of events keeps the newest, and names their texts.
 */
#include "base/trace.h"
#include "harness/harness.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY 16u

static struct torc__trace trace;
static struct torc__trace_ring *ring;

static void make_ring(void)
{
    const size_t size = sizeof(*ring) + CAPACITY * sizeof(ring->events[0]);

    ring = aligned_alloc(64, (size + 63) / 64 * 64);
    EXPECT(ring != NULL);
    memset(ring, 0, size);
    torc__trace_init(&trace, ring, CAPACITY);
}

TEST(events_are_numbered_and_the_newest_are_kept)
{
    make_ring();
    for (uint32_t i = 0; i < 3 * CAPACITY; i++)
        torc__trace_add(&trace, (struct torc__trace_event){.kind = TRACE_WAKE, .fiber = i});

    EXPECT_UINT(atomic_load(&ring->written), ==, 3 * CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        EXPECT_UINT(ring->events[i].fiber, ==, 2 * CAPACITY + i);
        EXPECT(i == 0 || ring->events[i].time_ns >= ring->events[i - 1].time_ns);
    }
    free(ring);
}

TEST(a_name_has_one_number_and_none_is_a_name)
{
    char reused[] = "first";
    unsigned first;

    make_ring();
    EXPECT_UINT(torc__trace_name(&trace, NULL), ==, 0);
    EXPECT_UINT(torc__trace_name(&trace, ""), ==, 0);
    first = torc__trace_name(&trace, reused);
    EXPECT_UINT(torc__trace_name(&trace, reused), ==, first);
    EXPECT_STR(ring->names[first], "first");
    strcpy(reused, "other"); /* The memory of a name became that of another. */
    EXPECT_UINT(torc__trace_name(&trace, reused), !=, first);
    EXPECT_STR(ring->names[first], "first");
    free(ring);
}

TEST(names_for_which_there_is_no_room_share_one)
{
    static char names[TRACE_NAMES + 10][16];
    unsigned last = 0;

    make_ring();
    for (unsigned i = 0; i < TRACE_NAMES + 10; i++) {
        snprintf(names[i], sizeof(names[i]), "name %u", i);
        last = torc__trace_name(&trace, names[i]);
    }
    EXPECT_UINT(last, ==, TRACE_NAMES - 1);
    EXPECT_STR(ring->names[last], "(other names)");
    free(ring);
}

TEST(a_long_name_is_cut_off)
{
    char name[200];
    unsigned number;

    make_ring();
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    number = torc__trace_name(&trace, name);
    EXPECT_UINT(strlen(ring->names[number]), ==, TRACE_NAME_MAX - 1);
    EXPECT_UINT(torc__trace_name(&trace, name), ==, number);
    free(ring);
}

TEST(a_long_name_is_cut_off_behind_a_whole_character)
{
    char name[2 * TRACE_NAME_MAX + 1] = "";
    unsigned number;

    make_ring();
    for (unsigned i = 0; i < TRACE_NAME_MAX; i++)
        memcpy(name + 2 * (size_t)i, "\xc3\xa9", 3);
    number = torc__trace_name(&trace, name);
    EXPECT_UINT(strlen(ring->names[number]), ==, TRACE_NAME_MAX - 2);
    EXPECT_UINT(torc__trace_name(&trace, name), ==, number); /* It is known again. */
    name[0] = 'x';
    EXPECT_UINT(torc__trace_name(&trace, name), ==, number + 1);
    free(ring);
}

TEST(what_others_write_to_the_ring_is_not_believed)
{
    make_ring();
    atomic_store(&ring->name_count, TRACE_NAMES + 100);
    ring->capacity = UINT32_C(1) << 31;
    EXPECT_UINT(torc__trace_name(&trace, "first"), ==, 1);
    EXPECT_STR(ring->names[1], "first");
    EXPECT_UINT(atomic_load(&ring->name_count), ==, 2);
    for (uint32_t i = 0; i <= CAPACITY; i++)
        torc__trace_add(&trace, (struct torc__trace_event){.kind = TRACE_WAKE, .fiber = i});
    EXPECT_UINT(ring->events[0].fiber, ==, CAPACITY);
    free(ring);
}

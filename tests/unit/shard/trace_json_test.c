/* SPDX-License-Identifier: MIT */
/*
 * trace_json_test.c - traces of processes that are not to be trusted.
 */
#include "harness/harness.h"
#include "shard/page.h"
#include <stdlib.h>
#include <string.h>

#define CAPACITY TRACE_EVENTS_MIN

static struct torc__trace_area *area;
static struct torc__trace trace;
static char text[8192];
static size_t text_length;

static void make_area(void)
{
    const size_t size = (torc__trace_area_size(1, CAPACITY) + 63) / 64 * 64;

    area = aligned_alloc(64, size);
    EXPECT(area != NULL);
    memset(area, 0, size);
    area->capacity = CAPACITY;
    area->shard_count = 1;
    torc__trace_init(&trace, torc__trace_ring_of(area, 0, CAPACITY), CAPACITY);
    text_length = 0;
}

static int take(void *arg, const void *data, size_t size)
{
    (void)arg;
    EXPECT_UINT(text_length + size, <, sizeof(text));
    memcpy(text + text_length, data, size);
    text_length += size;
    text[text_length] = '\0';
    return 0;
}

static void write_text(void)
{
    const struct torc__trace_shape shape = {.capacity = CAPACITY, .shard_count = 1};

    EXPECT_INT(torc__trace_to_json(area, shape, take, NULL), ==, 0);
}

static void add(enum torc__trace_kind kind, uint32_t fiber, uint64_t object)
{
    torc__trace_add(&trace, (struct torc__trace_event){
                                .kind = (uint8_t)kind, .fiber = fiber, .object = object});
}

TEST(an_operation_is_written_from_its_start_to_its_end)
{
    make_area();
    add(TRACE_OP_START, 0, 64);
    add(TRACE_OP_END, 0, 64);
    write_text();
    EXPECT(strstr(text, "\"cat\":\"op\"") != NULL);
    free(area);
}

/* A fiber of that name runs. */
static void run_named(const char *name)
{
    torc__trace_add(&trace, (struct torc__trace_event){.kind = TRACE_RUN,
                                                       .fiber = 5,
                                                       .name = torc__trace_name(&trace, name)});
}

TEST(names_are_valid_json_whatever_they_are)
{
    make_area();
    run_named("caf\xc3\xa9");
    run_named("a\"b\\c\nd");
    run_named("caf\xc3");
    run_named("\xe9t\xe9"); /* in Latin-1 */
    write_text();
    EXPECT(strstr(text, "\"name\":\"caf\xc3\xa9\"") != NULL);
    EXPECT(strstr(text, "\"name\":\"a\\u0022b\\u005cc\\u000ad\"") != NULL);
    EXPECT(strstr(text, "\"name\":\"caf\\ufffd\"") != NULL);
    EXPECT(strstr(text, "\"name\":\"\\ufffdt\\ufffd\"") != NULL);
    free(area);
}

TEST(an_operation_that_pretends_to_be_a_fiber_is_left_out)
{
    make_area();
    add(TRACE_SPAWN, 5, 0);
    add(TRACE_OP_START, 0, 2 * 5 + 1);
    add(TRACE_WAKE, 5, 0); /* Its state until then is written by name. */
    add(TRACE_OP_START, 0, 2 * 5 + 1);
    add(TRACE_OP_END, 0, 2 * 5 + 1);
    write_text();
    EXPECT(strstr(text, "\"name\":\"ready\"") != NULL);
    EXPECT(strstr(text, "\"cat\":\"op\"") == NULL);
    free(area);
}

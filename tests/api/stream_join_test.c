/* SPDX-License-Identifier: MIT */
/*
 * stream_join_test.c - input of a stream in one piece: the bytes are the right ones, wherever they
 * were cut, and are not moved more often than they have to be.
 */
#include "harness/net.h"
#include "harness/stream.h"
#include <torc/torc.h>

#define PORTION 50000u

/* So many more bytes of the pattern are there. */
static void put_pattern(struct torc_stream *stream, int peer, uint64_t offset, size_t count)
{
    static char data[PORTION];
    const size_t before = torc_stream_buffered(stream);

    harness_pattern_fill(data, count, offset);
    harness_put(peer, data, count);
    while (torc_stream_buffered(stream) < before + count)
        harness_await_input(stream, torc_stream_buffered(stream) + 1);
}

FIBER_TEST(who_asks_for_one_byte_more_each_time_has_many_at_once)
{
    struct torc_stream stream;
    const void *data;
    ssize_t count = 1;
    unsigned calls = 0;
    int peer;

    harness_unix_stream(&stream, &peer);
    put_pattern(&stream, peer, 1, PORTION);
    EXPECT_INT(torc_stream_unread(&stream, "x", 1), ==, 0);
    for (; count <= (ssize_t)PORTION; calls++) {
        count = torc_stream_peek_at_least(&stream, (size_t)count + 1, &data);
        EXPECT_INT(count, >, 1);
        harness_pattern_check((const char *)data + 1, (size_t)count - 1, 1);
    }
    EXPECT_INT(calls, <, 50);
    harness_close_stream(&stream, peer);
}

#define WINDOW 100000u
#define STEP   100u

FIBER_TEST(bytes_under_a_window_that_slides_are_moved_seldom)
{
    struct torc_stream stream;
    const void *data;
    const char *expected = NULL;
    unsigned moves = 0;
    uint64_t offset = 0;
    int peer;

    harness_unix_stream(&stream, &peer);
    for (unsigned i = 0; i < 2 * WINDOW / PORTION; i++)
        put_pattern(&stream, peer, i * PORTION, PORTION);
    for (; offset < WINDOW; offset += STEP) {
        EXPECT_INT(torc_stream_peek_at_least(&stream, WINDOW, &data), >=, WINDOW);
        harness_pattern_check(data, STEP, offset);
        harness_pattern_check((const char *)data + WINDOW - STEP, STEP, offset + WINDOW - STEP);
        moves += data != expected;
        expected = (const char *)data + STEP;
        torc_stream_consume(&stream, STEP);
    }
    EXPECT_INT(moves, <, 10);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(whatever_is_put_peeked_consumed_and_unread_the_bytes_are_those_that_came)
{
    struct torc_stream stream;
    uint64_t sent = 0;
    uint64_t taken = 0;
    char back[100];
    int peer;

    harness_unix_stream(&stream, &peer);
    for (unsigned i = 0; i < 3000; i++) {
        const void *data;
        size_t there;

        if (sent - taken < PORTION / 2) {
            const size_t part = 1 + harness_random_below(harness_random_below(4) ? 300 : 20000);

            put_pattern(&stream, peer, sent, part);
            sent += part;
        }
        there = torc_stream_buffered(&stream);
        EXPECT_UINT(there, ==, sent - taken);
        if (there > 0) {
            const size_t least = 1 + harness_random_below((uint32_t)there);
            const ssize_t count = torc_stream_peek_at_least(&stream, least, &data);

            EXPECT_INT(count, >=, (ssize_t)least);
            EXPECT_INT(count, <=, (ssize_t)there);
            harness_pattern_check(data, (size_t)count, taken);
            there = harness_random_below(harness_random_below(3) ? 200 : (uint32_t)there + 1);
            there = there < torc_stream_buffered(&stream) ? there : 0;
            torc_stream_consume(&stream, there);
            taken += there;
        }
        if (taken > sizeof(back) && harness_random_below(8) == 0) {
            const size_t part = harness_random_below(sizeof(back));

            taken -= part;
            harness_pattern_fill(back, part, taken);
            EXPECT_INT(torc_stream_unread(&stream, back, part), ==, 0);
        }
    }
    harness_close_stream(&stream, peer);
}

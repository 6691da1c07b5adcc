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

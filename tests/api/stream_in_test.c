/* SPDX-License-Identifier: MIT */
/*
 * stream_in_test.c - what comes in on a stream: looking at it, taking it, putting it back.
 */
#include "harness/stream.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

/* ---- Peek and consume ---- */

FIBER_TEST(peek_shows_what_came_and_consume_takes_it)
{
    struct torc_stream stream;
    const void *first;
    const void *data;
    int peer;

    harness_tcp_stream(&stream, &peer);
    EXPECT_INT(torc_stream_fd(&stream), >=, 0);
    EXPECT_UINT(torc_stream_buffered(&stream), ==, 0);
    harness_put_text(peer, "hello");
    EXPECT_INT(torc_stream_peek(&stream, &first), ==, 5);
    EXPECT_MEM(first, "hello", 5);
    EXPECT_INT(torc_stream_peek(&stream, &data), ==, 5);
    EXPECT(data == first);
    torc_stream_consume(&stream, 0);
    torc_stream_consume(&stream, 2);
    EXPECT_UINT(torc_stream_buffered(&stream), ==, 3);
    EXPECT_INT(torc_stream_peek(&stream, &data), ==, 3);
    EXPECT_MEM(data, "llo", 3);
    torc_stream_consume(&stream, 3);
    EXPECT_UINT(torc_stream_buffered(&stream), ==, 0);
    harness_close_stream(&stream, peer);
}

static void consume_what_is_not_there(void)
{
    struct torc_stream stream;
    int peer;

    harness_unix_stream(&stream, &peer);
    harness_put_text(peer, "abc");
    harness_await_input(&stream, 3);
    torc_stream_consume(&stream, 4);
}

static void consume_too_much(void)
{
    harness_run(consume_what_is_not_there);
}

TEST(to_consume_more_than_there_is_aborts)
{
    harness_expect_death(consume_too_much, SIGABRT, "torc_stream_buffered");
}

#define SPLIT_LENGTH 9

/* Bytes in three pieces that are received one by one, each cut at another place. */
static void join_three(struct torc_stream *stream, int peer, size_t first, size_t second)
{
    const char *text = "123456789";
    const void *data;

    harness_put(peer, text, first);
    harness_await_input(stream, first);
    harness_put(peer, text + first, second - first);
    harness_await_input(stream, second);
    harness_put(peer, text + second, SPLIT_LENGTH - second);
    EXPECT_INT(torc_stream_peek_at_least(stream, SPLIT_LENGTH, &data), ==, SPLIT_LENGTH);
    EXPECT_MEM(data, text, SPLIT_LENGTH);
    torc_stream_consume(stream, first);
    EXPECT_INT(torc_stream_peek_at_least(stream, SPLIT_LENGTH - first, &data), ==,
               SPLIT_LENGTH - (ssize_t)first);
    EXPECT_MEM(data, text + first, SPLIT_LENGTH - first);
    torc_stream_consume(stream, SPLIT_LENGTH - first);
}

FIBER_TEST(peek_at_least_joins_pieces_cut_anywhere)
{
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    for (size_t first = 0; first <= SPLIT_LENGTH; first++) {
        for (size_t second = first; second <= SPLIT_LENGTH; second++)
            join_three(&stream, peer, first, second);
    }
    EXPECT_UINT(torc_stream_buffered(&stream), ==, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(what_follows_the_joined_bytes_keeps_its_place)
{
    struct torc_stream stream;
    const void *data;
    int peer;

    harness_unix_stream(&stream, &peer);
    harness_put_text(peer, "ab");
    harness_await_input(&stream, 2);
    harness_put_text(peer, "cdefgh");
    EXPECT_INT(torc_stream_peek_at_least(&stream, 3, &data), >=, 3);
    EXPECT_MEM(data, "abc", 3);
    harness_expect_input(&stream, "abcdefgh");
    harness_close_stream(&stream, peer);
}

FIBER_TEST(peek_at_least_gives_fewer_bytes_at_the_end)
{
    struct torc_stream stream;
    const void *data;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "abc");
    EXPECT_INT(shutdown(peer, SHUT_WR), ==, 0);
    EXPECT_INT(torc_stream_peek_at_least(&stream, 10, &data), ==, 3);
    EXPECT_MEM(data, "abc", 3);
    EXPECT_INT(torc_stream_peek_at_least(&stream, 10, &data), ==, 3);
    torc_stream_consume(&stream, 3);
    EXPECT_INT(torc_stream_peek_at_least(&stream, 10, &data), ==, 0);
    harness_expect_end(&stream, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(more_than_the_most_cannot_be_peeked)
{
    struct torc_stream stream;
    const void *data = NULL;
    int peer;

    harness_unix_stream(&stream, &peer);
    harness_put_text(peer, "abc");
    EXPECT_INT(torc_stream_peek_at_least(&stream, TORC_STREAM_PEEK_MAX + 1, &data), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_peek_at_least(&stream, SIZE_MAX, &data), ==, -EMSGSIZE);
    EXPECT(data == NULL);
    harness_expect_input(&stream, "abc");
    harness_close_stream(&stream, peer);
}

/* ---- Reading ---- */

FIBER_TEST(read_copies_what_is_there_up_to_its_length)
{
    struct torc_stream stream;
    char data[8];
    int peer;

    harness_tcp_stream(&stream, &peer);
    EXPECT_INT(torc_stream_read(&stream, data, 0), ==, 0);
    harness_put_text(peer, "abcdef");
    EXPECT_INT(torc_stream_read(&stream, data, 4), ==, 4);
    EXPECT_MEM(data, "abcd", 4);
    EXPECT_INT(torc_stream_read(&stream, data, 8), ==, 2);
    EXPECT_MEM(data, "ef", 2);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(read_all_tells_how_much_came_before_the_end)
{
    struct torc_stream stream;
    char data[8];
    size_t done;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "abcdef");
    EXPECT_INT(torc_stream_read_all(&stream, data, 4, &done), ==, 0);
    EXPECT_UINT(done, ==, 4);
    EXPECT_INT(torc_stream_read_all(&stream, data, 0, &done), ==, 0);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(shutdown(peer, SHUT_WR), ==, 0);
    EXPECT_INT(torc_stream_read_all(&stream, data, 8, &done), ==, -ENODATA);
    EXPECT_UINT(done, ==, 2);
    EXPECT_MEM(data, "ef", 2);
    harness_expect_end(&stream, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(skip_discards_exactly_so_much)
{
    struct torc_stream stream;
    size_t done;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "abcdef");
    EXPECT_INT(torc_stream_skip(&stream, 2, NULL), ==, 0);
    harness_expect_input(&stream, "cd");
    EXPECT_INT(shutdown(peer, SHUT_WR), ==, 0);
    EXPECT_INT(torc_stream_skip(&stream, SIZE_MAX, &done), ==, -ENODATA);
    EXPECT_UINT(done, ==, 2);
    harness_close_stream(&stream, peer);
}

static int send_pattern(void *arg)
{
    char data[5000];
    const int fd = *(const int *)arg;

    for (uint64_t offset = 0; offset < 100 * sizeof(data); offset += sizeof(data)) {
        harness_pattern_fill(data, sizeof(data), offset);
        EXPECT_INT(torc_send_all(fd, data, sizeof(data), NULL), ==, 0);
    }
    return torc_shutdown(fd, SHUT_WR);
}

FIBER_TEST(much_input_is_read_in_order_and_then_the_end)
{
    struct torc_stream stream;
    struct torc_scope scope;
    const void *data;
    uint64_t offset = 0;
    ssize_t count;
    int peer;

    harness_tcp_stream(&stream, &peer);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_pattern, &peer);
    while ((count = torc_stream_peek(&stream, &data)) > 0) {
        const size_t part = (size_t)count > 3000 ? 3000 : (size_t)count;

        harness_pattern_check(data, part, offset);
        torc_stream_consume(&stream, part);
        offset += part;
    }
    EXPECT_INT(count, ==, 0);
    EXPECT_UINT(offset, ==, 500000);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(half_a_megabyte_can_be_had_in_one_piece)
{
    struct torc_stream stream;
    struct torc_scope scope;
    const void *data;
    int peer;

    harness_unix_stream(&stream, &peer);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_pattern, &peer);
    EXPECT_INT(torc_stream_peek_at_least(&stream, 500000, &data), ==, 500000);
    harness_pattern_check(data, 500000, 0);
    torc_stream_consume(&stream, 499999);
    EXPECT_INT(torc_stream_peek(&stream, &data), ==, 1);
    harness_pattern_check(data, 1, 499999);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_stream(&stream, peer);
}

/* ---- Unread ---- */

FIBER_TEST(what_is_unread_comes_first)
{
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    EXPECT_INT(torc_stream_unread(&stream, "bc", 2), ==, 0);
    EXPECT_INT(torc_stream_unread(&stream, NULL, 0), ==, 0);
    EXPECT_INT(torc_stream_unread(&stream, "a", 1), ==, 0);
    EXPECT_UINT(torc_stream_buffered(&stream), ==, 3);
    harness_put_text(peer, "def");
    harness_expect_input(&stream, "abcdef");
    harness_close_stream(&stream, peer);
}

FIBER_TEST(unread_bytes_stand_before_queued_and_joined_ones)
{
    struct torc_stream stream;
    const void *data;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "yz");
    harness_await_input(&stream, 1);
    EXPECT_INT(torc_stream_unread(&stream, "x", 1), ==, 0); /* One is queued. */
    EXPECT_INT(torc_stream_peek_at_least(&stream, 3, &data), ==, 3);
    EXPECT_MEM(data, "xyz", 3);
    torc_stream_consume(&stream, 1);
    EXPECT_INT(torc_stream_unread(&stream, "vw", 2), ==, 0); /* Now they are joined. */
    harness_put_text(peer, "!");
    harness_expect_input(&stream, "vwyz!");
    harness_close_stream(&stream, peer);
}

FIBER_TEST(unreading_goes_on_after_the_end)
{
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    EXPECT_INT(shutdown(peer, SHUT_WR), ==, 0);
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_stream_unread(&stream, "again", 5), ==, 0);
    harness_expect_input(&stream, "again");
    harness_expect_end(&stream, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(no_more_can_be_unread_than_can_be_peeked)
{
    struct torc_stream stream;
    int peer;

    harness_unix_stream(&stream, &peer);
    EXPECT_INT(torc_stream_unread(&stream, "a", TORC_STREAM_PEEK_MAX + 1), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_unread(&stream, "a", SIZE_MAX), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_unread(&stream, "a", 1), ==, 0);
    EXPECT_INT(torc_stream_unread(&stream, "b", TORC_STREAM_PEEK_MAX), ==, -EMSGSIZE);
    harness_expect_input(&stream, "a");
    harness_close_stream(&stream, peer);
}

/* ---- Numbers ---- */

FIBER_TEST(numbers_of_all_sizes_are_read_in_both_orders)
{
    const unsigned char bytes[] = {0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    for (unsigned size = 1; size <= 8; size++) {
        uint64_t big;
        uint64_t little;
        uint64_t swapped = 0;

        harness_put(peer, bytes, size);
        EXPECT_INT(torc_stream_read_be(&stream, size, &big), ==, 0);
        EXPECT_UINT(big, ==, UINT64_C(0xfedcba9876543210) >> (64 - 8 * size));
        harness_put(peer, bytes, size);
        EXPECT_INT(torc_stream_read_le(&stream, size, &little), ==, 0);
        for (unsigned i = 0; i < size; i++)
            swapped |= (uint64_t)bytes[i] << (8 * i);
        EXPECT_UINT(little, ==, swapped);
    }
    harness_close_stream(&stream, peer);
}

FIBER_TEST(a_number_may_come_byte_by_byte)
{
    struct torc_stream stream;
    uint64_t value;
    int peer;

    harness_tcp_stream(&stream, &peer);
    for (unsigned i = 1; i <= 8; i++) {
        const unsigned char byte = (unsigned char)i;

        harness_put(peer, &byte, 1);
        harness_await_input(&stream, i);
    }
    EXPECT_INT(torc_stream_read_be(&stream, 8, &value), ==, 0);
    EXPECT_UINT(value, ==, UINT64_C(0x0102030405060708));
    harness_close_stream(&stream, peer);
}

FIBER_TEST(half_a_number_is_not_consumed)
{
    struct torc_stream stream;
    uint64_t value = 77;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "abc");
    EXPECT_INT(shutdown(peer, SHUT_WR), ==, 0);
    EXPECT_INT(torc_stream_read_be(&stream, 0, &value), ==, -EINVAL);
    EXPECT_INT(torc_stream_read_le(&stream, 9, &value), ==, -EINVAL);
    EXPECT_INT(torc_stream_read_be(&stream, 4, &value), ==, -ENODATA);
    EXPECT_INT(torc_stream_read_le(&stream, 4, &value), ==, -ENODATA);
    EXPECT_UINT(value, ==, 77);
    harness_expect_input(&stream, "abc");
    EXPECT_INT(torc_stream_read_le(&stream, 1, &value), ==, -ENODATA);
    harness_close_stream(&stream, peer);
}

/* ---- Ends ---- */

FIBER_TEST(data_comes_before_the_end_and_the_end_stays)
{
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "last");
    close(peer);
    harness_expect_input(&stream, "last");
    harness_expect_end(&stream, 0);
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

FIBER_TEST(data_comes_before_a_reset_and_the_reset_stays)
{
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "last");
    harness_await_input(&stream, 1);
    harness_put_text(peer, "words");
    harness_reset(peer);
    harness_expect_input(&stream, "lastwords");
    harness_expect_end(&stream, -ECONNRESET);
    harness_expect_end(&stream, -ECONNRESET);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

FIBER_TEST(what_came_before_a_reset_can_be_had_after_more_was_asked_for)
{
    struct torc_stream stream;
    const void *data;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "abc");
    harness_reset(peer);
    EXPECT_INT(torc_stream_peek_at_least(&stream, 4, &data), ==, -ECONNRESET);
    harness_expect_input(&stream, "abc");
    harness_expect_end(&stream, -ECONNRESET);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

FIBER_TEST(a_reset_at_every_byte_is_an_error_after_just_these)
{
    for (size_t length = 0; length < 20; length++) {
        struct torc_stream stream;
        char data[32];
        size_t done;
        int peer;

        harness_tcp_stream(&stream, &peer);
        harness_pattern_fill(data, sizeof(data), 0);
        harness_put(peer, data, length);
        harness_reset(peer);
        EXPECT_INT(torc_stream_read_all(&stream, data, sizeof(data), &done), ==, -ECONNRESET);
        EXPECT_UINT(done, ==, length);
        harness_pattern_check(data, done, 0);
        EXPECT_INT(torc_stream_close(&stream), ==, 0);
    }
}

FIBER_TEST(reading_what_is_not_open_is_an_error)
{
    struct torc_stream stream;

    torc_stream_open(&stream, 1000000);
    harness_expect_end(&stream, -EBADF);
    EXPECT_INT(torc_stream_close(&stream), ==, -EBADF);
}

static bool others_ran;

static int note_that_it_ran(void *arg)
{
    (void)arg;
    others_ran = true;
    return 0;
}

FIBER_TEST(a_reader_that_always_finds_input_lets_others_run)
{
    const int size = 1 << 20;
    struct torc_stream stream;
    struct torc_scope scope;
    size_t total = 0;
    int peer;

    harness_unix_stream(&stream, &peer);
    EXPECT_INT(setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), ==, 0);
    torc_scope_open(&scope, 0);
    harness_fill(peer);
    harness_await_input(&stream, 1);
    harness_spawn(&scope, note_that_it_ran, NULL);
    while (!others_ran && total < ((size_t)16 << 20)) {
        const void *data;
        const ssize_t count = torc_stream_peek(&stream, &data);

        EXPECT_INT(count, >, 0);
        torc_stream_consume(&stream, (size_t)count);
        total += (size_t)count;
        harness_fill(peer);
    }
    EXPECT(others_ran);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_stream(&stream, peer);
}

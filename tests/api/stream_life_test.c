/* SPDX-License-Identifier: MIT */
/*
 * stream_life_test.c - closing and detaching streams, and waits that a scope ends.
 */
#include "harness/stream.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

static int close_cancelled(struct torc_stream *stream)
{
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    result = torc_stream_close(stream);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    return result;
}

/* Wait for input for a moment, which starts a feed where there are any. */
static void wait_a_moment(struct torc_stream *stream)
{
    struct torc_scope scope;
    const void *data = NULL;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 100 * TORC_MICROSECOND);
    EXPECT_INT(torc_stream_peek(stream, &data), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT(data == NULL);
}

/* ---- Close ---- */

FIBER_TEST(a_stream_that_did_nothing_is_closed)
{
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_close_stream(&stream, peer);
    harness_tcp_stream(&stream, &peer);
    EXPECT_INT(close_cancelled(&stream), ==, 0);
    close(peer);
}

FIBER_TEST(close_sends_what_was_collected)
{
    struct torc_stream stream;
    char byte;
    int peer;

    harness_tcp_stream(&stream, &peer);
    EXPECT_INT(torc_stream_write(&stream, "farewell", 8, NULL), ==, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
    harness_expect_sent(peer, "farewell");
    EXPECT_INT(read(peer, &byte, 1), ==, 0);
    close(peer);
}

FIBER_TEST(close_in_a_cancelled_scope_drops_what_was_collected)
{
    struct torc_stream stream;
    char byte;
    int peer;

    harness_tcp_stream(&stream, &peer);
    EXPECT_INT(torc_stream_write(&stream, "farewell", 8, NULL), ==, 0);
    EXPECT_INT(close_cancelled(&stream), ==, -ECANCELED);
    EXPECT_INT(read(peer, &byte, 1), ==, 0);
    close(peer);
}

FIBER_TEST(close_in_a_cancelled_scope_drops_it_from_a_stream_that_receives_too)
{
    struct torc_stream stream;
    char byte;
    int peer;

    harness_tcp_stream(&stream, &peer);
    wait_a_moment(&stream);
    EXPECT_INT(torc_stream_write(&stream, "farewell", 8, NULL), ==, 0);
    EXPECT_INT(close_cancelled(&stream), ==, -ECANCELED);
    EXPECT_INT(read(peer, &byte, 1), ==, 0);
    close(peer);
}

FIBER_TEST(close_drops_the_input_that_is_left)
{
    struct torc_stream stream;
    int peer;

    harness_unix_stream(&stream, &peer);
    harness_put_text(peer, "nobody wants this");
    harness_await_input(&stream, 1);
    harness_put_text(peer, "nor this");
    harness_await_input(&stream, 18);
    EXPECT_INT(torc_stream_unread(&stream, "nor that", 8), ==, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(close_ends_a_feed_and_a_send_that_are_in_flight)
{
    static const char data[40000];
    struct torc_stream stream;
    int peer;

    for (int i = 0; i < 20; i++) {
        harness_narrow_stream(&stream, &peer);
        wait_a_moment(&stream);
        harness_fill(torc_stream_fd(&stream));
        for (size_t done = 0; done < sizeof(data); done += 1000)
            EXPECT_INT(torc_stream_write(&stream, data + done, 1000, NULL), ==, 0);
        if (i % 2 == 0)
            harness_pass_kernel(); /* The send waits in the kernel; else it is only planned. */
        if (i % 4 < 2)
            harness_put_text(peer, "hello");
        EXPECT_INT(close_cancelled(&stream), ==, -ECANCELED);
        close(peer);
    }
}

FIBER_TEST(close_waits_for_a_peer_that_reads_slowly)
{
    static char data[50000];
    struct torc_stream stream;
    struct torc_scope scope;
    int peer;

    harness_narrow_stream(&stream, &peer);
    harness_pattern_fill(data, sizeof(data), 0);
    for (size_t done = 0; done < sizeof(data); done += 1000)
        EXPECT_INT(torc_stream_write(&stream, data + done, 1000, NULL), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_stream_flush(&stream), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_stream_close(&stream), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    memset(data, 0, sizeof(data));
    harness_get(peer, data, 1000);
    harness_pattern_check(data, 1000, 0);
    close(peer);
}

/* ---- Detach ---- */

FIBER_TEST(linger_says_the_last_word_and_waits_for_the_end_of_the_peer)
{
    struct torc_stream stream;
    char answer[4];
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put(peer, "what nobody reads", 17);
    EXPECT_INT(torc_stream_write(&stream, "no", 2, NULL), ==, 0);
    EXPECT_INT(torc_stream_linger(&stream, TORC_MILLISECOND), ==, -ETIME);
    EXPECT_INT(recv(peer, answer, 4, 0), ==, 2);
    EXPECT_MEM(answer, "no", 2);
    EXPECT_INT(recv(peer, answer, 4, 0), ==, 0);
    harness_close_stream(&stream, peer);

    harness_tcp_stream(&stream, &peer);
    harness_put(peer, "what nobody reads", 17);
    shutdown(peer, SHUT_WR);
    EXPECT_INT(torc_stream_linger(&stream, TORC_FOREVER / 2), ==, 0);
    EXPECT_UINT(torc_stream_buffered(&stream), ==, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(after_its_grace_linger_drops_what_the_peer_does_not_take)
{
    struct torc_stream stream;
    int peer;

    harness_unix_stream(&stream, &peer); /* Full is full, while TCP may find more room. */
    harness_fill(torc_stream_fd(&stream));
    EXPECT_INT(torc_stream_write(&stream, "no", 2, NULL), ==, 0);
    EXPECT_INT(torc_stream_linger(&stream, TORC_MILLISECOND), ==, -ETIME);
    EXPECT_INT(torc_stream_close(&stream), ==, -ETIME); /* It does not wait any more. */
    close(peer);
}

FIBER_TEST(detach_hands_out_the_descriptor_and_keeps_what_came)
{
    struct torc_stream stream;
    char data[16];
    int peer;
    int fd;

    harness_tcp_stream(&stream, &peer);
    EXPECT_INT(torc_stream_write(&stream, "before", 6, NULL), ==, 0);
    harness_put_text(peer, "kept");
    harness_await_input(&stream, 4);
    fd = torc_stream_detach(&stream);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_stream_fd(&stream), ==, -1);
    harness_expect_sent(peer, "before");
    harness_put_text(peer, "later");
    harness_expect_input(&stream, "kept");
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_stream_detach(&stream), ==, -EBADF);
    EXPECT_INT(torc_stream_write(&stream, "x", 1, NULL), ==, -EBADF);
    EXPECT_INT(torc_stream_flush(&stream), ==, -EBADF);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
    EXPECT_INT(torc_recv_all(fd, data, 5, NULL), ==, 0);
    EXPECT_MEM(data, "later", 5);
    EXPECT_INT(close(fd), ==, 0);
    close(peer);
}

FIBER_TEST(detach_in_a_cancelled_scope_leaves_all_as_it_was)
{
    struct torc_stream stream;
    struct torc_scope scope;
    int peer;

    harness_tcp_stream(&stream, &peer);
    EXPECT_INT(torc_stream_write(&stream, "one", 3, NULL), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_stream_detach(&stream), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(torc_stream_write(&stream, "two", 3, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, 0);
    harness_expect_sent(peer, "onetwo");
    harness_close_stream(&stream, peer);
}

FIBER_TEST(a_descriptor_goes_from_stream_to_stream_without_losing_a_byte)
{
    struct torc_stream stream;
    char sent[1000];
    char data[1000];
    size_t got = 0;
    int peer;

    harness_pattern_fill(sent, sizeof(sent), 0);
    harness_tcp_stream(&stream, &peer);
    for (size_t done = 0; done < sizeof(sent); done += 10) {
        size_t kept;
        int fd;

        harness_put(peer, sent + done, 10);
        EXPECT_INT(torc_stream_read_all(&stream, data + got, 5, NULL), ==, 0);
        got += 5;
        fd = torc_stream_detach(&stream);
        EXPECT_INT(fd, >=, 0);
        kept = torc_stream_buffered(&stream);
        EXPECT_INT(torc_stream_read_all(&stream, data + got, kept, NULL), ==, 0);
        EXPECT_INT(torc_stream_close(&stream), ==, 0);
        torc_stream_open(&stream, fd);
        EXPECT_INT(torc_stream_unread(&stream, data + got, kept), ==, 0);
    }
    EXPECT_INT(torc_stream_read_all(&stream, data + got, sizeof(data) - got, NULL), ==, 0);
    harness_pattern_check(data, sizeof(data), 0);
    harness_close_stream(&stream, peer);
}

/* ---- Both ways at once ---- */

#define TALK_TOTAL 300000u

static int talk(void *arg)
{
    struct torc_stream *stream = arg;
    static const char zeros[7000];
    size_t done = 0;

    while (done < TALK_TOTAL) {
        size_t length = 1 + harness_random_below(sizeof(zeros));

        if (length > TALK_TOTAL - done)
            length = TALK_TOTAL - done;
        EXPECT_INT(torc_stream_write(stream, zeros, length, NULL), ==, 0);
        done += length;
    }
    return torc_stream_shutdown(stream);
}

static int hear(void *arg)
{
    size_t done;

    EXPECT_INT(torc_stream_skip(arg, TALK_TOTAL + 1, &done), ==, -ENODATA);
    EXPECT_UINT(done, ==, TALK_TOTAL);
    return 0;
}

FIBER_TEST(one_fiber_reads_a_stream_while_another_writes_it)
{
    struct torc_stream streams[2];
    struct torc_scope scope;
    int fds[2];

    harness_narrow_pair(fds);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < 2; i++) {
        torc_stream_open(&streams[i], fds[i]);
        harness_spawn(&scope, talk, &streams[i]);
        harness_spawn(&scope, hear, &streams[i]);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    for (int i = 0; i < 2; i++)
        EXPECT_INT(torc_stream_close(&streams[i]), ==, 0);
}

static int peek_twice(void *arg)
{
    const void *data;

    return (int)torc_stream_peek(arg, &data);
}

static void read_with_two_fibers(void)
{
    struct torc_stream stream;
    struct torc_scope scope;
    int peer;

    harness_unix_stream(&stream, &peer);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, peek_twice, &stream);
    harness_spawn(&scope, peek_twice, &stream);
    harness_yield(5);
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
}

TEST(two_fibers_that_wait_for_the_same_input_abort)
{
    harness_expect_fiber_death(read_with_two_fibers, SIGABRT, "_reader == NULL");
}

static void close_under_a_reader(void)
{
    struct torc_stream stream;
    struct torc_scope scope;
    int peer;

    harness_unix_stream(&stream, &peer);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, peek_twice, &stream);
    harness_yield(5);
    (void)torc_stream_close(&stream);
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
}

TEST(closing_a_stream_that_another_fiber_reads_aborts)
{
    harness_expect_fiber_death(close_under_a_reader, SIGABRT, "_reader == NULL");
}

/* ---- Scopes ---- */

FIBER_TEST(a_cancelled_scope_refuses_to_read_even_what_is_there)
{
    struct torc_stream stream;
    struct torc_scope scope;
    const void *data;
    char bytes[4];
    size_t done = 7;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "there");
    harness_await_input(&stream, 5);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_stream_peek(&stream, &data), ==, -ECANCELED);
    EXPECT_INT(torc_stream_read(&stream, bytes, 4), ==, -ECANCELED);
    EXPECT_INT(torc_stream_read_all(&stream, bytes, 4, &done), ==, -ECANCELED);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc_stream_skip(&stream, 1, NULL), ==, -ECANCELED);
    EXPECT_INT(torc_stream_write(&stream, "x", 1, NULL), ==, -ECANCELED);
    EXPECT_INT(torc_stream_flush(&stream), ==, -ECANCELED);
    EXPECT_UINT(torc_stream_buffered(&stream), ==, 5);
    torc_stream_consume(&stream, 2);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    harness_expect_input(&stream, "ere");
    harness_close_stream(&stream, peer);
}

FIBER_TEST(a_deadline_ends_a_peek_and_the_stream_goes_on)
{
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    wait_a_moment(&stream);
    harness_put_text(peer, "abc");
    harness_expect_input(&stream, "abc");
    wait_a_moment(&stream);
    wait_a_moment(&stream);
    harness_put_text(peer, "def");
    harness_expect_input(&stream, "def");
    harness_close_stream(&stream, peer);
}

FIBER_TEST(read_all_keeps_its_count_when_the_deadline_comes)
{
    struct torc_stream stream;
    struct torc_scope scope;
    char data[10];
    size_t done;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_put_text(peer, "abc");
    harness_await_input(&stream, 3);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_SECOND / 100);
    EXPECT_INT(torc_stream_read_all(&stream, data, sizeof(data), &done), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT(done == 3 || done == 0); /* Nothing, if the deadline came before the call. */
    EXPECT_UINT(torc_stream_buffered(&stream), ==, 3 - done);
    harness_close_stream(&stream, peer);
}

static int send_pattern(void *arg)
{
    const int fd = *(const int *)arg;
    const uint64_t total = harness_scaled(2000000);
    static char data[3000];

    for (uint64_t offset = 0; offset < total;) {
        const size_t length = 1 + harness_random_below(sizeof(data));

        harness_pattern_fill(data, length, offset);
        EXPECT_INT(torc_send_all(fd, data, length, NULL), ==, 0);
        offset += length;
        if (harness_random_below(4) == 0)
            harness_yield(1);
    }
    return torc_shutdown(fd, SHUT_WR);
}

/* Take some input in one of many ways. Returns how much was taken; *ret_result tells the rest. */
static size_t read_somehow(struct torc_stream *stream, uint64_t offset, ssize_t *ret_result)
{
    const size_t length = 1 + harness_random_below(4000);
    char bytes[4000];
    const void *data;
    size_t done = 0;

    switch (harness_random_below(4)) {
    case 0:
        *ret_result = torc_stream_read(stream, bytes, length);
        done = *ret_result > 0 ? (size_t)*ret_result : 0;
        harness_pattern_check(bytes, done, offset);
        break;
    case 1:
        *ret_result = torc_stream_read_all(stream, bytes, length, &done);
        harness_pattern_check(bytes, done, offset);
        break;
    case 2:
        *ret_result = torc_stream_skip(stream, length, &done);
        break;
    default:
        *ret_result = torc_stream_peek_at_least(stream, length, &data);
        if (*ret_result > 0) {
            harness_pattern_check(data, (size_t)*ret_result, offset);
            done = 1 + harness_random_below((uint32_t)*ret_result);
            torc_stream_consume(stream, done);
        }
    }
    return done;
}

FIBER_TEST(reads_that_are_cut_short_at_any_time_lose_and_double_nothing)
{
    struct torc_stream stream;
    struct torc_scope scope;
    uint64_t offset = 0;
    ssize_t result = 1;
    int peer;

    harness_narrow_stream(&stream, &peer);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_pattern, &peer);
    while (result != -ENODATA) {
        struct torc_scope hurry;

        torc_scope_open(&hurry, 0);
        torc_scope_set_timeout(&hurry, harness_random_below(60000));
        offset += read_somehow(&stream, offset, &result);
        EXPECT(result >= 0 || result == -ETIME || result == -ENODATA);
        (void)torc_scope_close(&hurry);
        if (harness_random_below(8) == 0)
            harness_yield(1);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(offset, >=, harness_scaled(2000000));
    harness_expect_end(&stream, 0);
    harness_close_stream(&stream, peer);
}

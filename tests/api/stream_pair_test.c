/* SPDX-License-Identifier: MIT */
/*
 * stream_pair_test.c - streams in memory, and over transports of the test's own.
 */
#include "harness/stream.h"
#include <errno.h>
#include <string.h>
#include <torc/torc.h>

static void open_pair(struct torc_stream_pair *pair, size_t room)
{
    EXPECT_INT(torc_stream_pair_open(pair, room), ==, 0);
}

static void close_pair(struct torc_stream_pair *pair)
{
    EXPECT_INT(torc_stream_close(&pair->ends[0]), ==, 0);
    EXPECT_INT(torc_stream_close(&pair->ends[1]), ==, 0);
    torc_stream_pair_finish(pair);
}

/* Write at one end, flushed. */
static void put_text(struct torc_stream *stream, const char *text)
{
    EXPECT_INT(torc_stream_write(stream, text, strlen(text), NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(stream), ==, 0);
}

/* ---- Pairs ---- */

FIBER_TEST(a_pair_needs_room)
{
    struct torc_stream_pair pair;

    EXPECT_INT(torc_stream_pair_open(&pair, 0), ==, -EINVAL);
    if (!harness_is_slow()) /* Sanitizers and valgrind do not let such a request pass. */
        EXPECT_INT(torc_stream_pair_open(&pair, SIZE_MAX / 2 + 2), ==, -ENOMEM);
}

FIBER_TEST(what_one_end_writes_the_other_reads)
{
    struct torc_stream_pair pair;

    open_pair(&pair, 100);
    EXPECT_INT(torc_stream_fd(&pair.ends[0]), ==, -1);
    put_text(&pair.ends[0], "there");
    put_text(&pair.ends[1], "back");
    harness_expect_input(&pair.ends[1], "there");
    harness_expect_input(&pair.ends[0], "back");
    close_pair(&pair);
}

FIBER_TEST(an_end_passes_on_what_it_wrote_before_it_waits_for_an_answer)
{
    struct torc_stream_pair pair;
    struct torc_scope scope;
    const void *data;

    open_pair(&pair, 100);
    EXPECT_INT(torc_stream_write(&pair.ends[0], "ask", 3, NULL), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_stream_peek(&pair.ends[0], &data), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    harness_expect_input(&pair.ends[1], "ask");
    close_pair(&pair);
}

/* More than the other end has room for: it will not take all before it has sent as much itself. */
static int ask_at_length(void *arg)
{
    struct torc_stream *stream = arg;
    char data[1000];

    harness_pattern_fill(data, sizeof(data), 0);
    EXPECT_INT(torc_stream_write(stream, data, sizeof(data), NULL), ==, 0);
    memset(data, 0, sizeof(data));
    EXPECT_INT(torc_stream_read_all(stream, data, sizeof(data), NULL), ==, 0);
    harness_pattern_check(data, sizeof(data), 0);
    return 0;
}

FIBER_TEST(two_ends_that_write_before_they_read_do_not_wait_for_each_other)
{
    struct torc_stream_pair pair;
    struct torc_scope scope;

    open_pair(&pair, 10);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, ask_at_length, &pair.ends[0]);
    harness_spawn(&scope, ask_at_length, &pair.ends[1]);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    close_pair(&pair);
}

static int peek_for_a_moment(void *arg)
{
    struct torc_scope scope;
    const void *data;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_stream_peek(arg, &data), ==, -ETIME);
    (void)torc_scope_close(&scope);
    return 0;
}

FIBER_TEST(what_leaves_while_nobody_waits_for_it_is_waited_for_by_flush)
{
    struct torc_stream_pair pair;
    struct torc_scope scope;
    char data[100];

    open_pair(&pair, 10);
    harness_pattern_fill(data, sizeof(data), 0);
    EXPECT_INT(torc_stream_write(&pair.ends[0], data, sizeof(data), NULL), ==, 0);
    (void)peek_for_a_moment(&pair.ends[0]); /* Ten bytes have left, and no more can. */
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_stream_flush(&pair.ends[0]), ==, -ETIME);
    (void)torc_scope_close(&scope);
    EXPECT_INT(torc_stream_write(&pair.ends[0], data, 0, NULL), ==, 0);
    memset(data, 0, sizeof(data));
    EXPECT_INT(torc_stream_read_all(&pair.ends[1], data, sizeof(data), NULL), ==, 0);
    harness_pattern_check(data, sizeof(data), 0);
    close_pair(&pair);
}

FIBER_TEST(a_stream_may_be_closed_while_what_it_has_collected_is_stuck)
{
    struct torc_stream_pair pair;
    struct torc_scope scope;

    open_pair(&pair, 10);
    EXPECT_INT(torc_stream_write(&pair.ends[0], "0123456789abcdef", 16, NULL), ==, 0);
    (void)peek_for_a_moment(&pair.ends[0]);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_stream_close(&pair.ends[0]), ==, -ETIME);
    (void)torc_scope_close(&scope);
    harness_expect_input(&pair.ends[1], "0123456789");
    harness_expect_end(&pair.ends[1], 0);
    EXPECT_INT(torc_stream_close(&pair.ends[1]), ==, 0);
    torc_stream_pair_finish(&pair);
    EXPECT_UINT(harness_fibers(), ==, 1);
}

#define PATTERN_TOTAL 30000u

static int write_pattern(void *arg)
{
    struct torc_stream *stream = arg;
    char data[4000];
    uint64_t offset = 0;

    for (size_t length = 1; offset < PATTERN_TOTAL; length = length * 3 % 3989 + 1) {
        if (length > PATTERN_TOTAL - offset)
            length = (size_t)(PATTERN_TOTAL - offset);
        harness_pattern_fill(data, length, offset);
        EXPECT_INT(torc_stream_write(stream, data, length, NULL), ==, 0);
        offset += length;
    }
    return torc_stream_shutdown(stream);
}

static int read_pattern(void *stream)
{
    harness_expect_pattern(stream, PATTERN_TOTAL);
    return 0;
}

FIBER_TEST(both_ways_at_once_through_any_room)
{
    const size_t rooms[] = {1, 2, 7, 100, 4096, 100000};

    for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        struct torc_stream_pair pair;
        struct torc_scope scope;

        open_pair(&pair, rooms[i]);
        torc_scope_open(&scope, 0);
        for (int end = 0; end < 2; end++) {
            harness_spawn(&scope, write_pattern, &pair.ends[end]);
            harness_spawn(&scope, read_pattern, &pair.ends[end]);
        }
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
        close_pair(&pair);
    }
}

static int write_small_and_large(void *arg)
{
    char data[3000];

    harness_pattern_fill(data, sizeof(data), 0);
    EXPECT_INT(torc_stream_write(arg, data, 100, NULL), ==, 0);
    EXPECT_INT(torc_stream_write(arg, data + 100, sizeof(data) - 100, NULL), ==, 0);
    return 0;
}

static int peek_byte(void *arg)
{
    const void *data;

    EXPECT_INT(torc_stream_peek(arg, &data), ==, 1);
    return 0;
}

FIBER_TEST(reading_while_another_fiber_writes_sends_nothing_twice)
{
    struct torc_stream_pair pair;
    struct torc_scope scope;
    char data[3000];

    open_pair(&pair, 16);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, write_small_and_large, &pair.ends[0]);
    harness_spawn(&scope, peek_byte, &pair.ends[0]);
    harness_yield(5); /* The writer waits for room, the other for input. */
    EXPECT_INT(torc_stream_read_all(&pair.ends[1], data, sizeof(data), NULL), ==, 0);
    harness_pattern_check(data, sizeof(data), 0);
    put_text(&pair.ends[1], "!");
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_expect_input(&pair.ends[0], "!");
    EXPECT_INT(torc_stream_shutdown(&pair.ends[0]), ==, 0);
    harness_expect_end(&pair.ends[1], 0);
    close_pair(&pair);
}

static int write_more(void *arg)
{
    char data[6000];

    harness_pattern_fill(data, sizeof(data), 100);
    EXPECT_INT(torc_stream_write(arg, data, 10, NULL), ==, 0);
    EXPECT_INT(torc_stream_write(arg, data + 10, sizeof(data) - 10, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(arg), ==, 0);
    return 0;
}

FIBER_TEST(writing_while_the_reading_fiber_passes_on_what_was_written_keeps_the_order)
{
    struct torc_stream_pair pair;
    struct torc_scope scope;
    char data[6100];

    open_pair(&pair, 16);
    harness_pattern_fill(data, 100, 0);
    EXPECT_INT(torc_stream_write(&pair.ends[0], data, 100, NULL), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, peek_byte, &pair.ends[0]); /* It has to pass these on. */
    harness_yield(3);
    harness_spawn(&scope, write_more, &pair.ends[0]);
    harness_yield(3);
    EXPECT_INT(torc_stream_read_all(&pair.ends[1], data, sizeof(data), NULL), ==, 0);
    harness_pattern_check(data, sizeof(data), 0);
    put_text(&pair.ends[1], "!");
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_stream_shutdown(&pair.ends[0]), ==, 0);
    harness_expect_end(&pair.ends[1], 0);
    close_pair(&pair);
}

FIBER_TEST(the_end_of_one_way_leaves_the_other_open)
{
    struct torc_stream_pair pair;

    open_pair(&pair, 100);
    EXPECT_INT(torc_stream_write(&pair.ends[0], "last", 4, NULL), ==, 0);
    EXPECT_INT(torc_stream_shutdown(&pair.ends[0]), ==, 0);
    harness_expect_input(&pair.ends[1], "last");
    harness_expect_end(&pair.ends[1], 0);
    put_text(&pair.ends[1], "still");
    harness_expect_input(&pair.ends[0], "still");
    EXPECT_INT(torc_stream_write(&pair.ends[0], "x", 1, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&pair.ends[0]), ==, -EPIPE);
    EXPECT_INT(torc_stream_close(&pair.ends[0]), ==, -EPIPE);
    EXPECT_INT(torc_stream_close(&pair.ends[1]), ==, 0);
    torc_stream_pair_finish(&pair);
}

FIBER_TEST(writing_to_a_closed_end_is_an_error_that_stays)
{
    struct torc_stream_pair pair;

    open_pair(&pair, 100);
    EXPECT_INT(torc_stream_close(&pair.ends[1]), ==, 0);
    EXPECT_INT(torc_stream_write(&pair.ends[0], "x", 1, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&pair.ends[0]), ==, -EPIPE);
    EXPECT_INT(torc_stream_flush(&pair.ends[0]), ==, -EPIPE);
    EXPECT_INT(torc_stream_write(&pair.ends[0], "x", 1, NULL), ==, -EPIPE);
    harness_expect_end(&pair.ends[0], 0);
    EXPECT_INT(torc_stream_close(&pair.ends[0]), ==, -EPIPE);
    torc_stream_pair_finish(&pair);
}

FIBER_TEST(writing_after_the_end_is_an_error_where_there_is_no_room_either)
{
    struct torc_stream_pair pair;
    struct torc_scope scope;

    open_pair(&pair, 4);
    put_text(&pair.ends[0], "full");
    EXPECT_INT(torc_stream_shutdown(&pair.ends[0]), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 50 * TORC_MILLISECOND);
    EXPECT_INT(torc_stream_write(&pair.ends[0], "x", 1, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&pair.ends[0]), ==, -EPIPE);
    (void)torc_scope_close(&scope);
    EXPECT_INT(torc_stream_close(&pair.ends[0]), ==, -EPIPE);
    harness_expect_input(&pair.ends[1], "full");
    EXPECT_INT(torc_stream_close(&pair.ends[1]), ==, 0);
    torc_stream_pair_finish(&pair);
}

static int write_until_it_breaks(void *arg)
{
    char data[3000] = {0};
    size_t done;

    EXPECT_INT(torc_stream_write(arg, data, sizeof(data), &done), ==, -EPIPE);
    EXPECT_UINT(done, ==, 10);
    return 0;
}

FIBER_TEST(a_waiting_writer_hears_that_the_other_end_is_closed)
{
    struct torc_stream_pair pair;
    struct torc_scope scope;

    open_pair(&pair, 10);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, write_until_it_breaks, &pair.ends[0]);
    harness_yield(3);
    EXPECT_INT(torc_stream_close(&pair.ends[1]), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_stream_close(&pair.ends[0]), ==, -EPIPE);
    torc_stream_pair_finish(&pair);
}

FIBER_TEST(a_cancelled_writer_of_a_pair_tells_what_it_wrote)
{
    struct torc_stream_pair pair;
    struct torc_scope scope;
    char data[5000];
    size_t done;

    open_pair(&pair, 1000);
    harness_pattern_fill(data, sizeof(data), 0);
    EXPECT_INT(torc_stream_write(&pair.ends[0], data, 10, NULL), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_stream_write(&pair.ends[0], data + 10, 4990, &done), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_UINT(done, ==, 990);
    EXPECT_INT(torc_stream_read_all(&pair.ends[1], data, 1000, NULL), ==, 0);
    harness_pattern_check(data, 1000, 0);
    put_text(&pair.ends[0], "more");
    harness_expect_input(&pair.ends[1], "more");
    close_pair(&pair);
}

/* ---- Transports of one's own ---- */

/* Gives or takes a byte at a time, and then what it was told. */
struct odd {
    const char *text;
    int read_end;
    char written[64];
    size_t count;
    size_t room;
    int write_end;
    int closed;
    int close_result;
};

static ssize_t odd_read(void *context, void *buffer, size_t length)
{
    struct odd *odd = context;

    EXPECT_UINT(length, >=, 1);
    if (*odd->text == '\0')
        return odd->read_end;
    *(char *)buffer = *odd->text++;
    return 1;
}

static ssize_t odd_writev(void *context, const struct iovec *vector, int count)
{
    struct odd *odd = context;

    if (odd->count == odd->room)
        return odd->write_end;
    EXPECT(count == 1 || count == 2);
    for (int i = 0; i < count; i++)
        EXPECT_UINT(vector[i].iov_len, >, 0);
    odd->written[odd->count++] = *(const char *)vector[0].iov_base;
    return 1;
}

static int odd_close(void *context)
{
    struct odd *odd = context;

    odd->closed++;
    return odd->close_result;
}

static const struct torc_transport odd_transport = {
    .read = odd_read,
    .writev = odd_writev,
    .close = odd_close,
};

FIBER_TEST(a_transport_may_move_a_byte_at_a_time)
{
    struct odd odd = {.text = "abcdef", .room = 64};
    struct torc_stream stream;
    const void *data;

    torc_stream_open_transport(&stream, &odd_transport, &odd);
    EXPECT_INT(torc_stream_peek_at_least(&stream, 4, &data), ==, 4);
    harness_expect_input(&stream, "abcdef");
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_stream_write(&stream, "uvw", 3, NULL), ==, 0);
    EXPECT_UINT(odd.count, ==, 0);
    EXPECT_INT(torc_stream_write(&stream, "xyz", 3, NULL), ==, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
    EXPECT_UINT(odd.count, ==, 6);
    EXPECT_MEM(odd.written, "uvwxyz", 6);
    EXPECT_INT(odd.closed, ==, 1);
}

FIBER_TEST(errors_of_a_transport_are_reported_and_stay)
{
    struct odd odd = {.text = "ab",
                      .read_end = -EPROTO,
                      .room = 2,
                      .write_end = -EHOSTDOWN,
                      .close_result = -EIO};
    struct torc_stream stream;

    torc_stream_open_transport(&stream, &odd_transport, &odd);
    harness_expect_input(&stream, "ab");
    harness_expect_end(&stream, -EPROTO);
    EXPECT_INT(torc_stream_shutdown(&stream), ==, -EOPNOTSUPP);
    EXPECT_INT(torc_stream_detach(&stream), ==, -EBADF);
    EXPECT_INT(torc_stream_write(&stream, "uvw", 3, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, -EHOSTDOWN);
    EXPECT_INT(torc_stream_write(&stream, "x", 1, NULL), ==, -EHOSTDOWN);
    EXPECT_INT(torc_stream_close(&stream), ==, -EHOSTDOWN);
    EXPECT_INT(odd.closed, ==, 1);
    odd.closed = 0;
    torc_stream_open_transport(&stream, &odd_transport, &odd);
    EXPECT_INT(torc_stream_close(&stream), ==, -EIO);
}

FIBER_TEST(a_transport_that_moves_nothing_is_an_error_and_not_a_loop)
{
    struct odd odd = {.text = "", .read_end = -EAGAIN, .room = 0, .write_end = 0};
    struct torc_stream stream;

    torc_stream_open_transport(&stream, &odd_transport, &odd);
    harness_expect_end(&stream, -EAGAIN);
    EXPECT_INT(torc_stream_write(&stream, "uvw", 3, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, -EIO);
    EXPECT_INT(torc_stream_close(&stream), ==, -EIO);
}

FIBER_TEST(a_transport_that_cannot_read_or_write_says_so)
{
    static const struct torc_transport nothing;
    struct torc_stream stream;

    torc_stream_open_transport(&stream, &nothing, NULL);
    harness_expect_end(&stream, -EOPNOTSUPP);
    EXPECT_INT(torc_stream_write(&stream, "x", 1, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, -EOPNOTSUPP);
    EXPECT_INT(torc_stream_close(&stream), ==, -EOPNOTSUPP);
}

FIBER_TEST(a_transport_closed_in_a_cancelled_scope_drops_what_was_collected)
{
    struct odd odd = {.text = "", .room = 64};
    struct torc_stream stream;
    struct torc_scope scope;

    torc_stream_open_transport(&stream, &odd_transport, &odd);
    EXPECT_INT(torc_stream_write(&stream, "uvw", 3, NULL), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_stream_close(&stream), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_UINT(odd.count, ==, 0);
    EXPECT_INT(odd.closed, ==, 1);
}

FIBER_TEST(a_transport_closed_when_its_output_is_about_to_leave_drops_it)
{
    struct odd odd = {.text = "x", .room = 64};
    struct torc_stream stream;
    struct torc_scope scope;
    const void *data;

    torc_stream_open_transport(&stream, &odd_transport, &odd);
    EXPECT_INT(torc_stream_write(&stream, "uvw", 3, NULL), ==, 0);
    EXPECT_INT(torc_stream_peek(&stream, &data), ==, 1); /* There at once: nobody else ran. */
    EXPECT_UINT(odd.count, ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_stream_close(&stream), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_UINT(odd.count, ==, 0);
    EXPECT_INT(odd.closed, ==, 1);
}

/* SPDX-License-Identifier: MIT */
/*
 * frame_test.c - lines and length-delimited frames, however they are cut, and however wrong.
 */
#include "harness/stream.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

/* Streams over a pair of Unix sockets. */
struct wire {
    struct torc_stream in;
    struct torc_stream out;
};

static void open_wire(struct wire *wire)
{
    int fds[2];

    harness_unix_pair(fds);
    torc_stream_open(&wire->in, fds[0]);
    torc_stream_open(&wire->out, fds[1]);
}

static void close_wire(struct wire *wire)
{
    EXPECT_INT(torc_stream_close(&wire->out), ==, 0);
    EXPECT_INT(torc_stream_close(&wire->in), ==, 0);
}

static void send_bytes(struct wire *wire, const void *data, size_t length)
{
    EXPECT_INT(torc_stream_write(&wire->out, data, length, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&wire->out), ==, 0);
}

static void send_text(struct wire *wire, const char *text)
{
    send_bytes(wire, text, strlen(text));
}

/* Bytes that come in two pieces, the first of which is received before the second is sent. */
static void send_cut(struct wire *wire, const void *data, size_t length, size_t cut)
{
    const void *seen;

    send_bytes(wire, data, cut);
    if (cut > 0)
        EXPECT_INT(torc_stream_peek_at_least(&wire->in, cut, &seen), ==, (ssize_t)cut);
    send_bytes(wire, (const char *)data + cut, length - cut);
}

static void expect_line(struct wire *wire, const char *text)
{
    const char *line;
    size_t length;
    const ssize_t count = torc_stream_peek_line(&wire->in, 100, &line, &length);

    EXPECT_INT(count, >, 0);
    EXPECT_UINT(length, ==, strlen(text));
    EXPECT_MEM(line, text, length);
    torc_stream_consume(&wire->in, (size_t)count);
}

/* ---- Lines ---- */

FIBER_TEST(lines_cut_anywhere_are_whole)
{
    const char *text = "one\ntwo\r\n\n\r\n\rthree\r\r\nfour\n";
    struct wire wire;

    open_wire(&wire);
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        send_cut(&wire, text, strlen(text), cut);
        expect_line(&wire, "one");
        expect_line(&wire, "two");
        expect_line(&wire, "");
        expect_line(&wire, "");
        expect_line(&wire, "\rthree\r");
        expect_line(&wire, "four");
        EXPECT_UINT(torc_stream_buffered(&wire.in), ==, 0);
    }
    close_wire(&wire);
}

FIBER_TEST(the_last_line_may_lack_its_end)
{
    struct wire wire;
    const char *line;
    size_t length = 9;

    open_wire(&wire);
    send_text(&wire, "first\nlast\r");
    EXPECT_INT(torc_stream_shutdown(&wire.out), ==, 0);
    expect_line(&wire, "first");
    expect_line(&wire, "last\r");
    EXPECT_INT(torc_stream_peek_line(&wire.in, 100, &line, &length), ==, 0);
    close_wire(&wire);
}

FIBER_TEST(a_line_as_long_as_the_limit_passes_and_a_longer_one_does_not)
{
    const char *line;
    struct wire wire;
    size_t length;

    open_wire(&wire);
    for (size_t cut = 0; cut <= 9; cut++) {
        send_cut(&wire, "12345678\n", 9, cut);
        EXPECT_INT(torc_stream_peek_line(&wire.in, 0, &line, &length), ==, -EMSGSIZE);
        EXPECT_INT(torc_stream_peek_line(&wire.in, 1, &line, &length), ==, -EMSGSIZE);
        EXPECT_INT(torc_stream_peek_line(&wire.in, 8, &line, &length), ==, -EMSGSIZE);
        EXPECT_INT(torc_stream_peek_line(&wire.in, 9, &line, &length), ==, 9);
        EXPECT_UINT(length, ==, 8);
        torc_stream_consume(&wire.in, 9);
    }
    close_wire(&wire);
}

FIBER_TEST(any_byte_can_be_a_delimiter)
{
    const char text[] = "zero\0comma,\xff!";
    const void *data;
    struct wire wire;

    open_wire(&wire);
    send_bytes(&wire, text, sizeof(text) - 1);
    EXPECT_INT(torc_stream_peek_until(&wire.in, '\0', 100, &data), ==, 5);
    torc_stream_consume(&wire.in, 5);
    EXPECT_INT(torc_stream_peek_until(&wire.in, ',', SIZE_MAX, &data), ==, 6);
    EXPECT_MEM(data, "comma,", 6);
    torc_stream_consume(&wire.in, 6);
    EXPECT_INT(torc_stream_peek_until(&wire.in, '\xff', 1, &data), ==, 1);
    torc_stream_consume(&wire.in, 1);
    EXPECT_INT(torc_stream_shutdown(&wire.out), ==, 0);
    EXPECT_INT(torc_stream_peek_until(&wire.in, ',', 100, &data), ==, 1);
    torc_stream_consume(&wire.in, 1);
    EXPECT_INT(torc_stream_peek_until(&wire.in, ',', 100, &data), ==, 0);
    close_wire(&wire);
}

static int send_endlessly(void *arg)
{
    static char data[10000];
    int result;

    memset(data, 'x', sizeof(data));
    do {
        result = torc_stream_write(arg, data, sizeof(data), NULL);
    } while (result == 0);
    return result;
}

FIBER_TEST(an_endless_line_costs_no_more_than_its_limit)
{
    struct torc_scope scope;
    const char *line;
    struct wire wire;
    size_t length;

    open_wire(&wire);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_endlessly, &wire.out);
    EXPECT_INT(torc_stream_peek_line(&wire.in, 300000, &line, &length), ==, -EMSGSIZE);
    EXPECT_UINT(torc_stream_buffered(&wire.in), >=, 300000);
    EXPECT_UINT(torc_stream_buffered(&wire.in), <, 1000000);
    EXPECT_INT(torc_stream_peek_line(&wire.in, 300000, &line, &length), ==, -EMSGSIZE);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_stream_skip(&wire.in, 300000, NULL), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(torc_stream_close(&wire.in), ==, 0);
    EXPECT_INT(torc_stream_close(&wire.out), <=, 0);
}

FIBER_TEST(a_long_line_in_many_pieces_is_one)
{
    static char text[70000];
    const char *line;
    struct wire wire;
    size_t length;

    open_wire(&wire);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\n';
    for (size_t done = 0; done < sizeof(text); done += 700)
        send_bytes(&wire, text + done, 700);
    EXPECT_INT(torc_stream_peek_line(&wire.in, sizeof(text), &line, &length), ==, sizeof(text));
    EXPECT_UINT(length, ==, sizeof(text) - 1);
    EXPECT_MEM(line, text, length);
    close_wire(&wire);
}

FIBER_TEST(a_line_that_the_deadline_cuts_short_is_read_later)
{
    struct torc_scope scope;
    const char *line;
    struct wire wire;
    size_t length;

    open_wire(&wire);
    send_text(&wire, "half a ");
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_stream_peek_line(&wire.in, 100, &line, &length), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    send_text(&wire, "line\n");
    expect_line(&wire, "half a line");
    close_wire(&wire);
}

/* ---- Frames ---- */

static void expect_frame(struct wire *wire, const struct torc_frame_format *format,
                         const char *text)
{
    const void *data;
    size_t length;
    const ssize_t count = torc_stream_peek_frame(&wire->in, format, &data, &length);

    EXPECT_INT(count, >=, (ssize_t)strlen(text));
    EXPECT_UINT(length, ==, strlen(text));
    EXPECT_MEM(data, text, length);
    torc_stream_consume(&wire->in, (size_t)count);
}

FIBER_TEST(frames_cut_anywhere_are_whole)
{
    const char bytes[] = "\0\0\0\5hello\0\0\0\0\0\0\0\1!";
    const struct torc_frame_format format = {0};
    struct wire wire;

    open_wire(&wire);
    for (size_t cut = 0; cut < sizeof(bytes); cut++) {
        send_cut(&wire, bytes, sizeof(bytes) - 1, cut);
        expect_frame(&wire, &format, "hello");
        expect_frame(&wire, &format, "");
        expect_frame(&wire, &format, "!");
        EXPECT_UINT(torc_stream_buffered(&wire.in), ==, 0);
    }
    close_wire(&wire);
}

FIBER_TEST(frames_of_all_formats_come_back_as_they_were_written)
{
    const unsigned offsets[] = {0, 1, 5, 256};
    struct wire wire;

    open_wire(&wire);
    for (unsigned i = 0; i < 4 * 8 * 2 * 3; i++) {
        const struct torc_frame_format format = {
            .length_offset = offsets[i % 4],
            .length_size = i / 4 % 8 + 1,
            .little_endian = i / 32 % 2,
            .adjustment = (int)(i / 64) - 1,
        };

        EXPECT_INT(torc_stream_write_frame(&wire.out, &format, "some body", 9), ==, 0);
        EXPECT_INT(torc_stream_write_frame(&wire.out, &format, "x", 1), ==, 0);
        expect_frame(&wire, &format, "some body");
        expect_frame(&wire, &format, "x");
    }
    EXPECT_UINT(torc_stream_buffered(&wire.in), ==, 0);
    close_wire(&wire);
}

FIBER_TEST(a_frame_may_be_empty)
{
    const struct torc_frame_format format = {.adjustment = -4};
    struct wire wire;
    uint64_t number;

    open_wire(&wire);
    EXPECT_INT(torc_stream_write_frame(&wire.out, &format, NULL, 0), ==, 0);
    EXPECT_INT(torc_stream_write_frame(&wire.out, &format, NULL, 0), ==, 0);
    expect_frame(&wire, &format, "");
    EXPECT_INT(torc_stream_read_be(&wire.in, 4, &number), ==, 0);
    EXPECT_UINT(number, ==, 4);
    close_wire(&wire);
}

FIBER_TEST(the_header_is_lent_where_it_is_wanted)
{
    const struct torc_frame_format format = {
        .length_offset = 2, .length_size = 1, .keep_header = true, .adjustment = -3};
    struct wire wire;

    open_wire(&wire);
    send_bytes(&wire, "ab\7body", 7);
    expect_frame(&wire, &format, "ab\7body");
    EXPECT_INT(torc_stream_write_frame(&wire.out, &format, "body", 4), ==, 0);
    EXPECT_INT(torc_stream_skip(&wire.in, 2, NULL), ==, 0);
    harness_expect_input(&wire.in, "\7body");
    close_wire(&wire);
}

FIBER_TEST(a_body_as_long_as_the_limit_passes_and_a_longer_one_does_not)
{
    const struct torc_frame_format format = {.length_size = 1, .body_max = 5};
    const struct torc_frame_format tighter = {.length_size = 1, .body_max = 4};
    const void *data;
    struct wire wire;
    size_t length;

    open_wire(&wire);
    EXPECT_INT(torc_stream_write_frame(&wire.out, &format, "123456", 6), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_write_frame(&wire.out, &format, "12345", 5), ==, 0);
    EXPECT_INT(torc_stream_peek_frame(&wire.in, &tighter, &data, &length), ==, -EMSGSIZE);
    expect_frame(&wire, &format, "12345");
    EXPECT_UINT(torc_stream_buffered(&wire.in), ==, 0);
    close_wire(&wire);
}

FIBER_TEST(absurd_lengths_are_errors_before_anything_is_waited_for)
{
    const struct torc_frame_format plain = {.length_size = 8};
    const struct torc_frame_format less = {.length_size = 8, .adjustment = INT64_MIN};
    const struct torc_frame_format more = {.length_size = 8, .adjustment = INT64_MAX};
    const struct torc_frame_format minus = {.length_size = 8, .adjustment = -1};
    const void *data;
    struct wire wire;
    size_t length;

    open_wire(&wire);
    EXPECT_INT(torc_stream_write_be(&wire.out, 8, UINT64_MAX), ==, 0);
    EXPECT_INT(torc_stream_peek_frame(&wire.in, &plain, &data, &length), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_peek_frame(&wire.in, &less, &data, &length), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_peek_frame(&wire.in, &more, &data, &length), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_skip(&wire.in, 8, NULL), ==, 0);
    EXPECT_INT(torc_stream_write_be(&wire.out, 8, 0), ==, 0);
    EXPECT_INT(torc_stream_peek_frame(&wire.in, &minus, &data, &length), ==, -EBADMSG);
    EXPECT_INT(torc_stream_peek_frame(&wire.in, &less, &data, &length), ==, -EBADMSG);
    EXPECT_INT(torc_stream_peek_frame(&wire.in, &more, &data, &length), ==, -EMSGSIZE);
    expect_frame(&wire, &plain, "");
    close_wire(&wire);
}

FIBER_TEST(formats_out_of_their_ranges_are_refused)
{
    const struct torc_frame_format formats[] = {
        {.length_size = 9},
        {.length_size = UINT_MAX},
        {.length_offset = 257},
        {.length_offset = UINT_MAX, .length_size = 1},
        {.body_max = TORC_STREAM_PEEK_MAX - 3},
        {.body_max = SIZE_MAX},
    };
    struct wire wire;

    open_wire(&wire);
    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        const void *data;
        size_t length;

        EXPECT_INT(torc_stream_peek_frame(&wire.in, &formats[i], &data, &length), ==, -EINVAL);
        EXPECT_INT(torc_stream_write_frame(&wire.out, &formats[i], "x", 1), ==, -EINVAL);
    }
    close_wire(&wire);
}

FIBER_TEST(what_does_not_fit_the_number_is_not_written)
{
    const struct torc_frame_format byte = {.length_size = 1};
    const struct torc_frame_format counted = {.length_size = 1, .adjustment = -1};
    const struct torc_frame_format shorter = {.adjustment = 2};
    static char body[256];
    struct wire wire;

    open_wire(&wire);
    EXPECT_INT(torc_stream_write_frame(&wire.out, &byte, body, 256), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_write_frame(&wire.out, &counted, body, 255), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_write_frame(&wire.out, &shorter, body, 1), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_write_frame(&wire.out, &byte, body, SIZE_MAX), ==, -EMSGSIZE);
    EXPECT_INT(torc_stream_write_frame(&wire.out, &byte, body, 255), ==, 0);
    EXPECT_INT(torc_stream_skip(&wire.in, 256, NULL), ==, 0);
    EXPECT_INT(torc_stream_shutdown(&wire.out), ==, 0);
    harness_expect_end(&wire.in, 0);
    close_wire(&wire);
}

FIBER_TEST(an_end_within_a_frame_is_told_and_nothing_is_consumed)
{
    const char bytes[] = "\0\0\0\3abc";
    const struct torc_frame_format format = {0};

    for (size_t length = 0; length < 7; length++) {
        const void *data;
        struct wire wire;
        size_t body;

        open_wire(&wire);
        send_bytes(&wire, bytes, length);
        EXPECT_INT(torc_stream_shutdown(&wire.out), ==, 0);
        EXPECT_INT(torc_stream_peek_frame(&wire.in, &format, &data, &body), ==,
                   length == 0 ? 0 : -ENODATA);
        EXPECT_UINT(torc_stream_buffered(&wire.in), ==, length);
        close_wire(&wire);
    }
}

FIBER_TEST(a_reset_within_a_frame_is_an_error_and_nothing_is_consumed)
{
    const char bytes[] = "\0\0\0\3abc";
    const struct torc_frame_format format = {0};

    for (size_t length = 0; length < 7; length++) {
        struct torc_stream stream;
        const void *data;
        size_t body;
        int peer;

        harness_tcp_stream(&stream, &peer);
        harness_put(peer, bytes, length);
        harness_reset(peer);
        EXPECT_INT(torc_stream_peek_frame(&stream, &format, &data, &body), ==, -ECONNRESET);
        EXPECT_INT(torc_stream_skip(&stream, length, NULL), ==, 0);
        harness_expect_end(&stream, -ECONNRESET);
        EXPECT_INT(torc_stream_close(&stream), ==, 0);
    }
}

static int write_large_frame(void *arg)
{
    const struct torc_frame_format format = {0};
    char *body = malloc(1000000);

    harness_pattern_fill(body, 1000000, 0);
    EXPECT_INT(torc_stream_write_frame(arg, &format, body, 1000000), ==, 0);
    free(body);
    return 0;
}

FIBER_TEST(a_frame_of_a_megabyte_is_had_in_one_piece)
{
    const struct torc_frame_format format = {0};
    struct torc_scope scope;
    const void *data;
    struct wire wire;
    size_t length;

    open_wire(&wire);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, write_large_frame, &wire.out);
    EXPECT_INT(torc_stream_peek_frame(&wire.in, &format, &data, &length), ==, 1000004);
    EXPECT_UINT(length, ==, 1000000);
    harness_pattern_check(data, length, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    close_wire(&wire);
}

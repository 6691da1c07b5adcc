/* SPDX-License-Identifier: MIT */
/*
 * stream_model_test.c - whatever is asked of a stream's input, and however it comes, the bytes are
 * those that were sent, and as many as there can be.
 */
#include "harness/stream.h"
#include <errno.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define AT_ONCE_MOST ((size_t)65536) /* bytes that are sent in one piece, or asked for */
#define BACK_MOST    200u

/* Of harness_pattern_fill(), `total` bytes are sent, and the first `taken` of them were taken. */
struct model {
    struct torc_stream *stream;
    struct torc_stream own;       /* of a descriptor or a transport */
    struct torc_stream_pair pair; /* whose other end sends, if there is no peer */
    int peer;
    int below;       /* what a transport reads from ... */
    bool has_errors; /* ... with errors in between */
    unsigned piece;  /* bytes that are sent at once, at most */
    uint64_t total;
    uint64_t taken;
    int end;
    bool has_scope; /* which may end what is asked for */
};

/* ---- How it comes ---- */

static void make_piece(const struct model *model, uint64_t sent, char *data, size_t *ret_length)
{
    const size_t length = 1 + harness_random_below(model->piece);

    *ret_length = length < model->total - sent ? length : (size_t)(model->total - sent);
    harness_pattern_fill(data, *ret_length, sent);
}

static int send_all(void *arg)
{
    static char data[AT_ONCE_MOST];
    const struct model *model = arg;
    struct torc_stream *other = &((struct model *)arg)->pair.ends[1];
    size_t length;

    for (uint64_t sent = 0; sent < model->total; sent += length) {
        make_piece(model, sent, data, &length);
        if (model->peer >= 0) {
            EXPECT_INT(torc_write_all(model->peer, data, length, NULL), ==, 0);
        } else {
            EXPECT_INT(torc_stream_write(other, data, length, NULL), ==, 0);
            EXPECT_INT(torc_stream_flush(other), ==, 0);
        }
        harness_yield(harness_random_below(4));
    }
    return model->peer >= 0 ? torc_close(model->peer) : torc_stream_shutdown(other);
}

/* As the peer of a transport: now and then there is an error that passes. */
static ssize_t read_with_errors(void *context, void *buffer, size_t length)
{
    static const int passing[] = {-ENOMEM, -ENOBUFS, -EINTR};
    const struct model *model = context;
    const uint32_t most = harness_random_below(2) ? 10 : (uint32_t)length;
    ssize_t count;

    if (harness_random_below(8) == 0)
        return passing[harness_random_below(3)];
    count = torc_read(model->below, buffer, 1 + harness_random_below(most));
    return count == 0 ? model->end : count;
}

static int close_transport(void *context)
{
    return torc_close(((struct model *)context)->below);
}

enum kind {
    UNIX,
    NARROW,
    TCP,
    PIPE,
    PAIR,
    TRANSPORT,
    KINDS
};

static void open_model(struct model *model, enum kind kind)
{
    static const struct torc_transport transport = {.read = read_with_errors,
                                                    .close = close_transport};
    int fds[2];

    model->stream = &model->own;
    model->peer = -1;
    if (kind == PAIR) {
        EXPECT_INT(torc_stream_pair_open(&model->pair, 1 + harness_random_below(1000)), ==, 0);
        model->stream = &model->pair.ends[0];
    } else if (kind == PIPE || kind == TRANSPORT) {
        harness_pipe(fds);
        model->peer = fds[1];
        model->below = fds[0];
        model->has_errors = kind == TRANSPORT;
        model->end = kind == TRANSPORT && harness_random_below(2) ? -EPROTO : 0;
        if (kind == PIPE)
            torc_stream_open(&model->own, fds[0]);
        else
            torc_stream_open_transport(&model->own, &transport, model);
    } else if (kind == TCP) {
        harness_tcp_stream(&model->own, &model->peer);
    } else if (kind == NARROW) {
        harness_narrow_stream(&model->own, &model->peer);
    } else {
        harness_unix_stream(&model->own, &model->peer);
    }
}

/* ---- What is asked ---- */

static uint64_t left(const struct model *model)
{
    return model->total - model->taken;
}

static size_t some(void)
{
    static const uint32_t most[] = {3, 40, 700, 9000, AT_ONCE_MOST};

    return 1 + harness_random_below(most[harness_random_below(5)]);
}

/* What may stop any wait, and loses nothing. */
static bool was_stopped(const struct model *model, ssize_t result)
{
    return (model->has_scope && (result == -ETIME || result == -ECANCELED)) ||
           (model->has_errors && (result == -ENOMEM || result == -ENOBUFS || result == -EINTR));
}

static void expect_next(struct model *model, const void *data, size_t count)
{
    EXPECT_UINT(count, <=, left(model));
    harness_pattern_check(data, count, model->taken);
}

static void peek(struct model *model, size_t least)
{
    const void *data;
    const ssize_t count = least == 0 ? torc_stream_peek(model->stream, &data)
                                     : torc_stream_peek_at_least(model->stream, least, &data);
    size_t there;

    if (was_stopped(model, count))
        return;
    if (least > left(model) || left(model) == 0)
        EXPECT_INT(count, ==, model->end < 0 ? model->end : (ssize_t)left(model));
    else
        EXPECT_INT(count, >=, least > 0 ? (ssize_t)least : 1);
    if (count <= 0)
        return;
    expect_next(model, data, (size_t)count);
    if (harness_random_below(2)) { /* They are lent, whatever else comes. */
        for (unsigned i = 0; i < 3; i++)
            (void)torc_yield();
        expect_next(model, data, (size_t)count);
    }
    there = torc_stream_buffered(model->stream);
    EXPECT_UINT(there, >=, (size_t)count);
    EXPECT_UINT(there, <=, left(model));
    if (harness_random_below(2))
        there = (size_t)count;
    if (harness_random_below(3) == 0 && there > 8)
        there = 8;
    there = harness_random_below((uint32_t)there + 1);
    torc_stream_consume(model->stream, there);
    model->taken += there;
}

static void copy_some(struct model *model, size_t length)
{
    static char data[AT_ONCE_MOST];
    const ssize_t count = torc_stream_read(model->stream, data, length);

    if (was_stopped(model, count))
        return;
    if (left(model) == 0)
        EXPECT_INT(count, ==, model->end);
    else
        EXPECT_INT(count, >, 0);
    if (count <= 0)
        return;
    EXPECT_UINT((size_t)count, <=, length);
    expect_next(model, data, (size_t)count);
    model->taken += (uint64_t)count;
}

static void take_all(struct model *model, size_t length)
{
    static char data[AT_ONCE_MOST];
    const bool skips = harness_random_below(2);
    size_t done;
    const int result = skips ? torc_stream_skip(model->stream, length, &done)
                             : torc_stream_read_all(model->stream, data, length, &done);

    if (!was_stopped(model, result)) {
        EXPECT_UINT(done, ==, length < left(model) ? length : left(model));
        EXPECT_INT(result, ==, done == length ? 0 : model->end < 0 ? model->end : -ENODATA);
    }
    if (!skips)
        expect_next(model, data, done);
    model->taken += done;
}

static void read_number(struct model *model, unsigned size)
{
    unsigned char bytes[8];
    const bool is_little = harness_random_below(2);
    uint64_t expected = 0;
    uint64_t value = 0;
    const int result = is_little ? torc_stream_read_le(model->stream, size, &value)
                                 : torc_stream_read_be(model->stream, size, &value);

    if (was_stopped(model, result))
        return;
    if (size > left(model)) {
        EXPECT_INT(result, ==, model->end < 0 ? model->end : -ENODATA);
        return;
    }
    EXPECT_INT(result, ==, 0);
    harness_pattern_fill(bytes, size, model->taken);
    for (unsigned i = 0; i < size; i++)
        expected = expected << 8 | bytes[is_little ? size - 1 - i : i];
    EXPECT_UINT(value, ==, expected);
    model->taken += size;
}

static void peek_until(struct model *model, char delimiter, size_t limit)
{
    static char expected[AT_ONCE_MOST];
    const size_t length = limit < left(model) ? limit : (size_t)left(model);
    const char *found;
    const void *data;
    const ssize_t count = torc_stream_peek_until(model->stream, delimiter, limit, &data);

    if (was_stopped(model, count))
        return;
    harness_pattern_fill(expected, length, model->taken);
    found = memchr(expected, delimiter, length);
    if (found != NULL)
        EXPECT_INT(count, ==, found + 1 - expected);
    else if (length == limit)
        EXPECT_INT(count, ==, -EMSGSIZE);
    else
        EXPECT_INT(count, ==, model->end < 0 ? model->end : (ssize_t)length);
    if (count <= 0)
        return;
    expect_next(model, data, (size_t)count);
    torc_stream_consume(model->stream, (size_t)count);
    model->taken += (uint64_t)count;
}

static void put_back(struct model *model, size_t length)
{
    char data[BACK_MOST];
    const size_t before = torc_stream_buffered(model->stream);

    if (length > model->taken)
        return;
    model->taken -= length;
    harness_pattern_fill(data, length, model->taken);
    EXPECT_INT(torc_stream_unread(model->stream, data, length), ==, 0);
    EXPECT_UINT(torc_stream_buffered(model->stream), ==, before + length);
}

static void ask(struct model *model)
{
    const size_t before = torc_stream_buffered(model->stream) + model->taken;

    switch (harness_random_below(9)) {
    case 0:
        copy_some(model, some());
        break;
    case 1:
        take_all(model, some());
        break;
    case 2:
        read_number(model, 1 + harness_random_below(8));
        break;
    case 3:
        peek_until(model, (char)harness_random(), some());
        break;
    case 4:
        put_back(model, harness_random_below(BACK_MOST));
        break;
    case 5:
        peek(model, 0);
        break;
    default:
        peek(model, some());
    }
    /* Nothing is lost, or is there twice. */
    EXPECT_UINT(torc_stream_buffered(model->stream) + model->taken, >=, before);
    EXPECT_UINT(torc_stream_buffered(model->stream), <=, left(model));
}

static void ask_for_a_while(struct model *model)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, harness_random_below(3) * 10 * TORC_MICROSECOND);
    model->has_scope = true;
    ask(model);
    model->has_scope = false;
    (void)torc_scope_close(&scope);
}

/* ---- All of it ---- */

static int keep_rest(void *arg)
{
    struct model *model = arg;
    struct torc_stream_pair *to = &model->pair;

    for (const void *data; model->taken < model->total;) {
        const ssize_t count = torc_stream_peek(&to->ends[1], &data);

        EXPECT_INT(count, >, 0);
        expect_next(model, data, (size_t)count);
        torc_stream_consume(&to->ends[1], (size_t)count);
        model->taken += (uint64_t)count;
    }
    return 0;
}

/* What is left goes to another stream. */
static void copy_rest(struct model *model)
{
    const uint64_t rest = left(model);
    struct torc_scope scope;
    uint64_t copied = 0;
    int result = -ENOMEM;

    EXPECT_INT(torc_stream_pair_open(&model->pair, 1 + harness_random_below(1000)), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, keep_rest, model);
    while (result != model->end) {
        uint64_t count;

        result = torc_stream_copy(model->stream, &model->pair.ends[0], &count);
        copied += count;
        EXPECT(result == model->end || was_stopped(model, result));
    }
    EXPECT_UINT(copied, ==, rest);
    EXPECT_INT(torc_stream_flush(&model->pair.ends[0]), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_stream_close(&model->pair.ends[0]), ==, 0);
    EXPECT_INT(torc_stream_close(&model->pair.ends[1]), ==, 0);
    torc_stream_pair_finish(&model->pair);
}

static void ask_a_stream(enum kind kind)
{
    static const unsigned pieces[] = {1, 20, 600, 20000, AT_ONCE_MOST};
    struct model model = {.piece = pieces[harness_random_below(5)]};
    struct torc_scope scope;
    uint64_t copy_from; /* if that is before the end */

    model.total = (uint64_t)model.piece * harness_random_below(model.piece > 600 ? 30 : 600);
    copy_from = kind == PAIR || harness_random_below(4) ? model.total : model.total / 2;
    open_model(&model, kind);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_all, &model);
    for (unsigned after_all = 0; after_all < 20; after_all += model.taken == model.total) {
        if (harness_random_below(5) == 0)
            ask_for_a_while(&model);
        else
            ask(&model);
        if (copy_from < model.total && model.taken >= copy_from) {
            copy_rest(&model);
            break;
        }
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_stream_close(model.stream), ==, 0);
    if (kind == PAIR) {
        EXPECT_INT(torc_stream_close(&model.pair.ends[1]), ==, 0);
        torc_stream_pair_finish(&model.pair);
    }
}

FIBER_TEST(whatever_is_asked_of_input_it_is_what_was_sent)
{
    for (unsigned i = 0; i < harness_scaled(200); i++)
        ask_a_stream((enum kind)harness_random_below(KINDS));
}

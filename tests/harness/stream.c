/* SPDX-License-Identifier: MIT */
/*
 * stream.c - streams for tests, each with a plain descriptor at its other end.
 */
#include "harness/stream.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

void harness_tcp_stream(struct torc_stream *stream, int *ret_peer)
{
    int fds[2];

    harness_tcp_pair(fds);
    torc_stream_open(stream, fds[0]);
    *ret_peer = fds[1];
}

void harness_narrow_pair(int ret_fds[2])
{
    const int smallest = 1; /* The kernel makes that its own minimum. */

    harness_unix_pair(ret_fds);
    for (int i = 0; i < 2; i++)
        EXPECT_INT(setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(int)), ==, 0);
}

void harness_narrow_stream(struct torc_stream *stream, int *ret_peer)
{
    int fds[2];

    harness_narrow_pair(fds);
    torc_stream_open(stream, fds[0]);
    *ret_peer = fds[1];
}

void harness_unix_stream(struct torc_stream *stream, int *ret_peer)
{
    int fds[2];

    harness_unix_pair(fds);
    torc_stream_open(stream, fds[0]);
    *ret_peer = fds[1];
}

void harness_close_stream(struct torc_stream *stream, int peer)
{
    EXPECT_INT(torc_stream_close(stream), ==, 0);
    EXPECT_INT(close(peer), ==, 0);
}

void harness_put_text(int peer, const char *text)
{
    harness_put(peer, text, strlen(text));
}

void harness_expect_input(struct torc_stream *stream, const char *text)
{
    const size_t length = strlen(text);
    char data[256];
    size_t done;

    EXPECT_UINT(length, <=, sizeof(data));
    EXPECT_INT(torc_stream_read_all(stream, data, length, &done), ==, 0);
    EXPECT_UINT(done, ==, length);
    EXPECT_MEM(data, text, length);
}

void harness_expect_end(struct torc_stream *stream, int end)
{
    const void *data;
    char byte;

    EXPECT_INT(torc_stream_peek(stream, &data), ==, end);
    EXPECT_INT(torc_stream_read(stream, &byte, 1), ==, end);
    EXPECT_INT(torc_stream_read_all(stream, &byte, 1, NULL), ==, end < 0 ? end : -ENODATA);
    EXPECT_UINT(torc_stream_buffered(stream), ==, 0);
}

void harness_expect_pattern(struct torc_stream *stream, uint64_t total)
{
    uint64_t offset = 0;
    const void *data;
    ssize_t count;

    while ((count = torc_stream_peek(stream, &data)) > 0) {
        harness_pattern_check(data, (size_t)count, offset);
        torc_stream_consume(stream, (size_t)count);
        offset += (uint64_t)count;
    }
    EXPECT_INT(count, ==, 0);
    EXPECT_UINT(offset, ==, total);
}

void harness_expect_sent(int peer, const char *text)
{
    const size_t length = strlen(text);
    char data[256];

    EXPECT_UINT(length, <=, sizeof(data));
    harness_get(peer, data, length);
    EXPECT_MEM(data, text, length);
}

void harness_await_input(struct torc_stream *stream, size_t count)
{
    const void *data;

    EXPECT_INT(torc_stream_peek_at_least(stream, count, &data), >=, (ssize_t)count);
}

static bool uses_multishot(const struct torc_driver_report *report)
{
    for (unsigned i = 0; i < TORC_FEATURE_COUNT; i++) {
        if (strcmp(report->features[i].name, "multishot") == 0)
            return report->features[i].used;
    }
    return false;
}

bool harness_has_multishot(void)
{
    struct torc_driver_report report;

    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    return uses_multishot(&report);
}

bool harness_has_feeds(void)
{
    struct torc_driver_report report;

    EXPECT_INT(torc_driver_report(NULL, &report), ==, 0);
    return uses_multishot(&report) || strcmp(report.driver, "epoll") == 0;
}

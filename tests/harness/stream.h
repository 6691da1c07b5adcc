/* SPDX-License-Identifier: MIT */
/*
 * stream.h - streams for tests, each with a plain descriptor at its other end.
 */
#ifndef HARNESS_STREAM_H
#define HARNESS_STREAM_H

#include "harness/net.h"
#include "harness/run.h"
#include <torc/stream.h>

/* A stream over a TCP connection, whose other end is *ret_peer. */
void harness_tcp_stream(struct torc_stream *stream, int *ret_peer);

/* A stream over a Unix socket. */
void harness_unix_stream(struct torc_stream *stream, int *ret_peer);

/*
 * A pair of Unix sockets with send buffers as small as the kernel allows, and a stream over one.
 * TCP with buffers so small loses segments, and then waits for its timers.
 */
void harness_narrow_pair(int ret_fds[2]);
void harness_narrow_stream(struct torc_stream *stream, int *ret_peer);

/* Close both ends. */
void harness_close_stream(struct torc_stream *stream, int peer);

/* The peer sends this text. */
void harness_put_text(int peer, const char *text);

/* What the stream gives next is this text. */
void harness_expect_input(struct torc_stream *stream, const char *text);

/* What the stream gives until its end are the first `total` bytes of harness_pattern_fill(). */
void harness_expect_pattern(struct torc_stream *stream, uint64_t total);

/* The stream gives nothing but `end`, 0 or an error, and goes on to do so. */
void harness_expect_end(struct torc_stream *stream, int end);

/* The peer receives this text, next. */
void harness_expect_sent(int peer, const char *text);

/* Wait until `count` bytes of input are in the stream; they were sent. */
void harness_await_input(struct torc_stream *stream, size_t count);

/* Whether one accept may bring many connections: the kernel accepts ahead. */
bool harness_has_multishot(void);

/* Whether the driver receives for streams by itself. */
bool harness_has_feeds(void);

#endif

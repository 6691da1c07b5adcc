/* SPDX-License-Identifier: MIT */
/*
 * stream_kind_test.c - streams over all kinds of descriptors.
 */
#include "harness/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <torc/torc.h>
#include <unistd.h>

#define TOTAL 200000u

static void set_nonblocking(int fd)
{
    EXPECT_INT(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), ==, 0);
}

static int write_pattern(void *arg)
{
    struct torc_stream *stream = arg;
    static char data[9000];

    for (uint64_t offset = 0; offset < TOTAL;) {
        size_t length = 1 + harness_random_below(harness_random_below(2) ? 100 : sizeof(data));

        if (length > TOTAL - offset)
            length = (size_t)(TOTAL - offset);
        harness_pattern_fill(data, length, offset);
        EXPECT_INT(torc_stream_write(stream, data, length, NULL), ==, 0);
        offset += length;
    }
    return torc_stream_close(stream);
}

/* What goes in at `out` comes out at `in`, whole and in order. */
static void pass_pattern(int in, int out)
{
    struct torc_stream reader;
    struct torc_stream writer;
    struct torc_scope scope;

    torc_stream_open(&reader, in);
    torc_stream_open(&writer, out);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, write_pattern, &writer);
    harness_expect_pattern(&reader, TOTAL);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_stream_close(&reader), ==, 0);
}

FIBER_TEST(sockets_carry_streams)
{
    int fds[2];

    harness_tcp_pair(fds);
    pass_pattern(fds[0], fds[1]);
    harness_unix_pair(fds);
    pass_pattern(fds[0], fds[1]);
}

static int expect_the_end(void *arg)
{
    harness_expect_end(arg, 0);
    return 0;
}

/* The input of a stream over `fd` is shut down while another fiber waits for it, or before. */
static void shut_down_and_expect_the_end(int fd, int peer, bool before)
{
    struct torc_stream stream;
    struct torc_scope scope;

    torc_stream_open(&stream, fd);
    harness_put_text(peer, "last");
    harness_expect_input(&stream, "last");
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 5 * TORC_SECOND);
    if (!before) {
        harness_spawn(&scope, expect_the_end, &stream);
        harness_pass_kernel();
    }
    EXPECT_INT(torc_shutdown(fd, SHUT_RD), ==, 0);
    if (before)
        harness_spawn(&scope, expect_the_end, &stream);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(input_that_is_shut_down_ends)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    int fds[2];

    for (int before = 0; before < 2; before++) {
        harness_tcp_pair(fds);
        shut_down_and_expect_the_end(fds[0], fds[1], before);
        for (int i = 0; i < (harness_has_multishot() ? 2 : 3); i++) {
            EXPECT_INT(socketpair(AF_UNIX, types[i], 0, fds), ==, 0);
            shut_down_and_expect_the_end(fds[0], fds[1], before);
        }
    }
}

FIBER_TEST(pipes_carry_streams)
{
    int fds[2];

    harness_pipe(fds);
    pass_pattern(fds[0], fds[1]);
}

FIBER_TEST(non_blocking_sockets_carry_streams)
{
    int fds[2];

    harness_narrow_pair(fds);
    set_nonblocking(fds[0]);
    set_nonblocking(fds[1]);
    pass_pattern(fds[0], fds[1]);
}

FIBER_TEST(non_blocking_pipes_carry_streams)
{
    int fds[2];

    harness_pipe(fds);
    set_nonblocking(fds[0]);
    set_nonblocking(fds[1]);
    pass_pattern(fds[0], fds[1]);
}

static int peek_for_a_moment(struct torc_stream *stream)
{
    struct torc_scope scope;
    const void *data;
    int result;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    result = (int)torc_stream_peek(stream, &data);
    (void)torc_scope_close(&scope);
    return result;
}

FIBER_TEST(waiting_for_a_pipe_can_be_cut_short)
{
    struct torc_stream stream;
    int fds[2];

    harness_pipe(fds);
    torc_stream_open(&stream, fds[0]);
    EXPECT_INT(peek_for_a_moment(&stream), ==, -ETIME);
    harness_put_text(fds[1], "abc");
    harness_expect_input(&stream, "abc");
    EXPECT_INT(peek_for_a_moment(&stream), ==, -ETIME);
    close(fds[1]);
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

FIBER_TEST(writing_to_a_full_pipe_can_be_cut_short)
{
    static const char zeros[100000];
    struct torc_stream stream;
    struct torc_scope scope;
    size_t done;
    int fds[2];

    harness_pipe(fds);
    torc_stream_open(&stream, fds[1]);
    EXPECT_INT(torc_stream_write(&stream, zeros, 100, NULL), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 2 * TORC_MILLISECOND);
    EXPECT_INT(torc_stream_write(&stream, zeros, sizeof(zeros), &done), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_UINT(done, <, sizeof(zeros));
    if (done > 0)
        EXPECT_UINT(harness_unread(fds[0]), ==, done + 100);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    (void)torc_stream_close(&stream);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    close(fds[0]);
}

FIBER_TEST(a_pipe_without_a_reader_is_an_error)
{
    struct torc_stream stream;
    int fds[2];

    harness_pipe(fds);
    close(fds[0]);
    torc_stream_open(&stream, fds[1]);
    EXPECT_INT(torc_stream_write(&stream, "abc", 3, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, -EPIPE);
    EXPECT_INT(torc_stream_close(&stream), ==, -EPIPE);
}

FIBER_TEST(dev_null_takes_all_and_gives_nothing)
{
    struct torc_stream stream;

    torc_stream_open(&stream, open("/dev/null", O_RDWR | O_CLOEXEC));
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_stream_write(&stream, "abc", 3, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

FIBER_TEST(dev_full_says_that_it_is_full)
{
    static const char large[5000];
    struct torc_stream stream;

    torc_stream_open(&stream, open("/dev/full", O_WRONLY | O_CLOEXEC));
    EXPECT_INT(torc_stream_write(&stream, "abc", 3, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, -ENOSPC);
    EXPECT_INT(torc_stream_close(&stream), ==, -ENOSPC);
    torc_stream_open(&stream, open("/dev/full", O_WRONLY | O_CLOEXEC));
    EXPECT_INT(torc_stream_write(&stream, large, sizeof(large), NULL), ==, -ENOSPC);
    EXPECT_INT(torc_stream_close(&stream), ==, -ENOSPC);
}

FIBER_TEST(files_are_written_and_read_from_their_position)
{
    char path[] = "/tmp/torc-stream-XXXXXX";
    const int fd = mkostemp(path, O_CLOEXEC);
    struct torc_stream stream;
    struct stat status;

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(unlink(path), ==, 0);
    torc_stream_open(&stream, dup(fd));
    EXPECT_INT(write_pattern(&stream), ==, 0);
    EXPECT_INT(fstat(fd, &status), ==, 0);
    EXPECT_INT(status.st_size, ==, TOTAL);
    EXPECT_INT(lseek(fd, 0, SEEK_SET), ==, 0);
    torc_stream_open(&stream, fd);
    harness_expect_pattern(&stream, TOTAL);
    harness_expect_end(&stream, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

FIBER_TEST(a_directory_cannot_be_read)
{
    struct torc_stream stream;

    torc_stream_open(&stream, open("/", O_RDONLY | O_CLOEXEC));
    harness_expect_end(&stream, -EISDIR);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
}

/* ---- Terminals ---- */

/* Both ends of a terminal; false if this machine has none. */
static bool open_terminal(int *ret_master, int *ret_slave)
{
    struct termios raw;
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (master < 0)
        return false;
    if (grantpt(master) != 0 || unlockpt(master) != 0 ||
        (*ret_slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
        close(master);
        return false;
    }
    EXPECT_INT(tcgetattr(*ret_slave, &raw), ==, 0);
    cfmakeraw(&raw);
    EXPECT_INT(tcsetattr(*ret_slave, TCSANOW, &raw), ==, 0);
    *ret_master = master;
    return true;
}

FIBER_TEST(terminals_carry_streams_both_ways)
{
    struct torc_stream streams[2];
    int fds[2];

    if (!open_terminal(&fds[0], &fds[1]))
        SKIP("no terminals");
    torc_stream_open(&streams[0], fds[0]);
    torc_stream_open(&streams[1], fds[1]);
    for (int i = 0; i < 50; i++) {
        EXPECT_INT(torc_stream_write(&streams[0], "question\n", 9, NULL), ==, 0);
        harness_expect_input(&streams[1], "question\n");
        EXPECT_INT(torc_stream_write(&streams[1], "answer\n", 7, NULL), ==, 0);
        harness_expect_input(&streams[0], "answer\n");
    }
    EXPECT_INT(peek_for_a_moment(&streams[0]), ==, -ETIME);
    EXPECT_INT(peek_for_a_moment(&streams[1]), ==, -ETIME);
    EXPECT_INT(torc_stream_close(&streams[1]), ==, 0);
    harness_expect_end(&streams[0], -EIO); /* So the kernel tells that the slave was closed. */
    EXPECT_INT(torc_stream_close(&streams[0]), ==, 0);
}

FIBER_TEST(non_blocking_terminals_carry_streams)
{
    struct torc_stream streams[2];
    int fds[2];

    if (!open_terminal(&fds[0], &fds[1]))
        SKIP("no terminals");
    for (int i = 0; i < 2; i++) {
        set_nonblocking(fds[i]);
        torc_stream_open(&streams[i], fds[i]);
    }
    for (int i = 0; i < 50; i++) {
        EXPECT_INT(torc_stream_write(&streams[0], "question\n", 9, NULL), ==, 0);
        harness_expect_input(&streams[1], "question\n");
    }
    EXPECT_INT(peek_for_a_moment(&streams[1]), ==, -ETIME);
    for (int i = 0; i < 2; i++)
        EXPECT_INT(torc_stream_close(&streams[i]), ==, 0);
}

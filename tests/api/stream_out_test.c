/* SPDX-License-Identifier: MIT */
/*
 * stream_out_test.c - what goes out on a stream: collecting, sending, errors.
 */
#include "harness/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <torc/torc.h>
#include <unistd.h>

static void write_text(struct torc_stream *stream, const char *text)
{
    EXPECT_INT(torc_stream_write(stream, text, strlen(text), NULL), ==, 0);
}

/* ---- Collecting ---- */

static uint64_t ops_prepared(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.ops;
}

FIBER_TEST(small_writes_of_a_round_leave_in_one_send)
{
    struct torc_stream stream;
    uint64_t before;
    int peer;

    harness_tcp_stream(&stream, &peer);
    before = ops_prepared();
    for (int i = 0; i < 100; i++)
        write_text(&stream, "0123456789");
    EXPECT_UINT(ops_prepared(), ==, before);
    EXPECT_UINT(harness_unread(peer), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, 0);
    EXPECT_UINT(ops_prepared() - before, ==, 1);
    EXPECT_UINT(harness_unread(peer), ==, 1000);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(what_is_collected_leaves_by_itself)
{
    struct torc_stream stream;
    int peer;

    harness_tcp_stream(&stream, &peer);
    write_text(&stream, "all by");
    write_text(&stream, " itself");
    harness_pass_kernel();
    harness_expect_sent(peer, "all by itself");
    write_text(&stream, "again");
    harness_pass_kernel();
    harness_expect_sent(peer, "again");
    harness_close_stream(&stream, peer);
}

FIBER_TEST(flush_of_nothing_is_nothing)
{
    struct torc_stream stream;
    uint64_t before;
    int peer;

    harness_tcp_stream(&stream, &peer);
    before = ops_prepared();
    EXPECT_INT(torc_stream_flush(&stream), ==, 0);
    EXPECT_INT(torc_stream_write(&stream, NULL, 0, NULL), ==, 0);
    EXPECT_INT(torc_stream_writev(&stream, NULL, 0, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&stream), ==, 0);
    EXPECT_UINT(ops_prepared(), ==, before);
    harness_close_stream(&stream, peer);
}

FIBER_TEST(several_streams_leave_in_the_same_round)
{
    enum {
        COUNT = 10
    };
    struct torc_stream streams[COUNT];
    int peers[COUNT];

    for (int i = 0; i < COUNT; i++)
        harness_unix_stream(&streams[i], &peers[i]);
    for (int i = 0; i < COUNT; i++)
        write_text(&streams[i], "one of many");
    EXPECT_INT(torc_stream_close(&streams[3]), ==, 0); /* In the middle of the list. */
    for (int i = 0; i < COUNT; i++)
        harness_expect_sent(peers[i], "one of many");
    for (int i = 0; i < COUNT; i++) {
        if (i != 3)
            EXPECT_INT(torc_stream_close(&streams[i]), ==, 0);
        close(peers[i]);
    }
}

/* ---- Pieces of all sizes ---- */

struct receiver {
    int fd;
    uint64_t total;
};

static int receive_pattern(void *arg)
{
    struct receiver *receiver = arg;

    receiver->total = harness_receive_pattern(receiver->fd, 4096, SIZE_MAX);
    return 0;
}

#define MIXED_TOTAL 400000u

FIBER_TEST(small_and_large_pieces_keep_their_order)
{
    static char data[60000];
    struct torc_stream stream;
    struct torc_scope scope;
    struct receiver receiver;
    uint64_t offset = 0;

    harness_narrow_stream(&stream, &receiver.fd);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_pattern, &receiver);
    while (offset < MIXED_TOTAL) {
        const size_t length = harness_random_below(harness_random_below(2) ? 50000 : 200);
        size_t done;

        harness_pattern_fill(data, length, offset);
        EXPECT_INT(torc_stream_write(&stream, data, length, &done), ==, 0);
        EXPECT_UINT(done, ==, length);
        offset += length;
    }
    EXPECT_INT(torc_stream_shutdown(&stream), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(receiver.total, ==, offset);
    harness_close_stream(&stream, receiver.fd);
}

FIBER_TEST(a_vector_may_have_any_number_of_pieces)
{
    enum {
        PIECES = 3000
    };
    static struct iovec vector[PIECES];
    static char data[PIECES * 3];
    struct torc_stream stream;
    struct torc_scope scope;
    struct receiver receiver;
    size_t done;

    harness_narrow_stream(&stream, &receiver.fd);
    harness_pattern_fill(data, sizeof(data), 0);
    for (size_t i = 0; i < PIECES; i++)
        vector[i] = (struct iovec){data + 3 * i, 3};
    vector[7].iov_len = 0;
    vector[8] = (struct iovec){data + 21, 6};
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_pattern, &receiver);
    EXPECT_INT(torc_stream_writev(&stream, vector, -1, &done), ==, -EINVAL);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc_stream_writev(&stream, vector, PIECES, &done), ==, 0);
    EXPECT_UINT(done, ==, sizeof(data));
    EXPECT_INT(torc_stream_shutdown(&stream), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(receiver.total, ==, sizeof(data));
    harness_close_stream(&stream, receiver.fd);
}

FIBER_TEST(numbers_of_all_sizes_are_written_in_both_orders)
{
    const uint64_t number = UINT64_C(0xfedcba9876543210);
    struct torc_stream out;
    struct torc_stream in;
    int fds[2];

    harness_unix_pair(fds);
    torc_stream_open(&out, fds[0]);
    torc_stream_open(&in, fds[1]);
    for (unsigned size = 1; size <= 8; size++) {
        const uint64_t kept = number << (64 - 8 * size) >> (64 - 8 * size);
        unsigned char first;
        uint64_t value;

        EXPECT_INT(torc_stream_write_be(&out, size, number), ==, 0);
        EXPECT_INT(torc_stream_write_le(&out, size, number), ==, 0);
        EXPECT_INT(torc_stream_read_be(&in, size, &value), ==, 0);
        EXPECT_UINT(value, ==, kept);
        EXPECT_INT(torc_stream_read(&in, &first, 1), ==, 1);
        EXPECT_UINT(first, ==, 0x10);
        EXPECT_INT(torc_stream_unread(&in, &first, 1), ==, 0);
        EXPECT_INT(torc_stream_read_le(&in, size, &value), ==, 0);
        EXPECT_UINT(value, ==, kept);
    }
    EXPECT_INT(torc_stream_write_be(&out, 0, number), ==, -EINVAL);
    EXPECT_INT(torc_stream_write_le(&out, 9, number), ==, -EINVAL);
    EXPECT_INT(torc_stream_close(&out), ==, 0);
    harness_expect_end(&in, 0);
    EXPECT_INT(torc_stream_close(&in), ==, 0);
}

FIBER_TEST(pieces_of_more_than_4_gib_are_written_whole)
{
    const size_t length = ((size_t)5 << 30) + 123;
    struct torc_stream stream;
    size_t done;
    /* /dev/null does not look at them. */
    void *zeros = mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (zeros == MAP_FAILED) {
        close(fd);
        SKIP("no address space for 5 GiB");
    }
    torc_stream_open(&stream, fd);
    write_text(&stream, "before");
    EXPECT_INT(torc_stream_write(&stream, zeros, length, &done), ==, 0);
    EXPECT_UINT(done, ==, length);
    EXPECT_INT(torc_stream_close(&stream), ==, 0);
    EXPECT_INT(munmap(zeros, length), ==, 0);
}

/* ---- A peer that does not read ---- */

#define LARGE_TOTAL (8u << 20)

FIBER_TEST(a_large_write_that_is_cut_short_tells_what_the_peer_gets)
{
    char *data = malloc(LARGE_TOTAL);
    struct torc_stream stream;
    struct torc_scope scope;
    struct receiver receiver;
    size_t done;

    harness_narrow_stream(&stream, &receiver.fd);
    harness_pattern_fill(data, LARGE_TOTAL, 0);
    EXPECT_INT(torc_stream_write(&stream, data, 1000, NULL), ==, 0); /* Collected before. */
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 2 * TORC_MILLISECOND);
    EXPECT_INT(torc_stream_write(&stream, data + 1000, LARGE_TOTAL - 1000, &done), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_UINT(done, <, LARGE_TOTAL - 1000);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_pattern, &receiver);
    EXPECT_INT(torc_stream_write(&stream, data + 1000 + done, 500, NULL), ==, 0);
    EXPECT_INT(torc_stream_shutdown(&stream), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(receiver.total, ==, 1000 + done + 500);
    harness_close_stream(&stream, receiver.fd);
    free(data);
}

FIBER_TEST(what_was_collected_leaves_after_a_large_write_was_refused)
{
    static char data[100000];
    struct torc_stream stream;
    struct torc_scope scope;
    struct receiver receiver;
    size_t done;

    harness_narrow_stream(&stream, &receiver.fd);
    harness_pattern_fill(data, sizeof(data), 0);
    EXPECT_INT(torc_stream_write(&stream, data, 1000, NULL), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_stream_write(&stream, data + 1000, sizeof(data) - 1000, &done), ==, -ECANCELED);
    EXPECT_INT(torc_stream_flush(&stream), ==, -ECANCELED);
    EXPECT_INT(torc_stream_shutdown(&stream), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_UINT(done, ==, 0);
    harness_pass_kernel();
    EXPECT_UINT(harness_unread(receiver.fd), ==, 1000);
    harness_close_stream(&stream, receiver.fd);
}

FIBER_TEST(a_writer_of_small_pieces_waits_for_a_peer_that_does_not_read)
{
    struct torc_stream stream;
    struct torc_scope scope;
    struct receiver receiver;
    uint64_t taken = 0;
    size_t done;
    int result;

    harness_narrow_stream(&stream, &receiver.fd);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 5 * TORC_MILLISECOND);
    do {
        char data[1000];

        harness_pattern_fill(data, sizeof(data), taken);
        result = torc_stream_write(&stream, data, sizeof(data), &done);
        taken += done;
        EXPECT_UINT(taken, <, LARGE_TOTAL);
    } while (result == 0);
    EXPECT_INT(result, ==, -ETIME);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_pattern, &receiver);
    EXPECT_INT(torc_stream_shutdown(&stream), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(receiver.total, ==, taken);
    harness_close_stream(&stream, receiver.fd);
}

/* Write with a deadline that may come at any time. Returns how many bytes were taken over. */
static size_t write_hastily(struct torc_stream *stream, uint64_t offset)
{
    static char data[20000];
    const size_t length = 1 + harness_random_below(harness_random_below(3) ? 500 : sizeof(data));
    struct torc_scope scope;
    size_t done;
    int result;

    harness_pattern_fill(data, length, offset);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, harness_random_below(100000));
    result = torc_stream_write(stream, data, length, &done);
    EXPECT(result == -ETIME || (result == 0 && done == length));
    if (result == 0 && harness_random_below(4) == 0)
        result = torc_stream_flush(stream);
    EXPECT(result == 0 || result == -ETIME);
    (void)torc_scope_close(&scope);
    return done;
}

FIBER_TEST(writes_that_are_cut_short_at_any_time_lose_and_double_nothing)
{
    const uint64_t total = harness_scaled(3000000);
    struct torc_stream stream;
    struct torc_scope scope;
    struct receiver receiver;
    uint64_t offset = 0;

    harness_narrow_stream(&stream, &receiver.fd);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, receive_pattern, &receiver);
    while (offset < total)
        offset += write_hastily(&stream, offset);
    EXPECT_INT(torc_stream_shutdown(&stream), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(receiver.total, ==, offset);
    harness_close_stream(&stream, receiver.fd);
}

/* ---- A cancel among sends that need not wait ---- */

/* Who sends without waiting lets others run when it has sent so much. */
#define LETS_RUN (256u * 1024u)
#define REST     (64u * 1024u)
#define MUCH     (16u * 1024u * 1024u)

/* A pair of Unix sockets with send buffers as large as they get. */
static void open_wide_pair(int fds[2])
{
    const int most = 1 << 30;

    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    EXPECT_INT(torc_setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &most, sizeof(most)), ==, 0);
}

struct canceller {
    struct torc_scope *scope;
    int peer;
    ssize_t room;
};

/* Not for all: an op that has begun may go on with each receive, before it is cancelled. */
static int cancel_and_make_room(void *arg)
{
    static char data[65536];
    const struct canceller *canceller = arg;
    ssize_t made = 0;
    ssize_t count = 1;

    torc_scope_cancel(canceller->scope);
    for (; made < canceller->room && count > 0; made += count)
        count = recv(canceller->peer, data, sizeof(data), MSG_DONTWAIT);
    return 0;
}

FIBER_TEST(a_write_that_never_has_to_wait_is_cancelled_too)
{
    static char data[MUCH];
    struct canceller canceller;
    struct torc_stream stream;
    struct torc_scope scope;
    ssize_t fits;
    size_t done;
    int fds[2];

    open_wide_pair(fds);
    fits = send(fds[0], data, sizeof(data), MSG_DONTWAIT);
    harness_close_pair(fds);
    if (fits < (ssize_t)LETS_RUN || 3 * fits > (ssize_t)(MUCH - REST))
        SKIP("sockets here take too little, or too much, at once");
    open_wide_pair(fds);
    torc_stream_open(&stream, fds[0]);
    canceller = (struct canceller){.scope = &scope, .peer = fds[1], .room = fits};
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, cancel_and_make_room, &canceller);
    EXPECT_INT(torc_stream_write(&stream, data, 3 * (size_t)fits + REST, &done), ==, -ECANCELED);
    EXPECT_UINT(done, >=, (size_t)fits);
    (void)torc_scope_close(&scope);
    harness_close_stream(&stream, fds[1]);
}

/* ---- Errors ---- */

/* Write until an error comes, which then stays. Returns it. */
static int write_until_error(struct torc_stream *stream)
{
    int result = 0;

    for (int i = 0; result == 0; i++) {
        EXPECT_INT(i, <, 1000);
        result = torc_stream_write(stream, "more", 4, NULL);
        if (result == 0)
            result = torc_stream_flush(stream);
    }
    EXPECT_INT(torc_stream_write(stream, "more", 4, NULL), ==, result);
    EXPECT_INT(torc_stream_flush(stream), ==, result);
    EXPECT_INT(torc_stream_shutdown(stream), ==, result);
    return result;
}

FIBER_TEST(a_peer_that_has_gone_is_an_error_that_stays)
{
    struct torc_stream stream;
    int peer;

    harness_unix_stream(&stream, &peer);
    close(peer);
    EXPECT_INT(write_until_error(&stream), ==, -EPIPE);
    EXPECT_INT(torc_stream_close(&stream), ==, -EPIPE);
}

FIBER_TEST(a_reset_is_an_error_that_stays)
{
    struct torc_stream stream;
    int result;
    int peer;

    harness_tcp_stream(&stream, &peer);
    harness_reset(peer);
    result = write_until_error(&stream);
    EXPECT(result == -ECONNRESET || result == -EPIPE);
    EXPECT_INT(torc_stream_close(&stream), ==, result);
}

FIBER_TEST(an_error_of_what_was_collected_is_told_by_the_next_write)
{
    static const char large[10000];
    struct torc_stream stream;
    size_t done = 1;
    int peer;

    harness_unix_stream(&stream, &peer);
    close(peer);
    write_text(&stream, "nobody hears it");
    harness_pass_kernel();
    EXPECT_INT(torc_stream_write(&stream, large, sizeof(large), &done), ==, -EPIPE);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc_stream_close(&stream), ==, -EPIPE);
}

FIBER_TEST(shutdown_lets_the_peer_read_the_end_and_answer)
{
    struct torc_stream stream;
    char byte;
    int peer;

    harness_tcp_stream(&stream, &peer);
    write_text(&stream, "question");
    EXPECT_INT(torc_stream_shutdown(&stream), ==, 0);
    harness_expect_sent(peer, "question");
    EXPECT_INT(read(peer, &byte, 1), ==, 0);
    harness_put_text(peer, "answer");
    harness_expect_input(&stream, "answer");
    EXPECT_INT(write_until_error(&stream), ==, -EPIPE);
    EXPECT_INT(torc_stream_close(&stream), ==, -EPIPE);
    close(peer);
}

FIBER_TEST(what_is_no_socket_cannot_be_shut_down)
{
    struct torc_stream stream;
    int fds[2];

    harness_pipe(fds);
    torc_stream_open(&stream, fds[1]);
    write_text(&stream, "abc");
    EXPECT_INT(torc_stream_shutdown(&stream), ==, -EOPNOTSUPP);
    harness_expect_sent(fds[0], "abc");
    harness_close_stream(&stream, fds[0]);
}

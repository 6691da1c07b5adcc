/* SPDX-License-Identifier: MIT */
/*
 * large_test.c - large pieces are moved at once where they can be, and otherwise like small ones.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <torc/torc.h>

#define PIECE 65536u
#define WHOLE (16u << 20)

static bool others_ran;

static int run_others(void *arg)
{
    (void)arg;
    others_ran = true;
    return 0;
}

static char *make_bytes(size_t length)
{
    char *bytes = malloc(length);

    EXPECT(bytes != NULL);
    harness_pattern_fill(bytes, length, 0);
    return bytes;
}

FIBER_TEST(a_large_piece_that_finds_room_is_sent_without_a_wait)
{
    static char bytes[PIECE];
    struct torc_scope scope;
    int fds[2];

    if (torc_sim_is_on())
        SKIP("what is simulated moves nothing by calls");
    harness_tcp_pair(fds);
    others_ran = false;
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, run_others, NULL);
    EXPECT_INT(torc_send(fds[0], bytes, PIECE, 0), >, 0);
    EXPECT(!others_ran);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
}

/* Whether the kernel says that a receive has left something (Linux 5.19). */
static bool tells_of_more(int fd)
{
    char byte;
    struct torc_op op;

    io_uring_prep_recv(torc_op_prepare(&op), fd, &byte, 1, MSG_PEEK);
    EXPECT_INT(torc_op_wait(&op), ==, 1);
    return torc_op_flags(&op) & IORING_CQE_F_SOCK_NONEMPTY;
}

FIBER_TEST(what_a_large_receive_has_left_is_received_without_a_wait)
{
    static char bytes[2 * PIECE];
    struct torc_scope scope;
    int fds[2];
    bool told;

    harness_tcp_pair(fds);
    EXPECT_INT(torc_send_all(fds[0], bytes, sizeof(bytes), NULL), ==, 0);
    told = tells_of_more(fds[1]);
    EXPECT_INT(torc_recv(fds[1], bytes, PIECE, MSG_WAITALL), ==, PIECE);
    others_ran = false;
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, run_others, NULL);
    EXPECT_INT(torc_recv(fds[1], bytes, PIECE, 0), >, 0);
    EXPECT(others_ran == !told);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
}

struct reader {
    int fd;
    size_t length;
};

/* Receive all there is to be had, and compare it. */
static int read_all(void *arg)
{
    const struct reader *reader = arg;

    EXPECT_UINT(harness_receive_pattern(reader->fd, PIECE, SIZE_MAX), ==, reader->length);
    return 0;
}

FIBER_TEST(a_large_piece_that_finds_no_room_is_sent_whole_when_there_is_some)
{
    char *bytes = make_bytes(WHOLE);
    struct torc_scope scope;
    int fds[2];
    struct reader reader = {.length = WHOLE};

    harness_tcp_pair(fds);
    reader.fd = fds[1];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, read_all, &reader);
    EXPECT_INT(torc_send(fds[0], bytes, WHOLE, MSG_WAITALL), ==, WHOLE);
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
    free(bytes);
}

static int cancel_scope(void *arg)
{
    torc_scope_cancel(arg);
    return 0;
}

/* Discard all there is to be had, and count it. */
static int count_all(void *arg)
{
    struct reader *reader = arg;
    char *buffer = malloc(16 * PIECE);
    ssize_t count;

    EXPECT(buffer != NULL);
    while ((count = torc_recv(reader->fd, buffer, 16 * PIECE, 0)) > 0)
        reader->length += (size_t)count;
    free(buffer);
    return (int)count;
}

FIBER_TEST(more_than_one_send_moves_is_sent_whole_if_that_is_wanted)
{
    const size_t length = ((size_t)2 << 30) + PIECE;
    void *zeros;
    struct torc_scope scope;
    int fds[2];
    struct reader reader = {0};

    if (torc_sim_is_on())
        SKIP("what is simulated takes long for it");
    zeros = mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(zeros != MAP_FAILED);
    harness_unix_pair(fds);
    reader.fd = fds[1];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, count_all, &reader);
    EXPECT_INT(torc_send(fds[0], zeros, length, MSG_WAITALL), ==, (ssize_t)length);
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(reader.length, ==, length);
    harness_close_pair(fds);
    munmap(zeros, length);
}

FIBER_TEST(a_large_send_that_is_cancelled_tells_how_much_was_sent)
{
    char *bytes = make_bytes(WHOLE);
    struct torc_scope scope;
    struct torc_scope inner;
    ssize_t sent;
    struct reader reader;
    int fds[2];

    harness_tcp_pair(fds);
    torc_scope_open(&scope, 0);
    torc_scope_open(&inner, 0);
    harness_spawn(&scope, cancel_scope, &inner);
    sent = torc_send(fds[0], bytes, WHOLE, MSG_WAITALL);
    EXPECT_INT(sent, >, 0);
    EXPECT_INT(sent, <, WHOLE);
    EXPECT_INT(torc_send(fds[0], bytes, PIECE, 0), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&inner), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    reader.fd = fds[1];
    reader.length = (size_t)sent;
    EXPECT_INT(read_all(&reader), ==, 0);
    harness_close_pair(fds);
    free(bytes);
}

static void open_wide_pair(int fds[2])
{
    const int wide = 1 << 20;

    harness_tcp_pair(fds);
    EXPECT_INT(torc_setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &wide, sizeof(wide)), ==, 0);
    EXPECT_INT(torc_setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &wide, sizeof(wide)), ==, 0);
}

/* There is a piece to be received each time, and room to send one. */
FIBER_TEST(who_could_move_large_pieces_for_ever_lets_others_run)
{
    char *bytes = make_bytes(PIECE);
    struct torc_scope scope;
    unsigned moved = 0;
    int fds[2];

    open_wide_pair(fds);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < 3; i++)
        EXPECT_INT(torc_send_all(fds[0], bytes, PIECE, NULL), ==, 0);
    EXPECT_INT(torc_recv_all(fds[1], bytes, PIECE, NULL), ==, 0);
    others_ran = false;
    harness_spawn(&scope, run_others, NULL);
    for (; !others_ran && moved < 1000; moved++) {
        EXPECT_INT(torc_send_all(fds[0], bytes, PIECE, NULL), ==, 0);
        EXPECT_INT(torc_recv(fds[1], bytes, PIECE, 0), >, 0);
    }
    EXPECT_UINT(moved, <, 1000);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
    free(bytes);
}

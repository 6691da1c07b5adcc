/* SPDX-License-Identifier: MIT */
/*
 * epoll_buffers_test.c - multishot receives of the epoll driver, into its ring of buffers.
 */
#include "driver/buffer_ring.h"
#include "unit/driver/epoll_rig.h"
#include <poll.h>
#include <sys/socket.h>

enum {
    SIZE = 16384,
    COUNT = 4,
    REST = 4096 /* with less room left a buffer is not received into again */
};

static char memory[COUNT][SIZE];

/* A receive that notes which buffers it was told of. */
struct receive {
    struct noted_op noted;
    struct torc__epoll *epoll;
    unsigned pieces;
    int sizes[16];
    uint32_t flags[16];
    bool cancels; /* when it is told something */
};

static void note_piece(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct receive *receive = container_of(op, struct receive, noted.op);

    EXPECT_INT((flags & IORING_CQE_F_MORE) != 0, ==, more != 0);
    if (flags & IORING_CQE_F_BUFFER) {
        EXPECT_UINT(receive->pieces, <, ARRAY_LENGTH(receive->sizes));
        receive->sizes[receive->pieces] = result;
        receive->flags[receive->pieces++] = flags;
    }
    note(op, result, flags, more);
    if (receive->cancels && more)
        cancel(receive->epoll, &receive->noted);
}

/* A driver with its ring, and a receive from one end of a pair. */
struct rig {
    struct torc__epoll epoll;
    struct torc__buffer_ring buffers;
    struct receive receive;
    int fds[2];
};

static void begin(struct rig *rig)
{
    struct io_uring_sqe *sqe;

    memset(&rig->receive, 0, sizeof(rig->receive));
    rig->receive.epoll = &rig->epoll;
    sqe = prepare(&rig->epoll, &rig->receive.noted);
    set_function(&rig->receive.noted.op, note_piece);
    io_uring_prep_recv_multishot(sqe, rig->fds[0], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
}

/* With `count` buffers in the ring. */
static void open_rig(struct rig *rig, void (*make_pair)(int ret_fds[2]), bool incremental,
                     unsigned count)
{
    start(&rig->epoll);
    rig->buffers = (struct torc__buffer_ring){.incremental = incremental};
    EXPECT_INT(torc__epoll_ops.open_buffers(&rig->epoll.base, &rig->buffers, COUNT), ==, 0);
    for (unsigned i = 0; i < count; i++)
        torc__buffer_ring_add(&rig->buffers, memory[i], SIZE, i);
    make_pair(rig->fds);
}

static void close_and_stop(struct torc__epoll *epoll, struct torc__buffer_ring *buffers)
{
    torc__epoll_ops.close_buffers(&epoll->base, buffers);
    EXPECT(buffers->ring == NULL);
    stop(epoll);
}

static void close_rig(struct rig *rig)
{
    harness_close_pair(rig->fds);
    close_and_stop(&rig->epoll, &rig->buffers);
}

TEST(one_receive_tells_all_that_comes_and_then_the_end)
{
    struct rig rig;

    open_rig(&rig, harness_tcp_pair, false, COUNT);
    begin(&rig);
    settle(&rig.epoll);
    EXPECT_UINT(rig.receive.noted.told, ==, 0);
    for (unsigned i = 0; i < COUNT - 1; i++) {
        const unsigned id = COUNT - 1 - i;

        harness_put(rig.fds[1], &i, sizeof(i));
        turn_until_told(&rig.epoll, &rig.receive.noted, i + 1);
        EXPECT_INT(rig.receive.sizes[i], ==, sizeof(i));
        EXPECT_UINT(torc__buffer_id(rig.receive.flags[i]), ==, id);
        EXPECT(!(rig.receive.flags[i] & IORING_CQE_F_BUF_MORE));
        EXPECT_MEM(memory[id], &i, sizeof(i));
    }
    EXPECT_INT(shutdown(rig.fds[1], SHUT_WR), ==, 0);
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, 0);
    EXPECT_UINT(rig.receive.pieces, ==, COUNT - 1);
    close_rig(&rig);
}

TEST(the_buffer_that_came_back_last_is_filled_next)
{
    struct rig rig;

    open_rig(&rig, harness_unix_pair, false, COUNT);
    begin(&rig);
    for (unsigned i = 0; i < 3 * COUNT; i++) {
        harness_put(rig.fds[1], "x", 1);
        turn_until_told(&rig.epoll, &rig.receive.noted, i + 1);
        EXPECT_UINT(torc__buffer_id(rig.receive.flags[i]), ==, COUNT - 1);
        torc__buffer_ring_add(&rig.buffers, memory[COUNT - 1], SIZE, COUNT - 1);
    }
    cancel_and_end(&rig.epoll, &rig.receive.noted);
    close_rig(&rig);
}

TEST(an_incremental_buffer_is_filled_until_messages_would_be_cut)
{
    struct rig rig;
    static char data[SIZE];

    open_rig(&rig, harness_unix_pair, true, 2);
    harness_pattern_fill(data, sizeof(data), 0);
    begin(&rig);
    harness_put(rig.fds[1], data, SIZE - REST);
    turn_until_told(&rig.epoll, &rig.receive.noted, 1);
    EXPECT(rig.receive.flags[0] & IORING_CQE_F_BUF_MORE);
    harness_put(rig.fds[1], data, 1);
    turn_until_told(&rig.epoll, &rig.receive.noted, 2);
    EXPECT(!(rig.receive.flags[1] & IORING_CQE_F_BUF_MORE));
    harness_put(rig.fds[1], data, 1);
    turn_until_told(&rig.epoll, &rig.receive.noted, 3);
    EXPECT_UINT(torc__buffer_id(rig.receive.flags[0]), ==, 1);
    EXPECT_UINT(torc__buffer_id(rig.receive.flags[1]), ==, 1);
    EXPECT_UINT(torc__buffer_id(rig.receive.flags[2]), ==, 0);
    harness_pattern_check(memory[1], SIZE - REST, 0);
    EXPECT_MEM(memory[1] + SIZE - REST, data, 1);
    cancel_and_end(&rig.epoll, &rig.receive.noted);
    close_rig(&rig);
}

TEST(what_fills_a_buffer_is_followed_by_the_rest_at_once)
{
    struct rig rig;
    static char data[2 * SIZE + 1];

    open_rig(&rig, harness_unix_pair, false, COUNT);
    harness_pattern_fill(data, sizeof(data), 0);
    harness_put(rig.fds[1], data, sizeof(data));
    begin(&rig);
    EXPECT_INT(turn(&rig.epoll, DRIVER_NO_WAIT), ==, 3);
    EXPECT_INT(rig.receive.sizes[0], ==, SIZE);
    EXPECT_INT(rig.receive.sizes[2], ==, 1);
    for (unsigned i = 0; i < 3; i++)
        harness_pattern_check(memory[COUNT - 1 - i], (size_t)rig.receive.sizes[i], i * SIZE);
    cancel_and_end(&rig.epoll, &rig.receive.noted);
    close_rig(&rig);
}

TEST(a_receive_beside_a_multishot_poll_notices_the_end_that_came_with_its_bytes)
{
    struct rig rig;
    struct noted_op poll;

    open_rig(&rig, harness_unix_pair, false, COUNT);
    io_uring_prep_poll_multishot(prepare(&rig.epoll, &poll), rig.fds[0], POLLPRI);
    begin(&rig);
    settle(&rig.epoll);
    harness_put(rig.fds[1], "abc", 3);
    EXPECT_INT(shutdown(rig.fds[1], SHUT_WR), ==, 0); /* One event tells of both. */
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, 0);
    EXPECT_UINT(rig.receive.pieces, ==, 1);
    EXPECT_INT(rig.receive.sizes[0], ==, 3);
    cancel_and_end(&rig.epoll, &poll);
    close_rig(&rig);
}

TEST(without_a_buffer_a_receive_ends_and_what_is_there_stays)
{
    struct rig rig;

    open_rig(&rig, harness_unix_pair, false, 1);
    begin(&rig);
    harness_put(rig.fds[1], "a", 1);
    turn_until_told(&rig.epoll, &rig.receive.noted, 1);
    harness_put(rig.fds[1], "b", 1);
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, -ENOBUFS);
    begin(&rig);
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, -ENOBUFS);
    torc__buffer_ring_add(&rig.buffers, memory[0], SIZE, 0);
    begin(&rig);
    turn_until_told(&rig.epoll, &rig.receive.noted, 1);
    EXPECT_MEM(memory[0], "b", 1);
    cancel_and_end(&rig.epoll, &rig.receive.noted);
    close_rig(&rig);
}

TEST(who_is_told_of_a_piece_may_end_the_receive)
{
    struct rig rig;
    char rest;

    open_rig(&rig, harness_unix_pair, false, COUNT);
    for (unsigned i = 0; i < 2; i++) {
        static const char data[SIZE];

        harness_put(rig.fds[1], data, sizeof(data));
    }
    harness_put(rig.fds[1], "z", 1);
    begin(&rig);
    rig.receive.cancels = true;
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, -ECANCELED);
    EXPECT_UINT(rig.receive.pieces, ==, 1);
    EXPECT_UINT(harness_unread(rig.fds[0]), ==, SIZE + 1);
    while (harness_unread(rig.fds[0]) > 0)
        harness_get(rig.fds[0], &rest, 1);
    EXPECT_INT(rest, ==, 'z');
    close_rig(&rig);
}

TEST(errors_of_the_descriptor_end_the_receive)
{
    struct rig rig;

    open_rig(&rig, harness_pipe, false, COUNT);
    begin(&rig);
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, -ENOTSOCK);
    harness_close_pair(rig.fds);
    harness_tcp_pair(rig.fds);
    begin(&rig);
    settle(&rig.epoll);
    harness_reset(rig.fds[1]);
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, -ECONNRESET);
    close(rig.fds[0]);
    close_and_stop(&rig.epoll, &rig.buffers);
}

TEST(there_is_one_ring_and_only_its_group_has_buffers)
{
    struct torc__buffer_ring second = {0};
    struct rig rig;
    struct io_uring_sqe *sqe;

    open_rig(&rig, harness_unix_pair, false, COUNT);
    EXPECT_INT(torc__epoll_ops.open_buffers(&rig.epoll.base, &second, COUNT), ==, -ENOMEM);
    harness_put(rig.fds[1], "x", 1);
    sqe = prepare(&rig.epoll, &rig.receive.noted);
    io_uring_prep_recv_multishot(sqe, rig.fds[0], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 1;
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, -ENOBUFS);
    close_rig(&rig);
}

TEST(what_is_forbidden_of_rings_is_not_there_either)
{
    static const unsigned forbidden[] = {TORC_FEATURE_MULTISHOT, TORC_FEATURE_BUFFER_RING};
    struct torc__buffer_ring buffers = {.incremental = true};
    struct torc__epoll epoll;

    for (unsigned i = 0; i < ARRAY_LENGTH(forbidden); i++) {
        start_with(&epoll, forbidden[i], 0);
        EXPECT_INT(torc__epoll_ops.open_buffers(&epoll.base, &buffers, COUNT), ==, -EOPNOTSUPP);
        stop(&epoll);
    }
    start_with(&epoll, TORC_FEATURE_BUFFER_INC, 0);
    EXPECT_INT(torc__epoll_ops.open_buffers(&epoll.base, &buffers, COUNT), ==, -EOPNOTSUPP);
    buffers.incremental = false;
    EXPECT_INT(torc__epoll_ops.open_buffers(&epoll.base, &buffers, COUNT), ==, 0);
    close_and_stop(&epoll, &buffers);
}

TEST(what_has_come_beats_a_cancel_of_a_receive)
{
    struct rig rig;

    open_rig(&rig, harness_tcp_pair, false, COUNT);
    begin(&rig);
    settle(&rig.epoll);
    harness_put(rig.fds[1], "abc", 3);
    cancel(&rig.epoll, &rig.receive.noted);
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, -ECANCELED);
    EXPECT_UINT(rig.receive.pieces, ==, 1);
    EXPECT_INT(rig.receive.sizes[0], ==, 3);
    close_rig(&rig);
}

static void make_datagram_pair(int ret_fds[2])
{
    EXPECT_INT(socketpair(AF_UNIX, SOCK_DGRAM, 0, ret_fds), ==, 0);
}

TEST(a_receive_of_datagrams_ends_when_its_socket_is_shut_down)
{
    struct rig rig;

    open_rig(&rig, make_datagram_pair, false, COUNT);
    begin(&rig);
    harness_put(rig.fds[1], "abc", 3);
    turn_until_told(&rig.epoll, &rig.receive.noted, 1);
    EXPECT_INT(shutdown(rig.fds[0], SHUT_RD), ==, 0);
    EXPECT_INT(result_of(&rig.epoll, &rig.receive.noted), ==, 0);
    EXPECT_UINT(rig.receive.pieces, ==, 1);
    close_rig(&rig);
}

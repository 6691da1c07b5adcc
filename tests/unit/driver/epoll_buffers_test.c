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

static void begin(struct torc__epoll *epoll, struct receive *receive, int fd)
{
    struct io_uring_sqe *sqe;

    memset(receive, 0, sizeof(*receive));
    receive->epoll = epoll;
    sqe = prepare(epoll, &receive->noted);
    set_function(&receive->noted.op, note_piece);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
}

static void open_with(struct torc__epoll *epoll, struct torc__buffer_ring *buffers,
                      bool incremental, unsigned count)
{
    start(epoll);
    *buffers = (struct torc__buffer_ring){.incremental = incremental};
    EXPECT_INT(torc__epoll_ops.open_buffers(&epoll->base, buffers, COUNT), ==, 0);
    for (unsigned i = 0; i < count; i++)
        torc__buffer_ring_add(buffers, memory[i], SIZE, i);
}

static void close_and_stop(struct torc__epoll *epoll, struct torc__buffer_ring *buffers)
{
    torc__epoll_ops.close_buffers(&epoll->base, buffers);
    EXPECT(buffers->ring == NULL);
    stop(epoll);
}

TEST(one_receive_tells_all_that_comes_and_then_the_end)
{
    struct torc__buffer_ring buffers;
    struct torc__epoll epoll;
    struct receive receive;
    int fds[2];

    open_with(&epoll, &buffers, false, COUNT);
    harness_tcp_pair(fds);
    begin(&epoll, &receive, fds[0]);
    settle(&epoll);
    EXPECT_UINT(receive.noted.told, ==, 0);
    for (unsigned i = 0; i < COUNT - 1; i++) {
        const unsigned id = COUNT - 1 - i;

        harness_put(fds[1], &i, sizeof(i));
        turn_until_told(&epoll, &receive.noted, i + 1);
        EXPECT_INT(receive.sizes[i], ==, sizeof(i));
        EXPECT_UINT(torc__buffer_id(receive.flags[i]), ==, id);
        EXPECT(!(receive.flags[i] & IORING_CQE_F_BUF_MORE));
        EXPECT_MEM(memory[id], &i, sizeof(i));
    }
    EXPECT_INT(shutdown(fds[1], SHUT_WR), ==, 0);
    EXPECT_INT(result_of(&epoll, &receive.noted), ==, 0);
    EXPECT_UINT(receive.pieces, ==, COUNT - 1);
    harness_close_pair(fds);
    close_and_stop(&epoll, &buffers);
}

TEST(the_buffer_that_came_back_last_is_filled_next)
{
    struct torc__buffer_ring buffers;
    struct torc__epoll epoll;
    struct receive receive;
    int fds[2];

    open_with(&epoll, &buffers, false, COUNT);
    harness_unix_pair(fds);
    begin(&epoll, &receive, fds[0]);
    for (unsigned i = 0; i < 3 * COUNT; i++) {
        harness_put(fds[1], "x", 1);
        turn_until_told(&epoll, &receive.noted, i + 1);
        EXPECT_UINT(torc__buffer_id(receive.flags[i]), ==, COUNT - 1);
        torc__buffer_ring_add(&buffers, memory[COUNT - 1], SIZE, COUNT - 1);
    }
    cancel_and_end(&epoll, &receive.noted);
    harness_close_pair(fds);
    close_and_stop(&epoll, &buffers);
}

TEST(an_incremental_buffer_is_filled_until_messages_would_be_cut)
{
    struct torc__buffer_ring buffers;
    struct torc__epoll epoll;
    struct receive receive;
    static char data[SIZE];
    int fds[2];

    open_with(&epoll, &buffers, true, 2);
    harness_unix_pair(fds);
    harness_pattern_fill(data, sizeof(data), 0);
    begin(&epoll, &receive, fds[0]);
    harness_put(fds[1], data, SIZE - REST);
    turn_until_told(&epoll, &receive.noted, 1);
    EXPECT(receive.flags[0] & IORING_CQE_F_BUF_MORE);
    harness_put(fds[1], data, 1);
    turn_until_told(&epoll, &receive.noted, 2);
    EXPECT(!(receive.flags[1] & IORING_CQE_F_BUF_MORE));
    harness_put(fds[1], data, 1);
    turn_until_told(&epoll, &receive.noted, 3);
    EXPECT_UINT(torc__buffer_id(receive.flags[0]), ==, 1);
    EXPECT_UINT(torc__buffer_id(receive.flags[1]), ==, 1);
    EXPECT_UINT(torc__buffer_id(receive.flags[2]), ==, 0);
    harness_pattern_check(memory[1], SIZE - REST, 0);
    EXPECT_MEM(memory[1] + SIZE - REST, data, 1);
    cancel_and_end(&epoll, &receive.noted);
    harness_close_pair(fds);
    close_and_stop(&epoll, &buffers);
}

TEST(what_fills_a_buffer_is_followed_by_the_rest_at_once)
{
    struct torc__buffer_ring buffers;
    struct torc__epoll epoll;
    struct receive receive;
    static char data[2 * SIZE + 1];
    int fds[2];

    open_with(&epoll, &buffers, false, COUNT);
    harness_unix_pair(fds);
    harness_pattern_fill(data, sizeof(data), 0);
    harness_put(fds[1], data, sizeof(data));
    begin(&epoll, &receive, fds[0]);
    EXPECT_INT(turn(&epoll, DRIVER_NO_WAIT), ==, 3);
    EXPECT_INT(receive.sizes[0], ==, SIZE);
    EXPECT_INT(receive.sizes[2], ==, 1);
    for (unsigned i = 0; i < 3; i++)
        harness_pattern_check(memory[COUNT - 1 - i], (size_t)receive.sizes[i], i * SIZE);
    cancel_and_end(&epoll, &receive.noted);
    harness_close_pair(fds);
    close_and_stop(&epoll, &buffers);
}

TEST(a_receive_beside_a_multishot_poll_notices_the_end_that_came_with_its_bytes)
{
    struct torc__buffer_ring buffers;
    struct torc__epoll epoll;
    struct receive receive;
    struct noted_op poll;
    int fds[2];

    open_with(&epoll, &buffers, false, COUNT);
    harness_unix_pair(fds);
    io_uring_prep_poll_multishot(prepare(&epoll, &poll), fds[0], POLLPRI);
    begin(&epoll, &receive, fds[0]);
    settle(&epoll);
    harness_put(fds[1], "abc", 3);
    EXPECT_INT(shutdown(fds[1], SHUT_WR), ==, 0); /* One event tells of both. */
    EXPECT_INT(result_of(&epoll, &receive.noted), ==, 0);
    EXPECT_UINT(receive.pieces, ==, 1);
    EXPECT_INT(receive.sizes[0], ==, 3);
    cancel_and_end(&epoll, &poll);
    harness_close_pair(fds);
    close_and_stop(&epoll, &buffers);
}

TEST(without_a_buffer_a_receive_ends_and_what_is_there_stays)
{
    struct torc__buffer_ring buffers;
    struct torc__epoll epoll;
    struct receive receive;
    int fds[2];

    open_with(&epoll, &buffers, false, 1);
    harness_unix_pair(fds);
    begin(&epoll, &receive, fds[0]);
    harness_put(fds[1], "a", 1);
    turn_until_told(&epoll, &receive.noted, 1);
    harness_put(fds[1], "b", 1);
    EXPECT_INT(result_of(&epoll, &receive.noted), ==, -ENOBUFS);
    begin(&epoll, &receive, fds[0]);
    EXPECT_INT(result_of(&epoll, &receive.noted), ==, -ENOBUFS);
    torc__buffer_ring_add(&buffers, memory[0], SIZE, 0);
    begin(&epoll, &receive, fds[0]);
    turn_until_told(&epoll, &receive.noted, 1);
    EXPECT_MEM(memory[0], "b", 1);
    cancel_and_end(&epoll, &receive.noted);
    harness_close_pair(fds);
    close_and_stop(&epoll, &buffers);
}

TEST(who_is_told_of_a_piece_may_end_the_receive)
{
    struct torc__buffer_ring buffers;
    struct torc__epoll epoll;
    struct receive receive;
    char rest;
    int fds[2];

    open_with(&epoll, &buffers, false, COUNT);
    harness_unix_pair(fds);
    for (unsigned i = 0; i < 2; i++) {
        static const char data[SIZE];

        harness_put(fds[1], data, sizeof(data));
    }
    harness_put(fds[1], "z", 1);
    begin(&epoll, &receive, fds[0]);
    receive.cancels = true;
    EXPECT_INT(result_of(&epoll, &receive.noted), ==, -ECANCELED);
    EXPECT_UINT(receive.pieces, ==, 1);
    EXPECT_UINT(harness_unread(fds[0]), ==, SIZE + 1);
    while (harness_unread(fds[0]) > 0)
        harness_get(fds[0], &rest, 1);
    EXPECT_INT(rest, ==, 'z');
    harness_close_pair(fds);
    close_and_stop(&epoll, &buffers);
}

TEST(errors_of_the_descriptor_end_the_receive)
{
    struct torc__buffer_ring buffers;
    struct torc__epoll epoll;
    struct receive receive;
    int fds[2];

    open_with(&epoll, &buffers, false, COUNT);
    harness_pipe(fds);
    begin(&epoll, &receive, fds[0]);
    EXPECT_INT(result_of(&epoll, &receive.noted), ==, -ENOTSOCK);
    harness_close_pair(fds);
    harness_tcp_pair(fds);
    begin(&epoll, &receive, fds[0]);
    settle(&epoll);
    harness_reset(fds[1]);
    EXPECT_INT(result_of(&epoll, &receive.noted), ==, -ECONNRESET);
    close(fds[0]);
    close_and_stop(&epoll, &buffers);
}

TEST(there_is_one_ring_and_only_its_group_has_buffers)
{
    struct torc__buffer_ring second = {0};
    struct torc__buffer_ring buffers;
    struct torc__epoll epoll;
    struct receive receive;
    struct io_uring_sqe *sqe;
    int fds[2];

    open_with(&epoll, &buffers, false, COUNT);
    EXPECT_INT(torc__epoll_ops.open_buffers(&epoll.base, &second, COUNT), ==, -ENOMEM);
    harness_unix_pair(fds);
    harness_put(fds[1], "x", 1);
    sqe = prepare(&epoll, &receive.noted);
    io_uring_prep_recv_multishot(sqe, fds[0], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 1;
    EXPECT_INT(result_of(&epoll, &receive.noted), ==, -ENOBUFS);
    harness_close_pair(fds);
    close_and_stop(&epoll, &buffers);
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

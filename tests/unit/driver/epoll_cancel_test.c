/* SPDX-License-Identifier: MIT */
/*
 * epoll_cancel_test.c - ops that end other ops by what they are called.
 */
#include "unit/driver/epoll_rig.h"
#include <poll.h>
#include <sys/socket.h>

/* Four ops that wait: receives of two sockets, a poll of the first, and a timeout. */
struct crowd {
    struct torc__epoll epoll;
    struct noted_op ops[4];
    struct noted_op canceller;
    struct __kernel_timespec hour;
    char bytes[2];
    int fds[2][2];
};

static void gather(struct crowd *crowd)
{
    start(&crowd->epoll);
    crowd->hour = (struct __kernel_timespec){.tv_sec = 3600};
    for (unsigned i = 0; i < 2; i++) {
        harness_unix_pair(crowd->fds[i]);
        io_uring_prep_recv(prepare(&crowd->epoll, &crowd->ops[i]), crowd->fds[i][0],
                           &crowd->bytes[i], 1, 0);
    }
    io_uring_prep_poll_add(prepare(&crowd->epoll, &crowd->ops[2]), crowd->fds[0][0], POLLPRI);
    io_uring_prep_timeout(prepare(&crowd->epoll, &crowd->ops[3]), &crowd->hour, 0, 0);
    settle(&crowd->epoll);
}

/* Cancel what `name` and `flags` say; the result. */
static int cancel_by(struct crowd *crowd, uint64_t name, int fd, unsigned opcode, unsigned flags)
{
    struct io_uring_sqe *sqe = prepare(&crowd->epoll, &crowd->canceller);

    io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, fd, (void *)(uintptr_t)name, opcode, 0);
    sqe->cancel_flags = flags;
    return result_of(&crowd->epoll, &crowd->canceller);
}

/* The ops whose bits are in `mask` have been cancelled, the others not. */
static void expect_cancelled(struct crowd *crowd, unsigned mask)
{
    settle(&crowd->epoll);
    for (unsigned i = 0; i < 4; i++) {
        EXPECT_UINT(crowd->ops[i].ended, ==, (mask >> i) & 1);
        if (mask & (1U << i))
            expect_each_told_once(&crowd->ops[i], 1, -ECANCELED);
    }
}

static void disperse(struct crowd *crowd)
{
    for (unsigned i = 0; i < 4; i++)
        cancel(&crowd->epoll, &crowd->ops[i]);
    turn_until_ended(&crowd->epoll, crowd->ops, 4);
    harness_close_pair(crowd->fds[0]);
    harness_close_pair(crowd->fds[1]);
    stop(&crowd->epoll);
}

TEST(an_op_is_cancelled_by_its_address)
{
    static struct crowd crowd;

    gather(&crowd);
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t name = (uint64_t)(uintptr_t)&crowd.ops[i].op;

        EXPECT_INT(cancel_by(&crowd, name, -1, 0, 0), ==, 0);
        expect_cancelled(&crowd, (2U << i) - 1);
        EXPECT_INT(cancel_by(&crowd, name, -1, 0, 0), ==, -ENOENT);
    }
    disperse(&crowd);
}

TEST(a_name_that_nobody_has_is_not_found)
{
    static struct crowd crowd;

    gather(&crowd);
    EXPECT_INT(cancel_by(&crowd, 0xdeadbeef, -1, 0, 0), ==, -ENOENT);
    EXPECT_INT(cancel_by(&crowd, 0, crowd.fds[0][1], 0, IORING_ASYNC_CANCEL_FD), ==, -ENOENT);
    EXPECT_INT(cancel_by(&crowd, 0, -1, 0, 1U << 30), ==, -EINVAL);
    EXPECT_INT(cancel_by(&crowd, 0, 0, 0, IORING_ASYNC_CANCEL_FD_FIXED), ==, -EBADF);
    expect_cancelled(&crowd, 0);
    disperse(&crowd);
}

TEST(all_ops_of_a_descriptor_are_cancelled_and_counted)
{
    static struct crowd crowd;

    gather(&crowd);
    EXPECT_INT(
        cancel_by(&crowd, 0, crowd.fds[0][0], 0, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL),
        ==, 2);
    expect_cancelled(&crowd, 5);
    disperse(&crowd);
}

TEST(one_op_of_a_descriptor_and_a_kind_is_cancelled)
{
    static struct crowd crowd;

    gather(&crowd);
    EXPECT_INT(cancel_by(&crowd, 0, crowd.fds[0][0], IORING_OP_POLL_ADD,
                         IORING_ASYNC_CANCEL_FD | KERNEL_CANCEL_OP),
               ==, 0);
    expect_cancelled(&crowd, 4);
    EXPECT_INT(cancel_by(&crowd, (uint64_t)(uintptr_t)&crowd.ops[0].op, crowd.fds[1][0], 0,
                         IORING_ASYNC_CANCEL_FD | KERNEL_CANCEL_USERDATA),
               ==, -ENOENT);
    disperse(&crowd);
}

TEST(everything_can_be_cancelled_at_once)
{
    static struct crowd crowd;
    struct noted_op late;

    gather(&crowd);
    EXPECT_INT(cancel_by(&crowd, 0, -1, 0, IORING_ASYNC_CANCEL_ANY), ==, 1);
    io_uring_prep_poll_add(prepare(&crowd.epoll, &late), crowd.fds[0][0], POLLPRI);
    EXPECT_INT(cancel_by(&crowd, 0, -1, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL), ==,
               4);
    EXPECT_INT(result_of(&crowd.epoll, &late), ==, -ECANCELED);
    expect_cancelled(&crowd, 15);
    disperse(&crowd);
}

TEST(a_poll_is_removed_or_given_other_events)
{
    static struct crowd crowd;
    const uint64_t name = (uint64_t)(uintptr_t)&crowd.ops[2].op;
    struct noted_op op;

    gather(&crowd);
    io_uring_prep_poll_update(prepare(&crowd.epoll, &op), name, name, POLLOUT,
                              IORING_POLL_UPDATE_EVENTS);
    EXPECT_INT(result_of(&crowd.epoll, &op), ==, 0);
    EXPECT_INT(result_of(&crowd.epoll, &crowd.ops[2]), ==, POLLOUT);
    io_uring_prep_poll_remove(prepare(&crowd.epoll, &op), name);
    EXPECT_INT(result_of(&crowd.epoll, &op), ==, -ENOENT);

    io_uring_prep_poll_add(prepare(&crowd.epoll, &crowd.ops[2]), crowd.fds[0][0], POLLPRI);
    settle(&crowd.epoll);
    io_uring_prep_poll_update(prepare(&crowd.epoll, &op), name, 1, 0, IORING_POLL_UPDATE_USER_DATA);
    EXPECT_INT(result_of(&crowd.epoll, &op), ==, -EINVAL);
    io_uring_prep_poll_remove(prepare(&crowd.epoll, &op), name);
    EXPECT_INT(result_of(&crowd.epoll, &op), ==, 0);
    expect_cancelled(&crowd, 4);
    disperse(&crowd);
}

TEST(a_multishot_poll_that_is_given_other_events_is_told_of_what_holds_then)
{
    static struct crowd crowd;
    struct noted_op polls[2];
    const uint64_t name = (uint64_t)(uintptr_t)&polls[0].op;
    struct noted_op op;

    gather(&crowd);
    io_uring_prep_poll_multishot(prepare(&crowd.epoll, &polls[0]), crowd.fds[1][0], POLLPRI);
    io_uring_prep_poll_multishot(prepare(&crowd.epoll, &polls[1]), crowd.fds[1][0], POLLOUT);
    turn_until_told(&crowd.epoll, &polls[1], 1);
    EXPECT_UINT(polls[0].told, ==, 0);
    io_uring_prep_poll_update(prepare(&crowd.epoll, &op), name, name, POLLOUT,
                              IORING_POLL_UPDATE_EVENTS | IORING_POLL_ADD_MULTI);
    EXPECT_INT(result_of(&crowd.epoll, &op), ==, 0);
    turn_until_told(&crowd.epoll, &polls[0], 1);
    EXPECT_INT(polls[0].result, ==, POLLOUT);
    EXPECT_UINT(polls[0].ended, ==, 0);
    for (unsigned i = 0; i < 2; i++)
        cancel_and_end(&crowd.epoll, &polls[i]);
    disperse(&crowd);
}

/* Something has come for an op that waits, which is cancelled before the kernel has told of it. */
static void cancel_too_late(struct torc__epoll *epoll, struct noted_op *op, int from)
{
    settle(epoll);
    EXPECT_UINT(op->told, ==, 0);
    harness_put(from, "x", 1);
    cancel(epoll, op);
    cancel(epoll, op);
    EXPECT_UINT(op->told, ==, 0);
}

TEST(what_has_come_for_one_that_waits_beats_a_cancel)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char bytes[2];
    int fds[2];

    start(&epoll);
    harness_tcp_pair(fds);
    io_uring_prep_recv(prepare(&epoll, &op), fds[0], bytes, sizeof(bytes), 0);
    cancel_too_late(&epoll, &op, fds[1]);
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    io_uring_prep_read(prepare(&epoll, &op), fds[0], bytes, sizeof(bytes), 0);
    cancel_too_late(&epoll, &op, fds[1]);
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    io_uring_prep_poll_add(prepare(&epoll, &op), fds[0], POLLIN);
    cancel_too_late(&epoll, &op, fds[1]);
    EXPECT_INT(result_of(&epoll, &op), ==, POLLIN);
    EXPECT_INT(recv(fds[0], bytes, sizeof(bytes), 0), ==, 1);
    io_uring_prep_recv(prepare(&epoll, &op), fds[0], bytes, sizeof(bytes), MSG_WAITALL);
    cancel_too_late(&epoll, &op, fds[1]);
    EXPECT_INT(result_of(&epoll, &op), ==, 1); /* As much as there was. */
    harness_close_pair(fds);
    stop(&epoll);
}

static int accepted;

static void note_accepted(struct torc_op *op, int result, uint32_t flags, int more)
{
    if (result >= 0)
        accepted = result;
    note(op, result, flags, more);
}

TEST(a_connection_that_has_come_beats_a_cancel)
{
    struct torc_address address;
    const int listener = harness_listener(&address);
    struct torc__epoll epoll;

    start(&epoll);
    for (unsigned i = 0; i < 2; i++) {
        struct noted_op op;
        struct io_uring_sqe *sqe = prepare(&epoll, &op);
        int peer;

        set_function(&op.op, note_accepted);
        accepted = -1;
        if (i == 0)
            io_uring_prep_accept(sqe, listener, NULL, NULL, 0);
        else
            io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
        settle(&epoll);
        peer = harness_dial(&address);
        cancel(&epoll, &op);
        turn_until_ended(&epoll, &op, 1);
        EXPECT_INT(accepted, >=, 0);
        EXPECT_UINT(op.told, ==, i + 1);
        EXPECT_INT(op.result, ==, i == 0 ? accepted : -ECANCELED);
        close(accepted);
        close(peer);
    }
    close(listener);
    stop(&epoll);
}

TEST(one_that_is_cancelled_waits_no_longer_though_its_descriptor_is_closed)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    io_uring_prep_recv(prepare(&epoll, &op), fds[0], &byte, 1, 0);
    settle(&epoll);
    cancel(&epoll, &op);
    EXPECT_INT(torc__epoll_ops.control(
                   &epoll.base, &(struct torc__control){.kind = CONTROL_CLOSE, .fd = fds[0]}),
               ==, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -ECANCELED);
    close(fds[1]);
    stop(&epoll);
}

/* SPDX-License-Identifier: MIT */
/*
 * epoll_pool_test.c - what blocks is done by threads, which wake the driver.
 */
#include "unit/driver/epoll_rig.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* A directory with a FIFO in it, whose opening blocks until somebody opens the other end. */
struct place {
    char directory[64];
    char fifo[80];
};

static void make_place(struct place *place)
{
    snprintf(place->directory, sizeof(place->directory), "/tmp/torc-epoll-XXXXXX");
    EXPECT(mkdtemp(place->directory) != NULL);
    snprintf(place->fifo, sizeof(place->fifo), "%s/fifo", place->directory);
    EXPECT_INT(mkfifo(place->fifo, 0600), ==, 0);
}

static void remove_place(const struct place *place)
{
    EXPECT_INT(unlink(place->fifo), ==, 0);
    EXPECT_INT(rmdir(place->directory), ==, 0);
}

/* An open that occupies the one thread that a pool of three has for files. */
static void block_the_thread(struct torc__epoll *epoll, struct noted_op *op,
                             const struct place *place)
{
    io_uring_prep_openat(prepare(epoll, op), AT_FDCWD, place->fifo, O_RDONLY | O_CLOEXEC, 0);
    settle(epoll);
    EXPECT_UINT(op->told, ==, 0);
}

static int unblock_the_thread(const struct place *place)
{
    int fd;

    do
        fd = open(place->fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    while (fd < 0 && errno == ENXIO); /* The thread has not come to it yet. */
    EXPECT_INT(fd, >=, 0);
    return fd;
}

TEST(a_thread_that_has_finished_wakes_a_driver_that_sleeps)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct statx about;

    start_with(&epoll, 0, 3);
    for (unsigned i = 0; i < 500; i++) {
        io_uring_prep_statx(prepare(&epoll, &op), AT_FDCWD, "/", 0, STATX_TYPE, &about);
        while (op.told == 0)
            turn(&epoll, TORC_FOREVER);
        expect_each_told_once(&op, 1, 0);
        EXPECT(S_ISDIR(about.stx_mode));
    }
    stop(&epoll);
}

TEST(many_ops_go_to_few_threads_and_all_come_back)
{
    enum {
        COUNT = 2000
    };
    static struct noted_op ops[COUNT];
    static struct statx abouts[COUNT];
    struct torc__epoll epoll;

    start_with(&epoll, 0, 16);
    for (unsigned i = 0; i < COUNT; i++)
        io_uring_prep_statx(prepare(&epoll, &ops[i]), AT_FDCWD, "/", 0, STATX_TYPE, &abouts[i]);
    turn_until_ended(&epoll, ops, COUNT);
    expect_each_told_once(ops, COUNT, 0);
    stop(&epoll);
}

TEST(an_op_that_no_thread_has_begun_is_cancelled_and_one_in_hand_keeps_its_result)
{
    struct torc__epoll epoll;
    struct place place;
    struct noted_op opening;
    struct noted_op queued;
    struct noted_op canceller;
    struct statx about;
    int other_end;

    start_with(&epoll, 0, 3);
    make_place(&place);
    block_the_thread(&epoll, &opening, &place);
    io_uring_prep_statx(prepare(&epoll, &queued), AT_FDCWD, "/", 0, STATX_TYPE, &about);
    settle(&epoll);
    EXPECT_UINT(queued.told, ==, 0);
    cancel_and_end(&epoll, &queued);

    other_end = unblock_the_thread(&place); /* So the thread has begun, or is about to. */
    close(other_end);
    EXPECT_INT(result_of(&epoll, &opening), >=, 0);
    close(opening.result);
    io_uring_prep_cancel(prepare(&epoll, &canceller), &opening.op, 0);
    EXPECT_INT(result_of(&epoll, &canceller), ==, -ENOENT);
    remove_place(&place);
    stop(&epoll);
}

TEST(a_cancel_does_not_lose_what_a_thread_has_opened)
{
    struct torc__epoll epoll;
    struct noted_op op;
    unsigned opened = 0;

    start_with(&epoll, 0, 3);
    for (unsigned i = 0; i < 300; i++) {
        io_uring_prep_openat(prepare(&epoll, &op), AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
        for (unsigned turns = 0; turns < i % 7; turns++)
            turn(&epoll, DRIVER_NO_WAIT);
        cancel(&epoll, &op);
        turn_until_ended(&epoll, &op, 1);
        EXPECT(op.result >= 0 || op.result == -ECANCELED);
        if (op.result >= 0) {
            opened++;
            close(op.result);
        }
    }
    EXPECT_UINT(opened, <=, 300);
    stop(&epoll);
}

TEST(without_a_pool_what_blocks_is_refused_but_a_file_is_closed)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct statx about;
    const int file = memfd_create("test", MFD_CLOEXEC);

    start(&epoll);
    io_uring_prep_statx(prepare(&epoll, &op), AT_FDCWD, "/", 0, STATX_TYPE, &about);
    EXPECT_INT(result_of(&epoll, &op), ==, -EAGAIN);
    io_uring_prep_close(prepare(&epoll, &op), file);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    EXPECT_INT(fcntl(file, F_GETFD), ==, -1);
    stop(&epoll);
}

TEST(a_file_is_closed_by_a_thread)
{
    struct torc__epoll epoll;
    struct torc__pool_stats stats;
    struct noted_op op;
    const int file = memfd_create("test", MFD_CLOEXEC);

    start_with(&epoll, 0, 3);
    io_uring_prep_close(prepare(&epoll, &op), file);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    torc__pool_stats(epoll.base.pool, &stats);
    EXPECT_UINT(stats.threads, ==, 1); /* It stays for a while. */
    EXPECT_INT(fcntl(file, F_GETFD), ==, -1);
    stop(&epoll);
}

TEST(a_socket_that_lingers_is_closed_by_a_thread)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 10};
    struct torc__epoll epoll;
    struct noted_op op;
    int fds[2];

    start_with(&epoll, 0, 3);
    harness_tcp_pair(fds);
    harness_fill(fds[0]);
    EXPECT_INT(setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), ==, 0);
    io_uring_prep_close(prepare(&epoll, &op), fds[0]);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0); /* The peer has not taken all yet. */
    harness_reset(fds[1]);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    stop(&epoll);
}

/* SPDX-License-Identifier: MIT */
/*
 * epoll_call_test.c - calls made non-blocking for the moment, and parts of vectors.
 */
#include "base/vector.h"
#include "shard/diagnose.h"
#include "unit/driver/epoll_rig.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static ssize_t read_a_byte(void *arguments)
{
    char byte;

    return read(*(const int *)arguments, &byte, 1);
}

TEST(a_call_does_not_block_and_the_flags_are_as_before)
{
    struct torc__epoll epoll;
    int ends[2];

    start(&epoll);
    harness_pipe(ends);
    for (unsigned i = 0; i < 2; i++) {
        const int flags = fcntl(ends[0], F_GETFL);

        EXPECT_INT(torc__epoll_call_nonblocking(&epoll, ends[0], read_a_byte, &ends[0]), ==,
                   -EAGAIN);
        EXPECT_INT(fcntl(ends[0], F_GETFL), ==, flags);
        harness_put(ends[1], "x", 1);
        EXPECT_INT(torc__epoll_call_nonblocking(&epoll, ends[0], read_a_byte, &ends[0]), ==, 1);
        EXPECT_INT(fcntl(ends[0], F_GETFL), ==, flags);
        EXPECT_INT(fcntl(ends[0], F_SETFL, flags | O_NONBLOCK), ==, 0);
    }
    harness_close_pair(ends);
    EXPECT_INT(torc__epoll_call_nonblocking(&epoll, -1, read_a_byte, &ends[0]), ==, -EBADF);
    stop(&epoll);
}

static void *call_often(void *arg)
{
    struct torc__epoll *epoll = arg;
    const int fd = epoll->fd; /* Of another kind here: what both threads call on. */

    for (unsigned i = 0; i < 2000; i++)
        EXPECT_INT(torc__epoll_call_nonblocking(epoll, fd, read_a_byte, &epoll->fd), ==, -EAGAIN);
    return NULL;
}

TEST(threads_that_call_on_the_same_file_do_not_make_each_other_block)
{
    struct torc__epoll sides[2] = {{.fd = -1}, {.fd = -1}}; /* Only what counts calls is used. */
    pthread_t thread;
    int ends[2];

    harness_pipe(ends);
    sides[0].fd = sides[1].fd = ends[0];
    thread = harness_thread(call_often, &sides[0]);
    (void)call_often(&sides[1]);
    harness_join(thread);
    EXPECT(!(fcntl(ends[0], F_GETFL) & O_NONBLOCK));
    harness_close_pair(ends);
}

/* What a thread that is in the middle of a call tells, and is told. */
struct meeting {
    int arrived[2];
    int leave[2];
    int fd; /* of the call */
};

static ssize_t meet(void *arguments)
{
    const struct meeting *meeting = arguments;
    char byte;

    harness_put(meeting->arrived[1], "x", 1);
    harness_get(meeting->leave[0], &byte, 1);
    return 0;
}

static void *call_and_meet(void *arg)
{
    struct meeting *meeting = arg;
    struct torc__epoll epoll = {.fd = -1};

    EXPECT_INT(torc__epoll_call_nonblocking(&epoll, meeting->fd, meet, meeting), ==, 0);
    return NULL;
}

TEST(the_child_of_a_fork_can_call_though_another_thread_was_calling)
{
    struct torc__epoll epoll = {.fd = -1};
    struct meeting meeting;
    pthread_t thread;
    int status = -1;
    pid_t child;
    char byte;
    int ends[2];

    if (UNDER_TSAN)
        SKIP("it does not know that a lock may be free again after a fork");
    torc__fork_watch();
    harness_pipe(ends);
    harness_pipe(meeting.arrived);
    harness_pipe(meeting.leave);
    meeting.fd = ends[0];
    thread = harness_thread(call_and_meet, &meeting);
    harness_get(meeting.arrived[0], &byte, 1);
    child = fork();
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(10);
        _exit(torc__epoll_call_nonblocking(&epoll, ends[0], read_a_byte, &ends[0]) != -EAGAIN);
    }
    harness_put(meeting.leave[1], "x", 1);
    harness_join(thread);
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    EXPECT_INT(status, ==, 0);
    harness_close_pair(ends);
    harness_close_pair(meeting.arrived);
    harness_close_pair(meeting.leave);
}

TEST(readiness_is_told_without_waiting)
{
    struct torc__epoll epoll;
    int ends[2];

    start(&epoll);
    harness_pipe(ends);
    EXPECT(!torc__epoll_is_ready(&epoll, ends[0], EPOLLIN));
    EXPECT(torc__epoll_is_ready(&epoll, ends[1], EPOLLOUT));
    harness_put(ends[1], "x", 1);
    EXPECT(torc__epoll_is_ready(&epoll, ends[0], EPOLLIN));
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(readiness_is_told_though_signals_come)
{
    struct torc__epoll epoll;
    int ends[2];

    start(&epoll);
    harness_pipe(ends);
    set_signals(1000);
    while (signals < 50) {
        EXPECT_INT(torc__epoll_ask(&epoll, ends[0], EPOLLIN), ==, 0);
        EXPECT(!torc__epoll_is_ready(&epoll, ends[0], EPOLLIN));
    }
    set_signals(0);
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(a_slice_is_what_is_left_of_a_vector)
{
    char data[100];
    const struct iovec vector[4] = {{data, 10}, {data + 10, 0}, {data + 10, 20}, {data + 30, 70}};
    struct iovec pieces[4];

    EXPECT_UINT(torc__vector_size(vector, 4), ==, 100);
    EXPECT_UINT(torc__vector_size(vector, 0), ==, 0);
    for (size_t skip = 0; skip <= 100; skip++) {
        const unsigned count = torc__epoll_slice(vector, 4, skip, pieces, 4);

        EXPECT_UINT(torc__vector_size(pieces, count), ==, 100 - skip);
        if (skip < 100)
            EXPECT(pieces[0].iov_base == data + skip);
    }
    EXPECT_UINT(torc__epoll_slice(vector, 4, 5, pieces, 2), ==, 2);
    EXPECT_UINT(pieces[0].iov_len, ==, 5);
    EXPECT_UINT(pieces[1].iov_len, ==, 20);
}

/* SPDX-License-Identifier: MIT */
/*
 * epoll_watch_test.c - who waits for which descriptor, and descriptors that change behind our back.
 */
#include "unit/driver/epoll_rig.h"
#include "unit/driver/log_capture.h"
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

static void prepare_recv(struct torc__epoll *epoll, struct noted_op *op, int fd, char *byte)
{
    io_uring_prep_recv(prepare(epoll, op), fd, byte, 1, 0);
}

static void prepare_poll(struct torc__epoll *epoll, struct noted_op *op, int fd, unsigned events)
{
    io_uring_prep_poll_add(prepare(epoll, op), fd, events);
}

/* ---- Several on one descriptor ---- */

TEST(those_who_read_one_descriptor_are_served_in_their_order)
{
    struct torc__epoll epoll;
    struct noted_op ops[5];
    char bytes[5];
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    for (unsigned i = 0; i < 4; i++)
        prepare_recv(&epoll, &ops[i], fds[0], &bytes[i]);
    settle(&epoll);
    for (unsigned i = 0; i < 4; i++) {
        harness_put(fds[1], &"abcde"[i], 1);
        if (i == 0) /* The one that comes last does not get what came for the first. */
            prepare_recv(&epoll, &ops[4], fds[0], &bytes[4]);
        EXPECT_INT(result_of(&epoll, &ops[i]), ==, 1);
        EXPECT_INT(bytes[i], ==, "abcde"[i]);
        EXPECT_UINT(ops[i + 1].told, ==, 0);
    }
    harness_put(fds[1], "e", 1);
    EXPECT_INT(result_of(&epoll, &ops[4]), ==, 1);
    EXPECT_INT(bytes[4], ==, 'e');
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(one_fiber_may_read_and_another_write_the_same_descriptor)
{
    static char data[1 << 20];
    struct torc__epoll epoll;
    struct noted_op read;
    struct noted_op write;
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    harness_fill(fds[0]);
    prepare_recv(&epoll, &read, fds[0], &byte);
    io_uring_prep_send(prepare(&epoll, &write), fds[0], "x", 1, 0);
    settle(&epoll);
    EXPECT_UINT(read.told + write.told, ==, 0);

    harness_put(fds[1], "y", 1);
    EXPECT_INT(result_of(&epoll, &read), ==, 1);
    EXPECT_UINT(write.told, ==, 0);
    while (write.told == 0) {
        (void)recv(fds[1], data, sizeof(data), MSG_DONTWAIT);
        turn(&epoll, torc__clock_now() + TORC_MILLISECOND);
    }
    expect_each_told_once(&write, 1, 1);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(polls_of_one_descriptor_are_told_what_each_has_asked_for)
{
    struct torc__epoll epoll;
    struct noted_op ops[5];
    int fds[2];

    start(&epoll);
    harness_tcp_pair(fds);
    prepare_poll(&epoll, &ops[0], fds[0], POLLIN);
    prepare_poll(&epoll, &ops[1], fds[0], POLLPRI);
    prepare_poll(&epoll, &ops[2], fds[0], POLLRDHUP);
    prepare_poll(&epoll, &ops[3], fds[0], POLLIN | POLLOUT);
    prepare_poll(&epoll, &ops[4], fds[0], 0);
    settle(&epoll);
    expect_each_told_once(&ops[3], 1, POLLOUT);

    EXPECT_INT(send(fds[1], "!", 1, MSG_OOB), ==, 1);
    EXPECT_INT(result_of(&epoll, &ops[1]) & POLLPRI, ==, POLLPRI);
    EXPECT_UINT(ops[0].told + ops[2].told, ==, 0);
    harness_put(fds[1], "x", 1);
    EXPECT_INT(result_of(&epoll, &ops[0]), ==, POLLIN);
    EXPECT_UINT(ops[2].told, ==, 0);
    EXPECT_INT(shutdown(fds[1], SHUT_WR), ==, 0);
    EXPECT_INT(result_of(&epoll, &ops[2]), ==, POLLRDHUP);
    EXPECT_UINT(ops[4].told, ==, 0);
    harness_reset(fds[1]);
    EXPECT_INT(result_of(&epoll, &ops[4]) & (POLLHUP | POLLERR), !=, 0);
    close(fds[0]);
    stop(&epoll);
}

TEST(a_connection_that_breaks_wakes_all_who_wait_for_it)
{
    struct torc__epoll epoll;
    struct noted_op ops[3];
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    harness_fill(fds[0]);
    prepare_recv(&epoll, &ops[0], fds[0], &byte);
    io_uring_prep_send(prepare(&epoll, &ops[1]), fds[0], "x", 1, 0);
    prepare_poll(&epoll, &ops[2], fds[0], POLLPRI);
    settle(&epoll);
    close(fds[1]); /* With what was sent to it unread, which makes it a reset. */
    turn_until_ended(&epoll, ops, 3);
    EXPECT_INT(ops[0].result, ==, -ECONNRESET);
    EXPECT_INT(ops[1].result, ==, -EPIPE);
    EXPECT_INT(ops[2].result & (POLLHUP | POLLERR), !=, 0);
    close(fds[0]);
    stop(&epoll);
}

TEST(a_multishot_poll_is_told_of_each_change_and_of_nothing_else)
{
    struct torc__epoll epoll;
    struct noted_op poll;
    struct noted_op read;
    char byte;
    int ends[2];

    start(&epoll);
    harness_pipe(ends);
    io_uring_prep_poll_multishot(prepare(&epoll, &poll), ends[0], POLLIN);
    settle(&epoll);
    EXPECT_UINT(poll.told, ==, 0);
    for (unsigned i = 1; i <= 5; i++) { /* The pipe is readable all the time. */
        harness_put(ends[1], "x", 1);
        turn_until_told(&epoll, &poll, i);
        settle(&epoll);
        EXPECT_UINT(poll.told, ==, i);
        EXPECT_INT(poll.result, ==, POLLIN);
    }
    io_uring_prep_read(prepare(&epoll, &read), ends[0], &byte, 1, 0);
    EXPECT_INT(result_of(&epoll, &read), ==, 1);
    EXPECT_UINT(waits_during(&epoll, 20 * TORC_MILLISECOND), <=, 3);
    EXPECT_UINT(poll.ended, ==, 0);
    cancel_and_end(&epoll, &poll);
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(a_multishot_poll_is_told_of_what_holds_when_it_begins)
{
    struct torc__epoll epoll;
    struct noted_op polls[2];
    int ends[2];

    start(&epoll);
    harness_pipe(ends);
    harness_put(ends[1], "x", 1);
    for (unsigned i = 0; i < 2; i++) {
        io_uring_prep_poll_multishot(prepare(&epoll, &polls[i]), ends[0], POLLIN);
        turn_until_told(&epoll, &polls[i], 1);
    }
    for (unsigned i = 0; i < 2; i++)
        cancel_and_end(&epoll, &polls[i]);
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(a_receive_of_all_beside_a_multishot_poll_notices_the_end_that_came_with_its_bytes)
{
    struct torc__epoll epoll;
    struct noted_op poll;
    struct noted_op receive;
    char data[10];
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    io_uring_prep_poll_multishot(prepare(&epoll, &poll), fds[0], POLLPRI);
    io_uring_prep_recv(prepare(&epoll, &receive), fds[0], data, sizeof(data), MSG_WAITALL);
    settle(&epoll);
    harness_put(fds[1], "abc", 3);
    EXPECT_INT(shutdown(fds[1], SHUT_WR), ==, 0); /* One event tells of both. */
    EXPECT_INT(result_of(&epoll, &receive), ==, 3);
    EXPECT_MEM(data, "abc", 3);
    cancel_and_end(&epoll, &poll);
    harness_close_pair(fds);
    stop(&epoll);
}

/* ---- Registrations ---- */

TEST(a_connection_that_goes_to_and_fro_costs_one_recv_one_send_and_a_share_of_a_wait)
{
    enum {
        MESSAGES = 1000
    };
    struct torc__epoll epoll;
    struct noted_op op;
    char data[64];
    int fds[2];
    uint64_t before;

    start(&epoll);
    harness_unix_pair(fds); /* What is sent is there at once. */
    io_uring_prep_recv(prepare(&epoll, &op), fds[0], data, sizeof(data), 0);
    settle(&epoll);
    harness_put(fds[1], "0", 1);
    turn_until_ended(&epoll, &op, 1);
    before = epoll.base.stats.enters;
    for (unsigned i = 0; i < MESSAGES; i++) {
        io_uring_prep_send(prepare(&epoll, &op), fds[0], data, 1, 0);
        EXPECT_INT(turn(&epoll, DRIVER_NO_WAIT), ==, 1);
        harness_get(fds[1], data, 1);
        harness_put(fds[1], data, 1);
        io_uring_prep_recv(prepare(&epoll, &op), fds[0], data, sizeof(data), 0);
        EXPECT_INT(turn(&epoll, DRIVER_NO_WAIT), ==, 1);
        expect_each_told_once(&op, 1, 1);
    }
    EXPECT_UINT(epoll.base.stats.enters - before, <=, MESSAGES * 3 + MESSAGES / 10);
    harness_close_pair(fds);
    stop(&epoll);
}

/* Of a stream: its fiber polls, then receives what there is by a request. */
TEST(a_poll_of_what_was_read_empty_asks_nothing_before_its_event)
{
    struct torc__control request = {.kind = CONTROL_RECV};
    struct torc__epoll epoll;
    struct noted_op op;
    char data[64];
    int fds[2];
    uint64_t before;

    start(&epoll);
    harness_unix_pair(fds);
    request.fd = fds[0];
    request.data = data;
    request.length = sizeof(data);
    for (unsigned i = 0; i < 3; i++) {
        before = epoll.base.stats.enters;
        io_uring_prep_poll_add(prepare(&epoll, &op), fds[0], POLLIN | POLLRDHUP);
        EXPECT_INT(turn(&epoll, DRIVER_NO_WAIT), ==, 0);
        if (i > 0) /* It is registered, so all is asked by one wait. */
            EXPECT_UINT(epoll.base.stats.enters - before, ==, 1);
        harness_put(fds[1], "x", 1);
        EXPECT_INT(result_of(&epoll, &op), ==, POLLIN);
        EXPECT_INT(torc__epoll_ops.control(&epoll.base, &request), ==, 1);
    }
    io_uring_prep_poll_add(prepare(&epoll, &op), fds[0], POLLIN | POLLRDHUP);
    harness_put(fds[1], "xy", 2);
    EXPECT_INT(result_of(&epoll, &op), ==, POLLIN);
    request.length = 1; /* There may be more, so it is asked for. */
    EXPECT_INT(torc__epoll_ops.control(&epoll.base, &request), ==, 1);
    before = epoll.base.stats.enters;
    io_uring_prep_poll_add(prepare(&epoll, &op), fds[0], POLLIN);
    EXPECT_INT(turn(&epoll, DRIVER_NO_WAIT), ==, 1);
    EXPECT_INT(op.result, ==, POLLIN);
    EXPECT_UINT(epoll.base.stats.enters - before, ==, 1);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(data_beats_a_cancel_on_what_was_read_empty_as_well)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char data[64];
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    for (unsigned i = 0; i < 3; i++) { /* It is registered, and read empty each time. */
        io_uring_prep_recv(prepare(&epoll, &op), fds[0], data, sizeof(data), 0);
        if (i == 0)
            settle(&epoll);
        harness_put(fds[1], "x", 1);
        if (i > 0)
            cancel(&epoll, &op);
        EXPECT_INT(result_of(&epoll, &op), ==, 1);
    }
    harness_put(fds[1], "x", 1);
    prepare_poll(&epoll, &op, fds[0], POLLIN);
    cancel(&epoll, &op);
    EXPECT_INT(result_of(&epoll, &op), ==, POLLIN);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(what_nobody_waits_for_does_not_keep_the_driver_awake)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    prepare_recv(&epoll, &op, fds[0], &byte);
    settle(&epoll);
    harness_put(fds[1], "xyz", 3); /* One is waited for; two stay there. */
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    EXPECT_UINT(waits_during(&epoll, 50 * TORC_MILLISECOND), <=, 4);

    prepare_recv(&epoll, &op, fds[0], &byte);
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    close(fds[1]);
    EXPECT_UINT(waits_during(&epoll, 50 * TORC_MILLISECOND), <=, 4);
    prepare_recv(&epoll, &op, fds[0], &byte);
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    prepare_recv(&epoll, &op, fds[0], &byte);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    close(fds[0]);
    stop(&epoll);
}

TEST(a_condition_that_lasts_and_helps_nobody_does_not_keep_the_driver_awake)
{
    struct torc__epoll epoll;
    struct noted_op op;
    const int wanted = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    char byte;
    int fds[2];

    start(&epoll);
    harness_tcp_pair(fds);
    /* A timestamp in the error queue is an EPOLLERR until somebody fetches it. */
    EXPECT_INT(setsockopt(fds[0], SOL_SOCKET, SO_TIMESTAMPING, &wanted, sizeof(wanted)), ==, 0);
    prepare_recv(&epoll, &op, fds[0], &byte);
    settle(&epoll);
    harness_put(fds[0], "x", 1);
    EXPECT_UINT(waits_during(&epoll, 50 * TORC_MILLISECOND), <=, 30);
    EXPECT_UINT(op.told, ==, 0);
    harness_put(fds[1], "y", 1);
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    EXPECT_INT(byte, ==, 'y');
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(descriptors_beyond_the_first_table_work_as_well)
{
    enum {
        HIGH = 1500
    };
    struct torc__epoll epoll;
    struct noted_op op;
    char byte;
    int ends[2];
    int high;

    if (harness_limit_fds(HIGH + 100) < HIGH + 100)
        SKIP("not so many descriptors are to be had");
    start(&epoll);
    harness_pipe(ends);
    high = fcntl(ends[0], F_DUPFD_CLOEXEC, HIGH);
    EXPECT_INT(high, >=, HIGH);
    io_uring_prep_read(prepare(&epoll, &op), high, &byte, 1, 0);
    settle(&epoll);
    harness_put(ends[1], "x", 1);
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    close(high);
    harness_close_pair(ends);
    stop(&epoll);
}

/* ---- Descriptors that are closed and opened behind our back ---- */

/* Make `fd` another file, as close(2) and then socket(2) do. */
static void replace(int fd, int other)
{
    EXPECT_INT(dup2(other, fd), ==, fd);
    close(other);
}

TEST(a_number_that_has_become_another_file_is_noticed_before_the_driver_sleeps)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char byte;
    int old[2];
    int new[2];

    start(&epoll);
    for (unsigned i = 0; i < 20; i++) {
        harness_unix_pair(old);
        prepare_recv(&epoll, &op, old[0], &byte);
        settle(&epoll);
        harness_put(old[1], "x", 1);
        EXPECT_INT(result_of(&epoll, &op), ==, 1);

        harness_unix_pair(new);
        replace(old[0], new[0]);
        prepare_recv(&epoll, &op, old[0], &byte);
        if (i & 1)
            settle(&epoll);
        harness_put(new[1], "y", 1);
        EXPECT_INT(result_of(&epoll, &op), ==, 1);
        EXPECT_INT(byte, ==, 'y');
        close(old[1]);
        close(old[0]);
        close(new[1]);
    }
    stop(&epoll);
}

TEST(many_numbers_that_have_become_other_files_are_noticed_soon)
{
    enum {
        COUNT = 40
    };
    struct torc__epoll epoll;
    struct noted_op ops[COUNT];
    char bytes[COUNT];
    int old[COUNT][2];
    int new[COUNT][2];

    start(&epoll);
    for (unsigned i = 0; i < COUNT; i++) {
        harness_unix_pair(old[i]);
        prepare_recv(&epoll, &ops[i], old[i][0], &bytes[i]);
        settle(&epoll);
        harness_put(old[i][1], "x", 1);
        EXPECT_INT(result_of(&epoll, &ops[i]), ==, 1);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        harness_unix_pair(new[i]);
        replace(old[i][0], new[i][0]);
        prepare_recv(&epoll, &ops[i], old[i][0], &bytes[i]);
    }
    settle(&epoll);
    EXPECT_UINT(epoll.doubt_count, ==, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        harness_put(new[i][1], "y", 1);
    while (epoll.base.stats.ops_ended < epoll.base.stats.ops)
        turn(&epoll, TORC_FOREVER);
    expect_each_told_once(ops, COUNT, 1);
    for (unsigned i = 0; i < COUNT; i++) {
        harness_close_pair(old[i]);
        close(new[i][1]);
    }
    stop(&epoll);
}

TEST(a_number_that_has_become_another_file_is_noticed_by_a_driver_that_never_sleeps)
{
    struct torc__epoll epoll;
    struct noted_op op;
    unsigned turns = 0;
    char byte;
    int old[2];
    int new[2];

    start(&epoll);
    harness_unix_pair(old);
    prepare_recv(&epoll, &op, old[0], &byte);
    settle(&epoll);
    harness_put(old[1], "x", 1);
    EXPECT_INT(result_of(&epoll, &op), ==, 1);
    harness_unix_pair(new);
    replace(old[0], new[0]);
    prepare_recv(&epoll, &op, old[0], &byte);
    settle(&epoll);
    harness_put(new[1], "y", 1);
    for (; op.told == 0; turns++) {
        EXPECT_UINT(turns, <, 1000);
        turn(&epoll, DRIVER_NO_WAIT);
    }
    EXPECT_INT(byte, ==, 'y');
    close(old[1]);
    close(old[0]);
    close(new[1]);
    stop(&epoll);
}

/* Leave a registration behind whose file lives on under another number, and is readable. */
static int leave_stale(struct torc__epoll *epoll, int ret_old[2])
{
    struct noted_op op;
    char byte;
    int copy;

    harness_unix_pair(ret_old);
    copy = fcntl(ret_old[0], F_DUPFD_CLOEXEC, 0);
    prepare_recv(epoll, &op, ret_old[0], &byte);
    settle(epoll);
    harness_put(ret_old[1], "x", 1);
    EXPECT_INT(result_of(epoll, &op), ==, 1);
    return copy;
}

TEST(a_file_that_lives_on_under_another_number_does_not_keep_the_driver_awake)
{
    struct torc__epoll epoll;
    int copy;
    int old[2];

    start(&epoll);
    copy = leave_stale(&epoll, old);
    close(old[0]);
    harness_put(old[1], "y", 1); /* Of the copy, in the name of the number that is closed. */
    EXPECT_UINT(waits_during(&epoll, 50 * TORC_MILLISECOND), <=, 4);
    close(copy);
    close(old[1]);
    stop(&epoll);
}

TEST(events_of_a_file_that_had_the_number_before_do_not_mislead_who_waits_now)
{
    struct torc__epoll epoll;
    struct noted_op read;
    struct noted_op poll;
    char byte;
    int copy;
    int old[2];
    int new[2];

    start(&epoll);
    copy = leave_stale(&epoll, old);
    harness_unix_pair(new);
    replace(old[0], new[0]);
    prepare_poll(&epoll, &poll, old[0], POLLIN);
    prepare_recv(&epoll, &read, old[0], &byte);
    harness_put(old[1], "y", 1);
    EXPECT_UINT(waits_during(&epoll, 50 * TORC_MILLISECOND), <=, 6);
    EXPECT_UINT(poll.told + read.told, ==, 0);
    harness_put(new[1], "z", 1);
    EXPECT_INT(result_of(&epoll, &read), ==, 1);
    EXPECT_INT(byte, ==, 'z');
    EXPECT_INT(result_of(&epoll, &poll), ==, POLLIN);
    close(copy);
    close(old[0]);
    close(old[1]);
    close(new[1]);
    stop(&epoll);
}

TEST(a_file_that_comes_back_to_its_number_is_waited_for_again)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char byte;
    int copy;
    int old[2];

    start(&epoll);
    copy = leave_stale(&epoll, old);
    for (unsigned i = 0; i < 3; i++) {
        torc__epoll_forget(&epoll, old[0]); /* As if it had been opened for somebody else. */
        EXPECT_INT(dup2(copy, old[0]), ==, old[0]);
        prepare_recv(&epoll, &op, old[0], &byte);
        settle(&epoll);
        harness_put(old[1], "x", 1);
        EXPECT_INT(result_of(&epoll, &op), ==, 1);
    }
    close(copy);
    harness_close_pair(old);
    stop(&epoll);
}

TEST(who_waits_for_a_descriptor_that_is_gone_is_told_so)
{
    struct torc__epoll epoll;
    struct noted_op ops[2];
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    prepare_recv(&epoll, &ops[0], fds[0], &byte);
    prepare_poll(&epoll, &ops[1], fds[0], POLLPRI);
    settle(&epoll);
    close(fds[0]);
    torc__epoll_forget(&epoll, fds[0]); /* The number has been given to another file. */
    turn_until_ended(&epoll, ops, 2);
    expect_each_told_once(ops, 2, -EBADF);
    close(fds[1]);
    stop(&epoll);
}

TEST(a_number_that_has_become_a_file_is_noticed_by_all_who_wait_for_it)
{
    struct torc__epoll epoll;
    struct noted_op ops[2];
    char byte;
    int fds[2];

    start_with(&epoll, 0, 3);
    harness_unix_pair(fds);
    io_uring_prep_read(prepare(&epoll, &ops[0]), fds[0], &byte, 1, UINT64_MAX);
    settle(&epoll);
    replace(fds[0], memfd_create("test", MFD_CLOEXEC));
    prepare_poll(&epoll, &ops[1], fds[0], POLLPRI); /* Cannot be waited for any more. */
    EXPECT_INT(result_of(&epoll, &ops[1]), ==, -EINVAL);
    EXPECT_INT(result_of(&epoll, &ops[0]), ==, 0); /* The file is empty. */
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(a_number_that_is_given_out_anew_is_no_longer_waited_for_by_those_before)
{
    static const enum torc__control_kind kinds[] = {CONTROL_SOCKET, CONTROL_PAIR, CONTROL_PIPE,
                                                    CONTROL_WATCH_OPEN};

    for (unsigned i = 0; i < ARRAY_LENGTH(kinds); i++) {
        struct torc__control request = {.kind = kinds[i]};
        struct torc__epoll epoll;
        struct noted_op op;
        int given[2] = {-1, -1};
        int fds[2];
        char byte;
        int result;

        start(&epoll);
        harness_unix_pair(fds);
        prepare_recv(&epoll, &op, fds[0], &byte);
        settle(&epoll);
        close(fds[0]);
        request.a = kinds[i] == CONTROL_SOCKET ? AF_UNIX : SOCK_STREAM;
        request.b = SOCK_STREAM;
        request.data = given;
        result = torc__epoll_ops.control(&epoll.base, &request);
        EXPECT_INT(result > 0 ? result : given[0], ==, fds[0]);
        EXPECT_INT(result_of(&epoll, &op), ==, -EBADF);
        close(fds[0]);
        close(fds[1]);
        if (given[1] >= 0)
            close(given[1]);
        stop(&epoll);
    }
}

/* ---- A close that the driver knows of ---- */

TEST(an_op_that_waits_keeps_its_file_when_the_descriptor_is_closed)
{
    const unsigned fds_before = harness_open_fds();
    struct torc__epoll epoll;
    struct noted_op reads[2];
    struct noted_op poll;
    struct noted_op closing;
    char bytes[2] = {0};
    int fds[2];
    int other;

    start(&epoll);
    harness_unix_pair(fds);
    for (unsigned i = 0; i < 2; i++)
        prepare_recv(&epoll, &reads[i], fds[0], &bytes[i]);
    prepare_poll(&epoll, &poll, fds[0], POLLPRI);
    settle(&epoll);
    io_uring_prep_close(prepare(&epoll, &closing), fds[0]);
    EXPECT_INT(result_of(&epoll, &closing), ==, 0);
    other = eventfd(1, EFD_CLOEXEC); /* The same number, and ready. */
    EXPECT_INT(other, ==, fds[0]);
    settle(&epoll);
    EXPECT_UINT(reads[0].told + reads[1].told + poll.told, ==, 0);

    harness_put(fds[1], "ab", 2);
    turn_until_ended(&epoll, reads, 2);
    expect_each_told_once(reads, 2, 1);
    EXPECT_MEM(bytes, "ab", 2);
    cancel_and_end(&epoll, &poll);
    close(other);
    close(fds[1]);
    stop(&epoll);
    EXPECT_UINT(harness_open_fds(), ==, fds_before); /* The file went with its last op. */
}

TEST(an_op_that_waits_keeps_its_file_when_a_request_closes_the_descriptor)
{
    struct torc__control request = {.kind = CONTROL_CLOSE};
    struct torc__epoll epoll;
    struct noted_op read;
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    prepare_recv(&epoll, &read, fds[0], &byte);
    settle(&epoll);
    request.fd = fds[0];
    EXPECT_INT(torc__epoll_ops.control(&epoll.base, &request), ==, 0);
    harness_put(fds[1], "x", 1);
    EXPECT_INT(result_of(&epoll, &read), ==, 1);
    close(fds[1]);
    stop(&epoll);
}

TEST(a_new_set_takes_over_all_who_wait)
{
    struct torc__epoll epoll;
    struct noted_op ops[3];
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    prepare_recv(&epoll, &ops[0], fds[0], &byte);
    io_uring_prep_poll_multishot(prepare(&epoll, &ops[1]), fds[0], POLLIN);
    prepare_poll(&epoll, &ops[2], fds[0], POLLRDHUP);
    settle(&epoll);
    epoll.stale = true;
    settle(&epoll);
    EXPECT_UINT(ops[0].told + ops[1].told + ops[2].told, ==, 0);
    harness_put(fds[1], "x", 1);
    EXPECT_INT(result_of(&epoll, &ops[0]), ==, 1);
    turn_until_told(&epoll, &ops[1], 1);
    close(fds[1]);
    EXPECT_INT(result_of(&epoll, &ops[2]) & POLLRDHUP, ==, POLLRDHUP);
    cancel_and_end(&epoll, &ops[1]);
    close(fds[0]);
    stop(&epoll);
}

TEST(a_new_set_that_cannot_be_made_is_told_of_once_and_made_when_it_can)
{
    struct torc__epoll epoll;
    struct log_capture capture;
    struct rlimit before;
    struct rlimit none;

    start(&epoll);
    begin_capture(&capture);
    EXPECT_INT(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    epoll.stale = true;
    EXPECT_INT(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    for (unsigned i = 0; i < 10; i++)
        turn(&epoll, DRIVER_NO_WAIT);
    EXPECT_INT(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
    EXPECT_UINT(end_capture(&capture, "cannot make a new epoll set"), ==, 1);
    EXPECT(epoll.stale);
    turn(&epoll, DRIVER_NO_WAIT);
    EXPECT(!epoll.stale);
    stop(&epoll);
}

TEST(a_wake_outlasts_a_new_set_of_registrations)
{
    const uint64_t limit_ns = torc__clock_now() + SOON_NS;
    struct torc__epoll epoll;

    start(&epoll);
    epoll.stale = true;
    turn(&epoll, DRIVER_NO_WAIT);
    EXPECT(!epoll.stale);
    torc__epoll_ops.wake(&epoll.base, NULL);
    while (epoll.base.stats.wakeups_received == 0) {
        EXPECT(torc__clock_now() < limit_ns);
        turn(&epoll, limit_ns);
    }
    stop(&epoll);
}

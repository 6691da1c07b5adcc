/* SPDX-License-Identifier: MIT */
/*
 * epoll_ops_test.c - which operations the epoll driver has, and those that are little more than a
 * system call.
 */
#include "unit/driver/epoll_rig.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

TEST(the_driver_says_which_operations_it_has)
{
    struct torc__epoll epoll;
    struct noted_op op;

    start(&epoll);
    EXPECT(torc__driver_has(&epoll.base, IORING_OP_NOP));
    EXPECT(torc__driver_has(&epoll.base, IORING_OP_RECV));
    EXPECT(torc__driver_has(&epoll.base, KERNEL_OP_PIPE));
    for (unsigned opcode = 0; opcode < DRIVER_OPCODES; opcode++) {
        if (torc__driver_has(&epoll.base, opcode))
            continue;
        io_uring_prep_rw((int)opcode, prepare(&epoll, &op), -1, NULL, 0, 0);
        EXPECT_INT(result_of(&epoll, &op), ==, -EINVAL);
    }
    io_uring_prep_rw(0xfe, prepare(&epoll, &op), -1, NULL, 0, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -EINVAL);
    stop(&epoll);
}

TEST(what_only_rings_have_is_not_supported)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char byte;

    start(&epoll);
    io_uring_prep_msg_ring(prepare(&epoll, &op), 0, 0, 0, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -EOPNOTSUPP);
    io_uring_prep_rw(IORING_OP_URING_CMD, prepare(&epoll, &op), 0, NULL, 0, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -EOPNOTSUPP);
    io_uring_prep_read_fixed(prepare(&epoll, &op), 0, &byte, 1, 0, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -EFAULT);
    stop(&epoll);
}

static unsigned tie;

static void tie_an_op_to_its_neighbours(void)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct io_uring_sqe *sqe;

    start(&epoll);
    sqe = prepare(&epoll, &op);
    io_uring_prep_nop(sqe);
    sqe->flags = (uint8_t)tie;
    turn(&epoll, DRIVER_NO_WAIT);
}

TEST(an_op_that_is_tied_to_its_neighbours_aborts)
{
    const unsigned ties[] = {IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_IO_DRAIN};

    for (unsigned i = 0; i < 3; i++) {
        tie = ties[i];
        harness_expect_death(tie_an_op_to_its_neighbours, SIGABRT, "flags & ties");
    }
}

TEST(sockets_and_pipes_are_opened_bound_and_shut_down)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct torc_address address = {.length = sizeof(sa_family_t), .local = {.sun_family = AF_UNIX}};
    struct io_uring_sqe *sqe;
    int ends[2];
    int fd;

    start(&epoll);
    sqe = prepare(&epoll, &op);
    io_uring_prep_rw(IORING_OP_SOCKET, sqe, AF_UNIX, NULL, 0, SOCK_STREAM | SOCK_CLOEXEC);
    fd = result_of(&epoll, &op);
    EXPECT_INT(fd, >=, 0);
    io_uring_prep_rw(KERNEL_OP_BIND, prepare(&epoll, &op), fd, &address.any, 0, address.length);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    io_uring_prep_rw(KERNEL_OP_LISTEN, prepare(&epoll, &op), fd, NULL, 5, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    io_uring_prep_shutdown(prepare(&epoll, &op), fd, SHUT_RDWR);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    io_uring_prep_close(prepare(&epoll, &op), fd);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    io_uring_prep_close(prepare(&epoll, &op), fd);
    EXPECT_INT(result_of(&epoll, &op), ==, -EBADF);
    io_uring_prep_close(prepare(&epoll, &op), -1);
    EXPECT_INT(result_of(&epoll, &op), ==, -EBADF);

    sqe = prepare(&epoll, &op);
    io_uring_prep_rw(KERNEL_OP_PIPE, sqe, 0, ends, 0, 0);
    sqe->rw_flags = O_CLOEXEC;
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    EXPECT(harness_is_cloexec(ends[0]));
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(a_child_is_waited_for_without_a_thread)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct io_uring_sqe *sqe;
    siginfo_t about = {0};
    pid_t child;
    int pidfd;
    int ends[2];
    char byte;

    start(&epoll); /* It has no pool. */
    harness_pipe(ends);
    pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (pidfd < 0) {
        harness_close_pair(ends);
        stop(&epoll);
        SKIP("there are no pidfds: %s", strerror(errno));
    }
    close(pidfd);
    child = fork();
    if (child == 0)
        _exit(read(ends[0], &byte, 1) == 1 ? 7 : 8);
    EXPECT_INT(child, >, 0);
    pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    EXPECT_INT(pidfd, >=, 0);
    sqe = prepare(&epoll, &op);
    io_uring_prep_rw(KERNEL_OP_WAITID, sqe, pidfd, NULL, P_PIDFD, (uint64_t)(uintptr_t)&about);
    sqe->file_index = WEXITED;
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    harness_put(ends[1], "x", 1);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    EXPECT_INT(about.si_pid, ==, child);
    EXPECT_INT(about.si_status, ==, 7);
    close(pidfd);
    harness_close_pair(ends);
    stop(&epoll);
}

/* ---- Polls ---- */

TEST(a_poll_tells_what_holds_already)
{
    struct torc__epoll epoll;
    struct noted_op op;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    io_uring_prep_poll_add(prepare(&epoll, &op), fds[0], POLLIN | POLLOUT);
    EXPECT_INT(result_of(&epoll, &op), ==, POLLOUT);
    close(fds[1]);
    io_uring_prep_poll_add(prepare(&epoll, &op), fds[0], 0);
    EXPECT_INT(result_of(&epoll, &op), ==, POLLHUP);
    io_uring_prep_poll_add(prepare(&epoll, &op), -1, POLLIN);
    EXPECT_INT(result_of(&epoll, &op), ==, -EBADF);
    io_uring_prep_poll_add(prepare(&epoll, &op), fds[1], POLLIN);
    EXPECT_INT(result_of(&epoll, &op), ==, -EBADF);
    close(fds[0]);
    stop(&epoll);
}

TEST(a_file_is_ready_at_any_time)
{
    struct torc__epoll epoll;
    struct noted_op op;
    const int file = memfd_create("test", MFD_CLOEXEC);

    start(&epoll);
    io_uring_prep_poll_add(prepare(&epoll, &op), file, POLLIN | POLLOUT);
    EXPECT_INT(result_of(&epoll, &op), ==, POLLIN | POLLOUT);
    io_uring_prep_poll_multishot(prepare(&epoll, &op), file, POLLIN);
    EXPECT_INT(result_of(&epoll, &op), ==, POLLIN);
    EXPECT_UINT(op.told, ==, 1);
    io_uring_prep_poll_add(prepare(&epoll, &op), file, POLLPRI); /* Which never holds. */
    EXPECT_INT(result_of(&epoll, &op), ==, -EINVAL);
    close(file);
    stop(&epoll);
}

TEST(a_multishot_poll_of_a_level_is_told_for_as_long_as_it_holds)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct io_uring_sqe *sqe;
    unsigned told;
    char byte;
    int fds[2];

    start(&epoll);
    harness_unix_pair(fds);
    sqe = prepare(&epoll, &op);
    io_uring_prep_poll_multishot(sqe, fds[0], POLLIN);
    sqe->len |= IORING_POLL_ADD_LEVEL;
    turn(&epoll, DRIVER_NO_WAIT);
    EXPECT_UINT(op.told, ==, 0);
    harness_put(fds[1], "x", 1);
    turn_until_told(&epoll, &op, 5);
    harness_get(fds[0], &byte, 1);
    turn(&epoll, DRIVER_NO_WAIT);
    told = op.told;
    EXPECT_UINT(waits_during(&epoll, 20 * TORC_MILLISECOND), <=, 3);
    EXPECT_UINT(op.told, ==, told);
    cancel_and_end(&epoll, &op);
    harness_close_pair(fds);
    stop(&epoll);
}

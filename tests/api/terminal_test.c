/* SPDX-License-Identifier: MIT */
/*
 * terminal_test.c - terminals, /dev/null, and standard input that is a pipe.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <torc/torc.h>
#include <unistd.h>

/* A pseudo-terminal: [0] is the terminal, as a program has it; [1] is who sits before it. */
static bool open_terminal(int ret_fds[2], int flags)
{
    struct termios settings;
    char name[64];
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (master < 0)
        return false;
    EXPECT_INT(grantpt(master), ==, 0);
    EXPECT_INT(unlockpt(master), ==, 0);
    EXPECT_INT(ptsname_r(master, name, sizeof(name)), ==, 0);
    ret_fds[0] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC | flags);
    ret_fds[1] = master;
    EXPECT_INT(ret_fds[0], >=, 0);
    EXPECT_INT(tcgetattr(ret_fds[0], &settings), ==, 0);
    settings.c_lflag &= ~(tcflag_t)ECHO;
    settings.c_oflag &= ~(tcflag_t)OPOST;
    EXPECT_INT(tcsetattr(ret_fds[0], TCSANOW, &settings), ==, 0);
    return true;
}

struct reader {
    int fd;
    char data[16];
    ssize_t result;
};

static int read_once(void *arg)
{
    struct reader *reader = arg;

    reader->result = torc_read(reader->fd, reader->data, sizeof(reader->data));
    return 0;
}

static void check_terminal(int flags)
{
    struct reader reader;
    struct torc_scope scope;
    char data[16];
    int fds[2];

    if (!open_terminal(fds, flags))
        return;
    reader.fd = fds[0];
    torc_scope_open(&scope, 0); /* A wait for a line that does not come can be cancelled, */
    harness_spawn(&scope, read_once, &reader);
    harness_pass_kernel();
    EXPECT_INT(torc_write(fds[1], "half", 4), ==, 4);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(reader.result, ==, -ECANCELED);
    torc_scope_open(&scope, 0); /* and the next one gets all of it. */
    harness_spawn(&scope, read_once, &reader);
    harness_pass_kernel();
    EXPECT_INT(torc_write(fds[1], " line\n", 6), ==, 6);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(reader.result, ==, 10);
    EXPECT_MEM(reader.data, "half line\n", 10);

    EXPECT_INT(torc_write(fds[0], "answer", 6), ==, 6);
    EXPECT_INT(torc_read_all(fds[1], data, 6, NULL), ==, 0);
    EXPECT_MEM(data, "answer", 6);
    EXPECT_INT(torc_write(fds[1], "\004", 1), ==, 1); /* ^D: the end of the input. */
    read_once(&reader);
    EXPECT_INT(reader.result, ==, 0);
    close(fds[0]);
    EXPECT_INT(torc_read(fds[1], data, sizeof(data)), ==, -EIO); /* Nobody has it open. */
    close(fds[1]);
}

FIBER_TEST(a_terminal_is_read_line_by_line_until_its_end)
{
    check_terminal(0);
}

FIBER_TEST(a_terminal_that_does_not_block_makes_no_difference)
{
    check_terminal(O_NONBLOCK);
}

FIBER_TEST(a_deadline_ends_the_wait_for_a_key)
{
    struct torc_scope scope;
    char key;
    int fds[2];

    if (!open_terminal(fds, 0))
        return;
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 5 * TORC_MILLISECOND);
    EXPECT_INT(torc_read(fds[0], &key, 1), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_INT(torc_write(fds[1], "k\n", 2), ==, 2);
    EXPECT_INT(torc_poll(fds[0], POLLIN), ==, POLLIN);
    EXPECT_INT(torc_read(fds[0], &key, 1), ==, 1);
    harness_close_pair(fds);
}

static int copy_to_end(void *arg)
{
    const int *fds = arg;

    return torc_copy_fd(fds[0], fds[1], UINT64_MAX, NULL);
}

FIBER_TEST(a_copy_goes_between_a_terminal_and_a_socket)
{
    struct torc_scope scope;
    char data[16];
    int terminal[2];
    int sockets[2];
    int ends[2];

    if (!open_terminal(terminal, 0))
        return;
    harness_unix_pair(sockets);
    ends[0] = terminal[0];
    ends[1] = sockets[0];
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, copy_to_end, ends);
    EXPECT_INT(torc_write(terminal[1], "typed\n", 6), ==, 6);
    EXPECT_INT(torc_recv_all(sockets[1], data, 6, NULL), ==, 0);
    EXPECT_MEM(data, "typed\n", 6);
    EXPECT_INT(torc_write(terminal[1], "\004", 1), ==, 1);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);

    EXPECT_INT(torc_send(sockets[1], "shown", 5, 0), ==, 5);
    EXPECT_INT(torc_copy_fd(sockets[0], terminal[0], 5, NULL), ==, 0);
    EXPECT_INT(torc_read_all(terminal[1], data, 5, NULL), ==, 0);
    EXPECT_MEM(data, "shown", 5);
    harness_close_pair(terminal);
    harness_close_pair(sockets);
}

FIBER_TEST(the_null_device_takes_all_and_has_nothing)
{
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    char data[100] = "nothing of this comes back";

    EXPECT_INT(torc_write_all(fd, data, sizeof(data), NULL), ==, 0);
    EXPECT_INT(torc_read(fd, data, sizeof(data)), ==, 0);
    EXPECT_INT(torc_poll(fd, POLLIN | POLLOUT), ==, POLLIN | POLLOUT);
    EXPECT_INT(torc_close(fd), ==, 0);
}

FIBER_TEST(standard_input_may_be_a_pipe_and_standard_output_too)
{
    const int saved[2] = {dup(STDIN_FILENO), dup(STDOUT_FILENO)};
    char data[16];
    int input[2];
    int output[2];
    ssize_t length;

    harness_pipe(input);
    harness_pipe(output);
    EXPECT_INT(dup2(input[0], STDIN_FILENO), ==, STDIN_FILENO);
    EXPECT_INT(dup2(output[1], STDOUT_FILENO), ==, STDOUT_FILENO);
    harness_put(input[1], "filtered", 8);
    EXPECT_INT(close(input[1]), ==, 0);
    while ((length = torc_read(STDIN_FILENO, data, 3)) > 0)
        EXPECT_INT(torc_write_all(STDOUT_FILENO, data, (size_t)length, NULL), ==, 0);
    EXPECT_INT(length, ==, 0);
    EXPECT_INT(torc_read_all(output[0], data, 8, NULL), ==, 0);
    EXPECT_MEM(data, "filtered", 8);
    EXPECT_INT(dup2(saved[0], STDIN_FILENO), ==, STDIN_FILENO);
    EXPECT_INT(dup2(saved[1], STDOUT_FILENO), ==, STDOUT_FILENO);
    harness_close_pair(saved);
    close(input[0]);
    harness_close_pair(output);
}

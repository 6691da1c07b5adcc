/* SPDX-License-Identifier: MIT */
/*
 * log_test.c - messages are whole lines, each written by one call.
 */
#include "base/log.h"
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A datagram socket in the place of stderr keeps writes apart. */
static int begin_capture(int *ret_saved)
{
    int ends[2];

    EXPECT_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), ==, 0);
    *ret_saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    EXPECT_INT(dup2(ends[1], STDERR_FILENO), ==, STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

static void end_capture(int saved)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
}

/* The next write to stderr as a text; its length, or -1 if there was none. */
static ssize_t next_write(int fd, char *text, size_t size)
{
    ssize_t length = recv(fd, text, size - 1, MSG_DONTWAIT);

    text[length > 0 ? length : 0] = '\0';
    return length;
}

TEST(a_message_is_one_line_in_one_write)
{
    char text[2000];
    int saved;
    int fd = begin_capture(&saved);

    torc__log("%s is %d", "answer", 42);
    torc__log("%s", "");
    end_capture(saved);

    EXPECT_INT(next_write(fd, text, sizeof(text)), ==, (ssize_t)strlen("torc: answer is 42\n"));
    EXPECT_STR(text, "torc: answer is 42\n");
    next_write(fd, text, sizeof(text));
    EXPECT_STR(text, "torc: \n");
    EXPECT_INT(next_write(fd, text, sizeof(text)), ==, -1);
    close(fd);
}

TEST(a_line_that_is_too_long_is_cut_and_stays_a_line)
{
    char text[2000];
    char message[1500];
    int saved;
    int fd = begin_capture(&saved);

    for (size_t length = 480; length < 530; length++) {
        memset(message, 'm', sizeof(message));
        message[length] = '\0';
        torc__log("%s", message);
    }
    end_capture(saved);

    for (size_t length = 480; length < 530; length++) {
        const size_t size = (size_t)next_write(fd, text, sizeof(text));

        EXPECT_UINT(size, ==, 6 + (length < 504 ? length : 504) + 1);
        EXPECT_MEM(text, "torc: mmmm", 10);
        EXPECT_INT(text[size - 2], ==, 'm');
        EXPECT_INT(text[size - 1], ==, '\n');
    }
    close(fd);
}

TEST(a_message_to_nowhere_does_no_harm)
{
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

    close(STDERR_FILENO);
    torc__log("nobody reads this");
    end_capture(saved);
}

/* Whether a message goes to `fd` when that has the number of standard error. */
static bool is_written_to(int fd)
{
    const int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    struct stat before;
    struct stat after;
    int there = 0;

    EXPECT_INT(fstat(fd, &before), ==, 0);
    EXPECT_INT(dup2(fd, STDERR_FILENO), ==, STDERR_FILENO);
    torc__log("message");
    end_capture(saved);
    EXPECT_INT(fstat(fd, &after), ==, 0);
    if (S_ISREG(after.st_mode))
        return after.st_size > before.st_size;
    EXPECT_INT(ioctl(fd, FIONREAD, &there), ==, 0);
    return there > 0;
}

TEST(a_message_goes_to_no_connection_and_no_data_that_came_in_the_place_of_stderr)
{
    FILE *file = tmpfile();
    int sockets[2];
    int pipe[2];
    int fd = begin_capture(&sockets[0]);

    torc__log_begin();
    end_capture(sockets[0]);
    close(fd);
    EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), ==, 0);
    harness_pipe(pipe);
    EXPECT(!is_written_to(fileno(file)));
    EXPECT_INT(fcntl(fileno(file), F_SETFL, O_APPEND), ==, 0);
    EXPECT(is_written_to(fileno(file)));
    EXPECT(is_written_to(pipe[1]));
    EXPECT(!is_written_to(sockets[1]));
    EXPECT_INT(recv(sockets[0], (char[1]){0}, 1, MSG_DONTWAIT), ==, -1);
    harness_close_pair(sockets);
    harness_close_pair(pipe);
    fclose(file);
}

TEST(a_message_goes_to_nothing_that_was_opened_in_the_place_of_stderr)
{
    const int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    int pipe[2];

    torc__log_begin();
    harness_pipe(pipe);
    EXPECT_INT(dup3(pipe[1], STDERR_FILENO, O_CLOEXEC), ==, STDERR_FILENO);
    EXPECT_INT(torc__log_fd(), ==, -1);
    end_capture(saved);
    harness_close_pair(pipe);
}

TEST(a_message_goes_to_the_socket_that_stderr_has_been_from_the_beginning)
{
    char text[100];
    int saved;
    const int fd = begin_capture(&saved);

    torc__log_begin();
    torc__log("message");
    EXPECT(!torc__log_would_wait());
    close(STDERR_FILENO);
    EXPECT_INT(torc__log_fd(), ==, -1);
    EXPECT(!torc__log_would_wait());
    end_capture(saved);
    EXPECT_INT(next_write(fd, text, sizeof(text)), >, 0);
    close(fd);
}

static void *log_often(void *arg)
{
    const char *name = arg;

    for (unsigned i = 0; i < 1000; i++)
        torc__log("%s%s%s", name, name, name);
    return NULL;
}

TEST(lines_of_several_threads_do_not_mix)
{
    char line[100];
    char names[4][9] = {"aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"};
    pthread_t threads[4];
    FILE *file = tmpfile();
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    unsigned lines = 0;

    EXPECT_INT(fcntl(fileno(file), F_SETFL, O_APPEND), ==, 0);
    dup2(fileno(file), STDERR_FILENO);
    for (unsigned i = 0; i < 4; i++)
        threads[i] = harness_thread(log_often, names[i]);
    for (unsigned i = 0; i < 4; i++)
        harness_join(threads[i]);
    end_capture(saved);

    rewind(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        EXPECT_UINT(strlen(line), ==, 6 + 24 + 1);
        EXPECT_UINT(strspn(line + 6, (char[]){line[6], '\0'}), ==, 24);
        lines++;
    }
    EXPECT_UINT(lines, ==, 4000);
    fclose(file);
}

/* ---- Assertions ---- */

static void break_a_contract(void)
{
    TORC_ASSERT(1 + 1 == 3);
}

static void say_who(char *text, int size)
{
    snprintf(text, (size_t)size, "fiber 7");
}

static void break_a_contract_in_a_fiber(void)
{
    torc__describe_current = say_who;
    TORC_ASSERT(1 + 1 == 3);
}

TEST(a_broken_contract_is_told_with_its_place_and_aborts)
{
    harness_expect_death(break_a_contract, SIGABRT, "assertion failed: 1 + 1 == 3 (");
    harness_expect_death(break_a_contract, SIGABRT, "log_test.c:");
    harness_expect_death(break_a_contract_in_a_fiber, SIGABRT, "), in fiber 7\n");
}

TEST(a_contract_that_holds_costs_nothing_to_hear)
{
    char text[10];
    int saved;
    int fd = begin_capture(&saved);

    TORC_ASSERT(1 + 1 == 2);
    end_capture(saved);
    EXPECT_INT(next_write(fd, text, sizeof(text)), ==, -1);
    close(fd);
}

/* SPDX-License-Identifier: MIT */
/*
 * pipe_test.c - pipes, splice and tee.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

FIBER_TEST(a_pipe_is_close_on_exec_and_goes_one_way)
{
    char data[8];
    int fds[2];

    EXPECT_INT(torc_pipe(fds, 0), ==, 0);
    EXPECT(harness_is_cloexec(fds[0]));
    EXPECT(harness_is_cloexec(fds[1]));
    EXPECT_INT(torc_write(fds[1], "abc", 3), ==, 3);
    EXPECT_INT(torc_read(fds[0], data, sizeof(data)), ==, 3);
    EXPECT_INT(torc_write(fds[0], "abc", 3), ==, -EBADF);
    EXPECT_INT(torc_read(fds[1], data, 3), ==, -EBADF);
    torc_close(fds[1]);
    EXPECT_INT(torc_read(fds[0], data, sizeof(data)), ==, 0);
    torc_close(fds[0]);
    EXPECT_INT(torc_pipe(fds, 0), ==, 0);
    torc_close(fds[0]);
    EXPECT_INT(torc_write(fds[1], "abc", 3), ==, -EPIPE);
    torc_close(fds[1]);
}

FIBER_TEST(a_pipe_has_the_size_that_was_asked_for_or_a_larger_one)
{
    const unsigned open = harness_open_fds();
    const int socket = torc_socket(AF_UNIX, SOCK_STREAM, 0);
    int fds[2] = {-7, -7};

    EXPECT_INT(torc_pipe(fds, 5000), ==, 0);
    EXPECT_INT(torc_pipe_size(fds[0]), >=, 5000);
    EXPECT_INT(torc_pipe_size(fds[0]), <, 65536);
    EXPECT_INT(torc_pipe_set_size(fds[0], 30000), >=, 30000);
    EXPECT_INT(torc_pipe_size(fds[1]), ==, torc_pipe_size(fds[0]));
    harness_fill(fds[1]);
    EXPECT_INT(torc_pipe_set_size(fds[0], 4096), ==, -EBUSY);
    EXPECT_INT(torc_pipe_set_size(fds[0], 0), ==, -EINVAL);
    EXPECT_INT(torc_pipe_set_size(fds[0], SIZE_MAX), ==, -EINVAL);
    harness_close_pair(fds);
    EXPECT_INT(torc_pipe(fds, SIZE_MAX), ==, -EINVAL);
    EXPECT_INT(torc_pipe_size(socket), ==, -EBADF);
    torc_close(socket);
    EXPECT_UINT(harness_open_fds(), ==, open);
}

/* An unnamed file with `size` bytes of the pattern. */
static int pattern_file(size_t size)
{
    char path[] = "/tmp/torc-pipe-XXXXXX";
    const int fd = mkostemp(path, O_CLOEXEC);
    char *data = malloc(size);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(unlink(path), ==, 0);
    EXPECT(data != NULL);
    harness_pattern_fill(data, size, 0);
    harness_put(fd, data, size);
    EXPECT_INT(lseek(fd, 0, SEEK_SET), ==, 0);
    free(data);
    return fd;
}

FIBER_TEST(splice_moves_bytes_between_a_file_and_a_pipe_at_any_offset)
{
    const int file = pattern_file(10000);
    char data[4000];
    int fds[2];

    harness_pipe(fds);
    EXPECT_INT(torc_splice(file, -1, fds[1], -1, 3000, 0), ==, 3000);
    EXPECT_INT(torc_splice(file, 9000, fds[1], -1, 4000, SPLICE_F_MOVE), ==, 1000);
    EXPECT_INT(torc_splice(file, 10000, fds[1], -1, 4000, 0), ==, 0); /* The end. */
    EXPECT_INT(lseek(file, 0, SEEK_CUR), ==, 3000);
    EXPECT_INT(torc_read_all(fds[0], data, 4000, NULL), ==, 0);
    harness_pattern_check(data, 3000, 0);
    harness_pattern_check(data + 3000, 1000, 9000);
    harness_put(fds[1], "over", 4);
    EXPECT_INT(torc_splice(fds[0], -1, file, 20000, 100, 0), ==, 4);
    EXPECT_INT(torc_pread(file, data, 10, 20000), ==, 4);
    EXPECT_MEM(data, "over", 4);
    close(file);
    harness_close_pair(fds);
}

FIBER_TEST(tee_copies_what_is_in_a_pipe_and_leaves_it_there)
{
    char data[8];
    int from[2];
    int to[2];

    harness_pipe(from);
    harness_pipe(to);
    harness_put(from[1], "abc", 3);
    EXPECT_INT(torc_tee(from[0], to[1], 2, 0), ==, 2);
    EXPECT_INT(torc_tee(from[0], to[1], 100, 0), ==, 3);
    EXPECT_INT(torc_read(to[0], data, sizeof(data)), ==, 5);
    EXPECT_MEM(data, "ababc", 5);
    EXPECT_INT(torc_read(from[0], data, sizeof(data)), ==, 3);
    EXPECT_INT(torc_tee(from[0], to[1], 100, SPLICE_F_NONBLOCK), ==, -EAGAIN);
    close(from[1]);
    EXPECT_INT(torc_tee(from[0], to[1], 100, 0), ==, 0);
    harness_put(to[1], "x", 1);
    EXPECT_INT(torc_tee(to[0], to[1], 100, 0), ==, -EINVAL); /* The same pipe. */
    close(from[0]);
    harness_close_pair(to);
}

FIBER_TEST(what_cannot_be_spliced_gives_the_errors_of_the_system_call)
{
    const int file = pattern_file(100);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fds[2];

    harness_pipe(fds);
    EXPECT_INT(torc_splice(fds[0], -1, null, -1, 10, SPLICE_F_NONBLOCK), ==, -EAGAIN);
    harness_put(fds[1], "x", 1);
    EXPECT_INT(torc_splice(file, -1, null, -1, 10, 0), ==, -EINVAL);
    EXPECT_INT(torc_splice(fds[0], 5, null, -1, 10, 0), ==, -ESPIPE);
    EXPECT_INT(torc_splice(-1, -1, fds[1], -1, 10, 0), ==, -EBADF);
    EXPECT_INT(torc_splice(fds[0], -1, fds[1], -1, 10, 0), ==, -EINVAL); /* The same pipe. */
    EXPECT_INT(fcntl(file, F_SETFL, O_APPEND), ==, 0);
    EXPECT_INT(torc_splice(fds[0], -1, file, -1, 10, 0), ==, -EINVAL);
    EXPECT_INT(torc_splice(fds[0], -1, null, -1, 10, 0), ==, 1);
    close(fds[0]);
    EXPECT_INT(torc_splice(file, 0, fds[1], -1, 10, 0), ==, -EPIPE); /* And no signal. */
    close(fds[1]);
    close(null);
    close(file);
}

struct splicer {
    int in;
    int out;
    bool tee;
    ssize_t result;
};

static int splice_one(void *arg)
{
    struct splicer *splicer = arg;

    splicer->result = splicer->tee ? torc_tee(splicer->in, splicer->out, 100, 0)
                                   : torc_splice(splicer->in, -1, splicer->out, -1, 100, 0);
    return 0;
}

FIBER_TEST(a_splice_that_waits_is_ended_by_data_or_by_the_scope)
{
    int from[2];
    int to[2];

    harness_pipe(from);
    harness_pipe(to);
    for (int i = 0; i < 10; i++) {
        struct splicer splicer = {.in = from[0], .out = to[1], .tee = i % 2 == 1};
        struct torc_scope scope;
        char data[8];

        torc_scope_open(&scope, 0);
        harness_spawn(&scope, splice_one, &splicer);
        harness_pass_kernel();
        torc_scope_cancel(&scope);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
        EXPECT_INT(splicer.result, ==, -ECANCELED);
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, splice_one, &splicer);
        harness_pass_kernel();
        EXPECT_INT(torc_write(from[1], "abc", 3), ==, 3);
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
        EXPECT_INT(splicer.result, ==, 3);
        EXPECT_INT(torc_read(to[0], data, sizeof(data)), ==, 3);
        if (splicer.tee)
            EXPECT_INT(torc_read(from[0], data, sizeof(data)), ==, 3);
        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, TORC_MILLISECOND);
        splice_one(&splicer);
        EXPECT_INT(splicer.result, ==, -ETIME);
        (void)torc_scope_close(&scope);
    }
    harness_close_pair(from);
    harness_close_pair(to);
}

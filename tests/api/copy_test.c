/* SPDX-License-Identifier: MIT */
/*
 * copy_test.c - bytes that go from one descriptor to another, whatever the two are.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define SIZE 300000 /* More than a pipe holds. */

/* What a side of a copy may be. */
enum side {
    FILE_SIDE,
    APPENDED_FILE, /* cannot be spliced to */
    TCP,
    UNIX,
    PIPE,
    SIDES,
};

static const char *const side_names[SIDES] = {"file", "appended file", "tcp", "unix", "pipe"};

static int new_file(void)
{
    char path[] = "/tmp/torc-copy-XXXXXX";
    const int fd = mkostemp(path, O_CLOEXEC);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(unlink(path), ==, 0);
    return fd;
}

/* ret_fds[0] is to be read, ret_fds[1] to be written; for a file both are the same. */
static void open_side(enum side side, int ret_fds[2])
{
    switch (side) {
    case FILE_SIDE:
    case APPENDED_FILE:
        ret_fds[0] = ret_fds[1] = new_file();
        if (side == APPENDED_FILE)
            EXPECT_INT(fcntl(ret_fds[0], F_SETFL, O_APPEND), ==, 0);
        break;
    case TCP:
        harness_tcp_pair(ret_fds);
        break;
    case UNIX:
        harness_unix_pair(ret_fds);
        break;
    default:
        harness_pipe(ret_fds);
    }
}

static void close_side(const int fds[2])
{
    EXPECT_INT(close(fds[0]), ==, 0);
    if (fds[1] >= 0 && fds[1] != fds[0])
        EXPECT_INT(close(fds[1]), ==, 0);
}

struct end {
    int fd;
    size_t size;
};

static int write_pattern(void *arg)
{
    const struct end *end = arg;
    char data[7000]; /* In step with nothing. */

    for (size_t done = 0; done < end->size;) {
        const size_t count = end->size - done < sizeof(data) ? end->size - done : sizeof(data);

        harness_pattern_fill(data, count, done);
        EXPECT_INT(torc_write_all(end->fd, data, count, NULL), ==, 0);
        done += count;
    }
    return 0;
}

static int read_pattern(void *arg)
{
    const struct end *end = arg;
    char data[5000];

    for (size_t done = 0; done < end->size;) {
        const size_t left = end->size - done;
        const ssize_t count = torc_read(end->fd, data, left < sizeof(data) ? left : sizeof(data));

        EXPECT_INT(count, >, 0);
        harness_pattern_check(data, (size_t)count, done);
        done += (size_t)count;
    }
    return 0;
}

/* Give `in` its end; a file has one. */
static void end_input(enum side side, int fds[2])
{
    if (side == TCP || side == UNIX)
        EXPECT_INT(torc_shutdown(fds[1], SHUT_WR), ==, 0);
    if (side == PIPE) {
        EXPECT_INT(close(fds[1]), ==, 0);
        fds[1] = -1;
    }
}

struct input {
    enum side side;
    int *fds;
};

static int write_and_end(void *arg)
{
    struct input *input = arg;
    struct end end = {.fd = input->fds[1], .size = SIZE};

    EXPECT_INT(write_pattern(&end), ==, 0);
    end_input(input->side, input->fds);
    return 0;
}

static void copy_between(enum side from, enum side to)
{
    struct torc_copied copied = {0};
    struct torc_scope scope;
    int source[2];
    int target[2];
    struct input input = {from, source};
    struct end output;

    open_side(from, source);
    open_side(to, target);
    output = (struct end){.fd = target[0], .size = SIZE};
    torc_scope_open(&scope, 0);
    if (from == FILE_SIDE || from == APPENDED_FILE) {
        write_and_end(&input);
        EXPECT_INT(lseek(source[0], 0, SEEK_SET), ==, 0);
    } else {
        harness_spawn(&scope, write_and_end, &input);
    }
    if (to != FILE_SIDE && to != APPENDED_FILE)
        harness_spawn(&scope, read_pattern, &output);
    EXPECT_MSG(torc_copy_fd(source[0], target[1], UINT64_MAX, &copied) == 0, "from %s to %s",
               side_names[from], side_names[to]);
    EXPECT_UINT(copied.taken, ==, SIZE);
    EXPECT_UINT(copied.delivered, ==, SIZE);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    if (to == FILE_SIDE || to == APPENDED_FILE) {
        EXPECT_INT(lseek(target[0], 0, SEEK_SET), ==, 0);
        read_pattern(&output);
    }
    close_side(source);
    close_side(target);
}

FIBER_TEST(all_bytes_go_from_anything_to_anything)
{
    for (int from = 0; from < SIDES; from++) {
        for (int to = 0; to < SIDES; to++)
            copy_between((enum side)from, (enum side)to);
    }
}

FIBER_TEST(t_25_an_echo_by_splicing_returns_every_byte_and_the_count)
{
    struct torc_copied copied;
    char data[16];
    int fds[2];

    harness_tcp_pair(fds);
    EXPECT_INT(torc_send(fds[0], "fourteen bytes", 14, 0), ==, 14);
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    EXPECT_INT(torc_copy_fd(fds[1], fds[1], UINT64_MAX, &copied), ==, 0);
    EXPECT_UINT(copied.delivered, ==, 14);
    EXPECT_INT(torc_shutdown(fds[1], SHUT_WR), ==, 0); /* Which the copy leaves to us. */
    EXPECT_INT(torc_recv_all(fds[0], data, 14, NULL), ==, 0);
    EXPECT_MEM(data, "fourteen bytes", 14);
    EXPECT_INT(torc_recv(fds[0], data, sizeof(data), 0), ==, 0);
    harness_close_pair(fds);
}

FIBER_TEST(a_copy_takes_no_more_than_it_is_told_to)
{
    static const enum side sides[] = {FILE_SIDE, UNIX, PIPE};

    for (int i = 0; i < 3; i++) {
        char data[16];
        struct torc_copied copied;
        int source[2];
        int target[2];

        open_side(sides[i], source);
        harness_unix_pair(target);
        harness_put(source[1], "0123456789", 10);
        if (sides[i] == FILE_SIDE)
            EXPECT_INT(lseek(source[0], 0, SEEK_SET), ==, 0);
        EXPECT_INT(torc_copy_fd(source[0], target[1], 0, &copied), ==, 0);
        EXPECT_UINT(copied.taken, ==, 0);
        EXPECT_INT(torc_copy_fd(source[0], target[1], 7, &copied), ==, 0);
        EXPECT_UINT(copied.taken, ==, 7);
        EXPECT_UINT(copied.delivered, ==, 7);
        EXPECT_INT(torc_read(source[0], data, sizeof(data)), ==, 3);
        EXPECT_MEM(data, "789", 3);
        EXPECT_INT(torc_recv(target[0], data, sizeof(data), 0), ==, 7);
        EXPECT_MEM(data, "0123456", 7);
        close_side(source);
        close_side(target);
    }
}

FIBER_TEST(a_copy_reads_a_file_at_the_offset_it_is_given)
{
    char data[16];
    struct torc_copy copy;
    int source[2];
    int target[2];

    open_side(FILE_SIDE, source);
    harness_put(source[1], "0123456789", 10);
    for (int i = 0; i < 2; i++) {
        open_side(i == 0 ? UNIX : APPENDED_FILE, target);
        torc_copy_init(&copy, source[0], target[1]);
        copy.in_offset = 4;
        EXPECT_INT(torc_copy_run(&copy, 3), ==, 0);
        EXPECT_INT(copy.in_offset, ==, 7);
        EXPECT(!copy.ended);
        EXPECT_INT(torc_copy_run(&copy, UINT64_MAX), ==, 0);
        EXPECT(copy.ended);
        EXPECT_INT(copy.in_offset, ==, 10);
        EXPECT_UINT(copy.delivered, ==, 6);
        EXPECT_INT(torc_copy_run(&copy, UINT64_MAX), ==, 0);
        torc_copy_finish(&copy);
        torc_copy_finish(&copy);
        if (i == 1)
            EXPECT_INT(lseek(target[0], 0, SEEK_SET), ==, 0);
        EXPECT_INT(torc_read(target[0], data, sizeof(data)), ==, 6);
        EXPECT_MEM(data, "456789", 6);
        close_side(target);
    }
    EXPECT_INT(lseek(source[0], 0, SEEK_CUR), ==, 10); /* Untouched. */
    close_side(source);
}

FIBER_TEST(what_is_always_or_never_there_is_copied_too)
{
    const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct torc_copied copied;

    EXPECT_INT(torc_copy_fd(zero, null, 1000000, &copied), ==, 0);
    EXPECT_UINT(copied.delivered, ==, 1000000);
    EXPECT_INT(torc_copy_fd(null, null, UINT64_MAX, &copied), ==, 0);
    EXPECT_UINT(copied.delivered, ==, 0);
    EXPECT_INT(torc_copy_fd(-1, null, 1, NULL), ==, -EBADF);
    EXPECT_INT(torc_copy_fd(zero, -1, 1, &copied), ==, -EBADF);
    close(zero);
    close(null);
}

FIBER_TEST(a_reader_that_vanishes_is_an_error_that_tells_what_arrived)
{
    static const enum side sides[] = {UNIX, PIPE};

    for (int i = 0; i < 2; i++) {
        struct torc_copied copied;
        int source[2];
        int target[2];

        open_side(FILE_SIDE, source);
        harness_put(source[1], "0123456789", 10);
        EXPECT_INT(lseek(source[0], 0, SEEK_SET), ==, 0);
        open_side(sides[i], target);
        close(target[0]);
        EXPECT_INT(torc_copy_fd(source[0], target[1], 10, &copied), ==, -EPIPE);
        EXPECT_UINT(copied.delivered, ==, 0);
        close(target[1]);
        close_side(source);
    }
}

struct copier {
    struct torc_copy copy;
    uint64_t length;
    int result;
    bool done;
};

static int run_copy(void *arg)
{
    struct copier *copier = arg;

    copier->result = torc_copy_run(&copier->copy, copier->length);
    copier->done = true;
    return 0;
}

/*
 * A target that is full: the copy has taken what it cannot deliver. Cancelled then, and gone on
 * with to another target, it has lost nothing.
 */
static void cancel_while_it_holds(enum side from, enum side to)
{
    struct copier copier = {.length = UINT64_MAX};
    struct torc_scope scope;
    char data[100];
    int source[2];
    int full[2];
    int other[2];

    open_side(from, source);
    open_side(to, full);
    open_side(UNIX, other);
    harness_fill(full[1]);
    harness_pattern_fill(data, sizeof(data), 0);
    harness_put(source[1], data, sizeof(data));
    torc_copy_init(&copier.copy, source[0], full[1]);
    if (from == FILE_SIDE)
        copier.copy.in_offset = 0;
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, run_copy, &copier);
    while (copier.copy.taken < sizeof(data))
        harness_pass_kernel();
    harness_pass_kernel();
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(copier.result, ==, -ECANCELED);
    EXPECT_UINT(copier.copy.taken, ==, sizeof(data));
    EXPECT_UINT(copier.copy.delivered, ==, 0);
    copier.copy.out = other[1];
    EXPECT_INT(torc_copy_run(&copier.copy, 0), ==, 0);
    EXPECT_UINT(copier.copy.delivered, ==, sizeof(data));
    EXPECT_INT(torc_recv_all(other[0], data, sizeof(data), NULL), ==, 0);
    harness_pattern_check(data, sizeof(data), 0);
    torc_copy_finish(&copier.copy);
    close_side(source);
    close_side(full);
    close_side(other);
}

FIBER_TEST(a_copy_that_is_cancelled_holds_what_it_has_taken)
{
    cancel_while_it_holds(UNIX, UNIX);
    cancel_while_it_holds(TCP, UNIX);
    cancel_while_it_holds(FILE_SIDE, UNIX);
}

FIBER_TEST(a_copy_that_waits_ends_when_cancelled_and_leaves_the_bytes_where_they_are)
{
    static const enum side sides[] = {TCP, UNIX, PIPE};

    for (int i = 0; i < 9; i++) {
        struct copier copier = {.length = UINT64_MAX};
        struct torc_scope scope;
        char data[4];
        int source[2];
        int target[2];

        open_side(sides[i / 3], source);
        open_side(sides[i % 3], target);
        torc_copy_init(&copier.copy, source[0], target[1]);
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, run_copy, &copier);
        harness_pass_kernel();
        torc_scope_cancel(&scope);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
        EXPECT_INT(copier.result, ==, -ECANCELED);
        EXPECT_UINT(copier.copy.taken, ==, 0);
        torc_copy_finish(&copier.copy);
        harness_put(source[1], "abc", 3);
        EXPECT_INT(torc_read(source[0], data, sizeof(data)), ==, 3);
        close_side(source);
        close_side(target);
    }
}

/* Interrupted again and again by short deadlines, a copy still moves each byte once. */
static void copy_under_interruptions(enum side from, enum side to)
{
    struct torc_copy copy;
    struct torc_scope scope;
    int source[2];
    int target[2];
    struct input input = {from, source};
    struct end output;
    int result = -ETIME;

    open_side(from, source);
    open_side(to, target);
    output = (struct end){.fd = target[0], .size = SIZE};
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, write_and_end, &input);
    harness_spawn(&scope, read_pattern, &output);
    torc_copy_init(&copy, source[0], target[1]);
    for (int i = 0; result == -ETIME; i++) {
        struct torc_scope brief;

        torc_scope_open(&brief, 0);
        torc_scope_set_timeout(&brief, harness_random_below(40) * TORC_MICROSECOND * (i / 64 + 1));
        result = torc_copy_run(&copy, UINT64_MAX);
        (void)torc_scope_close(&brief);
        EXPECT_UINT(copy.delivered, <=, copy.taken);
    }
    EXPECT_INT(result, ==, 0);
    EXPECT_UINT(copy.taken, ==, SIZE);
    EXPECT_UINT(copy.delivered, ==, SIZE);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_copy_finish(&copy);
    close_side(source);
    close_side(target);
}

FIBER_TEST(interruptions_lose_and_repeat_nothing)
{
    copy_under_interruptions(TCP, UNIX);
    copy_under_interruptions(UNIX, TCP);
    copy_under_interruptions(PIPE, UNIX);
    copy_under_interruptions(TCP, PIPE);
}

static int echo(void *arg)
{
    const int *fds = arg;
    struct torc_copied copied;

    EXPECT_INT(torc_copy_fd(fds[1], fds[1], UINT64_MAX, &copied), ==, 0);
    EXPECT_UINT(copied.delivered, ==, 1);
    return 0;
}

FIBER_TEST(pipes_are_kept_for_the_next_copy_but_not_without_bound)
{
    struct torc_scope scope;
    unsigned before;
    int fds[40][2];

    for (int i = 0; i < 40; i++)
        harness_unix_pair(fds[i]);
    before = harness_open_fds();
    torc_scope_open(&scope, 0);
    for (int i = 0; i < 40; i++) { /* All of them at once. */
        harness_put(fds[i][0], "x", 1);
        harness_spawn(&scope, echo, fds[i]);
    }
    for (int i = 0; i < 40; i++) {
        char byte;

        EXPECT_INT(torc_recv(fds[i][0], &byte, 1, 0), ==, 1);
        EXPECT_INT(torc_shutdown(fds[i][0], SHUT_WR), ==, 0);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(harness_open_fds(), >, before);
    EXPECT_UINT(harness_open_fds(), <=, before + 32);
    for (int i = 0; i < 40; i++)
        harness_close_pair(fds[i]);
}

FIBER_TEST(what_a_finished_copy_held_is_gone)
{
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct torc_copy copy;
    int source[2];
    int target[2];

    harness_pipe(source);
    harness_pipe(target);
    harness_put(source[1], "abc", 3);
    torc_copy_init(&copy, source[0], full);
    EXPECT_INT(torc_copy_run(&copy, 3), ==, -ENOSPC);
    torc_copy_finish(&copy);
    copy.out = target[1];
    EXPECT_INT(torc_copy_run(&copy, 0), ==, 0);
    EXPECT_UINT(copy.delivered, ==, 0);
    EXPECT(!harness_is_readable(target[0]));
    torc_copy_finish(&copy);
    EXPECT_INT(close(full), ==, 0);
    harness_close_pair(source);
    harness_close_pair(target);
}

FIBER_TEST(without_a_free_descriptor_a_copy_takes_nothing)
{
    struct torc_copied copied;
    int filler[64];
    int count = 0;
    int source[2];
    int target[2];

    if (harness_is_valgrind())
        return; /* It only pretends that there is a limit. */
    harness_unix_pair(source);
    harness_unix_pair(target);
    harness_put(source[1], "abc", 3);
    harness_leave_fds(32);
    while (count < 64 && (filler[count] = dup(STDERR_FILENO)) >= 0)
        count++;
    EXPECT_INT(torc_copy_fd(source[0], target[1], 3, &copied), ==, -EMFILE);
    EXPECT_UINT(copied.taken, ==, 0);
    while (count > 0)
        close(filler[--count]);
    harness_raise_fd_limit();
    EXPECT_INT(torc_copy_fd(source[0], target[1], 3, &copied), ==, 0);
    EXPECT_UINT(copied.delivered, ==, 3);
    harness_close_pair(source);
    harness_close_pair(target);
}

/* SPDX-License-Identifier: MIT */
/*
 * epoll_rw_test.c - reads, writes and splices of all kinds of descriptors never block the loop.
 */
#include "unit/driver/epoll_rig.h"
#include "unit/driver/nowait.h"
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#define AT_POSITION UINT64_MAX

static char big[1 << 20];
static char copy[1 << 20];

/* A file without a name, with `size` bytes of the pattern. */
static int make_file(size_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    EXPECT_INT(fd, >=, 0);
    harness_pattern_fill(big, size, 0);
    EXPECT_INT(pwrite(fd, big, size, 0), ==, size);
    return fd;
}

/* ---- What can be waited for ---- */

static void write_full_pipe(void)
{
    struct torc__epoll epoll;
    struct noted_op op;
    size_t sum = 0;
    int ends[2];

    start(&epoll);
    harness_pipe(ends);
    harness_pattern_fill(big, sizeof(big), 0);
    while (sum < sizeof(big)) {
        io_uring_prep_write(prepare(&epoll, &op), ends[1], &big[sum], (unsigned)(sizeof(big) - sum),
                            0);
        settle(&epoll);
        if (op.told == 0) /* The pipe is full: make room for one page. */
            harness_get(ends[0], copy, PIPE_BUF);
        EXPECT_INT(result_of(&epoll, &op), >, 0);
        sum += (size_t)op.result;
    }
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(writes_to_a_blocking_pipe_that_is_full_wait_for_room)
{
    write_full_pipe();
}

TEST(without_nowait_writes_to_a_blocking_pipe_never_block)
{
    if (!deny_nowait())
        SKIP("seccomp filters are not to be had here");
    write_full_pipe();
}

static void read_from_all_kinds(void)
{
    struct torc__epoll epoll;
    struct noted_op ops[4];
    char bytes[4][256];
    int fds[4];
    const int file = memfd_create("test", MFD_CLOEXEC); /* Nobody else opens it. */
    const uint64_t one = 1;
    char path[40];
    int ends[2];
    int tty;

    start(&epoll);
    harness_pipe(ends);
    tty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_INT(grantpt(tty), ==, 0);
    EXPECT_INT(unlockpt(tty), ==, 0);
    fds[0] = ends[0];
    fds[1] = eventfd(0, EFD_CLOEXEC);
    fds[2] = inotify_init1(IN_CLOEXEC);
    fds[3] = open(ptsname(tty), O_RDWR | O_NOCTTY | O_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    EXPECT_INT(inotify_add_watch(fds[2], path, IN_OPEN), >, 0);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 4; i++)
            io_uring_prep_read(prepare(&epoll, &ops[i]), fds[i], bytes[i], 256, AT_POSITION);
        settle(&epoll);
        for (unsigned i = 0; i < 4; i++)
            EXPECT_UINT(ops[i].told, ==, 0);
        harness_put(ends[1], "abc", 3);
        harness_put(fds[1], &one, sizeof(one));
        close(open(path, O_RDONLY | O_CLOEXEC));
        harness_put(tty, "line\n", 5);
        turn_until_ended(&epoll, ops, 4);
        EXPECT_INT(ops[0].result, ==, 3);
        EXPECT_INT(ops[1].result, ==, 8);
        EXPECT_INT(ops[2].result, >=, (int)sizeof(struct inotify_event));
        EXPECT_INT(ops[3].result, ==, 5);
        EXPECT_MEM(bytes[3], "line\n", 5);
    }
    io_uring_prep_write(prepare(&epoll, &ops[0]), fds[3], "answer", 6, AT_POSITION);
    EXPECT_INT(result_of(&epoll, &ops[0]), ==, 6);
    EXPECT(!(fcntl(fds[3], F_GETFL) & O_NONBLOCK));
    for (unsigned i = 0; i < 4; i++)
        close(fds[i]);
    close(ends[1]);
    close(file);
    close(tty);
    stop(&epoll);
}

TEST(reads_of_pipes_counters_watches_and_terminals_wait)
{
    read_from_all_kinds();
}

TEST(without_nowait_reads_of_all_kinds_wait_as_well)
{
    if (!deny_nowait())
        SKIP("seccomp filters are not to be had here");
    read_from_all_kinds();
}

TEST(reads_of_timers_and_signals_wait)
{
    const struct itimerspec soon = {.it_value = {.tv_nsec = 1000000}};
    struct torc__epoll epoll;
    struct noted_op ops[2];
    struct signalfd_siginfo about;
    uint64_t expirations;
    sigset_t set;
    int fds[2];

    start(&epoll);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EXPECT_INT(sigprocmask(SIG_BLOCK, &set, NULL), ==, 0);
    fds[0] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    fds[1] = signalfd(-1, &set, SFD_CLOEXEC);
    io_uring_prep_read(prepare(&epoll, &ops[0]), fds[0], &expirations, sizeof(expirations), 0);
    io_uring_prep_read(prepare(&epoll, &ops[1]), fds[1], &about, sizeof(about), 0);
    settle(&epoll);
    EXPECT_INT(timerfd_settime(fds[0], 0, &soon, NULL), ==, 0);
    EXPECT_INT(result_of(&epoll, &ops[0]), ==, sizeof(expirations));
    EXPECT_UINT(ops[1].told, ==, 0);
    EXPECT_INT(raise(SIGUSR1), ==, 0);
    EXPECT_INT(result_of(&epoll, &ops[1]), ==, sizeof(about));
    EXPECT_UINT(about.ssi_signo, ==, SIGUSR1);
    harness_close_pair(fds);
    stop(&epoll);
}

TEST(a_read_that_does_not_wait_says_so)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct io_uring_sqe *sqe;
    char byte;
    int ends[2];

    start(&epoll);
    harness_unix_pair(ends);
    sqe = prepare(&epoll, &op);
    io_uring_prep_read(sqe, ends[0], &byte, 1, AT_POSITION);
    sqe->rw_flags = RWF_NOWAIT;
    EXPECT_INT(result_of(&epoll, &op), ==, -EAGAIN);
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(an_op_on_a_descriptor_that_does_not_block_waits_all_the_same)
{
    struct torc__epoll epoll;
    struct noted_op op;
    char byte;
    int ends[2];

    start(&epoll);
    EXPECT_INT(pipe2(ends, O_NONBLOCK | O_CLOEXEC), ==, 0);
    io_uring_prep_read(prepare(&epoll, &op), ends[0], &byte, 1, 0);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    close(ends[1]);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);
    close(ends[0]);
    stop(&epoll);
}

/* ---- Files ---- */

static void use_a_file(void)
{
    struct torc__epoll epoll;
    struct noted_op op;
    struct iovec in[3] = {{copy, 100}, {copy + 100, 0}, {copy + 100, 1000}};
    const int file = make_file(100000);

    start_with(&epoll, 0, 3);
    io_uring_prep_read(prepare(&epoll, &op), file, copy, sizeof(copy), 0);
    EXPECT_INT(result_of(&epoll, &op), ==, 100000);
    harness_pattern_check(copy, 100000, 0);
    io_uring_prep_read(prepare(&epoll, &op), file, copy, sizeof(copy), 99990);
    EXPECT_INT(result_of(&epoll, &op), ==, 10);
    io_uring_prep_read(prepare(&epoll, &op), file, copy, sizeof(copy), 100000);
    EXPECT_INT(result_of(&epoll, &op), ==, 0);

    EXPECT_INT(lseek(file, 500, SEEK_SET), ==, 500);
    io_uring_prep_readv(prepare(&epoll, &op), file, in, 3, AT_POSITION);
    EXPECT_INT(result_of(&epoll, &op), ==, 1100);
    harness_pattern_check(copy, 1100, 500);
    EXPECT_INT(lseek(file, 0, SEEK_CUR), ==, 1600);
    io_uring_prep_writev(prepare(&epoll, &op), file, in, 3, 150000);
    EXPECT_INT(result_of(&epoll, &op), ==, 1100);
    io_uring_prep_read(prepare(&epoll, &op), file, big, 1100, 150000);
    EXPECT_INT(result_of(&epoll, &op), ==, 1100);
    EXPECT_MEM(big, copy, 1100);
    close(file);
    stop(&epoll);
}

TEST(files_are_read_and_written_at_offsets_and_at_their_position)
{
    use_a_file();
}

TEST(without_nowait_files_are_read_and_written_by_threads)
{
    if (!deny_nowait())
        SKIP("seccomp filters are not to be had here");
    use_a_file();
}

TEST(the_rest_of_a_transfer_that_was_cut_short_is_moved_by_a_thread)
{
    struct noted_op op = {.result = 0};
    struct io_uring_sqe *sqe = torc__epoll_sqe(&op.op);
    struct torc__epoll_note *about = torc__epoll_note(&op.op);
    const struct iovec in[3] = {{copy, 100}, {copy + 100, 400}, {copy + 500, 500}};
    const int file = make_file(1000);

    for (unsigned done = 1; done < 1000; done += 111) {
        io_uring_prep_readv(sqe, file, in, 3, 0);
        memset(copy, 0, sizeof(copy));
        harness_pattern_fill(copy, done, 0);
        about->done = done; /* As if only so much had been in memory. */
        EXPECT_INT(torc__epoll_transfer_rest(&op.op), ==, 1000);
        harness_pattern_check(copy, 1000, 0);

        io_uring_prep_read(sqe, file, copy, 1000, AT_POSITION);
        EXPECT_INT(lseek(file, done, SEEK_SET), ==, done);
        EXPECT_INT(torc__epoll_transfer_rest(&op.op), ==, 1000);
        harness_pattern_check(copy, 1000, 0);
    }
    about->done = 1000;
    EXPECT_INT(torc__epoll_transfer_rest(&op.op), ==, 1000); /* Nothing more: that is the end. */
    close(file);
}

TEST(the_rest_of_a_transfer_never_makes_it_larger_than_a_result_can_tell)
{
    static char data[8192];
    const size_t most = 0x7ffff000; /* What the kernel moves in one call. */
    struct torc_op op = {0};
    struct iovec vector[2] = {{data, most - 100}, {data, sizeof(data)}};
    const int fd = memfd_create("test", MFD_CLOEXEC);

    EXPECT_INT(ftruncate(fd, (off_t)(most + sizeof(data))), ==, 0);
    io_uring_prep_readv(torc__epoll_sqe(&op), fd, vector, 2, 0);
    torc__epoll_note(&op)->done = (uint32_t)(most - 100);
    EXPECT_INT(torc__epoll_transfer_rest(&op), ==, most);
    torc__epoll_note(&op)->done = (uint32_t)most;
    EXPECT_INT(torc__epoll_transfer_rest(&op), ==, most);
    close(fd);
}

TEST(reading_a_directory_or_nothing_is_an_error)
{
    struct torc__epoll epoll;
    struct noted_op op;
    const int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    start_with(&epoll, 0, 3);
    io_uring_prep_read(prepare(&epoll, &op), directory, copy, 1, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -EISDIR);
    io_uring_prep_write(prepare(&epoll, &op), directory, copy, 1, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -EBADF);
    close(directory);
    stop(&epoll);
}

/* ---- Splice and tee ---- */

TEST(a_splice_waits_for_both_of_its_ends)
{
    struct torc__epoll epoll;
    struct noted_op op;
    int from[2];
    int to[2];

    start(&epoll);
    harness_pipe(from);
    harness_pipe(to);
    io_uring_prep_splice(prepare(&epoll, &op), from[0], -1, to[1], -1, 100, 0);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    harness_put(from[1], "abc", 3);
    EXPECT_INT(result_of(&epoll, &op), ==, 3);
    harness_get(to[0], copy, 3);
    EXPECT_MEM(copy, "abc", 3);

    harness_put(from[1], "abc", 3);
    harness_fill(to[1]);
    io_uring_prep_splice(prepare(&epoll, &op), from[0], -1, to[1], -1, 100, 0);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    harness_get(to[0], copy, 4096);
    EXPECT_INT(result_of(&epoll, &op), ==, 3);
    io_uring_prep_splice(prepare(&epoll, &op), from[0], -1, to[1], -1, 100, SPLICE_F_NONBLOCK);
    EXPECT_INT(result_of(&epoll, &op), ==, -EAGAIN);
    io_uring_prep_splice(prepare(&epoll, &op), from[0], -1, to[1], -1, 100, 0);
    settle(&epoll);
    cancel_and_end(&epoll, &op);
    harness_close_pair(from);
    harness_close_pair(to);
    stop(&epoll);
}

TEST(a_splice_moves_between_sockets_pipes_and_files)
{
    struct torc__epoll epoll;
    struct noted_op op;
    const int file = make_file(10000);
    unsigned moved;
    int fds[2];
    int ends[2];

    start_with(&epoll, 0, 3);
    harness_unix_pair(fds);
    harness_pipe(ends);
    io_uring_prep_splice(prepare(&epoll, &op), file, 1000, ends[1], -1, 5000, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, 5000);
    io_uring_prep_splice(prepare(&epoll, &op), ends[0], -1, fds[0], -1, 5000, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, 5000);
    io_uring_prep_splice(prepare(&epoll, &op), fds[1], -1, ends[1], -1, 5000, 0);
    EXPECT_INT(result_of(&epoll, &op), >, 0);
    moved = (unsigned)op.result;
    io_uring_prep_splice(prepare(&epoll, &op), ends[0], -1, file, 20000, moved, 0);
    EXPECT_INT(result_of(&epoll, &op), >, 0);
    EXPECT_INT(pread(file, copy, (size_t)op.result, 20000), ==, op.result);
    harness_pattern_check(copy, (size_t)op.result, 1000);
    close(file);
    harness_close_pair(fds);
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(a_splice_goes_on_though_signals_come)
{
    struct torc__epoll epoll;
    struct noted_op op;
    int fds[2];
    int ends[2];

    start(&epoll);
    harness_unix_pair(fds);
    harness_pipe(ends);
    harness_put(ends[1], "abc", 3);
    set_signals(500);
    while (signals < 200) { /* The bytes go round and round. */
        io_uring_prep_splice(prepare(&epoll, &op), ends[0], -1, fds[0], -1, 3, 0);
        EXPECT_INT(result_of(&epoll, &op), ==, 3);
        io_uring_prep_splice(prepare(&epoll, &op), fds[1], -1, ends[1], -1, 3, 0);
        EXPECT_INT(result_of(&epoll, &op), ==, 3);
    }
    set_signals(0);
    harness_close_pair(fds);
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(a_splice_of_a_file_waits_for_the_pipe_on_no_thread)
{
    struct torc__epoll epoll;
    struct noted_op op;
    const int file = make_file(10000);
    int ends[2];

    start_with(&epoll, 0, 3);
    harness_pipe(ends);
    harness_fill(ends[1]);
    io_uring_prep_splice(prepare(&epoll, &op), file, 0, ends[1], -1, 5000, 0);
    settle(&epoll);
    EXPECT_UINT(op.told, ==, 0);
    cancel_and_end(&epoll, &op); /* It could not, if it were in hand. */
    close(file);
    harness_close_pair(ends);
    stop(&epoll);
}

TEST(a_tee_copies_and_takes_nothing)
{
    struct torc__epoll epoll;
    struct noted_op op;
    int from[2];
    int to[2];

    start(&epoll);
    harness_pipe(from);
    harness_pipe(to);
    io_uring_prep_tee(prepare(&epoll, &op), from[0], to[1], 100, 0);
    settle(&epoll);
    harness_put(from[1], "abc", 3);
    EXPECT_INT(result_of(&epoll, &op), ==, 3);
    harness_get(to[0], copy, 3);
    harness_get(from[0], copy + 3, 3);
    EXPECT_MEM(copy, "abcabc", 6);
    io_uring_prep_tee(prepare(&epoll, &op), from[0], -1, 100, 0);
    EXPECT_INT(result_of(&epoll, &op), ==, -EBADF);
    harness_close_pair(from);
    harness_close_pair(to);
    stop(&epoll);
}

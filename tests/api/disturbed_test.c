/* SPDX-License-Identifier: MIT */
/*
 * disturbed_test.c - operations that end with -EINTR though nobody cancelled them, and errors that
 * pass. A simulated kernel makes them happen when they are wanted; it is the same on every driver.
 */
#include "harness/deny.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <torc/torc.h>
#include <unistd.h>

static const char text[] = "abcdefgh";
#define SIZE sizeof(text)

#define OP_FTRUNCATE 55 /* Linux 6.9, which <liburing.h> may be older than */

static void run_calmly(torc_fiber_fn *scenario)
{
    struct torc_sim_chaos chaos;
    const struct torc_sim_options options = {.chaos = &chaos};

    torc_sim_chaos_init(&chaos, TORC_SIM_CALM);
    EXPECT_INT(torc_sim_run(1, &options, scenario, NULL), ==, 0);
}

/* The next `count` operations of this kind end with `error`. */
static void fail(int opcode, int error, uint64_t count)
{
    const struct torc_sim_failure failure = {
        .opcode = opcode, .fd = TORC_SIM_ANY, .error = error, .count = count};

    TORC_SIM_CHECK(torc_sim_fail(torc_sim_host_self(), &failure) == 0);
}

/* `call` gives `result` although its operation is disturbed twice. */
#define EXPECT_DISTURBED(opcode, call, result) \
    do {                                       \
        fail(opcode, -EINTR, 2);               \
        EXPECT_INT(call, ==, result);          \
    } while (0)

/* ---- Descriptors ---- */

static int disturb_pipes(void *arg)
{
    char data[SIZE];
    const struct iovec from = {(void *)(uintptr_t)text, SIZE};
    const struct iovec to = {data, SIZE};
    int fds[2];

    (void)arg;
    EXPECT_INT(torc_pipe(fds, 0), ==, 0);
    EXPECT_DISTURBED(IORING_OP_WRITE, torc_write(fds[1], text, SIZE), SIZE);
    EXPECT_DISTURBED(IORING_OP_READ, torc_read(fds[0], data, SIZE), SIZE);
    EXPECT_MEM(data, text, SIZE);
    EXPECT_DISTURBED(IORING_OP_WRITEV, torc_writev(fds[1], &from, 1), SIZE);
    memset(data, 0, SIZE);
    EXPECT_DISTURBED(IORING_OP_READV, torc_readv(fds[0], &to, 1), SIZE);
    EXPECT_MEM(data, text, SIZE);
    EXPECT_INT(torc_close(fds[1]), ==, 0);
    EXPECT_INT(torc_read(fds[0], data, SIZE), ==, 0); /* Once each time, and not more. */
    return torc_close(fds[0]);
}

TEST(reads_and_writes_that_are_disturbed_begin_again)
{
    run_calmly(disturb_pipes);
}

static int disturb_splices(void *arg)
{
    char data[SIZE];
    int first[2];
    int second[2];

    (void)arg;
    EXPECT_INT(torc_pipe(first, 0), ==, 0);
    EXPECT_INT(torc_pipe(second, 0), ==, 0);
    EXPECT_INT(torc_write(first[1], text, SIZE), ==, SIZE);
    EXPECT_DISTURBED(IORING_OP_TEE, torc_tee(first[0], second[1], SIZE, 0), SIZE);
    EXPECT_DISTURBED(IORING_OP_SPLICE, torc_splice(first[0], -1, second[1], -1, SIZE, 0), SIZE);
    EXPECT_INT(torc_read(second[0], data, SIZE), ==, SIZE);
    EXPECT_INT(torc_read(second[0], data, SIZE), ==, SIZE);
    for (int i = 0; i < 2; i++) {
        EXPECT_INT(torc_close(first[i]), ==, 0);
        EXPECT_INT(torc_close(second[i]), ==, 0);
    }
    return 0;
}

TEST(splices_that_are_disturbed_begin_again)
{
    unsetenv("TORC_FORBID"); /* They are newer than the oldest kernel. */
    run_calmly(disturb_splices);
}

static int disturb_files(void *arg)
{
    const struct open_how how = {.flags = O_RDWR};
    const struct iovec from = {(void *)(uintptr_t)text, SIZE};
    char data[SIZE];
    const struct iovec to = {data, SIZE};
    int fd = -1;

    (void)arg;
    fail(IORING_OP_OPENAT, -EINTR, 1); /* It may be there by now, who knows. */
    EXPECT_INT(torc_open("file", O_RDWR | O_CREAT | O_EXCL, 0600), ==, -EINTR);
    EXPECT_DISTURBED(IORING_OP_OPENAT, (fd = torc_open("file", O_RDWR | O_CREAT, 0600)) >= 0, 1);
    EXPECT_DISTURBED(IORING_OP_FALLOCATE, torc_fallocate(fd, 0, 0, 4096), 0);
    EXPECT_DISTURBED(IORING_OP_WRITE, torc_pwrite(fd, text, SIZE, 10), SIZE);
    EXPECT_DISTURBED(IORING_OP_WRITEV, torc_pwritev(fd, &from, 1, 100, 0), SIZE);
    EXPECT_INT(torc_close(fd), ==, 0);
    EXPECT_DISTURBED(IORING_OP_OPENAT2, (fd = torc_openat2(AT_FDCWD, "file", &how)) >= 0, 1);
    EXPECT_DISTURBED(IORING_OP_READ, torc_pread(fd, data, SIZE, 100), SIZE);
    EXPECT_DISTURBED(IORING_OP_READV, torc_preadv(fd, &to, 1, 10, 0), SIZE);
    EXPECT_MEM(data, text, SIZE);
    return torc_close(fd);
}

TEST(a_file_is_opened_and_used_although_it_is_disturbed)
{
    run_calmly(disturb_files);
}

static int disturb_moves(void *arg)
{
    const int fd = torc_open("file", O_RDWR | O_CREAT, 0600);

    (void)arg;
    EXPECT_DISTURBED(IORING_OP_FALLOCATE, torc_fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096), 0);
    fail(IORING_OP_FALLOCATE, -EINTR, 1);
    EXPECT_INT(torc_fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), ==, -EINTR);
    fail(IORING_OP_FALLOCATE, -EINTR, 1);
    EXPECT_INT(torc_fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096), ==, -EINTR);
    return torc_close(fd);
}

TEST(a_file_whose_data_are_moved_is_not_changed_twice_since_it_was_disturbed)
{
    run_calmly(disturb_moves);
}

static int disturb_states(void *arg)
{
    const int fd = torc_open("file", O_RDWR | O_CREAT, 0600);
    struct statx status;
    char value[SIZE];

    (void)arg;
    EXPECT_DISTURBED(IORING_OP_STATX, torc_statx(AT_FDCWD, "file", 0, STATX_SIZE, &status), 0);
    EXPECT_DISTURBED(IORING_OP_STATX, torc_fstatx(fd, STATX_SIZE, &status), 0);
    EXPECT_DISTURBED(IORING_OP_FSYNC, torc_fsync(fd), 0);
    EXPECT_DISTURBED(IORING_OP_FSYNC, torc_fdatasync(fd), 0);
    EXPECT_DISTURBED(IORING_OP_SYNC_FILE_RANGE, torc_sync_file_range(fd, 0, 4096, 0), 0);
    EXPECT_DISTURBED(IORING_OP_FADVISE, torc_fadvise(fd, 0, 4096, POSIX_FADV_NORMAL), 0);
    EXPECT_DISTURBED(OP_FTRUNCATE, torc_ftruncate(fd, 4096), 0);
    EXPECT_DISTURBED(IORING_OP_FSETXATTR, torc_fsetxattr(fd, "user.a", text, SIZE, 0), 0);
    EXPECT_DISTURBED(IORING_OP_SETXATTR, torc_setxattr("file", "user.a", text, SIZE, 0), 0);
    EXPECT_DISTURBED(IORING_OP_FGETXATTR, torc_fgetxattr(fd, "user.a", value, SIZE), SIZE);
    EXPECT_DISTURBED(IORING_OP_GETXATTR, torc_getxattr("file", "user.a", value, SIZE), SIZE);
    EXPECT_MEM(value, text, SIZE);
    fail(IORING_OP_FSETXATTR, -EINTR, 1);
    EXPECT_INT(torc_fsetxattr(fd, "user.b", text, SIZE, XATTR_CREATE), ==, -EINTR);
    return torc_close(fd);
}

TEST(what_a_file_is_asked_and_given_is_exact_although_it_is_disturbed)
{
    unsetenv("TORC_FORBID"); /* Some are newer than the oldest kernel. */
    run_calmly(disturb_states);
}

/* Not let out by close(2), but by a ring: it is no error that programs know. */
#define KERNEL_ERESTARTSYS 512

static int disturb_close(void *arg)
{
    int fds[2];

    (void)arg;
    EXPECT_INT(torc_pipe(fds, 0), ==, 0);
    fail(IORING_OP_CLOSE, -KERNEL_ERESTARTSYS, 1);
    EXPECT_INT(torc_close(fds[0]), ==, -EINTR);
    return torc_close(fds[1]);
}

TEST(who_closes_and_is_disturbed_is_told_so_as_by_close)
{
    run_calmly(disturb_close);
}

static int disturb_names(void *arg)
{
    (void)arg;
    fail(IORING_OP_MKDIRAT, -EINTR, 1);
    EXPECT_INT(torc_mkdir("directory", 0700), ==, -EINTR);
    fail(IORING_OP_SYMLINKAT, -EINTR, 1);
    EXPECT_INT(torc_symlink("file", "link"), ==, -EINTR);
    fail(IORING_OP_LINKAT, -EINTR, 1);
    EXPECT_INT(torc_link("file", "other"), ==, -EINTR);
    fail(IORING_OP_RENAMEAT, -EINTR, 1);
    EXPECT_INT(torc_rename("file", "other"), ==, -EINTR);
    fail(IORING_OP_UNLINKAT, -EINTR, 1);
    EXPECT_INT(torc_unlink("file"), ==, -EINTR);
    return 0;
}

TEST(who_changes_a_name_and_is_disturbed_is_told)
{
    unsetenv("TORC_FORBID");
    run_calmly(disturb_names);
}

/* On a real kernel, which gives nothing else. */
FIBER_TEST_WITH_THREADS(system_calls_on_files_begin_again_unless_they_may_not_be_made_twice)
{
    struct torc_scope scope;

    if (!harness_deny(SYS_fchmod, EINTR) || !harness_deny(SYS_removexattr, EINTR))
        SKIP("seccomp filters are not to be had here");
    EXPECT_INT(torc_removexattr("/", "user.a"), ==, -EINTR);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 5 * TORC_MILLISECOND);
    EXPECT_INT(torc_fchmod(STDIN_FILENO, 0600), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
}

/* The next attempt is disturbed, and the one after it gives `error`: it had come through. */
static void come_through(int opcode, int error)
{
    fail(opcode, -EINTR, 1);
    fail(opcode, error, 1);
}

static int disturb_whole(void *arg)
{
    char data[SIZE];
    struct statx status;

    (void)arg;
    EXPECT_DISTURBED(IORING_OP_MKDIRAT, torc_mkdir_all("a/b/c", 0700), 0);
    fail(IORING_OP_OPENAT, -EINTR, 2);
    EXPECT_DISTURBED(IORING_OP_RENAMEAT, torc_save_file("a/file", text, SIZE, 0600), 0);
    EXPECT_INT(torc_read_file("a/file", data, SIZE), ==, SIZE);
    EXPECT_MEM(data, text, SIZE);
    come_through(IORING_OP_RENAMEAT, -ENOENT);
    EXPECT_INT(torc_save_file("a/file", text, SIZE, 0600), ==, 0);
    fail(IORING_OP_CLOSE, -EINTR, 1);
    EXPECT_INT(torc_save_file("a/file", text, SIZE, 0600), ==, 0);
    EXPECT_DISTURBED(IORING_OP_UNLINKAT, torc_remove_all(AT_FDCWD, "a"), 0);
    EXPECT_INT(torc_statx(AT_FDCWD, "a", 0, STATX_TYPE, &status), ==, -ENOENT);
    come_through(IORING_OP_UNLINKAT, -ENOENT);
    return torc_remove_all(AT_FDCWD, "gone");
}

TEST(files_are_saved_and_trees_made_and_removed_although_they_are_disturbed)
{
    unsetenv("TORC_FORBID");
    run_calmly(disturb_whole);
}

static int disturb_blocks(void *arg)
{
    static char memory[2][4096];
    struct torc_file_block blocks[2];
    const struct torc_file_window window = {blocks, 2, memory, sizeof(memory[0])};
    const int fd = torc_open("file", O_RDWR | O_CREAT, 0600);
    static char data[10000];
    struct torc_file_writer writer;
    struct torc_file_reader reader;
    size_t done = 0;

    (void)arg;
    memset(data, 'x', sizeof(data));
    EXPECT_INT(torc_file_writer_open(&writer, fd, 0, &window), ==, 0);
    EXPECT_DISTURBED(IORING_OP_WRITE, torc_file_writer_write(&writer, data, sizeof(data)), 0);
    EXPECT_INT(torc_file_writer_close(&writer), ==, 0);
    fail(IORING_OP_READ, -EINTR, 3);
    EXPECT_INT(torc_file_reader_open(&reader, fd, 0, &window), ==, 0);
    while (done < sizeof(data)) {
        const void *block;
        const ssize_t count = torc_file_reader_next(&reader, &block);

        EXPECT_INT(count, >, 0);
        EXPECT_MEM(block, data, (size_t)count);
        done += (size_t)count;
    }
    torc_file_reader_close(&reader);
    return torc_close(fd);
}

TEST(a_file_that_is_streamed_is_whole_although_its_blocks_were_disturbed)
{
    run_calmly(disturb_blocks);
}

/* ---- Sockets ---- */

static int disturb_sockets(void *arg)
{
    char data[SIZE];
    const struct iovec from = {(void *)(uintptr_t)text, SIZE};
    const struct iovec to = {data, SIZE};
    struct msghdr out = {.msg_iov = (struct iovec *)&from, .msg_iovlen = 1};
    struct msghdr in = {.msg_iov = (struct iovec *)&to, .msg_iovlen = 1};
    int fds[2];

    (void)arg;
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    EXPECT_DISTURBED(IORING_OP_SEND, torc_send(fds[0], text, SIZE, 0), SIZE);
    EXPECT_DISTURBED(IORING_OP_RECV, torc_recv(fds[1], data, SIZE, 0), SIZE);
    EXPECT_DISTURBED(IORING_OP_SENDMSG, torc_sendmsg(fds[0], &out, 0), SIZE);
    EXPECT_DISTURBED(IORING_OP_RECVMSG, torc_recvmsg(fds[1], &in, 0), SIZE);
    EXPECT_DISTURBED(IORING_OP_SEND_ZC, torc_send_zc(fds[0], text, SIZE, 0), SIZE);
    EXPECT_DISTURBED(IORING_OP_SENDMSG_ZC, torc_sendmsg_zc(fds[0], &out, 0), SIZE);
    EXPECT_INT(torc_recv_all(fds[1], data, SIZE, NULL), ==, 0);
    EXPECT_INT(torc_recv_all(fds[1], data, SIZE, NULL), ==, 0);
    EXPECT_INT(torc_recv(fds[1], data, SIZE, MSG_DONTWAIT), ==, -EAGAIN);
    EXPECT_INT(torc_close(fds[0]), ==, 0);
    return torc_close(fds[1]);
}

TEST(what_a_socket_sends_and_receives_is_exact_although_it_is_disturbed)
{
    run_calmly(disturb_sockets);
}

/* A connection to a listener of this host. */
static int dial(int listener)
{
    struct torc_address address;
    int fd;

    EXPECT_INT(torc_local_address(listener, &address), ==, 0);
    fd = torc_tcp_connect(&address, 1, NULL);
    EXPECT_INT(fd, >=, 0);
    return fd;
}

static int disturb_accepts(void *arg)
{
    struct torc_listener listener;
    struct torc_address address;
    int client;
    int server = -1;

    (void)arg;
    EXPECT_INT(torc_address_parse("127.0.0.1:0", &address), ==, 0);
    EXPECT_INT(torc_listener_open(&listener, &address, NULL), ==, 0);
    client = dial(torc_listener_fd(&listener));
    EXPECT_DISTURBED(IORING_OP_ACCEPT,
                     (server = torc_accept(torc_listener_fd(&listener), NULL)) >= 0, 1);
    EXPECT_INT(torc_close(client), ==, 0);
    EXPECT_INT(torc_close(server), ==, 0);
    client = dial(torc_listener_fd(&listener));
    EXPECT_DISTURBED(IORING_OP_ACCEPT, (server = torc_listener_accept(&listener, NULL)) >= 0, 1);
    EXPECT_INT(torc_close(client), ==, 0);
    EXPECT_INT(torc_close(server), ==, 0);
    return torc_listener_close(&listener);
}

TEST(connections_are_accepted_although_the_accept_is_disturbed)
{
    run_calmly(disturb_accepts);
}

static int disturb_datagrams(void *arg)
{
    struct torc_datagram datagram;
    struct torc_datagram_feed feed;
    struct torc_address address;
    int fd;

    (void)arg;
    EXPECT_INT(torc_address_parse("127.0.0.1:0", &address), ==, 0);
    fd = torc_udp_open(&address, NULL);
    EXPECT_INT(torc_local_address(fd, &address), ==, 0);
    EXPECT_INT(torc_datagram_feed_open(&feed, fd, NULL), ==, 0);
    EXPECT_INT(torc_sendto(fd, text, SIZE, 0, &address), ==, SIZE);
    EXPECT_DISTURBED(IORING_OP_RECVMSG, torc_datagram_feed_take(&feed, &datagram, 1), 1);
    EXPECT_UINT(datagram.length, ==, SIZE);
    torc_datagram_feed_close(&feed);
    return torc_close(fd);
}

TEST(a_feed_of_datagrams_goes_on_although_it_is_disturbed)
{
    run_calmly(disturb_datagrams);
}

/* ---- Streams ---- */

/* Pass the text through both streams, so many times. */
static void pass_text(struct torc_stream *to, struct torc_stream *from, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        char data[SIZE];

        EXPECT_INT(torc_stream_write(to, text, SIZE, NULL), ==, 0);
        EXPECT_INT(torc_stream_read_all(from, data, SIZE, NULL), ==, 0);
        EXPECT_MEM(data, text, SIZE);
    }
}

static void open_streams(struct torc_stream streams[2])
{
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    torc_stream_open(&streams[0], fds[0]);
    torc_stream_open(&streams[1], fds[1]);
}

static int close_streams(struct torc_stream streams[2])
{
    EXPECT_INT(torc_stream_close(&streams[0]), ==, 0);
    return torc_stream_close(&streams[1]);
}

static int disturb_streams(void *arg)
{
    struct torc_stream streams[2];

    (void)arg;
    open_streams(streams);
    fail(IORING_OP_SEND, -EINTR, 2);
    fail(IORING_OP_RECV, -EINTR, 2);
    pass_text(&streams[0], &streams[1], 3);
    return close_streams(streams);
}

TEST(streams_go_on_although_they_are_disturbed)
{
    run_calmly(disturb_streams);
}

static int starve_streams(void *arg)
{
    static const int errors[] = {-ENOMEM, -ENOBUFS};
    struct torc_stream streams[2];

    (void)arg;
    open_streams(streams);
    for (unsigned i = 0; i < 2; i++) {
        fail(IORING_OP_RECV, errors[i], 1);
        pass_text(&streams[0], &streams[1], 1);
        fail(IORING_OP_RECV, errors[i], UINT64_MAX); /* However long it lasts, */
        pass_text(&streams[0], &streams[1], 40);     /* the stream reads by itself. */
        torc_sim_fail_none(torc_sim_host_self());
        pass_text(&streams[0], &streams[1], 40);
    }
    return close_streams(streams);
}

TEST(want_of_memory_for_a_feed_does_not_end_the_stream)
{
    run_calmly(starve_streams);
}

static int starve_pipe(void *arg)
{
    struct torc_stream input;
    const void *data;
    int fds[2];

    (void)arg;
    EXPECT_INT(torc_pipe(fds, 0), ==, 0);
    torc_stream_open(&input, fds[0]);
    EXPECT_INT(torc_write(fds[1], text, SIZE), ==, SIZE);
    fail(IORING_OP_READ, -ENOMEM, 1);
    EXPECT_INT(torc_stream_peek(&input, &data), ==, -ENOMEM); /* Who waits is told, */
    EXPECT_INT(torc_stream_peek(&input, &data), ==, SIZE);    /* and may read again. */
    fail(IORING_OP_READ, -EIO, 1);
    torc_stream_consume(&input, SIZE);
    EXPECT_INT(torc_write(fds[1], text, SIZE), ==, SIZE);
    EXPECT_INT(torc_stream_peek(&input, &data), ==, -EIO); /* Others stay. */
    EXPECT_INT(torc_stream_peek(&input, &data), ==, -EIO);
    EXPECT_INT(torc_close(fds[1]), ==, 0);
    return torc_stream_close(&input);
}

TEST(a_stream_that_finds_no_memory_tells_it_and_can_be_read_again)
{
    run_calmly(starve_pipe);
}

/* The text, once, and then nothing (-EAGAIN) or the end (0). */
static void expect_text(int fd, int then)
{
    char data[SIZE];

    EXPECT_INT(torc_recv_all(fd, data, SIZE, NULL), ==, 0);
    EXPECT_MEM(data, text, SIZE);
    EXPECT_INT(torc_recv(fd, data, SIZE, MSG_DONTWAIT), ==, then);
}

static int starve_output(void *arg)
{
    static const int errors[] = {-ENOMEM, -ENOBUFS};
    struct torc_stream output;
    struct torc_stats before;
    struct torc_stats after;
    struct torc_scope scope;
    int fds[2];

    (void)arg;
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    torc_stream_open(&output, fds[0]);
    for (unsigned i = 0; i < 2; i++) {
        fail(IORING_OP_SEND, errors[i], UINT64_MAX);
        torc_stats(&before);
        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, TORC_SECOND);
        EXPECT_INT(torc_stream_write(&output, text, SIZE, NULL), ==, 0);
        EXPECT_INT(torc_stream_flush(&output), ==, -ETIME); /* It waits, */
        EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
        torc_stats(&after);
        EXPECT_UINT(after.ops - before.ops, >, 10);   /* and tries again, */
        EXPECT_UINT(after.ops - before.ops, <, 1000); /* but not all the time, */
        torc_sim_fail_none(torc_sim_host_self());
        expect_text(fds[1], -EAGAIN); /* and sends it once. */
    }
    EXPECT_INT(torc_stream_close(&output), ==, 0);
    return torc_close(fds[1]);
}

TEST(what_was_collected_leaves_although_there_was_no_memory_for_a_while)
{
    run_calmly(starve_output);
}

static int starve_large_output(void *arg)
{
    static char large[4096];
    static char data[sizeof(large)];
    struct torc_stream output;
    int fds[2];

    (void)arg;
    memset(large, 'x', sizeof(large));
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    torc_stream_open(&output, fds[0]);
    fail(IORING_OP_SEND, -ENOBUFS, 3);
    EXPECT_INT(torc_stream_write(&output, large, sizeof(large), NULL), ==, 0);
    EXPECT_INT(torc_recv_all(fds[1], data, sizeof(data), NULL), ==, 0);
    EXPECT_MEM(data, large, sizeof(large));
    fail(IORING_OP_SENDMSG, -ENOMEM, 3);
    EXPECT_INT(torc_stream_write(&output, text, SIZE, NULL), ==,
               0); /* It is sent with the other. */
    EXPECT_INT(torc_stream_write(&output, large, sizeof(large), NULL), ==, 0);
    EXPECT_INT(torc_recv_all(fds[1], data, SIZE, NULL), ==, 0);
    EXPECT_MEM(data, text, SIZE);
    EXPECT_INT(torc_recv_all(fds[1], data, sizeof(data), NULL), ==, 0);
    EXPECT_MEM(data, large, sizeof(large));
    EXPECT_INT(torc_stream_close(&output), ==, 0);
    return torc_close(fds[1]);
}

TEST(what_is_written_at_once_leaves_although_there_was_no_memory_for_a_while)
{
    run_calmly(starve_large_output);
}

static int fail_large_send(void *arg)
{
    static char large[65536];
    struct torc_stream output;
    int fds[2];

    (void)arg;
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    fail(IORING_OP_SEND, -EPIPE, 1);
    EXPECT_INT(torc_send(fds[0], large, sizeof(large), 0), ==, -EPIPE);
    torc_stream_open(&output, fds[0]);
    fail(IORING_OP_SEND, -ECONNRESET, 1);
    EXPECT_INT(torc_stream_write(&output, large, sizeof(large), NULL), ==, -ECONNRESET);
    (void)torc_stream_close(&output);
    return torc_close(fds[1]);
}

TEST(what_is_planned_for_sends_happens_to_large_ones_too)
{
    run_calmly(fail_large_send);
}

static int starve_end(void *arg)
{
    struct torc_stream streams[3];
    struct torc_scope scope;
    int fds[3][2];

    (void)arg;
    for (unsigned i = 0; i < 3; i++) {
        EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds[i]), ==, 0);
        torc_stream_open(&streams[i], fds[i][0]);
        EXPECT_INT(torc_stream_write(&streams[i], text, SIZE, NULL), ==, 0);
    }
    fail(IORING_OP_SEND, -ENOMEM, 3 * 3);
    EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_stream_close(&streams[1]), ==, -ECANCELED); /* This one does not wait. */
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(torc_stream_close(&streams[0]), ==, 0);
    EXPECT_INT(torc_stream_close(&streams[2]), ==, 0);
    expect_text(fds[0][1], 0);
    expect_text(fds[2][1], 0);
    for (unsigned i = 0; i < 3; i++)
        EXPECT_INT(torc_close(fds[i][1]), ==, 0);
    return 0;
}

static int starve_one_after_another(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 5; i++) {
        struct torc_stream output;
        struct torc_scope scope;
        int fds[2];

        EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
        torc_stream_open(&output, fds[0]);
        fail(IORING_OP_SEND, -ENOMEM, 1);
        EXPECT_INT(torc_stream_write(&output, text, SIZE, NULL), ==, 0);
        EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
        torc_scope_open(&scope, 0);
        if (i < 4)
            torc_scope_cancel(&scope);
        EXPECT_INT(torc_stream_close(&output), ==, i < 4 ? -ECANCELED : 0);
        EXPECT_INT(torc_scope_close(&scope), ==, i < 4 ? -ECANCELED : 0);
        if (i == 4)
            expect_text(fds[1], 0);
        EXPECT_INT(torc_close(fds[1]), ==, 0);
    }
    return 0;
}

TEST(a_stream_starves_soon_after_another_that_was_closed_meanwhile)
{
    run_calmly(starve_one_after_another);
}

TEST(a_stream_whose_output_finds_no_memory_is_closed_when_it_has_left_or_the_scope_ends)
{
    run_calmly(starve_end);
}

static ssize_t write_scarcely(void *context, const struct iovec *vector, int count)
{
    unsigned *left = context;

    (void)count;
    if (*left > 0) {
        --*left;
        return -ENOMEM;
    }
    EXPECT_UINT(vector[0].iov_len, ==, SIZE);
    EXPECT_MEM(vector[0].iov_base, text, SIZE);
    return SIZE;
}

static int starve_transport(void *arg)
{
    static const struct torc_transport transport = {.writev = write_scarcely};
    struct torc_stream output;
    unsigned left = 2;

    (void)arg;
    torc_stream_open_transport(&output, &transport, &left);
    EXPECT_INT(torc_stream_write(&output, text, SIZE, NULL), ==, 0);
    EXPECT_INT(torc_stream_flush(&output), ==, 0);
    EXPECT_UINT(left, ==, 0);
    return torc_stream_close(&output);
}

TEST(a_transport_without_memory_is_asked_again)
{
    run_calmly(starve_transport);
}

/* ---- What ends all the same ---- */

static int disturb_datagrams_for_ever(void *arg)
{
    struct torc_datagram datagram;
    struct torc_datagram_feed feed;
    struct torc_address address;
    struct torc_scope scope;
    int fd;

    (void)arg;
    EXPECT_INT(torc_address_parse("127.0.0.1:0", &address), ==, 0);
    fd = torc_udp_open(&address, NULL);
    EXPECT_INT(torc_datagram_feed_open(&feed, fd, NULL), ==, 0);
    fail(IORING_OP_RECVMSG, -EINTR, UINT64_MAX);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND); /* It comes while the fiber does not wait. */
    EXPECT_INT(torc_datagram_feed_take(&feed, &datagram, 1), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    torc_datagram_feed_close(&feed);
    return torc_close(fd);
}

TEST(a_deadline_ends_a_feed_of_datagrams_that_is_disturbed_again_and_again)
{
    run_calmly(disturb_datagrams_for_ever);
}

static int disturb_for_ever(void *arg)
{
    struct torc_stream streams[2];
    struct torc_scope scope;
    const void *data;
    char byte;
    int fds[2];

    (void)arg;
    EXPECT_INT(torc_pipe(fds, 0), ==, 0);
    open_streams(streams);
    fail(IORING_OP_READ, -EINTR, UINT64_MAX);
    fail(IORING_OP_RECV, -EINTR, UINT64_MAX);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_read(fds[0], &byte, 1), ==, -ETIME);
    EXPECT_INT(torc_stream_peek(&streams[0], &data), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_INT(torc_close(fds[0]), ==, 0);
    EXPECT_INT(torc_close(fds[1]), ==, 0);
    return close_streams(streams);
}

TEST(a_deadline_ends_what_is_disturbed_again_and_again)
{
    run_calmly(disturb_for_ever);
}

static int prepare_by_oneself(void *arg)
{
    struct torc_op op;
    char byte;
    int fds[2];

    (void)arg;
    EXPECT_INT(torc_pipe(fds, 0), ==, 0);
    fail(IORING_OP_READ, -EINTR, 1);
    io_uring_prep_read(torc_op_prepare(&op), fds[0], &byte, 1, 0);
    EXPECT_INT(torc_op_wait(&op), ==, -EINTR);
    EXPECT_INT(torc_close(fds[0]), ==, 0);
    return torc_close(fds[1]);
}

TEST(who_prepares_an_operation_himself_is_told_that_it_was_disturbed)
{
    run_calmly(prepare_by_oneself);
}

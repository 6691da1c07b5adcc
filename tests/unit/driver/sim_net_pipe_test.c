/* SPDX-License-Identifier: MIT */
/*
 * sim_net_pipe_test.c - pipes, what is spliced through them, and eventfds, as models.
 */
#include "unit/driver/sim_net_rig.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

static ssize_t put(struct sim_file *file, const void *data, size_t length)
{
    const struct iovec vector = {(void *)(uintptr_t)data, length};

    return file->ops->write(file, &vector, 1, -1, 0);
}

static ssize_t take(struct sim_file *file, void *data, size_t length)
{
    const struct iovec vector = {data, length};

    return file->ops->read(file, &vector, 1, -1, 0);
}

static void open_pipe(struct rig *rig, struct sim_file *ret_files[2])
{
    EXPECT_INT(torc__sim_pipe_open(rig->hosts[0], O_CLOEXEC, ret_files), ==, 0);
}

/* ---- Pipes ---- */

RIG_TEST(a_pipe_goes_one_way_until_its_writer_has_gone)
{
    struct sim_file *ends[2];
    char data[8];
    int unread;

    open_pipe(rig, ends);
    EXPECT_UINT(torc__sim_file_poll(ends[0]), ==, 0);
    EXPECT_UINT(torc__sim_file_poll(ends[1]), ==, POLLOUT | POLLWRNORM);
    EXPECT_INT(take(ends[0], data, sizeof(data)), ==, -EAGAIN);
    EXPECT_INT(put(ends[0], "x", 1), ==, -EBADF);
    EXPECT_INT(take(ends[1], data, 1), ==, -EBADF);
    EXPECT_INT(put(ends[1], "abcdef", 6), ==, 6);
    EXPECT_INT(ends[0]->ops->ioctl(ends[0], FIONREAD, &unread), ==, 0);
    EXPECT_INT(unread, ==, 6);
    EXPECT_UINT(torc__sim_file_poll(ends[0]), ==, POLLIN | POLLRDNORM);
    torc__sim_file_release(ends[1]);
    EXPECT_INT(take(ends[0], data, 4), ==, 4);
    EXPECT_UINT(torc__sim_file_poll(ends[0]), ==, POLLIN | POLLRDNORM | POLLHUP);
    EXPECT_INT(take(ends[0], data, 4), ==, 2);
    EXPECT_MEM(data, "efcd", 4);
    EXPECT_INT(take(ends[0], data, 4), ==, 0);
    torc__sim_file_release(ends[0]);
}

RIG_TEST(a_pipe_without_a_reader_is_broken)
{
    struct sim_file *ends[2];

    open_pipe(rig, ends);
    torc__sim_file_release(ends[0]);
    EXPECT_INT(put(ends[1], "x", 1), ==, -EPIPE);
    EXPECT_UINT(torc__sim_file_poll(ends[1]) & POLLERR, ==, POLLERR);
    torc__sim_file_release(ends[1]);
}

RIG_TEST(what_is_no_larger_than_pipe_buf_goes_in_whole_or_not_at_all)
{
    static char data[100000];
    struct sim_file *ends[2];

    open_pipe(rig, ends);
    EXPECT_INT(put(ends[1], data, sizeof(data)), ==, 65536);
    EXPECT_INT(put(ends[1], data, 1), ==, -EAGAIN);
    EXPECT_INT(take(ends[0], data, 100), ==, 100);
    EXPECT_UINT(torc__sim_file_poll(ends[1]), ==, 0);
    EXPECT_INT(put(ends[1], data, 101), ==, -EAGAIN);
    EXPECT_INT(put(ends[1], data, PIPE_BUF), ==, -EAGAIN);
    EXPECT_INT(put(ends[1], data, PIPE_BUF + 1), ==, 100);
    EXPECT_INT(take(ends[0], data, PIPE_BUF), ==, PIPE_BUF);
    EXPECT_UINT(torc__sim_file_poll(ends[1]), ==, POLLOUT | POLLWRNORM);
    rig_close_pair(ends);
}

static int set_size(struct sim_file *file, int size)
{
    return file->ops->ioctl(file, F_SETPIPE_SZ, &size);
}

RIG_TEST(a_pipe_can_be_made_larger_but_not_smaller_than_what_is_in_it)
{
    static char data[65536];
    struct sim_file *ends[2];

    open_pipe(rig, ends);
    EXPECT_INT(ends[0]->ops->ioctl(ends[0], F_GETPIPE_SZ, NULL), ==, 65536);
    EXPECT_INT(set_size(ends[0], 5000), ==, 8192);
    EXPECT_INT(set_size(ends[1], 0), ==, -EINVAL);
    EXPECT_INT(set_size(ends[1], -1), ==, -EINVAL);
    EXPECT_INT(set_size(ends[1], 2 << 20), ==, -EPERM);
    EXPECT_INT(put(ends[1], data, sizeof(data)), ==, 8192);
    EXPECT_INT(set_size(ends[0], 4096), ==, -EBUSY);
    EXPECT_INT(set_size(ends[0], 200000), ==, 262144);
    EXPECT_INT(ends[1]->ops->ioctl(ends[1], F_GETPIPE_SZ, NULL), ==, 262144);
    EXPECT_INT(put(ends[1], data, sizeof(data)), ==, sizeof(data));
    rig_close_pair(ends);
}

/* ---- Splices ---- */

static ssize_t splice_files(struct sim_file *in, struct sim_file *out, size_t size)
{
    off_t none[2] = {-1, -1};

    return torc__sim_splice(in, &none[0], out, &none[1], size, 0);
}

RIG_TEST(a_splice_moves_and_a_tee_copies)
{
    struct sim_file *from[2];
    struct sim_file *to[2];
    char data[8];

    open_pipe(rig, from);
    open_pipe(rig, to);
    EXPECT_INT(splice_files(from[0], to[1], 10), ==, -EAGAIN);
    EXPECT_INT(put(from[1], "abc", 3), ==, 3);
    EXPECT_INT(torc__sim_tee(from[0], to[1], 2, 0), ==, 2);
    EXPECT_INT(splice_files(from[0], to[1], 10), ==, 3);
    EXPECT_INT(take(to[0], data, sizeof(data)), ==, 5);
    EXPECT_MEM(data, "ababc", 5);
    EXPECT_INT(torc__sim_tee(from[0], to[1], 2, 0), ==, -EAGAIN);
    torc__sim_file_release(from[1]);
    EXPECT_INT(torc__sim_tee(from[0], to[1], 2, 0), ==, 0);
    EXPECT_INT(splice_files(from[0], to[1], 10), ==, 0);
    torc__sim_file_release(from[0]);
    rig_close_pair(to);
}

RIG_TEST(what_cannot_be_spliced_gives_the_errors_of_the_system_call)
{
    off_t offset = 5;
    off_t none = -1;
    struct sim_file *sockets[2];
    struct sim_file *ends[2];

    open_pipe(rig, ends);
    rig_pair(rig, 0, 0, sockets);
    EXPECT_INT(splice_files(sockets[0], sockets[1], 10), ==, -EINVAL);
    EXPECT_INT(splice_files(ends[0], ends[1], 10), ==, -EINVAL);
    EXPECT_INT(splice_files(ends[1], sockets[0], 10), ==, -EBADF);
    EXPECT_INT(splice_files(sockets[0], ends[0], 10), ==, -EBADF);
    EXPECT_INT(torc__sim_splice(ends[0], &offset, sockets[0], &none, 10, 0), ==, -ESPIPE);
    EXPECT_INT(torc__sim_tee(sockets[0], ends[1], 10, 0), ==, -EINVAL);
    EXPECT_INT(torc__sim_tee(ends[0], ends[1], 10, 0), ==, -EINVAL);
    torc__sim_file_release(ends[0]);
    EXPECT_INT(splice_files(sockets[0], ends[1], 10), ==, -EPIPE);
    torc__sim_file_release(ends[1]);
    rig_close_pair(sockets);
}

RIG_TEST(bytes_go_from_socket_to_socket_through_a_pipe)
{
    static char data[300000];
    struct sim_file *in[2];
    struct sim_file *out[2];
    struct sim_file *ends[2];
    size_t received = 0;
    size_t sent = 0;
    ssize_t count;

    rig_pair(rig, 0, 1, in);
    rig_pair(rig, 1, 2, out);
    EXPECT_INT(torc__sim_pipe_open(rig->hosts[1], 0, ends), ==, 0);
    while (received < sizeof(data)) {
        char part[5000];

        count = rig_send(in[0], data, sizeof(data) - sent);
        sent += count > 0 ? (size_t)count : 0;
        (void)splice_files(in[1], ends[1], 70000);
        (void)splice_files(ends[0], out[0], 70000);
        count = rig_recv(out[1], part, sizeof(part), 0);
        EXPECT(count > 0 || count == -EAGAIN);
        received += count > 0 ? (size_t)count : 0;
        (void)torc__sim_step(rig->world, UINT64_MAX);
    }
    EXPECT_UINT(received, ==, sizeof(data));
    rig_close_pair(in);
    rig_close_pair(out);
    rig_close_pair(ends);
}

/* ---- Eventfds ---- */

RIG_TEST(an_eventfd_adds_up_until_it_is_read)
{
    uint64_t number = 3;
    struct sim_file *file;

    EXPECT_INT(torc__sim_eventfd_open(rig->hosts[0], 0, 1 << 20, &file), ==, -EINVAL);
    EXPECT_INT(torc__sim_eventfd_open(rig->hosts[0], 2, EFD_CLOEXEC, &file), ==, 0);
    EXPECT_UINT(torc__sim_file_poll(file), ==, POLLIN | POLLOUT);
    EXPECT_INT(put(file, &number, sizeof(number)), ==, sizeof(number));
    EXPECT_INT(put(file, &number, 7), ==, -EINVAL);
    EXPECT_INT(take(file, &number, 7), ==, -EINVAL);
    EXPECT_INT(take(file, &number, sizeof(number)), ==, sizeof(number));
    EXPECT_UINT(number, ==, 5);
    EXPECT_INT(take(file, &number, sizeof(number)), ==, -EAGAIN);
    EXPECT_UINT(torc__sim_file_poll(file), ==, POLLOUT);
    number = UINT64_MAX;
    EXPECT_INT(put(file, &number, sizeof(number)), ==, -EINVAL);
    number = UINT64_MAX - 1;
    EXPECT_INT(put(file, &number, sizeof(number)), ==, sizeof(number));
    EXPECT_UINT(torc__sim_file_poll(file), ==, POLLIN);
    number = 1;
    EXPECT_INT(put(file, &number, sizeof(number)), ==, -EAGAIN);
    torc__sim_file_release(file);
}

RIG_TEST(an_eventfd_that_is_a_semaphore_gives_one_at_a_time)
{
    uint64_t number = 0;
    struct sim_file *file;

    EXPECT_INT(torc__sim_eventfd_open(rig->hosts[0], 2, EFD_SEMAPHORE, &file), ==, 0);
    for (int i = 0; i < 2; i++) {
        EXPECT_INT(take(file, &number, sizeof(number)), ==, sizeof(number));
        EXPECT_UINT(number, ==, 1);
    }
    EXPECT_INT(take(file, &number, sizeof(number)), ==, -EAGAIN);
    torc__sim_file_release(file);
}

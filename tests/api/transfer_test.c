/* SPDX-License-Identifier: MIT */
/*
 * transfer_test.c - bytes through descriptors: short transfers, odd vectors, large lengths.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <torc/torc.h>
#include <unistd.h>

#define TOTAL 200000

static char out[TOTAL];
static char in[TOTAL];

/* Cuts `size` bytes at `data` into pieces of 0 to `piece_max` bytes; returns how many. */
static int cut(struct iovec *vector, int room, char *data, size_t size, uint32_t piece_max)
{
    int count = 0;

    while (size > 0) {
        size_t piece = harness_random_below(4) ? harness_random_below(piece_max + 1) : 0;

        if (piece > size || count == room - 1)
            piece = size;
        EXPECT_INT(count, <, room);
        vector[count++] = (struct iovec){data, piece};
        data += piece;
        size -= piece;
    }
    return count;
}

#define PIECES_MAX 8000 /* More than IOV_MAX. */

struct side {
    int fd;
    uint32_t piece_max; /* 0: no vector */
    bool by_socket;     /* torc_send_all(), not torc_write_all() */
};

static struct iovec out_vector[PIECES_MAX];
static struct iovec in_vector[PIECES_MAX];

static int write_side(void *arg)
{
    const struct side *side = arg;
    size_t done = 0;

    if (side->piece_max > 0) {
        const int count = cut(out_vector, PIECES_MAX, out, TOTAL, side->piece_max);
        struct iovec copy[8];

        memcpy(copy, out_vector, sizeof(copy));
        EXPECT_INT(torc_writev_all(side->fd, out_vector, count, &done), ==, 0);
        EXPECT_MEM(copy, out_vector, sizeof(copy)); /* The caller's vector is not touched. */
    } else if (side->by_socket) {
        EXPECT_INT(torc_send_all(side->fd, out, TOTAL, &done), ==, 0);
    } else {
        EXPECT_INT(torc_write_all(side->fd, out, TOTAL, &done), ==, 0);
    }
    EXPECT_UINT(done, ==, TOTAL);
    return 0;
}

static int read_side(void *arg)
{
    const struct side *side = arg;
    size_t done = 0;

    if (side->piece_max > 0) {
        const int count = cut(in_vector, PIECES_MAX, in, TOTAL, side->piece_max);

        EXPECT_INT(torc_readv_all(side->fd, in_vector, count, &done), ==, 0);
    } else if (side->by_socket) {
        EXPECT_INT(torc_recv_all(side->fd, in, TOTAL, &done), ==, 0);
    } else {
        EXPECT_INT(torc_read_all(side->fd, in, TOTAL, &done), ==, 0);
    }
    EXPECT_UINT(done, ==, TOTAL);
    return 0;
}

static void transfer(int from, int to, uint32_t out_pieces, uint32_t in_pieces)
{
    struct torc_scope scope;
    struct side writer = {from, out_pieces, harness_random_below(2) == 0};
    struct side reader = {to, in_pieces, harness_random_below(2) == 0};

    harness_pattern_fill(out, TOTAL, 0);
    memset(in, 0, TOTAL);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, write_side, &writer);
    harness_spawn(&scope, read_side, &reader);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_pattern_check(in, TOTAL, 0);
}

static void transfer_in_all_shapes(int from, int to)
{
    static const uint32_t pieces[] = {0, 60, 1000, 50000};

    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 4; j++)
            transfer(from, to, pieces[i], pieces[j]);
    }
}

FIBER_TEST(all_bytes_move_through_large_socket_buffers_whatever_the_vectors)
{
    int fds[2];

    harness_tcp_pair(fds);
    transfer_in_all_shapes(fds[0], fds[1]);
    harness_close_pair(fds);
}

FIBER_TEST(all_bytes_move_through_tiny_socket_buffers_whatever_the_vectors)
{
    int fds[2];

    harness_unix_pair(fds);
    EXPECT_INT(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)), ==, 0);
    transfer_in_all_shapes(fds[0], fds[1]);
    harness_close_pair(fds);
}

FIBER_TEST(all_bytes_move_through_a_tight_tcp_connection)
{
    int fds[2];

    harness_tight_pair(fds);
    transfer(fds[0], fds[1], 60, 1000);
    harness_close_pair(fds);
}

static int pipe_writer(void *arg)
{
    const int fd = *(const int *)arg;
    const int count = cut(out_vector, PIECES_MAX, out, TOTAL, 60);
    size_t done;

    EXPECT_INT(torc_writev_all(fd, out_vector, count, &done), ==, 0);
    EXPECT_INT(torc_write_all(fd, out, TOTAL, &done), ==, 0);
    return 0;
}

FIBER_TEST(all_bytes_move_through_a_pipe)
{
    struct torc_scope scope;
    size_t done;
    int ends[2];
    int count;

    harness_pipe(ends);
    harness_pattern_fill(out, TOTAL, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, pipe_writer, &ends[1]);
    EXPECT_INT(torc_read_all(ends[0], in, TOTAL, &done), ==, 0);
    harness_pattern_check(in, TOTAL, 0);
    count = cut(in_vector, PIECES_MAX, in, TOTAL, 1000);
    EXPECT_INT(torc_readv_all(ends[0], in_vector, count, &done), ==, 0);
    harness_pattern_check(in, TOTAL, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(ends);
}

FIBER_TEST(empty_vectors_and_empty_buffers_are_done_at_once)
{
    const struct iovec empty[3] = {{in, 0}, {NULL, 0}, {in, 0}};
    size_t done;
    int fds[2];

    harness_tcp_pair(fds);
    done = 9;
    EXPECT_INT(torc_readv_all(fds[0], NULL, 0, &done), ==, 0);
    EXPECT_UINT(done, ==, 0);
    done = 9;
    EXPECT_INT(torc_writev_all(fds[0], empty, 3, &done), ==, 0);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc_readv_all(fds[0], empty, 3, NULL), ==, 0);
    EXPECT_INT(torc_recv_all(fds[0], in, 0, NULL), ==, 0);
    EXPECT_INT(torc_send_all(fds[0], out, 0, NULL), ==, 0);
    EXPECT_INT(torc_read_all(fds[0], in, 0, NULL), ==, 0);
    EXPECT_INT(torc_write_all(fds[0], out, 0, NULL), ==, 0);
    EXPECT_INT(torc_readv_all(fds[0], NULL, -1, NULL), ==, -EINVAL);
    harness_close_pair(fds);
}

FIBER_TEST(the_end_of_the_input_before_the_last_byte_is_enodata_and_tells_how_much_came)
{
    const struct iovec vector[2] = {{in, 2}, {in + 2, 98}};
    size_t done = 0;
    int fds[2];
    int ends[2];

    harness_tcp_pair(fds);
    harness_put(fds[1], "abc", 3);
    shutdown(fds[1], SHUT_WR);
    EXPECT_INT(torc_recv_all(fds[0], in, 100, &done), ==, -ENODATA);
    EXPECT_UINT(done, ==, 3);
    EXPECT_INT(torc_recv_all(fds[0], in, 1, &done), ==, -ENODATA);
    EXPECT_UINT(done, ==, 0);
    harness_close_pair(fds);

    harness_pipe(ends);
    harness_put(ends[1], "defg", 4);
    close(ends[1]);
    EXPECT_INT(torc_readv_all(ends[0], vector, 2, &done), ==, -ENODATA);
    EXPECT_UINT(done, ==, 4);
    EXPECT_MEM(in, "defg", 4);
    EXPECT_INT(torc_read_all(ends[0], in, 1, NULL), ==, -ENODATA);
    close(ends[0]);
}

FIBER_TEST(more_vectors_than_the_kernel_takes_are_an_error_of_the_single_call)
{
    int fds[2];

    harness_unix_pair(fds);
    for (int i = 0; i < PIECES_MAX; i++)
        out_vector[i] = (struct iovec){out, 1};
    EXPECT_INT(torc_writev(fds[0], out_vector, IOV_MAX), ==, IOV_MAX);
    EXPECT_INT(torc_writev(fds[0], out_vector, IOV_MAX + 1), ==, -EINVAL);
    EXPECT_INT(torc_readv(fds[1], out_vector, IOV_MAX + 1), ==, -EINVAL);
    EXPECT_INT(torc_readv(fds[1], out_vector, IOV_MAX), ==, IOV_MAX);
    harness_close_pair(fds);
}

/* ---- Large lengths ---- */

#define FIVE_GIB ((size_t)5 << 30)

FIBER_TEST(lengths_above_4_gib_are_not_cut_to_their_low_bits)
{
    char *region = mmap(NULL, FIVE_GIB, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const size_t length = ((size_t)4 << 30) + 2; /* Its low 32 bits are 2. */
    const struct iovec vector = {region, length};
    size_t done = 0;
    int fds[2];
    int file;

    EXPECT(region != MAP_FAILED);
    harness_unix_pair(fds);
    harness_put(fds[1], "abcdefgh", 8);
    EXPECT_INT(torc_recv(fds[0], region, length, 0), ==, 8);
    harness_put(fds[1], "ABCDEFGH", 8);
    EXPECT_INT(torc_read(fds[0], region + 8, length), ==, 8);
    harness_put(fds[1], "ijklmnop", 8);
    EXPECT_INT(torc_readv(fds[0], &vector, 1), ==, 8);
    EXPECT_MEM(region, "ijklmnopABCDEFGH", 16);
    harness_put(fds[1], "qrstuvwx", 8);
    shutdown(fds[1], SHUT_WR);
    EXPECT_INT(torc_recv_all(fds[0], region, length, &done), ==, -ENODATA);
    EXPECT_UINT(done, ==, 8);
    harness_close_pair(fds);

    file = memfd_create("file", MFD_CLOEXEC);
    harness_put(file, "0123456789", 10);
    EXPECT_INT(torc_pread(file, region, length, 1), ==, 9);
    EXPECT_MEM(region, "123456789", 9);
    EXPECT_INT(torc_close(file), ==, 0);
    munmap(region, FIVE_GIB);
}

#define MANY ((size_t)80 << 20)

/* A send of more than the socket buffer ever takes, straight from a mapping that is all zero. */
static int send_many(void *arg)
{
    char *region = mmap(NULL, MANY, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t done = 0;

    EXPECT(region != MAP_FAILED);
    EXPECT_INT(torc_send_all(*(const int *)arg, region, MANY, &done), ==, 0);
    EXPECT_UINT(done, ==, MANY);
    munmap(region, MANY);
    return torc_shutdown(*(const int *)arg, SHUT_WR);
}

FIBER_TEST(a_very_long_send_arrives_whole)
{
    struct torc_scope scope;
    size_t received = 0;
    ssize_t count;
    int fds[2];

    harness_tcp_pair(fds);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, send_many, &fds[0]);
    while ((count = torc_recv(fds[1], in, sizeof(in), 0)) > 0)
        received += (size_t)count;
    EXPECT_INT(count, ==, 0);
    EXPECT_UINT(received, ==, MANY);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
}

/* ---- Files and messages ---- */

FIBER_TEST(reading_and_writing_a_file_follow_its_position_or_the_offset)
{
    const int file = memfd_create("file", MFD_CLOEXEC);
    char data[8] = "";

    EXPECT_INT(torc_write(file, "0123456789", 10), ==, 10);
    EXPECT_INT(torc_write(file, "abc", 3), ==, 3);
    EXPECT_INT(torc_pwrite(file, "XY", 2, 1), ==, 2);
    EXPECT_INT(lseek(file, 0, SEEK_CUR), ==, 13);
    EXPECT_INT(torc_read(file, data, 4), ==, 0);
    EXPECT_INT(lseek(file, 0, SEEK_SET), ==, 0);
    EXPECT_INT(torc_read(file, data, 4), ==, 4);
    EXPECT_MEM(data, "0XY3", 4);
    EXPECT_INT(torc_pread(file, data, 8, 10), ==, 3);
    EXPECT_MEM(data, "abc", 3);
    EXPECT_INT(lseek(file, 0, SEEK_CUR), ==, 4);
    EXPECT_INT(torc_pread(file, data, 1, -5), ==, -EINVAL);
    EXPECT_INT(torc_close(file), ==, 0);
}

FIBER_TEST(messages_carry_ancillary_data_and_their_lengths_come_back)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    char data[16] = "message";
    struct iovec vector = {data, 8};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control.room)};
    int passed;
    int fds[2];
    int ends[2];

    harness_unix_pair(fds);
    harness_pipe(ends);
    memcpy(CMSG_DATA(&control.header), &ends[0], sizeof(int));
    EXPECT_INT(torc_sendmsg(fds[0], &message, 0), ==, 8);
    memset(&control, 0, sizeof(control));
    vector.iov_len = sizeof(data);
    EXPECT_INT(torc_recvmsg(fds[1], &message, MSG_CMSG_CLOEXEC), ==, 8);
    EXPECT_UINT(message.msg_controllen, ==, CMSG_SPACE(sizeof(int)));
    memcpy(&passed, CMSG_DATA(&control.header), sizeof(int));
    EXPECT_INT(passed, >, ends[1]);
    EXPECT_INT(torc_close(passed), ==, 0);
    harness_close_pair(fds);
    harness_close_pair(ends);
}

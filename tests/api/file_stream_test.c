/* SPDX-License-Identifier: MIT */
/*
 * file_stream_test.c - readers and writers with blocks on the way: every byte, in order, once.
 */
#include "harness/directory.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define BLOCKS_MAX 8
#define BLOCK_MAX  8192

static _Alignas(4096) char memory[BLOCKS_MAX * BLOCK_MAX];
static struct torc_file_block blocks[BLOCKS_MAX];
static char data[300000];

static struct torc_file_window window_of(unsigned count, size_t block_size)
{
    return (struct torc_file_window){blocks, count, memory, block_size};
}

static int open_file(int flags)
{
    int fd = torc_open("file", flags, 0600);

    EXPECT_INT(fd, >=, 0);
    return fd;
}

static void write_all(int fd, const struct torc_file_window *window, off_t offset, size_t size)
{
    struct torc_file_writer writer;
    size_t done = 0;

    EXPECT_INT(torc_file_writer_open(&writer, fd, offset, window), ==, 0);
    while (done < size) {
        size_t piece = harness_random_below((uint32_t)(3 * window->block_size)) + 1;

        piece = piece < size - done ? piece : size - done;
        EXPECT_INT(torc_file_writer_write(&writer, data + done, piece), ==, 0);
        memset(data + done, 'x', piece); /* It was copied. */
        done += piece;
        if (harness_random_below(8) == 0)
            EXPECT_INT(torc_file_writer_flush(&writer), ==, 0);
    }
    EXPECT_INT(torc_file_writer_close(&writer), ==, 0);
}

static void read_all(int fd, const struct torc_file_window *window, off_t offset, size_t size)
{
    struct torc_file_reader reader;
    const void *piece;
    size_t done = 0;
    ssize_t count;

    EXPECT_INT(torc_file_reader_open(&reader, fd, offset, window), ==, 0);
    while ((count = torc_file_reader_next(&reader, &piece)) > 0) {
        EXPECT_INT(count, <=, window->block_size);
        harness_pattern_check(piece, (size_t)count, done);
        done += (size_t)count;
    }
    EXPECT_INT(count, ==, 0);
    EXPECT_UINT(done, ==, size);
    EXPECT_INT(torc_file_reader_next(&reader, &piece), ==, 0);
    torc_file_reader_close(&reader);
}

FIBER_TEST(what_was_written_is_read_whatever_the_sizes)
{
    harness_enter_directory();
    for (unsigned i = 0; i < harness_scaled(100); i++) {
        const struct torc_file_window out =
            window_of(harness_random_below(BLOCKS_MAX) + 1, harness_random_below(BLOCK_MAX) + 1);
        const struct torc_file_window in =
            window_of(harness_random_below(BLOCKS_MAX) + 1, harness_random_below(BLOCK_MAX) + 1);
        const size_t size = harness_random_below((uint32_t)(10 * out.block_size));
        const off_t offset = harness_random_below(5000);
        int fd = open_file(O_RDWR | O_CREAT | O_TRUNC);

        harness_pattern_fill(data, size, 0);
        write_all(fd, &out, offset, size);
        EXPECT_INT(harness_file_size("file"), ==, size > 0 ? (off_t)size + offset : 0);
        read_all(fd, &in, offset, size);
        EXPECT_INT(torc_close(fd), ==, 0);
    }
    harness_leave_directory();
}

FIBER_TEST(files_that_end_with_a_block_or_are_empty_end_where_they_do)
{
    const struct torc_file_window window = window_of(3, 1000);

    harness_enter_directory();
    for (size_t size = 0; size <= 7000; size += 1000) {
        int fd = open_file(O_RDWR | O_CREAT | O_TRUNC);

        harness_pattern_fill(data, size, 0);
        write_all(fd, &window, 0, size);
        read_all(fd, &window, 0, size);
        EXPECT_INT(torc_close(fd), ==, 0);
    }
    harness_leave_directory();
}

FIBER_TEST(direct_readers_take_a_last_part_that_is_not_aligned)
{
    const struct torc_file_window window = window_of(4, 4096);
    const size_t size = 5 * 4096 + 123;
    int fd;

    harness_enter_directory();
    fd = open_file(O_RDWR | O_CREAT | O_TRUNC);
    harness_pattern_fill(data, size, 0);
    write_all(fd, &window, 0, size);
    EXPECT_INT(torc_fsync(fd), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
    fd = torc_open("file", O_RDONLY | O_DIRECT, 0);
    if (fd == -EINVAL) {
        harness_leave_directory();
        SKIP("the file system for temporary files has no direct I/O");
    }
    read_all(fd, &window, 0, size);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST(a_reader_may_be_closed_at_any_time)
{
    const struct torc_file_window window = window_of(4, 512);
    int fd;

    harness_enter_directory();
    fd = open_file(O_RDWR | O_CREAT | O_TRUNC);
    harness_pattern_fill(data, 5000, 0);
    write_all(fd, &window, 0, 5000);
    for (unsigned steps = 0; steps < 12; steps++) {
        struct torc_file_reader reader;
        const void *piece;

        EXPECT_INT(torc_file_reader_open(&reader, fd, 0, &window), ==, 0);
        for (unsigned i = 0; i < steps; i++)
            EXPECT_INT(torc_file_reader_next(&reader, &piece), >=, 0);
        torc_file_reader_close(&reader);
        memset(memory, 0, sizeof(memory)); /* It is ours again. */
    }
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST(the_first_error_of_a_reader_stays)
{
    const struct torc_file_window window = window_of(2, 512);
    struct torc_file_reader reader;
    const void *piece;

    EXPECT_INT(torc_file_reader_open(&reader, -1, 0, &window), ==, 0);
    EXPECT_INT(torc_file_reader_next(&reader, &piece), ==, -EBADF);
    EXPECT_INT(torc_file_reader_next(&reader, &piece), ==, -EBADF);
    torc_file_reader_close(&reader);
}

FIBER_TEST(the_first_error_of_a_writer_is_told_by_a_later_call_and_at_the_end)
{
    const struct torc_file_window window = window_of(2, 512);
    struct torc_file_writer writer;
    int fd = torc_open("/dev/full", O_WRONLY, 0);
    int result = 0;

    EXPECT_INT(torc_file_writer_open(&writer, fd, 0, &window), ==, 0);
    for (unsigned i = 0; i < 4 && result == 0; i++)
        result = torc_file_writer_write(&writer, data, 512);
    EXPECT_INT(result, ==, -ENOSPC);
    EXPECT_INT(torc_file_writer_flush(&writer), ==, -ENOSPC);
    EXPECT_INT(torc_file_writer_close(&writer), ==, -ENOSPC);
    EXPECT_INT(torc_close(fd), ==, 0);
}

FIBER_TEST(a_cancelled_scope_ends_readers_and_writers_and_gives_the_memory_back)
{
    const struct torc_file_window window = window_of(4, 512);
    struct torc_file_reader reader;
    struct torc_file_writer writer;
    struct torc_scope scope;
    const void *piece;
    ssize_t count;
    int fd;

    harness_enter_directory();
    fd = open_file(O_RDWR | O_CREAT | O_TRUNC);
    EXPECT_INT(torc_pwrite_all(fd, data, 10000, 0, NULL), ==, 0);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_file_reader_open(&reader, fd, 0, &window), ==, 0);
    do {
        count = torc_file_reader_next(&reader, &piece);
    } while (count > 0);
    EXPECT(count == -ECANCELED || count == 0); /* Reads may have been quicker, each of them. */
    torc_file_reader_close(&reader);

    EXPECT_INT(torc_file_writer_open(&writer, fd, 0, &window), ==, 0);
    EXPECT_INT(torc_file_writer_write(&writer, data, 100), ==, 0);
    count = torc_file_writer_close(&writer);
    EXPECT(count == -ECANCELED || count == 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    EXPECT_INT(torc_close(fd), ==, 0);
    harness_leave_directory();
}

FIBER_TEST(windows_that_are_none_are_refused)
{
    const struct torc_file_window wrong[] = {window_of(0, 512), window_of(2, 0),
                                             window_of(1, ((size_t)1 << 30) + 1)};
    const struct torc_file_window right = window_of(1, 1);
    struct torc_file_reader reader;
    struct torc_file_writer writer;

    for (unsigned i = 0; i < 3; i++) {
        EXPECT_INT(torc_file_reader_open(&reader, 0, 0, &wrong[i]), ==, -EINVAL);
        EXPECT_INT(torc_file_writer_open(&writer, 0, 0, &wrong[i]), ==, -EINVAL);
    }
    EXPECT_INT(torc_file_reader_open(&reader, 0, -1, &right), ==, -EINVAL);
    EXPECT_INT(torc_file_writer_open(&writer, 0, -1, &right), ==, -EINVAL);
}

/* SPDX-License-Identifier: MIT */
/*
 * transfer_test.c - moving everything: short transfers, ends and errors, beside a model of bytes.
 */
#include "harness/harness.h"
#include "io/transfer.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

#define FD 77

/* What the transfers do. Source and sink are one buffer, through which they go in order. */
static struct {
    size_t sizes[64]; /* the most that each transfer moves */
    unsigned count;
    unsigned next;
    ssize_t last; /* what comes after these: 0 or an error */
    bool random;  /* any size instead */
    unsigned char moved[1 << 16];
    size_t length;
} script;

static void script_sizes(const size_t *sizes, unsigned count, ssize_t last)
{
    memset(&script, 0, sizeof(script));
    if (count > 0)
        memcpy(script.sizes, sizes, count * sizeof(sizes[0]));
    script.count = count;
    script.last = last;
}

/* How much of `length` the next transfer moves; 0 or less if it is the last one. */
static ssize_t next_size(size_t length)
{
    size_t size;

    EXPECT_UINT(length, >, 0); /* Such a transfer would look like the end of the input. */
    if (script.random)
        return 1 + (ssize_t)harness_random_below(length > 500 ? 500 : (uint32_t)length);
    if (script.next == script.count)
        return script.last;
    size = script.sizes[script.next++];
    return (ssize_t)(size < length ? size : length);
}

static void take_bytes(const void *data, size_t size)
{
    EXPECT_UINT(script.length + size, <=, sizeof(script.moved));
    memcpy(script.moved + script.length, data, size);
    script.length += size;
}

static ssize_t move(int fd, void *buffer, size_t length)
{
    ssize_t size = next_size(length);

    EXPECT_INT(fd, ==, FD);
    if (size > 0)
        take_bytes(buffer, (size_t)size);
    return size;
}

static ssize_t move_vector(int fd, const struct iovec *vector, int count)
{
    size_t total = 0;
    ssize_t size;
    size_t left;

    EXPECT_INT(fd, ==, FD);
    EXPECT_INT(count, >, 0);
    EXPECT_INT(count, <=, IOV_MAX);
    for (int i = 0; i < count; i++)
        total += vector[i].iov_len;
    size = next_size(total);
    left = size > 0 ? (size_t)size : 0;
    for (int i = 0; left > 0; i++) {
        size_t part = vector[i].iov_len < left ? vector[i].iov_len : left;

        take_bytes(vector[i].iov_base, part);
        left -= part;
    }
    return size;
}

static unsigned char bytes[1 << 16];

static void fill_bytes(void)
{
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251);
}

/* ---- One buffer ---- */

TEST(short_transfers_add_up)
{
    const size_t sizes[] = {1, 10, 3, 86};
    size_t done = 7;

    fill_bytes();
    script_sizes(sizes, 4, -EIO);
    EXPECT_INT(torc__move_all(move, FD, bytes, 100, &done), ==, 0);
    EXPECT_UINT(done, ==, 100);
    EXPECT_UINT(script.next, ==, 4);
    EXPECT_MEM(script.moved, bytes, 100);
}

TEST(an_end_or_an_error_in_the_middle_tells_how_much_was_moved)
{
    const size_t sizes[] = {60, 5};
    const ssize_t lasts[] = {0, -ECONNRESET, -ETIME, -ECANCELED, -EAGAIN};
    const int results[] = {-ENODATA, -ECONNRESET, -ETIME, -ECANCELED, -EAGAIN};

    fill_bytes();
    for (unsigned i = 0; i < 5; i++) {
        const struct iovec vector = {bytes, 100};
        size_t done = 7;

        script_sizes(sizes, 2, lasts[i]);
        EXPECT_INT(torc__move_all(move, FD, bytes, 100, &done), ==, results[i]);
        EXPECT_UINT(done, ==, 65);
        script_sizes(sizes, 2, lasts[i]);
        EXPECT_INT(torc__move_vector(move_vector, FD, &vector, 1, &done), ==, results[i]);
        EXPECT_UINT(done, ==, 65);
        script_sizes(sizes, 0, lasts[i]);
        EXPECT_INT(torc__move_all(move, FD, bytes, 100, &done), ==, results[i]);
        EXPECT_UINT(done, ==, 0);
        EXPECT_INT(torc__move_all(move, FD, bytes, 100, NULL), ==, results[i]);
    }
}

TEST(nothing_to_move_makes_no_transfer)
{
    const struct iovec empty[3] = {{bytes, 0}, {NULL, 0}, {bytes, 0}};
    size_t done = 7;

    script_sizes(NULL, 0, -EIO);
    EXPECT_INT(torc__move_all(move, FD, NULL, 0, &done), ==, 0);
    EXPECT_UINT(done, ==, 0);
    done = 7;
    EXPECT_INT(torc__move_vector(move_vector, FD, NULL, 0, &done), ==, 0);
    EXPECT_UINT(done, ==, 0);
    done = 7;
    EXPECT_INT(torc__move_vector(move_vector, FD, empty, 3, &done), ==, 0);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc__move_vector(move_vector, FD, empty, 3, NULL), ==, 0);
}

TEST(a_negative_count_is_invalid)
{
    size_t done = 7;

    EXPECT_INT(torc__move_vector(move_vector, FD, NULL, -1, &done), ==, -EINVAL);
    EXPECT_UINT(done, ==, 0);
    EXPECT_INT(torc__move_vector(move_vector, FD, NULL, INT_MIN, NULL), ==, -EINVAL);
}

/* ---- Vectors ---- */

TEST(a_vector_of_any_shape_moves_byte_by_byte_in_order)
{
    static struct iovec vector[3000];
    static struct iovec copy[3000];
    const unsigned rounds = harness_scaled(3000);

    fill_bytes();
    for (unsigned round = 0; round < rounds; round++) {
        const int count = (int)harness_random_below(round % 10 == 0 ? 3000 : 100);
        const uint32_t largest = 1 + harness_random_below(count > 0 ? 60000 / (uint32_t)count : 1);
        size_t length = 0;
        size_t done;

        for (int i = 0; i < count; i++) {
            const size_t size = harness_random_below(3) == 0 ? 0 : harness_random_below(largest);

            vector[i] = (struct iovec){bytes + length, size};
            length += size;
        }
        memcpy(copy, vector, sizeof(vector));
        memset(&script, 0, sizeof(script));
        script.random = true;
        EXPECT_INT(torc__move_vector(move_vector, FD, vector, count, &done), ==, 0);
        EXPECT_UINT(done, ==, length);
        EXPECT_UINT(script.length, ==, length);
        EXPECT_MEM(script.moved, bytes, length);
        EXPECT_MEM(vector, copy, sizeof(vector)); /* It is the caller's, and not changed. */
    }
}

TEST(a_transfer_that_ends_between_two_entries_goes_on_with_the_next)
{
    const struct iovec vector[] = {{bytes, 10}, {bytes + 10, 0}, {bytes + 10, 20}, {bytes, 0}};
    const size_t sizes[] = {10, 20};
    size_t done;

    fill_bytes();
    script_sizes(sizes, 2, -EIO);
    EXPECT_INT(torc__move_vector(move_vector, FD, vector, 4, &done), ==, 0);
    EXPECT_UINT(done, ==, 30);
    EXPECT_MEM(script.moved, bytes, 30);
}

/* SPDX-License-Identifier: MIT */
/*
 * sim_net_queue_test.c - bytes in their order.
 */
#include "driver/sim/net_queue.h"
#include "harness/harness.h"
#include <stdlib.h>
#include <string.h>

static void fill(char *data, size_t length, size_t position)
{
    for (size_t i = 0; i < length; i++)
        data[i] = (char)((position + i) % 251);
}

TEST(bytes_come_out_as_they_went_in_however_the_ring_has_turned)
{
    struct sim_queue queue = {0};
    char expected[3000];
    char data[3000];
    size_t in = 0;
    size_t out = 0;

    for (unsigned i = 0; i < 5000; i++) {
        const size_t length = harness_random_below(sizeof(data));

        if (queue.count < 10000 && harness_random_below(2) == 0) {
            fill(data, length, in);
            torc__sim_queue_put(&queue, data, length);
            in += length;
        } else if (length <= queue.count) {
            const size_t half = length / 2;

            fill(expected, length, out);
            torc__sim_queue_copy(&queue, 0, data, half);
            torc__sim_queue_copy(&queue, half, data + half, length - half);
            EXPECT_MEM(data, expected, length);
            torc__sim_queue_drop(&queue, length);
            out += length;
        }
        EXPECT_UINT(queue.count, ==, in - out);
    }
    torc__sim_queue_clear(&queue);
    EXPECT_UINT(queue.count, ==, 0);
}

TEST(vectors_are_gone_through_piece_by_piece_empty_ones_too)
{
    char pieces[3][4] = {"abc", "de", "fgh"};
    const struct iovec vector[5] = {
        {pieces[0], 3}, {NULL, 0}, {pieces[1], 2}, {pieces[2], 3}, {NULL, 0}};
    struct sim_cursor cursor = torc__sim_cursor(vector, 5);
    struct sim_queue queue = {0};
    char data[16];

    torc__sim_queue_put_from(&queue, &cursor, 4);
    EXPECT_UINT(torc__sim_cursor_read(&cursor, data, 2), ==, 2);
    EXPECT_MEM(data, "ef", 2);
    EXPECT_UINT(torc__sim_cursor_read(&cursor, data, 9), ==, 2);
    EXPECT_UINT(torc__sim_cursor_read(&cursor, data, 9), ==, 0);
    cursor = torc__sim_cursor(vector, 5);
    EXPECT_UINT(torc__sim_cursor_write(&cursor, "1", 1), ==, 1);
    torc__sim_queue_copy_to(&queue, 0, &cursor, 4);
    EXPECT_MEM(pieces[0], "1ab", 3);
    EXPECT_MEM(pieces[1], "cd", 2);
    EXPECT_UINT(torc__sim_cursor_write(&cursor, "2345", 4), ==, 3);
    EXPECT_MEM(pieces[2], "234", 3);
    torc__sim_queue_clear(&queue);
}

/* SPDX-License-Identifier: MIT */
/*
 * buffer_test.c - bytes that are put together, and numbers as text.
 */
#include "harness/harness.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <torc/buffer.h>

/* ---- Buffers ---- */

TEST(what_is_appended_stands_in_its_order)
{
    struct torc_buffer buffer = {0};

    torc_buffer_append(&buffer, "one ", 4);
    torc_buffer_append(&buffer, NULL, 0);
    torc_buffer_printf(&buffer, "%s %d", "two", 3);
    memcpy(torc_buffer_reserve(&buffer, 5), " four", 5);
    buffer.used += 5;
    EXPECT_UINT(buffer.used, ==, 14);
    EXPECT_MEM(buffer.bytes, "one two 3 four", 14);
    EXPECT(!buffer.failed);
    torc_buffer_finish(&buffer);
}

TEST(a_buffer_grows_by_pieces_of_any_size)
{
    struct torc_buffer buffer = {0};
    char piece[700];

    for (unsigned size = 0; size < sizeof(piece); size++) {
        memset(piece, (int)('a' + size % 26), size);
        torc_buffer_append(&buffer, piece, size);
    }
    EXPECT_UINT(buffer.used, ==, 699 * 700 / 2);
    for (size_t size = 0, at = 0; size < sizeof(piece); at += size++) {
        memset(piece, (int)('a' + size % 26), size);
        EXPECT_MEM(buffer.bytes + at, piece, size);
    }
    torc_buffer_finish(&buffer);
}

TEST(a_text_is_printed_whole_however_long_it_is)
{
    struct torc_buffer buffer = {0};
    char text[2000];

    memset(text, 'x', sizeof(text));
    for (int length = 0; length < 2000; length += 37) {
        torc_buffer_reset(&buffer, 0);
        torc_buffer_printf(&buffer, "<%.*s>", length, text);
        EXPECT_UINT(buffer.used, ==, (size_t)length + 2);
        EXPECT_INT(buffer.bytes[0], ==, '<');
        EXPECT_MEM(buffer.bytes + 1, text, (size_t)length);
        EXPECT_INT(buffer.bytes[length + 1], ==, '>');
    }
    torc_buffer_finish(&buffer);
}

TEST(a_buffer_that_is_reset_keeps_its_memory_unless_it_is_large)
{
    struct torc_buffer buffer = {0};
    size_t room;

    torc_buffer_append(&buffer, "x", 1);
    room = buffer.room;
    EXPECT_UINT(room, >=, 1);
    torc_buffer_reset(&buffer, room);
    EXPECT_UINT(buffer.used, ==, 0);
    EXPECT_UINT(buffer.room, ==, room);
    torc_buffer_append(&buffer, "y", 1);
    torc_buffer_reset(&buffer, room - 1);
    EXPECT_UINT(buffer.used, ==, 0);
    EXPECT_UINT(buffer.room, ==, 0);
    EXPECT(buffer.bytes == NULL);
    torc_buffer_finish(&buffer); /* Once more does no harm. */
}

TEST(a_buffer_without_memory_has_failed_until_it_is_reset)
{
    struct torc_buffer buffer = {0};

    torc_buffer_append(&buffer, "x", 1);
    EXPECT(torc_buffer_reserve(&buffer, SIZE_MAX) == NULL);
    EXPECT(buffer.failed);
    EXPECT_UINT(buffer.used, ==, 1);
    torc_buffer_append(&buffer, "y", 1); /* There is room for that, but it stays so. */
    EXPECT(buffer.failed);
    torc_buffer_reset(&buffer, 1 << 20);
    EXPECT(!buffer.failed);
    torc_buffer_finish(&buffer);
}

/* ---- Numbers ---- */

static void expect_number(int64_t number)
{
    char text[TORC_INTEGER_TEXT_SIZE];
    char model[32];
    const size_t length = torc_integer_format(number, text);
    int64_t again = ~number;

    EXPECT_INT(length, ==, snprintf(model, sizeof(model), "%" PRId64, number));
    EXPECT_MEM(text, model, length);
    EXPECT_INT(torc_integer_parse(text, length, &again), ==, 0);
    EXPECT_INT(again, ==, number);
}

TEST(numbers_are_written_as_printf_writes_them_and_read_again)
{
    static const int64_t numbers[] = {0, 1, -1, 9, 10, -10, 99, 100, INT64_MAX, INT64_MIN};

    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        expect_number(numbers[i]);
    for (int i = 0; i < 10000; i++)
        expect_number((int64_t)harness_random() >> harness_random_below(64));
}

static void expect_error(const char *text, int error)
{
    int64_t number = 77;

    EXPECT_MSG(torc_integer_parse(text, strlen(text), &number) == error, "\"%s\"", text);
    EXPECT_INT(number, ==, 77);
}

TEST(what_is_not_written_like_a_number_is_none)
{
    static const char *const texts[] = {
        "",   "-",  "+1", " 1",  "1 ",  "01",  "-01",
        "-0", "00", "1x", "0x1", "1.5", "--1", "99999999999999999999x"};

    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_error(texts[i], -EINVAL);
    expect_error("9223372036854775808", -ERANGE);
    expect_error("-9223372036854775809", -ERANGE);
    expect_error("99999999999999999999", -ERANGE);
}

TEST(only_the_given_bytes_are_read)
{
    int64_t number;

    EXPECT_INT(torc_integer_parse("12345", 2, &number), ==, 0);
    EXPECT_INT(number, ==, 12);
    EXPECT_INT(torc_integer_parse("1\0", 2, &number), ==, -EINVAL);
}

/* SPDX-License-Identifier: MIT */
/*
 * utf8_test.c - texts that may be cut off, or be no texts at all.
 */
#include "base/utf8.h"
#include "harness/harness.h"
#include <string.h>

TEST(characters_have_their_lengths)
{
    EXPECT_UINT(torc__utf8_length("a"), ==, 1);
    EXPECT_UINT(torc__utf8_length("\xc3\xa9"), ==, 2);
    EXPECT_UINT(torc__utf8_length("\xe2\x82\xac"), ==, 3);
    EXPECT_UINT(torc__utf8_length("\xf0\x9f\x98\x80"), ==, 4);
    EXPECT_UINT(torc__utf8_length("\xf4\x8f\xbf\xbf"), ==, 4);
}

TEST(what_is_no_character_has_none)
{
    EXPECT_UINT(torc__utf8_length("\x80"), ==, 0);             /* not a beginning */
    EXPECT_UINT(torc__utf8_length("\xc3"), ==, 0);             /* cut off */
    EXPECT_UINT(torc__utf8_length("\xe2\x82"), ==, 0);         /* likewise */
    EXPECT_UINT(torc__utf8_length("\xe2\x82g"), ==, 0);        /* broken off */
    EXPECT_UINT(torc__utf8_length("\xc0\xaf"), ==, 0);         /* longer than it need be */
    EXPECT_UINT(torc__utf8_length("\xe0\x80\xaf"), ==, 0);     /* likewise */
    EXPECT_UINT(torc__utf8_length("\xed\xa0\x80"), ==, 0);     /* half of a pair of UTF-16 */
    EXPECT_UINT(torc__utf8_length("\xf4\x90\x80\x80"), ==, 0); /* beyond the last */
    EXPECT_UINT(torc__utf8_length("\xff"), ==, 0);
}

static void expect_left(const char *text, const char *left)
{
    char copy[16];

    strcpy(copy, text);
    torc__utf8_drop_part(copy, strlen(copy) + 1);
    EXPECT_STR(copy, left);
}

TEST(a_text_that_was_cut_off_ends_with_a_whole_character)
{
    expect_left("", "");
    expect_left("abc", "abc");
    expect_left("ab\xc3", "ab");
    expect_left("ab\xc3\xa9", "ab\xc3\xa9");
    expect_left("\xe2", "");
    expect_left("\xe2\x82", "");
    expect_left("a\xf0\x9f\x98", "a");
    expect_left("a\xf0\x9f\x98\x80", "a\xf0\x9f\x98\x80");
    expect_left("\x80\x80\x80\x80", "\x80\x80\x80\x80"); /* Nothing that begins. */
}

TEST(a_text_that_has_room_left_was_not_cut_off)
{
    char text[16] = "ab\xc3";

    torc__utf8_drop_part(text, sizeof(text));
    EXPECT_STR(text, "ab\xc3");
}

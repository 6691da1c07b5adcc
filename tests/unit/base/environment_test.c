/* SPDX-License-Identifier: MIT */
/*
 * environment_test.c - settings in environment variables.
 */
#include "base/environment.h"
#include "harness/harness.h"
#include "unit/driver/log_capture.h"
#include <errno.h>
#include <stdlib.h>

#define NAME "TORC_TEST_NUMBER"

static uint32_t number_of(const char *text)
{
    EXPECT_INT(setenv(NAME, text, 1), ==, 0);
    return torc__environment_number(NAME, 7, 1000);
}

TEST(a_number_in_its_range_is_taken)
{
    EXPECT_UINT(number_of("0"), ==, 0);
    EXPECT_UINT(number_of("12"), ==, 12);
    EXPECT_UINT(number_of("1000"), ==, 1000);
}

TEST(what_is_not_set_or_empty_is_the_default)
{
    EXPECT_INT(unsetenv(NAME), ==, 0);
    EXPECT_UINT(torc__environment_number(NAME, 7, 1000), ==, 7);
    EXPECT_UINT(number_of(""), ==, 7);
}

TEST(what_is_no_such_number_is_the_default)
{
    const char *const wrong[] = {"1001", "-1", "1x", "x", "99999999999999999999999"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        EXPECT_UINT(number_of(wrong[i]), ==, 7);
}

TEST(what_is_wrong_is_told_once)
{
    struct log_capture capture;

    begin_capture(&capture);
    for (int i = 0; i < 3; i++)
        (void)number_of("nonsense");
    EXPECT_UINT(end_capture(&capture, NAME ": \"nonsense\" is not a number from 0 to 1000"), ==, 1);
    begin_capture(&capture);
    (void)number_of("other");
    EXPECT_UINT(end_capture(&capture, NAME ": \"other\""), ==, 1);
}

TEST(a_word_is_one_of_those_known_and_the_first_is_the_default)
{
    static const char *const words[] = {"on", "off", NULL};
    struct log_capture capture;

    EXPECT_INT(unsetenv(NAME), ==, 0);
    EXPECT_INT(torc__environment_word(NAME, words), ==, 0);
    EXPECT_INT(setenv(NAME, "", 1), ==, 0);
    EXPECT_INT(torc__environment_word(NAME, words), ==, 0);
    EXPECT_INT(setenv(NAME, "off", 1), ==, 0);
    EXPECT_INT(torc__environment_word(NAME, words), ==, 1);
    EXPECT_INT(setenv(NAME, "of", 1), ==, 0);
    begin_capture(&capture);
    EXPECT_INT(torc__environment_word(NAME, words), ==, -EINVAL);
    EXPECT_INT(torc__environment_word(NAME, words), ==, -EINVAL);
    EXPECT_UINT(end_capture(&capture, NAME ": \"of\" is not one of on, off\n"), ==, 1);
}

TEST(errno_is_left_alone)
{
    errno = ENOTTY;
    (void)number_of("99999999999999999999999");
    EXPECT_INT(errno, ==, ENOTTY);
}

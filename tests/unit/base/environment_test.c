/* SPDX-License-Identifier: MIT */
/*
 * environment_test.c - settings in environment variables.
 */
#include "base/environment.h"
#include "harness/harness.h"
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

TEST(errno_is_left_alone)
{
    errno = ENOTTY;
    (void)number_of("99999999999999999999999");
    EXPECT_INT(errno, ==, ENOTTY);
}

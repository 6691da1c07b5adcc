/* SPDX-License-Identifier: MIT */
/*
 * error_test.c - every number has a text.
 */
#include "harness/harness.h"
#include <limits.h>
#include <torc/error.h>

TEST(errors_of_the_kernel_have_the_texts_of_the_system)
{
    EXPECT_STR(torc_strerror(-ECONNRESET), "Connection reset by peer");
    EXPECT_STR(torc_strerror(-ENOENT), "No such file or directory");
    EXPECT_STR(torc_strerror(0), "Success");
}

TEST(the_two_reasons_of_a_scope_have_texts_that_speak_of_it)
{
    EXPECT_STR(torc_strerror(-ETIME), "Deadline passed");
    EXPECT_STR(torc_strerror(-ECANCELED), "Canceled");
    EXPECT_STR(torc_strerror(-ETIMEDOUT), "Connection timed out");
}

TEST(what_is_no_error_has_a_text_too)
{
    const int unknown[] = {1, EINVAL, INT_MAX, -5000, -INT_MAX, INT_MIN};

    for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        EXPECT_STR(torc_strerror(unknown[i]), "unknown error");
    for (int i = -5000; i < 5000; i++)
        EXPECT(torc_strerror(i) != NULL);
}

TEST(errno_is_left_alone)
{
    errno = EXDEV;
    (void)torc_strerror(-EINVAL);
    (void)torc_strerror(-12345);
    EXPECT_INT(errno, ==, EXDEV);
}

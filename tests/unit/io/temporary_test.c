/* SPDX-License-Identifier: MIT */
/*
 * temporary_test.c - names that hardly anybody has.
 */
#include "harness/harness.h"
#include "io/temporary.h"
#include <string.h>

TEST(temporary_names_differ_and_are_names_of_files)
{
    char names[100][TEMPORARY_LENGTH + 1];

    for (unsigned i = 0; i < 100; i++) {
        torc__temporary_name(names[i]);
        EXPECT_UINT(strlen(names[i]), ==, TEMPORARY_LENGTH);
        EXPECT_MEM(names[i], ".torc-", 6);
        EXPECT_UINT(strspn(names[i] + 6, "0123456789abcdef"), ==, TEMPORARY_LENGTH - 6);
        for (unsigned j = 0; j < i; j++)
            EXPECT(strcmp(names[i], names[j]) != 0);
    }
}

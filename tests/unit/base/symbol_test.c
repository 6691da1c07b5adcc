/* SPDX-License-Identifier: MIT */
/*
 * symbol_test.c - names of addresses in this process's code.
 */
#include "base/symbol.h"
#include "harness/harness.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Not exported, so that only the symbol table knows it. */
static __attribute__((noinline)) int hidden_function(int value)
{
    __asm__ volatile("" : "+r"(value));
    return value + 1;
}

static const char *described(uintptr_t address, bool is_return)
{
    static char text[256];

    torc__symbol_describe((void *)address, is_return, text, sizeof(text));
    return text;
}

TEST(a_static_function_is_found_by_its_name_and_the_path_of_its_file)
{
    const char *text = described((uintptr_t)hidden_function + 1, false);

    EXPECT_MSG(strncmp(text, "hidden_function+0x1 (/", 22) == 0, "%s", text);
    EXPECT_MSG(strstr(text, "symbol+0x") != NULL, "%s", text);
}

TEST(a_function_of_another_file_is_found)
{
    const char *text = described((uintptr_t)qsort, false);

    EXPECT_MSG(strchr(text, '+') != NULL, "%s", text);
    EXPECT_MSG(strstr(text, "(/") != NULL, "%s", text);
}

TEST(a_return_address_after_the_last_instruction_belongs_to_the_call)
{
    const char *text = described((uintptr_t)hidden_function, true);

    EXPECT_MSG(strncmp(text, "hidden_function+", 16) != 0, "%s", text);
}

TEST(what_is_no_code_is_told_apart)
{
    static int data;

    EXPECT(torc__symbol_is_code((void *)(uintptr_t)hidden_function));
    EXPECT(!torc__symbol_is_code(&data));
    EXPECT(!torc__symbol_is_code(NULL));
    EXPECT_STR(described((uintptr_t)&data, false), "(no code)");
    EXPECT_INT(hidden_function(1), ==, 2);
}

TEST(a_short_buffer_is_not_overrun)
{
    char text[16];

    memset(text, 'x', sizeof(text));
    torc__symbol_describe((void *)(uintptr_t)hidden_function, false, text, 8);
    EXPECT_STR(text, "hidden_");
    EXPECT_INT(text[8], ==, 'x');
}

/* SPDX-License-Identifier: MIT */
/*
 * harness.h - tests that register themselves, each run in a process of its own.
 *
 *     #include "harness/harness.h"
 *
 *     TEST(the_name_is_a_sentence_that_is_true)
 *     {
 *         EXPECT_INT(1 + 1, ==, 2);
 *     }
 *
 * That is a whole program: the harness has main(). `program TEXT...` runs the tests whose names
 * contain one of the texts, `program --list` names them, and CK_FORK=no keeps them in one process,
 * for gdb. A test fails if it leaves descriptors open, or takes longer than 20 s (more where
 * everything is slow). The program ends with 77 if all of its tests were skipped.
 *
 * EXPECT_ macros end the test at once; they work on every thread and on every fiber, and cost next
 * to nothing while they hold. The ck_assert_ macros of check work as well, but write to a file
 * each time.
 */
#ifndef HARNESS_HARNESS_H
#define HARNESS_HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#undef fail /* Check still defines this old name as a macro. */

/* Which sanitizer watches; gcc defines macros, clang 14 answers __has_feature only. */
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

/* Define a test. Pointers to all of them make up a section of the program. */
#define TEST(name)                                                                     \
    static void name(void);                                                            \
    static void name##_run(int index)                                                  \
    {                                                                                  \
        (void)index;                                                                   \
        name();                                                                        \
    }                                                                                  \
    static const TTest name##_test = {#name, name##_run, __FILE__, __LINE__};          \
    static const TTest *name##_entry __attribute__((used, section("harness_tests"))) = \
        &name##_test;                                                                  \
    static void name(void)

/* End the test here, as one that cannot be run on this machine. Only in the test's own function. */
#define SKIP(...)                  \
    do {                           \
        harness_skip(__VA_ARGS__); \
        return;                    \
    } while (0)

void harness_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether sanitizers or valgrind make everything slow and large. */
bool harness_is_slow(void);

/*
 * Skip the test under valgrind, up to 3.19 at least: while one thread waits in io_uring_enter(), no
 * other thread may run.
 */
#define NEEDS_THREADS()                               \
    do {                                              \
        if (harness_is_valgrind())                    \
            SKIP("valgrind runs one thread at most"); \
    } while (0)

bool harness_is_valgrind(void);

/* `count`, or a tenth of it where everything is slow. */
unsigned harness_scaled(unsigned count);

/* How many descriptors this process has open. */
unsigned harness_open_fds(void);

/* A random number; the sequence is printed as a seed when the test fails, and TORC_TEST_SEED in
 * the environment repeats it. */
uint64_t harness_random(void);

/* A random number from 0 to limit - 1. */
uint32_t harness_random_below(uint32_t limit);

/* ---- Expectations ---- */

#define EXPECT(condition) \
    ((condition) ? (void)0 : harness_fail(__FILE__, __LINE__, "%s", #condition))

/* EXPECT(condition), with something to say when it does not hold. */
#define EXPECT_MSG(condition, ...) \
    ((condition) ? (void)0 : harness_fail(__FILE__, __LINE__, #condition ": " __VA_ARGS__))

#define FAIL(...) harness_fail(__FILE__, __LINE__, __VA_ARGS__)

/* EXPECT_INT(torc_close(fd), ==, -EBADF): negative errno values are printed by name. */
#define EXPECT_INT(left, operator, right)                                                    \
    do {                                                                                     \
        const intmax_t expect_left = (intmax_t)(left);                                       \
        const intmax_t expect_right = (intmax_t)(right);                                     \
        if (!(expect_left operator expect_right))                                            \
            harness_fail_int(__FILE__, __LINE__, #left " " #operator" " #right, expect_left, \
                             expect_right);                                                  \
    } while (0)

#define EXPECT_UINT(left, operator, right)                                                    \
    do {                                                                                      \
        const uintmax_t expect_left = (uintmax_t)(left);                                      \
        const uintmax_t expect_right = (uintmax_t)(right);                                    \
        if (!(expect_left operator expect_right))                                             \
            harness_fail_uint(__FILE__, __LINE__, #left " " #operator" " #right, expect_left, \
                              expect_right);                                                  \
    } while (0)

#define EXPECT_STR(left, right)                                                               \
    do {                                                                                      \
        const char *expect_left = (left);                                                     \
        const char *expect_right = (right);                                                   \
        if (!harness_same_text(expect_left, expect_right))                                    \
            harness_fail(__FILE__, __LINE__, "%s: \"%s\" is not \"%s\"", #left " == " #right, \
                         expect_left ? expect_left : "(null)",                                \
                         expect_right ? expect_right : "(null)");                             \
    } while (0)

#define EXPECT_MEM(left, right, size) \
    harness_expect_mem(__FILE__, __LINE__, #left " == " #right, left, right, size)

_Noreturn void harness_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void harness_fail_int(const char *file, int line, const char *what, intmax_t left,
                                intmax_t right);
_Noreturn void harness_fail_uint(const char *file, int line, const char *what, uintmax_t left,
                                 uintmax_t right);
bool harness_same_text(const char *left, const char *right);
void harness_expect_mem(const char *file, int line, const char *what, const void *left,
                        const void *right, size_t size);

/* ---- Deaths ---- */

struct harness_death {
    int status;      /* as of waitpid(2) */
    char text[8192]; /* the beginning of what it wrote to stderr */
};

/* Run `body` in a child process that is expected to die, and report how it did. */
void harness_watch_death(void (*body)(void), struct harness_death *ret_death);

/* The body died by `signal`, and had said something with `text` in it. */
void harness_expect_death(void (*body)(void), int signal, const char *text);

#endif

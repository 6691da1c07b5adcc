/* SPDX-License-Identifier: MIT */
/*
 * log.h - messages to the operator, and assertions.
 *
 * The library speaks only of what an operator must know and no return value can tell: a fiber that
 * spins, one that refuses to end, a fault. One line each, on stderr, beginning with "torc: ".
 *
 * Nothing is written where standard error was closed and something else has its number: see log.c.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/compiler.h"
#include <stdbool.h>

/* Write one line. Allocates nothing; safe in a signal handler as far as vsnprintf() is. */
void torc__log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Note what standard error is, the first time. Any thread. */
void torc__log_begin(void);

/* Standard error, or -1 if it is none any more: for what is written there by other means. */
int torc__log_fd(void);

/* Whether writing a line would wait for somebody to read what was written before. */
bool torc__log_would_wait(void);

/* Report a broken contract and abort. */
_Noreturn void torc__assert_failed(const char *condition, const char *file, int line);

/*
 * Checks a contract, ours or the user's, in release builds too; so it must be cheap and have no
 * side effect.
 */
#define TORC_ASSERT(condition) \
    (likely(condition) ? (void)0 : torc__assert_failed(#condition, __FILE__, __LINE__))

/* Report a mistake of the program's, and then as torc__assert_failed(). */
_Noreturn void torc__misused(const char *mistake, const char *condition, const char *file,
                             int line);

/* TORC_ASSERT() of what only the program can get wrong: `mistake` says what, in its words. */
#define TORC_REQUIRE(condition, mistake) \
    (likely(condition) ? (void)0 : torc__misused(mistake, #condition, __FILE__, __LINE__))

/* Appends to what is said of a failed assertion: which fiber it was. Set by the shard's layer. */
extern void (*torc__describe_current)(char *text, int size);

#endif

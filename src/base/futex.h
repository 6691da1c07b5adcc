/* SPDX-License-Identifier: MIT */
/*
 * futex.h - sleep until a word changes: for threads of one process. `errno` is left alone.
 */
#ifndef BASE_FUTEX_H
#define BASE_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sleep while `*word` is `value`. May return at any time: the caller looks again. */
static inline void torc__futex_wait(atomic_uint *word, unsigned value)
{
    const int saved = errno;

    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
    errno = saved;
}

/*
 * Wake a thread that sleeps there. Whoever waits may go on, and give the memory back, as soon as
 * the word has changed, so this may name what is no futex any more. Then it wakes nobody, or
 * somebody who looks again.
 */
static inline void torc__futex_wake(atomic_uint *word)
{
    const int saved = errno;

    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}

#endif

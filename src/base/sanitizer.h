/* SPDX-License-Identifier: MIT */
/*
 * sanitizer.h - tell AddressSanitizer, ThreadSanitizer and Valgrind what they cannot see: switches
 * of the stack, and what the kernel writes to memory of ours.
 *
 * Without that they take a switch for a wild jump of the stack pointer. All of it is nothing in an
 * ordinary build, but for one branch where Valgrind is to be told.
 */
#ifndef BASE_SANITIZER_H
#define BASE_SANITIZER_H

#include "base/compiler.h"
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#if TORC_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#if TORC_TSAN
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#endif
#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define TORC_VALGRIND 1
/* Its marks are a dozen instructions, too many for each receive of a program it does not run. */
extern bool torc__on_valgrind __attribute__((visibility("hidden")));
#endif
#endif

/* The kernel has written to memory of ours, through the ring, where Valgrind does not see it. */
static inline void torc__sanitizer_kernel_wrote(void *memory, ssize_t length)
{
#ifdef TORC_VALGRIND
    if (unlikely(torc__on_valgrind) && length > 0)
        (void)VALGRIND_MAKE_MEM_DEFINED(memory, length);
#endif
    (void)memory;
    (void)length;
}

/* The same for a vector, of which `length` bytes were filled; or all, if that is more. */
static inline void torc__sanitizer_kernel_wrote_vector(const struct iovec *vector, size_t count,
                                                       ssize_t length)
{
#ifdef TORC_VALGRIND
    for (; torc__on_valgrind && length > 0 && count > 0; vector++, count--) {
        torc__sanitizer_kernel_wrote(vector->iov_base, (ssize_t)vector->iov_len < length
                                                           ? (ssize_t)vector->iov_len
                                                           : length);
        length -= (ssize_t)vector->iov_len;
    }
#endif
    (void)vector;
    (void)count;
    (void)length;
}

/*
 * Before a switch to the stack between low and top; `save` is where the leaving fiber keeps
 * AddressSanitizer's fake stack, NULL if it never comes back.
 */
static inline void torc__sanitizer_leave(void **save, const void *low, size_t size, void *tsan)
{
#if TORC_ASAN
    __sanitizer_start_switch_fiber(save, low, size);
#endif
#if TORC_TSAN
    /*
     * A signal that comes now is kept for this fiber until it makes a call that is intercepted, as
     * this is one; one that ends without would take it along.
     */
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    __tsan_switch_to_fiber(tsan, 0);
#endif
    (void)save;
    (void)low;
    (void)size;
    (void)tsan;
}

/* After a switch, on the new stack. */
static inline void torc__sanitizer_arrive(void *saved)
{
#if TORC_ASAN
    __sanitizer_finish_switch_fiber(saved, NULL, NULL);
#endif
    (void)saved;
}

/* The same; tells of the stack that was left, as far as AddressSanitizer is there to know. */
static inline void torc__sanitizer_arrive_from(void *saved, const void **ret_low, size_t *ret_size)
{
#if TORC_ASAN
    __sanitizer_finish_switch_fiber(saved, ret_low, ret_size);
#endif
    (void)saved;
    (void)ret_low;
    (void)ret_size;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * sanitizer.h - tell AddressSanitizer, ThreadSanitizer and Valgrind about fibers' stacks.
 *
 * Without that they take a switch for a wild jump of the stack pointer. All of it is nothing in an
 * ordinary build, but for Valgrind's marks, which are a few instructions per slab.
 */
#ifndef FIBER_SANITIZER_H
#define FIBER_SANITIZER_H

#include "base/compiler.h"
#include "fiber/stack.h"
#include <sys/types.h>
#include <sys/uio.h>

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
#endif
#endif

/* A slab was mapped: LeakSanitizer looks for pointers in it. */
static inline void torc__sanitizer_add_stacks(char *memory, size_t size)
{
#if TORC_ASAN
    __lsan_register_root_region(memory, size);
#endif
    (void)memory;
    (void)size;
}

static inline void torc__sanitizer_remove_stacks(char *memory, size_t size)
{
#if TORC_ASAN
    __lsan_unregister_root_region(memory, size);
#endif
    (void)memory;
    (void)size;
}

/* A slot is used for the first time. */
static inline void torc__sanitizer_know_stack(struct torc__stack *stack)
{
#if TORC_TSAN
    stack->tsan = __tsan_create_fiber(0);
#endif
#ifdef TORC_VALGRIND
    /* For as long as the process lives: it has no use for more than the range. */
    (void)VALGRIND_STACK_REGISTER(stack->low, stack->top);
#endif
    (void)stack;
}

/* The kernel has written to memory of ours, through the ring, where Valgrind does not see it. */
static inline void torc__sanitizer_kernel_wrote(void *memory, ssize_t length)
{
#ifdef TORC_VALGRIND
    if (length > 0)
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
    for (; RUNNING_ON_VALGRIND && length > 0 && count > 0; vector++, count--) {
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

/* A stack starts anew: what the last fiber left on it means nothing. */
static inline void torc__sanitizer_clean_stack(struct torc__stack *stack)
{
#if TORC_ASAN
    __asan_unpoison_memory_region(stack->low, (size_t)(stack->top - stack->low));
#endif
    (void)stack;
}

/* A slot is unmapped: what comes to its addresses is nothing that was known of it. */
static inline void torc__sanitizer_forget_stack(struct torc__stack *stack)
{
    torc__sanitizer_clean_stack(stack);
#if TORC_TSAN
    if (stack->tsan != NULL)
        __tsan_destroy_fiber(stack->tsan);
    stack->tsan = NULL;
#endif
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

#endif

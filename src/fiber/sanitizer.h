/* SPDX-License-Identifier: MIT */
/*
 * sanitizer.h - tell AddressSanitizer, ThreadSanitizer and Valgrind about fibers' stacks; of the
 * switches between them base/sanitizer.h tells.
 */
#ifndef FIBER_SANITIZER_H
#define FIBER_SANITIZER_H

#include "base/sanitizer.h"
#include "fiber/stack.h"

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

#endif

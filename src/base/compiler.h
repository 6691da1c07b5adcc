/* SPDX-License-Identifier: MIT */
/*
 * compiler.h - the few things the language lacks. Linux, gcc and clang only.
 */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#include <stddef.h>

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define container_of(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static inline size_t torc__smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Sanitizers: gcc defines macros, clang 14 answers __has_feature only. */
#if defined(__SANITIZE_ADDRESS__)
#define TORC_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TORC_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define TORC_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TORC_TSAN 1
#endif
#endif
#ifndef TORC_ASAN
#define TORC_ASAN 0
#endif
#ifndef TORC_TSAN
#define TORC_TSAN 0
#endif

/* Read a word that another thread may be writing. */
#define PEEK(object) __atomic_load_n(&(object), __ATOMIC_RELAXED)

/* For functions that look at what another thread writes plainly, and cope with what they see:
 * ThreadSanitizer would call it a race, which it is. */
#if TORC_TSAN
#define LOOKS_AT_OTHERS __attribute__((no_sanitize_thread))
#else
#define LOOKS_AT_OTHERS
#endif

/* Tell the processor that this is a spin loop. */
static inline void torc__cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * counter.h - numbers that one thread counts and others look at while it does.
 *
 * Every counter has one writer, so adding needs no locked instruction: these compile to the code of
 * a plain variable, and only forbid the compiler to tear or to repeat an access.
 */
#ifndef TORC_TOOL_COUNTER_H
#define TORC_TOOL_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline void counter_set(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

/* Only by the counter's one writer. Adding -n takes n away. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    counter_set(counter, counter_get(counter) + n);
}

#endif

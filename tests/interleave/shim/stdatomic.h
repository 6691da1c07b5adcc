/* SPDX-License-Identifier: MIT */
/*
 * stdatomic.h - in place of the compiler's: every atomic access is a step of the explorer.
 *
 * Found first by the sources that tests/interleave/ compiles into its tests. Atomic types are plain
 * ones here, since everything runs on one thread.
 */
#ifndef INTERLEAVE_SHIM_STDATOMIC_H
#define INTERLEAVE_SHIM_STDATOMIC_H

#include "interleave/interleave.h"
#include <stdbool.h>
#include <stdint.h>

#pragma GCC diagnostic ignored "-Wunused-value" /* what a macro gives may be left alone */

#define _Atomic(type) type

typedef bool atomic_bool;
typedef int atomic_int;
typedef unsigned atomic_uint;
typedef uintptr_t atomic_uintptr_t;

typedef enum {
    memory_order_relaxed,
    memory_order_consume,
    memory_order_acquire,
    memory_order_release,
    memory_order_acq_rel,
    memory_order_seq_cst
} memory_order;

#define SHIM_PLACE(p)                                  \
    (struct interleave_place)                          \
    {                                                  \
        (void *)(uintptr_t)(p), sizeof(*(p)), __func__ \
    }
#define SHIM_BITS(value)    ((uint64_t)(uintptr_t)(value))
#define SHIM_TYPE(p, value) ((__typeof__(*(p)))(uintptr_t)(value))

#define atomic_init(p, value) ((void)(*(p) = (value)))

#define atomic_load_explicit(p, order) SHIM_TYPE(p, interleave_load(SHIM_PLACE(p)))
#define atomic_load(p)                 atomic_load_explicit(p, memory_order_seq_cst)

#define atomic_store_explicit(p, value, order) \
    interleave_store(SHIM_PLACE(p), SHIM_BITS(value), (order) == memory_order_seq_cst)
#define atomic_store(p, value) atomic_store_explicit(p, value, memory_order_seq_cst)

#define SHIM_CHANGE(p, how, value) \
    SHIM_TYPE(p, interleave_change(SHIM_PLACE(p), how, SHIM_BITS(value)))

#define atomic_exchange_explicit(p, value, order)  SHIM_CHANGE(p, INTERLEAVE_EXCHANGE, value)
#define atomic_exchange(p, value)                  SHIM_CHANGE(p, INTERLEAVE_EXCHANGE, value)
#define atomic_fetch_add_explicit(p, value, order) SHIM_CHANGE(p, INTERLEAVE_ADD, value)
#define atomic_fetch_add(p, value)                 SHIM_CHANGE(p, INTERLEAVE_ADD, value)
#define atomic_fetch_sub_explicit(p, value, order) SHIM_CHANGE(p, INTERLEAVE_SUBTRACT, value)
#define atomic_fetch_sub(p, value)                 SHIM_CHANGE(p, INTERLEAVE_SUBTRACT, value)
#define atomic_fetch_or_explicit(p, value, order)  SHIM_CHANGE(p, INTERLEAVE_OR, value)
#define atomic_fetch_or(p, value)                  SHIM_CHANGE(p, INTERLEAVE_OR, value)

/* A weak exchange may fail without reason; those who use one retry, so nothing new comes of it. */
#define atomic_compare_exchange_strong(p, expected, value) \
    interleave_compare_exchange(SHIM_PLACE(p), (void *)(expected), SHIM_BITS(value))
#define atomic_compare_exchange_weak(p, expected, value) \
    atomic_compare_exchange_strong(p, expected, value)
#define atomic_compare_exchange_strong_explicit(p, expected, value, success, failure) \
    atomic_compare_exchange_strong(p, expected, value)

#endif

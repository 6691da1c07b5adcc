/* SPDX-License-Identifier: MIT */
/*
 * run.h - tests that run on a shard, and what must be true when they have ended.
 */
#ifndef HARNESS_RUN_H
#define HARNESS_RUN_H

#include "harness/harness.h"
#include <pthread.h>
#include <torc/fiber.h>
#include <torc/runtime.h>
#include <torc/scope.h>

/* A test whose body is the main fiber of a shard. Its other fibers must end before it does. */
#define FIBER_TEST(name)               \
    static void name##_on_shard(void); \
    TEST(name)                         \
    {                                  \
        harness_run(name##_on_shard);  \
    }                                  \
    static void name##_on_shard(void)

/* The same, for a test that starts threads of its own, or where torc has to. */
#define FIBER_TEST_WITH_THREADS(name)  \
    static void name##_on_shard(void); \
    TEST(name)                         \
    {                                  \
        NEEDS_THREADS();               \
        harness_run(name##_on_shard);  \
    }                                  \
    static void name##_on_shard(void)

/*
 * Run `body` as the main fiber of one shard. It must end as the last fiber; torc_run() must give
 * 0 and leave behind neither a descriptor nor memory.
 */
void harness_run(void (*body)(void));

/* The same, with options and an argument: each shard runs `body(arg)`. */
void harness_run_with(const struct torc_options *options, torc_fiber_fn *body, void *arg);

/*
 * Run `body(arg)`, which may leave fibers behind and may fail. Returns what torc_run() did. As
 * above, no descriptor and no memory may be left.
 */
int harness_run_result(const struct torc_options *options, torc_fiber_fn *body, void *arg);

/*
 * Run `body(arg)` on the first of several shards; the others serve it until it has ended. As with
 * harness_run_result(), which must give 0.
 */
void harness_act_on(int shards, torc_fiber_fn *body, void *arg);

/* harness_expect_death() of a body that is the main fiber of a shard. From no shard. */
void harness_expect_fiber_death(void (*body)(void), int signal, const char *text);

/*
 * Start a thread, and wait for one. Memory that libc keeps for later threads looks like a leak,
 * so a test that starts some is not compared with how it was before.
 */
pthread_t harness_thread(void *(*body)(void *), void *arg);
void harness_join(pthread_t thread);

/* Start a fiber in `scope`, or, if that is NULL, in the root scope. */
void harness_spawn(struct torc_scope *scope, torc_fiber_fn *body, void *arg);

/*
 * Receive bytes that are those of harness_pattern_fill(), by up to `piece` of them, until there are
 * `wanted`, or to the end. By a fiber. Returns how many came.
 */
size_t harness_receive_pattern(int fd, size_t piece, size_t wanted);

/* How many fibers this shard has. */
unsigned harness_fibers(void);

/* Yield until `*flag` is true; fails if that does not come about. */
void harness_yield_until(const bool *flag);

/* Yield `count` times. */
void harness_yield(unsigned count);

/* A body that yields *(unsigned *)count times: returns 1, or the reason that ends it before. */
int harness_yield_or_end(void *count);

/*
 * Go through the kernel once: whatever the fibers that are ready now, and those before, have begun
 * is then in the kernel's hands.
 */
void harness_pass_kernel(void);

/* Keep the shard busy, without giving it back, until `time_ns`. */
void harness_hog_until(uint64_t time_ns);

/* Yield, without looking at the scope's reason, until this fiber is the last one. */
void harness_yield_until_alone(void);

#endif

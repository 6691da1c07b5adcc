/* SPDX-License-Identifier: MIT */
/*
 * run.c - run something on shards and look at what it left behind.
 *
 * Everything runs once before, with a main that does nothing, so that what is set up only once
 * (caches of libc and of torc) is there. Each time it is on a thread of its own, since a thread
 * keeps freed memory to itself until it ends, which would make the comparison inexact.
 */
#define HARNESS_POSIX_REAL
#include "harness/run.h"
#include "harness/net.h"
#include "harness/posix.h"
#include <liburing.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <torc/op.h>
#include <torc/shard.h>
#include <torc/time.h>

#define YIELDS_MAX 10000000

static atomic_bool threads_started;

struct run {
    const struct torc_options *options;
    torc_fiber_fn *main;
    void *arg;
    int result;
};

struct lone_main {
    torc_fiber_fn *body;
    void *arg;
};

static size_t memory_in_use(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* Torc starts threads as well, for what has to block. */
static int watched_main(void *arg)
{
    const struct run *run = arg;
    const int result = run->main(run->arg);
    struct torc_stats stats;

    torc_stats(&stats);
    if (stats.blocking_threads > 0 || stats.blocking_runs > 0)
        threads_started = true;
    return result;
}

static void *run_thread(void *arg)
{
    struct run *run = arg;

    run->result = torc_run(watched_main, run, run->options);
    return NULL;
}

static int run_on_thread(const struct torc_options *options, torc_fiber_fn *body, void *arg)
{
    struct run run = {options, body, arg, 0};
    pthread_t thread;

    EXPECT_INT(pthread_create(&thread, NULL, run_thread, &run), ==, 0);
    harness_join(thread);
    return run.result;
}

pthread_t harness_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;

    threads_started = true;
    EXPECT_INT(pthread_create(&thread, NULL, body, arg), ==, 0);
    return thread;
}

void harness_join(pthread_t thread)
{
    EXPECT_INT(pthread_join(thread, NULL), ==, 0);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

/*
 * Sanitizers and valgrind do it better; libc keeps the memory of threads, of some at least; and a
 * simulated kernel has memory of its own.
 */
static bool memory_is_countable(const struct torc_options *options)
{
    return !harness_is_slow() && !threads_started && !harness_is_simulated() &&
           (options == NULL || options->shards <= 3);
}

int harness_run_result(const struct torc_options *options, torc_fiber_fn *body, void *arg)
{
    unsigned fds;
    size_t memory;
    int result;

    EXPECT_INT(run_on_thread(options, nothing, NULL), ==, 0);
    fds = harness_open_fds();
    memory = memory_in_use();
    result = run_on_thread(options, body, arg);
    if (memory_is_countable(options))
        EXPECT_UINT(memory_in_use(), ==, memory);
    EXPECT_UINT(harness_open_fds(), ==, fds);
    return result;
}

static int lone_main(void *arg)
{
    const struct lone_main *lone = arg;
    const int result = lone->body(lone->arg);

    EXPECT_UINT(harness_fibers(), ==, 1);
    return result;
}

void harness_run_with(const struct torc_options *options, torc_fiber_fn *body, void *arg)
{
    struct lone_main lone = {body, arg};

    EXPECT_INT(harness_run_result(options, lone_main, &lone), ==, 0);
}

static int act_or_serve(void *arg)
{
    const struct lone_main *acting = arg;
    int result;

    if (torc_shard_index() != 0) {
        (void)torc_sleep(TORC_FOREVER);
        return 0;
    }
    result = acting->body(acting->arg);
    torc_stop();
    return result;
}

void harness_act_on(int shards, torc_fiber_fn *body, void *arg)
{
    const struct torc_options options = {.shards = shards, .no_pin = true};
    struct lone_main acting = {body, arg};

    EXPECT_INT(harness_run_result(&options, act_or_serve, &acting), ==, 0);
}

static int call_plain(void *arg)
{
    void (*const *body)(void) = arg;

    (*body)();
    return 0;
}

void harness_run(void (*body)(void))
{
    harness_run_with(NULL, call_plain, &body);
}

static void (*dying_body)(void);

static void run_dying_body(void)
{
    (void)torc_run(call_plain, &dying_body, NULL);
}

void harness_expect_fiber_death(void (*body)(void), int signal, const char *text)
{
    dying_body = body;
    harness_expect_death(run_dying_body, signal, text);
}

void harness_spawn(struct torc_scope *scope, torc_fiber_fn *body, void *arg)
{
    const int result = scope == NULL ? torc_spawn(body, arg) : torc_scope_spawn(scope, body, arg);

    EXPECT_INT(result, ==, 0);
}

size_t harness_receive_pattern(int fd, size_t piece, size_t wanted)
{
    char *data = malloc(piece);
    size_t done = 0;
    ssize_t count = 1;

    EXPECT(data != NULL);
    while (done < wanted && count > 0) {
        count = torc_recv(fd, data, piece, 0);
        EXPECT_INT(count, >=, 0);
        harness_pattern_check(data, (size_t)count, done);
        done += (size_t)count;
    }
    free(data);
    return done;
}

unsigned harness_fibers(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return (unsigned)stats.fibers;
}

void harness_yield_until(const bool *flag)
{
    for (unsigned i = 0; !*(const volatile bool *)flag; i++) {
        EXPECT_MSG(i < YIELDS_MAX, "what was waited for does not happen");
        EXPECT_INT(torc_yield(), ==, 0);
    }
}

void harness_yield(unsigned count)
{
    while (count-- > 0)
        EXPECT_INT(torc_yield(), ==, 0);
}

int harness_yield_or_end(void *count)
{
    for (unsigned i = *(const unsigned *)count; i > 0; i--) {
        int result = torc_yield();

        if (result < 0)
            return result;
    }
    return 1;
}

void harness_pass_kernel(void)
{
    struct torc_op op;

    torc_yield();
    io_uring_prep_nop(torc_op_prepare(&op));
    EXPECT_INT(torc_op_wait(&op), ==, 0);
}

void harness_hog_until(uint64_t time_ns)
{
    while (torc_now() < time_ns)
        continue;
}

void harness_yield_until_alone(void)
{
    struct torc_scope scope;

    torc_scope_open(&scope, TORC_SHIELD);
    for (unsigned i = 0; harness_fibers() > 1; i++) {
        EXPECT_MSG(i < YIELDS_MAX, "%u fibers do not end", harness_fibers() - 1);
        torc_yield();
    }
    torc_scope_close(&scope);
}

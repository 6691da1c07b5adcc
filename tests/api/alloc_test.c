/* SPDX-License-Identifier: MIT */
/*
 * alloc_test.c - 100,000 rounds of echo without one allocation, and without page faults.
 *
 * This program has its own malloc() and its kin, which count their calls and pass them on to glibc.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <torc/torc.h>
#include <unistd.h>

#define ROUNDS 100000

static atomic_ulong allocations;

#if UNDER_ASAN || UNDER_TSAN
#define COUNTED 0
#else
#define COUNTED 1

/* NOLINTBEGIN(bugprone-reserved-identifier, readability-*): these are libc's names, not ours. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    void *memory = aligned_alloc(alignment, size);

    if (memory == NULL)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}
/* NOLINTEND(bugprone-reserved-identifier, readability-*) */
#endif

TEST(the_counter_counts)
{
    const unsigned long before = atomic_load(&allocations);
    void *volatile memory;

    if (!COUNTED || harness_is_valgrind())
        SKIP("sanitizers and valgrind have a malloc() of their own");
    memory = malloc(10);
    free(memory);
    memory = calloc(10, 10);
    memory = realloc(memory, 1000);
    free(memory);
    EXPECT_UINT(atomic_load(&allocations) - before, ==, 3);
}

static int echo(void *arg)
{
    const int fd = *(const int *)arg;
    char data[64];
    ssize_t count;

    while ((count = torc_recv(fd, data, sizeof(data), 0)) > 0)
        EXPECT_INT(torc_send_all(fd, data, (size_t)count, NULL), ==, 0);
    return (int)count;
}

FIBER_TEST(a_hundred_thousand_echo_rounds_allocate_nothing)
{
    const unsigned rounds = harness_scaled(ROUNDS);
    struct torc_scope scope;
    unsigned long before;
    char data[64];
    int fds[2];

    harness_tcp_pair(fds);
    before = atomic_load(&allocations);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, echo, &fds[1]);
    for (unsigned i = 0; i < rounds; i++) {
        harness_pattern_fill(data, sizeof(data), i);
        EXPECT_INT(torc_send_all(fds[0], data, sizeof(data), NULL), ==, 0);
        EXPECT_INT(torc_recv_all(fds[0], data, sizeof(data), NULL), ==, 0);
        harness_pattern_check(data, sizeof(data), i);
    }
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_UINT(atomic_load(&allocations), ==, before);
    harness_close_pair(fds);
}

static int echo_stream(void *arg)
{
    struct torc_stream *stream = arg;
    const void *data;
    ssize_t count;

    while ((count = torc_stream_peek(stream, &data)) > 0) {
        EXPECT_INT(torc_stream_write(stream, data, (size_t)count, NULL), ==, 0);
        torc_stream_consume(stream, (size_t)count);
    }
    return (int)count;
}

static void ask_through_stream(struct torc_stream *stream, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        char data[64];

        harness_pattern_fill(data, sizeof(data), i);
        EXPECT_INT(torc_stream_write(stream, data, sizeof(data), NULL), ==, 0);
        EXPECT_INT(torc_stream_read_all(stream, data, sizeof(data), NULL), ==, 0);
        harness_pattern_check(data, sizeof(data), i);
    }
}

FIBER_TEST(a_hundred_thousand_echo_rounds_through_streams_allocate_nothing)
{
    struct torc_stream client;
    struct torc_stream server;
    struct torc_scope scope;
    unsigned long before;
    int fds[2];

    harness_tcp_pair(fds);
    torc_stream_open(&client, fds[0]);
    torc_stream_open(&server, fds[1]);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, echo_stream, &server);
    ask_through_stream(&client, 100); /* The shard's buffers and blocks are made. */
    before = atomic_load(&allocations);
    ask_through_stream(&client, harness_scaled(ROUNDS));
    EXPECT_UINT(atomic_load(&allocations), ==, before);
    EXPECT_INT(torc_stream_shutdown(&client), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_stream_close(&client), ==, 0);
    EXPECT_INT(torc_stream_close(&server), ==, 0);
}

static int sleep_shortly(void *arg)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 100 * TORC_MICROSECOND);
    (void)torc_event_wait(arg);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    return 0;
}

FIBER_TEST(fibers_scopes_and_timers_allocate_nothing_either)
{
    struct torc_event event = {0};
    const unsigned long before = atomic_load(&allocations);

    for (int i = 0; i < 20; i++) {
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        for (int j = 0; j < 1000; j++)
            harness_spawn(&scope, sleep_shortly, &event);
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
    }
    EXPECT_UINT(atomic_load(&allocations), ==, before);
}

/* ---- Memory that is kept ---- */

static long page_faults(void)
{
    struct rusage usage;

    EXPECT_INT(getrusage(RUSAGE_THREAD, &usage), ==, 0);
    return usage.ru_minflt;
}

/* Stacks, blocks of fibers, buffers of streams: taken and given back by `rounds` of a hundred. */
static void take_and_give_back(struct torc_stream *stream, unsigned rounds)
{
    struct torc_event event = {0};

    for (unsigned i = 0; i < rounds; i++) {
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        for (int j = 0; j < 100; j++)
            harness_spawn(&scope, sleep_shortly, &event);
        ask_through_stream(stream, 100);
        EXPECT_INT(torc_scope_close(&scope), ==, 0);
    }
}

/* One costs as much as many operations: memory is kept, and not asked for again. */
FIBER_TEST(what_is_used_again_and_again_takes_no_page_faults)
{
    struct torc_stream client;
    struct torc_stream server;
    struct torc_scope scope;
    long before;
    int fds[2];

    if (!COUNTED || harness_is_valgrind())
        SKIP("sanitizers and valgrind have memory of their own");
    harness_tcp_pair(fds);
    torc_stream_open(&client, fds[0]);
    torc_stream_open(&server, fds[1]);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, echo_stream, &server);
    take_and_give_back(&client, 10);
    before = page_faults();
    take_and_give_back(&client, 100);
    EXPECT_INT(page_faults() - before, <, 100); /* Of 20,000 that took something. */
    EXPECT_INT(torc_stream_shutdown(&client), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_stream_close(&client), ==, 0);
    EXPECT_INT(torc_stream_close(&server), ==, 0);
}

/* ---- The pool ---- */

#define TOGETHER 4

static int meet_others(void *arg)
{
    pthread_barrier_wait(arg);
    return 0;
}

static int call_meet_others(void *arg)
{
    return torc_blocking(meet_others, arg);
}

/* So many threads there are then, more than calls one after the other ever need. */
static void start_threads(void)
{
    struct torc_scope scope;
    pthread_barrier_t barrier;

    pthread_barrier_init(&barrier, NULL, TOGETHER);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < TOGETHER; i++)
        harness_spawn(&scope, call_meet_others, &barrier);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    pthread_barrier_destroy(&barrier);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

FIBER_TEST_WITH_THREADS(calls_of_threads_that_are_there_and_files_allocate_nothing)
{
    const int file = memfd_create("file", MFD_CLOEXEC);
    unsigned long before;
    char data[8];

    start_threads();
    before = atomic_load(&allocations);
    for (int i = 0; i < 200; i++) {
        EXPECT_INT(torc_blocking(nothing, NULL), ==, 0);
        EXPECT_INT(torc_pwrite(file, "data", 4, i), ==, 4);
        EXPECT_INT(torc_pread(file, data, 4, i), ==, 4);
        EXPECT_INT(torc_ftruncate(file, 0), ==, 0);
        EXPECT_INT(torc_seek(file, 0, SEEK_END), ==, 0);
    }
    EXPECT_UINT(atomic_load(&allocations), ==, before);
    EXPECT_INT(torc_close(file), ==, 0);
}

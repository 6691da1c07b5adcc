/* SPDX-License-Identifier: MIT */
/*
 * stall_where_test.c - what the kernel tells of a thread that does not come back.
 */
#include "harness/harness.h"
#include "shard/observer.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* What a thread waits in: 'r' reads, 's' sleeps, 'c' computes. */
static atomic_int wanted;
static atomic_int tid;
static int ends[2];

static void *wait_there(void *arg)
{
    const struct timespec long_time = {.tv_sec = 1000};
    char byte;

    (void)arg;
    atomic_store(&tid, (int)syscall(SYS_gettid));
    if (wanted == 'r')
        EXPECT_INT(read(ends[0], &byte, 1), ==, 1);
    else if (wanted == 's')
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, NULL);
    else
        while (atomic_load(&wanted) == 'c')
            ;
    return NULL;
}

static void *compute(void *arg)
{
    const cpu_set_t *here = arg;

    (void)sched_setaffinity(0, sizeof(*here), here);
    while (atomic_load(&wanted) == 'c')
        ;
    return NULL;
}

static pthread_t begin(int what)
{
    pthread_t thread;

    atomic_store(&wanted, what);
    atomic_store(&tid, 0);
    EXPECT_INT(pthread_create(&thread, NULL, wait_there, NULL), ==, 0);
    while (atomic_load(&tid) == 0)
        sched_yield();
    return thread;
}

/* Look until the thread is where it is wanted; what the kernel says then. */
static struct torc__stall_where look_until(bool running, const char *text)
{
    struct torc__stall_where where;

    do {
        sched_yield();
        torc__stall_where(atomic_load(&tid), &where);
    } while (where.running != running || strstr(where.text, text) == NULL);
    return where;
}

static bool kernel_tells(void)
{
    return access("/proc/self/syscall", R_OK) == 0;
}

TEST(a_thread_that_computes_is_running)
{
    pthread_t thread;

    NEEDS_THREADS();
    thread = begin('c');
    EXPECT(look_until(true, "computing").running);
    atomic_store(&wanted, 0);
    pthread_join(thread, NULL);
}

TEST(a_blocking_read_is_named_with_its_descriptor_and_goes_on_after_a_signal)
{
    struct torc__stall_where where;
    char text[64];
    pthread_t thread;

    NEEDS_THREADS();
    if (!kernel_tells())
        SKIP("this kernel has no /proc/PID/syscall");
    EXPECT_INT(pipe(ends), ==, 0);
    thread = begin('r');
    snprintf(text, sizeof(text), "read(%d, ", ends[0]);
    where = look_until(false, text);
    EXPECT(where.restarts);
    EXPECT_UINT(where.stack, !=, 0);
    EXPECT_UINT(where.pc, !=, 0);
    EXPECT_INT(write(ends[1], "x", 1), ==, 1);
    pthread_join(thread, NULL);
    close(ends[0]);
    close(ends[1]);
}

TEST(a_read_of_a_socket_with_a_timeout_would_end)
{
    const struct timeval hour = {.tv_sec = 3600};
    pthread_t thread;

    NEEDS_THREADS();
    if (!kernel_tells())
        SKIP("this kernel has no /proc/PID/syscall");
    EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), ==, 0);
    EXPECT_INT(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof(hour)), ==, 0);
    thread = begin('r');
    EXPECT(!look_until(false, "read(").restarts);
    EXPECT_INT(write(ends[1], "x", 1), ==, 1);
    pthread_join(thread, NULL);
    close(ends[0]);
    close(ends[1]);
}

static void do_nothing(int number)
{
    (void)number;
}

TEST(a_sleep_would_end)
{
    const struct sigaction action = {.sa_handler = do_nothing};
    pthread_t thread;

    NEEDS_THREADS();
    if (!kernel_tells())
        SKIP("this kernel has no /proc/PID/syscall");
    EXPECT_INT(sigaction(SIGUSR1, &action, NULL), ==, 0);
    thread = begin('s');
    EXPECT(!look_until(false, "clock_nanosleep(").restarts);
    EXPECT_INT(pthread_kill(thread, SIGUSR1), ==, 0);
    pthread_join(thread, NULL);
}

/* Two threads that want the same CPU: one of them always stands in its queue. */
TEST(time_for_which_others_have_the_cpu_is_counted)
{
    const pid_t self = (pid_t)syscall(SYS_gettid);
    pthread_t other;
    cpu_set_t before;
    cpu_set_t here;
    uint64_t queued_ns;

    if (access("/proc/self/schedstat", R_OK) < 0)
        SKIP("this kernel does not count it, or there is no /proc");
    if (harness_is_valgrind())
        SKIP("there is one thread only that wants a CPU");
    EXPECT_INT(sched_getaffinity(0, sizeof(before), &before), ==, 0);
    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    if (sched_setaffinity(0, sizeof(here), &here) < 0)
        SKIP("threads may not be told where to run");
    queued_ns = torc__stall_queued_ns(self);
    atomic_store(&wanted, 'c');
    EXPECT_INT(pthread_create(&other, NULL, compute, &here), ==, 0);
    while (torc__stall_queued_ns(self) < queued_ns + 1000000)
        ;
    atomic_store(&wanted, 0);
    EXPECT_INT(pthread_join(other, NULL), ==, 0);
    EXPECT_INT(sched_setaffinity(0, sizeof(before), &before), ==, 0);
}

TEST(a_thread_that_is_not_there_has_stood_in_no_queue)
{
    EXPECT_UINT(torc__stall_queued_ns(1 << 30), ==, 0);
}

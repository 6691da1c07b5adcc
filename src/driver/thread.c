/* SPDX-License-Identifier: MIT */
/*
 * thread.c - real threads, or contexts of a simulated world.
 */
#include "driver/thread.h"
#include "base/clock.h"
#include "base/log.h"
#include "driver/sim/context.h"
#include "driver/sim/disk.h"
#include "driver/sim/syscall.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool torc__thread_is_simulated(void)
{
    return torc__sim_world != NULL;
}

struct sim_host *torc__thread_home(void)
{
    return torc__sim_world != NULL ? torc__sim_world->running->host : NULL;
}

uint64_t torc__thread_now(void)
{
    return torc__sim_world != NULL ? torc__sim_world->now_ns : torc__clock_now();
}

long torc__thread_preemptions(void)
{
    struct rusage usage;

    if (torc__sim_world != NULL || getrusage(RUSAGE_THREAD, &usage) < 0)
        return 0; /* What happens to the simulation must not be seen within. */
    return usage.ru_nivcsw;
}

uint64_t torc__thread_unique(void)
{
    if (torc__sim_world != NULL)
        return torc__sim_random(torc__sim_world);
    return torc__clock_now() ^ ((uint64_t)getpid() << 40);
}

/* ---- Conditions ---- */

void torc__condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

void torc__condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    if (torc__sim_world == NULL) {
        pthread_cond_wait(condition, mutex);
    } else {
        (void)torc__condition_wait_until(condition, mutex, UINT64_MAX);
    }
}

bool torc__condition_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                uint64_t until_ns)
{
    const struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_SECOND),
                                   .tv_nsec = (long)(until_ns % NS_PER_SECOND)};
    bool woken;

    if (torc__sim_world == NULL)
        return pthread_cond_timedwait(condition, mutex, &until) != ETIMEDOUT;
    pthread_mutex_unlock(mutex);
    woken = torc__sim_wait_on(torc__sim_world, condition, until_ns);
    pthread_mutex_lock(mutex);
    return woken;
}

void torc__condition_signal(pthread_cond_t *condition)
{
    if (torc__sim_world == NULL) {
        pthread_cond_signal(condition);
    } else {
        torc__sim_wake_on(torc__sim_world, condition, false);
    }
}

void torc__condition_broadcast(pthread_cond_t *condition)
{
    if (torc__sim_world == NULL) {
        pthread_cond_broadcast(condition);
    } else {
        torc__sim_wake_on(torc__sim_world, condition, true);
    }
}

/* ---- Words ---- */

void torc__word_wait(atomic_uint *word)
{
    const int saved = errno;

    while (atomic_load_explicit(word, memory_order_acquire) == 0) {
        if (torc__sim_world == NULL) {
            (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
        } else {
            (void)torc__sim_wait_on(torc__sim_world, word, UINT64_MAX);
        }
    }
    errno = saved;
}

void torc__word_wake(atomic_uint *word)
{
    const int saved = errno;

    if (torc__sim_world == NULL) {
        (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    } else {
        torc__sim_wake_on(torc__sim_world, word, false);
    }
    errno = saved;
}

/* ---- Threads ---- */

int torc__thread_start(struct torc__thread *thread, const pthread_attr_t *attributes,
                       void *(*main)(void *arg), void *arg)
{
    if (torc__sim_world != NULL) {
        thread->simulated =
            torc__sim_context_start(torc__sim_world->running->host, main, arg, false);
        return thread->simulated != NULL ? 0 : -EAGAIN;
    }
    thread->simulated = NULL;
    return -pthread_create(&thread->real, attributes, main, arg);
}

void torc__thread_join(struct torc__thread *thread)
{
    if (thread->simulated != NULL) {
        torc__sim_context_join(thread->simulated);
    } else {
        pthread_join(thread->real, NULL);
    }
}

struct torc__thread torc__thread_self(void)
{
    return (struct torc__thread){
        .real = pthread_self(),
        .simulated = torc__sim_world != NULL ? torc__sim_world->running : NULL,
    };
}

void torc__thread_stack(const void **ret_low, size_t *ret_size)
{
    pthread_attr_t attributes;
    void *low;

    if (torc__sim_world != NULL) {
        *ret_low = torc__sim_world->running->stack;
        *ret_size = torc__sim_world->running->stack_size;
    } else if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, ret_size);
        *ret_low = low;
        pthread_attr_destroy(&attributes);
    }
}

/* ---- System calls ---- */

int64_t torc__system_call(long number, const uintptr_t arguments[6])
{
    const uintptr_t *a = arguments;
    int64_t result;

    if (torc__sim_world != NULL)
        return torc__sim_syscall(torc__sim_world->running->host, number, arguments);
    result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return result < 0 ? -errno : result;
}

static void take_time(struct sim_world *world)
{
    torc__sim_wait(world, world->now_ns + torc__sim_duration(world, &world->chaos.disk_latency),
                   false);
}

int64_t torc__disk_call(long number, const uintptr_t arguments[6])
{
    if (torc__sim_world != NULL)
        take_time(torc__sim_world);
    return torc__system_call(number, arguments);
}

int64_t torc__real_path(const char *path, char *resolved, size_t size)
{
    char room[PATH_MAX];
    size_t length;

    if (torc__sim_world != NULL) {
        take_time(torc__sim_world);
        return torc__sim_disk_realpath(torc__sim_world->running->host, path, resolved, size);
    }
    if (realpath(path, room) == NULL)
        return -errno;
    length = strlen(room);
    if (length >= size)
        return -ERANGE;
    memcpy(resolved, room, length + 1);
    return (int64_t)length;
}

/* SPDX-License-Identifier: MIT */
/*
 * thread.h - threads, and waiting for other threads: real ones, or, in a simulated world, contexts
 * that take turns on the one thread there is.
 *
 * Mutexes are those of pthread in either case. Contexts never give up control while they hold one,
 * but in the waits below, which release it.
 */
#ifndef DRIVER_THREAD_H
#define DRIVER_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_context;
struct sim_host;

struct torc__thread {
    pthread_t real;
    struct sim_context *simulated; /* NULL: a real one */
};

/* A condition that is waited for until times of CLOCK_MONOTONIC. */
void torc__condition_init(pthread_cond_t *condition);

void torc__condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);

/* False: the time has come. */
bool torc__condition_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                uint64_t until_ns);

void torc__condition_signal(pthread_cond_t *condition);
void torc__condition_broadcast(pthread_cond_t *condition);

/* Wait until a word that was 0 is not, of which the one who sets it tells by the other. */
void torc__word_wait(atomic_uint *word);
void torc__word_wake(atomic_uint *word);

/* 0 or a negative errno. `attributes` may be NULL. */
int torc__thread_start(struct torc__thread *thread, const pthread_attr_t *attributes,
                       void *(*main)(void *arg), void *arg);

void torc__thread_join(struct torc__thread *thread);

/* The calling thread, for another one to join it. */
struct torc__thread torc__thread_self(void);

/* Whether threads are simulated: what is done to real ones concerns others then. */
bool torc__thread_is_simulated(void);

/* The simulated host that the calling thread runs on; NULL: none. */
struct sim_host *torc__thread_home(void);

/* The clock of whatever world this is. */
uint64_t torc__thread_now(void);

/* A system call, as syscall(2), of the process that this is. The result or a negative errno. */
int64_t torc__system_call(long number, const uintptr_t arguments[6]);

/* One that takes the time of a disk, where disks are simulated. */
int64_t torc__disk_call(long number, const uintptr_t arguments[6]);

/* realpath(3). The length, or a negative errno: -ERANGE if `size` is too small. */
int64_t torc__real_path(const char *path, char *resolved, size_t size);

/* How often the calling thread had to leave its CPU to another one. */
long torc__thread_preemptions(void);

/* A number that processes, and one at different times, hardly share. */
uint64_t torc__thread_unique(void);

/* The stack that the calling thread was started on. */
void torc__thread_stack(const void **ret_low, size_t *ret_size);

#endif

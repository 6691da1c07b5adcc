/* SPDX-License-Identifier: MIT */
/*
 * pool.c - threads for what cannot be done without blocking.
 *
 * All is under one mutex, which is held for a few instructions at a time, and to start a thread.
 * A thread is
 *
 *     awake --takes a job--> running --> awake --nothing to do--> idle --for too long--> ended
 *                                          ^------claimed----------+
 *
 * and whoever adds work sees to it that as many are awake as there is work that may run now. The
 * idle ones are a stack: the last one is claimed first, so that those not needed end.
 *
 * Every thread that ends joins the one that ended before it; the pool's end joins the last. So all
 * are gone when it has ended, and no more than one dead thread waits for that at any time.
 *
 * A process made by fork() has none of the threads, nor the shard that it is a copy of: it may run
 * torc anew, which makes another pool, and may not go on with this one.
 */
#include "driver/pool.h"
#include "base/clock.h"
#include "base/cpu_set.h"
#include "base/log.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_DEFAULT 64u
#define THREADS_MIN     ((unsigned)LANE_COUNT)
#define THREADS_MAX     4096u
#define IDLE_NS_DEFAULT (10 * NS_PER_SECOND)
#define IDLE_NS_MAX     (3600 * NS_PER_SECOND)
/* Address space, of which only what is touched costs memory. Name lookups load libraries on it. */
#define STACK_SIZE ((size_t)1024 * 1024)

struct lane {
    struct torc__job *first;
    struct torc__job **last;
    unsigned queued;
    unsigned running;
    unsigned limit;
};

/* An idle thread, on its own stack. */
struct sleeper {
    struct sleeper *next;
    bool claimed;
    pthread_cond_t wake;
};

struct torc__pool {
    pthread_mutex_t mutex; /* of all below that changes */
    struct lane lanes[LANE_COUNT];
    unsigned next_lane;       /* whose turn it is */
    unsigned threads;         /* alive */
    unsigned awake;           /* of these, neither idle nor running a job */
    struct sleeper *sleepers; /* the others that do not run */
    unsigned threads_max;
    uint64_t idle_ns;
    uint64_t runs;
    bool stopping;
    bool refusal_told;    /* in the log */
    pthread_cond_t ended; /* the last thread has */
    bool has_last_ended;  /* `last_ended` waits to be joined */
    pthread_t last_ended;
    struct torc__cpu_set cpus; /* where the threads may run */
    bool has_cpus;
};

/* ---- Lanes ---- */

static void append(struct lane *lane, struct torc__job *job)
{
    job->next = NULL;
    job->link = lane->last;
    *lane->last = job;
    lane->last = &job->next;
    lane->queued++;
}

static void take_out(struct lane *lane, struct torc__job *job)
{
    *job->link = job->next;
    if (job->next != NULL) {
        job->next->link = job->link;
    } else {
        lane->last = job->link;
    }
    lane->queued--;
}

/* How much of a lane's work may begin now. */
static unsigned startable(const struct lane *lane)
{
    const unsigned room = lane->limit - lane->running;

    return lane->queued < room ? lane->queued : room;
}

/* How many threads should be awake for all that may begin now. */
static unsigned wanted(const struct torc__pool *pool)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < LANE_COUNT; i++)
        sum += startable(&pool->lanes[i]);
    return sum;
}

/* The next job that may begin, now running; the lanes take turns. NULL if there is none. */
static struct torc__job *take_job(struct torc__pool *pool)
{
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        struct lane *lane = &pool->lanes[pool->next_lane];

        pool->next_lane = (pool->next_lane + 1) % LANE_COUNT;
        if (startable(lane) > 0) {
            struct torc__job *job = lane->first;

            take_out(lane, job);
            job->state = JOB_RUNNING;
            lane->running++;
            return job;
        }
    }
    return NULL;
}

/* ---- A thread ---- */

static struct timespec idle_until(const struct torc__pool *pool)
{
    const uint64_t ns = torc__clock_now() + pool->idle_ns;

    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_SECOND),
                             .tv_nsec = (time_t)(ns % NS_PER_SECOND)};
}

static void leave_sleepers(struct torc__pool *pool, struct sleeper *self)
{
    struct sleeper **link = &pool->sleepers;

    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Sleep until claimed; false if nobody has for as long as a thread may be idle. */
static bool sleep_until_claimed(struct torc__pool *pool)
{
    struct sleeper self = {.next = pool->sleepers};
    const struct timespec until = idle_until(pool);
    int result = 0;

    cond_init(&self.wake);
    pool->sleepers = &self;
    pool->awake--;
    while (!self.claimed && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&self.wake, &pool->mutex, &until);
    if (!self.claimed) {
        leave_sleepers(pool, &self);
        pool->awake++;
    }
    pthread_cond_destroy(&self.wake);
    return self.claimed;
}

static void claim_sleeper(struct torc__pool *pool)
{
    struct sleeper *sleeper = pool->sleepers;

    pool->sleepers = sleeper->next;
    pool->awake++;
    sleeper->claimed = true;
    pthread_cond_signal(&sleeper->wake);
}

static void run_job(struct torc__pool *pool, struct torc__job *job)
{
    struct lane *lane = &pool->lanes[job->lane];

    pool->awake--;
    pthread_mutex_unlock(&pool->mutex);
    job->run(job); /* Then its memory is the caller's again. */
    pthread_mutex_lock(&pool->mutex);
    lane->running--;
    pool->runs++;
    pool->awake++;
}

/* Under the mutex, which is released. */
static void end_thread(struct torc__pool *pool)
{
    const bool has_before = pool->has_last_ended;
    const pthread_t before = pool->last_ended;

    pool->has_last_ended = true;
    pool->last_ended = pthread_self();
    pool->awake--;
    pool->threads--;
    if (pool->threads == 0)
        pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->mutex);
    if (has_before)
        pthread_join(before, NULL);
}

static void *thread_main(void *arg)
{
    struct torc__pool *pool = arg;

    (void)pthread_setname_np(pthread_self(), "torc-blocking");
    if (pool->has_cpus) /* It was started by a shard, which may be pinned. */
        (void)torc__cpus_pin_thread(&pool->cpus);
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        struct torc__job *job = take_job(pool);

        if (job != NULL) {
            run_job(pool, job);
        } else if (pool->stopping || !sleep_until_claimed(pool)) {
            break;
        }
    }
    end_thread(pool);
    return NULL;
}

/*
 * All signals are blocked in it, since the program's handlers expect its own threads; but for those
 * that a fault raises, which kill without a word where they are blocked.
 */
static void block_signals(sigset_t *ret_before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t set;

    sigfillset(&set);
    for (unsigned i = 0; i < ARRAY_LENGTH(faults); i++)
        sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_SETMASK, &set, ret_before);
}

/* Under the mutex. 0 or a negative errno. */
static int start_thread(struct torc__pool *pool)
{
    pthread_attr_t attributes;
    sigset_t before;
    pthread_t thread;
    int error;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    block_signals(&before);
    error = pthread_create(&thread, &attributes, thread_main, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error != 0)
        return -error;
    pool->threads++;
    pool->awake++;
    return 0;
}

/* ---- The pool ---- */

bool torc__pool_options_valid(const struct torc_options *options)
{
    const unsigned threads_max = options->blocking_threads_max;

    return (threads_max == 0 || (threads_max >= THREADS_MIN && threads_max <= THREADS_MAX)) &&
           options->blocking_idle_ns <= IDLE_NS_MAX;
}

static void share_out(struct torc__pool *pool)
{
    const unsigned quarter = pool->threads_max >= 4 ? pool->threads_max / 4 : 1;

    for (unsigned i = 0; i < LANE_COUNT; i++)
        pool->lanes[i] = (struct lane){.last = &pool->lanes[i].first, .limit = quarter};
    pool->lanes[LANE_CALLS].limit = pool->threads_max - 2 * quarter;
}

struct torc__pool *torc__pool_create(const struct torc_options *options)
{
    struct torc__pool *pool = calloc(1, sizeof(*pool));

    if (pool == NULL)
        return NULL;
    pool->threads_max =
        options->blocking_threads_max != 0 ? options->blocking_threads_max : THREADS_DEFAULT;
    pool->idle_ns = options->blocking_idle_ns != 0 ? options->blocking_idle_ns : IDLE_NS_DEFAULT;
    pool->has_cpus = torc__cpus_of_thread(&pool->cpus) == 0;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->ended, NULL);
    share_out(pool);
    return pool;
}

void torc__pool_destroy(struct torc__pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    TORC_ASSERT(wanted(pool) == 0);
    pool->stopping = true;
    while (pool->sleepers != NULL)
        claim_sleeper(pool);
    while (pool->threads > 0)
        pthread_cond_wait(&pool->ended, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    if (pool->has_last_ended)
        pthread_join(pool->last_ended, NULL);
    pthread_cond_destroy(&pool->ended);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

/* No thread could be started. Those there are do it in time; without any it cannot be done. */
static int refused(struct torc__pool *pool, struct torc__job *job, int error)
{
    if (!pool->refusal_told)
        torc__log("cannot start a thread for blocking calls: %s (see ulimit -u)", strerror(-error));
    pool->refusal_told = true;
    if (pool->threads > 0)
        return 0;
    take_out(&pool->lanes[job->lane], job);
    return error;
}

int torc__pool_submit(struct torc__pool *pool, enum torc__lane lane, struct torc__job *job)
{
    int result = 0;

    job->lane = lane;
    job->state = JOB_QUEUED;
    pthread_mutex_lock(&pool->mutex);
    append(&pool->lanes[lane], job);
    while (result == 0 && wanted(pool) > pool->awake) {
        if (pool->sleepers != NULL) {
            claim_sleeper(pool);
        } else {
            result = start_thread(pool);
        }
    }
    if (result < 0)
        result = refused(pool, job, result);
    pthread_mutex_unlock(&pool->mutex);
    return result;
}

bool torc__pool_withdraw(struct torc__pool *pool, struct torc__job *job)
{
    bool queued;

    pthread_mutex_lock(&pool->mutex);
    queued = job->state == JOB_QUEUED;
    if (queued) {
        take_out(&pool->lanes[job->lane], job);
        job->state = JOB_WITHDRAWN;
    }
    pthread_mutex_unlock(&pool->mutex);
    return queued;
}

void torc__pool_stats(struct torc__pool *pool, struct torc__pool_stats *ret_stats)
{
    pthread_mutex_lock(&pool->mutex);
    *ret_stats = (struct torc__pool_stats){.threads = pool->threads, .runs = pool->runs};
    pthread_mutex_unlock(&pool->mutex);
}

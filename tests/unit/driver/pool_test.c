/* SPDX-License-Identifier: MIT */
/*
 * pool_test.c - threads start, are limited lane by lane, end when idle, and are gone in the end.
 */
#include "base/compiler.h"
#include "driver/pool.h"
#include "harness/harness.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A job that waits until it is let go. */
struct gated {
    struct torc__job job;
    sem_t *gate;
    sem_t *begun; /* posted when it begins; may be NULL */
    sem_t *done;
};

static atomic_uint running;
static atomic_uint running_peak;

static void note_peak(unsigned now)
{
    unsigned peak = atomic_load(&running_peak);

    while (peak < now && !atomic_compare_exchange_weak(&running_peak, &peak, now))
        continue;
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0)
        EXPECT_INT(errno, ==, EINTR);
}

static void run_gated(struct torc__job *job)
{
    struct gated *gated = container_of(job, struct gated, job);

    note_peak(atomic_fetch_add(&running, 1) + 1);
    if (gated->begun != NULL)
        sem_post(gated->begun);
    wait_for(gated->gate);
    atomic_fetch_sub(&running, 1);
    sem_post(gated->done);
}

static struct torc__pool *new_pool(unsigned threads_max, uint64_t idle_ns)
{
    const struct torc_options options = {.blocking_threads_max = threads_max,
                                         .blocking_idle_ns = idle_ns};
    struct torc__pool *pool;

    EXPECT(torc__pool_options_valid(&options));
    pool = torc__pool_create(&options);
    EXPECT(pool != NULL);
    return pool;
}

static void submit(struct torc__pool *pool, enum torc__lane lane, struct torc__job *job)
{
    EXPECT_INT(torc__pool_submit(pool, lane, job), ==, 0);
}

static struct torc__pool_stats stats(struct torc__pool *pool)
{
    struct torc__pool_stats answer;

    torc__pool_stats(pool, &answer);
    return answer;
}

/* A job that only says that it has run. */
struct quick {
    struct torc__job job;
    sem_t done;
    pthread_t thread;
    sigset_t blocked;
    char name[16];
};

static void run_quick(struct torc__job *job)
{
    struct quick *quick = container_of(job, struct quick, job);

    quick->thread = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &quick->blocked);
    pthread_getname_np(quick->thread, quick->name, sizeof(quick->name));
    sem_post(&quick->done);
}

static void do_quick(struct torc__pool *pool, enum torc__lane lane, struct quick *quick)
{
    *quick = (struct quick){.job = {.run = run_quick}};
    sem_init(&quick->done, 0, 0);
    submit(pool, lane, &quick->job);
    wait_for(&quick->done);
}

TEST(a_job_runs_on_a_named_thread_that_takes_no_signal_but_those_of_faults)
{
    struct torc__pool *pool = new_pool(0, 0);
    struct quick quick;

    EXPECT_UINT(stats(pool).threads, ==, 0);
    do_quick(pool, LANE_FILES, &quick);
    EXPECT(!pthread_equal(quick.thread, pthread_self()));
    EXPECT_STR(quick.name, "torc-blocking");
    EXPECT(sigismember(&quick.blocked, SIGTERM));
    EXPECT(sigismember(&quick.blocked, SIGXFSZ));
    EXPECT(!sigismember(&quick.blocked, SIGSEGV));
    EXPECT_UINT(stats(pool).threads, ==, 1);
    torc__pool_destroy(pool);
}

TEST(one_thread_does_for_work_that_comes_one_after_the_other)
{
    struct torc__pool *pool = new_pool(0, 0);
    struct quick quick;

    for (unsigned i = 1; i <= 50; i++) {
        do_quick(pool, i % LANE_COUNT, &quick);
        while (stats(pool).runs < i) /* Then the thread is free again. */
            sched_yield();
    }
    EXPECT_UINT(stats(pool).threads, ==, 1);
    torc__pool_destroy(pool);
}

#define MANY 40

/* Submits MANY gated jobs into one lane of a pool of `threads_max`; at most `limit` may run. */
static void expect_limit(enum torc__lane lane, unsigned threads_max, unsigned limit)
{
    static struct gated jobs[MANY];
    struct torc__pool *pool = new_pool(threads_max, 0);
    struct quick quick;
    sem_t gate;
    sem_t begun;
    sem_t done;

    sem_init(&gate, 0, 0);
    sem_init(&begun, 0, 0);
    sem_init(&done, 0, 0);
    atomic_store(&running_peak, 0);
    for (unsigned i = 0; i < MANY; i++) {
        jobs[i] = (struct gated){{.run = run_gated}, &gate, &begun, &done};
        submit(pool, lane, &jobs[i].job);
    }
    for (unsigned i = 0; i < limit; i++)
        wait_for(&begun); /* So many do run at a time. */
    for (unsigned other = 0; other < LANE_COUNT; other++) {
        if (other != lane)
            do_quick(pool, other, &quick);
    }
    EXPECT_UINT(stats(pool).threads, <=, threads_max);
    for (unsigned i = 0; i < MANY; i++)
        sem_post(&gate);
    for (unsigned i = 0; i < MANY; i++)
        wait_for(&done);
    EXPECT_UINT(atomic_load(&running_peak), ==, limit);
    torc__pool_destroy(pool);
}

TEST(a_lane_has_its_share_of_threads_and_starves_no_other)
{
    expect_limit(LANE_CALLS, 3, 1);
    expect_limit(LANE_FILES, 3, 1);
    expect_limit(LANE_NAMES, 3, 1);
    expect_limit(LANE_CALLS, 5, 3);
    expect_limit(LANE_FILES, 5, 1);
    expect_limit(LANE_CALLS, 16, 8);
    expect_limit(LANE_FILES, 16, 4);
    expect_limit(LANE_NAMES, 16, 4);
}

struct ordered {
    struct torc__job job;
    unsigned number;
};

static unsigned order[MANY];
static atomic_uint ordered_count;

static void run_ordered(struct torc__job *job)
{
    order[atomic_fetch_add(&ordered_count, 1)] = container_of(job, struct ordered, job)->number;
}

TEST(a_lane_is_served_first_come_first_served)
{
    static struct ordered jobs[MANY];
    struct torc__pool *pool = new_pool(3, 0);
    struct gated first;
    sem_t gate;
    sem_t done;

    sem_init(&gate, 0, 0);
    sem_init(&done, 0, 0);
    first = (struct gated){{.run = run_gated}, &gate, NULL, &done};
    submit(pool, LANE_CALLS, &first.job);
    for (unsigned i = 0; i < MANY; i++) {
        jobs[i] = (struct ordered){{.run = run_ordered}, i};
        submit(pool, LANE_CALLS, &jobs[i].job);
    }
    sem_post(&gate);
    while (stats(pool).runs < MANY + 1)
        sched_yield();
    for (unsigned i = 0; i < MANY; i++)
        EXPECT_UINT(order[i], ==, i);
    torc__pool_destroy(pool);
}

static void never(struct torc__job *job)
{
    (void)job;
    FAIL("a withdrawn job has run");
}

TEST(a_job_can_be_withdrawn_while_it_is_queued_and_not_later)
{
    struct torc__pool *pool = new_pool(3, 0);
    struct torc__job queued[3] = {{.run = never}, {.run = never}, {.run = never}};
    struct gated first;
    sem_t gate;
    sem_t begun;
    sem_t done;

    sem_init(&gate, 0, 0);
    sem_init(&begun, 0, 0);
    sem_init(&done, 0, 0);
    first = (struct gated){{.run = run_gated}, &gate, &begun, &done};
    submit(pool, LANE_NAMES, &first.job);
    wait_for(&begun);
    EXPECT(!torc__pool_withdraw(pool, &first.job));
    for (unsigned i = 0; i < 3; i++)
        submit(pool, LANE_NAMES, &queued[i]);
    EXPECT(torc__pool_withdraw(pool, &queued[1])); /* In the middle, at the end, and the last. */
    EXPECT(torc__pool_withdraw(pool, &queued[2]));
    EXPECT(torc__pool_withdraw(pool, &queued[0]));
    EXPECT(!torc__pool_withdraw(pool, &queued[0]));
    sem_post(&gate);
    wait_for(&done);
    EXPECT(!torc__pool_withdraw(pool, &first.job));
    torc__pool_destroy(pool);
}

TEST(threads_end_when_they_have_nothing_to_do_and_come_back_with_work)
{
    struct torc__pool *pool = new_pool(8, 1);
    struct quick quick;

    for (unsigned i = 0; i < 5; i++) {
        do_quick(pool, LANE_CALLS, &quick);
        while (stats(pool).threads > 0)
            sched_yield();
    }
    torc__pool_destroy(pool);
}

/* Submits from several threads at once, withdraws some, into threads that end all the time. */
struct storm {
    struct torc__pool *pool;
    atomic_uint run;
    unsigned withdrawn;
};

struct drop {
    struct torc__job job;
    struct storm *storm;
    sem_t done;
};

static void run_drop(struct torc__job *job)
{
    struct drop *drop = container_of(job, struct drop, job);

    atomic_fetch_add(&drop->storm->run, 1);
    sem_post(&drop->done);
}

static void *rain(void *arg)
{
    struct storm *storm = arg;
    struct drop drops[8];

    for (unsigned round = 0; round < harness_scaled(500); round++) {
        for (unsigned i = 0; i < 8; i++) {
            drops[i].job.run = run_drop;
            drops[i].storm = storm;
            sem_init(&drops[i].done, 0, 0);
            submit(storm->pool, harness_random_below(LANE_COUNT), &drops[i].job);
        }
        for (unsigned i = 0; i < 8; i++) {
            if (harness_random_below(4) == 0 && torc__pool_withdraw(storm->pool, &drops[i].job)) {
                storm->withdrawn++;
            } else {
                wait_for(&drops[i].done);
            }
        }
    }
    return NULL;
}

TEST(every_job_of_many_threads_runs_once_or_is_withdrawn)
{
    struct torc__pool *pool = new_pool(4, 1000);
    struct storm storms[3];
    pthread_t threads[3];

    for (unsigned i = 0; i < 3; i++) {
        storms[i] = (struct storm){.pool = pool};
        EXPECT_INT(pthread_create(&threads[i], NULL, rain, &storms[i]), ==, 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        EXPECT_UINT(atomic_load(&storms[i].run) + storms[i].withdrawn, ==, 8 * harness_scaled(500));
    }
    torc__pool_destroy(pool);
}

TEST(a_pool_that_can_start_no_thread_refuses_and_one_that_has_some_goes_on)
{
    struct torc__job refused = {.run = never};
    struct torc__pool *pool;
    struct rlimit before;
    struct rlimit none;
    struct quick quick;

    if (harness_is_slow())
        SKIP("sanitizers and valgrind need address space themselves");
    pool = new_pool(0, 0);
    EXPECT_INT(getrlimit(RLIMIT_AS, &before), ==, 0);
    none = (struct rlimit){1, before.rlim_max};
    EXPECT_INT(setrlimit(RLIMIT_AS, &none), ==, 0);
    EXPECT_INT(torc__pool_submit(pool, LANE_FILES, &refused), ==, -EAGAIN);
    EXPECT_INT(setrlimit(RLIMIT_AS, &before), ==, 0);
    EXPECT_UINT(stats(pool).threads, ==, 0);

    do_quick(pool, LANE_FILES, &quick);
    EXPECT_INT(setrlimit(RLIMIT_AS, &none), ==, 0);
    do_quick(pool, LANE_CALLS, &quick);
    EXPECT_UINT(stats(pool).threads, ==, 1);
    EXPECT_INT(setrlimit(RLIMIT_AS, &before), ==, 0);
    torc__pool_destroy(pool);
}

TEST(options_out_of_their_ranges_are_told)
{
    EXPECT(torc__pool_options_valid(&(struct torc_options){0}));
    EXPECT(!torc__pool_options_valid(&(struct torc_options){.blocking_threads_max = 2}));
    EXPECT(torc__pool_options_valid(&(struct torc_options){.blocking_threads_max = 3}));
    EXPECT(torc__pool_options_valid(&(struct torc_options){.blocking_threads_max = 4096}));
    EXPECT(!torc__pool_options_valid(&(struct torc_options){.blocking_threads_max = 4097}));
    EXPECT(!torc__pool_options_valid(&(struct torc_options){.blocking_idle_ns = UINT64_MAX}));
}

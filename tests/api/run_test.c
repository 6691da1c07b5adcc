/* SPDX-License-Identifier: MIT */
/*
 * run_test.c - runtimes: shards, results, stopping, options, and one after the other.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <torc/torc.h>
#include <unistd.h>

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int give_back(void *arg)
{
    return *(const int *)arg;
}

/* ---- Shards ---- */

static atomic_uint shards_seen;

static int note_shard(void *arg)
{
    EXPECT(torc_on_shard());
    EXPECT_UINT(torc_shard_count(), ==, *(const unsigned *)arg);
    EXPECT_UINT(torc_shard_index(), <, torc_shard_count());
    atomic_fetch_or(&shards_seen, 1u << torc_shard_index());
    return torc_sleep(TORC_MILLISECOND);
}

TEST(main_runs_on_every_shard_and_each_knows_its_number)
{
    NEEDS_THREADS();
    for (unsigned count = 1; count <= 5; count++) {
        const struct torc_options options = {.shards = (int)count, .no_pin = true};

        atomic_store(&shards_seen, 0);
        harness_run_with(&options, note_shard, &count);
        EXPECT_UINT(atomic_load(&shards_seen), ==, (1u << count) - 1);
    }
    EXPECT(!torc_on_shard());
}

static int count_shards(void *arg)
{
    if (torc_shard_index() == 0) /* All shards would write the same, but race. */
        *(unsigned *)arg = torc_shard_count();
    return 0;
}

TEST(all_cpus_means_those_that_the_process_may_use)
{
    const struct torc_options options = {.shards = TORC_ALL_CPUS};
    unsigned count = 0;
    cpu_set_t cpus;

    NEEDS_THREADS();
    EXPECT_INT(sched_getaffinity(0, sizeof(cpus), &cpus), ==, 0);
    EXPECT_INT(torc_run(count_shards, &count, &options), ==, 0);
    EXPECT_INT(count, ==, CPU_COUNT(&cpus));
}

static atomic_int cpus_seen[2];

static int note_cpus(void *arg)
{
    cpu_set_t cpus;

    (void)arg;
    EXPECT_INT(sched_getaffinity(0, sizeof(cpus), &cpus), ==, 0);
    atomic_store(&cpus_seen[torc_shard_index()], CPU_COUNT(&cpus) == 1 ? sched_getcpu() : -1);
    return 0;
}

TEST(several_shards_are_pinned_and_the_calling_thread_is_freed_again)
{
    const int order[2] = {1, 0};
    struct torc_options options = {.shards = 2};
    cpu_set_t before;
    cpu_set_t after;

    NEEDS_THREADS();
    EXPECT_INT(sched_getaffinity(0, sizeof(before), &before), ==, 0);
    if (!CPU_ISSET(0, &before) || !CPU_ISSET(1, &before))
        SKIP("this needs CPUs 0 and 1");
    EXPECT_INT(torc_run(note_cpus, NULL, &options), ==, 0);
    EXPECT_INT(atomic_load(&cpus_seen[0]), ==, 0);
    EXPECT_INT(atomic_load(&cpus_seen[1]), ==, 1);
    options.cpus = order;
    options.cpu_count = 2;
    EXPECT_INT(torc_run(note_cpus, NULL, &options), ==, 0);
    EXPECT_INT(atomic_load(&cpus_seen[0]), ==, 1);
    EXPECT_INT(atomic_load(&cpus_seen[1]), ==, 0);
    EXPECT_INT(sched_getaffinity(0, sizeof(after), &after), ==, 0);
    EXPECT(CPU_EQUAL(&before, &after));

    if (CPU_COUNT(&before) > 1) {
        options = (struct torc_options){.shards = 2, .no_pin = true};
        EXPECT_INT(torc_run(note_cpus, NULL, &options), ==, 0);
        EXPECT_INT(atomic_load(&cpus_seen[0]), ==, -1);
        EXPECT_INT(atomic_load(&cpus_seen[1]), ==, -1);
    }
}

/* ---- Results ---- */

static int fail_on_one(void *arg)
{
    if (torc_shard_index() == *(const unsigned *)arg)
        return -EIO;
    EXPECT_INT(torc_sleep_until(TORC_FOREVER), ==, -ECANCELED);
    return -ECANCELED;
}

TEST(a_shard_whose_main_fails_stops_the_others)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    for (unsigned loser = 0; loser < 3; loser++)
        EXPECT_INT(harness_run_result(&options, fail_on_one, &loser), ==, -EIO);
}

struct results {
    int main;
    int fibers[2];
};

static int give_results(void *arg)
{
    const struct results *results = arg;

    harness_spawn(NULL, give_back, (void *)&results->fibers[0]);
    harness_spawn(NULL, give_back, (void *)&results->fibers[1]);
    torc_yield();
    EXPECT_INT(torc_cancelled(), ==, 0); /* The root scope supervises. */
    return results->main;
}

static void expect_result(int main_result, int first, int second, int expected)
{
    struct results results = {main_result, {first, second}};

    EXPECT_INT(harness_run_result(NULL, give_results, &results), ==, expected);
}

TEST(the_result_of_a_run_is_the_first_failure_of_main_else_of_a_fiber_else_0)
{
    expect_result(0, 0, 0, 0);
    expect_result(42, 7, 7, 0);
    expect_result(-EIO, 0, 0, -EIO);
    expect_result(-EIO, -EPIPE, -EBADF, -EIO);
    expect_result(0, -EPIPE, -EBADF, -EPIPE);
    expect_result(0, 0, -EBADF, -EBADF);
}

static int stop_and_see(void *arg)
{
    (void)arg;
    if (torc_shard_index() == 1) {
        torc_stop();
        torc_stop();
    }
    EXPECT_INT(torc_sleep_until(TORC_FOREVER), ==, -ECANCELED);
    return -ECANCELED; /* The cancellation itself is no failure. */
}

TEST(stopping_on_one_shard_ends_the_waits_on_all)
{
    struct torc_options options = {.shards = 2, .no_pin = true};

    NEEDS_THREADS();
    EXPECT_INT(harness_run_result(&options, stop_and_see, NULL), ==, 0);
}

static int run_inside(void *arg)
{
    *(int *)arg = torc_run(do_nothing, NULL, NULL);
    return 0;
}

TEST(a_run_inside_a_run_is_refused)
{
    int result = 0;

    harness_run_with(NULL, run_inside, &result);
    EXPECT_INT(result, ==, -EBUSY);
}

static void *run_on_thread(void *arg)
{
    for (int i = 0; i < 50; i++)
        EXPECT_INT(torc_run(count_shards, arg, NULL), ==, 0);
    return NULL;
}

TEST(runs_on_several_threads_do_not_disturb_each_other)
{
    pthread_t threads[4];
    unsigned counts[4];

    NEEDS_THREADS();
    for (int i = 0; i < 4; i++)
        threads[i] = harness_thread(run_on_thread, &counts[i]);
    for (int i = 0; i < 4; i++)
        harness_join(threads[i]);
}

/* ---- Options ---- */

TEST(options_out_of_range_are_refused)
{
    const int missing_cpu = 100000;
    const int negative_cpu = -1;
    const struct torc_options wrong[] = {
        {.shards = -2},
        {.shards = 1025},
        {.driver = (enum torc_driver_choice)99},
        {.forbid = 1u << 31},
        {.entries = 255},
        {.entries = 32769},
        {.completion_entries = 1},
        {.completion_entries = 8191},
        {.busy_poll = (enum torc_busy_poll)99},
        {.busy_poll_ns = TORC_SECOND + 1},
        {.timer_slack_ns = TORC_SECOND + 1},
        {.stack_size = (16 << 10) - 1},
        {.stack_size = (64 << 20) + 1},
        {.shards = 2, .cpus = &missing_cpu, .cpu_count = 1},
        {.shards = 1, .cpus = &missing_cpu, .cpu_count = 1},
        {.shards = 1, .cpus = &negative_cpu, .cpu_count = 1},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct torc_driver_report report;
        const int result = torc_run(do_nothing, NULL, &wrong[i]);

        EXPECT_MSG(result == -EINVAL, "number %zu: %s", i, torc_strerror(result));
        if (i >= 2 && i <= 7)
            EXPECT_INT(torc_driver_report(&wrong[i], &report), ==, -EINVAL);
    }
}

static int sleep_a_little(void *arg)
{
    (void)arg;
    harness_pass_kernel();
    return torc_sleep(100 * TORC_MICROSECOND);
}

TEST(options_at_the_edge_of_their_range_work)
{
    const struct torc_options right[] = {
        {.driver = TORC_DRIVER_URING},
        {.entries = 256},
        {.entries = 300},
        {.entries = 32768, .completion_entries = 65536},
        {.busy_poll = TORC_BUSY_POLL_OFF},
        {.busy_poll = TORC_BUSY_POLL_FIXED, .busy_poll_ns = 1},
        {.busy_poll = TORC_BUSY_POLL_ADAPTIVE, .busy_poll_ns = TORC_SECOND / 100},
        {.timer_slack_ns = 1},
        {.timer_slack_ns = TORC_SECOND},
        {.stack_size = 16 << 10},
        {.stack_size = harness_is_slow() ? 1 << 20 : 64 << 20},
        {.fibers_max = 1},
        {.forbid = TORC_FEATURE_ALL},
        {.no_fault_handler = true, .no_pin = true},
    };

    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        const int result = harness_run_result(&right[i], sleep_a_little, NULL);

        EXPECT_MSG(result == 0, "number %zu: %s", i, torc_strerror(result));
    }
}

/* ---- One after the other ---- */

static unsigned long virtual_pages(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    EXPECT(file != NULL);
    EXPECT_INT(fscanf(file, "%lu", &pages), ==, 1);
    fclose(file);
    return pages;
}

static int receive_forever(void *arg)
{
    char byte;
    int fds[2];

    (void)arg;
    harness_unix_pair(fds);
    EXPECT_INT(torc_recv(fds[0], &byte, 1, 0), ==, -ECANCELED);
    harness_close_pair(fds);
    return 0;
}

static int leave_many_fibers(void *arg)
{
    for (int i = 0; i < 100; i++)
        harness_spawn(NULL, receive_forever, arg);
    harness_pass_kernel();
    return 0;
}

TEST(two_hundred_runs_in_a_row_leave_no_mapping_and_no_descriptor)
{
    const unsigned runs = harness_scaled(200);
    unsigned long pages = 0;
    unsigned fds = 0;

    for (unsigned i = 0; i < runs + 5; i++) {
        EXPECT_INT(torc_run(leave_many_fibers, NULL, NULL), ==, 0);
        if (i == 5) {
            pages = virtual_pages();
            fds = harness_open_fds();
        }
    }
    EXPECT_UINT(harness_open_fds(), ==, fds);
    if (!harness_is_slow())
        EXPECT_UINT(virtual_pages(), <, pages + 100); /* Half a page a run would be too much. */
}

TEST(a_run_after_a_failed_one_is_as_good_as_new)
{
    const struct torc_options wrong = {.entries = 1};
    const int failure = -EIO;

    for (int i = 0; i < 10; i++) {
        EXPECT_INT(torc_run(do_nothing, NULL, &wrong), ==, -EINVAL);
        EXPECT_INT(torc_run(give_back, (void *)&failure, NULL), ==, -EIO);
        EXPECT_INT(torc_run(sleep_a_little, NULL, NULL), ==, 0);
    }
}

TEST(the_signal_mask_of_the_calling_thread_is_as_before)
{
    sigset_t before;
    sigset_t after;

    EXPECT_INT(pthread_sigmask(SIG_SETMASK, NULL, &before), ==, 0);
    EXPECT_INT(torc_run(sleep_a_little, NULL, NULL), ==, 0);
    EXPECT_INT(pthread_sigmask(SIG_SETMASK, NULL, &after), ==, 0);
    for (int i = 1; i < 64; i++)
        EXPECT_MSG(sigismember(&before, i) == sigismember(&after, i), "signal %d", i);
}

/* ---- A main that cannot start ---- */

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return torc_sleep_until(TORC_FOREVER);
}

static void limit_address_space(unsigned long bytes_more)
{
    const struct rlimit limit = {bytes_more == 0
                                     ? RLIM_INFINITY
                                     : virtual_pages() * (rlim_t)sysconf(_SC_PAGESIZE) + bytes_more,
                                 RLIM_INFINITY};

    EXPECT_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
}

/*
 * The stacks of one shard take 64 GiB of address space: with room for one of them, one main runs
 * and the others cannot.
 */
TEST(a_main_that_has_no_memory_to_start_ends_the_run_on_all_shards)
{
    const unsigned long room[] = {1ul << 30, 100ul << 30};
    struct torc_options options = {.stack_size = 64 << 20, .no_pin = true};

    if (harness_is_slow())
        SKIP("sanitizers and valgrind take more address space than this");
    for (unsigned i = 0; i < 2; i++) {
        for (options.shards = 1; options.shards <= 3; options.shards++) {
            if (room[i] >> 36 != 0 && options.shards == 1)
                continue; /* It would start, and sleep. */
            limit_address_space(room[i]);
            EXPECT_INT(torc_run(sleep_for_ever, NULL, &options), ==, -ENOMEM);
            limit_address_space(0);
        }
    }
    EXPECT_INT(torc_run(do_nothing, NULL, NULL), ==, 0);
}

TEST(with_room_for_one_fiber_main_runs_and_starts_no_other)
{
    const struct torc_options options = {.fibers_max = 1, .shards = 2, .no_pin = true};

    EXPECT_INT(torc_run(do_nothing, NULL, &options), ==, 0);
}

/* ---- Many runtimes ---- */

TEST(thousands_of_runtimes_one_after_the_other_leave_nothing)
{
    const struct torc_options options = {.entries = 256};
    const unsigned runs = harness_scaled(10000);
    const uint64_t enough_ns = torc_now() + 8 * TORC_SECOND;
    unsigned long pages = 0;
    unsigned fds = 0;

    for (unsigned i = 0; i < runs && (i < 100 || torc_now() < enough_ns); i++) {
        EXPECT_INT(torc_run(do_nothing, NULL, &options), ==, 0);
        if (i == 20) {
            pages = virtual_pages();
            fds = harness_open_fds();
        }
    }
    EXPECT_UINT(harness_open_fds(), ==, fds);
    if (!harness_is_slow())
        EXPECT_UINT(virtual_pages(), <, pages + 50);
}

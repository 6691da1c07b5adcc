/* SPDX-License-Identifier: MIT */
/*
 * blocking_test.c - calls of all lanes by fibers of several shards, whose scopes and runtimes end
 * at any moment; with tests/api/blocking_test.c.
 *
 * Each call has a word of its own, which is never used again, and goes through
 *
 *     WAITING --runs--> RUNNING --has run--> RAN --its caller goes on--> GONE
 *        '------------------its caller goes on without it-----------------^
 */
#include "base/compiler.h"
#include "harness/run.h"
#include "io/blocking.h"
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <torc/torc.h>

#define SHARDS_MAX 3
#define CALLS_MAX  (1u << 18)

enum call_state {
    WAITING,
    RUNNING,
    RAN,
    GONE,
};

static atomic_uchar calls[CALLS_MAX];
static atomic_uint begun; /* So many of these are in use. */
static atomic_uint ran;
static atomic_uint given_up;

/* Whether the process has a thread of a pool. */
static bool has_pool_thread(void)
{
    DIR *folder = opendir("/proc/self/task");
    const struct dirent *entry;
    bool found = false;

    EXPECT(folder != NULL);
    while ((entry = readdir(folder)) != NULL) {
        char path[300];
        char name[32] = "";
        FILE *file;

        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "re");
        if (file == NULL)
            continue;
        found = (fgets(name, sizeof(name), file) != NULL && strcmp(name, "torc-blocking\n") == 0) ||
                found;
        fclose(file);
    }
    closedir(folder);
    return found;
}

static void keep_busy(uint64_t time_ns)
{
    const uint64_t until_ns = torc_now() + time_ns;

    while (torc_now() < until_ns)
        ;
}

/* ---- Calls ---- */

static int run(void *arg)
{
    atomic_uchar *call = arg;

    EXPECT_INT(atomic_exchange(call, RUNNING), ==, WAITING);
    if (harness_random_below(4) == 0)
        keep_busy(harness_random_below(200000));
    EXPECT_INT(atomic_exchange(call, RAN), ==, RUNNING);
    return 42;
}

static void note(atomic_uchar *call, int result)
{
    const int before = atomic_exchange(call, GONE);

    if (result == 42) {
        EXPECT_INT(before, ==, RAN);
        atomic_fetch_add(&ran, 1);
        return;
    }
    EXPECT(result == -ECANCELED || result == -ETIME);
    EXPECT_INT(before, ==, WAITING);
    atomic_fetch_add(&given_up, 1);
}

/* False when there are no calls left. */
static bool make_call(bool is_shielded)
{
    const unsigned number = atomic_fetch_add(&begun, 1);
    const enum torc__lane lane = harness_random_below(LANE_COUNT);
    atomic_uchar *call = &calls[number];
    int result;

    if (number >= CALLS_MAX)
        return false;
    result =
        is_shielded ? torc__blocking_shielded(lane, run, call) : torc__blocking(lane, run, call);
    EXPECT(!is_shielded || result == 42);
    note(call, result);
    return true;
}

static int make_calls(void *arg)
{
    unsigned left = harness_random_below(20);

    (void)arg;
    while (left-- > 0 && make_call(harness_random_below(8) == 0))
        ;
    return 0;
}

/* Calls by several fibers of a scope with a deadline, or that is cancelled; or by this one. */
static int be_impatient(void *arg)
{
    struct torc_scope scope;

    (void)arg;
    while (torc_cancelled() == 0 && atomic_load(&begun) < CALLS_MAX) {
        torc_scope_open(&scope, 0);
        if (harness_random_below(2) == 0)
            torc_scope_set_timeout(&scope, harness_random_below(500000));
        for (unsigned i = harness_random_below(6); i > 0; i--)
            harness_spawn(&scope, make_calls, NULL);
        (void)make_call(false);
        harness_yield_or_end(&(unsigned){harness_random_below(10)});
        if (harness_random_below(2) == 0)
            torc_scope_cancel(&scope);
        (void)torc_scope_close(&scope);
    }
    return 0;
}

/* ---- Runs ---- */

/* Ends after a while, as all shards do then: by an end of its own, or a stop. */
static int live(void *arg)
{
    const unsigned fibers = 1 + harness_random_below(8);

    (void)arg;
    for (unsigned i = 0; i < fibers; i++)
        harness_spawn(NULL, be_impatient, NULL);
    (void)torc_sleep(harness_random_below(10000000));
    if (harness_random_below(2) == 0)
        torc_stop();
    return 0;
}

TEST(a_call_runs_once_or_never_and_not_after_its_caller_has_gone_on)
{
    NEEDS_THREADS();
    for (unsigned i = 0; i < harness_scaled(100); i++) {
        const struct torc_options options = {
            .shards = 1 + (int)harness_random_below(SHARDS_MAX),
            .no_pin = true,
            .blocking_threads_max = 3 + harness_random_below(6),
            .blocking_idle_ns = 1 + harness_random_below(1000000),
        };

        EXPECT_INT(torc_run(live, NULL, &options), ==, 0);
        while (has_pool_thread()) /* One that was joined may still be listed. */
            sched_yield();
    }
    EXPECT_UINT(atomic_load(&begun), >, 1000);
    for (unsigned i = 0; i < atomic_load(&begun) && i < CALLS_MAX; i++)
        EXPECT_INT(atomic_load(&calls[i]), ==, GONE);
    EXPECT_UINT(atomic_load(&ran), >, 0);
    EXPECT_UINT(atomic_load(&given_up), >, 0);
}

/* SPDX-License-Identifier: MIT */
/*
 * rules_rest_test.c - the numbered rules of cancellation that speak of timeouts around one call,
 * shutting down, other threads, spinning, and errno.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <torc/torc.h>
#include <unistd.h>

#define A_WHILE (5 * TORC_MILLISECOND)

static int wait_forever(void *arg)
{
    int *ret_result = arg;

    *ret_result = torc_sleep_until(TORC_FOREVER);
    return *ret_result;
}

/* ---- 24: one call with a timeout ---- */

static ssize_t recv_for(int fd, void *data, size_t size, uint64_t timeout_ns)
{
    struct torc_scope scope;
    ssize_t result;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, timeout_ns);
    result = torc_recv(fd, data, size, 0);
    torc_scope_close(&scope);
    return result;
}

FIBER_TEST(rule_24_a_scope_around_one_call_is_its_timeout)
{
    char data[8];
    int fds[2];
    const uint64_t start = torc_now();

    harness_tcp_pair(fds);
    EXPECT_INT(recv_for(fds[0], data, sizeof(data), A_WHILE), ==, -ETIME);
    EXPECT_UINT(torc_now() - start, >=, A_WHILE);
    EXPECT_INT(torc_cancelled(), ==, 0);
    harness_put(fds[1], "abc", 3);
    EXPECT_INT(recv_for(fds[0], data, sizeof(data), 10 * TORC_SECOND), ==, 3);
    EXPECT_INT(recv_for(fds[0], data, sizeof(data), A_WHILE), ==, -ETIME);
    harness_close_pair(fds);
}

/* Receive a byte that is there. Returns how many timeouts came, which they do where all stalls. */
static unsigned recv_in_time(int fd)
{
    unsigned late = 0;
    ssize_t result;

    do {
        struct torc_scope scope;
        char byte;

        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, 20 * TORC_MILLISECOND);
        result = torc_recv(fd, &byte, 1, 0);
        late += torc_scope_close(&scope) == -ETIME;
    } while (result == -ETIME);
    EXPECT_INT(result, ==, 1);
    return late;
}

FIBER_TEST(rule_24_a_timeout_that_did_not_come_leaves_nothing_behind)
{
    struct torc_stats before;
    struct torc_stats after;
    unsigned late = 0;
    int fds[2];

    harness_tcp_pair(fds);
    torc_stats(&before);
    for (int i = 0; i < 1000; i++) {
        harness_put(fds[1], "x", 1);
        late += recv_in_time(fds[0]);
    }
    EXPECT_INT(torc_sleep(40 * TORC_MILLISECOND), ==, 0);
    torc_stats(&after);
    EXPECT_UINT(after.timers_fired - before.timers_fired, <=, late + 2);
    if (late == 0)
        EXPECT_UINT(after.ops - before.ops, ==, 1000); /* No operation for the timeout. */
    harness_close_pair(fds);
}

/* ---- 26: shutting down ---- */

static int receive_forever(void *arg)
{
    char byte;
    int *ret_result = arg;
    int fds[2];

    harness_unix_pair(fds);
    *ret_result = (int)torc_recv(fds[0], &byte, 1, 0);
    harness_close_pair(fds);
    return *ret_result;
}

static int leave_fibers(void *arg)
{
    int *results = arg;

    harness_spawn(NULL, wait_forever, &results[0]);
    harness_spawn(NULL, receive_forever, &results[1]);
    harness_pass_kernel();
    return 0;
}

TEST(rule_26_when_main_returns_the_root_scope_is_cancelled_and_waited_for)
{
    int results[2] = {1, 1};

    EXPECT_INT(harness_run_result(NULL, leave_fibers, results), ==, 0);
    EXPECT_INT(results[0], ==, -ECANCELED);
    EXPECT_INT(results[1], ==, -ECANCELED);
}

static int refuse_to_end(void *arg)
{
    struct torc_scope shield;

    (void)arg;
    torc_fiber_set_name("stubborn");
    torc_scope_open(&shield, TORC_SHIELD);
    torc_sleep(200 * TORC_MILLISECOND);
    return torc_scope_close(&shield);
}

static int leave_stubborn(void *arg)
{
    harness_spawn(NULL, refuse_to_end, arg);
    return torc_yield();
}

static void run_stubborn(void)
{
    const struct torc_options options = {.shutdown_warn_ns = 10 * TORC_MILLISECOND};

    _exit(torc_run(leave_stubborn, NULL, &options) == 0 ? 7 : 8);
}

TEST(rule_26_fibers_that_do_not_end_in_time_are_named_and_still_waited_for)
{
    struct harness_death death;

    harness_watch_death(run_stubborn, &death);
    EXPECT_MSG(WIFEXITED(death.status) && WEXITSTATUS(death.status) == 7, "status 0x%x, said: %s",
               (unsigned)death.status, death.text);
    EXPECT_MSG(strstr(death.text, "stubborn") != NULL, "said: %s", death.text);
}

static int spin_forever_in_main(void *arg)
{
    (void)arg;
    torc_stop();
    EXPECT_INT(torc_cancelled() == 0 || torc_cancelled() == -ECANCELED, ==, 1);
    EXPECT_INT(torc_sleep_until(TORC_FOREVER), ==, -ECANCELED);
    return 0;
}

TEST(rule_26_stopping_cancels_the_root_scope_of_every_shard)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    EXPECT_INT(harness_run_result(&options, spin_forever_in_main, NULL), ==, 0);
}

/* ---- 27: other threads ---- */

static void *cancel_by_token(void *arg)
{
    torc_token_cancel(arg);
    torc_token_cancel(arg);
    torc_token_release(arg);
    return NULL;
}

FIBER_TEST_WITH_THREADS(rule_27_a_token_cancels_a_scope_from_another_thread)
{
    for (int i = 0; i < 50; i++) {
        struct torc_token *token;
        struct torc_scope scope;
        pthread_t thread;

        torc_scope_open(&scope, 0);
        EXPECT_INT(torc_scope_token(&scope, &token), ==, 0);
        thread = harness_thread(cancel_by_token, torc_token_acquire(token));
        EXPECT_INT(torc_sleep_until(TORC_FOREVER), ==, -ECANCELED);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
        harness_join(thread);
        torc_token_release(token);
    }
}

static struct torc_token *kept_token;

static int keep_token(void *arg)
{
    struct torc_token *again;
    struct torc_scope scope;

    (void)arg;
    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_scope_token(&scope, &kept_token), ==, 0);
    EXPECT_INT(torc_scope_token(&scope, &again), ==, 0); /* The same, once more. */
    torc_token_release(again);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_token_cancel(kept_token);
    return torc_yield();
}

TEST(rule_27_a_token_outlives_its_scope_and_its_runtime_harmlessly)
{
    EXPECT_INT(torc_run(keep_token, NULL, NULL), ==, 0);
    torc_token_cancel(kept_token);
    torc_token_release(kept_token);
    torc_token_release(NULL);
}

static void *cancel_and_race(void *arg)
{
    for (int i = 0; i < 3; i++)
        torc_token_cancel(arg);
    torc_token_release(arg);
    return NULL;
}

static int race_with_the_end(void *arg)
{
    pthread_t *thread = arg;
    struct torc_token *token;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    EXPECT_INT(torc_scope_token(&scope, &token), ==, 0);
    *thread = harness_thread(cancel_and_race, token);
    for (uint32_t turns = harness_random_below(50); turns > 0; turns--)
        torc_yield();
    torc_scope_close(&scope);
    return 0;
}

TEST(rule_27_a_token_may_race_with_the_end_of_everything)
{
    NEEDS_THREADS();
    for (int i = 0; i < 100; i++) {
        pthread_t thread;

        EXPECT_INT(torc_run(race_with_the_end, &thread, NULL), ==, 0);
        harness_join(thread);
    }
}

/* ---- 28: spinning ---- */

static int set_flag(void *arg)
{
    *(bool *)arg = true;
    return 0;
}

static int accept_until_flag(void *arg)
{
    struct torc_address address;
    struct torc_scope scope;
    volatile bool flag = false;
    const int listener = harness_listener(&address);

    (void)arg;
    torc_fiber_set_name("spinner");
    harness_spawn(NULL, set_flag, (void *)&flag);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    while (!flag)
        EXPECT_INT(torc_accept(listener, NULL), ==, -ECANCELED);
    torc_scope_close(&scope);
    close(listener);
    return 0;
}

static void run_spinner(void)
{
    _exit(torc_run(accept_until_flag, NULL, NULL) == 0 ? 7 : 8);
}

TEST(rule_28_a_fiber_that_spins_on_a_reason_is_made_to_yield_and_is_named)
{
    struct harness_death death;

    harness_watch_death(run_spinner, &death);
    EXPECT_MSG(WIFEXITED(death.status) && WEXITSTATUS(death.status) == 7, "status 0x%x, said: %s",
               (unsigned)death.status, death.text);
    EXPECT_MSG(strstr(death.text, "spinner") != NULL, "said: %s", death.text);
}

static int yield_until_flag(void *arg)
{
    struct torc_scope scope;
    volatile bool flag = false;

    (void)arg;
    harness_spawn(NULL, set_flag, (void *)&flag);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    while (!flag)
        EXPECT_INT(torc_yield(), ==, -ECANCELED);
    torc_scope_close(&scope);
    return 0;
}

TEST(rule_28_spinning_on_yield_does_not_stop_the_others_either)
{
    harness_run_with(NULL, yield_until_flag, NULL);
}

/* ---- 29: errno ---- */

static int change_errno(void *arg)
{
    int *const other = arg;

    errno = 77;
    for (int i = 0; i < 20; i++) {
        torc_yield();
        *other += errno == 77;
        errno = 77;
    }
    return 0;
}

FIBER_TEST(rule_29_errno_is_a_fibers_own_and_no_call_touches_it)
{
    struct torc_address dead = harness_dead_address();
    struct torc_scope scope;
    int intact = 0;
    char byte;

    torc_scope_open(&scope, 0);
    harness_spawn(&scope, change_errno, &intact);
    errno = 1234;
    EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_INT(errno, ==, 1234);
    EXPECT_INT(torc_recv(-1, &byte, 1, 0), ==, -EBADF);
    EXPECT_INT(errno, ==, 1234);
    EXPECT_INT(torc_tcp_connect(&dead, 1, NULL), ==, -ECONNREFUSED);
    EXPECT_INT(errno, ==, 1234);
    EXPECT_INT(torc_bind(-1, &dead), ==, -EBADF);
    EXPECT_INT(errno, ==, 1234);
    EXPECT_INT(torc_socket(-1, -1, -1), <, 0);
    EXPECT_INT(errno, ==, 1234);
    EXPECT_INT(torc_close(-1), ==, -EBADF);
    EXPECT_INT(errno, ==, 1234);
    EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
    EXPECT_INT(errno, ==, 1234);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(errno, ==, 1234);
    EXPECT_INT(intact, ==, 20);
}

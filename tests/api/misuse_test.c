/* SPDX-License-Identifier: MIT */
/*
 * misuse_test.c - programs that are wrong are told what is wrong, and where.
 */
#include "harness/deny.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <torc/torc.h>
#include <unistd.h>

static struct torc_mutex mutex;
static struct torc_rwlock rwlock;
static struct torc_shared_mutex shared;

/* Run a fiber, named, that makes a mistake. */
static void run_wrong(torc_fiber_fn *body)
{
    const struct torc_options options = {0};

    (void)torc_run(body, NULL, &options);
}

static int end_with_a_scope_open(void *arg)
{
    static struct torc_scope scope;

    (void)arg;
    torc_fiber_set_name("forgetful");
    torc_scope_open(&scope, 0);
    return 0;
}

static int end_with_a_mutex_held(void *arg)
{
    (void)arg;
    return torc_mutex_lock(&mutex);
}

static int end_with_a_write_lock_held(void *arg)
{
    (void)arg;
    return torc_rwlock_write_lock(&rwlock);
}

static int end_with_a_shared_mutex_held(void *arg)
{
    (void)arg;
    return torc_shared_mutex_lock(&shared);
}

static int spawn_and_wait(torc_fiber_fn *body)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    if (torc_scope_spawn(&scope, body, NULL) < 0)
        abort();
    return torc_scope_close(&scope);
}

#define WRONG_FIBER(name, body)          \
    static int main_of_##name(void *arg) \
    {                                    \
        (void)arg;                       \
        return spawn_and_wait(body);     \
    }                                    \
    static void run_##name(void)         \
    {                                    \
        run_wrong(main_of_##name);       \
    }

WRONG_FIBER(scope_open, end_with_a_scope_open)
WRONG_FIBER(mutex_held, end_with_a_mutex_held)
WRONG_FIBER(write_lock_held, end_with_a_write_lock_held)
WRONG_FIBER(shared_mutex_held, end_with_a_shared_mutex_held)

TEST(a_fiber_that_ends_with_a_scope_open_is_told_so)
{
    harness_expect_death(run_scope_open, SIGABRT, "misuse: a fiber has ended with a scope open");
    harness_expect_death(run_scope_open, SIGABRT, "\"forgetful\"");
}

TEST(a_fiber_that_ends_with_a_lock_held_is_told_so)
{
    harness_expect_death(run_mutex_held, SIGABRT, "misuse: a fiber has ended with a lock held");
    harness_expect_death(run_write_lock_held, SIGABRT, "a fiber has ended with a lock held");
    harness_expect_death(run_shared_mutex_held, SIGABRT, "a fiber has ended with a lock held");
}

static int unlock_for_others(void *arg)
{
    (void)arg;
    torc_mutex_unlock(&mutex);
    return 0;
}

static int hold_and_let_unlock(void *arg)
{
    (void)arg;
    if (torc_mutex_lock(&mutex) < 0)
        abort();
    return spawn_and_wait(unlock_for_others);
}

static void run_unlock_of_others(void)
{
    run_wrong(hold_and_let_unlock);
}

TEST(who_unlocks_what_another_holds_is_told_so)
{
    harness_expect_death(run_unlock_of_others, SIGABRT,
                         "misuse: a mutex is unlocked by who does not hold it");
}

/* ---- Locks that are given back are owed no more ---- */

static int lock_in_turn(void *arg)
{
    (void)arg;
    EXPECT_INT(torc_mutex_lock(&mutex), ==, 0);
    EXPECT_INT(torc_yield(), ==, 0);
    torc_mutex_unlock(&mutex);
    EXPECT_INT(torc_rwlock_write_lock(&rwlock), ==, 0);
    EXPECT_INT(torc_yield(), ==, 0);
    torc_rwlock_downgrade(&rwlock);
    EXPECT_INT(torc_yield(), ==, 0);
    torc_rwlock_read_unlock(&rwlock);
    EXPECT_INT(torc_shared_mutex_lock(&shared), ==, 0);
    EXPECT_INT(torc_yield(), ==, 0);
    torc_shared_mutex_unlock(&shared);
    if (torc_mutex_try_lock(&mutex) == 0)
        torc_mutex_unlock(&mutex);
    return 0;
}

FIBER_TEST(a_lock_that_went_from_hand_to_hand_is_held_by_nobody_at_the_end)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (int i = 0; i < 8; i++)
        EXPECT_INT(torc_scope_spawn(&scope, lock_in_turn, NULL), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_mutex_finish(&mutex);
    torc_rwlock_finish(&rwlock);
    torc_shared_mutex_finish(&shared);
}

/* ---- A descriptor that is closed under an operation ---- */

static int pair[2];

static int receive(void *arg)
{
    char byte;

    (void)arg;
    torc_fiber_set_name("receiver");
    return (int)torc_recv(pair[0], &byte, 1, 0);
}

/* Aborts, so that what was written is looked at. */
static int close_under_a_receiver(void *arg)
{
    (void)arg;
    if (torc_unix_pair(SOCK_STREAM, pair) < 0 || torc_spawn(receive, NULL) < 0 || torc_yield() < 0)
        return -EIO;
    (void)torc_close(pair[0]);
    abort();
}

static void run_checked(void)
{
    const struct torc_options options = {.check_misuse = true};

    (void)torc_run(close_under_a_receiver, NULL, &options);
}

static void run_checked_by_the_environment(void)
{
    (void)setenv("TORC_CHECK", "1", 1);
    run_wrong(close_under_a_receiver);
}

/* As the seccomp filters of container engines, and docs/seccomp/torc.json, do. */
static void run_checked_in_a_container(void)
{
    EXPECT(harness_deny(__NR_process_vm_readv, EPERM));
    run_checked();
}

TEST(a_close_under_an_operation_is_reported_where_that_is_looked_for)
{
    harness_expect_death(run_checked_in_a_container, SIGABRT, "under an operation, which goes on");
    harness_expect_death(run_checked, SIGABRT, "under an operation, which goes on");
    harness_expect_death(run_checked, SIGABRT, "\"receiver\" waits for");
    harness_expect_death(run_checked_by_the_environment, SIGABRT, "\"main\" of shard 0 closes");
}

FIBER_TEST(a_close_of_what_nobody_waits_for_is_no_misuse)
{
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    EXPECT_INT(torc_close(fds[0]), ==, 0);
    EXPECT_INT(torc_close(fds[1]), ==, 0);
}

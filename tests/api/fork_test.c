/* SPDX-License-Identifier: MIT */
/*
 * fork_test.c - fork() in a program that holds a ring: the parent goes on, the child has no shards.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <signal.h>
#include <sys/wait.h>
#include <torc/torc.h>
#include <unistd.h>

/* ---- The parent ---- */

static int be_echo(void *arg)
{
    const int fd = *(const int *)arg;
    char data[64];
    ssize_t count;

    while ((count = torc_recv(fd, data, sizeof(data), 0)) > 0)
        EXPECT_INT(torc_send(fd, data, (size_t)count, 0), ==, count);
    return (int)count;
}

static void expect_echo(int fd)
{
    char data[64];

    for (unsigned i = 0; i < 20; i++) {
        harness_pattern_fill(data, sizeof(data), i);
        EXPECT_INT(torc_send(fd, data, sizeof(data), 0), ==, sizeof(data));
        for (size_t have = 0; have < sizeof(data);) {
            const ssize_t count = torc_recv(fd, data + have, sizeof(data) - have, 0);

            EXPECT_INT(count, >, 0);
            have += (size_t)count;
        }
        harness_pattern_check(data, sizeof(data), i);
    }
}

/* How a child ends that does `act`; and that the operations in flight meanwhile go on. */
static int fork_and(void (*act)(void))
{
    struct torc_scope scope;
    int status = -1;
    int fds[2];
    pid_t child;

    harness_unix_pair(fds);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, be_echo, &fds[1]);
    expect_echo(fds[0]);
    child = fork();
    if (child == 0) {
        act();
        _exit(99);
    }
    expect_echo(fds[0]);
    EXPECT_INT(waitpid(child, &status, 0), ==, child);
    expect_echo(fds[0]);
    EXPECT_INT(shutdown(fds[0], SHUT_WR), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_close_pair(fds);
    return status;
}

static void leave(void)
{
    _exit(3);
}

FIBER_TEST(a_child_that_exits_leaves_the_parents_operations_alone)
{
    for (unsigned i = 0; i < 5; i++)
        EXPECT_INT(WEXITSTATUS(fork_and(leave)), ==, 3);
}

static void become_another_program(void)
{
    execl("/bin/sh", "sh", "-c", "exit 7", NULL);
}

FIBER_TEST(a_child_that_executes_another_program_leaves_the_parents_operations_alone)
{
    for (unsigned i = 0; i < 5; i++)
        EXPECT_INT(WEXITSTATUS(fork_and(become_another_program)), ==, 7);
}

static void become_a_program_that_a_pipe_kills(void)
{
    (void)signal(SIGPIPE, SIG_DFL);
    execl("/bin/sh", "sh", "-c", "kill -PIPE $$; exit 7", NULL);
}

FIBER_TEST(a_program_that_a_child_executes_has_no_signals_blocked_by_torc)
{
    const int status = fork_and(become_a_program_that_a_pipe_kills);

    EXPECT(WIFSIGNALED(status));
    EXPECT_INT(WTERMSIG(status), ==, SIGPIPE);
}

/* ---- The child ---- */

static void sleep_in_child(void)
{
    (void)torc_sleep(TORC_MILLISECOND);
}

static void receive_in_child(void)
{
    char byte;

    (void)torc_recv(0, &byte, 1, 0);
}

static void spawn_in_child(void)
{
    harness_spawn(NULL, be_echo, NULL);
}

FIBER_TEST(a_child_that_calls_torc_as_if_it_were_a_fiber_aborts_and_is_told_why)
{
    void (*const calls[])(void) = {sleep_in_child, receive_in_child, spawn_in_child};

    for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        harness_expect_death(calls[i], SIGABRT, "a child made by fork()");
    EXPECT_INT(torc_sleep(TORC_MILLISECOND), ==, 0);
}

static pid_t forked;

static int fork_and_return(void *arg)
{
    (void)arg;
    forked = fork();
    return 0;
}

/* It would run copies of the parent's fibers, on a ring that is not its own. */
static int let_a_fiber_fork(void *arg)
{
    struct torc_scope scope;
    int status = 0;

    (void)arg;
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, fork_and_return, NULL);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(waitpid(forked, &status, 0), ==, forked);
    EXPECT(WIFSIGNALED(status));
    return WTERMSIG(status) == SIGABRT ? 0 : -EIO;
}

static void fork_in_a_fiber(void)
{
    if (torc_run(let_a_fiber_fork, NULL, NULL) == 0)
        _exit(0); /* Its child has died; the text says how. */
}

TEST(a_child_whose_fiber_returns_aborts)
{
    struct harness_death death;

    harness_watch_death(fork_in_a_fiber, &death);
    EXPECT_MSG(WIFEXITED(death.status) && WEXITSTATUS(death.status) == 0, "said: %s", death.text);
    EXPECT_MSG(strstr(death.text, "a child made by fork()") != NULL, "said: %s", death.text);
}

static int echo_once(void *arg)
{
    char byte = 'x';
    int fds[2];

    (void)arg;
    harness_unix_pair(fds);
    EXPECT_INT(torc_send(fds[0], &byte, 1, 0), ==, 1);
    EXPECT_INT(torc_recv(fds[1], &byte, 1, 0), ==, 1);
    harness_close_pair(fds);
    return 0;
}

static void run_a_runtime(void)
{
    if (!torc_on_shard() && torc_run(echo_once, NULL, NULL) == 0)
        _exit(5);
}

FIBER_TEST(a_child_may_run_a_runtime_of_its_own)
{
    if (UNDER_ASAN || UNDER_TSAN)
        return; /* They take the stack of the fiber that forked for the thread's. */
    EXPECT_INT(WEXITSTATUS(fork_and(run_a_runtime)), ==, 5);
}

static int give_back_what_is_not_held(void *arg)
{
    struct torc_mutex mutex = {0};

    (void)arg;
    torc_mutex_unlock(&mutex);
    return 0;
}

static void fail_in_a_runtime(void)
{
    (void)!torc_run(give_back_what_is_not_held, NULL, NULL);
}

FIBER_TEST(a_fiber_of_a_childs_own_runtime_is_named_where_it_fails)
{
    if (UNDER_ASAN || UNDER_TSAN)
        return; /* As above. */
    harness_expect_death(fail_in_a_runtime, SIGABRT, ", in fiber 1 \"main\" of shard 0");
}

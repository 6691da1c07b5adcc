/* SPDX-License-Identifier: MIT */
/*
 * process_test.c - children: how they end, how they are ended, and that nothing is left of them.
 */
#include "harness/children.h"
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <torc/torc.h>
#include <unistd.h>

static const struct torc_process_options with_output = {.output = {.kind = TORC_STDIO_PIPE}};
static const struct torc_process_options with_input = {.input = {.kind = TORC_STDIO_PIPE}};

/* Longer than any test: what waits for it is waiting for ever. */
#define SCRIPT_IGNORES_TERM "trap '' TERM; echo ready; exec sleep 1000"

/* In many short waits: a signal that comes just before a long one would be seen only after it. */
#define SCRIPT_OBEYS_TERM "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"
#define GRACE_NS          (20 * TORC_MILLISECOND)

/* ---- How children end ---- */

FIBER_TEST_WITH_THREADS(the_exit_code_is_told_as_often_as_asked)
{
    struct torc_process_status status;
    struct torc_process process;

    harness_spawn_shell("exit 42", NULL, &process);
    EXPECT_INT(process.pid, >, 0);
    EXPECT_INT(torc_process_wait(&process, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 42);
    EXPECT_INT(status.signal, ==, 0);
    EXPECT(!status.core_dumped);
    EXPECT_INT(status.usage.ru_maxrss, >, 0);
    harness_expect_no_children();

    memset(&status, 0, sizeof(status));
    EXPECT_INT(torc_process_wait(&process, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 42);
    EXPECT_INT(torc_process_wait(&process, NULL), ==, 0);
    torc_process_close(&process);
}

FIBER_TEST_WITH_THREADS(the_signal_that_ended_a_child_is_told)
{
    struct torc_process_status status;
    struct torc_process process;

    harness_spawn_shell("ulimit -c 0; kill -SEGV $$", NULL, &process);
    EXPECT_INT(torc_process_wait(&process, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, -1);
    EXPECT_INT(status.signal, ==, SIGSEGV);
    EXPECT(!status.core_dumped);
    torc_process_close(&process);
    harness_expect_no_children();
}

FIBER_TEST_WITH_THREADS(the_pipes_of_a_child_carry_what_it_reads_and_writes)
{
    const struct torc_process_options options = {.input = {.kind = TORC_STDIO_PIPE},
                                                 .output = {.kind = TORC_STDIO_PIPE},
                                                 .error = {.kind = TORC_STDIO_PIPE}};
    struct torc_process_status status;
    struct torc_process process;
    char text[16] = "";

    harness_spawn_shell("read line; echo \"<$line>\"; echo oops >&2; cat", &options, &process);
    EXPECT(harness_is_cloexec(process.input));
    EXPECT(harness_is_cloexec(process.output));
    EXPECT(harness_is_cloexec(process.error));
    EXPECT_INT(torc_write_all(process.input, "hello\nrest", 10, NULL), ==, 0);
    EXPECT_INT(torc_read_all(process.output, text, 8, NULL), ==, 0);
    EXPECT_STR(text, "<hello>\n");
    EXPECT_INT(torc_close(process.input), ==, 0);
    process.input = -1;
    EXPECT_INT(torc_read_all(process.output, text, 4, NULL), ==, 0);
    EXPECT_MEM(text, "rest", 4);
    EXPECT_INT(torc_read(process.output, text, sizeof(text)), ==, 0);
    EXPECT_INT(torc_read_all(process.error, text, 5, NULL), ==, 0);
    EXPECT_MEM(text, "oops\n", 5);
    EXPECT_INT(torc_process_wait(&process, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 0);
    torc_process_close(&process);
    EXPECT_INT(process.output, ==, -1);
}

struct waiter {
    struct torc_process *process;
    int code;
};

static int wait_for_code(void *arg)
{
    const struct waiter *waiter = arg;
    struct torc_process_status status;

    EXPECT_INT(torc_process_wait(waiter->process, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, waiter->code);
    return 0;
}

FIBER_TEST_WITH_THREADS(many_children_at_once_are_told_apart)
{
    enum {
        COUNT = 24
    };
    static struct torc_process processes[COUNT];
    static struct waiter waiters[2 * COUNT]; /* Two for each child. */
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (int i = 0; i < COUNT; i++) {
        char script[64];

        snprintf(script, sizeof(script), "read line; exit %d", i);
        harness_spawn_shell(script, &with_input, &processes[i]);
        for (int j = 0; j < 2; j++) {
            waiters[2 * i + j] = (struct waiter){&processes[i], i};
            harness_spawn(&scope, wait_for_code, &waiters[2 * i + j]);
        }
    }
    for (int i = COUNT - 1; i >= 0; i--) {
        EXPECT_INT(torc_close(processes[i].input), ==, 0);
        processes[i].input = -1;
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    harness_expect_no_children();
    for (int i = 0; i < COUNT; i++)
        torc_process_close(&processes[i]);
}

/* ---- Programs that do not start ---- */

static int try_to_spawn(const char *path)
{
    const char *const argv[] = {path, NULL};
    const struct torc_process_options options = {.input = {.kind = TORC_STDIO_PIPE},
                                                 .output = {.kind = TORC_STDIO_PIPE},
                                                 .error = {.kind = TORC_STDIO_NULL}};
    const unsigned fds = harness_open_fds();
    struct torc_process process;
    const int result = torc_process_spawn(argv, &options, &process);

    EXPECT_INT(result, <, 0);
    EXPECT_UINT(harness_open_fds(), ==, fds);
    harness_expect_no_children();
    return result;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(fchmod(fd, mode), ==, 0);
    harness_put(fd, text, strlen(text));
    close(fd);
}

FIBER_TEST_WITH_THREADS(why_a_program_does_not_start_is_told_and_nothing_is_left)
{
    char directory[] = "/tmp/torc-process-XXXXXX";
    char path[64];
    static char long_name[5001];

    harness_use_plain_path();
    EXPECT(mkdtemp(directory) != NULL);
    snprintf(path, sizeof(path), "%s/file", directory);
    EXPECT_INT(try_to_spawn("no-such-program-anywhere"), ==, -ENOENT);
    EXPECT_INT(try_to_spawn(path), ==, -ENOENT);
    EXPECT_INT(try_to_spawn(""), ==, -ENOENT);
    EXPECT_INT(try_to_spawn(directory), ==, -EACCES);
    EXPECT_INT(try_to_spawn("/dev/null/program"), ==, -ENOTDIR);
    write_file(path, "#!/bin/sh\n", 0600);
    EXPECT_INT(try_to_spawn(path), ==, -EACCES);
    write_file(path, "#!/no/such/interpreter\n", 0700);
    EXPECT_INT(try_to_spawn(path), ==, -ENOENT);
    write_file(path, "neither a program nor a script\n", 0700);
    EXPECT_INT(try_to_spawn(path), ==, -ENOEXEC);
    memset(long_name, 'x', sizeof(long_name) - 1);
    EXPECT_INT(try_to_spawn(long_name), ==, -ENAMETOOLONG);
    long_name[0] = '/';
    EXPECT_INT(try_to_spawn(long_name), ==, -ENAMETOOLONG);
    EXPECT_INT(unlink(path), ==, 0);
    EXPECT_INT(rmdir(directory), ==, 0);
}

FIBER_TEST_WITH_THREADS(a_program_without_a_name_is_refused)
{
    const char *const nothing[] = {NULL};
    struct torc_process process;

    EXPECT_INT(torc_process_spawn(nothing, NULL, &process), ==, -EINVAL);
    EXPECT_INT(torc_process_spawn(NULL, NULL, &process), ==, -EINVAL);
}

FIBER_TEST_WITH_THREADS(nothing_is_started_in_a_cancelled_scope)
{
    const char *const argv[] = {"true", NULL};
    struct torc_process process;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_process_spawn(argv, NULL, &process), ==, -ECANCELED);
    EXPECT_INT(torc_process_run(argv, NULL, NULL, NULL), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    harness_expect_no_children();
}

/* ---- Signals to children ---- */

FIBER_TEST_WITH_THREADS(a_child_is_killed_by_any_signal_until_it_has_been_reaped)
{
    struct torc_process_status status;
    struct torc_process process;

    harness_spawn_shell("exec sleep 1000", NULL, &process);
    EXPECT_INT(torc_process_kill(&process, 0), ==, 0);
    EXPECT_INT(torc_process_kill(&process, 4711), ==, -EINVAL);
    EXPECT_INT(torc_process_kill_group(&process, SIGTERM), ==, -EINVAL);
    EXPECT_INT(torc_process_kill(&process, SIGUSR1), ==, 0);
    EXPECT_INT(torc_process_wait(&process, &status), ==, 0);
    EXPECT_INT(status.signal, ==, SIGUSR1);
    EXPECT_INT(torc_process_kill(&process, SIGUSR1), ==, -ESRCH);
    torc_process_close(&process);
}

static int cancel_soon(void *arg)
{
    harness_yield(20);
    torc_scope_cancel(arg);
    return 0;
}

FIBER_TEST_WITH_THREADS(cancelling_ends_the_wait_and_not_the_child)
{
    struct torc_process_status status;
    struct torc_process process;
    struct torc_scope scope;

    harness_spawn_shell("read line; exit 3", &with_input, &process);
    torc_scope_open(&scope, 0);
    harness_spawn(NULL, cancel_soon, &scope);
    EXPECT_INT(torc_process_wait(&process, &status), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);

    EXPECT_INT(torc_process_kill(&process, 0), ==, 0);
    EXPECT_INT(torc_write_all(process.input, "\n", 1, NULL), ==, 0);
    EXPECT_INT(torc_process_wait(&process, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 3);
    torc_process_close(&process);
}

FIBER_TEST_WITH_THREADS(a_polite_child_ends_in_its_grace)
{
    struct torc_process_status status;
    struct torc_process process;

    harness_spawn_shell(SCRIPT_OBEYS_TERM, &with_output, &process);
    harness_await_ready(&process);
    EXPECT_INT(torc_process_stop(&process, TORC_FOREVER, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 7);
    harness_expect_no_children();
    EXPECT_INT(torc_process_stop(&process, 0, &status), ==, 0); /* It has ended: the same again. */
    EXPECT_INT(status.exit_code, ==, 7);
    torc_process_close(&process);
}

FIBER_TEST_WITH_THREADS(a_stopped_child_is_woken_to_end)
{
    struct torc_process_status status;
    struct torc_process process;

    harness_spawn_shell("exec sleep 1000", NULL, &process);
    EXPECT_INT(torc_process_kill(&process, SIGSTOP), ==, 0);
    EXPECT_INT(torc_process_stop(&process, TORC_FOREVER, &status), ==, 0);
    EXPECT_INT(status.signal, ==, SIGTERM);
    torc_process_close(&process);
}

FIBER_TEST_WITH_THREADS(a_child_that_ignores_sigterm_is_killed_after_its_grace)
{
    struct torc_process_status status;
    struct torc_process process;

    harness_spawn_shell(SCRIPT_IGNORES_TERM, &with_output, &process);
    harness_await_ready(&process);
    EXPECT_INT(torc_process_stop(&process, GRACE_NS, &status), ==, 0);
    EXPECT_INT(status.signal, ==, SIGKILL);
    harness_expect_no_children();
    torc_process_close(&process);
}

FIBER_TEST_WITH_THREADS(a_deadline_stops_the_child_that_is_waited_for_or_stopped)
{
    struct torc_process_status status;
    struct torc_process process;
    struct torc_scope scope;

    harness_spawn_shell(SCRIPT_IGNORES_TERM, &with_output, &process);
    harness_await_ready(&process);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_process_wait_or_stop(&process, GRACE_NS, &status), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    EXPECT_INT(status.signal, ==, SIGKILL);
    harness_expect_no_children();
    torc_process_close(&process);

    harness_spawn_shell("exit 5", NULL, &process);
    EXPECT_INT(torc_process_wait_or_stop(&process, GRACE_NS, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 5);
    torc_process_close(&process);
}

FIBER_TEST_WITH_THREADS(closing_kills_and_reaps_what_still_runs)
{
    struct torc_process process;
    struct torc_scope scope;

    harness_spawn_shell(SCRIPT_IGNORES_TERM, &with_output, &process);
    harness_await_ready(&process);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope); /* Closing is never refused. */
    torc_process_close(&process);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    harness_expect_no_children();
}

static void stop_group(const char *script, int exit_code, int signal)
{
    const struct torc_process_options options = {.output = {.kind = TORC_STDIO_PIPE},
                                                 .flags = TORC_PROCESS_NEW_GROUP};
    struct torc_process_status status;
    struct torc_process process;
    siginfo_t info;

    harness_spawn_shell(script, &options, &process);
    harness_await_ready(&process);
    EXPECT_INT(torc_process_kill_group(&process, 0), ==, 0);
    EXPECT_INT(torc_process_stop(&process, signal == 0 ? TORC_FOREVER : GRACE_NS, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, exit_code);
    EXPECT_INT(status.signal, ==, signal);
    EXPECT_INT(torc_process_kill_group(&process, SIGTERM), ==, -ESRCH);
    /* Unless it has reaped its child itself, that is ours now, and dead or dying. */
    (void)waitid(P_PGID, (id_t)process.pid, &info, WEXITED);
    EXPECT_INT(kill(-process.pid, 0), ==, -1);
    EXPECT_INT(errno, ==, ESRCH);
    harness_expect_no_children();
    torc_process_close(&process);
}

FIBER_TEST_WITH_THREADS(a_child_that_leads_a_group_is_stopped_with_all_of_it)
{
    EXPECT_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), ==, 0);
    stop_group("sleep 1000 & " SCRIPT_OBEYS_TERM, 7, 0);
    stop_group("sleep 1000 & " SCRIPT_IGNORES_TERM, -1, SIGKILL);
}

static void expect_group_has_gone(pid_t group)
{
    siginfo_t info;

    (void)waitid(P_PGID, (id_t)group, &info, WEXITED); /* What was its child is ours. */
    EXPECT_INT(info.si_status, ==, SIGKILL);
    EXPECT_INT(kill(-group, 0), ==, -1);
    EXPECT_INT(errno, ==, ESRCH);
    harness_expect_no_children();
}

/* A child that has ended and been waited for, whose group has another one in it. */
static void leave_one_behind(struct torc_process *ret_process)
{
    const struct torc_process_options options = {.output = {.kind = TORC_STDIO_PIPE},
                                                 .flags = TORC_PROCESS_NEW_GROUP};
    struct torc_process_status status;

    EXPECT_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), ==, 0);
    harness_spawn_shell("sleep 1000 & echo ready; exit 5", &options, ret_process);
    harness_await_ready(ret_process);
    EXPECT_INT(torc_process_wait(ret_process, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 5);
    EXPECT_INT(status.usage.ru_maxrss, >, 0);
    EXPECT_INT(torc_process_kill(ret_process, SIGTERM), ==, -ESRCH);
}

FIBER_TEST_WITH_THREADS(stopping_ends_what_a_waited_for_leader_has_left_in_its_group)
{
    struct torc_process_status status;
    struct torc_process process;

    leave_one_behind(&process);
    EXPECT_INT(torc_process_kill_group(&process, 0), ==, 0);
    EXPECT_INT(torc_process_stop(&process, TORC_FOREVER, &status), ==, 0);
    EXPECT_INT(status.exit_code, ==, 5);
    EXPECT_INT(torc_process_kill_group(&process, 0), ==, -ESRCH);
    expect_group_has_gone(process.pid);
    torc_process_close(&process);
}

FIBER_TEST_WITH_THREADS(closing_ends_what_a_waited_for_leader_has_left_in_its_group)
{
    struct torc_process process;

    leave_one_behind(&process);
    torc_process_close(&process);
    expect_group_has_gone(process.pid);
}

static int wait_for(void *arg)
{
    return torc_process_wait(arg, NULL);
}

FIBER_TEST_WITH_THREADS(stopping_ends_a_group_whose_leader_another_fiber_waits_for)
{
    const struct torc_process_options options = {.output = {.kind = TORC_STDIO_PIPE},
                                                 .flags = TORC_PROCESS_NEW_GROUP};
    struct torc_process process;
    struct torc_scope scope;

    EXPECT_INT(prctl(PR_SET_CHILD_SUBREAPER, 1), ==, 0);
    harness_spawn_shell("(trap '' TERM; echo ready; exec sleep 1000) & wait", &options, &process);
    harness_await_ready(&process);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, wait_for, &process);
    harness_yield(20);
    EXPECT_INT(torc_process_stop(&process, TORC_FOREVER, NULL), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    expect_group_has_gone(process.pid);
    torc_process_close(&process);
}

/* ---- What else the program does ---- */

static atomic_int handled;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&handled, 1);
}

static void expect_exit_codes(void)
{
    for (int i = 0; i < 4; i++) {
        struct torc_process_status status;
        struct torc_process process;

        harness_spawn_shell("exit 9", NULL, &process);
        EXPECT_INT(torc_process_wait(&process, &status), ==, 0);
        EXPECT_INT(status.exit_code, ==, 9);
        torc_process_close(&process);
    }
}

FIBER_TEST_WITH_THREADS(children_are_waited_for_beside_a_handler_of_sigchld)
{
    const struct sigaction action = {.sa_handler = count_signal};

    EXPECT_INT(sigaction(SIGCHLD, &action, NULL), ==, 0);
    expect_exit_codes();
    while (atomic_load(&handled) == 0) /* On whichever thread, which has to come to run first. */
        EXPECT_INT(torc_yield(), ==, 0);
}

FIBER_TEST_WITH_THREADS(how_a_child_ended_is_lost_if_sigchld_is_ignored)
{
    struct torc_process_status status = {.exit_code = 4711};
    struct torc_process process;

    signal(SIGCHLD, SIG_IGN);
    harness_spawn_shell("exit 9", NULL, &process);
    EXPECT_INT(torc_process_wait(&process, &status), ==, -ECHILD);
    EXPECT_INT(torc_process_wait(&process, &status), ==, -ECHILD);
    EXPECT_INT(status.exit_code, ==, 4711);
    EXPECT_INT(torc_process_kill(&process, SIGTERM), ==, -ESRCH);
    torc_process_close(&process);
    EXPECT_INT(try_to_spawn("/no/such/program"), ==, -ENOENT);
}

FIBER_TEST_WITH_THREADS(closing_ends_a_group_whose_leader_is_reaped_at_once)
{
    const struct torc_process_options options = {.output = {.kind = TORC_STDIO_PIPE},
                                                 .flags = TORC_PROCESS_NEW_GROUP};

    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 100; i++) {
        struct torc_process process;
        int output;

        harness_spawn_shell("sleep 1000 & echo ready; wait", &options, &process);
        harness_await_ready(&process);
        output = process.output;
        process.output = -1;
        torc_process_close(&process);
        EXPECT_INT(torc_read(output, (char[1]){0}, 1), ==, 0); /* Nobody has it open any more. */
        EXPECT_INT(torc_close(output), ==, 0);
    }
}

FIBER_TEST_WITH_THREADS(a_child_of_the_programs_own_is_left_alone)
{
    const pid_t own = fork();
    int status;

    EXPECT_INT(own, >=, 0);
    if (own == 0)
        _exit(11);
    expect_exit_codes();
    EXPECT_INT(waitpid(own, &status, 0), ==, own);
    EXPECT_INT(WEXITSTATUS(status), ==, 11);
    harness_expect_no_children();
}

static int run_children(void *arg)
{
    const char *const argv[] = {"sh", "-c", "cat; exit 7", NULL};
    char output[4];
    struct torc_process_exchange exchange = {
        .input = "abc", .input_size = 3, .output = output, .output_capacity = sizeof(output)};
    struct torc_process_status status;

    (void)arg;
    for (int i = 0; i < 8; i++) {
        EXPECT_INT(torc_process_run(argv, NULL, &exchange, &status), ==, 0);
        EXPECT_INT(status.exit_code, ==, 7);
        EXPECT_UINT(exchange.output_size, ==, 3);
        EXPECT_MEM(output, "abc", 3);
    }
    return 0;
}

TEST(several_shards_have_children_at_the_same_time)
{
    const struct torc_options options = {.shards = 3, .no_pin = true};

    NEEDS_THREADS();
    harness_run_with(&options, run_children, NULL);
    harness_expect_no_children();
}

/* SPDX-License-Identifier: MIT */
/*
 * process_spawn_test.c - starting a program, on a thread that is no shard.
 */
#include "harness/children.h"
#include "harness/deny.h"
#include "harness/directory.h"
#include "harness/net.h"
#include "harness/run.h"
#include "io/process.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const no_environment[] = {NULL};

static int launch(struct torc__launch *launch, const char *const *argv,
                  const struct torc_process_options *options)
{
    *launch = (struct torc__launch){.argv = argv,
                                    .options = options,
                                    .path = argv[0],
                                    .search = "/bin:/usr/bin",
                                    .environment = no_environment};
    return torc__process_launch(launch);
}

static int reap(const struct torc__launch *launch)
{
    siginfo_t info;

    EXPECT_INT(waitid(P_PIDFD, (id_t)launch->pidfd, &info, WEXITED), ==, 0);
    EXPECT_INT(info.si_pid, ==, launch->pid);
    EXPECT(harness_is_cloexec(launch->pidfd));
    EXPECT_INT(close(launch->pidfd), ==, 0);
    EXPECT_INT(info.si_code, ==, CLD_EXITED);
    return info.si_status;
}

TEST(a_program_runs_and_is_known_by_its_pidfd)
{
    const char *const argv[] = {"sh", "-c", "exit 12", NULL};
    const struct torc_process_options options = {.output = {.kind = TORC_STDIO_PIPE}};
    struct torc__launch request;

    EXPECT_INT(launch(&request, argv, &options), ==, 0);
    EXPECT_INT(request.pipes[STDIN_FILENO], ==, -1);
    EXPECT_INT(request.pipes[STDOUT_FILENO], >=, 0);
    EXPECT_INT(request.pipes[STDERR_FILENO], ==, -1);
    EXPECT_INT(close(request.pipes[STDOUT_FILENO]), ==, 0);
    EXPECT_INT(reap(&request), ==, 12);
    harness_expect_no_children();
}

TEST(a_failure_of_exec_leaves_neither_child_nor_descriptor)
{
    const char *const argv[] = {"/no/such/program", NULL};
    const struct torc_process_options options = {.input = {.kind = TORC_STDIO_PIPE},
                                                 .output = {.kind = TORC_STDIO_PIPE},
                                                 .error = {.kind = TORC_STDIO_OUTPUT}};
    struct torc__launch request;

    EXPECT_INT(launch(&request, argv, &options), ==, -ENOENT);
    harness_expect_no_children();
}

TEST(the_lack_of_descriptors_is_told)
{
    const char *const argv[] = {"true", NULL};
    const struct torc_process_options options = {.input = {.kind = TORC_STDIO_PIPE},
                                                 .output = {.kind = TORC_STDIO_PIPE},
                                                 .error = {.kind = TORC_STDIO_NULL}};
    const unsigned used = harness_open_fds();
    const int lowest = dup(STDERR_FILENO); /* All below are open, however high others are. */
    struct torc__launch request;
    int result = -EMFILE;

    EXPECT_INT(close(lowest), ==, 0);
    if (harness_is_valgrind())
        SKIP("valgrind 3.19 does not survive a clone() that fails");
    /* With each one more it gets a step further, until it is enough. */
    for (unsigned more = 0; result < 0; more++) {
        EXPECT_UINT(more, <, used + 32);
        EXPECT_UINT(harness_limit_fds((unsigned)lowest + more), ==, (unsigned)lowest + more);
        result = launch(&request, argv, &options);
        (void)harness_raise_fd_limit(); /* To count takes a descriptor, too. */
        EXPECT_MSG(more > 0 || result == -EMFILE, "result %d", result);
        EXPECT_MSG(result == 0 || result == -EMFILE || result == -EINVAL, "result %d", result);
        if (result < 0)
            EXPECT_UINT(harness_open_fds(), ==, used);
    }
    EXPECT_INT(close(request.pipes[STDIN_FILENO]), ==, 0);
    EXPECT_INT(close(request.pipes[STDOUT_FILENO]), ==, 0);
    EXPECT_INT(reap(&request), ==, 0);
    harness_expect_no_children();
}

TEST(what_the_caller_has_blocked_stays_blocked)
{
    const char *const argv[] = {"true", NULL};
    static const struct torc_process_options options;
    struct torc__launch request;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EXPECT_INT(sigprocmask(SIG_SETMASK, &set, NULL), ==, 0);
    EXPECT_INT(launch(&request, argv, &options), ==, 0);
    EXPECT_INT(reap(&request), ==, 0);
    EXPECT_INT(sigprocmask(SIG_SETMASK, NULL, &set), ==, 0);
    EXPECT(sigismember(&set, SIGUSR1));
    EXPECT(!sigismember(&set, SIGUSR2));
}

/* ---- Beside a thread that forks ---- */

static void *launch_here(void *arg)
{
    const char *const argv[] = {"./program", NULL};
    static const struct torc_process_options options;

    EXPECT_INT(launch(arg, argv, &options), ==, 0);
    return NULL;
}

/* A program whose start waits, with SIGIO for us, until we give up the lease; false: no leases. */
static bool make_slow_program(int *ret_fd)
{
    sigset_t set;

    harness_put_file("program", "#!/bin/true\n");
    EXPECT_INT(chmod("program", 0755), ==, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    EXPECT_INT(sigprocmask(SIG_BLOCK, &set, NULL), ==, 0);
    *ret_fd = open("program", O_RDONLY | O_CLOEXEC);
    EXPECT_INT(*ret_fd, >=, 0);
    return fcntl(*ret_fd, F_SETLEASE, F_WRLCK) == 0;
}

/* The program is being started. */
static int await_break(void)
{
    sigset_t set;
    int number;

    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    EXPECT_INT(sigwait(&set, &number), ==, 0);
    return number;
}

static pid_t fork_idle(const int ends[2])
{
    const pid_t pid = fork();
    char byte;

    if (pid == 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    EXPECT_INT(pid, >, 0);
    return pid;
}

/* Which has copies of all descriptors that there are at that moment, and does not exec. */
TEST(a_process_forked_by_another_thread_does_not_hold_up_the_start)
{
    struct torc__launch request;
    pthread_t thread;
    int ends[2];
    pid_t idle;
    int fd;

    if (UNDER_TSAN || harness_is_valgrind())
        SKIP("a child has no memory of its parent's here, and has to report by a pipe");
    harness_enter_directory();
    harness_pipe(ends);
    if (make_slow_program(&fd)) {
        thread = harness_thread(launch_here, &request);
        EXPECT_INT(await_break(), ==, SIGIO);
        idle = fork_idle(ends);
        EXPECT_INT(fcntl(fd, F_SETLEASE, F_UNLCK), ==, 0);
        harness_join(thread);
        EXPECT_INT(reap(&request), ==, 0);
        EXPECT_INT(close(ends[1]), ==, 0);
        EXPECT_INT(waitpid(idle, NULL, 0), ==, idle);
        EXPECT_INT(close(ends[0]), ==, 0);
    } else {
        harness_skip("no leases on this file system");
        harness_close_pair(ends);
    }
    EXPECT_INT(close(fd), ==, 0);
    harness_leave_directory();
    harness_expect_no_children();
}

TEST(without_close_range_nothing_leaks_into_a_child_either)
{
    const char *const argv[] = {"ls", "/proc/self/fd", NULL};
    const struct torc_process_fd passed = {.fd = 0, .child_fd = 60};
    const struct torc_process_options options = {
        .output = {.kind = TORC_STDIO_PIPE}, .fds = &passed, .fd_count = 1};
    int leaky[100]; /* More than one call of getdents() gives. */
    struct torc__launch request;
    char text[64] = "";

    if (!harness_deny(SYS_close_range, ENOSYS)) /* As before Linux 5.9. */
        SKIP("no seccomp filter may be set here");
    for (int i = 0; i < 100; i++) {
        leaky[i] = dup(STDERR_FILENO);
        EXPECT_INT(leaky[i], >=, 0);
    }
    EXPECT_INT(launch(&request, argv, &options), ==, 0);
    EXPECT_INT(reap(&request), ==, 0);
    EXPECT_INT(read(request.pipes[STDOUT_FILENO], text, sizeof(text) - 1), >, 0);
    EXPECT_STR(text, "0\n1\n2\n3\n60\n");
    EXPECT_INT(close(request.pipes[STDOUT_FILENO]), ==, 0);
    for (int i = 0; i < 100; i++)
        EXPECT_INT(close(leaky[i]), ==, 0);
}

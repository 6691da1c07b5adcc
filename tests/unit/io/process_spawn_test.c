/* SPDX-License-Identifier: MIT */
/*
 * process_spawn_test.c - starting a program, on a thread that is no shard.
 */
#include "harness/children.h"
#include "harness/net.h"
#include "io/process.h"
#include <errno.h>
#include <string.h>
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
    struct torc__launch request;
    unsigned limit;
    int result = -EMFILE;

    if (harness_is_valgrind())
        SKIP("valgrind 3.19 does not survive a clone() that fails");
    /* With each one more it gets a step further, until it is enough. */
    for (limit = used; result < 0; limit++) {
        EXPECT_UINT(limit, <, used + 32);
        EXPECT_UINT(harness_limit_fds(limit), ==, limit);
        result = launch(&request, argv, &options);
        EXPECT_MSG(result == 0 || result == -EMFILE || result == -EINVAL, "result %d", result);
        if (result < 0)
            EXPECT_UINT(harness_open_fds(), ==, used);
    }
    (void)harness_raise_fd_limit();
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

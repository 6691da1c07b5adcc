/* SPDX-License-Identifier: MIT */
/*
 * process_options_test.c - what a child inherits, and what it does not.
 */
#include "harness/children.h"
#include "harness/net.h"
#include "harness/run.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <torc/torc.h>
#include <unistd.h>

#define TEXT_SIZE 4096

static char text[TEXT_SIZE];

/* ---- Descriptors ---- */

/* The numbers of the descriptors that `ls` has; its own, of the directory, among them. */
static const char *list_fds(const struct torc_process_options *options)
{
    const char *const argv[] = {"ls", "/proc/self/fd", NULL};

    return harness_output_of(argv, options, text, sizeof(text));
}

FIBER_TEST_WITH_THREADS(a_child_has_no_descriptor_that_was_not_meant_for_it)
{
    int leaky[3];

    for (int i = 0; i < 3; i++) { /* Not close-on-exec, as other libraries open theirs. */
        leaky[i] = open("/dev/null", O_RDONLY);
        EXPECT_INT(leaky[i], >, STDERR_FILENO);
    }
    EXPECT_INT(fcntl(leaky[2], F_DUPFD, 400), ==, 400);
    EXPECT_STR(list_fds(NULL), "0\n1\n2\n3\n");
    EXPECT_INT(close(400), ==, 0);
    for (int i = 0; i < 3; i++)
        EXPECT_INT(close(leaky[i]), ==, 0);
}

FIBER_TEST_WITH_THREADS(chosen_descriptors_get_chosen_numbers_between_all_others)
{
    int ends[2];
    const int leaky = open("/dev/null", O_RDONLY);

    EXPECT_INT(leaky, >=, 0);
    harness_pipe(ends);
    const struct torc_process_fd fds[] = {{ends[0], 5}, {ends[1], 7}, {ends[1], 300}};
    const struct torc_process_options options = {.fds = fds, .fd_count = 3};
    EXPECT_STR(list_fds(&options), "0\n1\n2\n3\n300\n5\n7\n");
    EXPECT(harness_is_cloexec(ends[0])); /* Ours has not changed. */
    harness_close_pair(ends);
    close(leaky);
}

FIBER_TEST_WITH_THREADS(descriptors_may_change_places)
{
    int first[2];
    int second[2];
    char script[128];

    harness_pipe(first);
    harness_pipe(second);
    harness_put(first[1], "first\n", 6);
    harness_put(second[1], "second\n", 7);
    const struct torc_process_fd fds[] = {{first[0], second[0]}, {second[0], first[0]}};
    const struct torc_process_options options = {.fds = fds, .fd_count = 2};
    snprintf(script, sizeof(script), "head -n 1 /proc/self/fd/%d; head -n 1 /proc/self/fd/%d",
             second[0], first[0]);
    EXPECT_STR(harness_shell_output(script, &options, text, sizeof(text)), "first\nsecond\n");
    harness_close_pair(first);
    harness_close_pair(second);
}

FIBER_TEST_WITH_THREADS(a_descriptor_becomes_a_standard_stream_and_stays_ours)
{
    int ends[2];

    harness_pipe(ends);
    harness_put(ends[1], "from a pipe", 11);
    EXPECT_INT(close(ends[1]), ==, 0);
    const struct torc_process_options options = {.input = {TORC_STDIO_FD, ends[0]}};
    EXPECT_STR(harness_shell_output("cat", &options, text, sizeof(text)), "from a pipe");
    EXPECT_INT(close(ends[0]), ==, 0);
}

FIBER_TEST_WITH_THREADS(standard_streams_may_be_null_or_merged)
{
    const struct torc_process_options merged = {.error = {.kind = TORC_STDIO_OUTPUT}};
    const struct torc_process_options silent = {.input = {.kind = TORC_STDIO_NULL},
                                                .error = {.kind = TORC_STDIO_NULL}};
    const char *const script = "echo one; echo two >&2; cat; echo three";

    EXPECT_STR(harness_shell_output(script, &merged, text, sizeof(text)), "one\ntwo\nthree\n");
    EXPECT_STR(harness_shell_output(script, &silent, text, sizeof(text)), "one\nthree\n");
}

/* Its number may become that of a pipe which is opened for another stream. */
FIBER_TEST_WITH_THREADS(a_standard_stream_that_is_closed_stays_closed)
{
    const struct torc_process_options options = {.input = {.kind = TORC_STDIO_PIPE},
                                                 .error = {.kind = TORC_STDIO_PIPE}};
    const int input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
    const int output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
    struct torc_process process;

    EXPECT_INT(close(STDIN_FILENO), ==, 0);
    EXPECT_INT(close(STDOUT_FILENO), ==, 0);
    harness_spawn_shell("[ -e /proc/$$/fd/1 ] && echo open >&2 || echo closed >&2", &options,
                        &process);
    EXPECT_INT(torc_read(process.error, text, sizeof(text)), >, 0);
    EXPECT_MEM(text, "closed\n", 7);
    torc_process_close(&process);
    EXPECT_INT(dup2(input, STDIN_FILENO), ==, STDIN_FILENO);
    EXPECT_INT(dup2(output, STDOUT_FILENO), ==, STDOUT_FILENO);
    EXPECT_INT(close(input), ==, 0);
    EXPECT_INT(close(output), ==, 0);
}

static int spawn_true(const struct torc_process_options *options)
{
    const char *const argv[] = {"true", NULL};
    const unsigned fds = harness_open_fds();
    struct torc_process process;
    const int result = torc_process_spawn(argv, options, &process);

    if (result == 0)
        torc_process_close(&process);
    EXPECT_UINT(harness_open_fds(), ==, fds);
    harness_expect_no_children();
    return result;
}

FIBER_TEST_WITH_THREADS(descriptors_that_are_none_are_refused)
{
    const struct torc_process_fd closed = {.fd = 900, .child_fd = 3};
    const struct torc_process_fd negative = {.fd = -1, .child_fd = 3};
    const struct torc_process_fd bad_number = {.fd = 0, .child_fd = -1};
    const struct torc_process_fd high_number = {.fd = 0, .child_fd = 65536};

    EXPECT_INT(spawn_true(&(struct torc_process_options){.fds = &closed, .fd_count = 1}), ==,
               -EBADF);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.fds = &negative, .fd_count = 1}), ==,
               -EBADF);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.fds = &bad_number, .fd_count = 1}), ==,
               -EINVAL);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.fds = &high_number, .fd_count = 1}), ==,
               -EINVAL);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.fds = &closed, .fd_count = 257}), ==,
               -EINVAL);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.output = {TORC_STDIO_FD, 900}}), ==,
               -EBADF);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.output = {TORC_STDIO_FD, -1}}), ==,
               -EBADF);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.input = {.kind = TORC_STDIO_OUTPUT}}), ==,
               -EINVAL);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.flags = 1 << 6}), ==, -EINVAL);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.group = -1}), ==, -EINVAL);
}

/* ---- Environment, program, directory ---- */

FIBER_TEST_WITH_THREADS(the_environment_is_inherited_with_changes)
{
    const char *const changes[] = {
        "CHANGE_B=new", "CHANGE_C", "CHANGE_D=first", "CHANGE_D=last", "CHANGE_E=a=b=c",
        "CHANGE_NONE",  NULL};
    const struct torc_process_options options = {.environment = changes};

    EXPECT_INT(setenv("CHANGE_A", "kept", 1), ==, 0);
    EXPECT_INT(setenv("CHANGE_B", "old", 1), ==, 0);
    EXPECT_INT(setenv("CHANGE_C", "removed", 1), ==, 0);
    EXPECT_STR(harness_shell_output("env | grep ^CHANGE_ | sort", &options, text, sizeof(text)),
               "CHANGE_A=kept\nCHANGE_B=new\nCHANGE_D=last\nCHANGE_E=a=b=c\n");
    EXPECT_STR(harness_shell_output("env | grep ^CHANGE_ | sort", NULL, text, sizeof(text)),
               "CHANGE_A=kept\nCHANGE_B=old\nCHANGE_C=removed\n");
    EXPECT_STR(getenv("CHANGE_C"), "removed");
}

FIBER_TEST_WITH_THREADS(the_environment_may_be_replaced)
{
    const char *const argv[] = {"env", NULL};
    const char *const all[] = {"ONE=1", "TWO=2", NULL};
    const char *const nameless[] = {"=1", NULL};
    struct torc_process_options options = {.environment = all, .flags = TORC_PROCESS_ENVIRONMENT};

    EXPECT_STR(harness_output_of(argv, &options, text, sizeof(text)), "ONE=1\nTWO=2\n");
    options.environment = NULL;
    EXPECT_STR(harness_output_of(argv, &options, text, sizeof(text)), "");
    EXPECT_INT(spawn_true(&(struct torc_process_options){.environment = nameless}), ==, -EINVAL);
}

static int print_moment(void *arg)
{
    (void)arg;
    harness_shell_output("echo $MOMENT", NULL, text, sizeof(text));
    return 0;
}

FIBER_TEST_WITH_THREADS(the_environment_is_that_of_the_call_whatever_becomes_of_it_meanwhile)
{
    struct torc_scope scope;
    char name[32];

    EXPECT_INT(setenv("MOMENT", "before", 1), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, print_moment, NULL);
    harness_yield(1); /* It is given to the pool. */
    EXPECT_INT(setenv("MOMENT", "after", 1), ==, 0);
    for (int i = 0; i < 100; i++) { /* The list has to move. */
        snprintf(name, sizeof(name), "MOMENT_%d", i);
        EXPECT_INT(setenv(name, "", 1), ==, 0);
    }
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_STR(text, "before\n");
}

FIBER_TEST_WITH_THREADS(the_environment_may_have_been_cleared)
{
    const char *const argv[] = {"env", NULL};
    const char *const changes[] = {"ONE=1", NULL};
    const struct torc_process_options options = {.environment = changes};

    EXPECT_INT(clearenv(), ==, 0);
    EXPECT_STR(harness_output_of(argv, NULL, text, sizeof(text)), "");
    EXPECT_STR(harness_output_of(argv, &options, text, sizeof(text)), "ONE=1\n");
}

FIBER_TEST_WITH_THREADS(the_program_may_have_another_name_than_it_is_told)
{
    const char *const argv[] = {"a-name", "-c", "echo \"$0\"", NULL};
    const struct torc_process_options options = {.path = "sh"};

    EXPECT_STR(harness_output_of(argv, &options, text, sizeof(text)), "a-name\n");
}

static void make_script(const char *directory, const char *name, mode_t mode)
{
    const char script[] = "#!/bin/sh\necho found\n";
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    EXPECT_INT(fd, >=, 0);
    harness_put(fd, script, sizeof(script) - 1);
    close(fd);
}

FIBER_TEST_WITH_THREADS(path_and_directory_say_where_a_program_is_looked_for)
{
    char here[] = "/tmp/torc-path-XXXXXX";
    char path[256];
    const char *const by_name[] = {"torc-found", NULL};
    const char *const by_path[] = {"./torc-found", NULL};
    const char *const denied[] = {"torc-denied", NULL};
    const struct torc_process_options there = {.directory = here};
    struct torc_process process;

    EXPECT(mkdtemp(here) != NULL);
    make_script(here, "torc-found", 0700);
    make_script(here, "torc-denied", 0600);
    EXPECT_STR(harness_output_of(by_path, &there, text, sizeof(text)), "found\n");

    snprintf(path, sizeof(path), "/no/such/directory:%s:/dev/null:/bin:/usr/bin", here);
    EXPECT_INT(setenv("PATH", path, 1), ==, 0);
    EXPECT_STR(harness_output_of(by_name, NULL, text, sizeof(text)), "found\n");
    EXPECT_INT(torc_process_spawn(denied, NULL, &process), ==, -EACCES);
    EXPECT_INT(setenv("PATH", ":/no/such/directory", 1), ==, 0); /* Empty: where it starts. */
    EXPECT_STR(harness_output_of(by_name, &there, text, sizeof(text)), "found\n");
    EXPECT_INT(setenv("PATH", "", 1), ==, 0);
    EXPECT_STR(harness_output_of(by_name, &there, text, sizeof(text)), "found\n");

    snprintf(path, sizeof(path), "%s/torc-found", here);
    EXPECT_INT(unlink(path), ==, 0);
    snprintf(path, sizeof(path), "%s/torc-denied", here);
    EXPECT_INT(unlink(path), ==, 0);
    EXPECT_INT(rmdir(here), ==, 0);
    EXPECT_INT(spawn_true(&there), ==, -ENOENT);
}

/* ---- All else ---- */

FIBER_TEST_WITH_THREADS(umask_and_limits_are_the_childs_alone)
{
    const struct torc_process_limit limits[] = {{RLIMIT_NOFILE, {64, 128}}, {RLIMIT_CORE, {0, 0}}};
    const struct torc_process_limit bad = {4711, {1, 1}};
    const struct torc_process_options options = {
        .limits = limits, .limit_count = 2, .flags = TORC_PROCESS_UMASK, .umask = 027};
    struct rlimit before;
    struct rlimit after;

    EXPECT_INT(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    EXPECT_STR(harness_shell_output("umask; ulimit -n; ulimit -Hn; ulimit -c", &options, text,
                                    sizeof(text)),
               "0027\n64\n128\n0\n");
    EXPECT_INT(getrlimit(RLIMIT_NOFILE, &after), ==, 0);
    EXPECT_UINT(after.rlim_cur, ==, before.rlim_cur);
    EXPECT_INT(spawn_true(&(struct torc_process_options){.limits = &bad, .limit_count = 1}), ==,
               -EINVAL);
}

/* The process group and the session of a child, relative to its own number. */
static void read_stat(const struct torc_process_options *options, int *ret_group, int *ret_session,
                      int *ret_pid)
{
    const char *const argv[] = {"cat", "/proc/self/stat", NULL};
    int parent;

    harness_output_of(argv, options, text, sizeof(text));
    EXPECT_INT(sscanf(text, "%d (cat) %*c %d %d %d", ret_pid, &parent, ret_group, ret_session), ==,
               4);
    EXPECT_INT(parent, ==, getpid());
}

FIBER_TEST_WITH_THREADS(a_child_may_have_a_group_and_a_session_of_its_own)
{
    struct torc_process_options options = {0};
    int group;
    int session;
    int pid;

    read_stat(&options, &group, &session, &pid);
    EXPECT_INT(group, ==, getpgid(0));
    EXPECT_INT(session, ==, getsid(0));
    options.flags = TORC_PROCESS_NEW_GROUP;
    read_stat(&options, &group, &session, &pid);
    EXPECT_INT(group, ==, pid);
    EXPECT_INT(session, ==, getsid(0));
    options.flags = TORC_PROCESS_NEW_SESSION;
    read_stat(&options, &group, &session, &pid);
    EXPECT_INT(group, ==, pid);
    EXPECT_INT(session, ==, pid);
}

FIBER_TEST_WITH_THREADS(a_child_may_join_the_group_of_another)
{
    const struct torc_process_options leads = {.flags = TORC_PROCESS_NEW_GROUP,
                                               .input = {.kind = TORC_STDIO_PIPE}};
    struct torc_process leader;
    int group;
    int session;
    int pid;

    harness_spawn_shell("read line", &leads, &leader);
    const struct torc_process_options joins = {.group = leader.pid};
    read_stat(&joins, &group, &session, &pid);
    EXPECT_INT(group, ==, leader.pid);
    torc_process_close(&leader);
    EXPECT_INT(spawn_true(&joins), <, 0); /* There is no such group any more. */
}

FIBER_TEST_WITH_THREADS(a_child_may_run_as_another_user)
{
    const gid_t groups[] = {65533};
    const struct torc_process_options options = {.flags = TORC_PROCESS_CREDENTIALS,
                                                 .uid = 65534,
                                                 .gid = 65534,
                                                 .groups = groups,
                                                 .group_count = 1};

    if (geteuid() != 0) {
        EXPECT_INT(spawn_true(&options), ==, -EPERM);
        return;
    }
    EXPECT_STR(harness_shell_output("id -u; id -g; id -G", &options, text, sizeof(text)),
               "65534\n65534\n65534 65533\n");
    EXPECT_INT(getuid(), ==, 0);
}

static void count_nothing(int number)
{
    (void)number;
}

/* A line of /proc/self/status of a child, as a number. */
static unsigned long long mask_of_child(const char *name, unsigned flags)
{
    const char *const argv[] = {"cat", "/proc/self/status", NULL};
    const struct torc_process_options options = {.flags = flags};
    const char *line = strstr(harness_output_of(argv, &options, text, sizeof(text)), name);

    EXPECT(line != NULL);
    return strtoull(line + strlen(name), NULL, 16);
}

FIBER_TEST_WITH_THREADS(signals_of_a_child_are_neither_blocked_nor_ignored_nor_handled)
{
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, count_nothing);
    EXPECT_UINT(mask_of_child("SigBlk:", 0), ==, 0);
    EXPECT_UINT(mask_of_child("SigIgn:", 0), ==, 0);
    EXPECT_UINT(mask_of_child("SigCgt:", 0), ==, 0);
    EXPECT_UINT(mask_of_child("SigBlk:", TORC_PROCESS_KEEP_IGNORED), ==, 0);
    /* Others may be ignored since before this test. */
    EXPECT(mask_of_child("SigIgn:", TORC_PROCESS_KEEP_IGNORED) & 1 << (SIGHUP - 1));
    EXPECT_UINT(mask_of_child("SigCgt:", TORC_PROCESS_KEEP_IGNORED), ==, 0);
    /* Of ours none has changed. */
    EXPECT(signal(SIGHUP, SIG_DFL) == SIG_IGN);
    EXPECT(signal(SIGUSR1, SIG_DFL) == count_nothing);
}

static int expect_all_cpus(void *arg)
{
    const cpu_set_t *all = arg;
    char expected[16];

    snprintf(expected, sizeof(expected), "%d\n", CPU_COUNT(all));
    if (torc_shard_index() == 0) {
        EXPECT_STR(harness_shell_output("nproc --all >/dev/null; nproc", NULL, text, sizeof(text)),
                   expected);
    }
    return 0;
}

TEST(a_child_of_a_pinned_shard_may_use_all_cpus)
{
    const struct torc_options options = {.shards = 2};
    cpu_set_t all;

    NEEDS_THREADS();
    unsetenv("OMP_NUM_THREADS"); /* nproc obeys it. */
    unsetenv("OMP_THREAD_LIMIT");
    EXPECT_INT(sched_getaffinity(0, sizeof(all), &all), ==, 0);
    harness_run_with(&options, expect_all_cpus, &all);
}

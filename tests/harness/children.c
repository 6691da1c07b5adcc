/* SPDX-License-Identifier: MIT */
/*
 * children.c - other programs as children of a test.
 */
#include "harness/children.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <torc/error.h>
#include <torc/io.h>

void harness_expect_no_children(void)
{
    siginfo_t info;
    const int result = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);

    EXPECT_MSG(result == -1, "there is a child; ended: %d", info.si_pid);
    EXPECT_INT(errno, ==, ECHILD);
}

void harness_use_plain_path(void)
{
    EXPECT_INT(setenv("PATH", "/bin:/usr/bin", 1), ==, 0);
}

void harness_spawn_shell(const char *script, const struct torc_process_options *options,
                         struct torc_process *ret_process)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    const int result = torc_process_spawn(argv, options, ret_process);

    EXPECT_MSG(result == 0, "sh: %s", torc_strerror(result));
}

void harness_await_ready(const struct torc_process *process)
{
    char text[6];

    EXPECT_INT(torc_read_all(process->output, text, sizeof(text), NULL), ==, 0);
    EXPECT_MEM(text, "ready\n", sizeof(text));
}

const char *harness_output_of(const char *const *argv, const struct torc_process_options *options,
                              char *text, size_t size)
{
    struct torc_process_exchange exchange = {.output = text, .output_capacity = size - 1};
    struct torc_process_status status;
    const int result = torc_process_run(argv, options, &exchange, &status);

    EXPECT_MSG(result == 0, "%s: %s", argv[0], torc_strerror(result));
    text[exchange.output_size] = '\0';
    EXPECT_MSG(status.exit_code == 0, "%s: exit code %d, signal %d, said: %s", argv[0],
               status.exit_code, status.signal, text);
    EXPECT_UINT(exchange.output_dropped, ==, 0);
    return text;
}

const char *harness_shell_output(const char *script, const struct torc_process_options *options,
                                 char *text, size_t size)
{
    const char *const argv[] = {"sh", "-c", script, NULL};

    return harness_output_of(argv, options, text, size);
}

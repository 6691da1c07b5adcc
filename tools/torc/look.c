/* SPDX-License-Identifier: MIT */
/*
 * look.c - what the commands share that look into another process.
 */
#include "look.h"

#include <errno.h>
#include <stdlib.h>

/* The process that `text` names by its number; 0 if that is none. */
static pid_t parse_pid(const char *text)
{
    char *end;

    errno = 0;
    const long pid = strtol(text, &end, 10);
    return *end == '\0' && end != text && errno == 0 && pid > 0 && pid <= INT32_MAX ? (pid_t)pid
                                                                                    : 0;
}

int look_parse(const struct cli_command *command, int argc, char **argv, pid_t *ret_pid)
{
    int operand;
    const int status = cli_parse(command, argc, argv, &operand);

    if (status >= 0)
        return status;
    if (operand == argc)
        return cli_wrong(command->name, "which process? (see %s --help)", command->name);
    if (operand + 1 != argc)
        return cli_wrong(command->name, "one process at a time, please");
    *ret_pid = parse_pid(argv[operand]);
    if (*ret_pid == 0)
        return cli_wrong(command->name, "'%s' is not the number of a process", argv[operand]);
    return -1;
}

int look_failed(const char *command, pid_t pid, int error)
{
    switch (error) {
    case -ESRCH:
        return cli_failed(command, "there is no process %d", pid);
    case -EACCES:
    case -EPERM:
        return cli_failed(command,
                          "process %d is somebody else's, or protected: its user may look, and root"
                          " with CAP_SYS_PTRACE",
                          pid);
    case -ENOENT:
        return cli_failed(
            command,
            "process %d does not run torc, or not any more, or without an observer (no_observer,"
            " TORC_OBSERVER=0)",
            pid);
    case -EPROTO:
        return cli_failed(command, "process %d runs another version of torc than %s", pid,
                          TORC_VERSION);
    case -ETIMEDOUT:
        return cli_failed(command, "process %d does not answer: is it stopped?", pid);
    default:
        return cli_failed(command, "process %d: %s", pid, torc_strerror(error));
    }
}

static int open_view(const char *command, pid_t pid, unsigned number, struct torc_view **ret_view)
{
    const int result = torc_view_open(pid, number, ret_view);

    if (result == -ENOENT && number > 0 && torc_view_open(pid, 0, ret_view) == 0) {
        torc_view_close(*ret_view);
        return cli_failed(command, "process %d runs torc, but has no runtime %u", pid, number);
    }
    return result < 0 ? look_failed(command, pid, result) : -1;
}

int look_open(const struct cli_command *command, int argc, char **argv, const uint64_t *number,
              pid_t *ret_pid, struct torc_view **ret_view)
{
    const int status = look_parse(command, argc, argv, ret_pid);

    return status >= 0 ? status : open_view(command->name, *ret_pid, (unsigned)*number, ret_view);
}

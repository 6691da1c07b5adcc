/* SPDX-License-Identifier: MIT */
/*
 * look.h - what the commands share that look into another process.
 */
#ifndef TORC_TOOL_LOOK_H
#define TORC_TOOL_LOOK_H

#include "cli.h"

#include <sys/types.h>
#include <torc/torc.h>

/*
 * Read the arguments of a command that looks at one process. -1 and *ret_pid, or the exit status,
 * after having said what is wrong.
 */
int look_parse(const struct cli_command *command, int argc, char **argv, pid_t *ret_pid);

/*
 * The same, and open that runtime of the process whose number its options have put in `*number`. -1
 * and *ret_view, or the exit status.
 */
int look_open(const struct cli_command *command, int argc, char **argv, const uint64_t *number,
              pid_t *ret_pid, struct torc_view **ret_view);

/* Say why looking at a process has failed. Returns the exit status. */
int look_failed(const char *command, pid_t pid, int error);

#endif

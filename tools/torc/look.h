/* SPDX-License-Identifier: MIT */
/*
 * look.h - what the commands share that look into another process.
 */
#ifndef TORC_TOOL_LOOK_H
#define TORC_TOOL_LOOK_H

#include <sys/types.h>
#include <torc/torc.h>

/* The process that `text` names by its number; 0 if that is none. */
pid_t look_parse_pid(const char *text);

/* Open its runtime. -1 and *ret_view, or the exit status, after having said why not. */
int look_open(const char *command, pid_t pid, unsigned number, struct torc_view **ret_view);

/* Say why looking at a process has failed. Returns the exit status. */
int look_failed(const char *command, pid_t pid, int error);

#endif

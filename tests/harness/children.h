/* SPDX-License-Identifier: MIT */
/*
 * children.h - other programs as children of a test.
 */
#ifndef HARNESS_CHILDREN_H
#define HARNESS_CHILDREN_H

#include "harness/harness.h"
#include <torc/process.h>

/* This process has no children: neither running nor waiting to be reaped. */
void harness_expect_no_children(void);

/* A PATH of directories that are everybody's: of others a search may say that they are not ours. */
void harness_use_plain_path(void);

/* Start `sh -c SCRIPT` with `options`, which may be NULL. */
void harness_spawn_shell(const char *script, const struct torc_process_options *options,
                         struct torc_process *ret_process);

/* Read the line "ready" from the child's standard output, one end of a pipe. */
void harness_await_ready(const struct torc_process *process);

/* What `argv` writes to its standard output, as a text. It has to end with 0. */
const char *harness_output_of(const char *const *argv, const struct torc_process_options *options,
                              char *text, size_t size);

/* The same, of a shell's script. */
const char *harness_shell_output(const char *script, const struct torc_process_options *options,
                                 char *text, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * directory.h - files for tests, in a directory of their own, made by plain system calls.
 */
#ifndef HARNESS_DIRECTORY_H
#define HARNESS_DIRECTORY_H

#include "harness/harness.h"
#include <sys/types.h>

/* Make a new directory and make it the working directory. */
void harness_enter_directory(void);

/* Leave that directory, and remove it with all that is in it. */
void harness_leave_directory(void);

/* The absolute path of that directory. */
const char *harness_directory(void);

/* Make a file with that text in it. */
void harness_put_file(const char *path, const char *text);

/* The file has exactly this text. */
void harness_expect_file(const char *path, const char *text);

/* Whether something has that name; a link without its target too. */
bool harness_exists(const char *path);

/* How long a file is. */
off_t harness_file_size(const char *path);

/*
 * Go on, with the working directory as one's own, as a user who may not do everything, until
 * harness_regain_root(). False where root cannot leave it; who is not root already is one.
 */
bool harness_drop_root(void);
void harness_regain_root(void);

/* How many names the working directory has. */
unsigned harness_count_names(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * environment.h - settings in environment variables.
 */
#ifndef BASE_ENVIRONMENT_H
#define BASE_ENVIRONMENT_H

#include <stddef.h>
#include <stdint.h>

/*
 * What is wrong in a variable is told in one line of the log, the same once in a process, however
 * many shards read it.
 */

/* Tell that `text`, of `length` bytes in the variable `name`, is not what is wanted. */
void torc__environment_wrong(const char *name, const char *text, size_t length, const char *wanted);

/*
 * The number in the variable `name`, from 0 to `most`; `otherwise` if it is not set or empty, and
 * if it is something else, of which the log tells. Leaves errno alone.
 */
uint32_t torc__environment_number(const char *name, uint32_t otherwise, uint32_t most);

/*
 * Which of `words`, up to a NULL, is in the variable `name`; 0 if it is not set or empty; -EINVAL
 * if it is something else, of which the log tells.
 */
int torc__environment_word(const char *name, const char *const *words);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * environment.h - settings in environment variables.
 */
#ifndef BASE_ENVIRONMENT_H
#define BASE_ENVIRONMENT_H

#include <stdint.h>

/*
 * The number in the variable `name`, from 0 to `most`; `otherwise` if it is not set or empty, and
 * if it is something else, of which the log tells. Leaves errno alone.
 */
uint32_t torc__environment_number(const char *name, uint32_t otherwise, uint32_t most);

#endif

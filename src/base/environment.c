/* SPDX-License-Identifier: MIT */
/*
 * environment.c - settings in environment variables.
 */
#include "base/environment.h"
#include "base/log.h"
#include <errno.h>
#include <stdlib.h>

uint32_t torc__environment_number(const char *name, uint32_t otherwise, uint32_t most)
{
    const char *text = getenv(name);
    const int saved = errno;
    unsigned long number;
    char *end;
    int error;

    if (text == NULL || *text == '\0')
        return otherwise;
    errno = 0;
    number = strtoul(text, &end, 10);
    error = errno;
    errno = saved;
    if (*end == '\0' && *text != '-' && error == 0 && number <= most)
        return (uint32_t)number;
    torc__log("%s: \"%s\" is not a number from 0 to %u", name, text, most);
    return otherwise;
}

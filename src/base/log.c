/* SPDX-License-Identifier: MIT */
/*
 * log.c - messages to the operator, and assertions.
 */
#include "base/log.h"
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void (*torc__describe_current)(char *text, int size);

void torc__log(const char *format, ...)
{
    char line[512] = "torc: ";
    const size_t room = sizeof(line) - 6 - 1; /* Of the prefix, and of the line's end. */
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(line + 6, room, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    length = (size_t)length >= room ? (int)room - 1 : length;
    line[6 + length] = '\n';
    /* One write, so that lines of several threads do not mix. Nobody can be told if it fails. */
    if (write(STDERR_FILENO, line, (size_t)length + 7) < 0)
        return;
}

bool torc__log_would_wait(void)
{
    struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};

    return poll(&output, 1, 0) == 0;
}

void torc__assert_failed(const char *condition, const char *file, int line)
{
    char who[128] = "";

    if (torc__describe_current != NULL)
        torc__describe_current(who, sizeof(who));
    torc__log("assertion failed: %s (%s:%d)%s%s", condition, file, line, who[0] ? ", in " : "",
              who);
    abort();
}

void torc__misused(const char *mistake, const char *condition, const char *file, int line)
{
    torc__log("misuse: %s", mistake);
    torc__assert_failed(condition, file, line);
}

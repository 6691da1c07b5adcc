/* SPDX-License-Identifier: MIT */
/*
 * log.c - messages to the operator, and assertions.
 */
#include "base/log.h"
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void (*torc__describe_current)(char *text, int size);

/* Standard error as torc has found it. */
static atomic_bool has_begun;
static atomic_bool was_open;
static _Atomic dev_t device;
static _Atomic ino_t inode;

void torc__log_begin(void)
{
    struct stat status;

    if (atomic_load(&has_begun))
        return;
    if (fstat(STDERR_FILENO, &status) == 0) {
        atomic_store(&device, status.st_dev);
        atomic_store(&inode, status.st_ino);
        atomic_store(&was_open, true);
    }
    atomic_store(&has_begun, true);
}

/*
 * Whether standard error is none any more. Another may have come by dup2(2) and be right: a
 * terminal, a pipe, a log that was opened anew. A socket, a file of data and a ring are what a
 * program got when it had closed its standard error, and their peers and readers are to see nothing
 * of ours. The program's own pipes, and files that it appends to, are told apart by being
 * close-on-exec, as all that torc opens; dup2(2) makes none so.
 */
static bool is_taken(void)
{
    struct stat status;

    if (!atomic_load(&has_begun))
        return false;
    if (fstat(STDERR_FILENO, &status) < 0)
        return true;
    if (atomic_load(&was_open) && status.st_dev == atomic_load(&device) &&
        status.st_ino == atomic_load(&inode))
        return false;
    if (fcntl(STDERR_FILENO, F_GETFD) & FD_CLOEXEC)
        return true;
    if (S_ISREG(status.st_mode))
        return !(fcntl(STDERR_FILENO, F_GETFL) & O_APPEND);
    return !S_ISCHR(status.st_mode) && !S_ISFIFO(status.st_mode);
}

int torc__log_fd(void)
{
    return is_taken() ? -1 : STDERR_FILENO;
}

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
    if (write(torc__log_fd(), line, (size_t)length + 7) < 0)
        return;
}

bool torc__log_would_wait(void)
{
    struct pollfd output = {.fd = torc__log_fd(), .events = POLLOUT};

    return output.fd >= 0 && poll(&output, 1, 0) == 0;
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

/* SPDX-License-Identifier: MIT */
/*
 * log_capture.h - what the log says, in the place of stderr.
 */
#ifndef UNIT_DRIVER_LOG_CAPTURE_H
#define UNIT_DRIVER_LOG_CAPTURE_H

#include "harness/harness.h"
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct log_capture {
    int fd; /* A datagram socket in the place of stderr keeps the lines apart. */
    int saved;
};

static inline void begin_capture(struct log_capture *capture)
{
    int ends[2];

    EXPECT_INT(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), ==, 0);
    capture->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    EXPECT_INT(dup2(ends[1], STDERR_FILENO), ==, STDERR_FILENO);
    close(ends[1]);
    capture->fd = ends[0];
}

/* Ends it, and returns how many lines there were with `text` in them. */
static inline unsigned end_capture(const struct log_capture *capture, const char *text)
{
    unsigned count = 0;
    char line[1024];
    ssize_t length;

    while ((length = recv(capture->fd, line, sizeof(line) - 1, MSG_DONTWAIT)) > 0) {
        line[length] = '\0';
        count += strstr(line, text) != NULL;
    }
    dup2(capture->saved, STDERR_FILENO);
    close(capture->saved);
    close(capture->fd);
    return count;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * console.c - descriptors 0, 1 and 2 of simulated processes.
 *
 * What is written goes to where this process writes it, at once, so that it stands in its place
 * among the lines of the trace. Nothing can be read: what somebody types would not come again when
 * the simulation is replayed.
 */
#include "driver/sim/console.h"
#include "base/compiler.h"
#include "base/vector.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct console {
    struct sim_file file;
    int fd;
};

static ssize_t console_read(struct sim_file *file, const struct iovec *vector, size_t count,
                            off_t offset, int flags)
{
    (void)file;
    (void)vector;
    (void)count;
    (void)offset;
    (void)flags;
    return 0;
}

static ssize_t console_write(struct sim_file *file, const struct iovec *vector, size_t count,
                             off_t offset, int flags)
{
    const struct console *console = container_of(file, struct console, file);
    const size_t size = torc__vector_size(vector, count);

    (void)offset;
    (void)flags;
    /* Whether all of it was taken must not matter: who reads there is not simulated. */
    if (writev(console->fd, vector, (int)count) < 0)
        return (ssize_t)size;
    return (ssize_t)size;
}

static int console_stat(struct sim_file *file, struct statx *ret_about)
{
    (void)file;
    ret_about->stx_mode = S_IFCHR | 0620;
    return 0;
}

static void console_release(struct sim_file *file, bool crashed)
{
    (void)crashed;
    free(container_of(file, struct console, file));
}

static const struct sim_file_ops console_ops = {
    .kind = "console",
    .read = console_read,
    .write = console_write,
    .stat = console_stat,
    .release = console_release,
};

int torc__sim_console_open(struct sim_host *host, int fd, struct sim_file **ret_file)
{
    struct console *console = calloc(1, sizeof(*console));

    if (console == NULL)
        return -ENOMEM;
    torc__sim_file_init(&console->file, &console_ops, host, fd == 0 ? O_RDONLY : O_WRONLY);
    console->fd = fd;
    *ret_file = &console->file;
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * open.c - new descriptors of simulated processes.
 */
#include "driver/sim/open.h"
#include "driver/sim/net.h"
#include <errno.h>
#include <fcntl.h>

int torc__sim_install(struct sim_host *host, struct sim_file *file)
{
    const int fd = torc__sim_fd_open(host, file);

    if (fd < 0)
        torc__sim_file_release(file);
    return fd;
}

int torc__sim_install_two(struct sim_host *host, struct sim_file *files[2], int ret_fds[2])
{
    const int first = torc__sim_install(host, files[0]);
    const int second = first < 0 ? first : torc__sim_fd_open(host, files[1]);

    if (second < 0) {
        torc__sim_file_release(files[1]);
        if (first >= 0)
            (void)torc__sim_fd_close(host, first);
        return second;
    }
    ret_fds[0] = first;
    ret_fds[1] = second;
    return 0;
}

int torc__sim_open_pipe(struct sim_host *host, int flags, int ret_fds[2])
{
    struct sim_file *files[2];
    int result = torc__sim_pipe_open(host, flags & ~O_CLOEXEC, files);

    return result < 0 ? result : torc__sim_install_two(host, files, ret_fds);
}

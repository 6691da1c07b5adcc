/* SPDX-License-Identifier: MIT */
/*
 * open.h - what gives a simulated process new descriptors, and names to its sockets.
 */
#ifndef DRIVER_SIM_OPEN_H
#define DRIVER_SIM_OPEN_H

#include "driver/sim/file.h"

/* Give a new file a descriptor, which takes the reference whatever comes of it. */
int torc__sim_install(struct sim_host *host, struct sim_file *file);

/* The same of two, or of neither. 0 or -EMFILE. */
int torc__sim_install_two(struct sim_host *host, struct sim_file *files[2], int ret_fds[2]);

/* As pipe2(2). */
int torc__sim_open_pipe(struct sim_host *host, int flags, int ret_fds[2]);

#endif

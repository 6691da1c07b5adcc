/* SPDX-License-Identifier: MIT */
/*
 * console.h - descriptors 0, 1 and 2 of simulated processes.
 */
#ifndef DRIVER_SIM_CONSOLE_H
#define DRIVER_SIM_CONSOLE_H

#include "driver/sim/file.h"

/* What a process has as `fd` when it begins, with one reference. 0 or -ENOMEM. */
int torc__sim_console_open(struct sim_host *host, int fd, struct sim_file **ret_file);

#endif

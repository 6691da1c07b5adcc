/* SPDX-License-Identifier: MIT */
/*
 * syscall.h - system calls of simulated processes, as system calls: for code that knows no ops.
 */
#ifndef DRIVER_SIM_SYSCALL_H
#define DRIVER_SIM_SYSCALL_H

#include "driver/sim/host.h"

/*
 * Make a call, `number` of SYS_. One that has to wait does, with the whole context that runs. The
 * result or a negative errno; -ENOSYS for what is not simulated.
 */
int64_t torc__sim_syscall(struct sim_host *host, long number, const uintptr_t arguments[6]);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * ambient.h - the simulated world of an ordinary program, which asks for it by TORC_DRIVER=sim or
 * an option, and knows nothing of hosts.
 *
 * The process has one, from the first time until it ends: with one host, whose files, sockets and
 * clock outlive a torc_run(). Its threads are inside one at a time; others wait. In the
 * environment: TORC_SIM_SEED, a number, 1 by default; TORC_SIM_CHAOS, "calm" (the default),
 * "default" or "wild"; TORC_SIM_TRACE, 1 to be told on stderr what happens.
 */
#ifndef DRIVER_SIM_AMBIENT_H
#define DRIVER_SIM_AMBIENT_H

#include "driver/sim/world.h"

/*
 * Enter the ambient world, once no other thread is inside; it is made if there is none yet. `local`
 * as in torc__sim_bind_local(). 0; -EINVAL for an environment that says nonsense; -ENOMEM.
 */
int torc__sim_enter(void **local);

/* Leave it. */
void torc__sim_leave(void);

/* This is the child of a fork(): it is in no world. */
void torc__sim_after_fork(void);

/* The chaos that TORC_SIM_CHAOS names, or of `otherwise`. 0 or -EINVAL. */
int torc__sim_read_chaos(enum torc_sim_preset otherwise, struct torc_sim_chaos *ret_chaos);

/* The seed of TORC_SIM_SEED, or `otherwise`. 0 or -EINVAL. */
int torc__sim_read_seed(uint64_t otherwise, uint64_t *ret_seed);

#endif

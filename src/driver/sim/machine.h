/* SPDX-License-Identifier: MIT */
/*
 * machine.h - whole machines: a host with its network, its disk and a process; and their ends.
 */
#ifndef DRIVER_SIM_MACHINE_H
#define DRIVER_SIM_MACHINE_H

#include "driver/sim/host.h"

/* Make a world with a network, and no machine yet. NULL without memory. */
struct sim_world *torc__sim_machines_create(uint64_t seed, const struct torc_sim_chaos *chaos);

/* Drop whatever is left of a world, and free it. NULL is ignored. */
void torc__sim_machines_destroy(struct sim_world *world);

/* Add a machine; it is up, and its process has descriptors 0, 1 and 2. As torc__sim_host_add(). */
int torc__sim_machine_add(struct sim_world *world, const char *name, const char *address,
                          struct sim_host **ret_host);

/*
 * End the process of a machine, of which no context is running: its threads are dropped where they
 * are, and its files closed. With `crashed` the machine loses its power, and is down.
 */
void torc__sim_machine_kill(struct sim_host *host, bool crashed);

/* Begin another process there; the machine is up again if it was not. 0 or -ENOMEM. */
int torc__sim_machine_boot(struct sim_host *host);

#endif

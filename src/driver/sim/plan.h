/* SPDX-License-Identifier: MIT */
/*
 * plan.h - faults that a scenario has planned.
 */
#ifndef DRIVER_SIM_PLAN_H
#define DRIVER_SIM_PLAN_H

#include "driver/sim/host.h"
#include <torc/sim.h>

/* Have ops fail from now on; `failure` is copied. 0 or -ENOMEM. */
int torc__sim_plan_add(struct sim_host *host, const struct torc_sim_failure *failure);
void torc__sim_plan_clear(struct sim_host *host);

/* An op is about to begin: the error that is planned for it, or 0. */
int torc__sim_plan_look(struct sim_host *host, unsigned opcode, int fd);

#endif

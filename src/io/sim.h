/* SPDX-License-Identifier: MIT */
/*
 * sim.h - what the parts of the public face of simulations share.
 */
#ifndef IO_SIM_H
#define IO_SIM_H

#include "driver/sim/context.h"
#include "driver/sim/host.h"
#include <torc/sim.h>

struct waiter;

/* A host with its program; sim_host.owner points here. */
struct torc_sim_host {
    struct sim_host *machine;
    torc_sim_program *program; /* NULL: the scenario's host */
    void *arg;
    bool runs;
    int result;             /* of the program, once it has ended */
    struct waiter *waiters; /* for its end */
};

/* The world that the caller runs in; aborts where there is none. */
struct sim_world *torc__sim_here(void);

/*
 * Enter the ambient world if the caller is in none; then torc__sim_leave() is to be called. 0 or a
 * negative errno.
 */
int torc__sim_enter_if_outside(bool *ret_entered);

/* Make the host of a machine. NULL without memory. */
struct torc_sim_host *torc__sim_host_create(struct sim_host *machine);

/* Drop what runs on all hosts, and free what this layer has of them. */
void torc__sim_hosts_destroy(struct sim_world *world);

#endif

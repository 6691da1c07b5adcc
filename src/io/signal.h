/* SPDX-License-Identifier: MIT */
/*
 * signal.h - signals of simulated programs.
 */
#ifndef IO_SIGNAL_H
#define IO_SIGNAL_H

struct sim_host;

/* Send a signal to the program of a host. How many watches were told; 0: none wants it. */
int torc__signals_raise(const struct sim_host *home, int number);

/* The watches of a host's program are gone, with the stacks that they stood on. */
void torc__signals_forget(const struct sim_host *home);

#endif

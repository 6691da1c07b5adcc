/* SPDX-License-Identifier: MIT */
/*
 * names.h - names of hosts in a simulation, which are those of the other hosts.
 */
#ifndef DRIVER_SIM_NAMES_H
#define DRIVER_SIM_NAMES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

/* The addresses of a host, of one family or of both. */
struct sim_addresses {
    bool has_ipv4;
    bool has_ipv6;
    struct in_addr ipv4;
    struct in6_addr ipv6;
};

/*
 * Look up a name, "localhost", or an address that is written as one, from the host that runs.
 * Letters of either case are the same. Waits as long as that takes. 0 or -ENXIO; -EAGAIN if the
 * host is cut off from all others.
 */
int torc__sim_lookup(const char *name, struct sim_addresses *ret_addresses);

/* The name of the host with an address. As that; -ENOBUFS if `size` is too small for it. */
int torc__sim_lookup_name(const struct sockaddr *address, char *ret_name, size_t size);

#endif

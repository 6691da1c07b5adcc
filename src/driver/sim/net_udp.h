/* SPDX-License-Identifier: MIT */
/*
 * net_udp.h - sockets for datagrams between hosts, and their groups.
 */
#ifndef DRIVER_SIM_NET_UDP_H
#define DRIVER_SIM_NET_UDP_H

#include "driver/sim/net_socket.h"

/* A socket hears a group on an interface, from all sources or from one. */
struct sim_membership {
    struct sim_membership *next;
    struct in6_addr group;
    struct in6_addr source; /* any: from all */
    unsigned interface;
};

struct sim_udp {
    struct sim_socket socket;
    struct sim_packet *queue;
    struct sim_packet **last_in_queue;
    size_t queued; /* bytes, and what they cost */
    uint32_t dropped;
    struct sim_membership *memberships;
    unsigned multicast_interface; /* 0: as the route is */
};

static inline struct sim_udp *torc__sim_udp_of(struct sim_file *file)
{
    return (struct sim_udp *)file;
}

/* ---- net_udp_send.c ---- */

ssize_t torc__sim_udp_sendmsg(struct sim_file *file, const struct msghdr *message, int flags);

/* ---- net_udp_receive.c ---- */

ssize_t torc__sim_udp_recvmsg(struct sim_file *file, struct msghdr *message, int flags);

/* ---- net_multicast.c ---- */

/* The interface on which a packet has come. */
unsigned torc__sim_multicast_interface(const struct sim_host *host,
                                       const struct sim_packet *packet);

/* Options of groups; -ENOPROTOOPT: it is none of them. */
int torc__sim_multicast_set(struct sim_udp *udp, int level, int name, const void *value,
                            socklen_t length);
void torc__sim_multicast_leave_all(struct sim_udp *udp);

/* Whether anybody on the host hears what `source` says to a group. */
bool torc__sim_multicast_is_heard(const struct sim_host *host, const struct sim_packet *packet);

/* Whether a socket, whose port fits, is one of them. */
bool torc__sim_multicast_hears(const struct sim_udp *udp, const struct sim_packet *packet);

#endif

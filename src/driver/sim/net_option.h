/* SPDX-License-Identifier: MIT */
/*
 * net_option.h - options of sockets that are numbers. Most of them are only remembered.
 */
#ifndef DRIVER_SIM_NET_OPTION_H
#define DRIVER_SIM_NET_OPTION_H

#include <stdbool.h>
#include <sys/socket.h>

/* Those that a model looks at have a name of their own; the others are told by level and name. */
enum sim_option {
    OPTION_REUSEADDR,
    OPTION_REUSEPORT,
    OPTION_BROADCAST,
    OPTION_KEEPALIVE,
    OPTION_SNDBUF,
    OPTION_RCVBUF,
    OPTION_PASSCRED,
    OPTION_TIMESTAMPNS,
    OPTION_RXQ_OVFL,
    OPTION_BINDTOIFINDEX,
    OPTION_RCVLOWAT,
    OPTION_OOBINLINE,
    OPTION_KEEPIDLE,
    OPTION_KEEPINTVL,
    OPTION_KEEPCNT,
    OPTION_DEFER_ACCEPT,
    OPTION_USER_TIMEOUT,
    OPTION_TOS,
    OPTION_TTL,
    OPTION_PKTINFO,
    OPTION_RECVTOS,
    OPTION_RECVTTL,
    OPTION_MTU_DISCOVER,
    OPTION_MULTICAST_LOOP,
    OPTION_MULTICAST_TTL,
    OPTION_V6ONLY,
    OPTION_TCLASS,
    OPTION_UNICAST_HOPS,
    OPTION_RECVPKTINFO,
    OPTION_RECVTCLASS,
    OPTION_RECVHOPLIMIT,
    OPTION_MULTICAST_LOOP_V6,
    OPTION_MULTICAST_HOPS,
    OPTION_MTU_DISCOVER_V6,
    OPTION_GRO,
    OPTION_SEGMENT,
    OPTION_NAMED, /* how many these are */
    OPTION_COUNT = OPTION_NAMED + 23
};

/* What a socket has before anything was set. Types are those of SOCK_. */
void torc__sim_options_init(int values[OPTION_COUNT], int family, int type);

/* -ENOPROTOOPT: no such option, or not of this kind; -EINVAL: too short, or out of range. */
int torc__sim_option_set(int values[OPTION_COUNT], int family, int type, int level, int name,
                         const void *value, socklen_t length);
int torc__sim_option_get(const int values[OPTION_COUNT], int family, int type, int level, int name,
                         void *value, socklen_t *length);

/* Give a number to a program that has asked for an option. */
int torc__sim_option_give(int number, void *value, socklen_t *length);

/* How many bytes fit into a buffer of the size that an option tells: the rest is overhead. */
static inline size_t torc__sim_buffer_room(int option_value)
{
    return (size_t)option_value / 2;
}

#endif

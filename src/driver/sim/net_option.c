/* SPDX-License-Identifier: MIT */
/*
 * net_option.c - options of sockets that are numbers.
 */
#include "driver/sim/net_option.h"
#include "base/compiler.h"
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

/* Newer than the header of some C libraries; the same on all CPUs of ours. */
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

/* What Linux makes of sizes: twice as much as was asked for, and not less than these. */
#define SNDBUF_LEAST 4608
#define RCVBUF_LEAST 2304
#define BUFFER_MOST  (8 << 20)
/* Before anything was set. */
#define SNDBUF_DEFAULT 524288
#define RCVBUF_DEFAULT 262144

enum {
    ANY_SOCKET = 0,
    INTERNET = 1, /* of both families: an IPv6 socket speaks IPv4 as well */
    IPV6_ONLY = 2,
    TCP_ONLY = 4,
    UDP_ONLY = 8,
    UNIX_ONLY = 16,
    READ_ONLY = 32,
    IS_BOOL = 64, /* whatever is not 0 is 1 */
    MAY_BE_BYTE = 128,
};

struct option {
    int level;
    int name;
    unsigned traits;
    int initial;
    int min;
    int max;
};

static const struct option options[] = {
    [OPTION_REUSEADDR] = {SOL_SOCKET, SO_REUSEADDR, IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_REUSEPORT] = {SOL_SOCKET, SO_REUSEPORT, IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_BROADCAST] = {SOL_SOCKET, SO_BROADCAST, IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_KEEPALIVE] = {SOL_SOCKET, SO_KEEPALIVE, IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_SNDBUF] = {SOL_SOCKET, SO_SNDBUF, 0, SNDBUF_DEFAULT, INT_MIN, INT_MAX},
    [OPTION_RCVBUF] = {SOL_SOCKET, SO_RCVBUF, 0, RCVBUF_DEFAULT, INT_MIN, INT_MAX},
    [OPTION_PASSCRED] = {SOL_SOCKET, SO_PASSCRED, IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_TIMESTAMPNS] = {SOL_SOCKET, SO_TIMESTAMPNS, IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_RXQ_OVFL] = {SOL_SOCKET, SO_RXQ_OVFL, IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_BINDTOIFINDEX] = {SOL_SOCKET, SO_BINDTOIFINDEX, INTERNET, 0, 0, 2},
    [OPTION_RCVLOWAT] = {SOL_SOCKET, SO_RCVLOWAT, 0, 1, 1, INT_MAX},
    [OPTION_OOBINLINE] = {SOL_SOCKET, SO_OOBINLINE, IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_KEEPIDLE] = {IPPROTO_TCP, TCP_KEEPIDLE, TCP_ONLY, 7200, 1, 32767},
    [OPTION_KEEPINTVL] = {IPPROTO_TCP, TCP_KEEPINTVL, TCP_ONLY, 75, 1, 32767},
    [OPTION_KEEPCNT] = {IPPROTO_TCP, TCP_KEEPCNT, TCP_ONLY, 9, 1, 127},
    [OPTION_DEFER_ACCEPT] = {IPPROTO_TCP, TCP_DEFER_ACCEPT, TCP_ONLY, 0, 0, 65535},
    [OPTION_USER_TIMEOUT] = {IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_ONLY, 0, 0, INT_MAX},
    [OPTION_TOS] = {IPPROTO_IP, IP_TOS, INTERNET | MAY_BE_BYTE, 0, 0, 255},
    [OPTION_TTL] = {IPPROTO_IP, IP_TTL, INTERNET | MAY_BE_BYTE, 64, 1, 255},
    [OPTION_PKTINFO] = {IPPROTO_IP, IP_PKTINFO, INTERNET | IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_RECVTOS] = {IPPROTO_IP, IP_RECVTOS, INTERNET | IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_RECVTTL] = {IPPROTO_IP, IP_RECVTTL, INTERNET | IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_MTU_DISCOVER] = {IPPROTO_IP, IP_MTU_DISCOVER, INTERNET, IP_PMTUDISC_WANT, 0, 5},
    [OPTION_MULTICAST_LOOP] = {IPPROTO_IP, IP_MULTICAST_LOOP, INTERNET | IS_BOOL | MAY_BE_BYTE, 1,
                               INT_MIN, INT_MAX},
    [OPTION_MULTICAST_TTL] = {IPPROTO_IP, IP_MULTICAST_TTL, INTERNET | MAY_BE_BYTE, 1, 0, 255},
    [OPTION_V6ONLY] = {IPPROTO_IPV6, IPV6_V6ONLY, IPV6_ONLY | IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_TCLASS] = {IPPROTO_IPV6, IPV6_TCLASS, IPV6_ONLY, 0, -1, 255},
    [OPTION_UNICAST_HOPS] = {IPPROTO_IPV6, IPV6_UNICAST_HOPS, IPV6_ONLY, 64, -1, 255},
    [OPTION_RECVPKTINFO] = {IPPROTO_IPV6, IPV6_RECVPKTINFO, IPV6_ONLY | IS_BOOL, 0, INT_MIN,
                            INT_MAX},
    [OPTION_RECVTCLASS] = {IPPROTO_IPV6, IPV6_RECVTCLASS, IPV6_ONLY | IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_RECVHOPLIMIT] = {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, IPV6_ONLY | IS_BOOL, 0, INT_MIN,
                             INT_MAX},
    [OPTION_MULTICAST_LOOP_V6] = {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, IPV6_ONLY | IS_BOOL, 1, 0, 1},
    [OPTION_MULTICAST_HOPS] = {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, IPV6_ONLY, 1, -1, 255},
    [OPTION_MTU_DISCOVER_V6] = {IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_ONLY, IPV6_PMTUDISC_WANT, 0,
                                5},
    [OPTION_GRO] = {SOL_UDP, UDP_GRO, UDP_ONLY | IS_BOOL, 0, INT_MIN, INT_MAX},
    [OPTION_SEGMENT] = {SOL_UDP, UDP_SEGMENT, UDP_ONLY, 0, 0, 65535},
    /* Only remembered. */
    {SOL_SOCKET, SO_PRIORITY, ANY_SOCKET, 0, INT_MIN, INT_MAX},
    {SOL_SOCKET, SO_MARK, ANY_SOCKET, 0, INT_MIN, INT_MAX},
    {SOL_SOCKET, SO_SNDLOWAT, READ_ONLY, 1, 0, 0},
    {SOL_SOCKET, SO_BUSY_POLL, ANY_SOCKET, 0, 0, INT_MAX},
    {SOL_SOCKET, SO_ZEROCOPY, IS_BOOL, 0, 0, 1},
    {SOL_SOCKET, SO_DONTROUTE, IS_BOOL, 0, INT_MIN, INT_MAX},
    {SOL_SOCKET, SO_TIMESTAMP, IS_BOOL, 0, INT_MIN, INT_MAX},
    {SOL_SOCKET, SO_INCOMING_CPU, ANY_SOCKET, -1, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_NODELAY, TCP_ONLY | IS_BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_CORK, TCP_ONLY | IS_BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_QUICKACK, TCP_ONLY | IS_BOOL, 1, INT_MIN, INT_MAX},
    {IPPROTO_TCP, TCP_FASTOPEN, TCP_ONLY, 0, 0, INT_MAX},
    {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, TCP_ONLY, 0, 0, 1},
    {IPPROTO_TCP, TCP_SYNCNT, TCP_ONLY, 6, 1, 127},
    {IPPROTO_TCP, TCP_MAXSEG, TCP_ONLY, 536, 88, 32767},
    {IPPROTO_TCP, TCP_LINGER2, TCP_ONLY, 60, INT_MIN, 120},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, TCP_ONLY, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_FREEBIND, INTERNET | IS_BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, INTERNET | IS_BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IP, IP_RECVERR, INTERNET | IS_BOOL, 0, INT_MIN, INT_MAX},
    {IPPROTO_IPV6, IPV6_RECVERR, IPV6_ONLY | IS_BOOL, 0, INT_MIN, INT_MAX},
    {SOL_UDP, UDP_CORK, UDP_ONLY | IS_BOOL, 0, INT_MIN, INT_MAX},
    {SOL_UDP, UDP_NO_CHECK6_TX, UDP_ONLY | IS_BOOL, 0, INT_MIN, INT_MAX},
};
_Static_assert(ARRAY_LENGTH(options) == OPTION_COUNT, "OPTION_COUNT is how many there are");

void torc__sim_options_init(int values[OPTION_COUNT], int family, int type)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        values[i] = options[i].initial;
    if (family == AF_UNIX || type == SOCK_DGRAM) /* net.core.wmem_default and rmem_default */
        values[OPTION_SNDBUF] = values[OPTION_RCVBUF] = 212992;
}

static bool is_of_kind(const struct option *option, int family, int type)
{
    const bool is_internet = family != AF_UNIX;

    if (option->traits & (INTERNET | IPV6_ONLY | TCP_ONLY | UDP_ONLY)) {
        if (!is_internet || ((option->traits & IPV6_ONLY) && family != AF_INET6))
            return false;
    }
    if ((option->traits & TCP_ONLY) && type != SOCK_STREAM)
        return false;
    if ((option->traits & UDP_ONLY) && type != SOCK_DGRAM)
        return false;
    return !(option->traits & UNIX_ONLY) || !is_internet;
}

/* The index of an option; or -ENOPROTOOPT. */
static int find(int family, int type, int level, int name)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        if (options[i].level == level && options[i].name == name)
            return is_of_kind(&options[i], family, type) ? (int)i : -ENOPROTOOPT;
    }
    return -ENOPROTOOPT;
}

static int buffer_size(int number, int least)
{
    if (number < 0 || number > BUFFER_MOST / 2) /* It is taken for a number without a sign. */
        number = BUFFER_MOST / 2;
    return number * 2 > least ? number * 2 : least;
}

int torc__sim_option_set(int values[OPTION_COUNT], int family, int type, int level, int name,
                         const void *value, socklen_t length)
{
    const int index = find(family, type, level, name);
    int number = 0;

    if (index < 0)
        return index;
    if (options[index].traits & READ_ONLY)
        return -ENOPROTOOPT;
    if (length >= sizeof(number))
        memcpy(&number, value, sizeof(number));
    else if (length > 0 && (options[index].traits & MAY_BE_BYTE))
        number = *(const unsigned char *)value;
    else
        return -EINVAL;
    if (index == OPTION_BINDTOIFINDEX && number > options[index].max)
        return -ENODEV;
    if (number < options[index].min || number > options[index].max)
        return -EINVAL;
    if (options[index].traits & IS_BOOL)
        number = number != 0;
    else if (index == OPTION_SNDBUF)
        number = buffer_size(number, SNDBUF_LEAST);
    else if (index == OPTION_RCVBUF)
        number = buffer_size(number, RCVBUF_LEAST);
    else if (number == -1 && options[index].min == -1)
        number = options[index].initial;
    values[index] = number;
    return 0;
}

int torc__sim_option_give(int number, void *value, socklen_t *length)
{
    const socklen_t size = *length < sizeof(number) ? *length : sizeof(number);

    if ((int)*length < 0)
        return -EINVAL;
    memcpy(value, &number, size);
    *length = size;
    return 0;
}

int torc__sim_option_get(const int values[OPTION_COUNT], int family, int type, int level, int name,
                         void *value, socklen_t *length)
{
    const int index = find(family, type, level, name);

    return index < 0 ? index : torc__sim_option_give(values[index], value, length);
}

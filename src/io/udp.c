/* SPDX-License-Identifier: MIT */
/*
 * udp.c - UDP sockets and multicast.
 */
#include "base/compiler.h"
#include "io/control.h"
#include "io/option.h"
#include <errno.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <string.h>
#include <torc/udp.h>

/* Newer than the header of some C libraries; the same on all CPUs of ours. */
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62 /* 5.0 */
#endif

static int set_socket_options(int fd, const struct torc_udp_options *options)
{
    const struct torc__option list[] = {
        {SOL_SOCKET, SO_REUSEADDR, 1, options->reuse_address},
        {SOL_SOCKET, SO_REUSEPORT, 1, options->reuse_port},
        {SOL_SOCKET, SO_BROADCAST, 1, options->broadcast},
        {SOL_SOCKET, SO_BINDTOIFINDEX, (int)options->interface_index,
         options->interface_index != 0},
        {SOL_SOCKET, SO_SNDBUF, options->send_buffer_size, options->send_buffer_size > 0},
        {SOL_SOCKET, SO_RCVBUF, options->receive_buffer_size, options->receive_buffer_size > 0},
        {SOL_SOCKET, SO_TIMESTAMPNS, 1, options->tell_time},
        {SOL_SOCKET, SO_RXQ_OVFL, 1, options->tell_drops},
        {SOL_UDP, UDP_GRO, 1, options->merge_received},
        {SOL_UDP, UDP_SEGMENT, options->segment_size, options->segment_size != 0},
    };

    return torc__options_set(fd, list, ARRAY_LENGTH(list));
}

/* The kernel takes any number, and says only where it is asked for the name that it has none. */
static int check_interface(int fd, const struct torc_udp_options *options)
{
    char name[IF_NAMESIZE];
    socklen_t length = sizeof(name);

    if (options->interface_index == 0 ||
        torc_getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length) != -ENODEV)
        return 0;
    return -ENODEV;
}

/* An IPv6 socket that speaks IPv4 as well has the options of both. */
static int set_protocol_options(int fd, bool is_v6, const struct torc_udp_options *options)
{
    const bool v4 = !is_v6 || !options->v6_only;
    const bool has_class = options->traffic_class != 0;
    const bool has_limit = options->hop_limit != 0;
    const struct torc__option list[] = {
        {IPPROTO_IPV6, IPV6_V6ONLY, options->v6_only, is_v6},
        {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, is_v6 && options->tell_local},
        {IPPROTO_IP, IP_PKTINFO, 1, !is_v6 && options->tell_local},
        {IPPROTO_IPV6, IPV6_RECVTCLASS, 1, is_v6 && options->tell_traffic_class},
        {IPPROTO_IP, IP_RECVTOS, 1, v4 && options->tell_traffic_class},
        {IPPROTO_IPV6, IPV6_TCLASS, options->traffic_class, is_v6 && has_class},
        {IPPROTO_IP, IP_TOS, options->traffic_class, v4 && has_class},
        {IPPROTO_IPV6, IPV6_UNICAST_HOPS, options->hop_limit, is_v6 && has_limit},
        {IPPROTO_IP, IP_TTL, options->hop_limit, v4 && has_limit},
        {IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO, is_v6 && options->dont_fragment},
        {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, v4 && options->dont_fragment},
    };

    return torc__options_set(fd, list, ARRAY_LENGTH(list));
}

static int open_for(int family, const struct torc_udp_options *options)
{
    static const struct torc_udp_options defaults;
    const int fd = torc_socket(family, SOCK_DGRAM, 0);
    int result;

    if (fd < 0)
        return fd;
    if (options == NULL)
        options = &defaults;
    result = set_socket_options(fd, options);
    if (result == 0)
        result = check_interface(fd, options);
    if (result == 0)
        result = set_protocol_options(fd, family == AF_INET6, options);
    if (result < 0) {
        torc__close_now(fd);
        return result;
    }
    return fd;
}

/* `result` is what the last step has given. */
static int opened(int fd, int result)
{
    if (result == 0)
        return fd;
    torc__close_now(fd);
    return result;
}

int torc_udp_open(const struct torc_address *local, const struct torc_udp_options *options)
{
    const int family = local->any.sa_family;
    const int fd = family == AF_INET || family == AF_INET6 ? open_for(family, options) : -EINVAL;

    return fd < 0 ? fd : opened(fd, torc_bind(fd, local));
}

int torc_udp_connect(const struct torc_address *peer, const struct torc_udp_options *options)
{
    const int family = peer->any.sa_family;
    const int fd = family == AF_INET || family == AF_INET6 ? open_for(family, options) : -EINVAL;

    return fd < 0 ? fd : opened(fd, torc_connect(fd, peer));
}

/* ---- Multicast ---- */

static int protocol_of(const struct torc_address *address)
{
    return address->any.sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
}

static int change_membership(int fd, const struct torc_multicast *multicast, int option,
                             int option_with_source)
{
    const int level = protocol_of(&multicast->group);
    struct group_source_req with_source = {.gsr_interface = multicast->interface_index};
    struct group_req request = {.gr_interface = multicast->interface_index};

    if (multicast->source.length > 0 &&
        multicast->source.any.sa_family != multicast->group.any.sa_family)
        return -EINVAL;
    memcpy(&request.gr_group, &multicast->group.storage, multicast->group.length);
    if (multicast->source.length == 0)
        return torc_setsockopt(fd, level, option, &request, sizeof(request));
    with_source.gsr_group = request.gr_group;
    memcpy(&with_source.gsr_source, &multicast->source.storage, multicast->source.length);
    return torc_setsockopt(fd, level, option_with_source, &with_source, sizeof(with_source));
}

int torc_multicast_join(int fd, const struct torc_multicast *multicast)
{
    return change_membership(fd, multicast, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP);
}

int torc_multicast_leave(int fd, const struct torc_multicast *multicast)
{
    return change_membership(fd, multicast, MCAST_LEAVE_GROUP, MCAST_LEAVE_SOURCE_GROUP);
}

/* Whether a socket is of IPv6; or a negative errno. */
static int is_v6(int fd)
{
    socklen_t length = sizeof(int);
    int family;
    const int result = torc_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length);

    return result < 0 ? result : family == AF_INET6;
}

/* Set the option of the socket's family. */
static int set_either(int fd, int v4_option, int v6_option, int value)
{
    const int v6 = is_v6(fd);

    if (v6 < 0)
        return v6;
    return torc_setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? v6_option : v4_option, &value,
                           sizeof(value));
}

int torc_multicast_set_interface(int fd, unsigned interface_index)
{
    const struct ip_mreqn request = {.imr_ifindex = (int)interface_index};
    const int v6 = is_v6(fd);

    if (v6 < 0)
        return v6;
    if (v6)
        return torc_setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface_index,
                               sizeof(interface_index));
    return torc_setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof(request));
}

int torc_multicast_set_loop(int fd, bool on)
{
    return set_either(fd, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, on);
}

int torc_multicast_set_hop_limit(int fd, unsigned hop_limit)
{
    return hop_limit > 255 ? -EINVAL
                           : set_either(fd, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, (int)hop_limit);
}

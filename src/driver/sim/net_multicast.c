/* SPDX-License-Identifier: MIT */
/*
 * net_multicast.c - groups of UDP sockets.
 *
 * A host hears a group on an interface while any of its sockets is a member there. Of its sockets
 * those hear it that are members, from the sources they want; and those that are not, as Linux
 * has it (IP_MULTICAST_ALL).
 */
#include "base/log.h"
#include "driver/sim/net_udp.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Members ---- */

unsigned torc__sim_multicast_interface(const struct sim_host *host, const struct sim_packet *packet)
{
    if (packet->from != host)
        return INTERFACE_ETH;
    if (torc__sim_ip_is_multicast(&packet->target.ip) &&
        !torc__sim_ip_is_loopback(&packet->source.ip))
        return INTERFACE_ETH;
    return INTERFACE_LO;
}

static bool wants(const struct sim_membership *membership, const struct sim_packet *packet)
{
    return torc__sim_ip_is_any(&membership->source) ||
           IN6_ARE_ADDR_EQUAL(&membership->source, &packet->source.ip);
}

static bool is_of(const struct sim_membership *membership, const struct sim_packet *packet,
                  unsigned interface)
{
    return IN6_ARE_ADDR_EQUAL(&membership->group, &packet->target.ip) &&
           membership->interface == interface;
}

bool torc__sim_multicast_is_heard(const struct sim_host *host, const struct sim_packet *packet)
{
    const unsigned interface = torc__sim_multicast_interface(host, packet);

    for (struct sim_socket *socket = host->net->udp.all; socket != NULL; socket = socket->next) {
        const struct sim_udp *udp = (const struct sim_udp *)socket;

        for (const struct sim_membership *membership = udp->memberships; membership != NULL;
             membership = membership->next) {
            if (is_of(membership, packet, interface) && wants(membership, packet))
                return true;
        }
    }
    return false;
}

bool torc__sim_multicast_hears(const struct sim_udp *udp, const struct sim_packet *packet)
{
    const unsigned interface = torc__sim_multicast_interface(udp->socket.file.host, packet);
    bool is_member = false;

    for (const struct sim_membership *membership = udp->memberships; membership != NULL;
         membership = membership->next) {
        if (!is_of(membership, packet, interface))
            continue;
        if (wants(membership, packet))
            return true;
        is_member = true;
    }
    return !is_member;
}

static struct sim_membership **find(struct sim_udp *udp, const struct sim_membership *wanted,
                                    bool any_source)
{
    struct sim_membership **link = &udp->memberships;

    while (*link != NULL &&
           !(IN6_ARE_ADDR_EQUAL(&(*link)->group, &wanted->group) &&
             (*link)->interface == wanted->interface &&
             (any_source || IN6_ARE_ADDR_EQUAL(&(*link)->source, &wanted->source))))
        link = &(*link)->next;
    return link;
}

static int join(struct sim_udp *udp, const struct sim_membership *wanted)
{
    const bool has_source = !torc__sim_ip_is_any(&wanted->source);
    struct sim_membership *other = *find(udp, wanted, true);

    if (other != NULL && torc__sim_ip_is_any(&other->source) != !has_source)
        return -EINVAL; /* All sources, or some of them. */
    if (*find(udp, wanted, false) != NULL)
        return has_source ? -EADDRNOTAVAIL : -EADDRINUSE;
    other = malloc(sizeof(*other));
    TORC_ASSERT(other != NULL);
    *other = *wanted;
    other->next = udp->memberships;
    udp->memberships = other;
    return 0;
}

/* Without a source: all of the group. */
static int leave(struct sim_udp *udp, const struct sim_membership *wanted)
{
    const bool any_source = torc__sim_ip_is_any(&wanted->source);
    struct sim_membership **link = find(udp, wanted, any_source);

    if (*link == NULL)
        return -EADDRNOTAVAIL;
    while (*link != NULL) {
        struct sim_membership *membership = *link;

        *link = membership->next;
        free(membership);
        if (!any_source)
            break;
        link = find(udp, wanted, true);
    }
    return 0;
}

void torc__sim_multicast_leave_all(struct sim_udp *udp)
{
    while (udp->memberships != NULL) {
        struct sim_membership *membership = udp->memberships;

        udp->memberships = membership->next;
        free(membership);
    }
}

/* ---- Options ---- */

static int read_ip(struct in6_addr *ret_ip, int family, const struct sockaddr_storage *address)
{
    struct sim_endpoint place;
    const int result =
        torc__sim_endpoint_read(&place, family, (const struct sockaddr *)address, sizeof(*address));

    if (result == 0)
        *ret_ip = place.ip;
    return result < 0 ? -EINVAL : 0;
}

static int change(struct sim_udp *udp, int name, struct sim_membership *wanted)
{
    if (!torc__sim_ip_is_multicast(&wanted->group))
        return -EINVAL;
    if (wanted->interface > INTERFACE_ETH)
        return -ENODEV;
    if (wanted->interface == 0)
        wanted->interface = INTERFACE_ETH;
    return name == MCAST_JOIN_GROUP || name == MCAST_JOIN_SOURCE_GROUP ? join(udp, wanted)
                                                                       : leave(udp, wanted);
}

static int change_group(struct sim_udp *udp, int family, int name, const void *value,
                        socklen_t length)
{
    struct sim_membership wanted = {.source = torc__sim_ip_any(false)};
    struct group_req request;
    int result;

    if (length < sizeof(request))
        return -EINVAL;
    memcpy(&request, value, sizeof(request));
    wanted.interface = request.gr_interface;
    result = read_ip(&wanted.group, family, &request.gr_group);
    return result < 0 ? result : change(udp, name, &wanted);
}

static int change_source(struct sim_udp *udp, int family, int name, const void *value,
                         socklen_t length)
{
    struct sim_membership wanted = {0};
    struct group_source_req request;
    int result;

    if (length < sizeof(request))
        return -EINVAL;
    memcpy(&request, value, sizeof(request));
    wanted.interface = request.gsr_interface;
    result = read_ip(&wanted.group, family, &request.gsr_group);
    if (result == 0)
        result = read_ip(&wanted.source, family, &request.gsr_source);
    return result < 0 ? result : change(udp, name, &wanted);
}

/* IP_ADD_MEMBERSHIP and its like name the interface in other ways. */
static int change_old(struct sim_udp *udp, int name, const void *value, socklen_t length)
{
    struct sim_membership wanted = {.source = torc__sim_ip_any(false),
                                    .group = torc__sim_ip_any(true)};
    struct ip_mreqn request = {0};

    if (length < sizeof(struct ip_mreq))
        return -EINVAL;
    memcpy(&request, value, length < sizeof(request) ? length : sizeof(request));
    memcpy(&wanted.group.s6_addr[12], &request.imr_multiaddr, sizeof(request.imr_multiaddr));
    wanted.interface = (unsigned)request.imr_ifindex;
    if (wanted.interface == 0 && ntohl(request.imr_address.s_addr) >> 24 == 127)
        wanted.interface = INTERFACE_LO;
    return change(udp, name == IP_ADD_MEMBERSHIP ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &wanted);
}

static int change_v6(struct sim_udp *udp, int name, const void *value, socklen_t length)
{
    struct sim_membership wanted = {.source = torc__sim_ip_any(false)};
    struct ipv6_mreq request;

    if (length < sizeof(request))
        return -EINVAL;
    memcpy(&request, value, sizeof(request));
    wanted.group = request.ipv6mr_multiaddr;
    wanted.interface = request.ipv6mr_interface;
    return change(udp, name == IPV6_ADD_MEMBERSHIP ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &wanted);
}

static int set_interface_v4(struct sim_udp *udp, const void *value, socklen_t length)
{
    struct ip_mreqn request = {0};

    if (length < sizeof(struct in_addr))
        return -EINVAL;
    if (length >= sizeof(struct ip_mreq))
        memcpy(&request, value, length < sizeof(request) ? length : sizeof(request));
    else
        memcpy(&request.imr_address, value, sizeof(request.imr_address));
    if (request.imr_ifindex < 0 || request.imr_ifindex > INTERFACE_ETH)
        return -EADDRNOTAVAIL;
    udp->multicast_interface = (unsigned)request.imr_ifindex;
    if (request.imr_ifindex == 0 && ntohl(request.imr_address.s_addr) >> 24 == 127)
        udp->multicast_interface = INTERFACE_LO;
    return 0;
}

static int set_interface_v6(struct sim_udp *udp, const void *value, socklen_t length)
{
    int interface;

    if (length < sizeof(interface))
        return -EINVAL;
    memcpy(&interface, value, sizeof(interface));
    if (interface < 0 || interface > INTERFACE_ETH)
        return -ENODEV;
    udp->multicast_interface = (unsigned)interface;
    return 0;
}

int torc__sim_multicast_set(struct sim_udp *udp, int level, int name, const void *value,
                            socklen_t length)
{
    const int family = level == IPPROTO_IPV6 ? AF_INET6 : AF_INET;

    if (level != IPPROTO_IP && (level != IPPROTO_IPV6 || udp->socket.family != AF_INET6))
        return -ENOPROTOOPT;
    if (name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP)
        return change_group(udp, family, name, value, length);
    if (name == MCAST_JOIN_SOURCE_GROUP || name == MCAST_LEAVE_SOURCE_GROUP)
        return change_source(udp, family, name, value, length);
    if (level == IPPROTO_IP && (name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP))
        return change_old(udp, name, value, length);
    if (level == IPPROTO_IPV6 && (name == IPV6_ADD_MEMBERSHIP || name == IPV6_DROP_MEMBERSHIP))
        return change_v6(udp, name, value, length);
    if (level == IPPROTO_IP && name == IP_MULTICAST_IF)
        return set_interface_v4(udp, value, length);
    if (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF)
        return set_interface_v6(udp, value, length);
    return -ENOPROTOOPT;
}

/* SPDX-License-Identifier: MIT */
/*
 * net_endpoint.c - addresses: as programs write them, and whose they are.
 */
#include "driver/sim/net_socket.h"
#include <errno.h>
#include <string.h>

/* What an address of IPv6 had before it got a scope; the kernel still takes it. */
#define V6_LENGTH_LEAST 24u

static struct in6_addr map_v4(struct in_addr v4)
{
    struct in6_addr ip = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

    memcpy(&ip.s6_addr[12], &v4, sizeof(v4));
    return ip;
}

static struct in_addr unmap_v4(const struct in6_addr *ip)
{
    struct in_addr v4;

    memcpy(&v4, &ip->s6_addr[12], sizeof(v4));
    return v4;
}

int torc__sim_endpoint_read(struct sim_endpoint *ret_endpoint, int family,
                            const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_in6 v6 = {0};
    struct sockaddr_in v4;

    if (length < (family == AF_INET ? sizeof(v4) : V6_LENGTH_LEAST))
        return -EINVAL;
    if (address->sa_family != family)
        return -EAFNOSUPPORT;
    if (family == AF_INET) {
        memcpy(&v4, address, sizeof(v4));
        *ret_endpoint = (struct sim_endpoint){map_v4(v4.sin_addr), ntohs(v4.sin_port)};
    } else {
        memcpy(&v6, address, length < sizeof(v6) ? length : sizeof(v6));
        *ret_endpoint = (struct sim_endpoint){v6.sin6_addr, ntohs(v6.sin6_port)};
    }
    return 0;
}

void torc__sim_endpoint_write(const struct sim_endpoint *place, int family,
                              struct sockaddr *address, socklen_t *length)
{
    const struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(place->port), .sin_addr = unmap_v4(&place->ip)};
    const struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(place->port),
        .sin6_addr = place->ip,
        .sin6_scope_id = IN6_IS_ADDR_LINKLOCAL(&place->ip) ? INTERFACE_ETH : 0,
    };
    const socklen_t whole = family == AF_INET ? sizeof(v4) : sizeof(v6);

    memcpy(address, family == AF_INET ? (const void *)&v4 : &v6, *length < whole ? *length : whole);
    *length = whole;
}

bool torc__sim_endpoint_equal(const struct sim_endpoint *a, const struct sim_endpoint *b)
{
    return a->port == b->port && IN6_ARE_ADDR_EQUAL(&a->ip, &b->ip);
}

/* ---- Kinds of addresses ---- */

bool torc__sim_ip_is_v4(const struct in6_addr *ip)
{
    return IN6_IS_ADDR_V4MAPPED(ip);
}

struct in6_addr torc__sim_ip_any(bool v4)
{
    return v4 ? map_v4((struct in_addr){htonl(INADDR_ANY)}) : in6addr_any;
}

bool torc__sim_ip_is_any(const struct in6_addr *ip)
{
    const struct in6_addr any_v4 = torc__sim_ip_any(true);

    return IN6_IS_ADDR_UNSPECIFIED(ip) || IN6_ARE_ADDR_EQUAL(ip, &any_v4);
}

bool torc__sim_ip_is_loopback(const struct in6_addr *ip)
{
    return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
}

bool torc__sim_ip_is_multicast(const struct in6_addr *ip)
{
    if (IN6_IS_ADDR_V4MAPPED(ip))
        return (ip->s6_addr[12] & 0xf0) == 0xe0;
    return IN6_IS_ADDR_MULTICAST(ip);
}

/* Of all networks, and of the one on loopback. */
bool torc__sim_ip_is_broadcast(const struct in6_addr *ip)
{
    const in_addr_t v4 = ntohl(unmap_v4(ip).s_addr);

    return IN6_IS_ADDR_V4MAPPED(ip) && (v4 == INADDR_BROADCAST || v4 == UINT32_C(0x7fffffff));
}

/* ---- Whose an address is ---- */

struct in6_addr torc__sim_ip_of_host(const struct sim_host *host, bool v4)
{
    return v4 ? map_v4(host->ipv4) : host->ipv6;
}

bool torc__sim_ip_is_local(const struct sim_host *host, const struct in6_addr *ip)
{
    const struct in6_addr own = torc__sim_ip_of_host(host, torc__sim_ip_is_v4(ip));

    if (torc__sim_ip_is_broadcast(ip))
        return false;
    return torc__sim_ip_is_loopback(ip) || IN6_ARE_ADDR_EQUAL(ip, &own);
}

struct sim_host *torc__sim_route(struct sim_host *host, const struct in6_addr *ip)
{
    if (torc__sim_ip_is_any(ip) || torc__sim_ip_is_local(host, ip))
        return host;
    if (torc__sim_ip_is_v4(ip))
        return torc__sim_host_by_ipv4(host->world, unmap_v4(ip));
    return torc__sim_host_by_ipv6(host->world, ip);
}

struct in6_addr torc__sim_source_for(const struct sim_host *host, const struct in6_addr *ip)
{
    const bool v4 = torc__sim_ip_is_v4(ip);
    const struct in6_addr own = torc__sim_ip_of_host(host, v4);

    if (IN6_ARE_ADDR_EQUAL(ip, &own))
        return own;
    if (torc__sim_ip_is_loopback(ip) || torc__sim_ip_is_any(ip))
        return v4 ? map_v4((struct in_addr){htonl(INADDR_LOOPBACK)}) : in6addr_loopback;
    return own;
}

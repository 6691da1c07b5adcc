/* SPDX-License-Identifier: MIT */
/*
 * names.c - names of hosts in a simulation.
 */
#include "driver/sim/names.h"
#include "driver/sim/context.h"
#include "driver/sim/host.h"
#include "driver/sim/net.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <torc/time.h>

static const char local_name[] = "localhost";

/* How long nobody answers before the system gives up: resolv.conf(5), two attempts of five s. */
#define NO_ANSWER_NS (10 * TORC_SECOND)

/*
 * The server of names does not fail, and stands wherever others can be reached: who is cut off from
 * them all, each way or one, has none.
 */
static bool is_cut_off(const struct sim_world *world, const struct sim_host *host)
{
    unsigned others = 0;

    for (const struct sim_host *other = world->hosts; other != NULL; other = other->next) {
        if (other == host)
            continue;
        if (!torc__sim_net_is_cut(host, other) && !torc__sim_net_is_cut(other, host))
            return false;
        others++;
    }
    return others > 0;
}

/* Takes as long as asking the server does. 0, or -EAGAIN. */
static int ask_server(struct sim_world *world)
{
    const bool fails = is_cut_off(world, world->running->host);
    const uint64_t answer_ns = 2 * torc__sim_duration(world, &world->chaos.net_latency);

    torc__sim_wait(world, world->now_ns + (fails ? NO_ANSWER_NS : answer_ns), false);
    return fails ? -EAGAIN : 0;
}

int torc__sim_lookup(const char *name, struct sim_addresses *ret_addresses)
{
    struct sim_world *world = torc__sim_world;
    const struct sim_host *host = world->running->host;
    int result = 0;

    *ret_addresses = (struct sim_addresses){0};
    /* As getaddrinfo() has it: "127.1" is one, too. */
    ret_addresses->has_ipv4 = inet_aton(name, &ret_addresses->ipv4) != 0;
    ret_addresses->has_ipv6 = inet_pton(AF_INET6, name, &ret_addresses->ipv6) == 1;
    if (ret_addresses->has_ipv4 || ret_addresses->has_ipv6)
        return 0;
    if (strcasecmp(name, local_name) == 0) {
        *ret_addresses =
            (struct sim_addresses){true, true, {htonl(INADDR_LOOPBACK)}, in6addr_loopback};
        return 0;
    }
    if (strcasecmp(host->name, name) != 0) { /* Its own name a host knows. */
        result = ask_server(world);
        host = world->hosts;
    }
    while (host != NULL && strcasecmp(host->name, name) != 0)
        host = host->next;
    if (result < 0 || host == NULL)
        return result < 0 ? result : -ENXIO;
    *ret_addresses = (struct sim_addresses){true, true, host->ipv4, host->ipv6};
    return 0;
}

/* NULL: nobody's. */
static const char *name_of(const struct sim_world *world, const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    const struct sim_host *host;

    if (address->sa_family == AF_INET) {
        if (ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET)
            return local_name;
        host = torc__sim_host_by_ipv4(world, v4->sin_addr);
    } else {
        if (IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr))
            return local_name;
        host = torc__sim_host_by_ipv6(world, &v6->sin6_addr);
    }
    return host != NULL ? host->name : NULL;
}

int torc__sim_lookup_name(const struct sockaddr *address, char *ret_name, size_t size)
{
    const int result = ask_server(torc__sim_world);
    const char *name;

    if (result < 0)
        return result;
    name = name_of(torc__sim_world, address);
    if (name == NULL)
        return -ENXIO;
    if (strlen(name) >= size)
        return -ENOBUFS;
    memcpy(ret_name, name, strlen(name) + 1);
    return 0;
}

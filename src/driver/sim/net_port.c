/* SPDX-License-Identifier: MIT */
/*
 * net_port.c - who has which port of a host, and which connection is whose.
 */
#include "base/log.h"
#include "driver/sim/net_socket.h"
#include <errno.h>

/* Where ports are chosen from: net.ipv4.ip_local_port_range. */
#define CHOSEN_FIRST 32768u
#define CHOSEN_LAST  60999u

static struct sim_ports *ports_of(const struct sim_socket *socket)
{
    struct sim_net_host *net = socket->file.host->net;

    return socket->type == SOCK_STREAM ? &net->tcp : &net->udp;
}

/* ---- Ports ---- */

bool torc__sim_port_covers(const struct sim_socket *socket, const struct in6_addr *ip)
{
    const struct in6_addr *own = &socket->local.ip;

    if (IN6_IS_ADDR_UNSPECIFIED(own))
        return !torc__sim_ip_is_v4(ip) || !socket->values[OPTION_V6ONLY];
    if (torc__sim_ip_is_any(own))
        return torc__sim_ip_is_v4(ip);
    return IN6_ARE_ADDR_EQUAL(own, ip);
}

/* Whether there is an address that both of them would get. */
static bool overlap(const struct sim_socket *a, const struct sim_socket *b)
{
    return torc__sim_port_covers(a, &b->local.ip) || torc__sim_port_covers(b, &a->local.ip);
}

static bool may_share(const struct sim_socket *socket, const struct sim_socket *other)
{
    if (socket->values[OPTION_REUSEPORT] && other->values[OPTION_REUSEPORT])
        return true;
    return socket->values[OPTION_REUSEADDR] && other->values[OPTION_REUSEADDR] &&
           !other->is_listening;
}

/* Whether another socket is in the way; of a port that is only being chosen, any is. */
static bool is_taken(const struct sim_socket *socket, bool is_choice)
{
    const struct sim_ports *ports = ports_of(socket);
    const struct sim_socket *other = ports->by_port[socket->local.port % PORT_BUCKETS];

    for (; other != NULL; other = other->port_next) {
        if (other != socket && other->local.port == socket->local.port && overlap(socket, other) &&
            (is_choice || !may_share(socket, other)))
            return true;
    }
    return false;
}

static void enter(struct sim_socket *socket)
{
    struct sim_socket **bucket = &ports_of(socket)->by_port[socket->local.port % PORT_BUCKETS];

    TORC_ASSERT(!socket->is_bound);
    socket->is_bound = true;
    socket->bound_serial = ++socket->file.host->world->net->binds;
    socket->port_next = *bucket;
    socket->port_link = bucket;
    if (*bucket != NULL)
        (*bucket)->port_link = &socket->port_next;
    *bucket = socket;
}

/* Choose a port that nobody has. */
static bool choose(struct sim_socket *socket, uint16_t avoid)
{
    const unsigned count = CHOSEN_LAST - CHOSEN_FIRST + 1;
    const unsigned start = (unsigned)torc__sim_below(socket->file.host->world, count);

    for (unsigned i = 0; i < count; i++) {
        socket->local.port = (uint16_t)(CHOSEN_FIRST + (start + i) % count);
        if (socket->local.port != avoid && !is_taken(socket, true))
            return true;
    }
    socket->local.port = 0;
    return false;
}

int torc__sim_port_bind(struct sim_socket *socket, const struct sim_endpoint *local, uint16_t avoid)
{
    const struct sim_endpoint before = socket->local;

    socket->local = *local;
    if (local->port == 0 ? !choose(socket, avoid) : is_taken(socket, false)) {
        socket->local = before;
        return -EADDRINUSE;
    }
    enter(socket);
    return 0;
}

int torc__sim_port_check_listen(struct sim_socket *socket)
{
    return is_taken(socket, false) ? -EADDRINUSE : 0;
}

void torc__sim_port_share(struct sim_socket *socket, const struct sim_endpoint *local)
{
    socket->local = *local;
    enter(socket);
}

void torc__sim_port_free(struct sim_socket *socket)
{
    if (!socket->is_bound)
        return;
    socket->is_bound = false;
    *socket->port_link = socket->port_next;
    if (socket->port_next != NULL)
        socket->port_next->port_link = socket->port_link;
}

/* How well a socket fits, -1: not at all. A connected one fits best, one for any address least. */
static int fit(const struct sim_socket *socket, const struct sim_endpoint *local,
               const struct sim_endpoint *peer)
{
    if (socket->local.port != local->port || !torc__sim_port_covers(socket, &local->ip))
        return -1;
    if (socket->type == SOCK_STREAM && !socket->is_listening)
        return -1;
    if (socket->is_connected)
        return torc__sim_endpoint_equal(&socket->peer, peer) ? 8 : -1;
    if (!torc__sim_ip_is_any(&socket->local.ip))
        return 4;
    return torc__sim_ip_is_v4(&socket->local.ip) ? 2 : 1;
}

/* Of one flow always the same, and even over flows. */
static unsigned hash_of(const struct sim_endpoint *local, const struct sim_endpoint *peer)
{
    uint32_t hash = local->port * UINT32_C(31) + peer->port;

    for (unsigned i = 0; i < sizeof(peer->ip); i++)
        hash = (hash ^ peer->ip.s6_addr[i]) * UINT32_C(16777619);
    return hash ^ hash >> 15;
}

struct sim_socket *torc__sim_port_find(struct sim_ports *ports, const struct sim_endpoint *local,
                                       const struct sim_endpoint *peer)
{
    struct sim_socket *const first = ports->by_port[local->port % PORT_BUCKETS];
    struct sim_socket *best = NULL;
    unsigned count = 0;
    int best_fit = -1;

    for (struct sim_socket *socket = first; socket != NULL; socket = socket->port_next) {
        const int its_fit = fit(socket, local, peer);

        if (its_fit > best_fit) { /* The last that was bound comes first. */
            best = socket;
            best_fit = its_fit;
            count = 1;
        } else if (its_fit >= 0 && its_fit == best_fit) {
            count += socket->values[OPTION_REUSEPORT] && best->values[OPTION_REUSEPORT];
        }
    }
    if (count < 2)
        return best;
    count = hash_of(local, peer) % count;
    for (best = first;; best = best->port_next) {
        if (fit(best, local, peer) == best_fit && best->values[OPTION_REUSEPORT] && count-- == 0)
            return best;
    }
}

/* ---- Connections ---- */

void torc__sim_pair_enter(struct sim_socket *socket)
{
    struct sim_socket **bucket =
        &ports_of(socket)->by_pair[hash_of(&socket->local, &socket->peer) % PAIR_BUCKETS];

    TORC_ASSERT(socket->pair_link == NULL);
    socket->pair_next = *bucket;
    socket->pair_link = bucket;
    if (*bucket != NULL)
        (*bucket)->pair_link = &socket->pair_next;
    *bucket = socket;
}

void torc__sim_pair_leave(struct sim_socket *socket)
{
    if (socket->pair_link == NULL)
        return;
    *socket->pair_link = socket->pair_next;
    if (socket->pair_next != NULL)
        socket->pair_next->pair_link = socket->pair_link;
    socket->pair_link = NULL;
}

struct sim_socket *torc__sim_pair_find(struct sim_ports *ports, const struct sim_endpoint *local,
                                       const struct sim_endpoint *peer)
{
    struct sim_socket *socket = ports->by_pair[hash_of(local, peer) % PAIR_BUCKETS];

    while (socket != NULL && !(torc__sim_endpoint_equal(&socket->local, local) &&
                               torc__sim_endpoint_equal(&socket->peer, peer)))
        socket = socket->pair_next;
    return socket;
}

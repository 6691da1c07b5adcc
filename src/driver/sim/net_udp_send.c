/* SPDX-License-Identifier: MIT */
/*
 * net_udp_send.c - datagrams that are sent.
 */
#include "base/log.h"
#include "base/vector.h"
#include "driver/sim/net_message.h"
#include "driver/sim/net_udp.h"
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MOST_V4  65507u
#define SIZE_MOST_V6  65527u
#define SEGMENTS_MOST 64u
/* What a network carries in one piece. */
#define MTU_LO     65536u
#define MTU_ETH    1500u
#define HEADERS_V4 28u
#define HEADERS_V6 48u

/* A datagram to be sent, as far as it is not its bytes. */
struct outgoing {
    struct sim_endpoint target;
    struct in6_addr source;
    bool has_source;
    unsigned interface; /* 0: as the route is */
    uint16_t segment_size;
    uint8_t traffic_class;
    uint8_t hop_limit;
};

/* ---- Where to ---- */

static int read_target(const struct sim_socket *socket, const struct msghdr *message,
                       struct sim_endpoint *ret_target)
{
    const struct sockaddr *name = message->msg_name;
    int family = socket->family;
    int result;

    if (name == NULL || message->msg_namelen == 0) {
        *ret_target = socket->peer;
        return socket->is_connected ? 0 : -EDESTADDRREQ;
    }
    if (family == AF_INET6 && message->msg_namelen >= sizeof(struct sockaddr_in) &&
        name->sa_family == AF_INET)
        family = AF_INET; /* It is taken as if it were mapped. */
    result = torc__sim_endpoint_read(ret_target, family, name, message->msg_namelen);
    if (result == 0 && ret_target->port == 0)
        result = -EINVAL;
    return result;
}

static int check_target(const struct sim_socket *socket, struct sim_endpoint *target)
{
    if (torc__sim_ip_is_any(&target->ip))
        target->ip = torc__sim_source_for(socket->file.host, &target->ip);
    if (torc__sim_ip_is_v4(&target->ip) && socket->family == AF_INET6 &&
        socket->values[OPTION_V6ONLY])
        return -ENETUNREACH;
    if (torc__sim_ip_is_broadcast(&target->ip) && !socket->values[OPTION_BROADCAST])
        return -EACCES;
    return 0;
}

/* ---- Control data ---- */

static struct in6_addr mapped(struct in_addr v4)
{
    struct in6_addr ip = torc__sim_ip_any(true);

    memcpy(&ip.s6_addr[12], &v4, sizeof(v4));
    return ip;
}

static int set_source(struct outgoing *outgoing, unsigned interface, const struct in6_addr *ip)
{
    if (interface > INTERFACE_ETH)
        return -ENODEV;
    outgoing->interface = interface;
    if (!torc__sim_ip_is_any(ip)) {
        outgoing->has_source = true;
        outgoing->source = *ip;
    }
    return 0;
}

/* A small number, as an int or a byte. */
static int read_number(const struct cmsghdr *header, uint8_t *ret_number)
{
    int number = 0;

    if (torc__sim_control_read(header, &number, sizeof(number)) < 0 &&
        torc__sim_control_read(header, &number, 1) < 0)
        return -EINVAL;
    if (number < 0 || number > 255)
        return -EINVAL;
    *ret_number = (uint8_t)number;
    return 0;
}

static int take_v4(struct outgoing *outgoing, const struct cmsghdr *header)
{
    struct in_pktinfo info;
    struct in6_addr source;

    switch (header->cmsg_type) {
    case IP_PKTINFO:
        if (torc__sim_control_read(header, &info, sizeof(info)) < 0)
            return -EINVAL;
        source = mapped(info.ipi_spec_dst);
        return set_source(outgoing, (unsigned)info.ipi_ifindex, &source);
    case IP_TOS:
        return read_number(header, &outgoing->traffic_class);
    case IP_TTL:
        return read_number(header, &outgoing->hop_limit);
    default:
        return -EINVAL;
    }
}

static int take_v6(struct outgoing *outgoing, const struct cmsghdr *header)
{
    struct in6_pktinfo info;

    switch (header->cmsg_type) {
    case IPV6_PKTINFO:
        if (torc__sim_control_read(header, &info, sizeof(info)) < 0)
            return -EINVAL;
        return set_source(outgoing, info.ipi6_ifindex, &info.ipi6_addr);
    case IPV6_TCLASS:
        return read_number(header, &outgoing->traffic_class);
    case IPV6_HOPLIMIT:
        return read_number(header, &outgoing->hop_limit);
    default:
        return -EINVAL;
    }
}

/* Each protocol looks at its own. */
static int take_control(struct outgoing *outgoing, const struct msghdr *message)
{
    const bool v4 = torc__sim_ip_is_v4(&outgoing->target.ip);
    const struct cmsghdr *header = NULL;
    int result = 0;

    while ((header = torc__sim_control_next(message, header, &result)) != NULL && result == 0) {
        if (header->cmsg_level == IPPROTO_UDP && header->cmsg_type == UDP_SEGMENT)
            result = torc__sim_control_read(header, &outgoing->segment_size,
                                            sizeof(outgoing->segment_size));
        else if (header->cmsg_level == IPPROTO_IP && v4)
            result = take_v4(outgoing, header);
        else if (header->cmsg_level == IPPROTO_IPV6 && !v4)
            result = take_v6(outgoing, header);
    }
    return result;
}

/* ---- Checks ---- */

/* What is set for the socket, unless the message says otherwise. */
static void use_defaults(const struct sim_udp *udp, struct outgoing *outgoing)
{
    const int *values = udp->socket.values;
    const bool v4 = torc__sim_ip_is_v4(&outgoing->target.ip);
    const bool is_group = torc__sim_ip_is_multicast(&outgoing->target.ip);

    outgoing->traffic_class = (uint8_t)values[v4 ? OPTION_TOS : OPTION_TCLASS];
    outgoing->segment_size = (uint16_t)values[OPTION_SEGMENT];
    outgoing->interface = is_group ? udp->multicast_interface : 0;
    if (is_group)
        outgoing->hop_limit = (uint8_t)values[v4 ? OPTION_MULTICAST_TTL : OPTION_MULTICAST_HOPS];
    else
        outgoing->hop_limit = (uint8_t)values[v4 ? OPTION_TTL : OPTION_UNICAST_HOPS];
}

static bool stays_here(const struct sim_udp *udp, const struct outgoing *outgoing)
{
    struct sim_host *host = udp->socket.file.host;

    if (torc__sim_ip_is_multicast(&outgoing->target.ip))
        return outgoing->interface == INTERFACE_LO;
    return torc__sim_route(host, &outgoing->target.ip) == host;
}

static int check_size(const struct sim_udp *udp, const struct outgoing *outgoing, size_t size)
{
    const bool v4 = torc__sim_ip_is_v4(&outgoing->target.ip);
    const size_t headers = v4 ? HEADERS_V4 : HEADERS_V6;
    const size_t mtu = stays_here(udp, outgoing) ? MTU_LO : MTU_ETH;
    const int discover = udp->socket.values[v4 ? OPTION_MTU_DISCOVER : OPTION_MTU_DISCOVER_V6];
    const size_t segment = outgoing->segment_size;

    if (size > (v4 ? SIZE_MOST_V4 : SIZE_MOST_V6))
        return -EMSGSIZE;
    if (segment == 0 || size <= segment)
        return discover >= IP_PMTUDISC_DO && discover != IP_PMTUDISC_INTERFACE &&
                       size + headers > mtu
                   ? -EMSGSIZE
                   : 0;
    if (segment + headers > mtu || size > segment * SEGMENTS_MOST)
        return -EINVAL;
    return 0;
}

static int choose_source(const struct sim_udp *udp, struct outgoing *outgoing)
{
    const struct sim_socket *socket = &udp->socket;
    const struct sim_host *host = socket->file.host;
    const bool v4 = torc__sim_ip_is_v4(&outgoing->target.ip);
    struct in6_addr way = outgoing->target.ip;

    if (outgoing->has_source)
        return torc__sim_ip_is_local(host, &outgoing->source) ? 0 : -EINVAL;
    if (!torc__sim_ip_is_any(&socket->local.ip) && torc__sim_ip_is_local(host, &socket->local.ip)) {
        outgoing->source = socket->local.ip;
        return torc__sim_ip_is_v4(&outgoing->source) == v4 ? 0 : -ENETUNREACH;
    }
    if (torc__sim_ip_is_multicast(&way) && outgoing->interface == INTERFACE_LO)
        way = torc__sim_ip_any(v4); /* As what goes to loopback. */
    outgoing->source = torc__sim_source_for(host, &way);
    return 0;
}

/* ---- Sending ---- */

static void send_piece(const struct sim_udp *udp, const struct outgoing *outgoing,
                       struct sim_host *to, const char *data, size_t length, size_t segment)
{
    struct sim_packet *packet =
        torc__sim_packet_create(udp->socket.file.host, PACKET_DATAGRAM, length);

    packet->to = to;
    packet->source = (struct sim_endpoint){outgoing->source, udp->socket.local.port};
    packet->target = outgoing->target;
    packet->traffic_class = outgoing->traffic_class;
    packet->hop_limit = outgoing->hop_limit;
    packet->segment_size = (uint16_t)segment;
    memcpy(packet->data, data, length);
    torc__sim_packet_send(packet, NULL);
}

/* Within a host segments stay together, so that they can be received so. */
static void send_to(const struct sim_udp *udp, const struct outgoing *outgoing, struct sim_host *to,
                    const char *data, size_t length)
{
    size_t segment = outgoing->segment_size;

    if (segment == 0 || segment >= length)
        segment = 0;
    if (segment == 0 || to == udp->socket.file.host) {
        send_piece(udp, outgoing, to, data, length, segment);
        return;
    }
    for (size_t offset = 0; offset < length; offset += segment) {
        const size_t left = length - offset;

        send_piece(udp, outgoing, to, data + offset, left < segment ? left : segment, 0);
    }
}

/* To every host that the interface reaches, and to this one if that is wanted. */
static void send_to_all(const struct sim_udp *udp, const struct outgoing *outgoing,
                        const char *data, size_t length)
{
    struct sim_host *own = udp->socket.file.host;
    const bool v4 = torc__sim_ip_is_v4(&outgoing->target.ip);
    const bool is_group = torc__sim_ip_is_multicast(&outgoing->target.ip);
    const bool loops =
        !is_group || udp->socket.values[v4 ? OPTION_MULTICAST_LOOP : OPTION_MULTICAST_LOOP_V6];
    const bool stays = is_group ? outgoing->interface == INTERFACE_LO || outgoing->hop_limit == 0
                                : torc__sim_ip_is_loopback(&outgoing->target.ip);

    for (struct sim_host *host = own->world->hosts; host != NULL; host = host->next) {
        if (host == own ? loops : !stays)
            send_to(udp, outgoing, host, data, length);
    }
}

static int prepare(struct sim_udp *udp, const struct msghdr *message, size_t size,
                   struct outgoing *ret_outgoing)
{
    struct sim_socket *socket = &udp->socket;
    int result = read_target(socket, message, &ret_outgoing->target);

    if (result == 0)
        result = check_target(socket, &ret_outgoing->target);
    if (result < 0)
        return result;
    use_defaults(udp, ret_outgoing);
    result = take_control(ret_outgoing, message);
    if (result == 0)
        result = choose_source(udp, ret_outgoing);
    if (result == 0)
        result = check_size(udp, ret_outgoing, size);
    if (result == 0 && !socket->is_bound)
        result = torc__sim_port_bind(socket, &(struct sim_endpoint){.ip = socket->local.ip}, 0);
    return result;
}

ssize_t torc__sim_udp_sendmsg(struct sim_file *file, const struct msghdr *message, int flags)
{
    struct sim_udp *udp = torc__sim_udp_of(file);
    struct sim_world *world = file->host->world;
    const size_t size = torc__vector_size(message->msg_iov, message->msg_iovlen);
    struct outgoing outgoing = {0};
    struct sim_host *to;
    char *data;
    int result;

    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (size > UINT16_MAX)
        return -EMSGSIZE;
    result = prepare(udp, message, size, &outgoing);
    if (result == 0 && udp->socket.error != 0)
        result = torc__sim_socket_take_error(&udp->socket);
    if (result == 0 && udp->socket.shut_send)
        result = -EPIPE;
    if (result < 0)
        return result;
    to = torc__sim_route(file->host, &outgoing.target.ip);
    if (to != file->host &&
        torc__sim_fault(world, file->host, "no buffers", world->chaos.send_error_rate))
        return -ENOBUFS;
    data = malloc(size + 1); /* None is a datagram, too. */
    TORC_ASSERT(data != NULL);
    (void)torc__sim_vector_take(message->msg_iov, message->msg_iovlen, 0, data, size);
    if (torc__sim_ip_is_multicast(&outgoing.target.ip) ||
        torc__sim_ip_is_broadcast(&outgoing.target.ip))
        send_to_all(udp, &outgoing, data, size);
    else
        send_to(udp, &outgoing, to, data, size);
    free(data);
    torc__sim_net_deliver(world->net);
    return (ssize_t)size;
}

/* SPDX-License-Identifier: MIT */
/*
 * net_udp_receive.c - datagrams that arrive, and are received.
 */
#include "base/clock.h"
#include "driver/sim/net_message.h"
#include "driver/sim/net_udp.h"
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a datagram takes of the receive buffer beside its bytes. */
#define OVERHEAD 768u

/* ---- Arriving ---- */

static struct sim_packet *copy_part(const struct sim_packet *packet, size_t offset, size_t length)
{
    struct sim_packet *copy = torc__sim_packet_create(packet->from, PACKET_DATAGRAM, length);

    memcpy(copy, packet, sizeof(*packet));
    copy->length = length;
    memcpy(copy->data, packet->data + offset, length);
    return copy;
}

/* Append a datagram to a socket's queue, which is given it; or drop it, as there is no room. */
static void enqueue(struct sim_udp *udp, struct sim_packet *packet)
{
    const struct sim_host *host = udp->socket.file.host;
    const size_t cost = packet->length + OVERHEAD;
    const size_t room = (size_t)udp->socket.values[OPTION_RCVBUF];

    if (udp->queue != NULL && udp->queued + cost > room) {
        udp->dropped++;
        free(packet);
        return;
    }
    packet->next = NULL;
    packet->dropped = udp->dropped;
    packet->interface = (uint8_t)torc__sim_multicast_interface(host, packet);
    packet->time_ns = host->world->now_ns + SIM_REALTIME_NS + (uint64_t)host->clock_skew_ns;
    *udp->last_in_queue = packet;
    udp->last_in_queue = &packet->next;
    udp->queued += cost;
    torc__sim_notify(&udp->socket.file, POLLIN | POLLRDNORM);
}

/* Only whoever asks for it gets what was cut into segments in one piece. */
static void hand_over(struct sim_udp *udp, const struct sim_packet *packet)
{
    size_t segment = packet->segment_size;

    if (segment == 0 || udp->socket.values[OPTION_GRO]) {
        enqueue(udp, copy_part(packet, 0, packet->length));
        return;
    }
    for (size_t offset = 0; offset < packet->length; offset += segment) {
        const size_t left = packet->length - offset;
        struct sim_packet *part = copy_part(packet, offset, left < segment ? left : segment);

        part->segment_size = 0;
        enqueue(udp, part);
    }
}

/* Groups and broadcasts: to all whose port it is. */
static void hand_to_all(struct sim_host *host, const struct sim_packet *packet)
{
    struct sim_socket *socket = host->net->udp.by_port[packet->target.port % PORT_BUCKETS];
    const bool is_group = torc__sim_ip_is_multicast(&packet->target.ip);

    if (is_group && !torc__sim_multicast_is_heard(host, packet))
        return;
    for (; socket != NULL; socket = socket->port_next) {
        struct sim_udp *udp = (struct sim_udp *)socket;

        if (socket->local.port != packet->target.port ||
            !torc__sim_port_covers(socket, &packet->target.ip))
            continue;
        if (socket->is_connected && !torc__sim_endpoint_equal(&socket->peer, &packet->source))
            continue;
        if (!is_group || torc__sim_multicast_hears(udp, packet))
            hand_over(udp, packet);
    }
}

static void answer_unreachable(struct sim_host *host, const struct sim_packet *packet)
{
    struct sim_packet *answer = torc__sim_packet_create(host, PACKET_UNREACHABLE, 0);

    answer->source = packet->target;
    answer->target = packet->source;
    torc__sim_packet_send(answer, NULL);
}

void torc__sim_udp_receive(struct sim_host *host, struct sim_packet *packet)
{
    const struct in6_addr *ip = &packet->target.ip;
    struct sim_socket *socket;

    if (torc__sim_ip_is_multicast(ip) || torc__sim_ip_is_broadcast(ip)) {
        hand_to_all(host, packet);
    } else {
        socket = torc__sim_port_find(&host->net->udp, &packet->target, &packet->source);
        if (socket != NULL)
            hand_over((struct sim_udp *)socket, packet);
        else
            answer_unreachable(host, packet);
    }
    free(packet);
}

void torc__sim_udp_receive_unreachable(struct sim_host *host, struct sim_packet *packet)
{
    struct sim_socket *socket =
        torc__sim_port_find(&host->net->udp, &packet->target, &packet->source);

    if (socket != NULL && socket->is_connected) {
        socket->error = ECONNREFUSED;
        torc__sim_notify(&socket->file, POLLERR | POLLIN | POLLOUT);
    }
    free(packet);
}

/* ---- Receiving ---- */

/* What a socket of IPv4 is told, and one of IPv6 of what came by IPv4. */
static void describe_v4(const struct sim_udp *udp, const struct sim_packet *packet,
                        struct sim_control *control)
{
    const int *values = udp->socket.values;
    struct in_pktinfo info = {.ipi_ifindex = packet->interface};
    const struct in6_addr own = torc__sim_source_for(udp->socket.file.host, &packet->source.ip);
    const bool is_own = torc__sim_ip_is_local(udp->socket.file.host, &packet->target.ip);
    const int limit = packet->hop_limit;

    if (values[OPTION_PKTINFO]) {
        memcpy(&info.ipi_addr, &packet->target.ip.s6_addr[12], sizeof(info.ipi_addr));
        memcpy(&info.ipi_spec_dst, is_own ? &packet->target.ip.s6_addr[12] : &own.s6_addr[12],
               sizeof(info.ipi_spec_dst));
        torc__sim_control_put(control, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    }
    if (values[OPTION_RECVTTL])
        torc__sim_control_put(control, IPPROTO_IP, IP_TTL, &limit, sizeof(limit));
    if (values[OPTION_RECVTOS])
        torc__sim_control_put(control, IPPROTO_IP, IP_TOS, &packet->traffic_class, 1);
}

static void describe_v6(const struct sim_udp *udp, const struct sim_packet *packet,
                        struct sim_control *control)
{
    const int *values = udp->socket.values;
    const struct in6_pktinfo info = {packet->target.ip, packet->interface};
    const int traffic_class = packet->traffic_class;
    const int limit = packet->hop_limit;

    if (values[OPTION_RECVPKTINFO])
        torc__sim_control_put(control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    if (torc__sim_ip_is_v4(&packet->target.ip)) {
        describe_v4(udp, packet, control);
        return;
    }
    if (values[OPTION_RECVHOPLIMIT])
        torc__sim_control_put(control, IPPROTO_IPV6, IPV6_HOPLIMIT, &limit, sizeof(limit));
    if (values[OPTION_RECVTCLASS])
        torc__sim_control_put(control, IPPROTO_IPV6, IPV6_TCLASS, &traffic_class,
                              sizeof(traffic_class));
}

static void describe(const struct sim_udp *udp, const struct sim_packet *packet,
                     struct sim_control *control)
{
    const int *values = udp->socket.values;
    const struct timespec time = {.tv_sec = (time_t)(packet->time_ns / NS_PER_SECOND),
                                  .tv_nsec = (long)(packet->time_ns % NS_PER_SECOND)};
    const int segment = packet->segment_size;

    if (values[OPTION_TIMESTAMPNS])
        torc__sim_control_put(control, SOL_SOCKET, SCM_TIMESTAMPNS, &time, sizeof(time));
    if (values[OPTION_RXQ_OVFL] && packet->dropped > 0)
        torc__sim_control_put(control, SOL_SOCKET, SO_RXQ_OVFL, &packet->dropped,
                              sizeof(packet->dropped));
    if (segment > 0)
        torc__sim_control_put(control, IPPROTO_UDP, UDP_GRO, &segment, sizeof(segment));
    if (udp->socket.family == AF_INET)
        describe_v4(udp, packet, control);
    else
        describe_v6(udp, packet, control);
}

static void take_first(struct sim_udp *udp)
{
    struct sim_packet *packet = udp->queue;

    udp->queue = packet->next;
    if (udp->queue == NULL)
        udp->last_in_queue = &udp->queue;
    udp->queued -= packet->length + OVERHEAD;
    free(packet);
}

/* That it was shut down is told only to a call that may wait, as Linux has it. */
static int nothing_to_receive(struct msghdr *message, const struct sim_udp *udp, int flags)
{
    if (!udp->socket.shut_receive || (flags & MSG_DONTWAIT))
        return -EAGAIN;
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = 0;
    return 0;
}

ssize_t torc__sim_udp_recvmsg(struct sim_file *file, struct msghdr *message, int flags)
{
    struct sim_udp *udp = torc__sim_udp_of(file);
    const struct sim_packet *packet = udp->queue;
    struct sim_control control;
    struct sockaddr_storage name;
    socklen_t name_length = sizeof(name);
    size_t copied;
    size_t whole;

    if (flags & (MSG_ERRQUEUE | MSG_OOB))
        return flags & MSG_OOB ? -EOPNOTSUPP : -EAGAIN;
    if (udp->socket.error != 0)
        return torc__sim_socket_take_error(&udp->socket);
    if (packet == NULL)
        return nothing_to_receive(message, udp, flags);
    control = torc__sim_control_begin(message);
    whole = packet->length;
    copied = torc__sim_vector_fill(message->msg_iov, message->msg_iovlen, 0, packet->data, whole);
    if (copied < whole)
        message->msg_flags |= MSG_TRUNC;
    torc__sim_endpoint_write(&packet->source, udp->socket.family, (struct sockaddr *)&name,
                             &name_length);
    torc__sim_message_name(message, (struct sockaddr *)&name, name_length);
    describe(udp, packet, &control);
    torc__sim_control_end(&control);
    if (!(flags & MSG_PEEK))
        take_first(udp);
    return (ssize_t)(flags & MSG_TRUNC ? whole : copied);
}

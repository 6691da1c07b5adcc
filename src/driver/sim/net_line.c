/* SPDX-License-Identifier: MIT */
/*
 * net_line.c - packets on the lines between hosts: when they arrive, and which do not.
 *
 * What is sent within a host that takes no time for it is put into a list, which is gone through
 * before the call that sent it returns: so nothing recurses, whatever answers whatever.
 */
#include "base/clock.h"
#include "base/log.h"
#include "driver/sim/net_socket.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a packet has in front of its bytes, on the wire. */
#define HEADER_SIZE 66u

/* ---- Life ---- */

int torc__sim_net_create(struct sim_world *world)
{
    struct sim_net *net = calloc(1, sizeof(*net));

    if (net == NULL)
        return -ENOMEM;
    net->world = world;
    net->last_at_once = &net->at_once;
    world->net = net;
    return 0;
}

static void unlink_packet(struct sim_packet *packet)
{
    *packet->link = packet->next;
    if (packet->next != NULL)
        packet->next->link = packet->link;
}

void torc__sim_net_destroy(struct sim_world *world)
{
    struct sim_net *net = world->net;

    if (net == NULL)
        return;
    TORC_ASSERT(net->at_once == NULL);
    while (net->flying != NULL) {
        struct sim_packet *packet = net->flying;

        torc__sim_event_clear(world, &packet->arrival);
        unlink_packet(packet);
        free(packet);
    }
    free(net);
    world->net = NULL;
}

int torc__sim_net_host_add(struct sim_host *host)
{
    struct sim_net_host *net = calloc(1, sizeof(*net));

    if (net == NULL)
        return -ENOMEM;
    net->host = host;
    host->net = net;
    return 0;
}

void torc__sim_net_host_remove(struct sim_host *host)
{
    struct sim_net *net = host->world->net;
    struct sim_packet *next;

    if (host->net == NULL)
        return;
    torc__sim_net_host_crash(host);
    for (struct sim_packet *packet = net->flying; packet != NULL; packet = next) {
        next = packet->next;
        if (packet->from == host || packet->to == host) {
            torc__sim_event_clear(net->world, &packet->arrival);
            unlink_packet(packet);
            free(packet);
        }
    }
    free(host->net->lines);
    free(host->net);
    host->net = NULL;
}

/* ---- Lines ---- */

/* The line from a host to another, made where it is first spoken of. */
static struct sim_line *line_between(struct sim_host *from, struct sim_host *to)
{
    struct sim_net_host *net = from->net;

    if (to->index >= net->line_count) {
        const unsigned count = from->world->host_count + 1;
        struct sim_line *lines = realloc(net->lines, count * sizeof(*lines));

        TORC_ASSERT(lines != NULL && to->index < count);
        memset(&lines[net->line_count], 0, (count - net->line_count) * sizeof(*lines));
        net->lines = lines;
        net->line_count = count;
    }
    return &net->lines[to->index];
}

void torc__sim_net_cut(struct sim_world *world, struct sim_host *from, struct sim_host *to,
                       bool cut)
{
    torc__sim_trace(world, from, cut ? "line cut to" : "line mended to", to->index, 0);
    line_between(from, to)->is_cut = cut;
}

bool torc__sim_net_is_cut(const struct sim_host *from, const struct sim_host *to)
{
    return to->index < from->net->line_count && from->net->lines[to->index].is_cut;
}

void torc__sim_net_drop_datagrams(struct sim_host *from, struct sim_host *to, unsigned count)
{
    line_between(from, to)->drop_datagrams = count;
}

void torc__sim_net_drop_segments(struct sim_host *from, struct sim_host *to, unsigned count)
{
    line_between(from, to)->drop_segments = count;
}

void torc__sim_net_set_latency(struct sim_host *from, struct sim_host *to,
                               const struct torc_sim_range *latency)
{
    struct sim_line *line = line_between(from, to);

    line->has_latency = latency != NULL;
    if (latency != NULL)
        line->latency = *latency;
}

/* ---- Packets ---- */

struct sim_packet *torc__sim_packet_create(struct sim_host *from, enum sim_packet_kind kind,
                                           size_t length)
{
    struct sim_packet *packet = malloc(sizeof(*packet) + length);

    TORC_ASSERT(packet != NULL);
    memset(packet, 0, sizeof(*packet));
    packet->from = from;
    packet->kind = kind;
    packet->length = length;
    return packet;
}

/* A packet has come to its host, and is given away. */
static void arrive(struct sim_packet *packet)
{
    struct sim_host *host = packet->to;

    if (!host->is_up || torc__sim_net_is_cut(packet->from, host)) {
        free(packet);
        return;
    }
    switch (packet->kind) {
    case PACKET_SEGMENT:
        torc__sim_tcp_receive(host, packet);
        break;
    case PACKET_DATAGRAM:
        torc__sim_udp_receive(host, packet);
        break;
    case PACKET_UNREACHABLE:
        torc__sim_udp_receive_unreachable(host, packet);
        break;
    }
}

void torc__sim_net_deliver(struct sim_net *net)
{
    if (net->is_delivering)
        return; /* It is being done further up the stack. */
    net->is_delivering = true;
    while (net->at_once != NULL) {
        struct sim_packet *packet = net->at_once;

        net->at_once = packet->next;
        if (net->at_once == NULL)
            net->last_at_once = &net->at_once;
        arrive(packet);
    }
    net->is_delivering = false;
}

static void packet_arrives(struct sim_event *event)
{
    struct sim_packet *packet = container_of(event, struct sim_packet, arrival);
    struct sim_net *net = packet->to->world->net;

    unlink_packet(packet);
    arrive(packet);
    torc__sim_net_deliver(net);
}

static void fly(struct sim_packet *packet, uint64_t arrival_ns)
{
    struct sim_net *net = packet->from->world->net;

    packet->next = net->flying;
    packet->link = &net->flying;
    if (net->flying != NULL)
        net->flying->link = &packet->next;
    net->flying = packet;
    torc__sim_event_set(net->world, &packet->arrival, arrival_ns, packet_arrives);
}

/* How long the line is busy with a packet. */
static uint64_t transmission_ns(const struct sim_world *world, const struct sim_packet *packet)
{
    const uint64_t rate = world->chaos.net_bytes_per_second;

    return rate == 0 ? 0 : (packet->length + HEADER_SIZE) * NS_PER_SECOND / rate;
}

/* When a packet arrives that is sent now. */
static uint64_t arrival_of(struct sim_packet *packet, struct sim_line *line)
{
    struct sim_world *world = packet->from->world;
    const struct torc_sim_chaos *chaos = &world->chaos;
    const struct torc_sim_range *latency = &chaos->net_latency;

    if (line->has_latency)
        latency = &line->latency;
    else if (packet->from == packet->to)
        latency = &chaos->loopback_latency;
    if (packet->from == packet->to)
        return world->now_ns + torc__sim_duration(world, latency);
    if (line->busy_until_ns < world->now_ns)
        line->busy_until_ns = world->now_ns;
    line->busy_until_ns += transmission_ns(world, packet);
    return line->busy_until_ns + torc__sim_duration(world, latency);
}

/* Whether a packet does not make it. */
static bool is_lost(struct sim_packet *packet, struct sim_line *line)
{
    struct sim_world *world = packet->from->world;
    const bool is_segment = packet->kind == PACKET_SEGMENT;
    unsigned *drop = is_segment ? &line->drop_segments : &line->drop_datagrams;

    if (*drop > 0) {
        (*drop)--;
        return true;
    }
    if (line->is_cut)
        return true;
    if (packet->from == packet->to)
        return false;
    if (is_segment)
        return torc__sim_fault(world, packet->to, "segment lost", world->chaos.segment_loss_rate);
    return torc__sim_fault(world, packet->to, "datagram lost", world->chaos.datagram_loss_rate);
}

static void send_datagram_twice(const struct sim_packet *packet, uint64_t arrival_ns)
{
    struct sim_packet *copy = torc__sim_packet_create(packet->from, packet->kind, packet->length);

    memcpy(copy, packet, sizeof(*packet) + packet->length);
    memset(&copy->arrival, 0, sizeof(copy->arrival));
    fly(copy, arrival_ns);
}

/* Datagrams between hosts may come late, or twice. */
static uint64_t disorder(struct sim_packet *packet, struct sim_line *line, uint64_t arrival_ns)
{
    struct sim_world *world = packet->from->world;
    const struct torc_sim_chaos *chaos = &world->chaos;

    if (packet->from == packet->to)
        return arrival_ns;
    if (torc__sim_fault(world, packet->to, "datagram late", chaos->datagram_reorder_rate))
        arrival_ns +=
            torc__sim_duration(world, line->has_latency ? &line->latency : &chaos->net_latency);
    if (torc__sim_fault(world, packet->to, "datagram twice", chaos->datagram_duplicate_rate))
        send_datagram_twice(packet, arrival_ns + torc__sim_duration(world, &chaos->net_latency));
    return arrival_ns;
}

/* Where it goes, host and port; and its length, with the flags of a segment before it. */
static void trace(const struct sim_packet *packet)
{
    static const char *const names[] = {
        [PACKET_SEGMENT] = "segment",
        [PACKET_DATAGRAM] = "datagram",
        [PACKET_UNREACHABLE] = "unreachable",
    };
    const unsigned flags = packet->kind == PACKET_SEGMENT ? packet->flags : 0;

    torc__sim_trace(packet->from->world, packet->from, names[packet->kind],
                    (int64_t)packet->to->index * 100000 + packet->target.port,
                    (int64_t)flags * 100000 + (int64_t)packet->length);
}

void torc__sim_packet_send(struct sim_packet *packet, uint64_t *order_ns)
{
    struct sim_host *from = packet->from;
    struct sim_net *net = from->world->net;
    struct sim_line *line;
    uint64_t arrival_ns;

    if (packet->to == NULL)
        packet->to = torc__sim_route(from, &packet->target.ip);
    if (packet->to == NULL || !from->is_up || is_lost(packet, line_between(from, packet->to))) {
        free(packet);
        return;
    }
    line = line_between(from, packet->to);
    arrival_ns = arrival_of(packet, line);
    if (packet->kind != PACKET_SEGMENT)
        arrival_ns = disorder(packet, line, arrival_ns);
    if (order_ns != NULL && arrival_ns < *order_ns)
        arrival_ns = *order_ns;
    if (order_ns != NULL)
        *order_ns = arrival_ns;
    if (from != packet->to)
        trace(packet);
    if (from != packet->to || arrival_ns > net->world->now_ns) {
        fly(packet, arrival_ns);
        return;
    }
    packet->next = NULL;
    *net->last_at_once = packet;
    net->last_at_once = &packet->next;
}

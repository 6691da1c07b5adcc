/* SPDX-License-Identifier: MIT */
/*
 * net_tcp_flow.c - the segments of connections.
 *
 * Everything that may free an end comes last in its function: torc__sim_tcp_settle(), and
 * torc__sim_tcp_fail() of an orphan.
 */
#include "base/clock.h"
#include "base/log.h"
#include "driver/sim/net_tcp.h"
#include <errno.h>
#include <stdlib.h>

/* As large as loopback's; and what the cards of two machines make of several segments. */
#define SEGMENT_LOOPBACK 65483u
#define SEGMENT_REMOTE   (4 * 1448u)

#define MILLISECOND_NS UINT64_C(1000000)
/* Data are sent again after this and a round trip, then after twice as long, and so on. */
#define PAUSE_LEAST_NS (200 * MILLISECOND_NS)
#define PAUSE_MOST_NS  (120 * NS_PER_SECOND)
/* How often, before it is given up: tcp_retries2 and its like. */
#define TRIES_SYN    6u
#define TRIES_ANSWER 5u
#define TRIES_DATA   15u
#define TRIES_ORPHAN 8u
/* How long an end is kept that has only to answer what comes late: FIN_WAIT2 and TIME_WAIT. */
#define LINGER_NS (60 * NS_PER_SECOND)

#define EVERYTHING \
    ((uint32_t)(POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLERR | POLLHUP | POLLRDHUP))

static struct sim_host *host_of(const struct sim_tcp *tcp)
{
    return tcp->socket.file.host;
}

/* ---- Life ---- */

void torc__sim_tcp_destroy(struct sim_tcp *tcp)
{
    torc__sim_event_clear(torc__sim_tcp_world(tcp), &tcp->timer);
    torc__sim_queue_clear(&tcp->in);
    torc__sim_queue_clear(&tcp->out);
    torc__sim_socket_finish(&tcp->socket);
    free(tcp);
}

void torc__sim_tcp_fail(struct sim_tcp *tcp, int error)
{
    struct sim_world *world = torc__sim_tcp_world(tcp);

    torc__sim_trace(world, host_of(tcp), "tcp fails", (int64_t)tcp->connection, error);
    torc__sim_event_clear(world, &tcp->timer);
    if (tcp->is_orphan || tcp->state == TCP_SYN_RECV) {
        torc__sim_tcp_leave_listener(tcp);
        torc__sim_tcp_destroy(tcp);
        return;
    }
    tcp->state = TCP_CLOSE;
    tcp->socket.error = error;
    tcp->socket.shut_receive = true;
    tcp->socket.shut_send = true;
    torc__sim_queue_clear(&tcp->out);
    torc__sim_pair_leave(&tcp->socket);
    if (!tcp->socket.is_port_chosen)
        torc__sim_port_free(&tcp->socket);
    torc__sim_notify(&tcp->socket.file, EVERYTHING);
}

/* ---- Out ---- */

size_t torc__sim_tcp_room(const struct sim_tcp *tcp)
{
    const size_t whole = torc__sim_buffer_room(tcp->socket.values[OPTION_SNDBUF]);

    return whole > tcp->out.count ? whole - tcp->out.count : 0;
}

/* As Linux has it: when a third is free. */
bool torc__sim_tcp_is_writable(const struct sim_tcp *tcp)
{
    return torc__sim_tcp_room(tcp) >= tcp->out.count / 2 && torc__sim_tcp_room(tcp) > 0;
}

/* Behind the last byte that there is to send; there the FIN stands. */
static uint64_t end_of(const struct sim_tcp *tcp)
{
    return tcp->first + tcp->out.count;
}

static uint64_t acknowledged(const struct sim_tcp *tcp)
{
    return tcp->first + tcp->fin_acknowledged;
}

static bool has_unsent(const struct sim_tcp *tcp)
{
    return tcp->next < end_of(tcp) || (tcp->fin_wanted && tcp->next == end_of(tcp));
}

void torc__sim_tcp_emit(struct sim_tcp *tcp, unsigned flags, uint64_t sequence, size_t length)
{
    const size_t whole = torc__sim_buffer_room(tcp->socket.values[OPTION_RCVBUF]);
    const size_t room = whole > tcp->in.count ? whole - tcp->in.count : 0;
    struct sim_packet *packet = torc__sim_packet_create(host_of(tcp), PACKET_SEGMENT, length);

    if (tcp->expected + room > tcp->told_edge)
        tcp->told_edge = tcp->expected + room;
    packet->source = tcp->socket.local;
    packet->target = tcp->socket.peer;
    packet->flags = flags;
    packet->connection = tcp->connection;
    packet->sequence = sequence;
    packet->expected = tcp->expected;
    packet->window_edge = tcp->told_edge;
    packet->urgent = tcp->urgent_out >= tcp->first ? tcp->urgent_out : 0;
    if (length > 0)
        torc__sim_queue_copy(&tcp->out, sequence - tcp->first, packet->data, length);
    tcp->segments++;
    if (tcp->is_doomed)
        free(packet);
    else
        torc__sim_packet_send(packet, &tcp->order_ns);
}

/* Send as much as one segment takes. False if nothing may be sent. */
static bool transmit_one(struct sim_tcp *tcp, size_t most)
{
    const uint64_t end = end_of(tcp);
    uint64_t length = tcp->next < end ? end - tcp->next : 0;
    const uint64_t window = tcp->edge > tcp->next ? tcp->edge - tcp->next : 0;
    unsigned flags = SEGMENT_ACK;

    if (!has_unsent(tcp))
        return false;
    if (length > window)
        length = window;
    if (length > most)
        length = most;
    if (tcp->fin_wanted && tcp->next + length == end)
        flags |= SEGMENT_FIN; /* For which there needs to be no room. */
    else if (length == 0)
        return false;
    torc__sim_tcp_emit(tcp, flags, tcp->next, (size_t)length);
    tcp->next += length + (flags & SEGMENT_FIN ? 1 : 0);
    if (tcp->next > tcp->sent_edge)
        tcp->sent_edge = tcp->next;
    return true;
}

/* After a loss only one segment goes at a time, until there is an answer. */
void torc__sim_tcp_transmit(struct sim_tcp *tcp)
{
    const bool was_idle = tcp->next == acknowledged(tcp);
    const size_t most = tcp->is_remote ? SEGMENT_REMOTE : SEGMENT_LOOPBACK;
    struct sim_world *world = torc__sim_tcp_world(tcp);

    if (tcp->state != TCP_ESTABLISHED || !has_unsent(tcp))
        return;
    if (was_idle && (tcp->tries == 0 || tcp->edge > tcp->next))
        torc__sim_tcp_start_timer(tcp, 0);
    if (tcp->is_remote &&
        torc__sim_fault(world, host_of(tcp), "connection reset", world->chaos.reset_rate)) {
        torc__sim_tcp_break(tcp);
        return;
    }
    if (tcp->tries > 0 && !was_idle)
        return;
    while (transmit_one(tcp, most) && tcp->tries == 0)
        continue;
}

void torc__sim_tcp_tell_window(struct sim_tcp *tcp)
{
    const size_t whole = torc__sim_buffer_room(tcp->socket.values[OPTION_RCVBUF]);
    const size_t room = whole > tcp->in.count ? whole - tcp->in.count : 0;
    const size_t worth = whole / 2 < SEGMENT_REMOTE ? whole / 2 : SEGMENT_REMOTE;

    if (tcp->state != TCP_ESTABLISHED || tcp->fin_received)
        return;
    if (tcp->expected + room >= tcp->told_edge + worth)
        torc__sim_tcp_emit(tcp, SEGMENT_ACK, tcp->next, 0);
}

/* A segment that looks to its target as if it came from the other end. */
static void forge_reset(struct sim_tcp *tcp, const struct sim_endpoint *source,
                        const struct sim_endpoint *target, struct sim_host *to)
{
    struct sim_packet *packet = torc__sim_packet_create(host_of(tcp), PACKET_SEGMENT, 0);

    packet->to = to;
    packet->source = *source;
    packet->target = *target;
    packet->flags = SEGMENT_RST;
    packet->connection = tcp->connection;
    torc__sim_packet_send(packet, to == NULL ? &tcp->order_ns : NULL);
}

void torc__sim_tcp_break(struct sim_tcp *tcp)
{
    forge_reset(tcp, &tcp->socket.local, &tcp->socket.peer, NULL);
    forge_reset(tcp, &tcp->socket.peer, &tcp->socket.local, host_of(tcp));
}

/* ---- In ---- */

static void take_acknowledgement(struct sim_tcp *tcp, const struct sim_packet *packet)
{
    uint64_t count;

    if (packet->window_edge > tcp->edge) {
        tcp->edge = packet->window_edge;
        tcp->tries = 0;
    }
    if (packet->expected <= acknowledged(tcp) || packet->expected > tcp->sent_edge)
        return;
    count = packet->expected - tcp->first;
    if (packet->expected == end_of(tcp) + 1) {
        tcp->fin_acknowledged = true;
        count--;
    }
    torc__sim_queue_drop(&tcp->out, (size_t)count);
    tcp->first += count;
    if (tcp->next < packet->expected)
        tcp->next = packet->expected;
    torc__sim_tcp_start_timer(tcp, 0);
    if (torc__sim_tcp_is_writable(tcp))
        torc__sim_notify(&tcp->socket.file, POLLOUT | POLLWRNORM);
}

static void take_fin(struct sim_tcp *tcp)
{
    tcp->fin_received = true;
    tcp->is_last_to_close = !tcp->fin_wanted;
    tcp->expected++;
    tcp->socket.shut_receive = true;
    torc__sim_notify(&tcp->socket.file, POLLIN | POLLRDNORM | POLLRDHUP | POLLHUP);
}

/* Take new bytes of a segment, and the urgent one out of them. */
static void take_bytes(struct sim_tcp *tcp, const struct sim_packet *packet)
{
    const uint64_t end = packet->sequence + packet->length;
    const char *bytes = packet->data + (tcp->expected - packet->sequence);
    size_t length = (size_t)(end - tcp->expected);

    if (packet->urgent >= tcp->expected && packet->urgent < end) {
        const size_t before = (size_t)(packet->urgent - tcp->expected);
        const size_t kept = before + (tcp->socket.values[OPTION_OOBINLINE] != 0);

        tcp->has_urgent = true;
        tcp->urgent = bytes[before];
        torc__sim_queue_put(&tcp->in, bytes, kept);
        bytes += before + 1;
        length -= before + 1;
        torc__sim_notify(&tcp->socket.file, POLLPRI);
    }
    torc__sim_queue_put(&tcp->in, bytes, length);
    tcp->expected = end;
    if (tcp->in.count > 0)
        torc__sim_notify(&tcp->socket.file, POLLIN | POLLRDNORM);
}

/* Whether there is something in a segment that has to be answered. */
static bool take_data(struct sim_tcp *tcp, const struct sim_packet *packet)
{
    const uint64_t end = packet->sequence + packet->length;
    bool must_answer = packet->length > 0 || packet->sequence < tcp->expected;

    if (packet->sequence <= tcp->expected && end > tcp->expected && !tcp->fin_received)
        take_bytes(tcp, packet);
    if (packet->flags & SEGMENT_FIN) {
        must_answer = true;
        if (end == tcp->expected && !tcp->fin_received)
            take_fin(tcp);
    }
    return must_answer;
}

/* Bytes have come that nobody will ever read. */
static bool is_in_vain(const struct sim_tcp *tcp, const struct sim_packet *packet)
{
    const bool nobody_reads = tcp->is_orphan || (tcp->fin_wanted && tcp->socket.shut_receive);

    return nobody_reads && !tcp->fin_received && packet->length > 0 &&
           packet->sequence + packet->length > tcp->expected;
}

static void receive_established(struct sim_tcp *tcp, const struct sim_packet *packet)
{
    const uint64_t segments = tcp->segments;
    bool must_answer;

    tcp->heard_ns = torc__sim_tcp_world(tcp)->now_ns;
    if (packet->flags & SEGMENT_SYN) { /* Our answer to it got lost. */
        torc__sim_tcp_emit(tcp, SEGMENT_ACK, tcp->next, 0);
        return;
    }
    take_acknowledgement(tcp, packet);
    if (tcp->next == acknowledged(tcp))
        tcp->tries = 0; /* It is there, and that was all there was to be asked. */
    if (is_in_vain(tcp, packet)) {
        torc__sim_tcp_emit(tcp, SEGMENT_RST, tcp->next, 0);
        torc__sim_tcp_fail(tcp, ECONNRESET);
        return;
    }
    must_answer = take_data(tcp, packet);
    torc__sim_tcp_transmit(tcp);
    if (must_answer && tcp->segments == segments)
        torc__sim_tcp_emit(tcp, SEGMENT_ACK, tcp->next, 0);
    torc__sim_tcp_settle(tcp);
}

static void receive_syn_sent(struct sim_tcp *tcp, const struct sim_packet *packet)
{
    if (!(packet->flags & SEGMENT_SYN) || !(packet->flags & SEGMENT_ACK))
        return;
    tcp->state = TCP_ESTABLISHED;
    tcp->edge = packet->window_edge;
    tcp->heard_ns = torc__sim_tcp_world(tcp)->now_ns;
    torc__sim_tcp_start_timer(tcp, 0);
    torc__sim_tcp_emit(tcp, SEGMENT_ACK, tcp->next, 0);
    torc__sim_notify(&tcp->socket.file, POLLOUT | POLLWRNORM);
    torc__sim_tcp_transmit(tcp);
    torc__sim_tcp_settle(tcp);
}

static int reset_error(const struct sim_tcp *tcp)
{
    if (tcp->state == TCP_SYN_SENT)
        return ECONNREFUSED;
    return tcp->fin_received && !tcp->fin_wanted ? EPIPE : ECONNRESET;
}

static void receive(struct sim_tcp *tcp, const struct sim_packet *packet)
{
    if (packet->flags & SEGMENT_RST) {
        /* What is over has left its socket, which learns of nothing any more. */
        if (tcp->state != TCP_ESTABLISHED || !torc__sim_tcp_is_over(tcp))
            torc__sim_tcp_fail(tcp, reset_error(tcp));
        return;
    }
    switch (tcp->state) {
    case TCP_SYN_SENT:
        receive_syn_sent(tcp, packet);
        break;
    case TCP_SYN_RECV:
        if (packet->flags & SEGMENT_SYN)
            torc__sim_tcp_emit(tcp, SEGMENT_SYN | SEGMENT_ACK, tcp->next, 0);
        else if (torc__sim_tcp_promote(tcp, packet))
            receive_established(tcp, packet);
        break;
    case TCP_ESTABLISHED:
        receive_established(tcp, packet);
        break;
    case TCP_TIME_WAIT:
        torc__sim_tcp_emit(tcp, SEGMENT_ACK, tcp->next, 0);
        break;
    default:
        break;
    }
}

/* The places are those of an end, but it is of another connection: one of them was forgotten. */
static bool is_of_another(struct sim_tcp *tcp, const struct sim_packet *packet)
{
    if (tcp->connection == packet->connection)
        return false;
    if (packet->flags & SEGMENT_RST)
        return true;
    if ((packet->flags & SEGMENT_SYN) && !(packet->flags & SEGMENT_ACK))
        torc__sim_tcp_emit(tcp, SEGMENT_ACK, tcp->next, 0); /* Does the peer know of it? */
    else
        torc__sim_tcp_refuse(host_of(tcp), packet);
    return true;
}

void torc__sim_tcp_receive(struct sim_host *host, struct sim_packet *packet)
{
    const bool is_first =
        (packet->flags & SEGMENT_SYN) && !(packet->flags & (SEGMENT_ACK | SEGMENT_RST));
    struct sim_socket *socket =
        torc__sim_pair_find(&host->net->tcp, &packet->target, &packet->source);
    struct sim_tcp *tcp = socket != NULL ? torc__sim_tcp_of(socket) : NULL;

    if (tcp != NULL && tcp->state == TCP_TIME_WAIT && is_first) {
        torc__sim_tcp_destroy(tcp); /* Nobody can still have something to say to it. */
        tcp = NULL;
    }
    if (tcp != NULL) {
        if (!is_of_another(tcp, packet))
            receive(tcp, packet);
    } else if (is_first) {
        torc__sim_tcp_receive_syn(host, packet);
    } else if (!(packet->flags & SEGMENT_RST)) {
        torc__sim_tcp_refuse(host, packet);
    }
    free(packet);
}

/* ---- Time ---- */

void torc__sim_tcp_start_timer(struct sim_tcp *tcp, uint64_t pause_ns)
{
    const struct sim_world *world = torc__sim_tcp_world(tcp);

    if (pause_ns == 0)
        pause_ns = PAUSE_LEAST_NS + 2 * world->chaos.net_latency.max_ns;
    tcp->tries = 0;
    tcp->pause_ns = pause_ns;
    tcp->since_ns = world->now_ns;
    tcp->troubled_ns = world->now_ns;
}

static bool waits_for_answer(const struct sim_tcp *tcp)
{
    if (tcp->state == TCP_SYN_SENT || tcp->state == TCP_SYN_RECV)
        return true;
    return tcp->state == TCP_ESTABLISHED && (tcp->next > acknowledged(tcp) || has_unsent(tcp));
}

static uint64_t seconds(int count)
{
    return (uint64_t)count * NS_PER_SECOND;
}

/* When something has to be done if nothing else happens. */
static uint64_t due_ns(const struct sim_tcp *tcp)
{
    const int *values = tcp->socket.values;

    if (waits_for_answer(tcp))
        return tcp->since_ns + tcp->pause_ns;
    if (tcp->state == TCP_TIME_WAIT || tcp->is_orphan)
        return tcp->since_ns + LINGER_NS;
    if (tcp->state != TCP_ESTABLISHED || torc__sim_tcp_is_over(tcp) || !values[OPTION_KEEPALIVE])
        return UINT64_MAX;
    if (tcp->tries == 0)
        return tcp->heard_ns + seconds(values[OPTION_KEEPIDLE]);
    return tcp->since_ns + seconds(values[OPTION_KEEPINTVL]);
}

static unsigned tries_most(const struct sim_tcp *tcp)
{
    if (tcp->state == TCP_SYN_SENT)
        return TRIES_SYN;
    if (tcp->state == TCP_SYN_RECV)
        return TRIES_ANSWER;
    if (waits_for_answer(tcp))
        return tcp->is_orphan ? TRIES_ORPHAN : TRIES_DATA;
    return (unsigned)tcp->socket.values[OPTION_KEEPCNT];
}

static bool is_given_up(const struct sim_tcp *tcp)
{
    const uint64_t patience_ns = (uint64_t)tcp->socket.values[OPTION_USER_TIMEOUT] * MILLISECOND_NS;

    if (patience_ns > 0 && tcp->state == TCP_ESTABLISHED && tcp->tries > 0)
        return torc__sim_tcp_world(tcp)->now_ns - tcp->troubled_ns >= patience_ns;
    return tcp->tries >= tries_most(tcp);
}

/* Say again what was not answered, or ask the peer whether it is still there. */
static void repeat(struct sim_tcp *tcp)
{
    tcp->tries++;
    tcp->since_ns = torc__sim_tcp_world(tcp)->now_ns;
    if (!waits_for_answer(tcp)) {
        torc__sim_tcp_emit(tcp, SEGMENT_ACK, tcp->next - 1, 0);
        return;
    }
    tcp->pause_ns = 2 * tcp->pause_ns < PAUSE_MOST_NS ? 2 * tcp->pause_ns : PAUSE_MOST_NS;
    if (tcp->state == TCP_SYN_SENT) {
        torc__sim_tcp_emit(tcp, SEGMENT_SYN, tcp->next, 0);
    } else if (tcp->state == TCP_SYN_RECV) {
        torc__sim_tcp_emit(tcp, SEGMENT_SYN | SEGMENT_ACK, tcp->next, 0);
    } else {
        tcp->next = acknowledged(tcp);
        if (!transmit_one(tcp, SEGMENT_REMOTE)) /* Has the peer no room, or did we miss it? */
            torc__sim_tcp_emit(tcp, SEGMENT_ACK, tcp->next - 1, 0);
    }
}

static void timer_fires(struct sim_event *event)
{
    struct sim_tcp *tcp = container_of(event, struct sim_tcp, timer);
    struct sim_net *net = torc__sim_tcp_world(tcp)->net;

    if (due_ns(tcp) > net->world->now_ns) {
        torc__sim_tcp_settle(tcp);
        return;
    }
    if (!waits_for_answer(tcp) && (tcp->is_orphan || tcp->state == TCP_TIME_WAIT)) {
        torc__sim_tcp_destroy(tcp);
    } else if (is_given_up(tcp)) {
        if (!waits_for_answer(tcp)) /* Only he who has asked for it tells the peer. */
            torc__sim_tcp_emit(tcp, SEGMENT_RST, tcp->next, 0);
        torc__sim_tcp_fail(tcp, ETIMEDOUT);
    } else {
        repeat(tcp);
        torc__sim_tcp_settle(tcp);
    }
    torc__sim_net_deliver(net);
}

/* An orphan whose work is done. */
static void retire(struct sim_tcp *tcp)
{
    if (tcp->is_last_to_close || !tcp->is_remote) {
        torc__sim_tcp_destroy(tcp);
        return;
    }
    tcp->state = TCP_TIME_WAIT;
    torc__sim_port_free(&tcp->socket);
    torc__sim_tcp_start_timer(tcp, 0);
    torc__sim_tcp_settle(tcp);
}

/* A timer that would fire too early is left to do so: most are never needed. */
void torc__sim_tcp_settle(struct sim_tcp *tcp)
{
    struct sim_world *world = torc__sim_tcp_world(tcp);
    const uint64_t due = due_ns(tcp);

    if (tcp->is_orphan && tcp->state == TCP_ESTABLISHED && torc__sim_tcp_is_over(tcp)) {
        retire(tcp);
        return;
    }
    if (torc__sim_event_is_set(&tcp->timer)) {
        if (tcp->timer.time_ns <= due && due != UINT64_MAX)
            return;
        torc__sim_event_clear(world, &tcp->timer);
    }
    if (due != UINT64_MAX)
        torc__sim_event_set(world, &tcp->timer, due, timer_fires);
}

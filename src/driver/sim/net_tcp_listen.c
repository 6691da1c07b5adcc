/* SPDX-License-Identifier: MIT */
/*
 * net_tcp_listen.c - listeners, and the connections that nobody has accepted yet.
 *
 *     SYN --> requests -- ACK --> ready -- accept --> the program's
 *
 * A SYN is lost while `ready` is full, and so is an ACK; as on Linux it is full with one more than
 * the backlog. Both are sent again, so whoever connects waits.
 */
#include "base/clock.h"
#include "base/log.h"
#include "driver/sim/net_tcp.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* net.core.somaxconn */
#define BACKLOG_MOST 4096u

#define FIRST_PAUSE_NS NS_PER_SECOND

/* ---- Lists ---- */

static bool is_full(const struct sim_tcp *listener)
{
    return listener->ready_count > listener->backlog;
}

static bool take_out(struct sim_tcp **list, const struct sim_tcp *tcp)
{
    while (*list != NULL && *list != tcp)
        list = &(*list)->queue_next;
    if (*list == NULL)
        return false;
    *list = tcp->queue_next;
    return true;
}

static void add_ready(struct sim_tcp *listener, struct sim_tcp *tcp)
{
    tcp->queue_next = NULL;
    *listener->last_ready = tcp;
    listener->last_ready = &tcp->queue_next;
    listener->ready_count++;
}

static struct sim_tcp *take_ready(struct sim_tcp *listener)
{
    struct sim_tcp *tcp = listener->ready;

    listener->ready = tcp->queue_next;
    if (listener->ready == NULL)
        listener->last_ready = &listener->ready;
    listener->ready_count--;
    tcp->listener = NULL;
    return tcp;
}

void torc__sim_tcp_leave_listener(struct sim_tcp *tcp)
{
    if (tcp->listener != NULL && tcp->state == TCP_SYN_RECV)
        (void)take_out(&tcp->listener->requests, tcp);
    tcp->listener = NULL;
}

/* ---- Segments ---- */

void torc__sim_tcp_refuse(struct sim_host *host, const struct sim_packet *packet)
{
    struct sim_packet *answer = torc__sim_packet_create(host, PACKET_SEGMENT, 0);

    answer->source = packet->target;
    answer->target = packet->source;
    answer->flags = SEGMENT_RST | SEGMENT_ACK;
    answer->connection = packet->connection;
    torc__sim_packet_send(answer, NULL);
}

/* The end of a connection at a listener, which has its options. */
static void answer_syn(struct sim_tcp *listener, const struct sim_packet *packet)
{
    struct sim_host *host = listener->socket.file.host;
    struct sim_tcp *tcp = torc__sim_tcp_create(host, listener->socket.family);

    memcpy(tcp->socket.values, listener->socket.values, sizeof(tcp->socket.values));
    tcp->socket.linger = listener->socket.linger;
    torc__sim_port_share(&tcp->socket, &packet->target);
    tcp->socket.peer = packet->source;
    tcp->socket.is_connected = true;
    torc__sim_pair_enter(&tcp->socket);
    tcp->state = TCP_SYN_RECV;
    tcp->phase = PHASE_CONNECTED;
    tcp->is_remote = packet->from != host;
    tcp->connection = packet->connection;
    tcp->edge = packet->window_edge;
    tcp->listener = listener;
    tcp->queue_next = listener->requests;
    listener->requests = tcp;
    torc__sim_tcp_start_timer(tcp, FIRST_PAUSE_NS);
    torc__sim_tcp_emit(tcp, SEGMENT_SYN | SEGMENT_ACK, tcp->next, 0);
    torc__sim_tcp_settle(tcp);
}

void torc__sim_tcp_receive_syn(struct sim_host *host, const struct sim_packet *packet)
{
    struct sim_world *world = host->world;
    struct sim_socket *socket =
        torc__sim_port_find(&host->net->tcp, &packet->target, &packet->source);

    if (socket == NULL) {
        torc__sim_tcp_refuse(host, packet);
    } else if (packet->from != host &&
               torc__sim_fault(world, host, "connect refused", world->chaos.connect_refuse_rate)) {
        torc__sim_tcp_refuse(host, packet);
    } else if (!is_full(torc__sim_tcp_of(socket))) {
        answer_syn(torc__sim_tcp_of(socket), packet);
    }
}

/* With TCP_DEFER_ACCEPT the first answer that counts is one with data; and in the end, any. */
bool torc__sim_tcp_promote(struct sim_tcp *tcp, const struct sim_packet *packet)
{
    const struct sim_tcp *listener = tcp->listener;
    const uint64_t deferred_ns = (uint64_t)tcp->socket.values[OPTION_DEFER_ACCEPT] * NS_PER_SECOND;
    const uint64_t age_ns = torc__sim_tcp_world(tcp)->now_ns - tcp->troubled_ns;

    if (!(packet->flags & SEGMENT_FIN) && packet->length == 0 && age_ns < deferred_ns)
        return false;
    if (is_full(listener))
        return false;
    (void)take_out(&tcp->listener->requests, tcp);
    add_ready(tcp->listener, tcp);
    tcp->state = TCP_ESTABLISHED;
    tcp->heard_ns = torc__sim_tcp_world(tcp)->now_ns;
    torc__sim_tcp_start_timer(tcp, 0);
    torc__sim_notify(&tcp->listener->socket.file, POLLIN | POLLRDNORM);
    return true;
}

/* ---- Calls ---- */

static void drop(struct sim_tcp *tcp, bool crashed)
{
    tcp->listener = NULL;
    if (!crashed && tcp->state != TCP_CLOSE)
        torc__sim_tcp_emit(tcp, SEGMENT_RST, tcp->next, 0);
    torc__sim_tcp_destroy(tcp);
}

void torc__sim_tcp_stop_listening(struct sim_tcp *tcp, bool crashed)
{
    tcp->state = TCP_CLOSE;
    tcp->socket.is_listening = false;
    while (tcp->requests != NULL) {
        struct sim_tcp *request = tcp->requests;

        tcp->requests = request->queue_next;
        drop(request, crashed);
    }
    while (tcp->ready != NULL)
        drop(take_ready(tcp), crashed);
}

int torc__sim_tcp_listen(struct sim_file *file, int backlog)
{
    struct sim_tcp *tcp = torc__sim_tcp_of(torc__sim_socket_of(file));
    int result = 0;

    if (tcp->state != TCP_LISTEN && (tcp->state != TCP_CLOSE || tcp->phase != PHASE_FRESH))
        return -EINVAL;
    if (!tcp->socket.is_bound)
        result = torc__sim_port_bind(&tcp->socket, &tcp->socket.local, 0);
    else if (tcp->state == TCP_CLOSE)
        result = torc__sim_port_check_listen(&tcp->socket);
    if (result < 0)
        return result;
    tcp->state = TCP_LISTEN;
    tcp->socket.is_listening = true;
    tcp->backlog = (unsigned)backlog < BACKLOG_MOST ? (unsigned)backlog : BACKLOG_MOST;
    return 0;
}

int torc__sim_tcp_accept(struct sim_file *file, struct sockaddr *address, socklen_t *length,
                         int flags, struct sim_file **ret_file)
{
    struct sim_tcp *listener = torc__sim_tcp_of(torc__sim_socket_of(file));
    struct sim_socket *socket;

    if (listener->state != TCP_LISTEN)
        return -EINVAL;
    if (listener->ready == NULL)
        return -EAGAIN;
    socket = &take_ready(listener)->socket;
    if (address != NULL)
        torc__sim_endpoint_write(&socket->peer, socket->family, address, length);
    if (flags & SOCK_NONBLOCK)
        socket->file.flags |= O_NONBLOCK;
    *ret_file = &socket->file;
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * net_tcp.h - one end of a connection of TCP, or a listener.
 *
 *     CLOSE -- connect --> SYN_SENT -- SYN|ACK --> ESTABLISHED -- closed, both FINs --> TIME_WAIT
 *     CLOSE -- listen ---> LISTEN
 *     (SYN at a listener)  SYN_RECV -- ACK ------> ESTABLISHED
 *
 * What FINs have been sent and received stands beside the state. Bytes are numbered from 1 on in
 * each direction; a FIN counts as one more, a SYN as none. Segments may get lost, and are sent
 * again from the first that was not acknowledged on; a line keeps those of one end in order.
 *
 * An end whose file is closed lives on as an orphan until its peer has everything.
 */
#ifndef DRIVER_SIM_NET_TCP_H
#define DRIVER_SIM_NET_TCP_H

#include "driver/sim/net_socket.h"
#include <netinet/tcp.h>

/* What the program has been told of its connect(). */
enum sim_tcp_phase {
    PHASE_FRESH,
    PHASE_CONNECTING, /* -EINPROGRESS */
    PHASE_CONNECTED,
};

struct sim_tcp {
    struct sim_socket socket;
    int state; /* TCP_CLOSE and others of <netinet/tcp.h> */
    enum sim_tcp_phase phase;
    bool is_remote; /* The peer is on another host. */
    bool is_orphan;
    bool is_doomed;        /* Whatever it sends gets lost. */
    bool is_last_to_close; /* The peer's FIN came before ours went. */
    uint64_t connection;   /* of both ends */

    /* What goes out. */
    struct sim_queue out; /* from byte `first` on */
    uint64_t first;       /* that is not acknowledged */
    uint64_t next;        /* to be sent */
    uint64_t sent_edge;   /* behind all that ever was sent */
    uint64_t edge;        /* the peer has room for what is before it */
    bool fin_wanted;      /* after the last byte of `out` */
    bool fin_acknowledged;
    uint64_t order_ns; /* when the last segment arrives */
    uint64_t segments; /* that have been sent */

    /* What comes in. */
    struct sim_queue in;
    uint64_t expected;
    uint64_t told_edge; /* the peer may send what is before it */
    bool fin_received;

    /* Urgent bytes: one at a time, beside the others. */
    uint64_t urgent_out; /* its number, 0: none was sent */
    bool has_urgent;
    char urgent;

    /* What is repeated while nobody answers. */
    struct sim_event timer;
    uint64_t pause_ns;
    uint64_t since_ns;    /* the last progress, or the last try */
    uint64_t heard_ns;    /* of the peer */
    uint64_t troubled_ns; /* since when nothing was acknowledged */
    unsigned tries;

    /* A listener and what comes of it. */
    struct sim_tcp *listener; /* of a connection that was not accepted yet */
    struct sim_tcp *queue_next;
    struct sim_tcp *requests; /* in SYN_RECV */
    struct sim_tcp *ready;    /* to be accepted */
    struct sim_tcp **last_ready;
    unsigned ready_count;
    unsigned backlog;
};

extern const struct sim_file_ops torc__sim_tcp_ops;

static inline struct sim_tcp *torc__sim_tcp_of(struct sim_socket *socket)
{
    return (struct sim_tcp *)socket;
}

static inline struct sim_world *torc__sim_tcp_world(const struct sim_tcp *tcp)
{
    return tcp->socket.file.host->world;
}

/* How much room there is for bytes to be sent, and of how much in all. */
size_t torc__sim_tcp_room(const struct sim_tcp *tcp);
bool torc__sim_tcp_is_writable(const struct sim_tcp *tcp);

/* Both ends have said, and heard, that nothing more comes. */
static inline bool torc__sim_tcp_is_over(const struct sim_tcp *tcp)
{
    return tcp->fin_acknowledged && tcp->fin_received;
}

/* ---- net_tcp_flow.c ---- */

/* Send a segment, of `length` bytes from `sequence` on. */
void torc__sim_tcp_emit(struct sim_tcp *tcp, unsigned flags, uint64_t sequence, size_t length);

/* Send what may be sent now. */
void torc__sim_tcp_transmit(struct sim_tcp *tcp);

/* The program has taken bytes: tell the peer of the room, where that is worth while. */
void torc__sim_tcp_tell_window(struct sim_tcp *tcp);

/* Begin to wait for answers: nothing has been tried so far. */
void torc__sim_tcp_start_timer(struct sim_tcp *tcp, uint64_t pause_ns);

/* After anything has happened: an end that is done goes, others wake up when it is time. */
void torc__sim_tcp_settle(struct sim_tcp *tcp);

/* The connection is no more, for the reason `error`, of which the program learns. */
void torc__sim_tcp_fail(struct sim_tcp *tcp, int error);

/* Let a box on the line reset the connection. */
void torc__sim_tcp_break(struct sim_tcp *tcp);

/* Free it, and tell nobody. */
void torc__sim_tcp_destroy(struct sim_tcp *tcp);

/* ---- net_tcp_listen.c ---- */

struct sim_tcp *torc__sim_tcp_create(struct sim_host *host, int family);

/* A SYN has come for nobody's connection. */
void torc__sim_tcp_receive_syn(struct sim_host *host, const struct sim_packet *packet);

/* A SYN_RECV end has been answered: it becomes ready. False if it must wait for the next answer. */
bool torc__sim_tcp_promote(struct sim_tcp *tcp, const struct sim_packet *packet);

/* Answer a segment that belongs to no connection. */
void torc__sim_tcp_refuse(struct sim_host *host, const struct sim_packet *packet);

/* Take a connection that was not accepted out of its listener. */
void torc__sim_tcp_leave_listener(struct sim_tcp *tcp);

/* Reset all connections that nobody has accepted; if `crashed`, without a word. */
void torc__sim_tcp_stop_listening(struct sim_tcp *tcp, bool crashed);

int torc__sim_tcp_listen(struct sim_file *file, int backlog);
int torc__sim_tcp_accept(struct sim_file *file, struct sockaddr *address, socklen_t *length,
                         int flags, struct sim_file **ret_file);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * net_socket.h - what the files of the network model share: places, packets, ports, sockets.
 *
 * A socket of the internet families knows its peer by place only: all that passes between two ends
 * are packets, which are looked up where they arrive. So what a crash, a restart or a port that has
 * got another owner means need not be modelled: it follows.
 */
#ifndef DRIVER_SIM_NET_SOCKET_H
#define DRIVER_SIM_NET_SOCKET_H

#include "driver/sim/net.h"
#include "driver/sim/net_option.h"
#include "driver/sim/net_queue.h"

struct sim_tcp;
struct sim_udp;

/* ---- Places ---- */

/* An address of either family, IPv4 as ::ffff:a.b.c.d, and a port. */
struct sim_endpoint {
    struct in6_addr ip;
    uint16_t port;
};

/* Interfaces have these numbers on every host. */
enum {
    INTERFACE_LO = 1,
    INTERFACE_ETH = 2,
};

/*
 * The place that a program has written down, for a socket of `family`; with an address of IPv6 that
 * is none, 0.0.0.0 or :: are kept apart. -EINVAL: too short; -EAFNOSUPPORT.
 */
int torc__sim_endpoint_read(struct sim_endpoint *ret_endpoint, int family,
                            const struct sockaddr *address, socklen_t length);

/* Write a place for a program, as getsockname(2) does; *length is room, then the whole length. */
void torc__sim_endpoint_write(const struct sim_endpoint *place, int family,
                              struct sockaddr *address, socklen_t *length);

bool torc__sim_endpoint_equal(const struct sim_endpoint *a, const struct sim_endpoint *b);
bool torc__sim_ip_is_v4(const struct in6_addr *ip);
bool torc__sim_ip_is_any(const struct in6_addr *ip); /* of either family */
bool torc__sim_ip_is_loopback(const struct in6_addr *ip);
bool torc__sim_ip_is_multicast(const struct in6_addr *ip);
bool torc__sim_ip_is_broadcast(const struct in6_addr *ip);
bool torc__sim_ip_is_local(const struct sim_host *host, const struct in6_addr *ip);
struct in6_addr torc__sim_ip_any(bool v4);
struct in6_addr torc__sim_ip_of_host(const struct sim_host *host, bool v4);

/* The host that a packet from `host` to `ip` goes to; NULL: nobody has that address. */
struct sim_host *torc__sim_route(struct sim_host *host, const struct in6_addr *ip);

/* The address from which `host` speaks to `ip`, if no other was chosen. */
struct in6_addr torc__sim_source_for(const struct sim_host *host, const struct in6_addr *ip);

/* ---- Sockets of the internet families ---- */

struct sim_socket {
    struct sim_file file;
    int family;
    int type;
    int values[OPTION_COUNT];
    struct linger linger;
    int error;              /* SO_ERROR */
    bool is_bound;          /* `local` is its place among the ports */
    bool is_port_chosen;    /* by the program: it keeps it until it is closed */
    bool is_address_chosen; /* likewise */
    bool is_connected;      /* `peer` is set; of TCP, and both places are in the connection table */
    bool shut_receive;      /* nothing more comes */
    bool shut_send;         /* nothing more goes */
    bool is_listening;
    struct sim_endpoint local;
    struct sim_endpoint peer;
    uint64_t bound_serial;        /* the order in which sockets of a port were bound */
    struct sim_socket *port_next; /* of those whose port has the same hash */
    struct sim_socket **port_link;
    struct sim_socket *pair_next; /* of those whose pair of places has the same hash */
    struct sim_socket **pair_link;
    struct sim_socket *next; /* of all of the host, of its type */
    struct sim_socket **link;
};

/* A socket's head: options at their defaults, and in the list of its host. */
void torc__sim_socket_init(struct sim_socket *socket, const struct sim_file_ops *ops,
                           struct sim_host *host, int family, int type);

/* Take it out of all tables. */
void torc__sim_socket_finish(struct sim_socket *socket);

static inline struct sim_socket *torc__sim_socket_of(struct sim_file *file)
{
    return (struct sim_socket *)file;
}

/* The error of a socket, which is told once; 0 or negative. */
int torc__sim_socket_take_error(struct sim_socket *socket);

/* Options of all of them; a protocol has some of its own. */
int torc__sim_socket_set_option(struct sim_socket *socket, int level, int name, const void *value,
                                socklen_t length);
int torc__sim_socket_get_option(struct sim_socket *socket, int level, int name, void *value,
                                socklen_t *length);

/* Calls that are the same for both protocols. */
int torc__sim_socket_bind(struct sim_file *file, const struct sockaddr *address, socklen_t length);
int torc__sim_socket_local(struct sim_file *file, struct sockaddr *address, socklen_t *length);

struct sim_socket *torc__sim_tcp_open(struct sim_host *host, int family);
struct sim_socket *torc__sim_udp_open(struct sim_host *host, int family);
int torc__sim_unix_open(struct sim_host *host, int type, int protocol, int flags,
                        struct sim_file **ret_file);

/* ---- Ports ---- */

#define PORT_BUCKETS 256u
#define PAIR_BUCKETS 1024u

struct sim_ports {
    struct sim_socket *by_port[PORT_BUCKETS];
    struct sim_socket *by_pair[PAIR_BUCKETS]; /* connections of TCP */
    struct sim_socket *all;
};

/*
 * Give a socket the place `local`, whose port may be 0 for any. -EADDRINUSE. `avoid` is a port that
 * must not be chosen, or 0.
 */
int torc__sim_port_bind(struct sim_socket *socket, const struct sim_endpoint *local,
                        uint16_t avoid);

/* As if it were bound anew, now that it is going to listen. -EADDRINUSE. */
int torc__sim_port_check_listen(struct sim_socket *socket);

/* Let an accepted connection share the port of its listener. */
void torc__sim_port_share(struct sim_socket *socket, const struct sim_endpoint *local);
void torc__sim_port_free(struct sim_socket *socket);

/* Connections: enter one by its places, which are its own; find it by them. */
void torc__sim_pair_enter(struct sim_socket *socket);
void torc__sim_pair_leave(struct sim_socket *socket);
struct sim_socket *torc__sim_pair_find(struct sim_ports *ports, const struct sim_endpoint *local,
                                       const struct sim_endpoint *peer);

/*
 * Whom a packet to `local` from `peer` is for, of the sockets that listen or receive: the one that
 * fits best; of several that share a port by SO_REUSEPORT one and the same for each flow.
 */
struct sim_socket *torc__sim_port_find(struct sim_ports *ports, const struct sim_endpoint *local,
                                       const struct sim_endpoint *peer);

/* Whether what is sent to `local` may be for this socket, looking at its address only. */
bool torc__sim_port_covers(const struct sim_socket *socket, const struct in6_addr *ip);

/* ---- Packets ---- */

enum sim_packet_kind {
    PACKET_SEGMENT,     /* of TCP */
    PACKET_DATAGRAM,    /* of UDP */
    PACKET_UNREACHABLE, /* ICMP: nobody has the port to which a datagram was sent */
};

enum sim_segment_flag {
    SEGMENT_SYN = 1,
    SEGMENT_ACK = 2,
    SEGMENT_FIN = 4,
    SEGMENT_RST = 8,
};

/* A packet under way. */
struct sim_packet {
    struct sim_event arrival;
    struct sim_packet *next; /* of those that arrive at once, or of all that are on their way */
    struct sim_packet **link;
    struct sim_host *from;
    struct sim_host *to; /* NULL until it is sent: whoever has the target's address */
    enum sim_packet_kind kind;
    struct sim_endpoint source;
    struct sim_endpoint target;
    union {
        struct {
            unsigned flags;       /* of sim_segment_flag */
            uint64_t connection;  /* a number that no other has had */
            uint64_t sequence;    /* of the first byte; SYN and FIN count as one */
            uint64_t expected;    /* the byte that the sender wants next */
            uint64_t window_edge; /* bytes before this one it has room for */
            uint64_t urgent;      /* the number of a byte that is; 0: none */
        };
        struct {
            uint8_t traffic_class;
            uint8_t hop_limit;
            uint8_t interface;     /* on which it arrives */
            uint16_t segment_size; /* of those that were merged; 0: it is one */
            uint32_t dropped;      /* before it */
            uint64_t time_ns;      /* when it arrived, CLOCK_REALTIME */
        };
    };
    size_t length;
    char data[];
};

struct sim_net {
    struct sim_world *world;
    uint64_t connections;       /* that there have been */
    uint64_t binds;             /* likewise */
    struct sim_packet *at_once; /* what arrives before the present call returns */
    struct sim_packet **last_at_once;
    bool is_delivering;
    struct sim_packet *flying; /* what arrives by its event */
};

/* A line between two hosts, in one direction. */
struct sim_line {
    bool is_cut;
    bool has_latency;
    struct torc_sim_range latency;
    unsigned drop_datagrams;
    unsigned drop_segments;
    uint64_t busy_until_ns; /* with what was sent already */
};

struct sim_net_host {
    struct sim_host *host;
    struct sim_ports tcp;
    struct sim_ports udp;
    struct sim_unix *unix_bound; /* Unix sockets that have a name */
    struct sim_line *lines;      /* to the host of each index */
    unsigned line_count;
    uint64_t unix_names; /* that were chosen for programs */
};

struct sim_packet *torc__sim_packet_create(struct sim_host *from, enum sim_packet_kind kind,
                                           size_t length);

/*
 * Send a packet, which is given away. `order_ns`, if not NULL, is when the last one of a sequence
 * arrives that has to keep its order.
 */
void torc__sim_packet_send(struct sim_packet *packet, uint64_t *order_ns);

/* Deliver what arrives at once. At the end of each call into the models, and of each event. */
void torc__sim_net_deliver(struct sim_net *net);

/* A packet arrives, and is given away. */
void torc__sim_tcp_receive(struct sim_host *host, struct sim_packet *packet);
void torc__sim_udp_receive(struct sim_host *host, struct sim_packet *packet);
void torc__sim_udp_receive_unreachable(struct sim_host *host, struct sim_packet *packet);

#endif

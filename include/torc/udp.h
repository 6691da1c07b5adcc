/* SPDX-License-Identifier: MIT */
/*
 * torc/udp.h - UDP sockets: opening them with all that has to be said before they are bound, and
 * multicast. What they send and receive is in torc/datagram.h.
 */
#ifndef TORC_UDP_H
#define TORC_UDP_H

#include <torc/datagram.h>
TORC_BEGIN_C

/* How to open a UDP socket. All zero is a good default. */
struct torc_udp_options {
    bool reuse_address;       /* SO_REUSEADDR: share the port with others that have it, too */
    bool reuse_port;          /* SO_REUSEPORT: share it, and let the kernel distribute datagrams */
    bool v6_only;             /* an IPv6 socket sends and receives no IPv4 */
    bool broadcast;           /* may send to broadcast addresses */
    bool dont_fragment;       /* larger than the path's MTU: -EMSGSIZE, for MTU discovery */
    bool tell_local;          /* of what is received: torc_datagram.local and arrived_at, */
    bool tell_traffic_class;  /*   traffic_class, with ECN in it, */
    bool tell_time;           /*   timestamp_ns, */
    bool tell_drops;          /*   and dropped_total */
    bool merge_received;      /* UDP_GRO: several datagrams of a sender as one, see segment_size;
                                 give them 64 KiB of room */
    uint16_t segment_size;    /* UDP_SEGMENT: cut what is sent into datagrams of so many bytes */
    uint8_t traffic_class;    /* of what is sent: DSCP << 2 | ECN */
    uint8_t hop_limit;        /* of what is sent to one receiver: 1 to 255; 0 = the system's */
    unsigned interface_index; /* use only this interface (SO_BINDTOIFINDEX); 0 = any */
    int send_buffer_size;     /* bytes of SO_SNDBUF; 0 = the system's */
    int receive_buffer_size;  /* bytes of SO_RCVBUF; 0 = the system's */
};

/*
 * A UDP socket bound to `local`; "0.0.0.0:0" or "[::]:0" for one that only sends. `options` may be
 * NULL. Returns its descriptor, which the caller owns; or an error of socket(2), setsockopt(2),
 * bind(2), and then nothing stays open.
 *
 * -ENODEV         there is no interface `interface_index`.
 */
TORC_CHECK int torc_udp_open(const struct torc_address *local,
                             const struct torc_udp_options *options);

/*
 * A UDP socket connected to `peer`: it receives from there only, and hears of ICMP errors.
 * Suspends, though nothing is sent. Otherwise as torc_udp_open(); bound by the kernel.
 */
TORC_CHECK int torc_udp_connect(const struct torc_address *peer,
                                const struct torc_udp_options *options);

/* ---- Multicast ---- */

/* What to receive. */
struct torc_multicast {
    struct torc_address group;  /* its port means nothing */
    struct torc_address source; /* receive from this sender only; length 0 = from any */
    unsigned interface_index;   /* join there, if_nametoindex(3); 0 = the kernel chooses */
};

/*
 * Receive what is sent to a group on the port the socket is bound to. A socket of IPv6 may join
 * groups of IPv4, too.
 *
 * -EADDRINUSE     it is a member already.
 * -ENODEV         there is no such interface, or none with a route to the group.
 * -EINVAL         the group is none, or source is of another family.
 * -ENOPROTOOPT    the group is of IPv6, and the socket is not.
 */
TORC_CHECK int torc_multicast_join(int fd, const struct torc_multicast *multicast);

/* Stop that. The same arguments; -EADDRNOTAVAIL if it is no member. Closing leaves, too. */
TORC_CHECK int torc_multicast_leave(int fd, const struct torc_multicast *multicast);

/* Send to groups by this interface; 0 = the kernel chooses. */
TORC_CHECK int torc_multicast_set_interface(int fd, unsigned interface_index);

/* Whether this host's members get what the socket sends. Default: true. */
TORC_CHECK int torc_multicast_set_loop(int fd, bool on);

/* How many routers what is sent to groups may pass, 0 to 255. Default: 1, the local network. */
TORC_CHECK int torc_multicast_set_hop_limit(int fd, unsigned hop_limit);

TORC_END_C
#endif

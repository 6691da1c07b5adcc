/* SPDX-License-Identifier: MIT */
/*
 * torc/datagram.h - messages with a beginning and an end, for UDP and for Unix datagram sockets.
 *
 * torc_send() and torc_recv() do for a connected socket; torc_sendto() and torc_recvfrom() are the
 * twins of the calls with an address. A struct torc_datagram tells everything there is to know
 * about one datagram, and answers it when it is sent back. Batches move many by one system call.
 *
 * A datagram without bytes is one: 0 is a count here, and no end (but after torc_shutdown(), and
 * then with a peer of length 0). What has come for a socket and is not received stays queued, so
 * cancelling loses nothing. ICMP's answers (nobody listens there) come to connected sockets only,
 * as -ECONNREFUSED of one later call; others need IP_RECVERR. Descriptors that come along over a
 * Unix socket are closed: see torc/unix.h to receive them.
 */
#ifndef TORC_DATAGRAM_H
#define TORC_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <torc/api.h>
#include <torc/net.h>
TORC_BEGIN_C

/*
 * Receive a datagram. Suspends. Returns how many bytes of it were stored, or with MSG_TRUNC in
 * `flags` how many it had; `*ret_peer` (may be NULL) is who sent it, of length 0 if a Unix socket
 * without an address did.
 */
TORC_CHECK ssize_t torc_recvfrom(int fd, void *buffer, size_t length, int flags,
                                 struct torc_address *ret_peer);

/*
 * Send a datagram to `peer`; to whom the socket is connected if that is NULL. Suspends while the
 * socket's buffer is full. Returns `length`, or an error of sendto(2).
 *
 * -EMSGSIZE       it is longer than the protocol, or the socket's buffer, can carry: over 65,507
 *                 bytes for IPv4. Nothing is sent.
 * -ECONNREFUSED   connected sockets: nobody took an earlier datagram. This one was not sent.
 */
TORC_CHECK ssize_t torc_sendto(int fd, const void *buffer, size_t length, int flags,
                               const struct torc_address *peer);

/* The lowest two bits of a traffic class: explicit congestion notification, RFC 3168. */
enum torc_ecn {
    TORC_ECN_NONE = 0, /* not capable of it */
    TORC_ECN_1 = 1,    /* ECT(1) */
    TORC_ECN_0 = 2,    /* ECT(0): capable */
    TORC_ECN_CE = 3,   /* congestion experienced */
    TORC_ECN_MASK = 3,
};

/*
 * One datagram, received or to be sent. What the socket was not opened to tell (torc/udp.h) stays
 * 0. A received one that is sent again goes back to its sender, from the address it had come to.
 */
struct torc_datagram {
    void *data;                /* the bytes, in the caller's memory */
    size_t size;               /* receiving: how many fit there */
    size_t length;             /* how many are there: received, or to be sent */
    size_t whole_length;       /* received: of all of it; more than `length`: it was cut */
    struct torc_address peer;  /* who sent it, or who is to get it; length 0: the connected one */
    struct torc_address local; /* an IP it came to, or is to come from; port 0. Length 0: unknown,
                                   or the kernel's choice */
    unsigned arrived_at;       /* received: the index of the interface; 0: unknown */
    unsigned leave_by;      /* to be sent: likewise; 0: the kernel's choice. Receiving keeps it */
    uint64_t timestamp_ns;  /* received: when, by the kernel's CLOCK_REALTIME */
    uint32_t dropped_total; /* received: how many this socket had no room for, so far */
    uint16_t segment_size;  /* several in one, of so many bytes each but for the last; 0: one */
    uint8_t traffic_class;  /* DSCP << 2 | ECN; 0 to be sent: as the socket has it */
    bool has_multicast_address; /* received: `local` is a group or a broadcast; answers do not
                                   come from there, but from where the kernel chooses */
    bool control_lost;          /* received: the kernel had more to say than was asked for here */
};

/*
 * Receive a datagram into `datagram->data`, of `size` bytes, and fill in the rest. Suspends.
 * Returns the bytes stored, which are also its `length`. `flags` are those of recvmsg(2).
 */
TORC_CHECK ssize_t torc_datagram_recv(int fd, struct torc_datagram *datagram, int flags);

/*
 * Send a datagram by what it says of length, peer, local, leave_by, segment_size and
 * traffic_class. Suspends while the socket's buffer is full. Otherwise as torc_sendto().
 *
 * -EINVAL         too many segments (64 before Linux 6.9, 128 now), or one larger than a packet.
 * -EADDRNOTAVAIL, -EINVAL    `local` is not ours.
 */
TORC_CHECK ssize_t torc_datagram_send(int fd, const struct torc_datagram *datagram, int flags);

/*
 * Receive what is there, up to `count` datagrams, and wait for the first if there is none.
 * Suspends. Returns how many, at least 1; or an error, and then none is lost. An error that comes
 * between datagrams is told by the next call. One or two system calls for 16 of them, and two more
 * where it has to wait.
 *
 * -EINVAL         count is 0.
 * -ESHUTDOWN      a UDP socket was shut down for receiving, and nothing is left.
 */
TORC_CHECK int torc_datagram_recv_batch(int fd, struct torc_datagram *datagrams, unsigned count);

/*
 * Send all of `count` datagrams in order. Suspends while the socket's buffer is full. Returns how
 * many were sent: fewer if there was an error, or the scope's reason, after the first; the next
 * call tells which. Otherwise the error of the first. One system call for 16 of them.
 *
 * -EINVAL         count is 0.
 */
TORC_CHECK int torc_datagram_send_batch(int fd, const struct torc_datagram *datagrams,
                                        unsigned count);

TORC_END_C
#endif

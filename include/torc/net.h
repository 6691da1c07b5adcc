/* SPDX-License-Identifier: MIT */
/*
 * torc/net.h - sockets: the twins of accept(2), connect(2), recv(2), send(2), and TCP.
 *
 * Everything that is said of descriptors, buffers and SIGPIPE in torc/io.h holds here. Everything
 * torc opens is close-on-exec. Sockets are left blocking, so that every function here waits.
 *
 * Where `flags` are passed they are those of recv(2) and send(2). MSG_DONTWAIT makes a call give
 * -EAGAIN instead of waiting. MSG_NOSIGNAL is always set.
 *
 * That a connection broke is told as the kernel tells it: its error (-ECONNRESET, -ETIMEDOUT) once,
 * to the first call that meets it; then -EPIPE to who sends, and the end to who receives. Where
 * some bytes had been sent the count is told instead, and the error may be gone: so a reset is
 * either error to who sends.
 *
 * A send that waits for room holds a thread of the kernel's on rings, once the peer has shut down
 * its direction: one for each such send (seen on Linux 6.18; io_uring polls for POLLRDHUP, asked or
 * not). Streams do not (torc/stream.h), nor does who sends with MSG_DONTWAIT, and waits for room by
 * torc_poll().
 */
#ifndef TORC_NET_H
#define TORC_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <torc/api.h>
TORC_BEGIN_C

/* ---- Addresses ---- */

/* The address of a socket, of any family. Plain data. */
struct torc_address {
    socklen_t length; /* of the valid part of `any`; 0: no address */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
        struct sockaddr_storage storage;
    };
};

/* Bytes, with the final NUL, that torc_address_format() needs at most. */
#define TORC_ADDRESS_TEXT_SIZE 128

/*
 * Read the address in "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "*:80" (any, IPv6 and IPv4
 * together), ":80" (the same), "localhost:80" (the IPv4 one), "/a/path" or "@abstract" (Unix).
 * Port 0 lets the kernel choose. Any thread.
 *
 * -EINVAL     the text is none of these (names other than localhost are not looked up here).
 */
TORC_CHECK int torc_address_parse(const char *text, struct torc_address *ret_address);

/*
 * The addresses of host and port, in the order in which to try them: a literal gives itself,
 * "localhost" gives ::1 and 127.0.0.1, "*" and "" give :: and 0.0.0.0. At most `capacity` are
 * stored. Any thread. Returns how many.
 *
 * -EINVAL     the name is empty of meaning, too long, or not a literal address. (Names are looked
 *             up by torc_lookup(), torc/dns.h.)
 */
TORC_CHECK int torc_resolve(const char *host, uint16_t port, struct torc_address *ret_addresses,
                            unsigned capacity);

/*
 * Write an address as torc_address_parse() reads it, cut to `size` with its final NUL. Any thread.
 * Returns `text`.
 */
TORC_API char *torc_address_format(const struct torc_address *address, char *text, size_t size);

/* The port of an IPv4 or IPv6 address, in host order; 0 for any other. Any thread. */
TORC_API uint16_t torc_address_port(const struct torc_address *address);

/* Whether two addresses are the same endpoint. Any thread. */
TORC_API bool torc_address_equal(const struct torc_address *a, const struct torc_address *b);

/* ---- Sockets ---- */

/* A new socket, close-on-exec. Returns its descriptor, which is the caller's; or an error. */
TORC_CHECK int torc_socket(int family, int type, int protocol);

/* Bind a socket to a local address: bind(2). */
TORC_CHECK int torc_bind(int fd, const struct torc_address *address);

/* Make a bound socket accept connections: listen(2). */
TORC_CHECK int torc_listen(int fd, int backlog);

/*
 * Wait for a connection. Suspends. Returns its descriptor, close-on-exec, which the caller owns;
 * `*ret_peer` (may be NULL) receives the peer's address.
 *
 * A connection is never lost: one that was accepted in spite of a cancel is returned.
 *
 * -EMFILE, -ENFILE    no descriptor is free: the connection stays queued. Close some, or wait.
 * -ECONNABORTED, -EPROTO and network errors    of a connection that broke before it was accepted:
 *                     call again (torc_accept_error_is_transient()).
 * -EINVAL             the socket was shut down, or does not listen.
 */
TORC_CHECK int torc_accept(int fd, struct torc_address *ret_peer);

/* Whether an error of torc_accept() concerns one connection only, so that accepting goes on. */
TORC_API bool torc_accept_error_is_transient(int error);

/*
 * Connect a socket. Suspends. If it fails, for whatever reason, the socket is of no further use
 * and the caller closes it.
 */
TORC_CHECK int torc_connect(int fd, const struct torc_address *address);

/*
 * Receive up to `length` bytes. Suspends, unless the last receive of the shard was from this socket
 * and filled 64 KiB or more. The count, 0 at the end of the stream, or an error.
 */
TORC_CHECK ssize_t torc_recv(int fd, void *buffer, size_t length, int flags);

/*
 * Send up to `length` bytes. Suspends, unless it is 64 KiB or more and the socket has room; but
 * whoever moves 512 KiB so in a row lets others run. The count, which may be short, or an error.
 * With MSG_WAITALL all is sent, and the count is short only where a cancel or an error ended that.
 */
TORC_CHECK ssize_t torc_send(int fd, const void *buffer, size_t length, int flags);

/*
 * Receive exactly `length` bytes. Suspends. Returns 0 or an error; `*ret_done`, which may be NULL,
 * receives the number of bytes received in both cases, so that nothing is lost.
 *
 * -ENODATA    the peer ended the stream before.
 */
TORC_CHECK int torc_recv_all(int fd, void *buffer, size_t length, size_t *ret_done);

/* Send exactly `length` bytes. Suspends. As torc_recv_all(). */
TORC_CHECK int torc_send_all(int fd, const void *buffer, size_t length, size_t *ret_done);

/*
 * recvmsg(2). Suspends. The count, 0 at the end, or an error; `message` is updated as there.
 * Descriptors that come with it are close-on-exec. Linux before 5.14 gives -EINVAL where there is
 * room for control data: torc/datagram.h and torc/unix.h have functions that know a way round.
 */
TORC_CHECK ssize_t torc_recvmsg(int fd, struct msghdr *message, int flags);

/* sendmsg(2). Suspends. The count, which may be short, or an error. */
TORC_CHECK ssize_t torc_sendmsg(int fd, const struct msghdr *message, int flags);

/* End one direction or both: SHUT_RD, SHUT_WR, SHUT_RDWR. Never refused. Errors of shutdown(2). */
TORC_API int torc_shutdown(int fd, int how);

/* The address a socket is bound to. */
TORC_CHECK int torc_local_address(int fd, struct torc_address *ret_address);

/* The address a socket is connected to. -ENOTCONN if it is not. */
TORC_CHECK int torc_peer_address(int fd, struct torc_address *ret_address);

/* setsockopt(2). */
TORC_CHECK int torc_setsockopt(int fd, int level, int option, const void *value, socklen_t length);

/* getsockopt(2); `*length` goes in as the room in `value` and comes out as what was stored. */
TORC_CHECK int torc_getsockopt(int fd, int level, int option, void *value, socklen_t *length);

/* ---- TCP ---- */

/* How to listen. All zero is a good default. */
struct torc_listen_options {
    int backlog;             /* connections waiting to be accepted; 0 = 4096 */
    bool no_reuse_address;   /* default: SO_REUSEADDR on */
    bool no_reuse_port;      /* default: SO_REUSEPORT on, so that every shard may have its own */
    bool v6_only;            /* an IPv6 socket takes no IPv4 */
    int send_buffer_size;    /* bytes of SO_SNDBUF for the connections; 0 = the system's */
    int receive_buffer_size; /* bytes of SO_RCVBUF; 0 = the system's */
    int defer_accept_sec;    /* accept only once data is there, wait at most so long; 0 = at once */
    int fast_open;           /* length of the TCP Fast Open queue; 0 = off, -1 = the backlog's */
    int incoming_cpu;        /* prefer connections arriving on this CPU, counted from 1; 0 = any */
    bool steer_by_cpu;       /* prefer those arriving on the CPU that this shard is pinned to */
};

/*
 * A TCP socket that listens at `address`; `options` may be NULL. Returns its descriptor, which the
 * caller owns. Errors of socket(2), bind(2), listen(2), setsockopt(2); nothing stays open then.
 *
 * Of several sockets at one address the kernel chooses one for each connection: from Linux 6.2 on
 * one that prefers the CPU on which the first packet was received, if there is such a one, else
 * any. Before it chooses any, and so it does among shards that are not pinned: `steer_by_cpu` has
 * no effect then, and is no error. It pays where the network card spreads the connections over the
 * CPUs itself (RSS); where all of them arrive on one CPU, one shard gets them all.
 */
TORC_CHECK int torc_tcp_listen(const struct torc_address *address,
                               const struct torc_listen_options *options);

/* How to connect. All zero is a good default. */
struct torc_connect_options {
    const struct torc_address *local; /* bind to it first; NULL = the kernel chooses */
    bool fast_open;                   /* send the first data with the SYN, where the kernel can */
    bool delay;                       /* leave Nagle's algorithm on; default: TCP_NODELAY */
    int send_buffer_size;             /* bytes of SO_SNDBUF; 0 = the system's */
    int receive_buffer_size;          /* bytes of SO_RCVBUF; 0 = the system's */
};

/*
 * Connect to the first of `addresses` that answers, trying them in order. Suspends. `options` may
 * be NULL. Returns the descriptor, which the caller owns; else the error of the last attempt, or
 * the scope's reason, and nothing stays open.
 *
 * -EINVAL     count is 0.
 */
TORC_CHECK int torc_tcp_connect(const struct torc_address *addresses, unsigned count,
                                const struct torc_connect_options *options);

/* Turn Nagle's algorithm off (true) or on: TCP_NODELAY. */
TORC_CHECK int torc_tcp_set_nodelay(int fd, bool on);

/*
 * Send keep-alive probes after `idle_sec` of silence, every `interval_sec`, and give up after
 * `count` unanswered ones; 0 for any of them leaves the system's value. All three 0: turn it off.
 */
TORC_CHECK int torc_tcp_set_keepalive(int fd, int idle_sec, int interval_sec, int count);

TORC_END_C
#endif

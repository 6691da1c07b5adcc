/* SPDX-License-Identifier: MIT */
/*
 * torc/unix.h - sockets between the processes of one machine, and descriptors passed over them.
 *
 * A type is SOCK_STREAM (bytes), SOCK_SEQPACKET (a connection that keeps messages apart) or
 * SOCK_DGRAM (messages without a connection). A socket may be bound to a path, to an abstract name
 * (no file; it goes with the socket), or to nothing: then its address has no name. Connections are
 * used by torc_accept(), torc_recv(), torc_send() like any other; datagrams by torc/datagram.h.
 *
 * A path outlives its socket. torc_unix_open() takes over one that nobody is bound to any more,
 * torc_unix_close() removes it. Neither touches the path of a socket that lives, in whichever
 * process, nor a file that is no socket.
 */
#ifndef TORC_UNIX_H
#define TORC_UNIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <torc/api.h>
#include <torc/net.h>
TORC_BEGIN_C

/* ---- Addresses ---- */

/* What the address of a Unix socket is. */
enum torc_unix_name {
    TORC_UNIX_UNNAMED,  /* of a socket that is not bound; also of no address at all */
    TORC_UNIX_PATH,     /* in the file system */
    TORC_UNIX_ABSTRACT, /* any bytes, only in this network namespace */
};

/*
 * The address for `length` bytes of any name: a path, relative ones too, or an abstract name, for
 * which the text torc_address_parse() takes is "@name". No bytes and TORC_UNIX_ABSTRACT: the
 * kernel chooses a free name when such an address is bound. Any thread.
 *
 * -ENAMETOOLONG   a path of more than 107 bytes, or a name of more than 107.
 * -EINVAL         no bytes for a path, a NUL among them, or `kind` is TORC_UNIX_UNNAMED.
 */
TORC_CHECK int torc_unix_address(enum torc_unix_name kind, const char *name, size_t length,
                                 struct torc_address *ret_address);

/* Which it is. Any thread. */
TORC_API enum torc_unix_name torc_unix_name_of(const struct torc_address *address);

/* ---- Sockets ---- */

/* How to open a socket. All zero: a stream that listens, with a mode by the umask. */
struct torc_unix_options {
    int type;      /* SOCK_STREAM (or 0), SOCK_SEQPACKET, SOCK_DGRAM */
    int backlog;   /* connections waiting to be accepted; 0 = 4096; -1 = do not listen yet */
    unsigned mode; /* of the path, whatever the umask: 0600 for instance; 0 = 0777 less the umask.
                      Who may not write it cannot connect. */
    bool credentials;        /* receive with each message who sent it: torc_unix_parcel */
    int send_buffer_size;    /* bytes of SO_SNDBUF; 0 = the system's */
    int receive_buffer_size; /* bytes of SO_RCVBUF; 0 = the system's */
};

/*
 * A Unix socket bound to `address`, which listens unless it is one for datagrams. `options` may be
 * NULL. Returns its descriptor, which the caller owns; or an error, and then nothing stays open.
 *
 * -EADDRINUSE     a socket is bound there, listening or not, or what is there is no socket.
 */
TORC_CHECK int torc_unix_open(const struct torc_address *address,
                              const struct torc_unix_options *options);

/*
 * Connect to `address` by a new socket of `type`. Suspends while the server's queue is full.
 * Returns its descriptor, which the caller owns; or an error, and then nothing stays open.
 *
 * -ECONNREFUSED   nobody listens at the path or name;  -ENOENT: there is no such path.
 * -EPROTOTYPE     the socket there is of another type.
 */
TORC_CHECK int torc_unix_connect(const struct torc_address *address, int type);

/* Two sockets of `type`, connected to each other. Both are the caller's. */
TORC_CHECK int torc_unix_pair(int type, int ret_fds[2]);

/*
 * Close a socket, and remove the path it is bound to if it was the last that is. Suspends; not
 * cancellable. Whatever is returned, the descriptor is gone. An accept that is still under way, or
 * a duplicate of the descriptor, keeps the socket alive, and so the path.
 */
TORC_API int torc_unix_close(int fd);

/* Who is at the other end, or sent something. */
struct torc_unix_credentials {
    pid_t pid; /* 0: outside this PID namespace */
    uid_t uid;
    gid_t gid;
};

/*
 * Who made the other end of a connection: called connect(2), listen(2) or socketpair(2). The
 * kernel vouches for it. -ENOTCONN for a socket without a peer's.
 */
TORC_CHECK int torc_unix_peer(int fd, struct torc_unix_credentials *ret_peer);

/* ---- Descriptors ---- */

/* The most descriptors that one message carries (the kernel's SCM_MAX_FD). */
#define TORC_UNIX_FDS_MAX 253

/* What comes, or goes, with the bytes of a message. */
struct torc_unix_parcel {
    int *fds;             /* descriptors to send; or room for those received */
    unsigned fd_capacity; /* receiving: how many fit there, at most TORC_UNIX_FDS_MAX */
    unsigned fd_count;    /* how many are there */
    bool fds_lost;        /* received: more came than fitted, or than could be open: closed */
    bool truncated;       /* received: the message was longer than `length`; the rest is lost */
    bool has_credentials; /* received: `sender` is known; see torc_unix_options.credentials */
    struct torc_unix_credentials sender;
};

/*
 * Send up to `length` bytes, at least 1, and with the first of them the `fd_count` descriptors of
 * `parcel`. Suspends. They are duplicated for the receiver, and stay open here. Returns the count
 * of bytes; a short one (streams only) has taken the descriptors along, and torc_send_all() sends
 * the rest. Or an error, and nothing was sent.
 *
 * -EINVAL         more than TORC_UNIX_FDS_MAX descriptors, or `length` is 0.
 * -EBADF          one of them is not open.
 * -ETOOMANYREFS   too many of this user's are under way (RLIMIT_NOFILE).
 */
TORC_CHECK ssize_t torc_unix_send(int fd, const void *data, size_t length,
                                  const struct torc_unix_parcel *parcel);

/*
 * Receive up to `length` bytes, and the descriptors that were sent with one of them. Suspends. Of
 * a stream, bytes sent before a message with descriptors may come together with it, none after it.
 * Returns the count, 0 at the end; or an error, and nothing was received. Descriptors received are
 * close-on-exec and the caller's. `fds` and `fd_capacity` of the parcel are kept, the rest is set.
 * What a socket with SO_PASSPIDFD tells of the sender is closed: torc_recvmsg() leaves it open.
 */
TORC_CHECK ssize_t torc_unix_recv(int fd, void *data, size_t length,
                                  struct torc_unix_parcel *parcel);

/* Begin or end to be told with each message who sent it: torc_unix_options.credentials. */
TORC_CHECK int torc_unix_set_credentials(int fd, bool on);

TORC_END_C
#endif

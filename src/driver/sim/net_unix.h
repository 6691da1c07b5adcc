/* SPDX-License-Identifier: MIT */
/*
 * net_unix.h - sockets between the processes of one host, of all three types.
 *
 * What is sent stands in the receiver's queue at once, and weighs on the sender's buffer until it
 * is received. So a message knows its sender, which may be closed by then: a socket's memory lasts
 * until nobody knows it any more.
 */
#ifndef DRIVER_SIM_NET_UNIX_H
#define DRIVER_SIM_NET_UNIX_H

#include "driver/sim/net.h"
#include "driver/sim/net_option.h"
#include <sys/un.h>

#define UNIX_FDS_MAX 253u /* SCM_MAX_FD */

struct sim_unix;

struct sim_unix_message {
    struct sim_unix_message *next;
    struct sim_unix *sender;
    size_t weight;
    size_t offset; /* of the first byte that was not received yet */
    size_t length;
    char *data;
    unsigned file_count;
    struct sim_file *files[]; /* a reference each; then come the bytes */
};

struct sim_unix {
    struct sim_file file;
    unsigned users; /* the file, peers, messages, and whoever is to tell it of room */
    bool is_open;   /* It has a file. */
    int type;
    int values[OPTION_COUNT];
    struct linger linger;
    int error;
    bool shut_receive;
    bool shut_send;
    bool has_credentials;  /* of a peer */
    struct sim_unix *peer; /* whom a send without an address is for */

    struct sockaddr_un name;
    socklen_t name_length; /* 0: it has none */
    uint64_t inode;        /* of its path, or 0 */
    struct sim_unix *bound_next;
    struct sim_unix **bound_link;

    struct sim_unix_message *queue;
    struct sim_unix_message **queue_last;
    unsigned queued;
    size_t sent_weight;       /* of what it has sent and nobody has received */
    struct sim_unix *refused; /* There was no room for them: they are told when there is. */
    struct sim_unix *refused_next;
    bool is_refused;

    /* A listener. */
    bool is_listening;
    unsigned backlog;
    unsigned ready_count;
    struct sim_unix *ready; /* connected, and to be accepted */
    struct sim_unix **ready_last;
    struct sim_unix *ready_next;
};

static inline struct sim_unix *torc__sim_unix_of(struct sim_file *file)
{
    return (struct sim_unix *)file;
}

struct sim_unix *torc__sim_unix_create(struct sim_host *host, int type);

static inline struct sim_unix *torc__sim_unix_acquire(struct sim_unix *socket)
{
    socket->users++;
    return socket;
}

/* NULL is ignored. */
void torc__sim_unix_release(struct sim_unix *socket);

/* Make two sockets each other's peer. */
void torc__sim_unix_join(struct sim_unix *a, struct sim_unix *b);

/* It has no file any more; one that nobody has accepted is reset. */
void torc__sim_unix_close(struct sim_unix *socket, bool is_reset);

/* ---- net_unix_data.c ---- */

ssize_t torc__sim_unix_sendmsg(struct sim_file *file, const struct msghdr *message, int flags);
ssize_t torc__sim_unix_recvmsg(struct sim_file *file, struct msghdr *message, int flags);

/* Throw away what nobody has received, and tell those whom the queue has kept waiting. */
void torc__sim_unix_flush(struct sim_unix *socket);

/*
 * There is no room in the queue of `to`, or in a listener's: the socket is told by POLLOUT when
 * there is again. And: there is.
 */
void torc__sim_unix_refuse(struct sim_unix *to, struct sim_unix *socket);
void torc__sim_unix_tell_refused(struct sim_unix *to);

/* Whether there is room for what is sent next. */
bool torc__sim_unix_is_writable(const struct sim_unix *socket);

/* ---- net_unix_rights.c ---- */

/*
 * A message with room for `length` bytes, and with the files whose descriptors stand in the control
 * data. -EBADF; -EINVAL: too many, or malformed.
 */
int torc__sim_unix_message_create(struct sim_host *host, const struct msghdr *from, size_t length,
                                  struct sim_unix_message **ret_message);
void torc__sim_unix_message_destroy(struct sim_unix_message *message);

/* Tell of the sender, where asked for, and give its files to the process, or copies of them. */
void torc__sim_unix_tell(struct sim_unix *socket, struct sim_unix_message *from,
                         struct msghdr *message, bool is_peek);

/* ---- net_unix_connect.c ---- */

int torc__sim_unix_listen(struct sim_file *file, int backlog);
int torc__sim_unix_connect(struct sim_file *file, const struct sockaddr *address, socklen_t length);
int torc__sim_unix_accept(struct sim_file *file, struct sockaddr *address, socklen_t *length,
                          int flags, struct sim_file **ret_file);
/* A socket for datagrams has its peer no more. What it has not received is not for it, either. */
void torc__sim_unix_part(struct sim_unix *socket);
void torc__sim_unix_stop_listening(struct sim_unix *socket);

/* Whether a datagram socket may send to another, which is perhaps connected to somebody else. */
static inline bool torc__sim_unix_may_send(const struct sim_unix *from, const struct sim_unix *to)
{
    return to->peer == NULL || to->peer == from;
}

/* ---- net_unix_name.c ---- */

/* As bind(2). */
int torc__sim_unix_bind(struct sim_file *file, const struct sockaddr *address, socklen_t length);
void torc__sim_unix_unbind(struct sim_unix *socket);

/*
 * The open socket of a name. -EINVAL: it is none; -ECONNREFUSED: nobody's; -EPROTOTYPE: of another
 * type; what the path gives.
 */
int torc__sim_unix_find(struct sim_host *host, int type, const struct sockaddr *address,
                        socklen_t length, struct sim_unix **ret_socket);

/* Write a name, or that there is none, as getsockname(2) does. */
void torc__sim_unix_write_name(const struct sim_unix *socket, struct sockaddr *address,
                               socklen_t *length);

#endif

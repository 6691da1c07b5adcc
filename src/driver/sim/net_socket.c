/* SPDX-License-Identifier: MIT */
/*
 * net_socket.c - what sockets of the internet families have in common.
 */
#include "driver/sim/net_socket.h"
#include "driver/sim/net_tcp.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/time.h>

/* ---- Life ---- */

void torc__sim_socket_init(struct sim_socket *socket, const struct sim_file_ops *ops,
                           struct sim_host *host, int family, int type)
{
    struct sim_socket **list = type == SOCK_STREAM ? &host->net->tcp.all : &host->net->udp.all;

    torc__sim_file_init(&socket->file, ops, host, O_RDWR);
    socket->family = family;
    socket->type = type;
    torc__sim_options_init(socket->values, family, type);
    socket->local.ip = torc__sim_ip_any(family == AF_INET);
    socket->next = *list;
    socket->link = list;
    if (*list != NULL)
        (*list)->link = &socket->next;
    *list = socket;
}

void torc__sim_socket_finish(struct sim_socket *socket)
{
    torc__sim_pair_leave(socket);
    torc__sim_port_free(socket);
    *socket->link = socket->next;
    if (socket->next != NULL)
        socket->next->link = socket->link;
}

int torc__sim_socket_take_error(struct sim_socket *socket)
{
    const int error = socket->error;

    socket->error = 0;
    return -error;
}

int torc__sim_socket(struct sim_host *host, int family, int type, int protocol,
                     struct sim_file **ret_file)
{
    const int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct sim_file *file = NULL;

    type &= ~flags;
    if (family == AF_UNIX)
        return torc__sim_unix_open(host, type, protocol, flags, ret_file);
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP))
        file = &torc__sim_tcp_open(host, family)->file;
    else if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP))
        file = &torc__sim_udp_open(host, family)->file;
    if (file == NULL)
        return type == SOCK_STREAM || type == SOCK_DGRAM ? -EPROTONOSUPPORT : -ESOCKTNOSUPPORT;
    if (flags & SOCK_NONBLOCK)
        file->flags |= O_NONBLOCK;
    *ret_file = file;
    return 0;
}

/*
 * What has a file still is its owner's to give back; what has none was only finishing.
 */
void torc__sim_net_host_crash(struct sim_host *host)
{
    struct sim_socket *next;

    for (struct sim_socket *socket = host->net->tcp.all; socket != NULL; socket = next) {
        next = socket->next;
        if (socket->file.references == 0)
            torc__sim_tcp_destroy(torc__sim_tcp_of(socket));
    }
}

/* ---- Places ---- */

/* Whether a socket may have an address: its host's, any, or a group's for datagrams. */
static bool may_have(const struct sim_socket *socket, const struct in6_addr *ip)
{
    if (torc__sim_ip_is_any(ip) || torc__sim_ip_is_local(socket->file.host, ip))
        return true;
    return socket->type == SOCK_DGRAM &&
           (torc__sim_ip_is_multicast(ip) || torc__sim_ip_is_broadcast(ip));
}

int torc__sim_socket_bind(struct sim_file *file, const struct sockaddr *address, socklen_t length)
{
    struct sim_socket *socket = torc__sim_socket_of(file);
    struct sim_endpoint place;
    const int result = torc__sim_endpoint_read(&place, socket->family, address, length);

    if (result < 0)
        return result;
    if (socket->family == AF_INET6 && torc__sim_ip_is_v4(&place.ip) &&
        socket->values[OPTION_V6ONLY])
        return -EINVAL;
    if (!may_have(socket, &place.ip))
        return -EADDRNOTAVAIL;
    if (socket->is_bound || socket->is_connected)
        return -EINVAL;
    socket->is_port_chosen = place.port != 0;
    socket->is_address_chosen = !torc__sim_ip_is_any(&place.ip);
    return torc__sim_port_bind(socket, &place, 0);
}

int torc__sim_socket_local(struct sim_file *file, struct sockaddr *address, socklen_t *length)
{
    const struct sim_socket *socket = torc__sim_socket_of(file);

    torc__sim_endpoint_write(&socket->local, socket->family, address, length);
    return 0;
}

/* ---- Options that are no plain numbers ---- */

static int set_linger(struct sim_socket *socket, const void *value, socklen_t length)
{
    if (length < sizeof(socket->linger))
        return -EINVAL;
    memcpy(&socket->linger, value, sizeof(socket->linger));
    socket->linger.l_onoff = socket->linger.l_onoff != 0;
    return 0;
}

/* How long blocking calls wait: there are none. */
static int set_patience(const void *value, socklen_t length)
{
    struct timeval time;

    if (length < sizeof(time))
        return -EINVAL;
    memcpy(&time, value, sizeof(time));
    return time.tv_usec < 0 || time.tv_usec >= 1000000 ? -EDOM : 0;
}

int torc__sim_socket_set_option(struct sim_socket *socket, int level, int name, const void *value,
                                socklen_t length)
{
    if (level == SOL_SOCKET && name == SO_LINGER)
        return set_linger(socket, value, length);
    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
        return set_patience(value, length);
    if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && socket->is_bound)
        return -EINVAL;
    return torc__sim_option_set(socket->values, socket->family, socket->type, level, name, value,
                                length);
}

static int give_bytes(const void *from, socklen_t size, void *value, socklen_t *length)
{
    if (*length > size)
        *length = size;
    memcpy(value, from, *length);
    return 0;
}

/* What is not set, but follows from what the socket is. */
static int get_state(struct sim_socket *socket, int name, void *value, socklen_t *length)
{
    switch (name) {
    case SO_ERROR:
        return torc__sim_option_give(-torc__sim_socket_take_error(socket), value, length);
    case SO_TYPE:
        return torc__sim_option_give(socket->type, value, length);
    case SO_DOMAIN:
        return torc__sim_option_give(socket->family, value, length);
    case SO_PROTOCOL:
        return torc__sim_option_give(socket->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP, value,
                                     length);
    case SO_ACCEPTCONN:
        return torc__sim_option_give(socket->is_listening, value, length);
    default:
        return -ENOPROTOOPT;
    }
}

int torc__sim_socket_get_option(struct sim_socket *socket, int level, int name, void *value,
                                socklen_t *length)
{
    static const struct timeval for_ever;
    static const struct ucred nobody = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    int result = -ENOPROTOOPT;

    if ((int)*length < 0)
        return -EINVAL;
    if (level == SOL_SOCKET && name == SO_LINGER)
        return give_bytes(&socket->linger, sizeof(socket->linger), value, length);
    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
        return give_bytes(&for_ever, sizeof(for_ever), value, length);
    if (level == SOL_SOCKET && name == SO_PEERCRED)
        return give_bytes(&nobody, sizeof(nobody), value, length);
    if (level == SOL_SOCKET)
        result = get_state(socket, name, value, length);
    if (result == -ENOPROTOOPT)
        result = torc__sim_option_get(socket->values, socket->family, socket->type, level, name,
                                      value, length);
    return result;
}

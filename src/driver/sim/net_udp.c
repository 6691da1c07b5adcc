/* SPDX-License-Identifier: MIT */
/*
 * net_udp.c - the calls that a program makes on a UDP socket.
 */
#include "driver/sim/net_udp.h"
#include "base/log.h"
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static const struct sim_file_ops udp_ops;

struct sim_socket *torc__sim_udp_open(struct sim_host *host, int family)
{
    struct sim_udp *udp = calloc(1, sizeof(*udp));

    TORC_ASSERT(udp != NULL);
    torc__sim_socket_init(&udp->socket, &udp_ops, host, family, SOCK_DGRAM);
    udp->last_in_queue = &udp->queue;
    return &udp->socket;
}

static void udp_release(struct sim_file *file, bool crashed)
{
    struct sim_udp *udp = torc__sim_udp_of(file);

    (void)crashed;
    while (udp->queue != NULL) {
        struct sim_packet *packet = udp->queue;

        udp->queue = packet->next;
        free(packet);
    }
    torc__sim_multicast_leave_all(udp);
    torc__sim_socket_finish(&udp->socket);
    free(udp);
}

/* ---- Transfers without more than their bytes ---- */

static ssize_t udp_read(struct sim_file *file, const struct iovec *vector, size_t count,
                        off_t offset, int flags)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vector, .msg_iovlen = count};

    (void)offset;
    (void)flags;
    return torc__sim_udp_recvmsg(file, &message, 0);
}

static ssize_t udp_write(struct sim_file *file, const struct iovec *vector, size_t count,
                         off_t offset, int flags)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vector,
                                   .msg_iovlen = count};

    (void)offset;
    (void)flags;
    return torc__sim_udp_sendmsg(file, &message, 0);
}

/* ---- Connections, which are filters ---- */

static int dissolve(struct sim_socket *socket)
{
    socket->is_connected = false;
    if (!socket->is_port_chosen) {
        torc__sim_port_free(socket);
        socket->local.port = 0;
    }
    if (!socket->is_address_chosen)
        socket->local.ip = torc__sim_ip_any(socket->family == AF_INET);
    return 0;
}

static int udp_connect(struct sim_file *file, const struct sockaddr *address, socklen_t length)
{
    struct sim_socket *socket = torc__sim_socket_of(file);
    struct sim_endpoint peer;
    struct sim_endpoint local = socket->local;
    int result;

    if (length < sizeof(address->sa_family))
        return -EINVAL;
    if (address->sa_family == AF_UNSPEC)
        return dissolve(socket);
    result = torc__sim_endpoint_read(&peer, socket->family, address, length);
    if (result < 0)
        return result;
    if (torc__sim_ip_is_broadcast(&peer.ip) && !socket->values[OPTION_BROADCAST])
        return -EACCES;
    if (torc__sim_ip_is_any(&peer.ip))
        peer.ip = torc__sim_source_for(file->host, &peer.ip);
    if (torc__sim_ip_is_any(&local.ip))
        local.ip = torc__sim_source_for(file->host, &peer.ip);
    local.port = 0;
    result = socket->is_bound ? 0 : torc__sim_port_bind(socket, &local, 0);
    if (result < 0)
        return -EAGAIN; /* As Linux has it. */
    socket->local.ip = local.ip;
    socket->peer = peer;
    socket->is_connected = true;
    return 0;
}

static int udp_shutdown(struct sim_file *file, int how)
{
    struct sim_socket *socket = torc__sim_socket_of(file);

    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
    if (how != SHUT_WR)
        socket->shut_receive = true;
    if (how != SHUT_RD)
        socket->shut_send = true;
    torc__sim_notify(file, POLLIN | POLLRDNORM | POLLRDHUP | POLLHUP);
    return socket->is_connected ? 0 : -ENOTCONN; /* It is shut down all the same. */
}

static int udp_peer(struct sim_file *file, struct sockaddr *address, socklen_t *length)
{
    const struct sim_socket *socket = torc__sim_socket_of(file);

    if (!socket->is_connected)
        return -ENOTCONN;
    torc__sim_endpoint_write(&socket->peer, socket->family, address, length);
    return 0;
}

static int udp_listen(struct sim_file *file, int backlog)
{
    (void)file;
    (void)backlog;
    return -EOPNOTSUPP;
}

static int udp_accept(struct sim_file *file, struct sockaddr *address, socklen_t *length, int flags,
                      struct sim_file **ret_file)
{
    (void)file;
    (void)address;
    (void)length;
    (void)flags;
    (void)ret_file;
    return -EOPNOTSUPP;
}

/* ---- What it is like ---- */

static uint32_t udp_poll(struct sim_file *file)
{
    const struct sim_udp *udp = torc__sim_udp_of(file);
    uint32_t events = POLLOUT | POLLWRNORM;

    events |= udp->queue != NULL ? POLLIN | POLLRDNORM : 0;
    events |= udp->socket.error != 0 ? POLLERR : 0;
    events |= udp->socket.shut_receive ? POLLIN | POLLRDNORM | POLLRDHUP : 0;
    events |= udp->socket.shut_receive && udp->socket.shut_send ? POLLHUP : 0;
    return events;
}

static int udp_get_option(struct sim_file *file, int level, int name, void *value,
                          socklen_t *length)
{
    return torc__sim_socket_get_option(torc__sim_socket_of(file), level, name, value, length);
}

static int udp_set_option(struct sim_file *file, int level, int name, const void *value,
                          socklen_t length)
{
    int result = torc__sim_multicast_set(torc__sim_udp_of(file), level, name, value, length);

    if (result == -ENOPROTOOPT)
        result = torc__sim_socket_set_option(torc__sim_socket_of(file), level, name, value, length);
    return result;
}

static int udp_ioctl(struct sim_file *file, unsigned long request, void *arg)
{
    const struct sim_udp *udp = torc__sim_udp_of(file);
    int count = 0;

    if (request != FIONREAD && request != SIOCOUTQ)
        return -ENOTTY;
    if (request == FIONREAD && udp->queue != NULL)
        count = (int)udp->queue->length;
    memcpy(arg, &count, sizeof(count));
    return 0;
}

static int udp_stat(struct sim_file *file, struct statx *ret_about)
{
    (void)file;
    ret_about->stx_mode = S_IFSOCK | 0777;
    return 0;
}

static const struct sim_file_ops udp_ops = {
    .kind = "udp",
    .traits = SIM_SOCKET,
    .read = udp_read,
    .write = udp_write,
    .recvmsg = torc__sim_udp_recvmsg,
    .sendmsg = torc__sim_udp_sendmsg,
    .bind = torc__sim_socket_bind,
    .listen = udp_listen,
    .connect = udp_connect,
    .accept = udp_accept,
    .shutdown = udp_shutdown,
    .local = torc__sim_socket_local,
    .peer = udp_peer,
    .get_option = udp_get_option,
    .set_option = udp_set_option,
    .poll = udp_poll,
    .stat = udp_stat,
    .ioctl = udp_ioctl,
    .release = udp_release,
};

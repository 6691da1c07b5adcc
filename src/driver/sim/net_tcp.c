/* SPDX-License-Identifier: MIT */
/*
 * net_tcp.c - the calls that a program makes on a TCP socket.
 */
#include "driver/sim/net_tcp.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vector.h"
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define FIRST_PAUSE_NS NS_PER_SECOND

static struct sim_tcp *tcp_of(struct sim_file *file)
{
    return torc__sim_tcp_of(torc__sim_socket_of(file));
}

struct sim_tcp *torc__sim_tcp_create(struct sim_host *host, int family)
{
    struct sim_tcp *tcp = calloc(1, sizeof(*tcp));

    TORC_ASSERT(tcp != NULL);
    torc__sim_socket_init(&tcp->socket, &torc__sim_tcp_ops, host, family, SOCK_STREAM);
    tcp->state = TCP_CLOSE;
    tcp->first = tcp->next = tcp->sent_edge = tcp->edge = 1;
    tcp->expected = tcp->told_edge = 1;
    tcp->last_ready = &tcp->ready;
    return tcp;
}

struct sim_socket *torc__sim_tcp_open(struct sim_host *host, int family)
{
    return &torc__sim_tcp_create(host, family)->socket;
}

/* A call is over: what it has sent within the host arrives. */
static void deliver(struct sim_file *file)
{
    torc__sim_net_deliver(file->host->world->net);
}

/* ---- Bytes ---- */

static int nothing_to_receive(struct sim_tcp *tcp)
{
    if (tcp->fin_received)
        return 0;
    if (tcp->socket.error != 0)
        return torc__sim_socket_take_error(&tcp->socket);
    if (tcp->socket.shut_receive)
        return 0;
    return tcp->state == TCP_CLOSE || tcp->state == TCP_LISTEN ? -ENOTCONN : -EAGAIN;
}

static ssize_t receive_urgent(struct sim_tcp *tcp, struct msghdr *message, int flags)
{
    if (!tcp->has_urgent || tcp->socket.values[OPTION_OOBINLINE])
        return -EINVAL;
    message->msg_flags = MSG_OOB;
    if (!(flags & MSG_PEEK))
        tcp->has_urgent = false;
    return (ssize_t)torc__sim_vector_fill(message->msg_iov, message->msg_iovlen, 0, &tcp->urgent,
                                          1);
}

static ssize_t tcp_recvmsg(struct sim_file *file, struct msghdr *message, int flags)
{
    struct sim_tcp *tcp = tcp_of(file);
    struct sim_cursor cursor = torc__sim_cursor(message->msg_iov, message->msg_iovlen);
    size_t count = torc__vector_size(message->msg_iov, message->msg_iovlen);

    if (flags & MSG_OOB)
        return receive_urgent(tcp, message, flags);
    if (flags & MSG_ERRQUEUE)
        return -EAGAIN;
    message->msg_flags = 0;
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    if (tcp->in.count == 0)
        return nothing_to_receive(tcp);
    if (count > tcp->in.count)
        count = tcp->in.count;
    if (!(flags & MSG_TRUNC)) /* Of a stream it throws away what it takes. */
        torc__sim_queue_copy_to(&tcp->in, 0, &cursor, count);
    if (flags & MSG_PEEK)
        return (ssize_t)count;
    torc__sim_queue_drop(&tcp->in, count);
    torc__sim_tcp_tell_window(tcp);
    deliver(file);
    return (ssize_t)count;
}

static ssize_t tcp_read(struct sim_file *file, const struct iovec *vector, size_t count,
                        off_t offset, int flags)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vector, .msg_iovlen = count};

    (void)offset;
    (void)flags;
    return tcp_recvmsg(file, &message, 0);
}

static ssize_t tcp_sendmsg(struct sim_file *file, const struct msghdr *message, int flags)
{
    struct sim_tcp *tcp = tcp_of(file);
    struct sim_cursor cursor = torc__sim_cursor(message->msg_iov, message->msg_iovlen);
    size_t count = torc__vector_size(message->msg_iov, message->msg_iovlen);

    if (tcp->socket.error != 0)
        return torc__sim_socket_take_error(&tcp->socket);
    if (tcp->socket.shut_send)
        return -EPIPE;
    if (tcp->state == TCP_SYN_SENT)
        return -EAGAIN;
    if (tcp->state != TCP_ESTABLISHED)
        return -EPIPE;
    if (count == 0)
        return 0;
    if (torc__sim_tcp_room(tcp) == 0)
        return -EAGAIN;
    if (count > torc__sim_tcp_room(tcp))
        count = torc__sim_tcp_room(tcp);
    torc__sim_queue_put_from(&tcp->out, &cursor, count);
    if (flags & MSG_OOB)
        tcp->urgent_out = tcp->first + tcp->out.count - 1;
    torc__sim_tcp_transmit(tcp);
    torc__sim_tcp_settle(tcp);
    deliver(file);
    return (ssize_t)count;
}

static ssize_t tcp_write(struct sim_file *file, const struct iovec *vector, size_t count,
                         off_t offset, int flags)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vector,
                                   .msg_iovlen = count};

    (void)offset;
    (void)flags;
    return tcp_sendmsg(file, &message, 0);
}

/* ---- Connecting ---- */

static int disconnect(struct sim_tcp *tcp)
{
    if (tcp->state == TCP_LISTEN)
        torc__sim_tcp_stop_listening(tcp, false);
    if (tcp->state == TCP_ESTABLISHED && !torc__sim_tcp_is_over(tcp))
        torc__sim_tcp_emit(tcp, SEGMENT_RST, tcp->next, 0);
    torc__sim_tcp_fail(tcp, 0);
    return 0;
}

/* Forget a connection that has failed, or was dissolved, so that another can be made. */
static void start_over(struct sim_tcp *tcp)
{
    tcp->phase = PHASE_FRESH;
    tcp->socket.is_connected = false;
    tcp->socket.shut_receive = tcp->socket.shut_send = false;
    tcp->fin_wanted = tcp->fin_acknowledged = tcp->fin_received = false;
    tcp->first = tcp->next = tcp->sent_edge = tcp->edge = 1;
    tcp->expected = tcp->told_edge = 1;
    torc__sim_queue_clear(&tcp->in);
    if (!tcp->socket.is_bound)
        tcp->socket.local =
            (struct sim_endpoint){.ip = torc__sim_ip_any(tcp->socket.family == AF_INET)};
}

/* What there is to be said of a connect that is under way. */
static int look_again(struct sim_tcp *tcp)
{
    int error;

    if (tcp->state == TCP_SYN_SENT)
        return -EALREADY;
    if (tcp->state == TCP_CLOSE) {
        error = torc__sim_socket_take_error(&tcp->socket);
        start_over(tcp);
        return error != 0 ? error : -ECONNABORTED;
    }
    tcp->phase = PHASE_CONNECTED;
    return 0;
}

static int check_target(const struct sim_socket *socket, struct sim_endpoint *target)
{
    const bool v4 = torc__sim_ip_is_v4(&target->ip);

    if (torc__sim_ip_is_multicast(&target->ip) || torc__sim_ip_is_broadcast(&target->ip))
        return -ENETUNREACH;
    if (v4 && socket->values[OPTION_V6ONLY])
        return -ENETUNREACH;
    if (!torc__sim_ip_is_any(&socket->local.ip) && torc__sim_ip_is_v4(&socket->local.ip) != v4)
        return -EINVAL;
    if (torc__sim_ip_is_any(&target->ip))
        target->ip = torc__sim_source_for(socket->file.host, &target->ip);
    return 0;
}

/* Have a place of one's own, from which that of the peer can be reached. */
static int take_place(struct sim_socket *socket, const struct sim_endpoint *target)
{
    struct sim_host *host = socket->file.host;
    const struct sim_endpoint before = socket->local;
    struct sim_endpoint local = before;
    int result;

    if (torc__sim_ip_is_any(&local.ip))
        local.ip = torc__sim_source_for(host, &target->ip);
    if (socket->is_bound) {
        if (torc__sim_pair_find(&host->net->tcp, &local, target) != NULL)
            return -EADDRNOTAVAIL;
        socket->local.ip = local.ip;
        return 0;
    }
    local.port = 0;
    result = torc__sim_port_bind(socket, &local, target->port);
    return result == -EADDRINUSE ? -EADDRNOTAVAIL : result;
}

static int start_connecting(struct sim_tcp *tcp, const struct sim_endpoint *target)
{
    struct sim_host *host = tcp->socket.file.host;
    struct sim_world *world = host->world;

    tcp->socket.peer = *target;
    tcp->socket.is_connected = true;
    torc__sim_pair_enter(&tcp->socket);
    tcp->state = TCP_SYN_SENT;
    tcp->phase = PHASE_CONNECTING;
    tcp->connection = ++world->net->connections;
    tcp->is_remote = torc__sim_route(host, &target->ip) != host;
    tcp->is_doomed = tcp->is_remote &&
                     torc__sim_fault(world, host, "connect lost", world->chaos.connect_lose_rate);
    torc__sim_trace(world, host, "tcp connects", (int64_t)tcp->connection, target->port);
    torc__sim_tcp_start_timer(tcp, FIRST_PAUSE_NS);
    torc__sim_tcp_emit(tcp, SEGMENT_SYN, tcp->next, 0);
    torc__sim_tcp_settle(tcp);
    torc__sim_net_deliver(world->net);
    return tcp->state == TCP_SYN_SENT ? -EINPROGRESS : look_again(tcp);
}

static int tcp_connect(struct sim_file *file, const struct sockaddr *address, socklen_t length)
{
    struct sim_tcp *tcp = tcp_of(file);
    struct sim_endpoint target;
    int result;

    if (length < sizeof(address->sa_family))
        return -EINVAL;
    if (address->sa_family == AF_UNSPEC) {
        result = disconnect(tcp);
        start_over(tcp);
        deliver(file);
        return result;
    }
    if (tcp->phase == PHASE_CONNECTING)
        return look_again(tcp);
    if (tcp->phase == PHASE_CONNECTED || tcp->state != TCP_CLOSE)
        return -EISCONN;
    result = torc__sim_endpoint_read(&target, tcp->socket.family, address, length);
    if (result == 0)
        result = check_target(&tcp->socket, &target);
    if (result == 0)
        result = take_place(&tcp->socket, &target);
    return result < 0 ? result : start_connecting(tcp, &target);
}

/* ---- Ends ---- */

static bool is_connected(const struct sim_tcp *tcp)
{
    return tcp->state == TCP_ESTABLISHED && !torc__sim_tcp_is_over(tcp);
}

static void shut(struct sim_tcp *tcp, int how)
{
    if (how != SHUT_WR)
        tcp->socket.shut_receive = true;
    if (how != SHUT_RD) {
        tcp->socket.shut_send = true;
        tcp->fin_wanted = true;
        torc__sim_tcp_transmit(tcp);
        torc__sim_tcp_settle(tcp);
    }
}

static int tcp_shutdown(struct sim_file *file, int how)
{
    struct sim_tcp *tcp = tcp_of(file);

    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
    if (tcp->state == TCP_SYN_SENT || (tcp->state == TCP_LISTEN && how != SHUT_WR)) {
        (void)disconnect(tcp);
    } else if (tcp->state == TCP_LISTEN) {
        return 0;
    } else if (!is_connected(tcp)) {
        return -ENOTCONN;
    } else {
        shut(tcp, how);
    }
    deliver(file);
    torc__sim_notify(file, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLRDHUP);
    return 0;
}

/* Nobody has the file any more; the connection goes on by itself until the peer has all of it. */
static void part(struct sim_tcp *tcp)
{
    const bool is_abrupt = tcp->socket.linger.l_onoff && tcp->socket.linger.l_linger == 0;

    if (is_connected(tcp) &&
        (tcp->in.count > 0 || is_abrupt)) { /* The peer shall know that something was not read. */
        torc__sim_tcp_emit(tcp, SEGMENT_RST, tcp->next, 0);
        torc__sim_tcp_destroy(tcp);
        return;
    }
    tcp->is_orphan = true;
    if (tcp->fin_acknowledged)
        torc__sim_tcp_start_timer(tcp, 0);
    tcp->socket.shut_send = true;
    tcp->fin_wanted = true;
    torc__sim_tcp_transmit(tcp);
    torc__sim_tcp_settle(tcp);
}

static void tcp_release(struct sim_file *file, bool crashed)
{
    struct sim_tcp *tcp = tcp_of(file);
    struct sim_net *net = file->host->world->net;
    const bool is_silent = crashed || !file->host->is_up;

    if (tcp->state == TCP_LISTEN)
        torc__sim_tcp_stop_listening(tcp, is_silent);
    if (tcp->state == TCP_ESTABLISHED && !is_silent)
        part(tcp);
    else
        torc__sim_tcp_destroy(tcp);
    torc__sim_net_deliver(net);
}

/* ---- What it is like ---- */

static uint32_t tcp_poll(struct sim_file *file)
{
    const struct sim_tcp *tcp = tcp_of(file);
    const struct sim_socket *socket = &tcp->socket;
    uint32_t events = socket->error != 0 ? POLLERR : 0;

    events |= tcp->has_urgent ? POLLPRI : 0;
    if (tcp->state == TCP_LISTEN)
        return events | (tcp->ready != NULL ? POLLIN | POLLRDNORM : 0);
    if ((socket->shut_receive && socket->shut_send) || tcp->state == TCP_CLOSE)
        events |= POLLHUP;
    if (socket->shut_receive)
        events |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (tcp->state == TCP_SYN_SENT)
        return events;
    if (tcp->in.count >= (size_t)socket->values[OPTION_RCVLOWAT])
        events |= POLLIN | POLLRDNORM;
    if (socket->shut_send || torc__sim_tcp_is_writable(tcp))
        events |= POLLOUT | POLLWRNORM;
    return events;
}

static int tcp_peer(struct sim_file *file, struct sockaddr *address, socklen_t *length)
{
    const struct sim_tcp *tcp = tcp_of(file);

    if (!is_connected(tcp))
        return -ENOTCONN;
    torc__sim_endpoint_write(&tcp->socket.peer, tcp->socket.family, address, length);
    return 0;
}

/* The states that Linux would tell apart. */
static int told_state(const struct sim_tcp *tcp)
{
    if (tcp->state != TCP_ESTABLISHED)
        return tcp->state;
    if (torc__sim_tcp_is_over(tcp))
        return TCP_CLOSE;
    if (tcp->fin_received)
        return !tcp->fin_wanted        ? TCP_CLOSE_WAIT
               : tcp->is_last_to_close ? TCP_LAST_ACK
                                       : TCP_CLOSING;
    if (tcp->fin_wanted)
        return tcp->fin_acknowledged ? TCP_FIN_WAIT2 : TCP_FIN_WAIT1;
    return TCP_ESTABLISHED;
}

static int get_info(const struct sim_tcp *tcp, void *value, socklen_t *length)
{
    struct tcp_info info = {.tcpi_state = (uint8_t)told_state(tcp)};

    if (tcp->state == TCP_LISTEN) { /* Here Linux tells how long the queue is, and may be. */
        info.tcpi_unacked = tcp->ready_count;
        info.tcpi_sacked = tcp->backlog;
    }
    if (*length > sizeof(info))
        *length = sizeof(info);
    memcpy(value, &info, *length);
    return 0;
}

static int tcp_get_option(struct sim_file *file, int level, int name, void *value,
                          socklen_t *length)
{
    if (level == IPPROTO_TCP && name == TCP_INFO)
        return get_info(tcp_of(file), value, length);
    return torc__sim_socket_get_option(torc__sim_socket_of(file), level, name, value, length);
}

static int tcp_set_option(struct sim_file *file, int level, int name, const void *value,
                          socklen_t length)
{
    struct sim_tcp *tcp = tcp_of(file);
    const int result = torc__sim_socket_set_option(&tcp->socket, level, name, value, length);

    if (result == 0 && tcp->state == TCP_ESTABLISHED)
        torc__sim_tcp_settle(tcp); /* It may have to be kept alive now. */
    return result;
}

static int tcp_ioctl(struct sim_file *file, unsigned long request, void *arg)
{
    const struct sim_tcp *tcp = tcp_of(file);
    int count;

    if (request != FIONREAD && request != SIOCOUTQ)
        return -ENOTTY;
    if (tcp->state == TCP_LISTEN)
        return -EINVAL;
    count = (int)(request == FIONREAD ? tcp->in.count : tcp->out.count);
    memcpy(arg, &count, sizeof(count));
    return 0;
}

static int tcp_stat(struct sim_file *file, struct statx *ret_about)
{
    (void)file;
    ret_about->stx_mode = S_IFSOCK | 0777;
    return 0;
}

const struct sim_file_ops torc__sim_tcp_ops = {
    .kind = "tcp",
    .traits = SIM_BYTES | SIM_SOCKET,
    .read = tcp_read,
    .write = tcp_write,
    .recvmsg = tcp_recvmsg,
    .sendmsg = tcp_sendmsg,
    .bind = torc__sim_socket_bind,
    .listen = torc__sim_tcp_listen,
    .connect = tcp_connect,
    .accept = torc__sim_tcp_accept,
    .shutdown = tcp_shutdown,
    .local = torc__sim_socket_local,
    .peer = tcp_peer,
    .get_option = tcp_get_option,
    .set_option = tcp_set_option,
    .poll = tcp_poll,
    .stat = tcp_stat,
    .ioctl = tcp_ioctl,
    .release = tcp_release,
};

/* ---- What a scenario does ---- */

int torc__sim_net_reset(struct sim_file *file)
{
    if (file->ops != &torc__sim_tcp_ops)
        return -ENOTSOCK;
    if (!is_connected(tcp_of(file)))
        return -ENOTCONN;
    torc__sim_tcp_break(tcp_of(file));
    deliver(file);
    return 0;
}

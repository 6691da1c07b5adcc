/* SPDX-License-Identifier: MIT */
/*
 * tcp.c - listening and connecting.
 */
#include "io/tcp.h"
#include "base/compiler.h"
#include "io/option.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <torc/fiber.h>
#include <torc/io.h>
#include <torc/net.h>
#include <torc/runtime.h>

#define BACKLOG_DEFAULT 4096

static int backlog_of(const struct torc_listen_options *options)
{
    return options->backlog > 0 ? options->backlog : BACKLOG_DEFAULT;
}

/* Everything that has to be set before bind(); buffers too, since connections inherit them. */
static int prepare_listener(int fd, const struct torc_address *address,
                            const struct torc_listen_options *options)
{
    const bool is_v6 = address->any.sa_family == AF_INET6;
    const struct torc__option list[] = {
        {SOL_SOCKET, SO_REUSEADDR, 1, !options->no_reuse_address},
        {SOL_SOCKET, SO_REUSEPORT, 1, !options->no_reuse_port},
        {IPPROTO_IPV6, IPV6_V6ONLY, options->v6_only, is_v6},
        {SOL_SOCKET, SO_SNDBUF, options->send_buffer_size, options->send_buffer_size > 0},
        {SOL_SOCKET, SO_RCVBUF, options->receive_buffer_size, options->receive_buffer_size > 0},
        {IPPROTO_TCP, TCP_DEFER_ACCEPT, options->defer_accept_sec, options->defer_accept_sec > 0},
        {IPPROTO_TCP, TCP_FASTOPEN,
         options->fast_open < 0 ? backlog_of(options) : options->fast_open,
         options->fast_open != 0},
        {SOL_SOCKET, SO_INCOMING_CPU, options->incoming_cpu - 1, options->incoming_cpu > 0},
    };

    return torc__options_set(fd, list, ARRAY_LENGTH(list));
}

/* Which connections come to this socket, of all at its address. A matter of speed only. */
static void steer(int fd, const struct torc_listen_options *options)
{
    const int cpu = torc_shard_cpu();

    if (options->steer_by_cpu && options->incoming_cpu == 0 && cpu >= 0)
        (void)torc_setsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, sizeof(cpu));
}

int torc__tcp_bind(const struct torc_address *address, const struct torc_listen_options *options)
{
    const int fd = torc_socket(address->any.sa_family, SOCK_STREAM, 0);
    int result;

    if (fd < 0)
        return fd;
    result = prepare_listener(fd, address, options);
    if (result == 0) {
        steer(fd, options);
        result = torc_bind(fd, address);
    }
    if (result < 0) {
        (void)torc_close(fd);
        return result;
    }
    return fd;
}

int torc_tcp_listen(const struct torc_address *address, const struct torc_listen_options *options)
{
    static const struct torc_listen_options defaults;
    int result;
    int fd;

    if (options == NULL)
        options = &defaults;
    fd = torc__tcp_bind(address, options);
    if (fd < 0)
        return fd;
    result = torc_listen(fd, backlog_of(options));
    if (result < 0) {
        (void)torc_close(fd);
        return result;
    }
    return fd;
}

static int prepare_connection(int fd, const struct torc_connect_options *options)
{
    const struct torc__option list[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1, !options->delay},
        {SOL_SOCKET, SO_SNDBUF, options->send_buffer_size, options->send_buffer_size > 0},
        {SOL_SOCKET, SO_RCVBUF, options->receive_buffer_size, options->receive_buffer_size > 0},
    };
    const int on = 1;
    int result = torc__options_set(fd, list, ARRAY_LENGTH(list));

    /* Only faster: a kernel that cannot do it (ENOPROTOOPT) connects in the ordinary way. */
    if (result == 0 && options->fast_open)
        (void)torc_setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on));
    if (result == 0 && options->local != NULL)
        result = torc_bind(fd, options->local);
    return result;
}

static int connect_one(const struct torc_address *address,
                       const struct torc_connect_options *options)
{
    int fd = torc_socket(address->any.sa_family, SOCK_STREAM, 0);
    int result;

    if (fd < 0)
        return fd;
    result = address->any.sa_family == AF_UNIX ? 0 : prepare_connection(fd, options);
    if (result == 0)
        result = torc_connect(fd, address);
    if (result < 0) {
        (void)torc_close(fd);
        return result;
    }
    return fd;
}

int torc_tcp_connect(const struct torc_address *addresses, unsigned count,
                     const struct torc_connect_options *options)
{
    static const struct torc_connect_options defaults;
    int result = torc_cancelled();

    if (result != 0)
        return result;
    if (count == 0)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        result = connect_one(&addresses[i], options != NULL ? options : &defaults);
        if (result >= 0 || torc_cancelled() != 0)
            break;
    }
    return result;
}

int torc_tcp_set_nodelay(int fd, bool on)
{
    const int value = on;

    return torc_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value));
}

int torc_tcp_set_keepalive(int fd, int idle_sec, int interval_sec, int count)
{
    const struct torc__option list[] = {
        {IPPROTO_TCP, TCP_KEEPIDLE, idle_sec, idle_sec > 0},
        {IPPROTO_TCP, TCP_KEEPINTVL, interval_sec, interval_sec > 0},
        {IPPROTO_TCP, TCP_KEEPCNT, count, count > 0},
        {SOL_SOCKET, SO_KEEPALIVE, idle_sec > 0 || interval_sec > 0 || count > 0, true},
    };

    return torc__options_set(fd, list, ARRAY_LENGTH(list));
}

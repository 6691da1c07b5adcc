/* SPDX-License-Identifier: MIT */
/*
 * sim_net_tcp_test.c - TCP as a model: what a program on a simulated host sees of it.
 */
#include "unit/driver/sim_net_rig.h"
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#define SECOND NS_PER_SECOND

/* ---- Connecting ---- */

RIG_TEST(within_a_host_a_connection_is_there_at_once)
{
    struct sim_file *files[2];
    struct sim_file *listener;

    listener = rig_listen(rig->hosts[0], "127.0.0.1", 16);
    files[0] = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    EXPECT_UINT(torc__sim_file_poll(files[0]) & (POLLOUT | POLLHUP), ==, POLLOUT | POLLHUP);
    EXPECT_INT(rig_connect(files[0], "127.0.0.1", rig_local_port(listener)), ==, 0);
    EXPECT_INT(rig_connect(files[0], "127.0.0.1", rig_local_port(listener)), ==, -EISCONN);
    EXPECT_UINT(torc__sim_file_poll(listener), ==, POLLIN | POLLRDNORM);
    files[1] = rig_accept(listener);
    EXPECT_UINT(torc__sim_file_poll(listener), ==, 0);
    EXPECT_UINT(torc__sim_file_poll(files[0]), ==, POLLOUT | POLLWRNORM);
    torc__sim_file_release(listener);
    rig_close_pair(files);
    EXPECT_UINT(torc__sim_next_ns(rig->world), ==, UINT64_MAX);
}

RIG_TEST(between_hosts_a_connection_takes_its_time)
{
    struct sim_file *listener;
    struct sim_file *client;
    struct sim_file *server;
    struct sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    uint64_t start_ns;

    listener = rig_listen(rig->hosts[1], "0.0.0.0", 16);
    client = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    start_ns = rig->world->now_ns;
    EXPECT_INT(rig_connect(client, "10.0.0.2", rig_local_port(listener)), ==, -EINPROGRESS);
    EXPECT_INT(rig_connect(client, "10.0.0.2", rig_local_port(listener)), ==, -EALREADY);
    EXPECT_INT(client->ops->peer(client, (struct sockaddr *)&peer, &length), ==, -ENOTCONN);
    EXPECT_INT(rig_send(client, "x", 1), ==, -EAGAIN);
    EXPECT_UINT(torc__sim_file_poll(client), ==, 0);
    rig_wait(rig, client, POLLOUT);
    EXPECT_UINT(rig->world->now_ns, >=, start_ns + 2 * rig->world->chaos.net_latency.min_ns);
    EXPECT_INT(rig_option(client, SOL_SOCKET, SO_ERROR), ==, 0);
    EXPECT_INT(rig_connect(client, "10.0.0.2", rig_local_port(listener)), ==, 0);
    rig_wait(rig, listener, POLLIN);
    length = sizeof(peer);
    EXPECT_INT(listener->ops->accept(listener, (struct sockaddr *)&peer, &length, 0, &server), ==,
               0);
    EXPECT_UINT(length, ==, sizeof(struct sockaddr_in));
    EXPECT_UINT(rig_port_of(&peer), ==, rig_local_port(client));
    EXPECT_UINT(((struct sockaddr_in *)&peer)->sin_addr.s_addr, ==, htonl(0x0a000001));
    torc__sim_file_release(listener);
    torc__sim_file_release(client);
    torc__sim_file_release(server);
    rig_run(rig, 1000 * SECOND);
    EXPECT_UINT(torc__sim_next_ns(rig->world), ==, UINT64_MAX); /* Nothing is left of it. */
}

RIG_TEST(where_nobody_listens_a_connection_is_refused_and_another_may_be_tried)
{
    struct sim_file *listener;
    struct sim_file *file;

    EXPECT_INT(rig_port_error(rig, 0, "127.0.0.1", 9), ==, -ECONNREFUSED);
    EXPECT_INT(rig_port_error(rig, 0, "10.0.0.2", 9), ==, -ECONNREFUSED);
    EXPECT_INT(rig_port_error(rig, 0, "224.0.0.1", 9), ==, -ENETUNREACH);
    listener = rig_listen(rig->hosts[1], "10.0.0.2", 16);
    file = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    EXPECT_INT(rig_connect(file, "10.0.0.2", 9), ==, -EINPROGRESS);
    rig_wait(rig, file, POLLOUT);
    EXPECT_UINT(torc__sim_file_poll(file) & POLLERR, ==, POLLERR);
    EXPECT_INT(rig_connect(file, "10.0.0.2", 9), ==, -ECONNREFUSED);
    EXPECT_INT(rig_connect(file, "10.0.0.2", rig_local_port(listener)), ==, -EINPROGRESS);
    rig_wait(rig, file, POLLOUT);
    EXPECT_INT(rig_connect(file, "10.0.0.2", rig_local_port(listener)), ==, 0);
    torc__sim_file_release(file);
    torc__sim_file_release(listener);
}

RIG_TEST(nobody_answers_where_a_line_is_cut_or_a_host_is_down_or_there_is_none)
{
    struct sim_file *listener;
    uint64_t start_ns;

    listener = rig_listen(rig->hosts[1], "0.0.0.0", 16);
    start_ns = rig->world->now_ns;
    EXPECT_INT(rig_port_error(rig, 0, "10.9.9.9", 9), ==, -ETIMEDOUT);
    EXPECT_UINT(rig->world->now_ns - start_ns, ==, 127 * SECOND); /* As with Linux' six tries. */
    torc__sim_net_cut(rig->world, rig->hosts[0], rig->hosts[1], true);
    EXPECT(torc__sim_net_is_cut(rig->hosts[0], rig->hosts[1]));
    EXPECT_INT(rig_port_error(rig, 0, "10.0.0.2", rig_local_port(listener)), ==, -ETIMEDOUT);
    torc__sim_net_cut(rig->world, rig->hosts[0], rig->hosts[1], false);
    EXPECT_INT(rig_port_error(rig, 0, "10.0.0.2", rig_local_port(listener)), ==, 0);
    rig->hosts[1]->is_up = false;
    EXPECT_INT(rig_port_error(rig, 0, "10.0.0.2", rig_local_port(listener)), ==, -ETIMEDOUT);
    torc__sim_file_release(listener);
}

RIG_TEST(a_connect_goes_through_when_the_line_is_mended_in_time)
{
    struct sim_file *listener;
    struct sim_file *file;

    listener = rig_listen(rig->hosts[1], "0.0.0.0", 16);
    torc__sim_net_cut(rig->world, rig->hosts[1], rig->hosts[0], true); /* Answers get lost. */
    file = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    EXPECT_INT(rig_connect(file, "10.0.0.2", rig_local_port(listener)), ==, -EINPROGRESS);
    rig_run(rig, 5 * SECOND);
    EXPECT_UINT(torc__sim_file_poll(file), ==, 0);
    torc__sim_net_cut(rig->world, rig->hosts[1], rig->hosts[0], false);
    rig_wait(rig, file, POLLOUT);
    EXPECT_INT(rig_connect(file, "10.0.0.2", rig_local_port(listener)), ==, 0);
    rig_wait(rig, listener, POLLIN);
    torc__sim_file_release(file);
    torc__sim_file_release(listener);
}

RIG_TEST(a_full_queue_makes_others_wait_until_there_is_room)
{
    struct sim_file *listener;
    struct sim_file *clients[3];
    uint16_t port;

    listener = rig_listen(rig->hosts[0], "127.0.0.1", 0); /* As Linux has it, that is one. */
    port = rig_local_port(listener);
    for (int i = 0; i < 3; i++) {
        clients[i] = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
        EXPECT_INT(rig_connect(clients[i], "127.0.0.1", port), ==, i == 0 ? 0 : -EINPROGRESS);
    }
    rig_run(rig, 10 * SECOND);
    EXPECT_UINT(torc__sim_file_poll(clients[1]), ==, 0);
    torc__sim_file_release(rig_accept(listener));
    rig_wait(rig, listener, POLLIN);
    torc__sim_file_release(rig_accept(listener));
    rig_wait(rig, listener, POLLIN);
    torc__sim_file_release(rig_accept(listener));
    for (int i = 0; i < 3; i++)
        torc__sim_file_release(clients[i]);
    torc__sim_file_release(listener);
}

RIG_TEST(closing_a_listener_resets_those_who_wait_to_be_accepted)
{
    struct sim_file *listener;
    struct sim_file *client;
    char byte;

    listener = rig_listen(rig->hosts[0], "127.0.0.1", 5);
    client = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    EXPECT_INT(rig_connect(client, "127.0.0.1", rig_local_port(listener)), ==, 0);
    torc__sim_file_release(listener);
    EXPECT_INT(rig_recv(client, &byte, 1, 0), ==, -ECONNRESET);
    EXPECT_INT(rig_recv(client, &byte, 1, 0), ==, 0);
    torc__sim_file_release(client);
}

RIG_TEST(a_listener_that_is_shut_down_accepts_no_more)
{
    struct sim_file *listener;
    struct sim_file *file;

    listener = rig_listen(rig->hosts[0], "127.0.0.1", 5);
    EXPECT_INT(listener->ops->accept(listener, NULL, NULL, 0, &file), ==, -EAGAIN);
    EXPECT_INT(listener->ops->shutdown(listener, SHUT_WR), ==, 0);
    EXPECT_INT(listener->ops->shutdown(listener, SHUT_RDWR), ==, 0);
    EXPECT_INT(listener->ops->accept(listener, NULL, NULL, 0, &file), ==, -EINVAL);
    EXPECT_UINT(torc__sim_file_poll(listener) & POLLHUP, ==, POLLHUP);
    EXPECT_INT(rig_port_error(rig, 0, "127.0.0.1", rig_local_port(listener)), ==, -ECONNREFUSED);
    torc__sim_file_release(listener);
}

/* ---- Bytes ---- */

RIG_TEST(bytes_arrive_in_order_and_the_end_comes_after_them)
{
    struct sim_file *files[2];
    char data[16];

    rig_pair(rig, 0, 1, files);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, -EAGAIN);
    EXPECT_INT(rig_send(files[0], "hello", 5), ==, 5);
    EXPECT_INT(rig_send(files[0], " world", 6), ==, 6);
    EXPECT_INT(files[0]->ops->shutdown(files[0], SHUT_WR), ==, 0);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, -EPIPE);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, -EAGAIN);
    rig_wait(rig, files[1], POLLRDHUP);
    EXPECT_INT(rig_recv(files[1], data, 4, MSG_PEEK), ==, 4);
    EXPECT_INT(rig_recv(files[1], data, 7, 0), ==, 7);
    EXPECT_MEM(data, "hello w", 7);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, 4);
    EXPECT_MEM(data, "orld", 4);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, 0);
    EXPECT_INT(rig_send(files[1], "back", 4), ==, 4); /* The other half is still there. */
    rig_wait(rig, files[0], POLLIN);
    EXPECT_INT(rig_recv(files[0], data, sizeof(data), 0), ==, 4);
    rig_close_pair(files);
}

RIG_TEST(a_sender_is_stopped_by_a_receiver_that_takes_nothing)
{
    static char data[100000];
    struct sim_file *files[2];
    size_t sent = 0;
    size_t received = 0;
    ssize_t count;
    int unsent;
    int unread;

    rig_pair(rig, 0, 1, files);
    EXPECT_INT(rig_set(files[0], SOL_SOCKET, SO_SNDBUF, 10000), ==, 0);
    EXPECT_INT(rig_set(files[1], SOL_SOCKET, SO_RCVBUF, 20000), ==, 0);
    do {
        while ((count = rig_send(files[0], data, sizeof(data))) > 0)
            sent += (size_t)count;
        EXPECT_INT(count, ==, -EAGAIN);
        rig_run(rig, 10 * SECOND);
    } while (torc__sim_file_poll(files[0]) & POLLOUT);
    EXPECT_INT(files[0]->ops->ioctl(files[0], SIOCOUTQ, &unsent), ==, 0);
    EXPECT_INT(unsent, >, 6666); /* Less than a third is free. */
    EXPECT_INT(unsent, <=, 10000);
    EXPECT_INT(files[1]->ops->ioctl(files[1], FIONREAD, &unread), ==, 0);
    EXPECT_UINT(sent, ==, (size_t)unsent + (size_t)unread);
    rig_run(rig, 3600 * SECOND); /* It asks again and again, and does not give up. */
    do {
        while ((count = rig_recv(files[1], data, 777, 0)) > 0)
            received += (size_t)count;
        EXPECT_INT(count, ==, -EAGAIN);
        rig_run(rig, SECOND);
    } while (received < sent);
    EXPECT_UINT(received, ==, sent);
    EXPECT_UINT(torc__sim_file_poll(files[0]) & POLLOUT, ==, POLLOUT);
    rig_close_pair(files);
}

RIG_TEST(an_urgent_byte_goes_past_the_others)
{
    struct iovec vector = {(void *)"cd!", 3};
    const struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    struct sim_file *files[2];
    char data[8];

    rig_pair(rig, 0, 1, files);
    EXPECT_INT(rig_recv(files[1], data, 1, MSG_OOB), ==, -EINVAL);
    EXPECT_INT(rig_send(files[0], "ab", 2), ==, 2);
    EXPECT_INT(files[0]->ops->sendmsg(files[0], &message, MSG_OOB), ==, 3);
    EXPECT_INT(rig_send(files[0], "ef", 2), ==, 2);
    rig_wait(rig, files[1], POLLPRI);
    EXPECT_INT(rig_recv(files[1], data, 1, MSG_OOB), ==, 1);
    EXPECT_INT(data[0], ==, '!');
    EXPECT_UINT(torc__sim_file_poll(files[1]) & POLLPRI, ==, 0);
    rig_run(rig, SECOND);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, 6);
    EXPECT_MEM(data, "abcdef", 6);
    rig_close_pair(files);
}

/* ---- Ends that are not in order ---- */

RIG_TEST(closing_with_unread_bytes_or_without_lingering_resets)
{
    const struct linger at_once = {.l_onoff = 1};
    struct sim_file *files[2];
    struct sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    char byte;

    rig_pair(rig, 0, 0, files);
    EXPECT_INT(rig_send(files[0], "unread", 6), ==, 6);
    torc__sim_file_release(files[1]);
    EXPECT_UINT(torc__sim_file_poll(files[0]) & (POLLERR | POLLHUP), ==, POLLERR | POLLHUP);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, -ECONNRESET);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, -EPIPE);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, 0);
    EXPECT_INT(files[0]->ops->peer(files[0], (struct sockaddr *)&peer, &length), ==, -ENOTCONN);
    EXPECT_INT(files[0]->ops->shutdown(files[0], SHUT_WR), ==, -ENOTCONN);
    torc__sim_file_release(files[0]);
    rig_pair(rig, 0, 0, files);
    EXPECT_INT(rig_send(files[1], "read", 4), ==, 4);
    EXPECT_INT(
        files[1]->ops->set_option(files[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), ==,
        0);
    torc__sim_file_release(files[1]);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, 1); /* What has come can still be read. */
    EXPECT_INT(rig_option(files[0], SOL_SOCKET, SO_ERROR), ==, ECONNRESET);
    EXPECT_INT(rig_option(files[0], SOL_SOCKET, SO_ERROR), ==, 0);
    torc__sim_file_release(files[0]);
    EXPECT_UINT(torc__sim_next_ns(rig->world), ==, UINT64_MAX);
}

RIG_TEST(writing_to_a_peer_that_has_closed_is_epipe_the_second_time)
{
    struct sim_file *files[2];

    rig_pair(rig, 0, 1, files);
    torc__sim_file_release(files[1]);
    rig_wait(rig, files[0], POLLRDHUP);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
    rig_wait(rig, files[0], POLLERR);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, -EPIPE);
    torc__sim_file_release(files[0]);
}

RIG_TEST(what_was_written_before_the_close_arrives_whatever_gets_lost)
{
    struct sim_file *files[2];
    char data[8];

    rig_pair(rig, 0, 1, files);
    rig_run(rig, SECOND);
    torc__sim_net_drop_segments(rig->hosts[0], rig->hosts[1], 5);
    EXPECT_INT(rig_send(files[0], "last", 4), ==, 4);
    torc__sim_file_release(files[0]);
    rig_wait(rig, files[1], POLLIN);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, 4);
    rig_wait(rig, files[1], POLLIN);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, 0);
    torc__sim_net_drop_segments(rig->hosts[0], rig->hosts[1], 1); /* The last acknowledgement. */
    EXPECT_INT(files[1]->ops->shutdown(files[1], SHUT_WR), ==, 0);
    rig_run(rig, 10 * SECOND);
    EXPECT_INT(rig_option(files[1], SOL_SOCKET, SO_ERROR), ==, 0);
    torc__sim_file_release(files[1]);
    rig_run(rig, 1000 * SECOND);
    EXPECT_UINT(torc__sim_next_ns(rig->world), ==, UINT64_MAX);
}

/* ---- Ports and options ---- */

RIG_TEST(ports_are_shared_only_where_both_sides_have_agreed)
{
    struct sim_file *files[3];

    for (int i = 0; i < 3; i++)
        files[i] = rig_socket(rig->hosts[0], i == 2 ? AF_INET6 : AF_INET, SOCK_STREAM);
    EXPECT_INT(rig_bind(files[0], "192.0.2.1", 80), ==, -EADDRNOTAVAIL);
    EXPECT_INT(rig_bind(files[0], "127.0.0.1", 80), ==, 0);
    EXPECT_INT(rig_bind(files[0], "127.0.0.1", 81), ==, -EINVAL);
    EXPECT_INT(rig_bind(files[1], "0.0.0.0", 80), ==, -EADDRINUSE);
    EXPECT_INT(rig_bind(files[1], "127.0.0.2", 80), ==, 0);
    EXPECT_INT(rig_bind(files[2], "::", 80), ==, -EADDRINUSE); /* It would take IPv4 as well. */
    EXPECT_INT(rig_set(files[2], IPPROTO_IPV6, IPV6_V6ONLY, 1), ==, 0);
    EXPECT_INT(rig_bind(files[2], "::ffff:127.0.0.3", 80), ==, -EINVAL);
    EXPECT_INT(rig_bind(files[2], "::", 80), ==, 0);
    for (int i = 0; i < 3; i++)
        torc__sim_file_release(files[i]);
}

RIG_TEST(reuse_of_addresses_stops_at_a_listener_and_reuse_of_ports_does_not)
{
    struct sim_file *files[2];

    for (int i = 0; i < 2; i++) {
        files[i] = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
        EXPECT_INT(rig_set(files[i], SOL_SOCKET, SO_REUSEADDR, 1), ==, 0);
        EXPECT_INT(rig_bind(files[i], "0.0.0.0", 80), ==, 0);
    }
    EXPECT_INT(files[0]->ops->listen(files[0], 64), ==, 0);
    EXPECT_INT(files[1]->ops->listen(files[1], 64), ==, -EADDRINUSE);
    EXPECT_INT(rig_set(files[0], SOL_SOCKET, SO_REUSEPORT, 1), ==, 0);
    EXPECT_INT(rig_set(files[1], SOL_SOCKET, SO_REUSEPORT, 1), ==, 0);
    EXPECT_INT(files[1]->ops->listen(files[1], 64), ==, 0);
    for (int i = 0; i < 64; i++) { /* Each gets some of them. */
        struct sim_file *client = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);

        EXPECT_INT(rig_connect(client, "127.0.0.1", 80), ==, 0);
        torc__sim_file_release(client);
    }
    for (int i = 0; i < 2; i++) {
        EXPECT_UINT(torc__sim_file_poll(files[i]), ==, POLLIN | POLLRDNORM);
        torc__sim_file_release(files[i]);
    }
}

RIG_TEST(a_listener_for_ipv6_takes_ipv4_too)
{
    struct sim_file *listener;
    struct sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    struct sim_file *client;
    struct sim_file *server;

    listener = rig_listen(rig->hosts[0], "::", 5);
    client = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    EXPECT_INT(rig_connect(client, "127.0.0.1", rig_local_port(listener)), ==, 0);
    EXPECT_INT(listener->ops->accept(listener, (struct sockaddr *)&peer, &length, 0, &server), ==,
               0);
    EXPECT_INT(peer.ss_family, ==, AF_INET6);
    EXPECT(IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)&peer)->sin6_addr));
    torc__sim_file_release(server);
    torc__sim_file_release(client);
    client = rig_socket(rig->hosts[0], AF_INET6, SOCK_STREAM);
    EXPECT_INT(rig_connect(client, "::1", rig_local_port(listener)), ==, 0);
    torc__sim_file_release(client);
    torc__sim_file_release(listener);
}

RIG_TEST(a_deferred_accept_waits_for_data)
{
    struct sim_file *listener;
    struct sim_file *client;

    listener = rig_listen(rig->hosts[0], "127.0.0.1", 5);
    EXPECT_INT(rig_set(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, 30), ==, 0);
    client = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    EXPECT_INT(rig_connect(client, "127.0.0.1", rig_local_port(listener)), ==, 0);
    EXPECT_UINT(torc__sim_file_poll(listener), ==, 0);
    rig_run(rig, 10 * SECOND);
    EXPECT_UINT(torc__sim_file_poll(listener), ==, 0);
    EXPECT_INT(rig_send(client, "x", 1), ==, 1);
    EXPECT_UINT(torc__sim_file_poll(listener), ==, POLLIN | POLLRDNORM);
    torc__sim_file_release(client);
    torc__sim_file_release(listener);
}

RIG_TEST(a_listener_tells_of_its_queue_and_its_options_are_inherited)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);
    struct sim_file *listener;
    struct sim_file *client;
    struct sim_file *server;

    listener = rig_listen(rig->hosts[0], "127.0.0.1", 7);
    EXPECT_INT(rig_set(listener, SOL_SOCKET, SO_RCVBUF, 50000), ==, 0);
    EXPECT_INT(rig_set(listener, IPPROTO_TCP, TCP_NODELAY, 5), ==, 0);
    EXPECT_INT(rig_set(listener, IPPROTO_UDP, 103, 5), ==, -ENOPROTOOPT);
    client = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    EXPECT_INT(rig_connect(client, "127.0.0.1", rig_local_port(listener)), ==, 0);
    EXPECT_INT(listener->ops->get_option(listener, IPPROTO_TCP, TCP_INFO, &info, &length), ==, 0);
    EXPECT_INT(info.tcpi_state, ==, TCP_LISTEN);
    EXPECT_INT(info.tcpi_unacked, ==, 1);
    EXPECT_INT(info.tcpi_sacked, ==, 7);
    server = rig_accept(listener);
    EXPECT_INT(rig_option(server, SOL_SOCKET, SO_RCVBUF), ==, 100000);
    EXPECT_INT(rig_option(server, IPPROTO_TCP, TCP_NODELAY), ==, 1);
    EXPECT_INT(rig_option(server, SOL_SOCKET, SO_ACCEPTCONN), ==, 0);
    EXPECT_INT(rig_option(server, SOL_SOCKET, SO_DOMAIN), ==, AF_INET);
    torc__sim_file_release(server);
    torc__sim_file_release(client);
    torc__sim_file_release(listener);
}

/* SPDX-License-Identifier: MIT */
/*
 * sim_net_udp_test.c - datagrams between simulated hosts: what is lost, and what never is torn.
 */
#include "unit/driver/sim_net_rig.h"
#include <netinet/udp.h>
#include <sys/ioctl.h>

#define SECOND NS_PER_SECOND

static struct sim_file *open_at(struct sim_host *host, const char *ip)
{
    struct sim_file *file =
        rig_socket(host, strchr(ip, ':') != NULL ? AF_INET6 : AF_INET, SOCK_DGRAM);

    EXPECT_INT(rig_bind(file, ip, 0), ==, 0);
    return file;
}

static ssize_t send_to(struct sim_file *file, const char *ip, uint16_t port, const void *data,
                       size_t length)
{
    struct sockaddr_storage name = rig_address(ip, port);
    struct iovec vector = {(void *)(uintptr_t)data, length};
    const struct msghdr message = {
        .msg_name = &name, .msg_namelen = rig_length(&name), .msg_iov = &vector, .msg_iovlen = 1};

    return file->ops->sendmsg(file, &message, 0);
}

/* ---- Within a host ---- */

RIG_TEST(a_datagram_arrives_whole_or_cut_and_one_without_bytes_too)
{
    struct sim_file *from;
    struct sim_file *to;
    uint16_t port;
    char data[16];
    int unread;

    from = open_at(rig->hosts[0], "127.0.0.1");
    to = open_at(rig->hosts[0], "0.0.0.0");
    port = rig_local_port(to);
    EXPECT_UINT(torc__sim_file_poll(to), ==, POLLOUT | POLLWRNORM);
    EXPECT_INT(send_to(from, "127.0.0.1", port, "0123456789", 10), ==, 10);
    EXPECT_INT(send_to(from, "127.0.0.1", port, "", 0), ==, 0);
    EXPECT_INT(to->ops->ioctl(to, FIONREAD, &unread), ==, 0);
    EXPECT_INT(unread, ==, 10);
    EXPECT_UINT(torc__sim_file_poll(to) & POLLIN, ==, POLLIN);
    EXPECT_INT(rig_recv(to, data, 4, MSG_PEEK | MSG_TRUNC), ==, 10);
    EXPECT_INT(rig_recv(to, data, 4, 0), ==, 4);
    EXPECT_MEM(data, "0123", 4);
    EXPECT_INT(rig_recv(to, data, sizeof(data), 0), ==, 0);
    EXPECT_INT(rig_recv(to, data, sizeof(data), 0), ==, -EAGAIN);
    rig_close_pair((struct sim_file *[2]){from, to});
}

RIG_TEST(what_cannot_be_sent_gives_the_errors_of_the_system_call)
{
    static char large[70000];
    struct sim_file *file;

    file = open_at(rig->hosts[0], "0.0.0.0");
    EXPECT_INT(rig_send(file, "x", 1), ==, -EDESTADDRREQ);
    EXPECT_INT(send_to(file, "127.0.0.1", 0, "x", 1), ==, -EINVAL);
    EXPECT_INT(send_to(file, "127.0.0.1", 9, large, sizeof(large)), ==, -EMSGSIZE);
    EXPECT_INT(send_to(file, "127.0.0.1", 9, large, 65508), ==, -EMSGSIZE);
    EXPECT_INT(send_to(file, "127.0.0.1", 9, large, 65507), ==, 65507);
    EXPECT_INT(send_to(file, "::1", 9, "x", 1), ==, -EAFNOSUPPORT);
    EXPECT_INT(send_to(file, "127.255.255.255", 9, "x", 1), ==, -EACCES);
    EXPECT_INT(rig_set(file, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO), ==, 0);
    EXPECT_INT(send_to(file, "10.0.0.2", 9, large, 1473), ==, -EMSGSIZE);
    EXPECT_INT(send_to(file, "10.0.0.2", 9, large, 1472), ==, 1472);
    EXPECT_INT(file->ops->listen(file, 1), ==, -EOPNOTSUPP);
    torc__sim_file_release(file);
}

RIG_TEST(a_connected_socket_hears_its_peer_only_and_that_nobody_is_there)
{
    struct sim_file *files[3];
    char data[8];

    for (int i = 0; i < 3; i++)
        files[i] = open_at(rig->hosts[0], "127.0.0.1");
    EXPECT_INT(rig_connect(files[0], "127.0.0.1", rig_local_port(files[1])), ==, 0);
    EXPECT_INT(send_to(files[2], "127.0.0.1", rig_local_port(files[0]), "no", 2), ==, 2);
    EXPECT_INT(send_to(files[1], "127.0.0.1", rig_local_port(files[0]), "yes", 3), ==, 3);
    EXPECT_INT(rig_recv(files[0], data, sizeof(data), 0), ==, 3);
    EXPECT_INT(rig_recv(files[0], data, sizeof(data), 0), ==, -EAGAIN);
    torc__sim_file_release(files[1]);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
    EXPECT_UINT(torc__sim_file_poll(files[0]) & POLLERR, ==, POLLERR);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, -ECONNREFUSED);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
    EXPECT_INT(rig_recv(files[0], data, 1, 0), ==, -ECONNREFUSED);
    EXPECT_INT(rig_recv(files[0], data, 1, 0), ==, -EAGAIN);
    EXPECT_INT(files[2]->ops->shutdown(files[2], SHUT_RD), ==, -ENOTCONN);
    EXPECT_INT(files[0]->ops->shutdown(files[0], SHUT_RD), ==, 0);
    EXPECT_INT(rig_recv(files[0], data, 1, MSG_DONTWAIT), ==, -EAGAIN);
    EXPECT_INT(rig_recv(files[0], data, 1, 0), ==, 0);
    torc__sim_file_release(files[0]);
    torc__sim_file_release(files[2]);
}

RIG_TEST(a_full_socket_drops_and_counts)
{
    char control[256];
    char data[1000] = "";
    struct iovec vector = {data, sizeof(data)};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct sim_file *file;
    uint32_t dropped;

    file = open_at(rig->hosts[0], "127.0.0.1");
    EXPECT_INT(rig_set(file, SOL_SOCKET, SO_RCVBUF, 1), ==, 0);
    EXPECT_INT(rig_set(file, SOL_SOCKET, SO_RXQ_OVFL, 1), ==, 0);
    for (int i = 0; i < 10; i++)
        EXPECT_INT(send_to(file, "127.0.0.1", rig_local_port(file), data, sizeof(data)), ==, 1000);
    EXPECT_INT(rig_recv(file, data, sizeof(data), 0), ==, 1000);
    EXPECT_INT(rig_recv(file, data, sizeof(data), 0), ==, -EAGAIN);
    EXPECT_INT(send_to(file, "127.0.0.1", rig_local_port(file), data, sizeof(data)), ==, 1000);
    EXPECT_INT(file->ops->recvmsg(file, &message, 0), ==, 1000);
    EXPECT_UINT(message.msg_controllen, ==, CMSG_SPACE(sizeof(dropped)));
    EXPECT_INT(CMSG_FIRSTHDR(&message)->cmsg_type, ==, SO_RXQ_OVFL);
    memcpy(&dropped, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(dropped));
    EXPECT_UINT(dropped, ==, 9);
    torc__sim_file_release(file);
}

/* ---- What is told beside the bytes ---- */

/* Send from another host with a class, and receive; `told` is filled with the control data. */
static struct msghdr pass_with_class(struct rig *rig, const char *ip, struct sim_file *to,
                                     char *told, size_t room)
{
    const bool v4 = strchr(ip, ':') == NULL;
    struct sim_file *from = rig_socket(rig->hosts[1], v4 ? AF_INET : AF_INET6, SOCK_DGRAM);
    static char data[8];
    static struct iovec vector;
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = told, .msg_controllen = room};

    vector = (struct iovec){data, sizeof(data)};
    EXPECT_INT(rig_set(from, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, 0x2a), ==,
               0);
    EXPECT_INT(send_to(from, ip, rig_local_port(to), "abc", 3), ==, 3);
    rig_wait(rig, to, POLLIN);
    EXPECT_INT(to->ops->recvmsg(to, &message, 0), ==, 3);
    torc__sim_file_release(from);
    return message;
}

RIG_TEST(a_socket_is_told_what_it_asked_for_as_far_as_there_is_room)
{
    _Alignas(struct cmsghdr) char told[256];
    struct msghdr message;
    struct cmsghdr *header;
    struct in_pktinfo info;
    struct sim_file *to;

    to = open_at(rig->hosts[0], "0.0.0.0");
    EXPECT_INT(rig_set(to, IPPROTO_IP, IP_PKTINFO, 1), ==, 0);
    EXPECT_INT(rig_set(to, IPPROTO_IP, IP_RECVTOS, 1), ==, 0);
    EXPECT_INT(rig_set(to, SOL_SOCKET, SO_TIMESTAMPNS, 1), ==, 0);
    message = pass_with_class(rig, "10.0.0.1", to, told, sizeof(told));
    header = CMSG_FIRSTHDR(&message);
    EXPECT_INT(header->cmsg_type, ==, SO_TIMESTAMPNS);
    header = CMSG_NXTHDR(&message, header);
    EXPECT_INT(header->cmsg_type, ==, IP_PKTINFO);
    memcpy(&info, CMSG_DATA(header), sizeof(info));
    EXPECT_UINT(info.ipi_addr.s_addr, ==, htonl(0x0a000001));
    EXPECT_UINT(info.ipi_spec_dst.s_addr, ==, htonl(0x0a000001));
    EXPECT_INT(info.ipi_ifindex, ==, 2);
    header = CMSG_NXTHDR(&message, header);
    EXPECT_INT(header->cmsg_type, ==, IP_TOS);
    EXPECT_INT(*CMSG_DATA(header), ==, 0x2a);
    EXPECT(CMSG_NXTHDR(&message, header) == NULL);
    message = pass_with_class(rig, "10.0.0.1", to, told, CMSG_SPACE(sizeof(struct timespec)));
    EXPECT_INT(message.msg_flags, ==, MSG_CTRUNC);
    EXPECT_UINT(message.msg_controllen, ==, CMSG_SPACE(sizeof(struct timespec)));
    torc__sim_file_release(to);
}

RIG_TEST(a_socket_of_ipv6_is_told_of_both_protocols)
{
    _Alignas(struct cmsghdr) char told[256];
    struct msghdr message;
    struct cmsghdr *header;
    struct in6_pktinfo info;
    struct sim_file *to;
    int number;

    to = open_at(rig->hosts[0], "::");
    EXPECT_INT(rig_set(to, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1), ==, 0);
    EXPECT_INT(rig_set(to, IPPROTO_IPV6, IPV6_RECVTCLASS, 1), ==, 0);
    EXPECT_INT(rig_set(to, IPPROTO_IP, IP_RECVTOS, 1), ==, 0);
    message = pass_with_class(rig, "fd00::1", to, told, sizeof(told));
    header = CMSG_FIRSTHDR(&message);
    EXPECT_INT(header->cmsg_type, ==, IPV6_PKTINFO);
    header = CMSG_NXTHDR(&message, header);
    EXPECT_INT(header->cmsg_type, ==, IPV6_TCLASS);
    memcpy(&number, CMSG_DATA(header), sizeof(number));
    EXPECT_INT(number, ==, 0x2a);
    message = pass_with_class(rig, "10.0.0.1", to, told, sizeof(told));
    header = CMSG_FIRSTHDR(&message);
    memcpy(&info, CMSG_DATA(header), sizeof(info));
    EXPECT(IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr));
    header = CMSG_NXTHDR(&message, header);
    EXPECT_INT(header->cmsg_level, ==, IPPROTO_IP);
    EXPECT_INT(header->cmsg_type, ==, IP_TOS);
    torc__sim_file_release(to);
}

static ssize_t send_from(struct sim_file *file, uint16_t port, const char *source,
                         unsigned interface)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control = {.header = {CMSG_LEN(sizeof(struct in_pktinfo)), IPPROTO_IP, IP_PKTINFO}};
    struct in_pktinfo info = {.ipi_ifindex = (int)interface};
    struct sockaddr_storage name = rig_address("127.0.0.1", port);
    struct iovec vector = {(void *)"x", 1};
    const struct msghdr message = {.msg_name = &name,
                                   .msg_namelen = sizeof(struct sockaddr_in),
                                   .msg_iov = &vector,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof(control)};

    EXPECT_INT(inet_pton(AF_INET, source, &info.ipi_spec_dst), ==, 1);
    memcpy(CMSG_DATA(&control.header), &info, sizeof(info));
    return file->ops->sendmsg(file, &message, 0);
}

RIG_TEST(a_message_may_choose_where_it_comes_from)
{
    struct sockaddr_storage peer;
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_name = &peer, .msg_namelen = sizeof(peer), .msg_iov = &vector, .msg_iovlen = 1};
    struct sim_file *from;
    struct sim_file *to;

    from = open_at(rig->hosts[0], "0.0.0.0");
    to = open_at(rig->hosts[0], "127.0.0.1");
    EXPECT_INT(send_from(from, rig_local_port(to), "192.0.2.1", 0), ==, -EINVAL);
    EXPECT_INT(send_from(from, rig_local_port(to), "0.0.0.0", 99), ==, -ENODEV);
    EXPECT_INT(send_from(from, rig_local_port(to), "127.0.0.5", 1), ==, 1);
    EXPECT_INT(to->ops->recvmsg(to, &message, 0), ==, 1);
    EXPECT_UINT(message.msg_namelen, ==, sizeof(struct sockaddr_in));
    EXPECT_UINT(((struct sockaddr_in *)&peer)->sin_addr.s_addr, ==, htonl(0x7f000005));
    rig_close_pair((struct sim_file *[2]){from, to});
}

/* ---- Segments ---- */

static void expect_lengths(struct rig *rig, struct sim_file *file, const ssize_t *lengths,
                           int count)
{
    static char data[65536];

    for (int i = 0; i < count; i++) {
        rig_wait(rig, file, POLLIN);
        EXPECT_INT(rig_recv(file, data, sizeof(data), 0), ==, lengths[i]);
    }
    rig_run(rig, SECOND);
    EXPECT_INT(rig_recv(file, data, sizeof(data), 0), ==, -EAGAIN);
}

RIG_TEST(one_send_becomes_many_datagrams_unless_the_receiver_wants_it_whole)
{
    static char data[2500];
    struct sim_file *from;
    struct sim_file *to[2];

    from = open_at(rig->hosts[0], "0.0.0.0");
    to[0] = open_at(rig->hosts[0], "127.0.0.1");
    to[1] = open_at(rig->hosts[1], "0.0.0.0");
    EXPECT_INT(rig_set(from, IPPROTO_UDP, UDP_SEGMENT, 1000), ==, 0);
    EXPECT_INT(send_to(from, "127.0.0.1", rig_local_port(to[0]), data, 2500), ==, 2500);
    expect_lengths(rig, to[0], (const ssize_t[]){1000, 1000, 500}, 3);
    EXPECT_INT(send_to(from, "10.0.0.2", rig_local_port(to[1]), data, 1000), ==, 1000);
    expect_lengths(rig, to[1], (const ssize_t[]){1000}, 1);
    EXPECT_INT(rig_set(to[0], IPPROTO_UDP, UDP_GRO, 1), ==, 0);
    EXPECT_INT(send_to(from, "127.0.0.1", rig_local_port(to[0]), data, 2500), ==, 2500);
    expect_lengths(rig, to[0], (const ssize_t[]){2500}, 1);
    EXPECT_INT(rig_set(from, IPPROTO_UDP, UDP_SEGMENT, 1500), ==, 0);
    EXPECT_INT(send_to(from, "10.0.0.2", rig_local_port(to[1]), data, 2500), ==, -EINVAL);
    EXPECT_INT(rig_set(from, IPPROTO_UDP, UDP_SEGMENT, 10), ==, 0);
    EXPECT_INT(send_to(from, "127.0.0.1", rig_local_port(to[0]), data, 2500), ==, -EINVAL);
    torc__sim_file_release(from);
    rig_close_pair(to);
}

/* ---- Groups ---- */

static int change_group(struct sim_file *file, int name, const char *group, const char *source,
                        unsigned interface)
{
    struct group_source_req with_source = {.gsr_interface = interface};
    struct group_req request = {.gr_interface = interface};

    request.gr_group = rig_address(group, 0);
    if (source == NULL)
        return file->ops->set_option(file, IPPROTO_IP, name, &request, sizeof(request));
    with_source.gsr_group = request.gr_group;
    with_source.gsr_source = rig_address(source, 0);
    return file->ops->set_option(file, IPPROTO_IP, name, &with_source, sizeof(with_source));
}

RIG_TEST(members_on_all_hosts_receive_what_is_sent_to_their_group)
{
    struct sim_file *files[RIG_HOSTS];
    struct sim_file *from;
    char data[4];

    from = open_at(rig->hosts[0], "0.0.0.0");
    for (int i = 0; i < RIG_HOSTS; i++) {
        files[i] = rig_socket(rig->hosts[i], AF_INET, SOCK_DGRAM);
        EXPECT_INT(rig_bind(files[i], "0.0.0.0", 1234), ==, 0);
    }
    EXPECT_INT(change_group(files[0], MCAST_JOIN_GROUP, "10.1.1.1", NULL, 0), ==, -EINVAL);
    EXPECT_INT(change_group(files[0], MCAST_JOIN_GROUP, "239.1.1.1", NULL, 9), ==, -ENODEV);
    EXPECT_INT(change_group(files[0], MCAST_JOIN_GROUP, "239.1.1.1", NULL, 0), ==, 0);
    EXPECT_INT(change_group(files[0], MCAST_JOIN_GROUP, "239.1.1.1", NULL, 2), ==, -EADDRINUSE);
    EXPECT_INT(change_group(files[1], MCAST_JOIN_GROUP, "239.1.1.1", NULL, 0), ==, 0);
    EXPECT_INT(send_to(from, "239.1.1.1", 1234, "abc", 3), ==, 3);
    rig_run(rig, SECOND);
    EXPECT_INT(rig_recv(files[0], data, sizeof(data), 0), ==, 3);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, 3);
    EXPECT_INT(rig_recv(files[2], data, sizeof(data), 0), ==, -EAGAIN);
    EXPECT_INT(change_group(files[1], MCAST_LEAVE_GROUP, "239.1.1.1", NULL, 0), ==, 0);
    EXPECT_INT(change_group(files[1], MCAST_LEAVE_GROUP, "239.1.1.1", NULL, 0), ==, -EADDRNOTAVAIL);
    EXPECT_INT(rig_set(from, IPPROTO_IP, IP_MULTICAST_LOOP, 0), ==, 0);
    EXPECT_INT(send_to(from, "239.1.1.1", 1234, "abc", 3), ==, 3);
    rig_run(rig, SECOND);
    for (int i = 0; i < RIG_HOSTS; i++) {
        EXPECT_INT(rig_recv(files[i], data, sizeof(data), 0), ==, -EAGAIN);
        torc__sim_file_release(files[i]);
    }
    torc__sim_file_release(from);
}

RIG_TEST(a_member_may_want_to_hear_one_source_only)
{
    struct sim_file *from[2];
    struct sim_file *to;
    char data[8];

    to = rig_socket(rig->hosts[2], AF_INET, SOCK_DGRAM);
    EXPECT_INT(rig_bind(to, "0.0.0.0", 1234), ==, 0);
    EXPECT_INT(change_group(to, MCAST_JOIN_SOURCE_GROUP, "239.1.1.1", "10.0.0.2", 0), ==, 0);
    EXPECT_INT(change_group(to, MCAST_JOIN_SOURCE_GROUP, "239.1.1.1", "10.0.0.2", 0), ==,
               -EADDRNOTAVAIL);
    EXPECT_INT(change_group(to, MCAST_JOIN_GROUP, "239.1.1.1", NULL, 0), ==, -EINVAL);
    for (int i = 0; i < 2; i++) {
        from[i] = open_at(rig->hosts[i], "0.0.0.0");
        EXPECT_INT(send_to(from[i], "239.1.1.1", 1234, "abcd", (size_t)i + 1), ==, i + 1);
    }
    rig_run(rig, SECOND);
    EXPECT_INT(rig_recv(to, data, sizeof(data), 0), ==, 2);
    EXPECT_INT(rig_recv(to, data, sizeof(data), 0), ==, -EAGAIN);
    rig_close_pair(from);
    torc__sim_file_release(to);
}

RIG_TEST(a_broadcast_reaches_all_hosts_if_it_is_allowed)
{
    struct sim_file *files[RIG_HOSTS];
    char data[4];

    for (int i = 0; i < RIG_HOSTS; i++) {
        files[i] = rig_socket(rig->hosts[i], AF_INET, SOCK_DGRAM);
        EXPECT_INT(rig_bind(files[i], "0.0.0.0", 1234), ==, 0);
    }
    EXPECT_INT(rig_set(files[0], SOL_SOCKET, SO_BROADCAST, 1), ==, 0);
    EXPECT_INT(send_to(files[0], "255.255.255.255", 1234, "abc", 3), ==, 3);
    EXPECT_INT(send_to(files[0], "127.255.255.255", 1234, "ab", 2), ==, 2);
    rig_run(rig, SECOND);
    for (int i = 0; i < RIG_HOSTS; i++) {
        EXPECT_INT(rig_recv(files[i], data, sizeof(data), 0), ==, 3);
        EXPECT_INT(rig_recv(files[i], data, sizeof(data), 0), ==, i == 0 ? 2 : -EAGAIN);
        torc__sim_file_release(files[i]);
    }
}

/* ---- Between hosts, with chaos ---- */

RIG_TEST(a_scenario_can_drop_the_next_ones_and_cut_the_line)
{
    struct sim_file *from;
    struct sim_file *to;
    char data[8];

    from = open_at(rig->hosts[0], "0.0.0.0");
    to = open_at(rig->hosts[1], "0.0.0.0");
    EXPECT_INT(rig_connect(from, "10.0.0.2", rig_local_port(to)), ==, 0);
    torc__sim_net_drop_datagrams(rig->hosts[0], rig->hosts[1], 2);
    for (size_t i = 1; i <= 3; i++)
        EXPECT_INT(rig_send(from, "abc", i), ==, i);
    rig_run(rig, SECOND);
    EXPECT_INT(rig_recv(to, data, sizeof(data), 0), ==, 3);
    EXPECT_INT(rig_recv(to, data, sizeof(data), 0), ==, -EAGAIN);
    EXPECT_INT(rig_send(from, "abc", 3), ==, 3);
    torc__sim_net_cut(rig->world, rig->hosts[0], rig->hosts[1], true); /* It is under way. */
    rig_run(rig, SECOND);
    EXPECT_INT(rig_recv(to, data, sizeof(data), 0), ==, -EAGAIN);
    rig_close_pair((struct sim_file *[2]){from, to});
}

TEST(chaos_finds_no_buffers_for_what_leaves_the_host)
{
    struct torc_sim_chaos chaos = rig_calm();
    struct sim_file *file;
    struct rig rig;

    chaos.faults_max = 1;
    chaos.send_error_rate = 1000000;
    rig_open_with(&rig, 1, &chaos);
    file = open_at(rig.hosts[0], "0.0.0.0");
    EXPECT_INT(send_to(file, "127.0.0.1", 9, "x", 1), ==, 1);
    EXPECT_INT(send_to(file, "10.0.0.2", 9, "x", 1), ==, -ENOBUFS);
    EXPECT_INT(send_to(file, "10.0.0.2", 9, "x", 1), ==, 1); /* No more faults than allowed. */
    torc__sim_file_release(file);
    rig_close(&rig);
}

#define DATAGRAMS 200u

struct tally {
    unsigned count[DATAGRAMS];
    unsigned received;
    unsigned twice;
    unsigned late;
    unsigned last;
};

/* Datagram i has i bytes and its number in front, and each byte is (i % 251). */
static void make_datagram(unsigned char *data, unsigned number)
{
    memset(data, (int)(number % 251), number + sizeof(number));
    memcpy(data, &number, sizeof(number));
}

static void take_all(struct sim_file *file, struct tally *tally)
{
    unsigned char expected[DATAGRAMS + sizeof(unsigned)];
    unsigned char data[1000];
    ssize_t length;

    while ((length = rig_recv(file, data, sizeof(data), 0)) >= 0) {
        unsigned number;

        memcpy(&number, data, sizeof(number));
        EXPECT_UINT(number, <, DATAGRAMS);
        make_datagram(expected, number);
        EXPECT_INT(length, ==, number + sizeof(number));
        EXPECT_MEM(data, expected, (size_t)length);
        tally->twice += tally->count[number]++ > 0;
        tally->late += number < tally->last;
        tally->last = number;
        tally->received++;
    }
    EXPECT_INT(length, ==, -EAGAIN);
}

static struct tally pass_many(uint64_t seed, const struct torc_sim_chaos *chaos)
{
    unsigned char data[DATAGRAMS + sizeof(unsigned)];
    struct tally tally = {.received = 0};
    struct sim_file *from;
    struct sim_file *to;
    struct rig rig;

    rig_open_with(&rig, seed, chaos);
    from = open_at(rig.hosts[0], "0.0.0.0");
    to = open_at(rig.hosts[1], "0.0.0.0");
    EXPECT_INT(rig_connect(from, "10.0.0.2", rig_local_port(to)), ==, 0);
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        make_datagram(data, i);
        EXPECT_INT(rig_send(from, data, i + sizeof(i)), ==, i + sizeof(i));
        rig_run(&rig, torc__sim_below(rig.world, 1000000));
        take_all(to, &tally);
    }
    rig_run(&rig, 10 * SECOND);
    take_all(to, &tally);
    rig_close_pair((struct sim_file *[2]){from, to});
    rig_close(&rig);
    return tally;
}

TEST(datagrams_are_never_torn_and_are_lost_doubled_and_late_only_where_the_chaos_says_so)
{
    const unsigned seeds = harness_scaled(100);
    struct tally total = {.received = 0};

    for (unsigned seed = 0; seed < seeds; seed++) {
        struct torc_sim_chaos chaos = rig_calm();
        struct tally tally;

        chaos.faults_max = UINT64_MAX;
        chaos.net_latency = (struct torc_sim_range){100000, 100000};
        tally = pass_many(seed, &chaos);
        EXPECT_UINT(tally.received, ==, DATAGRAMS);
        EXPECT_UINT(tally.twice + tally.late, ==, 0);
        chaos.net_latency.max_ns = 10000000;
        chaos.datagram_loss_rate = 100000;
        chaos.datagram_duplicate_rate = 100000;
        chaos.datagram_reorder_rate = 100000;
        tally = pass_many(seed, &chaos);
        total.received += tally.received;
        total.twice += tally.twice;
        total.late += tally.late;
    }
    EXPECT_UINT(total.received - total.twice, <, seeds * DATAGRAMS);
    EXPECT_UINT(total.received - total.twice, >, seeds * DATAGRAMS / 2);
    EXPECT_UINT(total.twice, >, 0);
    EXPECT_UINT(total.late, >, 0);
}

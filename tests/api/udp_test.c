/* SPDX-License-Identifier: MIT */
/*
 * udp_test.c - what UDP sockets can be told before they are bound, and multicast.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <limits.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <string.h>
#include <time.h>
#include <torc/torc.h>
#include <unistd.h>

static int open_at(const char *text, const struct torc_udp_options *options,
                   struct torc_address *ret_address)
{
    const struct torc_address local = harness_address(text);
    const int fd = torc_udp_open(&local, options);

    if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
        return fd; /* No IPv6 here. */
    EXPECT_MSG(fd >= 0, "%s: %s", text, torc_strerror(fd));
    EXPECT_INT(torc_local_address(fd, ret_address), ==, 0);
    return fd;
}

static int option_of(int fd, int level, int option)
{
    socklen_t length = sizeof(int);
    int value = -1;

    EXPECT_INT(torc_getsockopt(fd, level, option, &value, &length), ==, 0);
    return value;
}

FIBER_TEST(options_reach_the_socket_before_it_is_bound)
{
    const struct torc_udp_options options = {
        .reuse_address = true,
        .reuse_port = true,
        .broadcast = true,
        .dont_fragment = true,
        .tell_local = true,
        .tell_traffic_class = true,
        .tell_time = true,
        .tell_drops = true,
        .merge_received = true,
        .segment_size = 512,
        .traffic_class = 0x28,
        .hop_limit = 7,
        .interface_index = if_nametoindex("lo"),
        .send_buffer_size = 40000,
        .receive_buffer_size = 50000,
    };
    struct torc_address address;
    const int fd = open_at("127.0.0.1:0", &options, &address);
    const int twin = torc_udp_open(&address, &options); /* The port can be shared. */

    EXPECT_INT(twin, >=, 0);
    EXPECT_INT(torc_udp_open(&address, NULL), ==, -EADDRINUSE);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_REUSEADDR), ==, 1);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_REUSEPORT), ==, 1);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_BROADCAST), ==, 1);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_SNDBUF), ==, 2 * 40000); /* As the kernel does. */
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_RCVBUF), ==, 2 * 50000);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_TIMESTAMPNS), ==, 1);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_RXQ_OVFL), ==, 1);
    EXPECT_INT(option_of(fd, IPPROTO_IP, IP_MTU_DISCOVER), ==, IP_PMTUDISC_DO);
    EXPECT_INT(option_of(fd, IPPROTO_IP, IP_PKTINFO), ==, 1);
    EXPECT_INT(option_of(fd, IPPROTO_IP, IP_RECVTOS), ==, 1);
    EXPECT_INT(option_of(fd, IPPROTO_IP, IP_TOS), ==, 0x28);
    EXPECT_INT(option_of(fd, IPPROTO_IP, IP_TTL), ==, 7);
    EXPECT_INT(option_of(fd, SOL_SOCKET, SO_BINDTOIFINDEX), ==, if_nametoindex("lo"));
    EXPECT_INT(option_of(fd, SOL_UDP, UDP_GRO), ==, 1);
    EXPECT_INT(option_of(fd, SOL_UDP, UDP_SEGMENT), ==, 512);
    torc_close(twin);
    torc_close(fd);
}

FIBER_TEST(options_of_ipv6_sockets_hold_for_both_protocols)
{
    const struct torc_udp_options options = {
        .dont_fragment = true,
        .tell_local = true,
        .tell_traffic_class = true,
        .traffic_class = 0x28,
        .hop_limit = 7,
    };
    const struct torc_udp_options only = {.v6_only = true};
    struct torc_address address;
    int fd = open_at("[::]:0", &options, &address);

    if (fd < 0)
        return;
    EXPECT_INT(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), ==, 0);
    EXPECT_INT(option_of(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO), ==, 1);
    EXPECT_INT(option_of(fd, IPPROTO_IPV6, IPV6_RECVTCLASS), ==, 1);
    EXPECT_INT(option_of(fd, IPPROTO_IP, IP_RECVTOS), ==, 1);
    EXPECT_INT(option_of(fd, IPPROTO_IPV6, IPV6_TCLASS), ==, 0x28);
    EXPECT_INT(option_of(fd, IPPROTO_IP, IP_TOS), ==, 0x28);
    EXPECT_INT(option_of(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS), ==, 7);
    EXPECT_INT(option_of(fd, IPPROTO_IP, IP_TTL), ==, 7);
    EXPECT_INT(option_of(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER), ==, IPV6_PMTUDISC_DO);
    EXPECT_INT(option_of(fd, IPPROTO_IP, IP_MTU_DISCOVER), ==, IP_PMTUDISC_DO);
    torc_close(fd);
    fd = open_at("[::]:0", &only, &address);
    EXPECT_INT(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), ==, 1);
    torc_close(fd);
}

FIBER_TEST(a_socket_that_cannot_be_opened_leaves_no_descriptor)
{
    const struct torc_address foreign = harness_address("192.0.2.1:1");
    const struct torc_address path = harness_address("/nowhere");
    const unsigned fds = harness_open_fds();

    EXPECT_INT(torc_udp_open(&foreign, NULL), ==, -EADDRNOTAVAIL);
    EXPECT_INT(torc_udp_open(&path, NULL), ==, -EINVAL);
    EXPECT_INT(torc_udp_connect(&path, NULL), ==, -EINVAL);
    EXPECT_UINT(harness_open_fds(), ==, fds);
}

/* Send one datagram from a new socket like that at `text`, and receive it with all there is. */
static void pass(const char *text, const struct torc_datagram *sent,
                 struct torc_datagram *ret_received)
{
    const struct torc_udp_options options = {
        .tell_local = true, .tell_traffic_class = true, .tell_time = true, .tell_drops = true};
    struct torc_datagram copy = *sent;
    struct torc_address address;
    const int server = open_at(text, &options, &address);
    const int client = open_at(text, NULL, &copy.local);

    copy.peer = address;
    copy.local.length = 0;
    EXPECT_INT(torc_datagram_send(client, &copy, 0), ==, copy.length);
    EXPECT_INT(torc_datagram_recv(server, ret_received, 0), ==, copy.length);
    EXPECT(!ret_received->control_lost);
    /* The same again by a batch. */
    EXPECT_INT(torc_datagram_send_batch(client, &copy, 1), ==, 1);
    EXPECT_INT(torc_datagram_recv_batch(server, ret_received, 1), ==, 1);
    torc_close(client);
    torc_close(server);
}

static void check_what_is_told(const char *text)
{
    char data[4] = "abc";
    const struct torc_datagram sent = {
        .data = data, .length = 3, .traffic_class = 0x28 | TORC_ECN_0};
    struct torc_datagram received = {.data = data, .size = sizeof(data), .leave_by = 77};
    struct torc_address local = harness_address(text);
    const uint64_t now = (uint64_t)time(NULL);

    pass(text, &sent, &received);
    EXPECT_UINT(received.traffic_class & TORC_ECN_MASK, ==, TORC_ECN_0);
    EXPECT_UINT(received.traffic_class, ==, 0x28 | TORC_ECN_0);
    EXPECT(torc_address_equal(&received.local, &local));
    EXPECT_UINT(received.arrived_at, ==, if_nametoindex("lo"));
    EXPECT_UINT(received.leave_by, ==, 77);                           /* Receiving keeps it. */
    EXPECT_UINT(received.timestamp_ns / TORC_SECOND, >=, now - 3600); /* Should a clock be set. */
    EXPECT_UINT(received.timestamp_ns / TORC_SECOND, <=, now + 3600);
    EXPECT_UINT(received.dropped_total, ==, 0);
    EXPECT_UINT(received.segment_size, ==, 0);
}

static bool has_ipv6(void)
{
    struct torc_address address;
    const int fd = open_at("[::1]:0", NULL, &address);

    if (fd >= 0)
        torc_close(fd);
    return fd >= 0;
}

FIBER_TEST(a_socket_tells_of_a_datagram_what_it_was_opened_to_tell)
{
    check_what_is_told("127.0.0.1:0");
    if (has_ipv6())
        check_what_is_told("[::1]:0");
}

static struct torc_address mapped(uint8_t last, uint16_t port)
{
    struct torc_address address = harness_address("[::ffff:127.0.0.1]:0");

    address.v6.sin6_addr.s6_addr[15] = last;
    address.v6.sin6_port = htons(port);
    return address;
}

FIBER_TEST(an_ipv6_socket_answers_ipv4_from_where_it_was_asked)
{
    const struct torc_udp_options options = {.tell_local = true, .tell_traffic_class = true};
    char data[4] = "abc";
    struct torc_datagram datagram = {.data = data, .size = sizeof(data)};
    struct torc_address server_address;
    struct torc_address client_address;
    struct torc_address target = harness_address("127.0.0.9:0");
    const int server = has_ipv6() ? open_at("[::]:0", &options, &server_address) : -1;
    const int client = open_at("127.0.0.1:0", &options, &client_address);
    const struct torc_address local = mapped(9, 0);
    const struct torc_address peer = mapped(1, torc_address_port(&client_address));

    if (server >= 0) {
        target.v4.sin_port = htons(torc_address_port(&server_address));
        EXPECT_INT(torc_sendto(client, "abc", 3, 0, &target), ==, 3);
        EXPECT_INT(torc_datagram_recv(server, &datagram, 0), ==, 3);
        EXPECT(torc_address_equal(&datagram.local, &local));
        EXPECT(torc_address_equal(&datagram.peer, &peer));
        EXPECT(!datagram.has_multicast_address);
        datagram.traffic_class = TORC_ECN_1;
        datagram.leave_by = if_nametoindex("lo");
        EXPECT_INT(torc_datagram_send(server, &datagram, 0), ==, 3);
        EXPECT_INT(torc_datagram_recv(client, &datagram, 0), ==, 3);
        EXPECT(torc_address_equal(&datagram.peer, &target));
        EXPECT_UINT(datagram.traffic_class, ==, TORC_ECN_1);
        torc_close(server);
    }
    torc_close(client);
}

FIBER_TEST(an_interface_can_be_chosen_for_a_connected_socket)
{
    static const char *const texts[] = {"127.0.0.1:0", "[::1]:0"};

    for (int i = 0; i < (has_ipv6() ? 2 : 1); i++) {
        char data[4] = "abc";
        struct torc_datagram datagram = {
            .data = data, .size = 4, .length = 3, .leave_by = if_nametoindex("lo")};
        struct torc_address address;
        const int server = open_at(texts[i], NULL, &address);
        const int client = torc_udp_connect(&address, NULL);

        EXPECT_INT(torc_datagram_send(client, &datagram, 0), ==, 3);
        EXPECT_INT(torc_recv(server, data, sizeof(data), 0), ==, 3);
        datagram.leave_by = 0x7ffffff;
        EXPECT_INT(torc_datagram_send(client, &datagram, 0), <, 0);
        torc_close(client);
        torc_close(server);
    }
}

FIBER_TEST(a_source_address_that_is_not_ours_is_an_error)
{
    char data[4] = "abc";
    struct torc_datagram datagram = {.data = data, .length = 3};
    const int fd = open_at("0.0.0.0:0", NULL, &datagram.peer);

    datagram.peer = harness_address("127.0.0.1:9");
    datagram.local = harness_address("192.0.2.1:0");
    EXPECT_INT(torc_datagram_send(fd, &datagram, 0), <, 0);
    torc_close(fd);
}

FIBER_TEST(drops_are_counted_where_asked_for)
{
    const struct torc_udp_options options = {.tell_drops = true, .receive_buffer_size = 1};
    static char data[1000];
    struct torc_datagram datagram = {.data = data, .size = sizeof(data)};
    struct torc_address address;
    const int fd = open_at("127.0.0.1:0", &options, &address);

    do { /* A datagram knows of those that were dropped before it was queued. */
        for (int i = 0; i < 100; i++)
            EXPECT_INT(torc_sendto(fd, data, sizeof(data), 0, &address), ==, sizeof(data));
        EXPECT_INT(torc_datagram_recv(fd, &datagram, 0), ==, sizeof(data));
    } while (datagram.dropped_total == 0);
    torc_close(fd);
}

/* ---- Segments ---- */

#define SEGMENTS     10
#define SEGMENT_SIZE 1000

static void send_segments(int fd, const struct torc_address *peer)
{
    static char data[SEGMENTS * SEGMENT_SIZE - 1]; /* The last one is shorter. */
    const struct torc_datagram datagram = {
        .data = data, .length = sizeof(data), .segment_size = SEGMENT_SIZE, .peer = *peer};

    harness_pattern_fill(data, sizeof(data), 0);
    EXPECT_INT(torc_datagram_send(fd, &datagram, 0), ==, sizeof(data));
}

FIBER_TEST(one_send_becomes_many_datagrams)
{
    struct torc_address address;
    const int fd = open_at("127.0.0.1:0", NULL, &address);
    char data[SEGMENT_SIZE + 1];

    send_segments(fd, &address);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        const ssize_t length = torc_recv(fd, data, sizeof(data), 0);

        EXPECT_INT(length, ==, SEGMENT_SIZE - (i == SEGMENTS - 1));
        harness_pattern_check(data, (size_t)length, i * SEGMENT_SIZE);
    }
    EXPECT(!harness_is_readable(fd));
    torc_close(fd);
}

FIBER_TEST(many_datagrams_are_received_as_one_where_asked_for)
{
    const struct torc_udp_options options = {.merge_received = true};
    static char data[65536];
    struct torc_datagram datagram = {.data = data, .size = sizeof(data)};
    struct torc_address address;
    const int fd = open_at("127.0.0.1:0", &options, &address);
    size_t total = 0;

    send_segments(fd, &address);
    while (total < SEGMENTS * SEGMENT_SIZE - 1) { /* Mostly one: how many, the kernel decides. */
        const ssize_t length = torc_datagram_recv(fd, &datagram, 0);

        EXPECT_INT(length, >, 0);
        EXPECT(datagram.segment_size == SEGMENT_SIZE || length <= SEGMENT_SIZE);
        harness_pattern_check(data, (size_t)length, total);
        total += (size_t)length;
    }
    EXPECT(!harness_is_readable(fd));
    torc_close(fd);
}

FIBER_TEST(a_socket_can_cut_all_it_sends)
{
    const struct torc_udp_options options = {.segment_size = 3};
    struct torc_address address;
    const int fd = open_at("127.0.0.1:0", &options, &address);
    char data[16];

    EXPECT_INT(torc_sendto(fd, "abcdefgh", 8, 0, &address), ==, 8);
    EXPECT_INT(torc_recv(fd, data, sizeof(data), 0), ==, 3);
    EXPECT_INT(torc_recv(fd, data, sizeof(data), 0), ==, 3);
    EXPECT_INT(torc_recv(fd, data, sizeof(data), 0), ==, 2);
    torc_close(fd);
}

FIBER_TEST(broadcasting_needs_the_option)
{
    const struct torc_udp_options options = {.broadcast = true};
    const struct torc_address all = harness_address("127.255.255.255:9");
    struct torc_address address;
    int fd = open_at("127.0.0.1:0", NULL, &address);

    EXPECT_INT(torc_sendto(fd, "x", 1, 0, &all), ==, -EACCES);
    torc_close(fd);
    fd = open_at("127.0.0.1:0", &options, &address);
    EXPECT_INT(torc_sendto(fd, "x", 1, 0, &all), ==, 1);
    torc_close(fd);
}

/* ---- Multicast, on the loopback interface ---- */

/* The next that a socket receives has this text. */
static void expect_next(int fd, const char *text)
{
    char data[16];
    const ssize_t length = torc_recv(fd, data, sizeof(data), 0);

    EXPECT_INT(length, ==, strlen(text));
    EXPECT_MEM(data, text, (size_t)length);
}

static void check_membership(const char *any, const char *group_text)
{
    const struct torc_udp_options options = {.tell_local = true};
    struct torc_multicast membership = {.interface_index = if_nametoindex("lo")};
    struct torc_address bound;
    struct torc_address address;
    struct torc_address group = harness_address(group_text);
    char data[4];
    struct torc_datagram datagram = {.data = data, .size = sizeof(data)};
    const int fd = open_at(any, &options, &bound);
    const int sender = open_at(any, NULL, &address);
    ssize_t sent;

    group.v4.sin_port = htons(torc_address_port(&bound)); /* At the same place in both families. */
    membership.group = group;
    EXPECT_INT(torc_multicast_set_interface(sender, membership.interface_index), ==, 0);
    EXPECT_INT(torc_multicast_set_hop_limit(sender, 0), ==, 0);
    EXPECT_INT(torc_multicast_join(fd, &membership), ==, 0);
    EXPECT_INT(torc_multicast_join(fd, &membership), ==, -EADDRINUSE);
    sent = torc_sendto(sender, "abc", 3, 0, &group);
    if (sent != -ENETUNREACH && sent != -EADDRNOTAVAIL) { /* No route to groups on loopback. */
        EXPECT_INT(sent, ==, 3);
        EXPECT_INT(torc_datagram_recv(fd, &datagram, 0), ==, 3);
        EXPECT(datagram.has_multicast_address);
        EXPECT_INT(torc_datagram_send(fd, &datagram, 0), ==, 3); /* Not from the group's address. */
        expect_next(sender, "abc");
    }
    EXPECT_INT(torc_multicast_leave(fd, &membership), ==, 0);
    EXPECT_INT(torc_multicast_leave(fd, &membership), ==, -EADDRNOTAVAIL);
    torc_close(sender);
    torc_close(fd);
}

FIBER_TEST(members_receive_what_is_sent_to_their_group)
{
    check_membership("0.0.0.0:0", "239.255.7.7:0");
    if (has_ipv6())
        check_membership("[::]:0", "[ff11::7:7]:0");
}

FIBER_TEST(only_ipv6_sockets_join_groups_of_both_families)
{
    struct torc_multicast membership = {.group = harness_address("[ff11::7:7]:0"),
                                        .interface_index = if_nametoindex("lo")};
    struct torc_address address;
    const int v4 = open_at("0.0.0.0:0", NULL, &address);

    EXPECT_INT(torc_multicast_join(v4, &membership), ==, -ENOPROTOOPT);
    torc_close(v4);
    if (has_ipv6()) {
        const int v6 = open_at("[::]:0", NULL, &address);

        membership.group = harness_address("239.255.7.7:0");
        EXPECT_INT(torc_multicast_join(v6, &membership), ==, 0);
        torc_close(v6);
    }
}

FIBER_TEST(an_interface_that_is_not_there_is_refused)
{
    const struct torc_udp_options options = {.interface_index = INT_MAX};
    const struct torc_address address = harness_address("127.0.0.1:0");

    EXPECT_INT(torc_udp_open(&address, &options), ==, -ENODEV);
    EXPECT_INT(torc_udp_connect(&address, &options), ==, -ENODEV);
}

FIBER_TEST(a_source_specific_member_hears_its_source_only)
{
    const struct torc_multicast membership = {.group = harness_address("239.255.7.8:0"),
                                              .source = harness_address("127.0.0.2:0"),
                                              .interface_index = if_nametoindex("lo")};
    struct torc_multicast wrong = membership;
    struct torc_address group = membership.group;
    struct torc_address addresses[3];
    const int fd = open_at("0.0.0.0:0", NULL, &addresses[0]);
    const int source = open_at("127.0.0.2:0", NULL, &addresses[1]);
    const int other = open_at("127.0.0.3:0", NULL, &addresses[2]);

    wrong.source = harness_address("[::1]:0");
    EXPECT_INT(torc_multicast_join(fd, &wrong), ==, -EINVAL);
    EXPECT_INT(torc_multicast_join(fd, &membership), ==, 0);
    EXPECT_INT(torc_multicast_set_interface(source, membership.interface_index), ==, 0);
    EXPECT_INT(torc_multicast_set_interface(other, membership.interface_index), ==, 0);
    group.v4.sin_port = htons(torc_address_port(&addresses[0]));
    EXPECT_INT(torc_sendto(other, "other", 5, 0, &group), ==, 5);
    EXPECT_INT(torc_sendto(source, "source", 6, 0, &group), ==, 6);
    expect_next(fd, "source");
    EXPECT_INT(torc_multicast_leave(fd, &membership), ==, 0);
    EXPECT_INT(torc_sendto(source, "left", 4, 0, &group), ==, 4);
    EXPECT_INT(torc_sendto(source, "direct", 6, 0, &addresses[0]), ==, 6);
    expect_next(fd, "direct");
    torc_close(other);
    torc_close(source);
    torc_close(fd);
}

FIBER_TEST(options_of_multicast_are_those_of_the_sockets_family)
{
    static const char *const texts[] = {"127.0.0.1:0", "[::1]:0"};

    for (int i = 0; i < (has_ipv6() ? 2 : 1); i++) {
        const int level = i == 0 ? IPPROTO_IP : IPPROTO_IPV6;
        struct torc_address address;
        const int fd = open_at(texts[i], NULL, &address);

        EXPECT_INT(torc_multicast_set_loop(fd, false), ==, 0);
        EXPECT_INT(option_of(fd, level, i == 0 ? IP_MULTICAST_LOOP : IPV6_MULTICAST_LOOP), ==, 0);
        EXPECT_INT(torc_multicast_set_loop(fd, true), ==, 0);
        EXPECT_INT(option_of(fd, level, i == 0 ? IP_MULTICAST_LOOP : IPV6_MULTICAST_LOOP), ==, 1);
        EXPECT_INT(torc_multicast_set_hop_limit(fd, 9), ==, 0);
        EXPECT_INT(option_of(fd, level, i == 0 ? IP_MULTICAST_TTL : IPV6_MULTICAST_HOPS), ==, 9);
        EXPECT_INT(torc_multicast_set_hop_limit(fd, 256), ==, -EINVAL);
        EXPECT_INT(torc_multicast_set_interface(fd, 0x7ffffff), ==,
                   i == 0 ? -EADDRNOTAVAIL : -ENODEV);
        torc_close(fd);
    }
    EXPECT_INT(torc_multicast_set_loop(-1, true), ==, -EBADF);
    EXPECT_INT(torc_multicast_set_interface(-1, 0), ==, -EBADF);
}

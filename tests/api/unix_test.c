/* SPDX-License-Identifier: MIT */
/*
 * unix_test.c - Unix sockets of all types, by path, by abstract name and without one.
 */
#include "harness/directory.h"
#include "harness/net.h"
#include "harness/run.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <torc/torc.h>
#include <unistd.h>

struct place {
    char folder[32];
    char path[64];
    struct torc_address address;
};

static void open_place(struct place *place)
{
    *place = (struct place){.folder = "/tmp/torc-unix-XXXXXX"};
    EXPECT(mkdtemp(place->folder) != NULL);
    (void)snprintf(place->path, sizeof(place->path), "%s/socket", place->folder);
    place->address = harness_address(place->path);
}

/* Nothing may have been left in it. */
static void close_place(const struct place *place)
{
    EXPECT_MSG(rmdir(place->folder) == 0, "errno %d", errno);
}

static bool exists(const struct place *place)
{
    return access(place->path, F_OK) == 0;
}

/* ---- Addresses ---- */

TEST(addresses_are_of_three_kinds)
{
    static const char name[] = "na\0me";
    char text[TORC_ADDRESS_TEXT_SIZE];
    struct torc_address address;
    struct torc_address same = harness_address("/a/path");

    EXPECT_INT(torc_unix_address(TORC_UNIX_PATH, "/a/path", 7, &address), ==, 0);
    EXPECT(torc_address_equal(&address, &same));
    EXPECT_INT(torc_unix_name_of(&address), ==, TORC_UNIX_PATH);
    EXPECT_INT(torc_unix_address(TORC_UNIX_PATH, "relative", 8, &address), ==, 0);
    EXPECT_STR(torc_address_format(&address, text, sizeof(text)), "relative");
    same = harness_address("@name");
    EXPECT_INT(torc_unix_address(TORC_UNIX_ABSTRACT, "name", 4, &address), ==, 0);
    EXPECT(torc_address_equal(&address, &same));
    EXPECT_INT(torc_unix_name_of(&address), ==, TORC_UNIX_ABSTRACT);
    EXPECT_INT(torc_unix_address(TORC_UNIX_ABSTRACT, name, 5, &address), ==, 0);
    EXPECT_MEM(address.local.sun_path, "\0na\0me", 6);
    EXPECT_INT(torc_unix_address(TORC_UNIX_ABSTRACT, NULL, 0, &address), ==, 0);
    EXPECT_INT(torc_unix_name_of(&address), ==, TORC_UNIX_UNNAMED);
    address.length = 0;
    EXPECT_INT(torc_unix_name_of(&address), ==, TORC_UNIX_UNNAMED);
}

TEST(what_is_no_address_is_refused)
{
    char longest[109];
    struct torc_address address;

    memset(longest, 'x', sizeof(longest));
    EXPECT_INT(torc_unix_address(TORC_UNIX_PATH, longest, 107, &address), ==, 0);
    EXPECT_INT(torc_unix_address(TORC_UNIX_PATH, longest, 108, &address), ==, -ENAMETOOLONG);
    EXPECT_INT(torc_unix_address(TORC_UNIX_ABSTRACT, longest, 107, &address), ==, 0);
    EXPECT_INT(torc_unix_address(TORC_UNIX_ABSTRACT, longest, 108, &address), ==, -ENAMETOOLONG);
    EXPECT_INT(torc_unix_address(TORC_UNIX_PATH, "", 0, &address), ==, -EINVAL);
    EXPECT_INT(torc_unix_address(TORC_UNIX_PATH, "a\0b", 3, &address), ==, -EINVAL);
    EXPECT_INT(torc_unix_address(TORC_UNIX_UNNAMED, "a", 1, &address), ==, -EINVAL);
}

/* ---- Connections ---- */

static int echo_one(void *arg)
{
    const int *listener = arg;
    char data[16];
    const int fd = torc_accept(*listener, NULL);
    ssize_t length;

    EXPECT_INT(fd, >=, 0);
    EXPECT(harness_is_cloexec(fd));
    while ((length = torc_recv(fd, data, sizeof(data), 0)) > 0)
        EXPECT_INT(torc_send(fd, data, (size_t)length, 0), ==, length);
    EXPECT_INT(length, ==, 0);
    torc_close(fd);
    return 0;
}

/* Listen at an address with a type, connect, and have five bytes sent back. */
static void connect_and_echo(const struct torc_address *address, int type)
{
    const struct torc_unix_options options = {.type = type};
    int listener = torc_unix_open(address, &options);
    struct torc_scope scope;
    struct torc_address bound;
    char data[16];
    int fd;

    EXPECT_INT(listener, >=, 0);
    EXPECT(harness_is_cloexec(listener));
    EXPECT_INT(torc_local_address(listener, &bound), ==, 0);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, echo_one, &listener);
    fd = torc_unix_connect(&bound, type);
    EXPECT_INT(fd, >=, 0);
    EXPECT(harness_is_cloexec(fd));
    EXPECT_INT(torc_send(fd, "hello", 5, 0), ==, 5);
    EXPECT_INT(torc_recv(fd, data, sizeof(data), 0), ==, 5);
    EXPECT_MEM(data, "hello", 5);
    EXPECT_INT(torc_shutdown(fd, SHUT_WR), ==, 0);
    EXPECT_INT(torc_recv(fd, data, sizeof(data), 0), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    torc_close(fd);
    EXPECT_INT(torc_unix_close(listener), ==, 0);
}

FIBER_TEST(t_19_t_20_t_24_streams_and_records_go_both_ways_until_their_end)
{
    struct torc_address chosen;
    struct place place;

    open_place(&place);
    EXPECT_INT(torc_unix_address(TORC_UNIX_ABSTRACT, NULL, 0, &chosen), ==, 0);
    connect_and_echo(&place.address, SOCK_STREAM);
    EXPECT(!exists(&place));
    connect_and_echo(&place.address, SOCK_SEQPACKET);
    connect_and_echo(&chosen, SOCK_STREAM);
    connect_and_echo(&chosen, SOCK_SEQPACKET);
    close_place(&place);
}

FIBER_TEST(records_keep_their_bounds_and_streams_do_not)
{
    char data[16];
    struct torc_unix_parcel parcel = {0};
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_SEQPACKET, fds), ==, 0);
    EXPECT_INT(torc_send(fds[0], "one", 3, 0), ==, 3);
    EXPECT_INT(torc_send(fds[0], "three", 5, 0), ==, 5);
    EXPECT_INT(torc_recv(fds[1], data, sizeof(data), 0), ==, 3);
    EXPECT_INT(torc_unix_recv(fds[1], data, 2, &parcel), ==, 2);
    EXPECT(parcel.truncated);
    harness_close_pair(fds);
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    EXPECT_INT(torc_send(fds[0], "one", 3, 0), ==, 3);
    EXPECT_INT(torc_send(fds[0], "three", 5, 0), ==, 5);
    EXPECT_INT(torc_unix_recv(fds[1], data, 2, &parcel), ==, 2);
    EXPECT(!parcel.truncated);
    EXPECT_INT(torc_recv_all(fds[1], data, 6, NULL), ==, 0);
    EXPECT_MEM(data, "ethree", 6);
    harness_close_pair(fds);
}

FIBER_TEST(t_21_both_sides_write_and_shut_down_and_each_gets_the_byte_and_the_end)
{
    char data[2];
    size_t done;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    for (int i = 0; i < 2; i++) {
        EXPECT(harness_is_cloexec(fds[i]));
        EXPECT_INT(torc_send(fds[i], i == 0 ? "a" : "b", 1, 0), ==, 1);
        EXPECT_INT(torc_shutdown(fds[i], SHUT_WR), ==, 0);
    }
    for (int i = 0; i < 2; i++) {
        EXPECT_INT(torc_recv_all(fds[i], data, 2, &done), ==, -ENODATA);
        EXPECT_UINT(done, ==, 1);
        EXPECT_INT(data[0], ==, i == 0 ? 'b' : 'a');
    }
    harness_close_pair(fds);
}

FIBER_TEST(t_22_credentials_are_those_of_this_process_at_both_ends)
{
    struct torc_unix_credentials peer = {0};
    struct torc_address address;
    int fds[2];
    int tcp;

    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    for (int i = 0; i < 2; i++) {
        EXPECT_INT(torc_unix_peer(fds[i], &peer), ==, 0);
        EXPECT_INT(peer.pid, ==, getpid());
        EXPECT_UINT(peer.uid, ==, geteuid());
        EXPECT_UINT(peer.gid, ==, getegid());
    }
    harness_close_pair(fds);
    tcp = harness_listener(&address);
    EXPECT_INT(torc_unix_peer(tcp, &peer), ==, -ENOTCONN);
    close(tcp);
}

FIBER_TEST(a_peer_that_vanishes_ends_what_waits_for_it)
{
    char data[4];
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_SEQPACKET, fds), ==, 0);
    EXPECT_INT(torc_send(fds[0], "last", 4, 0), ==, 4);
    close(fds[0]);
    EXPECT_INT(torc_recv(fds[1], data, sizeof(data), 0), ==, 4); /* What it said arrives. */
    EXPECT_INT(torc_recv(fds[1], data, sizeof(data), 0), ==, 0);
    EXPECT_INT(torc_send(fds[1], "x", 1, 0), ==, -EPIPE);
    close(fds[1]);
    EXPECT_INT(torc_unix_pair(SOCK_STREAM, fds), ==, 0);
    EXPECT_INT(torc_send(fds[1], "unread", 6, 0), ==, 6);
    close(fds[0]);
    EXPECT_INT(torc_recv(fds[1], data, sizeof(data), 0), ==, -ECONNRESET);
    close(fds[1]);
}

/* ---- Datagrams ---- */

FIBER_TEST(t_23_datagrams_tell_the_name_of_their_sender_if_it_has_one)
{
    const struct torc_unix_options options = {.type = SOCK_DGRAM};
    struct torc_address chosen;
    struct torc_address peer;
    char data[16];
    struct torc_datagram datagram = {.data = data, .size = sizeof(data)};
    struct place place;
    int server;
    int named;
    int unnamed;

    open_place(&place);
    EXPECT_INT(torc_unix_address(TORC_UNIX_ABSTRACT, NULL, 0, &chosen), ==, 0);
    server = torc_unix_open(&place.address, &options);
    named = torc_unix_open(&chosen, &options);
    unnamed = torc_socket(AF_UNIX, SOCK_DGRAM, 0);
    EXPECT_INT(torc_local_address(named, &chosen), ==, 0);
    EXPECT_INT(torc_unix_name_of(&chosen), ==, TORC_UNIX_ABSTRACT);

    EXPECT_INT(torc_sendto(unnamed, "who?", 4, 0, &place.address), ==, 4);
    EXPECT_INT(torc_recvfrom(server, data, sizeof(data), 0, &peer), ==, 4);
    EXPECT_INT(torc_unix_name_of(&peer), ==, TORC_UNIX_UNNAMED);
    EXPECT_INT(torc_sendto(named, "me", 2, 0, &place.address), ==, 2);
    EXPECT_INT(torc_datagram_recv(server, &datagram, 0), ==, 2);
    EXPECT(torc_address_equal(&datagram.peer, &chosen));
    EXPECT_INT(torc_datagram_send(server, &datagram, 0), ==, 2);
    EXPECT_INT(torc_recvfrom(named, data, sizeof(data), 0, &peer), ==, 2);
    EXPECT(torc_address_equal(&peer, &place.address));
    EXPECT_INT(torc_connect(unnamed, &place.address), ==, 0);
    torc_close(named);
    EXPECT_INT(torc_unix_close(server), ==, 0);
    EXPECT_INT(torc_send(unnamed, "x", 1, 0), ==, -ECONNREFUSED);
    EXPECT_INT(torc_sendto(unnamed, "x", 1, 0, &place.address), ==, -ENOENT);
    torc_close(unnamed);
    close_place(&place);
}

FIBER_TEST(a_datagram_larger_than_the_buffer_is_emsgsize)
{
    static char large[300000];
    const int small = 100000;
    int fds[2];

    EXPECT_INT(torc_unix_pair(SOCK_DGRAM, fds), ==, 0);
    EXPECT_INT(torc_setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==, 0);
    EXPECT_INT(torc_send(fds[0], large, sizeof(large), 0), ==, -EMSGSIZE);
    EXPECT_INT(torc_send(fds[0], large, 65536, 0), ==, 65536); /* Other than UDP's. */
    EXPECT_INT(torc_recv(fds[1], large, sizeof(large), 0), ==, 65536);
    harness_close_pair(fds);
}

/* ---- Paths ---- */

FIBER_TEST(a_path_that_was_left_behind_is_taken_over_and_a_live_one_is_not)
{
    struct place place;
    int owner;

    open_place(&place);
    owner = torc_unix_open(&place.address, NULL);
    EXPECT_INT(owner, >=, 0);
    EXPECT_INT(torc_unix_open(&place.address, NULL), ==, -EADDRINUSE);
    torc_close(owner);
    EXPECT(exists(&place));
    EXPECT_INT(torc_unix_connect(&place.address, SOCK_STREAM), ==, -ECONNREFUSED);
    owner = torc_unix_open(&place.address, NULL);
    EXPECT_INT(owner, >=, 0);
    EXPECT_INT(torc_unix_connect(&place.address, SOCK_SEQPACKET), ==, -EPROTOTYPE);
    EXPECT_INT(torc_unix_close(owner), ==, 0);
    EXPECT(!exists(&place));
    EXPECT_INT(torc_unix_connect(&place.address, SOCK_STREAM), ==, -ENOENT);
    close_place(&place);
}

FIBER_TEST(closing_leaves_the_path_to_whoever_else_has_the_socket)
{
    struct place place;
    int owner;
    int copy;

    open_place(&place);
    owner = torc_unix_open(&place.address, NULL);
    copy = dup(owner);
    EXPECT_INT(torc_unix_close(owner), ==, 0);
    EXPECT(exists(&place));
    owner = torc_unix_connect(&place.address, SOCK_STREAM);
    EXPECT_INT(owner, >=, 0);
    EXPECT_INT(torc_unix_close(owner), ==, 0); /* It has no path. */
    EXPECT_INT(torc_unix_close(copy), ==, 0);
    EXPECT(!exists(&place));
    EXPECT_INT(torc_unix_close(copy), ==, -EBADF);
    close_place(&place);
}

FIBER_TEST(closing_leaves_a_path_that_has_become_another_sockets_or_a_file)
{
    struct place place;
    int old;
    int new;

    open_place(&place);
    old = torc_unix_open(&place.address, NULL);
    EXPECT_INT(unlink(place.path), ==, 0);
    new = torc_unix_open(&place.address, NULL);
    EXPECT_INT(torc_unix_close(old), ==, 0);
    EXPECT(exists(&place));
    EXPECT_INT(unlink(place.path), ==, 0);
    harness_put_file(place.path, "");
    EXPECT_INT(torc_unix_close(new), ==, 0);
    EXPECT(exists(&place));
    EXPECT_INT(torc_unix_open(&place.address, NULL), ==, -EADDRINUSE);
    EXPECT_INT(unlink(place.path), ==, 0);
    close_place(&place);
}

FIBER_TEST(options_of_opening_reach_the_socket)
{
    struct torc_unix_options options = {
        .mode = 0602, .backlog = -1, .send_buffer_size = 40000, .receive_buffer_size = 50000};
    const struct torc_address inet = harness_address("127.0.0.1:0");
    const unsigned fds = harness_open_fds();
    socklen_t length = sizeof(int);
    struct place place;
    struct stat status;
    int value;
    int fd;

    open_place(&place);
    fd = torc_unix_open(&place.address, &options);
    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(stat(place.path, &status), ==, 0);
    EXPECT_UINT(status.st_mode & 0777, ==, 0602);
    EXPECT_INT(torc_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, &length), ==, 0);
    EXPECT_INT(value, ==, 80000); /* As the kernel does. */
    EXPECT_INT(torc_getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, &length), ==, 0);
    EXPECT_INT(value, ==, 100000);
    EXPECT_INT(torc_unix_connect(&place.address, SOCK_STREAM), ==, -ECONNREFUSED);
    EXPECT_INT(torc_unix_open(&place.address, NULL), ==, -EADDRINUSE); /* Bound is enough. */
    EXPECT_INT(torc_listen(fd, 1), ==, 0);
    EXPECT_INT(torc_unix_close(fd), ==, 0);
    EXPECT_INT(torc_unix_open(&inet, NULL), ==, -EINVAL);
    options.mode = 01000;
    EXPECT_INT(torc_unix_open(&place.address, &options), ==, -EINVAL);
    close_place(&place);
    EXPECT_INT(torc_unix_open(&place.address, NULL), ==, -ENOENT); /* The directory is gone. */
    EXPECT_UINT(harness_open_fds(), ==, fds);
}

struct connector {
    struct torc_address address;
    int fd;
};

static int connect_one(void *arg)
{
    struct connector *connector = arg;

    connector->fd = torc_unix_connect(&connector->address, SOCK_STREAM);
    return 0;
}

FIBER_TEST(connecting_waits_for_a_full_queue_and_can_be_cancelled_at_any_time)
{
    const struct torc_unix_options options = {.backlog = 1};
    const unsigned fds = harness_open_fds();
    struct connector connector;
    struct torc_scope scope;
    struct torc_address chosen;
    int clients[2];
    int listener;

    EXPECT_INT(torc_unix_address(TORC_UNIX_ABSTRACT, NULL, 0, &chosen), ==, 0);
    listener = torc_unix_open(&chosen, &options);
    EXPECT_INT(torc_local_address(listener, &connector.address), ==, 0);
    for (int i = 0; i < 2; i++)
        clients[i] = harness_dial(&connector.address);
    for (int passes = 0; passes < 10; passes++) {
        torc_scope_open(&scope, 0);
        harness_spawn(&scope, connect_one, &connector);
        harness_yield(1);
        for (int i = 0; i < passes; i++)
            harness_pass_kernel();
        torc_scope_cancel(&scope);
        EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
        EXPECT_INT(connector.fd, ==, -ECANCELED);
    }
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, connect_one, &connector);
    harness_pass_kernel();
    close(torc_accept(listener, NULL)); /* Now there is room. */
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(connector.fd, >=, 0);
    torc_close(connector.fd);
    harness_close_pair(clients);
    torc_close(listener);
    EXPECT_UINT(harness_open_fds(), ==, fds);
}

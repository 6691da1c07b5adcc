/* SPDX-License-Identifier: MIT */
/*
 * listener_test.c - connections that come: all of them, once each, whatever happens.
 */
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <torc/torc.h>
#include <unistd.h>

static void open_listener(struct torc_listener *listener, struct torc_address *ret_address)
{
    const struct torc_address address = harness_address("127.0.0.1:0");

    EXPECT_INT(torc_listener_open(listener, &address, NULL), ==, 0);
    EXPECT_INT(torc_local_address(torc_listener_fd(listener), ret_address), ==, 0);
}

static uint16_t local_port(int fd)
{
    struct torc_address address;

    EXPECT_INT(torc_local_address(fd, &address), ==, 0);
    return torc_address_port(&address);
}

/* The listener gives `error` within a moment, and nothing is lost. */
static void expect_nothing(struct torc_listener *listener)
{
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_listener_accept(listener, NULL), ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
}

/* ---- Accepting ---- */

FIBER_TEST(a_connection_is_accepted_with_the_address_of_its_peer)
{
    struct torc_listener listener;
    struct torc_address address;
    struct torc_address peer;
    int client;
    int fd;

    open_listener(&listener, &address);
    EXPECT(harness_is_cloexec(torc_listener_fd(&listener)));
    client = harness_dial(&address);
    fd = torc_listener_accept(&listener, &peer);
    EXPECT_INT(fd, >=, 0);
    EXPECT(harness_is_cloexec(fd));
    EXPECT_INT(torc_address_port(&peer), ==, local_port(client));
    harness_put(client, "hello", 5);
    EXPECT_INT(torc_recv_all(fd, (char[5]){0}, 5, NULL), ==, 0);
    close(client);
    close(fd);
    EXPECT_UINT(torc_listener_queued(&listener), ==, 0);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
}

FIBER_TEST(a_listener_that_nobody_asks_is_closed)
{
    struct torc_listener listener;
    struct torc_address address;

    open_listener(&listener, &address);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
    open_listener(&listener, &address);
    expect_nothing(&listener);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
}

FIBER_TEST(an_address_in_use_is_an_error)
{
    struct torc_listener listener;
    struct torc_address address;
    const int other = harness_listener(&address);

    EXPECT_INT(torc_listener_open(&listener, &address, NULL), ==, -EADDRINUSE);
    close(other);
}

FIBER_TEST(a_descriptor_that_listens_can_be_adopted)
{
    struct torc_listener listener;
    struct torc_address address;
    const int listening = harness_listener(&address);
    int client;
    int fd;

    torc_listener_adopt(&listener, listening);
    EXPECT_INT(torc_listener_fd(&listener), ==, listening);
    client = harness_dial(&address);
    fd = torc_listener_accept(&listener, NULL);
    EXPECT_INT(fd, >=, 0);
    close(client);
    close(fd);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
}

FIBER_TEST(what_does_not_listen_cannot_accept)
{
    struct torc_listener listener;

    torc_listener_adopt(&listener, torc_socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_INT(torc_listener_accept(&listener, NULL), ==, -EINVAL);
    EXPECT_INT(torc_listener_accept(&listener, NULL), ==, -EINVAL);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
}

FIBER_TEST(unix_sockets_are_listened_at)
{
    char folder[] = "/tmp/torc-listener-XXXXXX";
    struct torc_listener listener;
    struct torc_listener second;
    struct torc_address address;
    char text[64];
    int client;
    int fd;

    EXPECT(mkdtemp(folder) != NULL);
    snprintf(text, sizeof(text), "%s/socket", folder);
    address = harness_address(text);
    EXPECT_INT(torc_listener_open(&listener, &address, NULL), ==, 0);
    EXPECT(harness_is_cloexec(torc_listener_fd(&listener)));
    client = harness_dial(&address);
    fd = torc_listener_accept(&listener, &address);
    EXPECT_INT(fd, >=, 0);
    EXPECT(harness_is_cloexec(fd));
    EXPECT_INT(address.any.sa_family, ==, AF_UNIX);
    close(client);
    close(fd);
    address = harness_address(text);
    EXPECT_INT(torc_listener_open(&second, &address, NULL), ==, -EADDRINUSE);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
    /* Nobody listens there any more, so the path may be taken over. */
    EXPECT_INT(torc_listener_open(&listener, &address, NULL), ==, 0);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
    EXPECT_INT(unlink(text), ==, 0);
    EXPECT_INT(rmdir(folder), ==, 0);
}

FIBER_TEST(a_peer_that_has_gone_already_has_no_address)
{
    struct torc_listener listener;
    struct torc_address address;
    struct torc_address peer = {.length = 1};
    char byte;
    int fd;

    open_listener(&listener, &address);
    harness_reset(harness_dial(&address));
    fd = torc_listener_accept(&listener, &peer);
    EXPECT_INT(fd, >=, 0);
    EXPECT_UINT(peer.length, ==, 0);
    EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, -ECONNRESET);
    close(fd);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
}

/* ---- Many ---- */

#define CLIENTS 200

struct crowd {
    struct torc_listener listener;
    struct torc_address address;
    int clients[CLIENTS];
    bool is_accepted[CLIENTS];
    unsigned accepted;
};

static void dial_all(struct crowd *crowd)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        crowd->clients[i] = harness_dial(&crowd->address);
}

/* Note that this connection has been accepted, and close it. */
static void note_accepted(struct crowd *crowd, int fd, const struct torc_address *peer)
{
    unsigned i = 0;

    while (i < CLIENTS && local_port(crowd->clients[i]) != torc_address_port(peer))
        i++;
    EXPECT_UINT(i, <, CLIENTS);
    EXPECT(!crowd->is_accepted[i]);
    crowd->is_accepted[i] = true;
    crowd->accepted++;
    close(fd);
}

static int accept_some(void *arg)
{
    struct crowd *crowd = arg;

    while (crowd->accepted < CLIENTS) {
        struct torc_address peer;
        const int fd = torc_listener_accept(&crowd->listener, &peer);

        if (fd < 0)
            return fd;
        note_accepted(crowd, fd, &peer);
    }
    return 0;
}

static void disperse(struct crowd *crowd)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        close(crowd->clients[i]);
    EXPECT_UINT(torc_listener_queued(&crowd->listener), ==, 0);
    expect_nothing(&crowd->listener);
    EXPECT_INT(torc_listener_close(&crowd->listener), ==, 0);
}

FIBER_TEST(many_connections_are_accepted_once_each)
{
    struct crowd crowd = {0};

    if (harness_raise_fd_limit() < CLIENTS * 3)
        SKIP("too few descriptors");
    open_listener(&crowd.listener, &crowd.address);
    dial_all(&crowd);
    EXPECT_INT(accept_some(&crowd), ==, 0);
    disperse(&crowd);
}

FIBER_TEST(connections_that_nobody_asks_for_are_not_lost)
{
    struct crowd crowd = {0};

    if (harness_raise_fd_limit() < CLIENTS * 3)
        SKIP("too few descriptors");
    open_listener(&crowd.listener, &crowd.address);
    expect_nothing(&crowd.listener); /* From now on it may accept by itself. */
    for (unsigned i = 0; i < CLIENTS; i++) {
        crowd.clients[i] = harness_dial(&crowd.address);
        harness_pass_kernel();
        EXPECT_UINT(torc_listener_queued(&crowd.listener), <=, TORC_LISTENER_QUEUE_MAX + 8);
    }
    EXPECT_INT(accept_some(&crowd), ==, 0);
    disperse(&crowd);
}

FIBER_TEST(several_fibers_share_the_connections)
{
    struct torc_scope scope;
    struct crowd crowd = {0};

    if (harness_raise_fd_limit() < CLIENTS * 3)
        SKIP("too few descriptors");
    open_listener(&crowd.listener, &crowd.address);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < 5; i++)
        harness_spawn(&scope, accept_some, &crowd);
    harness_yield(3);
    dial_all(&crowd);
    for (unsigned i = 0; crowd.accepted < CLIENTS; i++) {
        EXPECT_UINT(i, <, 1000000);
        harness_pass_kernel();
    }
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    disperse(&crowd);
}

FIBER_TEST(an_accept_that_is_cut_short_at_any_time_loses_no_connection)
{
    struct crowd crowd = {0};
    unsigned dialled = 0;

    if (harness_raise_fd_limit() < CLIENTS * 3)
        SKIP("too few descriptors");
    open_listener(&crowd.listener, &crowd.address);
    while (crowd.accepted < CLIENTS) {
        struct torc_address peer;
        struct torc_scope scope;
        int fd;

        if (dialled < CLIENTS && harness_random_below(2))
            crowd.clients[dialled++] = harness_dial(&crowd.address);
        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, harness_random_below(50000));
        fd = torc_listener_accept(&crowd.listener, &peer);
        EXPECT(fd >= 0 || fd == -ETIME);
        (void)torc_scope_close(&scope);
        if (fd >= 0)
            note_accepted(&crowd, fd, &peer);
    }
    EXPECT_UINT(dialled, ==, CLIENTS);
    disperse(&crowd);
}

FIBER_TEST(a_cancelled_scope_refuses_a_connection_that_is_there)
{
    struct torc_listener listener;
    struct torc_address address;
    struct torc_scope scope;
    int client;
    int fd;

    open_listener(&listener, &address);
    expect_nothing(&listener);
    client = harness_dial(&address);
    harness_pass_kernel();
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_listener_accept(&listener, NULL), ==, -ECANCELED);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    fd = torc_listener_accept(&listener, NULL);
    EXPECT_INT(fd, >=, 0);
    close(fd);
    close(client);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
}

/* ---- Errors and ends ---- */

FIBER_TEST(without_a_free_descriptor_the_connection_waits)
{
    struct torc_listener listener;
    struct torc_address address;
    int lowest_free;
    int client;
    int fd;

    if (harness_is_valgrind())
        SKIP("valgrind keeps the limit of descriptors to itself");
    open_listener(&listener, &address);
    client = harness_dial(&address);
    lowest_free = dup(client);
    close(lowest_free);
    harness_limit_fds((unsigned)lowest_free);
    EXPECT_INT(torc_listener_accept(&listener, NULL), ==, -EMFILE);
    EXPECT_INT(torc_listener_accept(&listener, NULL), ==, -EMFILE);
    harness_raise_fd_limit();
    fd = torc_listener_accept(&listener, NULL);
    EXPECT_INT(fd, ==, lowest_free);
    harness_put(client, "hello", 5);
    EXPECT_INT(torc_recv_all(fd, (char[5]){0}, 5, NULL), ==, 0);
    close(fd);
    close(client);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
}

static int expect_closed_listener(void *arg)
{
    EXPECT_INT(torc_listener_accept(arg, NULL), ==, -EINVAL);
    return 0;
}

FIBER_TEST(who_waits_for_a_connection_hears_that_the_listener_is_closed)
{
    struct torc_listener listener;
    struct torc_address address;
    struct torc_scope scope;

    open_listener(&listener, &address);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < 5; i++)
        harness_spawn(&scope, expect_closed_listener, &listener);
    harness_pass_kernel();
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

FIBER_TEST(who_waits_for_a_connection_hears_that_the_socket_was_shut_down)
{
    struct torc_listener listener;
    struct torc_address address;
    struct torc_scope scope;

    open_listener(&listener, &address);
    torc_scope_open(&scope, 0);
    harness_spawn(&scope, expect_closed_listener, &listener);
    harness_pass_kernel();
    EXPECT_INT(torc_shutdown(torc_listener_fd(&listener), SHUT_RDWR), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
    EXPECT_INT(torc_listener_accept(&listener, NULL), ==, -EINVAL);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
}

FIBER_TEST(closing_closes_the_connections_that_nobody_has_asked_for)
{
    enum {
        COUNT = 10
    };
    struct torc_listener listener;
    struct torc_address address;
    int clients[COUNT];

    open_listener(&listener, &address);
    expect_nothing(&listener);
    for (int i = 0; i < COUNT; i++)
        clients[i] = harness_dial(&address);
    harness_pass_kernel();
    harness_pass_kernel();
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
    for (int i = 0; i < COUNT; i++) {
        char byte;
        const ssize_t count = torc_recv(clients[i], &byte, 1, 0);

        EXPECT(count == 0 || count == -ECONNRESET); /* The kernel resets those of its own queue. */
        close(clients[i]);
    }
}

FIBER_TEST(closing_in_a_cancelled_scope_waits_all_the_same)
{
    struct torc_listener listener;
    struct torc_address address;
    struct torc_scope scope;

    open_listener(&listener, &address);
    expect_nothing(&listener);
    torc_scope_open(&scope, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_listener_close(&listener), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
}

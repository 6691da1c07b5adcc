/* SPDX-License-Identifier: MIT */
/*
 * storm.c - no connection leaks, on either side, however it comes to nothing.
 *
 * Many clients connect to one server at once, by every call there is, in scopes that end at any
 * instant, while connections are refused, reset and lost, and descriptors run out. Each side sends
 * its end and reads the other's. In the end neither has a descriptor left, and no side has waited
 * for ever; and a client that has read the server's answer is one that the server has served.
 */
#include "books.h"
#include <stdlib.h>

#define PORT     7000
#define CLIENTS  12u
#define ROUNDS   6u
#define BOUND_NS (3600 * TORC_SECOND)

struct server {
    bool by_listener;
    bool by_path;
    unsigned at_once;
    unsigned accepted;
    unsigned served;
    unsigned answered; /* as clients saw it */
    bool is_ready;
    bool is_over;
    struct torc_address address;
};

/* ---- The server ---- */

struct guest {
    struct server *server;
    int fd;
};

/* A minute of patience for a peer that may have lost its connection without our knowing. */
static int serve_guest(void *arg)
{
    struct guest *guest = arg;
    struct torc_scope scope;
    char byte = 'q';

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 60 * TORC_SECOND);
    if (torc_recv_all(guest->fd, &byte, 1, NULL) == 0) {
        guest->server->served++; /* Before it can be seen. */
        (void)torc_send_all(guest->fd, "a", 1, NULL);
    }
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    (void)torc_close(guest->fd);
    guest->server->at_once--;
    free(guest);
    return 0;
}

static void welcome(struct server *server, int fd, struct torc_scope *guests)
{
    struct guest *guest = malloc(sizeof(*guest));

    TORC_SIM_CHECK(guest != NULL);
    *guest = (struct guest){server, fd};
    server->accepted++;
    server->at_once++;
    TORC_SIM_CHECK(torc_scope_spawn(guests, serve_guest, guest) == 0);
}

static bool may_be_refused(int64_t result)
{
    return is_passing(result) || torc_accept_error_is_transient((int)result);
}

static void accept_by_listener(struct server *server, int listening, struct torc_scope *guests)
{
    struct torc_listener listener;

    torc_listener_adopt(&listener, listening);
    while (!server->is_over && !one_in(15)) {
        struct peril peril;
        int fd;

        peril_open(&peril);
        torc_scope_set_timeout(&peril.scope, TORC_SECOND);
        fd = torc_listener_accept(&listener, NULL);
        peril_close(&peril);
        TORC_SIM_CHECK(fd >= 0 || may_be_refused(fd));
        if (fd >= 0)
            welcome(server, fd, guests);
        else if (one_in(3))
            (void)torc_sleep(some_time(TORC_MILLISECOND));
    }
    (void)torc_listener_close(&listener);
}

static void accept_one_by_one(struct server *server, int listening, struct torc_scope *guests)
{
    while (!server->is_over && !one_in(15)) {
        struct torc_address peer;
        struct peril peril;
        int fd;

        peril_open(&peril);
        torc_scope_set_timeout(&peril.scope, TORC_SECOND);
        fd = torc_accept(listening, &peer);
        peril_close(&peril);
        TORC_SIM_CHECK(fd >= 0 || may_be_refused(fd));
        if (fd >= 0)
            welcome(server, fd, guests);
    }
    (void)(server->by_path ? torc_unix_close(listening) : torc_close(listening));
}

static int listen_somewhere(const struct server *server)
{
    const struct torc_listen_options few = {.backlog = 2};
    const struct torc_unix_options few_local = {.backlog = 2};
    struct torc_address any;
    int fd;

    TORC_SIM_CHECK(torc_address_parse("*:7000", &any) == 0);
    do
        fd = server->by_path ? torc_unix_open(&server->address, one_in(2) ? NULL : &few_local)
                             : torc_tcp_listen(&any, one_in(2) ? NULL : &few);
    while (is_chance(fd));
    TORC_SIM_CHECK(fd >= 0);
    return fd;
}

/* It stops listening now and then, while others connect. */
static int serve(void *arg)
{
    struct server *server = arg;
    struct torc_scope guests;

    torc_scope_open(&guests, 0);
    while (!server->is_over) {
        const int listening = listen_somewhere(server);

        server->is_ready = true;
        if (server->by_listener)
            accept_by_listener(server, listening, &guests);
        else
            accept_one_by_one(server, listening, &guests);
    }
    TORC_SIM_CHECK(torc_scope_close(&guests) == 0);
    TORC_SIM_CHECK(server->at_once == 0);
    return 0;
}

static int serving_program(void *arg)
{
    return run_and_check(serve, arg, NULL);
}

/* ---- The clients ---- */

static int connect_somehow(const struct server *server)
{
    if (server->by_path)
        return torc_unix_connect(&server->address, SOCK_STREAM);
    if (one_in(2))
        return torc_tcp_connect_name("server", PORT, NULL);
    return torc_tcp_connect(&server->address, 1, NULL);
}

static int visit(void *arg)
{
    struct server *server = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct torc_scope scope;
        struct peril peril;
        char byte = 0;
        int fd;

        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, 200 * TORC_SECOND);
        peril_open(&peril);
        fd = connect_somehow(server);
        if (fd >= 0 && torc_send_all(fd, "q", 1, NULL) == 0 &&
            torc_recv_all(fd, &byte, 1, NULL) == 0) {
            TORC_SIM_CHECK(byte == 'a');
            server->answered++;
            TORC_SIM_CHECK(server->answered <= server->served);
        }
        peril_close(&peril);
        torc_scope_cancel(&scope);
        (void)torc_scope_close(&scope);
        if (fd >= 0)
            (void)torc_close(fd);
        (void)torc_sleep(some_time(TORC_MILLISECOND));
    }
    return 0;
}

static int visit_all(void *arg)
{
    struct server *server = arg;
    struct torc_scope scope;

    while (!server->is_ready)
        (void)torc_sleep(TORC_MILLISECOND);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        TORC_SIM_CHECK(torc_scope_spawn(&scope, visit, server) == 0);
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    return 0;
}

static int visiting_program(void *arg)
{
    return run_and_check(visit_all, arg, NULL);
}

/* ---- Both ---- */

/* Unix sockets: all are on this host. */
static int both_main(void *arg)
{
    struct server *server = arg;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, serve, server) == 0);
    TORC_SIM_CHECK(visit_all(server) == 0);
    server->is_over = true;
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    check_alone();
    return 0;
}

static int whole_program(void *arg)
{
    return run_and_check(both_main, arg, NULL);
}

static void run_on_two_hosts(struct server *server)
{
    struct torc_sim_host *serving;
    struct torc_sim_host *visiting;

    TORC_SIM_CHECK(torc_sim_host_start("server", "10.0.0.9", serving_program, server, &serving) ==
                   0);
    TORC_SIM_CHECK(torc_sim_host_start("client", NULL, visiting_program, server, &visiting) == 0);
    TORC_SIM_CHECK(wait_for_end(visiting, BOUND_NS) == 0);
    server->is_over = true;
    TORC_SIM_CHECK(wait_for_end(serving, BOUND_NS) == 0);
}

static int scenario(void *arg)
{
    struct server server = {.by_listener = one_in(2), .by_path = one_in(3)};
    struct torc_sim_host *host;

    (void)arg;
    TORC_SIM_CHECK(
        torc_address_parse(server.by_path ? "/tmp/door" : "10.0.0.9:7000", &server.address) == 0);
    if (server.by_path) {
        TORC_SIM_CHECK(torc_sim_host_start("host", NULL, whole_program, &server, &host) == 0);
        TORC_SIM_CHECK(wait_for_end(host, BOUND_NS) == 0);
    } else {
        run_on_two_hosts(&server);
    }
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * stream_abuse_test.c - a server of lines among clients that are well behaved and others that are
 * not: each of these gets its error, and nobody else notices.
 */
#include "harness/stream.h"
#include <errno.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

#define LINE_MAX_BYTES 100

struct server {
    struct torc_listener listener;
    struct torc_address address;
    struct torc_scope *scope;
    /* How its connections ended. */
    unsigned ended;
    unsigned too_long;
    unsigned reset;
    unsigned broken;
};

struct connection {
    struct server *server;
    int fd;
    bool is_taken;
};

static void note_end(struct server *server, ssize_t result)
{
    switch (result) {
    case 0:
        server->ended++;
        break;
    case -ECANCELED:
        break;
    case -EMSGSIZE:
        server->too_long++;
        break;
    case -ECONNRESET:
        server->reset++;
        break;
    case -EPIPE:
        server->broken++;
        break;
    default:
        EXPECT_INT(result, ==, 0);
    }
}

/* Send each line back. */
static int serve_lines(void *arg)
{
    struct connection *connection = arg;
    struct server *server = connection->server;
    struct torc_stream stream;
    const char *line;
    size_t length;
    ssize_t count;
    int closed;

    torc_stream_open(&stream, connection->fd);
    connection->is_taken = true;
    while ((count = torc_stream_peek_line(&stream, LINE_MAX_BYTES, &line, &length)) > 0) {
        const int result = torc_stream_write(&stream, line, (size_t)count, NULL);

        torc_stream_consume(&stream, (size_t)count);
        if (result < 0) {
            count = result;
            break;
        }
    }
    closed = torc_stream_close(&stream);
    /* A reset is told once: to the send, where one was on its way, and the input just ends. */
    note_end(server, count == 0 ? closed : count);
    return 0;
}

static int serve_all(void *arg)
{
    struct server *server = arg;
    struct connection connection = {.server = server};

    while ((connection.fd = torc_listener_accept(&server->listener, NULL)) >= 0) {
        connection.is_taken = false;
        harness_spawn(server->scope, serve_lines, &connection);
        harness_yield_until(&connection.is_taken);
    }
    EXPECT_INT(connection.fd, ==, -EINVAL); /* It was closed. */
    return 0;
}

static void start_server(struct server *server, struct torc_scope *scope)
{
    const struct torc_address address = harness_address("127.0.0.1:0");

    memset(server, 0, sizeof(*server));
    server->scope = scope;
    EXPECT_INT(torc_listener_open(&server->listener, &address, NULL), ==, 0);
    EXPECT_INT(torc_local_address(torc_listener_fd(&server->listener), &server->address), ==, 0);
    harness_spawn(scope, serve_all, server);
}

/* Wait until so many connections have ended, however. */
static void await_ends(const struct server *server, unsigned count)
{
    for (unsigned i = 0;; i++) {
        if (server->ended + server->too_long + server->reset + server->broken == count)
            break;
        EXPECT_UINT(i, <, 1000000);
        harness_pass_kernel();
    }
}

/* ---- Clients ---- */

static int behave(void *arg)
{
    const struct server *server = arg;
    struct torc_stream stream;

    torc_stream_open(&stream, torc_tcp_connect(&server->address, 1, NULL));
    for (int i = 0; i < 20; i++) {
        EXPECT_INT(torc_stream_write(&stream, "a good line\n", 12, NULL), ==, 0);
        harness_expect_input(&stream, "a good line\n");
        harness_yield(harness_random_below(5));
    }
    EXPECT_INT(torc_stream_shutdown(&stream), ==, 0);
    harness_expect_end(&stream, 0);
    return torc_stream_close(&stream);
}

static int send_a_line_without_end(void *arg)
{
    static char data[5000];
    const struct server *server = arg;
    const int fd = torc_tcp_connect(&server->address, 1, NULL);
    int result;

    EXPECT_INT(fd, >=, 0);
    memset(data, 'x', sizeof(data));
    do {
        result = torc_send_all(fd, data, sizeof(data), NULL);
    } while (result == 0);
    EXPECT(result == -EPIPE || result == -ECONNRESET);
    return torc_close(fd);
}

/* Leave in the middle of a line, after `length` bytes. */
static void leave_early(const struct server *server, size_t length, bool by_reset)
{
    const int fd = torc_tcp_connect(&server->address, 1, NULL);
    char byte;

    EXPECT_INT(fd, >=, 0);
    EXPECT_INT(torc_send_all(fd, "half a line", length, NULL), ==, 0);
    if (by_reset) {
        harness_reset(fd);
        return;
    }
    EXPECT_INT(torc_shutdown(fd, SHUT_WR), ==, 0);
    for (size_t i = 0; i < length; i++)
        EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, 1);
    EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, 0);
    close(fd);
}

/* Ask again and again, take no answer, and go. */
static int never_read(void *arg)
{
    const struct server *server = arg;
    const int fd = torc_tcp_connect(&server->address, 1, NULL);
    struct torc_scope scope;
    int result;

    EXPECT_INT(fd, >=, 0);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 20 * TORC_MILLISECOND);
    do {
        result = torc_send_all(fd, "answer me\n", 10, NULL);
    } while (result == 0);
    EXPECT_INT(result, ==, -ETIME);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    harness_reset(fd);
    return 0;
}

/* ---- Tests ---- */

enum {
    GOOD = 10,
    EARLY = 12
};

FIBER_TEST(bad_clients_get_their_errors_and_good_ones_their_answers)
{
    struct torc_scope clients;
    struct torc_scope scope;
    struct server server;

    torc_scope_open(&scope, 0);
    start_server(&server, &scope);
    torc_scope_open(&clients, 0);
    for (int i = 0; i < GOOD; i++)
        harness_spawn(&clients, behave, &server);
    for (int i = 0; i < 3; i++)
        harness_spawn(&clients, send_a_line_without_end, &server);
    harness_spawn(&clients, never_read, &server);
    for (size_t length = 0; length < EARLY; length++) {
        leave_early(&server, length, true);
        leave_early(&server, length, false);
    }
    EXPECT_INT(torc_scope_close(&clients), ==, 0);
    await_ends(&server, GOOD + 3 + 1 + 2 * EARLY);
    EXPECT_UINT(server.too_long, ==, 3);
    EXPECT_UINT(server.ended, ==, GOOD + EARLY);
    EXPECT_UINT(server.reset + server.broken, ==, 1 + EARLY);
    EXPECT_INT(torc_listener_close(&server.listener), ==, 0);
    EXPECT_INT(torc_scope_close(&scope), ==, 0);
}

FIBER_TEST(a_server_that_is_cancelled_lets_go_of_all_its_connections)
{
    struct torc_scope scope;
    struct server server;
    int clients[20];

    torc_scope_open(&scope, 0);
    start_server(&server, &scope);
    for (int i = 0; i < 20; i++) {
        char byte;

        clients[i] = harness_dial(&server.address);
        harness_put(clients[i], "x\nhalf", 6);
        EXPECT_INT(torc_recv(clients[i], &byte, 1, 0), ==, 1);
    }
    EXPECT_INT(torc_listener_close(&server.listener), ==, 0);
    torc_scope_cancel(&scope);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    for (int i = 0; i < 20; i++) {
        EXPECT_INT(harness_drain(clients[i]), <=, 1);
        close(clients[i]);
    }
}

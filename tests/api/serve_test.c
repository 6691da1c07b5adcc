/* SPDX-License-Identifier: MIT */
/*
 * serve_test.c - a server on one shard and on several: its connections, and how it ends.
 */
#include "harness/directory.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>
#include <unistd.h>

/* A server, on the shard of the test, which is its client. */
struct rig {
    struct torc_server server;
    struct torc_address address; /* as `listening` was told */
    unsigned told;
    struct torc_event up;
    struct torc_event served;
    struct torc_event released;
    struct torc_event down;
    struct torc_event exhausted;
    int error; /* told to it */
    unsigned served_now;
    int reason; /* that a connection found */
    int result;
};

static void note_address(const struct torc_address *address, void *arg)
{
    struct rig *rig = arg;

    rig->address = *address;
    rig->told++;
    torc_event_set(&rig->up);
}

static void note_error(int error, void *arg)
{
    struct rig *rig = arg;

    rig->error = error;
    torc_event_set(&rig->exhausted);
}

static void echo(struct torc_stream *stream, void *arg)
{
    (void)arg;
    (void)torc_stream_copy(stream, stream, NULL);
}

static int serve(void *arg)
{
    struct rig *rig = arg;

    rig->result = torc_serve(&rig->server);
    torc_event_set(&rig->down);
    return 0;
}

static void begin(struct rig *rig, struct torc_scope *scope)
{
    rig->server.arg = rig;
    rig->server.listening = note_address;
    if (rig->server.address.length == 0)
        rig->server.address = harness_address("127.0.0.1:0");
    harness_spawn(scope, serve, rig);
    EXPECT_INT(torc_event_wait(&rig->up), ==, 0);
}

static void end(struct rig *rig, int result)
{
    EXPECT_INT(torc_event_wait(&rig->down), ==, 0);
    EXPECT_INT(rig->result, ==, result);
    EXPECT_UINT(rig->told, ==, 1);
    harness_yield_until_alone();
}

static int dial(const struct torc_address *address)
{
    const int fd = torc_tcp_connect(address, 1, NULL);

    EXPECT_INT(fd, >=, 0);
    return fd;
}

/* The connection echoes. */
static void say(int fd, const char *text)
{
    char answer[64];

    EXPECT_INT(torc_send_all(fd, text, strlen(text), NULL), ==, 0);
    EXPECT_INT(torc_recv_all(fd, answer, strlen(text), NULL), ==, 0);
    EXPECT_MEM(answer, text, strlen(text));
}

static void expect_end(int fd)
{
    char byte;

    EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
}

/* ---- One shard ---- */

FIBER_TEST(connections_are_served_at_the_same_time_until_the_server_is_stopped)
{
    struct rig rig = {.server = {.serve = echo}};
    int fds[5];

    begin(&rig, NULL);
    EXPECT_UINT(torc_address_port(&rig.address), !=, 0);
    for (int i = 0; i < 5; i++)
        fds[i] = dial(&rig.address);
    for (int i = 4; i >= 0; i--)
        say(fds[i], "hello");
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    expect_end(fds[0]); /* It is closed when serve returns. */
    torc_server_stop(&rig.server);
    torc_server_stop(&rig.server);
    for (int i = 1; i < 5; i++)
        expect_end(fds[i]);
    end(&rig, 0);
    EXPECT_INT(torc_tcp_connect(&rig.address, 1, NULL), ==, -ECONNREFUSED);
}

FIBER_TEST(a_server_that_was_stopped_before_does_not_begin)
{
    struct rig rig = {.server = {.serve = echo, .address = harness_address("127.0.0.1:0")}};

    torc_server_stop(&rig.server);
    EXPECT_INT(torc_serve(&rig.server), ==, 0);
}

static int cancel_soon(void *scope)
{
    harness_pass_kernel();
    torc_scope_cancel(scope);
    return 0;
}

FIBER_TEST(a_reason_of_the_scope_around_it_stops_it_and_is_returned)
{
    struct rig rig = {.server = {.serve = echo}};
    struct torc_scope scope;
    int fd;

    torc_scope_open(&scope, 0);
    begin(&rig, &scope);
    fd = dial(&rig.address);
    harness_spawn(NULL, cancel_soon, &scope);
    (void)torc_sleep(TORC_FOREVER);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    expect_end(fd);
    end(&rig, -ECANCELED);
}

FIBER_TEST(a_deadline_stops_it_and_is_returned)
{
    struct rig rig = {.server = {.serve = echo}};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    begin(&rig, &scope);
    torc_scope_set_timeout(&scope, TORC_MILLISECOND);
    EXPECT_INT(torc_scope_close(&scope), ==, -ETIME);
    end(&rig, -ETIME);
}

FIBER_TEST(an_address_in_use_is_an_error)
{
    struct torc_server server = {.serve = echo};
    const int listener = harness_listener(&server.address);

    EXPECT_INT(torc_serve(&server), ==, -EADDRINUSE);
    close(listener);
}

/* ---- The end ---- */

/* Answer when the input has ended, and not before. */
static void answer_at_the_end(struct torc_stream *stream, void *arg)
{
    struct rig *rig = arg;
    const void *data;
    char first;

    EXPECT_INT(torc_stream_read_all(stream, &first, 1, NULL), ==, 0);
    torc_event_set(&rig->served);
    EXPECT_INT(torc_stream_peek_at_least(stream, 100, &data), ==, 4);
    EXPECT_INT(torc_stream_write(stream, data, 4, NULL), ==, 0);
    rig->reason = torc_cancelled();
}

FIBER_TEST(in_the_grace_connections_come_to_the_end_of_their_input_and_can_answer_it)
{
    struct rig rig = {.server = {.serve = answer_at_the_end, .grace_ns = TORC_FOREVER / 2}};
    char answer[4];
    int fd;

    begin(&rig, NULL);
    fd = dial(&rig.address);
    EXPECT_INT(torc_send_all(fd, "hello", 5, NULL), ==, 0);
    EXPECT_INT(torc_event_wait(&rig.served), ==, 0);
    torc_server_stop(&rig.server);
    EXPECT_INT(torc_recv_all(fd, answer, 4, NULL), ==, 0);
    EXPECT_MEM(answer, "ello", 4);
    expect_end(fd);
    end(&rig, 0);
    EXPECT_INT(rig.reason, ==, 0);
}

static void wait_for_ever(struct torc_stream *stream, void *arg)
{
    struct rig *rig = arg;

    (void)stream;
    torc_event_set(&rig->served);
    rig->reason = torc_sleep(TORC_FOREVER);
}

static void wait_to_be_cut_off(uint64_t grace_ns, int reason)
{
    struct rig rig = {.server = {.serve = wait_for_ever, .grace_ns = grace_ns}};
    int fd;

    begin(&rig, NULL);
    fd = dial(&rig.address);
    EXPECT_INT(torc_event_wait(&rig.served), ==, 0);
    torc_server_stop(&rig.server);
    expect_end(fd);
    end(&rig, 0);
    EXPECT_INT(rig.reason, ==, reason);
}

FIBER_TEST(without_a_grace_connections_are_cancelled)
{
    wait_to_be_cut_off(0, -ECANCELED);
}

FIBER_TEST(after_the_grace_connections_are_cut_off)
{
    wait_to_be_cut_off(TORC_MILLISECOND, -ETIME);
}

FIBER_TEST(many_connections_end_together)
{
    struct rig rig = {.server = {.serve = echo, .grace_ns = TORC_FOREVER / 2}};
    int fds[200];

    begin(&rig, NULL);
    for (int i = 0; i < 200; i++)
        fds[i] = dial(&rig.address);
    for (int i = 0; i < 200; i++)
        say(fds[i], "x");
    torc_server_stop(&rig.server);
    for (int i = 0; i < 200; i++)
        expect_end(fds[i]);
    end(&rig, 0);
}

static void take_out(struct torc_stream *stream, void *arg)
{
    struct rig *rig = arg;
    char byte;

    rig->reason = torc_stream_detach(stream);
    torc_event_set(&rig->served);
    EXPECT_INT(torc_recv(rig->reason, &byte, 1, 0), ==, 1);
}

FIBER_TEST(a_descriptor_that_was_taken_out_of_the_stream_is_left_alone)
{
    struct rig rig = {.server = {.serve = take_out, .grace_ns = TORC_FOREVER / 2}};
    int fd;

    begin(&rig, NULL);
    fd = dial(&rig.address);
    EXPECT_INT(torc_event_wait(&rig.served), ==, 0);
    torc_server_stop(&rig.server);
    harness_pass_kernel();
    EXPECT_INT(torc_send_all(fd, "ab", 2, NULL), ==, 0);
    end(&rig, 0);
    EXPECT_INT(torc_close(rig.reason), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
}

/* ---- Signals ---- */

static bool is_default(int number)
{
    struct sigaction action;

    EXPECT_INT(sigaction(number, NULL, &action), ==, 0);
    return !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL;
}

static void wait_for_release(struct torc_stream *stream, void *arg)
{
    struct rig *rig = arg;

    (void)stream;
    torc_event_set(&rig->served);
    rig->reason = torc_event_wait(&rig->released);
}

static void stop_by_signal(int number)
{
    struct rig rig = {.server = {.serve = wait_for_release, .grace_ns = TORC_FOREVER / 2}};
    int fd;

    signal(number, SIG_DFL); /* Check's main program had set a handler. */
    begin(&rig, NULL);
    EXPECT(!is_default(number));
    fd = dial(&rig.address);
    EXPECT_INT(torc_event_wait(&rig.served), ==, 0);
    EXPECT_INT(raise(number), ==, 0);
    while (!is_default(number)) /* Now the connection is in its grace. */
        EXPECT_INT(torc_yield(), ==, 0);
    torc_event_set(&rig.released);
    expect_end(fd);
    end(&rig, 0);
    EXPECT_INT(rig.reason, ==, 0);
}

FIBER_TEST(a_signal_stops_it_and_the_next_one_does_what_it_always_does)
{
    if (UNDER_TSAN && harness_is_simulated())
        SKIP("the simulated kernel allocates in the handler, and TSan sees that it is one");
    stop_by_signal(SIGINT);
    stop_by_signal(SIGTERM);
}

FIBER_TEST(signals_are_left_alone_if_that_is_asked_for)
{
    struct rig rig = {.server = {.serve = echo, .no_signals = true}};

    signal(SIGTERM, SIG_DFL);
    begin(&rig, NULL);
    EXPECT(is_default(SIGTERM));
    torc_server_stop(&rig.server);
    end(&rig, 0);
}

/* ---- Limits ---- */

FIBER_TEST(without_a_descriptor_connections_wait_until_others_have_ended)
{
    struct rig rig = {.server = {.serve = echo, .exhausted = note_error}};
    int spares[64];
    unsigned count = 0;
    int first;
    int late;

    if (harness_is_valgrind())
        SKIP("the limit of descriptors is valgrind's own, and the kernel's rings know another");
    late = torc_socket(AF_INET, SOCK_STREAM, 0);
    harness_leave_fds(32); /* First: an accept knows the limit that there was when it began. */
    begin(&rig, NULL);
    first = dial(&rig.address);
    say(first, "first");
    while (count < 64 && (spares[count] = dup(first)) >= 0)
        count++;
    EXPECT_UINT(count, <, 64);
    EXPECT_INT(torc_connect(late, &rig.address), ==, 0); /* Into the kernel's queue. */
    EXPECT_INT(torc_event_wait(&rig.exhausted), ==, 0);
    EXPECT_INT(rig.error, ==, -EMFILE);
    while (count > 0)
        close(spares[--count]);
    say(late, "late");
    torc_server_stop(&rig.server);
    expect_end(first);
    expect_end(late);
    end(&rig, 0);
}

/* The client, the server, what accepts, and one connection. */
static int leave_room_for_one(void *arg)
{
    struct rig rig = {.server = {.serve = echo, .exhausted = note_error, .no_signals = true}};
    int first;
    int late;

    (void)arg;
    begin(&rig, NULL);
    first = dial(&rig.address);
    say(first, "first");
    late = dial(&rig.address);
    EXPECT_INT(torc_event_wait(&rig.exhausted), ==, 0);
    EXPECT_INT(rig.error, ==, -ENOMEM);
    EXPECT_INT(torc_close(first), ==, 0);
    say(late, "late");
    torc_server_stop(&rig.server);
    expect_end(late);
    end(&rig, 0);
    return 0;
}

TEST(without_a_fiber_connections_wait_until_others_have_ended)
{
    harness_run_with(&(struct torc_options){.fibers_max = 4}, leave_room_for_one, NULL);
}

static void echo_to_two(struct torc_stream *stream, void *arg)
{
    struct rig *rig = arg;

    EXPECT_UINT(++rig->served_now, <=, 2);
    (void)torc_stream_copy(stream, stream, NULL);
    rig->served_now--;
}

FIBER_TEST(no_more_connections_are_served_at_once_than_is_asked_for)
{
    struct rig rig = {
        .server = {.serve = echo_to_two, .exhausted = note_error, .connections_max = 2}};
    int fds[6];

    begin(&rig, NULL);
    for (unsigned i = 0; i < 6; i++)
        fds[i] = dial(&rig.address);
    for (unsigned i = 0; i < 6; i++) {
        say(fds[i], "hello");
        EXPECT_INT(torc_shutdown(fds[i], SHUT_WR), ==, 0);
        expect_end(fds[i]);
    }
    EXPECT_INT(rig.error, ==, 0); /* That is not what it is for. */
    torc_server_stop(&rig.server);
    end(&rig, 0);
}

static void serve_twice(void)
{
    struct rig rig = {.server = {.serve = echo}};

    begin(&rig, NULL);
    (void)torc_serve(&rig.server);
}

TEST(a_shard_that_serves_the_same_server_twice_aborts)
{
    harness_expect_fiber_death(serve_twice, SIGABRT, "serves a server twice");
}

FIBER_TEST(a_unix_socket_is_served_and_its_path_removed)
{
    char folder[] = "/tmp/torc-serve-XXXXXX";
    struct rig rig = {.server = {.serve = echo}};
    char path[64];
    int fd;

    EXPECT(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof(path), "%s/socket", folder);
    rig.server.address = harness_address(path);
    begin(&rig, NULL);
    fd = torc_unix_connect(&rig.address, SOCK_STREAM);
    EXPECT_INT(fd, >=, 0);
    say(fd, "hello");
    torc_server_stop(&rig.server);
    expect_end(fd);
    end(&rig, 0);
    EXPECT_INT(rmdir(folder), ==, 0); /* It is empty. */
}

static void *stop_from_thread(void *server)
{
    torc_server_stop(server);
    return NULL;
}

FIBER_TEST_WITH_THREADS(a_thread_may_stop_a_server)
{
    struct rig rig = {.server = {.serve = echo}};
    pthread_t thread;

    begin(&rig, NULL);
    thread = harness_thread(stop_from_thread, &rig.server);
    end(&rig, 0);
    harness_join(thread);
}

/* ---- Several shards ---- */

#define SHARDS      3u
#define CLIENTS_MAX 500u

struct many {
    struct torc_server server;
    struct torc_shared_event up;
    struct torc_shared_event released;
    struct torc_shared_event late;
    void (*client)(struct many *many); /* on shard 0, once the server is up */
    struct torc_event gone;            /* the client has */
    struct torc_address address;
    atomic_uint served[SHARDS];
    atomic_uint returned;
    atomic_uint refused; /* who could not listen */
};

static void note_many(const struct torc_address *address, void *arg)
{
    struct many *many = arg;

    many->address = *address;
    torc_shared_event_set(&many->up);
}

/* Whether this shard has another fiber than main: the one that accepts. */
static int has_begun(void *arg)
{
    (void)arg;
    return harness_fibers() > 1;
}

/* The client of shard 0, whose end its main function waits for. All shards serve when it begins. */
static int be_client(void *arg)
{
    struct many *many = arg;

    EXPECT_INT(torc_shared_event_wait(&many->up), ==, 0);
    for (unsigned i = 1; i < SHARDS;) {
        const int result = torc_shard_ask(i, has_begun, NULL);

        EXPECT_INT(result, >=, 0);
        i += result > 0;
    }
    many->client(many);
    torc_event_set(&many->gone);
    return 0;
}

static int serve_many(void *arg)
{
    struct many *many = arg;
    int result;

    if (torc_shard_index() == 0 && many->client != NULL)
        harness_spawn(NULL, be_client, many);
    result = torc_serve(&many->server);
    atomic_fetch_add(&many->returned, 1);
    atomic_fetch_add(&many->refused, result == -EADDRINUSE);
    if (torc_shard_index() == 0 && many->client != NULL && torc_cancelled() == 0)
        EXPECT_INT(torc_event_wait(&many->gone), ==, 0);
    return result;
}

static void run_many(struct many *many, int result)
{
    const struct torc_options options = {.shards = SHARDS, .no_pin = true};

    many->server.arg = many;
    many->server.listening = note_many;
    if (many->server.address.length == 0)
        many->server.address = harness_address("127.0.0.1:0");
    EXPECT_INT(harness_run_result(&options, serve_many, many), ==, result);
    EXPECT_UINT(many->returned, ==, SHARDS);
}

/* Count the connection for its shard, and serve it to the end of its input. */
static void count(struct torc_stream *stream, void *arg)
{
    struct many *many = arg;

    atomic_fetch_add(&many->served[torc_shard_index()], 1);
    (void)torc_stream_copy(stream, stream, NULL);
}

static unsigned shards_that_served(const struct many *many)
{
    unsigned shards = 0;

    for (unsigned i = 0; i < SHARDS; i++)
        shards += atomic_load(&many->served[i]) > 0;
    return shards;
}

/* Dial until each shard has served somebody. Returns how many are open. */
static unsigned dial_all(struct many *many, int fds[CLIENTS_MAX])
{
    unsigned used = 0;

    while (shards_that_served(many) < SHARDS) {
        EXPECT_UINT(used, <, CLIENTS_MAX);
        fds[used] = many->address.any.sa_family == AF_UNIX
                        ? torc_unix_connect(&many->address, SOCK_STREAM)
                        : dial(&many->address);
        EXPECT_INT(fds[used], >=, 0);
        say(fds[used++], "hello");
    }
    return used;
}

static void visit_all(struct many *many)
{
    int fds[CLIENTS_MAX];
    unsigned used = dial_all(many, fds);

    torc_server_stop(&many->server);
    while (used > 0)
        expect_end(fds[--used]);
}

TEST(every_shard_serves_what_it_accepts)
{
    struct many many = {.server = {.serve = count}, .client = visit_all};

    NEEDS_THREADS();
    run_many(&many, 0);
}

TEST(one_shard_accepts_for_all)
{
    struct many many = {.server = {.serve = count, .one_acceptor = true}, .client = visit_all};

    NEEDS_THREADS();
    run_many(&many, 0);
}

TEST(a_unix_socket_is_served_by_all_shards)
{
    struct many many = {.server = {.serve = count, .address = harness_address("@torc-serve-test")},
                        .client = visit_all};

    NEEDS_THREADS();
    (void)snprintf(many.server.address.local.sun_path + 1, 32, "torc-serve-%ld", (long)getpid());
    many.server.address.length = sizeof(struct sockaddr_un);
    run_many(&many, 0);
}

TEST(what_one_shard_cannot_do_stops_all)
{
    struct torc_address address;
    int listener;

    NEEDS_THREADS();
    listener = harness_listener(&address);
    for (unsigned i = 0; i < harness_scaled(20); i++) {
        struct many many = {.server = {.serve = count, .address = address}};

        run_many(&many, -EADDRINUSE);
        EXPECT_UINT(many.refused, ==, 1); /* The others did not try. */
    }
    close(listener);
}

static void raise_when_up(struct many *many)
{
    (void)many;
    EXPECT_INT(raise(SIGTERM), ==, 0);
}

TEST(a_signal_stops_all_shards_wherever_they_are)
{
    NEEDS_THREADS();
    if (UNDER_TSAN && harness_is_simulated())
        SKIP("the simulated kernel allocates in the handler, and TSan sees that it is one");
    for (unsigned i = 0; i < harness_scaled(50); i++) {
        struct many many = {.server = {.serve = count, .one_acceptor = i % 2},
                            .client = raise_when_up};

        signal(SIGTERM, SIG_DFL);
        run_many(&many, 0);
    }
}

static void hold(struct torc_stream *stream, void *arg)
{
    struct many *many = arg;

    count(stream, arg);
    EXPECT_INT(torc_shared_event_wait(&many->released), ==, 0);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* No shard has anything left to read, but all go on serving those that have not ended. */
static void hold_all(struct many *many)
{
    int fds[CLIENTS_MAX];
    unsigned used = dial_all(many, fds);

    torc_server_stop(&many->server);
    for (unsigned i = 0; i < harness_scaled(200); i++) {
        EXPECT_INT(torc_shard_ask(i % SHARDS, nothing, NULL), ==, 0);
        EXPECT_UINT(many->returned, ==, 0);
    }
    torc_shared_event_set(&many->released);
    while (used > 0)
        expect_end(fds[--used]);
}

TEST(all_shards_go_on_until_the_last_connection_has_ended)
{
    struct many many = {.server = {.serve = hold, .grace_ns = TORC_FOREVER / 2},
                        .client = hold_all};

    NEEDS_THREADS();
    run_many(&many, 0);
}

static int hold_one(void *arg)
{
    struct many *many = arg;
    int fd;

    EXPECT_INT(torc_shared_event_wait(&many->up), ==, 0);
    fd = dial(&many->address);
    while (atomic_load(&many->served[0]) == 0)
        EXPECT_INT(torc_yield(), ==, 0);
    torc_server_stop(&many->server);
    torc_shared_event_set(&many->late);
    for (unsigned i = 0; i < harness_scaled(200); i++) {
        EXPECT_INT(torc_shard_ask(1 + i % 2, nothing, NULL), ==, 0);
        EXPECT_UINT(many->returned, ==, 0);
    }
    torc_shared_event_set(&many->released);
    expect_end(fd);
    torc_event_set(&many->gone);
    return 0;
}

/* A connection, which is held; then the server is stopped, and two shards come too late. */
static int come_late(void *arg)
{
    struct many *many = arg;

    if (torc_shard_index() != 0)
        EXPECT_INT(torc_shared_event_wait(&many->late), ==, 0);
    else
        harness_spawn(NULL, hold_one, many);
    EXPECT_INT(torc_serve(&many->server), ==, 0);
    atomic_fetch_add(&many->returned, 1);
    return torc_shard_index() == 0 ? torc_event_wait(&many->gone) : 0;
}

TEST(who_comes_after_the_end_goes_on_as_long_as_the_others)
{
    const struct torc_options options = {.shards = SHARDS, .no_pin = true};
    struct many many = {.server = {.serve = hold, .grace_ns = TORC_FOREVER / 2}};

    NEEDS_THREADS();
    many.server.arg = &many;
    many.server.listening = note_many;
    many.server.address = harness_address("127.0.0.1:0");
    EXPECT_INT(harness_run_result(&options, come_late, &many), ==, 0);
    EXPECT_UINT(many.returned, ==, SHARDS);
}

static void stop_all(struct many *many)
{
    (void)many;
    torc_stop();
}

TEST(stopping_the_runtime_stops_the_server)
{
    struct many many = {.server = {.serve = count}, .client = stop_all};

    NEEDS_THREADS();
    run_many(&many, 0);
}

/* SPDX-License-Identifier: MIT */
/*
 * serve_test.c - a server on one shard: its connections, and how it ends.
 */
#include "harness/client.h"
#include "harness/net.h"
#include "harness/run.h"
#include "harness/stream.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
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
    int error;       /* told to it ... */
    unsigned errors; /* ... so often */
    unsigned served_now;
    int reason; /* that a connection found */
    int result;
    struct torc_scope *scope; /* around it */
    int fds[2];               /* taken out of their streams */
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
    rig->errors++;
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

/* ---- One shard ---- */

FIBER_TEST(connections_are_served_at_the_same_time_until_the_server_is_stopped)
{
    struct rig rig = {.server = {.serve = echo}};
    int fds[5];

    begin(&rig, NULL);
    EXPECT_UINT(torc_address_port(&rig.address), !=, 0);
    for (int i = 0; i < 5; i++)
        fds[i] = client_dial(&rig.address);
    for (int i = 4; i >= 0; i--)
        client_say(fds[i], "hello");
    EXPECT_INT(torc_shutdown(fds[0], SHUT_WR), ==, 0);
    client_expect_end(fds[0]); /* It is closed when serve returns. */
    torc_server_stop(&rig.server);
    torc_server_stop(&rig.server);
    for (int i = 1; i < 5; i++)
        client_expect_end(fds[i]);
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
    fd = client_dial(&rig.address);
    harness_spawn(NULL, cancel_soon, &scope);
    (void)torc_sleep(TORC_FOREVER);
    EXPECT_INT(torc_scope_close(&scope), ==, -ECANCELED);
    client_expect_end(fd);
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
    fd = client_dial(&rig.address);
    EXPECT_INT(torc_send_all(fd, "hello", 5, NULL), ==, 0);
    EXPECT_INT(torc_event_wait(&rig.served), ==, 0);
    torc_server_stop(&rig.server);
    EXPECT_INT(torc_recv_all(fd, answer, 4, NULL), ==, 0);
    EXPECT_MEM(answer, "ello", 4);
    client_expect_end(fd);
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
    fd = client_dial(&rig.address);
    EXPECT_INT(torc_event_wait(&rig.served), ==, 0);
    torc_server_stop(&rig.server);
    client_expect_end(fd);
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
        fds[i] = client_dial(&rig.address);
    for (int i = 0; i < 200; i++)
        client_say(fds[i], "x");
    torc_server_stop(&rig.server);
    for (int i = 0; i < 200; i++)
        client_expect_end(fds[i]);
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
    fd = client_dial(&rig.address);
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
    fd = client_dial(&rig.address);
    EXPECT_INT(torc_event_wait(&rig.served), ==, 0);
    EXPECT_INT(raise(number), ==, 0);
    while (!is_default(number)) /* Now the connection is in its grace. */
        EXPECT_INT(torc_yield(), ==, 0);
    torc_event_set(&rig.released);
    client_expect_end(fd);
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

static bool is_ignored(int number)
{
    struct sigaction action;

    EXPECT_INT(sigaction(number, NULL, &action), ==, 0);
    return !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN;
}

FIBER_TEST(a_signal_that_is_ignored_stays_so)
{
    struct rig rig = {.server = {.serve = echo}};
    int fd;

    signal(SIGINT, SIG_IGN); /* As a shell does for what it starts in the background. */
    signal(SIGTERM, SIG_DFL);
    begin(&rig, NULL);
    EXPECT(is_ignored(SIGINT));
    EXPECT(!is_default(SIGTERM));
    EXPECT_INT(raise(SIGINT), ==, 0);
    fd = client_dial(&rig.address);
    client_say(fd, "still there");
    torc_server_stop(&rig.server);
    client_expect_end(fd);
    end(&rig, 0);
}

FIBER_TEST(where_both_signals_are_ignored_none_is_watched)
{
    struct rig rig = {.server = {.serve = echo}};

    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    begin(&rig, NULL);
    EXPECT(is_ignored(SIGINT));
    EXPECT(is_ignored(SIGTERM));
    torc_server_stop(&rig.server);
    end(&rig, 0);
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

static void give_back(int spares[], unsigned count)
{
    while (count > 0)
        close(spares[--count]);
}

static void raise_limit(int spares[], unsigned count)
{
    (void)spares;
    (void)count;
    (void)harness_raise_fd_limit();
}

static void run_out_of_descriptors(void (*help)(int spares[], unsigned count))
{
    struct rig rig = {.server = {.serve = echo, .exhausted = note_error}};
    int spares[64];
    unsigned count = 0;
    int first;
    int late;

    late = torc_socket(AF_INET, SOCK_STREAM, 0);
    harness_leave_fds(32); /* First: an accept knows the limit that there was when it began. */
    begin(&rig, NULL);
    first = client_dial(&rig.address);
    client_say(first, "first");
    while (count < 64 && (spares[count] = dup(first)) >= 0)
        count++;
    EXPECT_UINT(count, <, 64);
    EXPECT_INT(torc_connect(late, &rig.address), ==, 0); /* Into the kernel's queue. */
    EXPECT_INT(torc_event_wait(&rig.exhausted), ==, 0);
    EXPECT_INT(rig.error, ==, -EMFILE);
    help(spares, count);
    client_say(late, "late");
    if (help == raise_limit)
        give_back(spares, count);
    torc_server_stop(&rig.server);
    client_expect_end(first);
    client_expect_end(late);
    end(&rig, 0);
}

FIBER_TEST(without_a_descriptor_connections_wait_until_there_is_one)
{
    if (harness_is_valgrind())
        SKIP("the limit of descriptors is valgrind's own, and the kernel's rings know another");
    run_out_of_descriptors(give_back);
}

FIBER_TEST(the_limit_of_descriptors_may_be_raised_while_connections_wait)
{
    if (harness_is_valgrind())
        SKIP("the limit of descriptors is valgrind's own, and the kernel's rings know another");
    run_out_of_descriptors(raise_limit);
}

static void note_delay(struct torc_stream *stream, void *arg)
{
    struct rig *rig = arg;
    socklen_t length = sizeof(rig->reason);

    EXPECT_INT(getsockopt(torc_stream_fd(stream), IPPROTO_TCP, TCP_NODELAY, &rig->reason, &length),
               ==, 0);
}

FIBER_TEST(connections_do_without_the_algorithm_of_nagle_unless_delay_is_asked_for)
{
    for (unsigned i = 0; i < 2; i++) {
        struct rig rig = {.server = {.serve = note_delay, .delay = i == 1}};

        begin(&rig, NULL);
        client_expect_end(client_dial(&rig.address));
        EXPECT_INT(rig.reason, ==, i == 0);
        torc_server_stop(&rig.server);
        end(&rig, 0);
    }
}

static struct torc_stats stats(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats;
}

/* The client, the server, what accepts, and one connection. */
static int leave_room_for_one(void *arg)
{
    struct rig rig = {.server = {.serve = echo, .exhausted = note_error, .no_signals = true}};
    int first;
    int late;

    (void)arg;
    begin(&rig, NULL);
    first = client_dial(&rig.address);
    client_say(first, "first");
    late = client_dial(&rig.address);
    EXPECT_INT(torc_event_wait(&rig.exhausted), ==, 0);
    EXPECT_INT(rig.error, ==, -ENOMEM);
    EXPECT_INT(torc_close(first), ==, 0);
    client_say(late, "late");
    if (harness_is_simulated()) /* Elsewhere that may take longer than the pause. */
        EXPECT_UINT(stats().timers_fired, ==, 0);
    torc_server_stop(&rig.server);
    client_expect_end(late);
    end(&rig, 0);
    return 0;
}

TEST(without_a_fiber_connections_wait_until_others_have_ended)
{
    harness_run_with(&(struct torc_options){.fibers_max = 4}, leave_room_for_one, NULL);
}

/* Each finds no fiber for the next one, and when it ends, that one does. */
static int serve_one_after_another(void *arg)
{
    struct rig rig = {.server = {.serve = echo, .exhausted = note_error, .no_signals = true}};
    const uint64_t begun_ns = torc_now();
    int fds[20];

    (void)arg;
    begin(&rig, NULL);
    for (unsigned i = 0; i < 20; i++)
        fds[i] = client_dial(&rig.address);
    for (unsigned i = 0; i < 18; i++) {
        client_say(fds[i], "hello");
        EXPECT_INT(torc_close(fds[i]), ==, 0);
    }
    EXPECT_UINT(rig.errors, <=, 1 + (torc_now() - begun_ns) / (10 * TORC_MILLISECOND));
    client_say(fds[18], "hello");
    for (unsigned i = 0; i < 3; i++) {
        torc_event_clear(&rig.exhausted);
        EXPECT_INT(torc_event_wait(&rig.exhausted), ==, 0);
    }
    EXPECT_UINT(rig.errors, <=, 1 + (torc_now() - begun_ns) / (10 * TORC_MILLISECOND));
    torc_server_stop(&rig.server);
    client_expect_end(fds[18]);
    (void)torc_close(fds[19]);
    end(&rig, 0);
    return 0;
}

TEST(exhaustion_is_told_every_ten_milliseconds_at_most_and_as_long_as_it_lasts)
{
    harness_run_with(&(struct torc_options){.fibers_max = 4}, serve_one_after_another, NULL);
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
        fds[i] = client_dial(&rig.address);
    for (unsigned i = 0; i < 6; i++) {
        client_say(fds[i], "hello");
        EXPECT_INT(torc_shutdown(fds[i], SHUT_WR), ==, 0);
        client_expect_end(fds[i]);
    }
    EXPECT_INT(rig.error, ==, 0); /* That is not what it is for. */
    torc_server_stop(&rig.server);
    end(&rig, 0);
}

/* A server of one connection, which has it, and another that waits. */
static void begin_full(struct rig *rig, int *ret_first, int *ret_late)
{
    begin(rig, NULL);
    *ret_first = client_dial(&rig->address);
    *ret_late = client_dial(&rig->address);
    client_say(*ret_first, "first");
}

FIBER_TEST(at_the_limit_of_connections_no_timer_runs)
{
    struct rig rig = {.server = {.serve = echo, .connections_max = 1}};
    int first;
    int late;

    begin_full(&rig, &first, &late);
    for (unsigned i = 0; i < 10; i++)
        harness_pass_kernel();
    EXPECT_UINT(stats().timers, ==, 0);
    EXPECT_INT(torc_close(first), ==, 0);
    client_say(late, "late");
    torc_server_stop(&rig.server);
    client_expect_end(late);
    end(&rig, 0);
}

FIBER_TEST(a_server_at_its_limit_of_connections_is_stopped)
{
    struct rig rig = {.server = {.serve = echo, .connections_max = 1}};
    int first;
    int late;

    begin_full(&rig, &first, &late);
    harness_pass_kernel();
    torc_server_stop(&rig.server);
    client_expect_end(first);
    /* It is closed, too, with a reset if the kernel had not handed it out. */
    (void)torc_close(late);
    end(&rig, 0);
}

/* Two wait; nothing comes between their ends, and before the second the server is stopped. */
static void stop_when_released(struct torc_stream *stream, void *arg)
{
    struct rig *rig = arg;

    EXPECT_INT(torc_event_wait(&rig->released), ==, 0);
    if (++rig->served_now > 2) {
        (void)torc_stream_copy(stream, stream, NULL);
        return;
    }
    rig->fds[rig->served_now - 1] = torc_stream_detach(stream);
    if (rig->served_now == 2)
        torc_scope_cancel(rig->scope);
}

/* One is waited with, and one more may be in the queue, when there is room for both. */
FIBER_TEST(what_was_accepted_is_served_if_there_is_room_when_the_server_is_stopped)
{
    const unsigned count = harness_has_multishot() ? 4 : 3;
    struct torc_scope scope;
    struct rig rig = {
        .server = {.serve = stop_when_released, .connections_max = 2, .grace_ns = TORC_FOREVER / 2},
        .scope = &scope};
    int fds[4];

    torc_scope_open(&scope, 0);
    begin(&rig, &scope);
    for (unsigned i = 0; i < count; i++) {
        fds[i] = client_dial(&rig.address);
        EXPECT_INT(torc_send_all(fds[i], "hello", 5, NULL), ==, 0);
    }
    for (unsigned i = 0; i < 10; i++)
        harness_pass_kernel();
    torc_event_set(&rig.released);
    EXPECT_INT(torc_sleep(TORC_FOREVER), ==, -ECANCELED);
    (void)torc_scope_close(&scope);
    for (unsigned i = 2; i < count; i++) {
        char answer[5];

        EXPECT_INT(torc_recv_all(fds[i], answer, 5, NULL), ==, 0);
        EXPECT_MEM(answer, "hello", 5);
        client_expect_end(fds[i]);
    }
    end(&rig, -ECANCELED);
    for (unsigned i = 0; i < 2; i++) {
        EXPECT_INT(torc_close(rig.fds[i]), ==, 0);
        EXPECT_INT(torc_close(fds[i]), ==, 0);
    }
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
    fd = client_dial(&rig.address);
    client_say(fd, "hello");
    torc_server_stop(&rig.server);
    client_expect_end(fd);
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

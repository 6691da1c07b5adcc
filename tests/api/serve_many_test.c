/* SPDX-License-Identifier: MIT */
/*
 * serve_many_test.c - a server on several shards: who serves, and how all end together.
 */
#include "harness/client.h"
#include "harness/net.h"
#include "harness/run.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <torc/torc.h>
#include <unistd.h>

#define SHARDS      3u
#define CLIENTS_MAX 500u

struct many {
    struct torc_server server;
    struct torc_shared_event up;
    struct torc_shared_event released;
    struct torc_shared_event late;
    unsigned serving;                  /* shards that serve, from 0 on; 0: all */
    void (*client)(struct many *many); /* on shard 0, once the server is up */
    struct torc_event gone;            /* the client has */
    bool first_accepts;                /* and the others come later */
    struct torc_address address;
    atomic_uint served[SHARDS];
    atomic_uint hogging; /* 1: it does; 2: it need not any more */
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
    for (unsigned i = 1; i < (many->serving > 0 ? many->serving : SHARDS);) {
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
    if (torc_shard_index() != 0 && many->first_accepts)
        EXPECT_INT(torc_shared_event_wait(&many->up), ==, 0);
    result = torc_serve(&many->server);
    atomic_fetch_add(&many->returned, 1);
    atomic_fetch_add(&many->refused, result == -EADDRINUSE);
    if (torc_shard_index() == 0 && many->client != NULL && torc_cancelled() == 0)
        EXPECT_INT(torc_event_wait(&many->gone), ==, 0);
    return result;
}

static void prepare(struct many *many)
{
    many->server.arg = many;
    many->server.listening = note_many;
    if (many->server.address.length == 0)
        many->server.address = harness_address("127.0.0.1:0");
}

static void run_many(struct many *many, int result)
{
    const struct torc_options options = {.shards = SHARDS, .no_pin = true};

    prepare(many);
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

/* Dial, beside the `used`, until so many shards have served somebody. Returns how many are open. */
static unsigned dial_until(struct many *many, unsigned shards, int fds[CLIENTS_MAX], unsigned used)
{
    while (shards_that_served(many) < shards) {
        EXPECT_UINT(used, <, CLIENTS_MAX);
        fds[used] = client_dial(&many->address);
        client_say(fds[used++], "hello");
    }
    return used;
}

static void stop_and_expect_ends(struct many *many, const int *fds, unsigned used)
{
    torc_server_stop(&many->server);
    while (used > 0)
        client_expect_end(fds[--used]);
}

static void visit_all(struct many *many)
{
    int fds[CLIENTS_MAX];

    stop_and_expect_ends(many, fds, dial_until(many, SHARDS, fds, 0));
}

TEST(every_shard_serves_what_it_accepts)
{
    struct many many = {.server = {.serve = count}, .client = visit_all};

    NEEDS_THREADS();
    run_many(&many, 0);
}

static void let_others_come(struct many *many)
{
    for (unsigned i = 0; i < 10; i++)
        harness_pass_kernel();
    EXPECT(!torc_shared_event_is_set(&many->up));
    torc_shared_event_set(&many->late);
    EXPECT_INT(torc_shared_event_wait(&many->up), ==, 0);
    visit_all(many);
}

static int be_early_client(void *arg)
{
    struct many *many = arg;

    many->client(many);
    torc_event_set(&many->gone);
    return 0;
}

/* Shard 0 and its client, and the others when that lets them come. */
static int come_one_by_one(void *arg)
{
    struct many *many = arg;
    int result;

    if (torc_shard_index() == 0)
        harness_spawn(NULL, be_early_client, many);
    else
        EXPECT_INT(torc_shared_event_wait(&many->late), ==, 0);
    result = torc_serve(&many->server);
    return torc_shard_index() == 0 && result == 0 ? torc_event_wait(&many->gone) : result;
}

TEST(the_address_is_told_when_as_many_shards_serve_as_was_said)
{
    const struct torc_options options = {.shards = SHARDS, .no_pin = true};

    NEEDS_THREADS();
    for (unsigned i = 0; i < 2; i++) {
        struct many many = {.server = {.serve = count, .shards = SHARDS, .one_acceptor = i == 1},
                            .client = let_others_come};

        prepare(&many);
        EXPECT_INT(harness_run_result(&options, come_one_by_one, &many), ==, 0);
    }
}

TEST(one_shard_accepts_for_all)
{
    struct many many = {.server = {.serve = count, .one_acceptor = true}, .client = visit_all};

    NEEDS_THREADS();
    run_many(&many, 0);
}

/* Shard 2 has fewer fibers than all others, and does not serve. */
static int serve_on_two(void *arg)
{
    struct many *many = arg;
    int result = 0;

    if (torc_shard_index() == 2)
        return torc_shared_event_wait(&many->released);
    if (torc_shard_index() == 0)
        harness_spawn(NULL, be_client, many);
    result = torc_serve(&many->server);
    torc_shared_event_set(&many->released);
    return result < 0 || torc_shard_index() != 0 ? result : torc_event_wait(&many->gone);
}

static void visit_two(struct many *many)
{
    int fds[CLIENTS_MAX];

    stop_and_expect_ends(many, fds, dial_until(many, 2, fds, 0));
}

TEST(one_shard_accepts_for_those_that_serve)
{
    const struct torc_options options = {.shards = SHARDS, .no_pin = true};
    struct many many = {
        .server = {.serve = count, .one_acceptor = true}, .serving = 2, .client = visit_two};

    NEEDS_THREADS();
    prepare(&many);
    EXPECT_INT(harness_run_result(&options, serve_on_two, &many), ==, 0);
    EXPECT_UINT(many.served[2], ==, 0);
}

static uint64_t timers_running(void)
{
    struct torc_stats stats;

    torc_stats(&stats);
    return stats.timers;
}

/* Shard 0 has the most fibers, but in the end the only room. */
static void fill_all(struct many *many)
{
    const uint64_t before = timers_running(); /* the shard's own */
    int fds[SHARDS + 1];

    for (unsigned i = 0; i <= SHARDS; i++)
        fds[i] = client_dial(&many->address);
    for (unsigned i = 0; i < SHARDS; i++)
        client_say(fds[i], "hello");
    for (unsigned i = 0; i < SHARDS; i++)
        EXPECT_UINT(many->served[i], ==, 1);
    for (unsigned i = 0; i < 10; i++)
        harness_pass_kernel();
    EXPECT_UINT(timers_running(), <=, before);
    EXPECT_INT(torc_close(fds[0]), ==, 0); /* On whichever shard that is. */
    client_say(fds[SHARDS], "late");
    torc_server_stop(&many->server);
    for (unsigned i = 1; i <= SHARDS; i++)
        client_expect_end(fds[i]);
}

TEST(one_shard_accepts_as_long_as_any_has_room)
{
    NEEDS_THREADS();
    for (unsigned i = 0; i < harness_scaled(50); i++) {
        struct many many = {.server = {.serve = count, .one_acceptor = true, .connections_max = 1},
                            .client = fill_all};

        run_many(&many, 0);
    }
}

/* All that serve are full, and none of their connections ends, when others come. */
static void fill_first(struct many *many)
{
    int fds[2];

    EXPECT_INT(torc_shared_event_wait(&many->up), ==, 0);
    fds[0] = client_dial(&many->address);
    client_say(fds[0], "hello");
    fds[1] = client_dial(&many->address);
    for (unsigned i = 0; i < 10; i++)
        harness_pass_kernel();
    torc_shared_event_set(&many->late);
    client_say(fds[1], "hello");
    EXPECT_UINT(many->served[0], ==, 1);
    torc_server_stop(&many->server);
    client_expect_end(fds[0]);
    client_expect_end(fds[1]);
}

TEST(who_comes_later_serves_what_waits_for_room)
{
    const struct torc_options options = {.shards = SHARDS, .no_pin = true};
    struct many many = {.server = {.serve = count, .one_acceptor = true, .connections_max = 1},
                        .client = fill_first};

    NEEDS_THREADS();
    prepare(&many);
    EXPECT_INT(harness_run_result(&options, come_one_by_one, &many), ==, 0);
}

/* The last shard to come, which has the fewest fibers, takes its time to tell the address. */
static void note_slowly(const struct torc_address *address, void *arg)
{
    struct many *many = arg;

    note_many(address, arg);
    EXPECT_INT(torc_shared_event_wait(&many->released), ==, 0);
}

static void visit_beside_late(struct many *many)
{
    int fds[CLIENTS_MAX];
    unsigned used = 0;

    torc_shared_event_set(&many->late);
    EXPECT_INT(torc_shared_event_wait(&many->up), ==, 0);
    for (; used < 12; used++) {
        fds[used] = client_dial(&many->address);
        client_say(fds[used], "hello");
    }
    torc_shared_event_set(&many->released); /* From now on it serves, too. */
    used = dial_until(many, SHARDS, fds, used);
    stop_and_expect_ends(many, fds, used);
}

TEST(one_shard_accepts_for_those_that_have_begun)
{
    const struct torc_options options = {.shards = SHARDS, .no_pin = true};
    struct many many = {.server = {.serve = count, .shards = SHARDS, .one_acceptor = true},
                        .client = visit_beside_late};

    NEEDS_THREADS();
    prepare(&many);
    many.server.listening = note_slowly;
    EXPECT_INT(harness_run_result(&options, come_one_by_one, &many), ==, 0);
}

/* A fiber that keeps its shard. */
static int hog(void *arg)
{
    struct many *many = arg;

    harness_pass_kernel(); /* Who started it learns that. */
    atomic_store(&many->hogging, 1);
    while (atomic_load(&many->hogging) == 1)
        sched_yield();
    return 0;
}

/* Shard 1 has some of them waiting for it, with which it has as many as the others. */
static void visit_beside_hog(struct many *many)
{
    int fds[12];

    EXPECT_INT(torc_shard_spawn(1, hog, many), ==, 0);
    while (atomic_load(&many->hogging) == 0)
        EXPECT_INT(torc_yield(), ==, 0);
    for (unsigned i = 0; i < 12; i++)
        fds[i] = client_dial(&many->address);
    while (atomic_load(&many->served[0]) + atomic_load(&many->served[2]) < 6)
        EXPECT_INT(torc_yield(), ==, 0);
    EXPECT_UINT(many->served[1], ==, 0);
    atomic_store(&many->hogging, 2);
    for (unsigned i = 0; i < 12; i++)
        client_say(fds[i], "hello");
    EXPECT_UINT(many->served[1], >, 0);
    torc_server_stop(&many->server);
    for (unsigned i = 0; i < 12; i++)
        client_expect_end(fds[i]);
}

TEST(one_shard_accepts_though_another_does_not_turn)
{
    struct many many = {.server = {.serve = count, .one_acceptor = true},
                        .client = visit_beside_hog,
                        .first_accepts = true};

    NEEDS_THREADS();
    run_many(&many, 0);
}

/* The server is stopped while shard 1 has not taken its connections, and they their bytes. */
static void stop_beside_hog(struct many *many)
{
    int fds[12];

    EXPECT_INT(torc_shard_spawn(1, hog, many), ==, 0);
    while (atomic_load(&many->hogging) == 0)
        EXPECT_INT(torc_yield(), ==, 0);
    for (unsigned i = 0; i < 12; i++) {
        fds[i] = client_dial(&many->address);
        EXPECT_INT(torc_send_all(fds[i], "hello", 5, NULL), ==, 0);
    }
    for (unsigned i = 0; i < 100; i++) /* One may take a turn, and then somebody has it. */
        harness_pass_kernel();
    torc_server_stop(&many->server);
    atomic_store(&many->hogging, 2);
    for (unsigned i = 0; i < 12; i++) {
        char answer[5];

        EXPECT_INT(torc_recv_all(fds[i], answer, 5, NULL), ==, 0);
        client_expect_end(fds[i]);
    }
}

TEST(what_was_accepted_for_a_shard_is_served_also_if_the_server_is_stopped_before)
{
    struct many many = {
        .server = {.serve = count, .one_acceptor = true, .grace_ns = TORC_FOREVER / 2},
        .client = stop_beside_hog,
        .first_accepts = true};

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

TEST(a_port_that_another_process_shares_is_in_use)
{
    struct torc_address address;
    const int on = 1;
    int listener;

    NEEDS_THREADS();
    listener = harness_listener(&address);
    EXPECT_INT(setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), ==, 0);
    for (unsigned i = 0; i < harness_scaled(20); i++) {
        struct many many = {.server = {.serve = count, .address = address}};

        run_many(&many, -EADDRINUSE);
    }
    close(listener);
}

/* As soon as somebody listens, say something. The last shard does not serve. */
static int be_impatient(void *arg)
{
    struct many *many = arg;
    const struct torc_address local = harness_address("127.0.0.2:0"); /* Not to dial itself. */
    const struct torc_connect_options options = {.local = &local};
    int fd;

    if (torc_shard_index() != SHARDS - 1)
        return torc_serve(&many->server);
    do {
        fd = torc_tcp_connect(&many->address, 1, &options);
    } while (fd == -ECONNREFUSED);
    EXPECT_INT(fd, >=, 0);
    client_say(fd, "hello");
    torc_server_stop(&many->server);
    client_expect_end(fd);
    return 0;
}

TEST(who_connects_while_a_server_begins_is_served)
{
    const struct torc_options options = {.shards = SHARDS, .no_pin = true};

    NEEDS_THREADS();
    for (unsigned i = 0; i < harness_scaled(100); i++) {
        struct many many = {.server = {.serve = count}, .address = harness_dead_address()};

        many.server.address = many.address;
        prepare(&many);
        many.server.listening = NULL;
        EXPECT_INT(harness_run_result(&options, be_impatient, &many), ==, 0);
    }
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
    unsigned used = dial_until(many, SHARDS, fds, 0);

    torc_server_stop(&many->server);
    for (unsigned i = 0; i < harness_scaled(200); i++) {
        EXPECT_INT(torc_shard_ask(i % SHARDS, nothing, NULL), ==, 0);
        EXPECT_UINT(many->returned, ==, 0);
    }
    torc_shared_event_set(&many->released);
    while (used > 0)
        client_expect_end(fds[--used]);
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
    fd = client_dial(&many->address);
    while (atomic_load(&many->served[0]) == 0)
        EXPECT_INT(torc_yield(), ==, 0);
    torc_server_stop(&many->server);
    torc_shared_event_set(&many->late);
    for (unsigned i = 0; i < harness_scaled(200); i++) {
        EXPECT_INT(torc_shard_ask(1 + i % 2, nothing, NULL), ==, 0);
        EXPECT_UINT(many->returned, ==, 0);
    }
    torc_shared_event_set(&many->released);
    client_expect_end(fd);
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
    prepare(&many);
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

/* SPDX-License-Identifier: MIT */
/*
 * serve.c - a server on all shards, made of listeners, scopes and streams as a program would.
 *
 * On each shard that serves, the fiber that called owns two scopes, and only waits:
 *
 *     accepting      the fiber that accepts, and on the first shard the one that waits for signals;
 *                    cancelled from anywhere by its token, which is what stopping a server means
 *     connections    a fiber for each; a shield, so that what ends accepting does not end these
 *
 * When accepting has ended, for whatever reason, all shards are stopped; then it is the turn of the
 * connections. A shard leaves when those of all others have ended as well. What shards share is
 * under a mutex, and used at the beginning and at the end only: connections are a shard's own.
 *
 * One acceptor of all chooses by what it sees of the others, and sends them descriptors through
 * channels, where their own fibers that accept receive them. So it waits for none of them, and
 * what it has sent counts for the shard until that has begun it. It is told when there may be room.
 */
#include "io/tcp.h"
#include "shard/shard.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <torc/fs.h>
#include <torc/io.h>
#include <torc/listener.h>
#include <torc/runtime.h>
#include <torc/scope.h>
#include <torc/serve.h>
#include <torc/shard.h>
#include <torc/shared.h>
#include <torc/signal.h>
#include <torc/sync.h>

#define ACCEPT_PAUSE (10 * TORC_MILLISECOND)
#define ENDS_AT_ONCE 64u /* connections that are told of the end, then others run */
#define SENT_MAX     64u /* connections that a shard has not begun */

/* On the stack of its fiber, whose page is there in any case. */
struct connection {
    struct connection *next;  /* in the list of the shard, while it is in one ... */
    struct connection **link; /* ... where this points to it; else NULL */
    struct torc_stream stream;
};

/* A shard's part of a server. On the stack of torc_serve(). */
struct torc__serving {
    struct torc_server *server;
    struct torc_scope accepting;
    struct torc_scope connections;
    struct torc_token *stop; /* of `accepting` */
    struct torc_event stopped;
    struct connection *first;
    atomic_uint count;                  /* of connections */
    atomic_uint sent;                   /* to this shard, and not yet among them */
    atomic_bool receives;               /* what is sent to it: it has begun */
    struct torc_shared_channel *handed; /* through which they are sent; NULL: it accepts itself */
    struct torc__serving *acceptor;     /* this one, or that of all */
    struct torc_shared_event has_room;  /* or may have; for who accepts */
    uint64_t tell_ns;                   /* when to tell of exhaustion again, at the earliest */
    struct torc_listener listener;
    struct torc_signals signals;
    bool has_joined;
    bool is_first;
    bool is_last; /* before the address is told */
    bool has_listener;
    int result; /* of accepting */
};

/* ---- Connections ---- */

static void link_connection(struct torc__serving *serving, struct connection *connection)
{
    connection->next = serving->first;
    connection->link = &serving->first;
    if (serving->first != NULL)
        serving->first->link = &connection->next;
    serving->first = connection;
}

static void unlink_connection(struct connection *connection)
{
    if (connection->link == NULL)
        return;
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    connection->link = NULL;
}

/* Whoever is woken runs after the caller's fiber has ended, if that is what it does next. */
static void tell_room(struct torc__serving *serving)
{
    torc_shared_event_set(&serving->has_room);
    if (serving->acceptor != serving)
        torc_shared_event_set(&serving->acceptor->has_room);
}

/* `arg` is the descriptor; the scope that the fiber was started in tells whose it is. */
static int serve_connection(void *arg)
{
    struct torc__serving *serving =
        container_of(torc__shard->running->home, struct torc__serving, connections);
    struct connection connection;

    torc_fiber_set_name("connection");
    torc_stream_open(&connection.stream, (int)(intptr_t)arg);
    link_connection(serving, &connection);
    serving->server->serve(&connection.stream, serving->server->arg);
    unlink_connection(&connection);
    (void)torc_stream_close(&connection.stream);
    atomic_fetch_sub(&serving->count, 1);
    tell_room(serving);
    return 0;
}

static bool is_full(const struct torc__serving *serving, unsigned count)
{
    const unsigned most = serving->server->connections_max;

    return most > 0 && count >= most;
}

/* On failure the caller still has it; -EBUSY: there are as many as there may be. */
static int start_connection(struct torc__serving *serving, int fd)
{
    struct torc__shard *shard = torc__shard;
    int result = -EBUSY;

    if (!is_full(serving, atomic_load(&serving->count)))
        result = torc_scope_spawn(&serving->connections, serve_connection, (void *)(intptr_t)fd);
    if (result < 0)
        return result;
    atomic_fetch_add(&serving->count, 1);
    torc__mailbox_set_load(shard->mailbox, shard->fibers.alive); /* Not only after the round. */
    return 0;
}

/* ---- One acceptor ---- */

/*
 * Of the shards that serve and have room, one that has the fewest fibers; else the own one. Nobody
 * but the caller adds to the connections that a shard has or was sent.
 */
static struct torc__serving *choose(struct torc__serving *own)
{
    const struct torc_server *server = own->server;
    const unsigned first = torc__random(torc__shard, server->_room); /* So that equals share. */
    struct torc__serving *best = own;
    unsigned least = UINT_MAX;

    for (unsigned i = 0; i < server->_room; i++) {
        const unsigned shard = (first + i) % server->_room;
        struct torc__serving *serving = __atomic_load_n(&server->_shards[shard], __ATOMIC_ACQUIRE);
        unsigned sent;
        unsigned load;

        if (serving == NULL || !atomic_load(&serving->receives))
            continue;
        sent = atomic_load(&serving->sent); /* First: it becomes less when the count is more. */
        load = torc_shard_load(shard) + sent;
        if (load < least && sent < SENT_MAX &&
            !is_full(serving, atomic_load(&serving->count) + sent)) {
            least = load;
            best = serving;
        }
    }
    return best;
}

/* Returns 0, or why it cannot be served now; then the caller still has it. */
static int place_connection(struct torc__serving *serving, int fd)
{
    struct torc__serving *best =
        serving->server->one_acceptor && serving->handed == NULL ? choose(serving) : serving;

    if (best != serving) {
        atomic_fetch_add(&best->sent, 1);
        if (torc_shared_channel_try_send(best->handed, &fd) == 0)
            return 0;
        atomic_fetch_sub(&best->sent, 1); /* It has just stopped to serve. */
    }
    return start_connection(serving, fd);
}

/* ---- Admission ---- */

/*
 * No more can be served now: wait until a connection has ended. What others of the program use up
 * they may give back without a word, so then look again after a pause. 0, or the reason that ends
 * this fiber.
 */
static int wait_for_room(struct torc__serving *serving, int error)
{
    const struct torc_server *server = serving->server;
    struct torc_scope pause;

    torc_scope_open(&pause, 0);
    if (error != -EBUSY) {
        torc_scope_set_timeout(&pause, ACCEPT_PAUSE);
        if (server->exhausted != NULL && torc_now() >= serving->tell_ns) {
            serving->tell_ns = torc_deadline(ACCEPT_PAUSE);
            server->exhausted(error, server->arg);
        }
    }
    (void)torc_shared_event_wait(&serving->has_room);
    torc_shared_event_clear(&serving->has_room);
    (void)torc_scope_close(&pause);
    return torc_cancelled();
}

/* Where there is no room for it, it and those behind it wait; up to a reason, or a last look. */
static void admit(struct torc__serving *serving, int fd)
{
    int result = place_connection(serving, fd);

    for (int reason = 0; (result == -ENOMEM || result == -EBUSY) && reason == 0;) {
        reason = wait_for_room(serving, result);
        result = place_connection(serving, fd);
    }
    if (result < 0)
        (void)torc_close(fd);
}

/* Let all connections come to the end of their input. In a shield. */
static void end_input(struct torc__serving *serving)
{
    (void)torc_yield(); /* To those that have not begun. */
    for (unsigned count = 1; serving->first != NULL; count++) {
        struct connection *connection = serving->first;
        const int fd = torc_stream_fd(&connection->stream);

        unlink_connection(connection);
        if (fd >= 0) /* It may have been taken out of the stream. */
            (void)torc_shutdown(fd, SHUT_RD);
        if (count % ENDS_AT_ONCE == 0)
            (void)torc_yield();
    }
}

/* ---- Accepting ---- */

/* From the listener, or from the shard that has one. */
static int next_connection(struct torc__serving *serving)
{
    int fd;
    int result;

    if (serving->handed == NULL)
        return torc_listener_accept(&serving->listener, NULL);
    result = torc_shared_channel_receive(serving->handed, &fd);
    return result < 0 ? result : fd;
}

/* What was sent is a connection, or none, by now. */
static void settle(struct torc__serving *serving)
{
    atomic_fetch_sub(&serving->sent, 1);
    tell_room(serving);
}

/* A fiber. It ends for a reason, or because nothing can be accepted any more. */
static int accept_all(void *arg)
{
    struct torc__serving *serving = arg;
    int result;

    torc_fiber_set_name("accept");
    atomic_store(&serving->receives, true);
    if (serving->handed != NULL)
        tell_room(serving); /* All others may be full. */
    do {
        result = next_connection(serving);
        if (result >= 0) {
            admit(serving, result);
            if (serving->handed != NULL)
                settle(serving);
        } else if (result == -EMFILE || result == -ENFILE || result == -ENOMEM ||
                   result == -ENOBUFS) {
            result = wait_for_room(serving, result);
        }
    } while (result >= 0 || torc_accept_error_is_transient(result));
    serving->result = result;
    torc_event_set(&serving->stopped);
    return 0;
}

/* A fiber of the first shard. The next signal does what signals do by themselves. */
static int stop_at_signal(void *arg)
{
    struct torc__serving *serving = arg;

    torc_fiber_set_name("signals");
    if (torc_signals_wait(&serving->signals, NULL) > 0)
        torc_scope_cancel(&serving->accepting);
    torc_signals_close(&serving->signals);
    return 0;
}

/* ---- Joining and leaving ---- */

/*
 * Sockets that share a port do not notice that another process of the same user shares it too. So
 * the first shard looks whether it can have it alone; without listening, or it would reset who
 * connects just then. What the kernel chooses is nobody's: binding it twice would only let somebody
 * come between.
 */
static int open_listener(struct torc__serving *serving)
{
    struct torc_server *server = serving->server;
    const bool is_shared = !server->one_acceptor && torc_shard_count() > 1;
    struct torc_listen_options options = server->listen;
    int result;

    if (serving->is_first && is_shared && torc_address_port(&server->address) != 0) {
        options.no_reuse_port = true;
        result = torc__tcp_bind(&server->address, &options);
        if (result < 0)
            return result;
        (void)torc_close(result);
    }
    options.no_reuse_port = !is_shared;
    result = torc_listener_open(&serving->listener, &server->address, &options);
    if (result < 0)
        return result;
    /* Connections have it from their listener. */
    if (server->address.any.sa_family != AF_UNIX && !server->delay)
        (void)torc_tcp_set_nodelay(torc_listener_fd(&serving->listener), true);
    if (!serving->is_first)
        return 0;
    result = torc_local_address(torc_listener_fd(&serving->listener), &server->address);
    if (result < 0)
        (void)torc_listener_close(&serving->listener);
    return result;
}

/* By convention a program leaves a signal alone that was ignored when it was started. */
static bool is_ignored(int number)
{
    struct sigaction present;

    return sigaction(number, NULL, &present) == 0 && !(present.sa_flags & SA_SIGINFO) &&
           present.sa_handler == SIG_IGN;
}

static int open_signals(struct torc__serving *serving)
{
    static const int all[] = {SIGINT, SIGTERM};
    int numbers[ARRAY_LENGTH(all)];
    unsigned count = 0;
    int result;

    for (unsigned i = 0; i < ARRAY_LENGTH(all); i++) {
        if (!is_ignored(all[i]))
            numbers[count++] = all[i];
    }
    if (count == 0)
        return 0;
    result = torc_signals_open(&serving->signals, numbers, count);
    if (result < 0)
        return result;
    result = torc_scope_spawn_daemon(&serving->accepting, stop_at_signal, serving);
    if (result < 0)
        torc_signals_close(&serving->signals);
    return result;
}

/* What only the first shard has. */
static int begin(struct torc_server *server)
{
    server->_room = torc_shard_count();
    server->_shards = calloc(server->_room, sizeof(*server->_shards));
    server->one_acceptor |= server->address.any.sa_family == AF_UNIX; /* No two share a path. */
    server->one_acceptor &= server->_room > 1;
    return server->_shards != NULL ? 0 : -ENOMEM;
}

/* Under the mutex. On failure nothing is left but what finish() knows of. */
static int join_locked(struct torc__serving *serving)
{
    struct torc_server *server = serving->server;
    const bool is_first = server->_shards == NULL;
    int result = torc_scope_token(&serving->accepting, &serving->stop);

    if (result == 0 && is_first)
        result = begin(server);
    if (result < 0)
        return result;
    TORC_REQUIRE(server->_shards[torc_shard_index()] == NULL, "a shard serves a server twice");
    if (is_first)
        server->_acceptor = serving;
    serving->acceptor = server->one_acceptor ? server->_acceptor : serving;
    if (serving->acceptor != serving)
        result = torc_shared_channel_create(SENT_MAX, sizeof(int), &serving->handed);
    if (result < 0)
        return result;
    serving->has_joined = true;
    serving->is_first = is_first;
    server->_count++;
    __atomic_store_n(&server->_shards[torc_shard_index()], serving, __ATOMIC_RELEASE);
    if (serving->acceptor == serving) {
        result = open_listener(serving);
        serving->has_listener = result == 0;
    }
    if (result == 0 && is_first && !server->no_signals)
        result = open_signals(serving);
    serving->is_last = server->_count == (server->shards > 0 ? server->shards : 1);
    return result;
}

static void stop_locked(struct torc_server *server)
{
    server->_stopped = true;
    for (unsigned i = 0; server->_shards != NULL && i < server->_room; i++) {
        if (server->_shards[i] != NULL)
            torc_token_cancel(server->_shards[i]->stop);
    }
}

/* Who fails stops the others at once: else one could join at a port that is another process's. */
static int join(struct torc__serving *serving)
{
    struct torc_server *server = serving->server;
    int result = torc_shared_mutex_lock(&server->_mutex);

    if (result < 0)
        return result;
    result = server->_stopped ? -ECANCELED : join_locked(serving);
    if (result < 0)
        stop_locked(server);
    torc_shared_mutex_unlock(&server->_mutex);
    return result;
}

/* Wait until all others have come as far; also if this shard came when the server was stopped. */
static void leave(const struct torc__serving *serving)
{
    struct torc_server *server = serving->server;
    struct torc_scope shield;

    torc_scope_open(&shield, TORC_SHIELD);
    if (torc_shared_mutex_lock(&server->_mutex) == 0) {
        if (serving->has_joined) {
            __atomic_store_n(&server->_shards[torc_shard_index()], NULL, __ATOMIC_RELEASE);
            server->_count--;
        }
        if (server->_count == 0) {
            free(server->_shards);
            server->_shards = NULL;
            torc_shared_event_set(&server->_ended);
        }
        torc_shared_mutex_unlock(&server->_mutex);
        (void)torc_shared_event_wait(&server->_ended);
    }
    (void)torc_scope_close(&shield);
}

/* ---- Serving ---- */

static int accept_until_stopped(struct torc__serving *serving)
{
    int result = torc_scope_spawn(&serving->accepting, accept_all, serving);

    if (result < 0)
        return result;
    (void)torc_event_wait(&serving->stopped); /* In a shield: nothing else ends it. */
    return serving->result;
}

/* What the listener has accepted is served as well, as long as there is room. */
static void take_queued(struct torc__serving *serving)
{
    int result = 0;

    while (result == 0 && torc_listener_queued(&serving->listener) > 0) {
        const int fd = torc_listener_accept(&serving->listener, NULL);

        result = start_connection(serving, fd);
        if (result < 0)
            (void)torc_close(fd);
    }
}

/* Nobody sends any more; what was sent before is served all the same. */
static void take_sent(struct torc__serving *serving)
{
    int result;
    int fd;

    torc_shared_channel_close(serving->handed);
    while ((result = torc_shared_channel_try_receive(serving->handed, &fd)) != -EPIPE) {
        if (result < 0)
            (void)torc_yield(); /* The acceptor is just sending it. */
        else if (start_connection(serving, fd) < 0)
            (void)torc_close(fd);
    }
}

/* From a shard that was stopped to all others, and to the path of a Unix socket. */
static void stop_accepting(struct torc__serving *serving)
{
    const struct torc_address *address = &serving->server->address;

    torc_scope_cancel(&serving->accepting);
    torc_server_stop(serving->server);
    if (serving->handed != NULL)
        take_sent(serving);
    if (!serving->has_listener)
        return;
    take_queued(serving);
    if (address->any.sa_family == AF_UNIX && address->local.sun_path[0] != '\0')
        (void)torc_unlink(address->local.sun_path);
    (void)torc_listener_close(&serving->listener);
}

static void end_connections(struct torc__serving *serving)
{
    const uint64_t grace_ns = serving->server->grace_ns;

    if (grace_ns > 0)
        end_input(serving);
    else
        torc_scope_cancel(&serving->connections);
    (void)torc_scope_linger(&serving->connections, grace_ns);
}

int torc_serve(struct torc_server *server)
{
    struct torc__serving serving = {.server = server};
    int result;

    torc_scope_open(&serving.accepting, 0);
    torc_scope_open(&serving.connections, TORC_SHIELD | TORC_SUPERVISE);
    result = join(&serving);
    if (result == 0 && serving.is_last && server->listening != NULL)
        server->listening(&server->address, server->arg);
    if (result == 0)
        result = accept_until_stopped(&serving);
    stop_accepting(&serving);
    end_connections(&serving);
    leave(&serving);
    (void)torc_scope_close(&serving.accepting);
    torc_shared_channel_release(serving.handed);
    torc_token_release(serving.stop);
    return result == -ECANCELED || result == -ETIME ? torc_cancelled() : result;
}

void torc_server_stop(struct torc_server *server)
{
    const bool on_shard = torc_on_shard();
    struct torc_scope shield;

    if (on_shard)
        torc_scope_open(&shield, TORC_SHIELD);
    if (torc_shared_mutex_lock(&server->_mutex) == 0) {
        stop_locked(server);
        torc_shared_mutex_unlock(&server->_mutex);
    }
    if (on_shard)
        (void)torc_scope_close(&shield);
}

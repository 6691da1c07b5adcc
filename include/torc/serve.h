/* SPDX-License-Identifier: MIT */
/*
 * torc/serve.h - a server on all shards: connections, a fiber for each, and an end in good order.
 *
 *     static void echo(struct torc_stream *stream, void *arg)
 *     {
 *         (void)torc_stream_copy(stream, stream, NULL);
 *     }
 *
 *     static int run(void *server) // On every shard.
 *     {
 *         return torc_serve(server);
 *     }
 *
 *     struct torc_server server = {.serve = echo};
 *
 *     result = torc_address_parse("127.0.0.1:7777", &server.address);
 *     if (result == 0)
 *         result = torc_run(run, &server, &(struct torc_options){.shards = TORC_ALL_CPUS});
 *
 * Every shard that calls torc_serve() has a listener of its own, and serves what it accepts; the
 * kernel spreads the connections. Where these are long and uneven, `one_acceptor` balances them.
 *
 * SIGINT, SIGTERM, torc_server_stop() on any shard, or a reason of the scope around any of the
 * calls, stop all of them. No more connections are accepted then, and those there are come to the
 * end of their input, as if their peers had ended it: what was received before is still read, and
 * can be answered. Those that were accepted and wait to be served are among them, as far as there
 * is room. Those that have not ended when `grace_ns` have passed find the reason -ETIME at their
 * waits. All calls return when the last connection of all shards has ended, so that until then
 * every shard does for the others what it always does. A second signal kills. A signal that is
 * ignored when the server begins stays so: a shell has SIGINT ignored by what runs in background.
 */
#ifndef TORC_SERVE_H
#define TORC_SERVE_H

#include <stdbool.h>
#include <stdint.h>
#include <torc/api.h>
#include <torc/net.h>
#include <torc/shared.h>
#include <torc/stream.h>
TORC_BEGIN_C

struct torc__serving;

/*
 * Serve a connection, as a fiber of its own, for as long as that takes. The stream is lent: it is
 * flushed and closed after the return. How connections end is no failure of the server. Who does
 * without the stream may use its descriptor, torc_stream_fd().
 */
typedef void torc_serve_fn(struct torc_stream *stream, void *arg);

/*
 * In the caller's memory; one for all shards, which lives until all calls of torc_serve() and
 * torc_server_stop() have returned, and which serves once. All zero but for `address` and `serve`
 * is a good default.
 */
struct torc_server {
    struct torc_address address; /* to listen at: TCP, or Unix (which makes for one acceptor); has
                                    the port that the kernel chose from `listening` on */
    torc_serve_fn *serve;
    void *arg; /* of all functions */

    /*
     * Called once, by the fiber of the first shard that listens; or, if `shards` says how many are
     * going to serve, of the last of them. That shard serves when it has returned. May be NULL.
     */
    unsigned shards;
    void (*listening)(const struct torc_address *address, void *arg);

    /*
     * Called where no descriptor (-EMFILE, -ENFILE), memory or fiber (-ENOMEM, -ENOBUFS) is left
     * for the next connection, to be logged or counted: by a fiber of the shard that is to accept
     * or to serve it, every 10 ms at most as long as that is so. May be NULL.
     */
    void (*exhausted)(int error, void *arg);

    struct torc_listen_options listen; /* no_reuse_port is not heeded */
    uint64_t grace_ns;                 /* 0: connections are cancelled when the server is stopped */
    unsigned connections_max;          /* of each shard; more are queued. 0: no limit */
    bool one_acceptor; /* the first shard that comes accepts, and hands each connection to that one
                          of those that serve, and have not connections_max, with the fewest
                          fibers */
    bool no_signals;   /* leave SIGINT and SIGTERM alone */
    bool delay;        /* leave Nagle's algorithm on; default: TCP_NODELAY */

    /* Private. */
    struct torc_shared_mutex _mutex; /* of what follows */
    struct torc_shared_event _ended; /* the connections of all shards have */
    struct torc__serving **_shards;  /* by their numbers; NULL: does not serve */
    struct torc__serving *_acceptor; /* of the first shard; of all if there is one acceptor */
    unsigned _room;                  /* of _shards */
    unsigned _count;                 /* shards whose connections have not ended */
    bool _stopped;
};

/*
 * Serve on this shard until the server is stopped. Suspends. Called once on each shard that is to
 * serve, usually by main; aborts if it is called there again meanwhile. Returns 0, also if it was
 * stopped before this call; else the reason of the scope around it; else what made it impossible
 * here, upon which all others are stopped. Allocates at the beginning, but not for connections.
 *
 * Where there is no room for one more connection those that are queued wait: in the kernel, and up
 * to TORC_LISTENER_QUEUE_MAX accepted. At connections_max they wait for the end of another. Where
 * no descriptor, memory or fiber is left, others of the program or the machine may have it: so that
 * is looked at again every 10 ms, too. Sockets share the port, but not with another process that
 * has it already: -EADDRINUSE. Other errors of torc_listener_open(), and of torc_signals_open().
 */
TORC_CHECK int torc_serve(struct torc_server *server);

/*
 * Stop a server on all its shards; idempotent. Waits a moment for one that is just beginning or
 * ending somewhere, but not for connections: a fiber suspends, a thread that is no shard blocks.
 * Not cancellable. Not from a loop callback.
 */
TORC_API void torc_server_stop(struct torc_server *server);

TORC_END_C
#endif

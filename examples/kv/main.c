/* SPDX-License-Identifier: MIT */
/*
 * main.c - kv: a key-value server for clients of Redis.
 *
 *     kv --shards 2 --listen 127.0.0.1:6379
 *
 * Every shard has a listener of its own on the same port, and the kernel spreads the connections
 * among them. A Unix socket has one listener only: the first shard, which hands connections to the
 * one that has the least to do. Ctrl-C and SIGTERM end it.
 */
#include "kv.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#define ACCEPT_PAUSE (10 * TORC_MILLISECOND)

static bool is_unix(const struct server *server)
{
    return server->options.listen.any.sa_family == AF_UNIX;
}

/* ---- Connections ---- */

static void start_connection(struct shard *here, int fd)
{
    struct server *server = here->server;
    struct shard *shard = here;
    struct connection *connection;

    if (is_unix(server)) {
        shard = &server->shards[torc_shard_least_loaded()];
    } else {
        (void)torc_tcp_set_nodelay(fd, true);
    }
    connection = connection_create(shard, fd);
    if (connection != NULL && torc_shard_spawn(shard->index, connection_main, connection) == 0)
        return;
    free(connection); /* It has nothing but its descriptor yet. */
    (void)torc_close(fd);
}

/* Accept until the shard is stopped. Returns what ended it. */
static int accept_all(struct shard *shard)
{
    for (;;) {
        int fd = torc_listener_accept(&shard->listener, NULL);

        if (fd >= 0) {
            start_connection(shard, fd);
        } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
            fd = torc_sleep(ACCEPT_PAUSE); /* Until other connections have ended. */
            if (fd < 0)
                return fd;
        } else if (!torc_accept_error_is_transient(fd)) {
            return fd;
        }
    }
}

/* ---- Shards ---- */

/*
 * The first shard chooses the port, alone: sockets that share one do not notice that a server of
 * somebody else's shares it too.
 */
static int listen_first(struct server *server, struct torc_listener *listener)
{
    const struct torc_listen_options alone = {.no_reuse_port = true};
    int result;

    server->address = server->options.listen;
    result = torc_listener_open(listener, &server->address, &alone);
    if (result < 0 || is_unix(server))
        return result;
    result = torc_local_address(torc_listener_fd(listener), &server->address);
    if (result < 0 || server->shard_count == 1)
        return result;
    (void)torc_listener_close(listener);
    return torc_listener_open(listener, &server->address, NULL);
}

static int open_listener(struct server *server, struct torc_listener *listener)
{
    char text[TORC_ADDRESS_TEXT_SIZE];
    int result;

    if (torc_shard_index() == 0) {
        result = listen_first(server, listener);
        if (result == 0)
            torc_shared_event_set(&server->is_bound);
    } else {
        result = torc_shared_event_wait(&server->is_bound);
        if (result == 0 && !is_unix(server))
            result = torc_listener_open(listener, &server->address, NULL);
    }
    if (result < 0 && result != -ECANCELED)
        fprintf(stderr, "kv: cannot listen on %s: %s\n",
                torc_address_format(&server->options.listen, text, sizeof(text)),
                torc_strerror(result));
    return result;
}

/* Once all shards listen, say so. */
static int announce(struct server *server)
{
    char text[TORC_ADDRESS_TEXT_SIZE];
    int result;

    torc_shared_semaphore_release(&server->listening, 1);
    if (torc_shard_index() != 0)
        return 0;
    result = torc_shared_semaphore_acquire(&server->listening, server->shard_count);
    if (result < 0)
        return result;
    printf("listening on %s\n", torc_address_format(&server->address, text, sizeof(text)));
    (void)fflush(stdout);
    return 0;
}

static int stop_on_signal(void *arg)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    struct torc_signals signals;
    int result = torc_signals_open(&signals, numbers, 2);

    (void)arg;
    torc_fiber_set_name("signals");
    if (result < 0)
        return result;
    result = torc_signals_wait(&signals, NULL);
    torc_signals_close(&signals);
    torc_stop();
    return result < 0 ? result : 0;
}

static int shard_main(void *arg)
{
    struct server *server = arg;
    struct shard *shard = &server->shards[torc_shard_index()];
    const bool listens = shard->index == 0 || !is_unix(server);
    int result = torc_spawn(store_tend, &shard->store);

    if (result == 0 && shard->index == 0)
        result = torc_spawn(stop_on_signal, NULL);
    if (result == 0)
        result = open_listener(server, &shard->listener);
    if (result < 0)
        return result;
    result = announce(server);
    if (result == 0)
        result = listens ? accept_all(shard) : torc_sleep_until(TORC_FOREVER);
    if (listens)
        (void)torc_listener_close(&shard->listener);
    if (is_unix(server) && listens)
        (void)unlink(server->address.local.sun_path);
    return result == -ECANCELED ? 0 : result;
}

/* ---- Options ---- */

static bool read_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number)
{
    int64_t number;

    if (!parse_integer((struct slice){text, strlen(text)}, &number) || number < (int64_t)least ||
        number > (int64_t)most)
        return false;
    *ret_number = (uint64_t)number;
    return true;
}

static const char usage[] =
    "usage: kv [options]\n"
    "  --listen ADDR:PORT     where to listen (default 127.0.0.1:6379; port 0: any free one),\n"
    "                         or the path of a Unix socket\n"
    "  --shards N             threads, each with a part of the keys (default 1)\n"
    "  --max-clients N        connections at the same time (default 10000)\n"
    "  --max-arguments N      of one request (default 1048576)\n"
    "  --max-key BYTES        (default 65536)\n"
    "  --max-value BYTES      and any other argument (default 16777216, at most 536870912)\n";

static bool read_option(struct options *options, int option, const char *text)
{
    uint64_t number = 0;

    switch (option) {
    case 'l':
        return torc_address_parse(text, &options->listen) == 0;
    case 's':
        if (!read_number(text, 1, 1024, &number))
            return false;
        options->runtime.shards = (int)number;
        return true;
    case 'c':
        if (!read_number(text, 1, 1000000, &number))
            return false;
        options->clients_max = (unsigned)number;
        return true;
    case 'a':
        if (!read_number(text, 1, 1 << 24, &number))
            return false;
        options->limits.arguments = (uint32_t)number;
        return true;
    case 'k':
        return read_number(text, 1, 1 << 29, &number) && (options->key_max = number);
    case 'v':
        return read_number(text, 1, 1 << 29, &number) && (options->limits.argument = number);
    default:
        return false;
    }
}

/* Returns 0, or the exit status. */
static int read_options(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"listen", required_argument, NULL, 'l'},
        {"shards", required_argument, NULL, 's'},
        {"max-clients", required_argument, NULL, 'c'},
        {"max-arguments", required_argument, NULL, 'a'},
        {"max-key", required_argument, NULL, 'k'},
        {"max-value", required_argument, NULL, 'v'},
        {0},
    };
    int option;

    (void)torc_address_parse("127.0.0.1:6379", &options->listen);
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (!read_option(options, option, optarg)) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    options->limits.request = options->limits.argument + ((size_t)48 << 20);
    return 0;
}

/* Every client is a descriptor. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int make_shards(struct server *server)
{
    const size_t size = server->shard_count * sizeof(struct shard);

    server->shards = aligned_alloc(_Alignof(struct shard), size);
    if (server->shards == NULL)
        return -ENOMEM;
    memset(server->shards, 0, size);
    for (unsigned i = 0; i < server->shard_count; i++) {
        struct shard *shard = &server->shards[i];

        shard->server = server;
        shard->index = i;
        if (getrandom(shard->store.keys.seed, sizeof(shard->store.keys.seed), 0) < 0 ||
            getrandom(shard->channels.seed, sizeof(shard->channels.seed), 0) < 0)
            return -errno;
    }
    return 0;
}

/* When all shards have ended: until then others may have messages for one. */
static void free_shards(struct server *server)
{
    for (unsigned i = 0; server->shards != NULL && i < server->shard_count; i++) {
        store_finish(&server->shards[i].store);
        dict_finish(&server->shards[i].channels);
    }
    free(server->shards);
}

int main(int argc, char **argv)
{
    struct server server = {
        .options = {.limits = {.argument = (size_t)16 << 20, .arguments = 1 << 20},
                    .key_max = (size_t)64 << 10,
                    .clients_max = 10000},
        .started_ms = (uint64_t)now_ms(),
    };
    int result = read_options(&server.options, argc, argv);

    if (result != 0)
        return result;
    raise_file_limit();
    commands_init();
    server.shard_count =
        server.options.runtime.shards > 0 ? (unsigned)server.options.runtime.shards : 1;
    result = make_shards(&server);
    if (result == 0)
        result = torc_run(shard_main, &server, &server.options.runtime);
    free_shards(&server);
    if (result < 0)
        fprintf(stderr, "kv: %s\n", torc_strerror(result));
    return result < 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * main.c - kv: a key-value server for clients of Redis.
 *
 *     kv --shards 2 --listen 127.0.0.1:6379
 *
 * The first shard accepts, and hands each client to the shard that has the fewest: clients stay for
 * long. Ctrl-C and SIGTERM end it.
 */
#include "kv.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#define ACCEPT_PAUSE (10 * TORC_MILLISECOND)

static void start_client(struct server *server, int fd)
{
    struct shard *shard = &server->shards[torc_shard_least_loaded()];
    struct client *client = calloc(1, sizeof(*client));

    (void)torc_tcp_set_nodelay(fd, true);
    if (client != NULL) {
        client->shard = shard;
        torc_stream_open(&client->stream, fd);
        if (torc_shard_spawn(shard->index, client_main, client) == 0)
            return;
    }
    free(client); /* It has nothing but its descriptor yet. */
    (void)torc_close(fd);
}

/* Accept until the shard is stopped. Returns what ended it. */
static int accept_all(struct server *server, struct torc_listener *listener)
{
    int fd = 0;

    while (fd >= 0 || torc_accept_error_is_transient(fd)) {
        fd = torc_listener_accept(listener, NULL);
        if (fd >= 0) {
            start_client(server, fd);
        } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
            fd = torc_sleep(ACCEPT_PAUSE); /* Until other connections have ended. */
        }
    }
    return fd == -ECANCELED ? 0 : fd;
}

static int listen_and_accept(struct server *server)
{
    const struct torc_listen_options alone = {.no_reuse_port = true};
    struct torc_listener listener;
    char text[TORC_ADDRESS_TEXT_SIZE];
    int result = torc_listener_open(&listener, &server->address, &alone);

    if (result < 0) {
        fprintf(stderr, "kv: cannot listen on %s: %s\n",
                torc_address_format(&server->address, text, sizeof(text)), torc_strerror(result));
        return result;
    }
    (void)torc_local_address(torc_listener_fd(&listener), &server->address);
    printf("listening on %s\n", torc_address_format(&server->address, text, sizeof(text)));
    (void)fflush(stdout);
    result = accept_all(server, &listener);
    (void)torc_listener_close(&listener);
    if (server->address.any.sa_family == AF_UNIX)
        (void)unlink(server->address.local.sun_path);
    return result;
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
    int result = torc_spawn(keys_tend, &server->shards[torc_shard_index()]);

    if (torc_shard_index() != 0)
        return result < 0 ? result : torc_sleep(TORC_FOREVER);
    if (result == 0)
        result = torc_spawn(stop_on_signal, NULL);
    return result < 0 ? result : listen_and_accept(server);
}

/* ---- Options ---- */

static const char usage[] =
    "usage: kv [options]\n"
    "  --listen ADDR:PORT     where to listen (default 127.0.0.1:6379; port 0: any free one),\n"
    "                         or the path of a Unix socket\n"
    "  --shards N             threads, each with a part of the keys (default 1)\n"
    "  --max-clients N        connections at the same time (default 10000)\n"
    "  --max-arguments N      of one request (default 1048576)\n"
    "  --max-key BYTES        (default 65536)\n"
    "  --max-value BYTES      and any other argument (default 16777216, at most 536870912)\n";

static bool read_option(struct server *server, const char *name, const char *text)
{
    const struct {
        const char *name;
        int64_t *number;
        int64_t most;
    } known[] = {
        {"--shards", &server->shard_count, 1024},
        {"--max-clients", &server->clients_max, 1000000},
        {"--max-arguments", &server->arguments_max, 1 << 24},
        {"--max-key", &server->key_max, 1 << 29},
        {"--max-value", &server->value_max, 1 << 29},
    };

    if (text != NULL && strcmp(name, "--listen") == 0)
        return torc_address_parse(text, &server->address) == 0;
    for (unsigned i = 0; text != NULL && i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i].name) == 0)
            return parse_integer((struct slice){text, strlen(text)}, known[i].number) &&
                   *known[i].number >= 1 && *known[i].number <= known[i].most;
    }
    return false;
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

static int run(struct server *server)
{
    const struct torc_options options = {.shards = (int)server->shard_count};
    const size_t size = (size_t)server->shard_count * sizeof(struct shard);
    struct shard *shards = aligned_alloc(_Alignof(struct shard), size);
    int result = 0;

    if (shards == NULL)
        return -ENOMEM;
    memset(shards, 0, size);
    server->shards = shards;
    for (unsigned i = 0; i < server->shard_count; i++) {
        shards[i].server = server;
        shards[i].index = i;
        if (getrandom(shards[i].keys.seed, sizeof(shards[i].keys.seed), 0) < 0 ||
            getrandom(shards[i].channels.seed, sizeof(shards[i].channels.seed), 0) < 0)
            result = -errno;
    }
    if (result == 0)
        result = torc_run(shard_main, server, &options);
    for (unsigned i = 0; i < server->shard_count; i++) {
        table_clear(&shards[i].keys);
        table_clear(&shards[i].channels);
    }
    free(shards);
    return result;
}

int main(int argc, char **argv)
{
    struct server server = {.shard_count = 1,
                            .clients_max = 10000,
                            .arguments_max = 1 << 20,
                            .key_max = 64 << 10,
                            .value_max = 16 << 20,
                            .started_ms = now_ms()};
    int result = torc_address_parse("127.0.0.1:6379", &server.address);

    for (int i = 1; i < argc; i += 2) {
        if (!read_option(&server, argv[i], argv[i + 1])) {
            fputs(usage, stderr);
            return 2;
        }
    }
    raise_file_limit();
    if (result == 0)
        result = run(&server);
    if (result < 0)
        fprintf(stderr, "kv: %s\n", torc_strerror(result));
    return result < 0;
}

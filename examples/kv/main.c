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

#define SHARDS_MAX   1024
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
static int listen_and_accept(struct server *server)
{
    const struct torc_listen_options alone = {.no_reuse_port = true};
    struct torc_listener listener;
    char text[TORC_ADDRESS_TEXT_SIZE];
    int fd = torc_listener_open(&listener, &server->address, &alone);

    if (fd < 0)
        return fd;
    (void)torc_local_address(torc_listener_fd(&listener), &server->address);
    printf("listening on %s\n", torc_address_format(&server->address, text, sizeof(text)));
    (void)fflush(stdout);
    while (fd >= 0 || torc_accept_error_is_transient(fd)) {
        fd = torc_listener_accept(&listener, NULL);
        if (fd >= 0) {
            start_client(server, fd);
        } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
            fd = torc_sleep(ACCEPT_PAUSE); /* Until other connections have ended. */
        }
    }
    (void)torc_listener_close(&listener);
    return fd == -ECANCELED ? 0 : fd;
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

static int run(struct server *server)
{
    const struct torc_options options = {.shards = (int)server->shard_count};
    const unsigned count = (unsigned)server->shard_count;
    struct shard *shards = aligned_alloc(_Alignof(struct shard), count * sizeof(*shards));
    int result = shards != NULL ? 0 : -ENOMEM;

    server->shards = shards;
    for (unsigned i = 0; i < count && shards != NULL; i++) {
        shards[i] = (struct shard){.server = server, .index = i};
        result = result < 0 ? result : keys_init(&shards[i]);
    }
    if (result == 0)
        result = torc_run(shard_main, server, &options);
    for (unsigned i = 0; i < count && shards != NULL; i++)
        keys_finish(&shards[i]);
    free(shards);
    return result;
}

static bool read_option(struct server *server, const char *name, const char *text)
{
    if (text != NULL && strcmp(name, "--listen") == 0)
        return torc_address_parse(text, &server->address) == 0;
    return text != NULL && strcmp(name, "--shards") == 0 &&
           parse_integer(slice_of(text), &server->shard_count) && server->shard_count >= 1 &&
           server->shard_count <= SHARDS_MAX;
}

int main(int argc, char **argv)
{
    struct server server = {.shard_count = 1};
    int result = torc_address_parse("127.0.0.1:6379", &server.address);

    for (int i = 1; i < argc; i += 2) {
        if (!read_option(&server, argv[i], argv[i + 1])) {
            fprintf(stderr, "usage: kv [--shards N] [--listen ADDRESS:PORT]\n");
            return 2;
        }
    }
    if (result == 0)
        result = run(&server);
    if (result < 0)
        fprintf(stderr, "kv: %s\n", torc_strerror(result));
    return result < 0;
}

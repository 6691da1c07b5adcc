/* SPDX-License-Identifier: MIT */
/*
 * main.c - kv: a key-value server for clients of Redis.
 *
 *     kv --shards 2 --listen 127.0.0.1:6379
 *
 * Ctrl-C and SIGTERM end it, when what clients have asked for is answered.
 */
#include "kv.h"
#include <stdio.h>

struct shard shards[SHARDS_MAX];

static void say_where(const struct torc_address *address, void *arg)
{
    char text[TORC_ADDRESS_TEXT_SIZE];

    (void)arg;
    printf("listening on %s\n", torc_address_format(address, text, sizeof(text)));
    (void)fflush(stdout);
}

static int shard_main(void *server)
{
    int result = torc_spawn(keys_tend, &shards[torc_shard_index()]);

    return result < 0 ? result : torc_serve(server);
}

static bool read_option(struct torc_server *server, int64_t *shard_count, const char *name,
                        const char *text)
{
    if (text != NULL && strcmp(name, "--listen") == 0)
        return torc_address_parse(text, &server->address) == 0;
    return text != NULL && strcmp(name, "--shards") == 0 &&
           torc_integer_parse(text, strlen(text), shard_count) == 0 && *shard_count >= 1 &&
           *shard_count <= SHARDS_MAX;
}

int main(int argc, char **argv)
{
    struct torc_server server = {
        .serve = client_serve,
        .listening = say_where,
        .one_acceptor = true, /* Clients stay for long. */
        .grace_ns = TORC_SECOND,
    };
    struct torc_options options = {0};
    int64_t shard_count = 1;
    int result = torc_address_parse("127.0.0.1:6379", &server.address);

    for (int i = 1; i < argc; i += 2) {
        if (!read_option(&server, &shard_count, argv[i], argv[i + 1])) {
            fprintf(stderr, "usage: kv [--shards N] [--listen ADDRESS:PORT]\n");
            return 2;
        }
    }
    options.shards = (int)shard_count;
    for (int i = 0; i < options.shards && result == 0; i++)
        result = keys_init(&shards[i]);
    if (result == 0)
        result = torc_run(shard_main, &server, &options);
    if (result < 0)
        fprintf(stderr, "kv: %s\n", torc_strerror(result));
    return result < 0;
}

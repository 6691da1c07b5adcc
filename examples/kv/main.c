/* SPDX-License-Identifier: MIT */
/*
 * main.c - kv: a key-value server for clients of Redis.
 *
 *     kv --shards 2 --listen 127.0.0.1:6379
 *
 * Ctrl-C and SIGTERM end it, when what clients have asked for is answered.
 */
#include "kv.h"
#include <errno.h>
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

int main(int argc, char **argv)
{
    struct torc_server server = {
        .serve = client_serve,
        .listening = say_where,
        .one_acceptor = true, /* Clients stay for long. */
        .grace_ns = TORC_SECOND,
    };
    int64_t shard_count = 1;
    int result = torc_address_parse("127.0.0.1:6379", &server.address);

    for (int i = 1; i < argc && result == 0; i += 2) {
        const char *text = argv[i + 1] != NULL ? argv[i + 1] : "";

        result = -EINVAL;
        if (strcmp(argv[i], "--listen") == 0)
            result = torc_address_parse(text, &server.address);
        if (strcmp(argv[i], "--shards") == 0)
            result = torc_integer_parse(text, strlen(text), &shard_count);
    }
    if (result < 0 || shard_count < 1 || shard_count > SHARDS_MAX) {
        fprintf(stderr, "usage: kv [--shards N] [--listen ADDRESS:PORT]\n");
        return 2;
    }
    for (int i = 0; i < shard_count && result == 0; i++)
        result = keys_init(&shards[i]);
    if (result == 0)
        result = torc_run(shard_main, &server, &(struct torc_options){.shards = (int)shard_count});
    if (result < 0)
        fprintf(stderr, "kv: %s\n", torc_strerror(result));
    return result < 0;
}

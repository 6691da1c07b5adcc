/* SPDX-License-Identifier: MIT */
/*
 * 33_balance.c - one shard accepts, and hands each connection to the shard that has least to do.
 *
 * For connections of very different length; most servers are better off with a listener for each
 * shard (02_echo.c). Run it without arguments: it is its own client.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <torc/torc.h>

static struct torc_address address;

static int serve(void *arg)
{
    const int fd = (int)(intptr_t)arg;
    char byte = (char)('0' + torc_shard_index()); /* Who serves this? */

    (void)torc_send(fd, &byte, 1, MSG_NOSIGNAL);
    (void)torc_recv(fd, &byte, 1, 0); /* The end, when the client has closed. */
    return torc_close(fd);
}

/* Connect, accept, hand over. Returns the client's end. */
static int dial(int listener)
{
    char byte;
    const int client = torc_tcp_connect(&address, 1, NULL);
    const int fd = torc_accept(listener, NULL);

    if (torc_shard_spawn(torc_shard_least_loaded(), serve, (void *)(intptr_t)fd) < 0)
        return torc_close(fd); /* Nobody else has it. */
    if (torc_recv(client, &byte, 1, 0) == 1)
        printf("a connection on shard %c\n", byte);
    return client;
}

static int run(void *arg)
{
    const int listener = torc_shard_index() == 0 ? torc_tcp_listen(&address, NULL) : -1;
    int clients[6];

    if (listener < 0)
        return torc_sleep(TORC_FOREVER); /* Serves what it is given. */
    (void)torc_local_address(listener, arg);
    for (int i = 0; i < 6; i++)
        clients[i] = dial(listener);
    for (int i = 0; i < 6; i++)
        (void)torc_close(clients[i]);
    torc_stop();
    return torc_close(listener);
}

int main(void)
{
    const struct torc_options options = {.shards = 2, .no_pin = true};

    return torc_address_parse("127.0.0.1:0", &address) < 0 || torc_run(run, &address, &options) < 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * 26_proxy.c - forward connections: two copies each, one per direction.
 *
 * `26_proxy 127.0.0.1:8080 127.0.0.1:80` forwards from the first address to the second. Without
 * arguments it has nothing to do, and ends.
 */
#include <stdint.h>
#include <stdio.h>
#include <torc/torc.h>

static struct torc_address target;

static int forward(void *arg)
{
    const int *ends = arg; /* from, to */
    const int result = torc_copy_fd(ends[0], ends[1], UINT64_MAX, NULL);

    if (result == 0)
        (void)torc_shutdown(ends[1], SHUT_WR); /* The other direction goes on. */
    return result;
}

static int serve(void *arg)
{
    const int client = (int)(intptr_t)arg;
    const int server = torc_tcp_connect(&target, 1, NULL);
    int up[] = {client, server}, down[] = {server, client};
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    if (server < 0 || torc_scope_spawn(&scope, forward, up) < 0 ||
        torc_scope_spawn(&scope, forward, down) < 0)
        torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    (void)torc_close(server);
    (void)torc_close(client);
    return 0;
}

static int run(void *text)
{
    struct torc_address address;
    const int listener =
        torc_address_parse(text, &address) < 0 ? -EINVAL : torc_tcp_listen(&address, NULL);
    int fd = listener;

    while (fd >= 0 && (fd = torc_accept(listener, NULL)) >= 0) {
        if (torc_spawn(serve, (void *)(intptr_t)fd) < 0)
            (void)torc_close(fd);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc == 3 && torc_address_parse(argv[2], &target) == 0)
        return torc_run(run, argv[1], NULL) < 0;
    return argc != 1;
}

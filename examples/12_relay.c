/* SPDX-License-Identifier: MIT */
/*
 * 12_relay.c - a TCP proxy: whoever connects is connected to another address.
 *
 * `12_relay 127.0.0.1:8888 127.0.0.1:7777` hands on what comes at the first address to the second,
 * and back. Without arguments it stands by for a quarter of a second, on a port of the kernel's
 * choice.
 */
#include <stdio.h>
#include <torc/torc.h>

static struct torc_address here, there;

static int relay(void *fd)
{
    struct torc_stream client;
    struct torc_stream server;
    uint64_t sent = 0, received = 0;
    int result = torc_tcp_connect(&there, 1, NULL);

    torc_stream_open(&client, (int)(intptr_t)fd);
    if (result >= 0) {
        torc_stream_open(&server, result);
        result = torc_stream_relay(&client, &server, &sent, &received);
        (void)torc_stream_close(&server);
    }
    (void)torc_stream_close(&client);
    printf("%llu bytes there, %llu back: %s\n", (unsigned long long)sent,
           (unsigned long long)received, torc_strerror(result));
    return 0; /* Whatever ended this connection, the others go on. */
}

static int serve(void *duration_ns)
{
    struct torc_listener listener;
    struct torc_scope scope;
    int result = torc_listener_open(&listener, &here, NULL);

    if (result < 0)
        return result;
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, *(uint64_t *)duration_ns);
    while ((result = torc_listener_accept(&listener, NULL)) >= 0 ||
           torc_accept_error_is_transient(result))
        if (result >= 0 && torc_scope_spawn(&scope, relay, (void *)(intptr_t)result) < 0)
            (void)torc_close(result);
    (void)torc_scope_close(&scope);
    (void)torc_listener_close(&listener);
    return result == -ETIME ? 0 : result;
}

int main(int argc, char **argv)
{
    uint64_t duration_ns = argc > 2 ? TORC_FOREVER : 250 * TORC_MILLISECOND;

    if (torc_address_parse(argc > 2 ? argv[1] : "127.0.0.1:0", &here) < 0 ||
        torc_address_parse(argc > 2 ? argv[2] : "127.0.0.1:9", &there) < 0)
        return 2;
    return torc_run(serve, &duration_ns, NULL) < 0;
}

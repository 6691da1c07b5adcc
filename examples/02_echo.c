/* SPDX-License-Identifier: MIT */
/*
 * 02_echo.c - a TCP echo server on all CPUs: every shard has a listener of its own.
 *
 * `02_echo 127.0.0.1:7777` serves until it is interrupted; try it with `nc 127.0.0.1 7777`. Without
 * an argument it serves at a port of the kernel's choice for a quarter of a second.
 */
#include <errno.h>
#include <stdio.h>
#include <torc/torc.h>

static void echo(struct torc_stream *stream, void *arg)
{
    (void)arg;
    (void)torc_stream_copy(stream, stream, NULL); /* However it ends, the others go on. */
}

static void say_where(const struct torc_address *address, void *arg)
{
    char text[TORC_ADDRESS_TEXT_SIZE];

    (void)arg;
    printf("listening on %s\n", torc_address_format(address, text, sizeof(text)));
    (void)fflush(stdout);
}

static int run(void *server)
{
    return torc_serve(server);
}

static int run_shortly(void *server)
{
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 250 * TORC_MILLISECOND);
    result = torc_serve(server);
    (void)torc_scope_close(&scope);
    return result == -ETIME ? 0 : result;
}

int main(int argc, char **argv)
{
    struct torc_server server = {
        .serve = echo, .listening = say_where, .grace_ns = 5 * TORC_SECOND};
    const struct torc_options options = {.shards = TORC_ALL_CPUS};
    int result = torc_address_parse(argc > 1 ? argv[1] : "127.0.0.1:0", &server.address);

    if (result == 0)
        result = torc_run(argc > 1 ? run : run_shortly, &server, &options);
    if (result < 0)
        fprintf(stderr, "02_echo: %s\n", torc_strerror(result));
    return result < 0;
}

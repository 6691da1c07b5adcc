/* SPDX-License-Identifier: MIT */
/*
 * 02_echo.c - a TCP echo server on all CPUs: every shard has a listener of its own.
 *
 * `02_echo 127.0.0.1:7777` serves until it is interrupted; try it with `nc 127.0.0.1 7777`. Without
 * an argument it serves on ports of the kernel's choice for a quarter of a second.
 */
#include <stdio.h>
#include <torc/torc.h>

static struct torc_address address;

static int echo(void *arg)
{
    const int fd = (int)(intptr_t)arg;
    char buffer[4096];
    int result = 0;
    ssize_t count;

    while (result == 0 && (count = torc_recv(fd, buffer, sizeof(buffer), 0)) > 0)
        result = torc_send_all(fd, buffer, (size_t)count, NULL);
    return torc_close(fd); /* Whatever ended this connection, the others go on. */
}

static int serve(void *duration_ns)
{
    const int listener = torc_tcp_listen(&address, NULL);
    struct torc_scope scope;
    int result = listener;

    torc_scope_open(&scope, 0);
    if (duration_ns != NULL)
        torc_scope_set_timeout(&scope, *(uint64_t *)duration_ns);
    while (result >= 0 || torc_accept_error_is_transient(result)) {
        result = torc_accept(listener, NULL);
        if (result >= 0 && torc_spawn(echo, (void *)(intptr_t)result) < 0)
            (void)torc_close(result);
        if (result == -EMFILE || result == -ENFILE) /* Until other connections have ended. */
            result = torc_sleep(10 * TORC_MILLISECOND);
    }
    (void)torc_scope_close(&scope);
    if (listener >= 0)
        (void)torc_close(listener);
    return result == -ETIME ? 0 : result;
}

int main(int argc, char **argv)
{
    const struct torc_options options = {.shards = TORC_ALL_CPUS};
    uint64_t duration_ns = 250 * TORC_MILLISECOND;
    int result = torc_address_parse(argc > 1 ? argv[1] : "127.0.0.1:0", &address);

    if (result == 0)
        result = torc_run(serve, argc > 1 ? NULL : &duration_ns, &options);
    if (result < 0)
        fprintf(stderr, "02_echo: %s\n", torc_strerror(result));
    return result < 0;
}

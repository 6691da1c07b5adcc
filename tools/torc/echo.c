/* SPDX-License-Identifier: MIT */
/*
 * echo.c - torc echo: a server on TCP or a Unix socket that sends back what it receives.
 *
 * Every shard has a listening socket of its own on the same port, among which the kernel spreads
 * the connections, and a fiber for each connection it accepted. Nothing is shared between shards
 * but counters that each shard writes for itself.
 */
#include "echo.h"
#include "cli.h"
#include "commands.h"
#include "counter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The buffer is not on the stack: a large frame there is touched page by page when entered. */
struct connection {
    struct echo_shard *shard;
    int fd;
    char buffer[]; /* no bytes of it for streams, which have the shard's */
};

static void count_message(struct echo_shard *shard, ssize_t size)
{
    counter_add(&shard->messages, 1);
    counter_add(&shard->bytes, (uint64_t)size);
}

/* Send back what comes until the peer ends the stream. Returns 0 or the error. */
static int echo_by_recv(struct connection *connection)
{
    const size_t buffer_size = (size_t)connection->shard->echo->options->buffer_size;

    for (;;) {
        const ssize_t count = torc_recv(connection->fd, connection->buffer, buffer_size, 0);
        if (count <= 0)
            return (int)count;
        const int error = torc_send_all(connection->fd, connection->buffer, (size_t)count, NULL);
        if (error < 0)
            return error;
        count_message(connection->shard, count);
    }
}

/* The same, from the memory that the stream received in. */
static int echo_by_stream(struct connection *connection)
{
    struct torc_stream stream;
    int error = 0;

    torc_stream_open(&stream, connection->fd);
    connection->fd = -1; /* The stream closes it. */
    while (error == 0) {
        const void *data;
        const ssize_t count = torc_stream_peek(&stream, &data);

        if (count <= 0) {
            error = (int)count;
            break;
        }
        error = torc_stream_write(&stream, data, (size_t)count, NULL);
        torc_stream_consume(&stream, (size_t)count);
        if (error == 0)
            count_message(connection->shard, count);
    }
    const int closed = torc_stream_close(&stream);
    return error < 0 ? error : closed;
}

/* The fiber of one connection. How a peer behaves is no failure of the server, so it returns 0. */
static int serve(void *arg)
{
    struct connection *connection = arg;
    struct echo_shard *shard = connection->shard;

    torc_fiber_set_name("connection");
    const int error =
        shard->echo->options->by_stream ? echo_by_stream(connection) : echo_by_recv(connection);
    if (error == -ECONNRESET || error == -EPIPE || error == -ETIMEDOUT) {
        counter_add(&shard->resets, 1);
    } else if (error < 0 && error != -ECANCELED) {
        counter_add(&shard->errors, 1);
    }
    if (connection->fd >= 0)
        torc_close(connection->fd);
    counter_add(&shard->open, (uint64_t)-1);
    free(connection);
    return 0;
}

/* Hand an accepted descriptor to a fiber of its own; without memory the connection is dropped. */
static void start_connection(struct echo_shard *shard, struct torc_scope *scope, int fd)
{
    const struct echo_options *options = shard->echo->options;
    struct connection *connection =
        malloc(sizeof(*connection) + (options->by_stream ? 0 : (size_t)options->buffer_size));

    counter_add(&shard->connections, 1);
    if (connection != NULL) {
        connection->shard = shard;
        connection->fd = fd;
        if (options->listen.any.sa_family != AF_UNIX)
            (void)torc_tcp_set_nodelay(fd, true);
        if (torc_scope_spawn(scope, serve, connection) == 0) {
            counter_add(&shard->open, 1);
            return;
        }
    }
    free(connection);
    torc_close(fd);
    counter_add(&shard->errors, 1);
}

/* Complain about a failed accept, at most once a second, and give connections time to end. */
static int wait_after_failure(struct echo_shard *shard, int error, uint64_t *last_ns)
{
    counter_add(&shard->accept_failures, 1);
    if (*last_ns == 0 || torc_now() - *last_ns >= TORC_SECOND) {
        *last_ns = torc_now();
        cli_failed("torc echo", "cannot accept: %s (%llu connections are open, see ulimit -n)",
                   torc_strerror(error), (unsigned long long)counter_get(&shard->open));
    }
    return torc_sleep(10 * TORC_MILLISECOND);
}

/* Accept until the shard is stopped. Returns 0, or what made it impossible. */
static int accept_all(struct echo_shard *shard, struct torc_scope *scope,
                      struct torc_listener *listener)
{
    uint64_t last_complaint_ns = 0;
    int result = 0;

    while (result == 0) {
        const int fd = torc_listener_accept(listener, NULL);
        if (fd >= 0) {
            start_connection(shard, scope, fd);
        } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
            result = wait_after_failure(shard, fd, &last_complaint_ns);
        } else if (!torc_accept_error_is_transient(fd)) {
            result = fd;
        }
    }
    return result == -ECANCELED ? 0 : result;
}

/*
 * The first shard binds, and so chooses the port if it was 0. It does that alone at first: sockets
 * that share a port do not notice that a server of somebody else's shares it too.
 */
static int listen_first(struct echo *echo, struct torc_address *address)
{
    const struct torc_listen_options alone = {.no_reuse_port = true};
    int fd = torc_tcp_listen(address, &alone);

    if (fd < 0 || echo->shard_count == 1)
        return fd;
    const int error = torc_local_address(fd, address);
    torc_close(fd);
    return error < 0 ? error : torc_tcp_listen(address, NULL);
}

/* The other shards join at the port of the first, for which they look now and then. */
static int listen_other(struct echo *echo, struct torc_address *address)
{
    int port;

    while ((port = atomic_load(&echo->port)) == 0) {
        const int reason = torc_sleep(TORC_MILLISECOND);
        if (reason < 0)
            return reason;
    }
    /* The port is at the same place in an IPv4 and an IPv6 address. */
    address->v4.sin_port = htons((uint16_t)port);
    return torc_tcp_listen(address, NULL);
}

/* Open the listening socket of this shard; the last of them says that the server is ready. */
static int open_listener(struct echo *echo)
{
    const bool first = torc_shard_index() == 0;
    struct torc_address address = echo->options->listen;
    const int fd = first ? listen_first(echo, &address) : listen_other(echo, &address);

    if (fd < 0) {
        char text[TORC_ADDRESS_TEXT_SIZE];

        torc_address_format(&address, text, sizeof(text));
        if (fd != -ECANCELED && !atomic_exchange(&echo->complained, true))
            cli_failed("torc echo", "cannot listen on %s: %s", text, torc_strerror(fd));
        return fd;
    }
    const int error = torc_local_address(fd, &address);
    if (error < 0) {
        torc_close(fd);
        return error;
    }
    if (first)
        atomic_store(&echo->port, torc_address_port(&address));
    if (atomic_fetch_add(&echo->listening, 1) + 1 == echo->shard_count) {
        echo->begin_ns = torc_now();
        echo_report_address(echo, &address);
    }
    return fd;
}

static int stop_later(void *arg)
{
    const struct echo *echo = arg;

    torc_fiber_set_name("duration");
    const int reason = torc_sleep(echo->options->duration_ns);
    if (reason == 0)
        torc_stop();
    return reason;
}

/* The fibers that only the first shard has. */
static int start_helpers(struct echo *echo)
{
    int error = signals_start(&echo->signals);

    if (error == 0 && echo->options->duration_ns > 0)
        error = torc_spawn(stop_later, echo);
    if (error == 0 && echo->options->live)
        error = torc_spawn(echo_live, echo);
    return error;
}

/* A Unix socket leaves its name in the file system; an abstract one has none there. */
static void remove_socket(const struct torc_address *address)
{
    if (address->any.sa_family == AF_UNIX && address->local.sun_path[0] != '\0')
        (void)unlink(address->local.sun_path);
}

/* What runs on every shard. */
static int echo_main(void *arg)
{
    struct echo *echo = arg;
    struct echo_shard *shard = &echo->shards[torc_shard_index()];
    struct torc_listener listener;
    struct torc_scope scope;

    torc_fiber_set_name("accept");
    if (torc_shard_index() == 0) {
        const int error = start_helpers(echo);
        if (error < 0)
            return error;
    }
    const int fd = open_listener(echo);
    if (fd < 0)
        return fd;

    torc_scope_open(&scope, TORC_SUPERVISE);
    torc_listener_adopt(&listener, fd);
    const int result = accept_all(shard, &scope, &listener);
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope); /* Tells of the cancel, which is no news. */
    torc_listener_close(&listener);
    remove_socket(&echo->options->listen);
    torc_stats(&shard->stats);
    shard->end_ns = torc_now();
    return result;
}

static int run(const struct echo_options *options)
{
    struct echo echo = {
        .options = options,
        .shard_count = options->runtime.shards > 0 ? (unsigned)options->runtime.shards : 1,
    };

    echo.shards =
        aligned_alloc(_Alignof(struct echo_shard), echo.shard_count * sizeof(struct echo_shard));
    if (echo.shards == NULL)
        return cli_failed("torc echo", "no memory");
    for (unsigned i = 0; i < echo.shard_count; i++)
        echo.shards[i] = (struct echo_shard){.echo = &echo};

    const int error = torc_run(echo_main, &echo, &options->runtime);
    if (atomic_load(&echo.listening) == echo.shard_count)
        echo_report(&echo);
    if (error < 0 && !atomic_load(&echo.complained))
        cli_failed("torc echo", "%s (torc doctor tells what torc needs)", torc_strerror(error));
    free(echo.shards);
    return error < 0 ? CLI_FAILED : 0;
}

static int parse_mode(const struct cli_option *option, const char *text)
{
    bool *by_stream = option->value;

    *by_stream = strcmp(text, "stream") == 0;
    return *by_stream || strcmp(text, "recv") == 0 ? 0 : -EINVAL;
}

int command_echo(int argc, char **argv)
{
    struct echo_options options = {.buffer_size = 16384};
    const struct cli_option known[] = {
        {"listen", "ADDR:PORT",
         "where to listen (default 127.0.0.1:7000); port 0: any free one;\n"
         "with one shard also the path of a Unix socket",
         cli_parse_address, &options.listen, "an address such as 127.0.0.1:7000 or [::1]:0", 0, 0},
        cli_option_shards(&options.runtime),
        cli_option_driver(&options.runtime),
        cli_option_forbid(&options.runtime),
        cli_option_busy_poll(&options.runtime),
        {"buffer", "BYTES", "memory per connection for what it sends (default 16k)", cli_parse_size,
         &options.buffer_size, "a size from 1 to 16m", 1, 16 << 20},
        {"mode", "NAME",
         "recv: into memory per connection (default); stream: buffered streams,\n"
         "whose idle connections hold none",
         parse_mode, &options.by_stream, "recv or stream", 0, 0},
        {"duration", "SEC", "stop after so long (default: on Ctrl-C or SIGTERM)", cli_parse_time,
         &options.duration_ns, "seconds, such as 10 or 0.5", 1,
         365 * UINT64_C(86400) * TORC_SECOND},
        {"stats", NULL, "at the end, what happened inside of each shard", NULL, &options.stats,
         NULL, 0, 0},
        {"live", NULL, "a line on standard error that changes every second", NULL, &options.live,
         NULL, 0, 0},
        {"json", NULL, "standard output gets two lines of JSON: where it listens, what it did",
         NULL, &options.json, NULL, 0, 0},
        {0},
    };
    const struct cli_command command = {
        .name = "torc echo",
        .usage = "[options]",
        .summary = "a server that sends back what it receives",
        .notes =
            "Once all shards listen, it prints 'listening on ADDR:PORT'. A message is what one "
            "receive\nbrings. A second signal ends it at once.",
        .options = known,
    };
    const int status = cli_parse_all(&command, argc, argv);

    if (status >= 0)
        return status;
    if (options.listen.length == 0 && torc_address_parse("127.0.0.1:7000", &options.listen) < 0)
        return cli_failed(command.name, "cannot read the default address");
    if (options.listen.any.sa_family == AF_UNIX && options.runtime.shards != 0 &&
        options.runtime.shards != 1)
        return cli_wrong(command.name, "a Unix socket cannot be shared among several --shards");
    cli_raise_file_limit();
    return run(&options);
}

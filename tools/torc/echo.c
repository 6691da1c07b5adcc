/* SPDX-License-Identifier: MIT */
/*
 * echo.c - torc echo: a server on TCP or a Unix socket that sends back what it receives.
 *
 * torc_serve() accepts, and has a fiber for each connection. Nothing is shared between shards but
 * counters that each shard writes for itself.
 */
#include "echo.h"
#include "cli.h"
#include "commands.h"
#include "counter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void count_message(struct echo_shard *shard, ssize_t size)
{
    counter_add(&shard->messages, 1);
    counter_add(&shard->bytes, (uint64_t)size);
}

/* Send back what comes until the peer ends the stream. Returns 0 or the error. */
static int echo_by_recv(struct echo_shard *shard, int fd, char *buffer, size_t size)
{
    for (;;) {
        const ssize_t count = torc_recv(fd, buffer, size, 0);
        if (count <= 0)
            return (int)count;
        const int error = torc_send_all(fd, buffer, (size_t)count, NULL);
        if (error < 0)
            return error;
        count_message(shard, count);
    }
}

/* The same, from the memory that the stream received in. */
static int echo_by_stream(struct echo_shard *shard, struct torc_stream *stream)
{
    const void *data;
    ssize_t count;

    while ((count = torc_stream_peek(stream, &data)) > 0) {
        const int error = torc_stream_write(stream, data, (size_t)count, NULL);
        torc_stream_consume(stream, (size_t)count);
        if (error < 0)
            return error;
        count_message(shard, count);
    }
    return count < 0 ? (int)count : torc_stream_flush(stream);
}

static int echo_back(struct echo_shard *shard, struct torc_stream *stream)
{
    const struct echo_options *options = shard->echo->options;

    if (options->by_stream)
        return echo_by_stream(shard, stream);

    /* The buffer is not on the stack: a large frame there is touched page by page when entered. */
    const size_t size = (size_t)options->buffer_size;
    char *buffer = malloc(size);
    const int error =
        buffer == NULL ? -ENOMEM : echo_by_recv(shard, torc_stream_fd(stream), buffer, size);
    free(buffer);
    return error;
}

static struct echo_shard *own_shard(struct echo *echo)
{
    return &echo->shards[torc_shard_index()];
}

/* The fiber of one connection. */
static void serve(struct torc_stream *stream, void *arg)
{
    struct echo_shard *shard = own_shard(arg);

    counter_add(&shard->connections, 1);
    counter_add(&shard->open, 1);
    const int error = echo_back(shard, stream);
    if (error == -ECONNRESET || error == -EPIPE || error == -ETIMEDOUT) {
        counter_add(&shard->resets, 1);
    } else if (error < 0 && error != -ECANCELED) {
        counter_add(&shard->errors, 1);
    }
    counter_add(&shard->open, (uint64_t)-1);
}

/* Complain, at most once a second, that something is missing for the next connection. */
static void cannot_accept(int error, void *arg)
{
    struct echo_shard *shard = own_shard(arg);

    counter_add(&shard->accept_failures, 1);
    if (shard->complaint_ns == 0 || torc_now() - shard->complaint_ns >= TORC_SECOND) {
        shard->complaint_ns = torc_now();
        cli_failed("torc echo", "cannot accept: %s (%llu connections are open, see ulimit -n)",
                   torc_strerror(error), (unsigned long long)counter_get(&shard->open));
    }
}

static void cannot_listen(struct echo *echo, int error)
{
    char text[TORC_ADDRESS_TEXT_SIZE];

    torc_address_format(&echo->server.address, text, sizeof(text));
    if (!atomic_exchange(&echo->complained, true))
        cli_failed("torc echo", "cannot listen on %s: %s", text, torc_strerror(error));
}

/* All shards listen. */
static void listening(const struct torc_address *address, void *arg)
{
    struct echo *echo = arg;

    echo->begin_ns = torc_now();
    atomic_store(&echo->listens, true);
    echo_report_address(echo, address);
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
    int error = 0;

    if (echo->options->duration_ns > 0)
        error = torc_spawn(stop_later, echo);
    if (error == 0 && echo->options->live)
        error = torc_spawn(echo_live, echo);
    return error;
}

/* What runs on every shard. */
static int echo_main(void *arg)
{
    struct echo *echo = arg;
    struct echo_shard *shard = own_shard(echo);
    int result = torc_shard_index() == 0 ? start_helpers(echo) : 0;

    if (result < 0)
        return result;
    result = torc_serve(&echo->server);
    if (result < 0 && result != -ECANCELED && !atomic_load(&echo->listens))
        cannot_listen(echo, result);
    torc_stats(&shard->stats);
    shard->end_ns = torc_now();
    return result;
}

static int run(const struct echo_options *options)
{
    struct echo echo = {
        .options = options,
        .shard_count = options->runtime.shards > 0 ? (unsigned)options->runtime.shards : 1,
        .server = {.address = options->listen,
                   .serve = serve,
                   .arg = &echo,
                   .listening = listening,
                   .exhausted = cannot_accept},
    };

    echo.server.shards = echo.shard_count;
    echo.shards =
        aligned_alloc(_Alignof(struct echo_shard), echo.shard_count * sizeof(struct echo_shard));
    if (echo.shards == NULL)
        return cli_failed("torc echo", "no memory");
    for (unsigned i = 0; i < echo.shard_count; i++)
        echo.shards[i] = (struct echo_shard){.echo = &echo};

    const int error = torc_run(echo_main, &echo, &options->runtime);
    if (atomic_load(&echo.listens))
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
    struct echo_options options = {.buffer_size = 65536};
    const struct cli_option known[] = {
        {"listen", "ADDR:PORT",
         "where to listen (default 127.0.0.1:7000); port 0: any free one;\n"
         "also the path of a Unix socket",
         cli_parse_address, &options.listen, "an address such as 127.0.0.1:7000 or [::1]:0", 0, 0},
        cli_option_shards(&options.runtime),
        cli_option_driver(&options.runtime),
        cli_option_forbid(&options.runtime),
        cli_option_busy_poll(&options.runtime),
        {"buffer", "BYTES", "memory per connection for what it sends (default 64k)", cli_parse_size,
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
    cli_raise_file_limit();
    return run(&options);
}

/* SPDX-License-Identifier: MIT */
/*
 * bench.c - torc bench: what is asked for, and whether what came out is a result.
 */
#include "bench.h"

#include "cli.h"
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char name[] = "torc bench";

static const char notes[] =
    "Without --rate each connection sends a new message for each that came back, so the server\n"
    "sets the pace. With --rate the time of each message is fixed beforehand, the connections\n"
    "taking turns, and latency counts from that time, also if the message could only be sent\n"
    "later: a server that stalls is not spared. --depth then limits what is in flight; without\n"
    "it nothing does. With --churn latency is the time to connect, to send and to receive.\n"
    "\n"
    "All connections are there before the first message. Every byte that comes back is compared\n"
    "with what was sent, unless --no-verify is given. Bytes per second are those of one\n"
    "direction.\n"
    "\n"
    "Exit status: 0; 1 if the server cannot be reached, answers nothing, or answers wrong bytes.";

/* Options that exclude each other, and what follows from those that are given. */
static int settle(struct bench_options *options, bool churn)
{
    if (churn && options->rate > 0)
        return cli_wrong(name, "--churn and --rate exclude each other");
    if (churn && options->depth > 1)
        return cli_wrong(name, "--churn and --depth exclude each other");
    if (options->connections < (uint64_t)options->runtime.shards)
        return cli_wrong(name, "--connections must be at least as many as --shards");
    options->mode = churn ? BENCH_CHURN : options->rate > 0 ? BENCH_OPEN : BENCH_CLOSED;
    if (options->mode != BENCH_OPEN && options->depth == 0)
        options->depth = 1;
    return -1;
}

/* The server's address, from what stands behind the options: tcp ADDR:PORT, or unix PATH. */
static int take_operands(int count, char **operands, struct torc_address *address)
{
    if (count == 0)
        return cli_wrong(name, "what kind of server, and where? tcp ADDR:PORT | unix PATH");

    const bool is_unix = strcmp(operands[0], "unix") == 0;
    if (!is_unix && strcmp(operands[0], "tcp") != 0) {
        return cli_wrong(name, "it knows servers of the kinds tcp and unix, not '%s'", operands[0]);
    }
    if (count == 1)
        return cli_wrong(name, "where is the server? %s", is_unix ? "PATH" : "ADDR:PORT");
    if (count > 2)
        return cli_wrong(name, "what is '%s'? (see %s --help)", operands[2], name);
    const bool valid = torc_address_parse(operands[1], address) == 0;
    if (is_unix && (!valid || address->any.sa_family != AF_UNIX))
        return cli_wrong(name, "'%s' is no path such as /tmp/server or @abstract", operands[1]);
    if (!is_unix && (!valid || torc_address_port(address) == 0)) {
        return cli_wrong(name, "'%s' is no address such as 127.0.0.1:7000 or [::1]:7000",
                         operands[1]);
    }
    return -1;
}

/* The exit status, and a line that tells the reason if it is not 0. */
static int judge(const struct bench_options *options, const struct bench_result *result)
{
    char address[TORC_ADDRESS_TEXT_SIZE];

    torc_address_format(&options->address, address, sizeof(address));
    if (result->mismatches > 0)
        return cli_failed(name, "%s does not send back what it receives", address);
    if (result->connect_errors > 0 && result->messages == 0) {
        return cli_failed(name, "cannot connect to %s: %s", address,
                          torc_strerror(result->connect_error));
    }
    if (result->messages > 0)
        return 0;
    if (result->interrupted != 0)
        return cli_failed(name, "interrupted before anything was measured");
    if (result->errors > 0)
        return cli_failed(name, "%s broke off the connections", address);
    return cli_failed(name, "%s did not answer", address);
}

static int run(const struct bench_options *options)
{
    struct bench_result result;
    const uint64_t files = cli_raise_file_limit();

    if (options->connections + 64 > files) {
        return cli_failed(name, "%llu connections need more descriptors than %llu: see ulimit -n",
                          (unsigned long long)options->connections, (unsigned long long)files);
    }
    const int error = bench_run(options, &result);
    if (error < 0)
        return cli_failed(name, "%s (torc doctor tells what torc needs)", torc_strerror(error));
    if (result.messages > 0 || options->json)
        bench_report(options, &result);
    const int status = judge(options, &result);
    free(result.latency);
    return status;
}

int command_bench(int argc, char **argv)
{
    struct bench_options options = {
        .connections = 100,
        .size = 64,
        .duration_ns = 5 * TORC_SECOND,
        .warmup_ns = TORC_SECOND / 2,
    };
    const uint64_t day = 24 * UINT64_C(3600) * TORC_SECOND;
    bool churn = false;
    const struct cli_option known[] = {
        {"connections", "N", "how many (default 100)", cli_parse_count, &options.connections, NULL,
         1, 1000000},
        {"size", "BYTES", "of a message (default 64)", cli_parse_size, &options.size,
         "a size from 1 to 64m", 1, 64 << 20},
        {"depth", "N", "messages in flight per connection (default 1)", cli_parse_count,
         &options.depth, NULL, 1, 65536},
        {"duration", "SEC", "how long to measure (default 5)", cli_parse_time, &options.duration_ns,
         "seconds, such as 10 or 0.5", TORC_MILLISECOND, day},
        {"warmup", "SEC", "how long to load before that (default 0.5)", cli_parse_time,
         &options.warmup_ns, "seconds, such as 1 or 0", 0, day},
        {"rate", "N",
         "messages per second over all connections, such as 20k\n"
         "(default: as many as the server answers)",
         cli_parse_rate, &options.rate, "messages per second, up to 100m", 0, 100000000},
        {"churn", NULL, "a new connection for each message", NULL, &churn, NULL, 0, 0},
        cli_option_shards(&options.runtime),
        cli_option_driver(&options.runtime),
        cli_option_forbid(&options.runtime),
        cli_option_busy_poll(&options.runtime),
        {"no-verify", NULL, "do not compare what comes back", NULL, &options.no_verify, NULL, 0, 0},
        {"json", NULL, "print one object of JSON", NULL, &options.json, NULL, 0, 0},
        {0},
    };
    const struct cli_command command = {
        .name = name,
        .usage = "tcp ADDR:PORT [options], or torc bench unix PATH [options]",
        .summary = "put an echo server under load and measure how it answers",
        .notes = notes,
        .options = known,
    };
    int operand;
    int status = cli_parse(&command, argc, argv, &operand);

    if (status < 0)
        status = take_operands(argc - operand, argv + operand, &options.address);
    if (status < 0)
        status = settle(&options, churn);
    return status < 0 ? run(&options) : status;
}

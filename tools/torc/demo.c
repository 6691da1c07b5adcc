/* SPDX-License-Identifier: MIT */
/*
 * demo.c - torc demo: echo servers under load, for those who want to see torc at work.
 *
 * First torc on all CPUs. Then torc and its peers, which have one thread, on one CPU each: in
 * several short rounds in which all of them take their turns, so that whatever else this machine
 * does hits them alike. Servers get the first CPU and the load the second, where there are two.
 */
#include "demo.h"

#include "bench.h"
#include "cli.h"
#include "commands.h"
#include "output.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TRIES = 4, /* before a server counts as one that does not answer */
};

static const char command_name[] = "torc demo";

/* Looks at the server's CPU time as the window begins and ends. */
static void look_at_window(void *arg, bool end)
{
    struct demo_contestant *contestant = arg;
    const uint64_t now_ns = demo_server_cpu(&contestant->server);

    if (!end) {
        contestant->cpu_begin_ns = now_ns;
    } else {
        contestant->cpu_ns = now_ns - contestant->cpu_begin_ns;
    }
}

/* Note what came of a load, if anything was measured. Returns -1, or the exit status. */
static int note(struct demo_contestant *contestant, const struct bench_result *result)
{
    if (result->interrupted != 0)
        return cli_failed(command_name, "interrupted");
    if (result->mismatches > 0 || result->errors > 0 || result->connect_errors > 0) {
        return cli_failed(command_name, "the echo server of %s did not answer as it should",
                          contestant->name);
    }
    if (result->messages == 0)
        return -1;
    const unsigned round = contestant->rounds++;
    contestant->rates[round] = (double)result->messages * 1e9 / (double)result->duration_ns;
    contestant->costs_ns[round] = (double)contestant->cpu_ns / (double)result->messages;
    histogram_merge(contestant->latency, result->latency);
    return -1;
}

/* Load one server once. Returns -1, or the exit status. */
static int play_once(const struct demo *demo, struct demo_contestant *contestant, int shards,
                     const char *label, uint64_t duration_ns)
{
    const struct bench_options options = {
        .address = contestant->server.address,
        .runtime = {.shards = shards},
        .mode = BENCH_CLOSED,
        .connections = demo->options->connections * (unsigned)shards,
        .size = demo->options->size,
        .depth = 1,
        .warmup_ns = duration_ns / 5,
        .duration_ns = duration_ns - duration_ns / 5,
        .live_period_ns = TORC_SECOND / 10,
        .live_label = label,
        .window = look_at_window,
        .window_arg = contestant,
    };
    struct bench_result result;

    output_live("%s", label);
    const int error = bench_run(&options, &result);
    if (error < 0) {
        return cli_failed(command_name, "%s (torc doctor tells what torc needs)",
                          torc_strerror(error));
    }
    const int status = note(contestant, &result);
    free(result.latency);
    return status;
}

/*
 * Load one server, for longer if nothing at all came back: on a machine that is busy otherwise a
 * short round may pass before the server had its turn. Returns -1, or the exit status.
 */
static int play(const struct demo *demo, struct demo_contestant *contestant, int shards,
                const char *label, uint64_t duration_ns)
{
    const unsigned rounds = contestant->rounds;
    int status = -1;

    for (unsigned tries = 0; tries < TRIES && status < 0 && contestant->rounds == rounds; tries++) {
        status = play_once(demo, contestant, shards, label, duration_ns);
        duration_ns *= 4;
    }
    if (status < 0 && contestant->rounds == rounds)
        status = cli_failed(command_name, "the echo server of %s did not answer", contestant->name);
    return status;
}

/* Start torc echo on as many shards. */
static int start_torc(const struct demo *demo, int shards, const struct cpus *cpus,
                      struct demo_server *ret_server)
{
    char count[16];
    const char *const arguments[] = {demo->torc, "echo", "--listen", "127.0.0.1:0",
                                     "--shards", count,  NULL};

    snprintf(count, sizeof(count), "%d", shards);
    return demo_server_start(arguments, cpus, ret_server);
}

/* Start a peer, which lies in the folder that was named, or in one beside this program. */
static int start_peer(const struct demo *demo, const char *program, const struct cpus *cpus,
                      struct demo_server *ret_server)
{
    const char *const folders[] = {"bench/", ""};
    char path[2 * DEMO_PATH_SIZE];
    const char *const arguments[] = {path, "0", NULL};

    if (demo->options->peers != NULL) {
        snprintf(path, sizeof(path), "%s/%s", demo->options->peers, program);
        return demo_server_start(arguments, cpus, ret_server);
    }
    int error = -ENOENT;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && error == -ENOENT; i++) {
        snprintf(path, sizeof(path), "%s/%s%s", demo->folder, folders[i], program);
        error = demo_server_start(arguments, cpus, ret_server);
    }
    return error;
}

/* Torc on all CPUs. Returns -1, or the exit status. */
static int show_all_cpus(struct demo *demo, uint64_t duration_ns)
{
    struct demo_contestant *torc = &demo->all_cpus;
    const int shards = (int)cli_cpu_count();
    char label[64];

    const int error = start_torc(demo, shards, NULL, &torc->server);
    if (error < 0)
        return cli_failed(command_name, "cannot start torc echo: %s", torc_strerror(error));
    snprintf(label, sizeof(label), "  torc, all %d CPUs", shards);
    const int status = play(demo, torc, shards, label, duration_ns);
    demo_server_stop(&torc->server);
    return status;
}

/* Start all that are there; a peer that is missing is said to be. Returns -1, or the status. */
static int start_contestants(struct demo *demo, const struct cpus *cpu)
{
    for (unsigned i = 0; i < DEMO_CONTESTANTS; i++) {
        struct demo_contestant *contestant = &demo->contestants[i];
        int error;

        if (contestant->program == NULL) {
            error = start_torc(demo, 1, cpu, &contestant->server);
            if (error < 0)
                return cli_failed(command_name, "cannot start torc echo: %s", torc_strerror(error));
            continue;
        }
        error = start_peer(demo, contestant->program, cpu, &contestant->server);
        if (error < 0) {
            output_live_end();
            printf("  without %s: cannot start %s: %s\n", contestant->name, contestant->program,
                   torc_strerror(error));
        }
    }
    return -1;
}

/* All contestants in turns, in another order each round. Returns -1, or the exit status. */
static int compare(struct demo *demo, uint64_t duration_ns)
{
    const bool pinned = cpus_count(&demo->cpus) >= 2;
    const struct cpus server_cpu = cpus_nth(&demo->cpus, 0);
    const struct cpus load_cpu = pinned ? cpus_nth(&demo->cpus, 1) : server_cpu;
    int status = start_contestants(demo, pinned ? &server_cpu : NULL);

    if (pinned)
        cpus_pin(&load_cpu);
    for (unsigned round = 0; round < DEMO_ROUNDS && status < 0; round++) {
        for (unsigned i = 0; i < DEMO_CONTESTANTS && status < 0; i++) {
            struct demo_contestant *contestant = &demo->contestants[(round + i) % DEMO_CONTESTANTS];
            char label[64];

            if (contestant->server.pid == 0)
                continue;
            snprintf(label, sizeof(label), "  round %u of %d, %-10s", round + 1, DEMO_ROUNDS,
                     contestant->name);
            status = play(demo, contestant, 1, label, duration_ns);
        }
    }
    cpus_pin(&demo->cpus);
    for (unsigned i = 0; i < DEMO_CONTESTANTS; i++)
        demo_server_stop(&demo->contestants[i].server);
    return status;
}

/* Find this program, and so what lies beside it. */
static int find_torc(struct demo *demo)
{
    const ssize_t length = readlink("/proc/self/exe", demo->torc, sizeof(demo->torc) - 1);

    if (length < 0)
        return -errno;
    demo->torc[length] = '\0';
    snprintf(demo->folder, sizeof(demo->folder), "%s", demo->torc);
    char *slash = strrchr(demo->folder, '/');
    if (slash != NULL)
        *slash = '\0';
    demo->cpus = cpus_here();
    return 0;
}

/* The whole show. Returns -1, or the exit status. */
static int show(struct demo *demo)
{
    const uint64_t first_ns = demo->options->duration_ns / 3;
    const uint64_t rounds = UINT64_C(1) * DEMO_ROUNDS * DEMO_CONTESTANTS;

    demo_report_beginning(demo);
    int status = show_all_cpus(demo, first_ns);
    if (status < 0)
        status = compare(demo, (demo->options->duration_ns - first_ns) / rounds);
    output_live_end();
    if (status < 0)
        demo_report(demo);
    return status;
}

static int run(const struct demo_options *options)
{
    struct demo demo = {
        .options = options,
        .all_cpus = {.name = "torc", .latency = histogram_create()},
        .contestants =
            {
                {.name = "torc", .latency = histogram_create()},
                {.name = "libuv", .program = "echo_libuv", .latency = histogram_create()},
                {.name = "raw epoll", .program = "echo_raw_epoll", .latency = histogram_create()},
            },
    };
    bool enough = demo.all_cpus.latency != NULL;
    struct torc_driver_report driver;
    int status;

    for (unsigned i = 0; i < DEMO_CONTESTANTS; i++)
        enough = enough && demo.contestants[i].latency != NULL;
    const int error = enough ? find_torc(&demo) : -ENOMEM;
    if (error < 0) {
        status = cli_failed(command_name, "cannot begin: %s", torc_strerror(error));
    } else if (torc_driver_report(NULL, &driver) == 0 && driver.error != 0) {
        status = cli_failed(command_name, "%s (torc doctor tells more)", driver.reason);
    } else {
        status = show(&demo);
    }
    free(demo.all_cpus.latency);
    for (unsigned i = 0; i < DEMO_CONTESTANTS; i++)
        free(demo.contestants[i].latency);
    return status < 0 ? 0 : status;
}

int command_demo(int argc, char **argv)
{
    struct demo_options options = {
        .duration_ns = 10 * TORC_SECOND,
        .connections = 100,
        .size = 64,
    };
    const struct cli_option known[] = {
        {"seconds", "N", "how long it takes in all (default 10)", cli_parse_time,
         &options.duration_ns, "seconds, such as 10 or 30", TORC_SECOND, 3600 * TORC_SECOND},
        {"connections", "N", "per CPU that makes the load (default 100)", cli_parse_count,
         &options.connections, NULL, 1, 10000},
        {"size", "BYTES", "of a message (default 64)", cli_parse_size, &options.size,
         "a size from 1 to 64k", 1, 64 << 10},
        {"peers", "DIR", "where echo_libuv and echo_raw_epoll are (default: bench/ beside torc)",
         cli_parse_text, &options.peers, "a folder", 0, 0},
        {0},
    };
    const struct cli_command command = {
        .name = command_name,
        .usage = "[options]",
        .summary = "echo servers under load: torc beside libuv and raw epoll",
        .notes = "Torc on all CPUs first, then each server alone on one CPU, in turns. Peers that\n"
                 "are missing are left out.",
        .options = known,
    };
    const int status = cli_parse_all(&command, argc, argv);

    if (status >= 0)
        return status;

    /* Signals that come between two loads wait for the next one, which ends at once then. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    cli_raise_file_limit();
    return run(&options);
}

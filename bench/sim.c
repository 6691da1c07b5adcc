/* SPDX-License-Identifier: MIT */
/*
 * sim.c - how fast simulations are: operations per second of real time on one core, of messages
 * between two hosts and of a file's blocks; and how many hours pass per second where nothing but a
 * timer now and then happens.
 */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <torc/sim.h>
#include <torc/torc.h>

enum {
    PORT = 7000,
    PAIRS = 16,
    ECHOES = 2000,
    BLOCKS = 40000,
    MINUTES = 600000,
};

static double seconds_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- Messages between two hosts ---- */

static int answer(void *arg)
{
    const int fd = (int)(intptr_t)arg;
    char bytes[64];
    ssize_t count;

    while ((count = torc_recv(fd, bytes, sizeof(bytes), 0)) > 0) {
        if (torc_send_all(fd, bytes, (size_t)count, NULL) < 0)
            break;
    }
    return torc_close(fd);
}

static int serve(void *arg)
{
    struct torc_address any;
    int listener = torc_address_parse("0.0.0.0:7000", &any);

    (void)arg;
    listener = torc_tcp_listen(&any, NULL);
    for (unsigned i = 0; i < PAIRS; i++) {
        const int fd = torc_accept(listener, NULL);

        TORC_SIM_CHECK(fd >= 0 && torc_spawn(answer, (void *)(intptr_t)fd) == 0);
    }
    return torc_sleep(TORC_FOREVER);
}

static int server(void *arg)
{
    return torc_run(serve, arg, NULL);
}

static int ask(void *arg)
{
    const int fd = torc_tcp_connect_name("server", PORT, NULL);
    char bytes[64] = {0};

    (void)arg;
    TORC_SIM_CHECK(fd >= 0);
    for (unsigned i = 0; i < ECHOES; i++) {
        TORC_SIM_CHECK(torc_send_all(fd, bytes, sizeof(bytes), NULL) == 0);
        TORC_SIM_CHECK(torc_recv_all(fd, bytes, sizeof(bytes), NULL) == 0);
    }
    return torc_close(fd);
}

static int echo_scenario(void *arg)
{
    struct torc_sim_host *host;
    struct torc_scope scope;

    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, server, arg, &host) == 0);
    (void)torc_sleep(TORC_SECOND);
    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < PAIRS; i++)
        TORC_SIM_CHECK(torc_scope_spawn(&scope, ask, NULL) == 0);
    return torc_scope_close(&scope);
}

/* ---- Blocks of a file ---- */

static int file_scenario(void *arg)
{
    const int fd = torc_open("/tmp/blocks", O_RDWR | O_CREAT, 0600);
    static char block[4096];

    (void)arg;
    for (unsigned i = 0; i < BLOCKS; i++) {
        const off_t offset = (off_t)(i % 256) * (off_t)sizeof(block);

        TORC_SIM_CHECK(torc_pwrite_all(fd, block, sizeof(block), offset, NULL) == 0);
        TORC_SIM_CHECK(torc_pread_all(fd, block, sizeof(block), offset, NULL) == 0);
    }
    return torc_close(fd);
}

/* ---- Nothing ---- */

static int idle_scenario(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < MINUTES; i++)
        (void)torc_sleep(60 * TORC_SECOND);
    return 0;
}

/* ---- All ---- */

static int measure(const char *what, torc_fiber_fn *scenario)
{
    struct torc_sim_chaos calm;
    struct torc_sim_report report;
    const struct torc_sim_options options = {
        .chaos = &calm, .time_max_ns = UINT64_MAX, .report = &report};
    const double begun = seconds_now();
    double seconds;
    int result;

    torc_sim_chaos_init(&calm, TORC_SIM_CALM);
    result = torc_sim_run(1, &options, scenario, NULL);
    seconds = seconds_now() - begun;
    printf("%-10s %9.0f operations/s  %9.0f events/s  %12.3f hours/s\n", what,
           (double)report.ops / seconds, (double)report.events / seconds,
           (double)report.time_ns / 3.6e12 / seconds);
    return result;
}

int main(void)
{
    int result = measure("messages", echo_scenario);

    if (result == 0)
        result = measure("files", file_scenario);
    if (result == 0)
        result = measure("idle", idle_scenario);
    return result < 0;
}

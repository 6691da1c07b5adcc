/* SPDX-License-Identifier: MIT */
/*
 * sim_test.c - simulations as a scenario sees them. They are the same on every driver.
 */
#include "harness/harness.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>

#define PORT 7000

/* ---- Programs ---- */

static int echo(void *arg)
{
    const int fd = (int)(intptr_t)arg;
    char buffer[512];
    ssize_t count;

    while ((count = torc_recv(fd, buffer, sizeof(buffer), 0)) > 0) {
        if (torc_send_all(fd, buffer, (size_t)count, NULL) < 0)
            break;
    }
    return torc_close(fd);
}

static int serve(void *arg)
{
    struct torc_address address;
    int listener;

    (void)arg;
    EXPECT_INT(torc_address_parse("0.0.0.0:7000", &address), ==, 0);
    listener = torc_tcp_listen(&address, NULL);
    if (listener < 0)
        return listener;
    for (;;) {
        const int fd = torc_accept(listener, NULL);

        if (fd == -ECANCELED)
            return torc_close(listener);
        if (fd >= 0 && torc_spawn(echo, (void *)(intptr_t)fd) < 0)
            (void)torc_close(fd);
    }
}

static int echo_server(void *arg)
{
    const int *shards = arg;
    const struct torc_options options = {.shards = shards != NULL ? *shards : 1};

    return torc_run(serve, NULL, &options);
}

/* ---- Scenarios ---- */

static int dial(const char *host)
{
    int fd = -ECONNREFUSED;

    while (fd == -ECONNREFUSED || fd == -ETIMEDOUT || fd == -ECONNRESET) {
        fd = torc_tcp_connect_name(host, PORT, NULL);
        if (fd < 0)
            TORC_SIM_CHECK(torc_sleep(10 * TORC_MILLISECOND) == 0);
    }
    return fd;
}

static int ask_echo(void *arg)
{
    static const char text[] = "is anybody there?";
    char answer[sizeof(text)];
    struct torc_sim_host *server;
    int fd;

    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, echo_server, arg, &server) == 0);
    fd = dial("server");
    TORC_SIM_CHECK(fd >= 0);
    TORC_SIM_CHECK(torc_send_all(fd, text, sizeof(text), NULL) == 0);
    TORC_SIM_CHECK(torc_recv_all(fd, answer, sizeof(answer), NULL) == 0);
    TORC_SIM_CHECK(memcmp(text, answer, sizeof(text)) == 0);
    return torc_close(fd);
}

static const struct torc_sim_chaos *calm(void)
{
    static struct torc_sim_chaos chaos;

    torc_sim_chaos_init(&chaos, TORC_SIM_CALM);
    return &chaos;
}

TEST(a_client_on_one_host_talks_to_a_server_on_another)
{
    struct torc_sim_report report;
    const struct torc_sim_options options = {.chaos = calm(), .report = &report};

    EXPECT_INT(torc_sim_run(1, &options, ask_echo, NULL), ==, 0);
    EXPECT_UINT(report.hosts, ==, 2);
    EXPECT_UINT(report.ops, >, 0);
}

TEST(the_same_seed_gives_the_same_hash_and_another_one_another)
{
    const int shards = 3;
    struct torc_sim_report first;
    struct torc_sim_report second;
    struct torc_sim_options options = {.chaos = calm(), .report = &first};

    EXPECT_INT(torc_sim_run(7, &options, ask_echo, (void *)&shards), ==, 0);
    options.report = &second;
    EXPECT_INT(torc_sim_run(7, &options, ask_echo, (void *)&shards), ==, 0);
    EXPECT_UINT(second.hash, ==, first.hash);
    EXPECT_UINT(second.events, ==, first.events);
    EXPECT_INT(torc_sim_run(8, &options, ask_echo, (void *)&shards), ==, 0);
    EXPECT(second.hash != first.hash);
}

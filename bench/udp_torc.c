/* SPDX-License-Identifier: MIT */
/*
 * udp_torc.c - a UDP echo on torc, by batches.
 *
 *     udp_torc PORT [--feed] [--poll]
 *
 * --feed takes what a feed has received, instead of asking the socket; --poll polls adaptively
 * before it sleeps, as torc does by default, but other servers do not.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <torc/torc.h>

enum {
    BATCH = 64,
    DATAGRAM_MAX = 8 * 1024, /* longer ones are cut */
};

static bool by_feed;

static int open_socket(const char *port)
{
    struct torc_address address;
    char text[TORC_ADDRESS_TEXT_SIZE];
    int fd;

    snprintf(text, sizeof(text), "127.0.0.1:%s", port);
    int error = torc_address_parse(text, &address);
    if (error < 0)
        return error;
    fd = torc_udp_open(&address, NULL);
    if (fd < 0)
        return fd;
    error = torc_local_address(fd, &address);
    if (error == 0)
        printf("port %u\n", (unsigned)torc_address_port(&address));
    fflush(stdout);
    return error < 0 ? error : fd;
}

static int echo(void *arg)
{
    static char bytes[BATCH][DATAGRAM_MAX];
    struct torc_datagram datagrams[BATCH] = {0};
    const int fd = *(const int *)arg;
    int result = 0;

    for (unsigned i = 0; i < BATCH; i++) {
        datagrams[i].data = bytes[i];
        datagrams[i].size = sizeof(bytes[i]);
    }
    while (result >= 0) {
        result = torc_datagram_recv_batch(fd, datagrams, BATCH);
        if (result > 0)
            result = torc_datagram_send_batch(fd, datagrams, (unsigned)result);
    }
    return result;
}

static int echo_feed(void *arg)
{
    const struct torc_datagram_feed_options options = {.size = DATAGRAM_MAX};
    struct torc_datagram datagrams[BATCH];
    struct torc_datagram_feed feed;
    const int fd = *(const int *)arg;
    int result = torc_datagram_feed_open(&feed, fd, &options);

    if (result < 0)
        return result;
    while (result >= 0) {
        result = torc_datagram_feed_take(&feed, datagrams, BATCH);
        if (result > 0)
            result = torc_datagram_send_batch(fd, datagrams, (unsigned)result);
    }
    torc_datagram_feed_close(&feed);
    return result;
}

static int serve(void *port)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    struct torc_signals signals;
    int fd;

    int error = torc_signals_open(&signals, numbers, 2);
    if (error < 0)
        return error;
    fd = open_socket(port);
    error = fd < 0 ? fd : torc_spawn(by_feed ? echo_feed : echo, &fd);
    if (error == 0)
        error = torc_signals_wait(&signals, NULL);
    torc_signals_close(&signals);
    return error < 0 ? error : 0; /* The echo is cancelled, since main returns. */
}

int main(int argc, char **argv)
{
    struct torc_options options = {.busy_poll = TORC_BUSY_POLL_OFF};
    bool is_wrong = argc < 2;

    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--feed") == 0)
            by_feed = true;
        else if (strcmp(argv[i], "--poll") == 0)
            options.busy_poll = TORC_BUSY_POLL_ADAPTIVE;
        else
            is_wrong = true;
    }
    if (is_wrong) {
        fprintf(stderr, "usage: udp_torc PORT [--feed] [--poll]   (port 0 = any free one)\n");
        return 2;
    }
    const int error = torc_run(serve, argv[1], &options);
    if (error < 0)
        fprintf(stderr, "udp_torc: %s\n", torc_strerror(error));
    return error < 0;
}

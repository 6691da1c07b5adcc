/* SPDX-License-Identifier: MIT */
/*
 * 34_metrics.c - the counters of all shards over HTTP, for Prometheus.
 *
 * `34_metrics 127.0.0.1:9464` serves until it is interrupted. Without an argument it asks itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc/torc.h>
#define HEAD "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n"
static struct torc_address address;

/* Answers whatever is asked for. */
static int answer(void *arg)
{
    const size_t size = torc_metrics_text(NULL, 0) + 1024; /* Numbers may grow meanwhile. */
    char *text = malloc(size);
    char request[4096];
    const int fd = (int)(intptr_t)arg;

    if (text != NULL && torc_recv(fd, request, sizeof(request), 0) > 0 &&
        torc_send_all(fd, HEAD, strlen(HEAD), NULL) == 0)
        (void)torc_send_all(fd, text, torc_metrics_text(text, size), NULL);
    free(text);
    return torc_close(fd);
}

static int ask(void *arg)
{
    char text[4096];
    const int fd = torc_tcp_connect(&address, 1, NULL);
    int result = fd < 0 ? fd : torc_send_all(fd, "GET /metrics HTTP/1.0\r\n\r\n", 25, NULL);

    while (result >= 0 && (result = (int)torc_recv(fd, text, sizeof(text), 0)) > 0)
        fwrite(text, 1, (size_t)result, stdout);
    (void)arg;
    torc_stop();
    return fd < 0 ? fd : torc_close(fd);
}

static int serve(void *alone)
{
    const int listener = torc_tcp_listen(&address, NULL);
    int fd = listener < 0 ? listener : torc_local_address(listener, &address);

    if (fd == 0 && alone != NULL)
        fd = torc_spawn(ask, NULL);
    while (fd >= 0 && (fd = torc_accept(listener, NULL)) >= 0) {
        if (torc_spawn(answer, (void *)(intptr_t)fd) < 0)
            (void)torc_close(fd);
    }
    return listener < 0 ? listener : torc_close(listener);
}

int main(int argc, char **argv)
{
    return torc_address_parse(argc > 1 ? argv[1] : "127.0.0.1:0", &address) < 0 ||
           torc_run(serve, argc > 1 ? NULL : &address, NULL) < 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * 24_udp.c - ask many questions by one call, and have each answered where it came from.
 *
 * The server is bound to all addresses; a datagram that is sent back leaves from the one it had
 * come to.
 */
#include <stdio.h>
#include <torc/torc.h>

#define QUESTIONS 20

static int answer(void *arg)
{
    const int *fd = arg;
    char data[64];
    struct torc_datagram datagram = {.data = data, .size = sizeof(data)};
    ssize_t result;

    while ((result = torc_datagram_recv(*fd, &datagram, 0)) >= 0)
        (void)torc_datagram_send(*fd, &datagram, 0);
    return (int)result;
}

static int ask(int fd)
{
    char numbers[QUESTIONS];
    struct torc_datagram questions[QUESTIONS];
    int done = 0;

    for (int i = 0; i < QUESTIONS; i++) {
        numbers[i] = (char)i;
        questions[i] = (struct torc_datagram){.data = &numbers[i], .size = 1, .length = 1};
    }
    done = torc_datagram_send_batch(fd, questions, QUESTIONS);
    for (int answers = 0; done > 0 && answers < QUESTIONS; answers += done)
        done = torc_datagram_recv_batch(fd, questions, QUESTIONS);
    printf("%s\n", done > 0 ? "all answered" : torc_strerror(done));
    return done > 0 ? 0 : done;
}

static int run(void *arg)
{
    const struct torc_udp_options options = {.tell_local = true};
    struct torc_address address;
    int server = torc_address_parse("0.0.0.0:0", &address);
    int client;

    if (arg != NULL || server < 0 || (server = torc_udp_open(&address, &options)) < 0 ||
        torc_local_address(server, &address) < 0 || torc_spawn(answer, &server) < 0 ||
        torc_resolve("127.0.0.1", torc_address_port(&address), &address, 1) < 0)
        return -EIO;
    client = torc_udp_connect(&address, NULL); /* Hears only what comes from 127.0.0.1. */
    return client < 0 ? client : ask(client);
}

int main(void)
{
    return torc_run(run, NULL, NULL) < 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * 29_names.c - look a name up, and connect to it.
 *
 * `29_names example.org 80` does so with that host. Without arguments it is "localhost", and a
 * server that this program is itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <torc/torc.h>

struct target {
    const char *host;
    uint16_t port;
};

static int listen_somewhere(uint16_t *ret_port)
{
    struct torc_address address;
    const int result = torc_address_parse("127.0.0.1:0", &address);
    const int fd = result < 0 ? result : torc_tcp_listen(&address, NULL);

    if (fd >= 0 && torc_local_address(fd, &address) == 0)
        *ret_port = torc_address_port(&address);
    return fd;
}

static int run(void *arg)
{
    struct target *target = arg;
    const int listener = target->port == 0 ? listen_somewhere(&target->port) : 0;
    struct torc_address addresses[8];
    char text[TORC_ADDRESS_TEXT_SIZE];
    const int count = torc_lookup(NULL, target->host, target->port, 0, addresses, 8);

    for (int i = 0; i < count; i++)
        printf("%s\n", torc_address_format(&addresses[i], text, sizeof(text)));
    if (count < 0 || listener < 0)
        return count < 0 ? count : listener;
    const int fd = torc_tcp_connect_name(target->host, target->port, NULL);
    if (fd >= 0 && torc_peer_address(fd, &addresses[0]) == 0)
        printf("connected to %s\n", torc_address_format(&addresses[0], text, sizeof(text)));
    if (fd >= 0)
        (void)torc_close(fd);
    return fd < 0 ? fd : 0;
}

int main(int argc, char **argv)
{
    struct target target = {"localhost", 0};

    if (argc > 2)
        target = (struct target){argv[1], (uint16_t)atoi(argv[2])};
    const int result = torc_run(run, &target, NULL);
    if (result < 0)
        fprintf(stderr, "29_names: %s\n", torc_strerror(result));
    return result < 0;
}

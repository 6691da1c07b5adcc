/* SPDX-License-Identifier: MIT */
/*
 * udp.h - what the raw UDP echo servers have in common: their socket.
 */
#ifndef TORC_BENCH_PEERS_UDP_H
#define TORC_BENCH_PEERS_UDP_H

#include "listen.h"

enum {
    DATAGRAM_MAX = 8 * 1024, /* longer ones are cut */
};

/* A UDP socket on 127.0.0.1. Says where on standard output. */
static inline int open_udp(const char *port)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");

    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(port)),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("bind");
    say_port(fd);
    fflush(stdout);
    return fd;
}

#endif

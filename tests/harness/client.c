/* SPDX-License-Identifier: MIT */
/*
 * client.c - fibers of tests as clients of a server that echoes.
 */
#include "harness/client.h"
#include "harness/harness.h"
#include <string.h>
#include <sys/socket.h>
#include <torc/io.h>
#include <torc/unix.h>

int client_dial(const struct torc_address *address)
{
    const int fd = address->any.sa_family == AF_UNIX ? torc_unix_connect(address, SOCK_STREAM)
                                                     : torc_tcp_connect(address, 1, NULL);

    EXPECT_INT(fd, >=, 0);
    return fd;
}

void client_say(int fd, const char *text)
{
    char answer[64];

    EXPECT_INT(torc_send_all(fd, text, strlen(text), NULL), ==, 0);
    EXPECT_INT(torc_recv_all(fd, answer, strlen(text), NULL), ==, 0);
    EXPECT_MEM(answer, text, strlen(text));
}

void client_expect_end(int fd)
{
    char byte;

    EXPECT_INT(torc_recv(fd, &byte, 1, 0), ==, 0);
    EXPECT_INT(torc_close(fd), ==, 0);
}

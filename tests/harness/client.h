/* SPDX-License-Identifier: MIT */
/*
 * client.h - fibers of tests as clients of a server that echoes.
 */
#ifndef HARNESS_CLIENT_H
#define HARNESS_CLIENT_H

#include <torc/net.h>

/* A connection to a TCP or Unix address. */
int client_dial(const struct torc_address *address);

/* Say something, which comes back. */
void client_say(int fd, const char *text);

/* The server has closed the connection; so does the client. */
void client_expect_end(int fd);

#endif

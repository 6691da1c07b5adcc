/* SPDX-License-Identifier: MIT */
/*
 * net.h - sockets for tests, made by plain system calls, and bytes that can be told apart.
 */
#ifndef HARNESS_NET_H
#define HARNESS_NET_H

#include "harness/harness.h"
#include <sys/types.h>
#include <torc/net.h>

/* The two ends of a TCP connection over 127.0.0.1. */
void harness_tcp_pair(int ret_fds[2]);

/* The same, with socket buffers as small as the kernel allows, so that transfers are short. */
void harness_tight_pair(int ret_fds[2]);

/* A pair of connected Unix stream sockets. */
void harness_unix_pair(int ret_fds[2]);

/* A pipe; ret_fds[0] is the end to read. */
void harness_pipe(int ret_fds[2]);

/* Close both. */
void harness_close_pair(const int fds[2]);

/* A TCP listener on 127.0.0.1, port of the kernel's choice; its address goes to ret_address. */
int harness_listener(struct torc_address *ret_address);

/*
 * A listener whose queue is full, so that connecting to it hangs; `ret_clients` are what fills it.
 */
int harness_full_listener(struct torc_address *ret_address, int ret_clients[2]);

/* An address of 127.0.0.1 on whose port nobody listens. */
struct torc_address harness_dead_address(void);

/* What torc_address_parse() makes of a text that must be right. */
struct torc_address harness_address(const char *text);

/* A TCP connection to `address`, made by plain system calls. */
int harness_dial(const struct torc_address *address);

/* Reset the connection and close the descriptor. */
void harness_reset(int fd);

/* Write or read all bytes by plain system calls. */
void harness_put(int fd, const void *data, size_t size);
void harness_get(int fd, void *data, size_t size);

/* Write until nothing more goes in. The descriptor is left blocking. */
void harness_fill(int fd);

/* Whether the descriptor has FD_CLOEXEC. */
bool harness_is_cloexec(int fd);

/* Whether bytes or the end of the stream wait in `fd`. */
bool harness_is_readable(int fd);

/* How many bytes wait to be received in `fd`. */
size_t harness_unread(int fd);

/* Discard what waits in `fd`, without waiting for more. Returns how many bytes that was. */
size_t harness_drain(int fd);

/* Let this process have `count` descriptors, or as many as it may; returns how many. */
unsigned harness_limit_fds(unsigned count);
unsigned harness_raise_fd_limit(void);

/* Let this process open `count` descriptors more, however many it has and whichever numbers. */
void harness_leave_fds(unsigned count);

/* The bytes of an endless stream from `offset` on, each of which depends on its position. */
void harness_pattern_fill(void *data, size_t size, uint64_t offset);

/* The bytes are those of the stream. */
void harness_pattern_check(const void *data, size_t size, uint64_t offset);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * tcp.h - a socket that is going to listen.
 */
#ifndef IO_TCP_H
#define IO_TCP_H

#include <torc/net.h>

/* A socket with all options, bound, that does not listen yet. Its descriptor, or an error. */
int torc__tcp_bind(const struct torc_address *address, const struct torc_listen_options *options);

#endif

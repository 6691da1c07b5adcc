/* SPDX-License-Identifier: MIT */
/*
 * net.h - the network of a simulation, as the rest of it sees it: what makes sockets, pipes and
 * eventfds, and what a scenario does to connections and to the lines between hosts.
 *
 * All of it are models: they never block and know nothing of operations (file.h). What travels
 * within one host arrives at once, before the call that sent it returns, as on Linux, if the chaos
 * says that loopback takes no time; all else arrives by an event.
 */
#ifndef DRIVER_SIM_NET_H
#define DRIVER_SIM_NET_H

#include "driver/sim/file.h"

/* ---- Life ---- */

/* Make the network of a world (world->net), before its first host. 0 or -ENOMEM. */
int torc__sim_net_create(struct sim_world *world);

/* Free it, after its last host. */
void torc__sim_net_destroy(struct sim_world *world);

/* Make the part of the network that a host has (host->net). 0 or -ENOMEM. */
int torc__sim_net_host_add(struct sim_host *host);

/*
 * A host whose files have all been closed has gone down: connections that still had something to
 * send are forgotten. It may come up again.
 */
void torc__sim_net_host_crash(struct sim_host *host);

/* A host whose files have all been closed is no more. */
void torc__sim_net_host_remove(struct sim_host *host);

/* ---- Files, with one reference, which is the caller's. 0 or a negative errno. ---- */

/* As socket(2); flags in `type` are taken for file flags. */
int torc__sim_socket(struct sim_host *host, int family, int type, int protocol,
                     struct sim_file **ret_file);

/* As socketpair(2) of AF_UNIX. */
int torc__sim_socket_pair(struct sim_host *host, int type, struct sim_file *ret_files[2]);

/*
 * As torc__local_bind() and torc__local_free() in driver/local_path.h: a path that a socket has
 * left behind is taken over; a path goes unless a socket has it.
 */
int torc__sim_unix_bind_path(struct sim_file *file, const struct sockaddr *address,
                             socklen_t length, unsigned mode);
int torc__sim_unix_free_path(struct sim_host *host, const struct sockaddr *address,
                             socklen_t length);

/* As pipe2(2): ret_files[0] is the end to read. */
int torc__sim_pipe_open(struct sim_host *host, int flags, struct sim_file *ret_files[2]);

/* As eventfd(2). */
int torc__sim_eventfd_open(struct sim_host *host, unsigned count, int flags,
                           struct sim_file **ret_file);

/* ---- Between files ---- */

/*
 * As splice(2) and tee(2) of files that are open, which never wait: -EAGAIN. An offset of -1 is the
 * file's own position; else `offset` goes on by what was moved. One of the two is a pipe.
 */
ssize_t torc__sim_splice(struct sim_file *in, off_t *in_offset, struct sim_file *out,
                         off_t *out_offset, size_t size, unsigned flags);
ssize_t torc__sim_tee(struct sim_file *in, struct sim_file *out, size_t size, unsigned flags);

/* ---- What a scenario does ---- */

/*
 * Nothing passes from host `from` to host `to` any more, or passes again. Nobody is told. What is
 * on its way is lost if the line is cut when it would arrive.
 */
void torc__sim_net_cut(struct sim_world *world, struct sim_host *from, struct sim_host *to,
                       bool cut);
bool torc__sim_net_is_cut(const struct sim_host *from, const struct sim_host *to);

/* The next `count` datagrams, or segments of TCP, from one host to another get lost. */
void torc__sim_net_drop_datagrams(struct sim_host *from, struct sim_host *to, unsigned count);
void torc__sim_net_drop_segments(struct sim_host *from, struct sim_host *to, unsigned count);

/* From now on the latency of a line, one way, is this and not the chaos's; NULL: the chaos's. */
void torc__sim_net_set_latency(struct sim_host *from, struct sim_host *to,
                               const struct torc_sim_range *latency);

/*
 * Reset the TCP connection of a socket as a box between its hosts would: both ends get ECONNRESET.
 * 0; -ENOTSOCK; -ENOTCONN.
 */
int torc__sim_net_reset(struct sim_file *file);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * local_path.h - the paths of Unix sockets, which outlive the sockets.
 */
#ifndef DRIVER_LOCAL_PATH_H
#define DRIVER_LOCAL_PATH_H

#include <stdint.h>
#include <sys/un.h>

/*
 * Bind a socket to a path, or to an abstract or no name. A path that a socket has left behind is
 * taken over. `mode`, if not 0, is that of the path, whatever the umask. 0 or a negative errno.
 *
 * -EADDRINUSE     a socket is bound there, or what is there is no socket.
 */
int torc__local_bind(int fd, const struct sockaddr_un *address, uint32_t length, unsigned mode);

/*
 * Remove the path of a Unix address if it is that of a socket to which none is bound any more.
 * 0, also if there is nothing; -EADDRINUSE if a socket is bound there; -ENOTSOCK; another errno.
 */
int torc__local_free(const struct sockaddr_un *address, uint32_t length);

#endif

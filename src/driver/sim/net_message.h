/* SPDX-License-Identifier: MIT */
/*
 * net_message.h - what stands beside the bytes of a message: control data, and addresses.
 */
#ifndef DRIVER_SIM_NET_MESSAGE_H
#define DRIVER_SIM_NET_MESSAGE_H

#include <stddef.h>
#include <sys/socket.h>

/* Control data that a message is given, as far as it has room. */
struct sim_control {
    struct msghdr *message;
    size_t room;
    size_t used;
};

/* Of a message to be received: what it has room for is noted, and nothing is in it. */
struct sim_control torc__sim_control_begin(struct msghdr *message);

/* Append; what has no room is cut, and told by MSG_CTRUNC. */
void torc__sim_control_put(struct sim_control *control, int level, int type, const void *data,
                           size_t length);

/* How many bytes of data a header could still have. */
size_t torc__sim_control_left(const struct sim_control *control);

void torc__sim_control_end(struct sim_control *control);

/* Tell the address of whoever sent the message. An address of no length is none. */
void torc__sim_message_name(struct msghdr *message, const struct sockaddr *name, socklen_t length);

/*
 * The control data that are sent with a message, one after another: NULL for the first. NULL at the
 * end, or where they are malformed: then *ret_error is -EINVAL.
 */
const struct cmsghdr *torc__sim_control_next(const struct msghdr *message,
                                             const struct cmsghdr *header, int *ret_error);

/* The data of a header, if it has that many. */
int torc__sim_control_read(const struct cmsghdr *header, void *data, size_t length);

#endif

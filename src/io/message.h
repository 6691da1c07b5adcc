/* SPDX-License-Identifier: MIT */
/*
 * message.h - messages with control data, and many at once.
 */
#ifndef IO_MESSAGE_H
#define IO_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

/* recvmsg() and sendmsg(), with control data, on every kernel. Suspend. */
ssize_t torc__message_receive(int fd, struct msghdr *message, int flags);
ssize_t torc__message_send(int fd, struct msghdr *message, int flags);

/*
 * Whether there is anything on which receiving, or sending, can make progress without waiting is
 * asked of the socket itself, and only if there is not, of the ring. Suspend. How many of the
 * messages have been received or sent, at least 1, or an error of the first.
 *
 * -ESHUTDOWN  the socket is shut down for receiving, and has no bytes left: UDP only.
 */
int torc__messages_receive(int fd, struct mmsghdr *messages, unsigned count, int flags);
int torc__messages_send(int fd, struct mmsghdr *messages, unsigned count, int flags);

/* The same, but -EAGAIN instead of waiting. */
int torc__messages_try_receive(int fd, struct mmsghdr *messages, unsigned count, int flags);

/*
 * Close the descriptors that came with a message and nobody asked for. From a fiber or a loop
 * callback; once per message.
 */
void torc__message_close_fds(struct msghdr *message);

/* The same, of one piece of its control data. */
void torc__message_close_fds_in(const struct cmsghdr *header);

/* Append control data to a message whose msg_control has room for it. */
static inline void torc__message_append(struct msghdr *message, int level, int type,
                                        const void *data, size_t length)
{
    struct cmsghdr *header =
        (struct cmsghdr *)(void *)((char *)message->msg_control + message->msg_controllen);

    memset(header, 0, CMSG_SPACE(length)); /* Padding too: all of it goes to the kernel. */
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(header), data, length);
    message->msg_controllen += CMSG_SPACE(length);
}

#endif

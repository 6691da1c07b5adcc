/* SPDX-License-Identifier: MIT */
/*
 * net_message.c - control data and addresses of messages.
 */
#include "driver/sim/net_message.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>

/* ---- Received ---- */

struct sim_control torc__sim_control_begin(struct msghdr *message)
{
    const size_t room = message->msg_control != NULL ? message->msg_controllen : 0;

    message->msg_flags = 0;
    return (struct sim_control){.message = message, .room = room};
}

size_t torc__sim_control_left(const struct sim_control *control)
{
    const size_t left = control->room - control->used;

    return left > CMSG_LEN(0) ? left - CMSG_LEN(0) : 0;
}

void torc__sim_control_put(struct sim_control *control, int level, int type, const void *data,
                           size_t length)
{
    struct cmsghdr header = {.cmsg_level = level, .cmsg_type = type};
    char *to = (char *)control->message->msg_control + control->used;
    const size_t left = torc__sim_control_left(control);

    if (left < length)
        control->message->msg_flags |= MSG_CTRUNC;
    if (left == 0)
        return;
    if (length > left)
        length = left;
    header.cmsg_len = CMSG_LEN(length);
    memcpy(to, &header, sizeof(header));
    memcpy(to + CMSG_LEN(0), data, length);
    control->used += CMSG_SPACE(length);
    if (control->used > control->room)
        control->used = control->room;
}

void torc__sim_control_end(struct sim_control *control)
{
    control->message->msg_controllen = control->used;
}

void torc__sim_message_name(struct msghdr *message, const struct sockaddr *name, socklen_t length)
{
    if (message->msg_name != NULL && length > 0)
        memcpy(message->msg_name, name,
               message->msg_namelen < length ? message->msg_namelen : length);
    message->msg_namelen = length;
}

/* ---- Sent ---- */

const struct cmsghdr *torc__sim_control_next(const struct msghdr *message,
                                             const struct cmsghdr *header, int *ret_error)
{
    struct msghdr copy = *message;
    const char *end = (const char *)message->msg_control + message->msg_controllen;

    if (message->msg_control == NULL)
        return NULL;
    header = header == NULL ? CMSG_FIRSTHDR(&copy)
                            : CMSG_NXTHDR(&copy, (struct cmsghdr *)(uintptr_t)header);
    if (header == NULL)
        return NULL;
    if (header->cmsg_len < CMSG_LEN(0) || header->cmsg_len > (size_t)(end - (const char *)header)) {
        *ret_error = -EINVAL;
        return NULL;
    }
    return header;
}

int torc__sim_control_read(const struct cmsghdr *header, void *data, size_t length)
{
    if (header->cmsg_len < CMSG_LEN(length))
        return -EINVAL;
    memcpy(data, CMSG_DATA((struct cmsghdr *)(uintptr_t)header), length);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * at_once.c - large pieces, moved by a call of their own while they are in the cache.
 */
#include "io/at_once.h"
#include "io/control.h"
#include <errno.h>

/* Who has moved so much without ever waiting lets others run. */
#define AT_ONCE_MAX (512u * 1024u)

int torc__may_go_on(struct torc__shard *shard, size_t length)
{
    const int reason = torc__reason(shard);

    if (unlikely(reason != 0))
        return torc__refuse(shard, reason);
    if (shard->at_once.switches != shard->switches) {
        shard->at_once.switches = shard->switches;
        shard->at_once.bytes = 0;
    }
    if (shard->at_once.bytes >= AT_ONCE_MAX || !shard->driver->ops->moves_at_once)
        return -EAGAIN;
    shard->at_once.bytes += length;
    return 0;
}

ssize_t torc__send_at_once(int fd, struct iovec *pieces, unsigned count, size_t length, int flags)
{
    struct mmsghdr message = {.msg_hdr = {.msg_iov = pieces, .msg_iovlen = count}};
    struct torc__control request = {
        .kind = CONTROL_SEND, .fd = fd, .a = flags, .data = &message, .length = 1};
    int result = torc__may_go_on(torc__shard_of_fiber(), length);

    if (result == 0)
        result = torc__control(&request);
    return result < 0 ? result : (ssize_t)message.msg_len;
}

int torc__recv_at_once(int fd, void *buffer, size_t length)
{
    struct torc__control request = {
        .kind = CONTROL_RECV, .fd = fd, .data = buffer, .length = (uint32_t)length};
    const int result = torc__may_go_on(torc__shard_of_fiber(), length);

    return result < 0 ? result : torc__control(&request);
}

/* SPDX-License-Identifier: MIT */
/*
 * message.c - messages with control data, and many at once.
 *
 * One message is an operation. Kernels that are too old to take control data through a ring refuse
 * it (EINVAL; before 5.14, or where a distribution has not brought it back): there, as for many
 * messages at once, a call that does not wait is tried, and the socket polled when it would have.
 */
#include "io/message.h"
#include "base/kernel_abi.h"
#include "io/control.h"
#include <errno.h>
#include <poll.h>
#include <torc/fiber.h>
#include <torc/io.h>
#include <torc/net.h>

typedef int try_fn(int fd, struct mmsghdr *messages, unsigned count, int flags);

static int ask(enum torc__control_kind kind, int fd, struct mmsghdr *messages, unsigned count,
               int flags)
{
    struct torc__control request = {
        .kind = kind, .fd = fd, .data = messages, .length = count, .a = flags};

    return torc__control(&request);
}

int torc__messages_try_receive(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return ask(CONTROL_RECEIVE, fd, messages, count, flags);
}

static int try_send(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return ask(CONTROL_SEND, fd, messages, count, flags);
}

/*
 * Something made the socket ready, on which the call could not make progress: an error queue that
 * nobody reads, as a rule (IP_RECVERR), which lasts. So wait by an operation, which knows better.
 */
static int wait_for_message(int fd)
{
    char byte;
    const ssize_t result = torc_recv(fd, &byte, 1, MSG_PEEK);

    return result < 0 ? (int)result : 0;
}

/* The same, of a socket without room. Returns how many were sent: 1. */
static int send_first(int fd, struct mmsghdr *messages, int flags)
{
    const ssize_t result = torc_sendmsg(fd, &messages->msg_hdr, flags);

    if (result < 0)
        return (int)result;
    messages->msg_len = (unsigned)result;
    return 1;
}

/*
 * `attempt`, as often as it needs to succeed. Yields first, or a fiber that always finds something
 * would keep the shard to itself.
 */
static int repeat(try_fn *attempt, unsigned event, int fd, struct mmsghdr *messages, unsigned count,
                  int flags)
{
    int ready = (int)event;
    int result = torc_yield();

    while (result == 0) {
        result = attempt(fd, messages, count, flags);
        if (result != -EAGAIN || (flags & MSG_DONTWAIT))
            return result;
        if (!(ready & (int)event)) {
            if (event != POLLIN)
                return send_first(fd, messages, flags);
            ready = POLLIN;
            result = wait_for_message(fd);
            continue;
        }
        if (event == POLLIN && (ready & POLLRDHUP))
            return -ESHUTDOWN; /* Of which a call that does not wait says nothing, for UDP. */
        ready = torc_poll(fd, event == POLLIN ? POLLIN | POLLRDHUP : event);
        result = ready < 0 ? ready : 0;
    }
    return result;
}

int torc__messages_receive(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return repeat(torc__messages_try_receive, POLLIN, fd, messages, count, flags);
}

int torc__messages_send(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    return repeat(try_send, POLLOUT, fd, messages, count, flags);
}

/* IORING_FEAT_CQE_SKIP is of 5.17; what does not have it need not be asked in vain. */
static bool ring_may_take(const struct msghdr *message)
{
    return message->msg_controllen == 0 ||
           (torc__shard_of_fiber()->driver->features & TORC_FEATURE_CQE_SKIP);
}

ssize_t torc__message_receive(int fd, struct msghdr *message, int flags)
{
    struct mmsghdr one = {.msg_hdr = *message};
    ssize_t result = -EINVAL;

    if (ring_may_take(message))
        result = torc_recvmsg(fd, message, flags);
    if (result != -EINVAL || one.msg_hdr.msg_controllen == 0)
        return result;
    result = torc__messages_receive(fd, &one, 1, flags);
    if (result == -ESHUTDOWN) {
        message->msg_namelen = 0;
        message->msg_controllen = 0;
        message->msg_flags = 0;
        return 0;
    }
    if (result < 0)
        return result;
    *message = one.msg_hdr;
    return one.msg_len;
}

ssize_t torc__message_send(int fd, struct msghdr *message, int flags)
{
    struct mmsghdr one = {.msg_hdr = *message};
    ssize_t result = -EINVAL;

    if (ring_may_take(message))
        result = torc_sendmsg(fd, message, flags);
    if (result != -EINVAL || message->msg_controllen == 0)
        return result;
    result = torc__messages_send(fd, &one, 1, flags);
    return result < 0 ? result : (ssize_t)one.msg_len;
}

void torc__message_close_fds_in(const struct cmsghdr *header)
{
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    if (header->cmsg_level != SOL_SOCKET ||
        (header->cmsg_type != SCM_RIGHTS && header->cmsg_type != SCM_PIDFD))
        return;
    for (size_t i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
        torc__close_now(fd);
    }
}

void torc__message_close_fds(struct msghdr *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header))
        torc__message_close_fds_in(header);
}

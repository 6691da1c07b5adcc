/* SPDX-License-Identifier: MIT */
/*
 * datagram.c - messages with a beginning and an end.
 *
 * All that is known of a datagram beside its bytes travels as control data: written by describe()
 * for what is sent, read by note() from what was received.
 */
#include "io/datagram.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "io/control.h"
#include "io/message.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <torc/datagram.h>

/* Datagrams per system call: few, since what describes them stands on a fiber's stack. */
#define WINDOW 16

/* Room for all that note() knows, and all that describe() says. */
struct control {
    _Alignas(struct cmsghdr) char bytes[DATAGRAM_CONTROL_SIZE];
};

/* ---- What was received ---- */

static void set_v4(struct torc_address *address, struct in_addr host)
{
    memset(&address->v4, 0, sizeof(address->v4));
    address->length = sizeof(address->v4);
    address->v4.sin_family = AF_INET;
    address->v4.sin_addr = host;
}

static void note_v4(struct torc_datagram *datagram, const struct in_pktinfo *info)
{
    set_v4(&datagram->local, info->ipi_addr);
    datagram->arrived_at = (unsigned)info->ipi_ifindex;
    /* The address to answer from: another one only if this belongs to many. */
    datagram->has_multicast_address = info->ipi_addr.s_addr != info->ipi_spec_dst.s_addr;
}

static void note_v6(struct torc_datagram *datagram, const struct in6_pktinfo *info)
{
    struct sockaddr_in6 *local = &datagram->local.v6;
    const uint8_t *host = info->ipi6_addr.s6_addr;

    memset(local, 0, sizeof(*local));
    datagram->local.length = sizeof(*local);
    local->sin6_family = AF_INET6;
    local->sin6_addr = info->ipi6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
        local->sin6_scope_id = (uint32_t)info->ipi6_ifindex;
    datagram->arrived_at = (unsigned)info->ipi6_ifindex;
    datagram->has_multicast_address =
        IN6_IS_ADDR_MULTICAST(&info->ipi6_addr) ||
        (IN6_IS_ADDR_V4MAPPED(&info->ipi6_addr) && host[12] >= 224); /* Groups, and broadcast. */
}

static void note_timestamp(struct torc_datagram *datagram, const struct timespec *time)
{
    datagram->timestamp_ns = (uint64_t)time->tv_sec * NS_PER_SECOND + (uint64_t)time->tv_nsec;
}

/* The number that is in control data of one byte, or of an int. */
static unsigned number_in(const struct cmsghdr *header)
{
    int number;

    if (header->cmsg_len < CMSG_LEN(sizeof(number)))
        return *CMSG_DATA(header);
    memcpy(&number, CMSG_DATA(header), sizeof(number));
    return (unsigned)number;
}

static void note(struct torc_datagram *datagram, const struct cmsghdr *header)
{
    const void *data = CMSG_DATA(header);

    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
        note_v4(datagram, data);
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
        note_v6(datagram, data);
    } else if ((header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_TOS) ||
               (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_TCLASS)) {
        datagram->traffic_class = (uint8_t)number_in(header);
    } else if (header->cmsg_level == SOL_UDP && header->cmsg_type == UDP_GRO) {
        datagram->segment_size = (uint16_t)number_in(header);
    } else if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_TIMESTAMPNS) {
        note_timestamp(datagram, data);
    } else if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SO_RXQ_OVFL) {
        datagram->dropped_total = number_in(header);
    }
}

/* Where a message puts what belongs to a datagram. */
static void prepare_receive(struct msghdr *message, struct iovec *vector, struct control *control,
                            struct torc_datagram *datagram)
{
    *vector = (struct iovec){datagram->data, datagram->size};
    *message = (struct msghdr){
        .msg_name = &datagram->peer.storage,
        .msg_namelen = sizeof(datagram->peer.storage),
        .msg_iov = vector,
        .msg_iovlen = 1,
        .msg_control = control->bytes,
        .msg_controllen = sizeof(control->bytes),
    };
}

/* Field by field: assigned as a whole, a third of a kibibyte would be built first, then copied. */
void torc__datagram_take(struct torc_datagram *datagram, struct msghdr *message, size_t length)
{
    datagram->length = length < datagram->size ? length : datagram->size;
    datagram->whole_length = length;
    datagram->peer.length = message->msg_namelen;
    datagram->local.length = 0;
    datagram->arrived_at = 0;
    datagram->timestamp_ns = 0;
    datagram->dropped_total = 0;
    datagram->segment_size = 0;
    datagram->traffic_class = 0;
    datagram->has_multicast_address = false;
    datagram->control_lost = (message->msg_flags & MSG_CTRUNC) != 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header))
        note(datagram, header);
}

/* ---- What is sent ---- */

/* Whether the datagram leaves as IPv4: its socket's family does not tell, nor may its peer. */
static bool leaves_as_v4(int fd, const struct torc_datagram *datagram)
{
    const struct torc_address *address = &datagram->peer;
    struct torc_address bound;

    if (address->length == 0)
        address = &datagram->local;
    if (address->length == 0 && torc_local_address(fd, &bound) == 0)
        address = &bound;
    return address->any.sa_family != AF_INET6 || IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr);
}

static void describe_origin(int fd, struct msghdr *message, const struct torc_datagram *datagram)
{
    struct in_pktinfo v4 = {.ipi_ifindex = (int)datagram->leave_by};
    struct in6_pktinfo v6 = {.ipi6_ifindex = datagram->leave_by};
    const struct torc_address *local = &datagram->local;
    const bool has_local = local->length > 0 && !datagram->has_multicast_address;

    if (!has_local && datagram->leave_by == 0)
        return;
    if (has_local && local->any.sa_family == AF_INET6)
        v6.ipi6_addr = local->v6.sin6_addr;
    if (has_local && local->any.sa_family == AF_INET)
        v4.ipi_spec_dst = local->v4.sin_addr;
    if (!leaves_as_v4(fd, datagram)) {
        torc__message_append(message, IPPROTO_IPV6, IPV6_PKTINFO, &v6, sizeof(v6));
        return;
    }
    if (has_local && local->any.sa_family == AF_INET6)
        memcpy(&v4.ipi_spec_dst, &local->v6.sin6_addr.s6_addr[12], sizeof(v4.ipi_spec_dst));
    torc__message_append(message, IPPROTO_IP, IP_PKTINFO, &v4, sizeof(v4));
}

static void describe(int fd, struct msghdr *message, const struct torc_datagram *datagram)
{
    const int traffic_class = datagram->traffic_class;

    describe_origin(fd, message, datagram);
    /* Each protocol looks at its own. */
    if (traffic_class != 0) {
        torc__message_append(message, IPPROTO_IP, IP_TOS, &traffic_class, sizeof(traffic_class));
        torc__message_append(message, IPPROTO_IPV6, IPV6_TCLASS, &traffic_class,
                             sizeof(traffic_class));
    }
    if (datagram->segment_size != 0)
        torc__message_append(message, SOL_UDP, UDP_SEGMENT, &datagram->segment_size,
                             sizeof(datagram->segment_size));
}

static void prepare_send(int fd, struct msghdr *message, struct iovec *vector,
                         struct control *control, const struct torc_datagram *datagram)
{
    *vector = (struct iovec){datagram->data, datagram->length};
    *message = (struct msghdr){.msg_iov = vector, .msg_iovlen = 1, .msg_control = control->bytes};
    if (datagram->peer.length > 0) {
        message->msg_name = (void *)(uintptr_t)&datagram->peer.any;
        message->msg_namelen = datagram->peer.length;
    }
    describe(fd, message, datagram);
    if (message->msg_controllen == 0)
        message->msg_control = NULL;
}

/* ---- One ---- */

ssize_t torc_datagram_recv(int fd, struct torc_datagram *datagram, int flags)
{
    struct control control;
    struct msghdr message;
    struct iovec vector;
    ssize_t result;

    prepare_receive(&message, &vector, &control, datagram);
    result = torc__message_receive(fd, &message, flags | MSG_TRUNC);
    if (result < 0)
        return result;
    torc__message_close_fds(&message);
    torc__datagram_take(datagram, &message, (size_t)result);
    return (ssize_t)datagram->length;
}

ssize_t torc_datagram_send(int fd, const struct torc_datagram *datagram, int flags)
{
    struct control control;
    struct msghdr message;
    struct iovec vector;

    prepare_send(fd, &message, &vector, &control, datagram);
    return torc__message_send(fd, &message, flags);
}

ssize_t torc_recvfrom(int fd, void *buffer, size_t length, int flags, struct torc_address *ret_peer)
{
    struct torc_address peer;
    struct iovec vector = {buffer, length};
    struct msghdr message = {.msg_name = &peer.storage,
                             .msg_namelen = sizeof(peer.storage),
                             .msg_iov = &vector,
                             .msg_iovlen = 1};
    ssize_t result;

    if (ret_peer == NULL)
        return torc_recv(fd, buffer, length, flags);
    result = torc_recvmsg(fd, &message, flags);
    if (result < 0)
        return result;
    memcpy(&ret_peer->storage, &peer.storage, message.msg_namelen);
    ret_peer->length = message.msg_namelen;
    return result;
}

ssize_t torc_sendto(int fd, const void *buffer, size_t length, int flags,
                    const struct torc_address *peer)
{
    struct iovec vector = {(void *)(uintptr_t)buffer, length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

    if (peer == NULL)
        return torc_send(fd, buffer, length, flags);
    message.msg_name = (void *)(uintptr_t)&peer->any;
    message.msg_namelen = peer->length;
    return torc_sendmsg(fd, &message, flags);
}

/* ---- Many ---- */

/* The next few of a batch, as the kernel wants them. */
struct window {
    struct mmsghdr messages[WINDOW];
    struct iovec vectors[WINDOW];
    struct control controls[WINDOW];
};

static unsigned window_size(unsigned count)
{
    return count < WINDOW ? count : WINDOW;
}

/* Receive up to a window's size of datagrams; waiting for the first only where `may_wait`. */
static int receive_window(int fd, struct torc_datagram *datagrams, unsigned count, bool may_wait)
{
    struct window window;
    int result;

    for (unsigned i = 0; i < count; i++)
        prepare_receive(&window.messages[i].msg_hdr, &window.vectors[i], &window.controls[i],
                        &datagrams[i]);
    result = may_wait ? torc__messages_receive(fd, window.messages, count, MSG_TRUNC)
                      : torc__messages_try_receive(fd, window.messages, count, MSG_TRUNC);
    for (int i = 0; i < result; i++) {
        torc__message_close_fds(&window.messages[i].msg_hdr);
        torc__datagram_take(&datagrams[i], &window.messages[i].msg_hdr, window.messages[i].msg_len);
    }
    return result;
}

/*
 * Whether the next window would begin with a datagram: an error that is told once would have to be
 * told now, by the call that returns the datagrams before it.
 */
static bool has_more(int fd)
{
    struct torc__control request = {.kind = CONTROL_READY, .fd = fd, .a = POLLIN};

    return torc__control(&request) == POLLIN;
}

int torc_datagram_recv_batch(int fd, struct torc_datagram *datagrams, unsigned count)
{
    unsigned done = 0;

    if (count == 0)
        return -EINVAL;
    while (done < count) {
        const unsigned size = window_size(count - done);
        const int result = receive_window(fd, datagrams + done, size, done == 0);

        if (result < 0)
            return done > 0 ? (int)done : result;
        done += (unsigned)result;
        if ((unsigned)result < size || !has_more(fd))
            break;
    }
    return (int)done;
}

static int send_window(int fd, const struct torc_datagram *datagrams, unsigned count)
{
    struct window window;

    for (unsigned i = 0; i < count; i++)
        prepare_send(fd, &window.messages[i].msg_hdr, &window.vectors[i], &window.controls[i],
                     &datagrams[i]);
    return torc__messages_send(fd, window.messages, count, 0);
}

int torc_datagram_send_batch(int fd, const struct torc_datagram *datagrams, unsigned count)
{
    unsigned done = 0;

    if (count == 0)
        return -EINVAL;
    while (done < count) {
        const int result = send_window(fd, datagrams + done, window_size(count - done));

        if (result < 0)
            return done > 0 ? (int)done : result;
        done += (unsigned)result;
    }
    return (int)done;
}

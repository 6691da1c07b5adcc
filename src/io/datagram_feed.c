/* SPDX-License-Identifier: MIT */
/*
 * datagram_feed.c - datagrams that are received as they come.
 *
 * Memory is cut into slots, each with its number in a ring of buffers:
 *
 *     slot:  | io_uring_recvmsg_out | peer's address | control data | bytes ... |
 *
 * A slot is with the kernel, or queued (received, in order), or taken (lent to the fiber), and goes
 * back to the kernel with the next take. When the kernel finds none the receive ends, and the fiber
 * starts it again when it has to wait. Without rings the slots are filled by batches of calls.
 */
#include "driver/buffer_ring.h"
#include "fiber/sanitizer.h"
#include "io/await.h"
#include "io/datagram.h"
#include "io/message.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <torc/datagram_feed.h>

#define COUNT_DEFAULT 256u
#define COUNT_MAX     32768u
#define SIZE_DEFAULT  2048u
#define SIZE_MAX_UDP  65536u
#define NAME_SIZE     ((uint32_t)sizeof(struct sockaddr_storage))
#define LEAD_SIZE \
    ((uint32_t)sizeof(struct io_uring_recvmsg_out) + NAME_SIZE + DATAGRAM_CONTROL_SIZE)
#define BATCH_MAX 64u

struct torc__datagram_slots {
    struct torc__buffer_ring ring;
    char *memory;
    size_t memory_size;
    uint32_t stride;
    uint16_t order[]; /* numbers of the slots that are queued, then of those taken: a ring */
};

static char *slot(const struct torc_datagram_feed *feed, unsigned number)
{
    return feed->_slots->memory + (size_t)number * feed->_slots->stride;
}

static void lend(struct torc_datagram_feed *feed, unsigned number)
{
    torc__buffer_ring_add(&feed->_slots->ring, slot(feed, number), LEAD_SIZE + feed->_size, number);
}

/* ---- Receiving ---- */

/* The message that the kernel has put into a slot, as recvmsg(2) would have told it. */
static struct msghdr message_in(const struct torc_datagram_feed *feed, unsigned number)
{
    const struct io_uring_recvmsg_out *out = (const void *)slot(feed, number);
    char *name = slot(feed, number) + sizeof(*out);

    return (struct msghdr){
        .msg_name = name,
        .msg_namelen = out->namelen < NAME_SIZE ? out->namelen : NAME_SIZE,
        .msg_control = name + NAME_SIZE,
        .msg_controllen = out->controllen,
        .msg_flags = (int)out->flags,
    };
}

static void enqueue(struct torc_datagram_feed *feed, unsigned number, int size)
{
    torc__sanitizer_kernel_wrote(slot(feed, number), size);
    if (size >= (int)LEAD_SIZE) {
        struct msghdr message = message_in(feed, number);

        torc__message_close_fds(&message); /* Now: until they are taken there might be too many. */
    }
    feed->_slots->order[(feed->_first + feed->_queued++) % feed->_count] = (uint16_t)number;
}

static void note_end(struct torc_datagram_feed *feed, int result)
{
    switch (result) {
    case -ENOBUFS:   /* Slots are lent again before it is started again. */
    case -ECANCELED: /* It is being closed. */
    case -EINTR:     /* Nor is this an error: see torc__is_disturbed(). */
        break;
    case -EINVAL:
    case -EOPNOTSUPP:
        feed->_by_batches = true; /* No multishot for this kind: a batch tells if that is all. */
        break;
    default:
        feed->_error = result;
    }
}

static void received(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct torc_datagram_feed *feed = container_of(op, struct torc_datagram_feed, _receive);

    if (flags & IORING_CQE_F_BUFFER) {
        if (result >= 0)
            enqueue(feed, torc__buffer_id(flags), result);
        else
            lend(feed, torc__buffer_id(flags));
    }
    if (result < 0)
        note_end(feed, result);
    feed->_feed = torc__feed_after(op, feed->_feed, more, false);
    torc__wake_in(&feed->_reader);
}

static void start_feed(struct torc_datagram_feed *feed)
{
    struct io_uring_sqe *sqe = torc__begin_told(&feed->_receive, received);

    io_uring_prep_recvmsg_multishot(sqe, feed->_fd, &feed->_message, MSG_TRUNC | MSG_CMSG_CLOEXEC);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = feed->_slots->ring.group;
    torc__op_note(&feed->_receive, sqe);
    feed->_feed = FEED_ON;
}

static const struct torc_wait_kind take_kind =
    WAIT_KIND_FD("datagrams", torc__interrupt_slot, struct torc_datagram_feed, _reader, _fd);
static const struct torc_wait_kind close_kind =
    WAIT_KIND_FD("datagram feed close", NULL, struct torc_datagram_feed, _reader, _fd);

/* A reason that comes while the fiber is ready, woken by the feed's end, interrupts no wait. */
static int wait_for_feed(struct torc_datagram_feed *feed, struct torc__shard *shard)
{
    const int reason = torc__reason(shard);

    if (reason != 0)
        return torc__refuse(shard, reason);
    if (feed->_feed == FEED_OFF)
        start_feed(feed);
    TORC_REQUIRE(feed->_reader == NULL, "two fibers take from one feed of datagrams");
    return torc__wait_in(shard, &feed->_reader, &take_kind);
}

/* ---- Taking ---- */

/* What was taken last is not needed any more. */
static void give_back(struct torc_datagram_feed *feed)
{
    const uint32_t start = feed->_first + feed->_count - feed->_taken;

    for (uint32_t i = 0; i < feed->_taken; i++)
        lend(feed, feed->_slots->order[(start + i) % feed->_count]);
    feed->_taken = 0;
}

/* Read what the kernel has put into a slot. */
static void read_slot(const struct torc_datagram_feed *feed, unsigned number,
                      struct torc_datagram *ret_datagram)
{
    const struct io_uring_recvmsg_out *out = (const void *)slot(feed, number);
    struct msghdr message = message_in(feed, number);

    ret_datagram->leave_by = 0;
    ret_datagram->data = slot(feed, number) + LEAD_SIZE;
    ret_datagram->size = feed->_size;
    memcpy(&ret_datagram->peer.storage, message.msg_name, message.msg_namelen);
    torc__datagram_take(ret_datagram, &message, out->payloadlen);
}

static int take_queued(struct torc_datagram_feed *feed, struct torc_datagram *datagrams,
                       unsigned count)
{
    unsigned taken = 0;

    for (; taken < count && feed->_queued > 0; taken++) {
        read_slot(feed, feed->_slots->order[feed->_first], &datagrams[taken]);
        feed->_first = (feed->_first + 1) % feed->_count;
        feed->_queued--;
        feed->_taken++;
    }
    return (int)taken;
}

static int take_batch(struct torc_datagram_feed *feed, struct torc_datagram *datagrams,
                      unsigned count)
{
    if (count > feed->_count)
        count = feed->_count;
    if (count > BATCH_MAX)
        count = BATCH_MAX;
    for (unsigned i = 0; i < count; i++) {
        memset(&datagrams[i], 0, sizeof(datagrams[i]));
        datagrams[i].data = slot(feed, i);
        datagrams[i].size = feed->_size;
    }
    return torc_datagram_recv_batch(feed->_fd, datagrams, count);
}

int torc_datagram_feed_take(struct torc_datagram_feed *feed, struct torc_datagram *datagrams,
                            unsigned count)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int result = torc__reason(shard);

    if (result != 0)
        return torc__refuse(shard, result);
    if (count == 0)
        return -EINVAL;
    if (!feed->_by_batches)
        give_back(feed);
    while (result == 0 && feed->_queued == 0 && feed->_error == 0 && !feed->_by_batches)
        result = wait_for_feed(feed, shard);
    if (result < 0)
        return result;
    if (feed->_queued > 0)
        return take_queued(feed, datagrams, count);
    result = feed->_error;
    feed->_error = 0;
    return result < 0 ? result : take_batch(feed, datagrams, count);
}

/* ---- Life ---- */

static int open_ring(struct torc_datagram_feed *feed, struct torc__driver *driver)
{
    int result;

    if (!(driver->features & TORC_FEATURE_MULTISHOT) || driver->ops->open_buffers == NULL)
        return -EOPNOTSUPP;
    result = driver->ops->open_buffers(driver, &feed->_slots->ring, feed->_count);
    for (unsigned i = 0; i < feed->_count && result == 0; i++)
        lend(feed, i);
    return result;
}

int torc_datagram_feed_open(struct torc_datagram_feed *feed, int fd,
                            const struct torc_datagram_feed_options *options)
{
    const uint32_t count = options != NULL && options->count != 0 ? options->count : COUNT_DEFAULT;
    const uint32_t size = options != NULL && options->size != 0 ? options->size : SIZE_DEFAULT;
    struct torc__datagram_slots *slots;

    if (count < 2 || count > COUNT_MAX || (count & (count - 1)) != 0 || size > SIZE_MAX_UDP)
        return -EINVAL;
    slots = calloc(1, sizeof(*slots) + count * sizeof(slots->order[0]));
    if (slots == NULL)
        return -ENOMEM;
    slots->stride = (LEAD_SIZE + size + 63) / 64 * 64;
    slots->memory_size = (size_t)slots->stride * count;
    slots->memory = mmap(NULL, slots->memory_size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slots->memory == MAP_FAILED) {
        free(slots);
        return -ENOMEM;
    }
    *feed = (struct torc_datagram_feed){._fd = fd, ._count = count, ._size = size, ._slots = slots};
    torc__loan_place(&feed->_receive, LOAN_DATAGRAM_FEED, __builtin_return_address(0));
    feed->_message.msg_namelen = NAME_SIZE;
    feed->_message.msg_controllen = DATAGRAM_CONTROL_SIZE;
    feed->_by_batches = open_ring(feed, torc__shard_of_fiber()->driver) < 0;
    return 0;
}

void torc_datagram_feed_close(struct torc_datagram_feed *feed)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc__datagram_slots *slots = feed->_slots;

    TORC_REQUIRE(feed->_reader == NULL, "a feed is closed while another fiber takes from it");
    while (feed->_feed != FEED_OFF) {
        feed->_feed = FEED_ENDING;
        torc__op_hurry_again(shard, &feed->_receive);
        (void)torc__wait_in(shard, &feed->_reader, &close_kind);
    }
    if (slots->ring.ring != NULL)
        shard->driver->ops->close_buffers(shard->driver, &slots->ring);
    munmap(slots->memory, slots->memory_size);
    free(slots);
    feed->_slots = NULL;
}

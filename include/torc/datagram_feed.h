/* SPDX-License-Identifier: MIT */
/*
 * torc/datagram_feed.h - datagrams that are received as they come.
 *
 *     struct torc_datagram datagrams[64];
 *     struct torc_datagram_feed feed;
 *
 *     result = torc_datagram_feed_open(&feed, fd, NULL);
 *     while (result == 0 && (count = torc_datagram_feed_take(&feed, datagrams, 64)) > 0)
 *         result = torc_datagram_send_batch(fd, datagrams, (unsigned)count) < 0 ? -1 : 0;
 *
 * A feed has memory of its own, of which the kernel takes a piece for each datagram: one operation
 * receives many (multishot recvmsg and a ring of buffers, Linux 6.0). When all the memory is taken
 * the rest waits in the socket. Elsewhere a feed receives by batches. Order is kept, and nothing is
 * lost that the socket had room for. While a feed is open, nobody else receives from its socket;
 * sending is free. It is to be closed before its memory, or the shard, ends.
 */
#ifndef TORC_DATAGRAM_FEED_H
#define TORC_DATAGRAM_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <torc/api.h>
#include <torc/datagram.h>
#include <torc/op.h>
TORC_BEGIN_C

struct torc_fiber;
struct torc__datagram_slots;

/* How much a feed takes in. All zero is a good default. */
struct torc_datagram_feed_options {
    uint32_t count; /* datagrams, a power of two, 2 to 32,768; 0 = 256 */
    uint32_t size;  /* bytes of each, at most 65,536; 0 = 2,048. More are cut, and told. Sockets
                       that merge what they receive want 65,536. */
};

/* In the caller's memory; never copied or moved while open. All fields are private. */
struct torc_datagram_feed {
    int _fd;
    int _error; /* what ended receiving, to be told once */
    uint8_t _feed;
    bool _by_batches;
    uint32_t _size;
    uint32_t _count;
    uint32_t _first;  /* of those received and not taken */
    uint32_t _queued; /* how many these are */
    uint32_t _taken;  /* lent by the last take */
    struct torc__datagram_slots *_slots;
    struct torc_fiber *_reader;
    struct msghdr _message; /* the shape of what is received */
    struct torc_op _receive;
};

/*
 * Open a feed of a bound socket, which stays the caller's. Nothing is received before the first
 * take. `options` may be NULL. Allocates.
 *
 * -EINVAL     an option is out of its range.
 * -ENOMEM     no memory for the datagrams.
 */
TORC_CHECK int torc_datagram_feed_open(struct torc_datagram_feed *feed, int fd,
                                       const struct torc_datagram_feed_options *options);

/*
 * Take up to `count` datagrams, and wait for the first if there is none. Suspends. Returns how
 * many, at least 1; or an error of recvmsg(2), after which receiving goes on. They are filled in as
 * by torc_datagram_recv(), and their bytes are lent until the next take. One fiber at a time.
 *
 * -EINVAL     count is 0.
 * -ESHUTDOWN  the socket was shut down for receiving, and nothing is left: only where a feed
 *             receives by batches, since the kernel wakes no multishot receive for that. Cancel.
 */
TORC_CHECK int torc_datagram_feed_take(struct torc_datagram_feed *feed,
                                       struct torc_datagram *datagrams, unsigned count);

/*
 * End receiving and free the memory. Suspends; not cancellable. Datagrams that were received and
 * not taken are dropped.
 */
TORC_API void torc_datagram_feed_close(struct torc_datagram_feed *feed);

TORC_END_C
#endif

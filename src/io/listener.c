/* SPDX-License-Identifier: MIT */
/*
 * listener.c - accept connections as they come.
 *
 * The feed goes on while fewer than QUEUE_MAX connections wait. It is not stopped when nobody waits
 * for one, since servers ask again at once; but it is not started either.
 */
#include "io/await.h"
#include "io/control.h"
#include "sync/waiters.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <torc/io.h>
#include <torc/listener.h>
#include <torc/unix.h>

#define ROOM_LEAST 16u

/* ---- The queue ---- */

static bool make_room(struct torc_listener *listener)
{
    const uint32_t room = listener->_room > 0 ? 2 * listener->_room : ROOM_LEAST;
    int *queue = malloc(room * sizeof(*queue));

    if (queue == NULL)
        return false;
    for (uint32_t i = 0; i < listener->_count; i++)
        queue[i] = listener->_queue[(listener->_first + i) % listener->_room];
    free(listener->_queue);
    listener->_queue = queue;
    listener->_first = 0;
    listener->_room = room;
    return true;
}

static void enqueue(struct torc_listener *listener, int fd)
{
    if (listener->_count == listener->_room && !make_room(listener)) {
        /* Nowhere to keep it. The peer sees it closed; who asks is told why. */
        torc__close_now(fd);
        listener->_error = -ENOMEM;
        return;
    }
    listener->_queue[(listener->_first + listener->_count++) % listener->_room] = fd;
}

static int dequeue(struct torc_listener *listener)
{
    int fd = listener->_queue[listener->_first];

    listener->_first = (listener->_first + 1) % listener->_room;
    listener->_count--;
    return fd;
}

/* ---- The feed ---- */

static void arrived(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct torc_listener *listener = container_of(op, struct torc_listener, _accept);

    (void)flags;
    if (result >= 0)
        enqueue(listener, result);
    else if (result == -EINVAL && !listener->_one_by_one)
        listener->_one_by_one = true; /* No multishot here; a plain accept tells if that is all. */
    else if (result != -ECANCELED && !torc__is_disturbed(result))
        listener->_error = result;
    listener->_feed =
        torc__feed_after(op, listener->_feed, more, listener->_count >= TORC_LISTENER_QUEUE_MAX);
    torc_event_set(&listener->_arrived);
}

static void start_feed(struct torc_listener *listener, const struct torc__shard *shard)
{
    struct io_uring_sqe *sqe = torc__begin_told(&listener->_accept, arrived);

    if (!(shard->driver->features & TORC_FEATURE_MULTISHOT))
        listener->_one_by_one = true;
    if (listener->_one_by_one)
        io_uring_prep_accept(sqe, listener->_fd, NULL, NULL, SOCK_CLOEXEC);
    else
        io_uring_prep_multishot_accept(sqe, listener->_fd, NULL, NULL, SOCK_CLOEXEC);
    torc__op_note(&listener->_accept, sqe);
    listener->_feed = FEED_ON;
}

/* ---- Life ---- */

static void init(struct torc_listener *listener, int fd, const void *opener)
{
    memset(listener, 0, sizeof(*listener));
    listener->_fd = fd;
    torc__loan_place(&listener->_accept, LOAN_LISTENER, opener);
}

void torc_listener_adopt(struct torc_listener *listener, int fd)
{
    init(listener, fd, __builtin_return_address(0));
}

static int listen_unix(const struct torc_address *address,
                       const struct torc_listen_options *options)
{
    const struct torc_unix_options unix_options = {
        .backlog = options != NULL && options->backlog > 0 ? options->backlog : 0};

    return torc_unix_open(address, &unix_options);
}

int torc_listener_open(struct torc_listener *listener, const struct torc_address *address,
                       const struct torc_listen_options *options)
{
    int fd = address->any.sa_family == AF_UNIX ? listen_unix(address, options)
                                               : torc_tcp_listen(address, options);

    if (fd < 0)
        return fd;
    init(listener, fd, __builtin_return_address(0));
    return 0;
}

int torc_listener_fd(const struct torc_listener *listener)
{
    return listener->_fd;
}

unsigned torc_listener_queued(const struct torc_listener *listener)
{
    return listener->_count;
}

static const struct torc_wait_kind accept_kind = {
    .interrupt = torc__interrupt_wait,
    .name = "accept",
    .form = TORC_WAIT_DESCRIPTOR,
    .object = offsetof(struct torc_waiter, _queue),
    .base = offsetof(struct torc_listener, _arrived._waiters),
    .owner = TORC_WAIT_NONE,
    .fd = offsetof(struct torc_listener, _fd),
    .count = TORC_WAIT_NONE,
};

/* Wait until a connection or an error is there. 0, the scope's reason, or -EINVAL when closed. */
static int wait_for_arrival(struct torc_listener *listener, struct torc__shard *shard)
{
    int result = torc__reason(shard);

    if (result != 0)
        return torc__refuse(shard, result);
    while (result == 0 && listener->_count == 0 && listener->_error == 0) {
        if (listener->_fd < 0)
            return -EINVAL;
        if (listener->_feed == FEED_OFF)
            start_feed(listener, shard);
        torc_event_clear(&listener->_arrived);
        result = torc__waiters_wait_plainly(shard, &listener->_arrived._waiters, &accept_kind);
    }
    return result;
}

int torc_listener_accept(struct torc_listener *listener, struct torc_address *ret_peer)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int result = wait_for_arrival(listener, shard);
    int fd;

    if (result < 0)
        return result;
    if (listener->_count == 0) {
        result = listener->_error;
        listener->_error = 0;
        return result;
    }
    fd = dequeue(listener);
    if (ret_peer != NULL && torc_peer_address(fd, ret_peer) < 0)
        memset(ret_peer, 0, sizeof(*ret_peer));
    return fd;
}

int torc_listener_close(struct torc_listener *listener)
{
    const int fd = listener->_fd;
    struct torc_scope shield;
    int result;

    listener->_fd = -1;
    torc_scope_open(&shield, TORC_SHIELD);
    while (listener->_feed != FEED_OFF) {
        listener->_feed = FEED_ENDING;
        torc__op_hurry_again(torc__shard, &listener->_accept);
        torc_event_clear(&listener->_arrived);
        (void)torc_event_wait(&listener->_arrived);
    }
    while (listener->_count > 0)
        (void)torc_close(dequeue(listener));
    free(listener->_queue);
    listener->_queue = NULL;
    listener->_room = 0;
    torc_event_set(&listener->_arrived); /* Who waits sees that there is no descriptor. */
    result = torc_close(fd);
    (void)torc_scope_close(&shield);
    return result;
}

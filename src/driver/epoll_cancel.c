/* SPDX-License-Identifier: MIT */
/*
 * epoll_cancel.c - ops that end other ops, which they name by user_data, descriptor or opcode.
 *
 * Whoever has the op itself cancels it by torc__driver_ops.cancel(), which looks for nothing. Here
 * all that is in flight is looked through, since a name may be that of no op, or of many.
 */
#include "driver/epoll.h"
#include <errno.h>

/* Which ops are meant, as IORING_OP_ASYNC_CANCEL says it, and what has become of them. */
struct hunt {
    struct torc__epoll *epoll;
    uint32_t flags; /* IORING_ASYNC_CANCEL_ */
    uint64_t user_data;
    int fd;
    unsigned opcode;
    int count; /* found */
    int last;  /* what came of the last one */
};

static bool is_meant(const struct hunt *hunt, struct torc_op *op)
{
    const uint32_t others = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_FD | KERNEL_CANCEL_OP;
    const struct io_uring_sqe *sqe = torc__epoll_sqe(op);

    if (hunt->flags & IORING_ASYNC_CANCEL_ANY)
        return true;
    if ((hunt->flags & IORING_ASYNC_CANCEL_FD) && sqe->fd != hunt->fd)
        return false;
    if ((hunt->flags & KERNEL_CANCEL_OP) && sqe->opcode != hunt->opcode)
        return false;
    if (!(hunt->flags & others) || (hunt->flags & KERNEL_CANCEL_USERDATA))
        return sqe->user_data == hunt->user_data;
    return true;
}

/* True if that is enough. */
static bool hunt_list(struct hunt *hunt, struct torc__epoll_link *list)
{
    struct torc__epoll_link *link = list->next;

    while (link != list) {
        struct torc__epoll_note *note = torc__epoll_of_link(link);

        link = link->next;
        if (note->state == STATE_ENDED || note->cancelled || !is_meant(hunt, torc__epoll_op(note)))
            continue;
        hunt->count++;
        hunt->last = torc__epoll_end(hunt->epoll, note);
        if (!(hunt->flags & IORING_ASYNC_CANCEL_ALL))
            return true;
    }
    return false;
}

static void hunt_down(struct hunt *hunt)
{
    struct torc__epoll *epoll = hunt->epoll;

    if (hunt_list(hunt, &epoll->queue) || hunt_list(hunt, &epoll->timing) ||
        hunt_list(hunt, &epoll->pooled))
        return;
    for (unsigned i = 0; i < epoll->chunk_count; i++) {
        for (unsigned j = 0; epoll->chunks[i] != NULL && j < WATCH_CHUNK; j++) {
            struct torc__epoll_watch *watch = &epoll->chunks[i][j];

            if (hunt_list(hunt, &watch->readers) || hunt_list(hunt, &watch->writers) ||
                hunt_list(hunt, &watch->pollers))
                return;
        }
    }
}

int torc__epoll_try_cancel(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    const uint32_t known = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD |
                           IORING_ASYNC_CANCEL_ANY | KERNEL_CANCEL_USERDATA | KERNEL_CANCEL_OP;
    struct hunt hunt = {.epoll = epoll,
                        .flags = sqe->cancel_flags,
                        .user_data = sqe->addr,
                        .fd = sqe->fd,
                        .opcode = sqe->len};

    (void)op;
    if (sqe->cancel_flags & IORING_ASYNC_CANCEL_FD_FIXED)
        return -EBADF;
    if (sqe->cancel_flags & ~known)
        return -EINVAL;
    hunt_down(&hunt);
    if (hunt.flags & (IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY))
        return hunt.count;
    return hunt.count == 0 ? -ENOENT : hunt.last;
}

/* A poll by its user_data; NULL if it does not wait any more. */
static struct torc__epoll_note *find_poll(struct torc__epoll *epoll, uint64_t user_data)
{
    for (unsigned i = 0; i < epoll->chunk_count; i++) {
        for (unsigned j = 0; epoll->chunks[i] != NULL && j < WATCH_CHUNK; j++) {
            struct torc__epoll_link *list = &epoll->chunks[i][j].pollers;

            for (struct torc__epoll_link *link = list->next; link != list; link = link->next) {
                struct torc_op *op = torc__epoll_op(torc__epoll_of_link(link));

                if ((uint64_t)(uintptr_t)op == user_data)
                    return torc__epoll_note(op);
            }
        }
    }
    return NULL;
}

/* Ends a poll, or gives it other events, by having it begin again. */
int torc__epoll_try_poll_remove(struct torc__epoll *epoll, struct torc_op *op,
                                struct io_uring_sqe *sqe)
{
    const uint32_t known = IORING_POLL_UPDATE_EVENTS | IORING_POLL_ADD_MULTI;
    struct torc__epoll_note *target = find_poll(epoll, sqe->addr);
    struct io_uring_sqe *poll;

    (void)op;
    if (sqe->len & ~known)
        return -EINVAL; /* user_data is not to be changed: it is the op. */
    if (target == NULL)
        return -ENOENT;
    if (!(sqe->len & IORING_POLL_UPDATE_EVENTS))
        return torc__epoll_end(epoll, target);
    poll = torc__epoll_sqe(torc__epoll_op(target));
    poll->poll32_events = sqe->poll32_events;
    poll->len = (poll->len & ~(uint32_t)IORING_POLL_ADD_MULTI) | (sqe->len & IORING_POLL_ADD_MULTI);
    torc__epoll_unwatch(epoll, target);
    target->retried = false;
    target->edge = EDGE_NONE; /* What holds of its new events is not known yet. */
    torc__epoll_enqueue(epoll, target, STATE_QUEUED);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * epoll_note.h - what the epoll driver keeps of an op, in the op itself: where it is, and how far.
 *
 * An op is tried without blocking; if it would have to wait, it is put where it waits:
 *
 *                            +--------- event, time, thread: try again ---------+
 *                            v                                                  |
 *     IDLE --prepare--> QUEUED --turn--> ACTIVE --would block--> WATCHING  a descriptor
 *      ^                                  |  |    ------------>  TIMING    a time
 *      |                                  |  |    ------------>  POOLED    a thread of the pool
 *      +---------- told ------------------+  |                      |
 *      ^                                     |   cancelled, done    v
 *      +---------- told, next turn ----------+--------------------ENDED
 *
 * Each of these states stands for a list, in which the op is by its note. One that waits for a
 * descriptor stays there when it is cancelled, until the kernel has been asked once more what came.
 */
#ifndef DRIVER_EPOLL_NOTE_H
#define DRIVER_EPOLL_NOTE_H

#include "base/kernel_abi.h"
#include "driver/pool.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/op.h>

struct torc__epoll;

enum epoll_state {
    STATE_IDLE,     /* not the driver's */
    STATE_QUEUED,   /* to be tried in a coming turn */
    STATE_ACTIVE,   /* being tried, or told, just now; in no list */
    STATE_WATCHING, /* waits for an event of a descriptor */
    STATE_TIMING,   /* waits for a time */
    STATE_POOLED,   /* is with the pool */
    STATE_ENDED,    /* has its result, to be told in a coming turn */
    STATE_COUNT,
};

/* A multishot poll is told of changes: its registration must be edge-triggered, and made for it. */
enum epoll_edge {
    EDGE_NONE,
    EDGE_WANTED,
    EDGE_MADE,
};

/* A circular list's head or link. */
struct torc__epoll_link {
    struct torc__epoll_link *next;
    struct torc__epoll_link *previous;
};

/* What the driver keeps of an op in torc_op._note. */
struct torc__epoll_note {
    struct torc__epoll_link link; /* in the list of its state */
    union {
        struct torc__job job;           /* while it is with the pool */
        struct torc__epoll_link ending; /* while it waits for a descriptor, cancelled */
        struct {                        /* while it waits for a time: a node of a pairing heap */
            uint64_t due_ns;
            struct torc__epoll_note *child;
            struct torc__epoll_note *sibling;
            struct torc__epoll_note **up; /* what points here */
        };
    };
    struct torc__epoll *epoll; /* for the thread of the pool */
    uint32_t done;             /* bytes moved so far, in several steps */
    int32_t result;  /* of an op that has ended; before, what is counted, or events that came */
    uint32_t events; /* waits for these, EPOLLIN and its like ... */
    int32_t fd;      /* ... of this descriptor */
    uint8_t state;   /* of epoll_state */
    bool tried;      /* it is not new to those who observe */
    bool cancelled;  /* somebody asked for its end */
    bool begun;      /* a connect is on its way */
    bool retried;    /* an event has made it try again */
    bool borrows;    /* its descriptor is a copy, which it keeps open */
    uint8_t edge;    /* of epoll_edge */
};

static inline struct torc__epoll_note *torc__epoll_note(struct torc_op *op)
{
    return (struct torc__epoll_note *)(void *)op->_note;
}

static inline struct torc_op *torc__epoll_op(struct torc__epoll_note *note)
{
    return (struct torc_op *)(void *)((char *)note - offsetof(struct torc_op, _note));
}

static inline struct io_uring_sqe *torc__epoll_sqe(struct torc_op *op)
{
    return (struct io_uring_sqe *)(void *)op->_sqe;
}

static inline void torc__epoll_list_init(struct torc__epoll_link *list)
{
    list->next = list->previous = list;
}

static inline bool torc__epoll_list_is_empty(const struct torc__epoll_link *list)
{
    return list->next == list;
}

static inline void torc__epoll_insert(struct torc__epoll_link *before,
                                      struct torc__epoll_link *link)
{
    link->next = before;
    link->previous = before->previous;
    before->previous->next = link;
    before->previous = link;
}

static inline void torc__epoll_unlink(struct torc__epoll_link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
}

static inline struct torc__epoll_note *torc__epoll_of_link(struct torc__epoll_link *link)
{
    return (struct torc__epoll_note *)(void *)link; /* Its first field. */
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * epoll_time.c - ops that wait for a time: timeouts, and what is tried again after a pause.
 *
 * A pairing heap of notes: adding one costs next to nothing, and each note is its own node.
 */
#include "base/clock.h"
#include "base/compiler.h"
#include "driver/epoll.h"
#include "driver/sqe.h"
#include <errno.h>
#include <string.h>

/* How many ops that are due a turn serves. */
#define SERVED_MAX 256u

/* ---- The heap ---- */

/* Make one heap of two; either may be NULL. */
static struct torc__epoll_note *meld(struct torc__epoll_note *a, struct torc__epoll_note *b)
{
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    if (b->due_ns < a->due_ns) {
        struct torc__epoll_note *first = b;

        b = a;
        a = first;
    }
    b->sibling = a->child;
    if (b->sibling != NULL)
        b->sibling->up = &b->sibling;
    a->child = b;
    b->up = &a->child;
    a->sibling = NULL;
    return a;
}

/* Make one heap of siblings: in pairs from the left, then all from the right. */
static struct torc__epoll_note *meld_siblings(struct torc__epoll_note *first)
{
    struct torc__epoll_note *pairs = NULL;
    struct torc__epoll_note *heap = NULL;

    while (first != NULL) {
        struct torc__epoll_note *second = first->sibling;
        struct torc__epoll_note *rest = second != NULL ? second->sibling : NULL;

        first->sibling = NULL;
        if (second != NULL)
            second->sibling = NULL;
        first = meld(first, second);
        first->sibling = pairs;
        pairs = first;
        first = rest;
    }
    while (pairs != NULL) {
        struct torc__epoll_note *next = pairs->sibling;

        pairs->sibling = NULL;
        heap = meld(heap, pairs);
        pairs = next;
    }
    return heap;
}

static void set_root(struct torc__epoll *epoll, struct torc__epoll_note *root)
{
    epoll->due = root;
    if (root != NULL)
        root->up = &epoll->due;
}

static void add_to_heap(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    note->child = NULL;
    note->sibling = NULL;
    set_root(epoll, meld(epoll->due, note));
}

static void take_from_heap(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    struct torc__epoll_note *rest = meld_siblings(note->child);

    if (note == epoll->due) {
        set_root(epoll, rest);
        return;
    }
    *note->up = note->sibling;
    if (note->sibling != NULL)
        note->sibling->up = note->up;
    set_root(epoll, meld(epoll->due, rest));
}

/* ---- Waiting for a time ---- */

/* A timeout that also ends after so many completions keeps in sqe->off when that will be. */
static bool counts(struct torc__epoll_note *note)
{
    const struct io_uring_sqe *sqe = torc__epoll_sqe(torc__epoll_op(note));

    return sqe->opcode == IORING_OP_TIMEOUT && sqe->off != 0 &&
           !(sqe->timeout_flags & KERNEL_TIMEOUT_MULTISHOT);
}

void torc__epoll_time(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    torc__epoll_set_state(note, STATE_TIMING);
    torc__epoll_insert(&epoll->timing, &note->link);
    add_to_heap(epoll, note);
    epoll->counting += counts(note);
}

void torc__epoll_untime(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    torc__epoll_unlink(&note->link);
    take_from_heap(epoll, note);
    epoll->counting -= counts(note);
}

uint64_t torc__epoll_next_due(const struct torc__epoll *epoll)
{
    return epoll->due != NULL ? epoll->due->due_ns : UINT64_MAX;
}

/* End the timeouts that as many other completions have been told before as they count. */
static void serve_counting(struct torc__epoll *epoll)
{
    struct torc__epoll_link *link = epoll->timing.next;

    while (link != &epoll->timing) {
        struct torc__epoll_note *note = torc__epoll_of_link(link);

        link = link->next;
        if (!counts(note) ||
            torc__epoll_sqe(torc__epoll_op(note))->off > epoll->base.stats.completions)
            continue;
        torc__epoll_untime(epoll, note);
        note->result = 0;
        torc__epoll_enqueue(epoll, note, STATE_ENDED);
    }
}

void torc__epoll_serve_times(struct torc__epoll *epoll)
{
    uint64_t now_ns;

    if (unlikely(epoll->counting > 0))
        serve_counting(epoll);
    if (likely(epoll->due == NULL))
        return;
    now_ns = torc__clock_now();
    for (unsigned i = 0; i < SERVED_MAX && torc__epoll_next_due(epoll) <= now_ns; i++) {
        struct torc__epoll_note *note = epoll->due;

        torc__epoll_untime(epoll, note);
        note->retried = true;
        torc__epoll_attempt(epoll, note);
    }
}

/* ---- The operations ---- */

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* When `time` will be, on the driver's clock. That another clock is set later is not noticed. */
static uint64_t due_time(const struct __kernel_timespec *time, uint32_t flags)
{
    const uint64_t now_ns = torc__clock_now();
    const uint64_t time_ns = torc__timespec_ns(time);
    uint64_t other_ns;

    if (!(flags & IORING_TIMEOUT_ABS))
        return torc__time_add(now_ns, time_ns);
    if (!(flags & IORING_TIMEOUT_CLOCK_MASK))
        return time_ns;
    other_ns = read_clock(flags & IORING_TIMEOUT_BOOTTIME ? CLOCK_BOOTTIME : CLOCK_REALTIME);
    return time_ns > other_ns ? torc__time_add(now_ns, time_ns - other_ns) : now_ns;
}

static int begin_timeout(struct torc__epoll *epoll, struct torc__epoll_note *note,
                         struct io_uring_sqe *sqe)
{
    const struct __kernel_timespec *time = (const void *)(uintptr_t)sqe->addr;
    const int result = torc__timeout_check(sqe);

    if (result < 0)
        return result;
    note->due_ns = due_time(time, sqe->timeout_flags);
    if (counts(note))
        sqe->off += epoll->base.stats.completions;
    return VERDICT_TIME;
}

/* The time of a multishot timeout has come; off is how often it is to be told, 0 for ever. */
static int repeat_timeout(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);
    const uint64_t due_ns = note->due_ns;

    note->result++;
    if (sqe->off != 0 && (uint64_t)note->result == sqe->off)
        return -ETIME;
    torc__epoll_tell_more(epoll, op, -ETIME, 0);
    note->due_ns = torc__time_add(due_ns, torc__timespec_ns((const void *)(uintptr_t)sqe->addr));
    return VERDICT_TIME;
}

int torc__epoll_try_timeout(struct torc__epoll *epoll, struct torc_op *op, struct io_uring_sqe *sqe)
{
    struct torc__epoll_note *note = torc__epoll_note(op);

    if (!note->retried)
        return begin_timeout(epoll, note, sqe);
    return sqe->timeout_flags & KERNEL_TIMEOUT_MULTISHOT ? repeat_timeout(epoll, op, sqe) : -ETIME;
}

static struct torc__epoll_note *find_timeout(struct torc__epoll *epoll, uint64_t user_data)
{
    for (struct torc__epoll_link *link = epoll->timing.next; link != &epoll->timing;
         link = link->next) {
        struct torc_op *op = torc__epoll_op(torc__epoll_of_link(link));

        if (torc__epoll_sqe(op)->opcode == IORING_OP_TIMEOUT &&
            (uint64_t)(uintptr_t)op == user_data)
            return torc__epoll_note(op);
    }
    return NULL;
}

int torc__epoll_try_timeout_remove(struct torc__epoll *epoll, struct torc_op *op,
                                   struct io_uring_sqe *sqe)
{
    const uint32_t updates = IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE;
    struct torc__epoll_note *target = find_timeout(epoll, sqe->addr);
    const struct __kernel_timespec *time = (const void *)(uintptr_t)sqe->addr2;

    (void)op;
    if (!(sqe->timeout_flags & updates))
        return target == NULL ? -ENOENT : torc__epoll_end(epoll, target);
    if (!torc__timespec_is_valid(time))
        return -EINVAL;
    if (target == NULL || (sqe->timeout_flags & IORING_LINK_TIMEOUT_UPDATE))
        return -ENOENT; /* Nothing is linked here. */
    take_from_heap(epoll, target);
    target->due_ns = due_time(time, sqe->timeout_flags);
    add_to_heap(epoll, target);
    return 0;
}

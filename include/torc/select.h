/* SPDX-License-Identifier: MIT */
/*
 * torc/select.h - wait for the first of several things.
 *
 *     struct torc_case cases[] = {
 *         torc_case_receive(&requests, &request),
 *         torc_case_event(&stop),
 *         torc_case_deadline(deadline_ns),
 *     };
 *
 *     switch (torc_select(cases, 3)) {
 *     case 0: // cases[0].result is what torc_channel_receive() would have returned
 *
 * Exactly one case is committed: it has happened, and none of the others has. Of several that are
 * ready one is chosen at random, so none starves. Cases are plain values: an array of them can be
 * used again and again, each in one select at a time. A zeroed case is never ready.
 *
 * Operations of the kernel cannot be called off so cleanly. When another case is committed, those
 * that are still in flight are cancelled and waited for, and each keeps its result: look at it by
 * torc_op_wait(), for it may have completed in spite of that.
 */
#ifndef TORC_SELECT_H
#define TORC_SELECT_H

#include <stdint.h>
#include <torc/channel.h>
#include <torc/op.h>
#include <torc/shared.h>
#include <torc/sync.h>
#include <torc/time.h>
TORC_BEGIN_C

struct torc__selection;

/* A fiber's place in a queue. Private. */
struct torc_waiter {
    struct torc_waiter *_next;
    struct torc_waiter **_link;  /* what points here */
    struct torc_waiters *_queue; /* NULL while in none */
    struct torc_fiber *_fiber;
    void (*_granted)(struct torc_waiter *waiter, int result); /* NULL: just wake the fiber */
    void *_object; /* what is waited for, where the queue does not tell */
    void *_value;  /* where a value comes from or goes to */
};

/* One of the things that a select waits for. */
struct torc_case {
    int result; /* of the committed case: what the plain call would have returned */
    int (*_attempt)(struct torc_case *one); /* NULL: never ready */
    struct torc_waiters *_queue;            /* where to wait; NULL: nowhere */
    struct torc_op *_op;
    struct torc_shared_channel *_shared;
    struct torc__selection *_selection;
    struct torc_waiter _waiter;
    struct torc_timer _timer;
    uint64_t _deadline_ns;
};

/* As torc_channel_send(); `value` must stay as it is until the select returns. */
TORC_API struct torc_case torc_case_send(struct torc_channel *channel, const void *value);

/* As torc_channel_receive(). */
TORC_API struct torc_case torc_case_receive(struct torc_channel *channel, void *ret_value);

/* As torc_queue_pop(). */
TORC_API struct torc_case torc_case_pop(struct torc_queue *queue,
                                        struct torc_queue_node **ret_node);

/* As torc_oneshot_receive(). */
TORC_API struct torc_case torc_case_oneshot(struct torc_oneshot *oneshot, void *ret_value);

/* As torc_broadcast_receive(). */
TORC_API struct torc_case torc_case_broadcast(struct torc_broadcast_reader *reader,
                                              void *ret_value);

/* As torc_latest_wait(). */
TORC_API struct torc_case torc_case_latest(struct torc_latest *latest, uint64_t *version,
                                           void *ret_value);

/* As torc_event_wait(). */
TORC_API struct torc_case torc_case_event(struct torc_event *event);

/* At most so many cases of one select may be ends of shared channels. */
#define TORC_SELECT_SHARED_MAX 8

/* As torc_shared_channel_send(); `value` must stay as it is until the select returns. */
TORC_API struct torc_case torc_case_shared_send(struct torc_shared_channel *channel,
                                                const void *value);

/* As torc_shared_channel_receive(). */
TORC_API struct torc_case torc_case_shared_receive(struct torc_shared_channel *channel,
                                                   void *ret_value);

/* The time has come; result 0. TORC_FOREVER never comes. */
TORC_API struct torc_case torc_case_deadline(uint64_t deadline_ns);

/* A prepared op has completed; result as torc_op_wait(). */
TORC_API struct torc_case torc_case_op(struct torc_op *op);

/*
 * Wait until one of the cases is ready, and commit it. Suspends, unless one is ready at once.
 * Returns its index, or the scope's reason, and then none was committed. But an op that completes
 * with success in spite of the reason is committed all the same.
 *
 * -EINVAL     there is no case but zeroed ones: nothing would ever end the wait; or too many are
 *             ends of shared channels.
 * -ESHUTDOWN  it would have to wait for a shared channel, and this shard is ending; see
 *             torc/shared.h.
 */
TORC_CHECK int torc_select(struct torc_case *cases, unsigned count);

/*
 * Commit one of the cases that are ready, if any is. Ops that are in flight stay so.
 *
 * -EAGAIN     none is ready.
 */
TORC_CHECK int torc_try_select(struct torc_case *cases, unsigned count);

TORC_END_C
#endif

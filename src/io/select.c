/* SPDX-License-Identifier: MIT */
/*
 * select.c - wait for the first of several things, of which some may be operations.
 *
 *     LOOKING --none ready--> WAITING --a case is granted, or completes--> (its fiber is ready)
 *      ^  |                    |   |
 *      |  | one ready          |   | a shared channel has changed
 *      |  |                    |   +--> SETTLING --no message is under way--+
 *      |  |                    | scope's reason                             |
 *      |  |                    v                                            |
 *      |  +------------------> DRAINING --ops and messages are over--> end  |
 *      +--------------------------------------------------------------------+
 *
 * Whoever commits a case takes all others out of their queues in the same moment, so none of them
 * can be granted as well. Ops cannot be taken back: they are cancelled, and drained.
 *
 * A shared channel grants nothing: it wakes who waits, by a message, and that tries again. One that
 * another thread has taken out of the channel's queue gets its message soon, and that is waited
 * for, since it stands on this stack. If then another case is committed, the wake-up is passed on.
 */
#include "io/await.h"
#include "sync/shared_waiters.h"
#include "sync/waiters.h"
#include <errno.h>

enum phase {
    LOOKING,
    WAITING,
    SETTLING,
    DRAINING
};

/* Where a case waits in a shared channel. */
struct place {
    struct torc__parked parked;
    struct torc__selection *selection;
    struct torc_case *one;
    bool stands;    /* in the queue, or its message has not been noticed */
    bool expects;   /* a message, though it has left */
    bool was_woken; /* at least once */
};

struct torc__selection {
    struct torc_case *cases;
    unsigned count;
    unsigned ops_open;
    unsigned messages_open; /* under way to places that do not stand any more */
    enum phase phase;
    struct torc_case *winner;
    struct torc_fiber *fiber;
    unsigned place_count;
    struct place places[TORC_SELECT_SHARED_MAX];
};

/* ---- Cases that are no queues ---- */

/*
 * By the clock, which goes on while the round's time stands still: a fiber that tries again and
 * again does not give the loop a turn.
 */
static int attempt_deadline(struct torc_case *one)
{
    struct torc__shard *shard = torc__shard;

    if (one->_deadline_ns <= shard->round_time_ns)
        return 0;
    if (one->_deadline_ns == TORC_FOREVER)
        return -EAGAIN;
    return one->_deadline_ns <= shard->driver->ops->now(shard->driver) ? 0 : -EAGAIN;
}

struct torc_case torc_case_deadline(uint64_t deadline_ns)
{
    return (struct torc_case){._attempt = attempt_deadline, ._deadline_ns = deadline_ns};
}

static int attempt_op(struct torc_case *one)
{
    if (one->_op->_state != OP_DONE)
        return -EAGAIN;
    return torc__op_verdict(torc__shard, one->_op);
}

struct torc_case torc_case_op(struct torc_op *op)
{
    return (struct torc_case){._attempt = attempt_op, ._op = op, ._deadline_ns = TORC_FOREVER};
}

static int attempt_shared_send(struct torc_case *one)
{
    return torc_shared_channel_try_send(one->_shared, one->_waiter._value);
}

struct torc_case torc_case_shared_send(struct torc_shared_channel *channel, const void *value)
{
    return (struct torc_case){._attempt = attempt_shared_send,
                              ._shared = channel,
                              ._waiter = {._value = (void *)(uintptr_t)value},
                              ._deadline_ns = TORC_FOREVER};
}

static int attempt_shared_receive(struct torc_case *one)
{
    return torc_shared_channel_try_receive(one->_shared, one->_waiter._value);
}

struct torc_case torc_case_shared_receive(struct torc_shared_channel *channel, void *ret_value)
{
    return (struct torc_case){._attempt = attempt_shared_receive,
                              ._shared = channel,
                              ._waiter = {._value = ret_value},
                              ._deadline_ns = TORC_FOREVER};
}

/* ---- Being told ---- */

static void leave_places(struct torc__selection *selection)
{
    for (unsigned i = 0; i < selection->place_count; i++) {
        struct place *place = &selection->places[i];

        if (!place->stands)
            continue;
        place->stands = false;
        place->expects = !torc__shared_leave(&place->parked);
        selection->messages_open += place->expects;
    }
}

/* Take all cases out of where they wait. */
static void leave_all(struct torc__selection *selection)
{
    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_case *one = &selection->cases[i];

        if (one->_waiter._queue != NULL)
            torc__waiters_leave(&one->_waiter);
        torc__timer_stop(&torc__shard->timers, &one->_timer);
    }
    leave_places(selection);
}

/* Something that was waited for at the end has come. */
static void wake_if_over(struct torc__selection *selection)
{
    const unsigned ops_open = selection->phase == DRAINING ? selection->ops_open : 0;

    if (selection->phase >= SETTLING && ops_open + selection->messages_open == 0)
        torc__wake(torc__shard, selection->fiber, 0);
}

static void commit(struct torc_case *one, int result)
{
    struct torc__selection *selection = one->_selection;

    one->result = result;
    selection->winner = one;
    leave_all(selection);
    torc__wake(torc__shard, selection->fiber, 0);
}

static void granted(struct torc_waiter *waiter, int result)
{
    commit(container_of(waiter, struct torc_case, _waiter), result);
}

static void time_has_come(struct torc_timer *timer)
{
    commit(container_of(timer, struct torc_case, _timer), 0);
}

/* An op whose result is -EAGAIN is as committed as any other, so this does not ask attempt_op(). */
static void complete(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct torc_case *one = op->_waiter;
    struct torc__selection *selection = one->_selection;

    torc__op_take_result(op, result, flags);
    if (more)
        return;
    torc__op_retire(op);
    selection->ops_open--;
    if (selection->phase == WAITING && selection->winner == NULL)
        commit(one, 0); /* The verdict follows, in finish(). */
    else if (selection->phase == DRAINING)
        wake_if_over(selection);
}

/* The shared channel of a place has changed: its fiber is to try again. */
static void message_arrived(struct torc_message *message)
{
    struct place *place = container_of(message, struct place, parked.message);
    struct torc__selection *selection = place->selection;

    place->was_woken = true;
    if (place->expects) {
        place->expects = false;
        selection->messages_open--;
        wake_if_over(selection);
        return;
    }
    place->stands = false;
    leave_all(selection);
    selection->phase = SETTLING;
    wake_if_over(selection);
}

static void cancel_ops(struct torc__shard *shard, struct torc__selection *selection)
{
    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_op *op = selection->cases[i]._op;

        if (op != NULL && op->_state != OP_DONE)
            torc__op_hurry(shard, op);
    }
}

static void interrupt_select(struct torc_fiber *fiber, int reason)
{
    struct torc__selection *selection = fiber->waits_for;

    (void)reason;
    leave_all(selection);
    selection->phase = DRAINING;
    cancel_ops(torc__shard, selection);
    wake_if_over(selection);
}

/* ---- Selecting ---- */

static bool is_open_op(const struct torc_case *one)
{
    return one->_op != NULL && one->_op->_state != OP_DONE;
}

/* Make the cases belong to the selection. */
static int begin(struct torc__selection *selection)
{
    bool any = false;
    unsigned shared = 0;

    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_case *one = &selection->cases[i];

        any = any || one->_attempt != NULL;
        shared += one->_shared != NULL;
        one->_selection = selection;
        one->_waiter._queue = NULL;
        torc__timer_init(&one->_timer);
    }
    return any && shared <= TORC_SELECT_SHARED_MAX ? 0 : -EINVAL;
}

/* From now on the completions of the ops are for the selection. */
static void adopt_ops(struct torc__selection *selection)
{
    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_case *one = &selection->cases[i];

        if (!is_open_op(one))
            continue;
        TORC_REQUIRE(one->_op->_waiter == NULL, "a fiber waits for an op that another waits for");
        one->_op->_complete = complete;
        one->_op->_waiter = one;
        selection->ops_open++;
    }
}

/* Whether an op has completed; only such a case can be committed in a scope that has a reason. */
static bool may_attempt(const struct torc_case *one, int reason)
{
    if (one->_attempt == NULL || (one->_op != NULL && one->_op->_state != OP_DONE))
        return false;
    return reason == 0 || (one->_op != NULL && one->_op->_result >= 0);
}

/* Commit one of the cases that are ready, beginning anywhere; NULL if none is. */
static struct torc_case *attempt_any(struct torc__shard *shard, struct torc__selection *selection,
                                     int reason)
{
    const unsigned first = torc__random(shard, selection->count);

    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_case *one = &selection->cases[(first + i) % selection->count];

        if (!may_attempt(one, reason))
            continue;
        one->result = one->_attempt(one);
        if (one->result != -EAGAIN || one->_op != NULL)
            return one;
    }
    return NULL;
}

static void stand_in_queue(struct torc__shard *shard, struct torc_case *one)
{
    one->_waiter._fiber = shard->running;
    one->_waiter._granted = granted;
    torc__waiters_append(one->_queue, &one->_waiter);
}

/* Stand in a shared channel's queue. False if there is no need to wait for it any more. */
static bool stand_in_place(struct torc_case *one, struct place *place)
{
    (void)torc__parked_init(&place->parked);
    place->parked.message.run = message_arrived;
    place->selection = one->_selection;
    place->one = one;
    place->expects = false;
    place->stands = torc__shared_channel_stand(one->_shared, one->_attempt == attempt_shared_send,
                                               &place->parked);
    return place->stands;
}

/* False if a case is ready now. */
static bool stand_everywhere(struct torc__shard *shard, struct torc__selection *selection)
{
    unsigned place_count = 0;

    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_case *one = &selection->cases[i];

        if (one->_queue != NULL)
            stand_in_queue(shard, one);
        else if (one->_attempt != NULL && one->_deadline_ns != TORC_FOREVER)
            torc__timer_start(&shard->timers, &one->_timer, one->_deadline_ns, time_has_come);
        if (one->_shared == NULL)
            continue;
        if (place_count == selection->place_count)
            selection->places[selection->place_count++].was_woken = false;
        if (!stand_in_place(one, &selection->places[place_count++]))
            return false;
    }
    return true;
}

#define SELECT_KIND(function)                                                       \
    {                                                                               \
        .interrupt = (function), .name = "select", .form = TORC_WAIT_SELECT,        \
        .object = offsetof(struct torc__selection, cases), .owner = TORC_WAIT_NONE, \
        .fd = TORC_WAIT_NONE, .count = offsetof(struct torc__selection, count),     \
    }

static const struct torc_wait_kind select_kind = SELECT_KIND(interrupt_select);
static const struct torc_wait_kind select_end = SELECT_KIND(NULL); /* ops and messages come back */

/*
 * Wait until a case is committed, or there is something to try again. False if that cannot be
 * waited for.
 */
static bool wait_for_any(struct torc__shard *shard, struct torc__selection *selection)
{
    bool stands;

    if (shard->closing) {
        for (unsigned i = 0; i < selection->count; i++) {
            if (selection->cases[i]._shared != NULL)
                return false; /* Its message could not reach this shard. */
        }
    }
    stands = stand_everywhere(shard, selection);
    selection->phase = WAITING;
    if (!stands) {
        leave_all(selection);
        selection->phase = SETTLING;
    }
    if (stands || selection->messages_open > 0)
        (void)torc__wait(shard, stands ? &select_kind : &select_end, selection);
    return true;
}

/* Try, wait, and try again, until a case is committed or the scope has a reason. */
static int wait_until_committed(struct torc__shard *shard, struct torc__selection *selection)
{
    while (selection->winner == NULL && torc__reason(shard) == 0) {
        if (!wait_for_any(shard, selection))
            return -ESHUTDOWN;
        if (selection->winner == NULL && torc__reason(shard) == 0)
            selection->winner = attempt_any(shard, selection, 0);
    }
    return 0;
}

/* Cancel the ops that are still in flight, and wait for them, and for messages. */
static void drain(struct torc__shard *shard, struct torc__selection *selection)
{
    selection->phase = DRAINING;
    if (selection->ops_open + selection->messages_open > 0) {
        cancel_ops(shard, selection);
        (void)torc__wait(shard, &select_end, selection);
    }
    for (unsigned i = 0; i < selection->place_count; i++) {
        const struct place *place = &selection->places[i];

        if (place->was_woken)
            torc__shared_channel_pass_on(place->one->_shared,
                                         place->one->_attempt == attempt_shared_send);
    }
}

/* The index of the winner, if there is one: else why there is none. */
static int finish(struct torc__shard *shard, struct torc__selection *selection)
{
    struct torc_case *winner = selection->winner;
    int reason = torc__reason(shard);

    /* The reason ended it; but an op may have succeeded in spite of that, or instead. */
    if (winner == NULL || (winner->_op != NULL && reason != 0 && winner->_op->_result < 0)) {
        struct torc_case *other = attempt_any(shard, selection, -ECANCELED);

        winner = other != NULL ? other : winner;
    }
    if (winner == NULL)
        return reason;
    if (winner->_op != NULL)
        winner->result = torc__op_verdict(shard, winner->_op);
    if (winner->_op != NULL && reason != 0 && winner->result == reason)
        return reason;
    return (int)(winner - selection->cases);
}

static void selection_init(struct torc__selection *selection, struct torc__shard *shard,
                           struct torc_case *cases, unsigned count)
{
    /* Not the places, which few selects need. */
    selection->cases = cases;
    selection->count = count;
    selection->ops_open = 0;
    selection->messages_open = 0;
    selection->phase = LOOKING;
    selection->winner = NULL;
    selection->fiber = shard->running;
    selection->place_count = 0;
}

int torc_select(struct torc_case *cases, unsigned count)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc__selection selection;
    int reason = torc__reason(shard);
    int result;

    selection_init(&selection, shard, cases, count);
    if (begin(&selection) < 0)
        return -EINVAL;
    adopt_ops(&selection);
    selection.winner = attempt_any(shard, &selection, reason);
    if (selection.winner == NULL && reason != 0 && selection.ops_open == 0)
        return torc__refuse(shard, reason);
    result = wait_until_committed(shard, &selection);
    drain(shard, &selection);
    return result < 0 ? result : finish(shard, &selection);
}

int torc_try_select(struct torc_case *cases, unsigned count)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc__selection selection;
    struct torc_case *winner;

    selection_init(&selection, shard, cases, count);
    if (begin(&selection) < 0)
        return -EINVAL;
    winner = attempt_any(shard, &selection, 0);
    return winner != NULL ? (int)(winner - cases) : -EAGAIN;
}

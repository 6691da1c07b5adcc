/* SPDX-License-Identifier: MIT */
/*
 * select.c - wait for the first of several things, of which some may be operations.
 *
 *     LOOKING --none ready--> WAITING --a case is granted, or completes--> (its fiber is ready)
 *        |                       | scope's reason
 *        | one ready             v
 *        +-----------------> DRAINING --the last op has completed--> over
 *
 * Whoever commits a case takes all others out of their queues in the same moment, so none of them
 * can be granted as well. Ops cannot be taken back: they are cancelled, and drained.
 */
#include "io/await.h"
#include "sync/waiters.h"
#include <errno.h>

enum phase {
    LOOKING,
    WAITING,
    DRAINING
};

struct torc__selection {
    struct torc_case *cases;
    unsigned count;
    unsigned ops_open;
    enum phase phase;
    struct torc_case *winner;
    struct torc_fiber *fiber;
};

/* ---- Cases that are no queues ---- */

static int attempt_deadline(struct torc_case *one)
{
    return one->_deadline_ns <= torc__shard->round_time_ns ? 0 : -EAGAIN;
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

/* ---- Being told ---- */

/* Take all cases out of where they wait. */
static void leave_all(struct torc__selection *selection)
{
    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_case *one = &selection->cases[i];

        if (one->_waiter._queue != NULL)
            torc__waiters_leave(&one->_waiter);
        torc__timer_stop(&torc__shard->timers, &one->_timer);
    }
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
    else if (selection->phase == DRAINING && selection->ops_open == 0)
        torc__wake(torc__shard, selection->fiber, 0);
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

    leave_all(selection);
    selection->phase = DRAINING;
    if (selection->ops_open == 0)
        torc__wake(torc__shard, fiber, reason);
    else
        cancel_ops(torc__shard, selection);
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

    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_case *one = &selection->cases[i];

        any = any || one->_attempt != NULL;
        one->_selection = selection;
        one->_waiter._queue = NULL;
        one->_timer._link = NULL;
    }
    return any ? 0 : -EINVAL;
}

/* From now on the completions of the ops are for the selection. */
static void adopt_ops(struct torc__selection *selection)
{
    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_case *one = &selection->cases[i];

        if (!is_open_op(one))
            continue;
        TORC_ASSERT(one->_op->_waiter == NULL); /* It is being waited for already. */
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

static void stand_everywhere(struct torc__shard *shard, struct torc__selection *selection)
{
    for (unsigned i = 0; i < selection->count; i++) {
        struct torc_case *one = &selection->cases[i];

        if (one->_queue != NULL) {
            one->_waiter._fiber = shard->running;
            one->_waiter._granted = granted;
            torc__waiters_append(one->_queue, &one->_waiter);
        } else if (one->_attempt != NULL && one->_deadline_ns != TORC_FOREVER) {
            torc__timer_start(&shard->timers, &one->_timer, one->_deadline_ns, time_has_come);
        }
    }
}

static void wait_for_any(struct torc__shard *shard, struct torc__selection *selection)
{
    stand_everywhere(shard, selection);
    selection->phase = WAITING;
    (void)torc__wait(shard, interrupt_select, selection);
}

/* Cancel the ops that are still in flight, and wait for them. */
static void drain(struct torc__shard *shard, struct torc__selection *selection)
{
    selection->phase = DRAINING;
    if (selection->ops_open == 0)
        return;
    cancel_ops(shard, selection);
    (void)torc__wait(shard, NULL, selection);
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

int torc_select(struct torc_case *cases, unsigned count)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc__selection selection = {.cases = cases, .count = count, .fiber = shard->running};
    int reason = torc__reason(shard);

    if (begin(&selection) < 0)
        return -EINVAL;
    adopt_ops(&selection);
    selection.winner = attempt_any(shard, &selection, reason);
    if (selection.winner == NULL && reason != 0 && selection.ops_open == 0)
        return torc__refuse(shard, reason);
    if (selection.winner == NULL && reason == 0)
        wait_for_any(shard, &selection);
    drain(shard, &selection);
    return finish(shard, &selection);
}

int torc_try_select(struct torc_case *cases, unsigned count)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc__selection selection = {.cases = cases, .count = count, .fiber = shard->running};
    struct torc_case *winner;

    if (begin(&selection) < 0)
        return -EINVAL;
    winner = attempt_any(shard, &selection, 0);
    return winner != NULL ? (int)(winner - cases) : -EAGAIN;
}

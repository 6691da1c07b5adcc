/* SPDX-License-Identifier: MIT */
/*
 * op.c - any operation, and several at once.
 */
#include "io/await.h"
#include <errno.h>

/* A fiber's wait for some of its ops; on its stack. */
struct group {
    struct torc_op *const *ops;
    unsigned count;
    unsigned open;    /* not completed yet */
    unsigned wake_at; /* wake when so many are open, or fewer */
    bool wake_on_failure;
    bool waiting;
    struct torc_op *first; /* the one that ended the wait */
    struct torc_fiber *fiber;
};

static void complete(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct group *group = op->_waiter;

    torc__op_take_result(op, result, flags);
    if (more && op->_cancelling && !(flags & IORING_CQE_F_NOTIF))
        torc__op_hurry_again(torc__shard, op);
    if (more)
        return;
    torc__op_retire(op);
    if (group == NULL)
        return; /* Nobody waits yet. */
    group->open--;
    if (group->waiting &&
        (group->open <= group->wake_at || (group->wake_on_failure && op->_result < 0))) {
        group->waiting = false;
        group->first = op;
        torc__wake(torc__shard, group->fiber, 0);
    }
}

/*
 * Values of torc_op._opcode until it is known what the op does: where that is described; and if it
 * was not looked at in time.
 */
enum {
    NOBODY_KNOWS = 253,
    IN_ITSELF = 254,
    IN_RING = 255,
};

/* What an op does is noted when somebody waits for it, since the SQE is handed out empty. */
static void remember_sqe(struct torc_op *op, struct io_uring_sqe *sqe)
{
    if (sqe == torc__op_own_sqe(op)) {
        op->_opcode = IN_ITSELF;
    } else {
        op->_opcode = IN_RING;
        op->_sqe[0] = (uintptr_t)sqe;
    }
}

/* A slot of the ring may have been used anew meanwhile; its user_data tells. */
static void note(struct torc_op *op)
{
    const struct io_uring_sqe *sqe = (const struct io_uring_sqe *)(uintptr_t)op->_sqe[0];

    if (op->_opcode == IN_ITSELF)
        torc__op_note(op, torc__op_own_sqe(op));
    else if (op->_opcode == IN_RING && sqe->user_data == (uintptr_t)op)
        torc__op_note(op, sqe);
    else if (op->_opcode == IN_RING)
        op->_opcode = NOBODY_KNOWS;
}

static void begin(struct torc_op *op, torc_op_fn *on_complete)
{
    op->_complete = on_complete;
    op->_waiter = NULL;
    op->_result = 0;
    op->_flags = 0;
    op->_state = OP_IN_FLIGHT;
    op->_cancelling = 0;
}

static struct io_uring_sqe *prepare(struct torc__shard *shard, struct torc_op *op,
                                    torc_op_fn *on_complete)
{
    struct io_uring_sqe *sqe;

    begin(op, on_complete);
    sqe = shard->driver->ops->prepare(shard->driver, op);
    remember_sqe(op, sqe);
    return sqe;
}

struct io_uring_sqe *torc_op_prepare(struct torc_op *op)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    op->_fiber = shard->running;
    op->_fiber->owes += FIBER_OWES_OP;
    return prepare(shard, op, complete);
}

/* ---- Feeds ---- */

void torc__feeds_note(struct torc__shard *shard)
{
    for (struct torc_op *op = shard->feeds; op != NULL && op->_opcode >= IN_ITSELF; op = op->_next)
        note(op);
}

static void note_and_turn(struct torc__shard *shard)
{
    shard->before_turn = NULL;
    torc__feeds_note(shard);
}

static void complete_feed(struct torc_op *op, int result, uint32_t flags, int more)
{
    if (!more) {
        torc__told_end(op);
        op->_state = OP_DONE;
    } else if (op->_cancelling) {
        torc__op_hurry_again(torc__shard, op);
    }
    op->_feed(op, result, flags, more);
}

/*
 * A feed that begins again at each completion, and finds something each time, would keep a shard
 * that closes alive for ever. So from then on the loop's callbacks get an SQE that goes nowhere.
 */
static struct io_uring_sqe *prepare_nothing(struct torc_op *op)
{
    begin(op, complete_feed);
    op->_cancelling = 1;
    memset(op->_sqe, 0, sizeof(op->_sqe));
    return torc__op_own_sqe(op);
}

struct io_uring_sqe *torc_op_prepare_feed(struct torc_op *op, torc_op_fn *on_complete)
{
    struct torc__shard *shard = torc__shard_here();
    const bool refused = shard->closing && shard->running == &shard->loop;
    struct torc_op **list = refused ? &shard->refused : &shard->feeds;
    struct io_uring_sqe *sqe = refused ? prepare_nothing(op) : prepare(shard, op, complete_feed);

    torc__loan_place(op, LOAN_FEED, NULL);
    op->_feed = on_complete;
    op->_fd = -1; /* Until it is noted. */
    torc__told_begin(list, op);
    if (shard->before_turn == NULL)
        shard->before_turn = note_and_turn; /* Else what streams have there notes them. */
    return sqe;
}

void torc_op_cancel(struct torc_op *op)
{
    TORC_ASSERT(torc__shard != NULL);
    if (op->_state != OP_DONE)
        torc__op_hurry(torc__shard, op);
}

int torc_op_done(const struct torc_op *op)
{
    return op->_state == OP_DONE;
}

uint32_t torc_op_flags(const struct torc_op *op)
{
    return op->_flags;
}

/* ---- Waiting ---- */

static void cancel_open(struct torc__shard *shard, const struct group *group)
{
    for (unsigned i = 0; i < group->count; i++) {
        if (group->ops[i]->_state != OP_DONE)
            torc__op_hurry(shard, group->ops[i]);
    }
}

static void interrupt_group(struct torc_fiber *fiber, int reason)
{
    (void)reason;
    cancel_open(torc__shard, fiber->waits_for);
}

static const struct torc_wait_kind group_kind = {
    .interrupt = interrupt_group,
    .name = "operations",
    .form = TORC_WAIT_OPS,
    .object = offsetof(struct group, ops),
    .owner = TORC_WAIT_NONE,
    .fd = TORC_WAIT_NONE,
    .count = offsetof(struct group, count),
};

static void group_init(struct group *group, struct torc__shard *shard, struct torc_op *const *ops,
                       unsigned count)
{
    *group = (struct group){.ops = ops, .count = count, .fiber = shard->running};
    for (unsigned i = 0; i < count; i++) {
        if (ops[i]->_state == OP_DONE) {
            if (group->first == NULL)
                group->first = ops[i];
            continue;
        }
        TORC_REQUIRE(ops[i]->_waiter == NULL, "a fiber waits for an op that another waits for");
        ops[i]->_waiter = group;
        note(ops[i]);
        group->open++;
    }
}

/* Wait until at most `wake_at` ops of the group are open, or one fails if that ends the wait. */
static void group_wait(struct torc__shard *shard, struct group *group, unsigned wake_at)
{
    if (group->open <= wake_at)
        return;
    group->wake_at = wake_at;
    group->waiting = true;
    /* What was started is carried through: in a scope that has a reason, by cancelling it. */
    if (torc__reason(shard) != 0)
        cancel_open(shard, group);
    (void)torc__wait(shard, &group_kind, group);
}

int torc_op_wait(struct torc_op *op)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct group group;

    group_init(&group, shard, &op, 1);
    group_wait(shard, &group, 0);
    return torc__op_verdict(shard, op);
}

static int first_failure(const struct torc__shard *shard, const struct group *group)
{
    for (unsigned i = 0; i < group->count; i++) {
        int result = torc__op_verdict(shard, group->ops[i]);

        if (result < 0)
            return result;
    }
    return 0;
}

int torc_op_join(struct torc_op *const *ops, unsigned count)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct group group;

    group_init(&group, shard, ops, count);
    group_wait(shard, &group, 0);
    return first_failure(shard, &group);
}

/* An op that has completed with an error, which ends a try-join. */
static struct torc_op *find_failed(const struct group *group)
{
    for (unsigned i = 0; i < group->count; i++) {
        if (group->ops[i]->_state == OP_DONE && group->ops[i]->_result < 0)
            return group->ops[i];
    }
    return NULL;
}

int torc_op_try_join(struct torc_op *const *ops, unsigned count)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc_op *failed;
    struct group group;

    group_init(&group, shard, ops, count);
    group.wake_on_failure = true;
    failed = find_failed(&group);
    if (failed == NULL) {
        group_wait(shard, &group, 0);
        failed = group.first != NULL && group.first->_result < 0 ? group.first : NULL;
    }
    group.wake_on_failure = false;
    if (group.open > 0) {
        cancel_open(shard, &group);
        group_wait(shard, &group, 0);
    }
    return failed != NULL ? torc__op_verdict(shard, failed) : first_failure(shard, &group);
}

static unsigned index_of(const struct group *group, const struct torc_op *op)
{
    unsigned i = 0;

    while (group->ops[i] != op)
        i++;
    return i;
}

/* The scope ended the wait: an op that succeeded in spite of it is the winner all the same. */
static struct torc_op *find_succeeded(const struct group *group)
{
    for (unsigned i = 0; i < group->count; i++) {
        if (group->ops[i]->_result >= 0)
            return group->ops[i];
    }
    return NULL;
}

int torc_op_select(struct torc_op *const *ops, unsigned count)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc_op *winner;
    struct group group;
    int verdict;

    if (count == 0)
        return -EINVAL;
    group_init(&group, shard, ops, count);
    if (group.first == NULL)
        group_wait(shard, &group, group.open - 1);
    winner = group.first;
    cancel_open(shard, &group);
    group_wait(shard, &group, 0);
    verdict = torc__op_verdict(shard, winner);
    if (verdict < 0 && verdict == torc__reason(shard)) {
        winner = find_succeeded(&group);
        if (winner == NULL)
            return verdict;
    }
    return (int)index_of(&group, winner);
}

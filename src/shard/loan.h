/* SPDX-License-Identifier: MIT */
/*
 * loan.h - things on a fiber's stack that are in use although no fiber waits for them.
 *
 * A stream, a listener or a feed has ops that outlive the call which began them, and whose
 * completions are written to it. It may stand on a fiber's stack, which then counts such ops. A
 * fiber that ends meanwhile has forgotten to close something: another fiber is about to get the
 * stack, and would find its frames overwritten. So this is where the process aborts, and says which
 * kind of thing it was.
 *
 * What is on the heap has no stack, and costs nothing here.
 */
#ifndef SHARD_LOAN_H
#define SHARD_LOAN_H

#include "shard/shard.h"

enum torc__loan {
    LOAN_STREAM,
    LOAN_LISTENER,
    LOAN_DATAGRAM_FEED,
    LOAN_ZERO_COPY,
    LOAN_FEED,
    LOAN_COUNT,
};
_Static_assert(LOAN_COUNT == STACK_LOANS, "a stack counts each kind");

/*
 * Note where an op stands, which never moves, of what it is, and the call that made that: the
 * return address of the public function. Before its first loan.
 */
void torc__loan_place(struct torc_op *op, enum torc__loan kind, const void *opener);

/* From now on the op is not to go away. */
static inline void torc__loan_begin(struct torc_op *op)
{
    struct torc__stack *stack = op->_waiter;

    if (stack != NULL)
        stack->loans[op->_loan]++;
}

static inline void torc__loan_end(struct torc_op *op)
{
    struct torc__stack *stack = op->_waiter;

    if (stack != NULL)
        stack->loans[op->_loan]--;
}

/* Report the loans that outlive the running fiber, and abort. */
_Noreturn void torc__loan_outlives(const struct torc__stack *stack);

/* The running fiber, whose stack this is, ends: nothing on it may be in use. */
static inline void torc__loan_check(const struct torc__stack *stack)
{
    uint32_t open = 0;

    for (unsigned i = 0; i < STACK_LOANS; i++)
        open |= stack->loans[i];
    if (unlikely(open != 0))
        torc__loan_outlives(stack);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * loan.c - things on a fiber's stack that are in use although no fiber waits for them.
 */
#include "shard/loan.h"
#include "shard/diagnose.h"
#include <stdlib.h>

void torc__loan_place(struct torc_op *op, enum torc__loan kind, const void *opener)
{
    const struct torc__shard *shard = torc__shard;

    op->_loan = (uint8_t)kind;
    op->_opener = opener;
    op->_waiter = shard != NULL ? torc__stacks_find(&shard->stacks, op) : NULL;
}

void torc__loan_outlives(const struct torc__stack *stack)
{
    static const char *const names[LOAN_COUNT] = {
        [LOAN_STREAM] = "a stream, to be closed",
        [LOAN_LISTENER] = "a listener, to be closed",
        [LOAN_DATAGRAM_FEED] = "a datagram feed, to be closed",
        [LOAN_ZERO_COPY] = "a zero-copy send, to be finished",
        [LOAN_FEED] = "a feed of torc_op_prepare_feed(), to be cancelled",
    };
    char who[128];

    torc__describe_running(who, sizeof(who));
    for (unsigned i = 0; i < LOAN_COUNT; i++) {
        if (stack->loans[i] > 0)
            torc__log("%s has ended, and on its stack is still in use: %s", who, names[i]);
    }
    abort();
}

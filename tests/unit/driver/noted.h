/* SPDX-License-Identifier: MIT */
/*
 * noted.h - ops without fibers, that note what a driver tells of them.
 */
#ifndef UNIT_DRIVER_NOTED_H
#define UNIT_DRIVER_NOTED_H

#include "base/compiler.h"
#include "harness/harness.h"
#include <string.h>
#include <torc/op.h>

/* An op that notes what is told of it. */
struct noted_op {
    struct torc_op op;
    unsigned told;
    unsigned ended;
    int result;
};

static inline void note(struct torc_op *op, int result, uint32_t flags, int more)
{
    struct noted_op *noted = container_of(op, struct noted_op, op);

    (void)flags;
    noted->told++;
    noted->ended += !more;
    noted->result = result;
}

/* The function of an op is its only field that concerns a driver. */
static inline void set_function(struct torc_op *op, torc_op_fn *function)
{
    memcpy((char *)op + offsetof(struct torc_op, _complete), &function, sizeof(function));
}

static inline void expect_each_told_once(const struct noted_op *ops, unsigned count, int result)
{
    for (unsigned i = 0; i < count; i++) {
        EXPECT_UINT(ops[i].told, ==, 1);
        EXPECT_UINT(ops[i].ended, ==, 1);
        EXPECT_INT(ops[i].result, ==, result);
    }
}

#endif

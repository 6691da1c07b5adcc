/* SPDX-License-Identifier: MIT */
/*
 * opcode.h - names of operations.
 */
#ifndef BASE_OPCODE_H
#define BASE_OPCODE_H

#include <stddef.h>
#include <torc/op.h>

/* torc_op_name(), and "op" for one that is not known. */
static inline const char *torc__opcode_name(unsigned opcode)
{
    const char *name = torc_op_name(opcode);

    return name != NULL ? name : "op";
}

#endif

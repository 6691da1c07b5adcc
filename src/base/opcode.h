/* SPDX-License-Identifier: MIT */
/*
 * opcode.h - names of operations.
 */
#ifndef BASE_OPCODE_H
#define BASE_OPCODE_H

/* The name of an IORING_OP_ code, in small letters; "op" for one that is not known. */
const char *torc__opcode_name(unsigned opcode);

#endif

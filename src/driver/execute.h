/* SPDX-License-Identifier: MIT */
/*
 * execute.h - do what an SQE says, by ordinary system calls.
 */
#ifndef DRIVER_EXECUTE_H
#define DRIVER_EXECUTE_H

#include "base/kernel_abi.h"

/*
 * Carry out an operation on the calling thread, which blocks for as long as it takes. Returns what
 * the completion's result would be on a ring without registered files and buffers. Leaves errno
 * undefined.
 *
 * Knows what acts on files, and what never waits; for the rest (timeouts, polls, data through
 * sockets, other operations' control) it returns -EINVAL, as kernels do that lack an operation.
 */
int torc__execute(const struct io_uring_sqe *sqe);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * blocking.h - wait for a function that runs on a thread of the pool.
 */
#ifndef IO_BLOCKING_H
#define IO_BLOCKING_H

#include "driver/pool.h"
#include <stdint.h>

/* Like torc_blocking(), in a lane. */
int torc__blocking(enum torc__lane lane, int (*fn)(void *arg), void *arg);

/* The same, not refused in a cancelled scope, and not to be interrupted in the queue. */
int torc__blocking_shielded(enum torc__lane lane, int (*fn)(void *arg), void *arg);

/*
 * Make a system call that acts on files on a thread of the pool: for what no operation does, or no
 * old one. What it borrows is free when this returns. Suspends. The result or a negative errno.
 * Every CPU that torc runs on passes 64 bits in an argument. One that was disturbed (the freezer, a
 * debugger, a file system of another machine) begins again, so it may as well be made twice.
 */
int64_t torc__file_call(int number, const uintptr_t arguments[6]);

/* The same, of a call that may not be made twice. */
int64_t torc__file_call_once(int number, const uintptr_t arguments[6]);

/* The same, not refused in a cancelled scope, and made once. */
int64_t torc__file_call_shielded(int number, const uintptr_t arguments[6]);

#endif

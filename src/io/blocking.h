/* SPDX-License-Identifier: MIT */
/*
 * blocking.h - wait for a function that runs on a thread of the pool.
 */
#ifndef IO_BLOCKING_H
#define IO_BLOCKING_H

#include "driver/pool.h"

/* Like torc_blocking(), in a lane. */
int torc__blocking(enum torc__lane lane, int (*fn)(void *arg), void *arg);

/* The same, not refused in a cancelled scope, and not to be interrupted in the queue. */
int torc__blocking_shielded(enum torc__lane lane, int (*fn)(void *arg), void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * control.h - ask the driver for what never waits.
 */
#ifndef IO_CONTROL_H
#define IO_CONTROL_H

#include "shard/shard.h"

/* Carry out a request; its `length` may be changed. The result, or a negative errno. */
static inline int torc__control(struct torc__control *request)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    return shard->driver->ops->control(shard->driver, request);
}

/*
 * Close what holds no data that could still be written, without suspending. From a fiber or a loop
 * callback.
 */
static inline void torc__close_now(int fd)
{
    struct torc__shard *shard = torc__shard_here();
    struct torc__control request = {.kind = CONTROL_CLOSE, .fd = fd};

    (void)shard->driver->ops->control(shard->driver, &request);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * trace_write.c - write a trace out from a fiber.
 */
#include "shard/observer.h"
#include "shard/shard.h"
#include <errno.h>
#include <torc/io.h>
#include <torc/trace.h>

static int write_out(void *arg, const void *data, size_t size)
{
    return (int)torc_write_all(*(const int *)arg, data, size, NULL);
}

int torc_trace_write(int fd)
{
    struct torc__observer *observer = torc__shard_of_fiber()->observer;
    struct torc__trace_shape shape;
    struct torc__trace_area *area = torc__trace_acquire(observer, &shape);
    int result;

    if (area == NULL)
        return -ENODATA;
    result = torc__trace_to_json(area, shape, write_out, &fd);
    torc__trace_release(observer);
    return result;
}

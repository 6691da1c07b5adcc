/* SPDX-License-Identifier: MIT */
/*
 * uring_options.c - what a ring may be asked for: options, and the environment where they are 0.
 *
 * All of this is off by default: on most machines it costs more than it gives, see
 * docs/guide/tuning.md.
 */
#include "base/environment.h"
#include "driver/uring.h"
#include <errno.h>

#define SQPOLL_IDLE_MS_MAX 10000
#define NAPI_POLL_US_MAX   1000000
#define MIN_WAIT_US_MAX    1000000

/* `value`, or the number in the environment. */
static uint32_t or_environment(uint32_t value, const char *name, uint32_t most)
{
    return value != 0 ? value : torc__environment_number(name, 0, most);
}

int torc__uring_read_options(const struct torc_options *options,
                             struct torc__driver_options *ret_options)
{
    if (options->sqpoll_idle_ms > SQPOLL_IDLE_MS_MAX || options->napi_poll_us > NAPI_POLL_US_MAX ||
        options->min_wait_us > MIN_WAIT_US_MAX)
        return -EINVAL;
    ret_options->sqpoll_idle_ms =
        or_environment(options->sqpoll_idle_ms, "TORC_SQPOLL", SQPOLL_IDLE_MS_MAX);
    ret_options->napi_poll_us =
        or_environment(options->napi_poll_us, "TORC_NAPI", NAPI_POLL_US_MAX);
    ret_options->min_wait_us =
        or_environment(options->min_wait_us, "TORC_MIN_WAIT", MIN_WAIT_US_MAX);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * uring_options.c - what a ring may be asked for: options, and the environment where they are 0.
 *
 * All of this is off by default: on most machines it costs more than it gives, see
 * docs/guide/tuning.md.
 */
#include "base/log.h"
#include "driver/uring.h"
#include <errno.h>
#include <stdlib.h>

#define SQPOLL_IDLE_MS_MAX 10000
#define NAPI_POLL_US_MAX   1000000
#define MIN_WAIT_US_MAX    1000000

/* `value`, or the number in the environment; what is no number there is told, and has no effect. */
static uint32_t or_environment(uint32_t value, const char *name, uint32_t most)
{
    const char *text = getenv(name);
    char *end;
    unsigned long number;

    if (value != 0 || text == NULL || *text == '\0')
        return value;
    errno = 0;
    number = strtoul(text, &end, 10);
    if (*end != '\0' || *text == '-' || errno != 0 || number > most) {
        torc__log("%s: \"%s\" is not a number from 0 to %u", name, text, most);
        return 0;
    }
    return (uint32_t)number;
}

int torc__uring_read_options(const struct torc_options *options,
                             struct torc__driver_options *ret_options)
{
    const int saved = errno;

    if (options->sqpoll_idle_ms > SQPOLL_IDLE_MS_MAX || options->napi_poll_us > NAPI_POLL_US_MAX ||
        options->min_wait_us > MIN_WAIT_US_MAX)
        return -EINVAL;
    ret_options->sqpoll_idle_ms =
        or_environment(options->sqpoll_idle_ms, "TORC_SQPOLL", SQPOLL_IDLE_MS_MAX);
    ret_options->napi_poll_us =
        or_environment(options->napi_poll_us, "TORC_NAPI", NAPI_POLL_US_MAX);
    ret_options->min_wait_us =
        or_environment(options->min_wait_us, "TORC_MIN_WAIT", MIN_WAIT_US_MAX);
    errno = saved;
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * observe.h - where operations begin and end, for probes and traces.
 *
 * An op ends in one place of each driver, so there a nop and a branch do. Where it begins its SQE
 * is not filled yet; so the ring's driver goes through those that are new when it shows them to the
 * kernel, if anybody wants to know.
 */
#ifndef DRIVER_OBSERVE_H
#define DRIVER_OBSERVE_H

/* The probes of operations count who has attached to them: <sys/sdt.h> wants to know first. */
#define _SDT_HAS_SEMAPHORES 1

#include "base/compiler.h"
#include "base/probe.h"
#include "driver/driver.h"
#include <liburing.h>

#if TORC_PROBES
/* Not 0 while somebody has attached to the probe. Whoever attaches changes it. */
extern volatile unsigned short torc_op_start_semaphore __attribute__((visibility("hidden")));
extern volatile unsigned short torc_op_finish_semaphore __attribute__((visibility("hidden")));
#endif

/* Whether somebody wants to know which ops begin. */
static inline bool torc__observes_starts(const struct torc__driver *driver)
{
#if TORC_PROBES
    return driver->trace != NULL || torc_op_start_semaphore != 0;
#else
    return driver->trace != NULL;
#endif
}

/* An op goes to the kernel, or is tried for the first time. */
void torc__observe_start(struct torc__driver *driver, const struct io_uring_sqe *sqe);

void torc__observe_record_end(struct torc__driver *driver, const struct torc_op *op, int result,
                              int more);

/* An op has a completion. */
static inline void torc__observe_end(struct torc__driver *driver, const struct torc_op *op,
                                     int result, int more)
{
    TORC_PROBE3(op_finish, op, result, more);
    if (unlikely(driver->trace != NULL))
        torc__observe_record_end(driver, op, result, more);
}

#endif

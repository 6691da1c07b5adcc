/* SPDX-License-Identifier: MIT */
/*
 * observe.c - where operations begin and end, for probes and traces.
 */
#include "driver/observe.h"
#include "base/trace.h"

#if TORC_PROBES
volatile unsigned short torc_op_start_semaphore __attribute__((section(".probes"), used));
volatile unsigned short torc_op_finish_semaphore __attribute__((section(".probes"), used));
#endif

void torc__observe_start(struct torc__driver *driver, const struct io_uring_sqe *sqe)
{
    TORC_PROBE3(op_start, sqe->user_data, sqe->opcode, sqe->fd);
    if (driver->trace != NULL)
        torc__trace_add(driver->trace, (struct torc__trace_event){.kind = TRACE_OP_START,
                                                                  .object = sqe->user_data,
                                                                  .value = sqe->fd,
                                                                  .detail = sqe->opcode});
}

void torc__observe_record_end(struct torc__driver *driver, const struct torc_op *op, int result,
                              int more)
{
    torc__trace_add(driver->trace, (struct torc__trace_event){.kind = TRACE_OP_END,
                                                              .object = (uint64_t)(uintptr_t)op,
                                                              .value = result,
                                                              .detail = (uint8_t)more});
}

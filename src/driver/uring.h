/* SPDX-License-Identifier: MIT */
/*
 * uring.h - the io_uring driver's state, shared by its files and by tests that force failures.
 */
#ifndef DRIVER_URING_H
#define DRIVER_URING_H

#include "driver/driver.h"
#include "driver/ring.h"
#include "driver/selftest.h"

/*
 * user_data of a completion: the address of the op, aligned to 8, or one of the driver's own
 * operations, told by the low bits. So a completion finds its op without a table.
 */
enum uring_tag {
    TAG_OP = 0,
    TAG_IGNORE = 1,    /* a cancel: its result does not matter */
    TAG_WAKE = 2,      /* the read of the wake-up descriptor */
    TAG_TIMEOUT = 3,   /* the timeout of a wait; the upper bits are its generation */
    TAG_RING_WAKE = 4, /* a wake-up that another shard's ring has put here */
    TAG_SENT = 5,      /* a wake-up put into another ring; the upper bits are its driver */
    TAG_MASK = 7,
};

/* A wait with min_wait_us ends when so many have completed, or that time is over. */
#define MIN_WAIT_COUNT 32

/* In torc_op._cancelling, which others set to 1: the op stands in the list of those cancelled. */
#define CANCEL_LISTED 2

struct torc__uring {
    struct torc__driver base;
    struct torc__ring ring;
    int wake_fd;         /* eventfd through which threads without a ring end a wait */
    uint64_t wake_count; /* Where the pending read of wake_fd puts its value. */
    bool wake_armed;     /* That read is queued or in the kernel. */
    bool timeout_armed;  /* Rung without EXT_ARG: a TIMEOUT op is out ... */
    uint64_t timeout_generation;
    uint64_t timeout_ns; /* ... for this time. */
    struct __kernel_timespec timeout_spec;
    struct io_uring_cqe *backlog; /* completions moved out of the queue, to be told first */
    unsigned backlog_room;
    unsigned backlog_count;
    unsigned backlog_told;
    struct torc_op *cancelled; /* Ops that were cancelled and have not ended ... */
    uint64_t cancel_again_ns;  /* ... and when they are cancelled again. */
    uint64_t cancel_delay_ns;
    uint16_t next_group; /* the group number to try for the next ring of buffers */
    bool finishing;
    uint32_t sqpoll_idle_ms;
    bool sqpoll;      /* A thread of the kernel takes what is queued. */
    bool refused;     /* The kernel takes nothing at present, and the log has told. */
    unsigned offered; /* The features that the kernel has, bugs or not. */
    unsigned unknown; /* Those that could not be tried for want of memory. */
    unsigned broken;  /* Checks of the self-test that the kernel has failed. */
    unsigned napi_poll_us;
    unsigned wait_count;  /* How many completions a wait collects; 1 without min_wait_us. */
    unsigned own_pending; /* The driver's own operations whose completion must be awaited. */
};

/* Set up the ring with the newest features that work and are not forbidden. 0 or the last error. */
int torc__uring_climb(struct torc__uring *uring, const struct torc__driver_options *options);

/* Fill in what options of this driver do here. */
void torc__uring_report_options(const struct torc__uring *uring, struct torc_driver_report *report);

/* buffer_ring.c: open_buffers() and close_buffers() of this driver. */
int torc__uring_open_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers,
                             unsigned entries);
void torc__uring_close_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers);

/* IORING_SETUP_ flags for a set of features. */
unsigned torc__uring_setup_flags(unsigned features);

/*
 * What `options` and the environment (TORC_SQPOLL, TORC_NAPI, TORC_MIN_WAIT) ask of a ring, less
 * its size. 0 or -EINVAL.
 */
int torc__uring_read_options(const struct torc_options *options,
                             struct torc__driver_options *ret_options);

/* Why a feature that the kernel has is not used on this ring, if it is for the ring's sake. */
const char *torc__uring_why_unused(const struct torc__uring *uring, unsigned feature);

#endif

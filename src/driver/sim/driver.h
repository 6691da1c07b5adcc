/* SPDX-License-Identifier: MIT */
/*
 * driver.h - the simulated driver's state, shared by its files.
 *
 * An op is tried when it is submitted, in the order of submission, as the kernel does; and where a
 * model says that it would have to wait, again whenever that notifies. Its completions come some
 * time after what they tell of, in any order but that of one op's own.
 *
 *     IDLE --prepare--> QUEUED --turn--> ACTIVE --would block--> WAITING   for a file
 *      ^                                  | ^ |   ------------>  TIMED     for a time, then tried
 *      |                                  | +-------------------------+ notified, time is up
 *      +--- told, in a turn -- TELLING <--+        cancelled, by an event of its own
 */
#ifndef DRIVER_SIM_DRIVER_H
#define DRIVER_SIM_DRIVER_H

#include "base/compiler.h"
#include "base/kernel_abi.h"
#include "driver/driver.h"
#include "driver/sim/context.h"
#include "driver/sim/file.h"

struct torc__sim;

enum sim_op_state {
    SIM_OP_QUEUED,  /* to be submitted */
    SIM_OP_ACTIVE,  /* being tried just now */
    SIM_OP_WAITING, /* for what its file is ready for */
    SIM_OP_TIMED,   /* until its event happens, when it is tried */
    SIM_OP_TELLING, /* its last completion is on its way */
};

/* What the driver keeps of an op: a record of its own, since hosts may vanish with all ops. */
struct sim_op {
    struct sim_event event;  /* it is tried then */
    struct sim_event cancel; /* a cancel arrives then */
    struct sim_waiter waiter;
    struct torc__sim *sim;
    struct torc_op *op;
    struct sim_op *next; /* of all that are in flight, or of the free ones */
    struct sim_op **link;
    struct sim_op *next_queued;
    struct sim_file *file;      /* what it acts on, kept open; NULL: none, or not known yet */
    uint64_t posted_ns;         /* when its latest completion was made */
    uint64_t due_ns;            /* of a timeout */
    uint32_t wait_events;       /* what an attempt wants to wait for, of ... */
    struct sim_file *wait_file; /* ... this; NULL: `file` */
    uint32_t seen;              /* events that a poll was notified of */
    uint32_t done;              /* bytes moved so far, in several steps; or times of a timeout */
    uint8_t state;              /* sim_op_state */
    bool is_cancelled;
    bool is_retried;  /* this is not its first attempt */
    bool has_begun;   /* a connect is on its way; a file's time has passed */
    bool is_counting; /* a timeout that ends after so many completions, too */
};

/* A completion on its way, or arrived. */
struct sim_completion {
    struct sim_event event;
    struct torc__sim *sim;
    struct sim_op *op;
    struct sim_completion *next;      /* of those that have arrived, or of the free ones */
    struct sim_completion *next_made; /* of all, and ... */
    struct sim_completion **link;     /* ... what points here */
    int result;
    uint32_t flags;
};

/* A ring of buffers. */
struct sim_buffers {
    struct torc__buffer_ring *ring;
    uint16_t head;
};

#define SIM_BUFFER_RINGS_MAX 64u

struct torc__sim {
    struct torc__driver base;
    struct sim_world *world;
    struct sim_host *host;
    struct sim_context *context;
    struct torc__sim *next; /* of its host */
    struct torc__sim **link;
    struct sim_op *in_flight; /* newest first */
    struct sim_op *queued_first;
    struct sim_op **queued_last;
    struct sim_completion *made;
    struct sim_completion *arrived_first;
    struct sim_completion **arrived_last;
    struct sim_event wake;
    uint64_t arrives_ns; /* when the latest completion arrives */
    unsigned counting;   /* timeouts that also count completions */
    bool is_woken;
    struct sim_buffers buffers[SIM_BUFFER_RINGS_MAX]; /* by group */
};

/* What an attempt says that is no result: where its op goes next. */
enum sim_outcome {
    SIM_WAIT = -100000, /* for wait_events of wait_file, then again */
    SIM_LATER,          /* at due_ns, then again */
};

static inline bool torc__sim_is_result(int outcome)
{
    return outcome > SIM_LATER;
}

static inline struct torc__sim *torc__to_sim(struct torc__driver *driver)
{
    return container_of(driver, struct torc__sim, base);
}

static inline struct io_uring_sqe *torc__sim_sqe(const struct sim_op *op)
{
    return (struct io_uring_sqe *)(void *)op->op->_sqe;
}

/* ---- driver.c ---- */

/* The host of a driver vanishes, with all ops. */
void torc__sim_drop(struct torc__sim *sim);

/* ---- op.c: the life of ops ---- */

/* Make the record of an op, which is queued. */
void torc__sim_op_begin(struct torc__sim *sim, struct torc_op *op);

/* Submit what is queued. */
void torc__sim_op_submit(struct torc__sim *sim);

/* Another completion of an op that goes on. */
void torc__sim_op_tell(struct sim_op *op, int result, uint32_t flags);

/* Its last one, but for `flags`. */
void torc__sim_op_end(struct sim_op *op, int result, uint32_t flags);

/* End an op in its present wait. 0; -EALREADY: it can not be ended any more. */
int torc__sim_op_cancel(struct sim_op *op);

/* Have a cancel arrive soon. */
void torc__sim_op_cancel_soon(struct sim_op *op);

/* Try it anew, now or when it has waited: its description was changed. */
void torc__sim_op_again(struct sim_op *op);

/* A timeout shall be due at another time. */
void torc__sim_op_delay(struct sim_op *op, uint64_t due_ns);

/* The completions that have arrived: tell them. How many. */
int torc__sim_op_deliver(struct torc__sim *sim);

/* All of a driver whose host has vanished. */
void torc__sim_op_drop_all(struct torc__sim *sim);

/* Free the records that are kept for ops to come. */
void torc__sim_op_free_records(struct sim_world *world);

/* Have an attempt wait for its own file. */
static inline int torc__sim_op_wait(struct sim_op *op, uint32_t events)
{
    op->wait_file = op->file;
    op->wait_events = events;
    return SIM_WAIT;
}

/* ---- ops.c: what each opcode means ---- */

/* Do on a thread of the pool what torc__execute() does there, on the host of that thread. */
int torc__sim_execute(const struct io_uring_sqe *sqe);

typedef int torc__sim_attempt_fn(struct sim_op *op, struct io_uring_sqe *sqe);

/* What an opcode needs to be tried. */
struct sim_opcode {
    torc__sim_attempt_fn *attempt;
    bool has_file; /* sqe->fd: it is looked up, and kept */
    bool may_fail; /* chaos may refuse it with errors of resources */
};

/* NULL: there is no such opcode. */
const struct sim_opcode *torc__sim_opcode(unsigned opcode);

/* ---- The attempts ---- */

torc__sim_attempt_fn torc__sim_try_recv;
torc__sim_attempt_fn torc__sim_try_send;
torc__sim_attempt_fn torc__sim_try_recvmsg;
torc__sim_attempt_fn torc__sim_try_sendmsg;
torc__sim_attempt_fn torc__sim_try_accept;
torc__sim_attempt_fn torc__sim_try_connect;
torc__sim_attempt_fn torc__sim_try_read;
torc__sim_attempt_fn torc__sim_try_write;
torc__sim_attempt_fn torc__sim_try_splice;
torc__sim_attempt_fn torc__sim_try_poll;
torc__sim_attempt_fn torc__sim_try_poll_remove;
torc__sim_attempt_fn torc__sim_try_timeout;
torc__sim_attempt_fn torc__sim_try_timeout_remove;
torc__sim_attempt_fn torc__sim_try_cancel;

/* Timeouts that count completions: look whether that is enough. */
void torc__sim_count_timeouts(struct torc__sim *sim);

/* ---- buffers.c ---- */

/* The next buffer of a ring, for at most `limit` bytes. -ENOBUFS, or 0. */
int torc__sim_buffer_peek(struct torc__sim *sim, unsigned group, struct iovec *ret_memory);

/* `used` bytes of it were filled. The flags of the completion that tells so. */
uint32_t torc__sim_buffer_commit(struct torc__sim *sim, unsigned group, size_t used);

int torc__sim_open_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers,
                           unsigned entries);
void torc__sim_close_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers);

/* ---- control.c ---- */

int torc__sim_control(struct torc__driver *driver, struct torc__control *request);

/* ---- Chaos ---- */

/* How much of `size` bytes a transfer moves, where a file's bytes may come in pieces. */
size_t torc__sim_shorten(struct sim_op *op, size_t size);

#endif

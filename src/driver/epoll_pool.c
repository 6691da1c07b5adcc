/* SPDX-License-Identifier: MIT */
/*
 * epoll_pool.c - ops that block, on threads of the pool.
 *
 * A thread carries the op out by system calls, and lays it on a stack that the shard's thread takes
 * whole. The shard says that it sleeps, and then looks at the stack once more; a thread lays its op
 * down first, and then looks whether the shard sleeps: so one of them sees the other.
 */
#include "base/compiler.h"
#include "driver/epoll.h"
#include "driver/execute.h"
#include <errno.h>

static struct torc__epoll_note *of_job(struct torc__job *job)
{
    return container_of(job, struct torc__epoll_note, job);
}

/* ---- On a thread of the pool ---- */

static int carry_out(struct torc_op *op)
{
    switch (torc__epoll_sqe(op)->opcode) {
    case IORING_OP_READ:
    case IORING_OP_READV:
    case IORING_OP_WRITE:
    case IORING_OP_WRITEV:
        return torc__epoll_transfer_rest(op);
    default:
        return torc__execute(torc__epoll_sqe(op));
    }
}

static void add_finished(struct torc__epoll *epoll, struct torc__job *job)
{
    struct torc__job *last = atomic_load(&epoll->finished);

    do
        job->next = last;
    while (!atomic_compare_exchange_weak(&epoll->finished, &last, job));
    /* From here on the op may have been told, and be gone. */
    if (atomic_exchange(&epoll->sleeping, false))
        epoll->base.ops->wake(&epoll->base, NULL);
    atomic_fetch_sub(&epoll->working, 1);
}

static void run(struct torc__job *job)
{
    struct torc__epoll_note *note = of_job(job);
    struct torc__epoll *epoll = note->epoll;

    note->result = carry_out(torc__epoll_op(note));
    add_finished(epoll, job);
}

/* ---- On the shard's thread ---- */

/* Waiting for children takes as long as they live: no file has to wait for that. */
static enum torc__lane lane_of(const struct io_uring_sqe *sqe)
{
    return sqe->opcode == KERNEL_OP_WAITID ? LANE_CALLS : LANE_FILES;
}

int torc__epoll_to_pool(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    const enum torc__lane lane = lane_of(torc__epoll_sqe(torc__epoll_op(note)));
    int result;

    if (epoll->base.pool == NULL)
        return -EAGAIN; /* A driver that is only tried. */
    note->job = (struct torc__job){.run = run};
    note->epoll = epoll;
    torc__epoll_set_state(note, STATE_POOLED);
    torc__epoll_insert(&epoll->pooled, &note->link);
    atomic_fetch_add(&epoll->working, 1);
    result = torc__pool_submit(epoll->base.pool, lane, &note->job);
    if (result < 0) {
        atomic_fetch_sub(&epoll->working, 1);
        torc__epoll_unlink(&note->link);
        torc__epoll_set_state(note, STATE_ACTIVE);
    }
    return result;
}

bool torc__epoll_withdraw(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    if (!torc__pool_withdraw(epoll->base.pool, &note->job))
        return false;
    atomic_fetch_sub(&epoll->working, 1);
    torc__epoll_unlink(&note->link);
    return true;
}

/* A splice of a file whose pipe was not ready after all has to wait once more. */
static bool must_retry(const struct torc__epoll_note *note, const struct io_uring_sqe *sqe)
{
    return note->result == -EAGAIN && sqe->opcode == IORING_OP_SPLICE && note->begun;
}

/* A number that a thread has got for a file is new to us. */
static void note_descriptors(struct torc__epoll *epoll, const struct torc__epoll_note *note,
                             const struct io_uring_sqe *sqe)
{
    if (note->result >= 0 && (sqe->opcode == IORING_OP_OPENAT || sqe->opcode == IORING_OP_OPENAT2))
        torc__epoll_forget(epoll, note->result);
}

static void finish_job(struct torc__epoll *epoll, struct torc__epoll_note *note)
{
    struct torc_op *op = torc__epoll_op(note);
    const struct io_uring_sqe *sqe = torc__epoll_sqe(op);

    torc__epoll_unlink(&note->link);
    if (must_retry(note, sqe)) {
        torc__epoll_attempt(epoll, note);
        return;
    }
    note_descriptors(epoll, note, sqe);
    torc__epoll_set_state(note, STATE_ACTIVE);
    torc__epoll_tell(epoll, op, note->result);
}

void torc__epoll_collect(struct torc__epoll *epoll)
{
    struct torc__job *job = atomic_exchange(&epoll->finished, NULL);
    struct torc__job *oldest = NULL;

    while (job != NULL) {
        struct torc__job *next = job->next;

        job->next = oldest;
        oldest = job;
        job = next;
    }
    while (oldest != NULL) {
        struct torc__job *next = oldest->next;

        finish_job(epoll, of_job(oldest));
        oldest = next;
    }
}

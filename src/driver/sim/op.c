/* SPDX-License-Identifier: MIT */
/*
 * op.c - the life of ops in the simulated driver; the picture is in driver.h.
 */
#include "base/log.h"
#include "driver/sim/driver.h"
#include "driver/sim/plan.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A cancel that is late comes so many latencies later. */
#define LATE_FACTOR 20u

/* ---- Records ---- */

static struct sim_op *take_record(struct sim_world *world)
{
    struct sim_op *record = world->free_ops;

    if (record != NULL) {
        world->free_ops = record->next;
    } else {
        record = malloc(sizeof(*record));
        TORC_ASSERT(record != NULL); /* Nobody could be told. */
    }
    memset(record, 0, sizeof(*record));
    return record;
}

static void enlist(struct sim_op *op)
{
    struct torc__sim *sim = op->sim;

    op->next = sim->in_flight;
    op->link = &sim->in_flight;
    if (op->next != NULL)
        op->next->link = &op->next;
    sim->in_flight = op;
}

static void stop_waiting(struct sim_op *op)
{
    torc__sim_wait_end(&op->waiter);
    torc__sim_event_clear(op->sim->world, &op->event);
}

static void free_record(struct sim_op *op)
{
    struct sim_world *world = op->sim->world;

    *op->link = op->next;
    if (op->next != NULL)
        op->next->link = op->link;
    op->next = world->free_ops;
    world->free_ops = op;
}

void torc__sim_op_begin(struct torc__sim *sim, struct torc_op *op)
{
    struct sim_op *record = take_record(sim->world);

    record->sim = sim;
    record->op = op;
    record->state = SIM_OP_QUEUED;
    op->_note[0] = (uint64_t)(uintptr_t)record;
    enlist(record);
    *sim->queued_last = record;
    sim->queued_last = &record->next_queued;
    sim->base.stats.ops++;
    sim->world->ops++;
}

/* ---- Completions ---- */

static struct sim_completion *take_completion(struct torc__sim *sim)
{
    struct sim_world *world = sim->world;
    struct sim_completion *completion = world->free_completions;

    if (completion != NULL) {
        world->free_completions = completion->next;
    } else {
        completion = malloc(sizeof(*completion));
        TORC_ASSERT(completion != NULL);
    }
    *completion = (struct sim_completion){.sim = sim, .next_made = sim->made, .link = &sim->made};
    if (sim->made != NULL)
        sim->made->link = &completion->next_made;
    sim->made = completion;
    return completion;
}

static void free_completion(struct sim_completion *completion)
{
    struct sim_world *world = completion->sim->world;

    torc__sim_event_clear(world, &completion->event);
    *completion->link = completion->next_made;
    if (completion->next_made != NULL)
        completion->next_made->link = completion->link;
    completion->next = world->free_completions;
    world->free_completions = completion;
}

static void arrived(struct sim_event *event)
{
    struct sim_completion *completion = container_of(event, struct sim_completion, event);
    struct torc__sim *sim = completion->sim;

    *sim->arrived_last = completion;
    sim->arrived_last = &completion->next;
    torc__sim_wake(sim->context);
}

/* How long a completion is on its way; longer if the queue is full. */
static uint64_t latency(struct torc__sim *sim)
{
    struct sim_world *world = sim->world;
    const uint64_t usual_ns = torc__sim_duration(world, &world->chaos.op_latency);

    if (!torc__sim_fault(world, sim->host, "queue overflows", world->chaos.overflow_rate))
        return usual_ns;
    sim->base.stats.overflows++;
    return usual_ns + world->chaos.op_latency.max_ns;
}

/*
 * Put a completion into the queue, which keeps its order: programs rely on that, in counting what
 * of an incremental buffer is used for one. What varies is when ops are carried out. Several that
 * an op tells at once arrive together.
 */
static void post(struct sim_op *op, int result, uint32_t flags)
{
    struct torc__sim *sim = op->sim;
    struct sim_completion *completion = take_completion(sim);
    uint64_t arrives_ns = sim->world->now_ns;

    if (op->posted_ns != arrives_ns || op->state == SIM_OP_TELLING)
        arrives_ns += latency(sim);
    if (arrives_ns < sim->arrives_ns)
        arrives_ns = sim->arrives_ns;
    sim->arrives_ns = arrives_ns;
    op->posted_ns = sim->world->now_ns;
    completion->op = op;
    completion->result = result;
    completion->flags = flags;
    torc__sim_trace(sim->world, sim->host, flags & IORING_CQE_F_MORE ? "op goes on" : "op ends",
                    torc__sim_sqe(op)->opcode, result);
    torc__sim_event_set(sim->world, &completion->event, arrives_ns, arrived);
}

void torc__sim_op_tell(struct sim_op *op, int result, uint32_t flags)
{
    post(op, result, flags | IORING_CQE_F_MORE);
}

void torc__sim_op_end(struct sim_op *op, int result, uint32_t flags)
{
    struct torc__sim *sim = op->sim;

    TORC_ASSERT(op->state != SIM_OP_TELLING);
    stop_waiting(op);
    torc__sim_event_clear(sim->world, &op->cancel);
    torc__sim_file_release(op->file);
    op->file = NULL;
    sim->counting -= op->is_counting;
    op->state = SIM_OP_TELLING;
    post(op, result, flags);
}

int torc__sim_op_deliver(struct torc__sim *sim)
{
    struct sim_completion *completion = sim->arrived_first;
    int count = 0;

    /* What these bring about is for the next turn. */
    sim->arrived_first = NULL;
    sim->arrived_last = &sim->arrived_first;
    while (completion != NULL) {
        struct sim_completion *next = completion->next;
        struct torc_op *op = completion->op->op;
        const int result = completion->result;
        const uint32_t flags = completion->flags;
        const int more = (flags & IORING_CQE_F_MORE) != 0;

        if (!more) {
            free_record(completion->op);
            sim->base.stats.ops_ended++;
        }
        free_completion(completion);
        sim->base.stats.completions++;
        count++;
        op->_complete(op, result, flags, more); /* From here on it is somebody else's. */
        completion = next;
    }
    if (unlikely(sim->counting > 0))
        torc__sim_count_timeouts(sim);
    return count;
}

/* ---- Trying ---- */

static void attempt(struct sim_op *op);

static void try_again(struct sim_event *event)
{
    struct sim_op *op = container_of(event, struct sim_op, event);

    torc__sim_wait_end(&op->waiter);
    op->is_retried = true;
    attempt(op);
}

static void begin_late(struct sim_event *event)
{
    attempt(container_of(event, struct sim_op, event));
}

/* Something has happened to the file. Those who wait are tried in the order in which they came. */
static void noticed(struct sim_waiter *waiter, uint32_t events)
{
    struct sim_op *op = container_of(waiter, struct sim_op, waiter);
    struct sim_world *world = op->sim->world;
    uint64_t when_ns = world->now_ns + torc__sim_duration(world, &world->chaos.turn_latency);

    op->seen |= events;
    if (op->state == SIM_OP_TIMED)
        return; /* It will be looked at anyway. */
    if (when_ns < waiter->file->served_ns)
        when_ns = waiter->file->served_ns;
    waiter->file->served_ns = when_ns;
    torc__sim_event_clear(world, &op->event); /* A spurious one. */
    op->state = SIM_OP_TIMED;
    torc__sim_event_set(world, &op->event, when_ns, try_again);
}

/*
 * It waits; but it may also be woken for nothing. What has moved some of its bytes may find that it
 * could go on, or that this very attempt has ended the connection: nobody would tell it later.
 */
static void wait_for_file(struct sim_op *op)
{
    struct sim_world *world = op->sim->world;
    uint32_t ready;

    op->state = SIM_OP_WAITING;
    op->seen = 0;
    torc__sim_wait_begin(&op->waiter, op->wait_file, op->wait_events, noticed);
    ready = torc__sim_file_poll(op->wait_file) & (op->wait_events | POLLERR | POLLHUP);
    if (op->done > 0 && ready != 0)
        noticed(&op->waiter, ready);
    else if (torc__sim_chance(world, world->chaos.spurious_wake_rate))
        torc__sim_event_set(world, &op->event,
                            world->now_ns + torc__sim_duration(world, &world->chaos.op_latency),
                            try_again);
}

static int result_of_cancelled(const struct sim_op *op)
{
    const bool counts_bytes = torc__sim_sqe(op)->opcode != IORING_OP_TIMEOUT;

    return counts_bytes && op->done > 0 ? (int)op->done : -ECANCELED;
}

/*
 * The flags that tie an SQE to its neighbours, which are other fibers' ops; as the ring's driver
 * has it.
 */
static void check_ties(const struct io_uring_sqe *sqe)
{
    const unsigned ties = IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_IO_DRAIN;

    TORC_ASSERT(!(sqe->flags & ties));
}

/* An error that has nothing to do with what the op wants; the last one is of sockets only. */
static int mishap(struct sim_op *op)
{
    static const int errors[] = {-ENOMEM, -EINTR, -ENOBUFS};
    const bool is_socket = op->file != NULL && op->file->ops->recvmsg != NULL;
    struct sim_world *world = op->sim->world;

    if (!torc__sim_fault(world, op->sim->host, "op refused", world->chaos.op_error_rate))
        return 0;
    return errors[torc__sim_below(world, ARRAY_LENGTH(errors) - !is_socket)];
}

/* Look an op over, and take hold of its file. 0, or why it fails. */
static int admit(struct sim_op *op)
{
    struct io_uring_sqe *sqe = torc__sim_sqe(op);
    const struct sim_opcode *code = torc__sim_opcode(sqe->opcode);
    int result;

    if (code == NULL || !torc__driver_has(&op->sim->base, sqe->opcode))
        return -EINVAL;
    check_ties(sqe);
    if (sqe->flags & IOSQE_FIXED_FILE)
        return -EBADF; /* There are no registered files. */
    if (code->has_file) {
        struct sim_file *file = torc__sim_fd_file(op->sim->host, sqe->fd);

        if (file == NULL)
            return -EBADF;
        op->file = torc__sim_file_acquire(file);
    }
    result = torc__sim_plan_look(op->sim->host, sqe->opcode, sqe->fd);
    return result == 0 && code->may_fail ? mishap(op) : result;
}

static void attempt(struct sim_op *op)
{
    struct io_uring_sqe *sqe = torc__sim_sqe(op);
    int outcome;

    op->state = SIM_OP_ACTIVE;
    outcome = torc__sim_opcode(sqe->opcode)->attempt(op, sqe);
    if (op->state != SIM_OP_ACTIVE)
        return; /* It was ended by itself: a cancel of all. */
    if (torc__sim_is_result(outcome)) {
        torc__sim_op_end(op, outcome, 0);
    } else if (op->is_cancelled) {
        torc__sim_op_end(op, result_of_cancelled(op), 0);
    } else if (outcome == SIM_WAIT) {
        wait_for_file(op);
    } else {
        op->state = SIM_OP_TIMED;
        torc__sim_event_set(op->sim->world, &op->event, op->due_ns, try_again);
    }
}

/* The kernel may leave an op to another of its threads, which begins later. */
static void start(struct sim_op *op)
{
    struct sim_world *world = op->sim->world;
    const int result = admit(op);

    if (result < 0) {
        torc__sim_op_end(op, result, 0);
        return;
    }
    if (!torc__sim_fault(world, op->sim->host, "op is punted", world->chaos.late_start_rate)) {
        attempt(op);
        return;
    }
    op->state = SIM_OP_TIMED;
    torc__sim_event_set(world, &op->event,
                        world->now_ns + torc__sim_duration(world, &world->chaos.op_latency),
                        begin_late);
}

void torc__sim_op_submit(struct torc__sim *sim)
{
    struct sim_op *op = sim->queued_first;

    sim->queued_first = NULL;
    sim->queued_last = &sim->queued_first;
    while (op != NULL) {
        struct sim_op *next = op->next_queued;

        torc__sim_trace(sim->world, sim->host, "op", torc__sim_sqe(op)->opcode,
                        torc__sim_sqe(op)->fd);
        start(op);
        op = next;
    }
}

void torc__sim_op_again(struct sim_op *op)
{
    stop_waiting(op);
    attempt(op);
}

void torc__sim_op_delay(struct sim_op *op, uint64_t due_ns)
{
    op->due_ns = due_ns;
    torc__sim_event_clear(op->sim->world, &op->event);
    torc__sim_event_set(op->sim->world, &op->event, due_ns, try_again);
}

/* ---- Cancelling ---- */

int torc__sim_op_cancel(struct sim_op *op)
{
    switch ((enum sim_op_state)op->state) {
    case SIM_OP_TELLING:
        return -EALREADY;
    case SIM_OP_WAITING:
        break;
    case SIM_OP_TIMED:
        if (op->waiter.file == NULL && torc__sim_sqe(op)->opcode == IORING_OP_TIMEOUT)
            break;
        op->is_cancelled = true; /* What it is about to find beats the cancel. */
        return 0;
    case SIM_OP_QUEUED:
    case SIM_OP_ACTIVE:
        op->is_cancelled = true;
        return 0;
    }
    torc__sim_op_end(op, result_of_cancelled(op), 0);
    return 0;
}

static void cancel_arrives(struct sim_event *event)
{
    (void)torc__sim_op_cancel(container_of(event, struct sim_op, cancel));
}

void torc__sim_op_cancel_soon(struct sim_op *op)
{
    struct torc__sim *sim = op->sim;
    struct sim_world *world = sim->world;
    uint64_t delay_ns = torc__sim_duration(world, &world->chaos.op_latency);

    if (op->state == SIM_OP_TELLING || torc__sim_event_is_set(&op->cancel))
        return;
    torc__sim_trace(world, sim->host, "cancel", torc__sim_sqe(op)->opcode, torc__sim_sqe(op)->fd);
    if (torc__sim_fault(world, sim->host, "cancel is late", world->chaos.cancel_late_rate))
        delay_ns *= LATE_FACTOR;
    torc__sim_event_set(world, &op->cancel, world->now_ns + delay_ns, cancel_arrives);
}

void torc__sim_op_drop_all(struct torc__sim *sim)
{
    while (sim->made != NULL)
        free_completion(sim->made);
    while (sim->in_flight != NULL) {
        struct sim_op *op = sim->in_flight;

        stop_waiting(op);
        torc__sim_event_clear(sim->world, &op->cancel);
        torc__sim_file_release(op->file);
        free_record(op);
    }
}

void torc__sim_op_free_records(struct sim_world *world)
{
    while (world->free_ops != NULL) {
        struct sim_op *op = world->free_ops;

        world->free_ops = op->next;
        free(op);
    }
    while (world->free_completions != NULL) {
        struct sim_completion *completion = world->free_completions;

        world->free_completions = completion->next;
        free(completion);
    }
}

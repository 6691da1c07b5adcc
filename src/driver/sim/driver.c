/* SPDX-License-Identifier: MIT */
/*
 * driver.c - the simulated driver: a shard's loop in a world where its thread is a context.
 */
#include "driver/sim/driver.h"
#include "base/log.h"
#include <errno.h>
#include <string.h>
#include <torc/time.h>

/* What reading the clock takes: so that a loop which only looks at it comes to an end. */
#define CLOCK_NS 20u

/* What is the stacks' and not the driver's. */
#define NOT_OURS          ((unsigned)TORC_FEATURE_GUARD_REGIONS)
#define LAST_OPCODE_OF_56 IORING_OP_EPOLL_CTL

/* ---- The loop's turn ---- */

/* Sleep until something arrives, somebody wakes the shard, or it is late. */
static void sleep_until(struct torc__sim *sim, uint64_t until_ns)
{
    struct sim_world *world = sim->world;

    sim->base.stats.waits++;
    if (torc__sim_chance(world, world->chaos.spurious_wake_rate)) {
        const uint64_t early_ns =
            world->now_ns + torc__sim_duration(world, &world->chaos.op_latency);

        until_ns = early_ns < until_ns ? early_ns : until_ns;
    }
    torc__sim_wait(world, until_ns, true);
}

/* Every turn takes its time, in which others run: so no two shards ever go in step. */
static int sim_turn(struct torc__driver *driver, uint64_t wait_until_ns)
{
    struct torc__sim *sim = torc__to_sim(driver);
    struct sim_world *world = sim->world;
    int count;

    driver->stats.enters++;
    torc__sim_op_submit(sim);
    torc__sim_wait(world, world->now_ns + torc__sim_duration(world, &world->chaos.turn_latency),
                   false);
    if (sim->arrived_first == NULL && !sim->is_woken && wait_until_ns > world->now_ns)
        sleep_until(sim, wait_until_ns);
    sim->is_woken = false;
    count = torc__sim_op_deliver(sim);
    return count;
}

static struct io_uring_sqe *sim_prepare(struct torc__driver *driver, struct torc_op *op)
{
    struct io_uring_sqe *sqe = (struct io_uring_sqe *)(void *)op->_sqe;

    memset(sqe, 0, sizeof(*sqe));
    sqe->user_data = (uint64_t)(uintptr_t)op;
    torc__sim_op_begin(torc__to_sim(driver), op);
    return sqe;
}

static void sim_cancel(struct torc__driver *driver, struct torc_op *op)
{
    (void)driver;
    torc__sim_op_cancel_soon((struct sim_op *)(uintptr_t)op->_note[0]);
}

static void woken(struct sim_event *event)
{
    struct torc__sim *sim = container_of(event, struct torc__sim, wake);

    sim->is_woken = true;
    sim->base.stats.wakeups_received++;
    torc__sim_wake(sim->context);
}

static void sim_wake(struct torc__driver *driver, struct torc__driver *from)
{
    struct torc__sim *sim = torc__to_sim(driver);
    struct sim_world *world = sim->world;

    (void)from;
    if (!torc__sim_event_is_set(&sim->wake))
        torc__sim_event_set(world, &sim->wake,
                            world->now_ns + torc__sim_duration(world, &world->chaos.op_latency),
                            woken);
}

static uint64_t sim_now(struct torc__driver *driver)
{
    return torc__to_sim(driver)->world->now_ns += CLOCK_NS;
}

static int sim_control(struct torc__driver *driver, struct torc__control *request)
{
    torc__sim_goes_on(torc__to_sim(driver)->world);
    return torc__sim_control(driver, request);
}

/* ---- Life ---- */

static void note_opcodes(struct torc__driver *driver)
{
    const bool only_oldest = (driver->forbid & TORC_FEATURE_ALL) == TORC_FEATURE_ALL;

    for (unsigned opcode = 0; opcode < DRIVER_OPCODES; opcode++) {
        if (torc__sim_opcode(opcode) != NULL && (!only_oldest || opcode <= LAST_OPCODE_OF_56))
            driver->opcodes[opcode / 64] |= UINT64_C(1) << (opcode % 64);
    }
}

static unsigned features_without(unsigned forbid)
{
    unsigned features = TORC_FEATURE_ALL & ~(NOT_OURS | forbid);

    if (!(features & TORC_FEATURE_SINGLE_ISSUER))
        features &= ~(unsigned)TORC_FEATURE_DEFER_TASKRUN;
    if (!(features & TORC_FEATURE_BUFFER_RING))
        features &= ~(unsigned)TORC_FEATURE_BUFFER_INC;
    return features;
}

static int sim_init(struct torc__driver *driver, const struct torc__driver_options *options)
{
    struct torc__sim *sim = torc__to_sim(driver);
    struct sim_world *world = torc__sim_world;

    if (world == NULL)
        return -EINVAL;
    sim->world = world;
    sim->context = world->running;
    sim->host = world->running->host;
    sim->queued_last = &sim->queued_first;
    sim->arrived_last = &sim->arrived_first;
    sim->next = sim->host->drivers;
    sim->link = &sim->host->drivers;
    if (sim->next != NULL)
        sim->next->link = &sim->next;
    sim->host->drivers = sim;
    driver->entries = options->entries;
    driver->completion_entries = options->completion_entries;
    driver->features = features_without(options->forbid);
    note_opcodes(driver);
    return 0;
}

static void leave(struct torc__sim *sim)
{
    torc__sim_event_clear(sim->world, &sim->wake);
    *sim->link = sim->next;
    if (sim->next != NULL)
        sim->next->link = sim->link;
}

void torc__sim_drop(struct torc__sim *sim)
{
    torc__sim_op_drop_all(sim);
    leave(sim);
}

static void sim_finish(struct torc__driver *driver)
{
    TORC_ASSERT(torc__driver_in_flight(driver) == 0);
    leave(torc__to_sim(driver));
}

const struct torc__driver_ops torc__sim_ops = {
    .name = "sim",
    .size = sizeof(struct torc__sim),
    .init = sim_init,
    .finish = sim_finish,
    .prepare = sim_prepare,
    .cancel = sim_cancel,
    .turn = sim_turn,
    .wake = sim_wake,
    .control = sim_control,
    .now = sim_now,
    .open_buffers = torc__sim_open_buffers,
    .close_buffers = torc__sim_close_buffers,
};

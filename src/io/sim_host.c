/* SPDX-License-Identifier: MIT */
/*
 * sim_host.c - hosts of a simulation and the programs on them.
 */
#include "driver/sim/ambient.h"
#include "driver/sim/file.h"
#include "driver/sim/machine.h"
#include "driver/sim/net.h"
#include "driver/sim/plan.h"
#include "io/signal.h"
#include "io/sim.h"
#include "shard/runtime.h"
#include "shard/shard.h"
#include "sync/parked.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <torc/signal.h>

/* As many shards of a killed process are freed; more are left to the end of this process. */
#define ABANDONED_MAX 64u

/* Somebody waits for the end of a program. */
struct waiter {
    struct torc__parked parked;
    struct waiter *next;
    struct waiter **link;
    const struct sim_host *home; /* where he runs himself */
};

/* ---- Programs ---- */

static void forget(struct waiter *waiter)
{
    *waiter->link = waiter->next;
    if (waiter->next != NULL)
        waiter->next->link = waiter->link;
}

static void note_end(struct torc_sim_host *host, int result)
{
    host->runs = false;
    host->result = result;
    torc__sim_trace(host->machine->world, host->machine, "program has ended", result, 0);
    while (host->waiters != NULL) {
        struct waiter *waiter = host->waiters;

        forget(waiter);
        torc__parked_wake(&waiter->parked);
    }
}

static void *run_program(void *arg)
{
    struct torc_sim_host *host = arg;
    const int result = host->program(host->arg);

    torc__sim_fd_close_all(host->machine, false);
    note_end(host, result);
    return NULL;
}

static int begin(struct torc_sim_host *host)
{
    host->runs = true;
    if (torc__sim_context_start(host->machine, run_program, host, true) == NULL) {
        host->runs = false;
        return -ENOMEM;
    }
    return 0;
}

/* ---- Their sudden ends ---- */

/* The shards of a process, which its contexts stand in. */
static unsigned find_shards(const struct sim_host *machine, struct torc__shard **shards)
{
    unsigned count = 0;

    for (struct sim_context *context = machine->contexts; context != NULL;
         context = context->next) {
        if (context->local != NULL && count < ABANDONED_MAX)
            shards[count++] = context->local;
    }
    return count;
}

/* Those who waited here for others are gone. */
static void forget_waiters_of(const struct sim_host *machine)
{
    for (struct sim_host *other = machine->world->hosts; other != NULL; other = other->next) {
        struct torc_sim_host *host = other->owner;
        struct waiter *waiter = host != NULL ? host->waiters : NULL;

        while (waiter != NULL) {
            struct waiter *next = waiter->next;

            if (waiter->home == machine)
                forget(waiter);
            waiter = next;
        }
    }
}

static void drop(struct sim_host *machine, bool crashed)
{
    struct torc__shard *shards[ABANDONED_MAX];
    const unsigned count = find_shards(machine, shards);

    forget_waiters_of(machine);
    torc__signals_forget(machine);
    torc__sim_machine_kill(machine, crashed);
    for (unsigned i = 0; i < count; i++) {
        struct torc__runtime *runtime = shards[i]->runtime;
        bool is_last = true;

        for (unsigned j = i + 1; j < count; j++)
            is_last = is_last && shards[j]->runtime != runtime;
        torc__shard_abandon(shards[i]);
        if (is_last)
            torc__runtime_abandon(runtime);
    }
}

static void end_suddenly(struct torc_sim_host *host, bool crashed)
{
    const bool ran = host->runs;

    TORC_ASSERT(host->machine != torc__sim_here()->running->host); /* Nobody drops himself, */
    TORC_ASSERT(host->program != NULL);                            /* nor the scenario. */
    if (!ran && !(crashed && host->machine->is_up))
        return;
    drop(host->machine, crashed);
    if (ran)
        note_end(host, -EOWNERDEAD);
}

void torc_sim_host_signal(struct torc_sim_host *host, int number)
{
    torc__sim_trace(host->machine->world, host->machine, "signal", number, 0);
    TORC_ASSERT(number > 0 && number < TORC_SIGNAL_LIMIT);
    if (host->runs && torc__signals_raise(host->machine, number) == 0 && number != SIGCHLD)
        end_suddenly(host, false);
}

void torc_sim_host_kill(struct torc_sim_host *host)
{
    end_suddenly(host, false);
}

void torc_sim_host_crash(struct torc_sim_host *host)
{
    end_suddenly(host, true);
}

/* ---- Hosts ---- */

struct torc_sim_host *torc__sim_host_create(struct sim_host *machine)
{
    struct torc_sim_host *host = calloc(1, sizeof(*host));

    if (host != NULL)
        *host = (struct torc_sim_host){.machine = machine};
    machine->owner = host;
    return host;
}

void torc__sim_hosts_destroy(struct sim_world *world)
{
    for (struct sim_host *machine = world->hosts; machine != NULL; machine = machine->next) {
        drop(machine, false);
        free(machine->owner);
        machine->owner = NULL;
    }
}

int torc_sim_host_start(const char *name, const char *address, torc_sim_program *program, void *arg,
                        struct torc_sim_host **ret_host)
{
    struct sim_world *world = torc__sim_here();
    struct sim_host *machine;
    struct torc_sim_host *host;
    int result = torc__sim_machine_add(world, name, address, &machine);

    if (result < 0)
        return result;
    host = torc__sim_host_create(machine);
    if (host == NULL)
        return -ENOMEM;
    host->program = program;
    host->arg = arg;
    result = begin(host);
    if (result == 0)
        *ret_host = host;
    return result;
}

int torc_sim_host_restart(struct torc_sim_host *host)
{
    int result;

    if (host->runs)
        return -EBUSY;
    result = torc__sim_machine_boot(host->machine);
    return result < 0 ? result : begin(host);
}

static void interrupt_wait(struct torc_fiber *fiber, int reason)
{
    struct waiter *waiter = fiber->waits_for;

    forget(waiter);
    torc__wake(torc__shard, fiber, reason);
}

static const struct torc_wait_kind host_kind = {
    .interrupt = interrupt_wait,
    .name = "simulated host",
    .form = TORC_WAIT_OTHER,
    .object = TORC_WAIT_NONE,
    .base = TORC_WAIT_NONE,
    .owner = TORC_WAIT_NONE,
    .fd = TORC_WAIT_NONE,
    .count = TORC_WAIT_NONE,
};

int torc_sim_host_wait(struct torc_sim_host *host, int *ret_result)
{
    struct waiter waiter = {.next = host->waiters, .link = &host->waiters};
    const int reason = torc__caller_reason();
    int result;

    if (host->runs && reason != 0)
        return torc__refuse(torc__shard, reason);
    if (host->runs) {
        result = torc__parked_init(&waiter.parked);
        if (result < 0)
            return result;
        waiter.home = torc__sim_here()->running->host;
        if (waiter.next != NULL)
            waiter.next->link = &waiter.next;
        host->waiters = &waiter;
        /* The first field of a waiter is what interrupt_wait() gets. */
        result = torc__parked_wait(&waiter.parked, &host_kind);
        if (result < 0)
            return result;
    }
    *ret_result = host->result;
    return 0;
}

struct torc_sim_host *torc_sim_host_find(const char *name)
{
    const struct sim_host *machine = torc__sim_host_by_name(torc__sim_here(), name);

    return machine != NULL ? machine->owner : NULL;
}

struct torc_sim_host *torc_sim_host_self(void)
{
    return torc__sim_here()->running->host->owner;
}

const char *torc_sim_host_name(const struct torc_sim_host *host)
{
    return host->machine->name;
}

bool torc_sim_host_runs(const struct torc_sim_host *host)
{
    return host->runs;
}

unsigned torc_sim_host_files(const struct torc_sim_host *host)
{
    return host->machine->file_count;
}

unsigned torc_sim_files(void)
{
    unsigned count;
    bool entered;

    if (torc__sim_enter_if_outside(&entered) < 0)
        return 0;
    count = torc__sim_world->running->host->file_count;
    if (entered)
        torc__sim_leave();
    return count;
}

void torc_sim_host_shift_clock(struct torc_sim_host *host, int64_t by_ns)
{
    torc__sim_trace(host->machine->world, host->machine, "clock is set", by_ns, 0);
    host->machine->clock_skew_ns += by_ns;
}

/* ---- The network ---- */

void torc_sim_cut(struct torc_sim_host *from, struct torc_sim_host *to)
{
    torc__sim_trace(from->machine->world, from->machine, "cut from", to->machine->index, 0);
    torc__sim_net_cut(from->machine->world, from->machine, to->machine, true);
}

void torc_sim_partition(struct torc_sim_host *a, struct torc_sim_host *b)
{
    torc_sim_cut(a, b);
    torc_sim_cut(b, a);
}

void torc_sim_heal(struct torc_sim_host *a, struct torc_sim_host *b)
{
    struct sim_world *world = a->machine->world;

    torc__sim_trace(world, a->machine, "healed with", b->machine->index, 0);
    torc__sim_net_cut(world, a->machine, b->machine, false);
    torc__sim_net_cut(world, b->machine, a->machine, false);
}

void torc_sim_heal_all(void)
{
    struct sim_world *world = torc__sim_here();

    torc__sim_trace(world, NULL, "all healed", 0, 0);
    for (struct sim_host *a = world->hosts; a != NULL; a = a->next) {
        for (struct sim_host *b = world->hosts; b != NULL; b = b->next) {
            if (a != b)
                torc__sim_net_cut(world, a, b, false);
        }
    }
}

/* ---- Faults ---- */

int torc_sim_fail(struct torc_sim_host *host, const struct torc_sim_failure *failure)
{
    if (failure->error >= 0)
        return -EINVAL;
    return torc__sim_plan_add(host->machine, failure);
}

void torc_sim_fail_none(struct torc_sim_host *host)
{
    torc__sim_plan_clear(host->machine);
}

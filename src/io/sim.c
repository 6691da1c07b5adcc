/* SPDX-License-Identifier: MIT */
/*
 * sim.c - a simulation from its begin to its end, and what is said of one that has failed.
 */
#include "io/sim.h"
#include "base/clock.h"
#include "base/environment.h"
#include "driver/sim/ambient.h"
#include "driver/sim/machine.h"
#include "driver/sim/syscall.h"
#include "shard/diagnose.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <torc/error.h>
#include <unistd.h>

#define TIME_MAX_NS (3600 * NS_PER_SECOND)
#define EVENTS_MAX  UINT64_C(100000000)

/* What the control host does. */
struct control {
    torc_fiber_fn *scenario;
    void *arg;
    const struct torc_options *options;
    int result;
};

struct sim_world *torc__sim_here(void)
{
    TORC_ASSERT(torc__sim_world != NULL); /* Only in a simulation. */
    return torc__sim_world;
}

/* ---- What is said ---- */

/* The command line, with blanks between its words. */
static void read_command(char *text, size_t size)
{
    const int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, size - 1) : 0;

    if (fd >= 0)
        close(fd);
    length = length > 0 ? length : 0;
    text[length] = '\0';
    for (ssize_t i = 0; i + 1 < length; i++) {
        if (text[i] == '\0')
            text[i] = ' ';
    }
}

/* The settings of the environment that change what a run does, each with a blank before it. */
static void read_settings(const struct torc_sim_options *options, char *text, size_t size)
{
    static const char *const names[] = {"TORC_SIM_CHAOS", "TORC_FORBID", "TORC_CHECK"};
    size_t length = 0;

    text[0] = '\0';
    for (size_t i = options->chaos != NULL ? 1 : 0; i < ARRAY_LENGTH(names); i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && *value != '\0' && length < size)
            length += (size_t)snprintf(text + length, size - length, " %s=%s", names[i], value);
    }
}

/* Who is left, and what they wait for. */
static void tell_waits(const struct sim_world *world)
{
    for (const struct sim_host *host = world->hosts; host != NULL; host = host->next) {
        for (const struct sim_context *context = host->contexts; context != NULL;
             context = context->next) {
            torc__log("on host \"%s\" there is a thread%s", host->name,
                      context->local != NULL ? " with a shard:"
                      : context->key != NULL ? " that waits for another one, or in a system call"
                                             : "");
            if (context->local != NULL)
                torc__print_shard(context->local);
        }
    }
}

static void tell_failure(const struct sim_world *world, const struct torc_sim_options *options,
                         int result)
{
    const uint64_t time_ns = world->now_ns - SIM_EPOCH_NS;
    char settings[320];
    char command[256];

    torc__log("simulation with seed %" PRIu64 " failed: %s (after %" PRIu64 ".%09" PRIu64
              " s, %" PRIu64 " events, %" PRIu64 " faults)",
              world->seed,
              world->verdict != SIM_GOES_ON ? torc__sim_verdict_text(world->verdict)
                                            : torc_strerror(result),
              time_ns / NS_PER_SECOND, time_ns % NS_PER_SECOND, world->events_happened,
              world->faults);
    if (world->verdict != SIM_GOES_ON && world->verdict != SIM_FAILED)
        tell_waits(world);
    read_settings(options, settings, sizeof(settings));
    read_command(command, sizeof(command));
    torc__log("to repeat it: TORC_SIM_SEED=%" PRIu64 "%s TORC_SIM_TRACE=1 %s", world->seed,
              settings, command);
}

static void fill_report(const struct sim_world *world, struct torc_sim_report *report)
{
    *report = (struct torc_sim_report){
        .seed = world->seed,
        .hash = world->trace_hash,
        .time_ns = world->now_ns - SIM_EPOCH_NS,
        .events = world->events_happened,
        .ops = world->ops,
        .faults = world->faults,
        .hosts = world->host_count,
    };
}

/* ---- The run ---- */

static void *run_control(void *arg)
{
    struct control *control = arg;

    control->result = torc_run(control->scenario, control->arg, control->options);
    return NULL;
}

static int verdict_error(enum sim_verdict verdict)
{
    switch (verdict) {
    case SIM_GOES_ON:
        break;
    case SIM_STUCK:
        return -EDEADLK;
    case SIM_TOO_BUSY:
    case SIM_TOO_LATE:
        return -ETIME;
    case SIM_FAILED:
        return -EBADMSG;
    }
    return 0;
}

static int run_world(struct sim_world *world, struct control *control)
{
    struct sim_host *machine;
    struct torc_sim_host *host;
    struct sim_context *context;
    int result = torc__sim_machine_add(world, "control", NULL, &machine);

    if (result < 0)
        return result;
    host = torc__sim_host_create(machine);
    context = host != NULL ? torc__sim_context_start(machine, run_control, control, false) : NULL;
    if (context == NULL)
        return -ENOMEM;
    host->runs = true; /* To the end: nobody but it ends the simulation. */
    torc__sim_context_join(context);
    return world->verdict != SIM_GOES_ON ? verdict_error(world->verdict) : control->result;
}

static int make_world(uint64_t seed, const struct torc_sim_options *options,
                      struct sim_world **ret_world)
{
    struct torc_sim_chaos chaos;
    struct sim_world *world;
    int result = torc__sim_read_seed(seed, &seed);

    if (result == 0 && options->chaos == NULL)
        result = torc__sim_read_chaos(TORC_SIM_DEFAULT, &chaos);
    if (result < 0)
        return result;
    world = torc__sim_machines_create(seed, options->chaos != NULL ? options->chaos : &chaos);
    if (world == NULL)
        return -ENOMEM;
    world->trace = options->trace || torc__environment_number("TORC_SIM_TRACE", 0, 1) != 0;
    world->time_max_ns = options->time_max_ns != 0 ? options->time_max_ns : TIME_MAX_NS;
    world->events_max = options->events_max != 0 ? options->events_max : EVENTS_MAX;
    *ret_world = world;
    return 0;
}

int torc_sim_run(uint64_t seed, const struct torc_sim_options *options, torc_fiber_fn *scenario,
                 void *arg)
{
    static const struct torc_sim_options defaults;
    struct control control = {.scenario = scenario, .arg = arg};
    struct sim_world *world;
    int result;

    if (torc__shard != NULL || torc__sim_world != NULL)
        return -EBUSY;
    if (options == NULL)
        options = &defaults;
    control.options = options->control;
    result = make_world(seed, options, &world);
    if (result < 0)
        return result;
    torc__sim_world = world;
    torc__sim_bind_local(world, (void **)&torc__shard);
    result = run_world(world, &control);
    torc__shard = NULL;
    if (options->report != NULL)
        fill_report(world, options->report);
    if (result < 0 && !options->quiet)
        tell_failure(world, options, result);
    torc__sim_hosts_destroy(world);
    torc__sim_world = NULL;
    torc__sim_machines_destroy(world);
    return result;
}

void torc_sim_check_failed(const char *file, int line, const char *condition)
{
    struct sim_world *world = torc__sim_here();
    const struct sim_host *host = world->running->host;

    torc__log("%s:%d: on host \"%s\": not true: %s", file, line, host != NULL ? host->name : "none",
              condition);
    torc__sim_trace(world, host, "check failed", line, 0);
    torc__sim_give_up(world, SIM_FAILED);
}

/* ---- The world ---- */

bool torc_sim_is_on(void)
{
    return torc__sim_world != NULL;
}

uint64_t torc_sim_time(void)
{
    return torc__sim_here()->now_ns - SIM_EPOCH_NS;
}

uint64_t torc_sim_realtime(void)
{
    return torc__sim_host_realtime(torc__sim_here()->running->host);
}

uint64_t torc_sim_random(void)
{
    return torc__sim_random(torc__sim_here());
}

uint64_t torc_sim_random_below(uint64_t limit)
{
    return torc__sim_below(torc__sim_here(), limit);
}

void torc_sim_trace(const char *what, int64_t a, int64_t b)
{
    struct sim_world *world = torc__sim_here();

    torc__sim_trace(world, world->running->host, what, a, b);
}

void torc_sim_set_chaos(const struct torc_sim_chaos *chaos)
{
    torc__sim_here()->chaos = *chaos;
}

void torc_sim_get_chaos(struct torc_sim_chaos *ret_chaos)
{
    *ret_chaos = torc__sim_here()->chaos;
}

int torc__sim_enter_if_outside(bool *ret_entered)
{
    *ret_entered = torc__sim_world == NULL;
    return *ret_entered ? torc__sim_enter((void **)&torc__shard) : 0;
}

int64_t torc_sim_syscall(long number, ...)
{
    uintptr_t arguments[6];
    va_list list;
    bool entered;
    int64_t result = torc__sim_enter_if_outside(&entered);

    if (result < 0)
        return result;

    va_start(list, number);
    for (unsigned i = 0; i < ARRAY_LENGTH(arguments); i++)
        arguments[i] = va_arg(list, uintptr_t);
    va_end(list);
    result = torc__sim_syscall(torc__sim_world->running->host, number, arguments);
    torc__sim_wait(torc__sim_world, torc__sim_world->now_ns, false); /* Others are let in. */
    if (entered)
        torc__sim_leave();
    return result;
}

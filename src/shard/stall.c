/* SPDX-License-Identifier: MIT */
/*
 * stall.c - fibers that keep their shard: noticing, counting and telling.
 *
 * A shard that is awake and neither switches nor goes round is in a stall if that lasts longer than
 * the limit, for which its thread itself is to blame: by using the CPU, or by being blocked in the
 * kernel. Time for which others had the CPU, and it wanted it, does not count; so a thread on a
 * machine that is overloaded is left in peace. The loop itself may poll for as long as its policy
 * says.
 *
 * The rate of reports is kept by one number, the time at which they are paid for: each costs a
 * second, and who is more than REPORTS_AT_ONCE behind says nothing. Nor does the observer wait for
 * somebody to read what it says: shards that end wait for it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/probe.h"
#include "base/symbol.h"
#include "base/utf8.h"
#include "shard/observer.h"
#include "shard/shard.h"
#include <inttypes.h>
#include <stdio.h>
#include <torc/time.h>

#define REPORT_COST_NS  NS_PER_SECOND
#define REPORTS_AT_ONCE 3u
/* Clocks and interrupts that take time from a thread may hide so large a part of a stall. */
#define TOLERANCE 8u

/* What runs on a shard that is stalled. */
struct culprit {
    uint32_t id; /* 0: the loop */
    char name[STALL_NAME_MAX];
};

static LOOKS_AT_OTHERS void find_culprit(const struct torc__shard *shard, struct culprit *culprit)
{
    const struct torc_fiber *fiber = PEEK(shard->running);
    const struct torc__stack *stack;
    const char *name;

    *culprit = (struct culprit){.id = 0};
    if (fiber == &shard->loop || fiber == &shard->grave)
        return;
    culprit->id = PEEK(fiber->id);
    stack = PEEK(fiber->stack);
    name = stack != NULL ? PEEK(stack->name) : NULL;
    if (name != NULL)
        torc__observer_copy(culprit->name, (uintptr_t)name, sizeof(culprit->name) - 1);
    torc__utf8_drop_part(culprit->name, sizeof(culprit->name));
}

static LOOKS_AT_OTHERS bool runs_loop(const struct torc__shard *shard)
{
    return PEEK(shard->running) == &shard->loop;
}

static uint64_t limit_of(const struct torc__observed *observed)
{
    const uint64_t limit_ns = observed->observer->stall_ns;

    return runs_loop(observed->shard) ? limit_ns + observed->shard->poll.limit_ns : limit_ns;
}

static void note_length(struct torc__observed *observed, uint64_t lasted_ns)
{
    if (lasted_ns > atomic_load(&observed->stall_ns_max))
        atomic_store(&observed->stall_ns_max, lasted_ns);
}

/* ---- Telling ---- */

static bool may_report(struct torc__observer *observer, uint64_t now_ns)
{
    if (observer->report_credit_ns < now_ns)
        observer->report_credit_ns = now_ns;
    if (observer->report_credit_ns - now_ns >= REPORTS_AT_ONCE * REPORT_COST_NS ||
        torc__log_would_wait()) {
        observer->reports_left_out++;
        return false;
    }
    observer->report_credit_ns += REPORT_COST_NS;
    return true;
}

static void log_frames(void *const *frames, unsigned count, bool guessed)
{
    char text[256];

    for (unsigned i = 0; i < count && !torc__log_would_wait(); i++) {
        torc__symbol_describe(frames[i], i > 0, text, sizeof(text));
        torc__log("    #%u %p %s%s", i, frames[i], text, guessed && i > 0 ? " ?" : "");
    }
}

static void log_stack(struct torc__observed *observed, const struct torc__stall_where *where)
{
    void *frames[STALL_FRAMES_MAX];
    const bool ask = where->running || where->restarts;
    unsigned count = ask ? torc__stall_ask(observed, frames) : 0;

    if (torc__observed_beat(observed) != observed->beat) {
        torc__log("    it has gone on before its stack was taken");
        return;
    }
    if (count > 0) {
        log_frames(frames, count, false);
        return;
    }
    if (!where->running && where->stack != 0)
        count = torc__stall_guess(observed, where->pc, where->stack, frames);
    if (count > 0)
        log_frames(frames, count, true);
    else
        torc__log("    its stack is not to be had");
}

static void report(struct torc__observed *observed, const struct culprit *culprit,
                   const struct torc__stall_where *where, uint64_t lasted_ns)
{
    struct torc__observer *observer = observed->observer;
    const unsigned index = observed->shard->index;
    const uint64_t ms = lasted_ns / 1000000;

    if (observer->reports_left_out > 0)
        torc__log("stalls before this that were not told of: %" PRIu64, observer->reports_left_out);
    observer->reports_left_out = 0;
    if (culprit->id != 0)
        torc__log("fiber %u \"%s\" has kept shard %u for %" PRIu64 " ms: %s", culprit->id,
                  culprit->name, index, ms, where->text);
    else
        torc__log("the loop, or a callback on it, has kept shard %u for %" PRIu64 " ms: %s", index,
                  ms, where->text);
    if (!where->running)
        torc__stall_log_kernel(observed->tid);
    log_stack(observed, where);
}

/* ---- Noticing ---- */

/* The shard has moved on, or sleeps. */
static void end_stall(struct torc__observed *observed, uint64_t now_ns)
{
    const struct torc__trace_stall stall = {
        .time_ns = observed->since_ns,
        .lasted_ns = now_ns - observed->since_ns,
        .shard = (uint32_t)(observed - observed->observer->slots),
    };

    observed->told = false;
    note_length(observed, stall.lasted_ns);
    torc__trace_stall(observed->observer, &stall);
}

static void begin_anew(struct torc__observed *observed, uint64_t beat, uint64_t now_ns)
{
    if (observed->told)
        end_stall(observed, now_ns);
    observed->beat = beat;
    observed->since_ns = now_ns;
    observed->cpu_since_ns = torc__observed_cpu_ns(observed);
    observed->suspected_ns = 0;
}

static void tell(struct torc__observed *observed, const struct torc__stall_where *where,
                 uint64_t now_ns)
{
    const uint64_t lasted_ns = now_ns - observed->since_ns;
    struct culprit culprit;

    find_culprit(observed->shard, &culprit);
    observed->told = true;
    note_length(observed, lasted_ns);
    TORC_PROBE3(stall, observed->shard->index, culprit.id, lasted_ns);
    if (may_report(observed->observer, now_ns))
        report(observed, &culprit, where, lasted_ns);
    /* Last: who sees it counted knows that it has been told of. */
    atomic_fetch_add(&observed->stalls, 1);
}

/*
 * The shard has not moved since the last look; from now on its thread is looked at closely. Until
 * here it has kept the shard by the CPU time that it used, or, if it is blocked, always.
 */
static void suspect(struct torc__observed *observed, uint64_t now_ns)
{
    const uint64_t cpu_ns = torc__observed_cpu_ns(observed);
    struct torc__stall_where where;

    torc__stall_where(observed->tid, &where);
    observed->kept_ns =
        where.running ? cpu_ns - observed->cpu_since_ns : now_ns - observed->since_ns;
    observed->suspected_ns = now_ns;
    observed->cpu_since_ns = cpu_ns;
    observed->queued_since_ns = torc__stall_queued_ns(observed->tid);
}

/*
 * For how long its own thread has kept the shard. The kernel counts the time in its run queue when
 * that ends; so of a thread that runs, or would, the CPU time is looked at, and of one that is
 * blocked all that is left of the time.
 */
static uint64_t kept_ns(const struct torc__observed *observed,
                        const struct torc__stall_where *where, uint64_t now_ns)
{
    const uint64_t lasted_ns = now_ns - observed->suspected_ns;
    uint64_t queued_ns;

    if (where->running)
        return observed->kept_ns + torc__observed_cpu_ns(observed) - observed->cpu_since_ns;
    queued_ns = torc__stall_queued_ns(observed->tid) - observed->queued_since_ns;
    return observed->kept_ns + (queued_ns < lasted_ns ? lasted_ns - queued_ns : 0);
}

void torc__stall_look(struct torc__observed *observed, uint64_t now_ns)
{
    const uint64_t beat = torc__observed_beat(observed);
    const uint64_t limit_ns = limit_of(observed);
    struct torc__stall_where where;

    if (!torc__observed_is_awake(observed)) {
        if (observed->told)
            end_stall(observed, now_ns);
        observed->since_ns = 0;
        return;
    }
    if (observed->since_ns == 0 || beat != observed->beat) {
        begin_anew(observed, beat, now_ns);
        return;
    }
    if (observed->told)
        note_length(observed, now_ns - observed->since_ns);
    else if (observed->suspected_ns == 0)
        suspect(observed, now_ns);
    if (observed->told || now_ns - observed->since_ns < limit_ns)
        return;
    torc__stall_where(observed->tid, &where);
    if (kept_ns(observed, &where, now_ns) < limit_ns - limit_ns / TOLERANCE)
        return; /* It would go on if it were let. */
    if (torc__observed_beat(observed) == beat)
        tell(observed, &where, now_ns);
}

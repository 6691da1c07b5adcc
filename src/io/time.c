/* SPDX-License-Identifier: MIT */
/*
 * time.c - the clock, sleeping, intervals.
 */
#include "base/clock.h"
#include "shard/shard.h"
#include <errno.h>
#include <limits.h>

uint64_t torc_now(void)
{
    struct torc__shard *shard = torc__shard;

    return shard != NULL ? shard->driver->ops->now(shard->driver) : torc__clock_now();
}

uint64_t torc_round_time(void)
{
    TORC_ASSERT(torc__shard != NULL);
    return torc__shard->round_time_ns;
}

uint64_t torc_deadline(uint64_t duration_ns)
{
    return torc__time_add(torc_now(), duration_ns);
}

static void time_has_come(struct torc_timer *timer)
{
    struct torc_fiber *fiber = container_of(timer, struct torc_fiber, timer);

    /* Stacks of many sleepers are out of the TLB: those of a round are looked up all at once. */
    __builtin_prefetch(fiber->sp);
    torc__wake(torc__shard, fiber, 0);
}

static void interrupt_sleep(struct torc_fiber *fiber, int reason)
{
    torc__timer_stop(&torc__shard->timers, &fiber->timer);
    torc__wake(torc__shard, fiber, reason);
}

static const struct torc_wait_kind sleeping = {
    .interrupt = interrupt_sleep,
    .name = "sleep",
    .form = TORC_WAIT_TIMER,
};

int torc_sleep_until(uint64_t deadline_ns)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    int reason = torc__reason(shard);

    if (reason != 0)
        return torc__refuse(shard, reason);
    if (deadline_ns <= shard->round_time_ns)
        return torc_yield();
    torc__timer_start(&shard->timers, &shard->running->timer, deadline_ns, time_has_come);
    return torc__wait(shard, &sleeping, NULL);
}

int torc_sleep(uint64_t duration_ns)
{
    return duration_ns == 0 ? torc_yield() : torc_sleep_until(torc_deadline(duration_ns));
}

int torc_interval_init(struct torc_interval *interval, uint64_t first_ns, uint64_t period_ns,
                       enum torc_missed missed)
{
    if (period_ns == 0 || missed > TORC_MISSED_SKIP)
        return -EINVAL;
    *interval =
        (struct torc_interval){.next_ns = first_ns, .period_ns = period_ns, .missed = missed};
    return 0;
}

int torc_interval_wait(struct torc_interval *interval)
{
    uint64_t now;
    uint64_t missed;
    int result = torc_sleep_until(interval->next_ns);

    if (result < 0)
        return result;
    now = torc_now();
    missed = now > interval->next_ns ? (now - interval->next_ns) / interval->period_ns : 0;
    if (missed == 0 || interval->missed == TORC_MISSED_BURST) {
        interval->next_ns = torc__time_add(interval->next_ns, interval->period_ns);
        return 0;
    }
    if (interval->missed == TORC_MISSED_DELAY)
        interval->next_ns = torc__time_add(now, interval->period_ns);
    else
        interval->next_ns += (missed + 1) * interval->period_ns;
    return missed < INT_MAX ? (int)missed : INT_MAX;
}

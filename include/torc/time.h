/* SPDX-License-Identifier: MIT */
/*
 * torc/time.h - the clock, sleeping, intervals.
 *
 * Times are nanoseconds of CLOCK_MONOTONIC in a uint64_t. A deadline is such a time; TORC_FOREVER
 * is the deadline that never comes. Timers never fire early. They fire late by at most about 20 us
 * of torc's own making (plus what the kernel takes to wake the shard); only where timers are so
 * dense that a wake-up serves several do they wait for company, see torc_options.timer_slack_ns.
 */
#ifndef TORC_TIME_H
#define TORC_TIME_H

#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

#define TORC_FOREVER     UINT64_MAX
#define TORC_MICROSECOND UINT64_C(1000)
#define TORC_MILLISECOND UINT64_C(1000000)
#define TORC_SECOND      UINT64_C(1000000000)

/* A place in a ring of timers. */
struct torc_timer_link {
    struct torc_timer_link *_next;
    struct torc_timer_link *_previous; /* NULL while the timer is stopped. */
};

/* A pending point in time. Embedded in what has a deadline; all fields are private. */
struct torc_timer {
    struct torc_timer_link _link;
    uint64_t _deadline_ns;
    void (*_fire)(struct torc_timer *timer);
};

/* The time now, read from the shard's clock; from CLOCK_MONOTONIC in a thread that is no shard. */
TORC_API uint64_t torc_now(void);

/*
 * The time at which this round of the shard began, at no cost: at most a round old, which is 50 us
 * unless a fiber has kept the shard for longer.
 */
TORC_API uint64_t torc_round_time(void);

/* The deadline `duration_ns` from torc_now(); saturates at TORC_FOREVER. Any thread. */
TORC_API uint64_t torc_deadline(uint64_t duration_ns);

/* Wait for `duration_ns`. Suspends, also when it is 0. Returns 0, or the scope's reason. */
TORC_API int torc_sleep(uint64_t duration_ns);

/* Wait until `deadline_ns`. Suspends, also when it has passed. Returns 0, or the scope's reason. */
TORC_API int torc_sleep_until(uint64_t deadline_ns);

/* What an interval does with ticks that are due when the next one is due as well. */
enum torc_missed {
    TORC_MISSED_BURST, /* deliver every tick, the late ones at once */
    TORC_MISSED_DELAY, /* deliver one, and count the period from now on */
    TORC_MISSED_SKIP,  /* deliver one, and go on with the next tick of the old rhythm */
};

/* A rhythm. Plain data: copy it, or change the fields between two waits. */
struct torc_interval {
    uint64_t next_ns;   /* when the next tick is due */
    uint64_t period_ns; /* > 0 */
    enum torc_missed missed;
};

/*
 * Prepare ticks at `first_ns`, first_ns + period_ns and so on. A first_ns that has passed gives a
 * tick at once.
 *
 * -EINVAL     period_ns is 0, or `missed` is none of the three.
 */
TORC_CHECK int torc_interval_init(struct torc_interval *interval, uint64_t first_ns,
                                  uint64_t period_ns, enum torc_missed missed);

/*
 * Wait for the next tick. Suspends. Returns the number of ticks that were missed before it (0 when
 * on time, always 0 for BURST; at most INT_MAX), or the scope's reason, in which case no tick is
 * used up.
 */
TORC_API int torc_interval_wait(struct torc_interval *interval);

TORC_END_C
#endif

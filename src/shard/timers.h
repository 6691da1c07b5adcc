/* SPDX-License-Identifier: MIT */
/*
 * timers.h - a hierarchical timing wheel: start and stop in O(1), however many there are.
 *
 * Six levels of 256 slots. A tick is 16.4 us; a slot of level n spans 256^n ticks, so the levels
 * reach 4.2 ms, 1.07 s, 4.6 minutes, 19.5 hours, 208 days and 146 years. A timer stands on the
 * level of the highest digit in which its tick differs from the wheel's own, and moves down when
 * the wheel arrives there.
 *
 * Each slot also knows a lower bound of its timers' deadlines. So a wait need not end just to move
 * timers down, and timers are late by less than a tick, not by the span of a level.
 */
#ifndef SHARD_TIMERS_H
#define SHARD_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/time.h>

#define TIMER_TICK_BITS 14
#define TIMER_SLOT_BITS 8
#define TIMER_SLOTS     (1u << TIMER_SLOT_BITS)
#define TIMER_LEVELS    6
#define TIMER_MAP_WORDS (TIMER_SLOTS / 64)

/* Meaningful while it is occupied. */
struct torc__wheel_slot {
    struct torc_timer_link timers; /* in the order in which they were put there */
    uint64_t earliest_ns;
    uint64_t latest_ns; /* not before any; TORC_FOREVER once that order is not the deadlines' */
};

struct torc__wheel_level {
    uint64_t occupied[TIMER_MAP_WORDS];
    struct torc__wheel_slot slots[TIMER_SLOTS];
};

struct torc__timers {
    uint64_t tick;                 /* the wheel's own time: all earlier ticks have been served */
    struct torc_timer_link due;    /* of one slot: the rest of what a service had to leave */
    struct torc_timer_link moving; /* of one slot, to lower levels: the rest; and who came since */
    uint64_t count;
    uint64_t fired;
    struct torc__wheel_level levels[TIMER_LEVELS];
};

void torc__timers_init(struct torc__timers *timers, uint64_t now_ns);

/* Start a stopped timer; torc__timers_serve() calls `fire` once `deadline_ns` has come. */
void torc__timer_start(struct torc__timers *timers, struct torc_timer *timer, uint64_t deadline_ns,
                       void (*fire)(struct torc_timer *timer));

/* Stop a timer; nothing if it is stopped already, as it is when it has fired. */
void torc__timer_stop(struct torc__timers *timers, struct torc_timer *timer);

static inline bool torc__timer_is_running(const struct torc_timer *timer)
{
    return timer->_link._previous != NULL;
}

/* Make a timer of what is not yet one. It is stopped. */
static inline void torc__timer_init(struct torc_timer *timer)
{
    timer->_link._previous = NULL;
}

/*
 * Fire what is due at `now_ns`, in the order of the deadlines but `max` at most, each timer stopped
 * before its function is called. Returns how many have fired. What is due may be left for the next
 * service also where so many timers have to go to lower levels that it would take long.
 */
unsigned torc__timers_serve(struct torc__timers *timers, uint64_t now_ns, unsigned max);

/* Whether the last service had to leave some that go to lower levels. */
static inline bool torc__timers_are_moving(const struct torc__timers *timers)
{
    return timers->moving._next != &timers->moving;
}

/*
 * When to serve next: never later than the earliest deadline (rounded up to a tick); not after the
 * last service if that had to leave something, TORC_FOREVER without timers.
 */
uint64_t torc__timers_next(const struct torc__timers *timers);

/*
 * When to serve next if timers may be late for each other's sake: with the last of those whose
 * deadlines are within `slack_ns` of the first one's. Where the lowest level ends it may be later,
 * but not by more than the slack; nobody is waited for if the first itself is on a higher one,
 * or has been due at `now_ns`.
 */
uint64_t torc__timers_next_of_company(const struct torc__timers *timers, uint64_t now_ns,
                                      uint64_t slack_ns);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * timers.c - a hierarchical timing wheel.
 */
#include "shard/timers.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include <string.h>

#define TICK_NS   (UINT64_C(1) << TIMER_TICK_BITS)
#define SLOT_MASK (TIMER_SLOTS - 1)
/* The last tick that the levels can tell apart from the first; later deadlines wait there. */
#define TICK_SPAN ((UINT64_C(1) << (TIMER_SLOT_BITS * TIMER_LEVELS)) - 1)

/* The first tick at which the deadline has passed. */
static uint64_t tick_of(uint64_t deadline_ns)
{
    return (deadline_ns >> TIMER_TICK_BITS) + ((deadline_ns & (TICK_NS - 1)) != 0);
}

static unsigned slot_of(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (level * TIMER_SLOT_BITS)) & SLOT_MASK;
}

/* The level of the highest digit in which two ticks differ. */
static unsigned level_of(uint64_t difference)
{
    return difference == 0 ? 0 : (63u - (unsigned)__builtin_clzll(difference)) / TIMER_SLOT_BITS;
}

static void place(struct torc__timers *timers, struct torc_timer *timer)
{
    uint64_t tick = tick_of(timer->_deadline_ns);
    uint64_t difference;
    struct torc__wheel_level *level;
    unsigned slot;

    if (tick < timers->tick)
        tick = timers->tick; /* Overdue: the next service. */
    difference = tick ^ timers->tick;
    if (unlikely(difference > TICK_SPAN)) {
        tick = timers->tick | TICK_SPAN;
        difference = tick ^ timers->tick;
    }
    level = &timers->levels[level_of(difference)];
    slot = slot_of(tick, level_of(difference));
    if (level->slots[slot] == NULL) {
        level->occupied[slot / 64] |= UINT64_C(1) << (slot % 64);
        level->earliest_ns[slot] = timer->_deadline_ns;
    } else {
        level->slots[slot]->_link = &timer->_next;
        if (timer->_deadline_ns < level->earliest_ns[slot])
            level->earliest_ns[slot] = timer->_deadline_ns;
    }
    timer->_next = level->slots[slot];
    timer->_link = &level->slots[slot];
    level->slots[slot] = timer;
}

void torc__timers_init(struct torc__timers *timers, uint64_t now_ns)
{
    memset(timers, 0, sizeof(*timers));
    timers->tick = now_ns >> TIMER_TICK_BITS;
}

void torc__timer_start(struct torc__timers *timers, struct torc_timer *timer, uint64_t deadline_ns,
                       void (*fire)(struct torc_timer *timer))
{
    timer->_deadline_ns = deadline_ns;
    timer->_fire = fire;
    place(timers, timer);
    timers->count++;
}

/* If `link` is the head of a slot, that slot has become empty. */
static void clear_if_slot(struct torc__timers *timers, struct torc_timer **link)
{
    char *at = (char *)link;
    char *base = (char *)timers->levels;
    size_t offset;
    struct torc__wheel_level *level;
    unsigned slot;

    if (at < base || at >= base + sizeof(timers->levels))
        return;
    offset = (size_t)(at - base);
    level = &timers->levels[offset / sizeof(*level)];
    slot = (unsigned)(link - level->slots);
    level->occupied[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

void torc__timer_stop(struct torc__timers *timers, struct torc_timer *timer)
{
    if (timer->_link == NULL)
        return;
    *timer->_link = timer->_next;
    if (timer->_next != NULL)
        timer->_next->_link = timer->_link;
    else
        clear_if_slot(timers, timer->_link);
    timer->_link = NULL;
    timers->count--;
}

/* The first occupied slot of a level from `from` on; TIMER_SLOTS if there is none. */
static unsigned next_occupied(const struct torc__wheel_level *level, unsigned from)
{
    unsigned word = from / 64;
    uint64_t bits;

    if (from >= TIMER_SLOTS)
        return TIMER_SLOTS;
    bits = level->occupied[word] & (~UINT64_C(0) << (from % 64));
    while (bits == 0) {
        if (++word == TIMER_MAP_WORDS)
            return TIMER_SLOTS;
        bits = level->occupied[word];
    }
    return word * 64 + (unsigned)__builtin_ctzll(bits);
}

/*
 * Not after the deadline of any timer of a level from `from` on. Slots of a level are in order, but
 * those of a lower level need not all be earlier: the bound of a higher slot may be before what
 * remains of the present lower round.
 */
static uint64_t earliest(const struct torc__timers *timers, unsigned from)
{
    uint64_t earliest_ns = TORC_FOREVER;

    for (unsigned i = from; i < TIMER_LEVELS; i++) {
        const struct torc__wheel_level *level = &timers->levels[i];
        unsigned slot = next_occupied(level, 0);

        if (slot < TIMER_SLOTS && level->earliest_ns[slot] < earliest_ns)
            earliest_ns = level->earliest_ns[slot];
    }
    return earliest_ns;
}

uint64_t torc__timers_next(const struct torc__timers *timers)
{
    uint64_t next_ns;

    if (timers->due != NULL)
        return 0;
    if (timers->count == 0)
        return TORC_FOREVER;
    next_ns = earliest(timers, 0);
    return next_ns > TORC_FOREVER - TICK_NS ? next_ns : tick_of(next_ns) << TIMER_TICK_BITS;
}

/* The last occupied slot of a level up to `to`; TIMER_SLOTS if there is none. */
static unsigned last_occupied(const struct torc__wheel_level *level, unsigned to)
{
    unsigned word = to / 64;
    uint64_t bits = level->occupied[word] & (~UINT64_C(0) >> (63 - to % 64));

    while (bits == 0) {
        if (word-- == 0)
            return TIMER_SLOTS;
        bits = level->occupied[word];
    }
    return word * 64 + 63 - (unsigned)__builtin_clzll(bits);
}

uint64_t torc__timers_next_of_company(const struct torc__timers *timers, uint64_t slack_ns)
{
    const uint64_t next_ns = torc__timers_next(timers);
    const uint64_t until_ns = torc__time_add(next_ns, slack_ns);
    const uint64_t round = timers->tick >> TIMER_SLOT_BITS << TIMER_SLOT_BITS;
    const uint64_t round_end = round | SLOT_MASK; /* Later ones are on higher levels. */
    uint64_t last_tick = until_ns >> TIMER_TICK_BITS;
    unsigned slot;

    if (last_tick < round || next_ns >> TIMER_TICK_BITS > round_end)
        return next_ns;
    if (last_tick > round_end) {
        if (earliest(timers, 1) <= until_ns)
            return last_tick << TIMER_TICK_BITS; /* Those levels do not tell them apart. */
        last_tick = round_end;
    }
    slot = last_occupied(&timers->levels[0], slot_of(last_tick, 0));
    if (slot == TIMER_SLOTS || (round | slot) << TIMER_TICK_BITS < next_ns)
        return next_ns;
    return (round | slot) << TIMER_TICK_BITS;
}

/* Empty a slot and return its chain, in the order in which the timers were put there. */
static struct torc_timer *take_slot(struct torc__wheel_level *level, unsigned slot)
{
    struct torc_timer *chain = level->slots[slot];
    struct torc_timer *reversed = NULL;

    level->slots[slot] = NULL;
    level->occupied[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    while (chain != NULL) {
        struct torc_timer *timer = chain;

        chain = timer->_next;
        timer->_next = reversed;
        reversed = timer;
    }
    return reversed;
}

static struct torc_timer *merge(struct torc_timer *a, struct torc_timer *b)
{
    struct torc_timer *merged = NULL;
    struct torc_timer **last = &merged;

    while (a != NULL && b != NULL) {
        struct torc_timer **earlier = b->_deadline_ns < a->_deadline_ns ? &b : &a;

        *last = *earlier;
        last = &(*last)->_next;
        *earlier = *last;
    }
    *last = a != NULL ? a : b;
    return merged;
}

/* Merge sort by deadline; bin i holds a sorted list of 2^i timers. Stable. */
static struct torc_timer *sort_by_deadline(struct torc_timer *chain)
{
    struct torc_timer *bins[32] = {NULL};
    struct torc_timer *sorted = NULL;
    unsigned highest = 0;

    if (chain->_next == NULL)
        return chain;
    while (chain != NULL) {
        struct torc_timer *list = chain;
        unsigned i = 0;

        chain = chain->_next;
        list->_next = NULL;
        for (; bins[i] != NULL; i++) {
            list = merge(bins[i], list);
            bins[i] = NULL;
        }
        bins[i] = list;
        highest = i > highest ? i : highest;
    }
    for (unsigned i = 0; i <= highest; i++)
        sorted = merge(bins[i], sorted);
    return sorted;
}

/*
 * The next occupied slot that the wheel comes to on its way to tick `end`: on the lowest level that
 * has one, since all of a level are before all of the next. Returns the level, or TIMER_LEVELS.
 */
static unsigned next_slot(const struct torc__timers *timers, uint64_t end, unsigned *ret_slot,
                          uint64_t *ret_tick)
{
    for (unsigned i = 0; i < TIMER_LEVELS; i++) {
        const unsigned shift = i * TIMER_SLOT_BITS;
        unsigned slot = next_occupied(&timers->levels[i], 0);
        uint64_t round = timers->tick >> shift >> TIMER_SLOT_BITS << TIMER_SLOT_BITS;
        uint64_t tick = (round | slot) << shift;

        if (slot == TIMER_SLOTS)
            continue;
        *ret_slot = slot;
        *ret_tick = tick;
        return tick <= end ? i : TIMER_LEVELS;
    }
    return TIMER_LEVELS;
}

static void place_all(struct torc__timers *timers, struct torc_timer *chain)
{
    while (chain != NULL) {
        struct torc_timer *timer = chain;

        chain = timer->_next;
        place(timers, timer);
    }
}

/*
 * Make a sorted chain the due list, but for those at its end whose time has not come: they are
 * later than all levels reach, and wait in the last slot there is. Returns these.
 */
static struct torc_timer *make_due(struct torc__timers *timers, struct torc_timer *chain,
                                   uint64_t now_ns)
{
    struct torc_timer **link = &timers->due;
    struct torc_timer *rest;

    *link = chain;
    while (*link != NULL && (*link)->_deadline_ns <= now_ns) {
        (*link)->_link = link; /* From here on each can be stopped, by the functions of others. */
        link = &(*link)->_next;
    }
    rest = *link;
    *link = NULL;
    return rest;
}

/*
 * Make the next slot that has come the due list; slots of higher levels are spread on the way.
 * False if none has come by tick `end`.
 */
static bool collect(struct torc__timers *timers, uint64_t end, uint64_t now_ns)
{
    unsigned level;
    unsigned slot;
    uint64_t tick;

    while ((level = next_slot(timers, end, &slot, &tick)) < TIMER_LEVELS) {
        struct torc_timer *chain = take_slot(&timers->levels[level], slot);
        struct torc_timer *rest;

        timers->tick = tick;
        if (level > 0) {
            place_all(timers, chain);
            continue;
        }
        rest = make_due(timers, sort_by_deadline(chain), now_ns);
        if (rest != NULL) {
            timers->tick = tick + 1; /* Or they would be found here again, and again. */
            place_all(timers, rest);
        }
        if (timers->due != NULL)
            return true;
    }
    if (timers->tick < end)
        timers->tick = end;
    return false;
}

unsigned torc__timers_serve(struct torc__timers *timers, uint64_t now_ns, unsigned max)
{
    uint64_t end = now_ns >> TIMER_TICK_BITS;
    unsigned fired = 0;

    if (end < timers->tick)
        end = timers->tick; /* A clock that went back; the wheel does not. */
    if (timers->count == 0)
        timers->tick = end;
    if (max > timers->count)
        max = (unsigned)timers->count; /* What is started meanwhile, even overdue, comes later. */
    while (fired < max && (timers->due != NULL || collect(timers, end, now_ns))) {
        struct torc_timer *timer = timers->due;

        torc__timer_stop(timers, timer);
        fired++;
        timer->_fire(timer);
    }
    timers->fired += fired;
    return fired;
}

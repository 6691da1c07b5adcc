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
/*
 * A service moves so many timers to lower levels at most: each is likely to be out of the cache, so
 * that all of a second's may be 25 ms of work.
 */
#define MOVES_MAX 512u

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

/* ---- Rings of timers ---- */

static struct torc_timer *timer_of(struct torc_timer_link *link)
{
    return container_of(link, struct torc_timer, _link);
}

static void ring_init(struct torc_timer_link *ring)
{
    *ring = (struct torc_timer_link){._next = ring, ._previous = ring};
}

static bool ring_is_empty(const struct torc_timer_link *ring)
{
    return ring->_next == ring;
}

static void append(struct torc_timer_link *ring, struct torc_timer_link *link)
{
    link->_next = ring;
    link->_previous = ring->_previous;
    ring->_previous->_next = link;
    ring->_previous = link;
}

/* ---- Start and stop ---- */

static void place(struct torc__timers *timers, struct torc_timer *timer)
{
    uint64_t tick = tick_of(timer->_deadline_ns);
    uint64_t difference;
    struct torc__wheel_level *level;
    struct torc__wheel_slot *slot;
    unsigned number;
    uint64_t bit;

    if (tick < timers->tick)
        tick = timers->tick; /* Overdue: the next service. */
    difference = tick ^ timers->tick;
    if (unlikely(difference > TICK_SPAN)) {
        tick = timers->tick | TICK_SPAN;
        difference = tick ^ timers->tick;
    }
    level = &timers->levels[level_of(difference)];
    number = slot_of(tick, level_of(difference));
    slot = &level->slots[number];
    bit = UINT64_C(1) << (number % 64);
    if ((level->occupied[number / 64] & bit) == 0) {
        level->occupied[number / 64] |= bit;
        ring_init(&slot->timers);
        slot->earliest_ns = slot->latest_ns = timer->_deadline_ns;
    } else {
        if (timer->_deadline_ns < slot->earliest_ns)
            slot->earliest_ns = timer->_deadline_ns;
        slot->latest_ns =
            timer->_deadline_ns < slot->latest_ns ? TORC_FOREVER : timer->_deadline_ns;
    }
    append(&slot->timers, &timer->_link);
}

void torc__timers_init(struct torc__timers *timers, uint64_t now_ns)
{
    memset(timers, 0, sizeof(*timers));
    ring_init(&timers->due);
    ring_init(&timers->moving);
    timers->tick = now_ns >> TIMER_TICK_BITS;
}

/* Move timers to their places while `moves` lasts. Returns whether all are there. */
static bool move(struct torc__timers *timers, unsigned *moves)
{
    while (!ring_is_empty(&timers->moving)) {
        struct torc_timer_link *link = timers->moving._next;

        if (*moves == 0)
            return false;
        --*moves;
        timers->moving._next = link->_next;
        link->_next->_previous = &timers->moving;
        place(timers, timer_of(link));
    }
    return true;
}

/*
 * Behind those that are moving, or it would overtake some that have the same deadline. Two go on,
 * so that the ring becomes empty however many are started.
 */
static void queue_up(struct torc__timers *timers, struct torc_timer *timer)
{
    unsigned moves = 2;

    append(&timers->moving, &timer->_link);
    (void)move(timers, &moves);
}

void torc__timer_start(struct torc__timers *timers, struct torc_timer *timer, uint64_t deadline_ns,
                       void (*fire)(struct torc_timer *timer))
{
    timer->_deadline_ns = deadline_ns;
    timer->_fire = fire;
    timers->count++;
    if (likely(ring_is_empty(&timers->moving)))
        place(timers, timer);
    else
        queue_up(timers, timer);
}

static void clear_occupied(struct torc__wheel_level *level, unsigned slot)
{
    level->occupied[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

/* A ring has become empty: if it is a slot's, that is not occupied any more. */
static void clear_if_slot(struct torc__timers *timers, const struct torc_timer_link *ring)
{
    const char *at = (const char *)ring;
    const char *base = (const char *)timers->levels;
    size_t offset;
    struct torc__wheel_level *level;
    unsigned slot;

    if (at < base || at >= base + sizeof(timers->levels))
        return;
    offset = (size_t)(at - base);
    level = &timers->levels[offset / sizeof(*level)];
    slot = (unsigned)((const struct torc__wheel_slot *)ring - level->slots);
    clear_occupied(level, slot);
}

void torc__timer_stop(struct torc__timers *timers, struct torc_timer *timer)
{
    struct torc_timer_link *next = timer->_link._next;
    struct torc_timer_link *previous = timer->_link._previous;

    if (previous == NULL)
        return;
    previous->_next = next;
    next->_previous = previous;
    if (next == previous)
        clear_if_slot(timers, next);
    timer->_link._previous = NULL;
    timers->count--;
}

/* ---- When to serve ---- */

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

        if (slot < TIMER_SLOTS && level->slots[slot].earliest_ns < earliest_ns)
            earliest_ns = level->slots[slot].earliest_ns;
    }
    return earliest_ns;
}

uint64_t torc__timers_next(const struct torc__timers *timers)
{
    uint64_t next_ns;

    if (!ring_is_empty(&timers->due) || !ring_is_empty(&timers->moving))
        return timers->tick << TIMER_TICK_BITS;
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

uint64_t torc__timers_next_of_company(const struct torc__timers *timers, uint64_t now_ns,
                                      uint64_t slack_ns)
{
    const uint64_t next_ns = torc__timers_next(timers);
    const uint64_t until_ns = torc__time_add(next_ns, slack_ns);
    const uint64_t round = timers->tick >> TIMER_SLOT_BITS << TIMER_SLOT_BITS;
    const uint64_t round_end = round | SLOT_MASK; /* Later ones are on higher levels. */
    uint64_t last_tick = until_ns >> TIMER_TICK_BITS;
    unsigned slot;

    if (next_ns <= now_ns || last_tick < round || next_ns >> TIMER_TICK_BITS > round_end)
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

/* ---- Serve ---- */

static struct torc_timer_link *merge(struct torc_timer_link *a, struct torc_timer_link *b)
{
    struct torc_timer_link *merged = NULL;
    struct torc_timer_link **last = &merged;

    while (a != NULL && b != NULL) {
        const bool b_is_earlier = timer_of(b)->_deadline_ns < timer_of(a)->_deadline_ns;
        struct torc_timer_link **earlier = b_is_earlier ? &b : &a;

        *last = *earlier;
        last = &(*last)->_next;
        *earlier = *last;
    }
    *last = a != NULL ? a : b;
    return merged;
}

/* Cut off what is in order at the beginning of a chain. Returns the rest. */
static struct torc_timer_link *cut_run(struct torc_timer_link *chain)
{
    struct torc_timer_link *last = chain;
    struct torc_timer_link *rest;

    while (last->_next != NULL &&
           timer_of(last->_next)->_deadline_ns >= timer_of(last)->_deadline_ns)
        last = last->_next;
    rest = last->_next;
    last->_next = NULL;
    return rest;
}

/* Merge sort by deadline; bin i holds a sorted list of 2^i runs. Stable. */
static struct torc_timer_link *sort_by_deadline(struct torc_timer_link *chain)
{
    struct torc_timer_link *bins[32] = {NULL};
    struct torc_timer_link *sorted = NULL;
    unsigned highest = 0;

    while (chain != NULL) {
        struct torc_timer_link *list = chain;
        unsigned i = 0;

        chain = cut_run(list);
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

/* All of a ring, which has some, go to one that has none. */
static void take_all(struct torc_timer_link *ring, const struct torc_timer_link *from)
{
    *ring = *from;
    ring->_next->_previous = ring;
    ring->_previous->_next = ring;
}

/*
 * What is in a slot of the lowest level becomes due, in order, but for those whose time has not
 * come: they are later than all levels reach, and wait in the last slot there is.
 */
static void make_due(struct torc__timers *timers, struct torc__wheel_slot *slot, uint64_t now_ns)
{
    struct torc_timer_link *chain = slot->timers._next;

    if (slot->latest_ns <= now_ns) { /* In order already, so that none need be looked at. */
        take_all(&timers->due, &slot->timers);
        return;
    }
    slot->timers._previous->_next = NULL;
    chain = sort_by_deadline(chain);
    /* From where they are due each can be stopped, by the functions of others. */
    while (chain != NULL && timer_of(chain)->_deadline_ns <= now_ns) {
        struct torc_timer_link *link = chain;

        chain = link->_next;
        append(&timers->due, link);
    }
    if (chain != NULL)
        timers->tick++; /* Or they would be found here again, and again. */
    while (chain != NULL) {
        struct torc_timer_link *link = chain;

        chain = link->_next;
        place(timers, timer_of(link));
    }
}

/*
 * Make the next slot that has come the due list; slots of higher levels are spread on the way.
 * False if none has come by tick `end`, or so much has to be spread that it has to wait.
 */
static bool collect(struct torc__timers *timers, uint64_t end, uint64_t now_ns, unsigned *moves)
{
    unsigned level;
    unsigned slot;
    uint64_t tick;

    for (;;) {
        if (!move(timers, moves))
            return false;
        level = next_slot(timers, end, &slot, &tick);
        if (level == TIMER_LEVELS)
            break;
        timers->tick = tick;
        clear_occupied(&timers->levels[level], slot);
        if (level > 0)
            take_all(&timers->moving, &timers->levels[level].slots[slot].timers);
        else
            make_due(timers, &timers->levels[0].slots[slot], now_ns);
        if (!ring_is_empty(&timers->due))
            return true;
    }
    if (timers->tick < end)
        timers->tick = end;
    return false;
}

unsigned torc__timers_serve(struct torc__timers *timers, uint64_t now_ns, unsigned max)
{
    uint64_t end = now_ns >> TIMER_TICK_BITS;
    unsigned moves = MOVES_MAX;
    unsigned fired = 0;

    if (end < timers->tick)
        end = timers->tick; /* A clock that went back; the wheel does not. */
    if (timers->count == 0)
        timers->tick = end;
    if (max > timers->count)
        max = (unsigned)timers->count; /* What is started meanwhile, even overdue, comes later. */
    while (fired < max && (!ring_is_empty(&timers->due) || collect(timers, end, now_ns, &moves))) {
        struct torc_timer *timer = timer_of(timers->due._next);

        torc__timer_stop(timers, timer);
        fired++;
        timer->_fire(timer);
    }
    timers->fired += fired;
    return fired;
}

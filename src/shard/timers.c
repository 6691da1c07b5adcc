/* SPDX-License-Identifier: MIT */
/*
 * timers.c - a hierarchical timing wheel.
 */
#include "shard/timers.h"
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

uint64_t torc__timers_next(const struct torc__timers *timers)
{
    uint64_t earliest = TORC_FOREVER;

    if (timers->count == 0)
        return TORC_FOREVER;
    /* Slots of a level are in order, but those of a lower level need not all be earlier: the bound
     * of a higher slot may be before what remains of the present lower round. */
    for (unsigned i = 0; i < TIMER_LEVELS; i++) {
        const struct torc__wheel_level *level = &timers->levels[i];
        unsigned slot = next_occupied(level, 0);

        if (slot < TIMER_SLOTS && level->earliest_ns[slot] < earliest)
            earliest = level->earliest_ns[slot];
    }
    if (earliest > TORC_FOREVER - TICK_NS)
        return earliest;
    return tick_of(earliest) << TIMER_TICK_BITS;
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

/* Append to the `due` list what is due in a chain, and place the rest anew. */
static void sort_out(struct torc__timers *timers, struct torc_timer *chain, uint64_t now_ns,
                     struct torc_timer ***due_last)
{
    while (chain != NULL) {
        struct torc_timer *timer = chain;

        chain = timer->_next;
        timer->_next = NULL;
        if (timer->_deadline_ns <= now_ns) {
            **due_last = timer;
            *due_last = &timer->_next;
        } else {
            place(timers, timer);
        }
    }
}

/*
 * Take out all slots that the wheel passes or reaches on its way to `tick`, from the lowest level
 * up. On each level these are the slots up to its new digit, and all of them if a higher digit
 * changes.
 */
static struct torc_timer *collect(struct torc__timers *timers, uint64_t tick, uint64_t now_ns)
{
    const unsigned top = level_of(timers->tick ^ tick);
    struct torc_timer *due = NULL;
    struct torc_timer **due_last = &due;
    struct torc_timer *chains[TIMER_SLOTS];

    timers->tick = tick;
    for (unsigned i = 0; i <= top && i < TIMER_LEVELS; i++) {
        struct torc__wheel_level *level = &timers->levels[i];
        unsigned last = i < top ? SLOT_MASK : slot_of(tick, i);
        unsigned count = 0;

        /* Taken out before any is placed, since placing may put timers into these very slots. */
        for (unsigned slot = next_occupied(level, 0); slot <= last;
             slot = next_occupied(level, slot + 1))
            chains[count++] = take_slot(level, slot);
        for (unsigned j = 0; j < count; j++)
            sort_out(timers, chains[j], now_ns, &due_last);
    }
    return due;
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
 * A slot's bound stays behind when its earliest timer is stopped. If its time has come, and the
 * slot's has not, find the true one, or the wait would end at once again and again.
 */
static void refresh_bounds(struct torc__timers *timers, uint64_t now_ns)
{
    for (unsigned i = 1; i < TIMER_LEVELS; i++) {
        struct torc__wheel_level *level = &timers->levels[i];
        unsigned slot = next_occupied(level, 0);
        uint64_t earliest = TORC_FOREVER;

        if (slot == TIMER_SLOTS || level->earliest_ns[slot] > now_ns)
            continue;
        for (struct torc_timer *timer = level->slots[slot]; timer != NULL; timer = timer->_next)
            earliest = timer->_deadline_ns < earliest ? timer->_deadline_ns : earliest;
        level->earliest_ns[slot] = earliest;
    }
}

unsigned torc__timers_serve(struct torc__timers *timers, uint64_t now_ns)
{
    struct torc_timer *due;
    struct torc_timer **link = &due;
    uint64_t tick = now_ns >> TIMER_TICK_BITS;
    unsigned fired = 0;

    if (tick < timers->tick)
        tick = timers->tick;
    if (timers->count == 0) {
        timers->tick = tick;
        return 0;
    }
    due = sort_by_deadline(collect(timers, tick, now_ns));
    for (struct torc_timer *timer = due; timer != NULL; timer = timer->_next) {
        timer->_link = link; /* From here on each can be stopped, by the functions of others. */
        link = &timer->_next;
    }
    while (due != NULL) {
        struct torc_timer *timer = due;

        torc__timer_stop(timers, timer);
        fired++;
        timer->_fire(timer);
    }
    timers->fired += fired;
    refresh_bounds(timers, now_ns);
    return fired;
}

/* SPDX-License-Identifier: MIT */
/*
 * stack.h - pooled stacks with guards, a million of them.
 *
 * Stacks are cut from slabs of 1,024 slots, each slab one mapping:
 *
 *     slot:  | guard, 16 KiB | usable pages, 29 by default ... <- top, coloured |
 *
 * The number of pages of a slot is odd: with a power of two, the tops of all stacks would fall into
 * a few sets of the TLB (12 instead of 21 ns per resume at 1,000 hot fibers). Tops are lowered by
 * a colour of up to 15 cache lines for the same reason in the first-level cache.
 *
 * Pages are 4 KiB in these figures; where they are larger, all sizes are rounded up to them.
 *
 * The guard is 16 KiB, since 4 would be jumped by a frame with a large array in it; code is
 * compiled with -fstack-clash-protection, which touches every page of larger ones. Guards are
 * regions without mappings of their own where the kernel has them (MADV_GUARD_INSTALL), else
 * mprotect() while vm.max_map_count has room, else none. They are made when a slot is first used,
 * 64 at a time.
 */
#ifndef FIBER_STACK_H
#define FIBER_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STACK_SIZE_DEFAULT (29u * 4096u)

/* One stack. Its record is apart from it, so that a free stack is not touched. */
struct torc__stack {
    char *low; /* the lowest usable byte; the guard is below */
    char *top; /* where the first frame goes */
    struct torc__stack *next_free;
    const char *name; /* of the fiber that runs here */
    void *tsan;       /* ThreadSanitizer's idea of the fiber that runs here */
};

enum guard_kind {
    GUARD_REGION,
    GUARD_PROTECT,
    GUARD_NONE
};

struct torc__slab {
    struct torc__slab *next;
    char *memory;
    unsigned guarded; /* Slots before this one have their guards. */
    struct torc__stack stacks[];
};

struct torc__stacks {
    struct torc__stack *free; /* last in, first out: the hottest first */
    struct torc__slab *slabs;
    struct torc__slab *filling; /* The slab of which unused slots remain. */
    size_t slot_size;
    size_t guard_size;
    size_t usable_size;
    enum guard_kind guard;
    uint32_t reserved;  /* slots that exist */
    uint32_t used;      /* taken and not given back */
    uint32_t touched;   /* slots that were ever used: in use or in the free list */
    uint32_t used_peak; /* since the last trim */
    uint32_t protected; /* slots with a guard by mprotect() */
    uint32_t unguarded; /* slots that had to do without */
};

/* Prepare a pool of stacks of `size` usable bytes or more, less the colour. */
void torc__stacks_init(struct torc__stacks *stacks, size_t size, bool forbid_regions);

/* Unmap all stacks. None may be in use. */
void torc__stacks_finish(struct torc__stacks *stacks);

/* The same, of stacks on which fibers were that will never run again. */
void torc__stacks_abandon(struct torc__stacks *stacks);

/*
 * Make sure that `count` stacks can be in use at once, so that taking one cannot fail. Maps address
 * space, not memory. 0 or -ENOMEM.
 */
int torc__stacks_reserve(struct torc__stacks *stacks, uint32_t count);

/* Take a stack; there is one if it was reserved. */
struct torc__stack *torc__stack_take(struct torc__stacks *stacks);

/* Give a stack back. The caller may still be running on it, until somebody else takes one. */
void torc__stack_give(struct torc__stacks *stacks, struct torc__stack *stack);

/*
 * Return memory of free stacks to the system, keeping as many as a quarter of the peak since the
 * last trim, and at least 256. Returns how many stacks were emptied.
 */
uint32_t torc__stacks_trim(struct torc__stacks *stacks);

/* The stack whose slot, guard included, holds `address`; NULL if none does. */
struct torc__stack *torc__stacks_find(const struct torc__stacks *stacks, const void *address);

/* Whether `address` is in the guard of `stack`. */
bool torc__stack_in_guard(const struct torc__stacks *stacks, const struct torc__stack *stack,
                          const void *address);

/* Whether guard regions work in this process. */
bool torc__stacks_probe_regions(void);

#endif

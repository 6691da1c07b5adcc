/* SPDX-License-Identifier: MIT */
/*
 * stack.c - pooled stacks with guards, a million of them.
 */
#include "fiber/stack.h"
#include "base/compiler.h"
#include "base/kernel_abi.h"
#include "base/log.h"
#include "fiber/sanitizer.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define GUARD_SIZE      (16u * 1024u) /* at least; pages may be larger */
#define SLAB_SLOTS      1024u
#define GUARD_BATCH     64u
#define COLOURS         16u
#define COLOUR_SIZE     64u
#define TRIM_KEEP       256u
#define TRIM_BATCH      512u
#define MAP_COUNT_SHARE 4 /* So many guards by mprotect(): half of vm.max_map_count. */

/* 4 KiB on x86-64; 4, 16 or 64 KiB elsewhere. */
static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* ---- Guards ---- */

bool torc__stacks_probe_regions(void)
{
    const size_t size = page_size();
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bool works;

    if (page == MAP_FAILED)
        return false;
    /* EINVAL before 6.13, and in locked memory (mlockall with MCL_FUTURE). */
    works = madvise(page, size, MADV_GUARD_INSTALL) == 0;
    munmap(page, size);
    return works;
}

static uint32_t guards_by_mprotect_max(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    unsigned long count = 65530;

    if (file != NULL) {
        if (fscanf(file, "%lu", &count) != 1)
            count = 65530;
        fclose(file);
    }
    return (uint32_t)(count / MAP_COUNT_SHARE);
}

/* One advice for many ranges; one call each where process_madvise() is not there, or not for us. */
static int advise(const struct iovec *ranges, unsigned count, int advice)
{
#ifdef SYS_process_madvise
    ssize_t done = syscall(SYS_process_madvise, PIDFD_SELF, ranges, count, advice, 0);
    ssize_t wanted = 0;

    for (unsigned i = 0; i < count; i++)
        wanted += (ssize_t)ranges[i].iov_len;
    if (done == wanted)
        return 0;
#endif
    for (unsigned i = 0; i < count; i++) {
        if (madvise(ranges[i].iov_base, ranges[i].iov_len, advice) < 0)
            return -errno;
    }
    return 0;
}

/* Guards by mprotect() in the whole process; each makes two mappings of one. */
static uint32_t guards_by_mprotect;

static void protect_slot(struct torc__stacks *stacks, char *slot)
{
    static uint32_t most; /* The same for all threads, so a race is harmless. */
    uint32_t limit = __atomic_load_n(&most, __ATOMIC_RELAXED);

    if (limit == 0) {
        limit = guards_by_mprotect_max();
        __atomic_store_n(&most, limit, __ATOMIC_RELAXED);
    }
    if (__atomic_fetch_add(&guards_by_mprotect, 1, __ATOMIC_RELAXED) < limit &&
        mprotect(slot, stacks->guard_size, PROT_NONE) == 0) {
        stacks->protected ++;
        return;
    }
    __atomic_fetch_sub(&guards_by_mprotect, 1, __ATOMIC_RELAXED);
    if (stacks->unguarded++ == 0)
        torc__log("from %u stacks on there are no guards: raise vm.max_map_count", stacks->touched);
}

/* Make the guards of the next slots of a slab. Their want is no reason to stop: it is told. */
static void guard_more(struct torc__stacks *stacks, struct torc__slab *slab)
{
    struct iovec ranges[GUARD_BATCH];
    unsigned first = slab->guarded;

    for (unsigned i = 0; i < GUARD_BATCH; i++) {
        ranges[i].iov_base = slab->memory + (first + i) * stacks->slot_size;
        ranges[i].iov_len = stacks->guard_size;
    }
    slab->guarded += GUARD_BATCH;
    if (stacks->guard == GUARD_REGION) {
        if (advise(ranges, GUARD_BATCH, MADV_GUARD_INSTALL) == 0)
            return;
        stacks->guard = GUARD_PROTECT;
    }
    if (stacks->guard == GUARD_PROTECT) {
        for (unsigned i = 0; i < GUARD_BATCH; i++)
            protect_slot(stacks, ranges[i].iov_base);
    }
}

/* ---- Slabs ---- */

void torc__stacks_init(struct torc__stacks *stacks, size_t size, bool forbid_regions)
{
    const size_t page = page_size();
    const size_t guard = round_up(GUARD_SIZE, page);
    const size_t pages = (round_up(size, page) + guard) / page;

    *stacks = (struct torc__stacks){
        .slot_size = (pages | 1) * page,
        .guard_size = guard,
        .guard = !forbid_regions && torc__stacks_probe_regions() ? GUARD_REGION : GUARD_PROTECT,
    };
    stacks->usable_size = stacks->slot_size - guard;
}

static int add_slab(struct torc__stacks *stacks)
{
    struct torc__slab *slab = calloc(1, sizeof(*slab) + SLAB_SLOTS * sizeof(slab->stacks[0]));
    struct torc__slab **last = &stacks->slabs;
    size_t size = SLAB_SLOTS * stacks->slot_size;
    char *memory;

    if (slab == NULL)
        return -ENOMEM;
    /* Without NORESERVE a few slabs would be more than overcommit allows. */
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) {
        free(slab);
        return -ENOMEM;
    }
    /* A huge page under the first touched byte would cost 16 stacks' worth of memory. */
    (void)madvise(memory, size, MADV_NOHUGEPAGE);
    slab->memory = memory;
    for (unsigned i = 0; i < SLAB_SLOTS; i++) {
        struct torc__stack *stack = &slab->stacks[i];

        stack->low = memory + i * stacks->slot_size + stacks->guard_size;
        stack->top = memory + (i + 1) * stacks->slot_size - (i % COLOURS) * COLOUR_SIZE;
    }
    while (*last != NULL)
        last = &(*last)->next;
    *last = slab;
    stacks->reserved += SLAB_SLOTS;
    torc__sanitizer_add_stacks(memory, size);
    return 0;
}

int torc__stacks_reserve(struct torc__stacks *stacks, uint32_t count)
{
    while (stacks->reserved < count) {
        int result = add_slab(stacks);

        if (result < 0)
            return result;
    }
    return 0;
}

void torc__stacks_finish(struct torc__stacks *stacks)
{
    struct torc__slab *slab = stacks->slabs;

    TORC_ASSERT(stacks->used == 0);
    __atomic_fetch_sub(&guards_by_mprotect, stacks->protected, __ATOMIC_RELAXED);
    while (slab != NULL) {
        struct torc__slab *next = slab->next;

        for (unsigned i = 0; i < SLAB_SLOTS && stacks->touched > 0; i++, stacks->touched--)
            torc__sanitizer_forget_stack(&slab->stacks[i]);
        torc__sanitizer_remove_stacks(slab->memory, SLAB_SLOTS * stacks->slot_size);
        munmap(slab->memory, SLAB_SLOTS * stacks->slot_size);
        free(slab);
        slab = next;
    }
    *stacks = (struct torc__stacks){0};
}

/*
 * AddressSanitizer is to find what is still named on them: they stay, and it is told of each by
 * itself, since it would step on the guards in between.
 */
void torc__stacks_abandon(struct torc__stacks *stacks)
{
    unsigned left = stacks->touched;

    for (struct torc__slab *slab = stacks->slabs; TORC_ASAN && slab != NULL; slab = slab->next) {
        torc__sanitizer_remove_stacks(slab->memory, SLAB_SLOTS * stacks->slot_size);
        for (unsigned i = 0; i < SLAB_SLOTS && left > 0; i++, left--)
            torc__sanitizer_add_stacks(slab->stacks[i].low,
                                       (size_t)(slab->stacks[i].top - slab->stacks[i].low));
    }
    if (TORC_ASAN)
        return;
    stacks->used = 0;
    torc__stacks_finish(stacks);
}

/* ---- Taking and giving ---- */

/* A slot that was never used. */
static struct torc__stack *take_fresh(struct torc__stacks *stacks)
{
    struct torc__slab *slab = stacks->filling;
    unsigned slot = stacks->touched % SLAB_SLOTS;

    if (slot == 0)
        slab = slab == NULL ? stacks->slabs : slab->next;
    TORC_ASSERT(slab != NULL); /* It was reserved. */
    stacks->filling = slab;
    if (slot == slab->guarded)
        guard_more(stacks, slab);
    stacks->touched++;
    torc__sanitizer_know_stack(&slab->stacks[slot]);
    return &slab->stacks[slot];
}

struct torc__stack *torc__stack_take(struct torc__stacks *stacks)
{
    struct torc__stack *stack = stacks->free;

    if (likely(stack != NULL))
        stacks->free = stack->next_free;
    else
        stack = take_fresh(stacks);
    stacks->used++;
    if (stacks->used > stacks->used_peak)
        stacks->used_peak = stacks->used;
    return stack;
}

void torc__stack_give(struct torc__stacks *stacks, struct torc__stack *stack)
{
    stack->next_free = stacks->free;
    stacks->free = stack;
    stacks->used--;
}

uint32_t torc__stacks_trim(struct torc__stacks *stacks)
{
    uint32_t keep = stacks->used_peak / 4 > TRIM_KEEP ? stacks->used_peak / 4 : TRIM_KEEP;
    struct torc__stack *stack = stacks->free;
    struct iovec ranges[TRIM_BATCH];
    unsigned count = 0;
    uint32_t emptied = 0;

    stacks->used_peak = stacks->used;
    /* The list begins with the stacks used last, which are the ones to keep. */
    for (uint32_t i = 0; stack != NULL && i < keep; i++)
        stack = stack->next_free;
    for (; stack != NULL; stack = stack->next_free) {
        ranges[count].iov_base = stack->low;
        ranges[count].iov_len = stacks->usable_size;
        emptied++;
        if (++count == TRIM_BATCH) {
            (void)advise(ranges, count, MADV_DONTNEED);
            count = 0;
        }
    }
    if (count > 0)
        (void)advise(ranges, count, MADV_DONTNEED);
    return emptied;
}

struct torc__stack *torc__stacks_find(const struct torc__stacks *stacks, const void *address)
{
    const char *byte = address;

    for (struct torc__slab *slab = stacks->slabs; slab != NULL; slab = slab->next) {
        if (byte >= slab->memory && byte < slab->memory + SLAB_SLOTS * stacks->slot_size)
            return &slab->stacks[(size_t)(byte - slab->memory) / stacks->slot_size];
    }
    return NULL;
}

bool torc__stack_in_guard(const struct torc__stacks *stacks, const struct torc__stack *stack,
                          const void *address)
{
    const char *byte = address;

    return byte < stack->low && byte >= stack->low - stacks->guard_size;
}

/* SPDX-License-Identifier: MIT */
/*
 * fiber.c - where the control blocks of fibers come from.
 */
#include "fiber/fiber.h"
#include "base/log.h"
#include <errno.h>
#include <sys/mman.h>

void torc__fibers_init(struct torc__fibers *fibers, uint32_t max)
{
    *fibers = (struct torc__fibers){.max = max};
    fibers->last_chunk = &fibers->chunks;
}

void torc__fibers_finish(struct torc__fibers *fibers)
{
    struct torc__fiber_chunk *chunk = fibers->chunks;

    TORC_ASSERT(fibers->alive == 0);
    while (chunk != NULL) {
        struct torc__fiber_chunk *next = chunk->next;

        munmap(chunk, sizeof(*chunk));
        chunk = next;
    }
    torc__fibers_init(fibers, fibers->max);
}

int torc__fibers_grow(struct torc__fibers *fibers)
{
    uint32_t room = fibers->max - fibers->allocated;
    uint32_t count = room < FIBER_CHUNK ? room : FIBER_CHUNK;
    struct torc__fiber_chunk *chunk;

    if (count == 0)
        return -ENOMEM;
    chunk = mmap(NULL, sizeof(*chunk), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return -ENOMEM;
    *fibers->last_chunk = chunk;
    fibers->last_chunk = &chunk->next;
    /* Pushed in reverse, so that they are handed out, and numbered, in the order of memory. */
    for (uint32_t i = count; i-- > 0;) {
        chunk->fibers[i].id = fibers->allocated + i + 1;
        chunk->fibers[i].next = fibers->free;
        fibers->free = &chunk->fibers[i];
    }
    fibers->allocated += count;
    return 0;
}

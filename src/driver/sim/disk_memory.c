/* SPDX-License-Identifier: MIT */
/*
 * disk_memory.c - memory for simulated disks, which have bounds of their own: disk_bytes of the
 * chaos.
 */
#include "base/log.h"
#include "driver/sim/disk_inner.h"
#include <stdlib.h>

void *torc__sim_allocate(size_t size)
{
    void *memory = calloc(1, size);

    TORC_ASSERT(memory != NULL);
    return memory;
}

void *torc__sim_reallocate(void *memory, size_t size)
{
    memory = realloc(memory, size);
    TORC_ASSERT(memory != NULL);
    return memory;
}

void torc__sim_free(void *memory)
{
    free(memory);
}

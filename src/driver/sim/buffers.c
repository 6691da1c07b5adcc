/* SPDX-License-Identifier: MIT */
/*
 * buffers.c - rings of buffers in the simulated driver: its end of what buffer_ring.h describes.
 */
#include "base/log.h"
#include "driver/buffer_ring.h"
#include "driver/sim/driver.h"
#include <errno.h>
#include <stdlib.h>

static struct io_uring_buf *head_of(const struct sim_buffers *buffers)
{
    return torc__buffer_ring_slot(buffers->ring, buffers->head);
}

int torc__sim_buffer_peek(struct torc__sim *sim, unsigned group, struct iovec *ret_memory)
{
    const struct sim_buffers *buffers =
        group < ARRAY_LENGTH(sim->buffers) ? &sim->buffers[group] : NULL;
    const struct io_uring_buf *slot;

    if (buffers == NULL || buffers->ring == NULL || buffers->head == buffers->ring->ring->tail)
        return -ENOBUFS;
    slot = head_of(buffers);
    *ret_memory = (struct iovec){(void *)(uintptr_t)slot->addr, slot->len};
    return 0;
}

/* Of an incremental ring the kernel writes down in the slot itself what is left of a buffer. */
uint32_t torc__sim_buffer_commit(struct torc__sim *sim, unsigned group, size_t used)
{
    struct sim_buffers *buffers = &sim->buffers[group];
    struct io_uring_buf *slot = head_of(buffers);
    const uint32_t flags = torc__buffer_flags(slot);

    if (buffers->ring->incremental && used < slot->len) {
        slot->addr += used;
        slot->len -= (uint32_t)used;
        return flags | IORING_CQE_F_BUF_MORE;
    }
    buffers->head++;
    return flags;
}

int torc__sim_open_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers,
                           unsigned entries)
{
    struct torc__sim *sim = torc__to_sim(driver);
    unsigned group = 0;

    TORC_ASSERT((entries & (entries - 1)) == 0);
    if (!torc__buffer_ring_is_had(driver->features, buffers->incremental))
        return -EOPNOTSUPP;
    while (group < ARRAY_LENGTH(sim->buffers) && sim->buffers[group].ring != NULL)
        group++;
    if (group == ARRAY_LENGTH(sim->buffers))
        return -ENOMEM;
    /* Cleared, as the memory that a ring is made of. */
    buffers->ring = calloc(entries, sizeof(struct io_uring_buf));
    if (buffers->ring == NULL)
        return -ENOMEM;
    buffers->mask = entries - 1;
    buffers->tail = 0;
    buffers->group = (uint16_t)group;
    sim->buffers[group] = (struct sim_buffers){.ring = buffers};
    return 0;
}

void torc__sim_close_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers)
{
    torc__to_sim(driver)->buffers[buffers->group].ring = NULL;
    free(buffers->ring);
    buffers->ring = NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * buffer_ring.c - the ring driver's side of buffers that the kernel chooses from.
 */
#include "driver/buffer_ring.h"
#include "base/log.h"
#include "driver/uring.h"
#include <errno.h>
#include <sys/mman.h>

static size_t ring_size(unsigned entries)
{
    return entries * sizeof(struct io_uring_buf);
}

/* Register under the first group number that is free. */
static int register_somewhere(struct torc__uring *uring, struct torc__buffer_ring *buffers,
                              unsigned entries)
{
    int result = -EEXIST;

    for (unsigned tries = 0; result == -EEXIST && tries < UINT16_MAX; tries++) {
        buffers->group = uring->next_group++ % UINT16_MAX;
        result = torc__ring_register_buffers(&uring->ring, buffers->ring, entries, buffers->group,
                                             buffers->incremental);
    }
    return result;
}

int torc__uring_open_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers,
                             unsigned entries)
{
    struct torc__uring *uring = container_of(driver, struct torc__uring, base);
    void *memory;
    int result;

    TORC_ASSERT((entries & (entries - 1)) == 0);
    if (!torc__buffer_ring_is_had(driver->features, buffers->incremental))
        return -EOPNOTSUPP;
    memory =
        mmap(NULL, ring_size(entries), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    buffers->ring = memory;
    buffers->mask = entries - 1;
    buffers->tail = 0;
    result = register_somewhere(uring, buffers, entries);
    if (result < 0) {
        munmap(memory, ring_size(entries));
        buffers->ring = NULL;
        return result;
    }
    return 0;
}

void torc__uring_close_buffers(struct torc__driver *driver, struct torc__buffer_ring *buffers)
{
    struct torc__uring *uring = container_of(driver, struct torc__uring, base);

    (void)torc__ring_unregister_buffers(&uring->ring, buffers->group);
    munmap(buffers->ring, ring_size(buffers->mask + 1));
    buffers->ring = NULL;
}

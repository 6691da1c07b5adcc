/* SPDX-License-Identifier: MIT */
/*
 * net_eventfd.c - eventfds.
 */
#include "base/log.h"
#include "base/vector.h"
#include "driver/sim/net.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>

/* The counter stops one before the largest number. */
#define COUNT_MOST (UINT64_MAX - 1)

struct sim_eventfd {
    struct sim_file file;
    uint64_t count;
    bool is_semaphore;
};

static struct sim_eventfd *eventfd_of(struct sim_file *file)
{
    return (struct sim_eventfd *)file;
}

static ssize_t counter_read(struct sim_file *file, const struct iovec *vector, size_t count,
                            off_t offset, int flags)
{
    struct sim_eventfd *eventfd = eventfd_of(file);
    uint64_t taken = eventfd->is_semaphore ? 1 : eventfd->count;

    (void)offset;
    (void)flags;
    if (torc__vector_size(vector, count) < sizeof(taken))
        return -EINVAL;
    if (eventfd->count == 0)
        return -EAGAIN;
    eventfd->count -= taken;
    (void)torc__sim_vector_fill(vector, count, 0, &taken, sizeof(taken));
    torc__sim_notify(file, POLLOUT | POLLWRNORM);
    return sizeof(taken);
}

static ssize_t counter_write(struct sim_file *file, const struct iovec *vector, size_t count,
                             off_t offset, int flags)
{
    struct sim_eventfd *eventfd = eventfd_of(file);
    uint64_t more = 0;

    (void)offset;
    (void)flags;
    if (torc__sim_vector_take(vector, count, 0, &more, sizeof(more)) < sizeof(more) ||
        more == UINT64_MAX)
        return -EINVAL;
    if (more > COUNT_MOST - eventfd->count)
        return -EAGAIN;
    eventfd->count += more;
    if (eventfd->count > 0)
        torc__sim_notify(file, POLLIN | POLLRDNORM);
    return sizeof(more);
}

static uint32_t eventfd_poll(struct sim_file *file)
{
    const struct sim_eventfd *eventfd = eventfd_of(file);
    uint32_t events = eventfd->count > 0 ? POLLIN : 0;

    return events | (eventfd->count < COUNT_MOST ? POLLOUT : 0);
}

static int eventfd_stat(struct sim_file *file, struct statx *ret_about)
{
    (void)file;
    ret_about->stx_mode = 0600; /* It has no type. */
    return 0;
}

static void eventfd_release(struct sim_file *file, bool crashed)
{
    (void)crashed;
    free(eventfd_of(file));
}

static const struct sim_file_ops eventfd_ops = {
    .kind = "eventfd",
    .read = counter_read,
    .write = counter_write,
    .poll = eventfd_poll,
    .stat = eventfd_stat,
    .release = eventfd_release,
};

int torc__sim_eventfd_open(struct sim_host *host, unsigned count, int flags,
                           struct sim_file **ret_file)
{
    struct sim_eventfd *eventfd;

    if (flags & ~(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
        return -EINVAL;
    eventfd = calloc(1, sizeof(*eventfd));
    TORC_ASSERT(eventfd != NULL);
    torc__sim_file_init(&eventfd->file, &eventfd_ops, host,
                        O_RDWR | (flags & EFD_NONBLOCK ? O_NONBLOCK : 0));
    eventfd->count = count;
    eventfd->is_semaphore = flags & EFD_SEMAPHORE;
    *ret_file = &eventfd->file;
    return 0;
}

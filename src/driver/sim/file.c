/* SPDX-License-Identifier: MIT */
/*
 * file.c - open files: references, and who waits for what they are ready for.
 */
#include "driver/sim/file.h"
#include "base/compiler.h"
#include "base/log.h"
#include <string.h>

#define ALWAYS_TOLD ((uint32_t)(POLLERR | POLLHUP))

void torc__sim_file_init(struct sim_file *file, const struct sim_file_ops *ops,
                         struct sim_host *host, int flags)
{
    *file = (struct sim_file){
        .ops = ops, .host = host, .references = 1, .flags = flags, .serial = ++host->files_made};
    file->waiters_last = &file->waiters_first;
}

void torc__sim_file_release(struct sim_file *file)
{
    if (file == NULL || --file->references > 0)
        return;
    TORC_ASSERT(file->waiters_first == NULL); /* Whoever waits has a reference. */
    file->ops->release(file, false);
}

uint32_t torc__sim_file_poll(struct sim_file *file)
{
    return file->ops->poll != NULL ? file->ops->poll(file)
                                   : (uint32_t)(POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}

/* ---- Waiting ---- */

void torc__sim_wait_begin(struct sim_waiter *waiter, struct sim_file *file, uint32_t events,
                          torc__sim_notice_fn *notice)
{
    *waiter = (struct sim_waiter){.file = torc__sim_file_acquire(file),
                                  .link = file->waiters_last,
                                  .events = events | ALWAYS_TOLD,
                                  .notice = notice};
    *file->waiters_last = waiter;
    file->waiters_last = &waiter->next;
}

void torc__sim_wait_end(struct sim_waiter *waiter)
{
    struct sim_file *file = waiter->file;

    if (file == NULL)
        return;
    if (file->cursor == waiter)
        file->cursor = waiter->next;
    *waiter->link = waiter->next;
    if (waiter->next != NULL) {
        waiter->next->link = waiter->link;
    } else {
        file->waiters_last = waiter->link;
    }
    waiter->file = NULL;
    if (!waiter->is_weak)
        torc__sim_file_release(file);
}

/* Whoever is told may end his wait, or another's, but begin none of this file. */
void torc__sim_notify(struct sim_file *file, uint32_t events)
{
    if (file->waiters_first == NULL)
        return;
    TORC_ASSERT(file->cursor == NULL);
    torc__sim_file_acquire(file);
    file->cursor = file->waiters_first;
    while (file->cursor != NULL) {
        struct sim_waiter *waiter = file->cursor;

        file->cursor = waiter->next;
        if (waiter->events & events)
            waiter->notice(waiter, events);
    }
    torc__sim_file_release(file);
}

/* ---- Vectors ---- */

/* Which way bytes go. */
enum direction {
    INTO_VECTOR,
    OUT_OF_VECTOR,
};

static size_t copy(const struct iovec *vector, size_t count, size_t skip, char *bytes, size_t size,
                   enum direction direction)
{
    size_t done = 0;

    for (size_t i = 0; i < count && done < size; i++) {
        size_t part = vector[i].iov_len > skip ? vector[i].iov_len - skip : 0;
        char *piece = (char *)vector[i].iov_base + skip;

        skip -= skip < vector[i].iov_len ? skip : vector[i].iov_len;
        if (part == 0)
            continue;
        if (part > size - done)
            part = size - done;
        if (direction == INTO_VECTOR) {
            memcpy(piece, bytes + done, part);
        } else {
            memcpy(bytes + done, piece, part);
        }
        done += part;
    }
    return done;
}

size_t torc__sim_vector_fill(const struct iovec *vector, size_t count, size_t skip,
                             const void *bytes, size_t size)
{
    return copy(vector, count, skip, (char *)(uintptr_t)bytes, size, INTO_VECTOR);
}

size_t torc__sim_vector_take(const struct iovec *vector, size_t count, size_t skip, void *bytes,
                             size_t size)
{
    return copy(vector, count, skip, bytes, size, OUT_OF_VECTOR);
}

/* SPDX-License-Identifier: MIT */
/*
 * parked.c - wait for other threads, and wake who waits.
 */
#include "sync/parked.h"
#include "driver/thread.h"
#include <errno.h>

static void message_arrived(struct torc_message *message)
{
    struct torc__parked *parked = container_of(message, struct torc__parked, message);

    torc__wake(torc__shard, parked->fiber, 0);
}

int torc__parked_init(struct torc__parked *parked)
{
    *parked = (struct torc__parked){.message = {.run = message_arrived}};
    if (torc__shard == NULL)
        return 0;
    parked->shard = torc__shard_of_fiber();
    parked->fiber = parked->shard->running;
    parked->mailbox = parked->shard->mailbox;
    return parked->shard->closing ? -ESHUTDOWN : 0;
}

int torc__caller_reason(void)
{
    return torc__shard != NULL ? torc__reason(torc__shard_of_fiber()) : 0;
}

int torc__parked_wait(struct torc__parked *parked, const struct torc_wait_kind *kind)
{
    if (parked->shard != NULL)
        return torc__wait(parked->shard, kind, parked);
    torc__word_wait(&parked->woken);
    return 0;
}

void torc__parked_wake(struct torc__parked *parked)
{
    if (parked->shard == NULL) {
        atomic_store_explicit(&parked->woken, 1, memory_order_release);
        torc__word_wake(&parked->woken);
    } else if (parked->shard == torc__shard) {
        parked->message.run(&parked->message);
    } else {
        int result = torc__mailbox_push(parked->mailbox, &parked->message);

        TORC_ASSERT(result == 0); /* A shard with a fiber that waits takes messages. */
    }
}

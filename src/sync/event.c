/* SPDX-License-Identifier: MIT */
/*
 * event.c - something that is set or not, and that fibers wait for.
 */
#include "shard/shard.h"
#include <torc/sync.h>

/* A waiting fiber; on its stack. */
struct torc_event_wait {
    struct torc_event_wait *next;
    struct torc_event_wait **link;
    struct torc_event *event;
    struct torc_fiber *fiber;
};

static struct torc_event_wait **last_link(struct torc_event *event)
{
    /* A zeroed event is an empty queue. */
    return event->_first == NULL ? &event->_first : event->_last;
}

static void leave(struct torc_event_wait *wait)
{
    *wait->link = wait->next;
    if (wait->next != NULL)
        wait->next->link = wait->link;
    else
        wait->event->_last = wait->link;
}

static void interrupt_wait(struct torc_fiber *fiber, int reason)
{
    leave(fiber->waits_for);
    torc__wake(torc__shard, fiber, reason);
}

void torc_event_set(struct torc_event *event)
{
    TORC_ASSERT(torc__shard != NULL);
    event->_set = true;
    while (event->_first != NULL) {
        struct torc_event_wait *wait = event->_first;

        leave(wait);
        torc__wake(torc__shard, wait->fiber, 0);
    }
}

void torc_event_clear(struct torc_event *event)
{
    event->_set = false;
}

bool torc_event_is_set(const struct torc_event *event)
{
    return event->_set;
}

int torc_event_wait(struct torc_event *event)
{
    struct torc__shard *shard = torc__shard_of_fiber();
    struct torc_event_wait wait = {.event = event, .fiber = shard->running};
    int reason = torc__reason(shard);

    if (reason != 0)
        return torc__refuse(shard, reason);
    if (event->_set)
        return 0;
    wait.link = last_link(event);
    *wait.link = &wait;
    event->_last = &wait.next;
    return torc__wait(shard, interrupt_wait, &wait);
}

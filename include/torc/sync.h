/* SPDX-License-Identifier: MIT */
/*
 * torc/sync.h - fibers of one shard that wait for each other.
 *
 * No locks and no atomics: everything here is touched by one shard only.
 */
#ifndef TORC_SYNC_H
#define TORC_SYNC_H

#include <stdbool.h>
#include <torc/api.h>
TORC_BEGIN_C

struct torc_event_wait;

/*
 * Something that is either set or not, and that fibers wait for. In the caller's memory; zeroed is
 * ready for use, and not set. Must not go away while fibers wait.
 */
struct torc_event {
    struct torc_event_wait *_first;
    struct torc_event_wait **_last;
    bool _set;
};

/* Set the event and wake all who wait. From a fiber or a loop callback; idempotent. */
TORC_API void torc_event_set(struct torc_event *event);

/* Make the event not set again. From a fiber or a loop callback. */
TORC_API void torc_event_clear(struct torc_event *event);

/* Whether the event is set. From a fiber or a loop callback. */
TORC_API bool torc_event_is_set(const struct torc_event *event);

/*
 * Wait until the event is set; at once if it is. Suspends otherwise. Returns 0, or the scope's
 * reason. Waking does not clear it.
 */
TORC_CHECK int torc_event_wait(struct torc_event *event);

TORC_END_C
#endif

/* SPDX-License-Identifier: MIT */
/*
 * parked_model.h - sync/parked.h for the explorer: threads wait until their word is set.
 *
 * Included once, after the sources that are looked at. Thread CANCELLED stands for a fiber whose
 * scope gets a reason when `cancel_now()` was called: then its wait is interrupted, by the very
 * function of the sources.
 */
#ifndef INTERLEAVE_PARKED_MODEL_H
#define INTERLEAVE_PARKED_MODEL_H

#define CANCELLED 0u

_Thread_local struct torc__shard *torc__shard;

static unsigned running; /* which thread; set before each of its steps */

/* In the arena. */
static struct parked_world {
    struct torc_fiber fiber; /* of the thread that may be cancelled */
    bool cancelled;
    bool left; /* It was woken with the reason. */
} * parked_world;

static void parked_set_up(void)
{
    parked_world = interleave_alloc(sizeof(*parked_world));
}

static void become(unsigned thread)
{
    running = thread;
}

static bool has_reason(void)
{
    return running == CANCELLED && parked_world->cancelled;
}

static void cancel_now(void)
{
    interleave_step("cancel");
    parked_world->cancelled = true;
}

int torc__parked_init(struct torc__parked *parked)
{
    memset(parked, 0, sizeof(*parked));
    return 0;
}

int torc__caller_reason(void)
{
    return has_reason() ? -ECANCELED : 0;
}

int torc__refuse(struct torc__shard *shard, int reason)
{
    (void)shard;
    return reason;
}

/* The interrupt function wakes the fiber, since it has left its queue. */
void torc__wake(struct torc__shard *shard, struct torc_fiber *fiber, int result)
{
    (void)shard;
    INTERLEAVE_EXPECT(fiber == &parked_world->fiber);
    INTERLEAVE_EXPECT(result == -ECANCELED);
    parked_world->left = true;
}

static bool is_woken(void *arg)
{
    return *(unsigned *)arg != 0;
}

static bool is_woken_or_cancelled(void *arg)
{
    return is_woken(arg) || parked_world->cancelled;
}

int torc__parked_wait(struct torc__parked *parked, const struct torc_wait_kind *kind)
{
    if (running == CANCELLED) {
        interleave_block_until(is_woken_or_cancelled, &parked->woken);
        if (parked->woken == 0) {
            parked_world->left = false;
            parked_world->fiber.waits_for = parked;
            kind->interrupt(&parked_world->fiber, -ECANCELED);
            if (parked_world->left) {
                INTERLEAVE_EXPECT(parked->woken == 0);
                return -ECANCELED;
            }
        }
    }
    interleave_block_until(is_woken, &parked->woken);
    return 0;
}

void torc__parked_wake(struct torc__parked *parked)
{
    interleave_step("wake");
    INTERLEAVE_EXPECT(parked->woken == 0); /* Once. */
    parked->woken = 1;
}

#endif

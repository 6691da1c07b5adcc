/* SPDX-License-Identifier: MIT */
/*
 * mailbox.c - the one way into a shard for other threads.
 */
#include "shard/mailbox.h"
#include "base/compiler.h"
#include "base/futex.h"
#include "shard/shard.h"
#include <errno.h>
#include <stdlib.h>

struct torc_message torc__mailbox_closed;

struct torc__mailbox *torc__mailbox_create(const struct torc__runtime *runtime)
{
    struct torc__mailbox *mailbox = aligned_alloc(64, sizeof(*mailbox));

    if (mailbox == NULL)
        return NULL;
    atomic_init(&mailbox->last, &torc__mailbox_closed);
    atomic_init(&mailbox->sleep, MAILBOX_AWAKE);
    atomic_init(&mailbox->wakers, 0);
    atomic_init(&mailbox->references, 1);
    atomic_init(&mailbox->load, 0);
    mailbox->driver = NULL;
    mailbox->runtime = runtime;
    return mailbox;
}

void torc__mailbox_open(struct torc__mailbox *mailbox, struct torc__driver *driver)
{
    mailbox->driver = driver;
    atomic_store(&mailbox->sleep, MAILBOX_AWAKE);
    atomic_store(&mailbox->last, NULL);
}

/* Turn a chain around: oldest first. */
static struct torc_message *reverse(struct torc_message *message)
{
    struct torc_message *reversed = NULL;

    while (message != NULL) {
        struct torc_message *next = message->_next;

        message->_next = reversed;
        reversed = message;
        message = next;
    }
    return reversed;
}

struct torc_message *torc__mailbox_close(struct torc__mailbox *mailbox)
{
    struct torc_message *rest = atomic_exchange(&mailbox->last, &torc__mailbox_closed);
    unsigned wakers;

    /* A sender that pushed before is perhaps on its way to the driver, which will go away. */
    (void)atomic_fetch_add(&mailbox->wakers, MAILBOX_AWAITED);
    while ((wakers = atomic_load(&mailbox->wakers)) != MAILBOX_AWAITED)
        torc__futex_wait(&mailbox->wakers, wakers);
    (void)atomic_fetch_sub(&mailbox->wakers, MAILBOX_AWAITED);
    return rest == &torc__mailbox_closed ? NULL : reverse(rest);
}

struct torc__mailbox *torc__mailbox_acquire(struct torc__mailbox *mailbox)
{
    atomic_fetch_add_explicit(&mailbox->references, 1, memory_order_relaxed);
    return mailbox;
}

void torc__mailbox_release(struct torc__mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    if (atomic_fetch_sub_explicit(&mailbox->references, 1, memory_order_acq_rel) == 1)
        free(mailbox);
}

/* The shard may sleep: see that a wake-up is sent, or that one is on its way that will do. */
static void wake_shard(struct torc__mailbox *mailbox)
{
    struct torc__shard *self = torc__shard;
    uintptr_t claim = (uintptr_t)self;
    uintptr_t state = MAILBOX_ASLEEP;

    if (self != NULL && self->runtime == mailbox->runtime) {
        if (atomic_compare_exchange_strong(&mailbox->sleep, &state, claim)) {
            self->driver->stats.wakeups_sent++;
            mailbox->driver->ops->wake(mailbox->driver, self->driver);
            return;
        }
        if (state == claim)
            return; /* Ours leaves when this shard's loop turns. */
    }
    /* Somebody else's claim may have to wait for a round of his that takes long. */
    if (atomic_exchange(&mailbox->sleep, MAILBOX_AWAKE) == MAILBOX_AWAKE)
        return;
    if (self != NULL)
        self->driver->stats.wakeups_sent++;
    mailbox->driver->ops->wake(mailbox->driver, NULL);
}

int torc__mailbox_push(struct torc__mailbox *mailbox, struct torc_message *message)
{
    struct torc_message *last;
    int result = 0;

    if (unlikely(!torc__mailbox_is_open(mailbox)))
        return -ESHUTDOWN;
    atomic_fetch_add(&mailbox->wakers, 1);
    last = atomic_load(&mailbox->last);
    do {
        if (last == &torc__mailbox_closed) {
            result = -ESHUTDOWN;
            goto leave;
        }
        message->_next = last;
    } while (!atomic_compare_exchange_weak(&mailbox->last, &last, message));
    /* From here on the message may have been run, and be gone. */
    if (atomic_load(&mailbox->sleep) != MAILBOX_AWAKE)
        wake_shard(mailbox);
leave:
    if (unlikely(atomic_fetch_sub(&mailbox->wakers, 1) == (MAILBOX_AWAITED | 1)))
        torc__futex_wake(&mailbox->wakers);
    return result;
}

struct torc_message *torc__mailbox_take(struct torc__mailbox *mailbox)
{
    return reverse(atomic_exchange_explicit(&mailbox->last, NULL, memory_order_acquire));
}

bool torc__mailbox_sleep(struct torc__mailbox *mailbox)
{
    struct torc_message *last;

    atomic_store(&mailbox->sleep, MAILBOX_ASLEEP);
    last = atomic_load(&mailbox->last);
    if (last == NULL || last == &torc__mailbox_closed)
        return true;
    atomic_store(&mailbox->sleep, MAILBOX_AWAKE);
    return false;
}

void torc__mailbox_woken(struct torc__mailbox *mailbox)
{
    atomic_store_explicit(&mailbox->sleep, MAILBOX_AWAKE, memory_order_relaxed);
}

/* ---- The public face ---- */

static struct torc__mailbox *from_public(struct torc_mailbox *mailbox)
{
    return (struct torc__mailbox *)(void *)mailbox;
}

static struct torc_mailbox *to_public(struct torc__mailbox *mailbox)
{
    return (struct torc_mailbox *)(void *)mailbox;
}

struct torc_mailbox *torc_mailbox_acquire(void)
{
    TORC_ASSERT(torc__shard != NULL);
    return to_public(torc__mailbox_acquire(torc__shard->mailbox));
}

struct torc_mailbox *torc_mailbox_share(struct torc_mailbox *mailbox)
{
    return to_public(torc__mailbox_acquire(from_public(mailbox)));
}

void torc_mailbox_release(struct torc_mailbox *mailbox)
{
    torc__mailbox_release(from_public(mailbox));
}

int torc_mailbox_post(struct torc_mailbox *mailbox, struct torc_message *message)
{
    return torc__mailbox_push(from_public(mailbox), message);
}

/* SPDX-License-Identifier: MIT */
/*
 * torc/mailbox.h - reach a shard from any other thread.
 *
 * A message is memory of the sender's with a function in it, which the shard's loop calls. Sending
 * allocates nothing and takes no lock; however many send, a sleeping shard is woken once, and one
 * that is awake not at all. Messages of one sender arrive in their order.
 */
#ifndef TORC_MAILBOX_H
#define TORC_MAILBOX_H

#include <torc/api.h>
TORC_BEGIN_C

struct torc_mailbox;

/* One message. Belongs to torc from a successful post until `run` is called. */
struct torc_message {
    struct torc_message *_next;
    /* Called on the shard's loop; must not suspend. It may free or post the message again. */
    void (*run)(struct torc_message *message);
};

/*
 * The mailbox of this shard, a reference to which the caller owns: torc_mailbox_release(). It may
 * be handed to any thread, and outlives the shard safely.
 */
TORC_CHECK struct torc_mailbox *torc_mailbox_acquire(void);

/* Another reference to the same mailbox. Any thread that has one. */
TORC_API struct torc_mailbox *torc_mailbox_share(struct torc_mailbox *mailbox);

/* Give a reference back. Any thread. NULL is ignored. */
TORC_API void torc_mailbox_release(struct torc_mailbox *mailbox);

/*
 * Have the shard call `message->run(message)` in its next round; or, when many others have been
 * sent before, in the first one whose turn it is, since a round runs a few hundred. Any thread.
 *
 * -ESHUTDOWN  the shard has ended: the message is still the caller's, and will not be run.
 */
TORC_CHECK int torc_mailbox_post(struct torc_mailbox *mailbox, struct torc_message *message);

TORC_END_C
#endif

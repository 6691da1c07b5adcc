/* SPDX-License-Identifier: MIT */
/*
 * runtime.h - what the shards of a runtime share, for them.
 */
#ifndef SHARD_RUNTIME_H
#define SHARD_RUNTIME_H

#include "shard/shard.h"

/* Free a runtime of which all shards were abandoned. */
void torc__runtime_abandon(struct torc__runtime *runtime);

/* Ask all shards of a runtime to stop. Any thread of it. */
void torc__runtime_stop(struct torc__runtime *runtime);

/* Whether that has been asked, even if the message to this shard is still on its way. */
bool torc__runtime_is_stopping(struct torc__runtime *runtime);

/* The options of torc_run(), checked by the shards when they started. */
const struct torc_options *torc__runtime_options(const struct torc__runtime *runtime);

/* The mailbox of a shard; NULL if there is no such shard. The reference stays the runtime's. */
struct torc__mailbox *torc__runtime_mailbox(struct torc__runtime *runtime, unsigned index);

/* A shard; NULL if there is none of that number. From a shard of the runtime. */
const struct torc__shard *torc__runtime_shard(const struct torc__runtime *runtime, unsigned index);

/* How many shards there are. */
unsigned torc__runtime_shard_count(const struct torc__runtime *runtime);

/* The CPU that a shard is pinned to; -1: none. */
int torc__runtime_cpu(const struct torc__shard *shard);

/* Let in again what was blocked when this thread became the shard. */
void torc__runtime_restore_signals(const struct torc__shard *shard);

#endif

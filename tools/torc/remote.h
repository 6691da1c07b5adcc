/* SPDX-License-Identifier: MIT */
/*
 * remote.h - another process: its memory, and torc's structures in it.
 *
 * Nothing here needs symbols or debug information of that process: see torc/inspect.h.
 */
#ifndef TORC_TOOL_REMOTE_H
#define TORC_TOOL_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A piece of memory to be read. */
struct remote_piece {
    uint64_t address;
    size_t length;
    void *to;
    bool failed; /* out: it could not be read */
};

/* The fields of torc's structures that are looked at; the names are those of torc/inspect.h. */
enum remote_field {
    SHARD_SIZE,
    SHARD_NEXT,
    SHARD_INDEX,
    SHARD_THREAD,
    SHARD_RUNNING,
    SHARD_LOOP,
    SHARD_ROUND_TIME,
    SHARD_ALIVE,
    SHARD_CHUNKS,
    SHARD_MAILBOX,
    SHARD_DRIVER,
    SHARD_TOLD,
    SHARD_FEEDS,
    FIBER_SIZE,
    FIBER_SP,
    FIBER_SINCE,
    FIBER_SCOPE,
    FIBER_HOME,
    FIBER_WAIT,
    FIBER_WAITS_FOR,
    FIBER_STATE,
    FIBER_ID,
    FIBER_STACK,
    FIBER_BODY,
    FIBER_DEADLINE,
    CHUNK_SIZE,
    CHUNK_FIBERS,
    CHUNK_NEXT,
    SCOPE_SIZE,
    SCOPE_PARENT,
    SCOPE_OWNER,
    SCOPE_REASON,
    SCOPE_FLAGS,
    SCOPE_FIBERS,
    SCOPE_TIMER,
    SCOPE_DEADLINE,
    STACK_SIZE,
    STACK_LOW,
    STACK_TOP,
    STACK_NAME,
    OP_SIZE,
    OP_OPCODE,
    OP_FD,
    OP_NEXT,
    OP_OPENER,
    DRIVER_OPS,
    DRIVER_NAME,
    REMOTE_FIELD_COUNT,
};

/* One copy of libtorc in the process. There may be several, each with its own shards. */
struct remote_torc {
    char version[16];
    uint64_t shards; /* where the pointer to the newest one is */
    uint64_t resume;
    unsigned fiber_chunk;
    uint32_t offset[REMOTE_FIELD_COUNT];
    uint32_t size[REMOTE_FIELD_COUNT];
};

/* Read memory of a process. 0 or a negative errno. */
int remote_read(pid_t pid, uint64_t address, void *to, size_t length);

/* Read what is there, up to the first page that is none. Returns how much. */
size_t remote_read_most(pid_t pid, uint64_t address, void *to, size_t length);

/* Read many pieces at once; each says itself whether that failed. */
void remote_read_all(pid_t pid, struct remote_piece *pieces, size_t count);

/* Read a text, which is cut if there is no room for it; "" if it cannot be read. */
void remote_read_text(pid_t pid, uint64_t address, char *to, size_t room);

/*
 * Find libtorc in a process, `max` copies at most. Returns how many; or a negative errno with the
 * reason in `ret_why`: -ESRCH, -EPERM, -ENOENT if there is none, -EPROTO if this is not one that
 * can be read.
 */
int remote_find(pid_t pid, struct remote_torc *torcs, unsigned max, char *ret_why, size_t why_size);

/* A field out of a structure that was read; unsigned, of up to 8 bytes. */
uint64_t remote_get(const struct remote_torc *torc, enum remote_field field, const void *structure);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * torc/inspect.h - what a program that runs torc tells those who look at it from outside.
 *
 * For debuggers and `torc dump`; programs have no use for it. libtorc carries one constant
 * `struct torc_inspect`, which says where its structures have their fields, so that a reader of
 * the process's memory, or of a core file, needs neither debug information nor symbols:
 *
 *     PT_NOTE "torc", type TORC_INSPECT_NOTE: an int64_t, the distance from itself to the table
 *     torc_inspect.shards -> pointer -> shard -> shard.next -> ... NULL
 *     shard.chunks -> chunk -> chunk.next; in each `chunk.fibers` blocks of `fiber.size` bytes
 *     fiber.wait -> struct torc_wait_kind, which says how to read fiber.waits_for
 *
 * The names of the fields are those in src/shard/inspect.c. A reader asks for the fields by name,
 * and gives up if one is missing or `version` is another.
 */
#ifndef TORC_INSPECT_H
#define TORC_INSPECT_H

#include <stdint.h>
#include <torc/api.h>
TORC_BEGIN_C

#define TORC_INSPECT_VERSION 1
#define TORC_INSPECT_NOTE    1

struct torc_fiber;

/* Values of "fiber.state". */
enum torc_inspect_state {
    TORC_INSPECT_FREE,        /* a block that is no fiber */
    TORC_INSPECT_NEW,         /* has not run, and has no stack */
    TORC_INSPECT_READY,       /* stands in the run queue */
    TORC_INSPECT_RUNNING,     /* or about to, or to leave: the thread's stack pointer tells */
    TORC_INSPECT_WAITING,     /* parked */
    TORC_INSPECT_INTERRUPTED, /* parked, and told to end its wait */
};

/* What kind of thing a fiber waits for, and so which fields of struct torc_wait_kind mean what. */
enum torc_wait_form {
    TORC_WAIT_OTHER,      /* nothing more is known */
    TORC_WAIT_OP,         /* waits_for: an operation, see "op.opcode" and "op.fd" */
    TORC_WAIT_OPS,        /* `object`: an array of pointers to `count` operations */
    TORC_WAIT_TIMER,      /* until "fiber.deadline" */
    TORC_WAIT_SCOPE,      /* waits_for: the scope that is being closed */
    TORC_WAIT_DESCRIPTOR, /* `fd` */
    TORC_WAIT_OBJECT,     /* `object`: a lock, a channel; `owner`: the fiber that has it */
    TORC_WAIT_SHARD,      /* `object`: what "shard.mailbox" of the shard that is asked is */
    TORC_WAIT_FUNCTION,   /* `object`: a function for the pool; `count` is 2 once it runs */
    TORC_WAIT_SELECT,     /* `count` cases */
};

/* A place that a kind of wait does not have. */
#define TORC_WAIT_NONE INT16_MIN

/* A kind of wait: a constant of the library. Places are distances in bytes. */
struct torc_wait_kind {
    /* Asks the wait to end; for waits that are not operations it also wakes. NULL: it goes on. */
    void (*interrupt)(struct torc_fiber *fiber, int reason);
    const char *name;
    uint16_t form;  /* torc_wait_form */
    int16_t object; /* from waits_for to a pointer ... */
    int16_t base;   /* ... that points so far into the object */
    int16_t owner;  /* from the object to a pointer to a fiber's block, NULL for none */
    int16_t fd;     /* from the object, or from waits_for if that has none, to an int */
    int16_t count;  /* from waits_for to an unsigned */
};

/* Where a field is, or how large something is. */
struct torc_inspect_field {
    char name[24];
    uint32_t offset; /* or size, where the name ends in ".size" */
    uint32_t size;   /* of the field */
};

struct torc_inspect {
    char magic[8]; /* "torc" */
    uint32_t version;
    uint32_t field_count;
    char torc_version[16];
    const void *shards; /* a pointer to the newest shard, or to NULL */
    const void *resume; /* the pc at which every parked fiber stands, its stack pointer being "sp",
                            by the CFI there */
    const struct torc_inspect_field *fields;
    uint64_t fiber_chunk; /* blocks in a chunk */
};

TORC_END_C
#endif

/* SPDX-License-Identifier: MIT */
/*
 * dump_wait.c - what a fiber waits for.
 */
#include "dump.h"

#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <torc/torc.h>

enum {
    OPCODE_UNKNOWN = 253, /* and above: it was not looked at in time, or not yet */
    POOL_RUNNING = 2,
};

void dump_opcode_name(unsigned opcode, char *text, size_t size)
{
    const char *name = torc_op_name(opcode);

    if (name != NULL)
        (void)snprintf(text, size, "%s", name);
    else if (opcode >= OPCODE_UNKNOWN)
        (void)snprintf(text, size, "operation");
    else
        (void)snprintf(text, size, "operation %u", opcode);
}

bool dump_read(const struct dump *dump, const struct dump_fiber *fiber, uint64_t address, void *to,
               size_t length)
{
    const uint64_t at = address - fiber->sp;

    if (fiber->copy != NULL && at < fiber->copy_length && length <= fiber->copy_length - at) {
        memcpy(to, (const char *)fiber->copy + at, length);
        return true;
    }
    return address != 0 && remote_read(dump->pid, address, to, length) == 0;
}

static uint64_t read_word(const struct dump *dump, const struct dump_fiber *fiber, uint64_t address)
{
    uint64_t word;

    return dump_read(dump, fiber, address, &word, sizeof(word)) ? word : 0;
}

/* ---- Kinds ---- */

/* The kind of a wait, which is read once; NULL if that fails. */
static const struct torc_wait_kind *find_kind(struct dump *dump, uint64_t address,
                                              const char **ret_name)
{
    uint32_t known = table_find(&dump->kind_of, address);

    if (known == TABLE_NONE) {
        struct torc_wait_kind kind;

        if (remote_read(dump->pid, address, &kind, sizeof(kind)) < 0)
            return NULL;
        known = dump->kind_count++;
        dump->kinds = table_grow(dump->kinds, dump->kind_count, sizeof(kind));
        dump->kind_names =
            table_grow(dump->kind_names, dump->kind_count, sizeof(dump->kind_names[0]));
        dump->kinds[known] = kind;
        remote_read_text(dump->pid, (uintptr_t)kind.name, dump->kind_names[known], DUMP_NAME_SIZE);
        table_set(&dump->kind_of, address, known);
    }
    *ret_name = dump->kind_names[known];
    return &dump->kinds[known];
}

/* ---- Reading ---- */

static void read_op(struct dump *dump, const struct remote_torc *torc,
                    const struct dump_fiber *fiber, uint64_t address, struct dump_wait *wait)
{
    char op[512];

    if (torc->offset[OP_SIZE] > sizeof(op) ||
        !dump_read(dump, fiber, address, op, torc->offset[OP_SIZE]))
        return;
    dump_opcode_name((unsigned)remote_get(torc, OP_OPCODE, op), wait->name, sizeof(wait->name));
    if (remote_get(torc, OP_OPCODE, op) < OPCODE_UNKNOWN)
        wait->fd = (int)remote_get(torc, OP_FD, op);
}

/* A group of one is just that operation. */
static void read_ops(struct dump *dump, const struct remote_torc *torc,
                     const struct dump_fiber *fiber, struct dump_wait *wait)
{
    if (wait->count != 1)
        return;
    wait->form = TORC_WAIT_OP;
    read_op(dump, torc, fiber, read_word(dump, fiber, wait->object), wait);
}

static void read_places(struct dump *dump, const struct torc_wait_kind *kind,
                        const struct dump_fiber *fiber, struct dump_wait *wait)
{
    uint64_t at = fiber->waits_for;

    if (kind->count != TORC_WAIT_NONE)
        (void)dump_read(dump, fiber, fiber->waits_for + (uint64_t)kind->count, &wait->count,
                        sizeof(wait->count));
    if (kind->object != TORC_WAIT_NONE) {
        wait->object = read_word(dump, fiber, fiber->waits_for + (uint64_t)kind->object);
        if (wait->object != 0)
            wait->object -= (uint64_t)kind->base;
        at = wait->object;
    }
    if (kind->owner != TORC_WAIT_NONE && wait->object != 0)
        wait->owner = read_word(dump, fiber, wait->object + (uint64_t)kind->owner);
    if (kind->fd != TORC_WAIT_NONE)
        (void)dump_read(dump, fiber, at + (uint64_t)kind->fd, &wait->fd, sizeof(wait->fd));
}

static uint32_t shard_of_mailbox(const struct dump *dump, uint64_t mailbox)
{
    for (uint32_t i = 0; i < dump->shard_count; i++) {
        if (dump->shards[i].mailbox == mailbox)
            return dump->shards[i].index;
    }
    return DUMP_NONE;
}

static const struct torc_wait_kind *read_kind(struct dump *dump, struct dump_fiber *fiber)
{
    struct dump_wait *wait = &fiber->wait;
    const char *name = "";
    const struct torc_wait_kind *kind = find_kind(dump, fiber->kind, &name);

    *wait = (struct dump_wait){.fd = -1, .shard = DUMP_NONE};
    if (kind == NULL)
        return NULL;
    (void)snprintf(wait->name, sizeof(wait->name), "%s", name);
    wait->goes_on = kind->interrupt == NULL;
    return kind;
}

void dump_wait_name(struct dump *dump, struct dump_fiber *fiber)
{
    const struct torc_wait_kind *kind = read_kind(dump, fiber);

    if (kind != NULL && kind->form == TORC_WAIT_TIMER)
        fiber->wait.form = TORC_WAIT_TIMER; /* The block itself says how long. */
}

void dump_wait_read(struct dump *dump, const struct remote_torc *torc, struct dump_fiber *fiber)
{
    struct dump_wait *wait = &fiber->wait;
    const struct torc_wait_kind *kind = read_kind(dump, fiber);

    if (kind == NULL)
        return;
    wait->form = kind->form;
    switch (wait->form) {
    case TORC_WAIT_OP:
        read_op(dump, torc, fiber, fiber->waits_for, wait);
        break;
    case TORC_WAIT_SCOPE:
        (void)dump_read(dump, fiber, fiber->waits_for + torc->offset[SCOPE_FIBERS], &wait->count,
                        sizeof(wait->count));
        break;
    case TORC_WAIT_OTHER:
    case TORC_WAIT_TIMER:
        break;
    default:
        read_places(dump, kind, fiber, wait);
        break;
    }
    if (wait->form == TORC_WAIT_OPS)
        read_ops(dump, torc, fiber, wait);
    if (wait->form == TORC_WAIT_SHARD)
        wait->shard = shard_of_mailbox(dump, wait->object);
    wait->runs_now = wait->form == TORC_WAIT_FUNCTION && wait->count == POOL_RUNNING;
}

/* ---- In words ---- */

static void fiber_text(const struct dump *dump, uint64_t address, char *text, size_t size)
{
    const uint32_t found = table_find(&dump->fiber_of, address);
    const struct dump_fiber *fiber = found != TABLE_NONE ? &dump->fibers[found] : NULL;

    if (fiber == NULL)
        (void)snprintf(text, size, "a thread");
    else
        (void)snprintf(text, size, "fiber %u.%u \"%s\"", dump->shards[fiber->shard].index,
                       fiber->id, fiber->name);
}

static void object_text(const struct dump *dump, const struct dump_wait *wait, char *text,
                        size_t size)
{
    const char *symbol =
        dump->unwinder != NULL ? unwind_symbol(dump->unwinder, wait->object) : NULL;
    char owner[64] = "";

    if (wait->owner != 0)
        fiber_text(dump, wait->owner, owner, sizeof(owner));
    (void)snprintf(text, size, "%s %s%s0x%" PRIx64 "%s%s", wait->name, symbol != NULL ? symbol : "",
                   symbol != NULL ? " at " : "", wait->object, wait->owner != 0 ? ", held by " : "",
                   owner);
}

static void function_text(const struct dump *dump, const struct dump_wait *wait, char *text,
                          size_t size)
{
    const char *symbol =
        dump->unwinder != NULL ? unwind_symbol(dump->unwinder, wait->object) : NULL;
    char address[32];

    (void)snprintf(address, sizeof(address), "0x%" PRIx64, wait->object);
    (void)snprintf(text, size, "%s %s(), which %s", wait->name, symbol != NULL ? symbol : address,
                   wait->runs_now ? "runs on a thread of the pool" : "is queued");
}

void dump_wait_text(const struct dump *dump, const struct dump_fiber *fiber, char *text,
                    size_t size)
{
    const struct dump_wait *wait = &fiber->wait;
    const char *what = wait->fd >= 0 ? dump_fd_text(dump, wait->fd) : "";

    if (wait->form == TORC_WAIT_OBJECT)
        object_text(dump, wait, text, size);
    else if (wait->form == TORC_WAIT_FUNCTION)
        function_text(dump, wait, text, size);
    else if (wait->form == TORC_WAIT_TIMER && fiber->deadline_ns == UINT64_MAX)
        (void)snprintf(text, size, "%s, for ever", wait->name);
    else if (wait->form == TORC_WAIT_TIMER)
        (void)snprintf(text, size, "%s, %s left", wait->name,
                       output_time((double)dump_left_ns(dump, fiber)).text);
    else if (wait->form == TORC_WAIT_SCOPE)
        (void)snprintf(text, size, "%s, %u fibers left", wait->name, wait->count);
    else if (wait->form == TORC_WAIT_OPS || wait->form == TORC_WAIT_SELECT)
        (void)snprintf(text, size, "%s of %u", wait->name, wait->count);
    else if (wait->form == TORC_WAIT_SHARD && wait->shard != DUMP_NONE)
        (void)snprintf(text, size, "the answer of shard %u", wait->shard);
    else if (wait->fd >= 0)
        (void)snprintf(text, size, "%s on %d%s%s%s", wait->name, wait->fd, what[0] ? " (" : "",
                       what, what[0] ? ")" : "");
    else
        (void)snprintf(text, size, "%s", wait->name);
}

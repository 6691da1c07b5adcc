/* SPDX-License-Identifier: MIT */
/*
 * dump_ops.c - operations of a shard whose fibers have all ended.
 *
 * While there are fibers the lists of such operations change, and they tell nothing that is not
 * seen elsewhere: the fibers have the streams. Afterwards they are what keeps the shard.
 */
#include "dump.h"

#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    OPS_MAX = 100,
    OP_SIZE_MAX = 512,
};

static bool read_op(struct dump *dump, const struct remote_torc *torc, uint64_t address,
                    struct dump_op *op, uint64_t *ret_next)
{
    char bytes[OP_SIZE_MAX];

    if (torc->offset[OP_SIZE] > sizeof(bytes) ||
        remote_read(dump->pid, address, bytes, torc->offset[OP_SIZE]) < 0)
        return false;
    op->opcode = (unsigned)remote_get(torc, OP_OPCODE, bytes);
    op->fd = (int)remote_get(torc, OP_FD, bytes);
    op->opener = remote_get(torc, OP_OPENER, bytes);
    *ret_next = remote_get(torc, OP_NEXT, bytes);
    return true;
}

static void read_list(struct dump *dump, const struct remote_torc *torc, struct dump_shard *shard,
                      enum remote_field list, const void *bytes)
{
    uint64_t next = remote_get(torc, list, bytes);

    while (next != 0 && shard->op_count < OPS_MAX) {
        struct dump_op op = {.is_feed = list == SHARD_FEEDS};

        if (!read_op(dump, torc, next, &op, &next))
            return;
        shard->ops = table_grow(shard->ops, shard->op_count + 1, sizeof(shard->ops[0]));
        shard->ops[shard->op_count++] = op;
    }
}

void dump_ops_read(struct dump *dump, const struct remote_torc *torc, struct dump_shard *shard,
                   const void *bytes)
{
    read_list(dump, torc, shard, SHARD_TOLD, bytes);
    read_list(dump, torc, shard, SHARD_FEEDS, bytes);
}

const char *dump_op_place(const struct dump *dump, const struct dump_op *op)
{
    if (dump->unwinder == NULL)
        return NULL;
    return unwind_name(dump->unwinder, op->opener, !op->is_feed)->at.function;
}

void dump_op_text(const struct dump *dump, const struct dump_op *op, char *text, size_t size)
{
    const char *place = dump_op_place(dump, op);
    const char *is = dump_fd_text(dump, op->fd);
    char name[DUMP_NAME_SIZE];
    char address[32];

    dump_opcode_name(op->opcode, name, sizeof(name));
    (void)snprintf(address, sizeof(address), "0x%" PRIx64, op->opener);
    (void)snprintf(text, size, "%s on %d%s%s%s, %s %s", name, op->fd, is[0] ? " (" : "", is,
                   is[0] ? ")" : "", op->is_feed ? "told to" : "of what was opened by",
                   place != NULL ? place : address);
}

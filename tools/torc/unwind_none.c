/* SPDX-License-Identifier: MIT */
/*
 * unwind_none.c - unwind.h where this command was built without elfutils: there are no stacks.
 */
#include "unwind.h"

struct unwinder *unwind_open(pid_t pid)
{
    (void)pid;
    return NULL;
}

void unwind_close(struct unwinder *unwinder)
{
    (void)unwinder;
}

unsigned unwind_walk(struct unwinder *unwinder, const struct unwind_registers *registers,
                     const struct unwind_memory *memory, uint64_t *pcs)
{
    (void)unwinder;
    (void)registers;
    (void)memory;
    (void)pcs;
    return 0;
}

const struct unwind_place *unwind_name(struct unwinder *unwinder, uint64_t pc, bool is_return)
{
    static const struct unwind_place nowhere;

    (void)unwinder;
    (void)pc;
    (void)is_return;
    return &nowhere;
}

const struct unwind_place *unwind_lines(struct unwinder *unwinder, uint64_t pc, bool is_return)
{
    return unwind_name(unwinder, pc, is_return);
}

const char *unwind_symbol(struct unwinder *unwinder, uint64_t address)
{
    (void)unwinder;
    (void)address;
    return NULL;
}

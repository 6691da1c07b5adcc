/* SPDX-License-Identifier: MIT */
/*
 * unwind.c - from registers and a copy of a stack to the calls on it, by elfutils.
 *
 * For each pc that is met the rules of its frame are asked for once: how the canonical frame
 * address (CFA) and the caller's registers are found. Nearly all are "a register plus a number" and
 * "at the CFA minus a number"; the others are expressions, which are evaluated here as well.
 */
#include "unwind.h"

#include "table.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RULES_MAX = 24, /* registers that a call preserves, and where it returns to */
    OPERANDS_MAX = 16,
};

#if defined(__x86_64__)
enum {
    SP = 7
};
static const uint8_t preserved[] = {3, 6, 12, 13, 14, 15};
#elif defined(__aarch64__)
enum {
    SP = 31
};
static const uint8_t preserved[] = {19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30};
#else /* riscv64 */
enum {
    SP = 2
};
static const uint8_t preserved[] = {1, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27};
#endif

enum {
    PRESERVED_COUNT = sizeof(preserved)
};

/* How a caller's register is found. */
enum rule_kind {
    RULE_SAME,
    RULE_UNDEFINED,
    RULE_AT_CFA, /* in memory, at the CFA plus `offset` */
    RULE_EXPRESSION,
};

struct rule {
    enum rule_kind kind;
    uint8_t reg;
    int64_t offset;
    Dwarf_Op *ops;
    size_t op_count;
    Dwarf_Op room[3]; /* where `ops` may be */
};

/* What a pc's frame looks like. */
struct frame {
    Dwarf_Frame *from; /* what all the operations point into */
    bool known;
    bool is_signal; /* its caller was interrupted: the pc is where it stands, not behind a call */
    bool cfa_is_register;
    uint8_t cfa_register;
    int64_t cfa_offset;
    Dwarf_Op *cfa_ops;
    size_t cfa_op_count;
    struct rule return_address;
    struct rule rules[PRESERVED_COUNT];
};

struct unwinder {
    Dwfl *dwfl;
    struct table frame_of; /* of a pc to look up */
    struct frame **frames;
    uint32_t frame_count;
    struct table place_of;
    struct unwind_place **places;
    uint32_t place_count;
};

/* ---- The files ---- */

static char *debug_path; /* The default search path. */
static pid_t looked_at;  /* libdwfl gives its callbacks nothing of ours. */

/* The file of a module, as the process sees it: it may live in a container. */
static int find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
                    char **file_name, Elf **elf)
{
    char path[PATH_MAX];
    int fd;

    if (name[0] == '/') {
        (void)snprintf(path, sizeof(path), "/proc/%d/root%s", (int)looked_at, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            *file_name = strdup(path);
            return fd;
        }
    }
    return dwfl_linux_proc_find_elf(module, data, name, base, file_name, elf);
}

static const Dwfl_Callbacks callbacks = {
    .find_elf = find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .debuginfo_path = &debug_path,
};

struct unwinder *unwind_open(pid_t pid)
{
    struct unwinder *unwinder = table_grow(NULL, 1, sizeof(*unwinder));

    *unwinder = (struct unwinder){0};
    (void)unsetenv("DEBUGINFOD_URLS"); /* Nobody wants to wait for the net here. */
    looked_at = pid;
    unwinder->dwfl = dwfl_begin(&callbacks);
    if (unwinder->dwfl != NULL) {
        (void)dwfl_linux_proc_report(unwinder->dwfl, pid);
        (void)dwfl_report_end(unwinder->dwfl, NULL, NULL);
    }
    return unwinder;
}

void unwind_close(struct unwinder *unwinder)
{
    if (unwinder == NULL)
        return;
    if (unwinder->dwfl != NULL)
        dwfl_end(unwinder->dwfl);
    for (uint32_t i = 0; i < unwinder->frame_count; i++) {
        free(unwinder->frames[i]->from);
        free(unwinder->frames[i]);
    }
    for (uint32_t i = 0; i < unwinder->place_count; i++)
        free(unwinder->places[i]);
    free(unwinder->frames);
    free(unwinder->places);
    table_finish(&unwinder->frame_of);
    table_finish(&unwinder->place_of);
    free(unwinder);
}

/* ---- Rules ---- */

static void read_rule(Dwarf_Frame *from, int reg, struct rule *rule)
{
    rule->reg = (uint8_t)reg;
    rule->kind = RULE_SAME;
    if (dwarf_frame_register(from, reg, rule->room, &rule->ops, &rule->op_count) < 0)
        return;
    if (rule->op_count == 0) {
        rule->kind = rule->ops == NULL ? RULE_SAME : RULE_UNDEFINED;
        return;
    }
    rule->kind = RULE_EXPRESSION;
    if (rule->ops[0].atom != DW_OP_call_frame_cfa)
        return;
    if (rule->op_count == 1) {
        rule->kind = RULE_AT_CFA;
    } else if (rule->op_count == 2 && rule->ops[1].atom == DW_OP_plus_uconst) {
        rule->kind = RULE_AT_CFA;
        rule->offset = (int64_t)rule->ops[1].number;
    }
}

static void read_frame(Dwarf_Frame *from, struct frame *frame)
{
    const Dwarf_Op *op;
    bool is_signal;
    const int return_register = dwarf_frame_info(from, NULL, NULL, &is_signal);

    if (return_register < 0 || dwarf_frame_cfa(from, &frame->cfa_ops, &frame->cfa_op_count) != 0 ||
        frame->cfa_op_count == 0)
        return;
    frame->known = true;
    frame->is_signal = is_signal;
    op = frame->cfa_ops;
    if (frame->cfa_op_count == 1 && op->atom == DW_OP_bregx) {
        frame->cfa_is_register = true;
        frame->cfa_register = (uint8_t)op->number;
        frame->cfa_offset = (int64_t)op->number2;
    } else if (frame->cfa_op_count == 1 && op->atom >= DW_OP_breg0 && op->atom <= DW_OP_breg31) {
        frame->cfa_is_register = true;
        frame->cfa_register = (uint8_t)(op->atom - DW_OP_breg0);
        frame->cfa_offset = (int64_t)op->number;
    }
    read_rule(from, return_register, &frame->return_address);
    for (unsigned i = 0; i < PRESERVED_COUNT; i++)
        read_rule(from, preserved[i], &frame->rules[i]);
}

/* The frame of a pc, from .eh_frame or else .debug_frame. */
static struct frame *find_frame(struct unwinder *unwinder, uint64_t pc)
{
    const uint32_t known = table_find(&unwinder->frame_of, pc);
    struct frame *frame;
    Dwfl_Module *module;
    Dwarf_Frame *from = NULL;
    Dwarf_Addr bias;
    Dwarf_CFI *cfi;

    if (known != TABLE_NONE)
        return unwinder->frames[known];
    frame = table_grow(NULL, 1, sizeof(*frame));
    memset(frame, 0, sizeof(*frame));
    module = dwfl_addrmodule(unwinder->dwfl, pc);
    cfi = module != NULL ? dwfl_module_eh_cfi(module, &bias) : NULL;
    if (cfi == NULL || dwarf_cfi_addrframe(cfi, pc - bias, &from) != 0) {
        cfi = module != NULL ? dwfl_module_dwarf_cfi(module, &bias) : NULL;
        if (cfi == NULL || dwarf_cfi_addrframe(cfi, pc - bias, &from) != 0)
            from = NULL;
    }
    frame->from = from;
    if (from != NULL)
        read_frame(from, frame);
    unwinder->frames = table_grow(unwinder->frames, unwinder->frame_count + 1, sizeof(frame));
    unwinder->frames[unwinder->frame_count] = frame;
    table_set(&unwinder->frame_of, pc, unwinder->frame_count++);
    return frame;
}

/* ---- Walking ---- */

/* What an expression works on. */
struct machine {
    const struct unwind_registers *registers;
    const struct unwind_memory *memory;
    uint64_t cfa;
    uint64_t stack[OPERANDS_MAX];
    unsigned depth;
    bool is_value; /* The result is the value itself, not where it is. */
};

static bool push(struct machine *machine, uint64_t value)
{
    if (machine->depth == OPERANDS_MAX)
        return false;
    machine->stack[machine->depth++] = value;
    return true;
}

static bool push_register(struct machine *machine, uint64_t reg, int64_t offset)
{
    if (reg >= UNWIND_REGISTERS || !(machine->registers->known & (UINT64_C(1) << reg)))
        return false;
    return push(machine, machine->registers->value[reg] + (uint64_t)offset);
}

static bool combine(struct machine *machine, uint8_t atom)
{
    uint64_t a;
    uint64_t b;

    if (machine->depth < 2)
        return false;
    b = machine->stack[--machine->depth];
    a = machine->stack[--machine->depth];
    switch (atom) {
    case DW_OP_plus:
        return push(machine, a + b);
    case DW_OP_minus:
        return push(machine, a - b);
    case DW_OP_mul:
        return push(machine, a * b);
    case DW_OP_and:
        return push(machine, a & b);
    case DW_OP_or:
        return push(machine, a | b);
    case DW_OP_xor:
        return push(machine, a ^ b);
    case DW_OP_shl:
        return push(machine, b < 64 ? a << b : 0);
    case DW_OP_shr:
        return push(machine, b < 64 ? a >> b : 0);
    case DW_OP_ge:
        return push(machine, (int64_t)a >= (int64_t)b);
    case DW_OP_gt:
        return push(machine, (int64_t)a > (int64_t)b);
    case DW_OP_le:
        return push(machine, (int64_t)a <= (int64_t)b);
    case DW_OP_lt:
        return push(machine, (int64_t)a < (int64_t)b);
    case DW_OP_eq:
        return push(machine, a == b);
    case DW_OP_ne:
        return push(machine, a != b);
    default:
        return false;
    }
}

/* One operation; those that call frame information has a use for. */
static bool step(struct machine *machine, const Dwarf_Op *op)
{
    uint64_t *top = machine->depth > 0 ? &machine->stack[machine->depth - 1] : NULL;

    if (op->atom >= DW_OP_lit0 && op->atom <= DW_OP_lit31)
        return push(machine, op->atom - DW_OP_lit0);
    if (op->atom >= DW_OP_breg0 && op->atom <= DW_OP_breg31)
        return push_register(machine, op->atom - DW_OP_breg0, (int64_t)op->number);
    if ((op->atom >= DW_OP_const1u && op->atom <= DW_OP_consts) || op->atom == DW_OP_addr)
        return push(machine, op->number);
    switch (op->atom) {
    case DW_OP_bregx:
        return push_register(machine, op->number, (int64_t)op->number2);
    case DW_OP_call_frame_cfa:
        return push(machine, machine->cfa);
    case DW_OP_stack_value:
        machine->is_value = true;
        return true;
    case DW_OP_nop:
        return true;
    case DW_OP_dup:
        return top != NULL && push(machine, *top);
    case DW_OP_plus_uconst:
        if (top != NULL)
            *top += op->number;
        return top != NULL;
    case DW_OP_deref:
        return top != NULL && unwind_read(machine->memory, *top, top, sizeof(*top));
    default:
        return combine(machine, op->atom);
    }
}

static bool evaluate(struct machine *machine, const Dwarf_Op *ops, size_t count, uint64_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (!step(machine, &ops[i]))
            return false;
    }
    if (machine->depth == 0)
        return false;
    *ret = machine->stack[machine->depth - 1];
    return true;
}

static bool find_cfa(const struct frame *frame, const struct unwind_registers *registers,
                     const struct unwind_memory *memory, uint64_t *ret_cfa)
{
    struct machine machine = {.registers = registers, .memory = memory};

    if (!frame->cfa_is_register)
        return evaluate(&machine, frame->cfa_ops, frame->cfa_op_count, ret_cfa);
    if (!push_register(&machine, frame->cfa_register, frame->cfa_offset))
        return false;
    *ret_cfa = machine.stack[0];
    return true;
}

/* The caller's register; false if it is not known any more. */
static bool apply(const struct rule *rule, const struct unwind_registers *registers,
                  const struct unwind_memory *memory, uint64_t cfa, uint64_t *ret_value)
{
    struct machine machine = {.registers = registers, .memory = memory, .cfa = cfa};
    uint64_t found;

    switch (rule->kind) {
    case RULE_SAME:
        *ret_value = registers->value[rule->reg];
        return registers->known & (UINT64_C(1) << rule->reg);
    case RULE_AT_CFA:
        return unwind_read(memory, cfa + (uint64_t)rule->offset, ret_value, sizeof(*ret_value));
    case RULE_EXPRESSION:
        if (!evaluate(&machine, rule->ops, rule->op_count, &found))
            return false;
        if (!machine.is_value)
            return unwind_read(memory, found, ret_value, sizeof(*ret_value));
        *ret_value = found;
        return true;
    default:
        return false;
    }
}

/* Go from a frame to its caller's. False at the outermost, or where nothing is known. */
static bool go_out(const struct frame *frame, struct unwind_registers *registers,
                   const struct unwind_memory *memory)
{
    struct unwind_registers caller = {0};
    uint64_t cfa;

    if (!frame->known || !find_cfa(frame, registers, memory, &cfa) ||
        !apply(&frame->return_address, registers, memory, cfa, &caller.pc) || caller.pc == 0)
        return false;
    for (unsigned i = 0; i < PRESERVED_COUNT; i++) {
        const uint8_t reg = frame->rules[i].reg;

        if (apply(&frame->rules[i], registers, memory, cfa, &caller.value[reg]))
            caller.known |= UINT64_C(1) << reg;
    }
    /* A caller's stack pointer is what it was before the call. */
    if (!frame->is_signal && cfa <= registers->sp)
        return false;
    caller.sp = cfa;
    caller.value[SP] = cfa;
    caller.known |= UINT64_C(1) << SP;
    *registers = caller;
    return true;
}

unsigned unwind_walk(struct unwinder *unwinder, const struct unwind_registers *registers,
                     const struct unwind_memory *memory, uint64_t *pcs)
{
    struct unwind_registers at = *registers;
    bool is_exact = true;
    unsigned depth = 0;

    if (unwinder->dwfl == NULL)
        return 0;
    at.value[SP] = at.sp;
    at.known |= UINT64_C(1) << SP;
    while (depth < UNWIND_DEPTH_MAX) {
        const struct frame *frame = find_frame(unwinder, is_exact ? at.pc : at.pc - 1);

        pcs[depth++] = at.pc;
        is_exact = frame->is_signal;
        if (!go_out(frame, &at, memory))
            break;
    }
    return depth;
}

/* ---- Names ---- */

static int attribute(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;

    if (dwarf_attr(die, name, &attribute) == NULL || dwarf_formudata(&attribute, &value) != 0)
        return 0;
    return (int)value;
}

/* Where a function that is inlined is called. */
static void find_call(Dwarf_Die *unit, Dwarf_Die *inlined, struct unwind_source *source)
{
    const int file = attribute(inlined, DW_AT_call_file);
    Dwarf_Files *files;
    size_t count;

    source->line = attribute(inlined, DW_AT_call_line);
    source->file = NULL;
    if (dwarf_getsrcfiles(unit, &files, &count) == 0 && file > 0 && (size_t)file < count)
        source->file = dwarf_filesrc(files, (size_t)file, NULL, NULL);
}

/* The compilation unit of a pc. clang makes no table of their addresses, so all may be asked. */
static Dwarf_Die *find_unit(Dwfl_Module *module, uint64_t pc, Dwarf_Addr *ret_bias)
{
    Dwarf_Die *unit = dwfl_module_addrdie(module, pc, ret_bias);

    if (unit != NULL)
        return unit;
    while ((unit = dwfl_module_nextcu(module, unit, ret_bias)) != NULL) {
        if (dwarf_haspc(unit, pc - *ret_bias) > 0)
            break;
    }
    return unit;
}

/* The functions that the compiler has put into the one at a pc: each is called in the next. */
static void find_inlined(Dwarf_Die *unit, uint64_t pc, struct unwind_place *place)
{
    Dwarf_Die *scopes = NULL;
    const int count = dwarf_getscopes(unit, pc, &scopes);

    for (int i = 0; i < count && dwarf_tag(&scopes[i]) != DW_TAG_subprogram; i++) {
        struct unwind_source *inlined = &place->inlined[place->inlined_count];

        if (dwarf_tag(&scopes[i]) != DW_TAG_inlined_subroutine)
            continue;
        if (place->inlined_count == UNWIND_INLINED_MAX)
            break;
        *inlined = place->at;
        inlined->function = dwarf_diename(&scopes[i]);
        find_call(unit, &scopes[i], &place->at);
        place->inlined_count++;
    }
    free(scopes);
}

/* The last module that ends at or before an address. */
struct before {
    uint64_t address;
    uint64_t end;
    Dwfl_Module *module;
};

static int look_before(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr start,
                       void *arg)
{
    struct before *before = arg;
    Dwarf_Addr end;

    (void)user;
    (void)name;
    (void)start;
    (void)dwfl_module_info(module, NULL, NULL, &end, NULL, NULL, NULL, NULL);
    if (end <= before->address && end > before->end)
        *before = (struct before){before->address, end, module};
    return DWARF_CB_OK;
}

/*
 * The module of an address. Of variables that begin as zero all but the first page is no part of
 * the file, so elfutils takes the module to end before them.
 */
static Dwfl_Module *find_module(const struct unwinder *unwinder, uint64_t address)
{
    Dwfl_Module *module = dwfl_addrmodule(unwinder->dwfl, address);
    struct before before = {.address = address};

    if (module != NULL)
        return module;
    (void)dwfl_getmodules(unwinder->dwfl, look_before, &before, 0);
    return before.module;
}

static void find_lines(struct unwinder *unwinder, uint64_t pc, struct unwind_place *place)
{
    const char *function = place->at.function;
    Dwfl_Module *module = dwfl_addrmodule(unwinder->dwfl, pc);
    Dwarf_Addr bias;
    Dwarf_Die *unit = module != NULL ? find_unit(module, pc, &bias) : NULL;
    Dwarf_Line *line = unit != NULL ? dwarf_getsrc_die(unit, pc - bias) : NULL;

    place->has_lines = true;
    if (line == NULL)
        return;
    place->at.file = dwarf_linesrc(line, NULL, NULL);
    (void)dwarf_lineno(line, &place->at.line);
    find_inlined(unit, pc - bias, place);
    place->at.function = function;
}

static void find_function(struct unwinder *unwinder, uint64_t pc, struct unwind_place *place)
{
    Dwfl_Module *module = find_module(unwinder, pc);
    Dwarf_Addr start;
    Dwarf_Addr end;
    Dwarf_Addr bias = 0;
    GElf_Off offset;
    GElf_Sym symbol;

    if (module == NULL)
        return;
    place->module = dwfl_module_info(module, NULL, &start, &end, NULL, NULL, NULL, NULL);
    if (dwfl_module_getelf(module, &bias) != NULL)
        place->offset = pc - bias;
    place->at.function = dwfl_module_addrinfo(module, pc, &offset, &symbol, NULL, NULL, NULL);
    if (pc >= end && (place->at.function == NULL || offset >= symbol.st_size))
        *place = (struct unwind_place){0}; /* Something else that happens to stand there. */
}

static struct unwind_place *find_place(struct unwinder *unwinder, uint64_t pc)
{
    const uint32_t known = table_find(&unwinder->place_of, pc);
    struct unwind_place *place;

    if (known != TABLE_NONE)
        return unwinder->places[known];
    place = table_grow(NULL, 1, sizeof(*place));
    *place = (struct unwind_place){0};
    if (unwinder->dwfl != NULL)
        find_function(unwinder, pc, place);
    unwinder->places = table_grow(unwinder->places, unwinder->place_count + 1, sizeof(place));
    unwinder->places[unwinder->place_count] = place;
    table_set(&unwinder->place_of, pc, unwinder->place_count++);
    return place;
}

const struct unwind_place *unwind_name(struct unwinder *unwinder, uint64_t pc, bool is_return)
{
    return find_place(unwinder, is_return ? pc - 1 : pc);
}

const struct unwind_place *unwind_lines(struct unwinder *unwinder, uint64_t pc, bool is_return)
{
    const uint64_t wanted = is_return ? pc - 1 : pc;
    struct unwind_place *place = find_place(unwinder, wanted);

    if (!place->has_lines && unwinder->dwfl != NULL)
        find_lines(unwinder, wanted, place);
    return place;
}

const char *unwind_symbol(struct unwinder *unwinder, uint64_t address)
{
    return unwind_name(unwinder, address, false)->at.function;
}

/* SPDX-License-Identifier: MIT */
/*
 * context_test.c - what src/arch promises, proven on the CPU it is run on.
 *
 * A program of its own, without the test framework: run_foreign.sh also builds it, statically, for
 * CPUs that are only emulated. Ends with status 0, or with 1 and a line about what is wrong.
 *
 * It wants unwind tables, as most compilers make by default: -fasynchronous-unwind-tables.
 */
#include "arch/context.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(start, end) ((void)(start), (void)(end))
#endif

#define CHECK(condition)                \
    do {                                \
        if (!(condition))               \
            fail(__LINE__, #condition); \
    } while (0)

static void fail(int line, const char *what)
{
    fprintf(stderr, "context_test.c:%d: not so: %s\n", line, what);
    exit(1);
}

/* ---- assembly helpers ----------------------------------------------------------------------- */

/*
 * Load every callee-saved register from `in`, switch, store every one of them to `out`. It stands
 * in a section of its own, whose bounds the linker names, and has no CFI: unwinders stop there.
 *
 * The order in the arrays: integer registers as in dwarf_numbers, then floating-point registers.
 */
void switch_loaded(void **save_sp, void *to_sp, const uint64_t *in, uint64_t *out);

/*
 * An entry function. It stores its very stack pointer in the first word that `arg` points to, and
 * goes on, `arg` in hand, with the function whose address is in the second.
 */
void entry_of_first(void *arg);

#if defined(__x86_64__)

enum {
    INTEGER_REGISTERS = 6,
    FLOAT_REGISTERS = 0,
    FRAME_POINTER = 1,
    ENTRY_SP_MODULO = 8
};
static const int dwarf_numbers[] = {3, 6, 12, 13, 14, 15}; /* rbx rbp r12 r13 r14 r15 */

__asm__(".pushsection .text\n"
        ".globl entry_of_first\n"
        ".hidden entry_of_first\n"
        "entry_of_first:\n"
        "    endbr64\n"
        "    movq %rsp, (%rdi)\n"
        "    jmp *8(%rdi)\n"
        ".popsection\n"
        ".pushsection loaded_code, \"ax\", @progbits\n"
        ".globl switch_loaded\n"
        ".hidden switch_loaded\n"
        "switch_loaded:\n"
        "    pushq %rbx; pushq %rbp; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
        "    pushq %rcx\n"
        "    movq 0(%rdx), %rbx;  movq 8(%rdx), %rbp;  movq 16(%rdx), %r12\n"
        "    movq 24(%rdx), %r13; movq 32(%rdx), %r14; movq 40(%rdx), %r15\n"
        "    call torc__context_switch\n"
        "    popq %rcx\n"
        "    movq %rbx, 0(%rcx);  movq %rbp, 8(%rcx);  movq %r12, 16(%rcx)\n"
        "    movq %r13, 24(%rcx); movq %r14, 32(%rcx); movq %r15, 40(%rcx)\n"
        "    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbp; popq %rbx\n"
        "    ret\n"
        ".popsection\n");

#elif defined(__aarch64__)

enum {
    INTEGER_REGISTERS = 11,
    FLOAT_REGISTERS = 8,
    FRAME_POINTER = 10,
    ENTRY_SP_MODULO = 0
};
static const int dwarf_numbers[] = {19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29};

__asm__(".pushsection .text\n"
        ".p2align 2\n"
        ".globl entry_of_first\n"
        ".hidden entry_of_first\n"
        "entry_of_first:\n"
        "    hint #34\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    ldr x16, [x0, #8]\n"
        "    br x16\n" /* From x16 a branch may arrive at the `bti c` of a function. */
        ".popsection\n"
        ".pushsection loaded_code, \"ax\", %progbits\n"
        ".p2align 2\n"
        ".globl switch_loaded\n"
        ".hidden switch_loaded\n"
        "switch_loaded:\n"
        "    stp x29, x30, [sp, #-176]!\n"
        "    stp x19, x20, [sp, #16]; stp x21, x22, [sp, #32]; stp x23, x24, [sp, #48]\n"
        "    stp x25, x26, [sp, #64]; stp x27, x28, [sp, #80]; stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]; stp d12, d13, [sp, #128]; stp d14, d15, [sp, #144]\n"
        "    str x3, [sp, #160]\n"
        "    ldp x19, x20, [x2]; ldp x21, x22, [x2, #16]; ldp x23, x24, [x2, #32]\n"
        "    ldp x25, x26, [x2, #48]; ldp x27, x28, [x2, #64]; ldr x29, [x2, #80]\n"
        "    ldp d8, d9, [x2, #88]; ldp d10, d11, [x2, #104]\n"
        "    ldp d12, d13, [x2, #120]; ldp d14, d15, [x2, #136]\n"
        "    bl torc__context_switch\n"
        "    ldr x3, [sp, #160]\n"
        "    stp x19, x20, [x3]; stp x21, x22, [x3, #16]; stp x23, x24, [x3, #32]\n"
        "    stp x25, x26, [x3, #48]; stp x27, x28, [x3, #64]; str x29, [x3, #80]\n"
        "    stp d8, d9, [x3, #88]; stp d10, d11, [x3, #104]\n"
        "    stp d12, d13, [x3, #120]; stp d14, d15, [x3, #136]\n"
        "    ldp x19, x20, [sp, #16]; ldp x21, x22, [sp, #32]; ldp x23, x24, [sp, #48]\n"
        "    ldp x25, x26, [sp, #64]; ldp x27, x28, [sp, #80]; ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]; ldp d12, d13, [sp, #128]; ldp d14, d15, [sp, #144]\n"
        "    ldp x29, x30, [sp], #176\n"
        "    ret\n"
        ".popsection\n");

#elif defined(__riscv_float_abi_double)

enum {
    INTEGER_REGISTERS = 12,
    FLOAT_REGISTERS = 12,
    FRAME_POINTER = 0,
    ENTRY_SP_MODULO = 0
};
static const int dwarf_numbers[] = {8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27}; /* s0 .. s11 */

__asm__(".macro each_register load_or_store, fload_or_fstore, base\n"
        "    .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n"
        "    \\load_or_store s\\number, 8 * \\number(\\base)\n"
        "    \\fload_or_fstore fs\\number, 96 + 8 * \\number(\\base)\n"
        "    .endr\n"
        ".endm\n"
        ".pushsection .text\n"
        ".p2align 2\n"
        ".globl entry_of_first\n"
        ".hidden entry_of_first\n"
        "entry_of_first:\n"
        "    sd sp, 0(a0)\n"
        "    ld t1, 8(a0)\n"
        "    jr t1\n"
        ".popsection\n"
        ".pushsection loaded_code, \"ax\", @progbits\n"
        ".p2align 2\n"
        ".globl switch_loaded\n"
        ".hidden switch_loaded\n"
        "switch_loaded:\n"
        "    addi sp, sp, -208\n"
        "    sd ra, 192(sp)\n"
        "    sd a3, 200(sp)\n"
        "    each_register sd, fsd, sp\n"
        "    each_register ld, fld, a2\n"
        "    call torc__context_switch\n"
        "    ld a3, 200(sp)\n"
        "    each_register sd, fsd, a3\n"
        "    each_register ld, fld, sp\n"
        "    ld ra, 192(sp)\n"
        "    addi sp, sp, 208\n"
        "    ret\n"
        ".popsection\n");

#else
#error "context_test.c has no helpers for this CPU"
#endif

enum {
    ALL_REGISTERS = INTEGER_REGISTERS + FLOAT_REGISTERS
};

/* ---- contexts of the tests ------------------------------------------------------------------ */

#define NOINLINE __attribute__((noinline))

/* Functions in a section of their own, so that an address in them can be told by its bounds. */
#define PARKED_CODE __attribute__((noinline, section("parked_code")))

/* The linker makes these names from those of the sections. */
extern const char parked_code_start[] __asm__("__start_parked_code");
extern const char parked_code_stop[] __asm__("__stop_parked_code");
extern const char loaded_code_start[] __asm__("__start_loaded_code");
extern const char loaded_code_stop[] __asm__("__stop_loaded_code");

enum {
    STACK_SIZE = 64 * 1024,
    STACKS = 16
};

static void *main_sp;

/* No stack is used twice, so no sanitizer sees the traces of a context that never returned. */
static unsigned char *fresh_stack(void)
{
    static _Alignas(64) unsigned char stacks[STACKS][STACK_SIZE];
    static int used;
    unsigned char *stack;

    CHECK(used < STACKS);
    stack = stacks[used++];
    (void)VALGRIND_STACK_REGISTER(stack, stack + STACK_SIZE);
    return stack;
}

static void *fresh_context(void (*entry)(void *), void *arg)
{
    return torc__context_make(fresh_stack() + STACK_SIZE, entry, arg);
}

static void enter(void **sp)
{
    torc__context_switch(&main_sp, *sp);
}

/* Its own code goes on after the switch, so it can't be turned into a tail call. */
PARKED_CODE static void park(void **sp)
{
    static volatile unsigned int parks;

    torc__context_switch(sp, main_sp);
    parks++;
}

static uintptr_t word_at(const void *sp, size_t offset)
{
    uintptr_t word;

    memcpy(&word, (const char *)sp + offset, sizeof(word));
    return word;
}

static bool within(uintptr_t address, const void *start, const void *stop)
{
    return address >= (uintptr_t)start && address <= (uintptr_t)stop;
}

/* ---- first entry ---------------------------------------------------------------------------- */

typedef float four_floats __attribute__((vector_size(16)));

static struct {
    uintptr_t entry_sp; /* These two as entry_of_first() wants them. */
    void (*goes_on)(void *);
    void *sp;
    void *arg;
    char text[32];
} first;

static void first_goes_on(void *arg)
{
    volatile double third = -1.5;
    volatile four_floats vector = {1, 2, 3, 4}; /* An aligned store: traps if the stack is not. */

    vector = vector + vector;
    first.arg = arg;
    snprintf(first.text, sizeof(first.text), "%f %g", third * third, (double)vector[3]);
    for (;;) {
        park(&first.sp);
    }
}

static void test_first_entry(void)
{
    unsigned char *stack = fresh_stack();

    first.goes_on = first_goes_on;
    /* An odd stack top, which has to be rounded down. */
    first.sp = torc__context_make(stack + STACK_SIZE - 5, entry_of_first, &first);
    CHECK(word_at(first.sp, TORC__CONTEXT_PC_OFFSET) == (uintptr_t)torc__context_boot);
    CHECK((unsigned char *)first.sp + TORC__CONTEXT_FRAME_SIZE == stack + STACK_SIZE - 16);
    enter(&first.sp);
    CHECK(first.arg == &first);
    CHECK(first.entry_sp % 16 == ENTRY_SP_MODULO);
    CHECK(within(first.entry_sp, stack, stack + STACK_SIZE));
    CHECK(strcmp(first.text, "2.250000 8") == 0);
}

/* ---- registers ------------------------------------------------------------------------------ */

enum {
    LOADED_CONTEXTS = 3,
    LOADED_ROUNDS = 1000
};

static void *loaded_sp[LOADED_CONTEXTS];

/* Different for every context, round and register; as a double it is not a NaN. */
static uint64_t pattern(size_t context, size_t round, size_t reg)
{
    return 0x3ff0000000000000 | (uint64_t)(context + 1) << 40 | (uint64_t)round << 16 | (reg + 1);
}

static void switch_and_check_registers(size_t context, size_t round, void **save_sp, void *to_sp)
{
    uint64_t in[ALL_REGISTERS];
    uint64_t out[ALL_REGISTERS] = {0};

    for (size_t reg = 0; reg < ALL_REGISTERS; reg++) {
        in[reg] = pattern(context, round, reg);
    }
    switch_loaded(save_sp, to_sp, in, out);
    for (size_t reg = 0; reg < ALL_REGISTERS; reg++) {
        CHECK(out[reg] == pattern(context, round, reg));
    }
}

/* Round robin, from context to context; the last one goes back to main. */
static void loaded_entry(void *arg)
{
    const size_t self = (size_t)(uintptr_t)arg;

    for (size_t round = 0;; round++) {
        void **next = self + 1 < LOADED_CONTEXTS ? &loaded_sp[self + 1] : &main_sp;

        switch_and_check_registers(self, round, &loaded_sp[self], *next);
    }
}

static void test_registers_survive(void)
{
    for (size_t i = 0; i < LOADED_CONTEXTS; i++) {
        loaded_sp[i] = fresh_context(loaded_entry, (void *)(uintptr_t)i);
    }
    for (size_t round = 0; round < LOADED_ROUNDS; round++) {
        switch_and_check_registers(LOADED_CONTEXTS, round, &main_sp, loaded_sp[0]);
    }
}

/*
 * The same as compiled code sees it: many values live over switches, next to the same computation
 * without any. A null `sp` means without.
 */
NOINLINE static double compute(void **sp, int seed)
{
    uint64_t i0 = (uint64_t)seed, i1 = 1, i2 = 2, i3 = 3, i4 = 4, i5 = 5, i6 = 6, i7 = 7;
    double f0 = seed, f1 = 1, f2 = 2, f3 = 3, f4 = 4, f5 = 5, f6 = 6, f7 = 7, f8 = 8, f9 = 9;

    for (int round = 0; round < 1000; round++) {
        if (sp != NULL)
            park(sp);
        i0 += i1 * 3, i1 ^= i2 + 5, i2 += i3 * 7, i3 ^= i4 + 11;
        i4 += i5 * 13, i5 ^= i6 + 17, i6 += i7 * 19, i7 ^= i0 + 23;
        f0 += f1 * .5, f1 = f1 * .25 + f2, f2 -= f3 * .125, f3 = f3 * .5 + f4, f4 += 1;
        f5 += f6 * .5, f6 = f6 * .25 + f7, f7 -= f8 * .125, f8 = f8 * .5 + f9, f9 += 2;
    }
    i0 += i1 + i2 + i3 + i4 + i5 + i6 + i7;
    return f0 + f1 + f2 + f3 + f4 + f5 + f6 + f7 + f8 + f9 + (double)(i0 >> 20);
}

static struct {
    void *sp;
    double result;
} computing[2];

static void computing_entry(void *arg)
{
    const int self = (int)(intptr_t)arg;

    computing[self].result = compute(&computing[self].sp, self + 1);
    for (;;) {
        park(&computing[self].sp);
    }
}

static void test_live_values_survive(void)
{
    for (int i = 0; i < 2; i++) {
        computing[i].sp = fresh_context(computing_entry, (void *)(intptr_t)i);
    }
    for (int round = 0; round <= 1000; round++) {
        enter(&computing[0].sp);
        enter(&computing[1].sp);
    }
    for (int i = 0; i < 2; i++) {
        const double expected = compute(NULL, i + 1);

        CHECK(computing[i].result == expected); /* To the last bit. */
    }
}

/* ---- ping-pong ------------------------------------------------------------------------------ */

enum {
    PING_PONG_SWITCHES = 1000000
};

static struct {
    void *sp[2];
    int switches;
    int turn;
} table;

static void player_entry(void *arg)
{
    const int self = (int)(intptr_t)arg;

    for (;;) {
        CHECK(table.turn == self);
        if (table.switches == PING_PONG_SWITCHES)
            park(&table.sp[self]);
        table.switches++;
        table.turn = !self;
        torc__context_switch(&table.sp[self], table.sp[!self]);
    }
}

static void test_ping_pong(void)
{
    table.sp[0] = fresh_context(player_entry, (void *)(intptr_t)0);
    table.sp[1] = fresh_context(player_entry, (void *)(intptr_t)1);
    enter(&table.sp[0]);
    CHECK(table.switches == PING_PONG_SWITCHES);
}

/* ---- unwinding ------------------------------------------------------------------------------ */

enum {
    FRAMES_MAX = 32
};

struct walk {
    int count;
    bool endless;
    uintptr_t pc[FRAMES_MAX];
    uintptr_t sp[FRAMES_MAX];
    uint64_t loaded[INTEGER_REGISTERS]; /* Of the frame of switch_loaded(), if there was one. */
};

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *frame, void *arg)
{
    struct walk *walk = arg;
    const uintptr_t pc = _Unwind_GetIP(frame);

    if (pc == 0)
        return _URC_NO_REASON; /* libgcc's way to say that boot has no caller. */
    if (walk->count == FRAMES_MAX) {
        walk->endless = true;
        return _URC_END_OF_STACK;
    }
    walk->pc[walk->count] = pc;
    walk->sp[walk->count++] = _Unwind_GetCFA(frame);
    if (within(pc, loaded_code_start, loaded_code_stop)) {
        for (int i = 0; i < INTEGER_REGISTERS; i++) {
            walk->loaded[i] = _Unwind_GetGR(frame, dwarf_numbers[i]);
        }
    }
    return _URC_NO_REASON;
}

NOINLINE static void walk_here(void *arg)
{
    struct walk *walk = arg;

    memset(walk, 0, sizeof(*walk));
    _Unwind_Backtrace(note_frame, walk);
    CHECK(!walk->endless);
    CHECK(walk->count > 1);
}

/* The place of the innermost frame of `walk` with a pc in a range, or -1. */
static int find_frame(const struct walk *walk, const void *start, const void *stop)
{
    for (int i = 0; i < walk->count; i++) {
        if (within(walk->pc[i], start, stop))
            return i;
    }
    return -1;
}

static bool ends_at_boot(const struct walk *walk)
{
    return walk->pc[walk->count - 1] - (uintptr_t)torc__context_boot <= 12;
}

static struct walk walk; /* Static, as it would not fit well on every stack. */
static void *walker_sp;

PARKED_CODE static int walk_deep(int depth)
{
    if (depth > 0)
        return walk_deep(depth - 1) + 1;
    walk_here(&walk);
    return 0;
}

static void walker_entry(void *arg)
{
    (void)arg;
    CHECK(walk_deep(3) == 3);
    for (;;) {
        park(&walker_sp);
    }
}

static void test_unwinding_inside_ends_at_boot(void)
{
    walker_sp = fresh_context(walker_entry, NULL);
    enter(&walker_sp);
    CHECK(find_frame(&walk, parked_code_start, parked_code_stop) >= 0);
    CHECK(ends_at_boot(&walk));
}

static void test_unwinding_a_parked_context(void)
{
    int parked;

    torc__context_call_as_parked(walker_sp, walk_here, &walk);
    parked = find_frame(&walk, parked_code_start, parked_code_stop);
    CHECK(parked > 0);
    CHECK(walk.pc[parked] == word_at(walker_sp, TORC__CONTEXT_PC_OFFSET));
    CHECK(walk.sp[parked] == (uintptr_t)walker_sp + TORC__CONTEXT_FRAME_SIZE);
    CHECK(parked == walk.count - 3); /* park, walker_entry, boot: nothing of main. */
    CHECK(ends_at_boot(&walk));

    enter(&walker_sp); /* Unharmed. */
}

static void test_unwinding_a_new_context(void)
{
    const uintptr_t boot = (uintptr_t)torc__context_boot;
    uintptr_t cfi_start;

    torc__context_call_as_parked(fresh_context(walker_entry, NULL), walk_here, &walk);
    CHECK(walk.pc[walk.count - 1] == boot);

    /* Unwinders look one byte before, where there has to be CFI of boot, and of nothing else. */
    cfi_start = (uintptr_t)_Unwind_FindEnclosingFunction((void *)boot);
    CHECK(cfi_start < boot && boot - cfi_start <= 4);
}

/* The CFI of call_as_parked finds each register where the switch has put it. */
static void test_unwinding_finds_registers(void)
{
    const size_t round = LOADED_ROUNDS - 1;

    torc__context_call_as_parked(loaded_sp[0], walk_here, &walk);
    CHECK(find_frame(&walk, loaded_code_start, loaded_code_stop) == walk.count - 1);
    for (size_t reg = 0; reg < INTEGER_REGISTERS; reg++) {
        CHECK(walk.loaded[reg] == pattern(0, round, reg));
    }
    CHECK(word_at(loaded_sp[0], TORC__CONTEXT_FP_OFFSET) == pattern(0, round, FRAME_POINTER));
}

static void test_resume_lies_in_switch(void)
{
    CHECK((uintptr_t)torc__context_resume - (uintptr_t)torc__context_switch < 128);
}

int main(void)
{
    test_first_entry();
    test_registers_survive();
    test_live_values_survive();
    test_ping_pong();
    test_unwinding_inside_ends_at_boot();
    test_unwinding_a_parked_context();
    test_unwinding_a_new_context();
    test_unwinding_finds_registers();
    test_resume_lies_in_switch();
    puts("context_test: ok");
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * context.h - leave one stack, go on with another.
 *
 * A parked context is one pointer: the stack pointer below a frame of saved registers, the same
 * for every context of a CPU. Such a frame, seen from the sp that torc__context_switch() stored:
 *
 *       higher addresses
 *       ...                              frames of the code that parked
 *     + TORC__CONTEXT_FRAME_SIZE         their stack pointer once switch has returned
 *     + TORC__CONTEXT_PC_OFFSET          where switch will return to
 *     + TORC__CONTEXT_FP_OFFSET          frame pointer
 *     + ...                              the other callee-saved registers, as drawn in each .S
 *     + 0                                the saved sp
 *
 * Only what the ABI calls callee-saved is kept: for its caller the switch is a function call, and
 * the compiler has already put away all else. The floating-point control words (x86: MXCSR and x87
 * control word; FPCR, fcsr elsewhere) are deliberately not kept, although the x86 ABI counts their
 * control bits as callee-saved: it would add 3.7 ns to a switch of 5. So a rounding mode or an
 * exception mask does not survive a wait, and leaks to whoever runs next: restore it before.
 *
 * Contexts never leave their thread. Compilers keep addresses of thread-local variables over a
 * call, and would go on using those of the old thread.
 *
 * The .S files include this header for the frame's constants.
 */
#ifndef TORC_ARCH_CONTEXT_H
#define TORC_ARCH_CONTEXT_H

/*
 * The frame. ENTRY and ARG are two callee-saved registers in which a first frame carries what
 * torc__context_boot() shall call. Debuggers need none of these numbers to unwind a parked context:
 * the CFI at torc__context_resume, with the saved sp as stack pointer, describes all of it.
 */
#if defined(__x86_64__) && !defined(__ILP32__)
#define TORC__CONTEXT_FRAME_SIZE   56
#define TORC__CONTEXT_PC_OFFSET    48
#define TORC__CONTEXT_FP_OFFSET    40 /* rbp */
#define TORC__CONTEXT_ENTRY_OFFSET 24 /* r12 */
#define TORC__CONTEXT_ARG_OFFSET   32 /* rbx */
#elif defined(__aarch64__) && !defined(__ILP32__)
#define TORC__CONTEXT_FRAME_SIZE   160
#define TORC__CONTEXT_PC_OFFSET    8
#define TORC__CONTEXT_FP_OFFSET    0  /* x29 */
#define TORC__CONTEXT_ENTRY_OFFSET 24 /* x20 */
#define TORC__CONTEXT_ARG_OFFSET   16 /* x19 */
#elif defined(__riscv) && __riscv_xlen == 64
#if defined(__riscv_float_abi_double)
#define TORC__CONTEXT_FRAME_SIZE 208
#elif defined(__riscv_float_abi_soft)
#define TORC__CONTEXT_FRAME_SIZE 112
#else
#error "torc: of the RISC-V ABIs only lp64 and lp64d are supported"
#endif
#define TORC__CONTEXT_PC_OFFSET    0
#define TORC__CONTEXT_FP_OFFSET    8  /* s0 */
#define TORC__CONTEXT_ENTRY_OFFSET 24 /* s2 */
#define TORC__CONTEXT_ARG_OFFSET   16 /* s1 */
#else
#error "torc: no context switch for this CPU; it needs a file of its own in src/arch"
#endif

#ifndef __ASSEMBLER__

#include <stdint.h>
#include <string.h>

/* What an ABI wants a stack pointer to be a multiple of where a call is made. */
#define TORC__CONTEXT_STACK_ALIGN 16

/* Hidden in the declarations as well, so that no call goes through a PLT and no address a GOT. */
#pragma GCC visibility push(hidden)

/*
 * Save the running context on its stack, store its stack pointer in *save_sp, and go on with the
 * context parked at `to_sp`. Returns when somebody switches to the pointer that was stored.
 *
 * Call it from one place, as a tail call: it returns by `ret`, and the CPU predicts that, and the
 * returns after it, well as long as all contexts have parked on the same path. *save_sp is written
 * before `to_sp` is adopted; a context may not switch to itself.
 */
void torc__context_switch(void **save_sp, void *to_sp);

#if defined(__x86_64__)
#define TORC__CONTEXT_HAS_START 1
/*
 * Save the running context as torc__context_switch() does, and call entry(arg) at `stack_top`,
 * whose first frame this is. A switch to torc__context_make() does the same, but its `ret` into
 * boot, and the switch away in which a context ends, upset the processor's prediction of returns:
 * 25 ns more for a fiber that runs once.
 */
void torc__context_start(void **save_sp, void *stack_top, void (*entry)(void *), void *arg);
#endif

/*
 * The first return address of a context: calls its entry function. Not for calling. It is the
 * outermost frame for every unwinder (return address undefined, frame pointer 0), and it stops the
 * process with a trap should the entry function ever return.
 */
void torc__context_boot(void);

/*
 * Run fn(arg) on the running stack, but with CFI by which its caller is the code that parked with
 * `parked_sp`: an unwinder started in fn, or in what fn calls, walks into the parked context. The
 * parked stack is read, never written, so this is fit for signal handlers.
 *
 * For unwinders in the process that follow CFI (libgcc, libunwind). Followers of frame pointers see
 * the truth. gdb takes a caller with a lower stack than its callee for a corrupt one, so it often
 * stops here; let it start from torc__context_resume. fn has to return: no exception, no longjmp.
 */
void torc__context_call_as_parked(void *parked_sp, void (*fn)(void *), void *arg);

/*
 * The address, inside switch, at which every parked context stands, new ones included: all saved,
 * nothing restored. An unwinder that starts with this pc and the saved sp walks the context.
 */
extern const char torc__context_resume[];

#pragma GCC visibility pop

/*
 * Lay out the frame from which the first switch to a context calls entry(arg), at the top of its
 * stack; returns the sp to switch to. `stack_top` is the address behind the stack's last byte, and
 * is rounded down to what the ABI asks for. `entry` must not return: its last act is a switch away.
 */
static inline void *torc__context_make(void *stack_top, void (*entry)(void *), void *arg)
{
    const uintptr_t top = (uintptr_t)stack_top & ~(uintptr_t)(TORC__CONTEXT_STACK_ALIGN - 1);
    char *frame = (char *)(top - TORC__CONTEXT_FRAME_SIZE);
    void (*boot)(void) = torc__context_boot;

    /* Zeros also end a chain of frame pointers, and make first runs on a reused stack the same. */
    memset(frame, 0, TORC__CONTEXT_FRAME_SIZE);
    memcpy(frame + TORC__CONTEXT_PC_OFFSET, &boot, sizeof(boot));
    memcpy(frame + TORC__CONTEXT_ENTRY_OFFSET, &entry, sizeof(entry));
    memcpy(frame + TORC__CONTEXT_ARG_OFFSET, &arg, sizeof(arg));
    return frame;
}

#ifndef TORC__CONTEXT_HAS_START
static inline void torc__context_start(void **save_sp, void *stack_top, void (*entry)(void *),
                                       void *arg)
{
    torc__context_switch(save_sp, torc__context_make(stack_top, entry, arg));
}
#endif

#endif /* __ASSEMBLER__ */
#endif

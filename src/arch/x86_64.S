/* SPDX-License-Identifier: MIT */
/*
 * x86_64.S - the context switch for x86-64, System V ABI. See context.h for what the functions do.
 *
 * The frame of a parked context:
 *
 *     sp + 56   the stack pointer after the return; the CFA of the frame
 *     sp + 48   return address
 *     sp + 40   rbp
 *     sp + 32   rbx        in a first frame: arg
 *     sp + 24   r12        in a first frame: entry
 *     sp + 16   r13
 *     sp +  8   r14
 *     sp        r15
 *
 * All saves stand at fixed distances from the CFA, and the CFI names each of them, so a debugger
 * unwinds a parked context from its sp alone.
 *
 * Control-flow protection. The object claims IBT (the note at the end): endbr64 stands wherever an
 * indirect call may arrive; a `ret` needs none, so neither torc__context_resume nor boot has one.
 * It does not claim SHSTK, and so must not include <cet.h>, whose note claims both: a switch
 * changes stacks under the shadow stack, and a process whose loader had turned that on would
 * die at the first one. The linker ANDs the claims of all objects; one without keeps it off.
 */
#include "arch/context.h"

/* The frame of a parked context, on the stack that is being left. */
.macro save_registers
    pushq   %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    pushq   %rbx
    .cfi_def_cfa_offset 24
    .cfi_offset rbx, -24
    pushq   %r12
    .cfi_def_cfa_offset 32
    .cfi_offset r12, -32
    pushq   %r13
    .cfi_def_cfa_offset 40
    .cfi_offset r13, -40
    pushq   %r14
    .cfi_def_cfa_offset 48
    .cfi_offset r14, -48
    pushq   %r15
    .cfi_def_cfa_offset 56
    .cfi_offset r15, -56
.endm

    .text
    .globl  torc__context_switch
    .hidden torc__context_switch
    .type   torc__context_switch, @function
    .p2align 5                      /* its 31 bytes lie in one cache line */
torc__context_switch:
    .cfi_startproc
    endbr64
    save_registers
    movq    %rsp, (%rdi)
    movq    %rsi, %rsp
    .globl  torc__context_resume
    .hidden torc__context_resume
torc__context_resume:
    popq    %r15
    .cfi_def_cfa_offset 48
    .cfi_restore r15
    popq    %r14
    .cfi_def_cfa_offset 40
    .cfi_restore r14
    popq    %r13
    .cfi_def_cfa_offset 32
    .cfi_restore r13
    popq    %r12
    .cfi_def_cfa_offset 24
    .cfi_restore r12
    popq    %rbx
    .cfi_def_cfa_offset 16
    .cfi_restore rbx
    popq    %rbp
    .cfi_def_cfa_offset 8
    .cfi_restore rbp
    ret
    .cfi_endproc
    .size   torc__context_switch, . - torc__context_switch

    .globl  torc__context_start
    .hidden torc__context_start
    .type   torc__context_start, @function
    .p2align 5
torc__context_start:
    .cfi_startproc
    endbr64
    save_registers
    movq    %rsp, (%rdi)            /* parked, in the frame that torc__context_switch makes */
    andq    $-16, %rsi              /* TORC__CONTEXT_STACK_ALIGN */
    leaq    .Lboot_called(%rip), %rax
    movq    %rax, -8(%rsi)          /* as if boot had called entry */
    leaq    -8(%rsi), %rsp
    .cfi_def_cfa rsp, 8
    .cfi_same_value rbp
    .cfi_same_value rbx
    .cfi_same_value r12
    .cfi_same_value r13
    .cfi_same_value r14
    .cfi_same_value r15
    movq    %rcx, %rdi
    xorl    %ebp, %ebp              /* ends the chain of frame pointers */
    jmp     *%rdx
    .cfi_endproc
    .size   torc__context_start, . - torc__context_start

    /*
     * Unwinders look up a return address minus one, the call it belongs to. No call leads to boot,
     * so a nop stands in its place, within the same CFI.
     */
    .p2align 4
    .cfi_startproc
    .cfi_undefined rip
    .cfi_def_cfa_offset 0           /* the stack begins here; there is no return address above */
    nop
    .globl  torc__context_boot
    .hidden torc__context_boot
    .type   torc__context_boot, @function
torc__context_boot:
    movq    %rbx, %rdi
    call    *%r12
.Lboot_called:
    ud2
    .cfi_endproc
    .size   torc__context_boot, . - torc__context_boot

    .globl  torc__context_call_as_parked
    .hidden torc__context_call_as_parked
    .type   torc__context_call_as_parked, @function
    .p2align 4
torc__context_call_as_parked:
    .cfi_startproc
    endbr64
    pushq   %rbx
    .cfi_def_cfa_offset 16
    .cfi_offset rbx, -16
    movq    %rdi, %rbx              /* survives fn, so the CFI can rely on it */
    movq    %rdx, %rdi
    .cfi_remember_state
    .cfi_def_cfa rbx, TORC__CONTEXT_FRAME_SIZE
    .cfi_offset rbp, -16
    .cfi_offset rbx, -24
    .cfi_offset r12, -32
    .cfi_offset r13, -40
    .cfi_offset r14, -48
    .cfi_offset r15, -56
    call    *%rsi                   /* the only instruction with the other caller */
    .cfi_restore_state
    popq    %rbx
    .cfi_def_cfa_offset 8
    .cfi_restore rbx
    ret
    .cfi_endproc
    .size   torc__context_call_as_parked, . - torc__context_call_as_parked

    .section .note.GNU-stack, "", @progbits

    .section .note.gnu.property, "a", @note
    .p2align 3
    .long   4, 16, 5                /* sizes of name and contents; NT_GNU_PROPERTY_TYPE_0 */
    .asciz  "GNU"
    .long   0xc0000002, 4           /* GNU_PROPERTY_X86_FEATURE_1_AND, its size */
    .long   1, 0                    /* IBT; padding */

/* SPDX-License-Identifier: MIT */
/*
 * aarch64.S - the context switch for 64-bit Arm, AAPCS64. See context.h for what the functions do.
 *
 * The frame of a parked context:
 *
 *     sp + 160         the stack pointer after the return; the CFA of the frame
 *     sp + 96 .. 152   d8 .. d15      the callee-saved halves of v8 .. v15
 *     sp + 32 .. 88    x21 .. x28
 *     sp + 24          x20            in a first frame: entry
 *     sp + 16          x19            in a first frame: arg
 *     sp +  8          x30            return address
 *     sp               x29            frame pointer
 *
 * x18 belongs to the platform and is left alone; so is all of SVE beyond d8 .. d15, which a
 * function with these arguments need not keep.
 *
 * Branch protection. The object claims BTI (the note at the end): `bti c` stands wherever an
 * indirect call may arrive; a `ret` needs no landing pad, so neither torc__context_resume nor boot
 * has one. It is written as the hint it is, a nop on older cores and for older assemblers. Callers
 * that sign their return addresses (PAC) stay right, since the modifier is their stack pointer and
 * stacks never move. It does not claim GCS, the shadow stack: a switch changes stacks under it.
 * The linker ANDs the claims of all objects; one without keeps it off.
 */
#include "arch/context.h"

#define BTI_C hint #34

/* Where the CFA is known, all the rest of a parked frame is at a fixed distance below it. */
.macro cfi_saved_registers
    .cfi_offset x29, -160
    .cfi_offset x30, -152
    .cfi_offset x19, -144
    .cfi_offset x20, -136
    .cfi_offset x21, -128
    .cfi_offset x22, -120
    .cfi_offset x23, -112
    .cfi_offset x24, -104
    .cfi_offset x25, -96
    .cfi_offset x26, -88
    .cfi_offset x27, -80
    .cfi_offset x28, -72
    .cfi_offset 72, -64             /* DWARF's number of d8; not every assembler knows the name */
    .cfi_offset 73, -56
    .cfi_offset 74, -48
    .cfi_offset 75, -40
    .cfi_offset 76, -32
    .cfi_offset 77, -24
    .cfi_offset 78, -16
    .cfi_offset 79, -8
.endm

    .text
    .globl  torc__context_switch
    .hidden torc__context_switch
    .type   torc__context_switch, %function
    .p2align 6                      /* two cache lines, not three */
torc__context_switch:
    .cfi_startproc
    BTI_C
    .cfi_remember_state
    sub     sp, sp, #TORC__CONTEXT_FRAME_SIZE
    .cfi_def_cfa_offset TORC__CONTEXT_FRAME_SIZE
    stp     x29, x30, [sp]
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    stp     d8, d9, [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    cfi_saved_registers
    mov     x9, sp
    str     x9, [x0]
    mov     sp, x1
    .globl  torc__context_resume
    .hidden torc__context_resume
torc__context_resume:
    ldp     x29, x30, [sp]
    ldp     x19, x20, [sp, #16]
    ldp     x21, x22, [sp, #32]
    ldp     x23, x24, [sp, #48]
    ldp     x25, x26, [sp, #64]
    ldp     x27, x28, [sp, #80]
    ldp     d8, d9, [sp, #96]
    ldp     d10, d11, [sp, #112]
    ldp     d12, d13, [sp, #128]
    ldp     d14, d15, [sp, #144]
    add     sp, sp, #TORC__CONTEXT_FRAME_SIZE
    .cfi_restore_state
    ret
    .cfi_endproc
    .size   torc__context_switch, . - torc__context_switch

    /*
     * Unwinders look up a return address minus one, the call it belongs to. No call leads to boot,
     * so a nop stands in its place, within the same CFI.
     */
    .p2align 4
    .cfi_startproc
    .cfi_undefined x30
    nop
    .globl  torc__context_boot
    .hidden torc__context_boot
    .type   torc__context_boot, %function
torc__context_boot:
    mov     x0, x19
    blr     x20
    brk     #1
    .cfi_endproc
    .size   torc__context_boot, . - torc__context_boot

    .globl  torc__context_call_as_parked
    .hidden torc__context_call_as_parked
    .type   torc__context_call_as_parked, %function
    .p2align 4
torc__context_call_as_parked:
    .cfi_startproc
    BTI_C
    .cfi_remember_state
    stp     x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset x29, -32
    .cfi_offset x30, -24
    str     x19, [sp, #16]
    .cfi_offset x19, -16
    mov     x29, sp                 /* followers of frame pointers see the true caller */
    mov     x19, x0                 /* survives fn, so the CFI can rely on it */
    mov     x9, x1
    mov     x0, x2
    .cfi_remember_state
    .cfi_def_cfa x19, TORC__CONTEXT_FRAME_SIZE
    cfi_saved_registers
    blr     x9                      /* the only instruction with the other caller */
    .cfi_restore_state
    ldr     x19, [sp, #16]
    ldp     x29, x30, [sp], #32
    .cfi_restore_state
    ret
    .cfi_endproc
    .size   torc__context_call_as_parked, . - torc__context_call_as_parked

    .section .note.GNU-stack, "", %progbits

    .section .note.gnu.property, "a", %note
    .p2align 3
    .word   4, 16, 5                /* sizes of name and contents; NT_GNU_PROPERTY_TYPE_0 */
    .asciz  "GNU"
    .word   0xc0000000, 4           /* GNU_PROPERTY_AARCH64_FEATURE_1_AND, its size */
    .word   1, 0                    /* BTI; padding */

/* SPDX-License-Identifier: MIT */
/*
 * riscv64.S - the context switch for 64-bit RISC-V, ABIs lp64d and lp64 (soft float). See context.h
 * for what the functions do.
 *
 * The frame of a parked context; soft float has none above s11, and is 112 bytes:
 *
 *     sp + 208          the stack pointer after the return; the CFA of the frame
 *     sp + 112 .. 200   fs0 .. fs11
 *     sp + 104          unused, for alignment
 *     sp + 32 .. 96     s3 .. s11
 *     sp + 24           s2            in a first frame: entry
 *     sp + 16           s1            in a first frame: arg
 *     sp +  8           s0            frame pointer
 *     sp                ra            return address
 *
 * The vector registers are caller-saved. gp and tp are the thread's, and contexts never leave it.
 */
#include "arch/context.h"

#define FRAME TORC__CONTEXT_FRAME_SIZE

/* Where the CFA is known, all the rest of a parked frame is at a fixed distance below it. */
.macro cfi_saved_registers
    .cfi_offset ra, 0 - FRAME
    .cfi_offset s0, 8 - FRAME
    .cfi_offset s1, 16 - FRAME
    .cfi_offset s2, 24 - FRAME
    .cfi_offset s3, 32 - FRAME
    .cfi_offset s4, 40 - FRAME
    .cfi_offset s5, 48 - FRAME
    .cfi_offset s6, 56 - FRAME
    .cfi_offset s7, 64 - FRAME
    .cfi_offset s8, 72 - FRAME
    .cfi_offset s9, 80 - FRAME
    .cfi_offset s10, 88 - FRAME
    .cfi_offset s11, 96 - FRAME
#if defined(__riscv_float_abi_double)
    .cfi_offset fs0, 112 - FRAME
    .cfi_offset fs1, 120 - FRAME
    .cfi_offset fs2, 128 - FRAME
    .cfi_offset fs3, 136 - FRAME
    .cfi_offset fs4, 144 - FRAME
    .cfi_offset fs5, 152 - FRAME
    .cfi_offset fs6, 160 - FRAME
    .cfi_offset fs7, 168 - FRAME
    .cfi_offset fs8, 176 - FRAME
    .cfi_offset fs9, 184 - FRAME
    .cfi_offset fs10, 192 - FRAME
    .cfi_offset fs11, 200 - FRAME
#endif
.endm

    .text
    .globl  torc__context_switch
    .hidden torc__context_switch
    .type   torc__context_switch, @function
    .p2align 4
torc__context_switch:
    .cfi_startproc
    .cfi_remember_state
    addi    sp, sp, -FRAME
    .cfi_def_cfa_offset FRAME
    sd      ra, 0(sp)
    sd      s0, 8(sp)
    sd      s1, 16(sp)
    sd      s2, 24(sp)
    sd      s3, 32(sp)
    sd      s4, 40(sp)
    sd      s5, 48(sp)
    sd      s6, 56(sp)
    sd      s7, 64(sp)
    sd      s8, 72(sp)
    sd      s9, 80(sp)
    sd      s10, 88(sp)
    sd      s11, 96(sp)
#if defined(__riscv_float_abi_double)
    fsd     fs0, 112(sp)
    fsd     fs1, 120(sp)
    fsd     fs2, 128(sp)
    fsd     fs3, 136(sp)
    fsd     fs4, 144(sp)
    fsd     fs5, 152(sp)
    fsd     fs6, 160(sp)
    fsd     fs7, 168(sp)
    fsd     fs8, 176(sp)
    fsd     fs9, 184(sp)
    fsd     fs10, 192(sp)
    fsd     fs11, 200(sp)
#endif
    cfi_saved_registers
    sd      sp, 0(a0)
    mv      sp, a1
    .globl  torc__context_resume
    .hidden torc__context_resume
torc__context_resume:
    ld      ra, 0(sp)
    ld      s0, 8(sp)
    ld      s1, 16(sp)
    ld      s2, 24(sp)
    ld      s3, 32(sp)
    ld      s4, 40(sp)
    ld      s5, 48(sp)
    ld      s6, 56(sp)
    ld      s7, 64(sp)
    ld      s8, 72(sp)
    ld      s9, 80(sp)
    ld      s10, 88(sp)
    ld      s11, 96(sp)
#if defined(__riscv_float_abi_double)
    fld     fs0, 112(sp)
    fld     fs1, 120(sp)
    fld     fs2, 128(sp)
    fld     fs3, 136(sp)
    fld     fs4, 144(sp)
    fld     fs5, 152(sp)
    fld     fs6, 160(sp)
    fld     fs7, 168(sp)
    fld     fs8, 176(sp)
    fld     fs9, 184(sp)
    fld     fs10, 192(sp)
    fld     fs11, 200(sp)
#endif
    addi    sp, sp, FRAME
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
    .cfi_undefined ra
    nop
    .globl  torc__context_boot
    .hidden torc__context_boot
    .type   torc__context_boot, @function
torc__context_boot:
    mv      a0, s1
    jalr    s2
    ebreak
    .cfi_endproc
    .size   torc__context_boot, . - torc__context_boot

    .globl  torc__context_call_as_parked
    .hidden torc__context_call_as_parked
    .type   torc__context_call_as_parked, @function
    .p2align 4
torc__context_call_as_parked:
    .cfi_startproc
    .cfi_remember_state
    addi    sp, sp, -16
    .cfi_def_cfa_offset 16
    sd      ra, 8(sp)
    .cfi_offset ra, -8
    sd      s1, 0(sp)
    .cfi_offset s1, -16
    mv      s1, a0                  /* survives fn, so the CFI can rely on it */
    mv      a5, a1
    mv      a0, a2
    .cfi_remember_state
    .cfi_def_cfa s1, FRAME
    cfi_saved_registers
    jalr    a5                      /* the only instruction with the other caller */
    .cfi_restore_state
    ld      ra, 8(sp)
    ld      s1, 0(sp)
    addi    sp, sp, 16
    .cfi_restore_state
    ret
    .cfi_endproc
    .size   torc__context_call_as_parked, . - torc__context_call_as_parked

    .section .note.GNU-stack, "", @progbits

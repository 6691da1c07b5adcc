/* SPDX-License-Identifier: MIT */
/*
 * unwind_thread.c - what an unwinder starts from: registers of a stopped thread, copied memory.
 */
#include "unwind.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#if defined(__x86_64__)
typedef struct user_regs_struct thread_registers;

static void translate(const thread_registers *from, struct unwind_registers *to)
{
    const uint64_t values[] = {from->rax, from->rdx, from->rcx, from->rbx, from->rsi, from->rdi,
                               from->rbp, from->rsp, from->r8,  from->r9,  from->r10, from->r11,
                               from->r12, from->r13, from->r14, from->r15, from->rip};

    to->pc = from->rip;
    to->sp = from->rsp;
    memcpy(to->value, values, sizeof(values));
    to->known = (UINT64_C(1) << (sizeof(values) / sizeof(values[0]))) - 1;
}
#elif defined(__aarch64__)
typedef struct user_regs_struct thread_registers;

static void translate(const thread_registers *from, struct unwind_registers *to)
{
    to->pc = from->pc;
    to->sp = from->sp;
    memcpy(to->value, from->regs, sizeof(from->regs));
    to->value[31] = from->sp;
    to->known = UINT32_MAX;
}
#else /* riscv64: the pc, and x1 to x31 */
typedef struct {
    uint64_t pc;
    uint64_t x[31];
} thread_registers;

static void translate(const thread_registers *from, struct unwind_registers *to)
{
    to->pc = from->pc;
    to->sp = from->x[1];
    memcpy(to->value + 1, from->x, sizeof(from->x));
    to->known = UINT32_MAX;
}
#endif

int unwind_thread(pid_t thread, struct unwind_registers *ret_registers)
{
    thread_registers registers;
    struct iovec vector = {&registers, sizeof(registers)};

    if (ptrace(PTRACE_GETREGSET, thread, (void *)(uintptr_t)NT_PRSTATUS, &vector) < 0)
        return -errno;
    memset(ret_registers, 0, sizeof(*ret_registers));
    translate(&registers, ret_registers);
    return 0;
}

bool unwind_read(const struct unwind_memory *memory, uint64_t address, void *to, size_t length)
{
    for (unsigned i = 0; i < UNWIND_RANGES; i++) {
        const uint64_t at = address - memory->ranges[i].address;

        if (at < memory->ranges[i].length && length <= memory->ranges[i].length - at) {
            memcpy(to, (const char *)memory->ranges[i].bytes + at, length);
            return true;
        }
    }
    return false;
}

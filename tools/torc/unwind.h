/* SPDX-License-Identifier: MIT */
/*
 * unwind.h - from registers and a copy of a stack to the calls on it, and from addresses to names.
 *
 * By the call frame information that every program carries (.eh_frame), so frame pointers are not
 * needed. What a pc means is worked out once: 10,000 fibers have few different ones.
 */
#ifndef TORC_TOOL_UNWIND_H
#define TORC_TOOL_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct unwinder;

enum {
    UNWIND_REGISTERS = 36, /* by their DWARF numbers */
    UNWIND_DEPTH_MAX = 100,
    UNWIND_RANGES = 2,
    UNWIND_INLINED_MAX = 8,
};

struct unwind_registers {
    uint64_t pc;
    uint64_t sp;
    uint64_t value[UNWIND_REGISTERS];
    uint64_t known; /* a bit for each */
};

/* Memory as it was when the process was looked at. */
struct unwind_memory {
    struct {
        uint64_t address;
        size_t length;
        const void *bytes;
    } ranges[UNWIND_RANGES];
};

/* A place in the source. */
struct unwind_source {
    const char *function; /* NULL: not known */
    const char *file;     /* NULL: not known */
    int line;
};

/* Where a pc is. */
struct unwind_place {
    struct unwind_source at; /* in the function that the linker knows */
    const char *module;      /* the file's path; NULL: none */
    uint64_t offset;         /* in the module, as addr2line wants it */
    bool has_lines;          /* They have been looked for. */
    unsigned inlined_count;
    struct unwind_source inlined[UNWIND_INLINED_MAX]; /* in that function, innermost first */
};

/* Look at the files of a process. NULL where this command was built without elfutils. */
struct unwinder *unwind_open(pid_t pid);
void unwind_close(struct unwinder *unwinder);

/* Copy memory out of the ranges. False if it is not in any. */
bool unwind_read(const struct unwind_memory *memory, uint64_t address, void *to, size_t length);

/*
 * The calls from `registers` outwards. pcs[0] is where it stands, the others are return addresses.
 * Returns how many.
 */
unsigned unwind_walk(struct unwinder *unwinder, const struct unwind_registers *registers,
                     const struct unwind_memory *memory, uint64_t *pcs);

/*
 * Name the function at a pc; `is_return` if it is a return address, which is behind its call. And
 * also the lines, with what is inlined there, which takes far longer for the first of a file.
 */
const struct unwind_place *unwind_name(struct unwinder *unwinder, uint64_t pc, bool is_return);
const struct unwind_place *unwind_lines(struct unwinder *unwinder, uint64_t pc, bool is_return);

/* The name of what stands at an address; NULL if it is not known. */
const char *unwind_symbol(struct unwinder *unwinder, uint64_t address);

/* Registers of a stopped thread, from ptrace. 0 or a negative errno. */
int unwind_thread(pid_t thread, struct unwind_registers *ret_registers);

#endif

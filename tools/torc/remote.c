/* SPDX-License-Identifier: MIT */
/*
 * remote.c - another process: its memory, and torc's structures in it.
 *
 * Every ELF file that is mapped from its beginning is looked at, in memory: so this works whatever
 * has become of the files, and in containers.
 */
#include "remote.h"

#include "output.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <torc/error.h>
#include <torc/inspect.h>

enum {
    PROGRAM_HEADERS_MAX = 64,
    NOTES_MAX = 64 * 1024, /* bytes of a segment of notes */
    FIELDS_MAX = 256,
};

static const char *const field_names[REMOTE_FIELD_COUNT] = {
    [SHARD_SIZE] = "shard.size",
    [SHARD_NEXT] = "shard.next",
    [SHARD_INDEX] = "shard.index",
    [SHARD_THREAD] = "shard.thread",
    [SHARD_RUNNING] = "shard.running",
    [SHARD_LOOP] = "shard.loop",
    [SHARD_ROUND_TIME] = "shard.round_time",
    [SHARD_ALIVE] = "shard.alive",
    [SHARD_CHUNKS] = "shard.chunks",
    [SHARD_MAILBOX] = "shard.mailbox",
    [SHARD_DRIVER] = "shard.driver",
    [SHARD_TOLD] = "shard.told",
    [SHARD_FEEDS] = "shard.feeds",
    [FIBER_SIZE] = "fiber.size",
    [FIBER_SP] = "fiber.sp",
    [FIBER_SINCE] = "fiber.since",
    [FIBER_SCOPE] = "fiber.scope",
    [FIBER_HOME] = "fiber.home",
    [FIBER_WAIT] = "fiber.wait",
    [FIBER_WAITS_FOR] = "fiber.waits_for",
    [FIBER_STATE] = "fiber.state",
    [FIBER_ID] = "fiber.id",
    [FIBER_STACK] = "fiber.stack",
    [FIBER_BODY] = "fiber.body",
    [FIBER_DEADLINE] = "fiber.deadline",
    [CHUNK_SIZE] = "chunk.size",
    [CHUNK_FIBERS] = "chunk.fibers",
    [CHUNK_NEXT] = "chunk.next",
    [SCOPE_SIZE] = "scope.size",
    [SCOPE_PARENT] = "scope.parent",
    [SCOPE_OWNER] = "scope.owner",
    [SCOPE_REASON] = "scope.reason",
    [SCOPE_FLAGS] = "scope.flags",
    [SCOPE_FIBERS] = "scope.fibers",
    [SCOPE_TIMER] = "scope.timer",
    [SCOPE_DEADLINE] = "scope.deadline",
    [STACK_SIZE] = "stack.size",
    [STACK_LOW] = "stack.low",
    [STACK_TOP] = "stack.top",
    [STACK_NAME] = "stack.name",
    [OP_SIZE] = "op.size",
    [OP_OPCODE] = "op.opcode",
    [OP_FD] = "op.fd",
    [OP_NEXT] = "op.next",
    [OP_OPENER] = "op.opener",
    [DRIVER_OPS] = "driver.ops",
    [DRIVER_NAME] = "driver.name",
};

/* ---- Memory ---- */

static ssize_t read_part(pid_t pid, uint64_t address, void *to, size_t length)
{
    const struct iovec local = {to, length};
    const struct iovec remote = {(void *)(uintptr_t)address, length};

    return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}

size_t remote_read_most(pid_t pid, uint64_t address, void *to, size_t length)
{
    const size_t page = 4096; /* or more: then a page is read in parts */
    size_t done = 0;

    while (done < length) {
        const size_t rest = page - (size_t)((address + done) % page);
        const size_t part = rest < length - done ? rest : length - done;

        if (read_part(pid, address + done, (char *)to + done, part) != (ssize_t)part)
            break;
        done += part;
    }
    return done;
}

int remote_read(pid_t pid, uint64_t address, void *to, size_t length)
{
    const ssize_t done = read_part(pid, address, to, length);

    if (done < 0)
        return -errno;
    return (size_t)done == length ? 0 : -EFAULT;
}

/* Read `count` pieces, IOV_MAX at most, up to the first that fails. Returns how many were read. */
static size_t read_some(pid_t pid, const struct remote_piece *pieces, size_t count)
{
    struct iovec local[IOV_MAX];
    struct iovec remote[IOV_MAX];
    size_t whole = 0;
    ssize_t done;

    for (size_t i = 0; i < count; i++) {
        local[i] = (struct iovec){pieces[i].to, pieces[i].length};
        remote[i] = (struct iovec){(void *)(uintptr_t)pieces[i].address, pieces[i].length};
    }
    done = process_vm_readv(pid, local, count, remote, count, 0);
    while (whole < count && done >= (ssize_t)pieces[whole].length)
        done -= (ssize_t)pieces[whole++].length;
    return whole;
}

void remote_read_all(pid_t pid, struct remote_piece *pieces, size_t count)
{
    size_t done = 0;

    while (done < count) {
        const size_t part = count - done < IOV_MAX ? count - done : IOV_MAX;
        const size_t whole = read_some(pid, pieces + done, part);

        for (size_t i = done; i < done + whole; i++)
            pieces[i].failed = false;
        done += whole;
        if (whole < part)
            pieces[done++].failed = true;
    }
}

void remote_read_text(pid_t pid, uint64_t address, char *to, size_t room)
{
    size_t length = 0;

    if (address != 0)
        length = remote_read_most(pid, address, to, room - 1);
    to[length] = '\0';
    if (room > 1 && strlen(to) == room - 1)
        output_drop_part(to);
    output_make_printable(to);
}

uint64_t remote_get(const struct remote_torc *torc, enum remote_field field, const void *structure)
{
    uint64_t value = 0;

    /* All CPUs that torc runs on are little-endian. */
    memcpy(&value, (const char *)structure + torc->offset[field], torc->size[field]);
    return value;
}

/* ---- The table ---- */

static int take_fields(struct remote_torc *torc, const struct torc_inspect_field *fields,
                       uint32_t count)
{
    for (unsigned wanted = 0; wanted < REMOTE_FIELD_COUNT; wanted++) {
        const struct torc_inspect_field *found = NULL;

        for (uint32_t i = 0; i < count && found == NULL; i++) {
            if (strncmp(fields[i].name, field_names[wanted], sizeof(fields[i].name)) == 0)
                found = &fields[i];
        }
        if (found == NULL)
            return -EPROTO;
        torc->offset[wanted] = found->offset;
        torc->size[wanted] = found->size < sizeof(uint64_t) ? found->size : sizeof(uint64_t);
    }
    return 0;
}

static int read_table(pid_t pid, uint64_t address, struct remote_torc *torc)
{
    struct torc_inspect_field fields[FIELDS_MAX];
    struct torc_inspect table;
    int result = remote_read(pid, address, &table, sizeof(table));

    if (result < 0)
        return result;
    if (strncmp(table.magic, "torc", sizeof(table.magic)) != 0)
        return -EPROTO;
    table.torc_version[sizeof(table.torc_version) - 1] = '\0';
    output_make_printable(table.torc_version);
    memcpy(torc->version, table.torc_version, sizeof(torc->version));
    if (table.version != TORC_INSPECT_VERSION || table.field_count > FIELDS_MAX)
        return -EPROTO;
    torc->shards = (uintptr_t)table.shards;
    torc->resume = (uintptr_t)table.resume;
    torc->fiber_chunk = (unsigned)table.fiber_chunk;
    result =
        remote_read(pid, (uintptr_t)table.fields, fields, table.field_count * sizeof(fields[0]));
    return result < 0 ? result : take_fields(torc, fields, table.field_count);
}

/* ---- The note ---- */

static size_t aligned(size_t size)
{
    return (size + 3) & ~(size_t)3;
}

/* The table that a segment of notes leads to; 0 if none does. */
static uint64_t find_in_notes(pid_t pid, uint64_t address, size_t size)
{
    char *notes = malloc(size);
    uint64_t table = 0;
    size_t at = 0;

    if (notes == NULL || remote_read(pid, address, notes, size) < 0)
        size = 0;
    while (table == 0 && at + sizeof(Elf64_Nhdr) <= size) {
        Elf64_Nhdr head;
        int64_t distance;
        size_t contents;

        memcpy(&head, notes + at, sizeof(head));
        contents = at + sizeof(head) + aligned(head.n_namesz);
        if (contents + head.n_descsz > size || contents < at)
            break;
        if (head.n_type == TORC_INSPECT_NOTE && head.n_namesz == sizeof("torc") &&
            head.n_descsz == sizeof(distance) &&
            memcmp(notes + at + sizeof(head), "torc", sizeof("torc")) == 0) {
            memcpy(&distance, notes + contents, sizeof(distance));
            table = address + contents + (uint64_t)distance;
        }
        at = contents + aligned(head.n_descsz);
    }
    free(notes);
    return table;
}

/* The table of the ELF file that is mapped at `start`; 0 if it has none. */
static uint64_t find_in_file(pid_t pid, uint64_t start)
{
    Elf64_Phdr segments[PROGRAM_HEADERS_MAX];
    Elf64_Ehdr head;
    uint64_t first = UINT64_MAX; /* where the file wants its beginning to be */
    uint64_t table = 0;

    if (remote_read(pid, start, &head, sizeof(head)) < 0 ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
        head.e_phentsize != sizeof(segments[0]) || head.e_phnum > PROGRAM_HEADERS_MAX ||
        remote_read(pid, start + head.e_phoff, segments, head.e_phnum * sizeof(segments[0])) < 0)
        return 0;
    for (unsigned i = 0; i < head.e_phnum; i++) {
        if (segments[i].p_type == PT_LOAD && segments[i].p_offset < 4096 && first == UINT64_MAX)
            first = segments[i].p_vaddr - segments[i].p_offset;
    }
    for (unsigned i = 0; i < head.e_phnum && table == 0 && first != UINT64_MAX; i++) {
        if (segments[i].p_type == PT_NOTE && segments[i].p_memsz <= NOTES_MAX)
            table = find_in_notes(pid, start + segments[i].p_vaddr - first, segments[i].p_memsz);
    }
    return table;
}

/* ---- The process ---- */

/* Why memory cannot be read although the process is there. */
static void explain_denial(pid_t pid, char *why, size_t size)
{
    FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
    int scope = 0;

    if (file != NULL) {
        if (fscanf(file, "%d", &scope) != 1)
            scope = 0;
        fclose(file);
    }
    if (scope == 3)
        (void)snprintf(why, size, "kernel.yama.ptrace_scope is 3: nobody may look into processes");
    else if (scope > 0)
        (void)snprintf(why, size,
                       "may not look into process %d: kernel.yama.ptrace_scope is %d; be root, "
                       "or let the program call prctl(PR_SET_PTRACER, ...)",
                       (int)pid, scope);
    else
        (void)snprintf(why, size,
                       "may not look into process %d: be its user or root, with CAP_SYS_PTRACE "
                       "where it is not dumpable or in a container",
                       (int)pid);
}

static void name_process(pid_t pid, char *name, size_t size)
{
    char path[64];
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    file = fopen(path, "re");
    if (file == NULL || fgets(name, (int)size, file) == NULL)
        (void)snprintf(name, size, "?");
    name[strcspn(name, "\n")] = '\0';
    output_make_printable(name);
    if (file != NULL)
        fclose(file);
}

/* Look at one line of /proc/PID/maps. 1 if there is a torc in what it tells of, 0, or -errno. */
static int look_at_mapping(pid_t pid, const char *line, struct remote_torc *torc)
{
    uint64_t start;
    uint64_t offset;
    uint64_t table;
    char rights[5];
    char byte;
    int result;

    if (sscanf(line, "%" SCNx64 "-%*x %4s %" SCNx64, &start, rights, &offset) != 3 || offset != 0 ||
        rights[0] != 'r' || strchr(line, '/') == NULL)
        return 0;
    if (remote_read(pid, start, &byte, 1) == -EPERM)
        return -EPERM;
    table = find_in_file(pid, start);
    if (table == 0)
        return 0;
    result = read_table(pid, table, torc);
    return result < 0 ? result : 1;
}

int remote_find(pid_t pid, struct remote_torc *torcs, unsigned max, char *ret_why, size_t why_size)
{
    char path[64];
    char name[32];
    char *line = NULL;
    size_t room = 0;
    unsigned count = 0;
    bool has_memory = false;
    int result = 0;
    FILE *maps;

    (void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    maps = fopen(path, "re");
    if (maps == NULL && errno != ENOENT && errno != ESRCH) {
        explain_denial(pid, ret_why, why_size);
        return -EPERM;
    }
    if (maps == NULL) {
        (void)snprintf(ret_why, why_size, "there is no process %d", (int)pid);
        return -ESRCH;
    }
    while (result >= 0 && count < max && getline(&line, &room, maps) > 0) {
        has_memory = true;
        result = look_at_mapping(pid, line, &torcs[count]);
        count += result > 0;
    }
    free(line);
    fclose(maps);
    name_process(pid, name, sizeof(name));
    if (result == -EPERM) {
        explain_denial(pid, ret_why, why_size);
    } else if (result < 0) {
        (void)snprintf(
            ret_why, why_size,
            "process %d (%s) has torc %.16s, which this command, of torc %s, cannot read", (int)pid,
            name, torcs[count].version, TORC_VERSION);
        result = -EPROTO;
    } else if (count == 0) {
        (void)snprintf(ret_why, why_size, "there is no torc in process %d (%s)%s", (int)pid, name,
                       has_memory ? "" : ", which has ended, or is the kernel's");
        result = -ENOENT;
    }
    return result < 0 ? result : (int)count;
}

/* SPDX-License-Identifier: MIT */
/*
 * dump_process.c - what there is to look at in a process: its shards, clock, and use of stacks.
 */
#include "dump.h"
#include "dump_stop.h"
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    TORCS_MAX = 8,
    SHARDS_MAX = 4096,
    SHARD_MAX = 16 << 20, /* bytes of its structure */
};

static void name_driver(struct dump *dump, const struct remote_torc *torc, uint64_t driver,
                        struct dump_shard *shard)
{
    uint64_t ops;
    uint64_t name;

    if (remote_read(dump->pid, driver + torc->offset[DRIVER_OPS], &ops, sizeof(ops)) == 0 &&
        remote_read(dump->pid, ops + torc->offset[DRIVER_NAME], &name, sizeof(name)) == 0)
        remote_read_text(dump->pid, name, shard->driver, sizeof(shard->driver));
}

/* List the shards of one libtorc, newest first as they are linked. */
static void find_shards(struct dump *dump, const struct remote_torc *torc)
{
    char *bytes = table_grow(NULL, 1, torc->offset[SHARD_SIZE]);
    uint64_t address = 0;

    (void)remote_read(dump->pid, torc->shards, &address, sizeof(address));
    while (address != 0 && dump->shard_count < SHARDS_MAX &&
           remote_read(dump->pid, address, bytes, torc->offset[SHARD_SIZE]) == 0) {
        struct dump_shard *shard;

        dump->shards = table_grow(dump->shards, dump->shard_count + 1, sizeof(*shard));
        shard = &dump->shards[dump->shard_count++];
        *shard = (struct dump_shard){
            .address = address,
            .mailbox = remote_get(torc, SHARD_MAILBOX, bytes),
            .loop = address + torc->offset[SHARD_LOOP],
            .index = (uint32_t)remote_get(torc, SHARD_INDEX, bytes),
            .loop_trace = DUMP_NONE,
        };
        shard->thread = dump_find_thread(dump->pid, (pid_t)remote_get(torc, SHARD_THREAD, bytes));
        memcpy(shard->torc_version, torc->version, sizeof(shard->torc_version));
        name_driver(dump, torc, remote_get(torc, SHARD_DRIVER, bytes), shard);
        dump_kernel_text(dump->pid, shard->thread, shard->kernel, sizeof(shard->kernel));
        address = remote_get(torc, SHARD_NEXT, bytes);
    }
    free(bytes);
}

static int by_index(const void *a, const void *b)
{
    const struct dump_shard *left = a;
    const struct dump_shard *right = b;

    return (left->index > right->index) - (left->index < right->index);
}

/* The clock as the process sees it, which may be in a time namespace. */
static uint64_t clock_of(pid_t pid)
{
    struct timespec now;
    long long seconds = 0;
    long long rest = 0;
    long long own_seconds = 0;
    long long own_rest = 0;
    char path[64];
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/timens_offsets", (int)pid);
    file = fopen(path, "re");
    if (file != NULL && fscanf(file, "monotonic %lld %lld", &seconds, &rest) != 2)
        seconds = rest = 0;
    if (file != NULL)
        fclose(file);
    file = fopen("/proc/self/timens_offsets", "re");
    if (file != NULL && fscanf(file, "monotonic %lld %lld", &own_seconds, &own_rest) != 2)
        own_seconds = own_rest = 0;
    if (file != NULL)
        fclose(file);
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)((now.tv_sec + seconds - own_seconds) * 1000000000LL + now.tv_nsec + rest -
                      own_rest);
}

/* The most that was ever used of each stack: down to the lowest page that is there. */
static void measure_stacks(struct dump *dump)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t there = UINT64_C(3) << 62; /* present, or swapped out */
    uint64_t entries[512];
    char path[64];
    int pagemap;

    (void)snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)dump->pid);
    pagemap = open(path, O_RDONLY | O_CLOEXEC);
    for (uint32_t i = 0; pagemap >= 0 && i < dump->fiber_count; i++) {
        struct dump_fiber *fiber = &dump->fibers[i];
        const uint64_t pages = (fiber->top - fiber->low + page - 1) / page;
        const size_t wanted = pages < 512 ? pages : 512;
        ssize_t length;

        if (fiber->stack == 0 || fiber->low == 0)
            continue;
        length = pread(pagemap, entries, wanted * sizeof(entries[0]),
                       (off_t)(fiber->low / page * sizeof(entries[0])));
        for (size_t at = 0; length > 0 && at < (size_t)length / sizeof(entries[0]); at++) {
            if (entries[at] & there) {
                fiber->stack_used = (uint32_t)(fiber->top - fiber->low - at * page);
                break;
            }
        }
    }
    if (pagemap >= 0)
        close(pagemap);
}

static void name_program(struct dump *dump)
{
    char path[64];
    ssize_t length;

    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)dump->pid);
    length = readlink(path, dump->program, sizeof(dump->program) - 1);
    dump->program[length > 0 ? length : 0] = '\0';
    output_make_printable(dump->program);
}

/* Structures that are larger than we have room for are of another torc. */
static bool has_room_for(const struct remote_torc *torc)
{
    return torc->offset[STACK_SIZE] <= DUMP_STACK_RECORD_MAX &&
           torc->offset[SCOPE_SIZE] <= DUMP_SCOPE_MAX && torc->offset[SHARD_SIZE] <= SHARD_MAX &&
           torc->fiber_chunk > 0;
}

static int capture_all(struct dump *dump, struct remote_torc *torcs, unsigned count)
{
    int result = 0;

    for (unsigned i = 0; i < count; i++) {
        const uint32_t first = dump->shard_count;

        if (!has_room_for(&torcs[i]))
            return -EPROTO;
        find_shards(dump, &torcs[i]);
        if (dump->shard_count == first)
            continue;
        qsort(dump->shards + first, dump->shard_count - first, sizeof(dump->shards[0]), by_index);
        for (uint32_t shard = first; shard < dump->shard_count && result == 0; shard++)
            result = dump_capture_shard(dump, &torcs[i], shard);
    }
    return result;
}

int dump_capture(struct dump *dump, char *ret_why, size_t why_size)
{
    struct remote_torc torcs[TORCS_MAX];
    int result = remote_find(dump->pid, torcs, TORCS_MAX, ret_why, why_size);

    if (result < 0)
        return result;
#ifdef SYS_pidfd_open
    dump->pidfd = (int)syscall(SYS_pidfd_open, dump->pid, 0);
#endif
    name_program(dump);
    dump->fds = table_grow(NULL, 1, sizeof(*dump->fds));
    *dump->fds = (struct dump_fds){0};
    if (dump->stacks_wanted)
        dump->unwinder = unwind_open(dump->pid);
    result = capture_all(dump, torcs, (unsigned)result);
    if (result < 0)
        (void)snprintf(ret_why, why_size, "process %d has ended, or changed, while it was read",
                       (int)dump->pid);
    dump->now_ns = clock_of(dump->pid);
    dump_trace_merge(dump);
    measure_stacks(dump);
    return result;
}

void dump_finish(struct dump *dump)
{
    unwind_close(dump->unwinder);
    for (uint32_t i = 0; i < dump->trace_count; i++)
        free(dump->traces[i].pcs);
    table_finish(&dump->fiber_of);
    table_finish(&dump->scope_of);
    table_finish(&dump->trace_of);
    table_finish(&dump->kind_of);
    table_finish(&dump->name_of);
    for (uint32_t i = 0; i < dump->shard_count; i++)
        free(dump->shards[i].ops);
    free(dump->shards);
    free(dump->fibers);
    free(dump->scopes);
    free(dump->traces);
    free(dump->kinds);
    free(dump->kind_names);
    free(dump->names);
    if (dump->fds != NULL) {
        table_finish(&dump->fds->text_of);
        free(dump->fds->texts);
        free(dump->fds);
    }
    if (dump->pidfd >= 0)
        close(dump->pidfd);
}

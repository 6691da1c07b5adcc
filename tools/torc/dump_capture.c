/* SPDX-License-Identifier: MIT */
/*
 * dump_capture.c - look at every fiber of a shard, and hardly stop it.
 *
 * Each shard is looked at twice. First while it runs: blocks, stacks, all of it. Then its thread is
 * stopped, the blocks are read again, and the stacks of those fibers only that are not as they
 * were. That is sound, since a block says in which round of the loop its fiber parked: one that is
 * the same as before, and parked before the round in which we began, has not run meanwhile, so its
 * stack, read in between, is the one it is parked on. Unwinding comes after the thread goes on.
 *
 * Where a thread cannot be stopped (somebody debugs it, or it sleeps uninterruptibly in the kernel)
 * the first look is all there is; and so it is for fibers whose stacks there was no time to copy,
 * if they wait where they waited then. Of those that ran while they were looked at there is none.
 */
#include "dump.h"
#include "dump_stop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNKS_MAX = 1 << 14,
    SCOPES_MAX = 64,       /* of a path */
    COPY_MAX = 64 * 1024,  /* of one stack */
    ARENA_SIZE = 16 << 20, /* stacks that are looked at together */
    RED_ZONE = 128,        /* below the stack pointer of what runs */
    COPY_BATCH = 256,
};

/* So long stacks are copied while a shard stands still. */
#define PAUSE_BUDGET_NS UINT64_C(2000000)

/* A look at one shard. */
struct capture {
    struct dump *dump;
    const struct remote_torc *torc;
    struct dump_shard *shard;
    char *shard_bytes;
    uint64_t *chunks; /* addresses */
    uint32_t chunk_count;
    char *blocks[2];      /* of the first look, and of the second */
    uint32_t block_count; /* in the second; the first may have fewer */
    uint32_t first_count;
    uint64_t round_ns; /* the shard's when the first look began */
    char *arena;       /* copies of stacks */
    size_t arena_used;
    struct dump_fiber *fibers; /* by block; those with state FREE are none */
    uint32_t *changed;         /* blocks that were not as before in the second look */
    uint32_t changed_count;
    uint32_t copied_count; /* of these, those whose stacks were copied in time */
    struct unwind_registers registers;
    char *current_copy; /* of the stack on which the thread is */
    size_t current_length;
    uint64_t current_from;
    bool has_registers;
};

static uint64_t get(const struct capture *capture, enum remote_field field, const void *structure)
{
    return remote_get(capture->torc, field, structure);
}

/* ---- Blocks ---- */

static int read_shard(struct capture *capture)
{
    const struct remote_torc *torc = capture->torc;
    struct dump_shard *shard = capture->shard;
    const char *bytes = capture->shard_bytes;
    const int result = remote_read(capture->dump->pid, shard->address, capture->shard_bytes,
                                   torc->offset[SHARD_SIZE]);

    if (result < 0)
        return result;
    shard->running = get(capture, SHARD_RUNNING, bytes);
    shard->round_time_ns = get(capture, SHARD_ROUND_TIME, bytes);
    return 0;
}

/* Find chunks that are not known yet: they are only ever added at the end. */
static int find_chunks(struct capture *capture)
{
    const struct remote_torc *torc = capture->torc;
    uint64_t next = get(capture, SHARD_CHUNKS, capture->shard_bytes);
    int result = 0;

    if (capture->chunk_count > 0)
        result = remote_read(capture->dump->pid,
                             capture->chunks[capture->chunk_count - 1] + torc->offset[CHUNK_NEXT],
                             &next, sizeof(next));
    while (result == 0 && next != 0 && capture->chunk_count < CHUNKS_MAX) {
        capture->chunks =
            table_grow(capture->chunks, capture->chunk_count + 1, sizeof(capture->chunks[0]));
        capture->chunks[capture->chunk_count++] = next;
        result =
            remote_read(capture->dump->pid, next + torc->offset[CHUNK_NEXT], &next, sizeof(next));
    }
    return result;
}

/* Read all blocks, for the first or the second look. */
static int read_blocks(struct capture *capture, unsigned look)
{
    const struct remote_torc *torc = capture->torc;
    const size_t size = (size_t)torc->offset[FIBER_SIZE] * torc->fiber_chunk;
    struct remote_piece *pieces;
    int result = read_shard(capture);

    if (result == 0)
        result = find_chunks(capture);
    if (result < 0)
        return result;
    capture->blocks[look] = table_grow(capture->blocks[look], capture->chunk_count, size);
    pieces = table_grow(NULL, capture->chunk_count, sizeof(*pieces));
    for (uint32_t i = 0; i < capture->chunk_count; i++)
        pieces[i] =
            (struct remote_piece){.address = capture->chunks[i] + torc->offset[CHUNK_FIBERS],
                                  .length = size,
                                  .to = capture->blocks[look] + i * size};
    remote_read_all(capture->dump->pid, pieces, capture->chunk_count);
    for (uint32_t i = 0; i < capture->chunk_count; i++) {
        if (pieces[i].failed)
            result = -EFAULT;
    }
    free(pieces);
    capture->block_count = capture->chunk_count * torc->fiber_chunk;
    return result;
}

static const char *block(const struct capture *capture, unsigned look, uint32_t i)
{
    return capture->blocks[look] + (size_t)i * capture->torc->offset[FIBER_SIZE];
}

static uint64_t block_address(const struct capture *capture, uint32_t i)
{
    const struct remote_torc *torc = capture->torc;

    return capture->chunks[i / torc->fiber_chunk] + torc->offset[CHUNK_FIBERS] +
           (uint64_t)(i % torc->fiber_chunk) * torc->offset[FIBER_SIZE];
}

static bool waits(const struct dump_fiber *fiber)
{
    return fiber->state == TORC_INSPECT_WAITING || fiber->state == TORC_INSPECT_INTERRUPTED;
}

static bool is_parked(const struct dump_fiber *fiber)
{
    return fiber->sp != 0 && (waits(fiber) || fiber->state == TORC_INSPECT_READY);
}

static void take_block(struct capture *capture, uint32_t i, unsigned look)
{
    const char *bytes = block(capture, look, i);
    struct dump_fiber *fiber = &capture->fibers[i];

    *fiber = (struct dump_fiber){
        .address = block_address(capture, i),
        .sp = get(capture, FIBER_SP, bytes),
        .since_ns = get(capture, FIBER_SINCE, bytes),
        .scope = get(capture, FIBER_SCOPE, bytes),
        .home = get(capture, FIBER_HOME, bytes),
        .kind = get(capture, FIBER_WAIT, bytes),
        .waits_for = get(capture, FIBER_WAITS_FOR, bytes),
        .deadline_ns = get(capture, FIBER_DEADLINE, bytes),
        .stack = get(capture, FIBER_STACK, bytes),
        .body = get(capture, FIBER_BODY, bytes),
        .id = (uint32_t)get(capture, FIBER_ID, bytes),
        .state = (uint8_t)get(capture, FIBER_STATE, bytes),
        .trace = DUMP_NONE,
        .wait = {.fd = -1, .shard = DUMP_NONE},
    };
}

/* ---- Stacks ---- */

static bool wants_record(const struct dump_fiber *fiber)
{
    return fiber->stack != 0 && fiber->low == 0;
}

/* Read the records of the stacks of some fibers, which are given by their blocks. */
static void read_records(struct capture *capture, const uint32_t *which, uint32_t count)
{
    const struct remote_torc *torc = capture->torc;
    struct remote_piece *pieces = table_grow(NULL, count, sizeof(*pieces));
    char *records = table_grow(NULL, count, DUMP_STACK_RECORD_MAX);
    uint32_t wanted = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (wants_record(&capture->fibers[which[i]]))
            pieces[wanted++] =
                (struct remote_piece){.address = capture->fibers[which[i]].stack,
                                      .length = torc->offset[STACK_SIZE],
                                      .to = records + (size_t)i * DUMP_STACK_RECORD_MAX};
    }
    remote_read_all(capture->dump->pid, pieces, wanted);
    wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct dump_fiber *fiber = &capture->fibers[which[i]];
        const char *record = records + (size_t)i * DUMP_STACK_RECORD_MAX;

        if (!wants_record(fiber) || pieces[wanted++].failed)
            continue;
        fiber->low = get(capture, STACK_LOW, record);
        fiber->top = get(capture, STACK_TOP, record);
        fiber->name_at = get(capture, STACK_NAME, record);
    }
    free(records);
    free(pieces);
}

/*
 * Copy the used parts of the stacks of some fibers, until the arena is full. Returns how many were
 * gone through.
 */
static uint32_t copy_stacks(struct capture *capture, const uint32_t *which, uint32_t count)
{
    struct remote_piece *pieces = table_grow(NULL, count, sizeof(*pieces));
    uint32_t wanted = 0;
    uint32_t done = 0;

    for (; done < count; done++) {
        struct dump_fiber *fiber = &capture->fibers[which[done]];
        uint64_t length = fiber->top - fiber->sp;

        if (!is_parked(fiber) || fiber->sp < fiber->low || fiber->sp >= fiber->top)
            continue;
        length = length < COPY_MAX ? length : COPY_MAX;
        if (length > ARENA_SIZE - capture->arena_used)
            break;
        fiber->copy = capture->arena + capture->arena_used;
        fiber->copy_length = length;
        pieces[wanted++] = (struct remote_piece){
            .address = fiber->sp, .length = length, .to = capture->arena + capture->arena_used};
        capture->arena_used += (length + 15) & ~(size_t)15;
    }
    remote_read_all(capture->dump->pid, pieces, wanted);
    wanted = 0;
    for (uint32_t i = 0; i < done; i++) {
        struct dump_fiber *fiber = &capture->fibers[which[i]];

        if (fiber->copy != NULL && pieces[wanted++].failed)
            fiber->copy = NULL;
    }
    free(pieces);
    return done;
}

static void add_scope(struct capture *capture, uint64_t address, const char *bytes)
{
    struct dump *dump = capture->dump;
    uint32_t known = table_find(&dump->scope_of, address);

    if (known == TABLE_NONE) {
        known = dump->scope_count++;
        dump->scopes = table_grow(dump->scopes, dump->scope_count, sizeof(dump->scopes[0]));
        table_set(&dump->scope_of, address, known);
    }
    dump->scopes[known] = (struct dump_scope){
        .address = address,
        .parent = get(capture, SCOPE_PARENT, bytes),
        .owner = get(capture, SCOPE_OWNER, bytes),
        .deadline_ns =
            get(capture, SCOPE_TIMER, bytes) != 0 ? get(capture, SCOPE_DEADLINE, bytes) : 0,
        .fibers = (unsigned)get(capture, SCOPE_FIBERS, bytes),
        .reason = (int)get(capture, SCOPE_REASON, bytes),
        .flags = (unsigned)get(capture, SCOPE_FLAGS, bytes),
    };
}

/* The scopes that a fiber has opened stand on its own stack as a rule. */
static void take_own_scopes(struct capture *capture, const struct dump_fiber *fiber)
{
    uint64_t scope = fiber->scope;
    char bytes[DUMP_SCOPE_MAX];

    for (unsigned i = 0; i < SCOPES_MAX && scope != 0 && scope != fiber->home; i++) {
        if (!dump_read(capture->dump, fiber, scope, bytes, capture->torc->offset[SCOPE_SIZE]))
            return;
        add_scope(capture, scope, bytes);
        scope = get(capture, SCOPE_PARENT, bytes);
    }
}

/* The name of a fiber: of many the same literal. */
static void read_name(struct dump *dump, struct dump_fiber *fiber)
{
    uint32_t known;

    if (fiber->name_at == 0)
        return;
    known = table_find(&dump->name_of, fiber->name_at);
    if (known == TABLE_NONE) {
        known = dump->name_count++;
        dump->names = table_grow(dump->names, dump->name_count, sizeof(dump->names[0]));
        remote_read_text(dump->pid, fiber->name_at, dump->names[known], DUMP_NAME_SIZE);
        table_set(&dump->name_of, fiber->name_at, known);
    }
    memcpy(fiber->name, dump->names[known], sizeof(fiber->name));
}

/* Make of the copies what is wanted of them. */
static void look_at_stacks(struct capture *capture, const uint32_t *which, uint32_t count)
{
    struct unwind_registers registers = {.pc = capture->torc->resume};

    for (uint32_t i = 0; i < count; i++) {
        struct dump_fiber *fiber = &capture->fibers[which[i]];
        const struct unwind_memory memory = {
            .ranges = {{fiber->sp, fiber->copy_length, fiber->copy}}};

        read_name(capture->dump, fiber);
        if (fiber->copy == NULL)
            continue;
        if (waits(fiber))
            dump_wait_read(capture->dump, capture->torc, fiber);
        take_own_scopes(capture, fiber);
        registers.sp = fiber->sp;
        if (capture->dump->unwinder != NULL)
            fiber->trace = dump_trace(capture->dump, &registers, &memory);
        fiber->copy = NULL;
        fiber->copy_length = 0;
    }
}

/* ---- The first look ---- */

static void list_fibers(const struct capture *capture, uint32_t *which, uint32_t *ret_count)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < capture->block_count; i++) {
        if (capture->fibers[i].state != TORC_INSPECT_FREE)
            which[count++] = i;
    }
    *ret_count = count;
}

/* Forget the copies of those stacks whose fibers have run since their blocks were read. */
static void drop_torn(struct capture *capture, const uint32_t *which, uint32_t count)
{
    const size_t size = capture->torc->offset[FIBER_SIZE];
    struct remote_piece *pieces = table_grow(NULL, count, sizeof(*pieces));
    char *blocks = table_grow(NULL, count, size);

    for (uint32_t i = 0; i < count; i++)
        pieces[i] = (struct remote_piece){.address = capture->fibers[which[i]].address,
                                          .length = size,
                                          .to = blocks + (size_t)i * size};
    remote_read_all(capture->dump->pid, pieces, count);
    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].failed ||
            memcmp(blocks + (size_t)i * size, block(capture, 0, which[i]), size) != 0)
            capture->fibers[which[i]].copy = NULL;
    }
    free(blocks);
    free(pieces);
}

static int look_first(struct capture *capture)
{
    uint32_t *which;
    uint32_t count;
    int result = read_shard(capture);

    capture->round_ns = capture->shard->round_time_ns;
    if (result == 0)
        result = read_blocks(capture, 0);
    if (result < 0)
        return result;
    capture->first_count = capture->block_count;
    capture->fibers = table_grow(NULL, capture->block_count, sizeof(capture->fibers[0]));
    for (uint32_t i = 0; i < capture->block_count; i++)
        take_block(capture, i, 0);
    which = table_grow(NULL, capture->block_count, sizeof(*which));
    list_fibers(capture, which, &count);
    read_records(capture, which, count);
    for (uint32_t done = 0; done < count;) {
        uint32_t part;

        capture->arena_used = 0;
        part = count - done < COPY_BATCH ? count - done : COPY_BATCH;
        part = copy_stacks(capture, which + done, part);
        drop_torn(capture, which + done, part);
        look_at_stacks(capture, which + done, part);
        done += part;
    }
    capture->arena_used = 0;
    free(which);
    return 0;
}

/* ---- The second look ---- */

static bool has_changed(const struct capture *capture, uint32_t i)
{
    const char *now = block(capture, 1, i);
    const uint64_t state = get(capture, FIBER_STATE, now);

    if (i >= capture->first_count || state == TORC_INSPECT_READY || state == TORC_INSPECT_RUNNING)
        return true;
    return get(capture, FIBER_SINCE, now) >= capture->round_ns ||
           memcmp(block(capture, 0, i), now, capture->torc->offset[FIBER_SIZE]) != 0;
}

/* Where the thread itself stands, and the stack there. */
static void copy_current(struct capture *capture, const struct stopped *stopped)
{
    if (unwind_thread(stopped->thread, &capture->registers) < 0)
        return;
    capture->has_registers = true;
    capture->current_from = capture->registers.sp - RED_ZONE;
    capture->current_copy = table_grow(NULL, 1, COPY_MAX);
    capture->current_length = remote_read_most(capture->dump->pid, capture->current_from,
                                               capture->current_copy, COPY_MAX);
}

/* A fiber that was there before has the same stack, and stands where it did as a rule. */
static void take_again(struct capture *capture, uint32_t i)
{
    const bool was_there = i < capture->first_count;
    const struct dump_fiber before = was_there ? capture->fibers[i] : (struct dump_fiber){0};
    struct dump_fiber *fiber = &capture->fibers[i];

    take_block(capture, i, 1);
    if (!was_there || before.stack != fiber->stack)
        return;
    fiber->low = before.low;
    fiber->top = before.top;
    fiber->name_at = before.name_at;
    memcpy(fiber->name, before.name, sizeof(fiber->name));
    if (before.sp == fiber->sp && before.kind == fiber->kind &&
        before.waits_for == fiber->waits_for && before.body == fiber->body) {
        fiber->trace = before.trace;
        if (waits(&before))
            fiber->wait = before.wait;
    }
}

/* Copy stacks until that has taken too long. Returns how many were gone through. */
static uint32_t copy_in_time(struct capture *capture, const uint32_t *which, uint32_t count,
                             uint64_t until_ns)
{
    uint32_t done = 0;

    while (done < count && dump_clock() < until_ns) {
        const uint32_t batch = count - done < COPY_BATCH ? count - done : COPY_BATCH;
        const uint32_t part = copy_stacks(capture, which + done, batch);

        done += part;
        if (part < batch)
            break;
    }
    return done;
}

/* While the thread stands still: what is not as it was, and the stacks as far as time allows. */
static void look_again(struct capture *capture, const struct stopped *stopped)
{
    uint32_t count = 0;

    if (read_blocks(capture, 1) < 0) {
        capture->block_count = capture->first_count;
        return;
    }
    capture->changed = table_grow(NULL, capture->block_count, sizeof(capture->changed[0]));
    capture->fibers = table_grow(capture->fibers, capture->block_count, sizeof(capture->fibers[0]));
    for (uint32_t i = 0; i < capture->block_count; i++) {
        if (!has_changed(capture, i))
            continue;
        take_again(capture, i);
        if (capture->fibers[i].state != TORC_INSPECT_FREE)
            capture->changed[count++] = i;
    }
    read_records(capture, capture->changed, count);
    copy_current(capture, stopped);
    capture->changed_count = count;
    capture->copied_count =
        copy_in_time(capture, capture->changed, count, stopped->stopped_ns + PAUSE_BUDGET_NS);
}

/* The scopes that no fiber's own stack has shown: those that are outermost, or in odd places. */
static void read_other_scopes(struct capture *capture)
{
    struct dump *dump = capture->dump;
    char bytes[DUMP_SCOPE_MAX];

    for (uint32_t i = 0; i < capture->block_count; i++) {
        uint64_t scope = capture->fibers[i].home;

        if (capture->fibers[i].state == TORC_INSPECT_FREE)
            continue;
        /* What is above a known one is known, or found from its owner's block. */
        while (scope != 0 && table_find(&dump->scope_of, scope) == TABLE_NONE) {
            if (remote_read(dump->pid, scope, bytes, capture->torc->offset[SCOPE_SIZE]) < 0)
                break;
            add_scope(capture, scope, bytes);
            scope = get(capture, SCOPE_PARENT, bytes);
        }
    }
}

/* Where the loop waits for events there is nothing to see. */
static bool waits_for_events(const struct dump_shard *shard)
{
    return strcmp(shard->kernel, "io_uring_enter") == 0 || strncmp(shard->kernel, "epoll_", 6) == 0;
}

/* The fiber on whose stack the thread is; or the loop. */
static void look_at_current(struct capture *capture)
{
    const uint64_t sp = capture->registers.sp;
    const struct unwind_memory memory = {
        .ranges = {{capture->current_from, capture->current_length, capture->current_copy}}};
    struct dump_fiber *current = NULL;
    uint32_t trace = DUMP_NONE;

    if (!capture->has_registers)
        return;
    for (uint32_t i = 0; i < capture->block_count; i++) {
        struct dump_fiber *fiber = &capture->fibers[i];

        if (fiber->state != TORC_INSPECT_FREE && fiber->low <= sp && sp < fiber->top &&
            fiber->stack != 0)
            current = fiber;
    }
    if (current == NULL && waits_for_events(capture->shard))
        return;
    if (capture->dump->unwinder != NULL)
        trace = dump_trace(capture->dump, &capture->registers, &memory);
    if (trace != DUMP_NONE)
        capture->dump->traces[trace].is_exact = true;
    if (current == NULL) {
        capture->shard->loop_trace = trace;
        return;
    }
    current->is_current = true;
    current->state = TORC_INSPECT_RUNNING;
    current->trace = trace;
    take_own_scopes(capture, current);
}

/* What was copied while the thread stood still, and what there was no time for. */
static void look_at_changed(struct capture *capture)
{
    look_at_stacks(capture, capture->changed, capture->copied_count);
    for (uint32_t i = capture->copied_count; i < capture->changed_count; i++) {
        struct dump_fiber *fiber = &capture->fibers[capture->changed[i]];

        if (waits(fiber) && fiber->wait.name[0] == '\0')
            dump_wait_name(capture->dump, fiber);
    }
}

static void look_stopped(struct capture *capture)
{
    struct dump_shard *shard = capture->shard;
    struct stopped stopped;

    if (!capture->dump->may_stop) {
        (void)snprintf(shard->problem, sizeof(shard->problem), "it was not to be stopped");
        return;
    }
    if (dump_stop(shard->thread, &stopped, shard->problem, sizeof(shard->problem)) < 0)
        return;
    look_again(capture, &stopped);
    read_other_scopes(capture);
    shard->pause_ns = dump_resume(&stopped);
    shard->was_stopped = true;
    look_at_changed(capture);
    look_at_current(capture);
}

/* ---- Both ---- */

/* Move the fibers of a shard to those of the others. */
static void keep_fibers(struct capture *capture, uint32_t shard_number)
{
    struct dump *dump = capture->dump;
    uint32_t count = 0;

    for (uint32_t i = 0; i < capture->block_count; i++)
        count += capture->fibers[i].state != TORC_INSPECT_FREE;
    capture->shard->first_fiber = dump->fiber_count;
    capture->shard->fiber_count = count;
    dump->fibers = table_grow(dump->fibers, dump->fiber_count + count, sizeof(dump->fibers[0]));
    for (uint32_t i = 0; i < capture->block_count; i++) {
        if (capture->fibers[i].state == TORC_INSPECT_FREE)
            continue;
        table_set(&dump->fiber_of, capture->fibers[i].address, dump->fiber_count);
        dump->fibers[dump->fiber_count] = capture->fibers[i];
        dump->fibers[dump->fiber_count++].shard = shard_number;
    }
}

int dump_capture_shard(struct dump *dump, const struct remote_torc *torc, uint32_t number)
{
    struct capture capture = {.dump = dump, .torc = torc, .shard = &dump->shards[number]};
    int result;

    capture.shard_bytes = table_grow(NULL, 1, torc->offset[SHARD_SIZE]);
    capture.arena = table_grow(NULL, 1, ARENA_SIZE);
    result = look_first(&capture);
    if (result == 0) {
        look_stopped(&capture);
        if (!capture.shard->was_stopped)
            read_other_scopes(&capture);
        keep_fibers(&capture, number);
        if (capture.shard->fiber_count == 0)
            dump_ops_read(dump, torc, capture.shard, capture.shard_bytes);
    }
    free(capture.shard_bytes);
    free(capture.chunks);
    free(capture.blocks[0]);
    free(capture.blocks[1]);
    free(capture.arena);
    free(capture.fibers);
    free(capture.current_copy);
    free(capture.changed);
    return result;
}

/* SPDX-License-Identifier: MIT */
/*
 * stream_memory.c - the memory in which streams receive and collect what they send.
 */
#include "io/stream_memory.h"
#include "base/clock.h"
#include "shard/runtime.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* So many free blocks are kept; but those that were not needed for so long are given back. */
#define BLOCKS_MOST   256u
#define BLOCKS_LEAST  16u
#define NOT_NEEDED_NS (5 * TORC_SECOND)
/* Blocks begin a little apart from each other's place in the cache. */
#define COLOURS     32u
#define COLOUR_SIZE 64u
#define SLAB_CHUNKS 128u
/* A buffer that a reader has kept for so long is replaced, where others starve for it. */
#define KEPT_TOO_LONG_NS UINT64_C(1000000)

struct torc__chunk_slab {
    struct torc__chunk_slab *next;
    struct torc__chunk chunks[SLAB_CHUNKS];
};

/* ---- Blocks ---- */

/* The record of a block stands before its bytes. */
static struct torc__memory *make_block(struct torc__streams *streams)
{
    const size_t lead = (sizeof(struct torc__memory) + COLOUR_SIZE - 1) / COLOUR_SIZE * COLOUR_SIZE;
    const size_t shift = (streams->colour++ % COLOURS) * COLOUR_SIZE;
    struct torc__memory *block =
        aligned_alloc(COLOUR_SIZE, lead + COLOURS * COLOUR_SIZE + STREAM_BLOCK);

    if (block == NULL)
        return NULL;
    *block = (struct torc__memory){.bytes = (char *)block + lead + shift, .is_block = true};
    return block;
}

struct torc__memory *torc__block_take(struct torc__streams *streams)
{
    struct torc__memory *block = streams->blocks;

    if (block != NULL) {
        streams->blocks = block->next;
        if (--streams->block_count < streams->blocks_not_needed)
            streams->blocks_not_needed = streams->block_count;
        return block;
    }
    return make_block(streams);
}

/* Free the blocks but for the first `most`, which were used last. */
static void keep_blocks(struct torc__streams *streams, unsigned most)
{
    struct torc__memory **link = &streams->blocks;
    unsigned count = 0;

    for (; count < most && *link != NULL; count++)
        link = &(*link)->next;
    while (*link != NULL) {
        struct torc__memory *block = *link;

        *link = block->next;
        free(block);
    }
    streams->block_count = count;
}

static void plan_trim(struct torc__streams *streams);

/* Some time has passed since it was planned. */
static void trim_blocks(struct torc_timer *timer)
{
    struct torc__streams *streams = container_of(timer, struct torc__streams, trim);
    const unsigned needed = streams->block_count - streams->blocks_not_needed;

    keep_blocks(streams, needed > BLOCKS_LEAST ? needed : BLOCKS_LEAST);
    if (streams->block_count > BLOCKS_LEAST)
        plan_trim(streams);
}

static void plan_trim(struct torc__streams *streams)
{
    struct torc__shard *shard = torc__shard;

    streams->blocks_not_needed = streams->block_count;
    torc__timer_start(&shard->timers, &streams->trim,
                      torc__time_add(shard->round_time_ns, NOT_NEEDED_NS), trim_blocks);
}

/*
 * What a round of many streams needs, the next one needs again: to free and allocate it each time
 * would cost as much as a send.
 */
void torc__block_give(struct torc__streams *streams, struct torc__memory *block)
{
    if (streams->block_count == BLOCKS_MOST) {
        free(block);
        return;
    }
    block->next = streams->blocks;
    streams->blocks = block;
    if (++streams->block_count > BLOCKS_LEAST && !torc__timer_is_running(&streams->trim))
        plan_trim(streams);
}

/* ---- The ring ---- */

static void lend(struct torc__streams *streams, struct torc__memory *buffer)
{
    buffer->used = 0;
    buffer->with_kernel = true;
    torc__shard->receive_buffers_free++;
    torc__buffer_ring_add(&streams->ring, buffer->bytes, streams->buffer_size, buffer->id);
}

static int add_buffer(struct torc__streams *streams)
{
    struct torc__memory *buffer = streams->unmade;
    void *bytes = mmap(NULL, streams->buffer_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (bytes == MAP_FAILED)
        return -ENOMEM;
    streams->unmade = buffer->next;
    buffer->bytes = bytes;
    streams->count++;
    torc__shard->receive_buffers = streams->count;
    lend(streams, buffer);
    return 0;
}

static void drop_buffer(struct torc__streams *streams, struct torc__memory *buffer)
{
    munmap(buffer->bytes, streams->buffer_size);
    buffer->bytes = NULL;
    buffer->next = streams->unmade;
    streams->unmade = buffer;
    streams->count--;
    torc__shard->receive_buffers = streams->count;
}

/* How many buffers slow readers keep from the kernel. */
static uint32_t count_kept(const struct torc__streams *streams, uint64_t now_ns)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < streams->most; i++) {
        const struct torc__memory *buffer = &streams->buffers[i];

        kept += buffer->bytes != NULL && !buffer->with_kernel &&
                now_ns - buffer->left_ns > KEPT_TOO_LONG_NS;
    }
    return kept;
}

void torc__buffers_starved(struct torc__streams *streams, uint64_t now_ns)
{
    torc__shard->receive_buffers_starved++;
    if (streams->count < streams->most &&
        streams->count - count_kept(streams, now_ns) < streams->least)
        (void)add_buffer(streams); /* Without memory all goes on as it did. */
}

struct torc__memory *torc__buffer_filled(struct torc__streams *streams, uint32_t flags,
                                         uint32_t length, char **ret_data)
{
    struct torc__memory *buffer = &streams->buffers[torc__buffer_id(flags)];

    *ret_data = buffer->bytes + buffer->used;
    buffer->used += length;
    if (!streams->ring.incremental || !(flags & IORING_CQE_F_BUF_MORE)) {
        buffer->with_kernel = false;
        torc__shard->receive_buffers_free--;
        buffer->left_ns = torc__shard->round_time_ns;
    }
    return buffer;
}

void torc__memory_release(struct torc__streams *streams, struct torc__memory *memory)
{
    if (memory->chunks > 0 || memory->with_kernel)
        return;
    if (memory->is_block)
        torc__block_give(streams, memory);
    else if (streams->count > streams->least)
        drop_buffer(streams, memory); /* Made for a time when slow readers kept others. */
    else
        lend(streams, memory);
}

/* ---- Chunks ---- */

static bool add_chunks(struct torc__streams *streams)
{
    struct torc__chunk_slab *slab = malloc(sizeof(*slab));

    if (slab == NULL)
        return false;
    slab->next = streams->slabs;
    streams->slabs = slab;
    for (unsigned i = 0; i < SLAB_CHUNKS; i++) {
        slab->chunks[i].next = streams->chunks;
        streams->chunks = &slab->chunks[i];
    }
    return true;
}

struct torc__chunk *torc__chunk_take(struct torc__streams *streams)
{
    struct torc__chunk *chunk;

    if (streams->chunks == NULL && !add_chunks(streams))
        return NULL;
    chunk = streams->chunks;
    streams->chunks = chunk->next;
    return chunk;
}

void torc__chunk_give(struct torc__streams *streams, struct torc__chunk *chunk)
{
    chunk->next = streams->chunks;
    streams->chunks = chunk;
}

void torc__chunk_release(struct torc__streams *streams, struct torc__chunk *chunk)
{
    struct torc__memory *memory = chunk->memory;

    torc__chunk_give(streams, chunk);
    memory->chunks--;
    torc__memory_release(streams, memory);
}

/* ---- Life ---- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static uint32_t power_of_two(uint32_t at_least)
{
    uint32_t power = 1;

    while (power < at_least)
        power *= 2;
    return power;
}

static int open_ring(struct torc__streams *streams, const struct torc_options *options,
                     bool incremental)
{
    const struct torc__driver_ops *ops = streams->driver->ops;

    if (ops->open_buffers == NULL)
        return -EOPNOTSUPP;
    streams->ring.incremental = incremental;
    streams->buffer_size = or_default(options->receive_buffer_size, incremental ? 65536 : 16384);
    streams->least = or_default(options->receive_buffers, incremental ? 8 : 64);
    streams->most = or_default(options->receive_buffers_max, incremental ? 256 : 1024);
    if (streams->most < streams->least)
        streams->most = streams->least;
    return ops->open_buffers(streams->driver, &streams->ring, power_of_two(streams->most));
}

/* Open the ring, the best that there is, and fill it. Without one, streams read by themselves. */
static void make_ring(struct torc__streams *streams, const struct torc_options *options)
{
    int result = open_ring(streams, options, true);

    if (result == -EOPNOTSUPP)
        result = open_ring(streams, options, false);
    if (result < 0)
        return;
    streams->buffers = calloc(streams->most, sizeof(*streams->buffers));
    if (streams->buffers == NULL)
        return;
    for (uint32_t i = streams->most; i-- > 0;) {
        streams->buffers[i].id = (uint16_t)i;
        streams->buffers[i].next = streams->unmade;
        streams->unmade = &streams->buffers[i];
    }
    while (streams->count < streams->least && add_buffer(streams) == 0)
        ;
    streams->can_feed = streams->count > 0;
}

static void finish(struct torc__shard *shard)
{
    struct torc__streams *streams = shard->streams;

    if (streams->ring.ring != NULL)
        streams->driver->ops->close_buffers(streams->driver, &streams->ring);
    for (uint32_t i = 0; streams->buffers != NULL && i < streams->most; i++) {
        if (streams->buffers[i].bytes != NULL)
            drop_buffer(streams, &streams->buffers[i]);
    }
    torc__timer_stop(&shard->timers, &streams->trim);
    torc__timer_stop(&shard->timers, &streams->again);
    keep_blocks(streams, 0);
    while (streams->slabs != NULL) {
        struct torc__chunk_slab *next = streams->slabs->next;

        free(streams->slabs);
        streams->slabs = next;
    }
    free(streams->buffers);
    free(streams);
}

struct torc__streams *torc__streams_make(struct torc__shard *shard)
{
    struct torc__streams *streams = calloc(1, sizeof(*streams));

    if (streams == NULL)
        return NULL;
    streams->driver = shard->driver;
    make_ring(streams, torc__runtime_options(shard->runtime));
    shard->streams = streams;
    shard->finish_streams = finish;
    return streams;
}

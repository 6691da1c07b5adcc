/* SPDX-License-Identifier: MIT */
/*
 * stream_memory.h - the memory in which streams receive and collect what they send.
 *
 * Two kinds, both the shard's. Buffers of a ring, of which the kernel takes one when bytes come: a
 * stream that is idle holds none. And blocks, which a stream takes for itself, last in, first out:
 * for output, and to receive where there is no ring or no buffer free in it.
 *
 * A chunk is a piece of received bytes in one of these. Memory goes back when its last chunk does.
 *
 * There are few buffers on purpose: eight times 64 KiB stay in the cache, and streams that find
 * none free read by themselves, into hot blocks. Only those that slow readers keep are replaced by
 * more, up to a limit.
 */
#ifndef IO_STREAM_MEMORY_H
#define IO_STREAM_MEMORY_H

#include "driver/buffer_ring.h"
#include "shard/shard.h"

#define STREAM_BLOCK (64u * 1024u)

struct torc_stream;

/* A buffer of the ring, or a block. */
struct torc__memory {
    char *bytes;
    struct torc__memory *next; /* in a list of free ones */
    uint64_t left_ns;          /* ring: when the kernel was done with it */
    uint32_t used;             /* ring: so many bytes of it the kernel has filled */
    uint32_t chunks;           /* that stand in it */
    uint16_t id;               /* ring: its number */
    bool is_block;
    bool with_kernel; /* ring: it may still be filled */
};

struct torc__chunk {
    struct torc__chunk *next;
    struct torc__memory *memory;
    char *data;
    uint32_t length;
};

struct torc__streams {
    struct torc_stream *dirty;   /* with output to be prepared before the driver's turn */
    struct torc_stream *starved; /* whose output found no memory, and is tried again by `again` */
    struct torc_timer again;
    /* The ring of buffers. */
    struct torc__driver *driver;
    struct torc__buffer_ring ring;
    struct torc__memory *buffers; /* by number; bytes are NULL where there is none */
    struct torc__memory *unmade;  /* numbers without a buffer */
    bool can_feed;
    uint32_t buffer_size;
    uint32_t count; /* of buffers that exist */
    uint32_t least;
    uint32_t most;
    /* Blocks and chunks that are free. */
    struct torc__memory *blocks;
    unsigned block_count;
    unsigned blocks_not_needed; /* the fewest that were free since `trim` was started */
    struct torc_timer trim;
    unsigned colour;
    struct torc__chunk *chunks;
    struct torc__chunk_slab *slabs;
};

/* Make what streams have on a shard. NULL without memory. */
struct torc__streams *torc__streams_make(struct torc__shard *shard);

/* What streams have on this shard; made at the first call. NULL without memory. Allocates. */
static inline struct torc__streams *torc__streams_of(struct torc__shard *shard)
{
    return likely(shard->streams != NULL) ? shard->streams : torc__streams_make(shard);
}

/* A block of STREAM_BLOCK bytes; NULL without memory. */
struct torc__memory *torc__block_take(struct torc__streams *streams);
void torc__block_give(struct torc__streams *streams, struct torc__memory *block);

/* A chunk to note received bytes in; NULL without memory. It may be given back unused. */
struct torc__chunk *torc__chunk_take(struct torc__streams *streams);
void torc__chunk_give(struct torc__streams *streams, struct torc__chunk *chunk);

/* The bytes of a chunk are not needed any more. */
void torc__chunk_release(struct torc__streams *streams, struct torc__chunk *chunk);

/*
 * A receive has completed with `length` > 0 bytes and a buffer of the ring in its flags: where the
 * bytes are. The caller adds a chunk, or calls torc__memory_release().
 */
struct torc__memory *torc__buffer_filled(struct torc__streams *streams, uint32_t flags,
                                         uint32_t length, char **ret_data);

/* Give memory back if nobody uses it. */
void torc__memory_release(struct torc__streams *streams, struct torc__memory *memory);

/* A receive found no buffer. More are made if it is slow readers who keep them. */
void torc__buffers_starved(struct torc__streams *streams, uint64_t now_ns);

#endif

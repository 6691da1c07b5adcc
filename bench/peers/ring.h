/* SPDX-License-Identifier: MIT */
/*
 * ring.h - the bare io_uring of the peers that need more than liburing 2.3 gives.
 *
 * That version cannot make a ring without the SQ's index array (it writes the array at offset 0,
 * over the head of the queue) and knows no incremental buffers. Only its prep functions are used.
 * The ring belongs to one thread, which has all completions run by its own calls (DEFER_TASKRUN).
 */
#ifndef TORC_BENCH_PEERS_RING_H
#define TORC_BENCH_PEERS_RING_H

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Constants newer than liburing 2.3: names of our own, since later headers have theirs as enums. */
enum {
    SETUP_NO_SQARRAY = 1 << 16,  /* IORING_SETUP_NO_SQARRAY, 6.6 */
    BUFFERS_INCREMENTAL = 2,     /* IOU_PBUF_RING_INC, 6.12 */
    CQE_BUFFER_GOES_ON = 1 << 4, /* IORING_CQE_F_BUF_MORE, 6.12 */
    RING_TASK_ROUNDS_MAX = 8,    /* calls that only run completions, before they are looked at */
};

struct ring {
    struct io_uring_sqe *sqes;
    unsigned *sq_tail_shared;
    unsigned *sq_flags;
    unsigned sq_tail;
    unsigned sq_submitted; /* up to here the kernel has taken them */
    unsigned sq_entries;
    unsigned *cq_head;
    unsigned *cq_tail;
    struct io_uring_cqe *cqes;
    unsigned cq_mask;
    int fd;
    int enter_fd; /* the registered index of fd, or fd itself */
    unsigned enter_flags;
    uint64_t syscalls;
};

static inline _Noreturn void ring_die(const char *what, int error)
{
    errno = error < 0 ? -error : errno;
    perror(what);
    exit(1);
}

static inline int ring_setup(unsigned entries, struct io_uring_params *params, unsigned flags,
                             unsigned cq_entries)
{
    *params = (struct io_uring_params){
        .flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL,
        .cq_entries = cq_entries,
    };
    return (int)syscall(__NR_io_uring_setup, entries, params);
}

static inline char *ring_map(int fd, size_t size, uint64_t offset)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)offset);

    if (memory == MAP_FAILED)
        ring_die("mmap of a ring", 0);
    return memory;
}

static inline void ring_find_queues(struct ring *ring, const struct io_uring_params *params)
{
    const bool has_array = !(params->flags & SETUP_NO_SQARRAY);
    const size_t sq_size =
        has_array ? params->sq_off.array + params->sq_entries * sizeof(unsigned) : 0;
    const size_t cq_size = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
    char *base = ring_map(ring->fd, sq_size > cq_size ? sq_size : cq_size, IORING_OFF_SQ_RING);

    ring->sqes = (void *)ring_map(ring->fd, params->sq_entries * sizeof(struct io_uring_sqe),
                                  IORING_OFF_SQES);
    ring->sq_tail_shared = (void *)(base + params->sq_off.tail);
    ring->sq_flags = (void *)(base + params->sq_off.flags);
    ring->sq_entries = params->sq_entries;
    ring->cq_head = (void *)(base + params->cq_off.head);
    ring->cq_tail = (void *)(base + params->cq_off.tail);
    ring->cqes = (void *)(base + params->cq_off.cqes);
    ring->cq_mask = params->cq_entries - 1;
    for (unsigned i = 0; has_array && i < params->sq_entries; i++)
        ((unsigned *)(void *)(base + params->sq_off.array))[i] = i;
}

/* A ring of this thread, without the index array where the kernel can do without. */
static inline void ring_open(struct ring *ring, unsigned entries, unsigned cq_entries)
{
    const unsigned flags =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    struct io_uring_params params;

    *ring = (struct ring){0};
    ring->fd = ring_setup(entries, &params, flags | SETUP_NO_SQARRAY, cq_entries);
    if (ring->fd < 0)
        ring->fd = ring_setup(entries, &params, flags, cq_entries);
    if (ring->fd < 0)
        ring_die("io_uring_setup", 0);
    ring_find_queues(ring, &params);

    struct io_uring_rsrc_update update = {.offset = -1U, .data = (uint64_t)ring->fd};
    ring->enter_fd = ring->fd;
    if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_RING_FDS, &update, 1) == 1) {
        ring->enter_fd = (int)update.offset;
        ring->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
}

/* The one system call: what is queued goes in, and `wait` completions are waited for. */
static inline void ring_enter(struct ring *ring, unsigned wait, unsigned flags)
{
    __atomic_store_n(ring->sq_tail_shared, ring->sq_tail, __ATOMIC_RELEASE);
    ring->syscalls++;
    const int64_t taken =
        syscall(__NR_io_uring_enter, ring->enter_fd, ring->sq_tail - ring->sq_submitted, wait,
                flags | ring->enter_flags, NULL, (size_t)0);
    if (taken < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY)
        ring_die("io_uring_enter", 0);
    if (taken > 0)
        ring->sq_submitted += (unsigned)taken;
}

/* Hand over what is queued, and run no completions. */
static inline void ring_submit(struct ring *ring)
{
    if (ring->sq_tail != ring->sq_submitted)
        ring_enter(ring, 0, 0);
}

static inline struct io_uring_sqe *ring_sqe(struct ring *ring)
{
    while (ring->sq_tail - ring->sq_submitted == ring->sq_entries)
        ring_submit(ring);
    return &ring->sqes[ring->sq_tail++ & (ring->sq_entries - 1)];
}

/*
 * Hand over what is queued, wait for `wait` completions, and have those run that the kernel has
 * put off: it runs some 20 per call, which of 1,000 connections would make some wait very long.
 */
static inline void ring_turn(struct ring *ring, unsigned wait)
{
    ring_enter(ring, wait, IORING_ENTER_GETEVENTS);
    for (int i = 0; i < RING_TASK_ROUNDS_MAX; i++) {
        if (!(__atomic_load_n(ring->sq_flags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN))
            break;
        ring_enter(ring, 0, IORING_ENTER_GETEVENTS);
    }
}

/* How many completions there are. */
static inline unsigned ring_ready(const struct ring *ring)
{
    return __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) - *ring->cq_head;
}

/* The first completion; only if there is one. It stays where it is until ring_pop(). */
static inline const struct io_uring_cqe *ring_first(const struct ring *ring)
{
    return &ring->cqes[*ring->cq_head & ring->cq_mask];
}

static inline void ring_pop(struct ring *ring)
{
    __atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
}

/* ---- Buffers that the kernel picks: group 0 ---- */

struct ring_buffers {
    struct io_uring_buf_ring *queue;
    char *memory;
    unsigned count; /* a power of two */
    size_t size;    /* of each */
    bool incremental;
    unsigned with_kernel; /* how many it may still fill */
    uint16_t added;       /* to the queue, not yet shown to the kernel */
};

static inline char *ring_buffer(const struct ring_buffers *buffers, unsigned id)
{
    return buffers->memory + id * buffers->size;
}

/* Give buffer `id` back whole; the kernel sees it from ring_buffers_show() on. */
static inline void ring_buffers_return(struct ring_buffers *buffers, unsigned id)
{
    io_uring_buf_ring_add(buffers->queue, ring_buffer(buffers, id), (unsigned)buffers->size,
                          (unsigned short)id, (int)buffers->count - 1, buffers->added);
    buffers->added++;
    buffers->with_kernel++;
}

static inline void ring_buffers_show(struct ring_buffers *buffers)
{
    if (buffers->added > 0)
        io_uring_buf_ring_advance(buffers->queue, buffers->added);
    buffers->added = 0;
}

static inline int ring_buffers_register(const struct ring *ring, const struct ring_buffers *buffers,
                                        uint16_t flags)
{
    const struct {
        uint64_t ring_address;
        uint32_t entries;
        uint16_t group;
        uint16_t flags;
        uint64_t reserved[3];
    } request = {
        .ring_address = (uint64_t)(uintptr_t)buffers->queue,
        .entries = buffers->count,
        .flags = flags,
    };

    _Static_assert(sizeof(request) == sizeof(struct io_uring_buf_reg), "kernel ABI");
    return (int)syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_PBUF_RING, &request, 1);
}

/* Buffers that are filled bit by bit where the kernel can; all are with the kernel at first. */
static inline void ring_buffers_open(struct ring_buffers *buffers, const struct ring *ring,
                                     unsigned count, size_t size, bool incremental)
{
    const size_t queue_size = (count * sizeof(struct io_uring_buf) + 4095) & ~(size_t)4095;
    char *memory = mmap(NULL, queue_size + count * size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        ring_die("mmap of buffers", 0);
    *buffers = (struct ring_buffers){
        .queue = (void *)memory,
        .memory = memory + queue_size,
        .count = count,
        .size = size,
    };
    buffers->incremental =
        incremental && ring_buffers_register(ring, buffers, BUFFERS_INCREMENTAL) == 0;
    if (!buffers->incremental && ring_buffers_register(ring, buffers, 0) != 0)
        ring_die("registering buffers", 0);
    for (unsigned id = 0; id < count; id++)
        ring_buffers_return(buffers, id);
    ring_buffers_show(buffers);
}

#endif

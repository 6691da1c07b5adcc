/* SPDX-License-Identifier: MIT */
/*
 * ring.c - a bare io_uring: set-up, queues, the one system call.
 */
#include "driver/ring.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What stands before the completion queue; some 320 bytes. */
#define HEAD_SIZE 512u

/* A second in all. */
#define PAUSE_FIRST_US 500u
#define PAUSE_LAST_US  (1024u * PAUSE_FIRST_US)

static int sys_setup(unsigned entries, struct io_uring_params *params)
{
    long fd = syscall(__NR_io_uring_setup, entries, params);

    return fd < 0 ? -errno : (int)fd;
}

static int sys_register(int fd, unsigned code, void *argument, unsigned count)
{
    long result = syscall(__NR_io_uring_register, fd, code, argument, count);

    return result < 0 ? -errno : (int)result;
}

static int sys_enter(struct torc__ring *ring, unsigned submit, unsigned wait, unsigned flags,
                     const struct __kernel_timespec *timeout)
{
    struct kernel_getevents_arg argument = {.ts = (uint64_t)(uintptr_t)timeout};
    void *last = NULL;
    size_t size = _NSIG / 8; /* What the kernel expects beside a NULL signal mask. */
    long result;

    if (wait > 1)
        argument.min_wait_usec = ring->min_wait_us;
    if (timeout != NULL || argument.min_wait_usec > 0) {
        flags |= IORING_ENTER_EXT_ARG;
        last = &argument;
        size = sizeof(argument);
    }
    result = syscall(__NR_io_uring_enter, ring->enter_fd, submit, wait, flags | ring->enter_flags,
                     last, size);
    return result < 0 ? -errno : (int)result;
}

static void *map(int fd, size_t size, off_t offset)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);

    return memory == MAP_FAILED ? NULL : memory;
}

/* One mapping holds both queues (IORING_FEAT_SINGLE_MMAP, 5.4); the larger end decides its size. */
static size_t rings_size(const struct io_uring_params *params)
{
    size_t sq_end = params->sq_off.array + params->sq_entries * sizeof(unsigned);
    size_t cq_end = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);

    if (params->flags & IORING_SETUP_NO_SQARRAY)
        return cq_end;
    return sq_end > cq_end ? sq_end : cq_end;
}

static void find_queues(struct torc__ring *ring, const struct io_uring_params *params)
{
    char *base = ring->rings;

    ring->sq_head = (unsigned *)(void *)(base + params->sq_off.head);
    ring->sq_tail_shared = (unsigned *)(void *)(base + params->sq_off.tail);
    ring->sq_flags = (unsigned *)(void *)(base + params->sq_off.flags);
    ring->sq_mask = params->sq_entries - 1;
    ring->sq_entries = params->sq_entries;
    ring->sq_tail = *ring->sq_tail_shared;
    ring->cq_head = (unsigned *)(void *)(base + params->cq_off.head);
    ring->cq_tail = (unsigned *)(void *)(base + params->cq_off.tail);
    ring->cq_overflow = (unsigned *)(void *)(base + params->cq_off.overflow);
    ring->cqes = (struct io_uring_cqe *)(void *)(base + params->cq_off.cqes);
    ring->cq_mask = params->cq_entries - 1;
    ring->cq_entries = params->cq_entries;
    if (!(params->flags & IORING_SETUP_NO_SQARRAY)) {
        unsigned *array = (unsigned *)(void *)(base + params->sq_off.array);

        for (unsigned i = 0; i < params->sq_entries; i++)
            array[i] = i; /* Slots are used in order; the indirection is of no use to us. */
    }
}

int torc__ring_init(struct torc__ring *ring, const struct torc__ring_shape *shape)
{
    struct io_uring_params params = {
        .flags = shape->setup_flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        .cq_entries = shape->completion_entries,
        .sq_thread_idle = shape->sqpoll_idle_ms,
    };
    int error = -ENOMEM;
    int fd = sys_setup(shape->entries, &params);

    if (fd < 0)
        return fd;
    memset(ring, 0, sizeof(*ring));
    ring->fd = fd;
    ring->enter_fd = fd;
    ring->enter = sys_enter;
    ring->features = params.features;
    ring->setup_flags = shape->setup_flags;
    ring->rings_size = rings_size(&params);
    ring->sqes_size = params.sq_entries * sizeof(struct io_uring_sqe);
    if (!(params.features & IORING_FEAT_NODROP) || !(params.features & IORING_FEAT_RW_CUR_POS)) {
        error = -ENOSYS; /* Before 5.6. */
        goto close_fd;
    }
    ring->rings = map(fd, ring->rings_size, IORING_OFF_SQ_RING);
    if (ring->rings == NULL)
        goto close_fd;
    ring->sqes = map(fd, ring->sqes_size, IORING_OFF_SQES);
    if (ring->sqes == NULL)
        goto unmap_rings;
    find_queues(ring, &params);
    return 0;

unmap_rings:
    munmap(ring->rings, ring->rings_size);
close_fd:
    close(fd);
    return error;
}

/* The next power of two of `unit`. */
static size_t round_up(size_t size, size_t unit)
{
    while (unit < size)
        unit *= 2;
    return unit;
}

size_t torc__ring_locked_size(const struct torc__ring_shape *shape)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t entries = round_up(shape->entries, 1);
    const size_t completions = round_up(shape->completion_entries, 1);
    const size_t queues =
        HEAD_SIZE + completions * sizeof(struct io_uring_cqe) + entries * sizeof(unsigned);

    return round_up(queues, page) + round_up(entries * sizeof(struct io_uring_sqe), page);
}

/* Whether locked memory is what is wanting, perhaps, and the ring could be had if all were free. */
static bool may_fit_later(const struct torc__ring_shape *shape)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           limit.rlim_cur >= torc__ring_locked_size(shape);
}

int torc__ring_init_patiently(struct torc__ring *ring, const struct torc__ring_shape *shape)
{
    int result = torc__ring_init(ring, shape);

    for (unsigned pause_us = PAUSE_FIRST_US;
         result == -ENOMEM && pause_us <= PAUSE_LAST_US && may_fit_later(shape); pause_us *= 2) {
        (void)usleep(pause_us);
        result = torc__ring_init(ring, shape);
    }
    return result;
}

int torc__ring_carry(struct torc__ring *ring, const struct io_uring_sqe *sqe, int32_t *ret_result)
{
    int result;

    ring->sqes[ring->sq_tail++ & ring->sq_mask] = *sqe;
    /* In one order with the flag of a polling thread that may just be going to sleep. */
    __atomic_store_n(ring->sq_tail_shared, ring->sq_tail, __ATOMIC_SEQ_CST);
    do {
        unsigned flags = IORING_ENTER_GETEVENTS;

        if (__atomic_load_n(ring->sq_flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
            flags |= IORING_ENTER_SQ_WAKEUP;
        result = ring->enter(ring, torc__ring_queued(ring), 1, flags, NULL);
    } while (result == -EINTR || (result >= 0 && !torc__ring_has_completion(ring)));
    if (result < 0)
        return result;
    *ret_result = ring->cqes[*ring->cq_head & ring->cq_mask].res;
    __atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
    return 0;
}

int torc__ring_try(struct torc__ring *ring)
{
    const struct io_uring_sqe nop = {.opcode = IORING_OP_NOP};
    int32_t result;

    return torc__ring_carry(ring, &nop, &result);
}

void torc__ring_finish(struct torc__ring *ring)
{
    struct io_uring_rsrc_update update = {.offset = (uint32_t)ring->enter_fd};

    /* A registered descriptor keeps the ring alive, and one of 16 slots of the thread in use. */
    if (ring->enter_flags & IORING_ENTER_REGISTERED_RING)
        (void)sys_register(ring->fd, IORING_UNREGISTER_RING_FDS, &update, 1);
    munmap(ring->sqes, ring->sqes_size);
    munmap(ring->rings, ring->rings_size);
    close(ring->fd);
}

int torc__ring_register_fd(struct torc__ring *ring)
{
    struct io_uring_rsrc_update update = {.offset = -1U, .data = (uint64_t)ring->fd};
    int result = sys_register(ring->fd, IORING_REGISTER_RING_FDS, &update, 1);

    if (result < 0)
        return result;
    ring->enter_fd = (int)update.offset;
    ring->enter_flags |= IORING_ENTER_REGISTERED_RING;
    return 0;
}

int torc__ring_register_napi(struct torc__ring *ring, unsigned poll_us)
{
    struct kernel_napi request = {.busy_poll_to = poll_us, .prefer_busy_poll = 1};

    return sys_register(ring->fd, KERNEL_REGISTER_NAPI, &request, 1);
}

void torc__ring_probe(struct torc__ring *ring, uint64_t *opcodes, unsigned words)
{
    union {
        struct io_uring_probe probe;
        char room[sizeof(struct io_uring_probe) + 256 * sizeof(struct io_uring_probe_op)];
    } answer;

    memset(&answer, 0, sizeof(answer));
    memset(opcodes, 0, words * sizeof(opcodes[0]));
    if (sys_register(ring->fd, IORING_REGISTER_PROBE, &answer, 256) < 0)
        return;
    for (unsigned i = 0; i <= answer.probe.last_op && i < 64 * words; i++) {
        if (answer.probe.ops[i].flags & IO_URING_OP_SUPPORTED)
            opcodes[i / 64] |= UINT64_C(1) << (i % 64);
    }
}

bool torc__ring_has_opcode(struct torc__ring *ring, unsigned opcode)
{
    uint64_t opcodes[4];

    torc__ring_probe(ring, opcodes, 4);
    return opcode < 256 && (opcodes[opcode / 64] & (UINT64_C(1) << (opcode % 64)));
}

int torc__ring_register_buffers(struct torc__ring *ring, struct io_uring_buf_ring *buffers,
                                unsigned entries, unsigned group, bool incremental)
{
    struct kernel_buf_reg request = {
        .ring_addr = (uint64_t)(uintptr_t)buffers,
        .ring_entries = entries,
        .bgid = (uint16_t)group,
        .flags = incremental ? KERNEL_PBUF_RING_INC : 0,
    };

    return sys_register(ring->fd, IORING_REGISTER_PBUF_RING, &request, 1);
}

int torc__ring_unregister_buffers(struct torc__ring *ring, unsigned group)
{
    struct kernel_buf_reg request = {.bgid = (uint16_t)group};

    return sys_register(ring->fd, IORING_UNREGISTER_PBUF_RING, &request, 1);
}

int torc__ring_try_buffers(struct torc__ring *ring, bool incremental)
{
    const unsigned group = UINT16_MAX; /* Nobody else's. */
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int result;

    if (memory == MAP_FAILED)
        return -ENOMEM;
    result = torc__ring_register_buffers(ring, memory, 1, group, incremental);
    if (result == 0)
        (void)torc__ring_unregister_buffers(ring, group);
    munmap(memory, size);
    return result;
}

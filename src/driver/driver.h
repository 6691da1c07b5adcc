/* SPDX-License-Identifier: MIT */
/*
 * driver.h - the boundary between a shard and what carries its operations.
 *
 * An operation is described by a struct io_uring_sqe, whichever driver carries it out. The rules:
 *   - prepare() hands out an SQE to be filled before the next call into the driver; it never fails
 *     and never completes the op itself, so nothing recurses;
 *   - the driver owns the op from prepare() to its last completion, which comes exactly once;
 *   - completions are told by the op's function, from within turn() only;
 *   - cancel() only hurries an op; it completes all the same.
 *
 * Drivers know kernels and not fibers: nothing here speaks of who waits.
 */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <torc/op.h>
#include <torc/runtime.h>

struct torc__driver;
struct torc__control;
struct torc__buffer_ring;
struct torc__pool;
struct torc__trace;

/* For turn(): do not wait. Any time in the past would do. */
#define DRIVER_NO_WAIT 0
/* The same, but look at all that has come, however much else there is to do: see is_behind. */
#define DRIVER_LOOK 1

/* What the driver counts; the meanings are those of struct torc_stats. */
struct torc__driver_stats {
    uint64_t ops;
    uint64_t ops_ended; /* of these; the others are in flight */
    uint64_t completions;
    uint64_t enters;
    uint64_t waits;
    uint64_t submits_retried;
    uint64_t overflows;
    uint64_t wakeups_sent;
    uint64_t wakeups_received;
};

struct torc__driver_options {
    uint32_t entries;
    uint32_t completion_entries;
    unsigned forbid; /* of torc_feature */
    uint32_t sqpoll_idle_ms;
    uint32_t napi_poll_us;
    uint32_t min_wait_us;
};

struct torc__driver_ops {
    const char *name;
    size_t size; /* of the driver's own struct, which begins with struct torc__driver */
    /*
     * `driver` is cleared but for its head. 0, or why this driver cannot work here; then nothing
     * is left behind.
     */
    int (*init)(struct torc__driver *driver, const struct torc__driver_options *options);
    /* All ops of others must have completed. Ends the driver's own ones and waits for them. */
    void (*finish)(struct torc__driver *driver);
    struct io_uring_sqe *(*prepare)(struct torc__driver *driver, struct torc_op *op);
    void (*cancel)(struct torc__driver *driver, struct torc_op *op);
    /*
     * Submit what was prepared, wait until something completes or `wait_until_ns`, and tell the
     * completions. Returns how many; 0 also after an interruption or a wake-up.
     */
    int (*turn)(struct torc__driver *driver, uint64_t wait_until_ns);
    /*
     * End the present or the next wait of `driver`. The one call for other threads; `from` is the
     * driver of the calling thread's shard, or NULL.
     */
    void (*wake)(struct torc__driver *driver, struct torc__driver *from);
    /* Large pieces may be moved by control() in place of ops: not where ops are made to fail. */
    bool moves_at_once;
    /* What never waits: socket(), bind() and their like. The result, or a negative errno. */
    int (*control)(struct torc__driver *driver, struct torc__control *request);
    /* The clock: simulated where the kernel is. */
    uint64_t (*now)(struct torc__driver *driver);
    /*
     * Make a ring of `entries` (a power of two) for buffers that receives choose from, incremental
     * if `buffers->incremental` says so; and take it back, when no op is in flight that could
     * choose from it. 0, or -EOPNOTSUPP where there is no such thing, or no multishot receive that
     * would choose; or another error.
     */
    int (*open_buffers)(struct torc__driver *driver, struct torc__buffer_ring *buffers,
                        unsigned entries);
    void (*close_buffers)(struct torc__driver *driver, struct torc__buffer_ring *buffers);
};

/* Operation codes are below this; the newest of Linux 6.18 is 64. */
#define DRIVER_OPCODES 128

/* Head of every driver's own struct. */
struct torc__driver {
    const struct torc__driver_ops *ops;
    struct torc__driver_stats stats;
    unsigned features; /* The torc_feature bits in use. */
    unsigned forbid;   /* Those that options or the environment forbid. */
    uint64_t
        opcodes[DRIVER_OPCODES / 64]; /* What prepare() may be given: see torc__driver_has(). */
    uint32_t entries;                 /* of the queues, where there are any */
    uint32_t completion_entries;
    bool is_behind; /* the last turn had so much to do that it did not look what else had come */
    struct torc__pool *pool;   /* the runtime's; NULL for a driver that is only tried */
    struct torc__trace *trace; /* NULL unless operations are recorded: see driver/observe.h */
};

/*
 * Whether a driver carries out an operation. One that it does not may be done by torc__execute()
 * on a thread of the pool.
 */
static inline bool torc__driver_has(const struct torc__driver *driver, unsigned opcode)
{
    return driver->opcodes[opcode / 64] & (UINT64_C(1) << (opcode % 64));
}

/* How many ops have been prepared and not completed. */
static inline uint64_t torc__driver_in_flight(const struct torc__driver *driver)
{
    return driver->stats.ops - driver->stats.ops_ended;
}

extern const struct torc__driver_ops torc__uring_ops;
extern const struct torc__driver_ops torc__epoll_ops;
extern const struct torc__driver_ops torc__sim_ops;

/*
 * Make the driver that `options` and the environment (TORC_DRIVER, TORC_FORBID) ask for: if they
 * leave the choice open, epoll where there are no rings, of which the log tells once. `pool` must
 * outlive the driver. Allocates. 0, or why none works, of which the log has told, too.
 */
int torc__driver_create(const struct torc_options *options, struct torc__pool *pool,
                        struct torc__driver **ret_driver);

/* Finish a driver and free it. NULL is ignored. */
void torc__driver_destroy(struct torc__driver *driver);

/* This is the child of a fork(): free what other threads held, so that it may run torc anew. */
void torc__driver_after_fork(void);

/*
 * Before a runtime is made: if the simulated driver is asked for, this thread enters its simulated
 * world, which is made the first time; `shard` is a variable of the thread, in which each simulated
 * thread has a value of its own. *ret_entered: torc__driver_leave() is to be called at the end.
 * Nothing where the thread is in a world already. 0, or a negative errno.
 */
int torc__driver_enter(const struct torc_options *options, void **shard, bool *ret_entered);
void torc__driver_leave(void);

/* The queue sizes and forbidden features that `options` and the environment give; or -EINVAL. */
int torc__driver_read_options(const struct torc_options *options,
                              struct torc__driver_options *ret_options);

/* torc_driver_report(), less what is not the driver's: guard_regions is given as unavailable. */
int torc__driver_report(const struct torc_options *options, struct torc_driver_report *ret_report);

/* ---- Control requests ---- */

enum torc__control_kind {
    CONTROL_SOCKET,     /* a: family, b: type, c: protocol */
    CONTROL_BIND,       /* fd, data: address, length */
    CONTROL_LISTEN,     /* fd, a: backlog */
    CONTROL_SHUTDOWN,   /* fd, a: which directions */
    CONTROL_LOCAL,      /* fd, data: room for the address, length: in and out */
    CONTROL_PEER,       /* likewise */
    CONTROL_SET_OPTION, /* fd, a: level, b: option, data, length */
    CONTROL_GET_OPTION, /* fd, a: level, b: option, data, length: in and out */
    CONTROL_RECV,       /* fd, data: room, length; MSG_DONTWAIT, so -EAGAIN */
    CONTROL_CONNECT,    /* as CONTROL_BIND, a Unix socket; -EAGAIN: the server's queue is full */
    CONTROL_CLOSE,      /* fd; of what holds no data that could still be written */
    CONTROL_PAIR,       /* socketpair(): a: type, data: int[2] */
    CONTROL_BIND_PATH,  /* as CONTROL_BIND for a Unix socket, see local_path.h; a: mode or 0 */
    CONTROL_FREE_PATH,  /* data: a Unix address, length; its path goes unless a socket has it */
    CONTROL_SEND,       /* fd, data: struct mmsghdr[], length: how many, a: flags; the count */
    CONTROL_RECEIVE,    /* likewise */
    CONTROL_READY,      /* fd, a: events of poll(2); those that hold now */
    CONTROL_PIPE,       /* data: int[2] */
    CONTROL_PIPE_SIZE,  /* fd, a: bytes, or 0 to ask; the bytes it has. -EBADF: no pipe */
    CONTROL_WATCH_OPEN, /* a set of watched descriptors, epoll_create(2) */
    CONTROL_WATCH_SET,  /* fd: the set, a: whom, b: events or 0 for no more, data: uint64_t key */
    CONTROL_WATCH_TAKE, /* fd: the set, data: struct epoll_event[], length: how many; the count */
};

struct torc__control {
    enum torc__control_kind kind;
    int fd;
    int a;
    int b;
    int c;
    void *data;
    uint32_t length;
};

/* The requests, done by system calls: for every driver on a real kernel. */
int torc__control_kernel(struct torc__driver *driver, struct torc__control *request);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fiber.h - the control block of a fiber, and where blocks come from.
 *
 * A block is two cache lines in a dense slab, apart from the stack: walking the run queue, waking
 * and cancelling touch no stack (a block at the stack's top is twice as slow from 4,000 fibers on).
 * A fiber has no stack before it first runs.
 *
 *     NEW --run--> RUNNING --wait--> WAITING ------wake------> READY --run--> RUNNING
 *                     |                 | scope's reason         ^
 *                   return              v                        |
 *                     v            INTERRUPTED ------wake--------+
 *                   FREE
 *
 * A scope's reason does not wake a fiber, it interrupts: a sleep or a lock leaves its queue and
 * wakes it at once, I/O asks the kernel for the memory back and is woken by its completion alone.
 */
#ifndef FIBER_FIBER_H
#define FIBER_FIBER_H

#include "fiber/stack.h"
#include <stdint.h>
#include <torc/fiber.h>
#include <torc/inspect.h>
#include <torc/time.h>

struct torc_fiber;
struct torc_scope;

enum fiber_state {
    FIBER_FREE,
    FIBER_NEW,
    FIBER_READY,
    FIBER_RUNNING,
    FIBER_WAITING,
    FIBER_INTERRUPTED,
};

/* Ask the wait of `fiber` to end; for waits that are not operations it also wakes it. */
typedef void torc__interrupt_fn(struct torc_fiber *fiber, int reason);

/* In torc_fiber.owes: for each public op prepared and not completed; for each lock it holds. */
#define FIBER_OWES_OP   UINT32_C(1)
#define FIBER_OWES_LOCK (UINT32_C(1) << 20)

struct torc_fiber {
    /* What a switch, a wait and a wake touch. */
    void *sp; /* of a parked fiber; NULL before the first run */
    union {
        struct torc_fiber *next; /* in the run queue, or in the list of free blocks */
        uint64_t since_ns;       /* while it waits: when the round began in which it parked */
    };
    struct torc_scope *scope;          /* innermost */
    const struct torc_wait_kind *wait; /* the present one, or the last */
    union {
        void *waits_for; /* while it waits, for `wait`: an op, a node in a queue */
        int wait_result; /* from then on */
    };
    uint8_t state; /* fiber_state */
    bool is_daemon : 1;
    bool is_named : 1; /* in the log, for not ending */
    bool is_hot : 1;   /* its last wait has ended by torc__wake_hot() */
    uint16_t refusals; /* waits refused in a row because of the scope's reason */
    uint32_t id;
    struct torc__stack *stack; /* NULL before the first run */
    int saved_errno;           /* errno is the thread's; a park hands it over */
    uint32_t owes;             /* FIBER_OWES_: what has to be over when it ends */
    /* The rest of its life. */
    torc_fiber_fn *body;
    union {
        void *arg;               /* until it runs */
        struct torc_timer timer; /* of a sleep: here, so that firing it touches no stack */
    };
    struct torc_scope *home;    /* the scope it was started in */
    struct torc_fiber *sibling; /* in home's list of fibers */
    struct torc_fiber **sibling_link;
};
_Static_assert(sizeof(struct torc_fiber) == 128, "two cache lines");

/* The name of a fiber for messages; never NULL. */
static inline const char *torc__fiber_name(const struct torc_fiber *fiber)
{
    return fiber->stack != NULL && fiber->stack->name != NULL ? fiber->stack->name : "";
}

#define FIBER_CHUNK 512u

struct torc__fiber_chunk {
    _Alignas(64) struct torc_fiber fibers[FIBER_CHUNK];
    struct torc__fiber_chunk *next;
};

struct torc__fibers {
    struct torc_fiber *free;
    struct torc__fiber_chunk *chunks;
    struct torc__fiber_chunk **last_chunk;
    uint32_t allocated;
    uint32_t alive;
    uint32_t peak;
    uint32_t max;
};

void torc__fibers_init(struct torc__fibers *fibers, uint32_t max);

/* Unmap all blocks. No fiber may be alive. */
void torc__fibers_finish(struct torc__fibers *fibers);

/* More blocks for the list of free ones. 0; -ENOMEM at `max`, or when the kernel has no memory. */
int torc__fibers_grow(struct torc__fibers *fibers);

#endif

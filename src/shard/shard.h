/* SPDX-License-Identifier: MIT */
/*
 * shard.h - one thread with its loop, its driver and its fibers.
 *
 * The shard introduces drivers and fibers to each other. Everything here is touched by its own
 * thread only, but for the mailbox.
 */
#ifndef SHARD_SHARD_H
#define SHARD_SHARD_H

#include "base/log.h"
#include "driver/driver.h"
#include "driver/pool.h"
#include "fiber/fiber.h"
#include "shard/mailbox.h"
#include "shard/pipe_pool.h"
#include "shard/poll_policy.h"
#include "shard/timers.h"
#include <time.h>
#include <torc/scope.h>

struct torc__observed;
struct torc__observer;
struct torc__runtime;
struct torc__thread_call;
struct torc__trace;
struct torc__streams;
struct torc_resolver;

struct torc__shard {
    /* What every switch touches. */
    struct torc_fiber *running;     /* &loop while no fiber runs */
    struct torc_fiber *ready_first; /* the run queue: first come, first served, but ... */
    struct torc_fiber **ready_last;
    uint32_t budget;      /* switches before the loop has its turn */
    int *errno_of_thread; /* &errno: its address never changes on a thread */
    struct torc__driver *driver;
    uint64_t switches;
    struct torc__trace *trace; /* NULL unless switches are recorded */
    uint64_t round_time_ns;    /* the clock, read once per round */

    struct torc_fiber *hot_first; /* ... for these, which go first in the next round */
    struct torc_fiber **hot_last;

    struct torc__shard *next_shard; /* of all runtimes, see inspect.c */
    int thread_id;
    struct torc_fiber loop;  /* the thread's own stack, as a switch sees it */
    struct torc_fiber grave; /* where a fiber that ends is switched away from */
    struct torc__fibers fibers;
    struct torc__stacks stacks;
    struct torc_scope root;
    struct torc__timers timers;
    struct torc__mailbox *mailbox;
    struct torc_message *mail; /* taken out of the mailbox and not run yet, oldest first */
    struct torc__poll_policy poll;
    struct torc_op *told;    /* ops of streams, listeners and their like, which outlive calls */
    struct torc_op *feeds;   /* ops of torc_op_prepare_feed() */
    struct torc_op *refused; /* those that would have begun when all is over */
    struct torc__pipe_pool pipes;

    /* What streams have on this shard, made when the first needs it; and how io/ is called back. */
    struct torc__streams *streams;
    void (*before_turn)(struct torc__shard *shard); /* if set: for io/, see stream_out.c and op.c */
    void (*finish_streams)(struct torc__shard *shard);
    uint64_t receive_buffers;         /* that exist */
    uint64_t receive_buffers_free;    /* of these, those in the kernel's hands */
    uint64_t receive_buffers_starved; /* times none was free */
    struct {
        uint64_t switches; /* how many there were when who runs began ... */
        size_t bytes;      /* ... to move so many without waiting */
        int more_fd;       /* see io/at_once.h; -1: none */
    } at_once;
    struct torc_resolver *resolver; /* of names, once one was needed, and how to end it */
    void (*destroy_resolver)(struct torc_resolver *resolver);

    struct torc__thread_call *call; /* what a fiber wants done on the thread's stack */
    struct torc__runtime *runtime;
    struct torc__pool *pool; /* the runtime's */
    unsigned index;
    uint32_t budget_full; /* what a round may switch; learnt, see shard.c */
    uint64_t round_ops;   /* the driver's count of ops when the round began */
    uint64_t round_ns;    /* for how long fibers ran in the last one */
    uint64_t timer_slack_ns;
    unsigned lone_timers; /* services of late that fired one, in a row, as far as it matters */
    /* What each round counts, in one cache line, and the delays that are usual in another. */
    _Alignas(64) uint64_t rounds;
    uint64_t round_ns_max;
    uint64_t idle_ns;         /* spent in idle() ... */
    uint64_t idle_since_ns;   /* ... and since when in the present one, or 0 */
    uint64_t polled_ns;       /* of idle_ns, about so much was polled */
    uint64_t run_delay_ns;    /* as in struct torc_stats */
    uint64_t marked_switches; /* when there have been so many, a fiber has run that was last ... */
    struct torc__observer *observer; /* who looks at this shard; NULL if nobody does */
    uint64_t run_delays[TORC_RUN_DELAYS];
    uint64_t marked_ns; /* ... in the queue then; 0 switches: there is none */
    uint64_t spawns;
    uint64_t messages;
    struct torc__observed *observed; /* what he knows of it */
    clockid_t cpu_clock;             /* of the shard's thread */
    uint64_t random;                 /* for torc__random() */
    int main_result;
    bool check_misuse;      /* See check.c. */
    bool closing;           /* All fibers have ended; only operations are left. */
    struct torc_timer warn; /* names what refuses to end */
    struct torc_timer trim; /* gives back the memory of free stacks */
    uint64_t shutdown_warn_ns;
    const void *thread_stack_low; /* the thread's own stack, for AddressSanitizer */
    size_t thread_stack_size;
    void *thread_tsan;
};

/*
 * The shard of this thread, or NULL. Fibers never leave their thread, so a value that the compiler
 * keeps over a switch stays right. initial-exec: one load, not a call, in a shared library too.
 */
extern _Thread_local struct torc__shard *torc__shard
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The shard of the calling fiber or loop callback; aborts where there is none. */
static inline struct torc__shard *torc__shard_here(void)
{
    TORC_ASSERT(torc__shard != NULL);
    return torc__shard;
}

/* The shard of the calling fiber; aborts where there is none. */
static inline struct torc__shard *torc__shard_of_fiber(void)
{
    struct torc__shard *shard = torc__shard_here();

    TORC_ASSERT(shard->running != &shard->loop);
    return shard;
}

/* ---- wait.c: suspend, interrupt, wake ---- */

/* A kind of wait for a descriptor: `waits` is what waits_for points to, in `type`, as `fd` is. */
#define WAIT_KIND_FD(label, function, type, waits, where)                           \
    {                                                                               \
        .interrupt = (function), .name = (label), .form = TORC_WAIT_DESCRIPTOR,     \
        .object = TORC_WAIT_NONE, .owner = TORC_WAIT_NONE, .count = TORC_WAIT_NONE, \
        .fd = (int16_t)((int)offsetof(type, where) - (int)offsetof(type, waits)),   \
    }

/*
 * Suspend the running fiber until torc__wake(), and return the result given there. The function of
 * its kind, if it has one, is called if the scope gets a reason meanwhile. The caller has made sure
 * that there is none yet.
 */
int torc__wait(struct torc__shard *shard, const struct torc_wait_kind *kind, void *waits_for);

/* Leave the running context for the next ready one: the only place that switches. */
void torc__park(struct torc__shard *shard);

/* torc__wait() without its result, for who has it elsewhere. */
static inline void torc__suspend(struct torc__shard *shard, const struct torc_wait_kind *kind,
                                 void *waits_for)
{
    struct torc_fiber *self = shard->running;

    self->state = FIBER_WAITING;
    self->since_ns = shard->round_time_ns;
    self->wait = kind;
    self->waits_for = waits_for;
    self->refusals = 0;
    torc__park(shard);
}

/* Make a waiting fiber ready. */
void torc__wake(struct torc__shard *shard, struct torc_fiber *fiber, int result);

/*
 * torc__wake(), from the loop, of a fiber for which much has been received: it goes first in the
 * round that follows, while that is in the cache. Whose last wait has ended so as well stands
 * behind the others this time; so nobody is passed for ever.
 */
void torc__wake_hot(struct torc__shard *shard, struct torc_fiber *fiber);

/* Interrupt the wait of a fiber, if it is in one that can be. */
void torc__interrupt(struct torc_fiber *fiber, int reason);

/*
 * Account for a wait refused because of the scope's reason, and return that. A fiber that does
 * nothing but ask again is made to yield, and is named.
 */
int torc__refuse(struct torc__shard *shard, int reason);

/* Why waits end in the running fiber's scope; 0 if they do not. */
static inline int torc__reason(const struct torc__shard *shard)
{
    return shard->running->scope->_reason;
}

static inline void torc__enqueue(struct torc_fiber ***last, struct torc_fiber *fiber)
{
    fiber->state = FIBER_READY;
    fiber->next = NULL;
    **last = fiber;
    *last = &fiber->next;
}

static inline void torc__make_ready(struct torc__shard *shard, struct torc_fiber *fiber)
{
    torc__enqueue(&shard->ready_last, fiber);
}

/* A number below `limit`, at random but the same in every run: to treat equals alike. */
static inline uint32_t torc__random(struct torc__shard *shard, uint32_t limit)
{
    /* Knuth's linear congruential generator; its upper bits are good enough for that. */
    shard->random = shard->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((shard->random >> 32) * limit >> 32);
}

/* ---- trace.c: while shard->trace is set ---- */

/* One fiber, or the loop, goes on after another. */
void torc__trace_switch(struct torc__shard *shard, const struct torc_fiber *from,
                        const struct torc_fiber *to);

/* A fiber is new, or woken: TRACE_SPAWN, TRACE_WAKE. */
void torc__trace_fiber(struct torc__shard *shard, const struct torc_fiber *fiber, uint8_t kind);

/* ---- report.c: what may be read of a shard by any thread while it exists ---- */

void torc__shard_read_stats(const struct torc__shard *shard, struct torc_stats *ret_stats);

/* CPU time of the shard's thread; 0 once that has ended. */
uint64_t torc__shard_cpu_ns(const struct torc__shard *shard);

/* ---- spawn.c: begin and end of fibers ---- */

int torc__spawn(struct torc__shard *shard, struct torc_scope *scope, torc_fiber_fn *body, void *arg,
                bool is_daemon);

/* The first thing on a new stack; `arg` is the shard. */
void torc__fiber_main(void *arg);

/* ---- thread_stack.c ---- */

/* Make the call that a fiber has asked for; the fiber goes on next. */
void torc__thread_call_serve(struct torc__shard *shard);

/* ---- scope.c ---- */

/* Prepare the root scope of a shard, which no fiber has opened. */
void torc__scope_init_root(struct torc_scope *scope);

/* Give the reason that a scope, or one it is in, has by now because of its deadline. */
void torc__scope_look_at_clock(struct torc__shard *shard, struct torc_scope *scope);

/* A fiber leaves its home, at its end. */
void torc__scope_leave(struct torc_fiber *fiber, int result);

/* ---- shard.c: the loop ---- */

/* Ask the driver to cancel an op, once. */
static inline void torc__op_hurry(struct torc__shard *shard, struct torc_op *op)
{
    if (op->_cancelling)
        return;
    op->_cancelling = 1;
    shard->driver->ops->cancel(shard->driver, op);
}

/* Cancel all that runs on the shard, and see that what does not end is named. */
void torc__shard_stop(struct torc__shard *shard);

struct torc__shard_options {
    const struct torc_options *options;
    struct torc__runtime *runtime;
    struct torc__pool *pool;
    struct torc__mailbox *mailbox; /* one reference, which becomes the shard's */
    unsigned index;
};

/* Make the calling thread a shard. Allocates. 0 or a negative errno. */
int torc__shard_start(const struct torc__shard_options *options, struct torc__shard **ret_shard);

/*
 * Run `main` and the loop until all fibers, messages and operations have ended. Returns main's
 * result; *ret_fiber_failure is the first failure of another fiber of the root scope, or 0.
 */
int torc__shard_run(struct torc__shard *shard, torc_fiber_fn *main, void *arg,
                    int *ret_fiber_failure);

/* Undo torc__shard_start(). All shards of the runtime must have ended. */
void torc__shard_finish(struct torc__shard *shard);

/*
 * Free what a shard has, of whose thread nothing runs any more, although nothing in it has ended:
 * of a simulated process that was killed. What its fibers had is lost.
 */
void torc__shard_abandon(struct torc__shard *shard);

#endif

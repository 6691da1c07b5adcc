/* SPDX-License-Identifier: MIT */
/*
 * context.h - the threads of simulated programs, one of which runs at a time.
 *
 * A context has a stack of its own, and gives up control only where a real thread would sleep or
 * could be preempted. That it goes on is an event of the world; so who runs next follows from the
 * seed. Whoever waits lets the world go on meanwhile, on its own stack:
 *
 *     RUNNING --torc__sim_wait()--> WAITING --its event happens--> RUNNING
 *        |                             | killed
 *        +----- returns -----> ENDED <-+
 *
 * The thread that made the world is its root context.
 */
#ifndef DRIVER_SIM_CONTEXT_H
#define DRIVER_SIM_CONTEXT_H

#include "driver/sim/world.h"
#include <stdbool.h>
#include <stddef.h>

struct sim_file;
struct sim_waiter;

enum sim_context_state {
    CONTEXT_RUNNING,
    CONTEXT_WAITING,
    CONTEXT_ENDED,
};

struct sim_context {
    struct sim_event go_on;
    struct sim_world *world;
    struct sim_host *host; /* whose it is; NULL: the root context */
    void *sp;              /* while it waits; NULL before it ran first */
    void *(*body)(void *arg);
    void *arg;
    uint8_t state;                    /* sim_context_state */
    bool hears;                       /* torc__sim_wake() ends its wait */
    bool heard;                       /* and has */
    bool unclaimed;                   /* it is freed at its end, since nobody joins it */
    const void *key;                  /* it waits on, or NULL */
    struct sim_context *next_waiting; /* of those that wait on a key, in the order they came */
    struct sim_file *held;            /* by the call that it is in, see torc__sim_hold() */
    struct sim_waiter *waiter;        /* for that, on its stack; or NULL */
    struct sim_context *next;         /* of its host; or of the free ones */
    struct sim_context **link;
    void *local; /* what was in the thread's variable, see torc__sim_bind_local() */
    int saved_errno;
    char *stack;
    size_t stack_size;
    /* For sanitizers. It may wait on another stack than its own: that of a fiber. */
    void *fake_stack;
    const void *waits_low;
    size_t waits_size;
    void *tsan;
    void *waits_tsan;
};

/* Make the calling thread the root context of a new world. 0 or -ENOMEM. */
int torc__sim_context_init_root(struct sim_world *world);

/* Another thread is inside the world now: its stack is that of the root context. */
void torc__sim_context_adopt_root(struct sim_world *world);

/*
 * Start a context on `host`, which begins when the caller next waits. NULL without memory. One that
 * is not `unclaimed` is to be joined.
 */
struct sim_context *torc__sim_context_start(struct sim_host *host, void *(*body)(void *arg),
                                            void *arg, bool unclaimed);

/* Wait until a context has ended, and free it. */
void torc__sim_context_join(struct sim_context *context);

/*
 * Keep the file of a call that waits, whoever closes its descriptor, until the call ends; also if
 * it does so because the context is killed.
 */
void torc__sim_hold(struct sim_world *world, struct sim_file *file);
void torc__sim_let_go(struct sim_world *world);

/* Drop all contexts of a host, of which none is running, without letting them end. */
void torc__sim_context_kill_all(struct sim_host *host);

/* Free the stacks that are kept for contexts to come. */
void torc__sim_context_trim(struct sim_world *world);

/*
 * The variable of the thread in which every context has a value of its own: NULL at first, and
 * while events happen. One for each world.
 */
void torc__sim_bind_local(struct sim_world *world, void **variable);

/* End the world for a reason: its root context goes on, and nobody else any more. */
_Noreturn void torc__sim_give_up(struct sim_world *world, enum sim_verdict verdict);

/*
 * The running context does something that takes no time. That counts as an event: for a loop that
 * does nothing else the world has an end, too.
 */
void torc__sim_goes_on(struct sim_world *world);

/* The running context waits until `until_ns`; or, if it `hears`, for torc__sim_wake(). */
void torc__sim_wait(struct sim_world *world, uint64_t until_ns, bool hears);

/* End a wait that hears, soon. Nothing if there is none. */
void torc__sim_wake(struct sim_context *context);

/*
 * Wait for torc__sim_wake_on() with the same key, or until then. False: the time has come. May also
 * return for nothing.
 */
bool torc__sim_wait_on(struct sim_world *world, const void *key, uint64_t until_ns);

/* Wake those that wait on a key: the first, or all. */
void torc__sim_wake_on(struct sim_world *world, const void *key, bool all);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * observer.h - a thread that looks at the shards of a runtime from outside.
 *
 * It finds stalls, answers tools (page.h), and starts and stops traces. It reads what the shards
 * count for themselves, without their doing, so it costs them nothing and sees those that hang as
 * well; such reads race with plain writes, by single loads of words, and nothing depends on them
 * but what people are told. Memory that it reads stays mapped until torc__observer_detach().
 *
 * The thread sleeps on the page's futex, `bell`. While a shard is awake and stalls are looked for,
 * it also wakes twice within their limit. When all shards have been asleep for the time between two
 * looks it sets `parked`, and if for another such time nothing has moved either, it sleeps without
 * a timer: a shard that wakes up and finds `parked` set rings the bell. That needs no fence: if the
 * shard missed it, its counters have moved when the second look comes, long after.
 */
#ifndef SHARD_OBSERVER_H
#define SHARD_OBSERVER_H

#include "base/compiler.h"
#include "base/trace.h"
#include "shard/page.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include <torc/mailbox.h>

struct torc__shard;
struct torc__observer;

#define STALL_FRAMES_MAX 48
#define STALL_NAME_MAX   64

/* What the observer is told by a thread that it has sent a signal. */
struct torc__stall_answer {
    _Atomic uint32_t wanted;   /* the number of the question; 0: none was asked */
    _Atomic uint32_t answered; /* the last question that was answered: a futex */
    unsigned frame_count;
    void *frames[STALL_FRAMES_MAX];
};

/* One shard, as the observer knows it. */
struct torc__observed {
    struct torc__observer *observer;
    struct torc__shard *shard; /* NULL before it is attached, and after */
    pid_t tid;
    /* Stalls: */
    uint64_t beat;            /* the shard's counters of switches and rounds ... */
    uint64_t since_ns;        /* ... are these since then; 0: it slept */
    uint64_t cpu_since_ns;    /* CPU time of its thread by then; or when that was suspected ... */
    uint64_t suspected_ns;    /* ... of a stall, since it had not moved; 0: it is not */
    uint64_t kept_ns;         /* for how long it had kept the shard by then ... */
    uint64_t queued_since_ns; /* ... and had stood in the kernel's run queue in all */
    bool told;                /* this stall is counted */
    _Atomic uint64_t stalls;
    _Atomic uint64_t stall_ns_max;
    struct torc__stall_answer answer;
    uint64_t sampled_cpu_ns; /* CPU time when it was last sampled */
    /* Traces: */
    struct torc__trace trace;
    struct torc_message trace_message;
    atomic_bool trace_told; /* The message is on its way. */
    atomic_bool trace_wanted;
    atomic_bool tracing; /* The shard writes to its ring. */
};

/* A name of fibers. */
struct torc__sampled {
    const char *text; /* where it stands, if that was looked at in this count; else NULL */
    struct torc_name_stats stats;
};

enum trace_state {
    TRACE_OFF,
    TRACE_ON,
    TRACE_KEPT,    /* stopped, or stopping */
    TRACE_DROPPED, /* likewise, and its memory goes when all shards have heard of it */
};

struct torc__observer {
    atomic_bool parked; /* Whoever wakes is to ring the bell. Read by all shards, seldom written. */
    _Alignas(64) struct torc__page *page;
    size_t page_size;
    int page_fd; /* -1: the memory is no memfd, so tools do not find it */
    pthread_t thread;
    atomic_bool stopping;
    uint64_t stall_ns;     /* TORC_FOREVER: none are looked for */
    pthread_mutex_t mutex; /* of all below: the thread's, but between its looks */
    /* Looking: */
    uint64_t quiet_beat;       /* the sum of all shards' beats when `parked` was set */
    uint64_t watched_until_ns; /* Somebody looks, so names are sampled. */
    uint32_t taken;            /* the last `asked` that was answered */
    struct torc__sampled names[PAGE_NAMES];
    unsigned name_count;
    uint64_t report_credit_ns; /* see stall.c */
    uint64_t reports_left_out;
    /* The trace: */
    enum trace_state trace_state;
    struct torc__trace_area *area;
    size_t area_size;
    uint32_t area_capacity; /* events of a shard */
    int area_fd;
    unsigned area_readers;   /* fibers that write it out */
    uint64_t trace_until_ns; /* TORC_FOREVER: until it is stopped */
    uint64_t trace_drop_ns;
    unsigned count;
    struct torc__observed slots[];
};

/*
 * Begin to observe `count` shards. Allocates, and starts the thread. The observer is NULL if
 * `options` do not want it, or without memory or threads: torc works without. -EINVAL if the
 * options for it are out of range.
 */
int torc__observer_create(const struct torc_options *options, unsigned count,
                          struct torc__observer **ret_observer);

/* End it. NULL is ignored. All shards must have been detached. */
void torc__observer_destroy(struct torc__observer *observer);

/* The calling thread's shard is to be looked at from now on, and no more. NULL is ignored. */
void torc__observer_attach(struct torc__observer *observer, struct torc__shard *shard);
void torc__observer_detach(struct torc__observer *observer, struct torc__shard *shard);

/* Wake the observer. Any thread. */
void torc__observer_ring(struct torc__observer *observer);

/* The shard of this thread has woken up. */
static inline void torc__observer_awake(struct torc__observer *observer)
{
    if (observer != NULL && unlikely(atomic_load_explicit(&observer->parked, memory_order_relaxed)))
        torc__observer_ring(observer);
}

/* Whether a shard is awake, and how often it has moved on. */
bool torc__observed_is_awake(const struct torc__observed *observed);
uint64_t torc__observed_beat(const struct torc__observed *observed);

/* The CPU time of a shard's thread; 0 once it has ended. */
uint64_t torc__observed_cpu_ns(const struct torc__observed *observed);

/* ---- stall.c ---- */

/* Look whether a shard is in a stall, and tell of it once. With the mutex held. */
void torc__stall_look(struct torc__observed *observed, uint64_t now_ns);

/* ---- stall_stack.c ---- */

/* Answer questions for stacks from now on, process-wide; and no more. */
void torc__stall_catch(void);
void torc__stall_release(void);

/* This is the child of a fork(): a thread that had the mutex of these is not there. */
void torc__stall_after_fork(void);

/* The stack of a shard's thread, by a signal. Returns how many frames there are, 0 if none. */
unsigned torc__stall_ask(struct torc__observed *observed, void **ret_frames);

/* What could be the frames of a thread blocked in the kernel, from what stands on its stack. */
unsigned torc__stall_guess(struct torc__observed *observed, uintptr_t pc, uintptr_t stack,
                           void **ret_frames);

/* Copy memory that may not be there any more. Returns how much could be. In signals' handlers. */
size_t torc__observer_copy(void *to, uintptr_t from, size_t size);

/* ---- stall_where.c ---- */

/* Where a thread is that does not come back. */
struct torc__stall_where {
    bool running;    /* it uses a CPU, or would if it got one */
    bool restarts;   /* blocked in a call that goes on after a signal */
    char text[96];   /* "blocked in the system call read(0)" */
    uintptr_t stack; /* of a blocked one: its stack pointer ... */
    uintptr_t pc;    /* ... and program counter in user space */
};

/* Find out. */
void torc__stall_where(pid_t tid, struct torc__stall_where *ret_where);

/* For how long a thread has been kept from a CPU it wanted, in all; 0 where nobody counts that. */
uint64_t torc__stall_queued_ns(pid_t tid);

/* Log the kernel's side of the thread's stack, where that may be read. */
void torc__stall_log_kernel(pid_t tid);

/* ---- sample.c ---- */

/* Somebody has begun to look: forget what was sampled before. With the mutex held. */
void torc__sample_begin(struct torc__observer *observer);

/* Charge the time since the last call to what runs now. With the mutex held. */
void torc__sample_cpu(struct torc__observer *observer);

/* Count fibers by their names. With the mutex held. */
void torc__sample_fibers(struct torc__observer *observer);

/* ---- trace.c: with the mutex held ---- */

int torc__trace_begin(struct torc__observer *observer, uint32_t events, uint64_t until_ns);
void torc__trace_end(struct torc__observer *observer);
void torc__trace_drop(struct torc__observer *observer);

/* Do what is due, and return when to be called again. */
uint64_t torc__trace_serve(struct torc__observer *observer, uint64_t now_ns);

/* Note a stall in the trace, if there is one. */
void torc__trace_stall(struct torc__observer *observer, const struct torc__trace_stall *stall);

/* The shard begins, perhaps when there is a trace already; it ends, and writes no more. */
void torc__trace_enter(struct torc__observed *observed);
void torc__trace_leave(struct torc__observed *observed);

/* The trace there is, `area`, stays until it is released. 0, or -ENODATA if there is none. */
int torc__trace_acquire(struct torc__observer *observer, struct torc__trace_shape *ret_shape);
void torc__trace_release(struct torc__observer *observer);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * dump.c - a shard's fibers with their stacks, printed from inside.
 *
 * Names of functions are those that the dynamic linker knows, as in a fault's report; of all others
 * there is the offset in the module, which addr2line resolves. `torc dump` shows more.
 *
 * SIGQUIT comes to any thread. That one passes it on to every shard that wants it, by a signal of
 * its own, so that a shard which hangs prints as well: each prints its fibers itself, in the
 * handler, one after the other. What the handler reads may be in the middle of a change, but chunks
 * of blocks are only ever added, a parked fiber's stack pointer is right, and the one that leaves
 * or enters the thread just now is told by the stack that was interrupted.
 */
#include "arch/context.h"
#include "base/clock.h"
#include "shard/diagnose.h"
#include "shard/observer.h"
#include "shard/runtime.h"
#include <errno.h>
#include <execinfo.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define FRAMES_MAX   40
#define FRAMES_OF_US 2 /* of the code that looks at them */

/* ---- One fiber ---- */

struct frames {
    void *pcs[FRAMES_MAX];
    int count;
};

static void take_frames(void *arg)
{
    struct frames *frames = arg;

    frames->count = backtrace(frames->pcs, FRAMES_MAX);
}

static uint64_t hash_of(const struct frames *frames)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (int i = FRAMES_OF_US; i < frames->count; i++)
        hash = (hash ^ (uintptr_t)frames->pcs[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* The stack, unless it is the same as one that was printed. */
static void print_frames(const struct frames *frames, uint32_t fiber, struct torc__printed *printed)
{
    const uint64_t hash = hash_of(frames);

    for (unsigned i = 0; i < printed->count; i++) {
        if (printed->stacks[i].hash == hash) {
            torc__log("    stands where fiber %u does", printed->stacks[i].fiber);
            return;
        }
    }
    if (printed->count < ARRAY_LENGTH(printed->stacks)) {
        printed->stacks[printed->count].hash = hash;
        printed->stacks[printed->count++].fiber = fiber;
    }
    if (frames->count > FRAMES_OF_US)
        backtrace_symbols_fd(frames->pcs + FRAMES_OF_US, frames->count - FRAMES_OF_US,
                             torc__log_fd());
}

static bool has_stack(const struct torc_fiber *fiber)
{
    const char *sp = fiber->sp;

    return fiber->stack != NULL && sp >= fiber->stack->low && sp < fiber->stack->top &&
           fiber->state != FIBER_RUNNING && fiber->state != FIBER_NEW;
}

/*
 * Read what may be no memory any more: in the handler of a signal, a fiber may be about to be
 * woken, and have its result where it says what it waits for.
 */
static bool read_carefully(const char *from, void *to, size_t length)
{
    return torc__observer_copy(to, (uintptr_t)from, length) == length;
}

int torc__fiber_descriptor(const struct torc_fiber *fiber)
{
    const struct torc_wait_kind *kind = fiber->wait;
    const char *at = fiber->waits_for;
    int fd;

    if (kind->form == TORC_WAIT_OP)
        at += offsetof(struct torc_op, _fd);
    else if (kind->form != TORC_WAIT_DESCRIPTOR)
        return -1;
    else if (kind->object == TORC_WAIT_NONE)
        at += kind->fd;
    else if (read_carefully(at + kind->object, &at, sizeof(at)))
        at += kind->fd - kind->base;
    return read_carefully(at, &fd, sizeof(fd)) ? fd : -1;
}

static void print_wait(const struct torc__shard *shard, const struct torc_fiber *fiber)
{
    const uint64_t waited_ns = shard->driver->ops->now(shard->driver) - fiber->since_ns;
    const int fd = torc__fiber_descriptor(fiber);
    char what[288];
    const char *on = fd >= 0 ? torc__describe_fd(shard, fd, what, sizeof(what)) : NULL;

    torc__log("fiber %u.%u \"%s\" waits for %" PRIu64 ".%03" PRIu64 " s: %s%s%s%s", shard->index,
              fiber->id, torc__fiber_name(fiber), waited_ns / NS_PER_SECOND,
              waited_ns % NS_PER_SECOND / 1000000, fiber->wait->name, on != NULL ? " on " : "",
              on != NULL ? on : "",
              fiber->state == FIBER_INTERRUPTED    ? "; was told to end that"
              : fiber->wait->interrupt == NULL     ? "; not to be interrupted"
              : fiber->scope->_flags & TORC_SHIELD ? "; shielded"
                                                   : "");
}

void torc__print_fiber(const struct torc__shard *shard, struct torc_fiber *fiber,
                       struct torc__printed *printed)
{
    struct frames frames;

    if (fiber->state == FIBER_WAITING || fiber->state == FIBER_INTERRUPTED)
        print_wait(shard, fiber);
    else
        torc__log("fiber %u.%u \"%s\" %s", shard->index, fiber->id, torc__fiber_name(fiber),
                  fiber->state == FIBER_RUNNING ? "runs"
                  : fiber->state == FIBER_NEW   ? "has not run yet"
                                                : "is ready to run");
    if (!has_stack(fiber))
        return;
    torc__context_call_as_parked(fiber->sp, take_frames, &frames);
    print_frames(&frames, fiber->id, printed);
}

/* ---- SIGQUIT ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of those that come and go */
static unsigned users;
static struct sigaction before;
static int printing; /* A shard prints: 1. */
static char marker;  /* Tells our own signals from others. */

static const char *stack_pointer(const void *context)
{
    const ucontext_t *interrupted = context;

#if defined(__x86_64__)
    return (const char *)interrupted->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return (const char *)interrupted->uc_mcontext.sp;
#else
    return (const char *)interrupted->uc_mcontext.__gregs[REG_SP];
#endif
}

static bool is_on_stack_of(const struct torc_fiber *fiber, const char *sp)
{
    return fiber->stack != NULL && sp >= fiber->stack->low && sp < fiber->stack->top;
}

/* The handler is on a stack of its own, below which is what it interrupted. */
static void print_interrupted(const struct torc__shard *shard, const struct torc_fiber *fiber)
{
    struct frames frames;

    torc__log("fiber %u.%u \"%s\" runs, for up to %" PRIu64 " ms", shard->index, fiber->id,
              torc__fiber_name(fiber),
              (shard->driver->ops->now(shard->driver) - shard->round_time_ns) / 1000000);
    take_frames(&frames);
    backtrace_symbols_fd(frames.pcs, frames.count, torc__log_fd());
}

/* All fibers of a shard, which was interrupted where its stack pointer is `sp`. */
static void print_shard(const struct torc__shard *shard, const char *sp)
{
    struct torc__printed printed = {0};

    torc__log("shard %u: %u fibers", shard->index, shard->fibers.alive);
    for (struct torc__fiber_chunk *chunk = shard->fibers.chunks; chunk != NULL;
         chunk = chunk->next) {
        for (unsigned i = 0; i < FIBER_CHUNK; i++) {
            struct torc_fiber *fiber = &chunk->fibers[i];

            if (fiber->state == FIBER_FREE)
                continue;
            if (is_on_stack_of(fiber, sp))
                print_interrupted(shard, fiber);
            else
                torc__print_fiber(shard, fiber, &printed);
        }
    }
}

void torc__print_shard(const struct torc__shard *shard)
{
    print_shard(shard, NULL);
}

static void print_in_turn(const struct torc__shard *shard, const char *sp)
{
    while (__atomic_exchange_n(&printing, 1, __ATOMIC_ACQUIRE) != 0)
        torc__cpu_relax();
    print_shard(shard, sp);
    __atomic_store_n(&printing, 0, __ATOMIC_RELEASE);
}

static void pass_on(struct torc__shard *shard)
{
    siginfo_t info = {.si_signo = SIGQUIT, .si_code = SI_QUEUE};

    if (!torc__runtime_options(shard->runtime)->dump_on_quit)
        return;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = &marker;
    (void)syscall(SYS_rt_tgsigqueueinfo, getpid(), shard->thread_id, SIGQUIT, &info);
}

static void quit(int number, siginfo_t *info, void *context)
{
    const int saved = errno;

    (void)number;
    if (info->si_code != SI_QUEUE || info->si_value.sival_ptr != &marker)
        torc__inspect_each(pass_on);
    else if (torc__shard != NULL)
        print_in_turn(torc__shard, stack_pointer(context));
    errno = saved;
}

static bool is_ours(void)
{
    struct sigaction now;

    return sigaction(SIGQUIT, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
           now.sa_sigaction == quit;
}

void torc__dump_on_quit(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    void *frame;

    action.sa_sigaction = quit;
    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&mutex);
    if (users++ == 0) {
        (void)backtrace(&frame, 1); /* The first call loads the unwinder, which allocates. */
        sigaction(SIGQUIT, NULL, &before);
        if (!(before.sa_flags & SA_SIGINFO) && before.sa_handler == SIG_DFL)
            sigaction(SIGQUIT, &action, NULL);
    }
    pthread_mutex_unlock(&mutex);
}

void torc__dump_after_fork(void)
{
    pthread_mutex_init(&mutex, NULL);
    printing = 0;
}

void torc__dump_on_quit_no_more(void)
{
    pthread_mutex_lock(&mutex);
    if (--users == 0 && is_ours())
        sigaction(SIGQUIT, &before, NULL);
    pthread_mutex_unlock(&mutex);
}

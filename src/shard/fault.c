/* SPDX-License-Identifier: MIT */
/*
 * fault.c - say which fiber it was, before the process dies of a fault.
 *
 * The handlers run on a stack of their own, since a fiber that overflowed has none left; print the
 * fiber and its stack; put back what was there before, and return, so that the fault happens again
 * and is dealt with as if torc had never been there: core dump, another handler, a debugger.
 */
#include "shard/diagnose.h"
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIGNAL_STACK_SIZE (256u * 1024u) /* The unwinder and AVX-512 or AMX frames need room. */
#define FRAMES_MAX        40

static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned users; /* Threads that want faults caught; under the mutex. */
static struct sigaction before[ARRAY_LENGTH(signals)];

static void caught(int number, siginfo_t *info, void *context);

void torc__describe_running(char *text, int size)
{
    const struct torc__shard *shard = torc__shard;
    const struct torc_fiber *fiber = shard != NULL ? shard->running : NULL;

    if (fiber == NULL)
        (void)snprintf(text, (size_t)size, "a thread that is no shard");
    else if (fiber == &shard->loop)
        (void)snprintf(text, (size_t)size, "the loop of shard %u", shard->index);
    else
        (void)snprintf(text, (size_t)size, "fiber %u \"%s\" of shard %u", fiber->id,
                       torc__fiber_name(fiber), shard->index);
}

static bool is_ours(int number)
{
    struct sigaction now;

    return sigaction(number, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
           now.sa_sigaction == caught;
}

/* What was there before us; unless somebody has come after us, and has called us. */
static void put_back(int number)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(signals); i++) {
        if (signals[i] == number && is_ours(number))
            sigaction(number, &before[i], NULL);
    }
}

static void report(int number, const siginfo_t *info)
{
    const struct torc__shard *shard = torc__shard;
    const bool has_address = number == SIGSEGV || number == SIGBUS;
    const struct torc__stack *stack =
        shard != NULL && has_address ? torc__stacks_find(&shard->stacks, info->si_addr) : NULL;
    void *frames[FRAMES_MAX];
    char who[128];

    torc__describe_running(who, sizeof(who));
    if (stack != NULL && torc__stack_in_guard(&shard->stacks, stack, info->si_addr))
        torc__log("%s overflowed its %zu KiB stack (at %p)", who, shard->stacks.usable_size / 1024,
                  info->si_addr);
    else if (has_address)
        torc__log("%s: %s (at %p)", who, sigdescr_np(number), info->si_addr);
    else
        torc__log("%s: %s", who, sigdescr_np(number));
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), torc__log_fd());
}

static void caught(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)context;
    /* First, so that a fault in here ends the process and does not come back. */
    put_back(number);
    if (torc__shard != NULL)
        report(number, info);
    errno = saved;
    if (info->si_code <= 0) /* Sent by a call: returning would not bring it again. */
        raise(number);
}

static void install(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    void *frame;

    action.sa_sigaction = caught;
    sigemptyset(&action.sa_mask);
    (void)backtrace(&frame, 1); /* The first call loads the unwinder, which allocates. */
    for (unsigned i = 0; i < ARRAY_LENGTH(signals); i++) {
        sigaction(signals[i], NULL, &before[i]);
        /* Sanitizers, and programs with handlers of their own, know better. */
        if (!(before[i].sa_flags & SA_SIGINFO) && before[i].sa_handler == SIG_DFL)
            sigaction(signals[i], &action, NULL);
    }
}

static void uninstall(void)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(signals); i++)
        put_back(signals[i]);
}

void torc__fault_catch(void)
{
    pthread_mutex_lock(&mutex);
    torc__describe_current = torc__describe_running; /* Again in a child, which had none to name. */
    if (users++ == 0)
        install();
    pthread_mutex_unlock(&mutex);
}

void torc__fault_release(void)
{
    pthread_mutex_lock(&mutex);
    if (--users == 0)
        uninstall();
    pthread_mutex_unlock(&mutex);
}

void torc__fault_after_fork(void)
{
    pthread_mutex_init(&mutex, NULL);
}

void *torc__signal_stack_make(void)
{
    stack_t present;
    stack_t stack = {.ss_size = SIGNAL_STACK_SIZE};

    if (sigaltstack(NULL, &present) == 0 && !(present.ss_flags & SS_DISABLE))
        return NULL; /* There is one already: a sanitizer's, or the program's. */
    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack.ss_sp == MAP_FAILED)
        return NULL; /* Faults other than an overflow are reported all the same. */
    sigaltstack(&stack, NULL);
    return stack.ss_sp;
}

void torc__signal_stack_free(void *signal_stack)
{
    const stack_t none = {.ss_flags = SS_DISABLE};

    if (signal_stack == NULL)
        return;
    sigaltstack(&none, NULL);
    munmap(signal_stack, SIGNAL_STACK_SIZE);
}

/* SPDX-License-Identifier: MIT */
/*
 * signal.c - signals of the process, received by fibers.
 *
 * One handler for the process counts a signal in every watch that wants it, and where that count
 * was zero writes a record into the watch's pipe, from which fibers read. So a pipe holds a record
 * per signal at most and is never full, and each coming of a signal is told in exactly one count.
 *
 * The handler may run on any thread at any time, so it takes no lock: it walks the list of watches,
 * which others change under a mutex by single stores. A watch that closes leaves the list, and then
 * waits until no handler is inside it any more; one that interrupted the closing thread itself has
 * returned by then.
 *
 * After fork() the child has the handler, the list and the pipes too. What it writes there finds
 * nothing counted in the parent, and is skipped.
 */
#include "io/signal.h"
#include "base/compiler.h"
#include "driver/sim/syscall.h"
#include "driver/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <torc/io.h>
#include <torc/signal.h>
#include <unistd.h>

/* What goes through a pipe; whole, since it is far smaller than PIPE_BUF. */
struct record {
    int number;
    int code;
    pid_t pid;
    uid_t uid;
    intptr_t value;
};

/* What torc has made of a signal. */
struct disposition {
    unsigned watches; /* that want it */
    bool is_ours;     /* our handler was installed, and has not been taken back */
    struct sigaction before;
    /* The handler from before, one or the other; 0: there was none. */
    atomic_uintptr_t simple;
    atomic_uintptr_t detailed;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct disposition dispositions[TORC_SIGNAL_LIMIT]; /* under the mutex, but the atomics */
static struct torc_signals *first_watch; /* changed under the mutex, by atomic stores */
static atomic_uint inside;               /* handlers that walk the list */

/* ---- The handler ---- */

/*
 * Into a pipe of the system or, for a simulated program that has raised the signal itself, of its
 * host. What comes to it from outside, on any thread, is no part of a simulation.
 */
static ssize_t put(const struct torc_signals *watch, const struct record *record)
{
    if (watch->_home == NULL)
        return write(watch->_write_fd, record, sizeof(*record));
    if (!torc__thread_is_simulated())
        return -1;
    return torc__sim_syscall(
        watch->_home, SYS_write,
        (uintptr_t[6]){(uintptr_t)watch->_write_fd, (uintptr_t)record, sizeof(*record)});
}

static void note(struct torc_signals *watch, int number, const siginfo_t *info)
{
    const struct record record = {.number = number,
                                  .code = info->si_code,
                                  .pid = info->si_pid,
                                  .uid = info->si_uid,
                                  .value = (intptr_t)info->si_value.sival_ptr};

    if (__atomic_fetch_add(&watch->_counts[number], 1, __ATOMIC_ACQ_REL) != 0)
        return; /* It is in the pipe already. */
    /* No room, which a child that forked can bring about: let the next one try. */
    if (put(watch, &record) < 0)
        __atomic_store_n(&watch->_counts[number], 0, __ATOMIC_RELEASE);
}

/* Who was there before us is still called. */
static void call_previous(int number, siginfo_t *info, void *context)
{
    const uintptr_t simple = atomic_load(&dispositions[number].simple);
    const uintptr_t detailed = atomic_load(&dispositions[number].detailed);

    if (detailed != 0) {
        ((void (*)(int, siginfo_t *, void *))detailed)(number, info, context);
    } else if (simple != 0) {
        ((void (*)(int))simple)(number);
    }
}

static void received(int number, siginfo_t *info, void *context)
{
    const int saved = errno;
    const uint64_t bit = UINT64_C(1) << (number - 1);
    struct torc_signals *watch;

    atomic_fetch_add(&inside, 1);
    watch = __atomic_load_n(&first_watch, __ATOMIC_SEQ_CST);
    while (watch != NULL) {
        if (watch->_set & bit)
            note(watch, number, info);
        watch = __atomic_load_n(&watch->_next, __ATOMIC_SEQ_CST);
    }
    atomic_fetch_sub(&inside, 1);
    call_previous(number, info, context);
    errno = saved;
}

/* ---- Installing it ---- */

static bool is_our_handler(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == received;
}

static bool is_function(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) ||
           (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

static void remember(struct disposition *disposition, const struct sigaction *before)
{
    const bool function = is_function(before);
    const bool detailed = function && (before->sa_flags & SA_SIGINFO);

    disposition->before = *before;
    atomic_store(&disposition->simple, function && !detailed ? (uintptr_t)before->sa_handler : 0);
    atomic_store(&disposition->detailed, detailed ? (uintptr_t)before->sa_sigaction : 0);
}

static int install(int number, struct disposition *disposition)
{
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    struct sigaction present;

    if (sigaction(number, NULL, &present) < 0)
        return -errno;
    /*
     * A handler that was set over ours calls ours, we trust, and ours calls the one from before: on
     * top again it would be called by what it calls.
     */
    if (is_our_handler(&present) || (disposition->is_ours && is_function(&present)))
        return 0;
    remember(disposition, &present); /* First: ours may be called at once. */
    ours.sa_sigaction = received;
    sigfillset(&ours.sa_mask);
    if (sigaction(number, &ours, NULL) < 0)
        return -errno;
    disposition->is_ours = true;
    return 0;
}

static void uninstall(int number, struct disposition *disposition)
{
    struct sigaction present;

    if (sigaction(number, NULL, &present) < 0 || !is_our_handler(&present))
        return; /* Somebody has come after us, and may call ours. */
    sigaction(number, &disposition->before, NULL);
    disposition->is_ours = false;
}

static void release_signals(uint64_t set)
{
    for (int number = 1; number < TORC_SIGNAL_LIMIT; number++) {
        if (!(set >> (number - 1) & 1))
            continue;
        if (--dispositions[number].watches == 0)
            uninstall(number, &dispositions[number]);
    }
}

static int acquire_signals(uint64_t set)
{
    uint64_t acquired = 0;

    for (int number = 1; number < TORC_SIGNAL_LIMIT; number++) {
        int result;

        if (!(set >> (number - 1) & 1))
            continue;
        result = install(number, &dispositions[number]);
        if (result < 0) {
            release_signals(acquired);
            return result;
        }
        dispositions[number].watches++;
        acquired |= UINT64_C(1) << (number - 1);
    }
    return 0;
}

/* ---- Watches ---- */

static bool is_fault(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE ||
           number == SIGABRT;
}

static int read_numbers(const int *numbers, unsigned count, uint64_t *ret_set)
{
    uint64_t set = 0;

    for (unsigned i = 0; i < count; i++) {
        if (numbers[i] < 1 || numbers[i] >= TORC_SIGNAL_LIMIT || is_fault(numbers[i]))
            return -EINVAL;
        set |= UINT64_C(1) << (numbers[i] - 1);
    }
    *ret_set = set;
    return set == 0 ? -EINVAL : 0;
}

/* The handler never waits; a fiber that reads does. */
static int open_pipe(struct torc_signals *signals)
{
    int fds[2];
    const int result = (int)torc__system_call(SYS_pipe2, (uintptr_t[6]){(uintptr_t)fds, O_CLOEXEC});

    if (result < 0)
        return result;
    (void)torc__system_call(SYS_fcntl,
                            (uintptr_t[6]){(uintptr_t)fds[1], F_SETFL, O_WRONLY | O_NONBLOCK});
    signals->_read_fd = fds[0];
    signals->_write_fd = fds[1];
    signals->_home = torc__thread_home();
    return 0;
}

/* No handler may be writing any more: its number could be another descriptor's. */
static void close_pipe(struct torc_signals *signals)
{
    (void)torc__system_call(SYS_close, (uintptr_t[6]){(uintptr_t)signals->_write_fd});
    (void)torc__system_call(SYS_close, (uintptr_t[6]){(uintptr_t)signals->_read_fd});
}

static void link_watch(struct torc_signals *signals)
{
    signals->_next = first_watch;
    __atomic_store_n(&first_watch, signals, __ATOMIC_SEQ_CST);
}

static void unlink_watch(struct torc_signals *signals)
{
    struct torc_signals **link = &first_watch;

    while (*link != signals)
        link = &(*link)->_next;
    __atomic_store_n(link, signals->_next, __ATOMIC_SEQ_CST);
}

static void await_handlers(void)
{
    while (atomic_load(&inside) != 0)
        sched_yield();
}

static int open_watch(struct torc_signals *signals, uint64_t set)
{
    int result;

    *signals = (struct torc_signals){._set = set};
    result = open_pipe(signals);
    if (result < 0)
        return result;
    pthread_mutex_lock(&mutex);
    /* Before the handlers, so that nothing that our handler swallows is missed. */
    link_watch(signals);
    result = acquire_signals(set);
    if (result < 0)
        unlink_watch(signals);
    pthread_mutex_unlock(&mutex);
    if (result < 0) {
        await_handlers();
        close_pipe(signals);
    }
    return result;
}

int torc_signals_open(struct torc_signals *signals, const int *numbers, unsigned count)
{
    const int saved = errno;
    uint64_t set;
    int result = read_numbers(numbers, count, &set);

    if (result == 0)
        result = open_watch(signals, set);
    errno = saved;
    return result;
}

int torc_signals_wait(struct torc_signals *signals, struct torc_signal_info *ret_info)
{
    struct record record;
    uint32_t count;

    do {
        const ssize_t size = torc_read(signals->_read_fd, &record, sizeof(record));

        if (size < 0)
            return (int)size;
        count = __atomic_exchange_n(&signals->_counts[record.number], 0, __ATOMIC_ACQ_REL);
    } while (count == 0); /* It was for a process that has forked from this one. */
    if (ret_info != NULL) {
        *ret_info = (struct torc_signal_info){.number = record.number,
                                              .code = record.code,
                                              .pid = record.pid,
                                              .uid = record.uid,
                                              .value = record.value,
                                              .count = count};
    }
    return record.number;
}

void torc_signals_close(struct torc_signals *signals)
{
    const int saved = errno;

    pthread_mutex_lock(&mutex);
    release_signals(signals->_set);
    unlink_watch(signals);
    pthread_mutex_unlock(&mutex);
    await_handlers();
    close_pipe(signals);
    errno = saved;
}

/* ---- Simulated programs ---- */

int torc__signals_raise(const struct sim_host *home, int number)
{
    const siginfo_t info = {.si_signo = number, .si_code = SI_USER};
    int told = 0;

    for (struct torc_signals *watch = first_watch; watch != NULL; watch = watch->_next) {
        if (watch->_home == home && (watch->_set >> (number - 1) & 1)) {
            note(watch, number, &info);
            told++;
        }
    }
    return told;
}

void torc__signals_forget(const struct sim_host *home)
{
    struct torc_signals **link = &first_watch;

    pthread_mutex_lock(&mutex);
    while (*link != NULL) {
        struct torc_signals *watch = *link;

        if (watch->_home == home) {
            *link = watch->_next;
            release_signals(watch->_set);
        } else {
            link = &watch->_next;
        }
    }
    pthread_mutex_unlock(&mutex);
}

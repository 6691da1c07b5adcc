/* SPDX-License-Identifier: MIT */
/*
 * observer.c - a thread that looks at the shards of a runtime from outside.
 */
#include "shard/observer.h"
#include "base/clock.h"
#include "base/environment.h"
#include "base/shared_memory.h"
#include "driver/thread.h"
#include "shard/shard.h"
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STALL_DEFAULT_MS  25u
#define STALL_MS_MAX      3600000u
#define STALL_NS_MIN      UINT64_C(1000000)
#define THREAD_STACK_SIZE (512u * 1024u)
/* From one sample to the next: at least so long, and up to so much longer. */
#define SAMPLE_MIN_NS    UINT64_C(8000000)
#define SAMPLE_SPREAD_NS UINT64_C(4000000)
/* Who oversleeps by so much was stopped, by a signal or a debugger, or the machine was. */
#define STOPPED_NS (NS_PER_SECOND / 10)
/* How long names are sampled after a tool has asked for the last time. */
#define WATCHED_NS        (3 * NS_PER_SECOND)
#define TOOL_TRACE_MS_MAX 3600000u

/* ---- What is seen of a shard ---- */

LOOKS_AT_OTHERS bool torc__observed_is_awake(const struct torc__observed *observed)
{
    return atomic_load_explicit(&observed->shard->mailbox->sleep, memory_order_relaxed) ==
           MAILBOX_AWAKE;
}

LOOKS_AT_OTHERS uint64_t torc__observed_beat(const struct torc__observed *observed)
{
    return PEEK(observed->shard->switches) + PEEK(observed->shard->rounds);
}

uint64_t torc__observed_cpu_ns(const struct torc__observed *observed)
{
    return torc__shard_cpu_ns(observed->shard);
}

/* ---- Answering tools ---- */

static void publish(struct torc__observer *observer, uint64_t now_ns)
{
    struct torc__page *page = observer->page;

    torc__sample_fibers(observer);
    atomic_fetch_add(&page->sequence, 1);
    page->time_ns = now_ns;
    for (unsigned i = 0; i < observer->count; i++) {
        if (observer->slots[i].shard != NULL)
            torc__shard_read_stats(observer->slots[i].shard, &page->shards[i]);
    }
    for (unsigned i = 0; i < observer->name_count; i++)
        page->names[i] = observer->names[i].stats;
    page->name_count = observer->name_count;
    atomic_fetch_add(&page->sequence, 1);
}

static int obey(struct torc__observer *observer, uint32_t command, uint64_t now_ns)
{
    struct torc__page *page = observer->page;
    uint32_t ms = atomic_load(&page->trace_ms);

    switch ((enum torc__page_command)command) {
    case PAGE_TRACE_START:
        ms = ms < TOOL_TRACE_MS_MAX ? ms : TOOL_TRACE_MS_MAX;
        return torc__trace_begin(observer, atomic_load(&page->trace_events),
                                 now_ns + ms * UINT64_C(1000000));
    case PAGE_TRACE_STOP:
        torc__trace_end(observer);
        return 0;
    case PAGE_TRACE_DROP:
        torc__trace_drop(observer);
        return 0;
    case PAGE_NOTHING:
        break;
    }
    return 0;
}

static bool is_watched(const struct torc__observer *observer, uint64_t now_ns)
{
    return now_ns < observer->watched_until_ns;
}

static void answer(struct torc__observer *observer, uint64_t now_ns)
{
    struct torc__page *page = observer->page;
    const uint32_t asked = atomic_load(&page->asked);
    uint32_t command;

    if (asked == observer->taken)
        return;
    observer->taken = asked;
    command = atomic_exchange(&page->command, PAGE_NOTHING);
    if (command != PAGE_NOTHING)
        atomic_store(&page->command_result, obey(observer, command, now_ns));
    if (!is_watched(observer, now_ns))
        torc__sample_begin(observer);
    observer->watched_until_ns = now_ns + WATCHED_NS;
    torc__sample_cpu(observer);
    publish(observer, now_ns);
    atomic_store(&page->answered, asked);
    (void)syscall(SYS_futex, &page->answered, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* ---- The thread ---- */

/*
 * How long to sleep while a shard is awake. Samples are not taken at regular times, which something
 * else might keep as well; the clock's last digits are random enough for that.
 */
static uint64_t look_interval(const struct torc__observer *observer, uint64_t now_ns, bool watched)
{
    const uint64_t sample_ns = SAMPLE_MIN_NS + (now_ns * 997) % SAMPLE_SPREAD_NS;

    return watched && sample_ns < observer->stall_ns / 2 ? sample_ns : observer->stall_ns / 2;
}

/* Look at all shards. Returns until when to sleep. */
static uint64_t look(struct torc__observer *observer, uint64_t now_ns)
{
    const bool watched = is_watched(observer, now_ns);
    const uint64_t interval_ns = look_interval(observer, now_ns, watched);
    uint64_t beat = 0;
    bool awake = false;

    if (observer->stall_ns == TORC_FOREVER && !watched) {
        atomic_store(&observer->parked, false); /* Nobody need wake us. */
        return TORC_FOREVER;
    }
    for (unsigned i = 0; i < observer->count; i++) {
        struct torc__observed *observed = &observer->slots[i];

        if (observed->shard == NULL)
            continue;
        beat += torc__observed_beat(observed);
        awake |= torc__observed_is_awake(observed);
        if (observer->stall_ns != TORC_FOREVER)
            torc__stall_look(observed, now_ns);
    }
    if (watched)
        torc__sample_cpu(observer);
    if (!awake && atomic_load(&observer->parked) && beat == observer->quiet_beat)
        return TORC_FOREVER; /* Quiet for a whole interval: from now on a shard that wakes rings. */
    observer->quiet_beat = beat;
    atomic_store(&observer->parked, !awake);
    return now_ns + interval_ns;
}

/* Returns for how long the process was stopped meanwhile. */
static uint64_t sleep_until(struct torc__page *page, uint32_t bell, uint64_t until_ns)
{
    const uint64_t now_ns = until_ns == TORC_FOREVER ? 0 : torc__clock_now();
    const uint64_t due_ns = until_ns > now_ns ? until_ns : now_ns;
    const uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    const struct timespec timeout = {.tv_sec = (time_t)(left_ns / NS_PER_SECOND),
                                     .tv_nsec = (long)(left_ns % NS_PER_SECOND)};
    uint64_t woken_ns;

    (void)syscall(SYS_futex, &page->bell, FUTEX_WAIT, bell,
                  until_ns == TORC_FOREVER ? NULL : &timeout, NULL, 0);
    woken_ns = torc__clock_now();
    return woken_ns > due_ns && woken_ns - due_ns >= STOPPED_NS ? woken_ns - due_ns : 0;
}

/* A shard does not keep others waiting while none of them could run. */
static void leave_out(struct torc__observer *observer, uint64_t stopped_ns)
{
    for (unsigned i = 0; i < observer->count; i++) {
        if (observer->slots[i].since_ns != 0)
            observer->slots[i].since_ns += stopped_ns;
        if (observer->slots[i].suspected_ns != 0)
            observer->slots[i].suspected_ns += stopped_ns;
    }
}

static void *observe(void *arg)
{
    struct torc__observer *observer = arg;
    uint64_t stopped_ns = 0;

    for (;;) {
        const uint32_t bell = atomic_load(&observer->page->bell);
        uint64_t now_ns;
        uint64_t until_ns;
        uint64_t trace_ns;

        if (atomic_load(&observer->stopping))
            return NULL;
        now_ns = torc__clock_now();
        pthread_mutex_lock(&observer->mutex);
        leave_out(observer, stopped_ns);
        answer(observer, now_ns);
        until_ns = look(observer, now_ns);
        trace_ns = torc__trace_serve(observer, now_ns);
        pthread_mutex_unlock(&observer->mutex);
        stopped_ns = sleep_until(observer->page, bell, until_ns < trace_ns ? until_ns : trace_ns);
    }
}

void torc__observer_ring(struct torc__observer *observer)
{
    const int saved = errno;

    atomic_store(&observer->parked, false); /* One who rings is enough. */
    atomic_fetch_add(&observer->page->bell, 1);
    (void)syscall(SYS_futex, &observer->page->bell, FUTEX_WAKE, 1, NULL, NULL, 0);
    errno = saved;
}

/* It takes no signals that are meant for the program. */
static bool start_thread(struct torc__observer *observer)
{
    pthread_attr_t attributes;
    sigset_t before;
    sigset_t all;
    int error;

    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_SIZE);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    error = pthread_create(&observer->thread, &attributes, observe, observer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error != 0)
        return false;
    (void)pthread_setname_np(observer->thread, "torc-observer");
    return true;
}

/* ---- Life ---- */

/* 0 and the limit for stalls; -EINVAL. */
static int read_stall_ns(const struct torc_options *options, uint64_t *ret_ns)
{
    uint32_t ms;

    if (options->stall_ns == TORC_FOREVER) {
        *ret_ns = TORC_FOREVER;
        return 0;
    }
    if (options->stall_ns != 0) {
        *ret_ns = options->stall_ns;
        return *ret_ns < STALL_NS_MIN || *ret_ns > STALL_MS_MAX * UINT64_C(1000000) ? -EINVAL : 0;
    }
    ms = torc__environment_number("TORC_STALL_MS", STALL_DEFAULT_MS, STALL_MS_MAX);
    *ret_ns = ms == 0 ? TORC_FOREVER : ms * UINT64_C(1000000);
    return 0;
}

static void fill_page(struct torc__observer *observer)
{
    struct torc__page *page = observer->page;

    page->magic = PAGE_MAGIC;
    page->version = PAGE_VERSION;
    page->stats_size = sizeof(struct torc_stats);
    page->name_size = sizeof(struct torc_name_stats);
    page->shard_count = observer->count;
    page->pid = (uint32_t)getpid();
    page->fd = observer->page_fd;
    page->owner = (uint64_t)(uintptr_t)observer;
}

static void release(struct torc__observer *observer)
{
    atomic_store(&observer->page->ended, 1);
    torc__shared_destroy(observer->page, observer->page_size, observer->page_fd);
    pthread_mutex_destroy(&observer->mutex);
    free(observer);
}

/* NULL without memory or threads. */
static struct torc__observer *begin(unsigned count, uint64_t stall_ns)
{
    const size_t size = sizeof(struct torc__observer) + count * sizeof(struct torc__observed);
    struct torc__observer *observer = aligned_alloc(64, (size + 63) / 64 * 64);

    if (observer == NULL)
        return NULL;
    memset(observer, 0, size);
    observer->count = count;
    observer->stall_ns = stall_ns;
    observer->page_size = torc__page_size(count);
    observer->page = torc__shared_create(PAGE_FD_NAME, observer->page_size, &observer->page_fd);
    if (observer->page == NULL) {
        free(observer);
        return NULL;
    }
    fill_page(observer);
    pthread_mutex_init(&observer->mutex, NULL);
    for (unsigned i = 0; i < count; i++)
        observer->slots[i].observer = observer;
    if (!start_thread(observer)) {
        release(observer);
        return NULL;
    }
    if (stall_ns != TORC_FOREVER)
        torc__stall_catch();
    return observer;
}

int torc__observer_create(const struct torc_options *options, unsigned count,
                          struct torc__observer **ret_observer)
{
    const int saved = errno;
    uint64_t stall_ns;
    const int result = read_stall_ns(options, &stall_ns);

    *ret_observer = NULL;
    if (result < 0 || options->no_observer ||
        torc__environment_number("TORC_OBSERVER", 1, 1) == 0 ||
        torc__thread_is_simulated()) /* A thread beside would be nothing that comes again. */
        return result;
    *ret_observer = begin(count, stall_ns);
    errno = saved;
    return 0;
}

void torc__observer_destroy(struct torc__observer *observer)
{
    if (observer == NULL)
        return;
    atomic_store(&observer->stopping, true);
    torc__observer_ring(observer);
    pthread_join(observer->thread, NULL);
    if (observer->stall_ns != TORC_FOREVER)
        torc__stall_release();
    torc__trace_drop(observer);
    (void)torc__trace_serve(observer, 0);
    release(observer);
}

void torc__observer_attach(struct torc__observer *observer, struct torc__shard *shard)
{
    struct torc__observed *observed;

    if (observer == NULL)
        return;
    observed = &observer->slots[shard->index];
    pthread_mutex_lock(&observer->mutex);
    observed->tid = (pid_t)syscall(SYS_gettid);
    observed->shard = shard;
    observed->sampled_cpu_ns = torc__observed_cpu_ns(observed); /* What came before is not ours. */
    memcpy(observer->page->driver, shard->driver->ops->name,
           strnlen(shard->driver->ops->name, sizeof(observer->page->driver) - 1));
    shard->observer = observer;
    shard->observed = observed;
    torc__trace_enter(observed);
    pthread_mutex_unlock(&observer->mutex);
    torc__observer_awake(observer);
}

void torc__observer_detach(struct torc__observer *observer, struct torc__shard *shard)
{
    if (observer == NULL)
        return;
    pthread_mutex_lock(&observer->mutex);
    torc__trace_leave(shard->observed);
    shard->observed->shard = NULL;
    shard->observed = NULL;
    shard->observer = NULL;
    pthread_mutex_unlock(&observer->mutex);
}

/* SPDX-License-Identifier: MIT */
/*
 * runtime.c - the shards of one torc_run().
 *
 *     every shard:  pin -> start -> (all started?) -> run -> (all ended) -> finish
 *
 * The two meetings matter: no shard runs unless all could start, and none closes its ring while
 * another may still put a wake-up into it.
 */
#include "shard/runtime.h"
#include "driver/thread.h"
#include "shard/diagnose.h"
#include "shard/observer.h"
#include "shard/placement.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS_MAX 1024
/* As many CPUs has a simulated machine. */
#define SIMULATED_CPUS 4

struct shard_slot {
    struct torc__runtime *runtime;
    unsigned index;
    int cpu; /* -1: anywhere */
    struct torc__thread thread;
    struct torc__mailbox *mailbox; /* the runtime's own reference */
    struct torc__shard *shard;     /* from the first meeting to the last */
    struct torc_message stop;      /* tells the shard to stop */
    sigset_t signals_before;       /* what the thread had blocked */
};

struct torc__runtime {
    const struct torc_options *options;
    struct torc__pool *pool;
    struct torc__observer *observer; /* may be NULL */
    torc_fiber_fn *main;
    void *arg;
    pthread_mutex_t mutex; /* of all below, but for the slots */
    pthread_cond_t met;
    unsigned waiting; /* at the present meeting */
    unsigned meeting;
    int start_failure; /* the first one of each kind, or 0 */
    int main_failure;
    int fiber_failure;
    atomic_bool stopping;
    unsigned count;
    struct shard_slot slots[];
};

/* ---- Meetings and results ---- */

/* Wait until all shards have come here. */
static void meet(struct torc__runtime *runtime)
{
    unsigned meeting;

    pthread_mutex_lock(&runtime->mutex);
    meeting = runtime->meeting;
    if (++runtime->waiting == runtime->count) {
        runtime->waiting = 0;
        runtime->meeting++;
        torc__condition_broadcast(&runtime->met);
    }
    while (runtime->meeting == meeting)
        torc__condition_wait(&runtime->met, &runtime->mutex);
    pthread_mutex_unlock(&runtime->mutex);
}

static void note_failure(struct torc__runtime *runtime, int *first, int result)
{
    pthread_mutex_lock(&runtime->mutex);
    if (*first == 0 && result < 0)
        *first = result;
    pthread_mutex_unlock(&runtime->mutex);
}

static bool all_have_started(struct torc__runtime *runtime)
{
    int failure;

    pthread_mutex_lock(&runtime->mutex);
    failure = runtime->start_failure;
    pthread_mutex_unlock(&runtime->mutex);
    return failure == 0;
}

/* ---- Stopping ---- */

static void stop_arrived(struct torc_message *message)
{
    (void)message;
    torc__shard_stop(torc__shard);
}

void torc__runtime_stop(struct torc__runtime *runtime)
{
    if (atomic_exchange(&runtime->stopping, true))
        return;
    for (unsigned i = 0; i < runtime->count; i++) {
        struct shard_slot *slot = &runtime->slots[i];

        slot->stop.run = stop_arrived;
        /* A shard that has ended needs no telling. */
        (void)torc__mailbox_push(slot->mailbox, &slot->stop);
    }
}

bool torc__runtime_is_stopping(struct torc__runtime *runtime)
{
    return atomic_load(&runtime->stopping);
}

struct torc__mailbox *torc__runtime_mailbox(struct torc__runtime *runtime, unsigned index)
{
    return index < runtime->count ? runtime->slots[index].mailbox : NULL;
}

const struct torc__shard *torc__runtime_shard(const struct torc__runtime *runtime, unsigned index)
{
    return index < runtime->count ? runtime->slots[index].shard : NULL;
}

unsigned torc__runtime_shard_count(const struct torc__runtime *runtime)
{
    return runtime->count;
}

const struct torc_options *torc__runtime_options(const struct torc__runtime *runtime)
{
    return runtime->options;
}

void torc__runtime_abandon(struct torc__runtime *runtime)
{
    if (TORC_ASAN)
        return;
    for (unsigned i = 0; i < runtime->count; i++)
        torc__mailbox_release(runtime->slots[i].mailbox);
    torc__pool_abandon(runtime->pool);
    free(runtime);
}

/* ---- Threads ---- */

/* For programs that do not look at results: EPIPE, and EFBIG at RLIMIT_FSIZE. */
static const int write_signals[] = {SIGPIPE, SIGXFSZ};

/* Blocked, not ignored: that a child would inherit through exec(). */
static void block_write_signals(sigset_t *ret_before)
{
    sigset_t set;

    sigemptyset(&set);
    for (unsigned i = 0; i < ARRAY_LENGTH(write_signals); i++)
        sigaddset(&set, write_signals[i]);
    pthread_sigmask(SIG_BLOCK, &set, ret_before);
}

static void restore_write_signals(const sigset_t *before)
{
    const struct timespec no_time = {0};
    sigset_t set;

    sigemptyset(&set);
    for (unsigned i = 0; i < ARRAY_LENGTH(write_signals); i++) {
        if (!sigismember(before, write_signals[i]))
            sigaddset(&set, write_signals[i]);
    }
    while (sigtimedwait(&set, NULL, &no_time) > 0)
        ; /* Those that were raised meanwhile. */
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int torc__runtime_cpu(const struct torc__shard *shard)
{
    return shard->runtime->slots[shard->index].cpu;
}

void torc__runtime_restore_signals(const struct torc__shard *shard)
{
    restore_write_signals(&shard->runtime->slots[shard->index].signals_before);
}

static int pin(int cpu)
{
    struct torc__cpu_set set;

    torc__cpus_clear(&set);
    torc__cpus_add(&set, (unsigned)cpu);
    return torc__cpus_pin_thread(&set);
}

static int start(struct shard_slot *slot, struct torc__shard **ret_shard)
{
    const struct torc__shard_options options = {
        .options = slot->runtime->options,
        .runtime = slot->runtime,
        .pool = slot->runtime->pool,
        .mailbox = torc__mailbox_acquire(slot->mailbox),
        .index = slot->index,
    };
    int result = slot->cpu >= 0 ? pin(slot->cpu) : 0;

    if (result == 0)
        result = torc__shard_start(&options, ret_shard);
    if (result < 0)
        torc__mailbox_release(options.mailbox);
    return result;
}

/* Faults, and SIGQUIT where it is ours; the observer asks for stacks by a signal as well. */
static void *catch_signals(const struct torc_options *options)
{
    if (!options->no_fault_handler)
        torc__fault_catch();
    if (options->dump_on_quit)
        torc__dump_on_quit();
    return options->no_fault_handler && options->no_observer && !options->dump_on_quit
               ? NULL
               : torc__signal_stack_make();
}

static void release_signals(const struct torc_options *options, void *signal_stack)
{
    if (options->dump_on_quit)
        torc__dump_on_quit_no_more();
    if (!options->no_fault_handler)
        torc__fault_release();
    torc__signal_stack_free(signal_stack);
}

/* The life of a shard on its thread. */
static void live(struct shard_slot *slot)
{
    struct torc__runtime *runtime = slot->runtime;
    struct torc__shard *shard = NULL;
    void *signal_stack;
    int result;

    if (!torc__thread_is_simulated())
        block_write_signals(&slot->signals_before);
    result = start(slot, &shard);
    slot->shard = shard;
    signal_stack = catch_signals(runtime->options);
    note_failure(runtime, &runtime->start_failure, result);
    meet(runtime);
    if (all_have_started(runtime)) {
        int fiber_failure;

        torc__observer_attach(runtime->observer, shard);
        result = torc__shard_run(shard, runtime->main, runtime->arg, &fiber_failure);
        torc__observer_detach(runtime->observer, shard);
        note_failure(runtime, &runtime->main_failure, result);
        note_failure(runtime, &runtime->fiber_failure, fiber_failure);
        meet(runtime);
    }
    release_signals(runtime->options, signal_stack);
    if (shard != NULL)
        torc__shard_finish(shard);
    if (!torc__thread_is_simulated())
        restore_write_signals(&slot->signals_before);
}

static void *thread_main(void *arg)
{
    live(arg);
    return NULL;
}

/* ---- Placement ---- */

/* The CPUs that shards may be pinned to, where no list names them. How many, or an error. */
static int allowed_cpus(const struct torc_options *options, struct torc__cpu_set *ret_set)
{
    int result = torc__cpus_of_thread(ret_set);

    return result < 0 ? result : torc__placement_filter(options, PLACEMENT_SYSFS, ret_set);
}

/* How many shards `options` ask for; or -EINVAL. */
static int shard_count(const struct torc_options *options)
{
    struct torc__cpu_set set;
    int count = options->shards == 0 ? 1 : options->shards;

    if (options->cpu_count > SHARDS_MAX || options->placement > TORC_PLACE_CORES)
        return -EINVAL;
    if (options->shards == TORC_ALL_CPUS && torc__thread_is_simulated())
        count = SIMULATED_CPUS;
    else if (options->shards == TORC_ALL_CPUS)
        count = options->cpus != NULL ? (int)options->cpu_count : allowed_cpus(options, &set);
    if (count < 0 && options->shards == TORC_ALL_CPUS)
        return count;
    return count < 1 || count > SHARDS_MAX ? -EINVAL : count;
}

/* Whether the CPUs that are listed are those of a simulated machine. */
static int check_simulated(const struct torc_options *options)
{
    for (unsigned i = 0; options->cpus != NULL && i < options->cpu_count; i++) {
        if (options->cpus[i] < 0 || options->cpus[i] >= SIMULATED_CPUS)
            return -EINVAL;
    }
    return 0;
}

/* The CPUs of the shards, in order, over again if there are more shards. */
static int place(struct torc__runtime *runtime)
{
    const struct torc_options *options = runtime->options;
    const bool pinned = !options->no_pin && !torc__thread_is_simulated() &&
                        (runtime->count > 1 || options->cpus != NULL || options->numa_nodes != 0);
    const bool listed = options->cpus != NULL && options->cpu_count > 0;
    struct torc__cpu_set set;
    int cpu = -1;
    int result = pinned && !listed ? allowed_cpus(options, &set) : 0;

    if (result == 0 && torc__thread_is_simulated())
        result = check_simulated(options);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < runtime->count; i++) {
        runtime->slots[i].cpu = -1;
        if (!pinned)
            continue;
        if (listed) {
            cpu = options->cpus[i % options->cpu_count];
            if (cpu < 0 || cpu >= (int)CPUS_MAX)
                return -EINVAL;
        } else {
            do
                cpu = (cpu + 1) % (int)CPUS_MAX;
            while (!torc__cpus_have(&set, (unsigned)cpu));
        }
        runtime->slots[i].cpu = cpu;
    }
    return 0;
}

/* ---- torc_run() ---- */

static void destroy(struct torc__runtime *runtime)
{
    torc__observer_destroy(runtime->observer);
    torc__pool_destroy(runtime->pool);
    for (unsigned i = 0; i < runtime->count; i++)
        torc__mailbox_release(runtime->slots[i].mailbox);
    pthread_cond_destroy(&runtime->met);
    pthread_mutex_destroy(&runtime->mutex);
    free(runtime);
}

static int create(const struct torc_options *options, struct torc__runtime **ret_runtime)
{
    int count = shard_count(options);
    struct torc__runtime *runtime;
    int result;

    if (count < 0)
        return count;
    if (!torc__pool_options_valid(options))
        return -EINVAL;
    runtime = calloc(1, sizeof(*runtime) + (size_t)count * sizeof(runtime->slots[0]));
    if (runtime == NULL)
        return -ENOMEM;
    runtime->options = options;
    runtime->count = (unsigned)count;
    pthread_mutex_init(&runtime->mutex, NULL);
    pthread_cond_init(&runtime->met, NULL);
    result = place(runtime);
    /* Here, where the calling thread is not pinned yet: it is asked where threads may run. */
    runtime->pool = torc__pool_create(options);
    if (result == 0 && runtime->pool == NULL)
        result = -ENOMEM;
    if (result == 0)
        result = torc__observer_create(options, runtime->count, &runtime->observer);
    for (unsigned i = 0; i < runtime->count && result == 0; i++) {
        runtime->slots[i].runtime = runtime;
        runtime->slots[i].index = i;
        runtime->slots[i].mailbox = torc__mailbox_create(runtime);
        if (runtime->slots[i].mailbox == NULL)
            result = -ENOMEM;
    }
    if (result < 0) {
        destroy(runtime);
        return result;
    }
    *ret_runtime = runtime;
    return 0;
}

/* Start the other threads; those that cannot be started fail at the first meeting, for all. */
static unsigned start_threads(struct torc__runtime *runtime)
{
    unsigned started = 1;

    while (started < runtime->count) {
        struct shard_slot *slot = &runtime->slots[started];
        int result = torc__thread_start(&slot->thread, NULL, thread_main, slot);

        if (result < 0) {
            note_failure(runtime, &runtime->start_failure, result);
            break;
        }
        started++;
    }
    for (unsigned i = started; i < runtime->count; i++) {
        pthread_mutex_lock(&runtime->mutex);
        runtime->waiting++; /* Stands at the meeting for the thread that is not there. */
        pthread_mutex_unlock(&runtime->mutex);
    }
    return started;
}

/* Create the shards, run them, and wait for all. */
static int run(torc_fiber_fn *main, void *arg, const struct torc_options *options)
{
    struct torc__runtime *runtime;
    struct torc__cpu_set affinity;
    unsigned started;
    bool pinned;
    int result = create(options, &runtime);

    if (result < 0)
        return result;
    torc__fork_watch();
    pinned = runtime->slots[0].cpu >= 0 && torc__cpus_of_thread(&affinity) == 0;
    runtime->main = main;
    runtime->arg = arg;
    started = start_threads(runtime);
    live(&runtime->slots[0]);
    for (unsigned i = 1; i < started; i++)
        torc__thread_join(&runtime->slots[i].thread);
    if (pinned)
        (void)torc__cpus_pin_thread(&affinity);
    result = runtime->start_failure  ? runtime->start_failure
             : runtime->main_failure ? runtime->main_failure
                                     : runtime->fiber_failure;
    destroy(runtime);
    return result;
}

int torc_run(torc_fiber_fn *main, void *arg, const struct torc_options *options)
{
    static const struct torc_options defaults;
    bool entered;
    int result;

    if (torc__shard != NULL)
        return -EBUSY;
    if (options == NULL)
        options = &defaults;
    torc__log_begin();
    result = torc__driver_enter(options, (void **)&torc__shard, &entered);
    if (result < 0)
        return result;
    result = run(main, arg, options);
    if (entered)
        torc__driver_leave();
    return result;
}

void torc_stop(void)
{
    struct torc__shard *shard = torc__shard_of_fiber();

    torc__runtime_stop(shard->runtime);
    torc__shard_stop(shard); /* At once: the message comes with the next round. */
}

/* SPDX-License-Identifier: MIT */
/*
 * micro_wake.c - waking a shard from another thread, and leaving it alone.
 */
#include "micro.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    REPETITIONS = 5,
    ROUNDS = 1000, /* of a repetition */
    IDLE_FIBERS = 100,
};

/* ---- CPUs ---- */

static bool pin_thread(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

/* Put the calling thread on a CPU of its own. False where there is only one. */
static bool pin_to_other_cpu(int cpu)
{
    const int count = (int)sysconf(_SC_NPROCESSORS_ONLN);

    for (int other = 0; other < count; other++) {
        if (other != cpu && pin_thread(other))
            return true;
    }
    return false;
}

/* ---- Wake-up ---- */

struct waking {
    struct torc_message message; /* First, so that it can be told from its address. */
    struct torc_event event;
    struct torc_mailbox *mailbox;
    struct micro_samples *samples;
    uint64_t pause_ns; /* between two wake-ups */
    int shard_cpu;
    bool failed; /* there is no second CPU */
    _Atomic unsigned answered;
};

static void message_arrived(struct torc_message *message)
{
    torc_event_set(&((struct waking *)(void *)message)->event);
}

static void spin_for(uint64_t duration_ns)
{
    const uint64_t until_ns = micro_now() + duration_ns;

    while (micro_now() < until_ns)
        continue;
}

/* The other thread: it never sleeps, so that only the shard has to be woken. */
static void *ask_again_and_again(void *arg)
{
    struct waking *all = arg;

    all->failed = !pin_to_other_cpu(all->shard_cpu);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        uint64_t begun_ns;

        if (!all->failed)
            spin_for(all->pause_ns);
        begun_ns = micro_now();
        micro_require(torc_mailbox_post(all->mailbox, &all->message), "post");
        while (atomic_load_explicit(&all->answered, memory_order_acquire) != i) {
            if (all->failed)
                sched_yield();
        }
        micro_samples_add(all->samples, micro_now() - begun_ns, 1);
    }
    return NULL;
}

static int answer_main(void *arg)
{
    struct waking *all = arg;
    pthread_t thread;

    all->mailbox = torc_mailbox_acquire();
    micro_require(-pthread_create(&thread, NULL, ask_again_and_again, all), "thread");
    for (unsigned i = 1; i <= ROUNDS; i++) {
        micro_require(torc_event_wait(&all->event), "wait");
        torc_event_clear(&all->event);
        atomic_store_explicit(&all->answered, i, memory_order_release);
    }
    pthread_join(thread, NULL);
    torc_mailbox_release(all->mailbox);
    return 0;
}

static void wake_up(const char *name, const struct torc_options *options, uint64_t pause_ns)
{
    struct micro_samples *samples = micro_samples_create();
    bool failed = false;

    for (int i = 0; i < REPETITIONS; i++) {
        struct waking all = {.message.run = message_arrived,
                             .samples = samples,
                             .pause_ns = pause_ns,
                             .shard_cpu = sched_getcpu()};

        (void)pin_thread(all.shard_cpu);
        micro_run(answer_main, &all, options);
        micro_samples_end_repetition(samples);
        failed |= all.failed;
    }
    if (failed)
        micro_skip(name, "it needs two CPUs");
    else
        micro_report(name, samples, MICRO_NO_TARGET);
    free(samples);
}

void micro_wake(void)
{
    const struct torc_options off = {.busy_poll = TORC_BUSY_POLL_OFF};
    const struct torc_options adaptive = {.busy_poll = TORC_BUSY_POLL_ADAPTIVE};
    const struct torc_options fixed = {.busy_poll = TORC_BUSY_POLL_FIXED,
                                       .busy_poll_ns = TORC_MILLISECOND};

    wake_up("wake and answer, shard asleep", &off, 300 * TORC_MICROSECOND);
    wake_up("wake and answer, adaptive poll, every 20 us", &adaptive, 20 * TORC_MICROSECOND);
    wake_up("wake and answer, shard polls", &fixed, 20 * TORC_MICROSECOND);
}

/* ---- Idle ---- */

struct idling {
    struct torc_message message;
    struct torc_event event; /* all wait for it, or */
    int fd;                  /* for this, to which nothing is sent */
    struct torc_mailbox *mailbox;
    pthread_t shard;
    int shard_tid;
    uint64_t switches;
    uint64_t cpu_ns;
};

/* How often the shard's thread was put to sleep or aside. */
static uint64_t switches_of(int tid)
{
    char path[64];
    char line[256];
    unsigned long long value;
    uint64_t total = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
    file = fopen(path, "re");
    if (file == NULL)
        micro_require(-errno, path);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "voluntary_ctxt_switches: %llu", &value) == 1 ||
            sscanf(line, "nonvoluntary_ctxt_switches: %llu", &value) == 1)
            total += value;
    }
    fclose(file);
    return total;
}

static void sleep_in_thread(uint64_t duration_ns)
{
    const struct timespec duration = {.tv_sec = (time_t)(duration_ns / TORC_SECOND),
                                      .tv_nsec = (long)(duration_ns % TORC_SECOND)};

    nanosleep(&duration, NULL);
}

/* Watches from outside, since whatever the shard did itself would be a wake-up. */
static void *watch(void *arg)
{
    struct idling *all = arg;
    clockid_t shard_cpu;

    micro_require(-pthread_getcpuclockid(all->shard, &shard_cpu), "clock");
    sleep_in_thread(300 * TORC_MILLISECOND);
    all->switches = switches_of(all->shard_tid);
    all->cpu_ns = micro_clock(shard_cpu);
    sleep_in_thread(2 * TORC_SECOND);
    all->switches = switches_of(all->shard_tid) - all->switches;
    all->cpu_ns = micro_clock(shard_cpu) - all->cpu_ns;
    micro_require(torc_mailbox_post(all->mailbox, &all->message), "post");
    return NULL;
}

static void end_idleness(struct torc_message *message)
{
    torc_event_set(&((struct idling *)(void *)message)->event);
}

static int wait_in_event(void *arg)
{
    return torc_event_wait(&((struct idling *)arg)->event);
}

static int wait_in_recv(void *arg)
{
    static char buffer[64];

    return (int)torc_recv(((struct idling *)arg)->fd, buffer, sizeof(buffer), 0);
}

static int idle_main(void *arg)
{
    struct idling *all = arg;
    struct torc_scope scope;
    pthread_t watcher;

    all->mailbox = torc_mailbox_acquire();
    all->shard = pthread_self();
    all->shard_tid = (int)syscall(SYS_gettid);
    torc_scope_open(&scope, 0);
    for (int i = 0; i < IDLE_FIBERS; i++) {
        micro_require(torc_scope_spawn(&scope, i % 2 ? wait_in_event : wait_in_recv, all), "spawn");
    }
    micro_require(-pthread_create(&watcher, NULL, watch, all), "thread");
    micro_require(torc_event_wait(&all->event), "wait");
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    pthread_join(watcher, NULL);
    torc_mailbox_release(all->mailbox);
    return 0;
}

void micro_idle(void)
{
    struct idling all = {.message.run = end_idleness};

    all.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (all.fd < 0)
        micro_require(-errno, "socket");
    micro_run(idle_main, &all, NULL);
    close(all.fd);
    micro_report_value("idle for 2 s with 100 fibers, wake-ups", "", (double)all.switches, 0);
    micro_report_value("idle for 2 s with 100 fibers, CPU", "us", (double)all.cpu_ns / 1000, 0);
}

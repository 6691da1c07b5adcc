/* SPDX-License-Identifier: MIT */
/*
 * micro_answer.c - a question from a fiber of one shard to another shard, and the answer: two
 * messages through two mailboxes. (The question of a foreign thread is in micro_wake.c.) Beside it
 * what is left when two threads do nothing but look at each other's number.
 */
#include "micro.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    REPETITIONS = 5,
    ROUNDS = 1000, /* of a repetition */
};

static int other_cpu(int cpu)
{
    return cpu == 0 ? 1 : 0;
}

/* One half of a pair of shards. On cache lines of its own. */
struct half {
    _Alignas(128) struct torc_message message; /* First, so that it can be told from its address. */
    struct asking *all;
    struct torc_event event;
    struct torc_mailbox *mailbox;
};

struct asking {
    struct half asker;    /* its message is the answer, to it */
    struct half answerer; /* its message is the question, to it */
    struct micro_samples *samples;
    uint64_t pause_ns; /* before each question */
    bool by_fiber;     /* who answers: a fiber, or the loop at once */
    bool over;         /* set before the last question, which is none */
    _Atomic unsigned ready;
};

static void post(struct half *to)
{
    micro_require(torc_mailbox_post(to->mailbox, &to->message), "post");
}

static void answer_arrived(struct torc_message *message)
{
    torc_event_set(&((struct half *)(void *)message)->event);
}

static void question_arrived(struct torc_message *message)
{
    struct half *answerer = (void *)message;

    if (answerer->all->by_fiber || answerer->all->over)
        torc_event_set(&answerer->event);
    else
        post(&answerer->all->asker);
}

static void ask_and_wait(struct asking *all)
{
    post(&all->answerer);
    micro_require(torc_event_wait(&all->asker.event), "wait");
    torc_event_clear(&all->asker.event);
}

static void ask_again_and_again(struct asking *all)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t begun_ns;

        if (all->pause_ns > 0)
            micro_require(torc_sleep(all->pause_ns), "sleep");
        begun_ns = micro_now();
        ask_and_wait(all);
        micro_samples_add(all->samples, micro_now() - begun_ns, 1);
    }
    all->over = true;
    post(&all->answerer);
}

static void answer_until_it_is_over(struct asking *all)
{
    for (;;) {
        micro_require(torc_event_wait(&all->answerer.event), "wait");
        torc_event_clear(&all->answerer.event);
        if (all->over)
            return;
        post(&all->asker);
    }
}

/* What runs on both shards. */
static int half_main(void *arg)
{
    struct asking *all = arg;
    const bool asks = torc_shard_index() == 0;
    struct half *mine = asks ? &all->asker : &all->answerer;

    mine->mailbox = torc_mailbox_acquire();
    atomic_fetch_add(&all->ready, 1);
    while (atomic_load(&all->ready) < 2)
        micro_require(torc_sleep(TORC_MILLISECOND), "sleep");
    if (asks)
        ask_again_and_again(all);
    else
        answer_until_it_is_over(all);
    return 0;
}

static void release(struct asking *all)
{
    torc_mailbox_release(all->asker.mailbox);
    torc_mailbox_release(all->answerer.mailbox);
}

static void ask(const char *name, struct torc_options options, uint64_t pause_ns, bool by_fiber)
{
    const int here = sched_getcpu();
    const int cpus[] = {here, other_cpu(here)};
    struct micro_samples *samples = micro_samples_create();

    options.shards = 2;
    options.cpus = cpus;
    options.cpu_count = 2;
    for (int i = 0; i < REPETITIONS; i++) {
        struct asking all = {
            .asker = {.message.run = answer_arrived, .all = &all},
            .answerer = {.message.run = question_arrived, .all = &all},
            .samples = samples,
            .pause_ns = pause_ns,
            .by_fiber = by_fiber,
        };

        micro_run(half_main, &all, &options);
        release(&all);
        micro_samples_end_repetition(samples);
    }
    micro_report(name, samples, MICRO_NO_TARGET);
    free(samples);
}

/* ---- By hand ---- */

struct numbers {
    _Alignas(128) _Atomic unsigned asked;
    _Alignas(128) _Atomic unsigned answered;
    int cpu;
};

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        micro_require(-errno, "pinning");
}

static void *answer_by_hand(void *arg)
{
    struct numbers *numbers = arg;

    pin(numbers->cpu);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        while (atomic_load_explicit(&numbers->asked, memory_order_acquire) != i)
            continue;
        atomic_store_explicit(&numbers->answered, i, memory_order_release);
    }
    return NULL;
}

static void ask_by_hand(const char *name)
{
    const int here = sched_getcpu();
    struct micro_samples *samples = micro_samples_create();

    for (int n = 0; n < REPETITIONS; n++) {
        struct numbers numbers = {.cpu = other_cpu(here)};
        pthread_t thread;

        pin(here);
        micro_require(-pthread_create(&thread, NULL, answer_by_hand, &numbers), "thread");
        for (unsigned i = 1; i <= ROUNDS; i++) {
            const uint64_t begun_ns = micro_now();

            atomic_store_explicit(&numbers.asked, i, memory_order_release);
            while (atomic_load_explicit(&numbers.answered, memory_order_acquire) != i)
                continue;
            micro_samples_add(samples, micro_now() - begun_ns, 1);
        }
        pthread_join(thread, NULL);
        micro_samples_end_repetition(samples);
    }
    micro_report(name, samples, MICRO_NO_TARGET);
    free(samples);
}

void micro_answer(void)
{
    const struct torc_options off = {.busy_poll = TORC_BUSY_POLL_OFF};
    const struct torc_options adaptive = {.busy_poll = TORC_BUSY_POLL_ADAPTIVE};
    const struct torc_options fixed = {.busy_poll = TORC_BUSY_POLL_FIXED,
                                       .busy_poll_ns = TORC_MILLISECOND};

    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        micro_skip("an answer", "it needs two CPUs");
        return;
    }
    ask_by_hand("ask a thread by hand, both spin");
    ask("ask a shard, both poll, its loop answers", fixed, 0, false);
    ask("ask a shard, both poll, a fiber answers", fixed, 0, true);
    ask("ask a shard, adaptive poll, a fiber answers", adaptive, 0, true);
    ask("ask a shard, both asleep, a fiber answers", off, 300 * TORC_MICROSECOND, true);
}

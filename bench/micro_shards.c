/* SPDX-License-Identifier: MIT */
/*
 * micro_shards.c - what goes from one shard to another: calls and their answers, messages, values
 * in shared channels. Each shard has a CPU of its own, and polls where nothing else is said.
 */
#include "micro.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    REPETITIONS = 5,
    CALLS = 2000,      /* of a repetition */
    CHUNKS = 50,       /* of a repetition */
    IN_FLIGHT = 1024,  /* messages that the sender has */
    SENDERS = 8,       /* fibers, where several use a channel */
    PER_CHUNK = 20000, /* messages, or values */
    PER_SECOND = 5000000,
};

static const double one_way_target_ns = 1e9 / PER_SECOND;

/* ---- Two shards ---- */

/* Shard 0 runs `act(arg)`, and shard 1 `help(arg)`, or waits for calls. */
struct two {
    torc_fiber_fn *act;
    torc_fiber_fn *help; /* NULL: nothing to do */
    void *arg;
    struct torc_shared_event over;
};

static int two_main(void *arg)
{
    struct two *two = arg;
    int result;

    if (torc_shard_index() == 1)
        return two->help != NULL ? two->help(two->arg) : torc_shared_event_wait(&two->over);
    result = two->act(two->arg);
    torc_shared_event_set(&two->over);
    return result;
}

static void run_two(enum torc_busy_poll poll, torc_fiber_fn *act, torc_fiber_fn *help, void *arg)
{
    const int here = sched_getcpu();
    const int cpus[] = {here, here == 0 ? 1 : 0};
    const struct torc_options options = {
        .shards = 2,
        .cpus = cpus,
        .cpu_count = 2,
        .busy_poll = poll,
        .busy_poll_ns = poll == TORC_BUSY_POLL_FIXED ? TORC_MILLISECOND : 0,
    };
    struct two two = {.act = act, .help = help, .arg = arg};

    micro_run(two_main, &two, &options);
}

/* ---- There and back ---- */

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int call_again_and_again(void *arg)
{
    for (unsigned i = 0; i < CALLS; i++) {
        const uint64_t begun_ns = micro_now();

        micro_require(torc_shard_call(1, do_nothing, NULL), "call");
        micro_samples_add(arg, micro_now() - begun_ns, 1);
    }
    return 0;
}

static int ask_again_and_again(void *arg)
{
    for (unsigned i = 0; i < CALLS; i++) {
        const uint64_t begun_ns = micro_now();

        micro_require(torc_shard_ask(1, do_nothing, NULL), "ask");
        micro_samples_add(arg, micro_now() - begun_ns, 1);
    }
    return 0;
}

static void measure_answers(const char *name, torc_fiber_fn *act)
{
    struct micro_samples *samples = micro_samples_create();

    for (unsigned i = 0; i < REPETITIONS; i++) {
        run_two(TORC_BUSY_POLL_FIXED, act, NULL, samples);
        micro_samples_end_repetition(samples);
    }
    micro_report(name, samples, 1500);
    free(samples);
}

/* ---- Messages ---- */

static struct {
    _Alignas(128) _Atomic unsigned run; /* written by shard 1 */
    _Alignas(128) struct torc_message messages[IN_FLIGHT];
} mail;

static void note(struct torc_message *message)
{
    (void)message;
    atomic_store_explicit(&mail.run, atomic_load_explicit(&mail.run, memory_order_relaxed) + 1,
                          memory_order_release);
}

/* Post again what has been run, until `count` have been sent in all. */
static void post_until(unsigned *sent, unsigned count)
{
    while (*sent < count) {
        const unsigned run = atomic_load_explicit(&mail.run, memory_order_acquire);

        while (*sent < count && *sent - run < IN_FLIGHT) {
            struct torc_message *message = &mail.messages[*sent % IN_FLIGHT];

            message->run = note;
            micro_require(torc_shard_post(1, message), "post");
            ++*sent;
        }
    }
}

static int post_again_and_again(void *arg)
{
    unsigned sent = 0;

    atomic_store(&mail.run, 0);
    for (unsigned chunk = 0; chunk <= CHUNKS; chunk++) {
        const uint64_t begun_ns = micro_now();

        post_until(&sent, (chunk + 1) * PER_CHUNK);
        if (chunk > 0)
            micro_samples_add(arg, micro_now() - begun_ns, PER_CHUNK);
    }
    while (atomic_load_explicit(&mail.run, memory_order_acquire) < sent)
        continue;
    return 0;
}

static void measure_messages(void)
{
    struct micro_samples *samples = micro_samples_create();

    for (unsigned i = 0; i < REPETITIONS; i++) {
        run_two(TORC_BUSY_POLL_FIXED, post_again_and_again, NULL, samples);
        micro_samples_end_repetition(samples);
    }
    micro_report("message, one way, 5 million a second", samples, one_way_target_ns);
    free(samples);
}

/* ---- Shared channels ---- */

struct channelled {
    struct torc_shared_channel *channel;
    struct micro_samples *samples;
    unsigned senders;
};

static int send_values(void *arg)
{
    struct channelled *all = arg;
    const unsigned count = (CHUNKS + 1) * PER_CHUNK / all->senders;

    for (uint64_t i = 0; i < count; i++)
        micro_require(torc_shared_channel_send(all->channel, &i), "send");
    return 0;
}

static int send_by_fibers(void *arg)
{
    struct channelled *all = arg;
    struct torc_scope scope;

    torc_scope_open(&scope, 0);
    for (unsigned i = 0; i < all->senders; i++)
        micro_require(torc_scope_spawn(&scope, send_values, all), "spawn");
    return torc_scope_close(&scope);
}

static int receive_values(void *arg)
{
    struct channelled *all = arg;
    uint64_t begun_ns = 0;

    for (unsigned i = 1; i <= (CHUNKS + 1) * PER_CHUNK; i++) {
        uint64_t value;

        micro_require(torc_shared_channel_receive(all->channel, &value), "receive");
        if (i % PER_CHUNK == 0) {
            if (begun_ns > 0)
                micro_samples_add(all->samples, micro_now() - begun_ns, PER_CHUNK);
            begun_ns = micro_now();
        }
    }
    return 0;
}

static void measure_channel(uint32_t capacity, unsigned senders, enum torc_busy_poll poll)
{
    struct channelled all = {.samples = micro_samples_create(), .senders = senders};
    char name[64];

    for (unsigned i = 0; i < REPETITIONS; i++) {
        micro_require(torc_shared_channel_create(capacity, sizeof(uint64_t), &all.channel),
                      "create");
        run_two(poll, send_by_fibers, receive_values, &all);
        torc_shared_channel_release(all.channel);
        micro_samples_end_repetition(all.samples);
    }
    snprintf(name, sizeof(name), "shared channel of %u, %u sender%s%s", capacity, senders,
             senders > 1 ? "s" : "", poll == TORC_BUSY_POLL_OFF ? ", no polling" : "");
    micro_report(name, all.samples,
                 capacity > 1 && poll != TORC_BUSY_POLL_OFF ? one_way_target_ns : MICRO_NO_TARGET);
    free(all.samples);
}

void micro_shards(void)
{
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        micro_skip("what goes between shards", "it needs two CPUs");
        return;
    }
    measure_answers("ask another shard, both poll", ask_again_and_again);
    measure_answers("call another shard, both poll", call_again_and_again);
    measure_messages();
    measure_channel(1, 1, TORC_BUSY_POLL_FIXED);
    measure_channel(16, 1, TORC_BUSY_POLL_FIXED);
    measure_channel(64, 1, TORC_BUSY_POLL_FIXED);
    measure_channel(1024, 1, TORC_BUSY_POLL_FIXED);
    measure_channel(64, SENDERS, TORC_BUSY_POLL_FIXED);
    measure_channel(64, 1, TORC_BUSY_POLL_OFF);
}

/* SPDX-License-Identifier: MIT */
/*
 * bench_run.c - a run of the load generator: connect, wait for each other, load, add up.
 */
#include "bench.h"
#include "cli.h"
#include "signals.h"

#include <stdlib.h>

enum {
    CONNECTS_AT_ONCE = 128, /* per shard: what any server's queue of new connections holds */
    BUFFER_MIN = 1024,
    CONNECT_SECONDS = 5,
    GRACE_SECONDS = 2, /* after the window, for what is late */
};

/* What a run needs on the stack of its caller. */
struct run {
    struct bench bench; /* first, so that a shard's main gets both */
    struct signals signals;
};

/* The fiber that looks at the CPU time as the window begins and ends, or is cut short. */
static int watch_window(void *arg)
{
    struct bench_shard *shard = arg;
    const struct bench_options *options = shard->bench->options;

    torc_fiber_set_name("bench window");
    int reason = torc_sleep_until(shard->begin_ns);
    if (reason < 0)
        return reason;
    const double before = cli_cpu_seconds();
    if (options->window != NULL)
        options->window(options->window_arg, false);

    reason = torc_sleep_until(shard->end_ns);
    shard->bench->cpu_seconds = cli_cpu_seconds() - before;
    if (options->window != NULL)
        options->window(options->window_arg, true);
    return reason;
}

/* Connect all connections of a shard, some at a time. The first that fails is told. */
static int connect_all(struct bench_shard *shard)
{
    int result = 0;

    for (unsigned i = 0; i < shard->connection_count && result == 0;) {
        struct torc_scope scope;

        torc_scope_open(&scope, 0);
        torc_scope_set_timeout(&scope, CONNECT_SECONDS * TORC_SECOND);
        for (unsigned n = 0; n < CONNECTS_AT_ONCE && i < shard->connection_count; n++, i++) {
            result = torc_scope_spawn(&scope, bench_connect, &shard->connections[i]);
            if (result < 0)
                break;
        }
        const int closed = torc_scope_close(&scope);
        result = result < 0 ? result : closed;
    }
    if (result < 0 && result != -ECANCELED) {
        int none = 0;

        shard->connect_errors++;
        atomic_compare_exchange_strong(&shard->bench->connect_error, &none,
                                       result == -ETIME ? -ETIMEDOUT : result);
    }
    return result;
}

/* Wait until all shards have their connections; the last one says when the load begins. */
static int wait_for_start(struct bench_shard *shard)
{
    struct bench *bench = shard->bench;
    uint64_t start_ns;

    if (atomic_fetch_add(&bench->connected, 1) + 1 == bench->shard_count)
        atomic_store(&bench->start_ns, torc_now() + TORC_MILLISECOND);
    while ((start_ns = atomic_load(&bench->start_ns)) == 0) {
        const int reason = torc_sleep(TORC_MILLISECOND);
        if (reason < 0)
            return reason;
    }
    shard->begin_ns = start_ns + bench->options->warmup_ns;
    shard->end_ns = shard->begin_ns + bench->options->duration_ns;
    return torc_sleep_until(start_ns);
}

/* Put all connections of the shard under load, until the window and a little more are over. */
static int load_all(struct bench_shard *shard)
{
    struct torc_scope scope;
    int error = 0;

    torc_scope_open(&scope, TORC_SUPERVISE);
    torc_scope_set_deadline(&scope, shard->end_ns + GRACE_SECONDS * TORC_SECOND);
    if (shard->index == 0) {
        error = torc_scope_spawn_daemon(&scope, watch_window, shard);
        if (error == 0)
            error = torc_scope_spawn_daemon(&scope, bench_live, shard->bench);
    }
    for (unsigned i = 0; i < shard->connection_count && error == 0; i++)
        error = torc_scope_spawn(&scope, bench_load, &shard->connections[i]);
    if (error < 0)
        torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    shard->finished_ns = torc_now();
    return error;
}

/* What runs on every shard. A cancel, which Ctrl-C causes, still leads to a report. */
static int shard_main(void *arg)
{
    struct run *run = arg;
    struct bench_shard *shard = &run->bench.shards[torc_shard_index()];
    int error = 0;

    torc_fiber_set_name("bench");
    if (shard->index == 0)
        error = signals_start(&run->signals);
    if (error == 0 && run->bench.options->mode != BENCH_CHURN)
        error = connect_all(shard);
    if (error == 0)
        error = wait_for_start(shard);
    if (error == 0)
        error = load_all(shard);
    for (unsigned i = 0; i < shard->connection_count; i++) {
        if (shard->connections[i].fd >= 0)
            torc_close(shard->connections[i].fd);
    }
    return error;
}

/* The bytes that all connections send, from a generator of pseudo-random numbers (xorshift). */
static char *create_pattern(void)
{
    char *pattern = malloc(BENCH_PATTERN);
    uint64_t state = 0x9e3779b97f4a7c15;

    if (pattern == NULL)
        return NULL;
    for (size_t i = 0; i < BENCH_PERIOD; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        pattern[i] = (char)(state >> 56);
    }
    for (size_t i = BENCH_PERIOD; i < BENCH_PATTERN; i++)
        pattern[i] = pattern[i - BENCH_PERIOD];
    return pattern;
}

/* Give one connection its memory. */
static int prepare_connection(struct bench_connection *connection,
                              const struct bench_options *options)
{
    const uint64_t slots = options->depth > 0 ? options->depth : 1;
    const uint64_t in_flight = options->size * slots;

    connection->fd = -1;
    connection->phase = (unsigned)(connection->index * UINT64_C(4099) % BENCH_PERIOD);
    connection->buffer_size = BENCH_CHUNK;
    if (options->depth > 0 && in_flight < BENCH_CHUNK)
        connection->buffer_size = in_flight < BUFFER_MIN ? BUFFER_MIN : (size_t)in_flight;
    connection->buffer = malloc(connection->buffer_size);
    if (connection->buffer == NULL)
        return -ENOMEM;
    if (options->mode == BENCH_OPEN)
        return 0;
    connection->slots = slots;
    connection->sent_ns = calloc((size_t)slots, sizeof(*connection->sent_ns));
    return connection->sent_ns == NULL ? -ENOMEM : 0;
}

/* Share the connections out to the shards: shard i gets every shard_count-th from i on. */
static int prepare_shard(struct bench *bench, unsigned index)
{
    const struct bench_options *options = bench->options;
    struct bench_shard *shard = &bench->shards[index];
    const unsigned total = (unsigned)options->connections;

    shard->bench = bench;
    shard->index = index;
    shard->warmup = histogram_create();
    shard->latency = histogram_create();
    const unsigned count = total / bench->shard_count + (index < total % bench->shard_count);
    shard->connections = calloc(count > 0 ? count : 1, sizeof(*shard->connections));
    if (shard->warmup == NULL || shard->latency == NULL || shard->connections == NULL)
        return -ENOMEM;
    for (; shard->connection_count < count; shard->connection_count++) {
        struct bench_connection *connection = &shard->connections[shard->connection_count];

        connection->shard = shard;
        connection->index = index + shard->connection_count * bench->shard_count;
        if (prepare_connection(connection, options) < 0) {
            shard->connection_count++; /* So that what it has already is freed. */
            return -ENOMEM;
        }
    }
    return 0;
}

static int prepare(struct bench *bench)
{
    const size_t size = bench->shard_count * sizeof(struct bench_shard);

    bench->pattern = create_pattern();
    bench->shards = aligned_alloc(_Alignof(struct bench_shard), size);
    if (bench->shards == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < bench->shard_count; i++)
        bench->shards[i] = (struct bench_shard){0};
    for (unsigned i = 0; i < bench->shard_count; i++) {
        const int error = prepare_shard(bench, i);
        if (error < 0)
            return error;
    }
    return bench->pattern == NULL ? -ENOMEM : 0;
}

static void release(struct bench *bench)
{
    for (unsigned i = 0; bench->shards != NULL && i < bench->shard_count; i++) {
        struct bench_shard *shard = &bench->shards[i];

        for (unsigned n = 0; n < shard->connection_count; n++) {
            free(shard->connections[n].buffer);
            free(shard->connections[n].sent_ns);
        }
        free(shard->connections);
        free(shard->warmup);
        free(shard->latency);
    }
    free(bench->shards);
    free(bench->pattern);
}

/* Add up what the shards measured. */
static int collect(const struct bench *bench, struct bench_result *ret_result)
{
    struct bench_result result = {
        .connect_error = atomic_load(&bench->connect_error),
        .cpu_seconds = bench->cpu_seconds,
        .latency = histogram_create(),
    };

    if (result.latency == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < bench->shard_count; i++) {
        const struct bench_shard *shard = &bench->shards[i];
        const uint64_t last_ns =
            shard->finished_ns < shard->end_ns ? shard->finished_ns : shard->end_ns;

        if (last_ns > shard->begin_ns && last_ns - shard->begin_ns > result.duration_ns)
            result.duration_ns = last_ns - shard->begin_ns;
        result.messages += shard->messages;
        result.errors += shard->errors;
        result.mismatches += shard->mismatches;
        result.unanswered += shard->unanswered;
        result.connect_errors += shard->connect_errors;
        histogram_merge(result.latency, shard->latency);
    }
    *ret_result = result;
    return 0;
}

int bench_run(const struct bench_options *options, struct bench_result *ret_result)
{
    struct torc_options runtime = options->runtime;
    struct run run = {
        .bench =
            {
                .options = options,
                .shard_count = runtime.shards > 0 ? (unsigned)runtime.shards : 1,
            },
    };

    /* Messages go out when they are due, and not together with the next ones. */
    if (options->mode == BENCH_OPEN)
        runtime.timer_slack_ns = 1;
    int error = prepare(&run.bench);
    if (error == 0) {
        error = torc_run(shard_main, &run, &runtime);
        if (error == -ECANCELED || atomic_load(&run.bench.connect_error) != 0)
            error = 0;
    }
    if (error == 0)
        error = collect(&run.bench, ret_result);
    if (error == 0)
        ret_result->interrupted = run.signals.received;
    release(&run.bench);
    return error;
}

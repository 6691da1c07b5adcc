/* SPDX-License-Identifier: MIT */
/*
 * bench.h - the parts of the load generator: what was asked for, what was measured, and how the
 * two meet on the shards.
 *
 * Time has three parts: before `begin_ns` the connections are warm but nothing counts, up to
 * `end_ns` everything counts, and then what is late may still go out, and come back, for a while.
 */
#ifndef TORC_TOOL_BENCH_H
#define TORC_TOOL_BENCH_H

#include "histogram.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <torc/torc.h>

/* How the messages are timed. */
enum bench_mode {
    BENCH_CLOSED, /* a new one for each that came back: as fast as the server answers */
    BENCH_OPEN,   /* at times fixed beforehand, whatever the server does */
    BENCH_CHURN,  /* closed, with a new connection for each */
};

/* Called on shard 0 as the window begins (end == false) and as it ends. */
typedef void bench_window_fn(void *arg, bool end);

/* What the command line, or the demo, wants. */
struct bench_options {
    struct torc_address address;
    struct torc_options runtime;
    enum bench_mode mode;
    uint64_t connections;
    uint64_t size;  /* bytes of a message */
    uint64_t depth; /* messages in flight per connection; 0 in open mode: no limit */
    uint64_t duration_ns;
    uint64_t warmup_ns;
    double rate; /* messages per second over all connections, in open mode */
    bool no_verify;
    bool json;
    uint64_t live_period_ns; /* 0: a second */
    const char *live_label;  /* before the live line, which then stays; or NULL */
    bench_window_fn *window; /* or NULL */
    void *window_arg;
};

/* What was measured. */
struct bench_result {
    uint64_t duration_ns; /* of the window, as it really was */
    uint64_t messages;    /* that came back whole within the window */
    uint64_t errors;      /* connections that broke */
    uint64_t mismatches;  /* connections that brought other bytes than were sent */
    uint64_t unanswered;  /* messages that were not back soon after the window */
    uint64_t connect_errors;
    int connect_error;         /* the first of them */
    int interrupted;           /* the signal that ended the run early, or 0 */
    double cpu_seconds;        /* of this process, within the window */
    struct histogram *latency; /* the caller's to free */
};

/* Put the server under load. Returns 0 when `ret_result` is filled, else why torc did not run. */
int bench_run(const struct bench_options *options, struct bench_result *ret_result);

/* "closed", "open" or "churn". */
const char *bench_mode_name(enum bench_mode mode);

/* Say what was measured: a table, or one object of JSON. */
void bench_report(const struct bench_options *options, const struct bench_result *result);

/*
 * The body of a connection at stream offset n is byte (n + phase) % BENCH_PERIOD of a fixed
 * pattern, with a phase of its own for each connection. The period is a prime: whatever is lost,
 * doubled or swapped, by whichever round number, does not fit. What stands behind the first period
 * repeats it, so that up to BENCH_CHUNK bytes from any offset are sent and compared in one piece.
 */
enum {
    BENCH_PERIOD = 16381,
    BENCH_CHUNK = 64 * 1024,
    BENCH_PATTERN = BENCH_PERIOD + BENCH_CHUNK,
};

/* One shard's part of the load. On cache lines of its own. */
struct bench_shard {
    _Alignas(128) struct bench *bench;
    unsigned index;
    uint64_t begin_ns; /* the window */
    uint64_t end_ns;
    struct histogram *warmup;  /* latencies before the window */
    struct histogram *latency; /* latencies in the window */
    struct bench_connection *connections;
    unsigned connection_count;
    uint64_t messages;
    uint64_t errors;
    uint64_t mismatches;
    uint64_t unanswered;
    uint64_t connect_errors;
    uint64_t finished_ns;
};

struct bench {
    const struct bench_options *options;
    struct bench_shard *shards;
    unsigned shard_count;
    char *pattern;
    _Atomic unsigned connected; /* shards that have all their connections */
    _Atomic uint64_t start_ns;  /* when the load sets in; 0: not all are connected yet */
    _Atomic int connect_error;  /* the first one */
    double cpu_seconds;
};

/* One connection; two fibers share it where it sends and receives independently. */
struct bench_connection {
    struct bench_shard *shard;
    unsigned index;    /* among those of all shards */
    int fd;            /* -1: not connected */
    unsigned phase;    /* in the pattern */
    uint64_t sent;     /* messages, whole */
    uint64_t received; /* messages, whole */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t *sent_ns; /* when each message in flight was sent, by its number modulo slots */
    uint64_t slots;    /* as many as may be in flight */
    struct torc_event progress; /* set when messages came back */
    char *buffer;               /* for what comes back */
    size_t buffer_size;
};

/* The fibers of a connection: connect it, and put it under load. */
torc_fiber_fn bench_connect;
torc_fiber_fn bench_load;

/* The body of a fiber: the live line. */
torc_fiber_fn bench_live;

#endif

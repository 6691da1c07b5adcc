/* SPDX-License-Identifier: MIT */
/*
 * bench_conn.c - one connection of the load generator.
 *
 * In closed mode one fiber suffices: it sends as many new messages as came back. That would lock up
 * with more in flight than the buffers of the sockets hold, when both ends wait for room to send;
 * then, and in open mode, where time and not the server says when to send, a second fiber receives.
 */
#include "bench.h"
#include "cli.h"

#include <string.h>

enum {
    ALONE_MAX = 64 * 1024, /* bytes in flight with which one fiber cannot lock up */
};

static const struct bench_options *options_of(const struct bench_connection *connection)
{
    return connection->shard->bench->options;
}

/* Where in the pattern the byte at `offset` of the stream stands. */
static const char *pattern_at(const struct bench_connection *connection, uint64_t offset)
{
    return connection->shard->bench->pattern + (offset + connection->phase) % BENCH_PERIOD;
}

/* When the message with this number is due, in open mode: all connections take turns evenly. */
static uint64_t due_ns(const struct bench_connection *connection, uint64_t number)
{
    const struct bench_options *options = options_of(connection);
    const double turn = (double)connection->index + (double)number * (double)options->connections;

    return atomic_load_explicit(&connection->shard->bench->start_ns, memory_order_relaxed) +
           (uint64_t)(turn * 1e9 / options->rate);
}

/* Send `count` messages, which stand in the pattern ready made. */
static int send_messages(struct bench_connection *connection, uint64_t count)
{
    uint64_t left = count * options_of(connection)->size;

    while (left > 0) {
        const size_t length = left < BENCH_CHUNK ? (size_t)left : BENCH_CHUNK;
        const int error = torc_send_all(
            connection->fd, pattern_at(connection, connection->bytes_out), length, NULL);
        if (error < 0)
            return error;
        connection->bytes_out += length;
        left -= length;
    }
    return 0;
}

/* Note when `count` messages are sent, and send them. */
static int send_now(struct bench_connection *connection, uint64_t count, uint64_t now_ns)
{
    for (uint64_t i = 0; i < count && connection->sent_ns != NULL; i++)
        connection->sent_ns[(connection->sent + i) % connection->slots] = now_ns;
    connection->sent += count;
    return send_messages(connection, count);
}

/*
 * Count one message. In closed mode it belongs to the time when it came back. In open mode its
 * latency belongs to the time when it was due: however late it comes, it is not left out.
 */
static void count_message(struct bench_shard *shard, uint64_t since_ns, uint64_t now_ns, bool open)
{
    const uint64_t when_ns = open ? since_ns : now_ns;

    if (now_ns >= shard->begin_ns && now_ns < shard->end_ns)
        shard->messages++;
    if (when_ns < shard->begin_ns) {
        histogram_record(shard->warmup, now_ns - since_ns);
    } else if (when_ns < shard->end_ns) {
        histogram_record(shard->latency, now_ns - since_ns);
    }
}

/* Say, once per shard, what came back instead of what was sent. Returns -EBADMSG. */
static int mismatch(struct bench_connection *connection, const char *expected, size_t length)
{
    const bool too_many = expected == NULL;
    size_t i = 0;

    while (!too_many && i < length && connection->buffer[i] == expected[i])
        i++;
    const unsigned long long offset = connection->bytes_in + i;
    if (connection->shard->mismatches++ > 0)
        return -EBADMSG;
    if (too_many) {
        cli_failed("torc bench", "connection %u: more came back than was sent, from byte %llu on",
                   connection->index, offset);
    } else {
        cli_failed("torc bench", "connection %u: byte %llu came back as 0x%02x instead of 0x%02x",
                   connection->index, offset, (unsigned char)connection->buffer[i],
                   (unsigned char)expected[i]);
    }
    return -EBADMSG;
}

/* Whether what was received is what was sent: 0 or -EBADMSG. */
static int verify(struct bench_connection *connection, size_t length)
{
    const struct bench_options *options = options_of(connection);
    const char *expected = pattern_at(connection, connection->bytes_in);

    if (connection->bytes_in + length > connection->sent * options->size)
        return mismatch(connection, NULL, length);
    if (!options->no_verify && memcmp(connection->buffer, expected, length) != 0)
        return mismatch(connection, expected, length);
    return 0;
}

/* Receive once, and count the messages that are complete with it. Returns how many, or an error. */
static int receive_some(struct bench_connection *connection)
{
    const struct bench_options *options = options_of(connection);
    const bool open = options->mode == BENCH_OPEN;
    const ssize_t got = torc_recv(connection->fd, connection->buffer, connection->buffer_size, 0);

    if (got <= 0)
        return got == 0 ? -ECONNRESET : (int)got;
    const int error = verify(connection, (size_t)got);
    if (error < 0)
        return error;
    connection->bytes_in += (uint64_t)got;

    const uint64_t now_ns = torc_now();
    const uint64_t received = connection->bytes_in / options->size;
    const int count = (int)(received - connection->received);
    for (uint64_t number = connection->received; number < received; number++) {
        const uint64_t since_ns =
            open ? due_ns(connection, number) : connection->sent_ns[number % connection->slots];
        count_message(connection->shard, since_ns, now_ns, open);
    }
    connection->received = received;
    return count;
}

/* Closed mode with one fiber. */
static int load_alone(struct bench_connection *connection)
{
    const uint64_t end_ns = connection->shard->end_ns;
    uint64_t credit = options_of(connection)->depth;
    uint64_t now_ns = torc_now();

    while (now_ns < end_ns || connection->received < connection->sent) {
        if (credit > 0 && now_ns < end_ns) {
            const int error = send_now(connection, credit, now_ns);
            if (error < 0)
                return error;
        }
        const int count = receive_some(connection);
        if (count < 0)
            return count;
        credit = (uint64_t)count;
        now_ns = torc_now();
    }
    return 0;
}

/* The fiber that receives, where another one sends. Ends when it is cancelled. */
static int receive_all(void *arg)
{
    struct bench_connection *connection = arg;

    torc_fiber_set_name("bench receive");
    for (;;) {
        const int count = receive_some(connection);
        if (count < 0)
            return count;
        if (count > 0)
            torc_event_set(&connection->progress);
    }
}

/* Wait until something came back since the last such wait. */
static int wait_for_progress(struct bench_connection *connection)
{
    const int reason = torc_event_wait(&connection->progress);

    torc_event_clear(&connection->progress);
    return reason;
}

/* How many messages may be in flight beyond those that are. */
static uint64_t credit_of(const struct bench_connection *connection)
{
    const uint64_t depth = options_of(connection)->depth;

    return depth == 0 ? UINT64_MAX : depth - (connection->sent - connection->received);
}

/* Closed mode, the fiber that sends. */
static int send_closed(struct bench_connection *connection)
{
    const uint64_t end_ns = connection->shard->end_ns;
    int error = 0;

    while (error == 0) {
        const uint64_t now_ns = torc_now();
        const uint64_t credit = credit_of(connection);

        if (now_ns >= end_ns)
            break;
        error = credit > 0 ? send_now(connection, credit, now_ns) : wait_for_progress(connection);
    }
    return error;
}

/* How many messages are due by now, from `*next_due_ns` on, which moves on behind them. */
static uint64_t take_due(const struct bench_connection *connection, uint64_t limit, uint64_t now_ns,
                         uint64_t *next_due_ns)
{
    const uint64_t end_ns = connection->shard->end_ns;
    uint64_t count = 0;

    while (count < limit && *next_due_ns <= now_ns && *next_due_ns < end_ns) {
        count++;
        *next_due_ns = due_ns(connection, connection->sent + count);
    }
    return count;
}

/*
 * Open mode, the fiber that sends: what is due by now goes out together. What fell due in the
 * window goes out even after it: so it is the server that leaves it unanswered, if anyone does.
 */
static int send_open(struct bench_connection *connection)
{
    const struct bench_options *options = options_of(connection);
    const uint64_t batch_max = options->size < BENCH_CHUNK ? BENCH_CHUNK / options->size : 1;
    const uint64_t end_ns = connection->shard->end_ns;
    uint64_t next_due_ns = due_ns(connection, 0);
    int error = 0;

    while (error == 0 && next_due_ns < end_ns) {
        const uint64_t credit = credit_of(connection);
        const uint64_t limit = credit < batch_max ? credit : batch_max;
        const uint64_t now_ns = torc_now();

        if (limit == 0) {
            error = wait_for_progress(connection);
        } else if (next_due_ns > now_ns) {
            error = torc_sleep_until(next_due_ns);
        } else {
            error = send_now(connection, take_due(connection, limit, now_ns, &next_due_ns), now_ns);
        }
    }
    /* The window stays open for as long as was asked for. */
    return error < 0 ? error : torc_sleep_until(end_ns);
}

/* Sending in this fiber and receiving in another, until all that was sent is back. */
static int load_both_ways(struct bench_connection *connection)
{
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    result = torc_scope_spawn(&scope, receive_all, connection);
    if (result == 0) {
        result = options_of(connection)->mode == BENCH_OPEN ? send_open(connection)
                                                            : send_closed(connection);
    }
    while (result == 0 && connection->received < connection->sent)
        result = wait_for_progress(connection);
    torc_scope_cancel(&scope);

    /* A failure of the receiver has cancelled this fiber too, so it is the one to be told of. */
    const int closed = torc_scope_close(&scope);
    return closed < 0 && closed != -ECANCELED ? closed : result;
}

/* Open mode: what was due in the window and is not back took at least until now. */
static void count_overdue(struct bench_connection *connection)
{
    struct bench_shard *shard = connection->shard;
    const uint64_t now_ns = torc_now();

    for (uint64_t number = connection->received;; number++) {
        const uint64_t due = due_ns(connection, number);

        if (due >= shard->end_ns || due >= now_ns)
            break;
        if (due < shard->begin_ns)
            continue;
        shard->unanswered++;
        histogram_record(shard->latency, now_ns - due);
    }
}

/* A connection could not be made: note it, and let some time pass. */
static int note_connect_error(struct bench_shard *shard, int error)
{
    int none = 0;

    shard->connect_errors++;
    atomic_compare_exchange_strong(&shard->bench->connect_error, &none, error);
    return torc_sleep(10 * TORC_MILLISECOND);
}

/* Connect, say one thing, hear it, and leave. */
static int visit(struct bench_connection *connection, uint64_t now_ns)
{
    int result = 0;

    connection->fd = torc_tcp_connect(&options_of(connection)->address, 1, NULL);
    if (connection->fd == -ECANCELED || connection->fd == -ETIME)
        return connection->fd;
    if (connection->fd < 0)
        return note_connect_error(connection->shard, connection->fd);

    connection->sent = connection->received = 0;
    connection->bytes_in = connection->bytes_out = 0;
    result = send_now(connection, 1, now_ns);
    while (result >= 0 && connection->received == 0)
        result = receive_some(connection);
    torc_close(connection->fd);
    connection->fd = -1;
    return result;
}

/* Visit again and again; a visit that breaks off is counted, and followed by the next. */
static int load_churn(struct bench_connection *connection)
{
    struct bench_shard *shard = connection->shard;

    for (uint64_t now_ns = torc_now(); now_ns < shard->end_ns; now_ns = torc_now()) {
        const int result = visit(connection, now_ns);

        if (result == -ECANCELED || result == -ETIME || result == -EBADMSG)
            return result;
        if (result < 0)
            shard->errors++;
    }
    return 0;
}

int bench_connect(void *arg)
{
    struct bench_connection *connection = arg;

    torc_fiber_set_name("bench connect");
    connection->fd = torc_tcp_connect(&options_of(connection)->address, 1, NULL);
    return connection->fd < 0 ? connection->fd : 0;
}

int bench_load(void *arg)
{
    struct bench_connection *connection = arg;
    const struct bench_options *options = options_of(connection);
    int result;

    torc_fiber_set_name("bench connection");
    switch (options->mode) {
    case BENCH_CHURN:
        result = load_churn(connection);
        break;
    case BENCH_CLOSED:
        result = options->depth * options->size <= ALONE_MAX ? load_alone(connection)
                                                             : load_both_ways(connection);
        break;
    default:
        result = load_both_ways(connection);
        count_overdue(connection);
    }
    /* Who was stopped from outside, or has said so already, is no broken connection. */
    if (result == -ETIME && options->mode != BENCH_OPEN) {
        connection->shard->unanswered += connection->sent - connection->received;
    } else if (result < 0 && result != -ETIME && result != -ECANCELED && result != -EBADMSG) {
        connection->shard->errors++;
    }
    return 0;
}

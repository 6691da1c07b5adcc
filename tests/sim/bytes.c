/* SPDX-License-Identifier: MIT */
/*
 * bytes.c - no byte is lost, doubled or moved on a connection, whatever is cancelled.
 *
 * Two hosts send to each other on one connection, both ways at once, by every call there is, in
 * scopes that end at any instant. A call that failed has moved nothing but what it says; so each
 * side knows how much it has sent, and the other finds just these bytes, all of them if the
 * connection ended in order.
 */
#include "perils.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PORT      7000
#define PIECE_MAX 6000u
#define TALK_NS   (2000 * TORC_SECOND) /* longer than TCP tries */

/* So long the server waits for its client. */
#define PATIENCE_NS (60 * TORC_SECOND)

/* One end of the connection. */
struct side {
    uint8_t flow; /* of what it sends */
    uint64_t to_send;
    uint64_t sent;
    uint64_t received;
    bool is_broken; /* the connection */
    bool has_ended; /* all has been received, in order */
    bool by_stream;
    int fd;
    struct torc_stream stream;
    struct side *peer;
};

/* Small ones as often as large ones. */
static size_t some_size(void)
{
    return torc_sim_random_below(PIECE_MAX >> torc_sim_random_below(10)) + 1;
}

/* What a stream has collected and could not send is lost, whatever the error. */
static void note(struct side *side, int64_t result)
{
    if (result < 0 &&
        (!is_passing(result) || (side->by_stream && result != -ECANCELED && result != -ETIME)))
        side->is_broken = true;
}

/* The other side is told, or it would wait for what does not come; so is our own other fiber. */
static void give_up(const struct side *side)
{
    if (side->is_broken)
        (void)torc_shutdown(side->fd, SHUT_RDWR);
}

/* ---- Sending ---- */

static int64_t send_vector(int fd, uint8_t *bytes, size_t count)
{
    const size_t first = torc_sim_random_below(count + 1);
    const struct iovec vector[] = {{.iov_base = bytes, .iov_len = first},
                                   {.iov_base = bytes + first, .iov_len = count - first}};

    return torc_writev(fd, vector, 2);
}

/* Returns how many bytes have gone; the error, if any, is noted. */
static size_t send_piece(struct side *side, uint8_t *bytes, size_t count)
{
    size_t done = 0;
    int64_t result;

    if (side->by_stream) {
        result = torc_stream_write(&side->stream, bytes, count, &done);
        note(side, result);
        if (result == 0 && torc_sim_random_below(4) == 0)
            note(side, torc_stream_flush(&side->stream));
        return done;
    }
    switch (torc_sim_random_below(3)) {
    case 0:
        result = torc_send(side->fd, bytes, count, 0);
        break;
    case 1:
        result = send_vector(side->fd, bytes, count);
        break;
    default:
        result = torc_send_all(side->fd, bytes, count, &done);
        break;
    }
    note(side, result);
    return result > 0 ? (size_t)result : done;
}

static int send_all(void *arg)
{
    struct side *side = arg;
    uint8_t bytes[PIECE_MAX];

    while (side->sent < side->to_send && !side->is_broken && torc_cancelled() == 0) {
        size_t count = some_size();
        struct peril peril;

        count = side->to_send - side->sent < count ? side->to_send - side->sent : count;
        pattern_fill(side->flow, side->sent, bytes, count);
        peril_open(&peril);
        side->sent += send_piece(side, bytes, count);
        peril_close(&peril);
    }
    while (!side->is_broken && torc_cancelled() == 0) {
        const int result = side->by_stream ? torc_stream_shutdown(&side->stream)
                                           : torc_shutdown(side->fd, SHUT_WR);

        note(side, result);
        if (result == 0)
            break;
    }
    give_up(side);
    return 0;
}

/* ---- Receiving ---- */

static int64_t receive_from_stream(struct side *side, uint8_t *bytes, size_t size)
{
    const void *data;
    size_t done = 0;
    int64_t result;

    switch (torc_sim_random_below(3)) {
    case 0:
        result = torc_stream_peek(&side->stream, &data);
        if (result <= 0)
            return result;
        size = (uint64_t)result < size ? (size_t)result : size;
        size = torc_sim_random_below(size) + 1;
        for (size_t i = 0; i < size; i++)
            bytes[i] = ((const uint8_t *)data)[i];
        torc_stream_consume(&side->stream, size);
        return (int64_t)size;
    case 1:
        return torc_stream_read(&side->stream, bytes, size);
    default:
        result = torc_stream_read_all(&side->stream, bytes, size, &done);
        note(side, result == -ENODATA ? 0 : result);
        return done > 0 ? (int64_t)done : result == -ENODATA ? 0 : result;
    }
}

static int64_t receive_from_socket(struct side *side, uint8_t *bytes, size_t size)
{
    const struct iovec vector[] = {{.iov_base = bytes, .iov_len = size / 2},
                                   {.iov_base = bytes + size / 2, .iov_len = size - size / 2}};
    size_t done = 0;
    int64_t result;

    switch (torc_sim_random_below(4)) {
    case 0:
        return torc_recv(side->fd, bytes, size, 0);
    case 1:
        return torc_readv(side->fd, vector, 2);
    case 2:
        result = torc_poll(side->fd, POLLIN);
        return result < 0 ? result : torc_recv(side->fd, bytes, size, MSG_DONTWAIT);
    default:
        result = torc_recv_all(side->fd, bytes, size, &done);
        note(side, result == -ENODATA ? 0 : result);
        return done > 0 ? (int64_t)done : result == -ENODATA ? 0 : result;
    }
}

static int receive_all(void *arg)
{
    struct side *side = arg;
    uint8_t bytes[PIECE_MAX];

    while (!side->is_broken && !side->has_ended && torc_cancelled() == 0) {
        const size_t size = some_size();
        struct peril peril;
        int64_t result;

        peril_open(&peril);
        result = side->by_stream ? receive_from_stream(side, bytes, size)
                                 : receive_from_socket(side, bytes, size);
        peril_close(&peril);
        note(side, result);
        side->has_ended = result == 0;
        if (result > 0) {
            pattern_check(side->peer->flow, side->received, bytes, (size_t)result);
            side->received += (uint64_t)result;
            TORC_SIM_CHECK(side->received <= side->peer->sent + PIECE_MAX); /* In one call. */
        }
    }
    give_up(side);
    return 0;
}

/* ---- The hosts ---- */

static int talk(struct side *side)
{
    struct torc_scope scope;
    struct torc_stats stats;
    int closed;

    const int room = (int)torc_sim_random_below(100000);

    if (torc_sim_random_below(2) == 0)
        (void)torc_setsockopt(side->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    if (side->by_stream)
        torc_stream_open(&side->stream, side->fd);
    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, TALK_NS);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, send_all, side) == 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, receive_all, side) == 0);
    closed = torc_scope_close(&scope);
    TORC_SIM_CHECK(closed == 0 || closed == -ETIME);
    if (closed < 0)
        side->is_broken = true; /* A reset that got lost leaves one alone who only listens. */
    if (side->by_stream)
        (void)torc_stream_close(&side->stream);
    else
        (void)torc_close(side->fd);
    torc_stats(&stats);
    TORC_SIM_CHECK(stats.fibers == 1);
    TORC_SIM_CHECK(stats.ops_in_flight == 0);
    return 0;
}

static int serve(void *arg)
{
    struct side *side = arg;
    struct torc_address any;
    int listener = torc_address_parse("0.0.0.0:7000", &any);

    do
        listener = torc_tcp_listen(&any, NULL);
    while (is_passing(listener));
    TORC_SIM_CHECK(listener >= 0);
    do {
        struct peril peril;

        peril_open(&peril);
        torc_scope_set_timeout(&peril.scope, TORC_SECOND);
        side->fd = torc_accept(listener, NULL);
        peril_close(&peril);
    } while (side->fd < 0 && torc_sim_time() < PATIENCE_NS);
    (void)torc_close(listener);
    /* What the client believes to be a connection may have been reset before it was one here. */
    side->is_broken = side->fd < 0;
    return side->is_broken ? 0 : talk(side);
}

static int serve_main(void *arg)
{
    const int result = torc_run(serve, arg, NULL);

    TORC_SIM_CHECK(torc_sim_host_files(torc_sim_host_self()) == 0);
    return result;
}

static int scenario(void *arg)
{
    struct side sides[2] = {{.flow = 1, .peer = &sides[1]}, {.flow = 2, .peer = &sides[0]}};
    const unsigned files = torc_sim_host_files(torc_sim_host_self());
    struct torc_sim_host *host;
    int result;

    (void)arg;
    for (unsigned i = 0; i < 2; i++) {
        sides[i].to_send = torc_sim_random_below(50000);
        sides[i].by_stream = torc_sim_random_below(2) == 0;
    }
    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, serve_main, &sides[1], &host) == 0);
    do
        sides[0].fd = torc_tcp_connect_name("server", PORT, NULL);
    while (sides[0].fd < 0 && torc_sleep(TORC_MILLISECOND) == 0 && torc_sim_host_runs(host) &&
           sides[1].fd == 0);
    if (sides[0].fd < 0)
        return 0; /* The server has got a connection that was reset before we knew of it. */
    TORC_SIM_CHECK(talk(&sides[0]) == 0);
    TORC_SIM_CHECK(torc_sim_host_files(torc_sim_host_self()) == files);
    TORC_SIM_CHECK(torc_sim_host_wait(host, &result) == 0);
    TORC_SIM_CHECK(result == 0);
    for (unsigned i = 0; i < 2; i++) {
        TORC_SIM_CHECK(sides[i].received <= sides[i].peer->sent);
        if (sides[i].has_ended && !sides[i].is_broken && !sides[i].peer->is_broken)
            TORC_SIM_CHECK(sides[i].received == sides[i].peer->to_send);
    }
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}

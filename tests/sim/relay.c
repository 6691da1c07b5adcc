/* SPDX-License-Identifier: MIT */
/*
 * relay.c - what passes through a relay comes whole, in its order, and so does its end.
 *
 * A client and a server talk through a third host, which relays by streams, by copies through
 * pipes, or by reading and writing; and which gives up some connections after a while. Both send
 * frames, and then their end. Each reads whole frames, in their order, of what the other has sent;
 * and if nobody gave up, all of it, and the end, and the relay has counted the bytes.
 */
#include "books.h"
#include <string.h>
#include <sys/socket.h>

#define PORT       7000
#define FRAMES_MAX 30u
#define BODY_MAX   7000u
#define BOUND_NS   (3600 * TORC_SECOND)

enum way {
    BY_STREAMS,
    BY_COPIES,
    BY_COPIES_OF_STREAMS,
    WAYS,
};

struct end {
    struct talk *talk;
    uint8_t flow;
    unsigned frames; /* to be sent */
    unsigned received;
    uint64_t bytes; /* on the wire, of those */
    bool is_broken;
    bool has_ended; /* the input, in order */
    struct torc_stream stream;
};

struct talk {
    enum way way;
    bool gives_up; /* the relay, after a while */
    bool has_failed;
    uint64_t relayed[2]; /* bytes from the client, and from the server */
    struct torc_frame_format format;
    struct end client;
    struct end server;
};

/* ---- The two ends ---- */

static size_t length_of(const struct end *end, unsigned frame)
{
    const uint64_t mixed = (frame * 3u + end->flow) * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t)((mixed >> 32) % (BODY_MAX >> (mixed >> 61)));
}

static int send_frames(void *arg)
{
    struct end *end = arg;
    uint8_t body[BODY_MAX];

    for (unsigned i = 0; i < end->frames && !end->is_broken; i++) {
        const size_t length = length_of(end, i);

        pattern_fill(end->flow, i, body, length);
        end->is_broken =
            torc_stream_write_frame(&end->stream, &end->talk->format, body, length) < 0;
        end->bytes += 4 + length;
        if (one_in(4))
            (void)torc_sleep(some_time(20 * TORC_MILLISECOND));
    }
    if (torc_stream_shutdown(&end->stream) < 0)
        end->is_broken = true;
    return 0;
}

/*
 * Reading may be cut off at any instant, and goes on where it was. A reset that gets lost leaves a
 * side that only listens alone for ever; so there is a limit.
 */
static int receive_frames(struct end *end, const struct end *other)
{
    const uint64_t limit_ns = torc_deadline(1000 * TORC_SECOND);

    while (!end->is_broken && !end->has_ended) {
        struct torc_scope patience;
        struct peril peril;
        const void *body;
        size_t length;
        ssize_t count;

        torc_scope_open(&patience, 0);
        torc_scope_set_deadline(&patience, limit_ns);
        peril_open(&peril);
        count = torc_stream_peek_frame(&end->stream, &end->talk->format, &body, &length);
        peril_close(&peril);
        torc_scope_cancel(&patience);
        (void)torc_scope_close(&patience);
        end->has_ended = count == 0;
        if (count < 0 && ((count != -ECANCELED && count != -ETIME) || torc_now() >= limit_ns))
            end->is_broken = true; /* An error of a stream stays. */
        if (count <= 0)
            continue;
        TORC_SIM_CHECK(end->received < other->frames);
        TORC_SIM_CHECK(length == length_of(other, end->received));
        pattern_check(other->flow, end->received, body, length);
        torc_stream_consume(&end->stream, (size_t)count);
        end->received++;
    }
    return 0;
}

static int receive_client(void *arg)
{
    struct talk *talk = arg;

    return receive_frames(&talk->client, &talk->server);
}

static int receive_server(void *arg)
{
    struct talk *talk = arg;

    return receive_frames(&talk->server, &talk->client);
}

static void use_connection(struct end *end, int fd, torc_fiber_fn *receive)
{
    struct torc_scope scope;

    torc_stream_open(&end->stream, fd);
    torc_scope_open(&scope, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, send_frames, end) == 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, receive, end->talk) == 0);
    TORC_SIM_CHECK(torc_scope_close(&scope) == 0);
    (void)torc_stream_close(&end->stream);
}

/* Small buffers are full soon, so that writing waits, too. */
static int listen_here(void)
{
    const struct torc_listen_options small = {.send_buffer_size = 5000,
                                              .receive_buffer_size = 3000};
    const struct torc_listen_options *options = one_in(2) ? &small : NULL;
    struct torc_address any;
    int fd;

    TORC_SIM_CHECK(torc_address_parse("*:7000", &any) == 0);
    do
        fd = torc_tcp_listen(&any, options);
    while (is_passing(fd));
    TORC_SIM_CHECK(fd >= 0);
    return fd;
}

/* One connection; -1 if none comes. */
static int accept_one(void)
{
    const int listening = listen_here();
    struct torc_scope scope;
    int fd;

    torc_scope_open(&scope, 0);
    torc_scope_set_timeout(&scope, 600 * TORC_SECOND);
    do
        fd = torc_accept(listening, NULL);
    while (fd < 0 && torc_cancelled() == 0);
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    (void)torc_close(listening);
    return fd < 0 ? -1 : fd;
}

static int connect_to(const char *name)
{
    const struct torc_connect_name_options small = {
        .socket = {.send_buffer_size = 5000, .receive_buffer_size = 3000},
    };
    int fd = -1;

    for (unsigned tries = 0; tries < 100 && fd < 0; tries++) {
        fd = torc_tcp_connect_name(name, PORT, one_in(2) ? &small : NULL);
        if (fd < 0)
            (void)torc_sleep(TORC_SECOND);
    }
    return fd < 0 ? -1 : fd;
}

static int run_server(void *arg)
{
    struct talk *talk = arg;
    const int fd = accept_one();

    if (fd < 0)
        talk->has_failed = true;
    else
        use_connection(&talk->server, fd, receive_server);
    check_alone();
    return 0;
}

static int run_client(void *arg)
{
    struct talk *talk = arg;
    const int fd = connect_to("relay");

    if (fd < 0)
        talk->has_failed = true;
    else
        use_connection(&talk->client, fd, receive_client);
    check_alone();
    return 0;
}

/* ---- The relay ---- */

/* One way of a relay by hand. */
struct half {
    int from;
    int to;
    uint64_t count;
};

/* Cut off at any instant, and run again: what the copy holds then is delivered first. */
static int copy_half(void *arg)
{
    struct half *half = arg;
    struct torc_copy copy;
    int result = 0;

    torc_copy_init(&copy, half->from, half->to);
    while (result == 0 && !(copy.ended && copy.delivered == copy.taken)) {
        struct peril peril;

        peril_open(&peril);
        result = torc_copy_run(&copy, torc_sim_random_below(20000));
        peril_close(&peril);
        TORC_SIM_CHECK(copy.delivered <= copy.taken);
        TORC_SIM_CHECK(result < 0 || copy.delivered == copy.taken);
        if (is_passing(result))
            result = torc_cancelled();
    }
    half->count = copy.delivered;
    torc_copy_finish(&copy);
    return result < 0 ? result : torc_shutdown(half->to, SHUT_WR);
}

static int relay_by_copies(struct talk *talk, int client, int server)
{
    struct half halves[] = {{.from = client, .to = server}, {.from = server, .to = client}};
    struct torc_scope scope;
    int result;

    torc_scope_open(&scope, 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, copy_half, &halves[0]) == 0);
    TORC_SIM_CHECK(torc_scope_spawn(&scope, copy_half, &halves[1]) == 0);
    result = torc_scope_close(&scope);
    talk->relayed[0] = halves[0].count;
    talk->relayed[1] = halves[1].count;
    (void)torc_close(client);
    (void)torc_close(server);
    return result;
}

struct stream_half {
    struct torc_stream *from;
    struct torc_stream *to;
    uint64_t count;
};

static int copy_stream_half(void *arg)
{
    struct stream_half *half = arg;
    const int result = torc_stream_copy(half->from, half->to, &half->count);

    return result < 0 ? result : torc_stream_shutdown(half->to);
}

static int relay_by_streams(struct talk *talk, int client, int server)
{
    struct torc_stream streams[2];
    struct stream_half halves[] = {{.from = &streams[0], .to = &streams[1]},
                                   {.from = &streams[1], .to = &streams[0]}};
    struct torc_scope scope;
    int result;

    torc_stream_open(&streams[0], client);
    torc_stream_open(&streams[1], server);
    if (talk->way == BY_STREAMS) {
        result = torc_stream_relay(&streams[0], &streams[1], &talk->relayed[0], &talk->relayed[1]);
    } else {
        torc_scope_open(&scope, 0);
        TORC_SIM_CHECK(torc_scope_spawn(&scope, copy_stream_half, &halves[0]) == 0);
        TORC_SIM_CHECK(torc_scope_spawn(&scope, copy_stream_half, &halves[1]) == 0);
        result = torc_scope_close(&scope);
        talk->relayed[0] = halves[0].count;
        talk->relayed[1] = halves[1].count;
    }
    (void)torc_stream_close(&streams[0]);
    (void)torc_stream_close(&streams[1]);
    return result;
}

/* A reset that gets lost leaves a side that only listens alone for ever: so it asks. */
static void ask_when_silent(int fd)
{
    int result;

    do
        result = torc_tcp_set_keepalive(fd, 60, 10, 5);
    while (is_chance(result));
    TORC_SIM_CHECK(result == 0);
}

static int run_relay(void *arg)
{
    struct talk *talk = arg;
    const int client = accept_one();
    const int server = client < 0 ? -1 : connect_to("server");
    struct torc_scope scope;
    int result;

    if (server >= 0) {
        ask_when_silent(client);
        ask_when_silent(server);
    }
    torc_scope_open(&scope, 0);
    if (talk->gives_up)
        torc_scope_set_timeout(&scope, some_time(TORC_SECOND));
    if (server < 0) {
        result = -EPIPE;
        if (client >= 0)
            (void)torc_close(client);
    } else if (talk->way == BY_COPIES) {
        result = relay_by_copies(talk, client, server);
    } else {
        result = relay_by_streams(talk, client, server);
    }
    torc_scope_cancel(&scope);
    (void)torc_scope_close(&scope);
    talk->has_failed = talk->has_failed || result < 0;
    check_alone();
    return 0;
}

/* ---- All three ---- */

static int server_program(void *arg)
{
    return run_and_check(run_server, arg, NULL);
}

static int client_program(void *arg)
{
    return run_and_check(run_client, arg, NULL);
}

static int relay_program(void *arg)
{
    return run_and_check(run_relay, arg, NULL);
}

static void check_end(const struct talk *talk, const struct end *end, const struct end *other,
                      uint64_t relayed)
{
    if (!end->has_ended || end->is_broken || other->is_broken || talk->has_failed)
        return;
    TORC_SIM_CHECK(end->received == other->frames);
    TORC_SIM_CHECK(relayed == other->bytes);
}

static int scenario(void *arg)
{
    struct talk talk = {
        .way = (enum way)torc_sim_random_below(WAYS),
        .gives_up = one_in(3),
        .client = {.talk = &talk, .flow = 1},
        .server = {.talk = &talk, .flow = 2},
    };
    struct torc_sim_host *hosts[3];

    (void)arg;
    talk.client.frames = (unsigned)torc_sim_random_below(FRAMES_MAX);
    talk.server.frames = (unsigned)torc_sim_random_below(FRAMES_MAX);
    TORC_SIM_CHECK(torc_sim_host_start("server", NULL, server_program, &talk, &hosts[0]) == 0);
    TORC_SIM_CHECK(torc_sim_host_start("relay", NULL, relay_program, &talk, &hosts[1]) == 0);
    TORC_SIM_CHECK(torc_sim_host_start("client", NULL, client_program, &talk, &hosts[2]) == 0);
    for (unsigned i = 0; i < 3; i++)
        TORC_SIM_CHECK(wait_for_end(hosts[i], BOUND_NS) == 0);
    check_end(&talk, &talk.client, &talk.server, talk.relayed[1]);
    check_end(&talk, &talk.server, &talk.client, talk.relayed[0]);
    return 0;
}

int main(int argc, char **argv)
{
    return torc_sim_main(argc, argv, scenario, NULL, NULL);
}

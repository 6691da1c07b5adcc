/* SPDX-License-Identifier: MIT */
/*
 * sim_net_tcp_flow_test.c - connections on lines that are slow, cut and lossy, to hosts that crash.
 */
#include "harness/net.h"
#include "unit/driver/sim_net_rig.h"
#include <netinet/tcp.h>

#define SECOND NS_PER_SECOND

/* ---- Trouble ---- */

RIG_TEST(a_connection_survives_a_cut_and_times_out_if_it_lasts)
{
    struct sim_file *files[2];
    char data[8];

    rig_pair(rig, 0, 1, files);
    rig_run(rig, SECOND);
    torc__sim_net_cut(rig->world, rig->hosts[0], rig->hosts[1], true);
    EXPECT_INT(rig_send(files[0], "late", 4), ==, 4);
    rig_run(rig, 60 * SECOND);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, -EAGAIN);
    torc__sim_net_cut(rig->world, rig->hosts[0], rig->hosts[1], false);
    rig_wait(rig, files[1], POLLIN);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, 4);
    rig_run(rig, SECOND);
    torc__sim_net_cut(rig->world, rig->hosts[0], rig->hosts[1], true);
    EXPECT_INT(rig_send(files[0], "never", 5), ==, 5);
    rig_run(rig, 600 * SECOND);
    EXPECT_UINT(torc__sim_file_poll(files[0]) & POLLERR, ==, 0);
    rig_run(rig, 600 * SECOND);
    EXPECT_INT(rig_recv(files[0], data, sizeof(data), 0), ==, -ETIMEDOUT);
    EXPECT_INT(rig_recv(files[1], data, sizeof(data), 0), ==, -EAGAIN); /* Nobody told this one. */
    rig_close_pair(files);
}

static void keep_alive(struct sim_file *file)
{
    EXPECT_INT(rig_set(file, SOL_SOCKET, SO_KEEPALIVE, 1), ==, 0);
    EXPECT_INT(rig_set(file, IPPROTO_TCP, TCP_KEEPIDLE, 10), ==, 0);
    EXPECT_INT(rig_set(file, IPPROTO_TCP, TCP_KEEPINTVL, 2), ==, 0);
    EXPECT_INT(rig_set(file, IPPROTO_TCP, TCP_KEEPCNT, 3), ==, 0);
}

RIG_TEST(keepalive_finds_out_that_a_silent_peer_is_gone)
{
    struct sim_file *files[2];
    char byte;

    rig_pair(rig, 0, 1, files);
    keep_alive(files[0]);
    rig_run(rig, 100 * SECOND);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -EAGAIN);
    rig->hosts[1]->is_up = false;
    torc__sim_file_release(files[1]);
    rig_run(rig, 4 * SECOND);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -EAGAIN);
    rig_run(rig, 20 * SECOND);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -ETIMEDOUT);
    torc__sim_file_release(files[0]);
}

/* The reset of files[1] gets lost on its way to files[0], whose own end it has had. */
static void reset_in_silence(struct rig *rig, struct sim_file *files[2])
{
    char byte;

    EXPECT_INT(files[0]->ops->shutdown(files[0], SHUT_WR), ==, 0);
    rig_run(rig, SECOND);
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 0);
    torc__sim_net_drop_segments(rig->hosts[1], rig->hosts[0], 1);
    EXPECT_INT(torc__sim_net_reset(files[1]), ==, 0);
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 0); /* It has had the end before. */
    EXPECT_INT(rig_send(files[1], "x", 1), ==, -EPIPE);
    torc__sim_file_release(files[1]);
}

RIG_TEST(an_end_that_has_nothing_to_say_waits_for_ever_for_a_peer_whose_reset_got_lost)
{
    struct sim_file *files[2];
    char byte;

    rig_pair(rig, 0, 1, files);
    reset_in_silence(rig, files);
    rig_run(rig, 24 * 3600 * SECOND);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -EAGAIN);
    torc__sim_file_release(files[0]);
}

RIG_TEST(keepalive_finds_out_that_a_peer_has_forgotten_a_connection_that_was_shut_down)
{
    struct sim_file *files[2];
    char byte;

    rig_pair(rig, 0, 1, files);
    keep_alive(files[0]);
    reset_in_silence(rig, files);
    rig_run(rig, 11 * SECOND);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -ECONNRESET);
    torc__sim_file_release(files[0]);
}

RIG_TEST(a_connection_that_both_have_shut_down_is_not_kept_alive)
{
    struct sim_file *files[2];
    char byte;

    rig_pair(rig, 0, 1, files);
    keep_alive(files[0]);
    for (int i = 0; i < 2; i++) {
        EXPECT_INT(files[i]->ops->shutdown(files[i], SHUT_WR), ==, 0);
        rig_run(rig, SECOND);
        EXPECT_INT(rig_recv(files[1 - i], &byte, 1, 0), ==, 0);
    }
    torc__sim_file_release(files[1]);
    rig_run(rig, 100 * SECOND);
    EXPECT_INT(rig_option(files[0], SOL_SOCKET, SO_ERROR), ==, 0);
    EXPECT_UINT(torc__sim_file_poll(files[0]) & POLLERR, ==, 0);
    torc__sim_file_release(files[0]);
}

RIG_TEST(a_reset_that_comes_after_both_ends_is_no_error)
{
    struct sim_file *files[2];
    char byte;

    rig_pair(rig, 0, 1, files);
    EXPECT_INT(files[0]->ops->shutdown(files[0], SHUT_WR), ==, 0);
    rig_run(rig, SECOND);
    torc__sim_net_cut(rig->world, rig->hosts[0], rig->hosts[1], true);
    EXPECT_INT(files[1]->ops->shutdown(files[1], SHUT_WR), ==, 0);
    rig_run(rig, SECOND); /* The end has come, but files[1] does not know. */
    EXPECT_INT(torc__sim_net_reset(files[1]), ==, 0);
    rig_run(rig, SECOND);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, 0);
    EXPECT_INT(rig_option(files[0], SOL_SOCKET, SO_ERROR), ==, 0);
    rig_close_pair(files);
}

RIG_TEST(an_end_that_gives_up_what_nobody_acknowledges_does_not_tell_its_peer)
{
    struct sim_file *files[2];
    char byte;

    rig_pair(rig, 0, 1, files);
    rig_run(rig, SECOND);
    torc__sim_net_cut(rig->world, rig->hosts[1], rig->hosts[0], true);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
    rig_run(rig, 3600 * SECOND);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -ETIMEDOUT);
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 1); /* It has come again and again. */
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, -EAGAIN);
    rig_close_pair(files);
}

RIG_TEST(a_host_that_comes_up_again_knows_nothing_of_its_connections)
{
    struct sim_file *files[2];
    char byte;

    rig_pair(rig, 0, 1, files);
    rig->hosts[1]->is_up = false;
    files[1]->references = 0;
    files[1]->ops->release(files[1], true);
    torc__sim_net_host_crash(rig->hosts[1]);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
    rig_run(rig, 10 * SECOND);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -EAGAIN);
    rig->hosts[1]->is_up = true;
    rig_wait(rig, files[0], POLLIN);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -ECONNRESET);
    torc__sim_file_release(files[0]);
}

/* It connects again from the port that it had before, and the server does not know that it died. */
RIG_TEST(a_client_that_comes_up_again_gets_through_to_a_server_that_still_has_the_old_connection)
{
    struct sim_file *listener;
    struct sim_file *old;
    struct sim_file *file;
    uint16_t port;
    char byte;

    listener = rig_listen(rig->hosts[1], "0.0.0.0", 5);
    port = rig_local_port(listener);
    file = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    EXPECT_INT(rig_bind(file, "10.0.0.1", 1234), ==, 0);
    EXPECT_INT(rig_connect(file, "10.0.0.2", port), ==, -EINPROGRESS);
    rig_wait(rig, listener, POLLIN);
    old = rig_accept(listener);
    file->references = 0;
    file->ops->release(file, true);
    torc__sim_net_host_crash(rig->hosts[0]);
    file = rig_socket(rig->hosts[0], AF_INET, SOCK_STREAM);
    EXPECT_INT(rig_bind(file, "10.0.0.1", 1234), ==, 0);
    EXPECT_INT(rig_connect(file, "10.0.0.2", port), ==, -EINPROGRESS);
    rig_wait(rig, file, POLLOUT);
    EXPECT_INT(rig_connect(file, "10.0.0.2", port), ==, 0);
    EXPECT_INT(rig_recv(old, &byte, 1, 0), ==, -ECONNRESET);
    torc__sim_file_release(old);
    torc__sim_file_release(file);
    torc__sim_file_release(listener);
}

RIG_TEST(a_scenario_can_reset_a_connection_at_both_ends)
{
    struct sim_file *files[2];
    char byte;

    rig_pair(rig, 0, 1, files);
    EXPECT_INT(torc__sim_net_reset(files[0]), ==, 0);
    EXPECT_INT(torc__sim_net_reset(files[0]), ==, -ENOTCONN);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -ECONNRESET);
    rig_wait(rig, files[1], POLLIN);
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, -ECONNRESET);
    rig_close_pair(files);
}

TEST(chaos_refuses_loses_and_resets_connections_between_hosts_and_leaves_others_alone)
{
    struct torc_sim_chaos chaos = rig_calm();
    struct sim_file *listener;
    struct sim_file *files[2];
    struct rig rig;
    char byte;

    chaos.faults_max = UINT64_MAX;
    rig_open_with(&rig, 1, &chaos);
    listener = rig_listen(rig.hosts[1], "0.0.0.0", 5);
    rig.world->chaos.connect_refuse_rate = 1000000;
    EXPECT_INT(rig_port_error(&rig, 0, "10.0.0.2", rig_local_port(listener)), ==, -ECONNREFUSED);
    EXPECT_INT(rig_port_error(&rig, 1, "10.0.0.2", rig_local_port(listener)), ==, 0);
    rig.world->chaos.connect_refuse_rate = 0;
    rig.world->chaos.connect_lose_rate = 1000000;
    EXPECT_INT(rig_port_error(&rig, 0, "10.0.0.2", rig_local_port(listener)), ==, -ETIMEDOUT);
    EXPECT_INT(rig_port_error(&rig, 1, "10.0.0.2", rig_local_port(listener)), ==, 0);
    rig.world->chaos.connect_lose_rate = 0;
    torc__sim_file_release(listener);
    rig_pair(&rig, 0, 1, files);
    rig.world->chaos.reset_rate = 1000000;
    EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
    EXPECT_INT(rig_recv(files[0], &byte, 1, 0), ==, -ECONNRESET);
    rig_wait(&rig, files[1], POLLIN);
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, -ECONNRESET);
    rig_close_pair(files);
    rig_pair(&rig, 0, 0, files);
    EXPECT_INT(rig_send(files[0], "x", 1), ==, 1);
    EXPECT_INT(rig_recv(files[1], &byte, 1, 0), ==, 1);
    rig_close_pair(files);
    rig_close(&rig);
}

TEST(a_line_has_a_latency_and_a_bandwidth)
{
    const struct torc_sim_range exact = {50000000, 50000000};
    static char data[100000];
    struct torc_sim_chaos chaos = rig_calm();
    struct sim_file *files[2];
    struct rig rig;
    size_t received = 0;
    uint64_t start_ns;

    chaos.net_bytes_per_second = 1000000;
    rig_open_with(&rig, 1, &chaos);
    for (int i = 0; i < 2; i++)
        torc__sim_net_set_latency(rig.hosts[i], rig.hosts[1 - i], &exact);
    start_ns = rig.world->now_ns;
    rig_pair(&rig, 0, 1, files);
    EXPECT_UINT(rig.world->now_ns - start_ns, >=, 150000000); /* SYN, SYN|ACK, ACK */
    EXPECT_UINT(rig.world->now_ns - start_ns, <, 160000000);
    start_ns = rig.world->now_ns;
    EXPECT_INT(rig_send(files[0], data, sizeof(data)), ==, sizeof(data));
    while (received < sizeof(data)) {
        rig_wait(&rig, files[1], POLLIN);
        received += (size_t)rig_recv(files[1], data, sizeof(data), 0);
    }
    EXPECT_UINT(rig.world->now_ns - start_ns, >=, 150000000); /* 100 ms for the bytes */
    EXPECT_UINT(rig.world->now_ns - start_ns, <, 170000000);
    rig_close_pair(files);
    rig_close(&rig);
}

/* ---- Any order of events ---- */

struct flow {
    struct sim_file *from;
    struct sim_file *to;
    size_t whole;
    size_t sent;
    size_t received;
    bool ended;
};

static void send_some(struct rig *rig, struct flow *flow)
{
    char data[9000];
    size_t length = (size_t)torc__sim_below(rig->world, sizeof(data)) + 1;
    ssize_t count;

    if (length > flow->whole - flow->sent)
        length = flow->whole - flow->sent;
    harness_pattern_fill(data, length, flow->sent);
    count = rig_send(flow->from, data, length);
    EXPECT(count > 0 || count == -EAGAIN);
    flow->sent += count > 0 ? (size_t)count : 0;
    if (flow->sent == flow->whole)
        EXPECT_INT(flow->from->ops->shutdown(flow->from, SHUT_WR), ==, 0);
}

static void receive_some(struct rig *rig, struct flow *flow)
{
    char data[7000];
    const ssize_t count =
        rig_recv(flow->to, data, (size_t)torc__sim_below(rig->world, sizeof(data)) + 1, 0);

    if (count == 0) {
        EXPECT_UINT(flow->received, ==, flow->whole);
        flow->ended = true;
    }
    EXPECT(count >= 0 || count == -EAGAIN);
    if (count > 0) {
        harness_pattern_check(data, (size_t)count, flow->received);
        flow->received += (size_t)count;
    }
}

static void make_buffers_small(struct rig *rig, struct sim_file *files[2])
{
    for (int i = 0; i < 2; i++) {
        const int out = (int)torc__sim_below(rig->world, 40000);
        const int in = (int)torc__sim_below(rig->world, 40000);

        EXPECT_INT(rig_set(files[i], SOL_SOCKET, SO_SNDBUF, out), ==, 0);
        EXPECT_INT(rig_set(files[i], SOL_SOCKET, SO_RCVBUF, in), ==, 0);
    }
}

/* Cut the line between two hosts, in one direction or both, and mend it soon. */
static void cut_or_mend(struct rig *rig)
{
    struct sim_host *hosts[2] = {rig->hosts[0], rig->hosts[1]};

    for (int i = 0; i < 2; i++) {
        const bool is_cut = torc__sim_net_is_cut(hosts[i], hosts[1 - i]);

        if (torc__sim_below(rig->world, is_cut ? 4 : 500) == 0)
            torc__sim_net_cut(rig->world, hosts[i], hosts[1 - i], !is_cut);
    }
}

/* Both directions at once; returns the hash of all that has happened. */
static uint64_t exchange(uint64_t seed, uint32_t loss_rate)
{
    struct torc_sim_chaos chaos = rig_calm();
    struct sim_file *files[2];
    struct flow flows[2];
    struct rig rig;
    uint64_t hash;

    chaos.segment_loss_rate = loss_rate;
    chaos.faults_max = 1000;
    chaos.net_bytes_per_second = seed % 3 == 0 ? 1000000 : 0;
    chaos.loopback_latency.max_ns = seed % 5 == 0 ? 100000 : 0;
    rig_open_with(&rig, seed, &chaos);
    rig_pair(&rig, 0, seed % 4 == 0 ? 0 : 1, files);
    make_buffers_small(&rig, files);
    for (int i = 0; i < 2; i++)
        flows[i] = (struct flow){.from = files[i],
                                 .to = files[1 - i],
                                 .whole = (size_t)torc__sim_below(rig.world, 60000) + 1};
    while (!flows[0].ended || !flows[1].ended) {
        struct flow *flow = &flows[torc__sim_below(rig.world, 2)];

        if (seed % 6 == 1)
            cut_or_mend(&rig);
        if (flow->sent < flow->whole && torc__sim_below(rig.world, 2) == 0)
            send_some(&rig, flow);
        else if (!flow->ended && torc__sim_below(rig.world, 2) == 0)
            receive_some(&rig, flow);
        else
            (void)torc__sim_step(rig.world, UINT64_MAX);
    }
    rig_close_pair(files);
    rig_run(&rig, 3600 * SECOND);
    EXPECT_UINT(torc__sim_next_ns(rig.world), ==, UINT64_MAX); /* No end is left. */
    hash = rig.world->trace_hash ^ torc__sim_random(rig.world) ^ rig.world->now_ns;
    rig_close(&rig);
    return hash;
}

TEST(every_byte_arrives_once_and_in_order_whatever_the_seed)
{
    const unsigned seeds = harness_scaled(100);

    for (unsigned seed = 0; seed < seeds; seed++)
        (void)exchange(seed, seed % 2 == 0 ? 0 : 50000);
}

TEST(the_same_seed_gives_the_same_story)
{
    for (unsigned seed = 1000; seed < 1005; seed++)
        EXPECT_UINT(exchange(seed, 100000), ==, exchange(seed, 100000));
    EXPECT(exchange(2000, 0) != exchange(2001, 0));
}
